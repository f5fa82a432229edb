"""Define what a transfer method, a pretraining objective and a learner answer.

A method is one file: its config, its layers where they are its own, and one final class with one
method, `adapt`. What that returns is all that training, `evaluate` and `export` ever ask; none of
them knows a method by name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, final

from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.reporting import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.task import Task
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.config import ContentConfig
from recxfer.models.heads import LinearHead
from recxfer.models.scoring import Output
from recxfer.models.user_model import UserModel

ConfigT = TypeVar("ConfigT", bound=Config)
ModelT = TypeVar("ModelT", bound=nn.Module)
LearnsT_contra = TypeVar("LearnsT_contra", bound=nn.Module, contravariant=True)


class Learner(ABC, Generic[LearnsT_contra]):
    """Learn a model from rows, and score with it.

    A learner belongs to one run. It may keep what it observes, and what its phases tell it.
    """

    def observe(self, model: LearnsT_contra, rows: Rows) -> None:
        """Gather statistics of the training rows before the first step; by default none."""

    @abstractmethod
    def loss(self, model: LearnsT_contra, batch: Batch, rng: Rng) -> Tensor:
        """Compute the loss of a training batch; `rng` names the random streams of this step."""

    @abstractmethod
    def num_outputs(self, model: LearnsT_contra) -> int:
        """Return V, the number of items or classes that are scored."""

    @abstractmethod
    def scores(
        self, model: LearnsT_contra, batch: Batch, candidate_BN: Tensor | None = None
    ) -> Tensor:
        """Score outputs for each row, float32.

        Args:
            model: in evaluation mode.
            batch: histories.
            candidate_BN: int64 output indices of each row; None: all outputs, (B, V).
        """

    def diagnostics(self, model: LearnsT_contra, batch: Batch) -> Mapping[str, Tensor]:
        """Return what is worth keeping of each row beside its scores, by name (B, ...).

        `evaluate` keeps it with the cases and `export --what users` writes it. By default nothing.
        """
        return {}


AnyLearner: TypeAlias = Learner[Any]
"""The learner of a model whose type only a checkpoint knows."""


class VectorLearner(Learner[LearnsT_contra]):
    """A learner that scores by the product of a user vector with an output layer.

    Ranking in blocks, exports of vectors and cached encoders are for these.
    """

    @abstractmethod
    def represent(self, model: LearnsT_contra, batch: Batch) -> Tensor:
        """Encode each row as the user vector (B, D) that the output layer scores."""

    @abstractmethod
    def output(self, model: LearnsT_contra) -> Output:
        """Return the layer over items or classes.

        Raises:
            UsageError: nothing has been learned about them.
        """

    @final
    @override
    def num_outputs(self, model: LearnsT_contra) -> int:
        """Return the rows of the output layer."""
        return self.output(model).weight_VD.shape[0]

    @final
    @override
    def scores(
        self, model: LearnsT_contra, batch: Batch, candidate_BN: Tensor | None = None
    ) -> Tensor:
        """Score by products of vectors (B, V) or (B, N)."""
        score_BV = self.output(model).scores(self.represent(model, batch))
        return score_BV if candidate_BN is None else score_BV.gather(1, candidate_BN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining(Generic[ModelT]):
    """A backbone with an objective's layers, ready to be trained."""

    model: ModelT
    """Holds the backbone as its attribute `backbone`."""

    learner: VectorLearner[ModelT]
    """Its loss, and user vectors at the end of each history."""

    measure: Callable[[Rows, Reporter], dict[str, float]] | None = None
    """Measures the model on histories of users who are then kept out of training; `recognition`
    among its figures chooses the best epoch where no items are ranked. It raises DivergedError
    where there is nothing left to learn from. None: ranking says all."""

    discard: Callable[[], None] = lambda: None
    """Drops what only training needs from the model, in place: what is left, a checkpoint keeps."""


