"""What keeping freed memory (`keep_freed_memory`) gains: pretraining steps with and without it.

One process per setting and round, in turn. Usage: python allocator_speed.py [THREADS]
"""

import statistics
import subprocess
import sys
import time

import torch

from recxfer.data.history import History
from recxfer.foundation.device import autocast, choose_precision, keep_freed_memory
from recxfer.models.backbones.sasrec import SASRec, SASRecConfig
from recxfer.models.losses.items import softmax_loss

ITEMS, ROWS, LENGTH, STEPS, ROUNDS = 4_000, 32, 200, 15, 3


def step_seconds(threads: int, *, keep: bool) -> float:
    """Seconds of the median step of a sasrec, 64 wide, with a softmax over all items."""
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory()
    device = torch.device("cpu")
    model = SASRec(SASRecConfig(), ITEMS, causal=True)
    item_BL = torch.randint(1, ITEMS + 1, (ROWS, LENGTH))
    history = History(item_BL, torch.full((ROWS,), LENGTH))
    seconds = []
    for _ in range(STEPS):
        started = time.perf_counter()
        with autocast(device, choose_precision("auto", device)):
            hidden_PD = model(history).flatten(0, 1)
            loss = softmax_loss(hidden_PD, model.item_weight_VD, item_BL.flatten() - 1)
        model.zero_grad(set_to_none=True)
        loss.backward()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    threads = sys.argv[1] if len(sys.argv) > 1 else str(torch.get_num_threads())
    ratios = []
    for _ in range(ROUNDS):
        kept, returned = (
            float(
                subprocess.run(
                    [sys.executable, __file__, threads, keep],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for keep in ("keep", "return")
        )
        ratios.append(returned / kept)
    print(
        f"a step without keep_freed_memory costs {statistics.median(ratios):.2f}x "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(step_seconds(int(sys.argv[1]), keep=sys.argv[2] == "keep"))
    else:
        main()
