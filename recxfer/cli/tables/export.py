"""Table of `export`: facts of the file it wrote."""

from rich.console import RenderableType
from rich.table import Table

from recxfer.commands.export import ExportResult


def render(result: ExportResult) -> RenderableType:
    """Draw one table of facts."""
    table = Table(title=str(result.path), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, value in result.as_json().items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table
