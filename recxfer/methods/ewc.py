"""Method `ewc`: all weights go on training, held back where earlier tasks depend on them.

Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks (PNAS 2017, arXiv
1612.00796), equation 3: a quadratic penalty on leaving the weights that earlier tasks ended with,
weighed by the Fisher information of these tasks. One penalty around the weights of the base stands
for all earlier tasks (Huszar 2018, arXiv 1712.03847): nothing but weights has to be kept.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Held, Needs, Phase
from recxfer.methods.supervised import SupervisedConfig, TaskMethod, further_model
from recxfer.methods.task import Task
from recxfer.models.user_model import UserModel


class EWCConfig(SupervisedConfig):
    """Settings of `ewc`."""

    strength: float = Field(default=1e3, ge=0)
    """Weight of the penalty; 0 is `finetune`."""

    people: int = Field(default=1000, ge=1)
    """Training rows of each earlier task on which its Fisher information is measured, at most."""


@final
class EWC(TaskMethod[EWCConfig]):
    """Train everything, on a spring."""

    config_type: ClassVar[type[Config]] = EWCConfig
    needs: ClassVar[Needs] = Needs(earlier="shared")

    def __init__(self, config: EWCConfig) -> None:
        super().__init__(config)
        self._held: Sequence[Held] = ()
        self._rng = Rng(0)
        self._springs: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        """Parameter, where it was, and how much earlier tasks depend on it."""

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        self._held, self._rng = base.held, rng
        return further_model(base, task, self.config.readout, rng, tied=True)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("ewc", list(model.parameters()))]

    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Method.count`: also what earlier tasks depend on, at the weights of the base."""
        self.usual.count(model, rows)
        fisher = {id(p): torch.zeros_like(p) for p in model.backbone.parameters()}
        for held in self._held:
            for parameter, square in self._information(held):
                if id(parameter) in fisher:  # and not an item table that is the task's own
                    fisher[id(parameter)] += square
        self._springs = [
            (p, p.detach().clone(), fisher[id(p)]) for p in model.backbone.parameters()
        ]

    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Method.loss`."""
        penalty = torch.stack(
            [(weight * (p - start).square()).sum() for p, start, weight in self._springs]
        ).sum()
        return self.usual.loss(model, batch, rng) + 0.5 * self.config.strength * penalty

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: nothing is frozen."""
        return None

    def close(self, model: UserModel, phase: Phase, quality: Callable[[], float]) -> None:
        """See `Method.close`: there is nothing left to do."""

    def holds(self, base: Base) -> bool:
        """See `Method.holds`."""
        return True

    def _information(self, held: Held) -> list[tuple[nn.Parameter, Tensor]]:
        """The mean squared gradient of each weight over single training rows of a task.

        This is the diagonal of the empirical Fisher information: labels are those of the rows.
        """
        device = next(held.model.backbone.parameters()).device
        model = held.model.to(device).eval()
        rows = held.rows()
        held.learner.count(model, rows)
        drawn = torch.randperm(len(rows), generator=self._rng.generator("fisher"))
        drawn = drawn[: self.config.people]
        parameters = [p for p in model.backbone.parameters() if p.requires_grad]
        sums = [torch.zeros_like(p) for p in parameters]
        for place, row in enumerate(drawn):
            batch = rows.batch(row[None]).to(device)
            loss = held.learner.loss(model, batch, Rng(self._rng.derive("fisher", place)))
            for total, gradient in zip(
                sums, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True
            ):
                if gradient is not None:
                    total += gradient.square()
        return [(p, total / len(drawn)) for p, total in zip(parameters, sums, strict=True)]
