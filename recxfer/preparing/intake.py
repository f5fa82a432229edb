"""Read every raw row once: count, code and sort what is kept, in memory that does not grow.

The source is read once, as a stream, and put on disk with the reason why a row is dropped. The ids
are counted from there; then integer codes go into buckets of neighbouring users, each small enough
to be sorted in memory. What stays in memory throughout is the distinct ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.names import (
    EVENT,
    ITEM,
    ITEM_ID,
    NUM_EVENTS,
    TIMESTAMP,
    USER,
    USER_ID,
    WEIGHT,
)
from recxfer.foundation.registry import suggestion
from recxfer.preparing.ids import id_text, sorted_by_id
from recxfer.preparing.sources.contract import RawSource
from recxfer.preparing.streams import stream_errors
from recxfer.preparing.times import (
    TimeColumn,
    may_be_days,
    refuse_mixed_units,
    seconds_of_day,
    ticks_per_second,
    time_column,
    unit_counts,
)

BUCKET_EVENTS: Final = 4_000_000
"""Events sorted in memory at once (a single user may have more)."""

NO_USER: Final = "no user id"
NO_ITEM: Final = "no item id"
NO_TIME: Final = "no time"
WHERE: Final = "not matching where"
DUPLICATE: Final = "duplicate"

_SLICE_ROWS: Final = 20_000_000
_ROWS: Final = "rows.parquet"
_ROW: Final = "row"
_BUCKET: Final = "bucket"
_FIRST: Final = "first time"
_LAST: Final = "last time"
_REASON: Final = "reason"
_UNREADABLE: Final = "unreadable"
_FRACTION: Final = "fraction of the time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Coded events on disk. Codes are positions in the sorted ids."""

    user_ids: pl.Series
    """Ids in order: by number where all are whole numbers, else by text."""

    item_ids: pl.Series
    """Likewise."""

    buckets: Sequence[Path]
    """Parquet files of `user | item | [timestamp] | [event] | [weight]`, in user order.

    Within a user: by time, then file order; file order alone where there is no time."""

    columns: tuple[str, ...]
    """The columns of the buckets."""

    per_second: int
    """Ticks of `timestamp` in a second; 1 where the source has no times."""

    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""


def take_in(raw: RawSource, where: str | None, directory: Path) -> Intake:
    """Read all interactions of a source into sorted buckets under `directory`.

    A row counts for the first reason that applies: no user id, no item id, no time (where the
    source has times), not matching `where`, duplicate. Of events with the same user, item, time
    (and event type, where there is one) the first is kept; repeats at other times stay, be they a
    fraction of a second apart. Without times nothing is a duplicate, since a repeat may be real.

    Raises:
        UsageError: `where` is no expression, or names an unknown column.
        DataError: a time or weight cannot be read, or no row is left.
    """
    rows, per_second = _normalised(raw, where)
    with stream_errors(raw.name):
        rows.sink_parquet(directory / _ROWS, compression="lz4", mkdir=True, engine="streaming")
    rows = pl.scan_parquet(directory / _ROWS)
    reasons = rows.group_by(_REASON).len().sort(_REASON).drop_nulls().collect(engine="streaming")
    dropped: dict[str, int] = dict(reasons.iter_rows())
    facts = _facts(rows)
    if _FRACTION in facts and not facts[_FRACTION].item():
        rows = rows.drop(_FRACTION)  # all are whole: nothing to sort by
    _refuse_unreadable(facts, raw)
    users, items = _count_ids(rows, USER_ID), _count_ids(rows, ITEM_ID)
    refuse_empty(users.height, dropped)
    names = rows.collect_schema().names()
    columns = (USER, ITEM, *(name for name in (TIMESTAMP, EVENT, WEIGHT) if name in names))
    if TIMESTAMP in columns and per_second is None:
        rows, per_second = _in_their_unit(rows, facts, raw)
    buckets = _stage(_kept(rows), users, items, directory)
    (directory / _ROWS).unlink()
    dropped[DUPLICATE] = sum(_sort_bucket(bucket, columns) for bucket in buckets)
    return Intake(
        user_ids=users[USER_ID],
        item_ids=items[ITEM_ID],
        buckets=[bucket / "sorted.parquet" for bucket in buckets],
        columns=columns,
        per_second=per_second or 1,
        dropped={reason: count for reason, count in dropped.items() if count},
    )


def refuse_empty(events: int, dropped: dict[str, int]) -> None:
    """Raise when no event is left, saying where they went."""
    if events == 0:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items())
        raise DataError(
            "no events are left" + (f" ({reasons})" if reasons else ": the source has no rows"),
            hint="loosen the filters, or check --columns",
        )


