"""What the page shows of `results.parquet`: its tables and its plot."""

from pathlib import Path

import polars as pl

from docs.results.pages import difference, figure, markdown

RANKED, CLASSES = ("NDCG@10",), ("accuracy", "AUC")
"""Metrics of tasks over items and of tasks over classes; the first one is the headline."""


def tables(found: pl.DataFrame) -> dict[str, str]:
    """The page's tables by name; only those whose part was run."""
    made = {}
    rows = found.filter(part="exposure")
    if rows.height:
        made["exposure"] = markdown(
            ["split of the films rated 5", "events held out in one and trained on in the other",
             "test cases"],
            [[f"`{row['rule']}`", f"{row['exposed']:,}", f"{row['test_cases']:,}"]
             for row in rows.iter_rows(named=True)],
        )  # fmt: skip
    rows = found.filter(part="sequence")
    if rows.height:
        quality = rows.filter(kind="quality")
        for (task,), of_task in quality.group_by("task", maintain_order=True):
            made[f"order A, {task}"] = quality_table(of_task)
        made["in pairs"] = pairs_table(quality)
        made["order A, forgetting"] = forgetting_table(rows.filter(kind="forgetting"))
        made["order A, cost"] = cost_table(rows.filter(kind="cost"))
    rows = found.filter(part="matrices")
    if rows.height:
        made["means"] = means_table(rows)
        for method in ("conure", "finetune in turn"):
            made[f"matrix, {method}"] = matrix_table(rows.filter(method=method))
    rows = found.filter(part="orders")
    if rows.height:
        forgotten = rows.filter(kind="forgetting")
        for letter, (_, of_order) in zip(
            "BC", forgotten.group_by("order", maintain_order=True), strict=True
        ):
            made[f"order {letter}, forgetting"] = forgetting_table(of_order)
        made["orders, quality"] = places_table(rows.filter(kind="quality"))
    rows = found.filter(part="domains")
    if rows.height:
        for (order,), of_order in rows.group_by("order", maintain_order=True):
            first, second = order.split()
            made[f"{first} then {second}"] = domains_table(of_order)
    rows = found.filter(part="curve")
    if rows.height:
        made["pruning"] = pruning_table(rows.filter(metric="NDCG@10"))
    rows = found.filter(part="size")
    if rows.height:
        made["size"] = markdown(
            ["", "checkpoint", "free share of each kernel"],
            [[row["what"], f"{row['bytes'] / 1e6:.2f} MB",
              "" if row["free_share"] is None else f"{row['free_share']:.1%}"]
             for row in rows.iter_rows(named=True)],
        )  # fmt: skip
    return made


def headline(rows: pl.DataFrame) -> str:
    """Which metric speaks for a task."""
    return RANKED[0] if RANKED[0] in rows["metric"].to_list() else CLASSES[0]


def metrics_of(rows: pl.DataFrame) -> tuple[str, ...]:
    """Which metrics a table of a task shows."""
    return RANKED if headline(rows) in RANKED else CLASSES


def digits_of(metric: str) -> int:
    """How many digits its figures have."""
    return 4 if metric in RANKED else 3


def pairs_table(rows: pl.DataFrame) -> str:
    """Conure beside each method that has a model of its own for the task."""
    rows = rows.filter(pl.col("method") == "conure", pl.col("reference") != "base")
    references = rows["reference"].unique(maintain_order=True)
    lines = []
    for (task,), of_task in rows.group_by("task", maintain_order=True):
        for metric in metrics_of(of_task):
            pair = {row["reference"]: row for row in of_task.filter(metric=metric).to_dicts()}
            digits = digits_of(metric)
            cells = (difference(pair[reference], digits=digits) for reference in references)
            lines.append([task, metric, *cells])
    return markdown(["task", "metric", *(f"minus `{name}`" for name in references)], lines)


def quality_table(rows: pl.DataFrame) -> str:
    """Every method on one task, beside each reference on the same people."""
    shown, references = metrics_of(rows), rows["reference"].unique(maintain_order=True)[:2]
    found = {
        (row["method"], row["metric"], row["reference"]): row for row in rows.iter_rows(named=True)
    }
    methods = rows["method"].unique(maintain_order=True)
    first = references[0]
    return markdown(
        ["method", *shown, "seeds",
         *(f"{metric} against `{reference}`" for reference in references for metric in shown)],
        [
            [f"`{method}`",
             *(figure(found[method, metric, first], digits=digits_of(metric)) for metric in shown),
             found[method, shown[0], first]["seeds"],
             *(difference(found[method, metric, reference], digits=digits_of(metric))
               for reference in references for metric in shown)]
            for method in methods
        ],
    )  # fmt: skip


