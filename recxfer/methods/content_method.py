"""Build and train user models on bases that know items by their content."""

from collections.abc import Iterable

from torch import nn

from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Adapted, AnyLearner, Needs, Phase, names_of
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import content_table, read_content
from recxfer.models.user_model import UserModel

CONTENT_NEEDS = Needs(tasks=frozenset({"next-item"}), items="content")
"""What methods need that learn the next item, of any domain, from a base that knows items by their
content."""


def new_user_encoder(backbone: Backbone, rng: Rng) -> Backbone:
    """Draw a backbone of the same shape anew; it reads items from the same content."""
    rng.seed_all("backbone")
    new = type(backbone)(backbone.config, backbone.num_items, causal=backbone.causal)
    read_content(new, content_table(backbone))
    return new


def user_parameters(backbone: Backbone) -> list[nn.Parameter]:
    """Return the parameters of the user encoder: all but those that items are read with."""
    of_items = {id(parameter) for parameter in content_table(backbone).parameters()}
    return [p for p in backbone.parameters() if id(p) not in of_items]


def content_adapted(
    name: str, model: UserModel, trained: Iterable[nn.Parameter], learner: AnyLearner
) -> Adapted:
    """Train a user model on items that are read from their content, in one phase.

    Args:
        name: of the phase.
        model: for the task.
        trained: parameters of the model.
        learner: its loss and its scores.
    """
    phase = Phase(name=name, trainable=names_of(model, trained))
    return Adapted(model=model, learner=learner, phases=[phase])
