"""Losses over items, over content, and between views of one history."""
