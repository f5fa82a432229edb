"""The contract of every transfer method, on both backbones and both pretraining objectives."""

import re

import pytest
import torch

from recxfer.commands import pretrain, transfer
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.foundation import tensors
from recxfer.foundation.config import Settings
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.reporting import SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import trained_names
from recxfer.runs.open import open_base, open_run
from recxfer.runs.sizes import size_of

CPU = torch.device("cpu")
COUNTS = [name for name in METHODS.names if METHODS.resolve(name).needs.base == "none"]
"""Methods that train nothing."""
SMALL = [name for name in METHODS.names if METHODS.resolve(name).parameter_efficient]
CONTINUES = [name for name in METHODS.names if METHODS.resolve(name).needs.continues != "refused"]
PROTECTS = [name for name in METHODS.names if METHODS.resolve(name).needs.first_task]
"""Methods that first go through the base's own task: their runs hold several."""
KNOWS = {
    task: [name for name in METHODS.names if task in METHODS.resolve(name).needs.tasks]
    for task in ("next-item", "cross-domain", "profile")
}
"""Methods by the tasks that they know."""
LEARNS = [name for name in METHODS.names if name not in COUNTS]
BASES = [(b, o) for b in ("sasrec", "nextitnet") for o in ("next-item", "cloze")]


def adapt(base, dataset, run, method, task, *, epochs=8, **options):
    config = transfer.resolve(
        base,
        dataset,
        run,
        settings=Settings.read(None, options.pop("settings", [])),
        method=method,
        task=task,
        epochs=epochs,
        batch_size=16,
        lr=0.01,
        **options,
    )
    return transfer.run(config, SilentReporter())


@pytest.fixture
def base_of(bases, content_base):
    """A base on `films` that a method can begin with."""

    def find(method, backbone):
        if METHODS.resolve(method).needs.items == "content":
            return content_base
        return bases[backbone, "next-item"]

    return find


def task_of(method):
    """A task on `films` that a method knows."""
    return "profile:taste" if method in KNOWS["profile"] else "next-item"


@pytest.mark.parametrize("base", BASES, ids="-".join)
@pytest.mark.parametrize("method", KNOWS["profile"])
def test_profiles_are_learned_and_restored(method, base, bases, films, tmp_path):
    result = adapt(bases[base], films, tmp_path / "run", method, "profile:taste", epochs=30)
    run = open_run(result.path, CPU)
    rows = run.rows("test")
    right = class_scores(run.learner, run.model, rows, CPU).argmax(1) == rows.target_R
    share = float(right.double().mean())
    assert (result.trained_parameters == 0) == (method in COUNTS)
    # Taste is the parity of any film: with a dozen test people, one may be missed.
    assert method == "popular" or share >= 0.9


@pytest.mark.parametrize("method", KNOWS["cross-domain"])
def test_cross_domain_ranks_the_right_parity_first(method, bases, films, books, tmp_path):
    base = bases["sasrec", "next-item"]
    result = adapt(base, books, tmp_path / "run", method, "cross-domain", epochs=15)
    assert method not in SMALL or result.trained_share < 0.5
    run = open_run(result.path, CPU)
    assert run.source.path.resolve() == films.resolve()
    ranking = rank(run.learner, run.model, run.rows("test"), device=CPU)
    half = float((ranking.rank_R <= 15).double().mean())
    # 15 of the 30 books have the reader's parity; a model without taste finds half of them there.
    assert half < 0.8 if method == "popular" else half > 0.9


@pytest.mark.parametrize("method", KNOWS["next-item"])
def test_next_item_in_a_domain_with_other_items(method, base_of, books, tmp_path):
    base = base_of(method, "nextitnet")
    result = adapt(base, books, tmp_path / "run", method, "next-item", epochs=2)
    run = open_run(result.path, CPU)
    run.read_items_of(run.target)
    assert run.learner.output(run.model).weight_VD.shape[0] == run.target.num_items


