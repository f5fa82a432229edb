"""Method `peterrec`: a frozen backbone, small grafted patches, and a token and a head per task.

Yuan, He, Karatzoglou and Zhang, Parameter-Efficient Transfer from Sequential Behaviors for User
Modeling and Recommendation (SIGIR 2020, arXiv 2001.04253), sections 3.2 and 3.3.

Where we differ from the release: the task token is a trainable vector of its own (there it is the
frozen embedding of item 0), patches start at exactly zero, and parallel patches have no identity
skip of their own. Step 0 therefore equals the pretrained network.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

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
from recxfer.models.adapters.patches import Insertion, graft, grafted
from recxfer.models.user_model import UserModel


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
class PeterRec(SupervisedMethod[PeterRecConfig]):
    """Train patches, tokens and head; everything else keeps its bits."""

    config_type: ClassVar[type[Config]] = PeterRecConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        config = self.config
        rng.seed_all("patches")
        graft(base.backbone, config.bottleneck, config.insertion, config.per_block)
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        owners: list[nn.Module] = list(grafted(model.backbone))
        if self.config.train_norms:
            for block in model.backbone.residual_blocks:
                owners += block.norm_modules()[-1:]
        return [Phase("patches", parameters_of(owners) + task_parameters(model, task))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: the lowest patch is in the first block."""
        return None
