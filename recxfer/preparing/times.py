"""Read times of many spellings as whole numbers that can be sorted, and find their unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from recxfer.foundation.errors import DataError
from recxfer.foundation.names import ITEM, ITEM_ID, USER

_FORMATS: Final = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
)
_MICROSECONDS: Final = 1_000_000
_MILLIONTHS: Final = 1_000_000

YEAR_1980: Final = 315_532_800
"""In unix seconds: no log is older, so that an earlier time is something else, or misread."""

_YEAR_2100: Final = 4_102_444_800
_UNITS: Final[Mapping[str, int]] = {
    "seconds": 1,
    "milliseconds": 10**3,
    "microseconds": 10**6,
    "nanoseconds": 10**9,
}
_FEWEST_STEPS: Final = 100
"""From one item to another; so many in one direction are no chance."""

_FIRST_DAY: Final = 1990_01_01
_LAST_DAY: Final = 2100_12_31


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A column of times: its expression and its unit."""

    ticks: pl.Expr
    """Int64, null where the column is null or not a time."""

    per_second: int | None
    """Ticks in a second; None for plain numbers, whose size tells (`ticks_per_second`)."""

    fraction: pl.Expr | None = None
    """Int32 millionths of a tick beyond `ticks`, null where those are; None where none can be."""


def time_column(name: str, frame: pl.LazyFrame, where: str) -> TimeColumn:
    """Choose how column `name` is read, from its type and, for text, its first values.

    Numbers stay as they are, with their fractions beside them; dates and ISO 8601 text become
    microseconds since 1970 in UTC; text without a zone is taken as UTC. A text column has one form
    throughout: the one that most of its first values have.

    Args:
        name: the column.
        frame: the table it is in.
        where: the column as messages name it.

    Raises:
        DataError: the column is of a type, or its text of a form, that is no time.
    """
    column = pl.col(name)
    dtype = frame.collect_schema()[name]
    if dtype.is_integer():
        return TimeColumn(column.cast(pl.Int64), None)
    if dtype.is_float():
        return _number_column(column.cast(pl.Float64))
    if dtype == pl.Date or dtype == pl.Datetime:
        return TimeColumn(column.cast(pl.Datetime("us")).cast(pl.Int64), _MICROSECONDS)
    if dtype == pl.String:
        return _text_column(name, frame, where)
    raise DataError(
        f"{where} has type {dtype}; expected times as numbers, dates or text",
        hint="name another with --columns time=COLUMN",
    )


def ticks_per_second(largest: int) -> int:
    """Find the unit of plain numbers by the largest: seconds, milli-, micro- or nanoseconds.

    Read as seconds, 10^11 would lie in the year 5138.
    """
    return next((10**power for power in (0, 3, 6) if abs(largest) < 10 ** (11 + power)), 10**9)


def unit_counts(time: pl.Expr) -> list[pl.Expr]:
    """Count, for `refuse_mixed_units`, the values of a column of plain numbers."""
    counts, anywhere = [], pl.lit(value=False)
    for unit, ticks in _UNITS.items():
        # From 1980 to 2100, no two units share a value.
        fits = time.is_between(YEAR_1980 * ticks, _YEAR_2100 * ticks, closed="left")
        anywhere = anywhere | fits
        counts += [fits.sum().alias(unit), time.filter(fits).min().alias(f"{unit} like")]
    return [*counts, ((time >= YEAR_1980) & ~anywhere).sum().alias("no unit")]


def refuse_mixed_units(counts: Mapping[str, int], where: str) -> None:
    """Raise where some numbers of a column are times in one unit and others in another.

    A clock that starts at 0 passes through the ranges of several units; it has more numbers
    between these ranges than in the lesser of them, and is not refused.

    Args:
        counts: the values of `unit_counts`, by name.
        where: the column as messages name it.
    """
    units = [unit for unit in _UNITS if counts[unit]]
    if len(units) > 1 and counts["no unit"] < min(counts[unit] for unit in units):
        found = " and ".join(
            f"{unit} ({counts[unit]:,} like {counts[f'{unit} like']})" for unit in units
        )
        raise DataError(
            f"{where} mixes {found}; expected one unit in all rows",
            hint="bring these times to one unit, or name another column with --columns time=COLUMN",
        )


def may_be_days(first: int, last: int) -> bool:
    """Return whether numbers from `first` to `last` could be dates as 20240531."""
    return first >= _FIRST_DAY and last <= _LAST_DAY


def seconds_of_day(time: pl.Expr) -> pl.Expr:
    """Turn numbers that are dates, 20240531, into seconds; null where it is no such day."""
    day = time.cast(pl.String).str.to_date("%Y%m%d", strict=False)
    return day.cast(pl.Datetime("us")).cast(pl.Int64) // _MICROSECONDS


def _text_column(name: str, frame: pl.LazyFrame, where: str) -> TimeColumn:
    sample = frame.select(name).drop_nulls().head(100).collect()
    column = pl.col(name).str.strip_chars()
    number = column.cast(pl.Int64, strict=False)
    decimal = _number_column(column.cast(pl.Float64, strict=False))
    # Whole numbers are read as such: nanoseconds have more digits than a float.
    candidates = [TimeColumn(pl.coalesce(number, decimal.ticks), None, decimal.fraction)]
    candidates += [TimeColumn(_parsed(column, format), _MICROSECONDS) for format in _FORMATS]
    fits = [sample.select(candidate.ticks.count()).item() for candidate in candidates]
    if sample.height and not any(fits):
        raise DataError(
            f"{where} holds {sample.item(0, name)!r}, which is no time; "
            "expected unix seconds or ISO 8601 such as 2024-05-31 12:00:00",
            hint="convert the column, or name another with --columns time=COLUMN",
        )
    return candidates[fits.index(max(fits))]


def _number_column(column: pl.Expr) -> TimeColumn:
    whole = column.floor()
    fraction = ((column - whole) * _MILLIONTHS).round().cast(pl.Int32, strict=False)
    return TimeColumn(whole.cast(pl.Int64, strict=False), None, fraction)


def _parsed(column: pl.Expr, format: str) -> pl.Expr:
    if format.endswith("%#z"):
        moment = column.str.to_datetime(format, time_unit="us", time_zone="UTC", strict=False)
    else:
        moment = column.str.to_datetime(format, time_unit="us", strict=False)
    return moment.cast(pl.Int64)


def in_order_of_ids(events: pl.LazyFrame, items: pl.LazyFrame) -> bool:
    """Return whether each user's events are sorted by the ids of their items, up or down.

    Such a log was sorted by user and item: its order says nothing of time.

    Args:
        events: whole users in the order of their events: `user`, `item`.
        items: `item`, `item_id`.

    Returns:
        False also where there are fewer steps than could be told from chance.
    """
    by_number = pl.col(ITEM_ID).cast(pl.Int64, strict=False)
    order = pl.when(by_number.is_null().any()).then(None).otherwise(by_number)
    ranks = items.select(
        pl.col(ITEM), order.rank("dense").alias("number"), pl.col(ITEM_ID).rank("dense").alias("id")
    )
    same_user = pl.col(USER) == pl.col(USER).shift()
    steps = (
        events.select(USER, ITEM)
        .join(ranks, on=ITEM, how="left", maintain_order="left")
        .select(
            (pl.col(name).cast(pl.Int64).diff().filter(same_user) * sign).alias(f"{name}{sign}")
            for name in ("number", "id")
            for sign in (1, -1)
        )
    )
    told = steps.select((pl.all() >= 0).all() & ((pl.all() > 0).sum() >= _FEWEST_STEPS)).collect()
    return any(told.row(0))
