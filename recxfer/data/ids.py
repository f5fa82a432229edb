"""Raw ids: as text whatever their type, and in an order that does not depend on the rows."""

import polars as pl

from recxfer.foundation.errors import DataError


def id_text(name: str, schema: pl.Schema) -> pl.Expr:
    """An id column as text; null where it is empty.

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
    text = column.cast(pl.String)
    return pl.when(text != "").then(text).alias(name)


def sorted_by_id(ids: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows in the order of a text id: by number where all are whole numbers, else by text."""
    text = pl.col(name)
    if ids[name].str.contains(r"^-?\d{1,18}$").all():
        return ids.sort(text.cast(pl.Int64), text)
    return ids.sort(text)
