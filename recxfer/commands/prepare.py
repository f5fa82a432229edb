"""`prepare`: raw logs in, a dataset directory out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recxfer.data.links import read_neighbours
from recxfer.data.preparation import Prepared, Recipe, Surroundings, prepare_tables
from recxfer.data.sources import SOURCES
from recxfer.data.sources.raw import RawSource
from recxfer.foundation.console import Reporter
from recxfer.foundation.files import refuse_existing, replaced_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Everything `prepare` is told."""

    source: str
    """A named source, or a path or glob of raw files."""

    output: Path
    """The dataset directory to make."""

    recipe: Recipe = field(default_factory=Recipe)
    """Filters and split."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Which column of a raw file is user, item, time, event or weight."""

    items: Path | None = None
    """Item table: item id, text, image."""

    users: Path | None = None
    """User table: user id and label columns."""

    images: Path | None = None
    """Folder of `<item_id>.jpg`."""

    links: tuple[Path, ...] = ()
    """Datasets to link to by equal user ids."""

    exclude_users: tuple[Path, ...] = ()
    """Datasets whose people are left out."""

    exclude_items: tuple[Path, ...] = ()
    """Datasets whose items are left out."""

    seed: int = 0
    """Seed of the split of people, and of a generated world."""

    overwrite: bool = False
    """Whether an existing output is replaced."""


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """The dataset that was made."""

    path: Path
    prepared: Prepared

    def as_json(self) -> dict[str, Any]:
        """The keys of `--json`."""
        info = self.prepared.info
        return {
            "users": info.users,
            "items": info.items,
            "events": info.events,
            "dropped": info.dropped,
            "split": info.events_by_split,
            "fingerprint": info.fingerprint,
        }


def run(config: PrepareConfig, reporter: Reporter) -> PrepareResult:
    """Make the dataset; nothing is left at the output unless all went well."""
    refuse_existing(config.output, overwrite=config.overwrite)
    surroundings = Surroundings(
        links=read_neighbours(config.links),
        exclude_users=config.exclude_users,
        exclude_items=config.exclude_items,
        images=config.images,
    )
    with replaced_directory(config.output, overwrite=config.overwrite) as directory:
        prepared = prepare_tables(
            _read(config, directory),
            config.recipe,
            surroundings,
            settings={"columns": dict(config.columns)},
            seed=config.seed,
            directory=directory,
            output=config.output,
        )
    for column, reason in prepared.refused_labels.items():
        reporter.warn(f"column {column!r} of the user table is no label: {reason}")
    return PrepareResult(config.output, prepared)


def _read(config: PrepareConfig, directory: Path) -> RawSource:
    source: RawSource = SOURCES.resolve(config.source)()
    return source
