"""Method `finetune`: train all weights, from where pretraining left them.

The reference that parameter-efficient methods are measured against (FineAll in PeterRec, table 2),
and, task after task, the network that forgets (SinMoAll in Conure, table 2).
"""

from typing import ClassVar, final

from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Method, Needs
from recxfer.methods.supervised import (
    SupervisedConfig,
    TaskLearner,
    further_model,
    in_one_phase,
    user_model,
)
from recxfer.methods.task import Task


class FineTuneConfig(SupervisedConfig):
    """Settings of `finetune`."""

    keep_pretraining: bool = False
    """Whether the run also holds the task of a base that was only pretrained, as task 1, to see
    what is forgotten of it. The tasks of a base that was transferred are always held."""


@final
class FineTune(Method[FineTuneConfig]):
    """Train everything but what earlier tasks have of their own."""

    config_type: ClassVar[type[Config]] = FineTuneConfig
    needs: ClassVar[Needs] = Needs(continues="shared")

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train all weights of the base."""
        keeps_tasks = base.transferred or self.config.keep_pretraining
        readout = self.config.readout
        if keeps_tasks:
            model = further_model(base, task, readout, rng, tied=True)
        else:
            model = user_model(base, task, readout, rng)
        learner = TaskLearner(self.config)
        return in_one_phase("finetune", model, [model], learner, keeps_tasks=keeps_tasks)
