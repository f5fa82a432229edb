"""Write `items.parquet` and `users.parquet`: ids in index order, with their content and labels."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
from polars import selectors as cs

from recxfer.data.schema import ImageRecord, TextRecord
from recxfer.foundation.errors import DataError
from recxfer.foundation.names import IMAGE, IMAGE_ROW, IMAGES, ITEM_ID, TEXT, USER_ID
from recxfer.preparing.ids import id_text
from recxfer.preparing.images import Fault, store_images
from recxfer.preparing.labels import label_columns
from recxfer.preparing.streams import collect

_ROW: Final = "row"
_IMAGE_ENDINGS: Final = {".jpg", ".jpeg", ".png", ".webp", ".gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Items in index order, with their content."""

    items: pl.DataFrame
    """`item | item_id | num_events | [text] | [image | image_row]`."""

    contradicted: int
    """Ids that the source has rows for that are not equal."""

    texts: TextRecord | None = None
    images: ImageRecord | None = None
    unusable: dict[Fault, Path] = field(default_factory=dict)
    """An image file of each fault that was met."""


def item_table(
    ids: pl.DataFrame,
    source: pl.LazyFrame | None,
    images: Path | None,
    *,
    image_side: int,
    directory: Path,
    output: Path,
) -> Catalogue:
    """Describe items, and decode their images into the dataset.

    Args:
        ids: `item | item_id | num_events`.
        source: `item_id` and `text`, `image` or both; the first row of an id counts.
        images: folder of `<item_id>.jpg` (or jpeg, png, webp, gif); wins over the source's column.
        image_side: pixels of an edge of a decoded image.
        directory: the dataset being made; paths of the source are relative to it.
        output: its final place; absolute image paths become relative to it.

    Raises:
        DataError: none of the items is in the source, none has an image, none of the images can
            be decoded, or texts are of no type that is text.
    """
    table, contradicted, texts = ids, 0, None
    if source is not None:
        schema = source.collect_schema()
        known = [name for name in (TEXT, IMAGE) if name in schema]
        found, contradicted = _rows_of(ids[ITEM_ID], source.select(ITEM_ID, *known))
        if TEXT in known:
            found = found.with_columns(_plain_text(schema))
        table = ids.join(found, on=ITEM_ID, how="left", maintain_order="left")
    if TEXT in table.columns:
        empty, absent = int((table[TEXT] == "").sum()), table[TEXT].null_count()
        texts = TextRecord(items=table.height - empty - absent, absent=absent, empty=empty)
        table = table.with_columns(pl.when(pl.col(TEXT) != "").then(pl.col(TEXT)).alias(TEXT))
    if images is not None:
        table = table.drop(IMAGE, strict=False).join(
            _image_paths(images, ids[ITEM_ID]), on=ITEM_ID, how="left", maintain_order="left"
        )
    if IMAGE not in table.columns:
        return Catalogue(items=table, contradicted=contradicted, texts=texts)
    files = [None if path is None else directory / path for path in table[IMAGE]]
    stored = store_images(files, directory / IMAGES, image_side)
    if stored.record.items == 0:
        faults = (f"{path} is {fault.replace('_', ' ')}" for fault, path in stored.examples.items())
        raise DataError(
            f"items have no image that can be used: {next(faults, 'none is named')}",
            hint="leave images out, with --columns image= where the item table has such a column",
        )
    paths = [_relative(path, output) for path in table[IMAGE]]
    return Catalogue(
        items=table.with_columns(
            pl.Series(IMAGE, paths, dtype=pl.String),
            pl.Series(IMAGE_ROW, stored.row_V, dtype=pl.Int32),
        ),
        contradicted=contradicted,
        texts=texts,
        images=stored.record,
        unusable=stored.examples,
    )


def user_table(
    ids: pl.DataFrame, source: pl.LazyFrame | None
) -> tuple[pl.DataFrame, dict[str, str], int]:
    """Join the columns of `ids` with all label columns; say what was left out.

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
    """Take the first row of each id that occurs in the events; count ids with unequal rows."""
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


def _plain_text(schema: pl.Schema) -> pl.Expr:
    """Put texts on one line, with single blanks between words."""
    if schema[TEXT].is_nested() or schema[TEXT] == pl.Binary:
        raise DataError(
            f"the text of items has type {schema[TEXT]}; it has to be text",
            hint="join its parts beforehand, or name another column: --columns text=NAME",
        )
    return pl.col(TEXT).cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()


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
