"""Build models that read items by content, and attach the items of their datasets."""

from functools import partial

from torch import nn

from recxfer.data.dataset import Dataset
from recxfer.data.features import cached_features
from recxfer.foundation.errors import DataError
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import attach, read_content, reads_content, unread
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.table import ContentTable


def build_item_encoders(
    backbone: Backbone, config: ContentConfig, dataset: Dataset, rng: Rng
) -> None:
    """Let a backbone make item vectors from content, in place of a table of them.

    Args:
        backbone: of the width that items are to have.
        config: the encoders.
        dataset: its items say what there is to read, where the config leaves that open.
        rng: draws what is new.

    Raises:
        DataError: no item has what is to be read.
        ConfigError: an encoder cannot be had.
    """
    rng.seed_all("items")
    try:
        resolved = config.resolved(dataset.content)
    except DataError as error:
        raise _of(dataset, error) from error
    read_content(backbone, ContentTable(resolved, backbone.width))


def read_items_of(model: nn.Module, dataset: Dataset, reporter: Reporter) -> None:
    """Let a model that knows items by what they are read those of a dataset.

    Args:
        model: any; one that gives items a place in a table stays as it is.
        dataset: the domain.
        reporter: told how many items the model cannot read, and where features of frozen encoders
            cannot be kept for next time.

    Raises:
        DataError: no item has what the model reads.
    """
    if not reads_content(model):
        return
    try:
        attach(model, dataset.content, partial(cached_features, dataset.path, reporter=reporter))
    except DataError as error:
        raise _of(dataset, error) from error
    count = unread(model, dataset.content)
    if count:
        reporter.warn(
            f"{count:,} of {dataset.num_items:,} items of {dataset.path} have nothing of what the "
            "model reads: it cannot tell them apart"
        )


def _of(dataset: Dataset, error: DataError) -> DataError:
    """Add the dataset's name to an error."""
    return DataError(f"{dataset.path}: {error.message}", hint=error.hint)
