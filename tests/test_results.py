"""Every results page is what its Parquet says, and the Parquet says what made it."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.parent.name for path in (ROOT / "docs" / "results").glob("*/results.parquet"))
SPOKEN = "| the paper's claim |"
"""Begins the only tables that stand in no place: what a page says of claims, in words."""


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def rows_and_stamps(page):
    from docs.results.stamps import read_stamps

    results = ROOT / "docs" / "results" / page / "results.parquet"
    return pl.read_parquet(results), read_stamps(results)


def text_of(page):
    return (ROOT / "docs" / "results" / page / "index.md").read_text(encoding="utf-8")


def test_the_pages_are_those_there_are():
    assert PAGES == ["clue", "conure", "ml-1m", "peterrec", "transrec", "uaf"]


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_what_its_rows_say(page):
    from docs.results.pages import filled, tables_of

    assert filled(text_of(page), tables_of(page, *rows_and_stamps(page))) == text_of(page)


@pytest.mark.parametrize("page", PAGES)
def test_no_table_is_written_by_hand(page):
    from docs.results.pages import PLACE

    rest = PLACE.sub("", text_of(page))
    tables = re.findall(r"(?:^\|.*\n)+", rest, re.MULTILINE)
    assert all(table.startswith(SPOKEN) for table in tables), tables


@pytest.mark.parametrize("page", PAGES)
def test_every_part_says_what_made_it(page):
    rows, stamps = rows_and_stamps(page)
    assert stamps.keys() == {*rows["part"]}
    for stamp in stamps.values():
        assert re.search(r"\b[0-9a-f]{7}\b", stamp.commit)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", stamp.date)


def test_a_changed_figure_changes_its_page():
    from docs.results.pages import filled, tables_of

    rows, stamps = rows_and_stamps("uaf")
    other = rows.with_columns(pl.col("value") + 0.001)
    assert filled(text_of("uaf"), tables_of("uaf", other, stamps)) != text_of("uaf")


def test_a_table_without_a_place_is_refused():
    from docs.results.pages import filled

    with pytest.raises(ValueError, match=r"places \['a'\], tables \['b'\]"):
        filled("<!-- a -->\n<!-- end -->", {"b": "| |"})


def test_rows_are_kept_with_the_stamps_of_their_parts(tmp_path):
    from docs.results.stamps import read_stamps, stamp_now, write_results

    rows = pl.DataFrame({"part": ["one", "two"], "value": [0.1, 0.2]})
    made = stamp_now(["1234567"])
    assert "1234567" in made.commit
    assert made.recxfer
    assert made.torch[0].isdigit()
    results = tmp_path / "results.parquet"
    write_results(rows, {"one": made, "two": made}, results)
    assert read_stamps(results) == {"one": made, "two": made}
    assert pl.read_parquet(results).equals(rows)
    with pytest.raises(ValueError, match="parts"):
        write_results(rows, {"one": made}, results)


def test_a_run_of_an_earlier_commit_is_named_in_the_stamp_of_its_part(tmp_path):
    from docs.results.experiments import Bench

    bench = Bench(tmp_path, 1, quick=True)
    for number, record in enumerate(({"commit": "abcdef0"}, {})):
        (tmp_path / f"run{number}.json").write_text(json.dumps(record))
        bench.ask(["pretrain", "data", tmp_path / f"run{number}"])
    assert bench.wait() == [{"commit": "abcdef0"}, {}]
    assert bench.commits == {"abcdef0", "not recorded"}
