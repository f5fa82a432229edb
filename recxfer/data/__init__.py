"""Prepared datasets as flat tensors: the schema on disk, histories, rows and batches."""
