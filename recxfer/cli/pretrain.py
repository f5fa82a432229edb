"""Options of `recxfer pretrain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import path_or_stdin, start
from recxfer.methods import OBJECTIVES
from recxfer.models import BACKBONES

if TYPE_CHECKING:
    from recxfer.commands.pretrain_config import PretrainConfig


@options.with_common()
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
    seeds: options.Seeds = None,
    log: options.Log = None,
    resume: options.Resume = False,
    *,
    common: options.Common,
) -> None:
    """Train a backbone on a dataset."""

    def configure() -> "PretrainConfig":
        from recxfer.commands import pretrain as command

        return command.resolve(
            path_or_stdin(dataset),
            run,
            settings=common.read_settings(),
            objective=objective,
            backbone=backbone,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=common.seed,
            **common.execution(),
            resume=resume,
        )

    start("pretrain", configure, common, seeds=seeds, logs=log or (), resumable=True, together=True)
