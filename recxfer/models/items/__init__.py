"""Item encoders: item indices to vectors."""
