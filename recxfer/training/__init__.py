"""The training loop, optimiser, validation and resume."""
