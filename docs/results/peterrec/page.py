"""What the page shows of `results.parquet`: its tables and its plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from docs.results.experiments import Row
from docs.results.pages import difference, figure, markdown


def tables(found: pl.DataFrame) -> dict[str, str]:
    """The page's tables by name; only those whose part was run."""
    made = {}
    for (task,), rows in found.filter(part="cross-domain").group_by("task", maintain_order=True):
        made[f"{task}, all items"] = ranked_table(rows.filter(ranked="all", slice="all"))
        made[f"{task}, sampled"] = sampled_table(rows.filter(ranked="1+99"))
        sliced = rows.filter(pl.col("by") == "history-length", ranked="all")
        made[f"{task}, by history"] = sliced_table(sliced)
        made[f"{task}, cost"] = cost_table(rows)
    for (task,), rows in found.filter(part="readouts").group_by("task", maintain_order=True):
        made[f"{task}, readouts"] = paired_table(rows)
    later = found.filter(part="later")
    if later.height:
        made["later"] = sliced_table(later)
    curve = found.filter(part="learning-curve", metric="NDCG@10")
    if curve.height:
        made["learning-curve"] = markdown(
            ["people", "method", "NDCG@10", "against `scratch`", "epochs"],
            [
                [f"{row['share']:.0%}", f"`{row['method']}`", figure(row, digits=4),
                 difference(row, digits=4), f"{row['epochs']:.0f}"]
                for row in curve.iter_rows(named=True)
            ],
        )  # fmt: skip
    shapes = found.filter(part="shapes", metric="NDCG@10")
    if shapes.height:
        made["shapes"] = markdown(
            ["patches", "trained", "NDCG@10", f"against {shapes['reference'][0]}"],
            [
                [row["method"], f"{row['trained_share']:.1%}", figure(row, digits=4),
                 difference(row, digits=4)]
                for row in shapes.iter_rows(named=True)
            ],
        )  # fmt: skip
    for part in ("reading", "second people", "profiles", "more profiles"):
        rows = found.filter(part=part)
        for (task,), of_task in rows.group_by("task", maintain_order=True):
            extra = ["objective"] if part == "reading" else []
            made[f"{part}, {task}"] = class_table(of_task, extra)
    costs = found.filter(part="costs")
    if costs.height:
        made["costs"] = markdown(
            ["backbone", "width", "method", "time of a step", "memory of a step"],
            [
                [f"`{row['backbone']}`", row["width"], f"`{row['method']}`", f"{row['step']:.2f}x",
                 f"{row['memory']:.2f}x"]
                for row in costs.iter_rows(named=True)
            ],
        )  # fmt: skip
    return made


def wide(rows: pl.DataFrame) -> dict[str, dict[str, Row]]:
    """Rows of several metrics, as one dict of metrics per method, in the order of the methods."""
    of_method: dict[str, dict[str, Row]] = {}
    for row in rows.iter_rows(named=True):
        of_method.setdefault(row["method"], {})[row["metric"]] = row
    return of_method


def ranked_table(rows: pl.DataFrame) -> str:
    """Figures among all items, and the pairs."""
    hits = dict(rows.filter(metric="any-hit@10").select("method", "value").rows())
    return paired_table(rows.drop_nulls("reference"), {"any-hit@10": hits})


