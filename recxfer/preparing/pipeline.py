"""Make a dataset directory from raw tables: the order of the steps."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from recxfer.data.dataset import Dataset
from recxfer.data.schema import DatasetInfo, SplitRule, write_info
from recxfer.data.tables import write_table
from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.files import Json, canonical_json, sha256_of, sha256_of_text
from recxfer.foundation.names import (
    IMAGE,
    IMAGE_ROW,
    IMAGES,
    INTERACTIONS,
    ITEM,
    ITEM_ID,
    ITEMS,
    NUM_EVENTS,
    SPLIT,
    SPLITS,
    TEXT,
    TIMESTAMP,
    USER,
    USER_COLUMNS,
    USER_ID,
    USERS,
)
from recxfer.preparing.catalogue import item_table, user_table
from recxfer.preparing.events import Index, Tally, build_index, event_times, write_events
from recxfer.preparing.filters import Survivors, survivors
from recxfer.preparing.images import Fault, require_pillow
from recxfer.preparing.intake import Intake, refuse_empty, take_in
from recxfer.preparing.labels import class_names
from recxfer.preparing.linked_split import Followed, follow
from recxfer.preparing.links import Neighbour, given_parts, read_ids, write_link
from recxfer.preparing.sources.contract import RAW_FOLDER, RawSource
from recxfer.preparing.split import cut_times, part_labels, split_users
from recxfer.preparing.vocabulary import Vocabulary, adopt

_STAGE_FOLDER = "stage"


class Recipe(Config):
    """Settings of `prepare`: what is kept, and how it is split."""

    where: str | None = None
    """SQL expression over the source's columns; rows for which it is not true are dropped."""

    min_user_events: int = Field(default=1, ge=1)
    """Fewest events of a user that stays; applied with the next one until nothing more falls."""

    min_item_events: int = Field(default=1, ge=1)
    """Fewest events of an item that stays."""

    split: Literal["leave-last", "temporal", "users", "linked"] = "leave-last"
    """`leave-last`, `temporal` (one cut in time for all), `users`, or `linked`: events are held out
    where the first linked dataset holds them out."""

    valid_share: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the people, and for `temporal` of the events, in the validation part."""

    test_share: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of the people, and for `temporal` of the events, in the test part."""

    image_side: int = Field(default=64, ge=8, le=1024)
    """Pixels of an edge of the squares that images of items are decoded to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Other datasets and folders that a dataset is made with."""

    links: Sequence[Neighbour] = ()
    """Datasets to link to by equal user ids."""

    exclude_users: Sequence[Path] = ()
    """Datasets whose people are left out."""

    exclude_items: Sequence[Path] = ()
    """Datasets whose items are left out."""

    vocabulary: Vocabulary | None = None
    """The dataset to index items as; None: they are numbered by falling frequency."""

    images: Path | None = None
    """Folder of `<item_id>.jpg`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A finished dataset, and findings to warn of."""

    info: DatasetInfo
    tally: Tally
    length_quantiles: dict[str, int]
    """Events of a user: the fewest, quartiles, the 95th percentile, the most."""

    label_counts: dict[str, dict[str, int]]
    """People in each class, by label column."""

    items_with_events: int
    """Fewer than all where items are indexed as another dataset does."""

    refused_labels: dict[str, str]
    """Columns of the user table that are no labels, and why."""

    without: dict[str, int]
    """Items without text or image, where the dataset has any."""

    unusable_images: dict[Fault, Path]
    """An image file of each fault that was met."""

    contradicted: dict[str, int]
    """Ids with rows that are not equal, in the raw `items` and `users`; the first one counts."""


