"""Runs of one base that are opened together."""

import shutil

import pytest
import torch

from recxfer.evaluation.ranking import class_scores
from recxfer.runs import open as open_module
from recxfer.runs.open import Bases, open_run
from recxfer.testing.commands import evaluated, transferred

CPU = torch.device("cpu")
DELTAS = {
    "serial": ("peterrec", ["train_norms=true"]),
    "parallel": ("peterrec", ["insertion=parallel", "readout=token"]),
    "biases": ("bitfit", []),
    "updates": ("lora", []),
    "top": ("last-layers", []),
}


@pytest.fixture
def deltas(bases, films, tmp_path):
    paths = []
    for name, (method, settings) in DELTAS.items():
        words = (method, "profile:taste", *settings)
        base, options = bases["sasrec", "next-item"], {"epochs": 1, "batch_size": None}
        paths.append(transferred(base, films, tmp_path / name, *words, **options).path)
    return paths


def test_many_tasks_stand_on_one_copy_of_the_backbone(deltas):
    together = Bases()
    runs = [open_run(path, CPU, together) for path in deltas]
    tables = {run.model.backbone.item_table.weight.data_ptr() for run in runs}
    assert len(tables) == 1
    alone = sum(p.numel() for run in runs for p in run.model.parameters())
    held = {p.data_ptr(): p.numel() for run in runs for p in run.model.parameters()}
    one = sum(p.numel() for p in runs[0].model.parameters())
    assert sum(held.values()) < 2.2 * one < alone


def test_evaluate_reads_and_hashes_a_base_once(deltas, monkeypatch):
    opened = []

    def counted(path, rng):
        opened.append(path)
        return open_base(path, rng)

    open_base = open_module.open_base
    monkeypatch.setattr(open_module, "open_base", counted)
    evaluated(*deltas)
    assert len(opened) == 1


def test_a_copy_of_a_base_is_the_same_base(deltas, bases, tmp_path):
    shutil.copytree(bases["sasrec", "next-item"], tmp_path / "copy")
    together = Bases()
    runs = [
        open_run(path, CPU, together, moved_base=base)
        for path, base in zip(deltas, (None, tmp_path / "copy"), strict=False)
    ]
    assert len({run.model.backbone.item_table.weight.data_ptr() for run in runs}) == 1


def test_what_is_shared_scores_as_if_opened_alone(deltas):
    """Each delta also holds weights that it trained away from the base: no other run sees them."""
    together = Bases()
    runs = [open_run(path, CPU, together) for path in deltas]
    for run, path in zip(runs, deltas, strict=True):
        rows = run.rows("test")
        shared = class_scores(run.learner, run.model, rows, CPU)
        single = open_run(path, CPU)
        assert torch.equal(shared, class_scores(single.learner, single.model, rows, CPU))
