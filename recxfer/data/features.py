"""Cache vectors of items that a frozen encoder computed, in the dataset that has the items."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recxfer.data.tables import write_table
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import replaced_file
from recxfer.foundation.names import FEATURES, ITEM
from recxfer.foundation.reporting import Reporter

VECTOR: Final = "vector"


def cached_features(
    dataset: Path, key: str, compute: Callable[[], Tensor], reporter: Reporter
) -> Tensor:
    """Read the vectors of all items from `features/<key>.parquet`, or compute and keep them.

    A file that is damaged is replaced. Where nothing can be written, a warning says so.

    Args:
        dataset: the dataset's directory.
        key: a hash of the encoder and of what it read: whatever changes the vectors changes it.
        compute: yields the vectors (V, D), item 1 first.
        reporter: is warned.

    Returns:
        float32 (V, D), on the CPU, in memory of its own.
    """
    path = dataset / FEATURES / f"{key}.parquet"
    found_VD = _read(path)
    if found_VD is not None:
        return found_VD
    vector_VD = compute().detach().float().cpu().contiguous()
    frame = pl.DataFrame(
        {
            ITEM: pl.int_range(1, vector_VD.shape[0] + 1, dtype=pl.Int32, eager=True),
            VECTOR: pl.Series(vector_VD.numpy(), dtype=pl.Array(pl.Float32, vector_VD.shape[1])),
        }
    )
    try:
        with replaced_file(path) as temporary:
            write_table(temporary, frame)
    except (DataError, OSError) as error:
        reporter.warn(f"features of items are not kept for next time: {error}")
    return vector_VD


def _read(path: Path) -> Tensor | None:
    """Read the vectors of a file; None where it is missing, or does not hold items 1, 2, ..."""
    try:
        frame = pl.read_parquet(path, columns=[ITEM, VECTOR])
    except (OSError, pl.exceptions.PolarsError):
        return None
    whole = np.array_equal(frame[ITEM].to_numpy(), np.arange(1, frame.height + 1))
    if not whole or not isinstance(frame.schema[VECTOR], pl.Array):
        return None
    return torch.from_numpy(frame[VECTOR].to_numpy(writable=True))
