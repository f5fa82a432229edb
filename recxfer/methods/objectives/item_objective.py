"""What pretraining objectives share that score items: model, negatives, output layer."""

from abc import abstractmethod
from typing import TypeVar

from torch import Tensor

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.console import Reporter
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Learner, Objective
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import NextItemModel
from recxfer.models.losses.item_loss import ItemLoss, ItemLossConfig
from recxfer.models.scoring import Output


class ItemObjectiveConfig(ItemLossConfig):
    """Settings of every objective that scores items."""

    tied: bool = True
    """One table for items as input and as output; false gives the output a table and a bias."""


ItemObjectiveT = TypeVar("ItemObjectiveT", bound=ItemObjectiveConfig)


class ItemObjective(Objective[ItemObjectiveT, NextItemModel]):
    """An objective that differs from its neighbours in which positions predict what.

    What a subclass answers: `loss` and `represent`. Nothing here is overridden.
    """

    def __init__(self, config: ItemObjectiveT) -> None:
        super().__init__(config)
        self._item_loss: ItemLoss | None = None

    @property
    def item_loss(self) -> ItemLoss:
        """The loss of positions."""
        assert self._item_loss is not None, "count() comes before loss()"
        return self._item_loss

    def assemble(self, backbone: Backbone, rng: Rng) -> NextItemModel:
        """See `Objective.assemble`."""
        rng.seed_all("head")
        return NextItemModel(backbone, tied=self.config.tied)

    def count(self, model: NextItemModel, rows: Rows) -> None:
        """See `Objective.count`: how often each item occurs, for drawing negatives."""
        self._item_loss = ItemLoss.of_rows(self.config, rows, model.backbone.num_items)

    @abstractmethod
    def loss(self, model: NextItemModel, batch: Batch, rng: Rng) -> Tensor:
        """See `Objective.loss`."""

    @abstractmethod
    def represent(self, model: NextItemModel, batch: Batch) -> Tensor:
        """See `Objective.represent`."""

    def output(self, model: NextItemModel) -> Output:
        """See `Objective.output`."""
        return model.output()

    @property
    def item_learner(self) -> Learner:
        """See `Objective.item_learner`."""
        return self

    def measure(self, model: NextItemModel, people: Rows, reporter: Reporter) -> dict[str, float]:
        """See `Objective.measure`: ranking says all."""
        return {}

    def keep(self, model: NextItemModel) -> NextItemModel:
        """See `Objective.keep`: everything."""
        return model
