"""Two copies of each block (invariant I7): whose values, and whose gradients, come out."""

import pytest
import torch

from recxfer.data.history import History
from recxfer.models import BACKBONES
from recxfer.models.adapters.block_copies import BlockCopies, stages

SETTINGS = {"nextitnet": {"dilations": (1, 4, 1)}, "sasrec": {"num_blocks": 3}}
WAYS = ("by_path", "straight_through", "blended")
N, L, D = 3, 9, 8


def build(name, *, causal=True, dropout=0.0, apart=True):
    """A backbone and its twins, and a whole backbone of the copies' weights."""
    torch.manual_seed(0)
    backbone_type = BACKBONES.resolve(name)
    config = backbone_type.config_type(width=D, max_length=20, dropout=dropout, **SETTINGS[name])
    backbone = backbone_type(config, 30, causal=causal)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    twins = BlockCopies(backbone, range(N))
    copied = backbone_type(config, 30, causal=causal)
    copied.load_state_dict(backbone.state_dict())
    if apart:
        for parameter in twins.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    for number, stage in enumerate(stages(copied)):
        stage.load_state_dict(twins.copies[str(number)].state_dict())
    return backbone, twins, copied


def rows(count=7):
    generator = torch.Generator().manual_seed(1)
    length = torch.randint(1, L + 1, (count,), generator=generator)
    length[0], length[-1] = L, 0
    item = torch.randint(1, 31, (count, L), generator=generator)
    return item * (torch.arange(L) < length[:, None]), length


def run(way, backbone, twins, item, length, gate):
    taken = gate > 0.5 if way == "by_path" else gate
    return getattr(twins, way)(backbone, backbone.embed(History(item, length)), length, taken)


def row_by_row(backbone, copied, item, length, gate):
    """Each row on its own, by the definition."""
    found = []
    for row in range(len(length)):
        real = (torch.arange(L) < length[row])[None]
        hidden = backbone.enter(backbone.embed(History(item[row : row + 1], length[row : row + 1])))
        pairs = zip(stages(backbone), stages(copied), strict=True)
        for number, (pretrained, copy) in enumerate(pairs):
            hidden = (copy if gate[row, number] > 0.5 else pretrained)(hidden, real)
        found.append(hidden)
    return torch.cat(found)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("training", [False, True])
def test_gates_that_are_all_alike_are_the_backbone_or_its_copy_to_the_bit(name, way, training):
    backbone, twins, copied = build(name, dropout=0.3)
    item, length = rows()
    for gate, known in ((0.0, backbone), (1.0, copied)):
        for module in (backbone, twins, copied):
            module.train(training)
        torch.manual_seed(5)
        whole = known(History(item, length))
        torch.manual_seed(5)
        found = run(way, backbone, twins, item, length, torch.full((7, N), gate))
        assert torch.equal(found, whole)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("causal", [True, False])
def test_every_row_goes_its_own_way(name, causal):
    backbone, twins, copied = build(name, causal=causal)
    item, length = rows()
    gate = torch.tensor(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 1], [0, 1, 1]]
    )
    real = torch.arange(L) < length[:, None]
    known = row_by_row(backbone, copied, item, length, gate)[real]
    for way in WAYS:
        found = run(way, backbone, twins, item, length, gate.float())[real]
        assert torch.allclose(found, known, atol=1e-5), way


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("training", [False, True])
def test_before_the_first_step_no_gate_matters(name, way, training):
    """Even with dropout: the two blocks of a row draw the same."""
    backbone, twins, _ = build(name, dropout=0.3, apart=False)
    backbone.train(training)
    twins.train(training)
    item, length = rows()
    found = []
    for gate in (torch.zeros(7, N), torch.ones(7, N), torch.full((7, N), 0.3)):
        if way == "blended" or bool((gate != 0.3).all()):
            torch.manual_seed(5)
            found.append(run(way, backbone, twins, item, length, gate))
    assert all(torch.equal(one, found[0]) for one in found[1:])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_gradient_of_gates_is_that_of_both_blocks_run_for_all(name):
    """As torch finds it where a (copy) + (1 - a) (pretrained) is written out."""
    backbone, twins, copied = build(name)
    backbone, twins, copied = backbone.double(), twins.double(), copied.double()
    backbone.requires_grad_(False)
    item, length = rows()
    gate = torch.tensor(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 1], [0, 1, 1]]
    )
    real = torch.arange(L) < length[:, None]
    weight = torch.randn(7, L, D, generator=torch.Generator().manual_seed(2)).double()
    weight *= real[..., None]

    gate_1 = gate.double().requires_grad_()
    hidden = backbone.enter(backbone.embed(History(item, length)))
    for number, (pretrained, copy) in enumerate(zip(stages(backbone), stages(copied), strict=True)):
        a = gate_1[:, number, None, None]
        hidden = a * copy(hidden, real) + (1 - a) * pretrained(hidden, real)
    (hidden * weight).sum().backward()

    for way in ("straight_through", "blended"):
        twins.zero_grad()
        gate_2 = gate.double().requires_grad_()
        (run(way, backbone, twins, item, length, gate_2) * weight).sum().backward()
        assert torch.allclose(gate_2.grad, gate_1.grad), way
        for number, stage in enumerate(stages(copied)):
            pairs = zip(twins.copies[str(number)].parameters(), stage.parameters(), strict=True)
            for mine, theirs in pairs:
                assert torch.allclose(mine.grad, theirs.grad), way


def test_rows_without_a_copy_keep_no_graph_and_a_copy_nobody_takes_no_gradient():
    backbone, twins, _ = build("nextitnet")
    backbone.requires_grad_(False)
    item, length = rows()
    gate = torch.zeros(7, N)
    assert not run("by_path", backbone, twins, item, length, gate).requires_grad
    gate[2, 1] = 1
    run("by_path", backbone, twins, item, length, gate).sum().backward()
    moved = {name.split(".")[1] for name, p in twins.named_parameters() if p.grad is not None}
    assert moved == {"1"}


def test_only_the_chosen_path_is_run(monkeypatch):
    backbone, twins, _ = build("nextitnet")
    item, length = rows()
    gate = torch.tensor(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 1], [0, 1, 1]]
    )
    seen = []
    for module in (*backbone.residual_blocks, *(twins.copies[str(n)].block for n in range(N))):
        module.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[0]))
    with torch.no_grad():
        run("by_path", backbone, twins, item, length, gate.float())
    assert sum(seen) == 7 * N
