"""Cases by the age of their target item: how long before them training first met it."""

from collections import Counter

import polars as pl

from recxfer.testing.commands import answered, recxfer

DAY = 86_400
START = 1_600_000_000
TESTED = [
    ("new", 50, "never in training"),
    ("r", 10, "later"),
    ("q", 1.2, "1-7 days"),
    ("q", 0.9, "0 days"),
    ("p", 8, "8-30 days"),
    ("p", 30.99, "8-30 days"),
    ("p", 400, "366+ days"),
]
"""The last item of each person, in days after the first event of all, and its slice."""


def base_on(folder, log, *options):
    (folder / "log.csv").write_text(log)
    recxfer("prepare", folder / "log.csv", folder / "data", *options)
    small = ("--set", "width=8", "--set", "max_length=8", "--epochs", 1)
    recxfer("pretrain", folder / "data", folder / "base", *small)
    return folder / "base"


def test_ages_are_counted_from_the_first_training_event(tmp_path):
    rows = [("keeper", item, day) for item, day in [("p", 0), ("r", 40), ("p", 60), ("q", 61)]]
    for person, (item, day, _) in enumerate(TESTED):
        rows += [(f"u{person}", "p", 0), (f"u{person}", "q", 0), (f"u{person}", "p", day - 0.1)]
        rows.append((f"u{person}", item, day))
    lines = [f"{user},{item},{int(START + day * DAY)}" for user, item, day in rows]
    run = base_on(tmp_path, "\n".join(["user,item,time", *lines]) + "\n")
    shown = answered("evaluate", run, "--by", "item-age")
    assert shown["by"] == "item-age"
    expected = Counter(name for *_, name in TESTED) + Counter(["31-365 days"])
    assert {part["slice"]: part["cases"] for part in shown["slices"]} == expected
    order = ["never in training", "later", "0 days", "1-7 days", "8-30 days", "31-365 days"]
    assert [part["slice"] for part in shown["slices"]] == [*order, "366+ days"]


def test_without_times_there_is_no_age(tmp_path):
    log = "user,item\n" + "".join(f"u{n},{item}\n" for n in range(4) for item in "pqr")
    run = base_on(tmp_path, log + "u0,p\nu1,q\n")
    result = recxfer("evaluate", run, "--by", "item-age", code=2)
    assert "needs times" in result.stderr
    assert "--by item-frequency" in result.stderr


def test_cases_of_another_domain_have_the_times_of_that_domain(bases, books, tmp_path):
    run = tmp_path / "run"
    options = ("--method", "popular", "--task", "cross-domain")
    recxfer("transfer", bases["sasrec", "next-item"], books, run, *options)
    shown = answered("evaluate", run, "--by", "item-age")
    events = pl.read_parquet(books / "interactions.parquet")
    first = dict(
        events.filter(pl.col("split") == "train")
        .group_by("item")
        .agg(pl.col("timestamp").min())
        .rows()
    )
    found = Counter(
        "never" if item not in first else "later" if time < first[item] else "aged"
        for item, time in events.filter(pl.col("split") == "test")
        .select("item", "timestamp")
        .rows()
    )
    told = Counter()
    for part in shown["slices"]:
        told[part["slice"].split()[0] if "days" not in part["slice"] else "aged"] += part["cases"]
    assert told == found


def test_profiles_have_no_items_with_an_age(bases, films, tmp_path):
    run = tmp_path / "run"
    options = ("--method", "probe", "--task", "profile:taste", "--epochs", 1)
    recxfer("transfer", bases["sasrec", "next-item"], films, run, *options)
    result = recxfer("evaluate", run, "--by", "item-age", code=2)
    assert "does not fit the task" in result.stderr
    assert "item-age" in result.stderr
