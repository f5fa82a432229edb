"""Cost of `uaf` beside `finetune` on the same network and task: of a step, and of scoring a user.

`both` is `hard` with both copies of each block run, forward and back, for every row. All train in
one process, step by step in turn, so that ratios of time hold on a machine with other work to do.
Memory is the peak of a process per method above what it held before its first step. Decisions are
near even, as at the start: the most groups that there can be.
Usage: python uaf_speed.py [THREADS [ROWS [WIDTH ...]]]
"""

import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from torch import Tensor
from transfer_speed import BACKBONE_SETTINGS, profile_examples

from recxfer.data.rows import Batch, Rows
from recxfer.foundation.device import autocast, choose_precision, keep_freed_memory
from recxfer.foundation.memory import peak_memory_mb
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import Base, VectorLearner
from recxfer.methods.task import Task
from recxfer.methods.uaf import UAFLearner, UAFModel
from recxfer.models import BACKBONES
from recxfer.models.losses.gate_gradients import straight_through
from recxfer.training.loop import freeze_all_but
from recxfer.training.optim import OptimConfig, build_optimiser

ITEMS, STEPS, MEMORY_STEPS = 3_000, 12, 3
TASK = Task("profile", 2, "label", ("a", "b"))
CPU = torch.device("cpu")
RIVALS: dict[str, tuple[str, dict[str, Any]]] = {
    "hard": ("uaf", {"policy": "hard"}),
    "both": ("uaf", {"policy": "hard"}),
    "hard, gru": ("uaf", {"policy": "hard", "network": "gru"}),
    "soft": ("uaf", {"policy": "soft"}),
    "rl": ("uaf", {"policy": "rl"}),
    "random": ("uaf", {"policy": "random"}),
    "half fixed": ("uaf", {"policy": "fixed"}),
    "peterrec": ("peterrec", {}),
}


class Trainee:
    """A model in the last phase of its method."""

    def __init__(self, name: str, backbone: str, rows: Rows, width: int) -> None:
        backbone_type = BACKBONES.resolve(backbone)
        config = backbone_type.config_type(width=width, **BACKBONE_SETTINGS[backbone])
        network = backbone_type(config, ITEMS, causal=True)
        method, settings = RIVALS.get(name, (name, {}))
        if settings.get("policy") == "fixed":
            half = len(network.blocks) // 2
            settings = {**settings, "blocks": tuple(range(half, 2 * half))}
        method_type = METHODS.resolve(method)
        self.name, self.rows = name, rows
        base = Base(encoder=network, num_items=ITEMS, objective="next-item")
        adapted = method_type(method_type.config_type(**settings)).adapt(base, TASK, Rng(0))
        self.learner, self.model = adapted.learner, adapted.model
        self.learner.observe(self.model, rows)
        phase = adapted.phases[-1]
        if phase.schedule is not None:
            phase.schedule(0.0)
        freeze_all_but(self.model, phase.trainable)
        self.optimiser = build_optimiser(self.model, phase, OptimConfig())
        self.batch = rows.batch(torch.arange(len(rows)))

    def loss(self, rng: Rng) -> Tensor:
        if self.name != "both":
            return self.learner.loss(self.model, self.batch, rng)
        assert isinstance(self.model, UAFModel)
        assert isinstance(self.learner, UAFLearner)
        assert self.batch.target_B is not None
        gate_BN = straight_through(self.model.logits(self.batch), 10.0, rng.generator("gumbel"))
        user_BD = self.model.vectors(self.batch, gate_BN, "blended")
        return self.learner._usual.loss_of(self.model.user, user_BD, self.batch.target_B, rng)

    def step(self, number: int) -> float:
        """Seconds of one step."""
        self.model.train()
        started = time.perf_counter()
        with autocast(CPU, choose_precision("auto", CPU)):
            loss = self.loss(Rng(number))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return time.perf_counter() - started

    def score(self, batch: Batch) -> float:
        """Seconds of encoding a batch."""
        self.model.eval()
        started = time.perf_counter()
        with torch.inference_mode():
            if self.name == "both":
                assert isinstance(self.model, UAFModel)
                assert isinstance(self.learner, UAFLearner)
                gate_BN = self.learner.gates(self.model, batch)
                self.model.vectors(batch, gate_BN, "blended")
            else:
                assert isinstance(self.learner, VectorLearner)
                self.learner.represent(self.model, batch)
        return time.perf_counter() - started


def memory(threads: str, num_rows: int, backbone: str, width: int, name: str) -> float:
    """MB that stepping needs, measured in a process of its own."""
    command = [sys.executable, __file__, "memory", threads, str(num_rows), backbone, str(width)]
    done = subprocess.run([*command, name], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure_memory(num_rows: int, backbone: str, width: int, name: str) -> float:
    """MB of this process's peak above what it holds before the first step."""
    torch.manual_seed(0)
    trainee = Trainee(name, backbone, profile_examples(num_rows, ITEMS), width)
    before = peak_memory_mb()
    for number in range(MEMORY_STEPS):
        trainee.step(number)
    return peak_memory_mb() - before


def main() -> None:
    threads = sys.argv[1] if len(sys.argv) > 1 else str(torch.get_num_threads())
    torch.set_num_threads(int(threads))
    num_rows = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    keep_freed_memory()
    for backbone in BACKBONE_SETTINGS:
        for width in map(int, sys.argv[3:] or ("64", "128")):
            torch.manual_seed(0)
            rows = profile_examples(num_rows, ITEMS)
            full = Trainee("finetune", backbone, rows, width)
            others = [Trainee(name, backbone, rows, width) for name in RIVALS]
            steps: dict[str, list[float]] = {name: [] for name in RIVALS}
            scored: dict[str, list[float]] = {name: [] for name in RIVALS}
            for number in range(STEPS):
                whole, encoded = full.step(number), full.score(full.batch)
                for other in others:
                    steps[other.name].append(other.step(number) / whole)
                    scored[other.name].append(other.score(other.batch) / encoded)
            needed = memory(threads, num_rows, backbone, width, "finetune")
            for name in RIVALS:
                ratio = memory(threads, num_rows, backbone, width, name) / needed
                print(
                    f"{backbone}, width {width}: {name} costs {statistics.median(steps[name]):.2f}x"
                    f" the time and {ratio:.2f}x the memory of a finetune step, and "
                    f"{statistics.median(scored[name]):.2f}x the time of scoring a user",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        torch.set_num_threads(int(sys.argv[2]))
        keep_freed_memory()
        print(measure_memory(int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), sys.argv[6]))
    else:
        main()
