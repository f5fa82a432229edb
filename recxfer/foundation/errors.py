"""Errors a user can meet, each with its exit code; anything else is a bug (exit 1)."""

from typing import ClassVar


class RecxferError(Exception):
    """A problem the user can mend; the message says what was found and expected, and where."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RecxferError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, of the wrong type or out of range; all problems are listed together."""


class DataError(RecxferError):
    """A source, a dataset or a column is missing, damaged or empty."""

    exit_code = 3


class CheckpointError(RecxferError):
    """A checkpoint is missing, damaged, of another parent or made from another vocabulary."""

    exit_code = 4


class DivergedError(RecxferError):
    """Training left the finite numbers, or collapsed."""

    exit_code = 5


class ResourceError(RecxferError):
    """The machine has less memory than was asked for."""

    exit_code = 6
