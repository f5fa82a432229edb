"""Rich tables of results, one module per command."""

from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from recxfer.commands.studies import SeedsResult

_UNFOLDED: Final = 10_000
"""Columns: more than any table has."""


def console_on(stream: TextIO) -> Console:
    """Make a console that folds columns to a terminal's width, and elsewhere folds nothing."""
    # A file or a pipe has no width, and rich would fold the columns to that of a small terminal.
    return Console(file=stream, width=None if stream.isatty() else _UNFOLDED)


def over_seeds(result: "SeedsResult[Any]") -> Table:
    """Draw the validation metrics of runs of several seeds: mean and standard deviation."""
    seeds = ", ".join(map(str, result.seeds))
    table = Table(title=f"{result.path}: seeds {seeds}", title_justify="left")
    table.add_column("validation", style="bold")
    table.add_column("mean", justify="right")
    table.add_column("sd", justify="right")
    for name, (mean, deviation) in result.validation.items():
        table.add_row(name, f"{mean:.4f}", f"{deviation:.4f}")
    return table
