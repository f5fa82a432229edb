"""What a checkpoint says of itself, and the modules that it says it takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError
from recxfer.foundation.names import CHECKPOINT, RUN_JSON
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.methods.contract import Method, Objective
from recxfer.models import BACKBONES
from recxfer.models.backbones.contract import Backbone
from recxfer.models.content.attach import read_content, table_of_facts
from recxfer.models.heads import NextItemModel
from recxfer.models.siamese import SiameseModel
from recxfer.runs.run import NEWEST_FORMAT


def checkpoint_of(path: Path) -> Path:
    """The checkpoint inside a run directory."""
    if not (path / RUN_JSON).exists():
        raise CheckpointError(
            f"{path} is not a finished run: it has no {RUN_JSON}",
            hint="give a directory that `recxfer pretrain` or `recxfer transfer` wrote",
        )
    return path / CHECKPOINT


def read_checked_header(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's header, refused where its format is newer than this code."""
    header = tensors.read_header(checkpoint)
    if header.get("format", 0) > NEWEST_FORMAT:
        raise CheckpointError(
            f"{checkpoint} has format {header['format']}, this recxfer reads up to {NEWEST_FORMAT}",
            hint="update recxfer",
        )
    return header


def build_backbone(facts: Mapping[str, Any]) -> Backbone:
    """A backbone from its facts; the weights are whatever torch's generator gives.

    One that reads content has no items yet: see `recxfer.runs.item_content`.
    """
    backbone_type = BACKBONES.resolve(facts["name"])
    config = backbone_type.config_type.model_validate(facts["config"])
    backbone: Backbone = backbone_type(config, facts["num_items"], causal=facts["causal"])
    if "content" in facts:
        read_content(backbone, table_of_facts(facts["content"], backbone.width))
    return backbone


def build_objective(facts: Mapping[str, Any]) -> Objective[Any, Any]:
    """A pretraining objective from its name and config."""
    objective = OBJECTIVES.resolve(facts["name"])
    built: Objective[Any, Any] = objective(objective.config_type.model_validate(facts["config"]))
    return built


def build_method(facts: Mapping[str, Any]) -> Method[Any, Any]:
    """A transfer method from its name and config."""
    method = METHODS.resolve(facts["name"])
    built: Method[Any, Any] = method(method.config_type.model_validate(facts["config"]))
    return built


def assemble_pretrained(header: Mapping[str, Any]) -> NextItemModel | SiameseModel:
    """The model of a pretrained run, without its weights."""
    objective = build_objective(header["objective"])
    model: NextItemModel | SiameseModel = objective.keep(
        objective.assemble(build_backbone(header["backbone"]), Rng(header["seed"]))
    )
    return model


def load_exactly(model: nn.Module, parts: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Load all tensors of a model; one that is missing, left over or misshapen is an error."""
    try:
        model.load_state_dict(dict(parts))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint} does not fit its own header: {str(error).splitlines()[-1].strip()}",
            hint="the file is damaged; make the run again",
        ) from error
