"""Method `uaf`: decide for each user, from the history, which blocks are fine-tuned.

Chen, Yuan et al., User-specific Adaptive Fine-tuning for Cross-domain Recommendations (TKDE 2021,
arXiv 2106.07864): each residual block has a frozen pretrained copy and a trainable one, and a
policy network that reads the source history picks one of the two, block by block. The strategies
are those of the paper: `hard` (Gumbel-softmax, straight through), `soft` (a continuous gate) and
`rl` (self-critical policy gradient). The other policies are what these are to be compared with.

Where we differ from the release: the policy's logits are not squashed before the softmax, which
there keeps every probability between 0.27 and 0.73; at evaluation the more probable choice is
taken, without noise; the temperature falls; validation, not test, chooses the epoch.
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Annotated, ClassVar, Literal, final

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.errors import ConfigError
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import (
    Adapted,
    Base,
    Method,
    Needs,
    Phase,
    VectorLearner,
    names_of,
)
from recxfer.methods.supervised import SupervisedConfig, TaskLearner, user_model
from recxfer.methods.task import Task
from recxfer.models.adapters.block_copies import BlockCopies, stages
from recxfer.models.adapters.policy import PolicyNetwork, Reader, drawn_decisions
from recxfer.models.backbones.contract import Backbone
from recxfer.models.losses.gate_gradients import (
    draw,
    policy_gradient_loss,
    reward,
    straight_through,
)
from recxfer.models.losses.item_loss import NegativeSampler
from recxfer.models.scoring import Output
from recxfer.models.user_model import UserModel

LEARNED = ("hard", "soft", "rl")
"""Policies with a network."""

Temperature = Annotated[float, Field(gt=0, le=100)]


def _numbers(value: object) -> object:
    """`--set blocks=0,3` and `--set blocks=3` as lists."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int) else value


class UAFConfig(SupervisedConfig):
    """Settings of `uaf`."""

    policy: Literal[
        "hard", "soft", "rl", "random", "layer-dropout", "fixed", "frozen", "finetune"
    ] = "hard"
    """Who decides. `hard`, `soft`, `rl`: a network that reads the history. `random`: chance, once
    for each history. `layer-dropout`: chance, anew at each step; at evaluation both blocks are
    weighed by `rate`. `fixed`: `blocks` are fine-tuned for everybody. `frozen`: none. `finetune`:
    all."""

    network: Reader = "conv"
    """What reads the history: two convolution blocks and a mean, or a GRU."""

    item_table: Literal["auto", "frozen", "trained"] = "auto"
    """Whether the table that histories are read from (and SASRec's positions) trains; the policy
    network then trains a table of its own. `auto`: frozen, but trained with `policy=finetune`,
    which is to be what `finetune` is."""

    temperature: Temperature = 10.0
    """`hard`, and the warm-up of `rl`: temperature of the straight-through gradient at first."""

    final_temperature: Temperature = 1.0
    """Temperature at the last step; in between it falls by the same factor at each step."""

    rate: float = Field(default=0.5, ge=0, le=1)
    """`random`, `layer-dropout`: share of the blocks that are fine-tuned."""

    blocks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_numbers)] = ()
    """`fixed`: which blocks are fine-tuned, counted from 0 at the bottom: `0,3`."""

    warm_up: float = Field(default=0.25, ge=0, lt=1)
    """`rl`: share of the epochs, rounded, but at least one unless 0, with the gradient of `hard`
    (release: 5 of 50)."""

    reward_top: int = Field(default=5, ge=1)
    """`rl`: a target item is found if it is among so many best; a class, if it is the best."""

    reward_negatives: int = Field(default=99, ge=1)
    """`rl`: other items that the target is ranked among for the reward, drawn uniformly."""

    reward_cost: float = Field(default=1.0, ge=0, le=100)
    """`rl`: gamma, what the blocks that are not paid for cost, and what a miss costs."""

    reward_paid: Literal["copies", "pretrained"] = "copies"
    """`rl`: the blocks that the reward pays for: `copies`, for more fine-tuned ones (release), or
    `pretrained`, for fewer, as in BlockDrop."""

    @model_validator(mode="after")
    def _fit_together(self) -> "UAFConfig":
        if self.final_temperature > self.temperature:
            raise ValueError(
                f"final_temperature {self.final_temperature:g} is above temperature "
                f"{self.temperature:g}, but the temperature falls"
            )
        if (self.policy == "fixed") != bool(self.blocks):
            raise ValueError("policy=fixed and blocks go together: --set policy=fixed blocks=0,3")
        return self


