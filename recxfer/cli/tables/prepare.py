"""Table of `prepare`: facts of the dataset it made."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from recxfer.commands.prepare import PrepareResult
from recxfer.data.schema import ImageRecord, TextRecord
from recxfer.foundation.names import TEXT
from recxfer.preparing.pipeline import Prepared

_CLASSES_SHOWN = 8


def render(result: PrepareResult) -> RenderableType:
    """Draw one table: what the dataset holds, and what was left out."""
    info = result.prepared.info
    table = Table(
        title=f"{info.name} (from {info.source})", show_header=False, title_justify="left"
    )
    table.add_column(style="bold")
    table.add_column()
    for name, value in _lines(result.prepared):
        table.add_row(Text(name), Text(value))  # Text: names of classes are no markup
    return table


def _lines(prepared: Prepared) -> Iterator[tuple[str, str]]:
    info, tally = prepared.info, prepared.tally
    yield "users", f"{info.users:,}"
    yield "items", f"{info.items:,}"
    if prepared.items_with_events < info.items:
        yield "  with events", f"{prepared.items_with_events:,}"
    yield "events", f"{info.events:,}"
    yield "density", f"{info.events / (info.users * info.items):.4%}"
    yield "events per user", _pairs(prepared.length_quantiles)
    if info.has_timestamps:
        yield "time span", f"{_moment(tally.first_time)} to {_moment(tally.last_time)} UTC"
        neighbours = max(info.events - info.users, 1)
        yield "ties", f"{tally.ties / neighbours:.1%} of neighbouring events share a time"
    else:
        yield "times", "none: file order is time order"
    cuts = info.split.cut_times
    since = f" (valid from {_moment(cuts[0])}, test from {_moment(cuts[1])} UTC)" if cuts else ""
    yield "split", f"{info.split.rule}{since}"
    yield "  of events", _pairs(info.events_by_split)
    yield "  of users", _pairs(info.users_by_split)
    for modality in info.modalities:
        yield modality, f"{info.items - prepared.without[modality]:,} of {info.items:,} items"
        yield from _shortcomings(info.texts if modality == TEXT else info.images)
    for label, counts in prepared.label_counts.items():
        yield f"label {label}", _distribution(counts)
    for link in info.links:
        yield f"link {link.name}", f"{link.users:,} people in both"
    for task, best in info.known_answers.items():
        yield f"best possible {task}", f"{best:.4f}"
    for reason, count in info.dropped.items():
        yield f"dropped: {reason}", f"{count:,} rows"
    if not info.dropped:
        yield "dropped", "nothing"


def _shortcomings(record: TextRecord | ImageRecord | None) -> Iterator[tuple[str, str]]:
    """Count texts and images that are missing or damaged, where any are."""
    if record is not None:
        counts = record.model_dump(exclude={"side", "items"})
        if found := {name.replace("_", " "): count for name, count in counts.items() if count}:
            yield "  of the items", _pairs(found)


def _distribution(counts: dict[str, int]) -> str:
    known = max(sum(counts.values()), 1)
    shown = list(counts.items())[:_CLASSES_SHOWN]
    parts = [f"{name} {count / known:.1%}" for name, count in shown]
    if len(counts) > len(shown):
        parts.append(f"and {len(counts) - len(shown)} more")
    return f"{len(counts)} classes: {', '.join(parts)}"


def _pairs(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(seconds)
