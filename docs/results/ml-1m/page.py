"""What the page shows of `results.parquet`: its tables."""

import polars as pl

from docs.results.pages import difference, figure, markdown

BACKBONES = {
    "sasrec": "`sasrec` (2 blocks, 2 heads)",
    "nextitnet": "`nextitnet` (dilations 1,4,1,4)",
}


def tables(found: pl.DataFrame) -> dict[str, str]:
    """The page's tables by name; only those whose part is there."""
    made: dict[str, str] = {}
    rows = found.filter(part="next item")
    if rows.height:
        made["next item"] = next_item_table(rows)
    rows = found.filter(part="profiles")
    for (task,), of_task in rows.group_by("task", maintain_order=True):
        made[str(task)] = profile_table(of_task)
    rows = found.filter(part="search")
    if rows.height:
        made["search"] = search_table(rows)
    rows = found.filter(part="beside RecBole")
    if rows.height:
        made["beside RecBole"] = rival_table(rows)
    rows = found.filter(part="tried")
    if rows.height:
        made["tried"] = tried_table(rows)
    return made


def next_item_table(rows: pl.DataFrame) -> str:
    """Both backbones, all films ranked."""
    metrics = ("HR@10", "NDCG@10", "MRR@10", "coverage@10")
    lines = []
    for (method,), of in rows.group_by("method", maintain_order=True):
        by_metric = {row["metric"]: row for row in of.to_dicts()}
        cells = (figure(by_metric[metric]) for metric in metrics)
        lines.append([BACKBONES[str(method)], *cells, f"{of['seconds'][0]:.0f}"])
    return markdown(["backbone", *metrics, "seconds, one thread"], lines)


def profile_table(rows: pl.DataFrame) -> str:
    """Every method on one label, best of the defaults first."""
    lines = []
    for (method,), of in rows.group_by("method", maintain_order=True):
        auc, accuracy = (
            of.row(by_predicate=pl.col("metric") == metric, named=True)
            for metric in ("AUC", "accuracy")
        )
        learned = auc["trained_share"] is not None
        cost = (
            [f"{auc['trained_share']:.1%}".replace("%", " %"), f"{auc['epochs']:.0f}",
             f"{auc['seconds']:.0f}", f"{auc['peak_memory_mb']:,.0f}"]
            if learned
            else [""] * 4
        )  # fmt: skip
        name = f"`{method}`" if learned else f"{method} on item sets"
        lines.append([name, figure(auc), figure(accuracy), difference(auc), *cost])
    return markdown(
        ["method", "AUC", "accuracy", "AUC against `finetune`", "trained", "epochs", "seconds",
         "peak MB"],
        lines,
    )  # fmt: skip


def search_table(rows: pl.DataFrame) -> str:
    """Settings that were tried for each backbone, by validation."""
    return markdown(
        ["backbone", "width", "batch", "learning rate", "dropout", "epochs", "validation HR@10",
         "validation NDCG@10"],
        [
            [f"`{row['backbone']}`", row["width"], row["batch_size"], row["lr"], row["dropout"],
             f"{row['epochs']:.0f}{'' if row['threads'] == 1 else ' (2 threads)'}",
             f"{row['HR@10']:.3f}", f"{row['NDCG@10']:.3f}"]
            for row in rows.to_dicts()
        ],
    )  # fmt: skip


def rival_table(rows: pl.DataFrame) -> str:
    """Histories learned from per second, beside RecBole."""
    return markdown(
        ["", "recxfer", "RecBole", "ratio"],
        [
            [row["what"], f"{row['rate']:.0f}", f"{row['rate_recbole']:.2f}",
             f"{row['value']:,.0f} ({row['low']:,.0f} to {row['high']:,.0f})"]
            for row in rows.to_dicts()
        ],
    )  # fmt: skip


def tried_table(rows: pl.DataFrame) -> str:
    """What was tried to bring PeterRec to fine-tuning: AUC by label."""
    tried = {(row["what"], row["task"]): row for row in rows.to_dicts()}

    def cell(what: str, task: str) -> str:
        row = tried.get((what, task))
        if row is None:
            return ""
        note = "" if row["note"] is None else f" ({row['note']})"
        return f"{row['value']:.3f}{note}"

    return markdown(
        ["what", "gender AUC", "age AUC"],
        [
            [what, cell(what, "gender"), cell(what, "age")]
            for what in rows["what"].unique(maintain_order=True)
        ],
    )
