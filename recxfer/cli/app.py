"""The typer application: five subcommands and nothing else."""

from typing import Annotated

import typer

from recxfer import __version__
from recxfer.cli.evaluate import evaluate
from recxfer.cli.export import export
from recxfer.cli.prepare import prepare
from recxfer.cli.pretrain import pretrain
from recxfer.cli.transfer import transfer

JOURNEY = """
[bold]The whole journey[/bold]

  recxfer prepare movielens-1m data/ml-1m\n
  recxfer pretrain data/ml-1m runs/base\n
  recxfer transfer runs/base data/ml-1m runs/gender --method peterrec --task profile:gender\n
  recxfer evaluate runs/gender\n
  recxfer export runs/base users.parquet --what users
"""

app = typer.Typer(
    name="recxfer",
    help="Pre-training and transfer learning for recommender systems.",
    epilog=JOURNEY,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"recxfer {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Pre-training and transfer learning for recommender systems."""


app.command(epilog="Example: recxfer prepare ratings.csv.gz data/shop --min-user-events 5")(prepare)
app.command(epilog="Example: recxfer pretrain data/shop runs/base --backbone nextitnet")(pretrain)
app.command(
    epilog="Example: recxfer transfer runs/base data/shop runs/age --method peterrec "
    "--task profile:age --set bottleneck=16"
)(transfer)
app.command(epilog="Example: recxfer evaluate runs/gender runs/gender-full --by history-length")(
    evaluate
)
app.command(epilog="Example: recxfer export runs/base top.parquet --what recommendations --top 20")(
    export
)