def forgetting_table(rows: pl.DataFrame) -> str:
    """What is left of each task in the end, minus what there was when it was learned."""
    rows = rows.filter(method="in the end")
    tasks = rows["task"].unique(maintain_order=True)
    cells = {}
    for (learner, task), of_task in rows.group_by("learner", "task", maintain_order=True):
        metric = headline(of_task)
        row = of_task.row(by_predicate=pl.col("metric") == metric, named=True)
        cells[learner, task] = difference(row, digits=digits_of(metric))
    metric_of = {
        task: headline(of_task) for (task,), of_task in rows.group_by("task", maintain_order=True)
    }
    return markdown(
        ["method", *(f"{task} ({metric_of[task]})" for task in tasks)],
        [
            [f"`{learner}`", *(cells[learner, task] for task in tasks)]
            for learner in rows["learner"].unique(maintain_order=True)
        ],
    )


def means_table(rows: pl.DataFrame) -> str:
    """Means over tasks, as `evaluate` has them."""
    names = ("final_average", "forgetting", "backward_transfer", "forward_transfer")
    once = rows.unique("method", keep="first", maintain_order=True)
    return markdown(
        ["method", *(name.replace("_", " ") for name in names)],
        [
            [f"`{row['method']}`", *(f"{row[name]:.4f}" for name in names)]
            for row in once.iter_rows(named=True)
        ],
    )


def matrix_table(rows: pl.DataFrame) -> str:
    """Each task (columns) after each run (rows)."""
    tasks = rows["task"].unique(maintain_order=True)
    found = {
        (row["after"], row["task"]): f"{row['value']:.4f}" for row in rows.iter_rows(named=True)
    }
    return markdown(
        ["after learning", *tasks],
        [[task, *(found.get((task, other), "") for other in tasks)] for task in tasks],
    )


def cost_table(rows: pl.DataFrame) -> str:
    """Seconds and memory of learning each task."""
    tasks = rows["task"].unique(maintain_order=True)
    found = {
        (row["method"], row["task"]): f"{row['seconds']:.0f} s, {row['peak_memory_mb']:,.0f} MB"
        for row in rows.iter_rows(named=True)
    }
    methods = rows.filter(pl.col("task") != tasks[0])["method"].unique(maintain_order=True)
    return markdown(
        ["method", *tasks],
        [[f"`{method}`", *(found.get((method, task), "") for task in tasks)] for method in methods],
    )


def places_table(rows: pl.DataFrame) -> str:
    """A task learned by Conure at different places of a sequence."""
    lines = []
    for (task,), of_task in rows.group_by("task", maintain_order=True):
        metric = headline(of_task)
        for row in of_task.filter(metric=metric).iter_rows(named=True):
            digits = digits_of(metric)
            lines.append(
                [task, row["method"], row["number"], metric, figure(row, digits=digits),
                 difference(row, digits=digits)]
            )  # fmt: skip
    return markdown(
        ["task", "order", "learned as", "metric", "in the end", "against order A"], lines
    )


def domains_table(rows: pl.DataFrame) -> str:
    """Both domains in the end, and what was forgotten of the first."""
    quality = rows.filter(kind="quality", metric="NDCG@10")
    left = {
        (row["learner"], row["task"]): difference(row, digits=4)
        for row in rows.filter(kind="forgetting", metric="NDCG@10", method="in the end").iter_rows(
            named=True
        )
    }
    return markdown(
        ["task", "method", "NDCG@10 in the end", "against `alone`", "since it was learned"],
        [
            [row["task"], f"`{row['method']}`", figure(row, digits=4), difference(row, digits=4),
             left.get((row["method"], row["task"]), "")]
            for row in quality.iter_rows(named=True)
        ],
    )  # fmt: skip


def pruning_table(rows: pl.DataFrame) -> str:
    """Task 1 by the share that was pruned."""
    return markdown(
        ["pruned", "retrained", "NDCG@10", "against the base", "seeds"],
        [
            [f"{row['rate']:.0%}", "" if row["method"] == "base" else
             "yes" if row["method"].endswith("after") else "no",
             figure(row, digits=4), difference(row, digits=4), row["seeds"]]
            for row in rows.iter_rows(named=True)
        ],
    )  # fmt: skip


def draw(found: pl.DataFrame, path: Path) -> None:
    """NDCG@10 of task 1 with its interval against the share that was pruned."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recxfer"
    from matplotlib import pyplot as plt

    picture, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    rows = found.filter(part="curve", metric="NDCG@10")
    base = rows.row(by_predicate=pl.col("method") == "base", named=True)
    for shift, end, label in (
        (-0.006, "before", "pruned"),
        (0.006, "after", "pruned and retrained"),
    ):
        mine = rows.filter(pl.col("method").str.ends_with(end)).sort("rate")
        value, low, high = (mine[name].to_numpy() for name in ("value", "low", "high"))
        axes.errorbar(
            mine["rate"].to_numpy() + shift, value, yerr=(value - low, high - value),
            marker="o", capsize=3, label=label,
        )  # fmt: skip
    axes.axhline(base["value"], color="grey", linestyle="--", label="base, not pruned")
    axes.set_xlabel("share of each kernel pruned")
    axes.set_ylabel("NDCG@10 of task 1")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    picture.savefig(path, metadata={"Date": None})
    plt.close(picture)
