"""Treat SIGTERM as a second Ctrl-C: clean up before the process ends."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):  # no error, as KeyboardInterrupt is none
    """Somebody sent SIGTERM: `kill`, `timeout`, a scheduler."""


@contextmanager
def raised_on_sigterm() -> Iterator[None]:
    """Raise `Terminated` at the first SIGTERM; more of them do not disturb the cleaning up.

    Outside the main thread signals cannot be caught, and this does nothing.
    """

    def end(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
