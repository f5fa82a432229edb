"""The contract of every backbone: what it reads, what it declares, what methods do with that."""

import inspect

import pytest
import torch
from torch import nn

from recxfer.models import BACKBONES
from recxfer.models.adapters.low_rank import add_low_rank
from recxfer.models.adapters.ownership import kernels, own_kernels, whole_state
from recxfer.models.adapters.patches import graft
from recxfer.models.backbones.contract import Backbone

L, V = 10, 30
MORE = {"nextitnet": [{"norm": "pre"}]}
"""Settings beside the default ones that change what a block is."""

SETTINGS = [(name, more) for name in BACKBONES.names for more in ({}, *MORE.get(name, ()))]
WAYS = [
    (name, more, causal)
    for name, more in SETTINGS
    for causal in ((True,) if BACKBONES.resolve(name).causal_only else (True, False))
]

every = pytest.mark.parametrize("name", BACKBONES.names)
each = pytest.mark.parametrize(("name", "more"), SETTINGS)
each_way = pytest.mark.parametrize(("name", "more", "causal"), WAYS)


def build(name, more=None, *, causal=True, width=16):
    torch.manual_seed(0)
    backbone_type = BACKBONES.resolve(name)
    config = backbone_type.config_type(width=width, max_length=L + 2, dropout=0.0, **(more or {}))
    backbone = backbone_type(config, V, causal=causal).eval()
    # The published initialisations are so small that a leak could hide below rounding.
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return backbone


def histories(rows=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, V + 1, (rows, L), generator=generator), torch.full((rows,), L)


def changed(item_BL, place):
    """The same histories with another item at one place."""
    other_BL = item_BL.clone()
    other_BL[:, place] = item_BL[:, place] % V + 1
    return other_BL


@every
def test_its_name_is_that_of_the_table_and_its_settings_survive_the_round_trip(name):
    backbone_type = BACKBONES.resolve(name)
    assert backbone_type.name == name
    config = backbone_type.config_type()
    assert backbone_type.config_type.model_validate(config.model_dump(mode="json")) == config


@each
def test_a_causal_one_does_not_see_the_future(name, more):
    backbone = build(name, more)
    item_BL, length_B = histories()
    before, after = backbone(item_BL, length_B), backbone(changed(item_BL, 6), length_B)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax(-1).gt(1e-4).any()


@each
def test_another_one_sees_the_future_or_says_that_it_never_does(name, more):
    if BACKBONES.resolve(name).causal_only:
        with pytest.raises(ValueError, match="causal only"):
            build(name, more, causal=False)
        return
    backbone = build(name, more, causal=False)
    item_BL, length_B = histories()
    before, after = backbone(item_BL, length_B), backbone(changed(item_BL, 6), length_B)
    assert (before[:, 5] - after[:, 5]).abs().max() > 1e-4


@each_way
def test_padding_changes_nothing(name, more, causal):
    backbone = build(name, more, causal=causal)
    item_BL, _ = histories(1)
    alone = backbone(item_BL[:, :5], torch.tensor([5]))
    # Whatever stands behind the end of a history is padding, even an item.
    padded_BL = torch.cat([item_BL[:, :5], torch.tensor([[0, 0, 7, 0]])], dim=1)
    torch.testing.assert_close(
        alone, backbone(padded_BL, torch.tensor([5]))[:, :5], atol=1e-5, rtol=1e-4
    )


@each_way
def test_an_empty_history_stays_finite(name, more, causal):
    backbone = build(name, more, causal=causal)
    hidden = backbone(torch.zeros(2, 4, dtype=torch.int64), torch.tensor([0, 0]))
    assert hidden.isfinite().all()


@each_way
def test_it_is_its_parts_one_after_the_other(name, more, causal):
    backbone = build(name, more, causal=causal)
    item_BL, length_B = histories()
    hidden_BLD = backbone.enter(backbone.embed(item_BL))
    for block in backbone.residual_blocks:
        hidden_BLD = block(hidden_BLD, torch.ones(item_BL.shape, dtype=torch.bool))
    assert hidden_BLD.shape == (*item_BL.shape, backbone.width)
    assert torch.equal(backbone.above(hidden_BLD), backbone(item_BL, length_B))


@each
def test_the_longest_history_is_known_before_anything_is_built_and_can_be_read(name, more):
    backbone_type = BACKBONES.resolve(name)
    longest = backbone_type.longest_history(backbone_type.config_type(max_length=L, **more))
    backbone = build(name, more)
    assert backbone.longest == backbone_type.longest_history(backbone.config)
    assert longest is None or longest <= backbone_type.config_type().max_length
    read = backbone.longest or 5 * L
    # A method may put two tokens beside the longest history.
    embedded_BLD = torch.randn(1, read + 2, backbone.width)
    assert backbone.encode(embedded_BLD, torch.tensor([read + 2])).isfinite().all()


@each
def test_every_parameter_of_a_block_is_a_kernel_a_bias_or_the_scale_of_a_norm(name, more):
    for block in build(name, more).residual_blocks:
        assert block.sublayers
        parameters = dict(block.named_parameters())
        matrices = {n for n, parameter in parameters.items() if parameter.dim() >= 2}
        assert set(block.kernels) == matrices
        assert len(block.kernels) == len(matrices)
        scales = {
            f"{norm}.{n}"
            for norm, module in zip(block.norms, block.norm_modules(), strict=True)
            for n, _ in module.named_parameters()
        } - set(block.biases)
        assert set(block.biases) | scales == parameters.keys() - matrices
        of_sublayers = {id(p) for s in block.sublayer_modules() for p in s.parameters()}
        of_norms = {id(p) for norm in block.norm_modules() for p in norm.parameters()}
        assert of_sublayers | of_norms == {id(p) for p in parameters.values()}
        assert not of_sublayers & of_norms


