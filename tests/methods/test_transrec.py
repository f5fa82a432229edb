"""`transrec`: the losses as a model sees them, what trains, and items that training never saw."""

import math
from dataclasses import replace

import pytest
import torch

from recxfer.data.dataset import Dataset
from recxfer.data.examples import next_item_training
from recxfer.data.history import History
from recxfer.foundation import distributed, tensors
from recxfer.foundation.errors import ConfigError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.rng import Rng
from recxfer.methods.transrec import ContentLearner, ContentLossConfig
from recxfer.models.content.attach import attach, content_table
from recxfer.models.losses.content_loss import Met
from recxfer.runs.open import Bases, open_base, open_run
from recxfer.testing.commands import pretrained, transferred

CPU = torch.device("cpu")


def adapt(base, dataset, run, *settings, **options):
    words = ("transrec", "next-item", *settings)
    return transferred(base, dataset, run, *words, epochs=2, **options).path


@pytest.fixture
def scoring(content_base, films):
    """A model without dropout, its training rows and a batch of them."""
    run = open_run(content_base, CPU)
    run.read_items_of(run.target)
    rows = next_item_training(Dataset(films), 20)
    return run.model, rows, rows.batch(torch.tensor([0, 5, 9]))


def learner_of(model, rows, **settings):
    learner = ContentLearner(ContentLossConfig(**settings))
    learner.observe(model, rows)
    return learner


@pytest.mark.parametrize("left_out", ["past", "met", "none"])
def test_in_batch_is_a_softmax_among_what_the_batch_holds(left_out, scoring):
    model, rows, batch = scoring
    learner = learner_of(model, rows, false_negatives=left_out)
    found = float(learner.loss(model, batch, Rng(0)).detach())
    weight_VD = model.output().weight_VD
    histories = [
        batch.history.item_BL[row, :length].tolist()
        for row, length in enumerate(batch.history.length_B.tolist())
    ]
    events = sum(map(len, histories))
    total = int(rows.length_R.sum())
    present = {item for history in histories for item in history}
    count = {
        item: sum(
            int((rows.item_E[start : start + length] == item).sum())
            for start, length in zip(rows.start_R.tolist(), rows.length_R.tolist(), strict=True)
        )
        for item in present
    }
    losses = []
    for history in histories:
        for step in range(1, len(history)):
            past, target = history[:step], history[step]
            user_D = model.backbone(History(torch.tensor([past]), torch.tensor([step])))[0, -1]
            hidden = {"past": past, "met": history, "none": []}[left_out]
            scores = {
                item: float((user_D @ weight_VD[item - 1]).detach())
                - math.log(1 - (1 - count[item] / total) ** events)
                for item in present
                if item == target or item not in hidden
            }
            losses.append(math.log(sum(map(math.exp, scores.values()))) - scores[target])
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_next_clicks_are_read_before_them(scoring):
    model, rows, batch = scoring
    learner = learner_of(model, rows, loss="cpc-bce", future=3, negatives=4)
    found = float(learner.loss(model, batch, Rng(7)).detach())
    other_BN = Met(rows, model.backbone.num_items).draw_others(
        rows.user_R[batch.row_B], 4, Rng(7).generator("negatives")
    )
    weight_VD = model.output().weight_VD
    clicks, others = [], []
    for row, length in enumerate(batch.history.length_B.tolist()):
        history = batch.history.item_BL[row, :length].tolist()
        cut = max(1, length - 3)
        user_D = model.backbone(History(torch.tensor([history[:cut]]), torch.tensor([cut])))[0, -1]
        score_V = (weight_VD @ user_D).detach()
        clicks += [math.log1p(math.exp(-score_V[item - 1])) for item in history[cut:]]
        others += [math.log1p(math.exp(score_V[item - 1])) for item in other_BN[row].tolist()]
        assert not set(other_BN[row].tolist()) & set(history)
    wanted = sum(clicks) / len(clicks) + sum(others) / len(others)
    assert found == pytest.approx(wanted, rel=1e-4)


