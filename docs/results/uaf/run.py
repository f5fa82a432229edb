"""Everything on this page: which blocks are fine-tuned, decided per user and for all alike.

Usage: python -m docs.results.uaf.run WORK_DIRECTORY FOOD_AND_KITCHEN [--jobs 2] [--quick]

FOOD_AND_KITCHEN holds food.csv.gz and kitchen.csv.gz (user_id, item_id, timestamp). Finished runs
are not repeated, so that the script goes on where it stopped. Each run is a process of its own with
one thread; `--jobs` of them run side by side. Results go into `results.parquet` beside this script
(with --quick, into WORK_DIRECTORY); once every part is there, so do the tables of `index.md`.
"""

import itertools
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from docs.results.experiments import Bench, Row, Words, comparison, recxfer
from docs.results.pages import run_page
from docs.results.stamps import ROOT
from docs.results.uaf.users import (
    decisions_of_run,
    information,
    own_masks,
    under_shuffled_decisions,
)

Mask: TypeAlias = tuple[int, ...]
"""Blocks that are fine-tuned."""

SEEDS = (0, 1, 2)
NUM_BLOCKS = 4
LAST = range(1, NUM_BLOCKS + 1)
SEVERAL_LAST = "food to kitchen"
"""Where global strategies other than the best one have three seeds, too."""

DIRECTIONS = (("food", "kitchen"), ("kitchen", "food"))
TASKS = {
    "food to kitchen": ("food", "kitchen-cold", "cross-domain"),
    "kitchen to food": ("kitchen", "food-cold", "cross-domain"),
    "gender": ("ml1m", "ml1m", "profile:gender"),
}
"""What is transferred: the base's domain, the target, and what `--task` calls it."""

LEARNED: dict[str, Words] = {
    name: ["--method", "uaf", "--set", f"policy={name}"] for name in ("hard", "soft", "rl")
}
BASELINES: dict[str, Words] = {
    "finetune": ["--method", "finetune"],
    "probe": ["--method", "probe"],
    "peterrec": ["--method", "peterrec"],
}
CHANCE: dict[str, Words] = {
    name: ["--method", "uaf", "--set", f"policy={name}", "--set", "rate=0.5"]
    for name in ("random", "layer-dropout")
}
"""Policies by chance, which fine-tune half of the blocks."""

VARIANTS: dict[str, Words] = {
    "hard": LEARNED["hard"],
    "hard, gru": [*LEARNED["hard"], "--set", "network=gru"],
    "hard, temperature stays at 10": [*LEARNED["hard"], "--set", "final_temperature=10"],
    "rl": LEARNED["rl"],
    "rl, pays for pretrained blocks": [*LEARNED["rl"], "--set", "reward_paid=pretrained"],
    "rl, blocks cost nothing": [*LEARNED["rl"], "--set", "reward_cost=0"],
}
MASKS: list[Mask] = [
    mask for size in range(NUM_BLOCKS + 1)
    for mask in itertools.combinations(range(NUM_BLOCKS), size)
]  # fmt: skip
"""Every global strategy: which blocks are fine-tuned for everybody."""

PRETRAINING: dict[str, Words] = {
    "food": ["--epochs", 8],
    "kitchen": ["--epochs", 8],
    "ml1m": ["--epochs", 12],
}
ITEM_BUDGET: Words = [
    "--epochs", 4, "--batch-size", 128, "--lr", 3e-4, "--set", "readout=last",
]  # fmt: skip
"""That of the page of PeterRec; histories are read at their last event, which was better there than
at a token for all methods, and leaves nothing to train below the blocks."""

PROFILE_BUDGET: Words = ["--epochs", 6]
PROFILE_PROBE: Words = ["--epochs", 60, "--lr", 0.01]
REFERENCES = ("best fixed", "finetune", "random")
METRIC = {"cross-domain": "NDCG@10", "profile": "log_likelihood"}
"""What validation chooses by."""


