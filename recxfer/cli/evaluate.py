"""Options of `recxfer evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import path_or_stdin, start
from recxfer.evaluation.metrics import DEFAULT_METRICS, METRICS
from recxfer.evaluation.slices import SLICERS

if TYPE_CHECKING:
    from recxfer.commands.evaluate import EvaluateConfig


@options.with_common(precision="fp32")
def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Finished runs; the others are compared with the first; - reads one from stdin.",
        ),
    ],
    base: options.Base = None,
    dataset: options.Dataset = None,
    on: Annotated[
        str,
        typer.Option(
            "--on", help="test or valid.", autocompletion=options.among(["test", "valid"])
        ),
    ] = "test",
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="K,K,...", help="Lengths of the ranked lists. Default: 5,10,20."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="NAME[@K],...",
            help=f"{', '.join(METRICS.own_names)}. Default: {', '.join(DEFAULT_METRICS)}.",
            autocompletion=options.names_of(METRICS),
        ),
    ] = None,
    candidates: Annotated[
        str,
        typer.Option(
            "--candidates",
            metavar="all|N",
            help="Rank all items, or the target among N sampled ones.",
        ),
    ] = "all",
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Rank items a user has met already, too.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help=f"Slices: {', '.join(SLICERS.own_names)}.",
            autocompletion=options.names_of(SLICERS),
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="N|NAME",
            help="Of runs that hold several tasks, only this one; can be repeated.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write a page.")
    ] = None,
    *,
    common: options.Common,
) -> None:
    """Rank, measure and compare runs, with intervals and paired tests."""

    def configure() -> "EvaluateConfig":
        from recxfer.commands import evaluate as command

        return command.resolve(
            [path_or_stdin(run) for run in runs],
            settings=common.read_settings(),
            base=base,
            dataset=dataset,
            on=on,
            at=at,
            metrics=metrics,
            candidates=candidates,
            keep_seen=keep_seen,
            by=by,
            tasks=task or (),
            report=report,
            seed=common.seed,
            **common.execution(),
        )

    start("evaluate", configure, common)
