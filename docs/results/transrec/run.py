"""Everything on this page: items known by text and images, carried to domains that share nothing.

Usage: python -m docs.results.transrec.run WORK_DIRECTORY RAW [--jobs 2] [--quick]

RAW holds amazon-sports/ and amazon-toys/ (interactions.csv.gz without times, items.csv) and
movielens-posters/images/ (posters by MovieLens id). Finished runs are not repeated, so that the
script goes on where it stopped. Each run is a process of its own with one thread, on a GPU if there
is one; `--jobs` of them run side by side. Static text vectors are those of `wordllama==0.4.0.post1`
(`pip install --no-deps`, and the extra `modal`). Results go into `results.parquet` beside this
script (with --quick, into WORK_DIRECTORY); once every part is there, so do the tables of `index.md`
and `shares.svg`.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from typing_extensions import override

from docs.results.experiments import (
    Bench,
    Place,
    Row,
    Untrained,
    Words,
    comparison,
    ranking_metrics,
    recxfer,
)
from docs.results.pages import run_page
from docs.results.stamps import ROOT
from recxfer.data.dataset import Dataset
from recxfer.data.examples import next_item_cases
from recxfer.data.rows import Batch
from recxfer.evaluation.metrics.contract import Functional
from recxfer.evaluation.ranking import rank
from recxfer.evaluation.statistics import estimate, mean_over_seeds
from recxfer.foundation.names import INTERACTIONS, ITEM_ID, USER_ID
from recxfer.foundation.reporting import SilentReporter
from recxfer.methods.contract import VectorLearner
from recxfer.models.content.config import ContentConfig
from recxfer.models.content.table import ContentTable
from recxfer.models.scoring import Output
from recxfer.runs.item_content import read_items_of
from recxfer.runs.open import open_run

SEEDS = (0, 1, 2)
SHARES = (1.0, 0.1, 0.01)
"""Of the target's people, to learn from."""

SOURCE_SHARES = (1.0, 0.3, 0.1)
USER = ["--set", "width=64", "--set", "max_length=20"]
TEXT = ["--objective", "transrec", "--set", "modality=text"]
ENCODERS = {
    "words": ["--set", "text=wordllama", "--set", "text_layers=all"],
    "static": ["--set", "text=wordllama", "--set", "text_layers=0"],
}
"""`words`: the mean of token vectors, which train; they begin as those of a public model. `static`:
the same, fixed, so that a projection alone trains."""

RATE = 1e-3
PRETRAINING = ["--epochs", 8, "--batch-size", 256, "--lr", RATE]
BUDGET = {
    1.0: ["--epochs", 24, "--batch-size", 256, "--lr", RATE, "--set", "validate_every=2"],
    0.1: ["--epochs", 30, "--batch-size", 64, "--lr", RATE, "--set", "validate_every=3"],
    0.01: ["--epochs", 40, "--batch-size", 16, "--lr", RATE, "--set", "validate_every=5"],
}
"""Few people make few steps: smaller batches, more epochs, of which validation chooses one."""

SHORTER = {
    1.0: ["--epochs", 10, *BUDGET[1.0][2:]],
    0.1: ["--epochs", 15, *BUDGET[0.1][2:]],
    0.01: ["--epochs", 30, *BUDGET[0.01][2:]],
}
"""Where events stand in random order."""

NEW = ["--method", "transrec", "--set", "user_encoder=new"]
METHODS = {
    "words, finetuned": ("words", ["--method", "transrec"]),
    "words, new user encoder": ("words", NEW),
    "static, finetuned": ("static", ["--method", "transrec"]),
    "unisrec": ("static", ["--method", "unisrec"]),
    "linear-adaptor": ("static", ["--method", "linear-adaptor"]),
}
"""What begins at a base of sports, and the encoder of that base."""

ONCE = ("unisrec", "linear-adaptor")
"""Learn from all people, with one seed; the others have three at every share, because something is
claimed."""

