"""`recxfer pretrain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import execute, path_or_stdin
from recxfer.methods import OBJECTIVES
from recxfer.models import BACKBONES

if TYPE_CHECKING:
    from recxfer.commands.pretrain import PretrainResult
    from recxfer.foundation.console import Reporter


def pretrain(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="A prepared dataset; - reads the path from stdin."),
    ],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory to make.")],
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help=f"{', '.join(OBJECTIVES.own_names)}. Default: next-item.",
            autocompletion=options.names_of(OBJECTIVES),
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            help=f"{', '.join(BACKBONES.own_names)}. Default: sasrec.",
            autocompletion=options.names_of(BACKBONES),
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Lr = None,
    resume: options.Resume = False,
    config: options.Config = None,
    set_: options.Set = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    overwrite: options.Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Train a backbone on a dataset."""

    def work(reporter: "Reporter") -> "PretrainResult":
        from recxfer.commands import pretrain as command
        from recxfer.foundation.config import Settings

        return command.run(
            command.resolve(
                path_or_stdin(dataset),
                run,
                settings=Settings.read(config, set_ or ()),
                objective=objective,
                backbone=backbone,
                epochs=epochs,
                batch_size=batch_size,
                lr=lr,
                seed=seed,
                device=device,
                precision=precision,
                threads=threads,
                overwrite=overwrite,
                resume=resume,
            ),
            reporter,
        )

    execute("pretrain", work, as_json=json, quiet=quiet, resumable=True, together=True)
