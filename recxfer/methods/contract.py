"""The contracts of a pretraining objective and of a transfer method.

A method is one file: its config, its layers where they are its own, and one final class that
answers every question below. The loop, `evaluate` and `export` use these answers and never ask
for a method's name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from torch import Tensor, nn

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.console import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.config import ContentConfig
from recxfer.models.heads import LinearHead
from recxfer.models.scoring import Output
from recxfer.models.user_model import UserModel

ConfigT = TypeVar("ConfigT", bound=Config)
ModelT = TypeVar("ModelT", bound=nn.Module)


class Learner(Protocol):
    """What training and ranking need of whatever they work with, objective or method."""

    def count(self, model: Any, rows: Rows) -> None:
        """Take what is known without gradients from the training rows."""
        ...

    def loss(self, model: Any, batch: Batch, rng: Rng) -> Tensor:
        """The loss of a training batch; `rng` names the streams of this step."""
        ...

    def represent(self, model: Any, batch: Batch) -> Tensor:
        """User vectors (B, D) that the output layer scores."""
        ...

    def output(self, model: Any) -> Output:
        """The layer that scores user vectors."""
        ...

    def decisions(self, model: Any, batch: Batch) -> Tensor | None:
        """How much of each block's trainable copy a row reads (B, N), 0 to 1.

        None where all rows go through the same weights.
        """
        ...


class Objective(ABC, Generic[ConfigT, ModelT]):
    """What `pretrain` optimises. Concrete subclasses are final."""

    config_type: ClassVar[type[Config]]
    """The config class of `[objective]`."""

    smallest_batch: ClassVar[int] = 1
    """Rows that a step must have, to learn anything from."""

    holds_out_people: ClassVar[bool] = False
    """Whether people of the valid part are kept out of training, for `measure`."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @property
    @abstractmethod
    def causal(self) -> bool:
        """Whether the backbone may look only to the left."""

    @property
    def content(self) -> ContentConfig | None:
        """How the backbone makes item vectors from content; None where it has a table of them."""
        return None

    @abstractmethod
    def assemble(self, backbone: Backbone, rng: Rng) -> ModelT:
        """The backbone with this objective's own layers.

        The result holds the backbone as its attribute `backbone`.
        """

    @abstractmethod
    def count(self, model: ModelT, rows: Rows) -> None:
        """Take what is known without gradients from the training rows (item frequencies)."""

    @abstractmethod
    def loss(self, model: ModelT, batch: Batch, rng: Rng) -> Tensor:
        """The loss of a training batch without targets: histories are all there is to learn."""

    @abstractmethod
    def represent(self, model: ModelT, batch: Batch) -> Tensor:
        """Next-item user vectors (B, D) at the end of each history."""

    @abstractmethod
    def output(self, model: ModelT) -> Output:
        """The layer over the source's items.

        Raises:
            UsageError: nothing has been learned about single items.
        """

    def decisions(self, model: ModelT, batch: Batch) -> Tensor | None:
        """See `Learner.decisions`: there is nothing to choose between before a transfer."""
        return None

    @property
    @abstractmethod
    def item_learner(self) -> Learner | None:
        """Who goes on, on a plain user model, with the source's items; None where nothing was
        learned about them, so that no transfer can hold that task."""

    @property
    def ranks_items(self) -> bool:
        """Whether there is an output layer, and ranking held-out events chooses the best epoch."""
        return self.item_learner is not None

    @abstractmethod
    def measure(self, model: ModelT, people: Rows, reporter: Reporter) -> dict[str, float]:
        """What validation looks at beside ranking, on the histories of people held out.

        Where items are not ranked, the figure `recognition` chooses the best epoch.

        Raises:
            DivergedError: there is nothing left to learn from.
        """

    @abstractmethod
    def keep(self, model: ModelT) -> ModelT:
        """The model without what only training needs: what a checkpoint holds. In place."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method must be given; checked before any tensor is allocated."""

    base: Literal["none", "pretrained"] = "pretrained"
    """`none`: only the base's architecture and vocabulary are used, never its weights."""

    objectives: frozenset[str] = frozenset()
    """Pretraining objectives it accepts; empty accepts any."""

    tasks: frozenset[str] = frozenset({"next-item", "cross-domain", "profile"})
    """Task kinds it can learn."""

    backbones: frozenset[str] = frozenset()
    """Backbones it knows how to change; empty accepts any."""

    items: Literal["ids", "content", "any"] = "ids"
    """What the base knows items by: their place in a table, or what they are."""

    earlier: Literal["refused", "shared", "owned"] = "refused"
    """Whether the base may hold tasks of its own, which the run then goes on holding: with weights
    that all tasks share, or with weights that each belong to one task."""

    first_task: bool = False
    """Whether a base that was only pretrained must first go through the method's phases for the
    task of its pretraining, as task 1."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training with one set of trainable parameters and a fresh optimiser."""

    name: str
    trainable: Sequence[nn.Parameter]
    """The parameters that move, taken from the modules that own them; everything else is frozen."""

    epochs_share: float = 1.0
    """Share of the configured epochs; 0 trains nothing, and the phase is closed at once."""

    schedule: Callable[[float], None] | None = None
    """Told before each step how much of the phase is done (0 to 1): for what changes on the way,
    like a temperature. A function of that alone, so that a resumed run goes on as it would have."""


