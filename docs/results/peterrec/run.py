"""Everything on this page: PeterRec and its companions on three kinds of transfer.

Usage: python -m docs.results.peterrec.run WORK_DIRECTORY FOOD_AND_KITCHEN [--jobs 2] [--quick]

FOOD_AND_KITCHEN holds food.csv.gz and kitchen.csv.gz (user_id, item_id, timestamp). Finished runs
are not repeated, so that the script goes on where it stopped. Each run is a process of its own with
one thread; `--jobs` of them run side by side. Results go into `results.parquet` beside this script
(with --quick, into WORK_DIRECTORY); once every part is there, so do the tables of `index.md` and
`learning-curve.svg`. Drawing needs matplotlib: `pip install recxfer[plot]`.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from docs.results.experiments import (
    Bench,
    Row,
    Words,
    cases_of_run,
    comparison,
    logistic_regression,
    recxfer,
)
from docs.results.pages import run_page
from docs.results.stamps import ROOT
from recxfer.data.dataset import Dataset
from recxfer.evaluation.cases import Protocol

SEEDS = (0, 1, 2)
METHODS: dict[str, Words] = {
    "peterrec": ["--method", "peterrec"],
    "finetune": ["--method", "finetune"],
    "last-layers": ["--method", "last-layers"],
    "probe": ["--method", "probe"],
    "scratch": ["--method", "scratch", "--lr", 1e-3],
}
"""Methods by name and what differs from the budget of the part. What starts from nothing has the
larger step that pretraining took."""

COMPANIONS = METHODS | {
    "peterrec, norms too": ["--method", "peterrec", "--set", "train_norms=true"],
    "lora": ["--method", "lora"],
    "houlsby": ["--method", "houlsby"],
    "bitfit": ["--method", "bitfit"],
    "majority": ["--method", "popular"],
}
RECOMMENDERS = METHODS | {
    "probe": ["--method", "probe", "--set", "readout=last"],
    "popular": ["--method", "popular"],
    "user-knn": ["--method", "user-knn"],
}
REFERENCES = ("finetune", "scratch", "user-knn")
"""What methods of cross-domain transfer are compared with, in pairs."""

FIXED = {"majority", "popular", "user-knn"}
"""Methods without chance: one seed is all of them."""

DIRECTIONS = (("food", "kitchen"), ("kitchen", "food"))
EPOCHS_OF_SHARE = {0.01: 40, 0.05: 20, 0.2: 8, 1.0: 4}
"""Few people make few steps: more epochs, of which validation chooses one."""

SHARES = tuple(EPOCHS_OF_SHARE)
LEARNERS = ("peterrec", "finetune", "scratch")

SHOP_BUDGET: Words = ["--epochs", 8]
"""Pretraining on food or kitchen: validation falls after the sixth of 20 epochs too, and the same
with dropout of 0.3 (NDCG@10 on food 0.0436, 0.0439 with 8 epochs, 0.0443 with 10 and that)."""

ITEM_BUDGET: Words = ["--epochs", 4, "--batch-size", 128, "--lr", 3e-4]
"""Chosen on validation, for peterrec and finetune alike: at 1e-3 both fit too closely from the
third epoch on."""

PROFILE_BUDGET: Words = ["--epochs", 12, "--set", "max_length=1000"]
"""Histories of up to 1,000 films, as on the page of ML-1M."""

FEW_BUDGET: Words = ["--epochs", 12, "--set", "max_length=1000", "--batch-size", 16]
"""The people of ML-100K are few: small batches, so that there are steps to learn in."""

PROFILE_PROBE: Words = ["--epochs", 60, "--lr", 0.01]
"""A probe's epoch costs next to nothing: it gets more. Over items that is too much: validation
NDCG@10 of food to kitchen is 0.0107 then, and 0.0218 with 8 epochs at 1e-3."""

DEFAULT_SHAPE = "serial, 2 a block, d/8"
SHAPES: dict[str, Words] = {
    "serial, 2 a block, d/16": ["--set", "bottleneck=8"],
    "serial, 2 a block, d/8": [],
    "serial, 2 a block, d/4": ["--set", "bottleneck=32"],
    "serial, 2 a block, d/2": ["--set", "bottleneck=64"],
    "serial, 1 a block, d/8": ["--set", "per_block=1"],
    "parallel, 2 a block, d/8": ["--set", "insertion=parallel"],
    "serial, 2 a block, d/8, norms too": ["--set", "train_norms=true"],
}


class Runs(Bench):
    """Runs of many methods from one base."""

    def base(self, data: str, objective: str = "next-item") -> Path:
        """A nextitnet base, pretrained when the first part asks for it."""
        return self.pretrained(
            data, self.work / f"{data}-{objective}", "--backbone", "nextitnet",
            "--objective", objective, *(SHOP_BUDGET if data in ("food", "kitchen") else []),
        )  # fmt: skip

    def transfer(
        self,
        group: str,
        base: Path,
        data: str,
        task: str,
        methods: Mapping[str, Words],
        budget: Words,
        *,
        seeds: Sequence[int] = SEEDS,
    ) -> dict[str, list[Path]]:
        """Ask for runs; returns each method's directories, one per seed."""
        folder = self.work / group
        folder.mkdir(exist_ok=True)
        runs: dict[str, list[Path]] = {}
        for seed in seeds:
            for method, words in methods.items():
                if seed != seeds[0] and (method in FIXED or self.quick):
                    continue
                run = (
                    folder / f"{method.replace(', ', '-').replace(' ', '').replace('/', '')}-{seed}"
                )
                profiles = task.startswith("profile:")
                settings = [*budget, *(PROFILE_PROBE if profiles and method == "probe" else [])]
                asked = [*settings, *words, *self.few]
                self.ask(
                    ["transfer", base, self.work / data, run, "--task", task, "--seed", seed,
                     "--threads", 1, *asked]
                )  # fmt: skip
                runs.setdefault(method, []).append(run)
        return runs


