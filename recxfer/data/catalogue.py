"""`items.parquet` and `users.parquet`: ids in index order with what is known of each."""

import os
from pathlib import Path
from typing import Final

import polars as pl
from polars import selectors as cs

from recxfer.data.ids import id_text
from recxfer.data.labels import label_columns
from recxfer.data.streams import collect
from recxfer.foundation.errors import DataError
from recxfer.foundation.names import IMAGE, ITEM_ID, TEXT, USER_ID

_ROW: Final = "row"
_IMAGE_ENDINGS: Final = {".jpg", ".jpeg", ".png", ".webp"}


def item_table(
    ids: pl.DataFrame, source: pl.LazyFrame | None, images: Path | None, output: Path
) -> tuple[pl.DataFrame, int]:
    """`item | item_id | num_events | [text] | [image]`, and how many ids the source contradicts.

    Args:
        ids: the first three columns.
        source: `item_id` and `text`, `image` or both; the first row of an id counts.
        images: folder of `<item_id>.jpg` (or jpeg, png, webp); wins over the source's column.
        output: the dataset; absolute image paths become relative to it.

    Raises:
        DataError: none of the items is in the source, or none has an image.
    """
    table, contradicted = ids, 0
    if source is not None:
        known = [name for name in (TEXT, IMAGE) if name in source.collect_schema()]
        found, contradicted = _rows_of(ids[ITEM_ID], source.select(ITEM_ID, *known))
        table = ids.join(found, on=ITEM_ID, how="left", maintain_order="left")
    if images is not None:
        table = table.drop(IMAGE, strict=False).join(
            _image_paths(images, ids[ITEM_ID]), on=ITEM_ID, how="left", maintain_order="left"
        )
    if IMAGE in table.columns:
        paths = [_relative(path, output) for path in table[IMAGE]]
        table = table.with_columns(pl.Series(IMAGE, paths, dtype=pl.String))
    return table, contradicted


def user_table(
    ids: pl.DataFrame, source: pl.LazyFrame | None
) -> tuple[pl.DataFrame, dict[str, str], int]:
    """The columns of `ids` and all label columns, and what else there is to say of the source.

    That is: why a column is no label, and how many ids have rows that contradict each other.

    Args:
        ids: `user | user_id | num_events | split`.
        source: `user_id` and label columns; the first row of an id counts.

    Raises:
        DataError: none of the users is in the source.
    """
    if source is None:
        return ids, {}, 0
    found, contradicted = _rows_of(ids[USER_ID], source)
    described = ids.select(USER_ID).join(found, on=USER_ID, how="left", maintain_order="left")
    labels, refused = label_columns(described)
    return pl.concat([ids, labels], how="horizontal"), refused, contradicted


def _rows_of(ids: pl.Series, source: pl.LazyFrame) -> tuple[pl.DataFrame, int]:
    """The first row of each id that occurs in the events, and how many ids have unequal rows."""
    name = ids.name
    rows = source.with_columns(id_text(name, source.collect_schema())).with_row_index(_ROW)
    wanted = rows.join(ids.to_frame().lazy(), on=name, how="semi")
    found, first = collect([wanted, rows.select(pl.col(name).first())], f"the table of {name}")
    if found.is_empty():
        raise DataError(
            f"no {name} of the table ({first.item()!r}, ...) occurs in the events "
            f"({ids[0]!r}, ...)",
            hint="both need the same ids; choose the column with --columns",
        )
    found = found.sort(_ROW).drop(_ROW)
    distinct = found.drop(cs.nested()).unique()
    contradicted = distinct[name].is_duplicated() & distinct[name].is_first_distinct()
    return found.unique(name, keep="first", maintain_order=True), int(contradicted.sum())


def _image_paths(folder: Path, ids: pl.Series) -> pl.DataFrame:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder of images")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_ENDINGS)
    by_id = {file.stem: str(file.resolve()) for file in reversed(files)}
    paths = [by_id.get(item) for item in ids]
    if not any(paths):
        raise DataError(
            f"{folder} holds no image of any item: expected {ids[0]}.jpg and the like",
            hint="name images by item id, or give paths in the column image of --items",
        )
    return pl.DataFrame({ITEM_ID: ids, IMAGE: pl.Series(paths, dtype=pl.String)})


def _relative(path: str | None, output: Path) -> str | None:
    if path is None or not Path(path).is_absolute():
        return path
    return os.path.relpath(path, output.resolve())
