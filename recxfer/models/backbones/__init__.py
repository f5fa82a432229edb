"""Sequence encoders: one file each, and their contract."""
