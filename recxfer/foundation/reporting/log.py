"""Logs: reporters that write the figures of training to a place, chosen as `NAME:PLACE`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from typing_extensions import override

from recxfer.foundation.errors import UsageError
from recxfer.foundation.registry import suggestion
from recxfer.foundation.reporting import REPORTERS, SilentReporter


class Log(SilentReporter, ABC):
    """Reporter that appends figures to a place. Subclasses are final.

    A log is to lose nothing when training is killed: what was recorded has been written.
    """

    @abstractmethod
    def __init__(self, place: str) -> None:
        """Open the place, so that one that cannot be written to is refused before training.

        Raises:
            RecxferError: it cannot be written to, or a package is missing.
        """
        super().__init__()

    @abstractmethod
    @override
    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Write figures to the place."""


def logs() -> list[str]:
    """List the reporters that write to a place, in table order."""
    return [e.name for e in REPORTERS if issubclass(REPORTERS.resolve(e.name), Log)]


def open_log(text: str) -> Log:
    """Open `NAME:PLACE`.

    Raises:
        UsageError: there is no such log, or no place.
        RecxferError: the place cannot be written to, or a package is missing.
    """
    name, _, place = text.partition(":")
    known = logs()
    if name not in known:
        raise UsageError(
            f"--log-to {text}: there are {', '.join(known)}", hint=suggestion(name, known)
        )
    if not place:
        raise UsageError(f"--log-to {text}: to which place?", hint=f"write --log-to {name}:PATH")
    kind = REPORTERS.resolve(name)
    assert issubclass(kind, Log)
    return kind(place)
