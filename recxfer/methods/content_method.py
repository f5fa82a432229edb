"""Build and train user models on bases that know items by their content."""

from torch import nn

from recxfer.foundation.rng import Rng
from recxfer.methods.contract import Needs
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import content_table, read_content

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
