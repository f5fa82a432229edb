"""Method `houlsby`: adapters behind every sublayer, and all norms train with them.

Houlsby et al., Parameter-Efficient Transfer Learning for NLP (ICML 2019, arXiv 1902.00751),
section 2.1. The adapter is PeterRec's serial patch; what differs is that every norm of the backbone
trains, not the patches alone. It starts at exactly the identity; the paper's starts near it.
"""

from collections.abc import Sequence
from typing import ClassVar, final

from pydantic import Field
from torch import Tensor, nn

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
from recxfer.models.adapters.patches import graft, grafted
from recxfer.models.user_model import UserModel


class HoulsbyConfig(SupervisedConfig):
    """Settings of `houlsby`."""

    bottleneck: int | None = Field(default=None, ge=1)
    """Width of an adapter; by default an eighth of the backbone's width, and at least 1."""


@final
class Houlsby(SupervisedMethod[HoulsbyConfig]):
    """Train adapters, norms, tokens and head."""

    config_type: ClassVar[type[Config]] = HoulsbyConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        rng.seed_all("patches")
        graft(base.backbone, self.config.bottleneck, "serial", per_block=None)
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        owners: list[nn.Module] = list(grafted(model.backbone))
        for block in model.backbone.residual_blocks:
            owners += block.norm_modules()
        owners.append(model.backbone.above)
        return [Phase("adapters", parameters_of(owners) + task_parameters(model, task))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: the lowest adapter is in the first block."""
        return None
