"""Method `last-layers`: train the highest blocks; those below keep their pretrained weights.

FineLast1 and FineLast2 in PeterRec, table 2.
"""

from typing import ClassVar, final

from pydantic import Field
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.errors import ConfigError
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


class LastLayersConfig(SupervisedConfig):
    """Settings of `last-layers`."""

    layers: int = Field(default=1, ge=1)
    """Blocks that train, counted from the top."""


@final
class LastLayers(Method[LastLayersConfig]):
    """Train the top of the backbone, what is above it, and the head."""

    config_type: ClassVar[type[Config]] = LastLayersConfig
    needs: ClassVar[Needs] = Needs()

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train the highest blocks and the layers above them.

        Raises:
            ConfigError: the backbone has fewer blocks.
        """
        there = len(base.backbone.blocks)
        if self.config.layers > there:
            raise ConfigError(
                f"method.layers is {self.config.layers}, but the backbone has {there} blocks",
                hint=f"set layers to {there} or less; --method finetune trains everything",
            )
        model = user_model(base, task, self.config.readout, rng)
        top = model.backbone.residual_blocks[-self.config.layers :]
        trained = [*top, model.backbone.above, *task_modules(model, task)]
        return in_one_phase("last-layers", model, trained, TaskLearner(self.config))
