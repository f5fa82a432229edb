"""Validation during training: one metric, computed alike for every objective and method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

from recxfer.data.rows import Rows
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation.console import Reporter, SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import AnyLearner

RECOGNITION = "recognition"
"""Mean reciprocal rank of finding a person again: what chooses where no items are ranked."""

MAX_ROWS = 10_000
"""Validation rows, at most; larger parts are sampled once per run."""


MAX_PEOPLE = 4_096
"""People held out that an objective looks at, at most."""


class Validates(Protocol):
    """What training asks how good the model is."""

    @property
    def metric(self) -> str:
        """The figure that chooses the best epoch, higher is better."""
        ...

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measure the model as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Validation:
    """A fixed set of held-out rows and what is measured on them."""

    learner: AnyLearner
    rows: Rows
    ranks_items: bool
    device: torch.device

    @classmethod
    def of(
        cls, learner: AnyLearner, rows: Rows, rng: Rng, device: torch.device, *, ranks_items: bool
    ) -> "Validation":
        """Take at most MAX_ROWS of the rows."""
        if len(rows) > MAX_ROWS:
            sample = torch.randperm(len(rows), generator=rng.generator("validation"))[:MAX_ROWS]
            rows = rows.take(sample.sort().values)
        return cls(learner, rows, ranks_items, device)

    @property
    def metric(self) -> str:
        """What chooses the best epoch, higher is better.

        NDCG@10 over all items; for classes the mean log-likelihood of the true class, because
        accuracy on a few hundred people moves in steps too coarse to choose by.
        """
        return "NDCG@10" if self.ranks_items else "log_likelihood"

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measure the model as it is."""
        return self._ranking(model) if self.ranks_items else self._classes(model)

    def _ranking(self, model: nn.Module) -> dict[str, float]:
        ranking = rank(
            self.learner, model, self.rows, device=self.device, reporter=SilentReporter()
        )
        hit_R = (ranking.rank_R <= 10).double()
        gain_R = hit_R / torch.log2(ranking.rank_R.double() + 1)
        return {"HR@10": float(hit_R.mean()), "NDCG@10": float(gain_R.mean())}

    def _classes(self, model: nn.Module) -> dict[str, float]:
        score_RC = class_scores(self.learner, model, self.rows, self.device)
        assert self.rows.target_R is not None
        right_R = score_RC.argmax(1) == self.rows.target_R
        return {
            "accuracy": float(right_R.double().mean()),
            "log_likelihood": -float(F.cross_entropy(score_RC, self.rows.target_R)),
        }


@dataclass(frozen=True, slots=True)
class PeopleValidation:
    """What an objective measures on people held out, and the ranking of items where it does that.

    The ranking then chooses the best epoch, as it does for every objective that ranks.
    """

    measure: Callable[[Rows, Reporter], dict[str, float]]
    people: Rows
    ranking: Validation | None
    metric: str
    reporter: Reporter

    @classmethod
    def of(
        cls,
        measure: Callable[[Rows, Reporter], dict[str, float]],
        people: Rows,
        ranking: Validation | None,
        rng: Rng,
        reporter: Reporter,
    ) -> "PeopleValidation":
        """Take at most MAX_PEOPLE of the people."""
        if len(people) > MAX_PEOPLE:
            drawn = torch.randperm(len(people), generator=rng.generator("people"))[:MAX_PEOPLE]
            people = people.take(drawn.sort().values)
        metric = ranking.metric if ranking is not None else RECOGNITION
        return cls(measure, people, ranking, metric, reporter)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Measure the model as it is."""
        ranked = self.ranking(model) if self.ranking is not None else {}
        return {**ranked, **self.measure(self.people, self.reporter)}
