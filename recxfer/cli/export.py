"""`recxfer export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import execute, path_or_stdin

if TYPE_CHECKING:
    from recxfer.commands.export import ExportResult
    from recxfer.foundation.console import Reporter


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
    config: options.Config = None,
    set_: options.Set = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    overwrite: options.Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Hand vectors, recommendations or the model to other systems."""

    def work(reporter: "Reporter") -> "ExportResult":
        from recxfer.commands import export as command
        from recxfer.foundation.config import Settings

        return command.run(
            command.resolve(
                path_or_stdin(run),
                out,
                settings=Settings.read(config, set_ or ()),
                what=what,
                format=format_,
                top=top,
                task=task,
                base=base,
                dataset=dataset,
                device=device,
                precision=precision,
                threads=threads,
                overwrite=overwrite,
            ),
            reporter,
        )

    execute("export", work, as_json=json, quiet=quiet)
