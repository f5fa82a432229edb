"""What the page shows of `results.parquet`: its tables and its plot."""

from pathlib import Path

import polars as pl

from docs.results.experiments import Row
from docs.results.pages import difference, figure, markdown
from docs.results.peterrec.page import paired_table, sliced_table

IDS = "item ids, from scratch"
WORDS, STATIC = "words, from scratch", "static, from scratch"
CLAIMS = (
    ("words, finetuned", WORDS),
    ("words, new user encoder", WORDS),
    ("static, finetuned", STATIC),
    (WORDS, STATIC),
    (WORDS, IDS),
)
"""What is claimed to be better, and than what."""

CURVE = (WORDS, "words, finetuned", "words, new user encoder", STATIC, IDS, "static, zero-shot",
         "static text neighbours")  # fmt: skip
"""Methods of the plot."""


def tables(found: pl.DataFrame) -> dict[str, str]:
    """The page's tables by name; only those whose part was run."""
    made = {}
    texts = found.filter(part="text")
    if texts.height:
        made["claims"] = claims_table(texts)
        for (share,), rows in texts.group_by("share", maintain_order=True):
            made[f"toys, {share:.0%} of the people"] = paired_table(rows.filter(slice="all"))
            if share == 1:
                made["toys, by item frequency"] = sliced_table(with_slices(rows))
                made["toys, cost"] = cost_table(rows)
    why = found.filter(part="why")
    if why.height:
        made["why"] = why_table(why)
    mixed = found.filter(part="mixed")
    if mixed.height:
        made["mixed, claims"] = claims_table(mixed)
        for (share,), rows in mixed.group_by("share", maintain_order=True):
            made[f"mixed, {share:.0%} of the people"] = paired_table(rows.filter(slice="all"))
    scaling = found.filter(part="scaling")
    if scaling.height:
        made["scaling"] = paired_table(scaling.filter(slice="all"))
    images = found.filter(part="images")
    if images.height:
        for (modality,), rows in images.group_by("modality", maintain_order=True):
            made[f"films, {modality}"] = paired_table(rows.filter(slice="all"))
        made["films, by item frequency"] = frequency_table(images)
    costs = found.filter(part="costs")
    if costs.height:
        made["costs"] = "\n".join(f"- {line}" for line in costs["line"])
    return made


def claims_table(rows: pl.DataFrame) -> str:
    """Each claim at each share of the target."""
    chosen = {
        (row["method"], row["reference"], row["share"]): row
        for row in rows.filter(metric="NDCG@10", slice="all").iter_rows(named=True)
    }
    shares = rows["share"].unique().sort(descending=True).to_list()
    return markdown(
        ["NDCG@10", "against", *(f"{share:.0%} of the people" for share in shares)],
        [
            [f"`{method}`", f"`{reference}`",
             *(claim(chosen[method, reference, share]) for share in shares)]
            for method, reference in CLAIMS
            if (method, reference, shares[0]) in chosen
        ],
    )  # fmt: skip


def claim(row: Row) -> str:
    """A difference, also in percent of the reference."""
    beside = row["value"] - row["difference"]
    return f"{difference(row, digits=4)} ({row['difference'] / beside:+.0%})"


def with_slices(rows: pl.DataFrame) -> pl.DataFrame:
    """Methods that are there on every slice, once."""
    rows = rows.filter(reference=WORDS)
    sliced = rows.filter(pl.col("slice") != "all")["method"].unique()
    return rows.filter(pl.col("method").is_in(sliced.implode()))


def why_table(rows: pl.DataFrame) -> str:
    """Zero-shot with something taken away."""
    chosen = {
        (row["encoder"], row["method"]): row
        for row in rows.filter(metric="NDCG@10").iter_rows(named=True)
    }
    encoders = rows["encoder"].unique(maintain_order=True).to_list()
    return markdown(
        ["base", *(f"`{encoder}`, zero-shot NDCG@10" for encoder in encoders)],
        [
            [method, *(figure(chosen[encoder, method], digits=4) for encoder in encoders)]
            for method in rows["method"].unique(maintain_order=True)
        ],
    )


def cost_table(rows: pl.DataFrame) -> str:
    """What learning took, for those who learn."""
    some = rows.filter(metric="NDCG@10", slice="all", reference=WORDS).drop_nulls("seconds")
    return markdown(
        ["method", "epochs", "seconds"],
        [
            [f"`{row['method']}`", f"{row['epochs']:.0f}", f"{row['seconds']:.0f}"]
            for row in some.iter_rows(named=True)
        ],
    )


def frequency_table(rows: pl.DataFrame) -> str:
    """Fine-tuned on all films, by how often training met the target film."""
    chosen = rows.filter(
        pl.col("modality") != "all",
        pl.col("by") == "item-frequency",
        pl.col("method").is_in(["finetuned", IDS]),
        reference="from scratch",
    ).with_columns(
        method=pl.when(pl.col("method") == IDS)
        .then(pl.col("method"))
        .otherwise(pl.format("{}, finetuned", pl.col("modality")))
    )
    return sliced_table(chosen.unique(["method", "slice", "metric"], maintain_order=True))


def draw(found: pl.DataFrame, path: Path) -> None:
    """NDCG@10 on toys by the share of its people that is learned from."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recxfer"
    from matplotlib import pyplot as plt

    rows = found.filter(part="text", metric="NDCG@10", slice="all", reference=WORDS)
    figure_, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for method in CURVE:
        mine = rows.filter(method=method).sort("share")
        x, y, low, high = (mine[name].to_list() for name in ("share", "value", "low", "high"))
        (line,) = axes.plot(x, y, marker="o", markersize=3, label=method)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks([0.01, 0.1, 1], ["1 %", "10 %", "100 %"])
    axes.minorticks_off()
    axes.set_xlabel("people of toys that are learned from")
    axes.set_ylabel("NDCG@10, all items")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    figure_.savefig(path, metadata={"Date": None})
    plt.close(figure_)
