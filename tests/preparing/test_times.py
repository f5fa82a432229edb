"""Times of many spellings."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from recxfer.foundation.errors import DataError
from recxfer.preparing.times import (
    YEAR_1980,
    refuse_mixed_units,
    ticks_per_second,
    time_column,
    unit_counts,
)

NOON = int(datetime(2024, 5, 31, 12, tzinfo=UTC).timestamp())


def seconds(values, dtype=None):
    frame = pl.LazyFrame({"t": pl.Series(values, dtype=dtype)})
    column = time_column("t", frame, "log.csv: column 't'")
    ticks = frame.select(column.ticks).collect().to_series()
    per_second = column.per_second or ticks_per_second(ticks.abs().max())
    return (ticks // per_second).to_list()


@pytest.mark.parametrize(
    "values",
    [
        [NOON],
        [NOON * 1_000 + 5],
        [NOON * 1_000_000 + 5],
        [NOON * 1_000_000_000 + 5],
        [NOON + 0.75],
        [str(NOON)],
        [f"{NOON}.0"],
        ["2024-05-31T12:00:00"],
        ["2024-05-31 12:00:00"],
        ["2024-05-31 12:00:00.250"],
        ["2024-05-31T12:00:00Z"],
        ["2024-05-31T14:00:00+02:00"],
        ["2024-05-31 12:00"],
        [datetime(2024, 5, 31, 12)],
        [datetime(2024, 5, 31, 14, tzinfo=timezone(timedelta(hours=2)))],
    ],
    ids=str,
)
def test_all_spellings_of_one_moment(values):
    assert seconds(values) == [NOON]


def test_days():
    midnight = NOON - 12 * 3600
    assert seconds(["2024-05-31"]) == [midnight]
    assert seconds([date(2024, 5, 31)]) == [midnight]


@pytest.mark.parametrize("values", [[NOON + 0.25, None, 5.0], [f"{NOON}.25", None, "5"]], ids=str)
def test_fractions_stand_beside_the_ticks(values):
    frame = pl.LazyFrame({"t": values})
    column = time_column("t", frame, "log.csv: column 't'")
    found = frame.select(ticks=column.ticks, fraction=column.fraction).collect()
    assert found.rows() == [(NOON, 250_000), (None, None), (5, 0)]


def test_whole_numbers_in_text_keep_all_their_digits():
    frame = pl.LazyFrame({"t": ["1717156800123456789"]})
    column = time_column("t", frame, "log.csv: column 't'")
    assert frame.select(column.ticks).collect().item() == 1_717_156_800_123_456_789


def counts(values):
    return pl.DataFrame({"t": values}).select(unit_counts(pl.col("t"))).row(0, named=True)


@pytest.mark.parametrize("ticks", [1_000, 1_000_000, 1_000_000_000])
def test_two_units_in_one_column_are_refused(ticks):
    with pytest.raises(DataError, match=r"seconds \(2 like 17.*\) and .* \(1 like 17.*one unit"):
        refuse_mixed_units(counts([NOON, NOON + 5, (NOON + 9) * ticks]), "log.csv: column 't'")


@pytest.mark.parametrize(
    "values",
    [
        [NOON, NOON + 1],
        [0, -1, 1, NOON * 1_000],
        [YEAR_1980, NOON],
        list(range(0, 600_000_000_000, 1_000_000_000)),
    ],
    ids=["one unit", "placeholders", "a long log", "a clock that starts at 0"],
)
def test_columns_of_one_unit_are_not_refused(values):
    refuse_mixed_units(counts(values), "log.csv: column 't'")


def test_nulls_stay_null():
    assert seconds([None, str(NOON)]) == [None, NOON]


def test_text_of_no_known_form_is_refused():
    with pytest.raises(DataError, match=r"log.csv: column 't' holds 'yesterday', which is no time"):
        seconds(["yesterday"])


def test_the_form_of_most_values_counts():
    assert seconds(["2024-05-31 12:00:00", "?", "2024-05-31 12:00:00"]) == [NOON, None, NOON]


def test_a_list_is_no_time():
    with pytest.raises(DataError, match="type List"):
        seconds([[1]])
