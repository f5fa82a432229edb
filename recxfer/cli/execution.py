"""Run a command's work: choose its reporter, and print one result on stdout."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import typer

from recxfer import __version__
from recxfer.cli import settings
from recxfer.cli.boundary import InterruptedRunError
from recxfer.cli.options import Common
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import Json
from recxfer.foundation.plugins import plugin_warnings_to

if TYPE_CHECKING:
    from recxfer.foundation.config import Config
    from recxfer.foundation.reporting import Reporter


class Configured(Protocol):
    """The config that a command's `resolve` returns."""

    @property
    def sections(self) -> Mapping[str, "Config"]:
        """The decoded settings by section."""
        ...


class Result(Protocol):
    """The result that a command returns."""

    @property
    def path(self) -> Path:
        """The file or directory that was made."""
        ...

    def as_json(self) -> dict[str, object]:
        """Return the command's own keys of `--json`."""
        ...


def start(
    command: str,
    configure: Callable[[], Configured],
    common: Common,
    *,
    seeds: str | None = None,
    logs: Sequence[str] = (),
    resumable: bool = False,
    together: bool = False,
) -> None:
    """Run a command of `recxfer.commands`, or show its settings where only they are asked for.

    Args:
        command: the subcommand's name.
        configure: makes the command's config out of its options.
        common: options of every command.
        seeds: where the command makes a run for each of several.
        logs: as for `execute`.
        resumable: as for `execute`.
        together: as for `execute`.
    """
    if common.settings:
        settings.show(command, configure().sections, as_json=common.json)
        return

    def work(reporter: "Reporter") -> Result:
        config, run = configure(), import_module(f"recxfer.commands.{command}").run
        if seeds is not None:
            return _over_seeds(config, seeds, common.seed, run, reporter)
        result: Result = run(config, reporter)
        return result

    execute(
        command,
        work,
        as_json=common.json,
        quiet=common.quiet,
        logs=logs,
        resumable=resumable,
        together=together,
    )


def _over_seeds(
    config: Any, seeds: str, seed: int, run: Callable[..., Any], reporter: "Reporter"
) -> Result:
    from recxfer.commands.studies import parse_seeds, run_seeds

    if seed:
        raise UsageError(
            f"--seed {seed} and --seeds {seeds} were both given", hint="leave one of them out"
        )
    return run_seeds(config, parse_seeds(seeds), run, reporter)


def execute(
    command: str,
    work: Callable[["Reporter"], Result],
    *,
    as_json: bool,
    quiet: bool,
    logs: Sequence[str] = (),
    resumable: bool = False,
    together: bool = False,
) -> None:
    """Do the work, then print its result.

    Args:
        command: the subcommand's name.
        work: takes a reporter, returns a result.
        as_json: whether stdout is one JSON object; warnings are then part of it.
        quiet: whether stderr stays silent but for errors.
        logs: where else figures of training go, each `NAME:PLACE`.
        resumable: whether an interrupted command goes on with `--resume`.
        together: whether several processes that torchrun started do the work together. The first
            of them alone reports and prints.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM, where `--resume` goes on.
        UsageError: torchrun started several processes that would do the same work.
    """
    from recxfer.foundation.reporting import REPORTERS
    from recxfer.foundation.reporting.log import open_log
    from recxfer.foundation.reporting.many import Many

    # What torchrun sets is read here, so that torch is not loaded before it is needed.
    if not together and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"torchrun started several processes of `recxfer {command}`, which works in one",
            hint="start it without torchrun; `recxfer pretrain` can be started with it",
        )
    first = int(os.environ.get("RANK", "0")) == 0
    # Beside JSON only a person at a terminal is shown progress: in a file or a pipe, stderr then
    # holds nothing, or the one object that tells the error.
    silent = quiet or not first or (as_json and not sys.stderr.isatty())
    screen = REPORTERS.resolve("silent" if silent else "rich")()
    listeners = {f"--log-to {text}": open_log(text) for text in logs} if first else {}
    reporter = Many(screen, listeners)
    started = time.perf_counter()
    try:
        with plugin_warnings_to(reporter.warn):
            result = work(reporter)
    except KeyboardInterrupt as interrupt:
        if not resumable:
            raise
        hint = "repeat the command with --resume to go on"
        raise InterruptedRunError(interrupt, hint) from interrupt
    if not first:
        return
    if as_json:
        seconds = time.perf_counter() - started
        typer.echo(json.dumps(_facts(command, result, seconds, reporter.warnings)))
        return
    # A pipe is handed the path alone; whoever started it still sees the figures, on stderr.
    if sys.stdout.isatty() or not quiet:
        _draw(command, result, sys.stdout if sys.stdout.isatty() else sys.stderr)
    typer.echo(str(result.path))


def path_or_stdin(argument: str) -> Path:
    """Return the path; for `-`, the line that the command before wrote to the pipe."""
    if argument != "-":
        return Path(argument)
    line = sys.stdin.readline().strip()
    if not line:
        raise UsageError(
            "`-` reads a path from standard input, but nothing came",
            hint="pipe another recxfer command into this one, or give the path itself",
        )
    return Path(line)


def _facts(command: str, result: Result, seconds: float, warnings: list[str]) -> Json:
    from recxfer.foundation.memory import peak_memory_mb

    return {
        "command": command,
        "path": str(result.path),
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "version": __version__,
        "warnings": warnings,
        **result.as_json(),
    }


def _draw(command: str, result: Result, stream: TextIO) -> None:
    """Draw the result's table by the module of the same name in `recxfer.cli.tables`."""
    from recxfer.cli.tables import console_on

    console_on(stream).print(import_module(f"recxfer.cli.tables.{command}").render(result))
