"""Options of `recxfer prepare`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import path_or_stdin, start
from recxfer.preparing.sources import SOURCES

if TYPE_CHECKING:
    from recxfer.commands.prepare import PrepareConfig, RecipeConfig


@options.with_common()
def prepare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="NAME, NAME:PATH or PATH: a file, a directory or a quoted glob, recognised by "
            f"itself. Names: {', '.join(SOURCES.own_names)}. - reads it from stdin.",
        ),
    ],
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="The dataset directory to make.")
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="user=..,item=..",
            help="Which column is user, item, time, event, weight; usual names are found.",
        ),
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", metavar="FILE", help="Item table: id, text, image.")
    ] = None,
    users: Annotated[
        Path | None, typer.Option("--users", metavar="FILE", help="User table: id and labels.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Folder of ITEM.jpg.")
    ] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Keep rows: 'rating >= 4'.")
    ] = None,
    min_user_events: Annotated[
        int | None, typer.Option("--min-user-events", min=1, help="Drop people with fewer.")
    ] = None,
    min_item_events: Annotated[
        int | None, typer.Option("--min-item-events", min=1, help="Drop items with fewer.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="leave-last, temporal, users or linked. Default: leave-last.",
            autocompletion=options.among(["leave-last", "temporal", "users", "linked"]),
        ),
    ] = None,
    link: Annotated[
        list[Path] | None,
        typer.Option("--link", metavar="DATASET", help="Record the people shared with it."),
    ] = None,
    exclude_users: Annotated[
        list[Path] | None,
        typer.Option("--exclude-users", metavar="DATASET", help="Leave its people out."),
    ] = None,
    exclude_items: Annotated[
        list[Path] | None,
        typer.Option("--exclude-items", metavar="DATASET", help="Leave its items out."),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            "--vocabulary",
            metavar="DATASET",
            help="Index items as it does; drop events of others.",
        ),
    ] = None,
    list_: Annotated[
        bool,
        typer.Option(
            "--list", callback=options.listing(SOURCES), is_eager=True, help="List the sources."
        ),
    ] = False,
    *,
    common: options.Common,
) -> None:
    """Make a dataset out of raw logs."""

    def configure() -> "PrepareConfig | RecipeConfig":
        if common.threads is not None:  # polars reads this once, when it is imported
            os.environ["POLARS_MAX_THREADS"] = str(common.threads)
        from recxfer.commands import prepare as command

        if common.settings and source == "SOURCE":  # left out
            flags = {
                "where": where,
                "min_user_events": min_user_events,
                "min_item_events": min_item_events,
                "split": split,
            }
            return command.resolve_recipe(common.read_settings(), flags)
        return command.resolve(
            source if source != "-" else str(path_or_stdin(source)),
            dataset,
            settings=common.read_settings(),
            columns=columns,
            items=items,
            users=users,
            images=images,
            where=where,
            min_user_events=min_user_events,
            min_item_events=min_item_events,
            split=split,
            links=link or (),
            exclude_users=exclude_users or (),
            exclude_items=exclude_items or (),
            vocabulary=vocabulary,
            seed=common.seed,
            overwrite=common.overwrite,
        )

    start("prepare", configure, common)
