"""Run directories: headers, checkpoints, and how a run is opened again."""
