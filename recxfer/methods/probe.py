"""Method `probe`: a linear head on user vectors that never change.

Feature-based transfer (FineCLS in PeterRec, table 2). The encoder runs once over every history
and the head trains on the stored vectors, so that an epoch costs next to nothing.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

from torch import Tensor

from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Needs, Phase
from recxfer.methods.supervised import (
    SupervisedConfig,
    SupervisedMethod,
    task_parameters,
    user_model,
)
from recxfer.methods.task import Task
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import Readout, UserModel


class ProbeConfig(SupervisedConfig):
    """Settings of `probe`."""

    readout: Readout | Literal["auto"] = "mean"
    """`mean`: all events; `last`: the last event. `token` and `first-token` train tokens through
    the frozen backbone, and are neither linear nor cheap."""


@final
class Probe(SupervisedMethod[ProbeConfig]):
    """Train the head, and nothing of the backbone."""

    config_type: ClassVar[type[Config]] = ProbeConfig
    needs: ClassVar[Needs] = Needs()

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`; a head tied to the item table is untied, to have one to train."""
        model = user_model(base, task, self.config.readout, rng)
        if model.head is None and task.same_vocabulary:
            model.head = LinearHead.copy_of(model.output())
        return model

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("probe", task_parameters(model, task))]

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`."""
        if len(model.tokens) or batch.target_B is None:
            return None
        return model.user_vectors(batch.item_BL, batch.length_B)