class Runs(Bench):
    """Runs of many methods from one base."""

    def __init__(self, work: Path, jobs: int, *, quick: bool) -> None:
        super().__init__(work, jobs, quick=quick)
        self.seeds = SEEDS[:1] if quick else SEEDS

    def base(self, data: str) -> Path:
        """A nextitnet base, pretrained when it is first asked for."""
        return self.pretrained(
            data, self.work / f"base-{data}", "--backbone", "nextitnet", "--set", "width=64",
            *PRETRAINING[data],
        )  # fmt: skip

    def transfer(
        self, name: str, methods: Mapping[str, Words], *, seeds: Sequence[int] | None = None
    ) -> dict[str, list[Path]]:
        """Ask for runs of a task; returns each method's directories, one per seed."""
        source, target, task = TASKS[name]
        base = self.base(source)
        folder = self.work / f"{target}-{task.replace(':', '-')}"
        folder.mkdir(exist_ok=True)
        profile = task.startswith("profile")
        runs: dict[str, list[Path]] = {}
        for seed in seeds or self.seeds:
            for method, words in methods.items():
                run = folder / f"{re.sub(r'[^a-z0-9.]+', '-', method)}-{seed}"
                budget = PROFILE_BUDGET if profile else ITEM_BUDGET
                more = PROFILE_PROBE if profile and method == "probe" else []
                asked = [*budget, *more, *words, *self.few]
                self.ask(
                    ["transfer", base, self.work / target, run, "--task", task, "--seed", seed,
                     "--threads", 1, *asked]
                )  # fmt: skip
                runs.setdefault(method, []).append(run)
        return runs


def prepare(work: Path, amazon: Path) -> None:
    """Both shops with each other's cold people, and ML-1M."""
    recxfer("prepare", "movielens-1m", work / "ml1m")
    for domain in ("food", "kitchen"):
        recxfer("prepare", amazon / f"{domain}.csv.gz", work / domain)
    for source, target in DIRECTIONS:
        recxfer(
            "prepare", amazon / f"{target}.csv.gz", work / f"{target}-cold",
            "--link", work / source, "--split", "users",
        )  # fmt: skip


def named(mask: Mask) -> str:
    """A mask as the page calls it."""
    return "blocks " + (",".join(map(str, mask)) or "none")


def fixed(mask: Mask) -> Words:
    """A global strategy, as words of `transfer`."""
    if not mask:
        return ["--method", "uaf", "--set", "policy=frozen"]
    blocks = "--set", f"blocks={','.join(map(str, mask))}"
    return ["--method", "uaf", "--set", "policy=fixed", *blocks]


def search(bench: Runs, name: str) -> dict[Mask, float]:
    """Every global strategy, seed 0: name to its validation metric."""
    masks = MASKS if not bench.quick else [(), (3,), (0, 1, 2, 3)]
    bench.transfer(name, {named(mask): fixed(mask) for mask in masks}, seeds=SEEDS[:1])
    metric = METRIC[TASKS[name][2].partition(":")[0]]
    told = [float(one["validation"][metric]) for one in bench.wait()]
    return dict(zip(masks, told, strict=True))


def learn(bench: Runs, name: str) -> tuple[dict[str, list[Path]], dict[Mask, float], Mask]:
    """All runs of a task by method; the best global strategy is found first.

    `last K` is the global strategy of the K highest blocks: to the bit what `last-layers` makes.
    It has one seed, that of the search, except in one task.
    """
    found = search(bench, name)
    best = max(found, key=found.__getitem__)
    global_ones = {f"last {k}": tuple(range(NUM_BLOCKS - k, NUM_BLOCKS)) for k in LAST}
    global_ones["best fixed"] = best
    asked = {named(mask): fixed(mask) for mask in global_ones.values()}
    chosen = {named(best): fixed(best)}
    several = asked if name == SEVERAL_LAST else chosen
    runs = bench.transfer(name, LEARNED | BASELINES | several)
    runs = bench.transfer(name, asked, seeds=SEEDS[:1]) | runs
    runs |= bench.transfer(name, {"random": CHANCE["random"]})
    runs |= bench.transfer(name, {"layer-dropout": CHANCE["layer-dropout"]}, seeds=SEEDS[:1])
    bench.wait()
    runs |= {method: runs[named(mask)] for method, mask in global_ones.items()}
    for run in asked:
        del runs[run]
    return runs, found, best