class Objective(ABC, Generic[ConfigT]):
    """A pretraining objective. Concrete subclasses are final."""

    config_type: ClassVar[type[Config]]
    """The config class of `[objective]`."""

    smallest_batch: ClassVar[int] = 1
    """Rows that a step must have, to learn anything from."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @property
    @abstractmethod
    def causal(self) -> bool:
        """Whether the backbone may look only to the left."""

    @property
    def content(self) -> ContentConfig | None:
        """Settings of item vectors from content; None where the backbone has a table of them."""
        return None

    @abstractmethod
    def build(self, backbone: Backbone, rng: Rng) -> Pretraining[Any]:
        """Build what is trained: the backbone with this objective's own layers, and its learner."""

    @abstractmethod
    def item_learner(self) -> AnyLearner | None:
        """Return who goes on with the source's items on a plain user model.

        None where nothing is learned about single items: no ranking of held-out events then chooses
        the best epoch, and no transfer can keep that task.
        """


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements of a method, checked before any tensor is allocated."""

    base: Literal["none", "architecture", "pretrained"] = "pretrained"
    """`none`: nothing, so that BASE may be `none`. `architecture`: the base's shape and vocabulary,
    never its weights. `pretrained`: all of it."""

    tasks: frozenset[str] = frozenset({"next-item", "cross-domain", "profile"})
    """Task kinds it can learn."""

    items: Literal["ids", "content", "any"] = "ids"
    """What the base knows items by: their place in a table, or what they are."""

    continues: Literal["refused", "shared", "owned"] = "refused"
    """Whether the base may keep tasks of its own, which the run then goes on keeping: with weights
    that all tasks share, or with weights that each belong to one task."""

    first_task: bool = False
    """Whether a base that was only pretrained must first be adapted to the task of its pretraining,
    as task 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training with one set of trainable parameters and a fresh optimiser."""

    name: str
    trainable: Sequence[str]
    """Parameters that train, by their names in the model, as `names_of` gives them for the modules
    that own them; everything else is frozen."""

    rates: Mapping[str, float] = field(default_factory=dict)
    """Multiples of the learning rate, by parameter name; 1 where a name is not said."""

    epochs_share: float = 1.0
    """Share of the configured epochs; 0 trains nothing, and the phase is closed at once."""

    schedule: Callable[[float], None] | None = None
    """Told before each step how much of the phase is done (0 to 1): for what changes on the way,
    like a temperature. A function of that alone, so that a resumed run goes on as it would have."""

    close: Callable[[Callable[[], float]], None] | None = None
    """Called when the phase is done (Conure prunes here), with a function that measures the model
    as it is: the validation metric that chooses epochs, negative where lower is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A base made ready for a task by a method: everything that is ever asked of the method."""

    model: nn.Module
    """The model for the task, before any training."""

    learner: AnyLearner
    phases: Sequence[Phase] = ()
    """What trains, in order; none for methods that only count."""

    keeps_tasks: bool = False
    """Whether the run goes on keeping the tasks of the base, beside its own; `model` is then a
    `UserModel`."""

    encode_once: Callable[[Batch], Tensor | None] | None = None
    """Encodes rows as vectors (B, D) that no phase changes, to be computed once per row; None where
    the rows at hand have none."""

    inherited: frozenset[str] = frozenset()
    """Tensors that the model took over from the base, by their names in the model; `adapt` fills
    it in."""


@dataclass(frozen=True, slots=True)
class KeptTask:
    """A task that a base can do already."""

    task: Task
    learner: AnyLearner
    """Its loss and its scores."""

    model: UserModel
    """What the task needs, on the base's own backbone: training moves it."""

    rows: Callable[[], Rows]
    """Reads its training rows."""

    rate: float | None
    """The share of the then free weights that was pruned for it; None where none was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The start of a transfer: a pretrained run, one that keeps tasks, or nothing."""

    encoder: Backbone | None
    """Freshly built with the run's weights; a method may change it in place. None: there is no
    base, and only methods that need none are asked."""

    num_items: int
    """Items of the vocabulary that histories hold."""

    head: LinearHead | None = None
    """The pretraining output layer over the source's items; None where it is the item table."""

    objective: str | None = None
    """Name of the pretraining objective."""

    transferred: bool = False
    """Whether it is a transferred run, and not one that was only pretrained."""

    tasks: Sequence[KeptTask] = ()
    """The tasks it can do, in the order in which they were learned; the first is that of its
    pretraining, where the base can do that: not where nothing was learned about single items."""

    owners: Mapping[str, Tensor] | None = None
    """Which task owns each entry of the backbone's kernels, counted from 1 (0: none yet), by the
    kernel's name; None where tasks share all weights."""

    @property
    def backbone(self) -> Backbone:
        """The backbone, of a base that has one."""
        assert self.encoder is not None, "a method whose needs.base is none asks for no backbone"
        return self.encoder

    @property
    def pretrained(self) -> list[nn.Module]:
        """The backbone as pretraining left it, and its output layer where it has one."""
        return [module for module in (self.encoder, self.head) if module is not None]


class Method(ABC, Generic[ConfigT]):
    """A transfer method. Concrete subclasses are final; they keep no state between calls."""

    config_type: ClassVar[type[Config]]
    """The config class of `[method]`."""

    needs: ClassVar[Needs]

    parameter_efficient: ClassVar[bool] = False
    """Whether what it stores is small beside the backbone, by construction: at most 15 % of it at
    default settings, item tables left out (contract test)."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Build the model for a task from the base, and say how it learns.

        Args:
            base: may be changed in place.
            task: what is to be learned.
            rng: names the random streams of what is drawn.
        """


AnyMethod: TypeAlias = Method[Any]
AnyObjective: TypeAlias = Objective[Any]


def adapt(method: AnyMethod, base: Base, task: Task, rng: Rng) -> Adapted:
    """Let a method adapt a base, and note which of the base's tensors its model took over."""
    of_base: dict[int, Tensor] = {
        id(tensor): tensor
        for module in base.pretrained
        for tensor in (*module.parameters(), *module.buffers())
    }
    adapted = method.adapt(base, task, rng)
    own = adapted.model.state_dict(keep_vars=True)
    inherited = frozenset(name for name, tensor in own.items() if id(tensor) in of_base)
    return replace(adapted, inherited=inherited)


def names_of(model: nn.Module, owners: Iterable[nn.Module | nn.Parameter]) -> list[str]:
    """Name the parameters of some modules as the model does, in the order of the owners.

    Names outlive wrapping, sharding and compiling, which replace parameters by others.

    Args:
        model: what holds the owners.
        owners: modules of the model, or single parameters.
    """
    known: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        known.setdefault(id(parameter), name)
    parameters = (
        parameter
        for owner in owners
        for parameter in ([owner] if isinstance(owner, nn.Parameter) else owner.parameters())
    )
    return list(dict.fromkeys(known[id(parameter)] for parameter in parameters))


def trained_names(phases: Iterable[Phase]) -> frozenset[str]:
    """Collect the names of all parameters that any phase trains."""
    return frozenset(name for phase in phases for name in phase.trainable)
