"""Rich tables, one module per command."""

from typing import Final, TextIO

from rich.console import Console

_UNFOLDED: Final = 10_000
"""Columns: more than any table has."""


def console_on(stream: TextIO) -> Console:
    """Make a console that folds columns to a terminal's width, and elsewhere folds nothing."""
    # A file or a pipe has no width, and rich would fold the columns to that of a small terminal.
    return Console(file=stream, width=None if stream.isatty() else _UNFOLDED)
