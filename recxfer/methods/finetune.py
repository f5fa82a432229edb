"""Method `finetune`: every weight goes on training from where pretraining left it.

The reference that parameter-efficient methods are measured against (FineAll in PeterRec, table 2).
"""

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor

from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Needs, Phase
from recxfer.methods.supervised import SupervisedConfig, SupervisedMethod, user_model
from recxfer.methods.task import Task
from recxfer.models.user_model import UserModel


class FineTuneConfig(SupervisedConfig):
    """Settings of `finetune`."""


@final
class FineTune(SupervisedMethod[FineTuneConfig]):
    """Train everything."""

    config_type: ClassVar[type[Config]] = FineTuneConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("finetune", list(model.parameters()))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: nothing is frozen."""
        return None