def prepare(work: Path, amazon: Path) -> None:
    """Both domains with each other's cold people, MovieLens, and its second people."""
    recxfer("prepare", "movielens-1m", work / "ml1m")
    recxfer("prepare", "movielens-100k", work / "ml100k")
    many_to_test = ["--set", "valid_share=0.1", "--set", "test_share=0.3"]
    recxfer("prepare", "movielens-100k", work / "ml100k-people", *many_to_test)
    log, people = same_titles(work)
    recxfer(
        "prepare", log, work / "ml100k-as-ml1m",
        "--users", people, "--vocabulary", work / "ml1m", *many_to_test,
    )  # fmt: skip
    for domain in ("food", "kitchen"):
        recxfer("prepare", amazon / f"{domain}.csv.gz", work / domain)
    for source, target in DIRECTIONS:
        link = ["--link", work / source]
        recxfer(
            "prepare", amazon / f"{target}.csv.gz", work / f"{target}-cold",
            *link, "--split", "users",
        )  # fmt: skip
    recxfer(
        "prepare", amazon / "kitchen.csv.gz", work / "kitchen-later",
        "--link", work / "food", "--split", "temporal",
    )  # fmt: skip


def same_titles(work: Path) -> tuple[Path, Path]:
    """ML-100K as raw files whose films have the ids that ML-1M gives to the same titles."""
    small, large = Dataset(work / "ml100k"), Dataset(work / "ml1m")
    title_of = pl.scan_parquet(small.path / "items.parquet").select("item", "text")
    id_of = pl.scan_parquet(large.path / "items.parquet").select("text", "item_id").unique("text")
    users = pl.scan_parquet(small.path / "users.parquet")
    log, people = work / "ml100k-as-ml1m.log.parquet", work / "ml100k-as-ml1m.people.parquet"
    (
        pl.scan_parquet(small.path / "interactions.parquet")
        .join(title_of, on="item", how="left", maintain_order="left")
        .join(id_of, on="text", how="left", maintain_order="left")
        .join(users.select("user", "user_id"), on="user", how="left", maintain_order="left")
        .select("user_id", pl.coalesce("item_id", "text").alias("item_id"), "timestamp")
        .collect()
        .write_parquet(log)
    )
    users.select("user_id", *small.info.labels).collect().write_parquet(people)
    return log, people


