"""Everything on this page: both backbones on ML-1M, then profile tasks by every method.

Usage: python docs/results/ml-1m/run.py WORK_DIRECTORY [--jobs 2] [--quick]

Runs that are finished are not repeated, so that the script goes on where it stopped. Each run is a
process of its own with one thread; `--jobs` of them run side by side. At the end it writes
`results.parquet` beside itself and prints the tables of `index.md`.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from recxfer.data.dataset import Dataset

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from experiments import comparison, logistic_regression, recxfer, show  # noqa: E402

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


def profile_tables(work, backbone):
    data = Dataset(work / "data")
    found = []
    for task in TASKS:
        runs = {
            method: [work / backbone / f"{method}-{task}-{seed}" for seed in SEEDS]
            for method in METHODS
        }
        regression = {"logistic regression": logistic_regression(data, task)}
        found += comparison(runs, "finetune", others=regression, backbone=backbone, task=task)
    return found


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
        for job in jobs.values():
            job.result()
    found = [row for backbone in options.profiles for row in profile_tables(work, backbone)]
    table = pl.DataFrame(found)
    table.write_parquet((work if options.quick else HERE) / "results.parquet")
    show(table, ["accuracy", "AUC"], ("task", "method"))


if __name__ == "__main__":
    main()
