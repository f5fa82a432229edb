"""Objective `cloze`: hide some events of a history and predict them from both sides.

PeterRec's non-causal pretraining (section 3.2, after GRec) and BERT4Rec: a share of the positions
is chosen; of these 80 % become the mask item, 10 % a random item, 10 % stay.
"""

from typing import ClassVar, final

import torch
from pydantic import Field
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
from recxfer.models.backbones.contract import Backbone
from recxfer.models.readout import last_positions


class ClozeConfig(ItemObjectiveConfig):
    """Settings of the `cloze` objective."""

    share: float = Field(default=0.3, gt=0, le=1)
    """Share of the positions to predict; at least one per history."""

    last_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the histories in which only the last event is hidden, as in next-item prediction."""


class ClozeLearner(ItemLearner):
    """Predict hidden events from both sides."""

    def __init__(self, config: ClozeConfig) -> None:
        super().__init__(config)
        self._cloze = config

    @override
    def loss(self, model: ItemModel, batch: Batch, rng: Rng) -> Tensor:
        """Compute the loss of hidden positions."""
        generator = rng.generator("cloze")
        history = batch.history
        chosen_BL = self._choose(history, generator)
        hidden_BL = self._hide(history.item_BL, chosen_BL, model.backbone, generator)
        hidden_BLD = model.backbone(history.with_items(hidden_BL))
        target_P = history.item_BL[chosen_BL] - 1
        return self.item_loss(hidden_BLD[chosen_BL], model.output(), target_P, generator)

    @override
    def represent(self, model: ItemModel, batch: Batch) -> Tensor:
        """Put a mask behind the last event, and read there."""
        longer = batch.history.append(model.backbone.mask_item)
        return last_positions(model.backbone(longer), longer.length_B)

    def _choose(self, history: History, generator: torch.Generator) -> Tensor:
        """Choose positions to predict: each with probability `share`, one at least."""
        B, L = history.item_BL.shape
        device, real_BL = history.length_B.device, history.real_BL
        draw_BL = torch.rand(B, L, generator=generator).to(device).masked_fill_(~real_BL, 2.0)
        lowest_B1 = draw_BL.min(1, keepdim=True).values
        chosen_BL = ((draw_BL < self._cloze.share) | (draw_BL == lowest_B1)) & real_BL
        only_last_B1 = torch.rand(B, 1, generator=generator).to(device) < self._cloze.last_share
        at_end_BL = torch.arange(L, device=device) == (history.length_B - 1)[:, None]
        return torch.where(only_last_B1, at_end_BL, chosen_BL)

    @staticmethod
    def _hide(
        item_BL: Tensor, chosen_BL: Tensor, backbone: Backbone, generator: torch.Generator
    ) -> Tensor:
        fate_BL = torch.rand(item_BL.shape, generator=generator).to(item_BL.device)
        random_BL = torch.randint(1, backbone.num_items + 1, item_BL.shape, generator=generator)
        masked_BL = item_BL.masked_fill(chosen_BL & (fate_BL < 0.8), backbone.mask_item)
        replaced_BL = chosen_BL & (fate_BL >= 0.9)
        return torch.where(replaced_BL, random_BL.to(item_BL.device), masked_BL)


@final
class Cloze(ItemObjective[ClozeConfig]):
    """From both sides, hidden positions only."""

    config_type: ClassVar[type[Config]] = ClozeConfig
    causal: ClassVar[bool] = False

    @override
    def item_learner(self) -> ClozeLearner:
        """Return the learner of hidden events."""
        return ClozeLearner(self.config)
