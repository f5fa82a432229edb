"""Method `bitfit`: train only the biases of the backbone.

Ben Zaken, Ravfogel and Goldberg, BitFit: Simple Parameter-efficient Fine-tuning for
Transformer-based Masked Language-models (ACL 2022, arXiv 2106.10199), section 3.
"""

from typing import ClassVar, final

from torch import nn
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


class BitFitConfig(SupervisedConfig):
    """Settings of `bitfit`."""


@final
class BitFit(Method[BitFitConfig]):
    """Train biases, of layers and of norms, with tokens and head."""

    config_type: ClassVar[type[Config]] = BitFitConfig
    needs: ClassVar[Needs] = Needs()
    parameter_efficient: ClassVar[bool] = True

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train biases, tokens and head."""
        model = user_model(base, task, self.config.readout, rng)
        trained: list[nn.Module | nn.Parameter] = [*model.backbone.biases()]
        trained += task_modules(model, task)
        return in_one_phase("biases", model, trained, TaskLearner(self.config))
