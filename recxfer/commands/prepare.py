"""`prepare`: raw logs in, a dataset directory out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from recxfer.data.dataset import Dataset
from recxfer.foundation.config import Config, Settings
from recxfer.foundation.errors import UsageError
from recxfer.foundation.files import Json, refuse_existing, replaced_directory
from recxfer.foundation.names import (
    DATASET_JSON,
    INTERACTIONS,
    ITEM_ID,
    ITEMS,
    TIMESTAMP,
    USER_ID,
    USERS,
)
from recxfer.foundation.reporting import Reporter
from recxfer.preparing.images import MAX_PIXELS
from recxfer.preparing.links import read_neighbours
from recxfer.preparing.pipeline import Prepared, Recipe, Surroundings, prepare_tables
from recxfer.preparing.sources.choice import Choice, choose
from recxfer.preparing.sources.columns import (
    IMAGE_ROLE,
    TEXT_ROLE,
    TIME_ROLE,
    parse_columns,
    time_candidates,
)
from recxfer.preparing.sources.contract import RawSource, Request
from recxfer.preparing.sources.side_tables import with_side_tables
from recxfer.preparing.times import YEAR_1980, in_order_of_ids
from recxfer.preparing.vocabulary import Vocabulary, read_vocabulary

SOURCE = "source"
"""The section of the source's own settings; a section named as the source is the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Config of a dataset: source, settings and place."""

    source: str
    """`NAME`, `NAME:PATH` or `PATH`; a path may be a file, a folder or a glob."""

    output: Path
    """The dataset directory to make."""

    recipe: Recipe = field(default_factory=Recipe)
    """Filters and split."""

    source_config: Config | None = None
    """Settings of the source; None: its defaults."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Which column of a raw file is user, item, time, event, weight, text or image."""

    items: Path | None = None
    """Item table: item id, text, image."""

    users: Path | None = None
    """User table: user id and label columns."""

    images: Path | None = None
    """Folder of `<item_id>.jpg`."""

    links: tuple[Path, ...] = ()
    """Datasets to link to by equal user ids."""

    exclude_users: tuple[Path, ...] = ()
    """Datasets whose users are left out."""

    exclude_items: tuple[Path, ...] = ()
    """Datasets whose items are left out."""

    vocabulary: Path | None = None
    """The dataset to index items as; events with other items are left out."""

    seed: int = 0
    """Seed of the split of users, and of a generated world."""

    overwrite: bool = False
    """Whether an existing output is replaced."""

    @property
    def sections(self) -> dict[str, Config]:
        """Decoded settings by section."""
        made = {} if self.source_config is None else {SOURCE: self.source_config}
        return {"prepare": self.recipe, **made}


@dataclass(frozen=True, slots=True)
class PrepareResult:
    """The dataset that was made."""

    path: Path
    prepared: Prepared

    def as_json(self) -> dict[str, object]:
        """Return the keys of `--json`."""
        info = self.prepared.info
        return {
            "users": info.users,
            "items": info.items,
            "events": info.events,
            "dropped": info.dropped,
            "split": info.events_by_split,
            "texts": None if info.texts is None else info.texts.model_dump(),
            "images": None if info.images is None else info.images.model_dump(),
            "fingerprint": info.fingerprint,
        }


