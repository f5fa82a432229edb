"""Turn user tables into label columns, with classes in an order independent of the rows."""

import polars as pl

from recxfer.data.schema import MAX_CLASSES
from recxfer.foundation.names import USER_COLUMNS
from recxfer.preparing.ids import id_text


def label_columns(users: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Turn every column that can be a label into an Enum; say why the others cannot.

    An Enum keeps its classes and their order. Otherwise the classes are the values that occur:
    by number where all are numbers, else by text.

    Args:
        users: one row per user; columns of `users.parquet` that are no labels are left alone.
    """
    columns, refused = [], {}
    for column in users.drop(USER_COLUMNS, strict=False):
        if column.dtype.is_nested() or column.dtype == pl.Binary:
            refused[column.name] = f"its type is {column.dtype}"
            continue
        label = column if isinstance(column.dtype, pl.Enum) else _as_enum(column)
        classes = class_names(label)
        if not 2 <= len(classes) <= MAX_CLASSES:
            refused[column.name] = f"it has {len(classes):,} classes; 2 to {MAX_CLASSES:,} are read"
            continue
        columns.append(label)
    return pl.DataFrame(columns), refused


def class_names(label: pl.Series) -> tuple[str, ...]:
    """Return the classes of an Enum column, in order."""
    dtype = label.dtype
    return tuple(dtype.categories) if isinstance(dtype, pl.Enum) else ()


def _as_enum(column: pl.Series) -> pl.Series:
    frame = column.to_frame()
    text = frame.select(id_text(column.name, frame.schema)).to_series().str.strip_chars()
    text = text.set(text == "", None)
    values = text.drop_nulls().unique().sort()
    numbers = values.cast(pl.Float64, strict=False)
    if not numbers.has_nulls():
        values = values.gather(numbers.arg_sort())
    return text.cast(pl.Enum(values))
