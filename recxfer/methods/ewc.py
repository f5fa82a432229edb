"""Method `ewc`: train all weights, with a penalty on those that earlier tasks depend on.

Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks (PNAS 2017, arXiv
1612.00796), equation 3: a quadratic penalty on leaving the weights that earlier tasks ended with,
weighed by the Fisher information of these tasks. One penalty around the weights of the base stands
for all earlier tasks (Huszar 2018, arXiv 1712.03847): nothing but weights has to be kept.
"""

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, KeptTask, Method, Needs
from recxfer.methods.supervised import SupervisedConfig, TaskLearner, further_model, in_one_phase
from recxfer.methods.task import Task
from recxfer.models.user_model import UserModel


class EWCConfig(SupervisedConfig):
    """Settings of `ewc`."""

    strength: float = Field(default=1e3, ge=0)
    """Weight of the penalty. More keeps more and learns less; 0 is `finetune`."""

    people: int = Field(default=1000, ge=1)
    """Training rows of each earlier task on which its Fisher information is measured, at most."""


@final
class EWC(Method[EWCConfig]):
    """Train all weights, with an elastic penalty."""

    config_type: ClassVar[type[Config]] = EWCConfig
    needs: ClassVar[Needs] = Needs(continues="shared")

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train all weights of the base, held back by what its tasks depend on."""
        model = further_model(base, task, self.config.readout, rng, tied=True)
        learner = EWCLearner(self.config, base.tasks, rng)
        return in_one_phase("ewc", model, [model], learner, keeps_tasks=True)


class EWCLearner(TaskLearner):
    """The usual loss of a task, and a penalty on leaving the weights that earlier tasks need."""

    def __init__(self, config: EWCConfig, earlier: Sequence[KeptTask], rng: Rng) -> None:
        super().__init__(config)
        self._strength, self._people = config.strength, config.people
        self._earlier, self._rng = earlier, rng
        self._springs: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        """Parameter, where it was, and how much earlier tasks depend on it."""

    @override
    def observe(self, model: UserModel, rows: Rows) -> None:
        """Measure what earlier tasks depend on, at the weights of the base."""
        super().observe(model, rows)
        fisher = {id(p): torch.zeros_like(p) for p in model.backbone.parameters()}
        for kept in self._earlier:
            for parameter, square in self._information(kept):
                if id(parameter) in fisher:  # and not an item table that is the task's own
                    fisher[id(parameter)] += square
        self._springs = [
            (p, p.detach().clone(), fisher[id(p)]) for p in model.backbone.parameters()
        ]

    @override
    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """Add the penalty to the loss of the task (equation 3)."""
        penalty = torch.stack(
            [(weight * (p - start).square()).sum() for p, start, weight in self._springs]
        ).sum()
        return super().loss(model, batch, rng) + 0.5 * self._strength * penalty

    def _information(self, kept: KeptTask) -> list[tuple[nn.Parameter, Tensor]]:
        """Average the squared gradient of each weight over single training rows of a task.

        This is the diagonal of the empirical Fisher information: labels are those of the rows.
        """
        device = next(kept.model.backbone.parameters()).device
        model = kept.model.to(device).eval()
        rows = kept.rows()
        kept.learner.observe(model, rows)
        drawn = torch.randperm(len(rows), generator=self._rng.generator("fisher"))
        drawn = drawn[: self._people]
        parameters = [p for p in model.backbone.parameters() if p.requires_grad]
        sums = [torch.zeros_like(p) for p in parameters]
        for place, row in enumerate(drawn):
            batch = rows.batch(row[None]).to(device)
            loss = kept.learner.loss(model, batch, Rng(self._rng.derive("fisher", place)))
            for total, gradient in zip(
                sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True
            ):
                if gradient is not None:
                    total += gradient.square()
        return [(p, total / len(drawn)) for p, total in zip(parameters, sums, strict=True)]
