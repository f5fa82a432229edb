"""Running a command's work: reporter, error boundary, and one result on stdout."""

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import typer

from recxfer import __version__
from recxfer.foundation.errors import RecxferError, UsageError

if TYPE_CHECKING:
    from recxfer.foundation.console import Reporter

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Result(Protocol):
    """What every command returns."""

    @property
    def path(self) -> Path:
        """What was made."""
        ...

    def as_json(self) -> dict[str, Any]:
        """The command's own keys of `--json`."""
        ...


def execute(
    command: str,
    work: Callable[["Reporter"], Result],
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
    resumable: bool = False,
) -> None:
    """Do the work, then print its result; turn every failure into a message and an exit code.

    Args:
        command: the subcommand's name.
        work: takes a reporter, returns a result.
        as_json: whether stdout and errors are JSON.
        quiet: whether stderr stays silent but for errors.
        debug: whether errors are raised instead of told.
        resumable: whether an interrupted command goes on with `--resume`.
    """
    from recxfer.foundation.console import RichReporter, SilentReporter

    started = time.perf_counter()
    try:
        result = work(SilentReporter() if quiet or as_json else RichReporter())
    except KeyboardInterrupt:
        hint = "repeat the command with --resume to go on" if resumable else None
        _fail("interrupted", hint, INTERRUPTED, as_json=as_json)
    except RecxferError as error:
        if debug:
            traceback.print_exc()
        _fail(error.message, error.hint, error.exit_code, as_json=as_json)
    except Exception as error:
        if debug or not as_json:
            traceback.print_exc()
        hint = "this is a bug in recxfer: please report it with the traceback"
        _fail(f"{type(error).__name__}: {error}", hint, 1, as_json=as_json)
    _print(command, result, time.perf_counter() - started, as_json=as_json)


def path_or_stdin(argument: str) -> Path:
    """The path, or with `-` the one line that the command before wrote to the pipe."""
    if argument != "-":
        return Path(argument)
    line = sys.stdin.readline().strip()
    if not line:
        raise UsageError(
            "`-` reads a path from standard input, but nothing came",
            hint="pipe another recxfer command into this one, or give the path itself",
        )
    return Path(line)


def _print(command: str, result: Result, seconds: float, *, as_json: bool) -> None:
    if as_json:
        from recxfer.foundation.device import peak_memory_mb

        common = {
            "command": command,
            "path": str(result.path),
            "seconds": round(seconds, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "version": __version__,
        }
        typer.echo(json.dumps({**common, **result.as_json()}))
        return
    if sys.stdout.isatty():
        from importlib import import_module

        from rich.console import Console

        tables = import_module(f"recxfer.cli.tables.{command}")
        Console().print(tables.render(result))
    typer.echo(str(result.path))


def _fail(message: str, hint: str | None, code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": message, "hint": hint, "exit_code": code}), err=True)
    else:
        typer.secho(f"error: {message}", fg="red", err=True)
        if hint:
            typer.echo(f"hint: {hint}", err=True)
    raise typer.Exit(code)
