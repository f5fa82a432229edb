"""Typed `dataset.json` of a prepared dataset; `docs/reference/dataset.md` describes the format."""

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from recxfer.foundation.errors import DataError
from recxfer.foundation.files import Json, canonical_json, read_json, sha256_of_text, write_json
from recxfer.foundation.names import DATASET_JSON

FORMAT = 1
"""Version of the dataset format that this code writes, and the newest that it reads."""

MAX_CLASSES: Final = 1000
"""A column with more distinct values is no label (a zip code, a name)."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SourceFile(_Record):
    """A raw file that the dataset was made from."""

    name: str
    """File name without its folder, so that the record is the same wherever the file lies."""

    sha256: str
    """Of the file's bytes."""


class SplitRule(_Record):
    """The rule by which events became train, valid and test."""

    rule: Literal["leave-last", "temporal", "users", "linked"]
    """`leave-last`: per user, the last event is test and the one before it valid.
    `temporal`: one cut in time for all. `users`: all events of a user share one part.
    `linked`: as in the dataset that is linked first, event by event."""

    valid_share: float
    """Share of users (and, for `temporal`, of events) in the validation part."""

    test_share: float
    """Share of users (and, for `temporal`, of events) in the test part."""

    cut_times: tuple[int, int] | None = None
    """`temporal` only: events from the first time on are valid, from the second on test."""


class Link(_Record):
    """Another dataset that shares users with this one."""

    name: str
    """The other dataset's name; the table is `links/<name>.parquet`."""

    path: str
    """The other dataset, relative to this dataset's directory."""

    fingerprint: str
    """The other dataset's fingerprint when the link was made."""

    users: int
    """People in both."""


class TextRecord(_Record):
    """Counts of items by the state of their text."""

    items: int
    """Items with a text."""

    absent: int
    """Items of which the source has none."""

    empty: int
    """Items whose text is blank."""


class ImageRecord(_Record):
    """Counts of items by the state of their image; all but `side` and `animated` add up to the
    items.
    """

    side: int
    """Pixels of an edge of the decoded squares."""

    items: int
    """Items with a decoded image."""

    absent: int
    """Items for which the source names none."""

    missing: int
    """Items whose image file is not there."""

    corrupt: int
    """Items whose image file cannot be decoded."""

    too_large: int
    """Items whose image has too many pixels to be decoded."""

    animated: int
    """Decoded images that are the first of several frames."""


class DatasetInfo(_Record):
    """The record of a dataset: everything it was made from, and what it holds."""

    format: int = FORMAT
    """Version of the dataset format."""

    name: str
    """The dataset's short name."""

    source: str
    """The source's name, or the raw path's last part."""

    files: tuple[SourceFile, ...]
    """The raw files, in reading order; empty for a generated world."""

    settings: Json
    """The settings of `prepare` that shape the tables: columns, filters, generator; where items
    are indexed as another dataset does, its name and fingerprint under `vocabulary`."""

    seed: int
    """Seed of the user split (and of the generator)."""

    split: SplitRule
    """The split rule."""

    users: int
    """People with at least one event. User indices are 0..users-1."""

    items: int
    """Items with at least one event, or else all of the dataset that `settings.vocabulary` names.
    Item indices are 1..items; 0 is padding."""

    events: int
    """Events kept."""

    events_by_split: dict[str, int]
    """Events in train, valid, test."""

    users_by_split: dict[str, int]
    """People in train, valid, test; decides profile tasks under every split rule."""

    dropped: dict[str, int]
    """Rows of the source left out, by reason."""

    labels: dict[str, tuple[str, ...]]
    """Label columns of users.parquet and their classes, in the order of the class index."""

    has_timestamps: bool
    """False: file order is time order, and `timestamp` counts events of a user from 0."""

    modalities: tuple[Literal["text", "image"], ...] = ()
    """What items.parquet holds besides ids."""

    texts: TextRecord | None = None
    """Items with text; None where items.parquet has no such column. Left out of the file then, so
    that records without it keep their fingerprint; likewise `images`."""

    images: ImageRecord | None = None
    """Items with an image; None where items.parquet has no such column."""

    links: tuple[Link, ...] = ()
    """Datasets that share users with this one."""

    known_answers: dict[str, float] = {}
    """Generated worlds: the best possible value of each metric, by task."""

    vocabulary: str
    """sha256 of the item ids in index order: two datasets with the same value index items alike."""

    tables: dict[str, str]
    """sha256 of each Parquet file and of the decoded images, by the path inside the dataset."""

    @property
    def fingerprint(self) -> str:
        """Identity of the contents: the hash of this record."""
        return sha256_of_text(canonical_json(self.as_json()))

    def as_json(self) -> dict[str, object]:
        """Return the record as `dataset.json` holds it."""
        unsaid = {name for name in ("texts", "images") if getattr(self, name) is None}
        return self.model_dump(mode="json", exclude=unsaid)


def write_info(directory: Path, info: DatasetInfo) -> None:
    """Write `dataset.json`; done last, so that its presence marks a finished dataset."""
    write_json(directory / DATASET_JSON, info.as_json())


def read_info(directory: Path) -> DatasetInfo:
    """Read `dataset.json`.

    Raises:
        DataError: no dataset is there, it is damaged, or it is of a newer format.
    """
    path = directory / DATASET_JSON
    if not path.exists():
        raise DataError(
            f"{directory} is not a dataset: it has no {DATASET_JSON}",
            hint=f"make one with: recxfer prepare SOURCE {directory}",
        )
    value = read_json(path)
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise DataError(
            f"{path} has format {found}, this recxfer reads up to {FORMAT}",
            hint="update recxfer, or prepare the dataset again",
        )
    try:
        return DatasetInfo.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{path} is damaged: {where}: {first['msg']}", hint="prepare the dataset again"
        ) from error
