"""What the page shows of `results.parquet`: its tables."""

import polars as pl

from docs.results.pages import difference, figure, markdown
from docs.results.peterrec.page import cost_table, paired_table, sliced_table, wide

HEADLINE = {"gender": "AUC"}
"""The metric that a task is judged by, where it is not NDCG@10."""


def tables(found: pl.DataFrame) -> dict[str, str]:
    """The page's tables by name; only those whose part was run."""
    made: dict[str, str] = {}
    for part in ("cross-domain", "profiles"):
        for (task,), rows in found.filter(part=part).group_by("task", maintain_order=True):
            made |= task_tables(task, rows)
    for (task,), rows in found.filter(part="variants").group_by("task", maintain_order=True):
        made[f"{task}, variants"] = variants_table(task, rows)
    some = found.filter(part="costs")
    if some.height:
        made["costs"] = markdown(
            ["backbone", "width", "method", "a step", "its memory", "scoring a user"],
            [
                [f"`{row['backbone']}`", row["width"], row["method"], f"{row['step']:.2f}x",
                 f"{row['memory']:.2f}x", f"{row['score']:.2f}x"]
                for row in some.iter_rows(named=True)
            ],
        )  # fmt: skip
    return made


def task_tables(task: str, rows: pl.DataFrame) -> dict[str, str]:
    """All tables of one transfer."""
    figures = rows.filter(pl.col("kind").is_null())
    whole = figures.filter(slice="all").unique(
        ["method", "metric", "reference"], keep="first", maintain_order=True
    )
    made = {
        task: class_table(whole) if task in HEADLINE else paired_table(whole),
        f"{task}, search": search_table(rows.filter(kind="search")),
        f"{task}, decided": decided_table(rows.filter(kind="decided")),
        f"{task}, information": information_table(rows.filter(kind="information")),
        f"{task}, shuffled": shuffled_table(task, rows.filter(kind="shuffled")),
        f"{task}, own masks": own_table(rows.filter(kind="own masks")),
    }
    sliced = figures.filter(pl.col("by") != "", reference="best fixed")
    for (by,), some in sliced.group_by("by", maintain_order=True):
        metric = "accuracy" if by == "label" else HEADLINE.get(task, "NDCG@10")
        # What `sliced_table` shows is NDCG@10.
        some = some.filter(metric=metric).with_columns(metric=pl.lit("NDCG@10"))
        made[f"{task}, by {by}"] = sliced_table(some)
    if task not in HEADLINE:
        costs = whole.filter(reference="finetune").with_columns(
            reference=pl.lit("finetune"), ranked=pl.lit("all")
        )
        made[f"{task}, cost"] = cost_table(costs)
    return made


def class_table(rows: pl.DataFrame) -> str:
    """Figures of a profile task beside both references."""
    references = rows["reference"].unique(maintain_order=True)
    pairs = {(row["method"], row["reference"]): row for row in rows.filter(metric="AUC").to_dicts()}
    return markdown(
        ["method", "AUC", "balanced accuracy", "accuracy",
         *(f"AUC against {reference}" for reference in references), "seconds", "seeds"],
        [
            [f"`{method}`", figure(of["AUC"]), f"{of['balanced_accuracy']['value']:.3f}",
             f"{of['accuracy']['value']:.3f}",
             *(difference(pairs[method, reference]) for reference in references),
             f"{of['AUC']['seconds']:.0f}", of["AUC"]["seeds"]]
            for method, of in wide(rows.filter(reference=references[0])).items()
        ],
    )  # fmt: skip


def search_table(rows: pl.DataFrame) -> str:
    """Global strategies on validation, best first."""
    return markdown(
        ["fine-tuned for everybody", "validation", ""],
        [
            [row["method"], f"{row['value']:.4f}", "chosen" if row["chosen"] else ""]
            for row in rows.sort("value", descending=True).iter_rows(named=True)
        ],
    )


def decided_table(rows: pl.DataFrame) -> str:
    """How many blocks, and which, each policy fine-tunes; means over seeds."""
    shares = rows.group_by("method", "metric", maintain_order=True).agg(pl.col("value").mean())
    metrics = rows["metric"].unique(maintain_order=True)
    value = {(row["method"], row["metric"]): row["value"] for row in shares.iter_rows(named=True)}
    return markdown(
        ["policy", *metrics],
        [
            [f"`{method}`", *(f"{value[method, metric]:.0%}" for metric in metrics)]
            for method in rows["method"].unique(maintain_order=True)
        ],
    )


def information_table(rows: pl.DataFrame) -> str:
    """Bits that decisions tell of users, beside what shuffled ones do."""
    # Rounding may leave less than nothing.
    rows = rows.with_columns(pl.col("value", "shuffled").clip(0) + 0.0)
    cells = {
        (row["method"], row["seed"], row["metric"]): f"{row['value']:.3f}"
        if row["shuffled"] is None
        else f"{row['value']:.3f} (shuffled {row['shuffled']:.3f}, p {row['p']:.3f})"
        for row in rows.iter_rows(named=True)
    }
    metrics = rows["metric"].unique(maintain_order=True)
    return markdown(
        ["policy", "seed", *metrics],
        [
            [f"`{method}`", seed, *(cells[method, seed, metric] for metric in metrics)]
            for method, seed in rows.select("method", "seed").unique(maintain_order=True).rows()
        ],
    )


def shuffled_table(task: str, rows: pl.DataFrame) -> str:
    """Quality under one's own decisions and under those of others."""
    metric = HEADLINE.get(task, "NDCG@10")
    return markdown(
        ["policy", f"{metric}, own decisions", "shuffled", "difference"],
        [
            [f"`{row['method']}`", f"{row['own']:.4f}", f"{row['value']:.4f}",
             f"{row['difference']:+.4f} [{row['difference_low']:+.4f}, "
             f"{row['difference_high']:+.4f}], p {row['p']:.3f}"]
            for row in rows.filter(metric=metric).iter_rows(named=True)
        ],
    )  # fmt: skip


def own_table(rows: pl.DataFrame) -> str:
    """The policy and all masks in the network that it was trained with."""
    value = {(row["slice"], row["on"]): row["value"] for row in rows.iter_rows(named=True)}
    names = rows.filter(on="valid").sort("value", descending=True)["slice"]
    metric = rows["metric"][0]
    return markdown(
        ["decision", f"validation {metric}", f"training {metric}"],
        [[name, *(f"{value[name, part]:.4f}" for part in ("valid", "train"))] for name in names],
    )


def variants_table(task: str, rows: pl.DataFrame) -> str:
    """Settings of the policies."""
    metric = HEADLINE.get(task, "NDCG@10")
    mean = dict(rows.filter(kind="decided").select("method", "value").rows())
    return markdown(
        ["policy", metric, "against `hard`", "fine-tuned blocks", "seconds"],
        [
            [row["method"], figure(row, digits=4), difference(row, digits=4),
             f"{mean[row['method']]:.2f}", f"{row['seconds']:.0f}"]
            for row in rows.filter(pl.col("kind").is_null(), metric=metric).iter_rows(named=True)
        ],
    )  # fmt: skip
