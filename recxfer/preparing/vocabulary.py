"""Index items as another dataset does, so that both share a vocabulary."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recxfer.data.schema import DatasetInfo, read_info
from recxfer.foundation.errors import DataError
from recxfer.foundation.names import ITEM_ID, ITEMS
from recxfer.preparing.intake import Intake
from recxfer.preparing.links import read_ids

_CODE: Final = "code"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Another prepared dataset, as far as its items are concerned."""

    path: Path
    info: DatasetInfo
    item_ids: pl.Series
    """In index order."""


def read_vocabulary(path: Path) -> Vocabulary:
    """Open the dataset whose items are to be indexed alike.

    Raises:
        DataError: it is no dataset, or damaged.
    """
    return Vocabulary(path, read_info(path), read_ids(path, ITEMS))


def adopt(vocabulary: Vocabulary, intake: Intake, source: str) -> tuple[Intake, NDArray[np.int64]]:
    """Give an intake a code for every item of the vocabulary, and return these in index order.

    Items that never occur get codes beyond those of the others: no bucket holds them.

    Args:
        vocabulary: the other dataset.
        intake: the source's events.
        source: the source's name, for the message.

    Raises:
        DataError: the two share no item.
    """
    ids = vocabulary.item_ids
    absent = ids.filter(~ids.is_in(intake.item_ids.implode()))
    if len(absent) == len(ids):
        raise DataError(
            f"no item id occurs both in {source} and in {vocabulary.path}",
            hint=f"ids look like {intake.item_ids[0]!r} and {ids[0]!r}; "
            "both sides need the same ids",
        )
    item_ids = pl.concat([intake.item_ids, absent])
    codes = item_ids.to_frame(ITEM_ID).with_row_index(_CODE)
    found = ids.to_frame(ITEM_ID).join(codes, on=ITEM_ID, how="left", maintain_order="left")
    return replace(intake, item_ids=item_ids), found[_CODE].cast(pl.Int64).to_numpy()
