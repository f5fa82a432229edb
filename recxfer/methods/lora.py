"""Method `lora`: frozen weights, each with a trainable update of low rank beside it.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (ICLR 2022, arXiv 2106.09685). The
paper updates the attention's query and value projections; here every weight matrix of a block has
an update, so that the method means the same on convolutions.
"""

from typing import ClassVar, final

from pydantic import Field
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Method, Needs
from recxfer.methods.supervised import (
    SupervisedConfig,
    TaskLearner,
    in_one_phase,
    task_modules,
    user_model,
)
from recxfer.methods.task import Task
from recxfer.models.adapters.low_rank import add_low_rank


class LoRAConfig(SupervisedConfig):
    """Settings of `lora`."""

    rank: int | None = Field(default=None, ge=1)
    """Rank of each update; by default a sixteenth of the backbone's width, and at least 1."""

    alpha: float | None = Field(default=None, gt=0)
    """An update counts alpha / rank times; by default twice `rank`."""


@final
class LoRA(Method[LoRAConfig]):
    """Train low-rank updates, tokens and head."""

    config_type: ClassVar[type[Config]] = LoRAConfig
    needs: ClassVar[Needs] = Needs()
    parameter_efficient: ClassVar[bool] = True

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Put low-rank updates on the frozen kernels."""
        rank = self.config.rank or max(1, base.backbone.width // 16)
        rng.seed_all("low-rank")
        updates = add_low_rank(base.backbone, rank, self.config.alpha or 2.0 * rank)
        model = user_model(base, task, self.config.readout, rng)
        trained = [*updates, *task_modules(model, task)]
        return in_one_phase("lora", model, trained, TaskLearner(self.config))
