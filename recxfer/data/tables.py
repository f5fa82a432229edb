"""Write the Parquet tables of a dataset, so that equal contents are equal bytes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

ROW_GROUP: Final = 1_000_000
"""Rows of a row group: fixed, since it shapes the bytes."""


def write_table(path: Path, frame: pl.DataFrame) -> None:
    """Write one table."""
    write_parts(path, [frame])


def write_parts(path: Path, parts: Iterator[pl.DataFrame] | Sequence[pl.DataFrame]) -> None:
    """Write a table that comes in parts, one part in memory at a time.

    Args:
        path: the Parquet file.
        parts: at least one frame; all of one schema.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    try:
        for part in parts:
            table = part.to_arrow()
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=ROW_GROUP)
    finally:
        if writer is not None:
            writer.close()
