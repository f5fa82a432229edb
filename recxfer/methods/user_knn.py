"""Method `user-knn`: score by what users with similar histories chose.

The neighbourhood baseline of Herlocker et al., An Algorithmic Framework for Performing
Collaborative Filtering (SIGIR 1999), on binary histories, carried over to tasks: neighbours are
found by their source histories and vote with what they did in the target. Nothing is pretrained.
"""

from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from recxfer.data.ragged import flat_indices, owners
from recxfer.data.rows import Batch, Rows
from recxfer.foundation.config import Config
from recxfer.foundation.names import PAD
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, Base, Method, Needs, VectorLearner
from recxfer.methods.task import Task
from recxfer.models.losses.item_loss import count_outputs
from recxfer.models.scoring import Output

TIE = 1e-6
"""Weight of popularity beside the votes: it orders what no neighbour, or all alike, voted for."""


class UserKNNConfig(Config):
    """Settings of `user-knn`."""

    neighbours: int = Field(default=100, ge=1)
    """People who vote for each user."""

    people: int = Field(default=10_000, ge=1)
    """Training users who are kept, at most; drawn at random where there are more. The votes of
    all are held as one matrix of users by outputs."""


class UserKNNModel(nn.Module):
    """Histories and choices of the kept users, as lists of (person, item) and (person, output)."""

    person_X: Tensor
    item_X: Tensor
    voter_Y: Tensor
    vote_Y: Tensor
    log_frequency_V: Tensor

    def __init__(self, num_items: int, num_outputs: int) -> None:
        super().__init__()
        self.num_items = num_items
        for name in ("person_X", "item_X", "voter_Y", "vote_Y"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("log_frequency_V", torch.zeros(num_outputs))

    @property
    def num_users(self) -> int:
        """Number of users that are kept."""
        return int(self.voter_Y.max()) + 1 if self.voter_Y.numel() else 0

    def profiles(self) -> Tensor:
        """Build the histories of the kept users as unit vectors: sparse (users, items + 1)."""
        length_U = torch.bincount(self.person_X, minlength=self.num_users).clamp(min=1)
        unit_X = length_U.float().rsqrt()[self.person_X]
        at_2X = torch.stack([self.person_X, self.item_X])
        size = (self.num_users, self.num_items + 1)
        return torch.sparse_coo_tensor(at_2X, unit_X, size, check_invariants=False).coalesce()

    @override
    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Resize the lists to those of the checkpoint before loading them."""
        for name, _ in self.named_buffers():
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class UserKNNLearner(VectorLearner[UserKNNModel]):
    """Remember users, and score by the votes of the nearest."""

    def __init__(self, config: UserKNNConfig, rng: Rng) -> None:
        self._config, self._rng = config, rng
        self._profiles: Tensor | None = None

    @override
    def observe(self, model: UserKNNModel, rows: Rows) -> None:
        """Keep histories and choices of (some) training users."""
        self._profiles = None
        count_V = count_outputs(rows, model.log_frequency_V.numel()).double() + 1
        model.log_frequency_V.copy_((count_V / count_V.sum()).log())
        users = rows.user_R.unique()
        if users.numel() > self._config.people:
            drawn = torch.randperm(users.numel(), generator=self._rng.generator("neighbours"))
            users = users[drawn[: self._config.people]].sort().values
        kept_R = torch.isin(rows.user_R, users).nonzero().squeeze(1)
        rows = rows.take(kept_R)
        person_R = torch.searchsorted(users, rows.user_R)
        model.person_X, model.item_X = _history_pairs(rows, person_R)
        if rows.target_R is None:
            model.voter_Y, model.vote_Y = model.person_X.clone(), model.item_X - 1
        else:
            model.voter_Y, model.vote_Y = _distinct(person_R, rows.target_R)

    @override
    def loss(self, model: UserKNNModel, batch: Batch, rng: Rng) -> Tensor:
        """Return a constant: no phase trains."""
        return -model.log_frequency_V.mean()

    @override
    def represent(self, model: UserKNNModel, batch: Batch) -> Tensor:
        """Compute cosines with the nearest users (B, users), zero for all others."""
        if self._profiles is None:
            self._profiles = model.profiles().to(batch.row_B.device)
        item_BL = batch.history.item_BL
        size = (item_BL.shape[0], model.num_items + 1)
        history_BI = torch.zeros(size, device=item_BL.device)
        # Unknown items and masks are below zero; padding is column 0 and is cleared.
        known_BL = item_BL.clamp(min=PAD)
        history_BI.scatter_(1, known_BL, 1.0)
        history_BI[:, PAD] = 0
        length_B1 = history_BI.sum(1, keepdim=True).clamp(min=1)
        cosine_BU = torch.sparse.mm(self._profiles, history_BI.T).T / length_B1.sqrt()
        best = cosine_BU.topk(min(self._config.neighbours, cosine_BU.shape[1]), dim=1)
        return torch.zeros_like(cosine_BU).scatter_(1, best.indices, best.values)

    @override
    def output(self, model: UserKNNModel) -> Output:
        """Return the layer in which each user votes for what they chose."""
        size = (model.log_frequency_V.numel(), model.num_users)
        vote_VU = torch.zeros(size, device=model.voter_Y.device)
        vote_VU[model.vote_Y, model.voter_Y] = 1.0
        return Output(vote_VU, TIE * model.log_frequency_V)


@final
class UserKNN(Method[UserKNNConfig]):
    """Remember, and train nothing."""

    config_type: ClassVar[type[Config]] = UserKNNConfig
    needs: ClassVar[Needs] = Needs(base="none", items="any")

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Remember the training users; of the base only the number of its items is used."""
        own_items = task.kind == "next-item" and not task.same_vocabulary
        num_items = task.num_outputs if own_items else base.num_items
        model = UserKNNModel(num_items, task.num_outputs)
        return Adapted(model=model, learner=UserKNNLearner(self.config, rng))


def _history_pairs(rows: Rows, person_R: Tensor) -> tuple[Tensor, Tensor]:
    """List each user's distinct items over all of their rows' histories."""
    if rows.target_R is not None:
        # The histories of a user's rows end ever later: the last holds what the others hold.
        end_R = rows.start_R + rows.length_R
        order = end_R.argsort(stable=True)
        order = order[person_R[order].argsort(stable=True)]
        sorted_R = person_R[order]
        last_R = torch.ones_like(sorted_R, dtype=torch.bool)
        last_R[:-1] = sorted_R[1:] != sorted_R[:-1]
        rows, person_R = rows.take(order[last_R]), sorted_R[last_R]
    item_X = rows.item_E[flat_indices(rows.start_R, rows.length_R)].long()
    return _distinct(person_R[owners(rows.length_R)], item_X)


def _distinct(person_X: Tensor, item_X: Tensor) -> tuple[Tensor, Tensor]:
    """Keep each pair once, by user and item."""
    span = int(item_X.max()) + 1 if item_X.numel() else 1
    key_X = (person_X * span + item_X).unique()
    return key_X // span, key_X % span
