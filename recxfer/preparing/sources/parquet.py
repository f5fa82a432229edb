"""Parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, final

import polars as pl
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.preparing.sources.format import Format


@final
class Parquet(Format[Config]):
    """Read Parquet files, their columns of whatever types they are."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    @override
    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """Scan Parquet files, which always have a header."""
        return pl.scan_parquet(list(paths), hive_partitioning=False)

    @override
    def id(self, name: str, frame: pl.LazyFrame) -> pl.Expr:
        """Take the column as it is: Parquet has types, so ids need no repair."""
        return pl.col(name)
