"""Learn items from histories: shared parts of objectives that score the items of their source."""

from abc import abstractmethod
from typing import TypeVar

from typing_extensions import override

from recxfer.data.rows import Rows
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Objective, Pretraining, VectorLearner
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import NextItemModel
from recxfer.models.losses.item_loss import ItemLoss, ItemLossConfig
from recxfer.models.scoring import Output
from recxfer.models.siamese import SiameseModel
from recxfer.models.user_model import UserModel

ItemModel = NextItemModel | SiameseModel | UserModel
"""A model with a `backbone`, and an `output()` over the items that it reads."""


class ItemObjectiveConfig(ItemLossConfig):
    """Settings of every objective that scores items."""

    tied: bool = True
    """One table for items as input and as output; false gives the output a table and a bias."""


ItemObjectiveT = TypeVar("ItemObjectiveT", bound=ItemObjectiveConfig)


class ItemLearner(VectorLearner[ItemModel]):
    """Learner of items; subclasses choose which positions predict what.

    What a subclass answers: `loss` and `represent`.
    """

    def __init__(self, config: ItemLossConfig) -> None:
        self._config = config
        self._item_loss: ItemLoss | None = None

    @property
    def item_loss(self) -> ItemLoss:
        """The loss of positions."""
        assert self._item_loss is not None, "observe() comes before loss()"
        return self._item_loss

    @override
    def observe(self, model: ItemModel, rows: Rows) -> None:
        """Count how often each item occurs, for drawing negatives."""
        self._item_loss = ItemLoss.of_rows(self._config, rows, model.backbone.num_items)

    @override
    def output(self, model: ItemModel) -> Output:
        """Return the layer over the source's items."""
        return model.output()


class ItemObjective(Objective[ItemObjectiveT]):
    """An objective with an output layer over items, and nothing else of its own.

    What a subclass answers: `causal` and `item_learner`.
    """

    @abstractmethod
    @override
    def item_learner(self) -> ItemLearner:
        """Return the learner: it pretrains, and goes on with the source's items."""

    @override
    def build(self, backbone: Backbone, rng: Rng) -> Pretraining[NextItemModel]:
        """Put an output layer over items behind the backbone."""
        rng.seed_all("head")
        model = NextItemModel(backbone, tied=self.config.tied)
        return Pretraining(model=model, learner=self.item_learner())
