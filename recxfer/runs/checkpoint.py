"""Build the modules that a checkpoint header names, and load their tensors."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from recxfer.foundation.errors import CheckpointError
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.methods.contract import AnyMethod, AnyObjective, Pretraining
from recxfer.models import BACKBONES
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import read_content, table_of_facts
from recxfer.models.heads import NextItemModel
from recxfer.models.siamese import SiameseModel
from recxfer.runs.header import BackboneFacts, ComponentFacts, Header


def build_backbone(facts: BackboneFacts) -> Backbone:
    """Build a backbone from its facts; the weights are whatever torch's generator gives.

    One that reads content has no items yet: see `recxfer.runs.item_content`.
    """
    backbone_type = BACKBONES.resolve(facts.name)
    config = backbone_type.config_type.model_validate(facts.config)
    backbone = backbone_type(config, facts.num_items, causal=facts.causal)
    if facts.content is not None:
        read_content(backbone, table_of_facts(facts.content, backbone.width))
    return backbone


def build_objective(facts: ComponentFacts) -> AnyObjective:
    """Build a pretraining objective from its name and config."""
    objective = OBJECTIVES.resolve(facts.name)
    return objective(objective.config_type.model_validate(facts.config))


def build_method(facts: ComponentFacts) -> AnyMethod:
    """Build a transfer method from its name and config."""
    method = METHODS.resolve(facts.name)
    return method(method.config_type.model_validate(facts.config))


def build_pretrained(header: Header) -> Pretraining[NextItemModel | SiameseModel]:
    """Build the model of a pretrained run, without its weights, and its learner."""
    assert header.objective is not None
    assert header.backbone is not None
    objective = build_objective(header.objective)
    pretraining = objective.build(build_backbone(header.backbone), Rng(header.seed))
    pretraining.discard()
    return pretraining


def load_exactly(model: nn.Module, parts: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Load all tensors of a model; one that is missing, left over or misshapen is an error."""
    try:
        model.load_state_dict(dict(parts))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint} does not fit its own header: {str(error).splitlines()[-1].strip()}",
            hint="the file is damaged; make the run again",
        ) from error
