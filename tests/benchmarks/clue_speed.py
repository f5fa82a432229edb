"""What views cost of a `clue` step, its rate beside next-item pretraining, and memory by chunks.

Histories as long as MovieLens-1M's, cut to 50 events, on 20,000 items. One process per
configuration and round, in turn, so that the ratios hold on a machine with other work to do. Memory
is the process's peak above what it held before the first step.
Usage: python clue_speed.py [THREADS] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from recxfer.data.batches import training_batches
from recxfer.data.rows import Rows
from recxfer.foundation.device import autocast, choose_precision, keep_freed_memory
from recxfer.foundation.memory import peak_memory_mb
from recxfer.foundation.rng import Rng
from recxfer.methods import OBJECTIVES
from recxfer.methods.contract import Phase
from recxfer.methods.objectives.clue import ClueLearner
from recxfer.models import BACKBONES
from recxfer.training.optim import OptimConfig, build_optimiser

ITEMS, LENGTH, STEPS, ROUNDS = 20_000, 50, 8, 3
EXPLICIT = ("crop", "mask", "reorder", "substitute", "insert")
RATES: dict[str, tuple[str, dict[str, Any], int]] = {
    "next-item": ("next-item", {}, 256),
    "next-item, sampled": ("next-item", {"loss": "sampled-softmax"}, 256),
    "clue, dropout": ("clue", {}, 256),
    **{f"clue, {view}": ("clue", {"views": view}, 256) for view in EXPLICIT},
    "clue, one of all": ("clue", {"views": EXPLICIT}, 256),
    "clue, all at once": ("clue", {"views": EXPLICIT, "mix": "compose"}, 256),
    "clue, nt-xent": ("clue", {"views": "crop", "loss": "nt-xent"}, 256),
    "clue, chunks of 64": ("clue", {"views": "crop", "chunk": 64}, 256),
}
MEMORY = {
    f"nt-xent, {size:,} people, {f'chunks of {chunk}' if chunk else 'in one piece'}": (
        "clue",
        {"views": "crop", "loss": "nt-xent", "chunk": chunk},
        size,
    )
    for chunk in (None, 256)
    for size in (512, 2048, 8192)
}
CASES = RATES | MEMORY


def measure(case: str, threads: int) -> dict[str, float]:
    """Seconds of the median step, seconds of its views alone, and MB that stepping needs."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.manual_seed(0)
    name, settings, batch_size = CASES[case]
    people = max(2 * batch_size, 2048)
    length_R = torch.empty(people).exponential_(1 / 60).add_(10).long().clamp_(max=LENGTH + 1)
    rows = Rows(
        columns={"item": torch.randint(1, ITEMS + 1, (int(length_R.sum()),)).int()},
        start_R=length_R.cumsum(0) - length_R,
        length_R=length_R,
        user_R=torch.arange(people),
    )
    objective_type, backbone_type = OBJECTIVES.resolve(name), BACKBONES.resolve("sasrec")
    objective = objective_type(objective_type.config_type(**settings))
    config = backbone_type.config_type(width=64, max_length=LENGTH)
    built = objective.build(backbone_type(config, ITEMS, causal=True), Rng(0))
    learner, model = built.learner, built.model.train()
    learner.observe(model, rows)
    optimiser = build_optimiser(model, whole(model), OptimConfig())
    device, precision = torch.device("cpu"), choose_precision("auto", torch.device("cpu"))
    steps = STEPS if case in RATES else 2
    batches = training_batches(length_R, batch_size, torch.Generator().manual_seed(0))[:steps]
    before = peak_memory_mb()
    seconds, views = [], []
    for step, row_B in enumerate(batches):
        batch = rows.batch(row_B)
        if isinstance(learner, ClueLearner):
            assert learner._views is not None
            started, generator = time.perf_counter(), Rng(step).generator("views")
            for _ in range(2):
                learner._views.draw(batch.history, generator)
            views.append(time.perf_counter() - started)
        started = time.perf_counter()
        with autocast(device, precision):
            loss = learner.loss(model, batch, Rng(step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    return {
        "rate": sum(row_B.numel() for row_B in batches) / sum(seconds),
        "share": sum(views) / sum(seconds),
        "mb": peak_memory_mb() - before,
    }


def whole(model: torch.nn.Module) -> Phase:
    """A phase that trains everything."""
    return Phase(name="all", trainable=[name for name, _ in model.named_parameters()])


def median(case: str, threads: str, rounds: int) -> dict[str, float]:
    found = []
    for _ in range(rounds):
        command = [sys.executable, __file__, threads, "--case", case]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))
    return {key: statistics.median(one[key] for one in found) for key in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("threads", nargs="?", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="one object: figures by case")
    parser.add_argument("--case", choices=CASES, help="one case, in this process")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.threads)))
        return
    threads = str(options.threads)
    found = {case: median(case, threads, ROUNDS if case in RATES else 1) for case in CASES}
    if options.json:
        print(json.dumps(found))
        return
    usual = found["next-item"]["rate"]
    for case, one in found.items():
        if case in MEMORY:
            print(f"{case}: {one['mb']:,.0f} MB, {one['rate']:,.0f} seqs/s")
            continue
        share = f", views {one['share']:.1%} of a step" if case.startswith("clue") else ""
        print(f"{case}: {one['rate']:,.0f} seqs/s, {one['rate'] / usual:.2f}x next-item{share}")


if __name__ == "__main__":
    main()
