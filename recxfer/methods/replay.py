"""Method `replay`: train all weights, on remembered examples of earlier tasks too.

Experience replay as in Chaudhry et al., On Tiny Episodic Memories in Continual Learning (2019,
arXiv 1902.10486): each step adds a batch of an earlier task. With `memory=all` this is joint
training of all tasks (multi-task learning, which Conure is compared with), given the whole past
that the others must do without. The memory is drawn anew from the datasets of earlier tasks, which
must be there.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, KeptTask, Method, Needs
from recxfer.methods.supervised import SupervisedConfig, TaskLearner, further_model, in_one_phase
from recxfer.methods.task import Task
from recxfer.models.user_model import TaskLayers, UserModel


class ReplayConfig(SupervisedConfig):
    """Settings of `replay`."""

    memory: Annotated[int, Field(ge=1)] | Literal["all"] = 1000
    """Training rows of each earlier task that are remembered, at most. `all`: joint training."""

    strength: float = Field(default=1.0, ge=0)
    """Weight of the remembered batch beside that of the new task; 0 is `finetune`."""


@final
class Replay(Method[ReplayConfig]):
    """Train everything, the output layers of earlier tasks included."""

    config_type: ClassVar[type[Config]] = ReplayConfig
    needs: ClassVar[Needs] = Needs(continues="shared")

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Train all weights of the base and of its tasks."""
        model = further_model(base, task, self.config.readout, rng, tied=True)
        model.earlier.extend(TaskLayers(kept.model) for kept in base.tasks)
        learner = ReplayLearner(self.config, base.tasks, rng)
        return in_one_phase("replay", model, [model], learner, keeps_tasks=True)


class ReplayLearner(TaskLearner):
    """The usual loss of a task, and that of remembered rows of an earlier one."""

    def __init__(self, config: ReplayConfig, earlier: Sequence[KeptTask], rng: Rng) -> None:
        super().__init__(config)
        self._most = None if config.memory == "all" else config.memory
        self._strength = config.strength
        self._earlier, self._rng = earlier, rng
        self._memory: list[Rows] = []

    @override
    def observe(self, model: UserModel, rows: Rows) -> None:
        """Remember rows of earlier tasks, beside what the task itself counts."""
        super().observe(model, rows)
        self._memory = []
        for place, kept in enumerate(self._earlier):
            known = kept.rows()
            kept.learner.observe(kept.model, known)
            drawn = torch.randperm(len(known), generator=self._rng.generator("memory", place))
            self._memory.append(known.take(drawn[: self._most]))

    @override
    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """Add the loss of as many rows of one earlier task."""
        generator = rng.generator("replay")
        place = int(torch.randint(len(self._earlier), (), generator=generator))
        kept, memory = self._earlier[place], self._memory[place]
        row_B = torch.randint(len(memory), (len(batch.row_B),), generator=generator)
        remembered = memory.batch(row_B).to(batch.row_B.device)
        old = kept.learner.loss(kept.model, remembered, Rng(rng.derive("replay")))
        return super().loss(model, batch, rng) + self._strength * old