def resolve(
    source: str,
    output: Path,
    *,
    settings: Settings,
    columns: str | None = None,
    items: Path | None = None,
    users: Path | None = None,
    images: Path | None = None,
    where: str | None = None,
    min_user_events: int | None = None,
    min_item_events: int | None = None,
    split: str | None = None,
    links: Sequence[Path] = (),
    exclude_users: Sequence[Path] = (),
    exclude_items: Sequence[Path] = (),
    vocabulary: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> PrepareConfig:
    """Decode flags and settings (sections `prepare` and `source`) as one config.

    Raises:
        ConfigError: a setting is unknown or out of range.
        UsageError: `columns` cannot be read, or a source stands with a path it does not take.
        DataError: no source reads what is at the path.
    """
    told = parse_columns(columns)
    choice = choose(source, told)
    sections: dict[str, type[Config]] = {"prepare": Recipe, SOURCE: choice.source.config_type}
    flags = {
        "where": where,
        "min_user_events": min_user_events,
        "min_item_events": min_item_events,
        "split": split,
    }
    decoded = settings.renamed(choice.name, SOURCE).decode(sections, {"prepare": flags})
    return PrepareConfig(
        source=source,
        output=output,
        recipe=cast(Recipe, decoded["prepare"]),
        source_config=decoded[SOURCE],
        columns=told,
        items=items,
        users=users,
        images=images,
        links=tuple(links),
        exclude_users=tuple(exclude_users),
        exclude_items=tuple(exclude_items),
        vocabulary=vocabulary,
        seed=seed,
        overwrite=overwrite,
    )


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """Settings that do not depend on the source."""

    recipe: Recipe

    @property
    def sections(self) -> dict[str, Config]:
        """The decoded settings by section."""
        return {"prepare": self.recipe}


def resolve_recipe(settings: Settings, flags: Json) -> RecipeConfig:
    """Decode settings of section `prepare`, before a source is chosen.

    Args:
        settings: file and `--set`.
        flags: values of flags by key; None stands for a flag not given.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    decoded = settings.decode({"prepare": Recipe}, {"prepare": flags})
    return RecipeConfig(cast(Recipe, decoded["prepare"]))


def run(config: PrepareConfig, reporter: Reporter) -> PrepareResult:
    """Make the dataset; nothing is left at the output unless all went well.

    Raises:
        UsageError: the output exists, or the options do not fit the source.
        DataError: a source or another dataset is missing or damaged, or too little is left.
    """
    choice = choose(config.source, config.columns)
    refuse_existing(
        config.output,
        overwrite=config.overwrite,
        marker=DATASET_JSON,
        inputs=_inputs(config, choice.path),
    )
    vocabulary = read_vocabulary(config.vocabulary) if config.vocabulary else None
    surroundings = Surroundings(
        links=read_neighbours(config.links),
        exclude_users=config.exclude_users,
        exclude_items=config.exclude_items,
        vocabulary=vocabulary,
        images=config.images,
    )
    with replaced_directory(
        config.output, marker=DATASET_JSON, overwrite=config.overwrite
    ) as directory:
        source = _read(choice, config, directory)
        _warn_without_times(source, config.columns, reporter)
        prepared = prepare_tables(
            source,
            config.recipe,
            surroundings,
            settings=_recorded(config, vocabulary),
            seed=config.seed,
            directory=directory,
            output=config.output,
        )
    _warn_of_order(prepared, config.output, reporter)
    for column, reason in prepared.refused_labels.items():
        reporter.warn(f"column {column!r} of the user table is no label: {reason}")
    if prepared.info.has_timestamps and prepared.tally.last_time < YEAR_1980:
        reporter.warn(
            f"all times of {source.locate(TIMESTAMP)} lie before 1980, read as unix times; "
            "if they count something else, their order alone means something"
        )
    if not all(prepared.info.events_by_split.values()):
        reporter.warn("no events to validate or test on: no user has the three events it takes")
    tables = {ITEMS: config.items, USERS: config.users}
    for table, count in prepared.contradicted.items():
        if count:
            reporter.warn(
                f"{count:,} ids occur more than once in "
                f"{tables[table] or f'the {table} of {source.name}'}, with other values; "
                "the first row of each is kept"
            )
    for name, count in prepared.without.items():
        if count:
            reporter.warn(f"{count:,} of {prepared.info.items:,} items have no {name}")
    _warn_of_content(prepared, reporter)
    return PrepareResult(config.output, prepared)


def _warn_of_order(prepared: Prepared, output: Path, reporter: Reporter) -> None:
    """Warn of a log without times whose events are sorted by item."""
    if prepared.info.has_timestamps:
        return
    dataset = Dataset(output)
    if in_order_of_ids(dataset.scan(INTERACTIONS), dataset.scan(ITEMS)):
        reporter.warn(
            "the events of every user stand in order of their item ids: the log was sorted, and "
            "its order is not that of time; bring the times, or shuffle each user's events, so "
            "that what comes last is drawn at random"
        )


def _warn_of_content(prepared: Prepared, reporter: Reporter) -> None:
    """Warn of texts and images that are missing or damaged."""
    texts, images = prepared.info.texts, prepared.info.images
    if texts is not None and texts.empty:
        reporter.warn(f"{texts.empty:,} items have a text that is blank: read as none")
    if images is None:
        return
    said = {
        "missing": (images.missing, "are not there"),
        "corrupt": (images.corrupt, "cannot be decoded"),
        "too_large": (images.too_large, f"have more than {MAX_PIXELS:,} pixels"),
    }
    for fault, path in prepared.unusable_images.items():
        count, what = said[fault]
        reporter.warn(f"{count:,} images {what}, such as {path}")
    if images.animated:
        reporter.warn(f"{images.animated:,} images have several frames: the first is taken")


def _inputs(config: PrepareConfig, log: Path | None) -> list[Path]:
    """List the files that are read, and must not be replaced."""
    named = [log, config.items, config.users, config.images, config.vocabulary]
    files = [path for path in named if path is not None]
    return [*files, *config.links, *config.exclude_users, *config.exclude_items]


def _read(choice: Choice, config: PrepareConfig, directory: Path) -> RawSource:
    described = {TEXT_ROLE.key, IMAGE_ROLE.key} & config.columns.keys()
    if described and config.items is None:
        raise UsageError(
            f"--columns {described.pop()}= names a column of the item table, and there is none",
            hint="pass the table with --items FILE",
        )
    takes_columns = choice.source.takes_columns
    if config.columns and not takes_columns and config.items is None and config.users is None:
        raise UsageError(
            f"--columns is for files; the columns of {choice.name} are known",
            hint="leave it out",
        )
    source = choice.source(config.source_config or choice.source.config_type())
    request = Request(
        directory=directory,
        path=choice.path,
        columns=config.columns if takes_columns else {},
        seed=config.seed,
    )
    raw = source.read(request)
    return with_side_tables(raw, config.items, config.users, columns=config.columns)


def _warn_without_times(source: RawSource, columns: Mapping[str, str], reporter: Reporter) -> None:
    """Warn that file order is taken as time order, unless that was asked for or is all there is."""
    schema = source.interactions.collect_schema()
    ids = {USER_ID, ITEM_ID, *(source.raw_names.get(name) for name in (USER_ID, ITEM_ID))}
    others = [name for name in schema if name not in ids]
    if TIMESTAMP in schema or TIME_ROLE.key in columns or not others:
        return
    found = time_candidates(schema)
    name = " or ".join(f"--columns {TIME_ROLE.key}={name}" for name in found)
    reporter.warn(
        f"{source.name} has no column that looks like the time: file order is taken as time order; "
        + (f"did you mean {name}?" if found else f"--columns {TIME_ROLE.key}=NAME names one")
    )


def _recorded(config: PrepareConfig, vocabulary: Vocabulary | None) -> Json:
    """Collect the settings that shape the tables, without the paths of this machine."""
    source = config.source_config.model_dump(mode="json") if config.source_config else {}
    indexed_as = {}
    if vocabulary is not None:
        info = vocabulary.info
        indexed_as = {"vocabulary": {"name": info.name, "fingerprint": info.fingerprint}}
    return {
        "columns": dict(config.columns),
        "exclude_users": [path.name for path in config.exclude_users],
        "exclude_items": [path.name for path in config.exclude_items],
        **indexed_as,
        **source,
    }
