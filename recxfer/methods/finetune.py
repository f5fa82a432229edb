"""Method `finetune`: every weight goes on training from where pretraining left it.

The reference that parameter-efficient methods are measured against (FineAll in PeterRec, table 2),
and, task after task, the network that forgets (SinMoAll in Conure, table 2).
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, final

from torch import Tensor

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Needs, Phase
from recxfer.methods.supervised import (
    SupervisedConfig,
    TaskMethod,
    further_model,
    user_model,
)
from recxfer.methods.task import Task
from recxfer.models.user_model import UserModel


class FineTuneConfig(SupervisedConfig):
    """Settings of `finetune`."""

    keep_pretraining: bool = False
    """Whether the run also holds the task of a base that was only pretrained, as task 1, to see
    what is forgotten of it. The tasks of a base that was transferred are always held."""


@final
class FineTune(TaskMethod[FineTuneConfig]):
    """Train everything but what earlier tasks have of their own."""

    config_type: ClassVar[type[Config]] = FineTuneConfig
    needs: ClassVar[Needs] = Needs(earlier="shared")

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        if self.holds(base):
            return further_model(base, task, self.config.readout, rng, tied=True)
        return user_model(base, task, self.config.readout, rng)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("finetune", list(model.parameters()))]

    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Method.count`."""
        self.usual.count(model, rows)

    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Method.loss`."""
        return self.usual.loss(model, batch, rng)

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: nothing is frozen."""
        return None

    def close(self, model: UserModel, phase: Phase, quality: Callable[[], float]) -> None:
        """See `Method.close`: there is nothing left to do."""

    def holds(self, base: Base) -> bool:
        """See `Method.holds`."""
        return base.transferred or self.config.keep_pretraining
