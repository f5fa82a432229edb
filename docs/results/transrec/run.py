"""Everything on this page: items known by text and images, carried to domains that share nothing.

Usage: python docs/results/transrec/run.py WORK_DIRECTORY RAW [--jobs 2] [--quick]

RAW holds amazon-sports/ and amazon-toys/ (interactions.csv.gz without times, items.csv) and
movielens-posters/images/ (posters by MovieLens id). Finished runs are not repeated, so that the
script goes on where it stopped. Each run is a process of its own with one thread, on a GPU if there
is one; `--jobs` of them run side by side. Static text vectors are those of the package `wordllama`
(extra `modal`). Results go into `results.parquet` beside this script (with --quick, into WORK_DIRECTORY); once every
part is there, so do the tables of `index.md` and `shares.svg`.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from experiments import Bench, comparison, recxfer, run_page  # noqa: E402  # one folder up
from page import draw, tables  # noqa: E402

from recxfer.data.dataset import Dataset  # noqa: E402
from recxfer.data.examples import next_item_cases  # noqa: E402
from recxfer.foundation.names import INTERACTIONS, ITEM_ID, USER_ID  # noqa: E402
from recxfer.models.content.config import ContentConfig  # noqa: E402
from recxfer.models.content.table import ContentTable  # noqa: E402
from recxfer.models.output import Output  # noqa: E402
from recxfer.training.metrics import ranking_metrics  # noqa: E402
from recxfer.training.ranking import rank  # noqa: E402

SEEDS = (0, 1, 2)
SHARES = (1.0, 0.1, 0.01)
"""Of the target's people, to learn from."""

SOURCE_SHARES = (1.0, 0.3, 0.1)
USER = ["--set", "width=64", "--set", "max_length=20"]
TEXT = ["--objective", "transrec", "--set", "modality=text"]
"""The text encoder is the small one, from scratch: one layer of width 64 over hashed words."""

RATE = 1e-3
PRETRAINING = ["--epochs", 8, "--batch-size", 256, "--lr", RATE]
BUDGET = {
    1.0: ["--epochs", 8, "--batch-size", 256, "--lr", RATE],
    0.1: ["--epochs", 15, "--batch-size", 64, "--lr", RATE, "--set", "validate_every=3"],
    0.01: ["--epochs", 40, "--batch-size", 16, "--lr", RATE, "--set", "validate_every=5"],
}
"""Few people make few steps: smaller batches, more epochs, of which validation chooses one."""

IDS = {1.0: ["--epochs", 15]}
"""Epochs of item ids where they differ: from a random table they take longer."""

METHODS = {
    "finetuned": ["--method", "transrec"],
    "finetuned, encoders frozen": ["--method", "transrec", "--set", "encoders=frozen"],
    "frozen encoders, new user encoder": [
        "--method", "transrec", "--set", "encoders=frozen", "--set", "user_encoder=new",
    ],
    "unisrec": ["--method", "unisrec"],
    "linear-adaptor": ["--method", "linear-adaptor"],
}  # fmt: skip
"""From a base that was pretrained on another domain."""

SEVERAL = ("finetuned",)
"""Of them, those with three seeds, as the networks without pretraining have: something is claimed."""

MODALITIES = ("text", "image", "mixture", "both")
FILMS = [
    "--objective", "transrec", "--set", "image_side=32", "--set", "image_width=64",
    "--set", "image_depth=3",
]  # fmt: skip
WATCHER = ["--set", "width=64", "--set", "max_length=50", "--batch-size", 64]
"""Films are seen by the dozen."""

FILM_EPOCHS = {"thrillers": ["--epochs", 4], "comedies": ["--epochs", 8], "ids": ["--epochs", 25]}
SOURCE_GENRES = (
    "Action", "Adventure", "Crime", "Film-Noir", "Horror", "Mystery", "Sci-Fi", "Thriller", "War",
    "Western",
)  # fmt: skip
"""A film with any of these is a film of the source; one with none of them, of the target."""

LAST = 5
"""Events whose static vectors speak for a person."""


class Runs(Bench):
    """Bases, and what is learned from them on a target."""

    def __init__(self, work, jobs, *, quick):
        super().__init__(work, jobs, quick=quick)
        self.jobs = jobs
        self.seeds = SEEDS[:1] if quick else SEEDS
        self.shares = SHARES[1:2] if quick else SHARES

    def pretrain(self, data, name, seed, *words):
        """Ask for a run pretrained on a dataset; returns its directory."""
        run = self.work / f"{data}-{slug(name)}-{seed}"
        more = [*words, "--seed", seed, "--threads", 1, *self.few]
        self.ask(["pretrain", self.work / data, run, *more])
        return run

    def transfer(self, base, data, name, seed, *words):
        """Ask for a transfer; returns its directory."""
        run = self.work / f"{data}-{slug(name)}-{seed}"
        more = [*words, "--seed", seed, "--threads", 1, *self.few]
        self.ask(["transfer", base, self.work / data, run, *more])
        return run


def slug(name):
    """A name as part of a path."""
    return re.sub(r"[^a-z0-9.]+", "-", name)


