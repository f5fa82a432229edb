"""What `unisrec` and `linear-adaptor` share: an adaptor on features that do not move.

The item encoders of the base are frozen. What they give before the base's projections is computed
once, and goes through an adaptor of the method's own into the user encoder.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeVar

from pydantic import Field, model_validator
from torch import nn

from recxfer.foundation.rng import Rng
from recxfer.methods.content_method import ContentMethod, new_user_encoder, user_parameters
from recxfer.methods.contract import Base, Phase
from recxfer.methods.task import Task
from recxfer.methods.transrec import ContentLearner, ContentLossConfig, refuse_both_sides
from recxfer.models.content.attach import content_table, freeze_encoders, replace_projections
from recxfer.models.user_model import UserModel


class FrozenFeaturesConfig(ContentLossConfig):
    """Settings of methods on frozen features."""

    user_encoder: Literal["pretrained", "new"] = "pretrained"
    """Where the user encoder begins: where pretraining left it, or at random weights."""

    trains: Literal["all", "adaptor"] = "all"
    """`all`: adaptor and user encoder. `adaptor`: nothing else."""

    scores: Literal["dot", "cosine"] = "dot"
    """What a person and an item are scored by: the product of their vectors, or its cosine."""

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


FrozenFeaturesT = TypeVar("FrozenFeaturesT", bound=FrozenFeaturesConfig)


class FrozenFeatures(ContentMethod[FrozenFeaturesT]):
    """A method that differs from its neighbours in the adaptor.

    What a subclass answers: `adaptor` and `count`. Nothing here is overridden.
    """

    def __init__(self, config: FrozenFeaturesT) -> None:
        super().__init__(config)
        temperature = config.temperature if config.scores == "cosine" else None
        self.learner = ContentLearner(config, temperature)

    @abstractmethod
    def adaptor(self, features: int, width: int) -> nn.Module:
        """A new adaptor: (M, features) to (M, width)."""

    def assemble(self, base: Base, task: Task, rng: Rng) -> UserModel:
        """See `Method.assemble`: every encoder has an adaptor of its own.

        Raises:
            ConfigError: the loss would show the user encoder what it is to predict.
        """
        backbone = base.backbone
        refuse_both_sides(self.config, backbone)
        if self.config.user_encoder == "new":
            backbone = new_user_encoder(backbone, rng)
        table = content_table(backbone)
        freeze_encoders(table)
        rng.seed_all("adaptor")
        replace_projections(table, self.adaptor)
        return UserModel(backbone, None, "last", classifies=False)

    def phases(self, model: UserModel, task: Task) -> Sequence[Phase]:
        """See `Method.phases`: with the adaptor, the vector of items that have no content."""
        moving = content_table(model.backbone).projection_parameters()
        if self.config.trains == "all":
            moving = [*moving, *user_parameters(model.backbone)]
        return [Phase("adaptor", moving)]