def prepare_tables(
    raw: RawSource,
    recipe: Recipe,
    surroundings: Surroundings,
    *,
    settings: Json,
    seed: int,
    directory: Path,
    output: Path,
) -> Prepared:
    """Fill `directory` with the dataset that will be at `output`.

    Args:
        raw: the source.
        recipe: filters and split.
        surroundings: other datasets and folders.
        settings: what `dataset.json` keeps of the settings, beside the recipe.
        seed: of the split of people.
        directory: an empty directory, or what the source has put there.
        output: its final place: paths are relative to it, its last part is the dataset's name.

    Raises:
        UsageError: the expression or the split rule does not fit the source, or there are images
            and nothing to decode them with.
        DataError: the source is damaged, or too little is left.
    """
    if surroundings.images is not None or (
        raw.items is not None and IMAGE in raw.items.collect_schema()
    ):
        require_pillow()
    stage = directory / _STAGE_FOLDER
    intake = take_in(raw, recipe.where, stage)
    vocabulary = None
    if surroundings.vocabulary is not None:
        intake, vocabulary = adopt(surroundings.vocabulary, intake, raw.name)
    left = _filter(intake, vocabulary, recipe, surroundings)
    dropped = intake.dropped | left.dropped
    refuse_empty(left.events, dropped)
    index = build_index(left, vocabulary)
    _refuse_trivial(index)
    users, parts = _user_ids(intake, left, index, recipe, surroundings, seed)
    rule = _split_rule(intake, index, recipe)
    followed = None
    if recipe.split == "linked":
        followed = _followed(intake, users, _item_ids(intake, left, index), surroundings.links)
    tally = write_events(
        directory / f"{INTERACTIONS}.parquet", intake, index, rule, parts, followed
    )
    shutil.rmtree(stage)
    shutil.rmtree(directory / RAW_FOLDER, ignore_errors=True)
    catalogue = item_table(
        _item_ids(intake, left, index),
        raw.items,
        surroundings.images,
        image_side=recipe.image_side,
        directory=directory,
        output=output,
    )
    items = catalogue.items
    write_table(directory / f"{ITEMS}.parquet", items)
    people, refused, contradicted_users = user_table(users, raw.users)
    write_table(directory / f"{USERS}.parquet", people)
    labels = {column.name: column for column in people.drop(USER_COLUMNS)}
    links = tuple(
        write_link(neighbour, users, directory, output) for neighbour in surroundings.links
    )
    modalities = tuple(name for name in (TEXT, IMAGE) if name in items.columns)
    info = DatasetInfo(
        name=output.name,
        source=raw.name,
        files=raw.files,
        settings=settings | recipe.model_dump(mode="json"),
        seed=seed,
        split=rule,
        users=users.height,
        items=items.height,
        events=left.events,
        events_by_split=tally.by_split,
        users_by_split={part: int((parts == code).sum()) for code, part in enumerate(SPLITS)},
        dropped=dropped,
        labels={name: class_names(column) for name, column in labels.items()},
        has_timestamps=TIMESTAMP in intake.columns,
        modalities=modalities,
        texts=catalogue.texts,
        images=catalogue.images,
        links=links,
        known_answers=raw.known_answers,
        vocabulary=sha256_of_text(canonical_json(items[ITEM_ID].to_list())),
        tables={
            file.relative_to(directory).as_posix(): sha256_of(file)
            for file in (*sorted(directory.rglob("*.parquet")), directory / IMAGES)
            if file.exists()
        },
    )
    write_info(directory, info)
    return Prepared(
        info=info,
        tally=tally,
        length_quantiles=_length_quantiles(left.user_count[index.user_code]),
        label_counts={name: _class_counts(column) for name, column in labels.items()},
        items_with_events=int(np.count_nonzero(left.item_count)),
        refused_labels=refused,
        without={
            name: items[IMAGE_ROW if name == IMAGE else name].null_count() for name in modalities
        },
        unusable_images=catalogue.unusable,
        contradicted={ITEMS: catalogue.contradicted, USERS: contradicted_users},
    )


