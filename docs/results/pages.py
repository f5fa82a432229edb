"""Pages of results: their command line, their tables, and the Parquet that the tables come from."""

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from docs.results.experiments import Bench, Row
from docs.results.stamps import Stamp, read_stamps, stamp_lines, stamp_now, write_results

MADE_BY = "made by"
"""The place of the table of stamps, at the foot of a page."""

PLACE = re.compile(r"<!-- (?!end -->)(.+?) -->\n.*?<!-- end -->", re.DOTALL)
"""A place for a table: between the comments `<!-- NAME -->` and `<!-- end -->`."""

BenchT = TypeVar("BenchT", bound=Bench)


def run_page(
    page: str,
    description: str,
    *,
    bench: Callable[..., BenchT],
    prepare: Callable[[Path, Path], None],
    parts: Mapping[str, Callable[[BenchT], list[Row]]],
    quick: Sequence[str],
    plot: str | None = None,
    raw: str | None = "holds food.csv.gz and kitchen.csv.gz",
) -> None:
    """The command line of a page: makes its parts, keeps their rows, fills its tables.

    Args:
        page: the folder; its `page.py` has `tables`, and `draw` where there is a plot.
        description: for `--help`.
        bench: the class of its work directory.
        prepare: makes datasets, given the work directory and the folder of raw files.
        parts: functions of a bench that return rows, by name.
        quick: names of the parts that `--quick` makes.
        plot: the file that rows are drawn into.
        raw: what the folder of raw files holds; None: the page needs none.
    """
    options = _options(description, parts, raw)
    here = Path(__file__).parent / page
    options.work.mkdir(parents=True, exist_ok=True)
    prepare(options.work, options.raw)
    made = bench(options.work, options.jobs, quick=options.quick)
    out: Path = options.work if options.quick else here
    results = out / "results.parquet"
    found = pl.read_parquet(results) if results.exists() else pl.DataFrame({"part": []})
    stamps = read_stamps(results)
    for part in options.parts or (quick if options.quick else parts):
        started = time.perf_counter()
        made.commits.clear()
        rows = pl.DataFrame(parts[part](made), infer_schema_length=None)
        kept = found.filter(pl.col("part") != part)
        found = pl.concat([kept, rows.with_columns(part=pl.lit(part))], how="diagonal_relaxed")
        stamps[part] = stamp_now(made.commits)
        write_results(found, stamps, results)
        print(f"{part} done, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    shown = tables_of(page, found, stamps)
    for name, table in shown.items():
        print(f"\n{name}\n\n{table}")
    if not options.quick and parts.keys() <= {*found["part"]}:
        index = here / "index.md"
        index.write_text(filled(index.read_text(encoding="utf-8"), shown), encoding="utf-8")
        if plot is not None:
            page_module(page).draw(found, here / plot)


def _options(description: str, parts: Mapping[str, object], raw: str | None) -> Any:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("work", type=Path)
    if raw is None:
        parser.set_defaults(raw=Path())
    else:
        parser.add_argument("raw", type=Path, help=raw)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=parts, help="others stay as they are")
    parser.add_argument("--quick", action="store_true", help="few parts, one seed, one epoch")
    return parser.parse_args()


def page_module(page: str) -> Any:
    """Import what a page makes of its rows. By name: a folder may have a hyphen."""
    return import_module(f"docs.results.{page}.page")


def tables_of(page: str, found: pl.DataFrame, stamps: Mapping[str, Stamp]) -> dict[str, str]:
    """Make all tables of a page, that of the stamps among them, by name."""
    tables: dict[str, str] = page_module(page).tables(found)
    header = ["part", "commit", "date", "recxfer", "torch", "python", ""]
    return {**tables, MADE_BY: markdown(header, stamp_lines(stamps))}


def filled(text: str, tables: Mapping[str, str]) -> str:
    """Put tables into the text of a page, each into its place. Figures are never copied by hand.

    Raises:
        ValueError: a table has no place, or a place no table.
    """
    places = PLACE.findall(text)
    if sorted(places) != sorted(tables):
        raise ValueError(f"places {sorted(places)}, tables {sorted(tables)}")

    def place(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n\n{tables[found[1]]}\n\n<!-- end -->"

    return PLACE.sub(place, text)


def markdown(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown; numbers are set as they come."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def figure(row: Row, *, digits: int = 3) -> str:
    """A value with its interval, as a cell."""
    value, low, high = (row.get(name) for name in ("value", "low", "high"))
    if value is None:
        return ""
    interval = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{interval}"


def difference(row: Row, *, digits: int = 3) -> str:
    """A paired difference with its interval and p-value, as a cell; empty for the reference."""
    if row.get("difference") is None or row["method"] == row["reference"]:
        return ""
    value, low, high = (row[f"difference{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}], p {row['p']:.3f}"