def cross_domain(bench: Runs) -> list[Row]:
    """Both directions to cold people: all items, 99 candidates, and slices."""
    runs = {
        (source, target): bench.transfer(
            f"{source}-to-{target}", bench.base(source), f"{target}-cold", "cross-domain",
            RECOMMENDERS, ITEM_BUDGET,
        )
        for source, target in DIRECTIONS
    }  # fmt: skip
    bench.wait()
    found: list[Row] = []
    for (source, target), of_methods in runs.items():
        facts: dict[str, Any] = {"task": f"{source} to {target}"}
        for reference in REFERENCES:
            by = "history-length" if reference == REFERENCES[0] else None
            found += comparison(of_methods, reference, by=by, ranked="all", **facts)
            sampled = Protocol(candidates=99)
            found += comparison(of_methods, reference, protocol=sampled, ranked="1+99", **facts)
        found += any_hit(of_methods, **facts)
    return found


def any_hit(runs: Mapping[str, Sequence[Path]], **facts: object) -> list[Row]:
    """Share of the people for whom any of their items is among the first 10."""
    found: list[Row] = []
    for method, of_seeds in runs.items():
        shares = []
        for run in of_seeds:
            _, cases, _ = cases_of_run(run, Protocol())
            hit = cases.frame.group_by("user").agg((pl.col("rank") <= 10).any())["rank"]
            shares.append(float((hit.cast(pl.Float64)).sum()) / len(hit))
        found.append(
            {
                **facts, "slice": "all", "by": "", "ranked": "all", "method": method,
                "metric": "any-hit@10", "value": float(np.mean(shares)), "seeds": len(shares),
                "people": len(hit),
            }
        )  # fmt: skip
    return found


def later(bench: Runs) -> list[Row]:
    """Food to kitchen, tested on all that came after a day: people with and without a past."""
    methods = {name: RECOMMENDERS[name] for name in (*LEARNERS, "popular", "user-knn")}
    runs = bench.transfer(
        "later",
        bench.base("food"),
        "kitchen-later",
        "cross-domain",
        methods,
        ITEM_BUDGET,
        seeds=(0,),
    )
    bench.wait()
    return comparison(runs, "finetune", by="target-events", task="food to kitchen", ranked="all")


def learning_curve(bench: Runs) -> list[Row]:
    """Food to kitchen with fewer and fewer people to learn from."""
    runs = {
        share: bench.transfer(
            f"share-{share}", bench.base("food"), "kitchen-cold", "cross-domain",
            {
                name: [
                    *METHODS[name], "--set", f"data.train_share={share}",
                    "--epochs", EPOCHS_OF_SHARE[share],
                ]
                for name in LEARNERS
            },
            ITEM_BUDGET,
        )
        for share in SHARES[:-1]
    }  # fmt: skip
    runs[SHARES[-1]] = bench.transfer(
        "food-to-kitchen", bench.base("food"), "kitchen-cold", "cross-domain",
        {name: METHODS[name] for name in LEARNERS}, ITEM_BUDGET,
    )  # fmt: skip
    bench.wait()
    return [
        row
        for share, of_methods in runs.items()
        for row in comparison(
            of_methods, "scratch", task="food to kitchen", ranked="all",
            share=share,
        )
    ]  # fmt: skip


def shapes(bench: Runs) -> list[Row]:
    """Patches of many shapes, food to kitchen, a fifth of the people."""
    methods = {
        name: ["--method", "peterrec", "--set", "data.train_share=0.2", "--epochs", 8, *words]
        for name, words in SHAPES.items()
    }
    runs = bench.transfer(
        "shapes", bench.base("food"), "kitchen-cold", "cross-domain", methods, ITEM_BUDGET
    )
    bench.wait()
    return comparison(runs, DEFAULT_SHAPE, task="food to kitchen", ranked="all")


