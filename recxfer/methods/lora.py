"""Method `lora`: frozen weights, each with a trainable update of low rank beside it.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (ICLR 2022, arXiv 2106.09685). The
paper updates the attention's query and value projections; here every weight matrix of a block has
an update, so that the method means the same on convolutions.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Needs, Phase
from recxfer.methods.supervised import (
    SupervisedConfig,
    SupervisedMethod,
    parameters_of,
    task_parameters,
    user_model,
)
from recxfer.methods.task import Task
from recxfer.models.adapters.low_rank import LowRank, add_low_rank
from recxfer.models.user_model import UserModel


class LoRAConfig(SupervisedConfig):
    """Settings of `lora`."""

    rank: int | None = Field(default=None, ge=1)
    """Rank of each update; by default a sixteenth of the backbone's width, and at least 1."""

    alpha: float | None = Field(default=None, gt=0)
    """An update counts alpha / rank times; by default twice."""


@final
class LoRA(SupervisedMethod[LoRAConfig]):
    """Train low-rank updates, tokens and head."""

    config_type: ClassVar[type[Config]] = LoRAConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        rank = self.config.rank or max(1, base.backbone.width // 16)
        rng.seed_all("low-rank")
        add_low_rank(base.backbone, rank, self.config.alpha or 2.0 * rank)
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        updates = [module for module in model.modules() if isinstance(module, LowRank)]
        return [Phase("lora", parameters_of(updates) + task_parameters(model, task))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: the lowest update is in the first block."""
        return None
