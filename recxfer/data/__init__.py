"""Datasets: raw sources, the schema on disk, splits, and the rows that batches are cut from."""