def paired_table(rows: pl.DataFrame, more: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """Figures, and NDCG@10 beside that of each reference on the same people.

    Args:
        rows: of several metrics and references.
        more: columns of their own: name to a value by method.
    """
    more = more or {}
    references = rows["reference"].unique(maintain_order=True)
    pairs = {
        (row["method"], row["reference"]): row
        for row in rows.filter(metric="NDCG@10").iter_rows(named=True)
    }
    return markdown(
        ["method", "HR@5", "MRR@5", "NDCG@10", *more, "seeds",
         *(f"NDCG@10 against `{reference}`" for reference in references)],
        [
            [f"`{method}`", *(f"{of[name]['value']:.4f}" for name in ("HR@5", "MRR@5")),
             figure(of["NDCG@10"], digits=4), *(f"{more[name][method]:.3f}" for name in more),
             of["NDCG@10"]["seeds"],
             *(difference(pairs[method, reference], digits=4) for reference in references)]
            for method, of in wide(rows.filter(reference=references[0])).items()
        ],
    )  # fmt: skip


def sampled_table(rows: pl.DataFrame) -> str:
    """Figures among 1 + 99 sampled candidates."""
    found = wide(rows.filter(reference="finetune"))
    return markdown(
        ["method", "HR@5", "MRR@5", "NDCG@10", "NDCG@10 against `finetune`"],
        [
            [f"`{method}`", *(figure(of[name]) for name in ("HR@5", "MRR@5", "NDCG@10")),
             difference(of["NDCG@10"])]
            for method, of in found.items()
        ],
    )  # fmt: skip


def sliced_table(rows: pl.DataFrame) -> str:
    """NDCG@10 of each method on each slice."""
    rows = rows.filter(metric="NDCG@10")
    slices = rows.unique("slice", maintain_order=True).select("slice", "cases", "people").rows()
    value = {
        (row["method"], row["slice"]): figure(row, digits=4) for row in rows.iter_rows(named=True)
    }
    return markdown(
        ["method", *(f"{name} ({cases:,} cases, {people:,} people)"
                     for name, cases, people in slices)],
        [
            [f"`{method}`", *(value[method, name] for name, _, _ in slices)]
            for method in rows["method"].unique(maintain_order=True)
        ],
    )  # fmt: skip


def cost_table(rows: pl.DataFrame) -> str:
    """What learning took."""
    rows = rows.filter(metric="NDCG@10", ranked="all", slice="all", reference="finetune")
    return markdown(
        ["method", "of the backbone trained", "checkpoint", "epochs", "seconds", "peak MB"],
        [
            [f"`{row['method']}`", f"{row['trained_share']:.1%}",
             f"{row['delta_bytes'] / 1e6:,.2f} MB", f"{row['epochs']:.0f}",
             f"{row['seconds']:.0f}", f"{row['peak_memory_mb']:,.0f}"]
            for row in rows.iter_rows(named=True)
        ],
    )  # fmt: skip


def class_table(rows: pl.DataFrame, extra: Sequence[str]) -> str:
    """Figures of a profile task."""
    lines = []
    for facts, some in rows.group_by(extra or pl.lit(""), maintain_order=True):
        for method, of in wide(some).items():
            auc = of["AUC"]
            share = auc.get("trained_share")
            lines.append(
                [*(facts if extra else ()), f"`{method}`", figure(auc),
                 figure(of["balanced_accuracy"]), figure(of["accuracy"]), difference(auc),
                 "" if share is None else f"{share:.1%}",
                 "" if share is None else f"{auc['seconds']:.0f}", auc["seeds"]]
            )  # fmt: skip
    return markdown(
        [*extra, "method", "AUC", "balanced accuracy", "accuracy", "AUC against `finetune`",
         "trained", "seconds", "seeds"],
        lines,
    )  # fmt: skip


def draw(found: pl.DataFrame, path: Path) -> None:
    """NDCG@10 with its interval against the share of people learned from, by method."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recxfer"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    curve = found.filter(part="learning-curve", metric="NDCG@10").sort("share")
    methods = curve["method"].unique(maintain_order=True)
    for shift, method in zip((0.94, 1.0, 1.06), methods, strict=True):
        mine = curve.filter(method=method)
        value, low, high = (mine[name].to_numpy() for name in ("value", "low", "high"))
        axes.errorbar(
            mine["share"].to_numpy() * shift, value, yerr=(value - low, high - value),
            marker="o", capsize=3, label=method,
        )  # fmt: skip
    axes.set_xscale("log")
    shares = curve["share"].unique().sort().to_list()
    axes.set_xticks(shares, [f"{share:.0%}" for share in shares])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("people of the target learned from")
    axes.set_ylabel("NDCG@10, all items")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
