"""Item vectors from content: encoders of text and images, in place of the item table."""
