"""Turn raw ids into text, whatever their type, and sort them independently of the rows."""

from typing import Final

import polars as pl

from recxfer.foundation.errors import DataError

_NO_ID: Final = ("nan", "NaN", "None", "NULL", "null")
"""What pandas, Python and databases write for an id that is missing."""

_SAMPLE_ROWS: Final = 1000


def written_id(name: str, frame: pl.LazyFrame, *, words: bool) -> pl.Expr:
    """Restore an id column of a text file to the id before it was written.

    Where every id is a whole number with `.0`, they lose it: so are integers beside nulls written.

    Args:
        name: a column of text.
        frame: the table it is in.
        words: whether nan, NaN, None, NULL and null stand for no id; the empty text always does.
    """
    text = pl.col(name).str.strip_chars()
    id = pl.when(~text.is_in(["", *_NO_ID] if words else [""])).then(text).alias(name)
    whole = id.str.contains(r"^-?(0|[1-9]\d*)\.0$")
    # Few columns get past their first rows: the others cost no pass over the file.
    for rows in (frame.head(_SAMPLE_ROWS), frame):
        found = rows.select((whole.all() & whole.any()).alias("all"))
        if not found.collect(engine="streaming").item():
            return id
    return id.str.strip_suffix(".0")


def id_text(name: str, schema: pl.Schema) -> pl.Expr:
    """Turn an id column into text without blanks around it; null where nothing is left.

    Whole numbers held as floats lose their `.0`: that is how pandas stores integers beside nulls.

    Raises:
        DataError: the column is of a type that cannot be an id.
    """
    column, dtype = pl.col(name), schema[name]
    if dtype.is_nested() or dtype == pl.Binary:
        raise DataError(f"column {name!r} has type {dtype}; ids are numbers or text")
    if dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        return (
            pl.when(column.is_nan())
            .then(None)
            .when(whole == column)
            .then(whole.cast(pl.String))
            .otherwise(column.cast(pl.String))
            .alias(name)
        )
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text).alias(name)


def sorted_by_id(ids: pl.DataFrame, name: str) -> pl.DataFrame:
    """Sort rows by a text id: by number where all are whole numbers, else by text."""
    text = pl.col(name)
    if ids[name].str.contains(r"^-?\d{1,18}$").all():
        return ids.sort(text.cast(pl.Int64), text)
    return ids.sort(text)
