"""Run lazy frames as streams, with errors that a user can act on."""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import polars as pl

from recxfer.foundation.errors import DataError

_NO_SPACE: Final = "No space left on device"


def collect(frames: Sequence[pl.LazyFrame], source: str) -> list[pl.DataFrame]:
    """Collect several frames in one pass over what they share.

    Args:
        frames: lazy frames, usually over one scan.
        source: what is read, for error messages.

    Raises:
        DataError: a file is damaged or cannot be read as its columns promise.
    """
    with stream_errors(source):
        return pl.collect_all(frames, engine="streaming")


@contextmanager
def stream_errors(source: str) -> Iterator[None]:
    """Turn what polars raises while it reads `source` into a data error of one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{source}: {error}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        if _NO_SPACE in str(error):
            # Scratch files beside the output: a problem of writing, whatever is being read.
            raise OSError(errno.ENOSPC, _NO_SPACE) from error
        raise DataError(_explain(source, str(error)), hint=_hint(str(error))) from error


def _explain(source: str, text: str) -> str:
    unparsed = re.search(r"could not parse `(.*?)` as dtype `(\w+)` at column '(.*?)'", text)
    if unparsed:
        value, dtype, column = unparsed.groups()
        return f"{source}: column {column!r} holds {value!r} among values of type {dtype}"
    return f"{source} cannot be read: {text.strip().splitlines()[0]}"


def _hint(text: str) -> str:
    if "invalid utf-8" in text.lower():
        return "convert the file to UTF-8"
    return "is the file complete, and are all its rows alike?"
