"""Objective `next-item`: predict each event from those before it.

Every position of a history is a training example (Yuan et al. 2019, equation 1; Kang and McAuley
2018, section III-E), under one of three losses over items.
"""

from typing import ClassVar, final

from torch import Tensor
from typing_extensions import override

from recxfer.data.history import History
from recxfer.data.rows import Batch
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.objectives.item_objective import (
    ItemLearner,
    ItemModel,
    ItemObjective,
    ItemObjectiveConfig,
)
from recxfer.models.losses.item_loss import ItemLoss
from recxfer.models.readout import last_positions


class NextItemConfig(ItemObjectiveConfig):
    """Settings of the `next-item` objective."""


class NextItemLearner(ItemLearner):
    """Predict every event from those before it."""

    @override
    def loss(self, model: ItemModel, batch: Batch, rng: Rng) -> Tensor:
        """Compute the loss of all positions at once."""
        return next_item_loss(model, self.item_loss, batch.history, rng)

    @override
    def represent(self, model: ItemModel, batch: Batch) -> Tensor:
        """Read the hidden state at the last event."""
        return last_positions(model.backbone(batch.history), batch.history.length_B)


@final
class NextItem(ItemObjective[NextItemConfig]):
    """Left to right, all positions at once."""

    config_type: ClassVar[type[Config]] = NextItemConfig
    causal: ClassVar[bool] = True

    @override
    def item_learner(self) -> NextItemLearner:
        """Return the learner of next items."""
        return NextItemLearner(self.config)


def next_item_loss(model: ItemModel, item_loss: ItemLoss, history: History, rng: Rng) -> Tensor:
    """Compute the loss of every position that has a next event.

    Args:
        model: with a `backbone` and an `output()` over the same items.
        item_loss: the loss of positions.
        history: each event but the first is a target.
        rng: names the stream of the negatives.
    """
    before, next_BL = history.without_last(), history.item_BL[:, 1:]
    hidden_BLD = model.backbone(before)
    # Padding is left out before any score is computed.
    real_BL = before.real_BL
    generator = rng.generator("negatives")
    return item_loss(hidden_BLD[real_BL], model.output(), next_BL[real_BL] - 1, generator)
