"""Every line of `OBJECTIVES` keeps the contract, on every backbone that goes with it."""

import pytest
import torch

from recxfer.foundation.names import CHECKPOINT, HISTORY
from recxfer.methods import OBJECTIVES
from recxfer.models import BACKBONES
from recxfer.runs.open import open_run
from recxfer.testing.commands import pretrained
from recxfer.testing.objective_contract import ObjectiveContract
from recxfer.testing.world import SMALL, go_together

CPU = torch.device("cpu")
OWN = {"transrec": ["text_width=16", "text_depth=1", "text_buckets=100"]}
"""Settings that keep what an objective has of its own as small."""


@pytest.mark.parametrize("name", OBJECTIVES.names)
class TestObjectives(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name):
        self.objective, self.settings = name, OWN.get(name, ())


OTHERS = [
    (objective, backbone)
    for objective in OBJECTIVES.names
    for backbone in BACKBONES.names
    if backbone != ObjectiveContract.backbone and go_together(backbone, objective)
]


@pytest.mark.parametrize(("objective", "backbone"), OTHERS)
@pytest.mark.parametrize(
    "test",
    [
        ObjectiveContract.test_training_lowers_the_loss_and_chooses_an_epoch,
        ObjectiveContract.test_a_run_opens_as_what_was_trained,
        ObjectiveContract.test_user_vectors_ignore_padding_and_the_rest_of_the_batch,
    ],
    ids=lambda test: test.__name__.removeprefix("test_"),
)
def test_on_other_backbones(test, objective, backbone, tmp_path):
    contract = ObjectiveContract()
    contract.objective, contract.settings = objective, OWN.get(objective, ())
    contract.backbone = backbone
    test(contract, tmp_path)


def learn(films, run, objective, settings, **options):
    settings = (*SMALL, "dropout=0.1", *OWN.get(objective, ()), *settings)
    return pretrained(films, run, *settings, objective=objective, epochs=2, **options)


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        ("next-item", []),
        ("cloze", []),
        ("clue", ["vector=projection"]),
        ("clue", ["loss=byol", "views=crop", "momentum=0.5", "next_item=0.5", "chunk=5"]),
        ("transrec", []),
        ("transrec", ["readout=last-valid"]),
    ],
)
@pytest.mark.parametrize("steps", [3, 9])
def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    objective, settings, steps, films, tmp_path, stopped
):
    whole = learn(films, tmp_path / "whole", objective, settings).path
    with stopped(steps):
        learn(films, tmp_path / "run", objective, settings)
    run = learn(films, tmp_path / "run", objective, settings, resume=True).path
    for name in (CHECKPOINT, HISTORY):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    again = learn(films, tmp_path / "run", objective, settings, resume=True)
    assert again.parameters == sum(p.numel() for p in open_run(run, CPU).model.parameters())
