"""Turn whatever a command raises into one message on stderr and an exit code."""

import errno
import json
import os
import sys
import traceback
from dataclasses import dataclass, replace
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typing_extensions import override

from recxfer.foundation.errors import DataError, RecxferError, ResourceError, UsageError
from recxfer.foundation.signals import Terminated, raised_on_sigterm

BUG: Final = 1
INTERRUPTED: Final = 130
"""After Ctrl-C, as shells have it."""

TERMINATED: Final = 143
"""After SIGTERM, likewise."""

_FILE_TROUBLE: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EIO,
    }
)
"""What a file system says of a user's paths; any other OSError is a bug."""

_FILE_HINTS: Final = {
    errno.ENOENT: "nothing can be made there; choose another place",
    errno.EEXIST: "a file is where a folder is needed; choose another place",
    errno.ENOTDIR: "a file is where a folder is needed; choose another place",
}

_MEMORY_TROUBLE: Final = (
    "can't allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
)
"""What torch's allocators say, in errors that have no class of their own."""


class InterruptedRunError(Exception):
    """Ctrl-C or SIGTERM during a command that can be resumed."""

    def __init__(self, interrupt: KeyboardInterrupt, hint: str) -> None:
        super().__init__(hint)
        self.interrupt = interrupt
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is shown to the user."""

    error: str
    hint: str | None
    exit_code: int

    def tell(self, *, as_json: bool, with_traceback: bool) -> None:
        """Write the error to stderr: one JSON object, or lines of text."""
        trace = traceback.format_exc() if with_traceback else None
        if as_json:
            facts = {"error": self.error, "hint": self.hint, "exit_code": self.exit_code}
            typer.echo(json.dumps(facts | ({"traceback": trace} if trace else {})), err=True)
            return
        from rich.console import Console
        from rich.text import Text

        lines = [Text.assemble(("error: ", "red"), self.error)]
        if self.hint:
            lines.append(Text.assemble(("hint: ", "cyan"), self.hint))
        if trace:
            lines.insert(0, Text(trace))
        Console(stderr=True).print(*lines, sep="\n", soft_wrap=True, highlight=False)


class Boundary(TyperGroup):
    """Group of all commands; the one place that turns exceptions into exit codes.

    It lives inside the application, so that tests that invoke the application see the real codes.
    """

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Note whether errors are wanted as JSON, before any argument can be wrong."""
        ctx.obj = {"as_json": "--json" in args, "debug": "--debug" in args}
        return super().parse_args(ctx, args)

    @override
    def invoke(self, ctx: Any) -> Any:
        """Run the command; on an exception show it and leave with its exit code."""
        try:
            with raised_on_sigterm():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            # Whoever read our output has what they wanted. Python flushes stdout once more at
            # exit, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (Exception, KeyboardInterrupt) as error:
            failure = _failure(error, ctx.invoked_subcommand)
            failure.tell(
                as_json=ctx.obj["as_json"],
                with_traceback=ctx.obj["debug"] or failure.exit_code == BUG,
            )
            raise typer.Exit(failure.exit_code) from error


def _failure(error: BaseException, command: str | None) -> Failure:
    match error:
        case RecxferError():
            return Failure(error.message, error.hint, error.exit_code)
        case InterruptedRunError():
            return replace(_failure(error.interrupt, command), hint=error.hint)
        case Terminated():
            return Failure("terminated", None, TERMINATED)
        case KeyboardInterrupt():
            return Failure("interrupted", None, INTERRUPTED)
        case typer.TyperException():  # an option or argument that the parser refuses
            see = " ".join(("recxfer", *filter(None, [command]), "--help"))
            return Failure(error.format_message(), f"see `{see}`", UsageError.exit_code)
        case OSError(errno=number, filename=str(name)) if number in _FILE_TROUBLE:
            hint = _FILE_HINTS.get(number)
            return Failure(f"{name}: {error.strerror}", hint, DataError.exit_code)
        case MemoryError() | RuntimeError() if _is_memory_trouble(error):
            hint = "lower the sizes in --set (width, max_length), or --batch-size"
            return Failure(f"out of memory: {_first_line(error)}", hint, ResourceError.exit_code)
        case _:
            hint = "this is a bug in recxfer: please report it with the traceback"
            return Failure(f"{type(error).__name__}: {error}", hint, BUG)


def _is_memory_trouble(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _MEMORY_TROUBLE)


def _first_line(error: BaseException) -> str:
    """Cut an allocator's message to its first line, which says what was asked for."""
    lines = str(error).splitlines()
    told = lines[0] if lines else ""
    return told.rpartition("DefaultCPUAllocator: ")[2] or "the machine has no more to give"