MODALITIES = ("text", "image", "mixture", "both")
FILMS = [
    "--objective", "transrec", *ENCODERS["static"],
    "--set", "image_side=32", "--set", "image_width=64", "--set", "image_depth=3",
]  # fmt: skip
WATCHER = ["--set", "width=64", "--set", "max_length=50", "--batch-size", 64]
"""Films are seen by the dozen."""

FILM_EPOCHS = {"thrillers": ["--epochs", 3], "comedies": ["--epochs", 6], "ids": ["--epochs", 25]}
SOURCE_GENRES = (
    "Action", "Adventure", "Crime", "Film-Noir", "Horror", "Mystery", "Sci-Fi", "Thriller", "War",
    "Western",
)  # fmt: skip
"""A film with any of these is a film of the source; one with none of them, of the target."""

NEIGHBOURS = "static text neighbours"
LAST = 5
"""Events whose static vectors speak for a person."""


class Runs(Bench):
    """Bases, and what is learned from them on a target."""

    def __init__(self, work: Path, jobs: int, *, quick: bool) -> None:
        super().__init__(work, jobs, quick=quick)
        self.seeds = SEEDS[:1] if quick else SEEDS
        self.shares = SHARES[1:2] if quick else SHARES

    def pretrain(self, data: str, name: str, seed: int, *words: object) -> Path:
        """Ask for a run pretrained on a dataset; returns its directory."""
        run = self.work / f"{data}-{slug(name)}-{seed}"
        more = [*words, "--seed", seed, "--threads", 1, *self.few]
        self.ask(["pretrain", self.work / data, run, *more])
        return run

    def transfer(self, base: Path, data: str, name: str, seed: int, *words: object) -> Path:
        """Ask for a transfer; returns its directory."""
        run = self.work / f"{data}-{slug(name)}-{seed}"
        more = [*words, "--seed", seed, "--threads", 1, *self.few]
        self.ask(["transfer", base, self.work / data, run, *more])
        return run


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^a-z0-9.]+", "-", name)


def settings(**values: object) -> list[str]:
    """`--set` words."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def prepare(work: Path, raw: Path) -> None:
    """Toys, sports without its people, both shuffled, too, and halves of MovieLens."""
    for data, more in (("toys", []), ("sports", ["--exclude-users", work / "toys"])):
        folder = raw / f"amazon-{data}"
        logs = {"": folder / "interactions.csv.gz", "-shuffled": shuffled(work, data, folder)}
        for suffix, log in logs.items():
            out = work / f"{data}{suffix}"
            recxfer("prepare", log, out, "--items", folder / "items.csv", *more)
    recxfer("prepare", "movielens-1m", work / "ml1m")
    for name, log, films in halves(work):
        recxfer(
            "prepare", log, work / name, "--items", films,
            "--images", raw / "movielens-posters" / "images",
        )  # fmt: skip


def shuffled(work: Path, data: str, folder: Path) -> Path:
    """A log in which each person's events stand in random order."""
    log = work / f"{data}.shuffled.parquet"
    if not log.exists():
        events = pl.read_csv(folder / "interactions.csv.gz")
        mixed = events.sample(fraction=1, shuffle=True, seed=0)
        mixed.sort("user_id", maintain_order=True).write_parquet(log)
    return log


