"""Everything on this page: Conure and its companions, task after task.

Usage: python -m docs.results.conure.run WORK_DIRECTORY FOOD_AND_KITCHEN [--jobs 2] [--quick]

FOOD_AND_KITCHEN holds food.csv.gz and kitchen.csv.gz (user_id, item_id, timestamp). Finished runs
are not repeated, so that the script goes on where it stopped. Each run is a process of its own with
one thread; `--jobs` sequences of runs go side by side. Results go into `results.parquet` beside
this script (with --quick, into WORK_DIRECTORY); once every part is there, so do the tables of
`index.md` and `pruning.svg`. Drawing needs matplotlib: `pip install recxfer[plot]`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from docs.results.experiments import (
    Bench,
    Place,
    Row,
    Words,
    comparison,
    cost_of,
    record_of,
    recxfer,
)
from docs.results.pages import run_page
from recxfer.data.dataset import Dataset
from recxfer.foundation.names import CHECKPOINT
from recxfer.preparing.linked_split import exposed

Places: TypeAlias = dict[str, tuple[Path, int | None]]
"""Each task's run and number in it; no number: what a base was pretrained for."""

SEEDS = (0, 1, 2)
TASKS = {
    "movies": ("ml1m", "next-item"),
    "liked": ("ml1m-liked", "next-item"),
    "age": ("ml1m", "profile:age"),
    "gender": ("ml1m", "profile:gender"),
    "occupation": ("ml1m", "profile:occupation"),
    "food": ("food", "next-item"),
    "kitchen": ("kitchen", "next-item"),
}
"""Tasks by name: their dataset and what `--task` calls them."""

ORDERS = {
    "A": ("movies", "liked", "age", "gender", "occupation"),
    "B": ("movies", "occupation", "gender", "age", "liked"),
    "C": ("liked", "gender", "movies", "age", "occupation"),
}
DOMAINS = (("food", "kitchen"), ("kitchen", "food"))

IN_TURN: dict[str, Words] = {
    "conure": ["--method", "conure"],
    "finetune in turn": ["--method", "finetune", "--set", "keep_pretraining=true"],
    "ewc": ["--method", "ewc"],
    "replay": ["--method", "replay"],
    "joint": ["--method", "replay", "--set", "memory=all"],
}
"""Methods whose runs hold all tasks, each learned on the run before."""

ONCE = {"replay", "joint"}
"""Of them, those that have one seed: nothing is claimed of them but the order of things."""

ALONE: dict[str, Words] = {
    "scratch": ["--method", "scratch"],
    "finetune": ["--method", "finetune"],
    "peterrec": ["--method", "peterrec"],
    "probe": ["--method", "probe"],
}
"""Methods with a model per task, each from the base."""

PRETRAINING: dict[str, Words] = {
    "movies": ["--epochs", 20], "liked": ["--epochs", 14],
    "food": ["--epochs", 8], "kitchen": ["--epochs", 8],
}  # fmt: skip
"""Of bases, by the task that they are pretrained for."""

PATIENCE = ["--set", "optim.patience=3"]
"""Of all methods. The best epoch is kept."""

EPOCHS = {"next-item": 20, "profile": 20}
"""At most, for whatever trains once. Conure trains twice, each with half of them."""

FIRST_EPOCHS = {"movies": 6, "liked": 6, "food": 4, "kitchen": 4}
"""Of the retraining of what a base was pretrained for."""

RATES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Shares that are pruned, for the curve; the paper's is 0.7."""

SEVERAL = (0.0, 0.7, 0.9)
"""Of which the curve has three seeds."""


