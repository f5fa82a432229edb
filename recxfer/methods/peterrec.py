"""Method `peterrec`: a frozen backbone, small grafted patches, and a token and a head per task.

Yuan, He, Karatzoglou and Zhang, Parameter-Efficient Transfer from Sequential Behaviors for User
Modeling and Recommendation (SIGIR 2020, arXiv 2001.04253), sections 3.2 and 3.3.

Where we differ from the release: the task token is a trainable vector of its own (there it is the
frozen embedding of item 0), patches start at exactly zero, and parallel patches have no identity
skip of their own. Step 0 therefore equals the pretrained network.
"""

from typing import ClassVar, Literal, final

from pydantic import Field
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
from recxfer.models.adapters.patches import Insertion, graft


class PeterRecConfig(SupervisedConfig):
    """Settings of `peterrec`."""

    insertion: Insertion = "serial"
    """`serial`: behind a sublayer, with an identity skip. `parallel`: beside it."""

    per_block: Literal[1, 2] = 2
    """Patches in a block: behind its last two sublayers, or behind the last alone."""

    bottleneck: int | None = Field(default=None, ge=1)
    """Width of a patch; by default an eighth of the backbone's width, and at least 1."""

    train_norms: bool = False
    """Also train the last norm of each block (the release's choice, not the paper's)."""


@final
class PeterRec(Method[PeterRecConfig]):
    """Train patches, tokens and head; everything else keeps its bits."""

    config_type: ClassVar[type[Config]] = PeterRecConfig
    needs: ClassVar[Needs] = Needs()
    parameter_efficient: ClassVar[bool] = True

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Graft patches onto the frozen backbone."""
        config = self.config
        rng.seed_all("patches")
        patches = graft(base.backbone, config.bottleneck, config.insertion, config.per_block)
        model = user_model(base, task, config.readout, rng)
        trained: list[nn.Module] = [*patches]
        if config.train_norms:
            for block in model.backbone.residual_blocks:
                trained += block.norm_modules()[-1:]
        trained += task_modules(model, task)
        return in_one_phase("patches", model, trained, TaskLearner(config))