class UAFModel(nn.Module):
    """A user model, trainable copies of its blocks, and the network that decides, if one does."""

    def __init__(
        self, user: UserModel, twins: BlockCopies, policy: PolicyNetwork | None, seed: int
    ) -> None:
        super().__init__()
        self.user = user
        self.twins = twins
        self.policy = policy
        self.seed = seed
        """Of decisions by chance."""

    @property
    def num_blocks(self) -> int:
        """N."""
        return len(self.user.backbone.blocks)

    def logits(self, batch: Batch) -> Tensor:
        """Log-odds of fine-tuning each block (B, N)."""
        assert self.policy is not None
        embedded_BLD = self.user.backbone.embed(batch.history, self.policy.item_table)
        logit_BN: Tensor = self.policy(embedded_BLD, batch.history.length_B)
        return logit_BN

    def vectors(
        self,
        batch: Batch,
        gate_BN: Tensor,
        way: Literal["by-path", "straight-through", "blended"],
    ) -> Tensor:
        """User vectors (B, D) under given gates.

        Args:
            batch: histories.
            gate_BN: 1 where a row reads the copy of a block.
            way: `by-path` and `straight-through` take gates of 0 or 1, see `BlockCopies`.
        """
        backbone = self.user.backbone
        encode = {
            "by-path": partial(self.twins.by_path, backbone, taken_BN=gate_BN > 0.5),
            "straight-through": partial(self.twins.straight_through, backbone, gate_BN=gate_BN),
            "blended": partial(self.twins.blended, backbone, gate_BN=gate_BN),
        }[way]
        return self.user.user_vectors(batch.history, encode)


