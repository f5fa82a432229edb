"""Objective `clue` in two processes: the loss and the gradient are those of one, to rounding."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import spawn

from recxfer.data.rows import Rows
from recxfer.data.views import halves
from recxfer.foundation import tensors
from recxfer.foundation.distributed import gather
from recxfer.foundation.rng import Rng
from recxfer.methods.objectives.clue import Clue, ClueConfig
from recxfer.models import BACKBONES
from recxfer.models.backbones.sasrec import SASRecConfig

SHARES = [(0, 2, 3, 7, 9, 10), (1, 4, 5, 6, 8, 11, 12, 13)]
"""Rows of each process: unequal in number, and rows 2 and 5 are of one person."""

SETTINGS = {
    "simsiam": {},
    "simsiam in chunks": {"chunk": 3},
    "byol": {"loss": "byol"},
    "nt-xent": {"loss": "nt-xent"},
    "barlow-twins": {"loss": "barlow-twins", "readout": "mean"},
}


def learn(name, rows_of_process):
    """Loss and parameter gradients of some rows; both views are given, so that rows decide them."""
    generator = torch.Generator().manual_seed(3)
    length_R = torch.randint(2, 12, (14,), generator=generator)
    user_R = torch.arange(14)
    user_R[5] = 2
    rows = Rows(
        columns={"item": torch.randint(1, 21, (int(length_R.sum()),), generator=generator).int()},
        start_R=length_R.cumsum(0) - length_R,
        length_R=length_R,
        user_R=user_R,
    )
    objective = Clue(ClueConfig(views="crop", **SETTINGS[name]))
    torch.manual_seed(0)
    config = SASRecConfig(width=8, max_length=20, dropout=0.0)
    backbone = BACKBONES.resolve("sasrec")(config, 20, causal=True)
    built = objective.build(backbone, Rng(0))
    learner, model = built.learner, built.model.train()
    learner.observe(model, rows)
    batch = rows.batch(torch.tensor(rows_of_process))
    given = iter(halves(batch.history))
    learner._views.draw = lambda history, generator: next(given)
    loss = learner.loss(model, batch, Rng(0))
    loss.backward()
    gradients = {f"{name}/{n}": p.grad for n, p in model.named_parameters()}
    return {f"{name}/loss": loss.detach()} | gradients


def serve(rank, names, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {}
    for name in names:
        for key, value in learn(name, SHARES[rank]).items():
            dist.all_reduce(value)
            found[key] = value / 2
    x = torch.full((rank + 1, 2), float(rank), requires_grad=True)
    everything = gather(x)
    (everything * (rank + 1) * torch.arange(3.0)[:, None]).sum().backward()
    few = gather(torch.arange(rank))
    found |= {"everything": everything.detach(), "gradient": x.grad, "few": few}
    tensors.save(Path(folder) / str(rank), found, {})
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    spawn(serve, (list(SETTINGS), str(folder)), nprocs=2)
    return [tensors.load(folder / str(rank))[0] for rank in range(2)]


@pytest.mark.parametrize("name", SETTINGS)
def test_two_processes_learn_as_one(name, answers):
    """In the order of processes, since a loss does not depend on the order of rows."""
    whole, part = learn(name, [*SHARES[0], *SHARES[1]]), learn(name, SHARES[0])
    loss = f"{name}/loss"
    assert abs(float(part[loss] - whole[loss])) > 1e-3, "what another process has matters"
    for found in answers:
        for key, value in whole.items():
            torch.testing.assert_close(found[key], value, atol=2e-5, rtol=1e-3)


def test_rows_of_unequal_number_come_in_the_order_of_ranks(answers):
    for rank, found in enumerate(answers):
        assert found["everything"].tolist() == [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
        # The losses of both processes weigh row i by i and by 2 i.
        expected = [[0.0, 0.0]] if rank == 0 else [[3.0, 3.0], [6.0, 6.0]]
        assert found["gradient"].tolist() == expected
        assert found["few"].tolist() == [0], "a process may have no row"


def test_alone_rows_are_as_they_were():
    x = torch.randn(3, 2)
    assert gather(x) is x
