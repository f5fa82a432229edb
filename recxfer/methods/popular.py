"""Method `popular`: score by frequency in training, for all users alike.

The floor of every comparison: popular items, or the majority class.
"""

from typing import ClassVar, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Method, Needs, VectorLearner
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


class PopularLearner(VectorLearner[PopularModel]):
    """Score by frequency; there is nothing to minimise."""

    @override
    def observe(self, model: PopularModel, rows: Rows) -> None:
        """Count outputs; one is added to each count, so that logarithms are finite."""
        count_V = count_outputs(rows, model.log_frequency_V.numel()).double() + 1
        model.log_frequency_V.copy_((count_V / count_V.sum()).log())

    @override
    def loss(self, model: PopularModel, batch: Batch, rng: Rng) -> Tensor:
        """Return a constant: no phase trains."""
        return -model.log_frequency_V.mean()

    @override
    def represent(self, model: PopularModel, batch: Batch) -> Tensor:
        """Encode every user alike."""
        return torch.zeros(batch.row_B.numel(), 1, device=batch.row_B.device)

    @override
    def output(self, model: PopularModel) -> Output:
        """Return a layer in which biases alone decide."""
        bias_V = model.log_frequency_V
        return Output(torch.zeros(bias_V.numel(), 1, device=bias_V.device), bias_V)


@final
class Popular(Method[PopularConfig]):
    """Count, and train nothing."""

    config_type: ClassVar[type[Config]] = PopularConfig
    needs: ClassVar[Needs] = Needs(base="none", items="any")

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Count what is chosen; nothing of the base is used."""
        return Adapted(model=PopularModel(task.num_outputs), learner=PopularLearner())
