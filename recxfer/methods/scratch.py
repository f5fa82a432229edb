"""Method `scratch`: the same network on the target alone, from random weights.

What pretraining must beat (PeterZero in PeterRec, table 2).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, final

from torch import Tensor

from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Needs, Phase
from recxfer.methods.supervised import SupervisedConfig, SupervisedMethod, user_model
from recxfer.methods.task import Task
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import UserModel


class ScratchConfig(SupervisedConfig):
    """Settings of `scratch`."""


@final
class Scratch(SupervisedMethod[ScratchConfig]):
    """Forget the pretrained weights, then train everything."""

    config_type: ClassVar[type[Config]] = ScratchConfig
    needs: ClassVar[Needs] = Needs(base="none")

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        old = base.backbone
        rng.seed_all("backbone")
        new = type(old)(old.config, old.num_items, causal=old.causal)
        head = None if base.head is None else LinearHead(old.width, old.num_items)
        return user_model(replace(base, backbone=new, head=head), task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("scratch", list(model.parameters()))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: nothing is frozen."""
        return None
