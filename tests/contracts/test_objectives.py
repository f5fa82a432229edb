"""The contract of every pretraining objective, on every backbone that goes with it."""

import polars as pl
import pytest
import torch

from recxfer.commands import export, pretrain
from recxfer.data.dataset import Dataset
from recxfer.data.examples import next_item_training
from recxfer.foundation import tensors
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import UsageError
from recxfer.foundation.names import CHECKPOINT, HISTORY
from recxfer.foundation.reporting import SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods import OBJECTIVES
from recxfer.methods.contract import Objective
from recxfer.models import BACKBONES
from recxfer.runs.checkpoint import build_objective
from recxfer.runs.item_content import build_item_encoders, read_items_of
from recxfer.runs.open import open_base, open_run

CPU = torch.device("cpu")
SMALL = ["width=16", "max_length=20", "dropout=0.1"]
OWN = {"transrec": ["text_width=16", "text_depth=1", "text_buckets=100"]}
"""Settings that keep what an objective has of its own as small."""


def goes_with(objective, backbone):
    """Whether the backbone can look where the objective does."""
    objective_type = OBJECTIVES.resolve(objective)
    causal = objective_type(objective_type.config_type()).causal
    return causal or not BACKBONES.resolve(backbone).causal_only


pairs = pytest.mark.parametrize(
    ("objective", "backbone"),
    [(o, b) for o in OBJECTIVES.names for b in BACKBONES.names if goes_with(o, b)],
)
every = pytest.mark.parametrize("objective", OBJECTIVES.names)


def learn(films, run, objective, backbone="sasrec", *, epochs=2, settings=(), **options):
    config = pretrain.resolve(
        films,
        run,
        settings=Settings.read(None, [*SMALL, *OWN.get(objective, ()), *settings]),
        objective=objective,
        backbone=backbone,
        epochs=epochs,
        batch_size=16,
        lr=0.01,
        **options,
    )
    return pretrain.run(config, SilentReporter())


@pairs
def test_training_lowers_the_loss_and_chooses_an_epoch(objective, backbone, films, tmp_path):
    result = learn(films, tmp_path / "run", objective, backbone, epochs=5)
    history = pl.read_parquet(result.path / HISTORY)
    assert history["loss"].is_finite().all()
    assert history["loss"][-1] < history["loss"][0]
    metric = "NDCG@10" if "NDCG@10" in history.columns else "recognition"
    assert result.validation[metric] == history[metric].max()
    assert history["epoch"][int(history[metric].arg_max())] == result.best_epoch


@pairs
def test_a_run_opens_as_what_was_trained(objective, backbone, films, tmp_path):
    result = learn(films, tmp_path / "run", objective, backbone)
    run = open_run(result.path, CPU)
    assert sum(p.numel() for p in run.model.parameters()) == result.parameters
    opened = open_base(result.path, Rng(0))
    base = opened.base
    assert opened.header.objective.name == base.objective == objective
    for name, parameter in base.backbone.state_dict().items():
        assert torch.equal(parameter, run.model.backbone.state_dict()[name])


@pairs
def test_user_vectors_ignore_padding_and_the_rest_of_the_batch(
    objective, backbone, films, tmp_path
):
    run = open_run(learn(films, tmp_path / "run", objective, backbone, epochs=1).path, CPU)
    rows = run.rows("all")
    run.read_items_of(run.target)
    together = run.learner.represent(run.model, rows.batch(torch.arange(8)))
    for row in range(8):
        alone = run.learner.represent(run.model, rows.batch(torch.tensor([row])))
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-4)


@every
def test_the_same_seed_gives_the_same_bytes(objective, films, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        learn(films, tmp_path / name, objective, seed=seed)
    one, two, other = (
        (tmp_path / name / CHECKPOINT).read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


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
    whole = learn(films, tmp_path / "whole", objective, settings=settings).path
    with stopped(steps):
        learn(films, tmp_path / "run", objective, settings=settings)
    run = learn(films, tmp_path / "run", objective, settings=settings, resume=True).path
    for name in (CHECKPOINT, HISTORY):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    again = learn(films, tmp_path / "run", objective, settings=settings, resume=True)
    assert again.parameters == sum(p.numel() for p in open_run(run, CPU).model.parameters())


@every
def test_users_are_exported_and_ranked_or_the_reason_is_told(objective, films, tmp_path):
    run = learn(films, tmp_path / "run", objective, epochs=1).path
    config = export.resolve(run, tmp_path / "users.parquet", settings=Settings.read())
    assert export.run(config, SilentReporter()).rows == Dataset(films).num_users
    opened = open_run(run, CPU)
    opened.read_items_of(opened.target)
    if build_objective(opened.header.objective).item_learner() is not None:
        assert opened.learner.output(opened.model).weight_VD.shape[0] == opened.target.num_items
    else:
        with pytest.raises(UsageError, match="no item output"):
            opened.learner.output(opened.model)


@every
def test_the_smallest_batch_is_enough_and_less_is_refused(objective, films):
    objective_type = OBJECTIVES.resolve(objective)
    smallest = objective_type.smallest_batch
    if smallest > 1:
        with pytest.raises(UsageError, match="compares the people of a batch"):
            pretrain.resolve(
                films,
                films.parent / "run",
                settings=Settings.read(),
                objective=objective,
                batch_size=smallest - 1,
            )
    built, rows = assembled(objective, films)
    for size in (1, smallest):
        loss = built.learner.loss(built.model, rows.batch(torch.arange(size)), Rng(0))
        loss.backward()
        assert loss.isfinite()


@every
def test_what_is_kept_can_be_assembled_again(objective, films):
    (kept, _), (again, _) = (assembled(objective, films) for _ in range(2))
    for built in (kept, again):
        built.discard()
    assert again.model.state_dict().keys() == kept.model.state_dict().keys()


@every
def test_configs_survive_the_round_trip(objective):
    config_type = OBJECTIVES.resolve(objective).config_type
    assert config_type.model_validate(config_type().model_dump(mode="json")) == config_type()


def assembled(objective, films, **settings):
    objective_type = OBJECTIVES.resolve(objective)
    objective = objective_type(objective_type.config_type(**settings))
    sasrec = BACKBONES.resolve("sasrec")
    torch.manual_seed(0)
    dataset = Dataset(films)
    backbone = sasrec(
        sasrec.config_type(width=16, max_length=20), dataset.num_items, causal=objective.causal
    )
    if objective.content is not None:
        build_item_encoders(backbone, objective.content, dataset, Rng(0))
    built = objective.build(backbone, Rng(0))
    built.model.train()
    read_items_of(built.model, dataset, SilentReporter())
    rows = next_item_training(dataset, 20)
    built.learner.observe(built.model, rows)
    return built, rows


def test_checkpoints_hold_the_backbone_under_its_own_name(films, tmp_path):
    for objective in OBJECTIVES.names:
        path = learn(films, tmp_path / objective, objective, epochs=1).path
        names = set(tensors.load(path / CHECKPOINT)[0])
        known_by_content = OBJECTIVES.resolve(objective).content is not Objective.content
        assert ("backbone.item_table.weight" in names) != known_by_content
        assert any(name.startswith("backbone.item_table.") for name in names)
