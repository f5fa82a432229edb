"""Everything on this page: both backbones on ML-1M, then profile tasks by every method.

Usage: python docs/results/ml-1m/run.py WORK_DIRECTORY [--jobs 2] [--quick]

Runs that are finished are not repeated, so that the script goes on where it stopped. Each run is a
process of its own with one thread; `--jobs` of them run side by side. At the end it writes
`results.parquet` beside itself and prints the tables of `index.md`.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F

from recxfer.data.dataset import Dataset
from recxfer.data.examples import profile_rows
from recxfer.foundation.console import SilentReporter
from recxfer.training.cases import Protocol, cases_of
from recxfer.training.metrics import class_metrics
from recxfer.training.opening import open_run
from recxfer.training.statistics import compare, estimate

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
TASKS = ("gender", "age")
METHODS = {
    "peterrec": ["--set", "train_norms=true"],
    "finetune": [],
    "last-layers": [],
    "probe": ["--epochs", "60", "--lr", "0.01"],
    "scratch": [],
}
"""Methods and what differs from the defaults: PeterRec also trains the second norms, as its release
does; a probe's epoch costs nothing, it gets more."""

LONGER = {"nextitnet": ["--set", "max_length=1000"], "sasrec": []}
"""Convolutions can read longer histories than they were pretrained on."""

WHOLE = 10**6


def recxfer(*words):
    """Run a command unless its output is there; return what `--json` printed."""
    out = Path(words[2] if words[0] != "transfer" else words[3])
    record = out.with_name(out.name + ".json")
    if not record.exists():
        command = [sys.executable, "-m", "recxfer", *map(str, words), "--json", "--overwrite"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        record.write_text(done.stdout)
        print(out, "done", file=sys.stderr, flush=True)
    return json.loads(record.read_text())


def item_sets(dataset, column, part):
    """Each user's set of items as a row of zeros and ones, and the labels."""
    rows = profile_rows(dataset, column, part, WHOLE)
    batch = rows.batch(torch.arange(len(rows)))
    sets = torch.zeros(len(rows), dataset.num_items + 1)
    sets.scatter_(1, batch.item_BL, 1.0)
    return sets[:, 1:], batch.target_B


def logistic_regression(dataset, column):
    """Test scores of L2-regularised logistic regression; the penalty is chosen on validation."""
    (train, label), (valid, truth), (test, target) = (
        item_sets(dataset, column, part) for part in ("train", "valid", "test")
    )
    classes = int(label.max()) + 1
    best, chosen = -np.inf, None
    for penalty in (1e-3, 3e-3, 1e-2, 3e-2):
        weight = torch.zeros(classes, train.shape[1] + 1, requires_grad=True)
        optimiser = torch.optim.LBFGS([weight], max_iter=300, line_search_fn="strong_wolfe")

        def scores(sets, weight=weight):
            return sets @ weight[:, 1:].T + weight[:, 0]

        def closure(weight=weight, scores=scores, optimiser=optimiser, penalty=penalty):
            optimiser.zero_grad()
            loss = F.cross_entropy(scores(train), label) + penalty * weight[:, 1:].square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        with torch.no_grad():
            value = -float(F.cross_entropy(scores(valid), truth))
            if value > best:
                best, chosen = value, scores(test).double().numpy()
    return class_metrics(chosen, target.numpy())


def mean_over_seeds(metrics):
    """Metrics of several seeds as one: each resample of cases is the same for all of them."""
    return {
        name: lambda weights, name=name: np.mean([m[name](weights) for m in metrics], axis=0)
        for name in metrics[0]
    }


def profile_tables(work, backbone, records):
    data, device = Dataset(work / "data"), torch.device("cpu")
    found = []
    for task in TASKS:
        measured = {}
        for method in METHODS:
            of_seeds = []
            for seed in SEEDS:
                run = open_run(work / backbone / f"{method}-{task}-{seed}", device)
                cases, _ = cases_of(run, Protocol(), None, torch.float32, SilentReporter())
                of_seeds.append(cases.metrics((10,)))
                people = cases.people()
            measured[method] = mean_over_seeds(of_seeds)
        measured["logistic regression"] = logistic_regression(data, task)
        for method, metrics in measured.items():
            mine = [records.get((method, task, seed)) for seed in SEEDS]
            facts = [record for record in mine if record]
            against = compare(metrics, measured["finetune"], people, seed=0)
            for name, figure in estimate(metrics, people, seed=0).items():
                found.append(
                    {
                        "backbone": backbone,
                        "task": task,
                        "method": method,
                        "metric": name,
                        "value": figure.value,
                        "low": figure.low,
                        "high": figure.high,
                        "against_finetune": against[name].value,
                        "against_low": against[name].low,
                        "against_high": against[name].high,
                        "p": against[name].p,
                        "seeds": len(facts) or 1,
                        "cases": people.size,
                        "trained_share": facts[0]["trained_share"] if facts else None,
                        "seconds": mean([f["seconds"] for f in facts]),
                        "peak_memory_mb": mean([f["peak_memory_mb"] for f in facts]),
                        "epochs": mean([f["epochs"] for f in facts]),
                    }
                )
    return found


def mean(values):
    return sum(values) / len(values) if values else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--backbones", nargs="+", default=["nextitnet", "sasrec"])
    parser.add_argument("--profiles", nargs="+", default=["nextitnet"])
    parser.add_argument("--quick", action="store_true", help="ML-100K, one epoch: under 3 minutes")
    options = parser.parse_args()
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    quick = ["--epochs", "1"] if options.quick else []
    recxfer("prepare", "movielens-100k" if options.quick else "movielens-1m", work / "data")
    with ThreadPoolExecutor(options.jobs) as pool:
        bases = {
            b: pool.submit(
                recxfer, "pretrain", work / "data", work / f"{b}-base", "--backbone", b,
                "--threads", 1, *quick,
            )
            for b in options.backbones
        }  # fmt: skip
        for backbone, base in bases.items():
            print(backbone, base.result())
        jobs = {
            (b, m, t, s): pool.submit(
                recxfer, "transfer", work / f"{b}-base", work / "data",
                work / b / f"{m}-{t}-{s}", "--method", m, "--task", f"profile:{t}",
                "--seed", s, "--threads", 1, *LONGER[b], *more, *quick,
            )
            for b in options.profiles
            for s in SEEDS
            for t in TASKS
            for m, more in METHODS.items()
        }  # fmt: skip
        records = {key: job.result() for key, job in jobs.items()}
    found = []
    for backbone in options.profiles:
        mine = {key[1:]: record for key, record in records.items() if key[0] == backbone}
        found += profile_tables(work, backbone, mine)
    table = pl.DataFrame(found)
    table.write_parquet((work if options.quick else HERE) / "results.parquet")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=220, float_precision=4):
        print(table.filter(pl.col("metric").is_in(["accuracy", "AUC"])))


if __name__ == "__main__":
    main()
