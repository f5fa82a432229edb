"""Tables of `transfer`: facts of the run it made."""

from rich.console import Group, RenderableType
from rich.table import Table

from recxfer.cli.tables import over_seeds
from recxfer.commands.studies import SeedsResult
from recxfer.commands.transfer_config import TransferResult


def render(result: TransferResult | SeedsResult[TransferResult]) -> RenderableType:
    """Draw a table of facts, or one for each seed and their means."""
    if isinstance(result, SeedsResult):
        return Group(*map(_facts, result.results), over_seeds(result))
    return _facts(result)


def _facts(result: TransferResult) -> Table:
    table = Table(title=str(result.path), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("method", result.method)
    table.add_row("task", result.task)
    table.add_row("parameters", f"{result.parameters:,}")
    table.add_row("trained", f"{result.trained_parameters:,}")
    table.add_row("trained share", f"{result.trained_share:.2%}: {result.counted}")
    table.add_row("epochs", f"{result.epochs}, best {result.best_epoch}")
    for metric, value in result.validation.items():
        table.add_row(f"validation {metric}", f"{value:.4f}")
    if result.free_share is not None:
        table.add_row("free for later tasks", f"{result.free_share:.1%}")
    table.add_row("checkpoint", f"{result.delta_bytes:,} bytes")
    return table
