"""Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, final

import polars as pl

from recxfer.foundation.config import Config
from recxfer.preparing.sources.format import Format


@final
class Parquet(Format[Config]):
    """Read Parquet files, their columns of whatever types they are."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """See `Format.scan`; Parquet always has a header."""
        return pl.scan_parquet(list(paths), hive_partitioning=False)

    def id(self, name: str, frame: pl.LazyFrame) -> pl.Expr:
        """See `Format.id`: what has types is not written as text first."""
        return pl.col(name)
