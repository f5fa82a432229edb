"""Cost of a step of `conure` beside a step of `finetune` on the same network and task.

Both train in one process, step by step in turn, so that the ratio holds on a machine with other
work to do. Usage: python conure_speed.py [THREADS]
"""

import statistics
import sys
import time

import torch
from transfer_speed import BACKBONE_SETTINGS, profile_examples

from recxfer.data.rows import Rows
from recxfer.foundation.device import autocast, choose_precision, keep_freed_memory
from recxfer.foundation.rng import Rng
from recxfer.methods import METHODS
from recxfer.methods.contract import Base, KeptTask
from recxfer.methods.conure import ConureConfig
from recxfer.methods.supervised import TaskLearner
from recxfer.methods.task import Task
from recxfer.models import BACKBONES
from recxfer.models.adapters.ownership import kernels, own_kernels
from recxfer.models.user_model import UserModel
from recxfer.training.loop import freeze_all_but
from recxfer.training.optim import OptimConfig, build_optimiser

ITEMS, ROWS, STEPS = 3_000, 64, 20
TASK = Task("profile", 2, "label", ("a", "b"))
CPU = torch.device("cpu")


class Trainee:
    """A model in one phase of a method."""

    def __init__(self, backbone: str, method: str, phase: str, rows: Rows, width: int) -> None:
        backbone_type, method_type = BACKBONES.resolve(backbone), METHODS.resolve(method)
        config = backbone_type.config_type(width=width, **BACKBONE_SETTINGS[backbone])
        network = backbone_type(config, ITEMS, causal=True)
        base = Base(encoder=network, num_items=ITEMS, objective="next-item")
        if method == "conure":
            base = after_one_task(base, rows)
        adapted = method_type(method_type.config_type()).adapt(base, TASK, Rng(0))
        self.learner, self.model = adapted.learner, adapted.model
        self.learner.observe(self.model, rows)
        chosen = {p.name: p for p in adapted.phases}[phase]
        if phase == "retrain":
            assert isinstance(self.model, UserModel)
            for kernel in kernels(self.model.backbone):
                kernel.owned.prune(kernel.weight, kernel.owned.num_free * 7 // 10, 0.7)
        freeze_all_but(self.model, chosen.trainable)
        self.optimiser = build_optimiser(self.model, chosen, OptimConfig())

    def step(self, rows: Rows, number: int) -> float:
        """Seconds of one step."""
        started = time.perf_counter()
        with autocast(CPU, choose_precision("auto", CPU)):
            loss = self.learner.loss(self.model, rows.batch(torch.arange(ROWS)), Rng(number))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return time.perf_counter() - started


def after_one_task(base: Base, rows: Rows) -> Base:
    """The same base, of which task 1 owns 30 %."""
    own_kernels(base.backbone, None, 1)
    owners = {}
    for kernel in kernels(base.backbone):
        kernel.owned.prune(kernel.weight, kernel.weight.numel() * 7 // 10, 0.7)
        owners[kernel.name] = kernel.owned.owner
    fresh = type(base.backbone)(base.backbone.config, ITEMS, causal=True)
    model = UserModel(fresh, None, "last", classifies=False)
    first = Task("next-item", ITEMS)
    kept = KeptTask(first, TaskLearner(ConureConfig()), model, lambda: rows, 0.7)
    return Base(
        encoder=fresh,
        num_items=ITEMS,
        objective="next-item",
        transferred=True,
        tasks=[kept],
        owners=owners,
    )


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    keep_freed_memory()
    for backbone in BACKBONE_SETTINGS:
        for width in (64, 256):
            rows = profile_examples(ROWS, ITEMS)
            full = Trainee(backbone, "finetune", "finetune", rows, width)
            for phase in ("train", "retrain"):
                masked = Trainee(backbone, "conure", phase, rows, width)
                ratios = [
                    masked.step(rows, number) / full.step(rows, number) for number in range(STEPS)
                ]
                print(
                    f"{backbone}, width {width}: a {phase} step of conure costs "
                    f"{statistics.median(ratios):.2f}x the time of a finetune step"
                )


if __name__ == "__main__":
    main()
