"""What the page shows of `results.parquet`: its tables and its plot."""

import polars as pl
from experiments import difference, figure, markdown
from peterrec.page import paired_table, sliced_table

SCRATCH, IDS = "from scratch", "item ids, from scratch"
"""What pretraining is compared with: the same network without it, and one that learns item ids."""

CURVE = ("finetuned", SCRATCH, IDS, "unisrec", "zero-shot", "popular")
"""Methods of the plot."""


def tables(found):
    """The page's tables by name; only those whose part was run."""
    made = {}
    texts = found.filter(part="text")
    if texts.height:
        made["claims"] = claims_table(texts)
        for (share,), rows in texts.group_by("share", maintain_order=True):
            name = f"toys, {share:.0%} of the people"
            made[name] = paired_table(rows.filter(slice="all"))
            if share == 1:
                sliced = rows.filter(reference=SCRATCH)
                made["toys, by item frequency"] = sliced_table(sliced)
                made["toys, cost"] = cost_table(rows)
    scaling = found.filter(part="scaling")
    if scaling.height:
        made["scaling"] = paired_table(scaling.filter(slice="all"))
    trained = found.filter(part="end-to-end")
    if trained.height:
        made["end to end"] = paired_table(trained.filter(slice="all"))
    images = found.filter(part="images")
    if images.height:
        for (modality,), rows in images.group_by("modality", maintain_order=True):
            made[f"films, {modality}"] = paired_table(rows.filter(slice="all"))
        made["films, by item frequency"] = frequency_table(images)
    costs = found.filter(part="costs")
    if costs.height:
        made["costs"] = "\n".join(f"- {line}" for line in costs["line"])
    return made


def claims_table(rows):
    """Fine-tuned against both ways to do without pretraining, for each share of the target."""
    chosen = rows.filter(
        pl.col("reference").is_in([SCRATCH, IDS]),
        method="finetuned", metric="NDCG@10", slice="all",
    )  # fmt: skip
    return markdown(
        ["people of toys", "against", "NDCG@10", "difference", "in percent"],
        [
            [f"{row['share']:.0%}", f"`{row['reference']}`", figure(row, digits=4),
             difference(row, digits=4), f"{row['difference'] / base:+.0%}"]
            for row in chosen.sort("share", descending=True).iter_rows(named=True)
            if (base := row["value"] - row["difference"])
        ],
    )  # fmt: skip


def cost_table(rows):
    """What learning took, for those who learn."""
    some = rows.filter(metric="NDCG@10", slice="all", reference=SCRATCH).drop_nulls("seconds")
    return markdown(
        ["method", "epochs", "seconds"],
        [
            [f"`{row['method']}`", f"{row['epochs']:.0f}", f"{row['seconds']:.0f}"]
            for row in some.iter_rows(named=True)
        ],
    )


def frequency_table(rows):
    """Fine-tuned on all films, by how often training met the target film."""
    chosen = rows.filter(
        pl.col("modality") != "all",
        pl.col("by") == "item-frequency",
        pl.col("method").is_in(["finetuned", IDS]),
        reference=SCRATCH,
    ).with_columns(
        method=pl.when(pl.col("method") == IDS)
        .then(pl.col("method"))
        .otherwise(pl.format("{}, finetuned", pl.col("modality")))
    )
    return sliced_table(chosen.unique(["method", "slice", "metric"], maintain_order=True))


def draw(found, path):
    """NDCG@10 on toys by the share of its people that is learned from."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recxfer"
    from matplotlib import pyplot as plt

    rows = found.filter(part="text", metric="NDCG@10", slice="all", reference=SCRATCH)
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
