"""Options of several commands and of every command, declared once.

A script may pass one set of them to all commands: a command that has no use for one (`--device`
in `prepare`) takes it and does nothing with it.
"""

import inspect
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from recxfer.foundation.plugins import plugin_warnings_to
from recxfer.foundation.registry import Table

if TYPE_CHECKING:
    from recxfer.foundation.config import Settings as GivenSettings
    from recxfer.foundation.device import Execution

_PANEL = "Options of every command"

_MOST_THREADS = max(64, 4 * (os.cpu_count() or 1))
"""More would only wait for one another, and far more cannot be started. Never below 64, so that a
run can be resumed on a smaller machine with the threads it was begun with."""


def names_of(table: Table[object]) -> Callable[[str], list[str]]:
    """Complete names of a table, plug-ins included, in the shell."""
    return lambda incomplete: among(table.names)(incomplete)


def among(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Complete a few names in the shell."""
    known = list(names)

    def complete(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return complete


def listing(table: Table[object]) -> Callable[[typer.Context, bool], None]:
    """Callback of a `--list`: print the names and summaries of a table, and leave."""

    def show(context: typer.Context, value: bool) -> None:
        if not value:
            return
        # The error boundary has noted `--json`: this callback runs before that option is read.
        with plugin_warnings_to(lambda message: typer.echo(f"warning: {message}", err=True)):
            entries = list(table)
        if (context.obj or {}).get("as_json"):
            lines = [{"name": entry.name, "summary": entry.summary} for entry in entries]
            typer.echo(json.dumps(lines))
            raise typer.Exit
        width = max(len(entry.name) for entry in entries)
        for entry in entries:
            typer.echo(f"{entry.name:<{width}}  {entry.summary}")
        raise typer.Exit

    return show


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Settings by section; --set and flags win over them.",
        rich_help_panel=_PANEL,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One setting, such as optim.warmup=0.1; can be repeated.",
        rich_help_panel=_PANEL,
    ),
]
Settings = Annotated[
    bool,
    typer.Option(
        "--settings",
        help="Show every setting of what was chosen, and do nothing; arguments can be left out.",
        rich_help_panel=_PANEL,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", help="Of everything random.", rich_help_panel=_PANEL, min=0, max=2**63 - 1
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:1, mps, ...",
        rich_help_panel=_PANEL,
        autocompletion=among(["auto", "cpu", "cuda", "mps"]),
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, fp32 or bf16; auto is bf16 where the hardware multiplies in it.",
        rich_help_panel=_PANEL,
        autocompletion=among(["auto", "fp32", "bf16"]),
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=_MOST_THREADS,
        help="CPU threads; default: all.",
        rich_help_panel=_PANEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON object on stdout, and nothing else; errors are JSON too.",
        rich_help_panel=_PANEL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, notes or warnings.", rich_help_panel=_PANEL),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace an output that exists, once the new one is whole.",
        rich_help_panel=_PANEL,
    ),
]
Debug = Annotated[
    bool,  # read by the error boundary, before the command's own arguments are
    typer.Option("--debug", help="Errors come with their traceback.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Values of the options that every command takes, in the order in which `--help` shows them."""

    config: Config = None
    set_: Set = None
    settings: Settings = False
    seed: Seed = 0
    device: Device = "auto"
    precision: Precision = "auto"
    threads: Threads = None
    json: Json = False
    quiet: Quiet = False
    overwrite: Overwrite = False
    debug: Debug = False

    def read_settings(self) -> "GivenSettings":
        """Read what `--config` and `--set` give."""
        from recxfer.foundation.config import Settings

        return Settings.read(self.config, self.set_ or ())

    def execution(self) -> "Execution":
        """Name the values that a command that computes with torch takes, for its `resolve`."""
        return {
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "overwrite": self.overwrite,
        }


def with_common(*, precision: str = "auto") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of every command behind those that a function declares.

    The function takes them as one keyword, `common`; typer reads the signature of what is returned.

    Args:
        precision: the command's default of `--precision`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        own = [part for part in signature.parameters.values() if part.name != "common"]
        hints = get_type_hints(Common, include_extras=True)
        added = [
            inspect.Parameter(
                part.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=precision if part.name == "precision" else part.default,
                annotation=hints[part.name],
            )
            for part in fields(Common)
        ]

        @wraps(function)
        def command(**values: Any) -> None:
            common = Common(**{part.name: values.pop(part.name) for part in added})
            function(**values, common=common)

        parameters = [*own, *added]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what inspect looks for first
        command.__annotations__ = {part.name: part.annotation for part in parameters}
        return command

    return decorate


Epochs = Annotated[
    int | None, typer.Option("--epochs", help="Passes over the training data.", min=1)
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Rows of a step, on average.", min=1)
]
Lr = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="LIST",
        help="Make a run for each seed (0,1,2 or 0-4), as seed-N in the folder RUN; `evaluate` "
        "takes it as one.",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to",
        metavar="NAME:PATH",
        help="Write figures while training: jsonl:FILE or tensorboard:FOLDER; can be repeated.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run of the same settings.")
]

Base = Annotated[
    Path | None,
    typer.Option("--base", metavar="RUN", help="Where the base lies now, if it has moved."),
]
Dataset = Annotated[
    Path | None,
    typer.Option(
        "--dataset",
        metavar="DATASET",
        help="Where the dataset lies now, or another one with the same items.",
    ),
]