def test_no_tensor_is_indexed_by_item(content_base, films):
    num_items = Dataset(films).num_items
    for name, part in tensors.load(content_base / CHECKPOINT)[0].items():
        assert not {num_items, num_items + 3} & set(part.shape), name


def test_an_item_that_training_never_saw_is_scored_by_what_it_is(scoring, films):
    model, rows, batch = scoring
    before_VD = model.output().weight_VD.clone()
    content = Dataset(films).content
    row_V1 = torch.cat([content.image_row_V1, content.image_row_V1.new_tensor([-1, -1])])
    longer = replace(
        content,
        text_V=(*content.text_V, "even step 3 again", content.text_V[4]),
        image_row_V1=row_V1,
        fingerprint="longer",
    )
    attach(model, longer)
    after_VD = model.output().weight_VD
    assert after_VD.shape[0] == before_VD.shape[0] + 2
    torch.testing.assert_close(after_VD[:-2], before_VD)
    # One with the text of another is scored like that one; a new text makes a new vector.
    torch.testing.assert_close(after_VD[-1], before_VD[4])
    assert (after_VD[-2] - before_VD).norm(dim=1).min() > 1e-4
    user_BD = learner_of(model, rows).represent(model, batch)
    assert user_BD.isfinite().all()


def test_frozen_encoders_are_those_of_the_base(content_base, books, tmp_path):
    paths = [
        adapt(content_base, books, tmp_path / name, "encoders=frozen", *more)
        for name, more in (("one", []), ("two", ["user_encoder=new"]))
    ]
    base = open_base(content_base, Rng(0)).base
    before = content_table(base.backbone).encoder_parameters()
    together = Bases()
    runs = [open_run(path, CPU, together) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        parts, header = tensors.load(path / CHECKPOINT)
        assert header["kind"] == "delta"
        assert not any("encoder" in name for name in parts)
        own = [p for m in content_table(run.model.backbone).sides.values() for p in m.parameters()]
        held = {p.data_ptr() for p in own}
        for old in before:
            assert any(old.shape == p.shape and torch.equal(old, p) for p in own)
    shared = [{p.data_ptr() for p in run.model.parameters()} for run in runs]
    assert len(shared[0] & shared[1]) >= len(before)
    assert held - shared[0], "each run has projections of its own"


def test_a_new_user_encoder_begins_elsewhere(content_base, books, tmp_path):
    """The projections train with the weights of the base, the user encoder does not."""
    runs = {}
    for kind in ("pretrained", "new"):
        path = adapt(content_base, books, tmp_path / kind, f"user_encoder={kind}", lr=1e-9)
        runs[kind] = open_run(path, CPU).model.backbone.state_dict()
    base = open_base(content_base, Rng(0)).base
    for name, old in base.backbone.state_dict().items():
        near = {kind: torch.allclose(old, found[name], atol=1e-6) for kind, found in runs.items()}
        assert near["pretrained"], name
        if name.startswith("item_table.") or "norm" in name or name.endswith("bias"):
            continue
        assert not near["new"], name


def test_a_loss_that_misses_an_encoder_gives_it_a_gradient_of_zero(monkeypatch):
    reached, missed, frozen = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    frozen.requires_grad_(False)
    distributed.with_zero_gradients(reached.sum(), [reached, missed, frozen]).backward()
    assert missed.grad is None, "one process alone has no need of it"
    monkeypatch.setattr(distributed, "is_distributed", lambda: True)
    reached.grad = None
    distributed.with_zero_gradients(reached.sum(), [reached, missed, frozen]).backward()
    assert (reached.grad.tolist(), missed.grad.tolist()) == ([1, 1], [0, 0])


def test_a_base_that_sees_both_sides_is_read_before_what_it_predicts(films, books, tmp_path):
    small = ["width=16", "max_length=20", "text_width=16", "text_depth=1", "text_buckets=100"]
    settings = [*small, "readout=last-valid"]
    options = {"objective": "transrec", "epochs": 1, "batch_size": None, "lr": None}
    base = pretrained(films, tmp_path / "base", *settings, **options).path
    assert adapt(base, books, tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="sees both sides"):
        adapt(base, books, tmp_path / "other", "loss=in-batch")
    assert not (tmp_path / "other").exists()
