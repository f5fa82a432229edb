"""Opening runs: a base to transfer from, a finished run to score with.

Runs of one base that are opened together share its tensors: the second task costs its delta.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError, UsageError
from recxfer.foundation.files import read_json, sha256_of
from recxfer.foundation.names import CHECKPOINT, RUN_JSON
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS, OBJECTIVES
from recxfer.methods.contract import Base, Learner, Objective
from recxfer.methods.supervised import parameters_of
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.models.backbone import Backbone
from recxfer.models.heads import NextItemModel
from recxfer.training.runs import FORMAT, Run, resolve_path


class Bases:
    """Bases in memory: each is read, hashed and held once, whatever number of runs stands on it."""

    def __init__(self) -> None:
        self._opened: dict[Path, tuple[Base, str]] = {}

    def open(self, path: Path, rng: Rng, device: torch.device) -> tuple[Base, str]:
        """A base to build on, and its checkpoint's sha256.

        The modules are the caller's own; their tensors are those of everyone who asks for the base.
        """
        place = path.resolve()
        if place not in self._opened:
            base, _, sha256 = open_base(path, rng)
            for module in (base.backbone, base.head):
                if module is not None:
                    module.to(device)
            same = (other for other, known in self._opened.values() if known == sha256)
            self._opened[place] = next(same, base), sha256
        base, sha256 = self._opened[place]
        return _on_the_same_tensors(base), sha256


def _on_the_same_tensors(base: Base) -> Base:
    """New modules and parameters, so that surgery on them leaves the base alone."""
    modules = nn.ModuleList(module for module in (base.backbone, base.head) if module is not None)
    memo = {id(old): nn.Parameter(old.detach()) for old in modules.parameters()}
    backbone, head = copy.deepcopy((base.backbone, base.head), memo)
    return replace(base, backbone=backbone, head=head)


def build_backbone(facts: Mapping[str, Any]) -> Backbone:
    """A backbone from its facts; the weights are whatever torch's generator gives."""
    backbone_type = BACKBONES.resolve(facts["name"])
    config = backbone_type.config_type.model_validate(facts["config"])
    backbone: Backbone = backbone_type(config, facts["num_items"], causal=facts["causal"])
    return backbone


def open_base(path: Path, rng: Rng) -> tuple[Base, dict[str, Any], str]:
    """Open a pretrained run for transfer.

    Args:
        path: the run directory.
        rng: unused weights are drawn from its stream `unused`.

    Returns:
        The base, its checkpoint's header, and its checkpoint's sha256.

    Raises:
        CheckpointError: it is no pretrained run, or is damaged.
    """
    checkpoint = checkpoint_of(path)
    header = read_checked_header(checkpoint)
    if header["kind"] != "backbone":
        raise CheckpointError(
            f"{path} was transferred by {header['method']['name']!r}, a base must be pretrained",
            hint="give the run that `recxfer pretrain` wrote",
        )
    rng.seed_all("unused")
    model = assemble_pretrained(header)
    parts, _ = tensors.load(checkpoint)
    load_exactly(model, parts, checkpoint)
    base = Base(model.backbone, getattr(model, "head", None), header["objective"]["name"])
    return base, header, sha256_of(checkpoint)


