"""Everything on this page: contrastive pretraining beside item-level pretraining, for people.

Usage: python -m docs.results.clue.run WORK_DIRECTORY FOOD_AND_KITCHEN [--jobs 2] [--quick]

FOOD_AND_KITCHEN holds food.csv.gz and kitchen.csv.gz (user_id, item_id, timestamp). Finished runs
are not repeated, so that the script goes on where it stopped. Each run is a process of its own with
one thread; `--jobs` of them run side by side. Results go into `results.parquet` beside this script
(with --quick, into WORK_DIRECTORY); once every part is there, so do the tables of `index.md` and
`people.svg`. The part `cost` measures speed: nothing else should run beside it. Drawing needs
matplotlib: `pip install recxfer[plot]`.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import polars as pl
import torch

from docs.results.experiments import (
    Bench,
    Row,
    Words,
    cases_of_run,
    comparison,
    logistic_regression,
    record_of,
    recxfer,
)
from docs.results.pages import run_page
from docs.results.stamps import ROOT
from recxfer.data.dataset import Dataset
from recxfer.evaluation.cases import Protocol
from recxfer.evaluation.metrics.contract import Functional
from recxfer.foundation.names import HISTORY
from recxfer.methods.contract import VectorLearner

SEEDS = (0, 1, 2)
VIEWS = ("dropout", "crop", "mask", "reorder", "substitute", "insert")
ENCODER = ["--set", "width=64", "--set", "max_length=50"]
PRETRAINING: dict[str, list[object]] = {
    "ml1m": ["--epochs", 15, "--batch-size", 256, "--lr", 1e-3, "--set", "data.windows=last"],
    "food": ["--epochs", 10, "--batch-size", 256, "--lr", 1e-3],
}
"""Of every objective: batches of 256 people, so that losses that compare them can."""

PREDICTIVE: list[object] = ["--batch-size", 64, "--set", "projected=512"]
"""Of losses that predict a view and compare nobody, which need steps and a wide projection instead:
chosen on validation (see the page, what was tried)."""


def clue(loss: str, *settings: str) -> list[object]:
    """Words of a contrastive run whose user vector is what transfers to profiles read."""
    settings = (f"loss={loss}", "readout=mean", *settings)
    words = [word for setting in settings for word in ("--set", setting)]
    more = PREDICTIVE if loss in ("simsiam", "byol") else []
    return ["--objective", "clue", *more, *words]


ITEM_LEVEL: dict[str, list[object]] = {"next-item": [], "cloze": ["--objective", "cloze"]}
RANDOM: dict[str, list[object]] = {"random": ["--epochs", 1, "--lr", 1e-12]}
"""An encoder as it was drawn: nothing moves by more than 1e-10."""

CLUE = {
    f"{loss}, {view}": clue(loss, f"views={view}")
    for loss, views in (
        ("simsiam", VIEWS),
        ("nt-xent", VIEWS),
        ("byol", VIEWS[:2]),
        ("barlow-twins", VIEWS[:2]),
    )
    for view in views
}
JOINT = {"nt-xent, crop, next items too": clue("nt-xent", "views=crop", "next_item=1")}
STRENGTHS = {
    **{
        f"nt-xent, crop of {keep:.0%}": clue("nt-xent", "views=crop", f"crop_keep={keep}")
        for keep in (0.3, 0.1)
    },
    "nt-xent, reorder of 100%": clue("nt-xent", "views=reorder", "reorder_share=1"),
    "nt-xent, all at once": clue("nt-xent", f"views={','.join(VIEWS[1:])}", "mix=compose"),
}
MILD = {
    "nt-xent, crop of 30%": "nt-xent, crop",
    "nt-xent, crop of 10%": "nt-xent, crop",
    "nt-xent, reorder of 100%": "nt-xent, reorder",
    "nt-xent, all at once": "nt-xent, crop",
}
"""What each strength is compared with: the same view at its default."""

LESS = {
    f"simsiam, crop, no {name}": clue(
        "simsiam", "views=crop", f"{part}=false", "allow_collapse=true"
    )
    for name, part in (("stop-gradient", "stop_gradient"), ("predictor", "predictor"))
}
BASES = RANDOM | ITEM_LEVEL | CLUE | JOINT | STRENGTHS | LESS

MAIN = (
    "random",
    "next-item",
    "cloze",
    "simsiam, dropout",
    "simsiam, crop",
    "nt-xent, dropout",
    "nt-xent, crop",
    "nt-xent, crop, next items too",
)
"""Bases of every protocol and label."""

SEVERAL = {*MAIN} - {"cloze", *JOINT}
"""Of them, those with three seeds, of pretraining and of what follows: something is claimed."""

FEW = ("random", "next-item", "simsiam, dropout", "nt-xent, crop", *JOINT)
"""Of them, those that learn from few labels."""

SHOPS = ("random", "next-item", "cloze", "simsiam, dropout", "nt-xent, crop", *JOINT)
"""Of them, those that are pretrained on food; `simsiam, dropout` with one seed there."""

NOTHING = "no pretraining"
"""A frozen random encoder under a probe, a network from scratch under fine-tuning."""

REFERENCES = (NOTHING, "next-item")
"""What every base is compared with, in pairs."""

PROFILE_BUDGET: dict[str, list[object]] = {
    "probe": ["--method", "probe", "--epochs", 60, "--lr", 0.01],
    "finetune": ["--method", "finetune", "--epochs", 12],
}
SCRATCH: list[object] = ["--method", "scratch"]
"""Fine-tuning of a random encoder, with the same budget."""

SHARES = (0.01, 0.05, 0.2)
FEW_BUDGET: list[object] = ["--epochs", 40, "--batch-size", 16]
"""Few people make few steps: small batches, more epochs, of which validation chooses one."""

ITEM_BUDGET: list[object] = [
    "--epochs", 8, "--batch-size", 128, "--lr", 3e-4,
    "--set", "data.train_share=0.2", "--set", "readout=mean",
]  # fmt: skip
"""A fifth of the people, with the learning rate of the page of PeterRec."""


class Runs(Bench):
    """Bases of many objectives, and what begins with them."""

    def __init__(self, work: Path, jobs: int, *, quick: bool) -> None:
        super().__init__(work, jobs, quick=quick)
        self.asked: dict[Path, Future[list[dict[str, Any]]]] = {}
        self.regressions: dict[str, dict[str, Functional]] = {}

    def seeds(self, base: str) -> tuple[int, ...]:
        """Of a base, and of the runs that begin with it."""
        return SEEDS if base in SEVERAL and not self.quick else SEEDS[:1]

    def base(self, data: str, name: str, seed: int) -> Path:
        """Ask for a base; returns where it will be."""
        path = self.work / f"clue-{data}" / f"{plain(name)}-{seed}"
        self._ask(
            path, "pretrain", self.work / data, path, *ENCODER, *PRETRAINING[data],
            *self.few, *BASES[name], "--seed", seed, "--threads", 1,
        )  # fmt: skip
        return path

    def transfer(
        self, group: str, source: str, base: str, data: str, task: str, words: Words, seed: int
    ) -> Path:
        """Ask for a run from a base; returns where it will be."""
        begin = self.base(source, base, seed)
        path = self.work / f"clue-{group}" / f"{plain(base)}-{seed}"
        self._ask(
            path, "transfer", begin, self.work / data, path, "--task", task,
            *words, *self.few, "--seed", seed, "--threads", 1, after=begin,
        )  # fmt: skip
        return path

    def of_bases(
        self,
        group: str,
        bases: Iterable[str],
        task: str,
        protocol: str,
        more: Words = (),
        *,
        once: bool = False,
    ) -> dict[str, list[Path]]:
        """Runs on a profile of ML-1M: each base's directories, one per seed.

        Args:
            group: names the folder.
            bases: by name.
            task: the label.
            protocol: `probe` or `finetune`.
            more: words behind those of the protocol.
            once: one seed of each.
        """
        seeds = {base: SEEDS[:1] if once else self.seeds(base) for base in bases}
        self.bases_first("ml1m", seeds)
        runs = {}
        for base in bases:
            if base == "random" and protocol == "finetune":
                words, name = [*PROFILE_BUDGET["finetune"], *SCRATCH], NOTHING
            else:
                words, name = PROFILE_BUDGET[protocol], NOTHING if base == "random" else base
            runs[name] = [
                self.transfer(
                    f"{group}-{task}-{protocol}", "ml1m", base, "ml1m", f"profile:{task}",
                    [*words, *more], seed,
                )
                for seed in seeds[base]
            ]  # fmt: skip
        return runs

    def bases_first(self, data: str, seeds: Mapping[str, Sequence[int]]) -> None:
        """Ask for bases before what begins with them: a worker that waits works at nothing."""
        for base, of_base in seeds.items():
            for seed in of_base:
                self.base(data, base, seed)

    def regression(self, task: str) -> dict[str, dict[str, Functional]]:
        """Logistic regression on the set of items, once per label."""
        if task not in self.regressions:
            self.regressions[task] = logistic_regression(Dataset(self.work / "ml1m"), task)
        return {"logistic regression": self.regressions[task]}

    def _ask(self, path: Path, *words: object, after: Path | None = None) -> None:
        """Ask for a run once. What it begins with was asked for before, and so is under way."""
        if path in self.asked:
            return
        path.parent.mkdir(exist_ok=True)
        before = None if after is None else self.asked.get(after)

        def work() -> list[dict[str, Any]]:
            if before is not None:
                before.result()
            return [recxfer(*words)]

        self.asked[path] = self.pool.submit(work)
        self.waiting.append(self.asked[path])


def plain(name: str) -> str:
    """A name as that of a directory."""
    return name.replace(", ", "-").replace(" ", "-").replace("%", "")


def prepare(work: Path, amazon: Path) -> None:
    """ML-1M, food, and kitchen with cold people."""
    recxfer("prepare", "movielens-1m", work / "ml1m")
    recxfer("prepare", amazon / "food.csv.gz", work / "food")
    recxfer(
        "prepare", amazon / "kitchen.csv.gz", work / "kitchen-cold",
        "--link", work / "food", "--split", "users",
    )  # fmt: skip


def bases(bench: Runs) -> list[Row]:
    """Every view under every loss, by a probe of gender; what became of the vectors."""
    names = [*MAIN, *(name for name in CLUE if name not in MAIN)]
    runs = bench.of_bases("full", names, "gender", "probe")
    bench.wait()
    others = bench.regression("gender")
    found = comparison(runs, *REFERENCES, others=others, task="gender", how="probe")
    for loss in ("simsiam", "nt-xent"):
        pair = {name: runs[name] for name in (f"{loss}, crop", f"{loss}, dropout")}
        found += comparison(pair, f"{loss}, crop", task="gender", how="probe")
    return found + [row for name in names for row in spread(bench, name, bench.seeds(name))]


def spread(bench: Runs, name: str, seeds: Sequence[int]) -> list[Row]:
    """What validation saw of the vectors of a base, at the epoch that was kept and at the last."""
    found: list[Row] = []
    for seed in seeds:
        path = bench.base("ml1m", name, seed)
        record = record_of(path)
        history = pl.read_parquet(path / HISTORY)
        kept = history.filter(epoch=record["best_epoch"]).row(0, named=True)
        last = history.row(-1, named=True)
        found.append(
            {
                "kind": "spread", "method": name, "seed": seed,
                **{
                    figure: kept.get(figure)
                    for figure in ("recognition", "std", "effective_rank")
                },
                **{
                    figure: last.get(figure) for figure in ("projected_std", "projected_rank")
                },
                "best_epoch": record["best_epoch"], "of_epochs": record["epochs"],
                "seconds": record["seconds"], "rate": record["sequences_per_second"],
            }
        )  # fmt: skip
    return found


def strengths(bench: Runs) -> list[Row]:
    """Views stronger and weaker than their defaults, by a probe of gender."""
    names = [*STRENGTHS, *dict.fromkeys(MILD.values())]
    runs = bench.of_bases("full", names, "gender", "probe", once=True)
    bench.wait()
    found: list[Row] = []
    for name, reference in MILD.items():
        pair = {reference: runs[reference], name: runs[name]}
        found += comparison(pair, reference, task="gender", how="probe")
    return found


def collapse(bench: Runs) -> list[Row]:
    """SimSiam without one of its parts."""
    names = ["simsiam, crop", *LESS]
    runs = bench.of_bases("full", names, "gender", "probe", once=True)
    bench.wait()
    found = comparison(runs, "simsiam, crop", task="gender", how="probe")
    return found + [row for name in names for row in spread(bench, name, SEEDS[:1])]


def protocols(bench: Runs, tasks: Sequence[str], *, once: bool) -> list[Row]:
    """A frozen encoder and a fine-tuned one, beside no pretraining and item-level pretraining."""
    runs = {
        (task, protocol): bench.of_bases("full", MAIN, task, protocol, once=once)
        for task in tasks
        for protocol in PROFILE_BUDGET
    }
    bench.wait()
    found: list[Row] = []
    for (task, protocol), of_bases in runs.items():
        others = bench.regression(task)
        found += comparison(of_bases, *REFERENCES, others=others, task=task, how=protocol)
    return found


def few_labels(bench: Runs) -> list[Row]:
    """Gender, with the labels of few people."""
    names = ("random", "nt-xent, crop") if bench.quick else FEW
    runs = {
        (share, protocol): bench.of_bases(
            f"few-{share}", names, "gender", protocol,
            [*FEW_BUDGET, "--set", f"data.train_share={share}"],
        )
        for share in (SHARES[:1] if bench.quick else SHARES)
        for protocol in PROFILE_BUDGET
    }  # fmt: skip
    bench.wait()
    return [
        row
        for (share, protocol), of_bases in runs.items()
        for row in comparison(of_bases, NOTHING, task="gender", how=protocol, share=share)
    ]


def domains(bench: Runs) -> list[Row]:
    """Food to kitchen: cold people, every target item ranked."""
    runs: dict[str, dict[str, list[Path]]] = {"probe": {}, "finetune": {}}
    seeds = {base: SEEDS[:1] if base == "simsiam, dropout" else bench.seeds(base) for base in SHOPS}
    bench.bases_first("food", seeds)
    for protocol, of_bases in runs.items():
        for base in SHOPS:
            words = ["--method", protocol, *ITEM_BUDGET]
            if base == "random" and protocol == "finetune":
                words = [*SCRATCH, *ITEM_BUDGET, "--lr", 1e-3]
            of_bases[NOTHING if base == "random" else base] = [
                bench.transfer(
                    f"kitchen-{protocol}", "food", base, "kitchen-cold", "cross-domain", words, seed
                )
                for seed in seeds[base]
            ]
    plain_ones = {
        name: [
            bench.transfer(
                f"kitchen-{name}", "food", "next-item", "kitchen-cold", "cross-domain",
                ["--method", name, "--set", "data.train_share=0.2"], 0,
            )
        ]
        for name in ("popular", "user-knn")
    }  # fmt: skip
    bench.wait()
    return [
        row
        for protocol, of_bases in runs.items()
        for row in comparison(
            of_bases | plain_ones, *REFERENCES, task="food to kitchen", how=protocol
        )
    ]


def picture(bench: Runs) -> list[Row]:
    """Test people on the two main axes of the vectors that a probe of gender reads."""
    found: list[Row] = []
    for base in ("random", "next-item", "simsiam, dropout", "nt-xent, crop"):
        ((run,),) = bench.of_bases("full", [base], "gender", "probe", once=True).values()
        bench.wait()
        opened, _, rows = cases_of_run(run, Protocol())
        assert rows.target_R is not None
        assert isinstance(opened.learner, VectorLearner)
        with torch.inference_mode():
            batch = rows.batch(torch.arange(len(rows)))
            vector_ND = opened.learner.represent(opened.model, batch).double()
        vector_ND = vector_ND - vector_ND.mean(0)
        _, size_D, axis_DD = torch.linalg.svd(vector_ND, full_matrices=False)
        # The sign of an axis is chance: its largest entry points upwards.
        largest_2 = axis_DD[:2].abs().argmax(1, keepdim=True)
        place_N2 = vector_ND @ (axis_DD[:2] * axis_DD[:2].gather(1, largest_2).sign()).T
        share = float(size_D[:2].square().sum() / size_D.square().sum())
        found += [
            {"method": base, "x": x, "y": y, "label": opened.task.classes[label], "share": share}
            for (x, y), label in zip(place_N2.tolist(), rows.target_R.tolist(), strict=True)
        ]
    return found


def cost(bench: Runs) -> list[Row]:
    """What a step costs beside next-item pretraining: the benchmark, on one thread."""
    script = ROOT / "tests" / "benchmarks" / "clue_speed.py"
    command = [sys.executable, str(script), "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [{"method": name, **figures} for name, figures in json.loads(done.stdout).items()]


def bad_input(bench: Runs) -> list[Row]:
    """What a command says of input that cannot be meant, and what it does with what is odd."""
    work = bench.work / "clue-bad-input"
    work.mkdir(exist_ok=True)
    logs = {
        "alike": [(f"u{user}", f"i{item}", item) for user in range(40) for item in range(5)],
        # Some people have three events, and so one for training: they are left out.
        "short": [
            (f"u{user}", f"i{(7 * user + item) % 23}", item)
            for user in range(60)
            for item in range(3 + user % 3)
        ],
        "one": [(f"u{user}", f"i{user % 23}", 1) for user in range(40)],
    }
    for name, events in logs.items():
        log = work / f"{name}.csv"
        log.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events))
        told("prepare", log, work / name)
    told("prepare", "synthetic", work / "toy")
    small: list[object] = ["--objective", "clue", "--epochs", 2, "--set", "width=16"]
    told("pretrain", work / "toy", work / "base", *small)

    def pretrain(data: str, *words: object) -> Words:
        return "pretrain", work / data, work / "run", *small, *words

    def settings(*given: str) -> list[str]:
        return [word for setting in given for word in ("--set", setting)]

    cases: dict[str, Words] = {
        "a batch of one": pretrain("toy", "--batch-size", 1),
        "people with one event": pretrain("one"),
        "people with one to three training events": pretrain("short", *settings("views=crop")),
        "all histories the same": pretrain("alike", *settings("views=crop")),
        "a temperature of 0": pretrain("toy", *settings("loss=nt-xent", "temperature=0")),
        "a crop that keeps nothing": pretrain("toy", *settings("views=crop", "crop_keep=0")),
        "a mask over everything": pretrain("toy", *settings("views=mask", "mask_share=1")),
        "two views that are the same": pretrain("toy", *settings("dropout=0.0")),
        "a predictor where there is none": pretrain(
            "toy", *settings("loss=nt-xent", "predictor=false")
        ),
        "no stop-gradient, large steps": pretrain(
            "toy", "--epochs", 30, "--lr", 0.02, "--batch-size", 16,
            *settings("views=crop", "dropout=0.0", "stop_gradient=false", "predictor=false"),
        ),
        "ranking items with a run of clue alone": ("evaluate", work / "base"),
        "holding a task that was not learned": (
            "transfer", work / "base", work / "toy", work / "run",
            "--method", "conure", "--task", "profile:age",
        ),
    }  # fmt: skip
    return [{"what": what, **told(*words)} for what, words in cases.items()]


def told(*words: object) -> Row:
    """The exit code of a command and its message, or nothing where it has done what was asked."""
    command = [sys.executable, "-m", "recxfer", *map(str, words), "--json", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    error = json.loads(done.stderr.splitlines()[-1])["error"] if done.returncode else ""
    for path in (word for word in words if isinstance(word, Path)):
        error = error.replace(str(path), path.name)
    return {"code": done.returncode, "error": error}


PARTS = {
    "bases": bases,
    "strengths": strengths,
    "collapse": collapse,
    "gender": lambda bench: protocols(bench, ["gender"], once=False),
    "few labels": few_labels,
    "food to kitchen": domains,
    "more profiles": lambda bench: protocols(bench, ["age", "occupation"], once=True),
    "picture": picture,
    "bad input": bad_input,
    "cost": cost,
}


if __name__ == "__main__":
    run_page(
        "clue",
        __doc__ or "",
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=("few labels", "bad input"),
        plot="people.svg",
    )