class Runs(Bench):
    """Runs task after task, and for a task alone."""

    def __init__(self, work: Path, jobs: int, *, quick: bool) -> None:
        super().__init__(work, jobs, quick=quick)
        self.seeds = SEEDS[:1] if quick else SEEDS

    def base(self, task: str) -> Path:
        """A nextitnet base, pretrained when it is first asked for."""
        return self.pretrained(
            TASKS[task][0], self.work / f"base-{task}",
            "--backbone", "nextitnet", "--set", "width=64", *PRETRAINING[task],
        )  # fmt: skip

    def in_turn(self, order: Sequence[str], method: str, seed: int) -> Places:
        """Ask for the runs of a sequence.

        Returns:
            Each task's run and number when it was learned.
        """
        base = self.base(order[0])
        folder = self.work / "-".join(order)
        folder.mkdir(exist_ok=True)
        steps: list[Words] = []
        places: list[tuple[Path, int | None]] = []
        before = base
        for number, name in enumerate(order, 1):
            if number == 1 and method != "conure":
                places.append((base, None))
                continue
            run = folder / f"{method.replace(' ', '-')}-{seed}-{number}"
            epochs = FIRST_EPOCHS[name] if number == 1 else None
            halves = 2 if method == "conure" else 1
            steps.append(
                self._words(before, name, run, seed, IN_TURN[method], epochs, halves=halves)
            )
            places.append((run, number))
            before = run
        self.ask(*steps)
        return dict(zip(order, places, strict=True))

    def alone(self, base_task: str, name: str, method: str, seed: int, more: Words = ()) -> Path:
        """Ask for the run of one task from a base."""
        base = self.base(base_task)
        folder = self.work / f"{base_task}-alone"
        folder.mkdir(exist_ok=True)
        run = folder / f"{name}-{method}-{seed}"
        words = self._words(base, name, run, seed, [*ALONE[method], *more])
        self.ask(words)
        return run

    def pruned(self, rate: float, seed: int, *, retrain: bool) -> Path:
        """Ask for task 1 pruned at a rate, alone."""
        folder = self.work / "curve"
        folder.mkdir(exist_ok=True)
        run = folder / f"{rate}-{seed}-{'after' if retrain else 'before'}"
        words = ["--method", "conure", "--set", f"prune={rate}", "--set", f"retrain={int(retrain)}"]
        asked = self._words(self.base("movies"), "movies", run, seed, words, FIRST_EPOCHS["movies"])
        self.ask(asked)
        return run

    def _words(
        self,
        base: Path,
        name: str,
        run: Path,
        seed: int,
        method: Words,
        epochs: int | None = None,
        *,
        halves: int = 1,
    ) -> Words:
        data, task = TASKS[name]
        most = EPOCHS[task.partition(":")[0]]
        return [
            "transfer", base, self.work / data, run, "--task", task, "--seed", seed,
            "--threads", 1, *method, "--lr", learning_rate(name, method),
            "--epochs", epochs or most // halves, *PATIENCE, *self.few,
        ]  # fmt: skip


def learning_rate(name: str, method: Words) -> float:
    """Chosen on validation, for finetune and conure alike (see the page, what was tried)."""
    if "probe" in method and TASKS[name][1] != "next-item":
        return 0.01
    return 3e-4 if name == "liked" and "scratch" not in method else 1e-3


def prepare(work: Path, amazon: Path) -> None:
    """ML-1M, its films rated 5 with a split that follows, once also without; both shops."""
    recxfer("prepare", "movielens-1m", work / "ml1m")
    same = ["--where", "rating = 5", "--link", work / "ml1m", "--vocabulary", work / "ml1m"]
    recxfer("prepare", "movielens-1m", work / "ml1m-liked", *same, "--split", "linked")
    recxfer("prepare", "movielens-1m", work / "ml1m-apart", *same, "--split", "leave-last")
    for domain in ("food", "kitchen"):
        recxfer("prepare", amazon / f"{domain}.csv.gz", work / domain)


def at_the_end(places: Places, order: Sequence[str]) -> Places:
    """Where each task is in the last run of a sequence."""
    last, number = places[order[-1]]
    return {name: (last, place) for place, name in enumerate(order[:number], 1)}