def halves(work: Path) -> list[tuple[str, Path, Path]]:
    """Logs and item tables of two domains: by genre of the film, and by person (7 of 10 people are
    of the source, drawn at random)."""
    whole = Dataset(work / "ml1m")
    people = whole.user_ids.sort().sample(fraction=1, shuffle=True, seed=0)
    of_source = people[: round(0.7 * len(people))]
    films = whole.scan("items").select("item", ITEM_ID, "text").collect()
    is_source = pl.any_horizontal(
        pl.col("text").str.contains(rf"\) .*{re.escape(genre)}") for genre in SOURCE_GENRES
    )
    films = films.with_columns(source=is_source)
    users = pl.DataFrame({"user": range(len(whole.user_ids)), USER_ID: whole.user_ids})
    events = (
        whole.scan(INTERACTIONS).select("user", "item", "timestamp").collect()
        .join(users, on="user", maintain_order="left")
        .join(films, on="item", maintain_order="left")
    )  # fmt: skip
    made = []
    for name, source in (("thrillers", True), ("comedies", False)):
        log, table = work / f"{name}.log.parquet", work / f"{name}.films.parquet"
        if not log.exists():
            chosen = (pl.col("source") == source) & (
                pl.col(USER_ID).is_in(of_source.implode()) == source
            )
            events.filter(chosen).select(USER_ID, ITEM_ID, "timestamp").write_parquet(log)
            films.select(ITEM_ID, "text").write_parquet(table)
        made.append((name, log, table))
    return made


def static_neighbours(dataset: Dataset, max_length: int) -> dict[str, Functional]:
    """Metrics of the items whose static text vectors are nearest to the mean of the last five."""
    table = ContentTable(ContentConfig(modality="text", text="wordllama", text_layers=0), 8)
    table.attach(dataset.content)
    table.eval()
    vector_VD = torch.nn.functional.normalize(table.features("text").cpu(), dim=1)
    rows = next_item_cases(dataset, "test", max_length)
    found = rank(Static(vector_VD), torch.nn.Identity(), rows, device=torch.device("cpu"))
    return ranking_metrics(found.rank_R.numpy(), (5, 10))


class Static(Untrained):
    """People as the mean of what they read last; nothing is learned."""

    def __init__(self, vector_VD: Tensor) -> None:  # V items, D width
        self.vector_VD = vector_VD

    @override
    def represent(self, model: nn.Module, batch: Batch) -> Tensor:
        """User vectors."""
        place_BL = torch.arange(batch.history.item_BL.shape[1]) - batch.history.length_B[:, None]
        read_BL = ((place_BL >= -LAST) & (place_BL < 0)).float()
        padded_VD = torch.cat([torch.zeros(1, self.vector_VD.shape[1]), self.vector_VD])
        return torch.einsum("bl,bld->bd", read_BL, padded_VD[batch.history.item_BL])

    @override
    def output(self, model: nn.Module) -> Output:
        """What scores items."""
        return Output(self.vector_VD)


def base(bench: Runs, encoder: str, seed: int, share: float = 1.0, source: str = "sports") -> Path:
    """Ask for a base."""
    named = encoder if share == 1 else f"{encoder}-{share}"
    more = settings(**{"data.train_share": share}) if share < 1 else []
    asked = [*TEXT, *ENCODERS[encoder], *USER, *PRETRAINING, *more]
    return bench.pretrain(source, named, seed, *asked)


