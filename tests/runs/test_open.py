"""Runs of one base that are opened together."""

import shutil

import pytest
import torch

from recxfer.commands import evaluate, transfer
from recxfer.evaluation.ranking import class_scores
from recxfer.foundation.config import Settings
from recxfer.foundation.reporting import SilentReporter
from recxfer.runs import open as open_module
from recxfer.runs.open import Bases, open_run

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
        config = transfer.resolve(
            bases["sasrec", "next-item"],
            films,
            tmp_path / name,
            settings=Settings.read(None, settings),
            method=method,
            task="profile:taste",
            epochs=1,
            lr=0.01,
        )
        paths.append(transfer.run(config, SilentReporter()).path)
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
    evaluate.run(evaluate.resolve(deltas, settings=Settings.read()), SilentReporter())
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
