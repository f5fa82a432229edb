"""PeterRec's invariants I2 and I3: step 0 is the pretrained network, and the patch count."""

import copy

import pytest
import torch

from recxfer.data.history import History
from recxfer.models import BACKBONES
from recxfer.models.adapters.patches import Bottleneck, PatchedSublayer, graft
from recxfer.models.backbones.nextitnet import NextItNetConfig
from recxfer.models.backbones.sasrec import SASRecConfig

BOTH = [
    ("sasrec", SASRecConfig(width=16, max_length=8, dropout=0.0)),
    ("nextitnet", NextItNetConfig(width=16, max_length=8, dilations=(1, 2, 1), dropout=0.0)),
]


@pytest.mark.parametrize("insertion", ["serial", "parallel"])
@pytest.mark.parametrize("per_block", [1, 2])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("name", "config"), BOTH)
def test_a_fresh_patch_changes_no_bit(name, config, causal, per_block, insertion):
    torch.manual_seed(0)
    backbone = BACKBONES.resolve(name)(config, 20, causal=causal).eval()
    history = History(torch.randint(1, 21, (4, 8)), torch.tensor([8, 3, 1, 5]))
    before = backbone(history)
    patches = graft(backbone, 2, insertion, per_block)
    assert len(patches) == per_block * len(backbone.blocks)
    assert torch.equal(before, backbone(history))


@pytest.mark.parametrize(("name", "config"), BOTH)
def test_removing_the_patches_restores_the_network(name, config):
    torch.manual_seed(0)
    backbone = BACKBONES.resolve(name)(config, 20, causal=True).eval()
    history = History(torch.randint(1, 21, (4, 8)), torch.tensor([8, 3, 1, 5]))
    before = backbone(history)
    patched = copy.deepcopy(backbone)
    for patch in graft(patched, 4, "serial", 2):
        torch.nn.init.normal_(patch.up.weight)
    assert not torch.equal(before, patched(history))
    for block in patched.residual_blocks:
        for place in ("sublayer1", "sublayer2"):
            patched_sublayer = getattr(block, place)
            assert isinstance(patched_sublayer, PatchedSublayer)
            setattr(block, place, patched_sublayer.sublayer)
    assert torch.equal(before, patched(history))


def test_patch_sizes_are_those_of_the_paper():
    """Width 256 and 8 blocks: 16 patches of width 32 hold 262,144 weights, 8.3 % of the kernels."""
    config = NextItNetConfig(width=256, dilations=(1, 4) * 4, max_length=8)
    backbone = BACKBONES.resolve("nextitnet")(config, 5, causal=True)
    kernels = sum(p.numel() for p in backbone.blocks.parameters() if p.ndim == 4)
    assert kernels == 3_145_728
    patches = graft(backbone, 256 // 8, "serial", 2)
    weights = sum(p.numel() for patch in patches for p in patch.parameters() if p.ndim == 2)
    biases = sum(p.numel() for patch in patches for p in patch.parameters() if p.ndim == 1)
    assert weights == 262_144
    assert biases == 16 * (32 + 256)
    assert weights / kernels == pytest.approx(0.0833, abs=1e-4)


@pytest.mark.parametrize("length", [4, 43, 64])
@pytest.mark.parametrize("learn_input", [True, False])
def test_a_patch_behind_a_sublayer_has_the_gradients_of_what_it_computes(learn_input, length):
    torch.manual_seed(0)
    patch = Bottleneck(6, 2).double()
    for weight in patch.parameters():
        torch.nn.init.normal_(weight)
    x_BLD = torch.randn(3, length, 6, dtype=torch.float64, requires_grad=learn_input)
    learned = [*patch.parameters(), *([x_BLD] if learn_input else [])]
    plain_BLD, quick_BLD = x_BLD + patch(x_BLD), patch.behind(x_BLD.clone())
    assert torch.allclose(plain_BLD, quick_BLD)
    weight_BLD = torch.randn_like(plain_BLD)
    asked = (torch.autograd.grad((y * weight_BLD).sum(), learned) for y in (plain_BLD, quick_BLD))
    for plain, quick in zip(*asked, strict=True):
        assert torch.allclose(plain, quick)


@pytest.mark.parametrize("name", ["sasrec", "nextitnet"])
def test_training_patches_keeps_less_for_the_way_back_than_fine_tuning(name):
    """The patches' memory claim, counted in bytes instead of measured."""
    config = dict(BOTH)[name].model_copy(update={"width": 64})
    history = History(torch.randint(1, 21, (32, 8)), torch.full((32,), 8))
    kept = {}
    for patched in (False, True):
        backbone = BACKBONES.resolve(name)(config, 20, causal=True)
        if patched:
            backbone.requires_grad_(False)
            graft(backbone, None, "serial", 2)
        storages = {}

        def keep(tensor, storages=storages):
            if not isinstance(tensor, torch.nn.Parameter):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            hidden_BLD = backbone(history)
        kept[patched] = sum(storages.values())
        hidden_BLD.sum().backward()
    assert kept[True] < {"sasrec": 0.70, "nextitnet": 0.58}[name] * kept[False]
