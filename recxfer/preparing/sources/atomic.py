"""RecBole atomic files: tab separated, no quoting, UTF-8, a header of `name:type`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from recxfer.preparing.sources.delimited import Dialect, scan_delimited

ATOMIC: Final = Dialect("\t", quoted=False)


def scan_atomic(paths: Sequence[Path]) -> pl.LazyFrame:
    """Files of one header as a frame of text columns, named without their types."""
    frame = scan_delimited(paths, ATOMIC, header=True)
    names = frame.collect_schema().names()
    return frame.rename({name: name.partition(":")[0] for name in names})


def companion(interactions: Path, ending: str) -> Path | None:
    """The file beside `NAME.inter` that describes its items or users, where there is one.

    Args:
        interactions: the `.inter` file.
        ending: `.item` or `.user`.
    """
    beside = interactions.with_suffix(ending)
    return beside if beside.exists() else None
