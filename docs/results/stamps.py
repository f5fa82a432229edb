"""Say which code made a part of a page's results: kept in its Parquet, shown at the page's foot."""

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import torch

from recxfer import __version__

ROOT = Path(__file__).parents[2]

KEY: Final = "made_by"
"""Of the stamps in a Parquet's metadata: JSON, one object by part."""

UNKNOWN: Final = "not recorded"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which code made the rows of one part."""

    commit: str
    """Of all that was run, several joined by `, `; with `+` where files had uncommitted changes."""

    date: str
    """When the rows were made or published, as YYYY-MM-DD."""

    recxfer: str = UNKNOWN
    torch: str = UNKNOWN
    python: str = UNKNOWN
    note: str = ""
    """Whatever else is known; for rows made before there were stamps, where this is from."""


def commit_now() -> str:
    """Name the commit that is checked out, with `+` where package or scripts have changes."""
    head = _git("rev-parse", "--short=7", "HEAD")
    changed = _git(
        "status", "--porcelain", "--", "recxfer", "docs/results/*.py", "tests/benchmarks"
    )
    return f"{head}{'+' if changed else ''}" if head else UNKNOWN


def stamp_now(commits: Iterable[str]) -> Stamp:
    """Stamp rows that were made just now.

    Args:
        commits: those of the runs that the rows are from, made perhaps in earlier calls.
    """
    return Stamp(
        commit=", ".join(sorted({*commits, commit_now()})),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        recxfer=__version__,
        torch=torch.__version__.partition("+")[0],
        python=platform.python_version(),
    )


def read_stamps(results: Path) -> dict[str, Stamp]:
    """Read the stamps of a Parquet by part; none where the file is not there."""
    if not results.exists():
        return {}
    kept = pl.read_parquet_metadata(results).get(KEY, "{}")
    return {part: Stamp(**stamp) for part, stamp in json.loads(kept).items()}


def write_results(rows: pl.DataFrame, stamps: Mapping[str, Stamp], results: Path) -> None:
    """Write all rows of a page with the stamps of their parts.

    Raises:
        ValueError: a part has no stamp, or a stamp no part.
    """
    if {*rows["part"]} != stamps.keys():
        raise ValueError(f"{results}: parts {sorted({*rows['part']})}, stamps {sorted(stamps)}")
    made_by = {part: asdict(stamp) for part, stamp in stamps.items()}
    rows.write_parquet(results, metadata={KEY: json.dumps(made_by)})


def stamp_lines(stamps: Mapping[str, Stamp]) -> list[list[str]]:
    """List parts and what made them, parts with equal stamps in one line."""
    parts: dict[Stamp, list[str]] = {}
    for part, stamp in stamps.items():
        parts.setdefault(stamp, []).append(part)
    return [
        [", ".join(names), f"`{s.commit}`", s.date, s.recxfer, s.torch, s.python, s.note]
        for s, names in parts.items()
    ]


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