def readouts(bench: Runs) -> list[Row]:
    """Read at the last event instead of a token behind it, as a probe is."""
    last = {
        f"{name}, last event": [*METHODS[name], "--set", "readout=last"]
        for name in ("peterrec", "finetune")
    }
    found: list[Row] = []
    for source, target in DIRECTIONS:
        where = bench.base(source), f"{target}-cold", "cross-domain"
        runs = bench.transfer(f"readout-{source}", *where, last, ITEM_BUDGET)
        known = {name: RECOMMENDERS[name] for name in ("peterrec", "finetune", "probe")}
        runs |= bench.transfer(f"{source}-to-{target}", *where, known, ITEM_BUDGET)
        bench.wait()
        found += comparison(runs, "finetune", "probe", task=f"{source} to {target}", ranked="all")
    return found


def directions_of_reading(bench: Runs) -> list[Row]:
    """Serial or parallel patches on causal and on cloze bases, people of ML-100K."""
    methods = {
        "finetune": METHODS["finetune"],
        "serial": METHODS["peterrec"],
        "parallel": [*METHODS["peterrec"], "--set", "insertion=parallel"],
    }
    runs = {}
    for objective in ("next-item", "cloze"):
        for task in ("gender", "age"):
            runs[objective, task] = bench.transfer(
                f"ml100k-{objective}-{task}", bench.base("ml100k", objective), "ml100k-people",
                f"profile:{task}", methods, FEW_BUDGET,
            )  # fmt: skip
    bench.wait()
    return [
        row
        for (objective, task), of_methods in runs.items()
        for row in comparison(of_methods, "finetune", task=task, objective=objective)
    ]


def second_people(bench: Runs) -> list[Row]:
    """A base of ML-1M, the people of ML-100K."""
    runs = {
        task: bench.transfer(
            f"second-{task}", bench.base("ml1m"), "ml100k-as-ml1m", f"profile:{task}",
            METHODS | {"majority": COMPANIONS["majority"]}, FEW_BUDGET,
        )
        for task in ("gender", "age")
    }  # fmt: skip
    bench.wait()
    return profile_tables(bench, runs, "ml100k-as-ml1m")


def profiles(bench: Runs, tasks: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """ML-1M: every method, every label."""
    runs = {
        task: bench.transfer(
            f"ml1m-{task}", bench.base("ml1m"), "ml1m", f"profile:{task}", COMPANIONS,
            PROFILE_BUDGET, seeds=seeds,
        )
        for task in tasks
    }  # fmt: skip
    bench.wait()
    return profile_tables(bench, runs, "ml1m")


def profile_tables(
    bench: Runs, runs: Mapping[str, Mapping[str, Sequence[Path]]], data: str
) -> list[Row]:
    """Every method on every label, logistic regression on item sets among them."""
    found: list[Row] = []
    for task, of_methods in runs.items():
        regression = {"logistic regression": logistic_regression(Dataset(bench.work / data), task)}
        found += comparison(of_methods, "finetune", others=regression, task=task)
    return found


def costs(_: Runs) -> list[Row]:
    """Of a step beside one of fine-tuning: the benchmark, alone on the machine, two threads."""
    script = ROOT / "tests" / "benchmarks" / "transfer_speed.py"
    command = [sys.executable, str(script), "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = re.compile(r"(\w+), width (\d+): (.+) step costs ([\d.]+)x .* and ([\d.]+)x ")
    return [
        {
            "backbone": backbone, "width": int(width), "method": method, "step": float(step),
            "memory": float(memory),
        }
        for backbone, width, method, step, memory in line.findall(done.stdout)
    ]  # fmt: skip


PARTS = {
    "cross-domain": cross_domain,
    "learning-curve": learning_curve,
    "shapes": shapes,
    "readouts": readouts,
    "later": later,
    "reading": directions_of_reading,
    "second people": second_people,
    "profiles": lambda bench: profiles(bench, ["gender"], SEEDS),
    "costs": costs,
    "more profiles": lambda bench: profiles(bench, ["age", "occupation"], SEEDS[:1]),
}


if __name__ == "__main__":
    run_page(
        "peterrec",
        __doc__ or "",
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=("shapes", "reading"),
        plot="learning-curve.svg",
    )
