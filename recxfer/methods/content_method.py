"""What transfer methods share that go on with a base that knows items by their content."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Learner, Method, Needs, Phase
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import content_table, read_content
from recxfer.models.scoring import Output
from recxfer.models.user_model import UserModel

ContentT = TypeVar("ContentT", bound=Config)


class ContentMethod(Method[ContentT, UserModel]):
    """A method of one phase for the next item, of any domain.

    What a subclass answers: `learner`, `assemble`, `phases` and `count`. Nothing here is
    overridden.
    """

    needs: ClassVar[Needs] = Needs(tasks=frozenset({"next-item"}), items="content")

    learner: Learner
    """Its loss and its scores."""

    @abstractmethod
    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""

    @abstractmethod
    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""

    @abstractmethod
    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Method.count`."""

    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Method.loss`."""
        return self.learner.loss(model, batch, rng)

    def represent(self, model: UserModel, batch: Batch) -> Tensor:
        """See `Method.represent`."""
        return self.learner.represent(model, batch)

    def output(self, model: UserModel) -> Output:
        """See `Method.output`."""
        return self.learner.output(model)

    def decisions(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.decisions`: one way for all."""
        return None

    def frozen_vectors(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.frozen_vectors`: the vectors of items move, and all that reads them."""
        return None

    def close(self, model: UserModel, phase: Phase, quality: Callable[[], float]) -> None:
        """See `Method.close`: there is nothing left to do."""

    def holds(self, base: Base) -> bool:
        """See `Method.holds`: the run is for its own task alone."""
        return False


def new_user_encoder(backbone: Backbone, rng: Rng) -> Backbone:
    """A backbone of the same shape, at random weights, that reads items from the same content."""
    rng.seed_all("backbone")
    new = type(backbone)(backbone.config, backbone.num_items, causal=backbone.causal)
    read_content(new, content_table(backbone))
    return new


def user_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """The parameters of the user encoder: all but those that items are read with."""
    of_items = {id(parameter) for parameter in content_table(backbone).parameters()}
    return [p for p in backbone.parameters() if id(p) not in of_items]