class UAFLearner(VectorLearner[UAFModel]):
    """Learn a task and the policy that decides for it."""

    def __init__(self, config: UAFConfig) -> None:
        self._config = config
        self._usual = TaskLearner(config)
        self._temperature = config.temperature
        self._rewarded = False
        """Whether the phase at hand learns from rewards."""

        self._negatives: NegativeSampler | None = None

    @override
    def observe(self, model: UAFModel, rows: Rows) -> None:
        """Count items for the loss of the task, and for the negatives of the reward."""
        self._usual.observe(model.user, rows)
        if not model.user.classifies:
            self._negatives = NegativeSampler(torch.ones(self.num_outputs(model)))

    def supervise(self, progress: float) -> None:
        """Learn decisions by gradients, at the temperature of this share of the phase."""
        self._rewarded = False
        first, last = self._config.temperature, self._config.final_temperature
        self._temperature = first * (last / first) ** progress

    def reinforce(self, progress: float) -> None:
        """Learn decisions from rewards."""
        self._rewarded = True

    @override
    def loss(self, model: UAFModel, batch: Batch, rng: Rng) -> Tensor:
        """Compute the loss of the task under the decisions of the policy."""
        assert batch.target_B is not None, "uaf learns from rows with targets"
        if batch.cached_BD is not None:
            return self._usual.loss(model.user, batch, rng)
        if self._rewarded:
            return self._loss_by_reward(model, batch, batch.target_B, rng)
        if self._config.policy in ("hard", "rl"):
            generator = rng.generator("gumbel")
            gate_BN = straight_through(model.logits(batch), self._temperature, generator)
            user_BD = model.vectors(batch, gate_BN, "straight-through")
        elif self._config.policy == "layer-dropout":
            size = (batch.row_B.numel(), model.num_blocks)
            chance_BN = torch.rand(size, generator=rng.generator("layers"))
            gate_BN = (chance_BN < self._config.rate).to(batch.row_B.device)
            user_BD = model.vectors(batch, gate_BN.float(), "by-path")
        else:
            user_BD = self.represent(model, batch)
        return self._usual.loss_of(model.user, user_BD, batch.target_B, rng)

    @override
    def represent(self, model: UAFModel, batch: Batch) -> Tensor:
        """Encode each row through the blocks that the policy takes."""
        if batch.cached_BD is not None:
            return batch.cached_BD
        return self.represent_under(model, batch, self.gates(model, batch))

    def represent_under(self, model: UAFModel, batch: Batch, gate_BN: Tensor) -> Tensor:
        """Encode rows under other decisions than the policy's own: of other users, say."""
        blends = self._config.policy in ("soft", "layer-dropout")
        return model.vectors(batch, gate_BN, "blended" if blends else "by-path")

    def gates(self, model: UAFModel, batch: Batch) -> Tensor:
        """Decide how much of each block's trainable copy a row reads (B, N), 0 to 1."""
        size, device = (batch.row_B.numel(), model.num_blocks), batch.row_B.device
        if self._config.policy == "soft":
            return model.logits(batch).sigmoid()
        if self._config.policy in LEARNED:
            return (model.logits(batch) > 0).float()
        if self._config.policy == "random":
            rate, seed = self._config.rate, model.seed
            return drawn_decisions(batch.history, model.num_blocks, rate, seed).float()
        if self._config.policy == "layer-dropout":
            return torch.full(size, self._config.rate, device=device)
        gate_BN = torch.zeros(size, device=device)
        gate_BN[:, sorted(may_take(self._config, model.num_blocks))] = 1
        return gate_BN

    @override
    def diagnostics(self, model: UAFModel, batch: Batch) -> dict[str, Tensor]:
        """Return `decisions`: see `gates`."""
        return {"decisions": self.gates(model, batch)}

    @override
    def output(self, model: UAFModel) -> Output:
        """Return the output layer of the user model."""
        return model.user.output()

    def _loss_by_reward(self, model: UAFModel, batch: Batch, target_B: Tensor, rng: Rng) -> Tensor:
        """Compute the loss under drawn decisions, and that of the policy that drew them.

        The baseline of a drawn decision is the reward of the most probable one (self-critical
        training, Rennie et al. 2017, equation 8). Where the two are the same, so are their rewards.
        """
        logit_BN = model.logits(batch)
        drawn_BN, likely_BN = draw(logit_BN, rng.generator("action")), (logit_BN > 0).float()
        user_BD = model.vectors(batch, drawn_BN, "by-path")
        task_loss = self._usual.loss_of(model.user, user_BD, target_B, rng)
        advantage_B = torch.zeros_like(logit_BN[:, 0])
        row_R = (drawn_BN != likely_BN).any(1).nonzero().squeeze(1)
        if row_R.numel():
            with torch.no_grad():
                likely_RD = model.vectors(_some(batch, row_R), likely_BN[row_R], "by-path")
                found_2R = self._found(model, (user_BD[row_R], likely_RD), target_B[row_R], rng)
                earned_2R = [
                    reward(
                        found_R,
                        action_BN[row_R],
                        self._config.reward_cost,
                        self._config.reward_paid,
                    )
                    for found_R, action_BN in zip(found_2R, (drawn_BN, likely_BN), strict=True)
                ]
                advantage_B[row_R] = (earned_2R[0] - earned_2R[1]).to(advantage_B.dtype)
        return task_loss + policy_gradient_loss(logit_BN, drawn_BN, advantage_B)

    def _found(
        self, model: UAFModel, vectors: Sequence[Tensor], target_R: Tensor, rng: Rng
    ) -> list[Tensor]:
        """Say whether each row's target is found by each of several vectors: bool (R)."""
        output = self.output(model)
        if model.user.classifies:
            return [output.scores(user_RD).argmax(1) == target_R for user_RD in vectors]
        assert self._negatives is not None, "observe() comes before loss()"
        drawn_RN = self._negatives.draw_others(
            target_R.cpu(), self._config.reward_negatives, rng.generator("reward")
        )
        candidate_RX = torch.cat([target_R[:, None], drawn_RN.to(target_R.device)], dim=1)
        weight_RXD = output.weight_VD[candidate_RX].float()
        scores = [torch.einsum("rxd,rd->rx", weight_RXD, user.float()) for user in vectors]
        top = self._config.reward_top
        return [(score[:, 1:] >= score[:, :1]).sum(1) < top for score in scores]