def policies(bench: Runs, names: Sequence[str]) -> list[Row]:
    """The three policies against all baselines."""
    found: list[Row] = []
    for name in names:
        runs, searched, best = learn(bench, name)
        profile = TASKS[name][2].startswith("profile")
        for reference in REFERENCES:
            by = ("label" if profile else "history-length") if reference == "best fixed" else None
            found += comparison(runs, reference, by=by, task=name)
        if profile:
            found += comparison(runs, "best fixed", by="history-length", task=name)
        found += [
            {
                "task": name, "kind": "search", "method": named(mask), "value": value,
                "chosen": mask == best,
            }
            for mask, value in searched.items()
        ]  # fmt: skip
        found += decided(runs, name)
    return found


def decided(runs: Mapping[str, Sequence[Path]], name: str) -> list[Row]:
    """What each policy decides: how often, for whom, and what becomes of it when shuffled."""
    found: list[Row] = []
    for method in (*LEARNED, "random"):
        for seed, run in enumerate(runs[method]):
            facts = {"task": name, "method": method, "seed": seed}
            gates = decisions_of_run(run, "test")
            counts = np.bincount((gates >= 0.5).sum(1), minlength=gates.shape[1] + 1)
            found += [
                {**facts, "kind": "decided", "metric": f"{count} blocks", "value": float(value)}
                for count, value in enumerate(counts / len(gates))
            ]
            found += [
                {**facts, "kind": "decided", "metric": f"block {block}", "value": float(value)}
                for block, value in enumerate(gates.mean(0))
            ]
            found += [{**facts, "kind": "information", **row} for row in information(run)]
        shuffled = under_shuffled_decisions(runs[method])
        found += [{"task": name, "method": method, "kind": "shuffled", **row} for row in shuffled]
    found += [
        {"task": name, "kind": "own masks", "method": "hard", **row}
        for row in own_masks(runs["hard"][0])
    ]
    return found


def variants(bench: Runs) -> list[Row]:
    """Settings of the policies, one seed each."""
    name = "food to kitchen"
    runs = bench.transfer(name, VARIANTS, seeds=SEEDS[:1])
    bench.wait()
    found = comparison(runs, "hard", task=name)
    for method, (run,) in runs.items():
        mean = float(decisions_of_run(run, "test").sum(1).mean())
        found.append(
            {"task": name, "kind": "decided", "method": method, "metric": "mean", "value": mean}
        )
    return found


def costs(bench: Runs) -> list[Row]:
    """Of a step and of scoring a user: the benchmark, alone on the machine, with one thread."""
    script = ROOT / "tests" / "benchmarks" / "uaf_speed.py"
    command = [sys.executable, str(script), "1", "64", "64"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = re.compile(
        r"(\w+), width (\d+): (.+) costs ([\d.]+)x .* and ([\d.]+)x .*, and ([\d.]+)x "
    )
    return [
        {
            "kind": "cost", "backbone": backbone, "width": int(width), "method": method,
            "step": float(step), "memory": float(memory), "score": float(score),
        }
        for backbone, width, method, step, memory, score in line.findall(done.stdout)
    ]  # fmt: skip


PARTS = {
    "cross-domain": lambda bench: policies(bench, ["food to kitchen", "kitchen to food"]),
    "profiles": lambda bench: policies(bench, ["gender"]),
    "variants": variants,
    "costs": costs,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_page(
        "uaf",
        __doc__ or "",
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=("profiles",),
    )
