"""What all methods share that train a user model on examples: loss, vectors and output layer."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Literal, TypeVar

from torch import Tensor, nn

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Base, Method, Phase
from recxfer.methods.objectives.next_item import next_item_loss
from recxfer.methods.task import Task
from recxfer.models.heads import LinearHead
from recxfer.models.losses.item_loss import ItemLoss, ItemLossConfig
from recxfer.models.losses.items import softmax_loss
from recxfer.models.scoring import Output
from recxfer.models.user_model import Readout, UserModel


class SupervisedConfig(ItemLossConfig):
    """Settings of every method that trains a user model; losses concern item outputs alone."""

    readout: Readout | Literal["auto"] = "auto"
    """`token`: trainable task tokens behind the history, and in front of it too where the base is
    not causal (PeterRec); `first-token`: in front alone; `last`: the last event; `mean`: all of
    them.
    `auto` is `mean` for profiles, whose evidence lies in the whole history, and `token` for
    cross-domain tasks. The `next-item` task always reads the last event."""


SupervisedT = TypeVar("SupervisedT", bound=SupervisedConfig)


class TaskLearner:
    """The usual loss of a task, and its scores: a `Learner` of user models."""

    def __init__(self, config: ItemLossConfig) -> None:
        self._config = config
        self._item_loss: ItemLoss | None = None

    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Learner.count`: how often items occur, for drawing negatives."""
        num_outputs = model.output().weight_VD.shape[0]
        self._item_loss = ItemLoss.of_rows(self._config, rows, num_outputs)

    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Learner.loss`: of every position, of a target item, or of a class."""
        if batch.target_B is None:
            assert self._item_loss is not None, "count() comes before loss()"
            return next_item_loss(model, self._item_loss, batch, rng)
        return self.loss_of(model, self.represent(model, batch), batch.target_B, rng)

    def loss_of(self, model: UserModel, user_BD: Tensor, target_B: Tensor, rng: Rng) -> Tensor:
        """The loss of user vectors (B, D), however they were made."""
        output = model.output()
        if model.classifies:
            return softmax_loss(user_BD, output.weight_VD, target_B, output.bias_V)
        assert self._item_loss is not None, "count() comes before loss()"
        return self._item_loss(user_BD, output, target_B, rng.generator("negatives"))

    def represent(self, model: UserModel, batch: Batch) -> Tensor:
        """See `Learner.represent`."""
        if batch.cached_BD is not None:
            return batch.cached_BD
        return model.user_vectors(batch.item_BL, batch.length_B)

    def output(self, model: UserModel) -> Output:
        """See `Learner.output`."""
        return model.output()

    def decisions(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Learner.decisions`: one way for all."""
        return None


class TaskMethod(Method[SupervisedT, UserModel]):
    """A method that trains a user model, with the usual loss of a task at hand.

    What a subclass answers: all but `represent`, `output` and `decisions`. Nothing here is
    overridden.
    """

    def __init__(self, config: SupervisedT) -> None:
        super().__init__(config)
        self.usual = TaskLearner(config)

    def represent(self, model: UserModel, batch: Batch) -> Tensor:
        """See `Method.represent`."""
        return self.usual.represent(model, batch)

    def output(self, model: UserModel) -> Output:
        """See `Method.output`."""
        return self.usual.output(model)

    def decisions(self, model: UserModel, batch: Batch) -> Tensor | None:
        """See `Method.decisions`: one way for all."""
        return None


class SupervisedMethod(TaskMethod[SupervisedT]):
    """A method of one phase that differs from its neighbours in surgery and in what trains.

    What a subclass answers: `assemble`, `phases` and `frozen_vectors`. Nothing here is overridden.
    """

    @abstractmethod
    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`."""

    @abstractmethod
    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`."""

    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Method.count`."""
        self.usual.count(model, rows)

    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Method.loss`."""
        return self.usual.loss(model, batch, rng)

    def close(self, model: UserModel, phase: Phase, quality: Callable[[], float]) -> None:
        """See `Method.close`: there is nothing left to do."""

    def holds(self, base: Base) -> bool:
        """See `Method.holds`: the run is for its own task alone."""
        return False


def user_model(base: Base, task: Task, readout: Readout | Literal["auto"], rng: Rng) -> UserModel:
    """A user model for the task on the base's backbone, which is used in place.

    `next-item` keeps the pretraining head where the items are the same, and gets a fresh item
    table, tied as input and output, where they are not. Other tasks get a fresh head.
    """
    rng.seed_all("head")
    if task.kind != "next-item":
        head = LinearHead(base.backbone.width, task.num_outputs, bias=not task.ranks_items)
        chosen = chosen_readout(readout, task)
        return UserModel(base.backbone, head, chosen, classifies=not task.ranks_items)
    if task.same_vocabulary:
        return UserModel(base.backbone, base.head, "last", classifies=False)
    base.backbone.new_vocabulary(task.num_outputs)
    return UserModel(base.backbone, None, "last", classifies=False)


def further_model(
    base: Base, task: Task, readout: Readout | Literal["auto"], rng: Rng, *, tied: bool
) -> UserModel:
    """A user model for one more task: its output layer is not that of an earlier one.

    Args:
        base: whose tasks the run goes on holding.
        task: the one more.
        readout: how to read a vector.
        rng: draws what is new.
        tied: whether a task over the items of the base may share the item table as its output.
    """
    model = user_model(base, task, readout, rng)
    if task.kind == "next-item" and task.same_vocabulary:
        if model.head is not None:
            model.head = deepcopy(model.head)
        elif not tied:
            model.head = LinearHead.copy_of(model.output())
    return model


def chosen_readout(readout: Readout | Literal["auto"], task: Task) -> Readout:
    """What a setting means for a task."""
    if task.kind == "next-item":
        return "last"
    if readout == "auto":
        return "token" if task.ranks_items else "mean"
    return readout


def parameters_of(owners: Iterable[nn.Module]) -> list[nn.Parameter]:
    """All parameters of some modules, in order: what trains is said by who owns it."""
    return [parameter for owner in owners for parameter in owner.parameters()]


def tensors_of(owners: Iterable[nn.Module]) -> list[Tensor]:
    """All parameters and buffers of some modules."""
    return [tensor for owner in owners for tensor in (*owner.parameters(), *owner.buffers())]


def task_parameters(model: UserModel, task: Task) -> list[nn.Parameter]:
    """What no pretraining has seen, and every method therefore trains: tokens, head, new items."""
    own = list(model.tokens.parameters())
    if model.head is not None:
        own += model.head.parameters()
    return own if task.same_vocabulary else [*own, *model.backbone.item_table.parameters()]