def _filter(
    intake: Intake,
    vocabulary: NDArray[np.int64] | None,
    recipe: Recipe,
    surroundings: Surroundings,
) -> Survivors:
    def kept(ids: pl.Series, others: Sequence[Path], table: str) -> NDArray[np.bool_]:
        kept = np.ones(len(ids), dtype=np.bool_)
        for other in others:
            kept &= ~ids.is_in(read_ids(other, table).implode()).to_numpy()
        return kept

    in_vocabulary = np.full(len(intake.item_ids), vocabulary is None)
    if vocabulary is not None:
        in_vocabulary[vocabulary] = True
    return survivors(
        intake.buckets,
        in_vocabulary=in_vocabulary,
        keep_user=kept(intake.user_ids, surroundings.exclude_users, USERS),
        keep_item=kept(intake.item_ids, surroundings.exclude_items, ITEMS),
        min_user_events=recipe.min_user_events,
        min_item_events=recipe.min_item_events,
    )


def _refuse_trivial(index: Index) -> None:
    for noun, count in (("user", index.user_code.size), ("item", index.item_code.size)):
        if count < 2:
            raise DataError(
                f"only one {noun} is left; a dataset needs at least two",
                hint=f"is it the right column? choose one with --columns {noun}=NAME",
            )


def _user_ids(
    intake: Intake,
    left: Survivors,
    index: Index,
    recipe: Recipe,
    surroundings: Surroundings,
    seed: int,
) -> tuple[pl.DataFrame, NDArray[np.int8]]:
    """Collect `user | user_id | num_events | split` and the codes of the last column."""
    ids = intake.user_ids.gather(index.user_code)
    parts = split_users(
        ids.to_list(),
        seed=seed,
        valid_share=recipe.valid_share,
        test_share=recipe.test_share,
        given=given_parts(surroundings.links),
    )
    if recipe.split == "users" and len(set(parts.tolist())) < len(SPLITS):
        raise DataError(
            f"{len(ids):,} users cannot be split into train, valid and test with these shares",
            hint="choose --split leave-last, or larger shares",
        )
    frame = pl.DataFrame(
        {
            USER: pl.int_range(len(ids), dtype=pl.Int32, eager=True),
            USER_ID: ids,
            NUM_EVENTS: left.user_count[index.user_code],
            SPLIT: part_labels(parts),
        }
    )
    return frame, parts


def _item_ids(intake: Intake, left: Survivors, index: Index) -> pl.DataFrame:
    return pl.DataFrame(
        {
            ITEM: pl.int_range(1, index.item_code.size + 1, dtype=pl.Int32, eager=True),
            ITEM_ID: intake.item_ids.gather(index.item_code),
            NUM_EVENTS: left.item_count[index.item_code],
        }
    )


def _split_rule(intake: Intake, index: Index, recipe: Recipe) -> SplitRule:
    shares = {"valid_share": recipe.valid_share, "test_share": recipe.test_share}
    cuts = None
    if recipe.split == "temporal":
        if TIMESTAMP not in intake.columns:
            raise UsageError(
                "a temporal split needs times, and the source has none",
                hint="choose --split leave-last or users, or name a column: --columns time=COLUMN",
            )
        cuts = cut_times(event_times(intake, index), **shares)
    return SplitRule(rule=recipe.split, cut_times=cuts, **shares)


def _followed(
    intake: Intake, users: pl.DataFrame, items: pl.DataFrame, links: Sequence[Neighbour]
) -> Followed:
    if not links or TIMESTAMP not in intake.columns:
        missing = "a dataset to follow" if not links else "times, and the source has none"
        raise UsageError(
            f"--split linked needs {missing}",
            hint="name one with --link DATASET" if not links else "choose another split",
        )
    return follow(Dataset(links[0].path), users, items)


def _length_quantiles(events_of_user: NDArray[np.int64]) -> dict[str, int]:
    shares = {"min": 0, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "max": 1}
    values = np.quantile(events_of_user, list(shares.values()), method="inverted_cdf")
    return dict(zip(shares, values.astype(int).tolist(), strict=True))


def _class_counts(column: pl.Series) -> dict[str, int]:
    counts = dict(column.drop_nulls().value_counts().iter_rows())
    return {name: counts.get(name, 0) for name in class_names(column)}
