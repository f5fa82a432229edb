"""Everything on this page: items known by text and images, carried to domains that share nothing.

Usage: python docs/results/transrec/run.py WORK_DIRECTORY RAW [--jobs 2] [--quick]

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
from pathlib import Path

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
ENCODERS = {
    "static": ["--set", "text=wordllama", "--set", "text_layers=0"],
    "small": ["--set", "text=small"],
}
"""`static`: fixed vectors of a public model, of which a projection trains. `small`: from scratch,
end to end: one layer of width 64 over hashed words."""

RATE = 1e-3
PRETRAINING = ["--epochs", 8, "--batch-size", 256, "--lr", RATE]
BUDGET = {
    1.0: ["--epochs", 12, "--batch-size", 256, "--lr", RATE],
    0.1: ["--epochs", 15, "--batch-size", 64, "--lr", RATE, "--set", "validate_every=3"],
    0.01: ["--epochs", 40, "--batch-size", 16, "--lr", RATE, "--set", "validate_every=5"],
}
"""Few people make few steps: smaller batches, more epochs, of which validation chooses one."""

METHODS = {
    "finetuned": ["--method", "transrec"],
    "new user encoder": ["--method", "transrec", "--set", "user_encoder=new"],
    "unisrec": ["--method", "unisrec"],
    "linear-adaptor": ["--method", "linear-adaptor"],
}
"""From a base that was pretrained on another domain, by static vectors."""

SEVERAL = ("finetuned",)
"""Of them, those with three seeds at every share, as the networks without pretraining have, because
something is claimed. The others learn from all people, with one seed."""

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

LAST = 5
"""Events whose static vectors speak for a person."""


class Runs(Bench):
    """Bases, and what is learned from them on a target."""

    def __init__(self, work, jobs, *, quick):
        super().__init__(work, jobs, quick=quick)
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


def base(bench, encoder, seed, share=1.0):
    """Ask for a base of sports."""
    named = encoder if share == 1 else f"{encoder}-{share}"
    more = settings(**{"data.train_share": share}) if share < 1 else []
    asked = [*TEXT, *ENCODERS[encoder], *USER, *PRETRAINING, *more]
    return bench.pretrain("sports", named, seed, *asked)


def text(bench):
    """Sports to toys, by text alone, from all, a tenth and a hundredth of the target's people."""
    bases = {seed: base(bench, "static", seed) for seed in bench.seeds}
    ids = bench.pretrain("sports", "ids", 0, *USER, "--epochs", 1)
    bench.wait()
    runs = {share: {} for share in bench.shares}
    for share, of in runs.items():
        few = settings(**{"data.train_share": share})
        for seed in bench.seeds:
            for name, words in METHODS.items():
                if name not in SEVERAL and (seed, share) != (SEEDS[0], SHARES[0]):
                    continue
                asked = [*words, *few, *BUDGET[share]]
                of.setdefault(name, []).append(
                    bench.transfer(bases[seed], "toys", f"{name}-{share}", seed, *asked)
                )
            for name, words in (
                ("from scratch", [*TEXT, *ENCODERS["static"]]),
                ("item ids, from scratch", []),
            ):
                asked = [*words, *USER, *few, *BUDGET[share]]
                of.setdefault(name, []).append(
                    bench.pretrain("toys", f"{name}-{share}", seed, *asked)
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


def end_to_end(bench):
    """Sports to toys with an encoder of texts that trains from scratch. One seed."""
    of_sports = base(bench, "small", 0)
    bench.wait()
    runs = {"zero-shot": [(of_sports, bench.work / "toys")]}
    words = [*METHODS["finetuned"], *BUDGET[1.0]]
    runs["finetuned"] = [bench.transfer(of_sports, "toys", "small-finetuned", 0, *words)]
    words = [*TEXT, *ENCODERS["small"], *USER, *BUDGET[1.0]]
    runs["from scratch"] = [bench.pretrain("toys", "small-scratch", 0, *words)]
    bench.wait()
    return comparison(runs, "from scratch")


def scaling(bench):
    """Less of the source: what is left of zero-shot and of fine-tuning on a tenth of the target."""
    bases = {
        share: [base(bench, "static", seed, share) for seed in SEEDS[:1]] for share in SOURCE_SHARES
    }
    bench.wait()
    few = [*METHODS["finetuned"], *settings(**{"data.train_share": 0.1}), *BUDGET[0.1]]
    runs = {}
    for share, of_seeds in bases.items():
        said = f"{share:.0%} of the source"
        runs[f"zero-shot, {said}"] = [(one, bench.work / "toys") for one in of_seeds]
        named = "finetuned-0.1" if share == 1 else f"finetuned-0.1-of-{share}"
        runs[f"finetuned, {said}"] = [
            bench.transfer(one, "toys", named, seed, *few) for seed, one in enumerate(of_seeds)
        ]
    bench.wait()
    return comparison(
        runs, f"zero-shot, {1:.0%} of the source", f"finetuned, {1:.0%} of the source"
    )


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


PARTS = {
    "text": text,
    "end-to-end": end_to_end,
    "scaling": scaling,
    "images": images,
    "costs": costs,
}


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