def text(
    bench: Runs,
    suffix: str = "",
    methods: Sequence[str] = tuple(METHODS),
    encoders: Sequence[str] = ("words", "static"),
    budget: Mapping[float, Words] = BUDGET,
) -> list[Row]:
    """Sports to toys, by text alone, from all, a tenth and a hundredth of the target's people.

    Args:
        bench: the runs.
        suffix: of the names of both datasets.
        methods: of `METHODS`.
        encoders: what bases read with, and networks without a base.
        budget: epochs and batches by share.
    """
    source, target = f"sports{suffix}", f"toys{suffix}"
    bases = {
        encoder: [base(bench, encoder, seed, source=source) for seed in bench.seeds]
        for encoder in encoders
    }
    ids = bench.pretrain(source, "ids", 0, *USER, "--epochs", 1)
    bench.wait()
    alone = {f"{encoder}, from scratch": [*TEXT, *ENCODERS[encoder]] for encoder in encoders}
    alone["item ids, from scratch"] = []
    runs: dict[float, dict[str, list[Place]]] = {share: {} for share in bench.shares}
    for share, of in runs.items():
        few = settings(**{"data.train_share": share})
        for seed in bench.seeds:
            for name in methods:
                encoder, words = METHODS[name]
                if name in ONCE and (seed, share) != (SEEDS[0], SHARES[0]):
                    continue
                asked = [*words, *few, *budget[share]]
                begun = bases[encoder][seed]
                of.setdefault(name, []).append(
                    bench.transfer(begun, target, f"{name}-{share}", seed, *asked)
                )
            for name, words in alone.items():
                asked = [*words, *USER, *few, *budget[share]]
                of.setdefault(name, []).append(
                    bench.pretrain(target, f"{name}-{share}", seed, *asked)
                )
        popular = ["--method", "popular", *few]
        of["popular"] = [bench.transfer(ids, target, f"popular-{share}", 0, *popular)]
        for encoder, of_seeds in bases.items():
            of[f"{encoder}, zero-shot"] = [(one, bench.work / target) for one in of_seeds]
    bench.wait()
    others = {NEIGHBOURS: static_neighbours(Dataset(bench.work / target), 20)}
    found: list[Row] = []
    for share, of in runs.items():
        found += comparison(of, *alone, others=others, by="item-frequency", share=share)
    return found


def mixed(bench: Runs) -> list[Row]:
    """The same where events stand in random order: what is told then is what goes together."""
    methods = ("words, finetuned", "words, new user encoder")
    return text(bench, "-shuffled", methods, ("words",), SHORTER)


ALTERED = {
    "as it is": {},
    "without the mean of all users": {"centred": True},
    "without attention": {"attends": False},
}
"""What is taken from a base before it ranks the items of another domain."""


class Altered(Untrained):
    """How a base ranks, with user vectors less their mean over all people of the domain."""

    def __init__(self, learner: VectorLearner[Any], mean_D: Tensor | float) -> None:  # D width
        self.learner, self.mean_D = learner, mean_D
        self.seen: list[Tensor] = []

    @override
    def represent(self, model: nn.Module, batch: Batch) -> Tensor:
        """User vectors."""
        hidden_BD = self.learner.represent(model, batch)
        self.seen.append(hidden_BD)
        return hidden_BD - self.mean_D

    @override
    def output(self, model: nn.Module) -> Output:
        """What scores items."""
        return self.learner.output(model)


def altered(
    run: Path, dataset: Dataset, *, centred: bool = False, attends: bool = True
) -> dict[str, Functional]:
    """Metrics of a base on another domain, of which nothing was learned."""
    device = torch.device("cpu")
    opened = open_run(run, device)
    read_items_of(opened.model, dataset, SilentReporter())
    if not attends:
        with torch.no_grad():
            model: Any = opened.model
            for block in model.backbone.blocks:
                block.sublayer1.out.weight.zero_()
                block.sublayer1.out.bias.zero_()
    rows = next_item_cases(dataset, "test", 20)
    with torch.inference_mode():
        assert isinstance(opened.learner, VectorLearner)
        learner = Altered(opened.learner, 0.0)
        found = rank(learner, opened.model, rows, device=device)
        if centred:
            learner = Altered(opened.learner, torch.cat(learner.seen).mean(0))
            found = rank(learner, opened.model, rows, device=device)
    return ranking_metrics(found.rank_R.numpy(), (5, 10))


def why(bench: Runs) -> list[Row]:
    """What of a base of sports stands in its way on toys."""
    bases = {
        encoder: [base(bench, encoder, seed) for seed in bench.seeds]
        for encoder in ("words", "static")
    }
    bench.wait()
    toys = Dataset(bench.work / "toys")
    people = next_item_cases(toys, "test", 20).user_R.numpy()
    found: list[Row] = []
    for encoder, of_seeds in bases.items():
        for name, change in ALTERED.items():
            metrics = mean_over_seeds([altered(run, toys, **change) for run in of_seeds])
            figures = estimate(metrics, people, seed=0)
            for metric, one in figures.items():
                found.append({
                    "encoder": encoder, "method": name, "metric": metric, "value": one.value,
                    "low": one.low, "high": one.high, "seeds": len(of_seeds),
                })  # fmt: skip
    return found


