"""Errors, config, registry, names, files, tensors, random streams: all floors import from here."""