@each
def test_every_bias_is_declared(name, more):
    backbone = build(name, more)
    named = {n: p for n, p in backbone.named_parameters() if "bias" in n.rpartition(".")[2]}
    assert [id(p) for p in backbone.biases()] == [id(p) for p in named.values()]
    assert named


@each
def test_a_low_rank_update_reaches_every_kernel(name, more):
    backbone = build(name, more)
    item_BL, length_B = histories()
    before = backbone(item_BL, length_B)
    names = [weight.name for weight in backbone.kernels()]
    updates = add_low_rank(backbone, 2, 4.0)
    assert len(updates) == len(names) == sum(len(b.kernels) for b in backbone.residual_blocks)
    assert torch.equal(backbone(item_BL, length_B), before)
    for name, update in zip(names, updates, strict=True):
        with torch.no_grad():
            update.up.normal_()
        assert not torch.equal(backbone(item_BL, length_B), before), name
        with torch.no_grad():
            update.up.zero_()
    backbone(item_BL, length_B).square().sum().backward()
    assert all(update.up.grad is not None and update.up.grad.any() for update in updates)


@each
def test_every_kernel_can_be_owned(name, more):
    backbone, other = build(name, more), build(name, more)
    item_BL, length_B = histories()
    own_kernels(backbone, None, 1)
    assert torch.equal(backbone(item_BL, length_B), other(item_BL, length_B))
    assert [k.name for k in kernels(backbone)] == [weight.name for weight in other.kernels()]
    assert whole_state(backbone).keys() == other.state_dict().keys()
    for kernel in kernels(backbone):
        kernel.owned.prune(kernel.weight, kernel.weight.numel(), 1.0)
    # Nothing is kept: what a layer reads of its kernels is zero.
    assert not any(weight.tensor.any() for weight in backbone.kernels())
    assert not torch.equal(backbone(item_BL, length_B), other(item_BL, length_B))


@each
def test_every_bias_and_every_kernel_learns(name, more):
    backbone = build(name, more)
    item_BL, length_B = histories()
    backbone(item_BL, length_B).pow(3).sum().backward()
    for n, parameter in backbone.named_parameters():
        assert parameter.grad is not None, n
        assert parameter.grad.any(), n


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("per_block", [1, 2, None])
@pytest.mark.parametrize("insertion", ["serial", "parallel"])
@each
def test_patches_are_grafted_on_its_sublayers_and_learn(name, more, insertion, per_block, rows):
    backbone = build(name, more)
    item_BL, length_B = histories(rows)
    before = backbone(item_BL, length_B)
    patches = graft(backbone, 2, insertion, per_block)
    most = per_block or 99
    assert len(patches) == sum(min(most, len(b.sublayers)) for b in backbone.residual_blocks)
    torch.testing.assert_close(backbone(item_BL, length_B), before)
    with torch.no_grad():
        for patch in patches:
            patch.up.weight.normal_()
    # Autograd refuses a gradient for which an overwritten tensor is needed.
    backbone(item_BL, length_B).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for patch in patches for p in patch.parameters())


@each
def test_patches_have_the_gradients_of_what_they_compute(name, more):
    """A serial patch writes over a sublayer's output; the same, written out, does not."""

    class Plain(nn.Module):
        def __init__(self, patched):
            super().__init__()
            self.sublayer, self.patch = patched.sublayer, patched.patch

        def forward(self, hidden_BLD, real_BL):
            mapped_BLD = self.sublayer(hidden_BLD, real_BL)
            return mapped_BLD + self.patch(mapped_BLD)

    backbone = build(name, more).double()
    item_BL, length_B = histories()
    for patch in graft(backbone.double(), 2, "serial", None):
        for weight in patch.double().parameters():
            nn.init.normal_(weight, std=0.3)
    learned = list(backbone.parameters())
    quick = torch.autograd.grad(backbone(item_BL, length_B).pow(2).sum(), learned)
    for block in backbone.residual_blocks:
        for attribute in block.sublayers:
            setattr(block, attribute, Plain(getattr(block, attribute)))
    plain = torch.autograd.grad(backbone(item_BL, length_B).pow(2).sum(), learned)
    for one, other in zip(quick, plain, strict=True):
        torch.testing.assert_close(one, other)


@every
def test_special_items_are_distinct(name):
    backbone = build(name)
    specials = {0, backbone.mask_item, backbone.unknown_item}
    assert len(specials) == 3
    assert not specials & set(range(1, backbone.num_items + 1))
    assert max(specials) == backbone.item_table.num_embeddings - 1
    assert backbone.item_weight_VD.shape == (V, backbone.width)
    assert backbone.item_weight_VD.data_ptr() == backbone.item_table.weight[1].data_ptr()


@every
def test_padding_is_the_zero_vector_and_items_differ_from_the_start(name):
    backbone_type = BACKBONES.resolve(name)
    backbone = backbone_type(backbone_type.config_type(width=8, max_length=L), V, causal=True)
    assert not backbone.embed(torch.zeros(1, 1, dtype=torch.int64)).any()
    item_VD = backbone.item_weight_VD
    assert 0.01 < float(item_VD.detach().std()) < 0.03


@every
def test_it_is_a_concrete_backbone(name):
    backbone_type = BACKBONES.resolve(name)
    assert issubclass(backbone_type, Backbone)
    assert not inspect.isabstract(backbone_type)
