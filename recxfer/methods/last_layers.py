"""Method `last-layers`: the highest blocks train, what lies below keeps its pretrained weights.

FineLast1 and FineLast2 in PeterRec, table 2.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field
from torch import Tensor

from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.errors import ConfigError
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
from recxfer.models.user_model import UserModel


class LastLayersConfig(SupervisedConfig):
    """Settings of `last-layers`."""

    layers: int = Field(default=1, ge=1)
    """Blocks that train, counted from the top."""


@final
class LastLayers(SupervisedMethod[LastLayersConfig]):
    """Train the top of the backbone, what is above it, and the head."""

    config_type: ClassVar[type[Config]] = LastLayersConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        there = len(base.backbone.blocks)
        if self.config.layers > there:
            raise ConfigError(
                f"method.layers is {self.config.layers}, but the backbone has {there} blocks",
                hint=f"set layers to {there} or less; --method finetune trains everything",
            )
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        top = model.backbone.residual_blocks[-self.config.layers :]
        trainable = parameters_of([*top, model.backbone.above])
        return [Phase("last-layers", trainable + task_parameters(model, task))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: the vectors change with the top blocks."""
        return None
