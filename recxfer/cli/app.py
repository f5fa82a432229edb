"""Build the typer application of the five subcommands."""

from typing import Annotated

import typer

from recxfer import __version__
from recxfer.cli.boundary import Boundary
from recxfer.cli.evaluate import evaluate
from recxfer.cli.export import export
from recxfer.cli.prepare import prepare
from recxfer.cli.pretrain import pretrain
from recxfer.cli.settings import Command
from recxfer.cli.transfer import transfer

app = typer.Typer(
    name="recxfer",
    cls=Boundary,
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="""[bold]From logs to vectors[/bold]
  recxfer prepare movielens-1m data/ml-1m
  recxfer pretrain data/ml-1m runs/base
  recxfer transfer runs/base data/ml-1m runs/age \\
    --method peterrec --task profile:age
  recxfer evaluate runs/age
  recxfer export runs/base users.parquet --what users
""",
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


app.command(
    cls=Command,
    epilog="""[bold]Examples[/bold]
  recxfer prepare movielens-1m data/ml-1m
  recxfer prepare 'logs/*.csv.gz' data/shop \\
    --columns user=buyer,item=sku --where 'rating >= 4'
  recxfer prepare kitchen.csv data/kitchen --link data/food
  recxfer prepare synthetic data/toy --set users=2000
""",
)(prepare)
app.command(
    cls=Command,
    epilog="""[bold]Examples[/bold]
  recxfer pretrain data/shop runs/base
  recxfer pretrain data/shop runs/cnn --backbone nextitnet --epochs 20 --set width=64
  recxfer prepare synthetic data/toy | recxfer pretrain - runs/toy
""",
)(pretrain)
app.command(
    cls=Command,
    epilog="""[bold]Examples[/bold]
  recxfer transfer --list
  recxfer transfer runs/base data/shop runs/age \\
    --method peterrec --task profile:age --set bottleneck=16
  recxfer transfer runs/food data/kitchen runs/cold \\
    --method finetune --task cross-domain
  recxfer transfer runs/age2 data/shop runs/gender3 \\
    --method conure --task profile:gender --set prune=0.5
""",
)(transfer)
app.command(
    cls=Command,
    epilog="""[bold]Examples[/bold]
  recxfer evaluate runs/base --at 10
  recxfer evaluate runs/full runs/patched runs/probe \\
    --by history-length --report compared.html
  recxfer evaluate runs/age2 runs/gender3 --task 1 --task profile:age
""",
)(evaluate)
app.command(
    cls=Command,
    epilog="""[bold]Examples[/bold]
  recxfer export runs/base users.parquet --what users
  recxfer export runs/base top.parquet --what recommendations --top 20
  recxfer export runs/age merged.safetensors --what model
""",
)(export)
