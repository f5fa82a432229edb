"""A backbone that reads the times of events, through the real commands."""

import json
import re
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from recxfer.data.dataset import Dataset
from recxfer.foundation.registry import Entry
from recxfer.models import BACKBONES
from recxfer.testing.backbone_contract import BackboneContract
from recxfer.testing.commands import recxfer

SEEN = []
"""Histories that were read since the list was last cleared."""

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-a-backbone.md"
(CODE,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
EXAMPLE = {"__name__": __name__}
exec(CODE, EXAMPLE)


class Clock(EXAMPLE["TimedSASRec"]):
    """The backbone of the guide, as it stands there; what it reads is noted."""

    name: ClassVar[str] = "clock"

    def embed(self, history, items=None):
        SEEN.append(history)
        return super().embed(history, items)


class TestClock(BackboneContract):
    backbone = Clock


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    entry = Entry("clock", "reads times", f"{__name__}:Clock")
    monkeypatch.setitem(BACKBONES._entries, "clock", entry)
    SEEN.clear()


def check_seen(dataset, *, items):
    """Each person watches from time 1000 on, a film a tick, upwards by twos around the end."""
    number_V = torch.tensor([int(item.removeprefix("f")) for item in Dataset(dataset).item_ids])
    assert SEEN
    for history in SEEN:
        real_BL = history.real_BL
        assert not history.time_BL[~real_BL].any()
        assert (history.time_BL[real_BL] >= 1000).all()
        if items:
            known_BL = history.item_BL > 0
            film_BL = number_V[history.item_BL.where(known_BL, 1) - 1]
            begin_BL = (film_BL // 2 - (history.time_BL - 1000)) % (len(number_V) // 2)
            begin_BL = 2 * begin_BL + film_BL % 2
            most_B1 = begin_BL.where(known_BL, -1).amax(1, keepdim=True)
            assert (begin_BL == most_B1)[known_BL].all(), "each film at its time"
    SEEN.clear()


SMALL = ("--epochs", 1, "--set", "width=8", "--set", "max_length=12")
PRETRAINED = {
    "next-item": (),
    "cloze": (),
    "clue": ("views=crop,mask,reorder", "mix=compose", "next_item=1", "chunk=16"),
    "clue-of-changed-items": ("views=insert,substitute", "loss=byol"),
}


@pytest.mark.parametrize("case", PRETRAINED)
def test_times_reach_it_in_training_transfer_and_evaluation(case, films, books, tmp_path):
    objective = "clue" if case.startswith("clue") else case
    base = tmp_path / "base"
    words = ("--objective", objective, "--backbone", "clock", *SMALL)
    recxfer("pretrain", films, base, *words, *(f"--set={pair}" for pair in PRETRAINED[case]))
    check_seen(films, items=case in ("next-item", "clue"))
    for number, (method, dataset, task) in enumerate(
        [
            ("finetune", films, "profile:taste"),
            ("uaf", films, "profile:taste"),
            ("probe", books, "cross-domain"),
        ]
    ):
        run = tmp_path / str(number)
        recxfer("transfer", base, dataset, run, "--method", method, "--task", task, "--epochs", 1)
        told = json.loads(recxfer("evaluate", run, "--json").stdout)
        assert told["runs"][0]["metrics"]
        check_seen(films, items=True)
    recxfer("export", tmp_path / "0", tmp_path / "users.parquet", "--what", "users")
    check_seen(films, items=True)


def test_a_dataset_without_timestamps_is_refused_before_training(films, tmp_path):
    (tmp_path / "log.csv").write_text(
        "user,item\n" + "".join(f"u{n},i{(n + k) % 7}\n" for n in range(30) for k in range(6))
    )
    recxfer("prepare", tmp_path / "log.csv", tmp_path / "untimed")
    words = ("--backbone", "clock", *SMALL)
    refused = recxfer("pretrain", tmp_path / "untimed", tmp_path / "base", *words, code=3)
    told = " ".join(refused.stderr.split())
    assert "untimed has no timestamps, but the backbone reads the times of events" in told
    assert "hint: choose another backbone" in told
    assert not SEEN
    assert not (tmp_path / "base").exists()

    recxfer("pretrain", films, tmp_path / "base", *words)
    SEEN.clear()
    words = ("--method", "finetune", "--task", "next-item", "--epochs", 1)
    places = (tmp_path / "base", tmp_path / "untimed", tmp_path / "run")
    refused = recxfer("transfer", *places, *words, code=3)
    assert "has no timestamps" in " ".join(refused.stderr.split())
    assert not SEEN
    assert not (tmp_path / "run").exists()