@pytest.mark.parametrize("method", [name for name in METHODS.names if name not in PROTECTS])
def test_frozen_is_frozen_to_the_bit_and_trainable_moves(method, base_of, films, tmp_path):
    """Weight decay on: what is frozen must not shrink either."""
    path = base_of(method, "sasrec")
    result = adapt(
        path,
        films,
        tmp_path / "run",
        method,
        task_of(method),
        settings=["optim.weight_decay=0.1"],
        epochs=2,
    )
    run = open_run(result.path, CPU)
    base = open_base(path, Rng(0)).base
    method_type = METHODS.resolve(method)
    start = method_type(method_type.config_type()).adapt(base, run.task, Rng(0))
    moving = trained_names(start.phases)
    before, after = dict(start.model.named_parameters()), dict(run.model.named_parameters())
    assert before.keys() == after.keys()
    for name, parameter in before.items():
        if name not in moving:
            assert torch.equal(parameter, after[name]), f"{name} is frozen, but moved"
    moved = [name for name, p in before.items() if not torch.equal(p, after[name])]
    # An embedding row of an item that no training user has met gets no gradient; whole tensors do.
    assert len(moved) >= len(moving) * 0.5
    parts, _ = tensors.load(result.path / CHECKPOINT)
    stored = {re.sub(r"^tasks\.\d+\.", "", name) for name in parts}
    assert set(moved) <= stored


@pytest.mark.parametrize("method", METHODS.names)
def test_the_same_seed_gives_the_same_bytes(method, base_of, films, tmp_path):
    base, task = base_of(method, "nextitnet"), task_of(method)
    for name in ("one", "two"):
        adapt(base, films, tmp_path / name, method, task, epochs=2)
    adapt(base, films, tmp_path / "other", method, task, epochs=2, seed=1)
    one, two, other = (
        (tmp_path / name / CHECKPOINT).read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("method", SMALL)
def test_a_delta_is_small(method, bases, films, tmp_path):
    base = bases["sasrec", "next-item"]
    result = adapt(base, films, tmp_path / "run", method, "profile:taste", epochs=1)
    parts, header = tensors.load(result.path / CHECKPOINT)
    assert header["kind"] == "delta"
    assert not any("item_table" in name for name in parts)
    model, _ = tensors.load(base / CHECKPOINT)
    assert sum(p.numel() for p in parts.values()) < 0.5 * sum(p.numel() for p in model.values())


@pytest.fixture(scope="module", params=["sasrec", "nextitnet"])
def usual_base(request, films, tmp_path_factory):
    """A base of the usual size: every setting has its default."""
    run = tmp_path_factory.mktemp("usual") / request.param
    config = pretrain.resolve(
        films, run, settings=Settings.read(), backbone=request.param, epochs=1
    )
    return pretrain.run(config, SilentReporter()).path


@pytest.mark.parametrize("task", ["profile:taste", "cross-domain"])
@pytest.mark.parametrize("method", SMALL)
def test_a_delta_of_default_settings_is_under_15_percent(
    method, task, usual_base, films, books, tmp_path
):
    """Of the backbone's bytes; tables of items are left out, those of the target too."""
    dataset = films if task == "profile:taste" else books
    result = adapt(usual_base, dataset, tmp_path / "run", method, task, epochs=1)
    share = size_of(open_run(result.path, CPU)).backbone_share
    assert 0 < share < 0.15
    # What `transfer` prints leaves out the head of two classes, and the token, too.
    assert result.trained_share <= share < result.trained_share + 0.001


@pytest.mark.parametrize("method", [*CONTINUES, "scratch", "popular"])
def test_a_method_that_changes_everything_needs_no_base(method, bases, films, tmp_path):
    base = bases["sasrec", "next-item"]
    result = adapt(base, films, tmp_path / "run", method, "profile:taste", epochs=1)
    assert tensors.read_header(result.path / CHECKPOINT)["kind"] in ("merged", "tasks")
    (tmp_path / "run" / "run.json").write_text(
        (tmp_path / "run" / "run.json").read_text().replace("base-sasrec", "gone")
    )
    assert open_run(result.path, CPU).method == method


@pytest.mark.parametrize("method", LEARNS)
def test_configs_survive_the_round_trip(method):
    config_type = METHODS.resolve(method).config_type
    assert config_type.model_validate(config_type().model_dump(mode="json")) == config_type()
