"""The content table: every item finds its vector, whatever else is asked for (invariant I8)."""

import copy
import dataclasses

import pytest
import torch

from recxfer.data.history import History
from recxfer.foundation.errors import ConfigError, DataError
from recxfer.foundation.names import MASK, UNKNOWN
from recxfer.models.backbones.sasrec import SASRec, SASRecConfig
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.modalities import Projection
from recxfer.models.content.table import ContentTable

BOTH, TEXT, IMAGE, NEITHER = (torch.arange(first, 18, 4) for first in (1, 2, 3, 4))
"""Items of the fixture `content` by kind."""

EVERY = torch.cat([torch.arange(18), torch.tensor([MASK, UNKNOWN])])
"""All indices, in the order of `ContentTable.weight`."""

MODALITIES = ("text", "image", "both", "mixture")


def expected(table, item):
    """The vector of one item, by asking each encoder for it alone."""
    vectors = [
        side(torch.tensor([item]))[0]
        for kind, side in table.sides.items()
        if item > 0 and table._ready()[kind][item]
    ]
    if vectors:
        return torch.stack(vectors).mean(0)
    if item == 0:
        return torch.zeros(table.width)
    return table.special_SD[0 if item == MASK else 1]


@pytest.mark.parametrize("image", ["cnn", "vit"])
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize(
    "rows",
    [
        torch.arange(-2, 18).flip(0),
        TEXT,
        IMAGE,
        BOTH,
        NEITHER,
        torch.tensor([0, 0]),
        torch.tensor([3, 3, 2, MASK, 3, 0, 5, UNKNOWN, 2]),
        torch.tensor([], dtype=torch.int64),
    ],
    ids=["all", "text", "image", "both", "neither", "padding", "repeated", "nothing"],
)
def test_every_row_gets_its_own_vector_in_any_mix(content, make_table, rows, modality, image):
    table = make_table(content, modality=modality, image=image, encode_batch=3).eval()
    found = table.vectors(rows)
    assert found.shape == (len(rows), 12)
    for row, vector in zip(rows.tolist(), found, strict=True):
        torch.testing.assert_close(vector, expected(table, row), atol=1e-5, rtol=1e-4)
    looked_up = table(rows.reshape(1, -1))
    torch.testing.assert_close(looked_up, found[None], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(table.weight[rows], found, atol=1e-5, rtol=1e-4)


def test_different_items_have_different_vectors(content, make_table):
    table = make_table(content).eval()
    readable = torch.cat([BOTH, TEXT, IMAGE])
    distance = torch.cdist(table.weight[readable], table.weight[readable])
    assert distance.fill_diagonal_(1).min() > 1e-3


@pytest.mark.parametrize("width", [8, 64])
def test_fresh_vectors_have_length_one(width):
    torch.manual_seed(0)
    vector_MD = Projection(32, width)(torch.randn(200, 32)).detach()
    assert float(vector_MD.square().sum(1).mean().sqrt()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("modality", MODALITIES)
def test_nothing_is_indexed_by_item(make_content, make_table, modality):
    table = make_table(make_content(1237), modality=modality)
    table.weight  # noqa: B018  # everything that is made on demand is there
    for name, tensor in table.state_dict().items():
        assert not {1236, 1237, 1238, 1239, 1240} & set(tensor.shape), name


@pytest.mark.parametrize("modality", MODALITIES)
def test_state_goes_to_another_domain_and_new_items_get_vectors(
    content, make_content, make_table, modality
):
    table = make_table(content, modality=modality).eval()
    other = make_content(23, seed=5, kinds=("text", "image"))
    twin = ContentTable(table.config, 12).eval()
    twin.attach(other)
    twin.weight  # noqa: B018  # vectors of the first weights must not survive
    twin.load_state_dict(table.state_dict())
    table.attach(other)
    assert table.num_items == 23
    torch.testing.assert_close(twin.weight, table.weight)
    readable = 2 if modality == "image" else 1
    assert not torch.equal(table.weight[readable], table.weight[readable + 2])


def test_a_mixture_is_the_same_in_every_dataset(make_content, make_table):
    content = make_content(60, kinds=("both",))
    table = make_table(content, modality="mixture").eval()
    brings = {kind: rows[1:61] for kind, rows in table._ready().items()}
    assert torch.equal(brings["text"], ~brings["image"])
    assert 15 < brings["text"].sum() < 45
    row_V1 = torch.cat([content.image_row_V1[:1], content.image_row_V1[1:].flip(0)])
    table.attach(dataclasses.replace(content, text_V=content.text_V[::-1], image_row_V1=row_V1))
    assert torch.equal(table._ready()["text"][1:61], brings["text"].flip(0))


def test_what_follows_a_text_is_not_read(content, make_table):
    for pooling in ("attention", "mean"):
        encoder = make_table(content, text_pooling=pooling).sides["text"].encoder.eval()
        token_UT = torch.randint(1, 500, (3, 4))
        length_U = torch.tensor([4, 2, 1])
        alone = encoder(token_UT, length_U)
        for behind in (torch.zeros(3, 2, dtype=torch.int64), torch.randint(1, 500, (3, 7))):
            among = encoder(torch.cat([token_UT, behind], 1), length_U)
            torch.testing.assert_close(among, alone, atol=1e-5, rtol=1e-4)
        changed_UT = token_UT.clone()
        changed_UT[1, 2:] = 7
        torch.testing.assert_close(encoder(changed_UT, length_U), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("image", ["cnn", "vit"])
@pytest.mark.parametrize("training", [True, False])
def test_mini_batches_change_no_vector(content, make_table, image, training):
    whole, parts = (
        make_table(content, image=image, encode_batch=size).train(training) for size in (512, 2)
    )
    rows = torch.randperm(20)
    torch.testing.assert_close(whole.vectors(rows), parts.vectors(rows), atol=1e-5, rtol=1e-4)


def gradients(table, rows):
    torch.manual_seed(1)
    vector_BLD = table(rows)
    (vector_BLD * torch.arange(vector_BLD.numel()).view_as(vector_BLD).cos()).sum().backward()
    return {name: p.grad for name, p in table.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("image", ["cnn", "vit"])
@pytest.mark.parametrize("layers", ["all", 1])
def test_checkpointing_changes_no_gradient(content, make_table, image, layers):
    rows = torch.tensor([[1, 2, 3, 5], [6, 7, 1, 0], [4, MASK, UNKNOWN, 9]])
    settings = {
        "image": image,
        "encode_batch": 2,
        "text_layers": layers,
        "image_layers": layers,
        "encoder_dropout": 0.3,
    }
    plain, again = (
        gradients(make_table(content, gradient_checkpointing=on, **settings).train(), rows)
        for on in (False, True)
    )
    assert plain.keys() == again.keys()
    for name in plain:
        torch.testing.assert_close(again[name], plain[name])


def test_every_weight_learns(content, make_table):
    for image in ("cnn", "vit"):
        table = make_table(content, image=image)
        found = gradients(table, EVERY)
        assert found.keys() == dict(table.named_parameters()).keys()
        for name, gradient in found.items():
            assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("image", ["cnn", "vit"])
def test_the_lower_layers_are_frozen_and_no_others(content, make_table, image):
    table = make_table(content, image=image, text_layers=1, image_layers=1, encoder_dropout=0.3)
    before = copy.deepcopy(table.state_dict())
    table.train()
    text, picture = table.sides["text"].encoder, table.sides["image"].encoder
    highest = picture.stages[-1] if image == "cnn" else picture.blocks[-1]
    free = [*text.blocks[-1].parameters(), *text.norm.parameters(), *text.pooling.parameters()]
    free += [*highest.parameters(), *picture.norm.parameters()]
    assert {id(p) for p in table.encoder_parameters()} == {id(p) for p in free}
    assert text.blocks[-1].training
    assert not text.blocks[0].dropout.training
    assert not text.dropout.training
    optimiser = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.5)
    gradients(table, EVERY)
    optimiser.step()
    free_too = {id(p) for p in [*free, *table.projection_parameters()]}
    for name, parameter in table.named_parameters():
        changed = not torch.equal(parameter, before[name])
        assert changed is (id(parameter) in free_too), name


def test_a_frozen_encoder_is_asked_once_and_gets_no_gradient(content, make_table):
    table = make_table(content, text_layers=0, image_layers=0, encoder_dropout=0.5).train()
    calls = []
    for side in table.sides.values():
        side.encoder.register_forward_hook(lambda *_: calls.append(1))
    assert table.encoder_parameters() == []
    first = gradients(table, EVERY)
    assert len(calls) == 2
    assert not any(".encoder." in name for name in first)
    table.vectors(torch.arange(20))
    assert len(calls) == 2
    open_table = make_table(content).eval()
    torch.testing.assert_close(table.eval().weight, open_table.weight)


def test_features_are_asked_of_a_cache_by_weights_and_content(content, make_content, make_table):
    kept = {}

    def cache(key, compute):
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    settings = {"text_layers": 0, "image_layers": 0, "cache": cache}
    first = make_table(content, **settings).weight
    assert {feature.shape for feature in kept.values()} == {(17, 8), (17, 16)}
    assert all(not feature.requires_grad for feature in kept.values())
    assert torch.equal(make_table(content, **settings).weight, first)
    assert len(kept) == 2
    changed = make_table(content, **settings)
    with torch.no_grad():
        changed.sides["text"].encoder.norm.bias += 1
    assert not torch.equal(changed.weight, first)
    assert len(kept) == 3
    make_table(make_content(17, seed=3, fingerprint="g" * 64), **settings).weight  # noqa: B018
    assert len(kept) == 5
    assert not any(key.startswith("text5-") for key in kept)
    make_table(content, max_tokens=5, **settings).weight  # noqa: B018
    assert any(key.startswith("text5-") for key in kept)


def test_weight_is_made_once_and_again_after_a_step(content, make_table):
    table = make_table(content, encoder_dropout=0.5).train()
    with torch.inference_mode():
        training = table.weight
    assert table.training
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        first = table.eval().weight
    assert not first.requires_grad
    assert table.weight is first
    torch.testing.assert_close(training, first)
    torch.testing.assert_close(table.vectors(EVERY), first)
    # Steps of fused optimisers are not seen on the weights; that training began is.
    for fused in (True, False):
        optimiser = torch.optim.AdamW(table.train().parameters(), lr=0.1, fused=fused)
        before, features = table.weight, table.features("text")
        gradients(table, EVERY)
        optimiser.step()
        assert not torch.equal(table.features("text"), features)
        assert not torch.equal(table.weight, before)
        assert not torch.equal(table.eval().weight, before)


@pytest.mark.parametrize("frozen", [True, False])
def test_training_goes_on_after_scoring_in_inference_mode(content, make_table, frozen):
    layers = 0 if frozen else "all"
    table = make_table(content, text_layers=layers, image_layers=layers)
    with torch.inference_mode():
        table.weight.sum()
    assert gradients(table, EVERY)


def test_a_backbone_reads_a_batch_as_it_reads_the_table(content, make_table):
    table = make_table(content).eval()
    torch.manual_seed(0)
    backbone = SASRec(SASRecConfig(width=12, max_length=8, dropout=0.0), 17, causal=True).eval()
    item_BL = torch.tensor([[1, 2, 9, 1], [4, MASK, 0, 0]])
    history = History(item_BL, torch.tensor([4, 2]))
    batch = table.of(item_BL, torch.tensor([13]))
    assert batch.item_U.tolist() == [1, 2, 4, 9, 13]
    torch.testing.assert_close(batch.vector_UD, table.weight[batch.item_U])
    assert batch.index(item_BL).tolist() == [[0, 1, 3, 0], [2, -3, -1, -1]]
    whole = backbone.with_table(table)
    assert whole.num_items == 17
    known = whole(history)
    for items in (batch, table.kept):
        torch.testing.assert_close(backbone(history, items), known)
    torch.testing.assert_close(whole.item_weight_VD, table.weight[1:18])


def test_new_items_are_unknown_ones_until_content_describes_them(content, make_table, make_content):
    table = make_table(content).eval()
    before = table.weight_VD.clone()
    table.grow(3)
    assert table.num_items == 20
    assert torch.equal(table.weight_VD[:17], before)
    assert torch.equal(table.weight_VD[17:], table.special_SD[1].expand(3, -1))
    assert torch.equal(table.weight[MASK], table.special_SD[0])
    assert torch.equal(table(torch.tensor([MASK, UNKNOWN])), table.special_SD)
    table.attach(make_content(20, kinds=("both",)))
    assert torch.unique(table.weight_VD, dim=0).shape[0] == 20


def test_a_batch_knows_no_other_items(content, make_table):
    batch = make_table(content).of(torch.tensor([1, 2]))
    for item in (3, 17, 25):
        with pytest.raises(RuntimeError, match="not in this batch"):
            batch(torch.tensor([1, item]))


@pytest.mark.parametrize("image", ["cnn", "vit"])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_half_precision_trains(content, make_table, image, checkpointing):
    rows = torch.arange(20)
    table = make_table(content, image=image, gradient_checkpointing=checkpointing, encode_batch=4)
    full = table(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = table(rows)
        found = gradients(table, rows)
    assert half.dtype == torch.float32
    # Weights of this size multiply the rounding; a vector in the wrong place would be far off.
    assert torch.cosine_similarity(half[1:], full[1:]).min() > 0.98
    assert found.keys() == dict(table.named_parameters()).keys()
    assert all(gradient.isfinite().all() for gradient in found.values())


def test_a_copy_shares_the_pixels(content, make_table):
    table = make_table(content)
    twin = copy.deepcopy(table)
    torch.testing.assert_close(twin.weight, table.weight)
    assert twin.sides["image"]._pictures._pixels is content.pixels


def test_only_the_pictures_at_hand_are_read(content, make_table):
    class Counting:
        def __init__(self, pixels):
            self.pixels, self.rows = pixels, []

        def __getitem__(self, rows):
            self.rows.append(rows.tolist())
            return self.pixels[rows]

    counting = Counting(content.pixels)
    table = make_table(dataclasses.replace(content, pixels=counting))
    table(torch.tensor([[3, 1, 3], [2, 1, 0]]))
    assert counting.rows == [[0, 1]]


def test_auto_is_what_the_items_have(make_content):
    for kinds, modality in (
        (("text",), "text"),
        (("image", "neither"), "image"),
        (("text", "image"), "both"),
    ):
        assert ContentConfig().resolved(make_content(4, kinds=kinds)).modality == modality
    with pytest.raises(DataError, match="no item of this dataset has a text or a picture"):
        ContentConfig().resolved(make_content(4, kinds=("neither",)))


def test_a_domain_without_what_is_read_is_refused(make_content, make_table):
    table = make_table(modality="text")
    with pytest.raises(DataError, match="has a text, which is what this model reads"):
        table.attach(make_content(4, kinds=("image",)))
    with pytest.raises(RuntimeError, match="no content is attached"):
        table.vectors(torch.tensor([1]))


def test_a_domain_with_half_of_what_is_read_is_taken(make_content, make_table):
    table = make_table(make_content(5, kinds=("text",)))
    assert table.weight.shape == (8, 12)
    assert gradients(table, torch.arange(8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text_layers": -1}, "negative"),
        ({"text_width": 10, "text_heads": 4}, "does not divide text_width"),
        ({"image": "vit", "image_width": 10, "image_heads": 4}, "does not divide image_width"),
        ({"image": "vit", "image_side": 60, "patch": 8}, "does not divide image_side"),
        ({"image_width": 40}, "multiple of 64"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ContentConfig(**settings)


def test_more_layers_than_there_are_cannot_train(make_table):
    with pytest.raises(ConfigError, match="3 layers are to train, and SmallText has 2"):
        make_table(text_layers=3)
