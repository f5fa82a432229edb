"""`recxfer prepare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recxfer.cli import options
from recxfer.cli.execution import execute

if TYPE_CHECKING:
    from recxfer.commands.prepare import PrepareResult
    from recxfer.foundation.console import Reporter

Source = Annotated[
    str,
    typer.Argument(
        help="A csv, tsv, parquet, jsonl or atomic file, a directory or glob of them, "
        "or movielens-1m, movielens-100k, synthetic."
    ),
]


def prepare(
    source: Source,
    dataset: Annotated[Path, typer.Argument(help="The dataset directory to make.")],
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="user=..,item=..", help="Which column is what."),
    ] = None,
    items: Annotated[Path | None, typer.Option("--items", help="Item table: id, text.")] = None,
    users: Annotated[Path | None, typer.Option("--users", help="User table: id, labels.")] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of ITEM.jpg.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Keep rows: 'rating >= 4'.")
    ] = None,
    min_user_events: Annotated[int | None, typer.Option("--min-user-events", min=1)] = None,
    min_item_events: Annotated[int | None, typer.Option("--min-item-events", min=1)] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="leave-last, temporal or users.")
    ] = None,
    link: Annotated[
        list[Path] | None, typer.Option("--link", help="A dataset that shares people.")
    ] = None,
    exclude_users: Annotated[
        list[Path] | None, typer.Option("--exclude-users", help="Leave a dataset's people out.")
    ] = None,
    exclude_items: Annotated[
        list[Path] | None, typer.Option("--exclude-items", help="Leave a dataset's items out.")
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    overwrite: options.Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Make a dataset out of raw logs."""

    def work(reporter: "Reporter") -> "PrepareResult":
        from recxfer.commands import prepare as command
        from recxfer.foundation.config import Settings

        return command.run(
            command.resolve(
                source,
                dataset,
                settings=Settings.read(config, set_ or ()),
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
                seed=seed,
                overwrite=overwrite,
            ),
            reporter,
        )

    execute("prepare", work, as_json=json, quiet=quiet, debug=debug)