@final
class UAF(Method[UAFConfig]):
    """Train copies of the blocks that anybody may take, the policy, tokens and head."""

    config_type: ClassVar[type[Config]] = UAFConfig
    needs: ClassVar[Needs] = Needs(tasks=frozenset({"cross-domain", "profile"}))

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Copy the blocks, and put a policy before them."""
        config, backbone = self.config, base.backbone
        trains_table = config.item_table == "trained"
        if config.item_table == "auto":
            trains_table = config.policy == "finetune"
        num_blocks = len(backbone.blocks)
        taken = may_take(config, num_blocks)
        policy = None
        if config.policy in LEARNED:
            rng.seed_all("policy")
            table = deepcopy(backbone.item_table) if trains_table else None
            policy = PolicyNetwork(backbone.width, num_blocks, config.network, table)
        twins = BlockCopies(backbone, taken)
        user = user_model(base, task, config.readout, rng)
        model = UAFModel(user, twins, policy, rng.derive("decisions"))
        learner = UAFLearner(config)

        def encode_once(batch: Batch) -> Tensor | None:
            if config.policy != "frozen" or trains_table or len(user.tokens):
                return None
            return user.user_vectors(batch.history)

        return Adapted(
            model=model,
            learner=learner,
            phases=_phases(config, model, learner, trains_table=trains_table),
            encode_once=encode_once,
        )


def _phases(
    config: UAFConfig, model: UAFModel, learner: UAFLearner, *, trains_table: bool
) -> list[Phase]:
    user = model.user
    # In the order of `UserModel`: norms of gradients are then summed as `finetune` sums them.
    owners = (model.twins, user.head, user.tokens, model.policy)
    below = _below(user.backbone) if trains_table else []
    trained = names_of(model, [*below, *(owner for owner in owners if owner is not None)])
    if config.policy != "rl":
        return [Phase(name="uaf", trainable=trained, schedule=learner.supervise)]
    share = config.warm_up
    return [
        Phase(name="warm-up", trainable=trained, epochs_share=share, schedule=learner.supervise),
        Phase(name="reward", trainable=trained, epochs_share=1 - share, schedule=learner.reinforce),
    ]


def may_take(config: UAFConfig, num_blocks: int) -> set[int]:
    """Return the blocks whose copies anybody may take.

    Raises:
        ConfigError: there are no such blocks.
    """
    if config.policy == "frozen":
        return set()
    if config.policy != "fixed":
        return set(range(num_blocks))
    beyond = [number for number in config.blocks if number >= num_blocks]
    if beyond:
        raise ConfigError(
            f"method.blocks names block {beyond[0]}, but the base has {num_blocks}",
            hint=f"they are counted from 0 at the bottom to {num_blocks - 1}",
        )
    return set(config.blocks)


def _below(backbone: Backbone) -> list[nn.Parameter]:
    """List the modules before a block: items and positions."""
    higher = {id(p) for stage in stages(backbone) for p in stage.parameters()}
    return [p for p in backbone.parameters() if id(p) not in higher]


def _some(batch: Batch, row_R: Tensor) -> Batch:
    """Rows of a batch, without their targets."""
    return Batch(batch.history.take(row_R), batch.row_B[row_R])
