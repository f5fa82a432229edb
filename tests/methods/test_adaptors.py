"""`unisrec` and `linear-adaptor`: features that do not move, and what goes on behind them."""

from dataclasses import replace

import pytest
import torch

from recxfer.data.dataset import Dataset
from recxfer.foundation import tensors
from recxfer.foundation.errors import ConfigError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.reporting import SilentReporter
from recxfer.foundation.rng import Rng
from recxfer.methods.linear_adaptor import LinearAdaptor, LinearAdaptorConfig
from recxfer.methods.task import Task
from recxfer.methods.transrec import ContentLearner, ContentLossConfig
from recxfer.methods.unisrec import UniSRec, UniSRecConfig
from recxfer.models.content.attach import attach, content_table
from recxfer.models.content.contract import TextEncoder
from recxfer.runs.open import open_base, open_run
from recxfer.runs.run import task_rows
from recxfer.testing.commands import answered, recxfer, transferred

CPU = torch.device("cpu")
METHODS = ("unisrec", "linear-adaptor")


def adapt(base, dataset, run, method, *settings, **options):
    words = (method, "next-item", *settings)
    return transferred(base, dataset, run, *words, **{"epochs": 2, **options}).path


def assembled(method, base_path, dataset):
    """What a method makes of a base at step 0 on a dataset, and training rows."""
    base = open_base(base_path, Rng(0)).base
    dataset = Dataset(dataset)
    task = Task("next-item", dataset.num_items)
    adapted = method.adapt(base, task, Rng(0))
    attach(adapted.model, dataset.content)
    rows = task_rows(task, None, dataset, "train", 20, {"item"})
    adapted.learner.observe(adapted.model, rows)
    return adapted.learner, adapted.model, rows


@pytest.mark.parametrize("method", METHODS)
def test_features_are_those_of_the_base_to_the_bit_and_made_once(
    method, content_base, books, tmp_path, monkeypatch
):
    base = open_base(content_base, Rng(0)).base
    attach(base.backbone, Dataset(books).content)
    wanted_VF = content_table(base.backbone).features("text")
    for file in (books / "features").glob("*"):
        file.unlink()
    encoded = []
    call = TextEncoder.__call__
    monkeypatch.setattr(
        TextEncoder,
        "__call__",
        lambda self, token_UT, *rest: encoded.append(len(token_UT)) or call(self, token_UT, *rest),
    )
    run = open_run(adapt(content_base, books, tmp_path / "run", method), CPU)
    run.read_items_of(run.target, SilentReporter())
    feature_VF = content_table(run.model.backbone).features("text")
    assert torch.equal(feature_VF, wanted_VF)
    assert encoded == [Dataset(books).num_items], "in training, choosing and scoring together"
    parts, header = tensors.load(tmp_path / "run" / CHECKPOINT)
    assert header["kind"] == "delta"
    assert not any("encoder" in name for name in parts)


@pytest.mark.parametrize("method", METHODS)
def test_the_adaptor_alone_trains_where_that_is_asked_for(method, content_base, books, tmp_path):
    path = adapt(content_base, books, tmp_path / "run", method, "trains=adaptor")
    parts, _ = tensors.load(path / CHECKPOINT)
    own = ("backbone.item_table.sides.text.projection.", "backbone.item_table.special_SD")
    assert parts
    assert all(name.startswith(own) for name in parts)
    base = open_base(content_base, Rng(0)).base
    after = open_run(path, CPU).model.backbone.state_dict()
    for name, old in base.backbone.state_dict().items():
        if "projection" not in name and "special" not in name:
            assert torch.equal(old, after[name]), name


def test_a_new_user_encoder_has_to_train(content_base, books, tmp_path):
    with pytest.raises(ConfigError, match="stay at random weights"):
        adapt(
            content_base, books, tmp_path / "run", "unisrec", "user_encoder=new", "trains=adaptor"
        )
    path = adapt(content_base, books, tmp_path / "run", "unisrec", "user_encoder=new", lr=1e-9)
    base = open_base(content_base, Rng(0)).base
    new = open_run(path, CPU).model.backbone
    weights = [encoder.blocks[0].sublayer1.qkv.weight for encoder in (base.backbone, new)]
    assert not torch.allclose(*weights, atol=0.01)


