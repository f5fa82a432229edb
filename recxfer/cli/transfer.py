"""Options of `recxfer transfer`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import path_or_stdin, start
from recxfer.methods import METHODS

if TYPE_CHECKING:
    from recxfer.commands.transfer_config import TransferConfig


@options.with_common()
def transfer(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE",
            help="A pretrained run, or one that holds tasks; none where the method needs none; "
            "- reads the path from stdin.",
        ),
    ],
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="The target dataset.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory to make.")],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help=f"{', '.join(METHODS.own_names)}, or a plug-in's: see --list.",
            autocompletion=options.names_of(METHODS),
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            help="next-item, cross-domain or profile:COLUMN.",
            autocompletion=options.among(["next-item", "cross-domain", "profile:"]),
        ),
    ] = "next-item",
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="DATASET",
            help="cross-domain: where histories are read, if not in the dataset of BASE.",
        ),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", callback=options.listing(METHODS), is_eager=True, help="List the methods."
        ),
    ] = False,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Lr = None,
    seeds: options.Seeds = None,
    log: options.Log = None,
    resume: options.Resume = False,
    *,
    common: options.Common,
) -> None:
    """Adapt a pretrained run to a task by a named method."""

    def configure() -> "TransferConfig":
        from recxfer.commands import transfer as command

        return command.resolve(
            path_or_stdin(base),
            dataset,
            run,
            settings=common.read_settings(),
            method=method,
            task=task,
            source=source,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=common.seed,
            **common.execution(),
            resume=resume,
        )

    start("transfer", configure, common, seeds=seeds, logs=log or (), resumable=True)
