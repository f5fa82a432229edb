"""Method `popular`: what is most frequent in training, for everybody alike.

The floor of every comparison: popular items, or the majority class.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Method, Needs, Phase
from recxfer.methods.task import Task
from recxfer.models.losses.item_loss import count_outputs
from recxfer.models.scoring import Output


class PopularConfig(Config):
    """`popular` has no settings."""


class PopularModel(nn.Module):
    """Log frequencies, as biases of an output layer that reads nothing."""

    log_frequency_V: Tensor

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.register_buffer("log_frequency_V", torch.zeros(num_outputs))


@final
class Popular(Method[PopularConfig, PopularModel]):
    """Count, and train nothing."""

    config_type: ClassVar[type[Config]] = PopularConfig
    needs: ClassVar[Needs] = Needs(base="none", items="any")

    def assemble(self, base: Base, task: Task, rng: Rng) -> PopularModel:
        """See `Method.assemble`."""
        return PopularModel(task.num_outputs)

    def phases(self, model: PopularModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`: there is nothing to train."""
        return []

    def count(self, model: PopularModel, rows: Rows) -> None:
        """See `Method.count`; one is added to each count, so that logarithms are finite."""
        count_V = count_outputs(rows, model.log_frequency_V.numel()).double() + 1
        model.log_frequency_V.copy_((count_V / count_V.sum()).log())

    def loss(self, model: PopularModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Method.loss`; never minimised, since no phase trains."""
        return -model.log_frequency_V.mean()

    def represent(self, model: PopularModel, batch: Batch) -> Tensor:
        """See `Method.represent`: the same for every user."""
        return torch.zeros(batch.item_BL.shape[0], 1, device=batch.item_BL.device)

    def output(self, model: PopularModel) -> Output:
        """See `Method.output`: biases alone decide."""
        bias_V = model.log_frequency_V
        return Output(torch.zeros(bias_V.numel(), 1, device=bias_V.device), bias_V)

    def decisions(self, model: PopularModel, batch: Batch) -> Tensor | None:
        """See `Method.decisions`: there are no blocks."""
        return None

    def frozen_vectors(self, model: PopularModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: nothing trains, so nothing is worth keeping."""
        return None

    def close(self, model: PopularModel, phase: Phase, quality: Callable[[], float]) -> None:
        """See `Method.close`: there are no phases."""

    def holds(self, base: Base) -> bool:
        """See `Method.holds`: nothing of the base is used."""
        return False
