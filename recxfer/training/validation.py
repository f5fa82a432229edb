"""Validation during training: metrics of the table on held-out rows, one of which chooses."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from recxfer.data.rows import Rows
from recxfer.evaluation.metrics.choice import Measure, fitting, measures
from recxfer.evaluation.metrics.contract import Need, Predictions
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation.errors import ConfigError, DataError
from recxfer.foundation.reporting import Reporter, SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import AnyLearner

RECOGNITION = "recognition"
"""Mean reciprocal rank of finding a user again: what chooses where no items are ranked."""

MAX_ROWS = 10_000
"""Validation rows, at most; larger parts are sampled once per run."""


MAX_USERS = 4_096
"""People held out that an objective looks at, at most."""


DEFAULTS = {True: ("HR@10", "NDCG@10"), False: ("accuracy", "log_likelihood")}
"""What is measured where items are ranked, and where they are not; the last one chooses the best
epoch where `optim.metric` does not say. Log-likelihood, since accuracy on a few hundred users
moves in steps too coarse to choose by."""

OFFERS: dict[bool, frozenset[Need]] = {True: frozenset({"ranks"}), False: frozenset({"scores"})}
"""What metrics may need, likewise. Lists are not looked at while training: what says nothing of the
target is nothing to choose an epoch by."""


class Validates(Protocol):
    """Validation as training calls it."""

    @property
    def metric(self) -> str:
        """The metric that chooses the best epoch."""
        ...

    def quality(self, figures: Mapping[str, float]) -> float:
        """Return the value of that metric, negative where lower is better."""
        ...

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measure the model as it is."""
        ...


def check_metric(metric: str | None, *, ranks_items: bool, users: bool = False) -> None:
    """Refuse a metric that validation cannot measure.

    Args:
        metric: `optim.metric`; None for the default.
        ranks_items: whether items are ranked in validation, not classes told apart; false as well
            where only held-out users are looked at.
        users: whether an objective looks at held-out users.

    Raises:
        ConfigError: it cannot, and what it can.
    """
    if metric is None or (metric == RECOGNITION and users):
        return
    offers = frozenset[Need]() if users and not ranks_items else OFFERS[ranks_items]
    if metric == RECOGNITION or not measures([metric], ())[0].metric.needs <= offers:
        known = [*fitting(offers), *([RECOGNITION] if users else [])]
        raise ConfigError(
            f"optim.metric is {metric}, which cannot be measured in this validation",
            hint=f"there are {', '.join(known)}",
        )


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation on a fixed set of held-out rows."""

    learner: AnyLearner
    rows: Rows
    ranks_items: bool
    device: torch.device
    chosen: Measure
    """What chooses the best epoch."""

    measured: Sequence[Measure]

    @classmethod
    def of(
        cls,
        learner: AnyLearner,
        rows: Rows,
        rng: Rng,
        device: torch.device,
        *,
        ranks_items: bool,
        metric: str | None = None,
    ) -> "Validation":
        """Take at most MAX_ROWS of the rows.

        Args:
            learner: scores items or classes.
            rows: held out, with targets.
            rng: names the stream of the sample.
            device: where the model is.
            ranks_items: whether targets are items, not classes.
            metric: what chooses the best epoch, or None for the default.

        Raises:
            ConfigError: the metric does not fit.
            DataError: the targets of the rows leave it undefined.
        """
        check_metric(metric, ranks_items=ranks_items)
        if len(rows) > MAX_ROWS:
            sample = torch.randperm(len(rows), generator=rng.generator("validation"))[:MAX_ROWS]
            rows = rows.take(sample.sort().values)
        names = DEFAULTS[ranks_items]
        found = {m.name: m for m in measures([*names, *([metric] if metric else [])], ())}
        chosen = found[metric or names[-1]]
        if metric is not None and not ranks_items:
            _refuse_undefined(chosen, rows)
        return cls(learner, rows, ranks_items, device, chosen, list(found.values()))

    @property
    def metric(self) -> str:
        """The metric that chooses the best epoch."""
        return self.chosen.name

    def quality(self, figures: Mapping[str, float]) -> float:
        """Return the value of `metric`, negative where lower is better."""
        value = figures[self.metric]
        return value if self.chosen.metric.higher_is_better else -value

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measure the model as it is."""
        predictions = self._ranking(model) if self.ranks_items else self._classes(model)
        return {m.name: m.metric.value(predictions, m.k) for m in self.measured}

    def _ranking(self, model: nn.Module) -> Predictions:
        assert self.rows.target_R is not None
        ranking = rank(
            self.learner, model, self.rows, device=self.device, reporter=SilentReporter()
        )
        return Predictions(target_R=self.rows.target_R.numpy() + 1, rank_R=ranking.rank_R.numpy())

    def _classes(self, model: nn.Module) -> Predictions:
        assert self.rows.target_R is not None
        score_RC = class_scores(self.learner, model, self.rows, self.device)
        return Predictions(target_R=self.rows.target_R.numpy(), score_RC=score_RC.double().numpy())


def _refuse_undefined(measure: Measure, rows: Rows) -> None:
    """Refuse a metric that the true classes alone leave undefined, as AUC of one class."""
    assert rows.target_R is not None
    num_classes = max(2, int(rows.target_R.max()) + 1)
    alike = Predictions(target_R=rows.target_R.numpy(), score_RC=np.zeros((len(rows), num_classes)))
    if math.isnan(measure.metric.value(alike, measure.k)):
        raise DataError(
            f"the true classes of the {len(rows)} validation cases leave {measure.name} undefined",
            hint="choose the best epoch by another --set optim.metric=..., or prepare a larger "
            "dataset",
        )


@dataclass(frozen=True, slots=True)
class UserValidation:
    """Validation by an objective's own measures on held-out users, and by ranking where it ranks.

    The ranking then chooses the best epoch, as it does for every objective that ranks.
    """

    measure: Callable[[Rows, Reporter], dict[str, float]]
    users: Rows
    ranking: Validation | None
    metric: str
    """The metric that chooses the best epoch."""

    reporter: Reporter

    @classmethod
    def of(
        cls,
        measure: Callable[[Rows, Reporter], dict[str, float]],
        users: Rows,
        ranking: Validation | None,
        rng: Rng,
        reporter: Reporter,
        metric: str | None = None,
    ) -> "UserValidation":
        """Take at most MAX_USERS of the users.

        Args:
            objective: measures them.
            users: their histories.
            ranking: of items, where the objective ranks any.
            rng: names the stream of the sample.
            reporter: told what the objective warns of.
            metric: what chooses the best epoch: `recognition`, that of the ranking, or None for the
                default, which is the ranking's where there is one.
        """
        if len(users) > MAX_USERS:
            drawn = torch.randperm(len(users), generator=rng.generator("people"))[:MAX_USERS]
            users = users.take(drawn.sort().values)
        chosen = RECOGNITION if ranking is None or metric == RECOGNITION else ranking.metric
        return cls(measure, users, ranking, chosen, reporter)

    def quality(self, figures: Mapping[str, float]) -> float:
        """Return the value of `metric`, negative where lower is better."""
        if self.ranking is None or self.metric == RECOGNITION:
            return figures[self.metric]
        return self.ranking.quality(figures)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measure the model as it is."""
        ranked = self.ranking(model) if self.ranking is not None else {}
        return {**ranked, **self.measure(self.users, self.reporter)}