def settings(**values):
    """`--set` words."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def prepare(work, raw):
    """Sports without the people of toys, toys, and two halves of MovieLens that share nothing."""
    toys, sports = raw / "amazon-toys", raw / "amazon-sports"
    recxfer("prepare", toys / "interactions.csv.gz", work / "toys", "--items", toys / "items.csv")
    recxfer(
        "prepare", sports / "interactions.csv.gz", work / "sports",
        "--items", sports / "items.csv", "--exclude-users", work / "toys",
    )  # fmt: skip
    recxfer("prepare", "movielens-1m", work / "ml1m")
    for name, log, films in halves(work):
        recxfer(
            "prepare", log, work / name, "--items", films,
            "--images", raw / "movielens-posters" / "images",
        )  # fmt: skip


def halves(work):
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


def static_neighbours(dataset, max_length):
    """Metrics of the items whose static text vectors are nearest to the mean of the last five."""
    table = ContentTable(ContentConfig(modality="text", text="wordllama", text_layers=0), 8)
    table.attach(dataset.content)
    table.eval()
    vector_VD = torch.nn.functional.normalize(table.features("text").cpu(), dim=1)
    rows = next_item_cases(dataset, "test", max_length)
    found = rank(Static(vector_VD), torch.nn.Identity(), rows, device=torch.device("cpu"))
    return ranking_metrics(found.rank_R.numpy(), (5, 10))


class Static:
    """People as the mean of what they read last; nothing is learned."""

    def __init__(self, vector_VD):  # noqa: N803  # V items, D width
        self.vector_VD = vector_VD

    def represent(self, model, batch):
        place_BL = torch.arange(batch.item_BL.shape[1]) - batch.length_B[:, None]
        read_BL = ((place_BL >= -LAST) & (place_BL < 0)).float()
        padded_VD = torch.cat([torch.zeros(1, self.vector_VD.shape[1]), self.vector_VD])
        return torch.einsum("bl,bld->bd", read_BL, padded_VD[batch.item_BL])

    def output(self, model):
        return Output(self.vector_VD)


def text(bench):
    """Sports to toys, by text alone, from all, a tenth and a hundredth of the target's people."""
    bases = {
        seed: bench.pretrain("sports", "text", seed, *TEXT, *USER, *PRETRAINING)
        for seed in bench.seeds
    }
    ids = bench.pretrain("sports", "ids", 0, *USER, "--epochs", 1)
    bench.wait()
    runs = {share: {} for share in bench.shares}
    for share in bench.shares:
        of = runs[share]
        few = settings(**{"data.train_share": share})
        for seed in bench.seeds:
            for name, words in METHODS.items():
                if seed and name not in SEVERAL:
                    continue
                asked = [*words, *few, *BUDGET[share]]
                of.setdefault(name, []).append(
                    bench.transfer(bases[seed], "toys", f"{name}-{share}", seed, *asked)
                )
            asked = [*TEXT, *USER, *few, *BUDGET[share]]
            of.setdefault("from scratch", []).append(
                bench.pretrain("toys", f"scratch-{share}", seed, *asked)
            )
            asked = [*USER, *few, *BUDGET[share], *IDS.get(share, [])]
            of.setdefault("item ids, from scratch", []).append(
                bench.pretrain("toys", f"ids-{share}", seed, *asked)
            )
        popular = ["--method", "popular", *few]
        of["popular"] = [bench.transfer(ids, "toys", f"popular-{share}", 0, *popular)]
        of["zero-shot"] = [(bases[seed], bench.work / "toys") for seed in bench.seeds]
    bench.wait()
    others = {"static text neighbours": static_neighbours(Dataset(bench.work / "toys"), 20)}
    found = []
    for share, of in runs.items():
        references = ("from scratch", "item ids, from scratch", "zero-shot")
        found += comparison(of, *references, others=others, by="item-frequency", share=share)
    return found


def scaling(bench):
    """Less of the source: what is left of zero-shot and of fine-tuning on a tenth of the target."""
    seeds = bench.seeds[:1]
    bases = {
        share: [
            bench.pretrain(
                "sports", "text" if share == 1 else f"text-{share}", seed,
                *TEXT, *USER, *PRETRAINING, *settings(**{"data.train_share": share}),
            )
            for seed in seeds
        ]
        for share in SOURCE_SHARES
    }  # fmt: skip
    bench.wait()
    few = settings(**{"data.train_share": 0.1})
    runs = {}
    for share, of_seeds in bases.items():
        named = "" if share == 1 else f"-of-{share}"
        runs[f"zero-shot, {share:.0%} of the source"] = [
            (base, bench.work / "toys") for base in of_seeds
        ]
        runs[f"finetuned, {share:.0%} of the source"] = [
            bench.transfer(base, "toys", f"finetuned-0.1{named}", seed,
                           *METHODS["finetuned"], *few, *BUDGET[0.1])
            for seed, base in zip(seeds, of_seeds, strict=True)
        ]  # fmt: skip
    scratch = [*TEXT, *USER, *few, *BUDGET[0.1]]
    runs["from scratch"] = [bench.pretrain("toys", "scratch-0.1", s, *scratch) for s in seeds]
    bench.wait()
    return comparison(runs, "from scratch")


def images(bench):
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
    every = {
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
    found = []
    for modality, of in every.items():
        runs = {**of, "item ids, from scratch": ids, "popular": popular}
        references = ("from scratch", "item ids, from scratch")
        found += comparison(runs, *references, by="item-frequency", modality=modality)
    side_by_side = {modality: of["finetuned"] for modality, of in every.items()}
    return found + comparison(side_by_side, "text", modality="all")


def costs(bench):
    """Of encoding items, and of a step with and without the distinct items of a batch."""
    script = HERE.parents[2] / "tests" / "benchmarks" / "transrec_speed.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    return [{"kind": "cost", "line": line} for line in done.stdout.splitlines()]


PARTS = {"text": text, "scaling": scaling, "images": images, "costs": costs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_page(
        __doc__,
        HERE,
        bench=Runs,
        prepare=prepare,
        parts=PARTS,
        quick=("text",),
        tables=tables,
        plot=(draw, "shares.svg"),
        raw="holds amazon-sports, amazon-toys and movielens-posters",
    )