def _normalised(raw: RawSource, where: str | None) -> tuple[pl.LazyFrame, int | None]:
    """Normalise rows: text ids, whole-number times, and why a row is dropped (null: kept)."""
    frame, time = _with_numbers(raw)
    schema = frame.collect_schema()
    columns = {USER_ID: id_text(USER_ID, schema), ITEM_ID: id_text(ITEM_ID, schema)}
    reasons = [_if(columns[USER_ID].is_null(), NO_USER), _if(columns[ITEM_ID].is_null(), NO_ITEM)]
    if time is not None:
        columns[TIMESTAMP] = time.ticks
        missing = pl.col(TIMESTAMP).is_null() & pl.col(_UNREADABLE).is_null()
        reasons.append(_if(missing, NO_TIME))
        if time.fraction is not None:
            columns[_FRACTION] = time.fraction
    if where is not None:
        reasons.append(_if(~_condition(where, schema).fill_null(value=False), WHERE))
    if EVENT in schema:
        columns[EVENT] = pl.col(EVENT).cast(pl.String)
    if WEIGHT in schema:
        columns[WEIGHT] = pl.col(WEIGHT)
    columns |= {_REASON: pl.coalesce(reasons), _UNREADABLE: pl.col(_UNREADABLE)}
    return frame.select(**columns).with_row_index(_ROW), time.per_second if time else None


def _with_numbers(raw: RawSource) -> tuple[pl.LazyFrame, TimeColumn | None]:
    """Parse times (where they are plain numbers) and weights, so that `where` compares them.

    The column `unreadable` holds what could not be converted. Returned beside the frame: how its
    times are read from here on.
    """
    frame = raw.interactions
    schema = frame.collect_schema()
    numbers: dict[str, pl.Expr] = {}
    unreadable = [pl.lit(None, dtype=pl.String)]
    time = None
    if TIMESTAMP in schema:
        time = time_column(TIMESTAMP, frame, raw.locate(TIMESTAMP))
        unreadable.append(_unreadable(TIMESTAMP, time.ticks))
        if time.per_second is None:
            numbers[TIMESTAMP] = time.ticks
            fraction = None
            if time.fraction is not None:
                numbers[_FRACTION] = time.fraction
                fraction = pl.col(_FRACTION)
            time = TimeColumn(pl.col(TIMESTAMP), None, fraction)
    if WEIGHT in schema:
        numbers[WEIGHT] = pl.col(WEIGHT).cast(pl.Float32, strict=False)
        unreadable.append(_unreadable(WEIGHT, numbers[WEIGHT]))
    return frame.with_columns(**numbers, **{_UNREADABLE: pl.coalesce(unreadable)}), time


def _if(condition: pl.Expr, reason: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(reason))


def _condition(where: str, schema: pl.Schema) -> pl.Expr:
    try:
        condition = pl.sql_expr(where)
        names = condition.meta.root_names()
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"--where {where!r} is no expression: {error}",
            hint="write SQL, such as: rating >= 4 AND event = 'buy'",
        ) from error
    for name in names:
        if name not in schema:
            raise UsageError(
                f"--where names the column {name!r}; there are {', '.join(schema)}",
                hint=suggestion(name, list(schema)),
            )
    try:
        dtype = pl.DataFrame(schema=schema).select(condition).dtypes[0]
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"--where {where!r} does not fit the columns: {error}") from error
    if dtype != pl.Boolean:
        raise UsageError(f"--where {where!r} gives {dtype}, not true or false")
    return condition


def _unreadable(name: str, value: pl.Expr) -> pl.Expr:
    """Name a value that could not be read: `column: text`."""
    column = pl.col(name)
    return pl.when(column.is_not_null() & value.is_null()).then(
        pl.format(name + " {}", column.cast(pl.String))
    )


def _kept(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col(_REASON).is_null())


def _facts(rows: pl.LazyFrame) -> pl.DataFrame:
    facts = [
        pl.col(_UNREADABLE).count().alias("unreadable_rows"),
        pl.col(_UNREADABLE).drop_nulls().first(),
    ]
    names = rows.collect_schema().names()
    if TIMESTAMP in names:
        time = pl.col(TIMESTAMP)
        facts += [time.min().alias(_FIRST), time.max().alias(_LAST), *unit_counts(time)]
    if _FRACTION in names:
        facts.append(pl.col(_FRACTION).max())
    return _kept(rows).select(facts).collect(engine="streaming")