@dataclass(frozen=True, slots=True)
class Held:
    """A task that a base can do already."""

    task: Task
    learner: Learner
    """Its loss and its scores."""

    model: UserModel
    """What the task needs, on the base's own backbone: training moves it."""

    rows: Callable[[], Rows]
    """Reads its training rows."""

    rate: float | None
    """The share of the then free weights that was pruned for it; None where none was."""


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained run, or one that holds tasks, opened for transfer."""

    backbone: Backbone
    """Freshly built with the run's weights; the method may change it in place."""

    head: LinearHead | None
    """The pretraining output layer over the source's items; None where it is the item table."""

    objective: str
    """Name of the pretraining objective."""

    transferred: bool = False
    """Whether it is a transferred run, and not one that was only pretrained."""

    held: Sequence[Held] = ()
    """The tasks it can do, in the order in which they were learned; the first is that of its
    pretraining, where the base can do that: not where nothing was learned about single items."""

    owners: Mapping[str, Tensor] | None = None
    """Which task owns each entry of the backbone's kernels, counted from 1 (0: none yet), by the
    kernel's name; None where tasks share all weights."""

    @property
    def pretrained(self) -> list[nn.Module]:
        """What pretraining made: the backbone, and the output layer where there is one."""
        return [self.backbone] if self.head is None else [self.backbone, self.head]


class Method(ABC, Generic[ConfigT, ModelT]):
    """A transfer method. Concrete subclasses are final and answer in their own file."""

    config_type: ClassVar[type[Config]]
    """The config class of `[method]`."""

    needs: ClassVar[Needs]

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def assemble(self, base: Base, task: Task, rng: Rng) -> ModelT:
        """Surgery: the model for the task, at step 0."""

    @abstractmethod
    def phases(self, model: ModelT, task: Task) -> Sequence[Phase]:
        """What trains, in order; an empty sequence for methods that only count."""

    @abstractmethod
    def count(self, model: ModelT, rows: Rows) -> None:
        """Take what is known without gradients from the training rows (frequencies)."""

    @abstractmethod
    def loss(self, model: ModelT, batch: Batch, rng: Rng) -> Tensor:
        """The loss of a training batch."""

    @abstractmethod
    def represent(self, model: ModelT, batch: Batch) -> Tensor:
        """User vectors (B, D) that the output layer scores."""

    @abstractmethod
    def output(self, model: ModelT) -> Output:
        """The layer over the task's items or classes."""

    @abstractmethod
    def decisions(self, model: ModelT, batch: Batch) -> Tensor | None:
        """How much of each block's trainable copy a row reads (B, N), 0 to 1.

        None where all rows go through the same weights.
        """

    @abstractmethod
    def frozen_vectors(self, model: ModelT, batch: Batch) -> Tensor | None:
        """Vectors that no phase changes, to be computed once per row; None where there are none."""

    @abstractmethod
    def close(self, model: ModelT, phase: Phase, quality: Callable[[], float]) -> None:
        """When a phase is done (Conure prunes here); most methods `return None`.

        Args:
            model: as the phase left it.
            phase: that is done.
            quality: measures the model as it is: the validation metric, higher is better.
        """

    @abstractmethod
    def holds(self, base: Base) -> bool:
        """Whether the run goes on holding the tasks of the base, beside its own."""


def facts(config: Config) -> dict[str, Any]:
    """A config as the JSON facts that checkpoints keep."""
    return config.model_dump(mode="json")