def scaling(bench: Runs) -> list[Row]:
    """Less of the source: what is left of zero-shot and of learning on a tenth of the target.

    Events stand in random order. One seed.
    """
    bases = {
        share: base(bench, "words", SEEDS[0], share, source="sports-shuffled")
        for share in SOURCE_SHARES
    }
    bench.wait()
    target = "toys-shuffled"
    few = [*settings(**{"data.train_share": 0.1}), *SHORTER[0.1]]
    runs: dict[str, Sequence[Place]] = {}
    for share, begun in bases.items():
        said = f"{share:.0%} of the source"
        runs[f"zero-shot, {said}"] = [(begun, bench.work / target)]
        for name in ("words, finetuned", "words, new user encoder"):
            named = f"{name}-0.1" if share == 1 else f"{name}-0.1-of-{share}"
            asked = [*METHODS[name][1], *few]
            runs[f"{name.removeprefix('words, ')}, {said}"] = [
                bench.transfer(begun, target, named, SEEDS[0], *asked)
            ]
    bench.wait()
    return comparison(
        runs, *(f"{name}, {1:.0%} of the source" for name in ("zero-shot", "finetuned"))
    )


def images(bench: Runs) -> list[Row]:
    """Thrillers to comedies: other films, other people; posters, titles, and both. One seed."""
    bases = {
        modality: bench.pretrain(
            "thrillers", modality, 0,
            *FILMS, *WATCHER, *settings(modality=modality), *FILM_EPOCHS["thrillers"],
        )
        for modality in MODALITIES
    }  # fmt: skip
    bench.wait()
    budget = FILM_EPOCHS["comedies"]
    every: dict[str, dict[str, Sequence[Place]]] = {
        modality: {
            "finetuned": [
                bench.transfer(
                    base, "comedies", f"{modality}-finetuned", 0,
                    "--method", "transrec", "--batch-size", 64, *budget,
                )
            ],
            "from scratch": [
                bench.pretrain(
                    "comedies", f"{modality}-scratch", 0,
                    *FILMS, *WATCHER, *settings(modality=modality), *budget,
                )
            ],
            "zero-shot": [(base, bench.work / "comedies")],
        }
        for modality, base in bases.items()
    }  # fmt: skip
    ids = [bench.pretrain("comedies", "ids", 0, *WATCHER, *FILM_EPOCHS["ids"])]
    bench.wait()
    popular = [bench.transfer(ids[0], "comedies", "popular", 0, "--method", "popular")]
    bench.wait()
    found: list[Row] = []
    for modality, of in every.items():
        runs = {**of, "item ids, from scratch": ids, "popular": popular}
        references = ("from scratch", "item ids, from scratch")
        found += comparison(runs, *references, by="item-frequency", modality=modality)
    side_by_side = {modality: of["finetuned"] for modality, of in every.items()}
    return found + comparison(side_by_side, "text", modality="all")


def costs(bench: Runs) -> list[Row]:
    """Of encoding items, and of a step with and without the distinct items of a batch."""
    script = ROOT / "tests" / "benchmarks" / "transrec_speed.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    return [{"kind": "cost", "line": line} for line in done.stdout.splitlines()]


PARTS = {
    "text": text,
    "why": why,
    "mixed": mixed,
    "scaling": scaling,
    "images": images,
    "costs": costs,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_page(
        "transrec",
        __doc__ or "",
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=("text",),
        plot="shares.svg",
        raw="holds amazon-sports, amazon-toys and movielens-posters",
    )
