"""Text and image of each item, as a dataset holds them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from recxfer.data.schema import DatasetInfo
from recxfer.foundation.errors import DataError
from recxfer.foundation.files import canonical_json, sha256_of_text
from recxfer.foundation.names import IMAGE, IMAGE_ROW, IMAGES, TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContent:
    """Texts and images of all items of a dataset.

    Shape letters: V items, V1 items with item 0 (padding) first, N images, S pixels of a side.
    """

    text_V: tuple[str, ...]
    """Text of each item, item 1 first; empty where an item has none."""

    image_row_V1: Tensor
    """int64 row of each item's image in `pixels`, by item index; -1 where there is none."""

    pixels: NDArray[np.uint8] | None
    """The images (N, S, S, 3), RGB, memory-mapped and read-only; None where no item has one."""

    fingerprint: str
    """Hash of all of it: equal where every item has the same text and the same pixels."""

    @property
    def num_items(self) -> int:
        """Items, 1..num_items."""
        return len(self.text_V)

    def grown(self, count: int) -> "ItemContent":
        """Return the same with `count` more items, of which there is nothing."""
        return replace(
            self,
            text_V=(*self.text_V, *[""] * count),
            image_row_V1=torch.cat([self.image_row_V1, torch.full((count,), -1)]),
            fingerprint=sha256_of_text(f"{self.fingerprint} and {count} more"),
        )

    @property
    def has_text_V1(self) -> Tensor:
        """bool: which items have a text, by item index."""
        return torch.tensor([False, *map(bool, self.text_V)])

    @property
    def has_image_V1(self) -> Tensor:
        """bool: which items have an image, by item index."""
        return self.image_row_V1 >= 0


def read_content(path: Path, info: DatasetInfo, items: pl.DataFrame) -> ItemContent:
    """Read the texts and images of a dataset's items.

    Args:
        path: the dataset.
        info: what it says of itself.
        items: the columns `text` and `image_row` of its item table, those of them that it has.

    Raises:
        DataError: there is neither, the images were never decoded, or their file is damaged.
    """
    if IMAGE in info.modalities and IMAGE_ROW not in items.columns:
        raise DataError(
            f"{path} knows where images of its items lie, but holds none of their pixels",
            hint="it is of an earlier version: prepare it again",
        )
    if not info.modalities:
        raise DataError(
            f"{path} has no text and no image of any item",
            hint="they come in with: recxfer prepare --items FILE, or --images FOLDER",
        )
    texts = [""] * items.height
    if TEXT in items.columns:
        texts = items[TEXT].fill_null("").to_list()
    row_V1 = torch.full((items.height + 1,), -1, dtype=torch.int64)
    pixels = None
    if IMAGE_ROW in items.columns:
        row_V1[1:] = torch.tensor(items[IMAGE_ROW].fill_null(-1).to_list())
        pixels = _open_images(path / IMAGES, int(row_V1.max()) + 1)
    parts = {"text": texts, "image_row": row_V1.tolist(), "images": info.tables.get(IMAGES)}
    return ItemContent(
        text_V=tuple(texts),
        image_row_V1=row_V1,
        pixels=pixels,
        fingerprint=sha256_of_text(canonical_json(parts)),
    )


def _open_images(path: Path, count: int) -> NDArray[np.uint8]:
    """Map the images of a dataset, of which item rows name `count`."""
    try:
        pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="prepare it again") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) != count:
        raise DataError(
            f"{path} holds {pixels.dtype} values of shape {pixels.shape}, "
            f"not {count:,} images of bytes",
            hint="the dataset is damaged; prepare it again",
        )
    return pixels