def sequences(
    bench: Runs, order: Sequence[str], methods: Iterable[str], seeds: Sequence[int]
) -> dict[str, list[Places]]:
    """Runs of several methods: when each task was learned, and in the end."""
    found = {
        method: [
            bench.in_turn(order, method, seed) for seed in (seeds[:1] if method in ONCE else seeds)
        ]
        for method in methods
    }
    bench.wait()
    return found


def forgetting(
    found: Mapping[str, Sequence[Places]], order: Sequence[str], **facts: Any
) -> list[Row]:
    """What is left of each task in the end, beside what there was when it was learned."""
    rows: list[Row] = []
    for method, of_seeds in found.items():
        for name in order[:-1]:
            runs = {
                "when learned": [places[name] for places in of_seeds],
                "in the end": [at_the_end(places, order)[name] for places in of_seeds],
            }
            rows += comparison(
                runs, "when learned", at=(10,), task=name, learner=method,
                order=" ".join(order), **facts,
            )  # fmt: skip
    return rows


def sequence(bench: Runs) -> list[Row]:
    """Order A: every method on every task, in the end, beside models that are for it alone."""
    order = ORDERS["A"]
    found = sequences(bench, order, IN_TURN, bench.seeds)
    single = {
        name: {
            method: [bench.alone(order[0], name, method, seed) for seed in bench.seeds]
            for method in ALONE
        }
        for name in order[1:]
    }
    bench.wait()
    rows = forgetting(found, order, kind="forgetting")
    for name in order:
        runs: dict[str, Sequence[Place]] = {
            method: [at_the_end(places, order)[name] for places in of_seeds]
            for method, of_seeds in found.items()
        }
        if name == order[0]:
            runs = {"base": [bench.base(name)], **runs}
            references = ["base"]
        else:
            runs |= single[name]
            references = ["scratch", "finetune", "peterrec", "probe"]
        rows += comparison(
            runs, *references, at=(10,), task=name, order=" ".join(order), kind="quality"
        )
        learned = {
            method: [places[name] for places in of_seeds] for method, of_seeds in found.items()
        }
        learned |= {
            method: [(run, None) for run in of_seeds]
            for method, of_seeds in single.get(name, {}).items()
        }
        rows += [
            {
                "kind": "cost", "task": name, "method": method,
                **cost_of([run for run, _ in of_seeds]),
            }
            for method, of_seeds in learned.items()
        ]  # fmt: skip
    return rows


def matrices(bench: Runs) -> list[Row]:
    """What `recxfer evaluate` says of each sequence: the matrix and the means over tasks."""
    order, rows = ORDERS["A"], []
    for method in IN_TURN:
        places = bench.in_turn(order, method, 0)
        single = [bench.alone(order[0], name, "scratch", 0) for name in order[1:]]
        bench.wait()
        runs = list(dict.fromkeys(run for run, _ in places.values()))
        report = bench.work / f"matrix-{method.replace(' ', '-')}.html"
        told = recxfer("evaluate", *runs, *single, "--report", report, "--threads", 1, out=report)[
            "sequence"
        ]
        means = {
            name: told[name]
            for name in ("final_average", "forgetting", "backward_transfer", "forward_transfer")
        }
        for after, line in zip(order, told["matrix"], strict=True):
            cells = dict(zip(order, line, strict=True))
            rows += [
                {"method": method, "after": after, "task": task, "value": value, **means}
                for task, value in cells.items()
                if value is not None
            ]
    return rows


def orders(bench: Runs) -> list[Row]:
    """The other two orders: what is forgotten, and what a place in the sequence does to a task."""
    rows: list[Row] = []
    places_of = {"A": sequences(bench, ORDERS["A"], ["conure"], SEEDS[:1])}
    for letter in ("B", "C"):
        order = ORDERS[letter]
        found = sequences(bench, order, ["conure", "finetune in turn"], SEEDS[:1])
        rows += forgetting(found, order, kind="forgetting")
        places_of[letter] = found
    for name in ORDERS["A"]:
        runs = {
            letter: [places[name] for places in found["conure"]]
            for letter, found in places_of.items()
        }
        numbers = {letter: ORDERS[letter].index(name) + 1 for letter in ORDERS}
        rows += [
            {**row, "kind": "quality", "number": numbers[row["method"]]}
            for row in comparison(runs, "A", at=(10,), task=name)
        ]
    return rows


