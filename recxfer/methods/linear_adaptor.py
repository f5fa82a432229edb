"""Method `linear-adaptor`: frozen features, through one linear layer into a user encoder.

The plain way to use a pretrained encoder of texts or pictures in a recommender, and the least that
`unisrec` and `transrec` have to be better than.
"""

from typing import ClassVar, final

from torch import nn

from recxfer.data.rows import Rows
from recxfer.foundation.config import Config
from recxfer.methods.frozen_features import FrozenFeatures, FrozenFeaturesConfig
from recxfer.models.content.adaptor import linear_adaptor
from recxfer.models.user_model import UserModel


class LinearAdaptorConfig(FrozenFeaturesConfig):
    """Settings of `linear-adaptor`."""


@final
class LinearAdaptor(FrozenFeatures[LinearAdaptorConfig]):
    """One linear layer for each encoder."""

    config_type: ClassVar[type[Config]] = LinearAdaptorConfig

    def adaptor(self, features: int, width: int) -> nn.Module:
        """See `FrozenFeatures.adaptor`."""
        return linear_adaptor(features, width)

    def count(self, model: UserModel, rows: Rows) -> None:
        """See `Method.count`."""
        self.learner.count(model, rows)
