"""Method `bitfit`: of the backbone, only the biases train.

Ben Zaken, Ravfogel and Goldberg, BitFit: Simple Parameter-efficient Fine-tuning for
Transformer-based Masked Language-models (ACL 2022, arXiv 2106.10199), section 3.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Needs, Phase
from recxfer.methods.supervised import (
    SupervisedConfig,
    SupervisedMethod,
    task_parameters,
    user_model,
)
from recxfer.methods.task import Task
from recxfer.models.user_model import UserModel


class BitFitConfig(SupervisedConfig):
    """Settings of `bitfit`."""


@final
class BitFit(SupervisedMethod[BitFitConfig]):
    """Train biases, of layers and of norms, with tokens and head."""

    config_type: ClassVar[type[Config]] = BitFitConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("biases", model.backbone.biases() + task_parameters(model, task))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: the lowest bias is in the first block."""
        return None
