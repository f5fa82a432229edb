"""Users ranked per second, beside a plain loop over batches that are padded to the full length.

Catalogue and histories have the shape of Amazon Video Games (23,464 items, median length 6); the
model is an untrained sasrec, 64 wide, 2 blocks. Rounds alternate and the best of each counts, so
that the ratios hold on a machine with other work to do. Usage: python evaluate_speed.py [THREADS]
"""

import sys
import time
from collections.abc import Callable

import torch

from recxfer.data.history import History
from recxfer.data.rows import Batch, Rows, Seen
from recxfer.evaluation.ranking import rank
from recxfer.foundation.device import keep_freed_memory
from recxfer.foundation.rng import Rng
from recxfer.methods.contract import VectorLearner
from recxfer.methods.objectives.next_item import NextItem, NextItemConfig
from recxfer.models.backbones.sasrec import SASRec, SASRecConfig
from recxfer.models.heads import NextItemModel

CPU = torch.device("cpu")
USERS, ITEMS, LENGTH, ROUNDS = 8_000, 23_464, 50, 3


def histories() -> Rows:
    """Log-normal lengths: median 6, a hundredth longer than 50."""
    generator = torch.Generator().manual_seed(0)
    spread_R = torch.randn(USERS, generator=generator)
    length_R = (6 * (0.9 * spread_R).exp()).long().clamp(2, LENGTH)
    end_R = length_R.cumsum(0)
    item_E = torch.randint(1, ITEMS + 1, (int(end_R[-1]),), generator=generator).int()
    return Rows(
        columns={"item": item_E},
        start_R=end_R - length_R,
        length_R=length_R,
        user_R=torch.arange(USERS),
        target_R=torch.randint(ITEMS, (USERS,), generator=generator),
        seen=Seen(item_E, end_R - length_R, end_R),
    )


@torch.inference_mode()
def plain_loop(
    learner: VectorLearner[NextItemModel], model: NextItemModel, rows: Rows
) -> torch.Tensor:
    """Batches of 256 in the order of users, all padded to 50; scores sorted for a top 20."""
    ranks = []
    seen = rows.seen
    assert seen is not None
    weight_VD = learner.output(model).weight_VD
    for row_B in torch.arange(len(rows)).split(256):
        batch = rows.batch(row_B)
        assert batch.target_B is not None
        short = LENGTH - batch.history.item_BL.shape[1]
        item_BL = torch.nn.functional.pad(batch.history.item_BL, (0, short))
        history = History(item_BL, batch.history.length_B)
        user_BD = learner.represent(model, Batch(history, row_B))
        score_BV = user_BD @ weight_VD.T
        best_B1 = score_BV.gather(1, batch.target_B[:, None])
        for place, row in enumerate(row_B.tolist()):
            met = seen.item_E[seen.start_R[row] : seen.end_R[row]].long() - 1
            score_BV[place, met] = -torch.inf
        score_BV.scatter_(1, batch.target_B[:, None], best_B1)
        score_BV.topk(20)
        ranks.append((score_BV >= best_B1).sum(1))
    return torch.cat(ranks)


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    keep_freed_memory()
    rows = histories()
    torch.manual_seed(0)
    backbone = SASRec(SASRecConfig(width=64, max_length=LENGTH), ITEMS, causal=True)
    built = NextItem(NextItemConfig()).build(backbone, Rng(0))
    learner, model = built.learner, built.model.eval()
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "plain loop, with top 20": lambda: plain_loop(learner, model, rows),
        "rank, with top 20": lambda: rank(learner, model, rows, device=CPU, top=20).rank_R,
        "rank alone": lambda: rank(learner, model, rows, device=CPU).rank_R,
        "rank among 1+99 sampled": lambda: (
            rank(learner, model, rows, device=CPU, candidates=99).rank_R
        ),
    }
    best: dict[str, float] = {}
    ranks = {}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            ranks[name] = way()
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - started)
    plain, *others = ways
    # Padding changes the last bits of a vector, and with them a rank here and there.
    agree = (ranks[plain] - ranks[others[1]]).abs().le(2).double().mean()
    print(f"{torch.get_num_threads()} threads; ranks within 2 of the plain loop's: {agree:.2%}")
    for name, seconds in best.items():
        print(f"{name:26}{USERS / seconds:>9,.0f} users/s{best[plain] / seconds:>7.2f}x")


if __name__ == "__main__":
    main()
