"""Method `houlsby`: train an adapter behind every sublayer, and all norms.

Houlsby et al., Parameter-Efficient Transfer Learning for NLP (ICML 2019, arXiv 1902.00751),
section 2.1. The adapter is PeterRec's serial patch; what differs is that every norm of the backbone
trains, not the patches alone. It starts at exactly the identity; the paper's starts near it.
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
from recxfer.models.adapters.patches import graft


class HoulsbyConfig(SupervisedConfig):
    """Settings of `houlsby`."""

    bottleneck: int | None = Field(default=None, ge=1)
    """Width of an adapter; by default an eighth of the backbone's width, and at least 1."""


@final
class Houlsby(Method[HoulsbyConfig]):
    """Train adapters, norms, tokens and head."""

    config_type: ClassVar[type[Config]] = HoulsbyConfig
    needs: ClassVar[Needs] = Needs()
    parameter_efficient: ClassVar[bool] = True

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Graft an adapter behind every sublayer."""
        rng.seed_all("patches")
        adapters = graft(base.backbone, self.config.bottleneck, "serial", per_block=None)
        model = user_model(base, task, self.config.readout, rng)
        norms = [norm for block in model.backbone.residual_blocks for norm in block.norm_modules()]
        trained = [*adapters, *norms, model.backbone.above, *task_modules(model, task)]
        return in_one_phase("adapters", model, trained, TaskLearner(self.config))
