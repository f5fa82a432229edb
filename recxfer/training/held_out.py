"""Hold out the rows that choose the best epoch of a pretraining."""

from typing import Any

import torch

from recxfer.data.dataset import Dataset
from recxfer.data.examples import hold_out_users, next_item_cases
from recxfer.data.rows import Rows
from recxfer.foundation.errors import DataError
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import AnyObjective, Pretraining
from recxfer.models.backbones.contract import Backbone
from recxfer.training.validation import (
    RECOGNITION,
    UserValidation,
    Validates,
    Validation,
    check_metric,
)


def check_metric_of(
    objective: AnyObjective, pretraining: Pretraining[Any], metric: str | None
) -> None:
    """Refuse a metric that the validation of an objective cannot measure.

    Raises:
        ConfigError: it cannot, and what it can.
    """
    check_metric(
        metric,
        ranks_items=objective.item_learner() is not None,
        users=pretraining.measure is not None,
    )


def hold_out(
    dataset: Dataset,
    pretraining: Pretraining[Any],
    objective: AnyObjective,
    rows: Rows,
    rng: Rng,
    device: torch.device,
    reporter: Reporter,
    metric: str | None,
) -> tuple[Rows, Validates]:
    """Divide training rows from those that choose the best epoch.

    Args:
        dataset: what is pretrained on.
        pretraining: the model, and who measures held-out users, if anybody does.
        objective: which ranks held-out events, or looks at held-out users, or does both.
        rows: training rows.
        rng: names the streams of samples.
        device: where the model is.
        reporter: told what the objective warns of.
        metric: what chooses the best epoch, or None for the default.

    Returns:
        The rows that are left to train on, and the validation.

    Raises:
        ConfigError: the metric does not fit.
        DataError: there is too little to hold out.
    """
    backbone: Backbone = pretraining.model.backbone
    ranking = None
    if objective.item_learner() is not None:
        held_out = _held_out(dataset, backbone)
        of_items = None if metric == RECOGNITION else metric
        ranking = Validation.of(
            pretraining.learner, held_out, rng, device, ranks_items=True, metric=of_items
        )
    if pretraining.measure is None:
        assert ranking is not None, "an objective ranks items or measures people"
        return rows, ranking
    rows, users = hold_out_users(dataset, rows, backbone.config.max_length)
    for found, part in ((rows, "training"), (users, "validation")):
        if len(found) < 2:
            raise DataError(
                f"{dataset.path} has {len(found)} {part} people with two training events or more: "
                "they cannot be compared",
                hint="prepare a larger dataset",
            )
    return rows, UserValidation.of(pretraining.measure, users, ranking, rng, reporter, metric)


def _held_out(dataset: Dataset, backbone: Backbone) -> Rows:
    rows = next_item_cases(dataset, "valid", backbone.config.max_length, backbone.inputs)
    if len(rows) == 0:
        raise DataError(
            f"{dataset.path} has no validation event with a history before it",
            hint="prepare a larger dataset, or another --split",
        )
    return rows
