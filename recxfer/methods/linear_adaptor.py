"""Method `linear-adaptor`: frozen features, through one linear layer into a user encoder.

The plain way to use a pretrained encoder of texts or pictures in a recommender, and the least that
`unisrec` and `transrec` have to be better than.
"""

from typing import ClassVar, final

from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.content_method import CONTENT_NEEDS
from recxfer.methods.contract import Adapted, Base, Method, Needs
from recxfer.methods.frozen_features import FrozenFeaturesConfig, adapt_features, learner_of
from recxfer.methods.task import Task
from recxfer.models.content.adaptor import linear_adaptor


class LinearAdaptorConfig(FrozenFeaturesConfig):
    """Settings of `linear-adaptor`."""


@final
class LinearAdaptor(Method[LinearAdaptorConfig]):
    """One linear layer for each encoder."""

    config_type: ClassVar[type[Config]] = LinearAdaptorConfig
    needs: ClassVar[Needs] = CONTENT_NEEDS

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Put a linear layer behind each frozen encoder."""
        return adapt_features(self.config, base, rng, linear_adaptor, learner_of(self.config))
