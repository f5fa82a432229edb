"""Method `conure`: one network, task after task; what a task keeps no later one can change.

Yuan et al., One Person, One Model, One World: Learning Continual User Representation without
Forgetting (SIGIR 2021, arXiv 2009.13724), sections 3.2 and 3.3: a task is trained on the weights
that are free, using those of earlier tasks as they are; the smallest of the newly trained weights
are pruned and become free again; what is left is trained once more, and then fixed.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal, final

from pydantic import Field
from torch import nn
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.errors import CheckpointError, UsageError
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Method, Needs, Phase, names_of
from recxfer.methods.supervised import (
    SupervisedConfig,
    TaskLearner,
    further_model,
    task_modules,
)
from recxfer.methods.task import Task
from recxfer.models.adapters.ownership import MOST_TASKS, Kernel, kernels, own_kernels
from recxfer.models.backbones.contract import Backbone
from recxfer.models.user_model import UserModel

PRUNE = "prune"
TRAIN = "train"
RETRAIN = "retrain"

FEWEST_FREE = 0.01
"""Share of the kernels that must be free for a task to be learned at all."""

STEPS = 20
"""`prune=auto` looks at rates in steps of 1 / STEPS."""


class ConureConfig(SupervisedConfig):
    """Settings of `conure`."""

    prune: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = 0.7
    """Share of the free weights that stays free for later tasks. `auto`: the largest share, in
    steps of 0.05, that costs no more than `tolerance` of the validation metric before retraining,
    which regains some of it."""

    tolerance: float = Field(default=0.05, ge=0)
    """`prune=auto`: loss of the validation metric that is accepted, as a share of its size."""

    retrain: float = Field(default=1.0, ge=0)
    """Epochs of the retraining as a share of `optim.epochs`; 0 leaves the pruned
    weights alone, which shows what pruning costs."""

    norms: Literal["shared", "per-task"] = "shared"
    """`shared`: layer norms are fixed after task 1 (release). `per-task`: every task trains its
    own, from those of task 1."""


@final
class Conure(Method[ConureConfig]):
    """Train what is free, keep the largest of it, give the rest back."""

    config_type: ClassVar[type[Config]] = ConureConfig
    needs: ClassVar[Needs] = Needs(continues="owned", first_task=True)

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Share out the kernels, and train those entries that no earlier task owns.

        A base without owners is adapted to the task of its pretraining, which was trained already.

        Raises:
            CheckpointError: too little is free.
            UsageError: there are as many tasks as can be told apart.
        """
        earlier = [kept.rate for kept in base.tasks if kept.rate is not None]
        number = len(earlier) + 1
        own_kernels(base.backbone, base.owners, number)
        if base.owners is None:
            model = UserModel(base.backbone, base.head, "last", classifies=False)
            trained = names_of(model, [model])
            learner = base.tasks[0].learner if base.tasks else TaskLearner(self.config)
            phases = self._phases(model, trained, earlier, already_trained=True)
            return Adapted(model=model, learner=learner, phases=phases, keeps_tasks=True)
        _refuse_full(base.backbone, number)
        model = further_model(base, task, self.config.readout, rng, tied=False)
        owners: list[nn.Module | nn.Parameter] = [k.weight for k in kernels(model.backbone)]
        if self.config.norms == "per-task":
            model.own_names = _names_of_norms(base.backbone)
            owners += [p for n, p in model.backbone.named_parameters() if n in model.own_names]
        return Adapted(
            model=model,
            learner=TaskLearner(self.config),
            phases=self._phases(
                model,
                names_of(model, [*owners, *task_modules(model, task)]),
                earlier,
                already_trained=False,
            ),
            keeps_tasks=True,
        )

    def _phases(
        self,
        model: UserModel,
        trained: Sequence[str],
        earlier: Sequence[float],
        *,
        already_trained: bool,
    ) -> list[Phase]:
        """Train, prune, retrain."""
        first = Phase(
            name=PRUNE if already_trained else TRAIN,
            trainable=trained,
            epochs_share=0.0 if already_trained else 1.0,
            close=partial(self._prune, model, earlier),
        )
        return [first, Phase(name=RETRAIN, trainable=trained, epochs_share=self.config.retrain)]

    def _prune(
        self, model: UserModel, earlier: Sequence[float], quality: Callable[[], float]
    ) -> None:
        found = kernels(model.backbone)
        rate = self.config.prune
        if rate == "auto":
            rate = _largest_rate(found, earlier, self.config.tolerance, quality)
        _prune(found, earlier, rate)


def _names_of_norms(backbone: Backbone) -> frozenset[str]:
    """Name the parameters of all norms, of blocks and above them."""
    norms = [norm for block in backbone.residual_blocks for norm in block.norm_modules()]
    of_norms = {id(p) for norm in (*norms, backbone.above) for p in norm.parameters()}
    return frozenset(name for name, p in backbone.named_parameters() if id(p) in of_norms)


def _prune(found: Sequence[Kernel], earlier: Sequence[float], rate: float) -> None:
    """Keep the largest free weights of each kernel: the product of all rates of it stays free."""
    for kernel in found:
        num_left = round(kernel.weight.numel() * math.prod(earlier) * rate)
        kernel.owned.prune(kernel.weight, num_left, rate)


def _largest_rate(
    found: Sequence[Kernel],
    earlier: Sequence[float],
    tolerance: float,
    quality: Callable[[], float],
) -> float:
    """Bisect for the largest rate that is good enough, taking quality to fall with the rate."""
    whole = quality()
    least = whole - tolerance * abs(whole)
    good, bad = 0, STEPS
    while bad - good > 1:
        tried = (good + bad) // 2
        _prune(found, earlier, tried / STEPS)
        good, bad = (tried, bad) if quality() >= least else (good, tried)
        for kernel in found:
            kernel.owned.undo()
    return good / STEPS


def _refuse_full(backbone: Backbone, number: int) -> None:
    """Refuse a base in which too little is free.

    Raises:
        CheckpointError: saying how much is left.
        UsageError: there are as many tasks as can be told apart.
    """
    found = kernels(backbone)
    free, whole = sum(k.owned.num_free for k in found), sum(k.weight.numel() for k in found)
    if free < FEWEST_FREE * whole:
        raise CheckpointError(
            f"{free:,} of {whole:,} weights are left free ({free / whole:.2%}) by "
            f"{number - 1} tasks: too few for another one, which needs {FEWEST_FREE:.0%}",
            hint="prune earlier tasks at a higher rate (--set prune=0.8), or begin with a wider "
            "base",
        )
    if number > MOST_TASKS:
        raise UsageError(f"a run holds {MOST_TASKS} tasks at most")
