"""Tables of `pretrain`: facts of the run it made."""

from rich.console import Group, RenderableType
from rich.table import Table

from recxfer.cli.tables import over_seeds
from recxfer.commands.pretrain_config import PretrainResult
from recxfer.commands.studies import SeedsResult


def render(result: PretrainResult | SeedsResult[PretrainResult]) -> RenderableType:
    """Draw a table of facts, or one for each seed and their means."""
    if isinstance(result, SeedsResult):
        return Group(*map(_facts, result.results), over_seeds(result))
    return _facts(result)


def _facts(result: PretrainResult) -> Table:
    table = Table(title=str(result.path), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("objective", result.objective)
    table.add_row("backbone", result.backbone)
    table.add_row("parameters", f"{result.parameters:,}")
    table.add_row("epochs", f"{result.epochs}, best {result.best_epoch}")
    for metric, value in result.validation.items():
        table.add_row(f"validation {metric}", f"{value:.4f}")
    table.add_row("rate", f"{result.sequences_per_second:,.0f} histories/s")
    return table
