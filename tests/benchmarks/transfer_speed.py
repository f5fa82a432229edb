"""Cost of a PeterRec step and of a last-layers step beside a full fine-tune step.

The same backbone, batch and task (a profile); one process per method and round, methods in turn,
so that the ratios hold on a machine with other work to do. Memory is the process's peak above what
it held before the first step. Usage: python transfer_speed.py [THREADS [WIDTH ...]]
"""

import itertools
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from recxfer.data.rows import Rows
from recxfer.foundation.device import autocast, choose_precision, keep_freed_memory
from recxfer.foundation.memory import peak_memory_mb
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import Base
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.training.loop import freeze_all_but
from recxfer.training.optim import OptimConfig, build_optimiser

ITEMS, ROWS, LENGTH, STEPS, ROUNDS = 20_000, 256, 100, 12, 3
WIDTHS = ("64", "128")
BACKBONE_SETTINGS: dict[str, dict[str, Any]] = {
    "nextitnet": {"dilations": (1, 4) * 2},
    "sasrec": {},
}


def profile_examples(num_rows: int, num_items: int) -> Rows:
    """Random histories of LENGTH events, each with one of two classes."""
    return Rows(
        columns={"item": torch.randint(1, num_items + 1, (num_rows * LENGTH,)).int()},
        start_R=torch.arange(num_rows) * LENGTH,
        length_R=torch.full((num_rows,), LENGTH),
        user_R=torch.arange(num_rows),
        target_R=torch.randint(2, (num_rows,)),
    )


def measure(threads: int, width: int, backbone: str, method: str) -> dict[str, float]:
    """Seconds of the median step, and MB of memory that stepping needs."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    device = torch.device("cpu")
    backbone_type, method_type = BACKBONES.resolve(backbone), METHODS.resolve(method)
    config = backbone_type.config_type(width=width, **BACKBONE_SETTINGS[backbone])
    task = Task("profile", 2, "label", ("a", "b"))
    network = backbone_type(config, ITEMS, causal=True)
    base = Base(encoder=network, num_items=ITEMS, objective="next-item")
    adapted = method_type(method_type.config_type()).adapt(base, task, Rng(0))
    learner, model = adapted.learner, adapted.model
    rows = profile_examples(ROWS, ITEMS)
    learner.observe(model, rows)
    (phase,) = adapted.phases
    freeze_all_but(model, phase.trainable)
    optimiser = build_optimiser(model, phase, OptimConfig())
    before = peak_memory_mb()
    seconds = []
    for step in range(STEPS):
        started = time.perf_counter()
        with autocast(device, choose_precision("auto", device)):
            loss = learner.loss(model, rows.batch(torch.arange(ROWS)), Rng(step))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds), "mb": peak_memory_mb() - before}


def main() -> None:
    threads = sys.argv[1] if len(sys.argv) > 1 else str(torch.get_num_threads())
    methods = ("finetune", "peterrec", "last-layers")
    for width, backbone in itertools.product(sys.argv[2:] or WIDTHS, BACKBONE_SETTINGS):
        found: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
        for _ in range(ROUNDS):
            for method in methods:
                command = [sys.executable, __file__, "measure", threads, width, backbone, method]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found[method].append(json.loads(done.stdout))
        for method in methods[1:]:
            pairs = list(zip(found[method], found["finetune"], strict=True))
            time_ratio = statistics.median(one["seconds"] / full["seconds"] for one, full in pairs)
            memory_ratio = statistics.median(one["mb"] / full["mb"] for one, full in pairs)
            print(
                f"{backbone}, width {width}: {method} step costs {time_ratio:.2f}x the time and "
                f"{memory_ratio:.2f}x the memory of a finetune step"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])))
    else:
        main()
