"""Adapt frozen features of items: what `unisrec` and `linear-adaptor` share.

The item encoders of the base are frozen. What they give before the base's projections is computed
once, and goes through an adaptor of the method's own into the user encoder.
"""

from collections.abc import Callable
from typing import Literal

from pydantic import Field, model_validator
from torch import nn

from recxfer.foundation.rng import Rng
from recxfer.methods.content_method import new_user_encoder, user_parameters
from recxfer.methods.contract import Adapted, Base
from recxfer.methods.supervised import in_one_phase
from recxfer.methods.transrec import ContentLearner, ContentLossConfig, refuse_both_sides
from recxfer.models.content.attach import content_table, freeze_encoders, replace_projections
from recxfer.models.user_model import UserModel


class FrozenFeaturesConfig(ContentLossConfig):
    """Settings of methods on frozen features."""

    user_encoder: Literal["pretrained", "new"] = "pretrained"
    """Where the user encoder begins: where pretraining left it, or at random weights, which then
    have to train."""

    trains: Literal["all", "adaptor"] = "all"
    """`all`: adaptor and user encoder. `adaptor`: nothing else, but for the vector of items without
    content."""

    scores: Literal["dot", "cosine"] = "dot"
    """What a user and an item are scored by: the product of their vectors, or its cosine."""

    temperature: float = Field(default=0.07, gt=0)
    """By which cosines are divided."""

    @model_validator(mode="after")
    def _something_is_learned(self) -> "FrozenFeaturesConfig":
        if self.user_encoder == "new" and self.trains == "adaptor":
            raise ValueError(
                "a new user encoder that does not train would stay at random weights; "
                "leave trains at all, or user_encoder at pretrained"
            )
        return self


def learner_of(
    config: FrozenFeaturesConfig, learner_type: type[ContentLearner] = ContentLearner
) -> ContentLearner:
    """Build a learner that scores as the settings say."""
    return learner_type(config, config.temperature if config.scores == "cosine" else None)


def adapt_features(
    config: FrozenFeaturesConfig,
    base: Base,
    rng: Rng,
    new_adaptor: Callable[[int, int], nn.Module],
    learner: ContentLearner,
) -> Adapted:
    """Freeze the item encoders, and put an adaptor of its own behind each of them.

    The vector of items that have no content trains with the adaptor.

    Args:
        config: of the method.
        base: knows items by their content.
        rng: names the random streams of what is drawn.
        new_adaptor: makes one from the widths of features and of vectors: (M, features) to
            (M, width).
        learner: its loss and its scores.

    Raises:
        ConfigError: the loss would show the user encoder what it is to predict.
    """
    backbone = base.backbone
    refuse_both_sides(config, backbone)
    if config.user_encoder == "new":
        backbone = new_user_encoder(backbone, rng)
    table = content_table(backbone)
    freeze_encoders(table)
    rng.seed_all("adaptor")
    replace_projections(table, new_adaptor)
    model = UserModel(backbone, None, "last", classifies=False)
    trained = list(table.projection_parameters())
    if config.trains == "all":
        trained += user_parameters(backbone)
    return in_one_phase("adaptor", model, trained, learner)
