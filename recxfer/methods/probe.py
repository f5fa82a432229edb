"""Method `probe`: train a linear head on user vectors that never change.

Feature-based transfer (FineCLS in PeterRec, table 2). The encoder runs once over every history
and the head trains on the stored vectors, so that an epoch costs next to nothing.
"""

from typing import ClassVar, Literal, final

from torch import Tensor
from typing_extensions import override

from recxfer.data.rows import Batch
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
from recxfer.models.heads import LinearHead
from recxfer.models.user_model import Readout


class ProbeConfig(SupervisedConfig):
    """Settings of `probe`."""

    readout: Readout | Literal["auto"] = "mean"
    """`mean`: all events; `last`: the last event. `token` and `first-token` train tokens through
    the frozen backbone, and are neither linear nor cheap."""


@final
class Probe(Method[ProbeConfig]):
    """Train the head, and nothing of the backbone."""

    config_type: ClassVar[type[Config]] = ProbeConfig
    needs: ClassVar[Needs] = Needs()
    parameter_efficient: ClassVar[bool] = True

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train a head on vectors that are computed once.

        A head tied to the item table is untied, to have one to train.
        """
        model = user_model(base, task, self.config.readout, rng)
        if model.head is None and task.same_vocabulary:
            model.head = LinearHead.copy_of(model.output())

        def encode_once(batch: Batch) -> Tensor | None:
            if len(model.tokens) or batch.target_B is None:
                return None
            return model.user_vectors(batch.history)

        trained, learner = task_modules(model, task), TaskLearner(self.config)
        return in_one_phase("probe", model, trained, learner, encode_once=encode_once)
