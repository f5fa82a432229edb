"""Item vectors from what items are: encoders of text and images in the item table's place."""