def domains(bench: Runs) -> list[Row]:
    """Food and kitchen, both orders, and both domains again in the end."""
    rows, seeds = [], SEEDS[:1]
    for order in DOMAINS:
        second = order[1]
        found = sequences(bench, order, ["conure", "finetune in turn"], seeds)
        scratch = [bench.alone(order[0], second, "scratch", seed) for seed in seeds]
        bench.wait()
        rows += forgetting(found, order, kind="forgetting")
        for name in order:
            runs: dict[str, Sequence[Place]] = {
                method: [at_the_end(places, order)[name] for places in of_seeds]
                for method, of_seeds in found.items()
            }
            runs["alone"] = scratch if name == second else [bench.base(name)]
            rows += comparison(
                runs, "alone", at=(10,), task=name, order=" ".join(order), kind="quality"
            )
    return rows


def curve(bench: Runs) -> list[Row]:
    """Task 1 at several rates, before and after retraining."""
    runs = {"base": [bench.base("movies")]}
    for rate in RATES[:1] if bench.quick else RATES:
        seeds = bench.seeds if rate in SEVERAL else bench.seeds[:1]
        runs[f"{rate} after"] = [bench.pruned(rate, seed, retrain=True) for seed in seeds]
        if rate:
            runs[f"{rate} before"] = [bench.pruned(rate, 0, retrain=False)]
    bench.wait()
    return [
        {**row, "rate": float(row["method"].split()[0]) if row["method"] != "base" else 0.0}
        for row in comparison(runs, "base", at=(10,), task="movies")
    ]


def size(bench: Runs) -> list[Row]:
    """Bytes of one checkpoint of five tasks, and of models that are for one task each."""
    order = ORDERS["A"]
    places = bench.in_turn(order, "conure", 0)
    models = {
        method: [bench.alone(order[0], name, method, 0) for name in order[1:]]
        for method in ("finetune", "peterrec")
    }
    bench.wait()
    first = bytes_of(bench.base(order[0]))
    found = [
        {"what": f"conure, {number} tasks" if number != 1 else "conure, 1 task",
         "bytes": bytes_of(run), "free_share": record_of(run)["free_share"]}
        for run, number in places.values()
    ]  # fmt: skip
    found.append({"what": "base", "bytes": first, "free_share": None})
    for method, runs in models.items():
        whole = first + sum(bytes_of(run) for run in runs)
        found.append({"what": f"base and {method} per task", "bytes": whole, "free_share": None})
    return found


def bytes_of(run: Path) -> int:
    """Size of a checkpoint."""
    return (run / CHECKPOINT).stat().st_size


def exposure(bench: Runs) -> list[Row]:
    """Events held out in one of two datasets that the other trains on, by how they were split."""
    whole = Dataset(bench.work / "ml1m")
    found = []
    for name, rule in (("ml1m-liked", "linked"), ("ml1m-apart", "leave-last")):
        other = Dataset(bench.work / name)
        cases = int((other.events.split_E == 2).sum())
        found.append({"rule": rule, "exposed": exposed(other, whole), "test_cases": cases})
    return found


PARTS = {
    "exposure": exposure,
    "sequence": sequence,
    "matrices": matrices,
    "curve": curve,
    "domains": domains,
    "orders": orders,
    "size": size,
}
QUICK = ("exposure", "curve")


if __name__ == "__main__":
    run_page(
        "conure",
        __doc__ or "",
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=QUICK,
        plot="pruning.svg",
    )