def open_run(
    path: Path,
    device: torch.device,
    bases: Bases | None = None,
    *,
    moved_base: Path | None = None,
    moved_dataset: Path | None = None,
) -> Run:
    """Open a finished run, pretrained or transferred, ready to score.

    Args:
        path: the run directory.
        device: where the model goes.
        bases: where runs that are opened together share the tensors of their bases. Whoever
            shares must not train what is shared.
        moved_base: where the base lies now, if not where `run.json` says.
        moved_dataset: where the dataset lies now, likewise.

    Raises:
        CheckpointError: it is missing, unfinished or damaged, or its base is not the one it was
            made from.
    """
    checkpoint = checkpoint_of(path)
    header = read_checked_header(checkpoint)
    record = read_json(path / RUN_JSON)
    parts, _ = tensors.load(checkpoint)
    learner: Learner
    model: nn.Module
    if header["kind"] == "backbone":
        model, learner = assemble_pretrained(header), _objective(header)
    else:
        if header["kind"] == "delta":
            base_path = moved_base or resolve_path(path, record["base"], option="--base")
            base = _base_of(path, header, base_path, device, bases or Bases())
        else:
            base = _merged_base(header)
        method_type = METHODS.resolve(header["method"]["name"])
        config = method_type.config_type.model_validate(header["method"]["config"])
        learner = method = method_type(config)
        pretrained = parameters_of(m for m in (base.backbone, base.head) if m is not None)
        task = Task.from_json(header["task"])
        model = method.assemble(base, task, Rng(header["seed"]))
        own = model.state_dict(keep_vars=True)
        for name in own.keys() & parts.keys():
            own[name].data = torch.empty_like(own[name])  # not the base's, which others may read
        if header["kind"] == "delta":
            trained = {id(p) for phase in method.phases(model, task) for p in phase.trainable}
            of_base = {id(p) for p in pretrained} - trained
            parts = {**{name: own[name] for name in own if id(own[name]) in of_base}, **parts}
    load_exactly(model, parts, checkpoint)
    model.to(device).eval()
    return Run(path, header, record, model, learner, device, moved_dataset)


def assemble_pretrained(header: Mapping[str, Any]) -> NextItemModel:
    """The model of a pretrained run, without its weights."""
    model: NextItemModel = _objective(header).assemble(
        build_backbone(header["backbone"]), Rng(header["seed"])
    )
    return model


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
    if header.get("format", 0) > FORMAT:
        raise CheckpointError(
            f"{checkpoint} has format {header['format']}, this recxfer reads up to {FORMAT}",
            hint="update recxfer",
        )
    return header


def load_exactly(model: nn.Module, parts: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Load all tensors of a model; one that is missing, left over or misshapen is an error."""
    try:
        model.load_state_dict(dict(parts))
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint} does not fit its own header: {str(error).splitlines()[-1].strip()}",
            hint="the file is damaged; make the run again",
        ) from error


def _merged_base(header: Mapping[str, Any]) -> Base:
    """The shape of a base whose weights are all in the run's own checkpoint."""
    rng = Rng(header["seed"])
    rng.seed_all("unused")
    pretrained = _objective(header).assemble(build_backbone(header["backbone"]), rng)
    return Base(pretrained.backbone, pretrained.head, header["objective"]["name"])


def _base_of(
    path: Path, header: Mapping[str, Any], base_path: Path, device: torch.device, bases: Bases
) -> Base:
    if not base_path.exists():
        raise CheckpointError(
            f"{path} needs its base {base_path}, which is not there",
            hint="say with --base where it lies now",
        )
    base, sha256 = bases.open(base_path, Rng(header["seed"]), device)
    if sha256 != header["parent"]["sha256"]:
        raise CheckpointError(
            f"{base_path} is not the base that {path} was made from: its checkpoint has sha256 "
            f"{sha256[:12]}, the run expects {header['parent']['sha256'][:12]}",
            hint="restore the base, say with --base where it lies now, or run the transfer again",
        )
    return base


def _objective(header: Mapping[str, Any]) -> Objective[Any, Any]:
    objective = OBJECTIVES.resolve(header["objective"]["name"])
    built: Objective[Any, Any] = objective(
        objective.config_type.model_validate(header["objective"]["config"])
    )
    return built


def refuse_unneeded_base(runs: Sequence[Path], base: Path | None) -> None:
    """Refuse a base that no run has a use for.

    Raises:
        UsageError: every run is whole.
    """
    if base is None:
        return
    if all(read_checked_header(checkpoint_of(run))["kind"] != "delta" for run in runs):
        raise UsageError(
            f"--base {base}: {runs[0]} is whole and needs no base", hint="leave it out"
        )
