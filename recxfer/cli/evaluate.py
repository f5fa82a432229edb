"""`recxfer evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import execute, path_or_stdin

if TYPE_CHECKING:
    from recxfer.commands.evaluate import EvaluateResult
    from recxfer.foundation.console import Reporter


def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(help="Runs; the first is what others are compared to; - reads stdin."),
    ],
    dataset: Annotated[
        Path | None, typer.Option("--dataset", help="Another dataset with the same items.")
    ] = None,
    on: Annotated[str, typer.Option("--on", help="test or valid.")] = "test",
    at: Annotated[str, typer.Option("--at", help="Lengths of the lists.")] = "5,10,20",
    candidates: Annotated[
        str, typer.Option("--candidates", help="all, or a number of sampled negatives.")
    ] = "all",
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Items met before stay candidates.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Slices: history-length, target-events, item-frequency, label."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write a page.")
    ] = None,
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
    """Rank, measure and compare runs, with intervals and paired tests."""

    def work(reporter: "Reporter") -> "EvaluateResult":
        from recxfer.commands import evaluate as command
        from recxfer.foundation.config import Settings

        return command.run(
            command.resolve(
                [path_or_stdin(run) for run in runs],
                settings=Settings.read(config, set_ or ()),
                dataset=dataset,
                on=on,
                at=at,
                candidates=candidates,
                keep_seen=keep_seen,
                by=by,
                report=report,
                seed=seed,
                device=device,
                precision=precision,
                threads=threads,
                overwrite=overwrite,
            ),
            reporter,
        )

    execute("evaluate", work, as_json=json, quiet=quiet, debug=debug)
