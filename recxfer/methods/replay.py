"""Method `replay`: all weights go on training, on remembered examples of earlier tasks too.

Experience replay as in Chaudhry et al., On Tiny Episodic Memories in Continual Learning (2019,
arXiv 1902.10486): each step adds a batch of an earlier task. With `memory=all` this is joint
training of all tasks (multi-task learning, which Conure is compared with), given the whole past
that the others must do without. The memory is drawn anew from the datasets of earlier tasks, which
must be there.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Held, Needs, Phase
from recxfer.methods.supervised import SupervisedConfig, TaskMethod, further_model
from recxfer.methods.task import Task
from recxfer.models.user_model import TaskLayers, UserModel


class ReplayConfig(SupervisedConfig):
    """Settings of `replay`."""

    memory: Annotated[int, Field(ge=1)] | Literal["all"] = 1000
    """Training rows of each earlier task that are remembered, at most. `all`: joint training."""

    strength: float = Field(default=1.0, ge=0)
    """Weight of the remembered batch beside that of the new task; 0 is `finetune`."""


@final
class Replay(TaskMethod[ReplayConfig]):
    """Train everything, the output layers of earlier tasks included."""

    config_type: ClassVar[type[Config]] = ReplayConfig
    needs: ClassVar[Needs] = Needs(earlier="shared")

    def __init__(self, config: ReplayConfig) -> None:
        super().__init__(config)
        self._held: Sequence[Held] = ()
        self._rng = Rng(0)
        self._memory: list[Rows] = []

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""
        self._held, self._rng = base.held, rng
        model = further_model(base, task, self.config.readout, rng, tied=True)
        model.earlier.extend(TaskLayers(held.model) for held in base.held)
        return model

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""
        return [Phase("replay", list(model.parameters()))]

    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Method.count`: also remember."""
        self.usual.count(model, rows)
        self._memory = []
        most = None if self.config.memory == "all" else self.config.memory
        for place, held in enumerate(self._held):
            earlier = held.rows()
            held.learner.count(held.model, earlier)
            drawn = torch.randperm(len(earlier), generator=self._rng.generator("memory", place))
            self._memory.append(earlier.take(drawn[:most]))

    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Method.loss`: of the batch, and of as many rows of one earlier task."""
        generator = rng.generator("replay")
        place = int(torch.randint(len(self._held), (), generator=generator))
        held, memory = self._held[place], self._memory[place]
        row_B = torch.randint(len(memory), (len(batch.row_B),), generator=generator)
        remembered = memory.batch(row_B).to(batch.item_BL.device)
        old = held.learner.loss(held.model, remembered, Rng(rng.derive("replay")))
        return self.usual.loss(model, batch, rng) + self.config.strength * old

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: nothing is frozen."""
        return None

    def close(self, model: UserModel, phase: Phase, quality: Callable[[], float]) -> None:
        """See `Method.close`: there is nothing left to do."""

    def holds(self, base: Base) -> bool:
        """See `Method.holds`."""
        return True
