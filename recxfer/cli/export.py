"""Options of `recxfer export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import path_or_stdin, start

if TYPE_CHECKING:
    from recxfer.commands.export import ExportConfig


@options.with_common(precision="fp32")
def export(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A finished run; - reads the path from stdin."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    what: Annotated[
        str,
        typer.Option(
            "--what",
            help="users, items, recommendations or model.",
            autocompletion=options.among(["users", "items", "recommendations", "model"]),
        ),
    ] = "users",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="parquet, csv, jsonl or safetensors; by default what the suffix of OUT says.",
            autocompletion=options.among(["parquet", "csv", "jsonl", "safetensors"]),
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, help="Length of recommendation lists. Default: 10."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="N|NAME",
            help="Which task of a run that holds several. Default: the last.",
        ),
    ] = None,
    base: options.Base = None,
    dataset: options.Dataset = None,
    *,
    common: options.Common,
) -> None:
    """Hand vectors, recommendations or the model to other systems."""

    def configure() -> "ExportConfig":
        from recxfer.commands import export as command

        return command.resolve(
            path_or_stdin(run),
            out,
            settings=common.read_settings(),
            what=what,
            format=format_,
            top=top,
            task=task,
            base=base,
            dataset=dataset,
            **common.execution(),
        )

    start("export", configure, common)
