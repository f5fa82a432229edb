"""Build user models for tasks, and train them on the usual loss of a task."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Literal

from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, AnyLearner, Base, Phase, VectorLearner, names_of
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


class TaskLearner(VectorLearner[UserModel]):
    """Learner of the usual loss of a task, with its scores, for user models."""

    def __init__(self, config: ItemLossConfig) -> None:
        self._config = config
        self._item_loss: ItemLoss | None = None

    @override
    def observe(self, model: UserModel, rows: Rows) -> None:
        """Count how often items occur, for drawing negatives."""
        self._item_loss = ItemLoss.of_rows(self._config, rows, self.num_outputs(model))

    @override
    def loss(self, model: UserModel, batch: Batch, rng: Rng) -> Tensor:
        """Compute the loss of every position, of a target item, or of a class."""
        if batch.target_B is None:
            return next_item_loss(model, self._observed, batch.history, rng)
        return self.loss_of(model, self.represent(model, batch), batch.target_B, rng)

    def loss_of(self, model: UserModel, user_BD: Tensor, target_B: Tensor, rng: Rng) -> Tensor:
        """Compute the loss of user vectors (B, D), however they were made."""
        output = model.output()
        if model.classifies:
            return softmax_loss(user_BD, output.weight_VD, target_B, output.bias_V)
        return self._observed(user_BD, output, target_B, rng.generator("negatives"))

    @override
    def represent(self, model: UserModel, batch: Batch) -> Tensor:
        """Encode each row, unless that was done once for all."""
        if batch.cached_BD is not None:
            return batch.cached_BD
        return model.user_vectors(batch.history)

    @override
    def output(self, model: UserModel) -> Output:
        """Return the model's output layer."""
        return model.output()

    @property
    def _observed(self) -> ItemLoss:
        assert self._item_loss is not None, "observe() comes before loss()"
        return self._item_loss


def in_one_phase(
    name: str,
    model: UserModel,
    owners: Iterable[nn.Module | nn.Parameter],
    learner: AnyLearner,
    *,
    keeps_tasks: bool = False,
    encode_once: Callable[[Batch], Tensor | None] | None = None,
) -> Adapted:
    """Train a user model in one phase.

    Args:
        name: of the phase.
        model: for the task.
        owners: what trains: modules of the model, or single parameters.
        learner: its loss and its scores; `TaskLearner` has the usual ones.
        keeps_tasks: see `Adapted`.
        encode_once: see `Adapted`.
    """
    return Adapted(
        model=model,
        learner=learner,
        phases=[Phase(name=name, trainable=names_of(model, owners))],
        keeps_tasks=keeps_tasks,
        encode_once=encode_once,
    )


def user_model(base: Base, task: Task, readout: Readout | Literal["auto"], rng: Rng) -> UserModel:
    """Build a user model for the task on the base's backbone, which is used in place.

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
    """Build a user model for one more task: its output layer is not that of an earlier one.

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
    """Choose the read-out that a setting means for a task."""
    if task.kind == "next-item":
        return "last"
    if readout == "auto":
        return "token" if task.ranks_items else "mean"
    return readout


def task_modules(model: UserModel, task: Task) -> list[nn.Module]:
    """Return what no pretraining has seen, and every method trains: tokens, head, new items."""
    own: list[nn.Module] = [model.tokens]
    if model.head is not None:
        own.append(model.head)
    return own if task.same_vocabulary else [*own, model.backbone.item_table]