@pytest.mark.parametrize("loss", ["in-batch", "cpc-bce"])
def test_cosines_are_scores_and_what_is_learned_from(loss, content_base, books):
    """Of vectors of length one, products are cosines: the two ways then differ by 1 / 0.5."""
    method = LinearAdaptor(
        LinearAdaptorConfig(loss=loss, scores="cosine", temperature=0.5, log_q=False)
    )
    learner, model, rows = assembled(method, content_base, books)
    model.eval()
    batch = rows.batch((rows.length_R > 1).nonzero().squeeze(1)[:6])
    user_BD = learner.represent(model, batch)
    torch.testing.assert_close(user_BD.norm(dim=1), torch.full((6,), 2.0))
    score_BV = learner.output(model).scores(user_BD)
    plain = ContentLearner(ContentLossConfig(loss=loss, log_q=False))
    plain.observe(model, rows)
    wanted_BV = torch.cosine_similarity(
        plain.represent(model, batch)[:, None], plain.output(model).weight_VD[None], dim=-1
    )
    torch.testing.assert_close(score_BV, wanted_BV / 0.5)
    found = learner.loss(model, batch, Rng(0))
    # However long hidden states are, cosines stay, and so does the loss; products grow.
    before = plain.loss(model, batch, Rng(0))
    with torch.no_grad():
        for parameter in model.backbone.above.parameters():
            parameter.mul_(3)
    torch.testing.assert_close(learner.loss(model, batch, Rng(0)), found)
    assert abs(plain.loss(model, batch, Rng(0)) - before) > 1e-3


def test_fitted_whitenings_whiten_what_training_meets(content_base, books):
    method = UniSRec(UniSRecConfig(whitening="fitted", experts=2))
    _, model, rows = assembled(method, content_base, books)
    table = content_table(model.backbone)
    met = sorted(
        {
            item
            for start, length in zip(rows.start_R.tolist(), rows.length_R.tolist(), strict=True)
            for item in rows.item_E[start : start + length].tolist()
        }
    )
    feature_NF = table.features("text")[torch.tensor(met) - 1]
    adaptor = table.sides["text"].projection
    for shift_F, weight_FD in zip(adaptor.shift_EF, adaptor.weight_EFD, strict=True):
        white_ND = ((feature_NF - shift_F) @ weight_FD).double()
        assert white_ND.mean(0).abs().max() < 1e-3
        variances = torch.linalg.eigvalsh(white_ND.T @ white_ND / len(met))
        assert variances.sum() > 1.5, "texts differ in parity and in step"
        # One along each direction in which features vary, and nought along the others.
        torch.testing.assert_close(variances, variances.round(), atol=0.02, rtol=0)
        assert variances.max() < 1.5
    _, learned, _ = assembled(UniSRec(UniSRecConfig(experts=2)), content_base, books)
    assert not content_table(learned.backbone).sides["text"].projection.shift_EF.any()


@pytest.mark.parametrize("method_type", [UniSRec, LinearAdaptor])
def test_items_that_training_never_saw_are_scored_by_their_features(
    method_type, content_base, books
):
    method = method_type(method_type.config_type())
    learner, model, rows = assembled(method, content_base, books)
    model.eval()
    before_VD = learner.output(model).weight_VD.clone()
    content = Dataset(books).content
    none_2 = content.image_row_V1.new_tensor([-1, -1])
    longer = replace(
        content,
        text_V=(*content.text_V, "even step 3 again", content.text_V[4]),
        image_row_V1=torch.cat([content.image_row_V1, none_2]),
        fingerprint="longer",
    )
    attach(model, longer)
    after_VD = learner.output(model).weight_VD
    torch.testing.assert_close(after_VD[:-2], before_VD)
    torch.testing.assert_close(after_VD[-1], before_VD[4])
    assert (after_VD[-2] - before_VD).norm(dim=1).min() > 1e-5
    num_items = Dataset(books).num_items
    for name, part in model.state_dict().items():
        assert not {num_items, num_items + 3} & set(part.shape), name
    user_BD = learner.represent(model, rows.batch(torch.arange(3)))
    assert learner.output(model).scores(user_BD).isfinite().all()


@pytest.mark.parametrize("steps", [2, 5])
def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    steps, content_base, books, tmp_path, stopped
):
    """With noise in the gates, and whitenings that are fitted anew when the run goes on."""
    fitted, slow = ("unisrec", "whitening=fitted"), {"batch_size": 32}
    whole = adapt(content_base, books, tmp_path / "whole", *fitted, **slow)
    with stopped(steps):
        adapt(content_base, books, tmp_path / "run", *fitted, **slow)
    run = adapt(content_base, books, tmp_path / "run", *fitted, **slow, resume=True)
    assert (run / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_through_the_command_line(method, content_base, books, tmp_path):
    """15 of the 30 books have the reader's parity, and texts say which; chance finds two thirds."""
    quick = ("--epochs", 6, "--batch-size", 16, "--lr", 0.01)
    recxfer("transfer", content_base, books, tmp_path / "run", "--method", method, *quick)
    (found,) = answered("evaluate", tmp_path / "run")["runs"]
    assert found["method"] == method
    assert found["metrics"]["HR@20"]["value"] > 0.9