def _in_their_unit(
    rows: pl.LazyFrame, facts: pl.DataFrame, raw: RawSource
) -> tuple[pl.LazyFrame, int]:
    """Find rows whose times are plain numbers, and the ticks in a second.

    Raises:
        DataError: there are times of several units.
    """
    refuse_mixed_units(facts.row(0, named=True), raw.locate(TIMESTAMP))
    first, last = facts[_FIRST].item(), facts[_LAST].item()
    if may_be_days(first, last):
        day = seconds_of_day(pl.col(TIMESTAMP))
        no_day = _kept(rows).select(day.is_null().any()).collect(engine="streaming")
        if not no_day.item():
            return rows.with_columns(day.alias(TIMESTAMP)), 1
    return rows, ticks_per_second(max(abs(first), abs(last)))


def _count_ids(rows: pl.LazyFrame, name: str) -> pl.DataFrame:
    """Count the events of each id that is kept, in the order of the ids.

    Counted slice by slice: a group-by over all rows at once holds far more than its groups.
    """
    counts = pl.DataFrame(schema={name: pl.String, NUM_EVENTS: pl.UInt32})
    for start in range(0, rows.select(pl.len()).collect().item(), _SLICE_ROWS):
        part = _kept(rows.slice(start, _SLICE_ROWS)).group_by(name).len(NUM_EVENTS)
        counts = pl.concat([counts, part.collect(engine="streaming")])
        counts = counts.group_by(name).agg(pl.col(NUM_EVENTS).sum())
    return sorted_by_id(counts, name)


def _refuse_unreadable(facts: pl.DataFrame, raw: RawSource) -> None:
    count = facts["unreadable_rows"].item()
    if count:
        column, _, value = facts[_UNREADABLE].item().partition(" ")
        expected = "a time like the first ones" if column == TIMESTAMP else "a number"
        raise DataError(
            f"{raw.locate(column)} holds {value!r}, which is not {expected} ({count:,} such rows)",
            hint="mend these rows, or name another column with --columns",
        )


def _stage(
    kept: pl.LazyFrame, users: pl.DataFrame, items: pl.DataFrame, directory: Path
) -> list[Path]:
    before = pl.col(NUM_EVENTS).cum_sum() - pl.col(NUM_EVENTS)
    user_codes = users.lazy().select(
        USER_ID,
        pl.int_range(pl.len(), dtype=pl.Int32).alias(USER),
        (before // BUCKET_EVENTS).alias(_BUCKET),
    )
    item_codes = items.lazy().select(ITEM_ID, pl.int_range(pl.len(), dtype=pl.Int32).alias(ITEM))
    coded = (
        kept.drop(_REASON, _UNREADABLE).join(user_codes, on=USER_ID).join(item_codes, on=ITEM_ID)
    )
    coded.drop(USER_ID, ITEM_ID).sink_parquet(
        pl.PartitionBy(directory, key=_BUCKET, include_key=False, approximate_bytes_per_file=None),
        compression="lz4",
        mkdir=True,
        engine="streaming",
    )
    return sorted(
        directory.glob(f"{_BUCKET}=*"), key=lambda bucket: int(bucket.name.partition("=")[2])
    )


def _sort_bucket(bucket: Path, columns: tuple[str, ...]) -> int:
    """Sort a bucket, drop its duplicates and return their number."""
    parts = sorted(bucket.glob("*.parquet"))
    frame = pl.concat([pl.read_parquet(part, hive_partitioning=False) for part in parts])
    order = [name for name in (USER, TIMESTAMP, _FRACTION, _ROW) if name in frame.columns]
    frame = frame.sort(order).drop(_ROW)
    repeats = _repeats(frame) if TIMESTAMP in columns else []
    for part in parts:
        part.unlink()
    events = frame.with_row_index(_ROW).filter(~pl.col(_ROW).is_in(repeats)).select(columns)
    events.write_parquet(bucket / "sorted.parquet", compression="lz4")
    return frame.height - events.height


def _repeats(events: pl.DataFrame) -> list[int]:
    """Find the events that repeat one before them, looked for among neighbours in time."""
    before = (pl.col(USER) == pl.col(USER).shift()) & (
        pl.col(TIMESTAMP) == pl.col(TIMESTAMP).shift()
    )
    tied = (before | before.shift(-1)).fill_null(value=False)
    told = (USER, ITEM, TIMESTAMP, _FRACTION, EVENT)
    same = [name for name in told if name in events.columns]
    neighbours = events.with_row_index(_ROW).filter(tied)
    return neighbours.filter(~pl.struct(same).is_first_distinct())[_ROW].to_list()
