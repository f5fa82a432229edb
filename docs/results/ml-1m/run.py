"""What this page can make again: both backbones on ML-1M, then profile tasks by every method.

Usage: python -m docs.results.ml-1m.run WORK_DIRECTORY [--jobs 2] [--quick]

Finished runs are not repeated, so that the script goes on where it stopped. Each run is a process
of its own with one thread; `--jobs` of them run side by side. Results go into `results.parquet`
beside this script (with --quick, into WORK_DIRECTORY, of ML-100K); so do the tables of `index.md`.
What the page says of the search, of RecBole and of what was tried was written down by hand, and
stays.
"""

from collections.abc import Mapping
from pathlib import Path

from docs.results.experiments import (
    Bench,
    Row,
    Words,
    comparison,
    logistic_regression,
    recxfer,
)
from docs.results.pages import run_page
from recxfer.data.dataset import Dataset

SEEDS = (0, 1, 2)
TASKS = ("gender", "age")
BACKBONES = ("sasrec", "nextitnet")
METHODS: Mapping[str, Words] = {
    "peterrec": ["--set", "train_norms=true"],
    "finetune": [],
    "last-layers": [],
    "probe": ["--epochs", "60", "--lr", "0.01"],
    "scratch": [],
}
"""Methods and what differs from the defaults: PeterRec also trains the second norms, as its release
does; a probe's epoch costs nothing, it gets more."""

LONGER = ["--set", "max_length=1000"]
"""Convolutions can read longer histories than they were pretrained on."""


class Runs(Bench):
    """Bases of both backbones, and transfers from that of convolutions."""

    @property
    def data(self) -> str:
        """ML-1M, or the small one."""
        return "ml100k" if self.quick else "data"

    def base(self, backbone: str) -> Path:
        """A base, pretrained when it is first asked for."""
        return self.pretrained(
            self.data, self.work / f"{backbone}-base", "--backbone", backbone
        )  # fmt: skip

    def transfers(self, task: str) -> dict[str, list[Path]]:
        """Ask for runs of every method; returns each method's directories, one per seed."""
        base = self.base("nextitnet")
        (self.work / "nextitnet").mkdir(exist_ok=True)
        runs: dict[str, list[Path]] = {}
        for seed in SEEDS[:1] if self.quick else SEEDS:
            for method, more in METHODS.items():
                run = self.work / "nextitnet" / f"{method}-{task}-{seed}"
                self.ask(
                    ["transfer", base, self.work / self.data, run, "--method", method,
                     "--task", f"profile:{task}", "--seed", seed, "--threads", 1,
                     *LONGER, *more, *self.few]
                )  # fmt: skip
                runs.setdefault(method, []).append(run)
        return runs


def prepare(work: Path, _: Path) -> None:
    """ML-1M, and ML-100K for a quick look."""
    recxfer("prepare", "movielens-1m", work / "data")
    recxfer("prepare", "movielens-100k", work / "ml100k")


def next_item(bench: Runs) -> list[Row]:
    """Both backbones on last events, as `recxfer evaluate --at 10` has them."""
    found: list[Row] = []
    for backbone in BACKBONES:
        base = bench.base(backbone)
        seconds = recxfer("pretrain", bench.work / bench.data, base)["seconds"]
        told = recxfer("evaluate", base, "--at", 10, out=bench.work / f"{backbone}-figures")
        found += [
            {"method": backbone, "metric": metric, **figure, "seconds": seconds}
            for metric, figure in told["runs"][0]["metrics"].items()
        ]
    return found


def profiles(bench: Runs) -> list[Row]:
    """Gender and age by every method, and by logistic regression on sets of films."""
    runs = {task: bench.transfers(task) for task in TASKS}
    bench.wait()
    found: list[Row] = []
    for task, of_methods in runs.items():
        regression = logistic_regression(Dataset(bench.work / bench.data), task)
        others = {"logistic regression": regression}
        found += comparison(of_methods, "finetune", others=others, backbone="nextitnet", task=task)
    return found


PARTS = {"next item": next_item, "profiles": profiles}


if __name__ == "__main__":
    run_page(
        "ml-1m",
        __doc__ or "",
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=("next item", "profiles"),
        raw=None,
    )
