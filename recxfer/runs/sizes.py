"""Measure the bytes of a run's checkpoint, beside the backbone it builds on."""

from dataclasses import dataclass

import torch

from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT
from recxfer.models.backbones.contract import Backbone
from recxfer.models.heads import LinearHead
from recxfer.models.items.contract import ItemEncoder
from recxfer.runs.checkpoint import build_backbone
from recxfer.runs.run import Run


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a run's checkpoint."""

    checkpoint_bytes: int
    """The file, whole."""

    backbone_share: float | None
    """Its tensors in relation to the backbone's, item tables (of inputs and outputs) left out on
    both sides; None where there is no backbone in it."""


def size_of(run: Run) -> Size:
    """Measure a run's checkpoint."""
    path = run.path / CHECKPOINT
    if not any(isinstance(module, Backbone) for module in run.model.modules()):
        return Size(path.stat().st_size, None)
    tables = [
        f"{name}." for name, module in run.model.named_modules() if isinstance(module, ItemEncoder)
    ]
    if run.task.ranks_items:
        tables += [
            f"{name}."
            for name, module in run.model.named_modules()
            if isinstance(module, LinearHead)
        ]
    if run.number is not None:
        for number, learned in enumerate(run.header.tasks, 1):
            tables.append(f"tasks.{number}.backbone.item_table.")
            if learned.task.ranks_items:
                tables.append(f"tasks.{number}.head.")
    kept = sum(
        size
        for name, size in tensors.byte_sizes(path).items()
        if not name.startswith(tuple(tables))
    )
    with torch.device("meta"):
        assert run.header.backbone is not None
        bare = build_backbone(run.header.backbone)
    of_items = {id(parameter) for parameter in bare.item_table.parameters()}
    whole = sum(
        parameter.nbytes for parameter in bare.parameters() if id(parameter) not in of_items
    )
    return Size(path.stat().st_size, kept / whole)
