"""Method `unisrec`: frozen features, whitened by a mixture of experts, into a user encoder.

Hou, Mu et al., Towards Universal Sequence Representation Learning for Recommender Systems (KDD
2022, arXiv 2206.05941), section 2.1: parametric whitening, and an adaptor that mixes experts by a
noisy gate. Scores are cosines divided by a temperature, as there.

Where we differ: the adaptor is new on the target, where the paper brings along one that was
pretrained; hence the user encoder trains with it unless `trains=adaptor` (the paper's inductive
setting) says otherwise. The loss is that of the method `transrec`, in place of a softmax over all
items at the last event, and there is no vector by which an item is known beside its content (the
paper's transductive setting).
"""

from typing import ClassVar, Literal, final

from pydantic import Field
from typing_extensions import override

from recxfer.data.rows import Rows
from recxfer.foundation.config import Config
from recxfer.foundation.rng import Rng
from recxfer.methods.content_method import CONTENT_NEEDS
from recxfer.methods.contract import Adapted, Base, Method, Needs
from recxfer.methods.frozen_features import FrozenFeaturesConfig, adapt_features, learner_of
from recxfer.methods.task import Task
from recxfer.methods.transrec import ContentLearner, ContentModel
from recxfer.models.content.adaptor import WhiteningExperts
from recxfer.models.content.attach import content_table, readable_features
from recxfer.models.losses.item_loss import count_outputs


class UniSRecConfig(FrozenFeaturesConfig):
    """Settings of `unisrec`."""

    scores: Literal["dot", "cosine"] = "cosine"
    """What a user and an item are scored by: the cosine of their vectors (paper), or the
    product."""

    experts: int = Field(default=8, ge=1)
    """Whitenings that are mixed (release: 8)."""

    adaptor_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of a feature's entries that experts do not see in a step (release: 0.2)."""

    whitening: Literal["learned", "fitted"] = "learned"
    """Where whitenings begin. `learned`: shifts at zero, matrices at random (paper). `fitted`: at a
    whitening (principal components) of the items that occur in training, rotated for each expert
    its own way."""


class FittedLearner(ContentLearner):
    """Learn as ever, from whitenings that begin at those of the items that occur in training."""

    @override
    def observe(self, model: ContentModel, rows: Rows) -> None:
        """Fit the whitenings, beside what the loss counts."""
        super().observe(model, rows)
        table = content_table(model.backbone)
        item_N = count_outputs(rows, table.num_items).nonzero().squeeze(1) + 1
        for kind, side in table.sides.items():
            feature_NF = readable_features(table, kind, item_N)
            if len(feature_NF):
                assert isinstance(side.projection, WhiteningExperts)
                side.projection.fit(feature_NF)


@final
class UniSRec(Method[UniSRecConfig]):
    """Parametric whitening and a mixture of experts."""

    config_type: ClassVar[type[Config]] = UniSRecConfig
    needs: ClassVar[Needs] = CONTENT_NEEDS

    @override
    def adapt(self, base: Base, task: Task, rng: Rng) -> Adapted:
        """Put whitening experts behind each frozen encoder."""
        config = self.config
        fitted = config.whitening == "fitted"
        learner = learner_of(config, FittedLearner if fitted else ContentLearner)

        def new_adaptor(features: int, width: int) -> WhiteningExperts:
            return WhiteningExperts(features, width, config.experts, config.adaptor_dropout)

        return adapt_features(config, base, rng, new_adaptor, learner)
