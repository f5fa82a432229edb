"""What the page shows of `results.parquet`: its tables and its plot."""

from pathlib import Path

import polars as pl

from docs.results.experiments import Row
from docs.results.pages import difference, figure, markdown
from recxfer.methods.objectives.collapse import MIN_RANK, MIN_STD

NOTHING = "no pretraining"
DEFAULT, BEST = "simsiam, dropout", "nt-xent, crop"
"""What the paper most likely has, and what did best on validation before this page was made."""

PROTOCOLS = {"probe": "frozen, linear head", "finetune": "fine-tuned"}

CLAIMS = (
    ("gate: clue is above no pretraining", "gender", DEFAULT, NOTHING),
    ("gate: clue is above no pretraining", "gender", BEST, NOTHING),
    ("people beat items: clue is above next-item pretraining", "gender", DEFAULT, "next-item"),
    ("people beat items: clue is above next-item pretraining", "gender", BEST, "next-item"),
)
DOMAIN_CLAIMS = (
    ("food to kitchen: clue is above no pretraining", "food to kitchen", BEST, NOTHING),
    ("food to kitchen: clue is above next-item pretraining", "food to kitchen", BEST, "next-item"),
)
VIEW_CLAIMS = (
    ("dropout views are as good as crops", "bases", "simsiam, dropout", "simsiam, crop"),
    ("dropout views are as good as crops", "bases", "nt-xent, dropout", "nt-xent, crop"),
)


def tables(found: pl.DataFrame) -> dict[str, str]:
    """The page's tables by name; only those whose part was run."""
    made: dict[str, str] = {}
    parts = set(found["part"])
    needed = {"gender", "few labels", "bases", "strengths", "collapse", "food to kitchen"}
    if needed <= parts:
        made["claims"] = claims_table(found)
    for part in ("gender", "more profiles"):
        rows = found.filter(part=part)
        for (task,), of_task in rows.group_by("task", maintain_order=True):
            made[task] = profile_table(of_task)
    rows = found.filter(part="few labels")
    if rows.height:
        for (protocol,), some in rows.group_by("how", maintain_order=True):
            made[f"few labels, {protocol}"] = share_table(some)
    rows = found.filter(part="food to kitchen")
    if rows.height:
        for (protocol,), some in rows.group_by("how", maintain_order=True):
            made[f"food to kitchen, {protocol}"] = ranked_table(some)
    rows = found.filter(part="bases")
    if rows.height:
        probed = rows.filter(pl.col("task") == "gender", metric="AUC")
        made["views and losses"] = base_table(probed)
        made["vectors"] = spread_table(rows.filter(kind="spread"))
    rows = found.filter(part="strengths", metric="AUC")
    if rows.height:
        made["strengths"] = pair_table(rows)
    rows = found.filter(part="collapse")
    if rows.height:
        made["collapse"] = collapse_table(rows)
    rows = found.filter(part="tried")
    if rows.height:
        made["tried"] = markdown(
            ["batch", "projection", "recognition", "projected rank", "AUC"],
            [
                [row["batch"], row["projection"], f"{row['recognition']:.3f}",
                 f"{row['projected_rank']:.0f}", figure(row)]
                for row in rows.to_dicts()
            ],
        )  # fmt: skip
    rows = found.filter(part="bad input")
    if rows.height:
        made["bad input"] = markdown(
            ["", "exit code", "what is said"],
            [[row["what"], row["code"], row["error"] or "done"] for row in rows.to_dicts()],
        )
    rows = found.filter(part="cost")
    if rows.height:
        made["speed"], made["memory"] = speed_table(rows), memory_table(rows)
    return made


def claims_table(found: pl.DataFrame) -> str:
    """Each claim, the difference it rests on, and what that says."""
    lines = []
    for text, task, method, reference in (*CLAIMS, *DOMAIN_CLAIMS):
        metric = "NDCG@10" if task == "food to kitchen" else "AUC"
        part = found.filter(
            pl.col("part") == task, method=method, reference=reference, metric=metric
        )
        for row in part.to_dicts():
            verdict = said(row, "yes", "no: below")
            lines.append([text, *claimed(row), verdict])
    few = found.filter(pl.col("part") == "few labels", method=BEST, metric="AUC")
    for row in few.filter(pl.col("how") == "finetune").to_dicts():
        text = f"gate, {row['share']:.0%} of the labels"
        lines.append([text, *claimed(row), said(row, "yes", "no: below")])
    for text, of, method, reference in VIEW_CLAIMS:
        rows = found.filter(part=of, method=method, reference=reference, metric="AUC")
        lines += [
            [text, *claimed(row), said(row, "yes: better", "no: worse")] for row in rows.to_dicts()
        ]
    for row in found.filter(part="strengths", metric="AUC").to_dicts():
        if row["method"] != row["reference"]:
            verdict = said(row, "no: better", "yes")
            lines.append(["strong explicit views hurt", *claimed(row), verdict])
    for row in found.filter(part="collapse", kind="spread").to_dicts():
        if row["method"] != "simsiam, crop":
            fallen = row["projected_std"] < MIN_STD or row["projected_rank"] < MIN_RANK
            lines.append(
                ["without that part SimSiam collapses", f"`{row['method']}`", "",
                 f"std {row['projected_std']:.2f}, rank {row['projected_rank']:.1f}", 1,
                 "yes" if fallen else "not by our limits"]
            )  # fmt: skip
    return markdown(["hypothesis", "of", "protocol", "difference", "seeds", "found"], lines)


def claimed(row: Row) -> list[object]:
    """The cells of a claim that rests on a difference."""
    digits = 4 if row["metric"].startswith("NDCG") else 3
    return [
        f"`{row['method']}` against `{row['reference']}`", PROTOCOLS[row["how"]],
        f"{row['metric']} {difference(row, digits=digits)}", row["seeds"],
    ]  # fmt: skip


def said(row: Row, above: str, below: str) -> str:
    """What a difference says whose interval leaves zero out, or not."""
    if row["difference_low"] > 0:
        return above
    return below if row["difference_high"] < 0 else "no difference shown"


def profile_table(rows: pl.DataFrame) -> str:
    """Both protocols of a label."""
    auc = paired(rows.filter(metric="AUC"))
    accuracy = paired(rows.filter(metric="balanced_accuracy"))
    return markdown(
        ["protocol", "pretraining", "AUC", "balanced accuracy", "seeds", "AUC against nothing",
         "AUC against `next-item`"],
        [
            [PROTOCOLS[protocol], f"`{method}`", figure(of[NOTHING]),
             figure(accuracy[protocol, method][NOTHING]), of[NOTHING]["seeds"],
             difference(of[NOTHING]), difference(of["next-item"])]
            for (protocol, method), of in auc.items()
        ],
    )  # fmt: skip


def paired(rows: pl.DataFrame) -> dict[tuple[str, str], dict[str, Row]]:
    """Rows by protocol and method, each as a dict by reference."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows.to_dicts():
        found.setdefault((row["how"], row["method"]), {})[row["reference"]] = row
    return found


def ranked_table(rows: pl.DataFrame) -> str:
    """Figures of cross-domain transfer under a protocol."""
    ndcg = paired(rows.filter(metric="NDCG@10"))
    hits = paired(rows.filter(metric="HR@5"))
    return markdown(
        ["pretraining", "HR@5", "NDCG@10", "seeds", "NDCG@10 against nothing",
         "NDCG@10 against `next-item`"],
        [
            [f"`{method}`", f"{hits[protocol, method][NOTHING]['value']:.4f}",
             figure(of[NOTHING], digits=4), of[NOTHING]["seeds"],
             difference(of[NOTHING], digits=4), difference(of["next-item"], digits=4)]
            for (protocol, method), of in ndcg.items()
        ],
    )  # fmt: skip


def share_table(rows: pl.DataFrame) -> str:
    """AUC by the share of labels, with the difference to no pretraining."""
    rows = rows.filter(metric="AUC")
    shares = rows["share"].unique(maintain_order=True)
    cells = {
        (row["method"], row["share"]): [figure(row), difference(row)] for row in rows.to_dicts()
    }
    return markdown(
        [
            "pretraining",
            *(f"{share:.0%}{more}" for share in shares for more in ("", ", difference")),
        ],
        [
            [f"`{method}`", *(cell for share in shares for cell in cells[method, share])]
            for method in rows["method"].unique(maintain_order=True)
        ],
    )


def base_table(rows: pl.DataFrame) -> str:
    """AUC of a probe, beside nothing and beside next-item."""
    found = paired(rows.filter(pl.col("reference").is_in([NOTHING, "next-item"])))
    return markdown(
        ["pretraining", "AUC", "seeds", "against nothing", "against `next-item`"],
        [
            [f"`{method}`", figure(of[NOTHING]), of[NOTHING]["seeds"],
             difference(of[NOTHING]), difference(of["next-item"])]
            for (_, method), of in found.items()
        ],
    )  # fmt: skip


def pair_table(rows: pl.DataFrame) -> str:
    """Each view beside the one that its line names."""
    return markdown(
        ["views", "AUC", "against", "difference"],
        [
            [f"`{row['method']}`", figure(row), f"`{row['reference']}`", difference(row)]
            for row in rows.to_dicts()
            if row["method"] != row["reference"]
        ],
    )


def spread_table(rows: pl.DataFrame) -> str:
    """What became of the vectors; a mean over seeds."""
    columns = ("recognition", "std", "effective_rank", "projected_std", "projected_rank",
               "best_epoch")  # fmt: skip
    mean = rows.group_by("method", maintain_order=True).agg(pl.col(columns).mean(), pl.len())
    return markdown(
        ["pretraining", "recognition", "std", "rank", "projected std, last epoch",
         "projected rank, last epoch", "epoch kept", "seeds"],
        [
            [f"`{row['method']}`",
             *("" if row[name] is None else f"{row[name]:.{digits}f}"
               for name, digits in zip(columns, (3, 2, 1, 2, 1, 1), strict=True)),
             row["len"]]
            for row in mean.to_dicts()
        ],
    )  # fmt: skip


def collapse_table(rows: pl.DataFrame) -> str:
    """SimSiam without a part: its vectors, and what they are worth."""
    auc = {row["method"]: row for row in rows.filter(metric="AUC").to_dicts()}
    return markdown(
        ["pretraining", "projected std", "projected rank", "recognition", "AUC",
         "against the whole"],
        [
            [f"`{row['method']}`", f"{row['projected_std']:.2f}", f"{row['projected_rank']:.1f}",
             f"{row['recognition']:.3f}", figure(auc[row["method"]]),
             difference(auc[row["method"]])]
            for row in rows.filter(kind="spread").to_dicts()
        ],
    )  # fmt: skip


def speed_table(rows: pl.DataFrame) -> str:
    """Histories per second beside next-item pretraining."""
    rates = [row for row in rows.to_dicts() if "people" not in row["method"]]
    usual = next(row["rate"] for row in rates if row["method"] == "next-item")
    return markdown(
        ["objective", "seqs/s", "beside next-item", "views, of a step"],
        [
            [row["method"], f"{row['rate']:,.0f}", f"{row['rate'] / usual:.2f}x",
             f"{row['share']:.1%}" if row["method"].startswith("clue") else ""]
            for row in rates
        ],
    )  # fmt: skip


def memory_table(rows: pl.DataFrame) -> str:
    """Memory of steps by the people of a batch."""
    return markdown(
        ["batch", "MB", "seqs/s"],
        [
            [row["method"], f"{row['mb']:,.0f}", f"{row['rate']:,.0f}"]
            for row in rows.to_dicts()
            if "people" in row["method"]
        ],
    )


def draw(found: pl.DataFrame, path: Path) -> None:
    """People of the test part on two axes, one panel per pretraining."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "recxfer"
    from matplotlib import pyplot as plt

    rows = found.filter(part="picture")
    methods = rows["method"].unique(maintain_order=True)
    figure, panels = plt.subplots(1, len(methods), figsize=(9, 2.6), layout="constrained")
    for axes, method in zip(panels, methods, strict=True):
        mine = rows.filter(method=method)
        for label, of_label in mine.group_by("label", maintain_order=True):
            # As an image inside the drawing: thousands of marks would be a large file.
            axes.scatter(
                *(of_label[name].to_numpy() for name in ("x", "y")),
                s=4, alpha=0.6, linewidths=0, label=label[0], rasterized=True,
            )  # fmt: skip
        axes.set_title(f"{method} ({mine['share'][0]:.0%})", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[0].legend(frameon=False, fontsize=8, markerscale=2)
    figure.savefig(path, metadata={"Date": None}, dpi=150)
    plt.close(figure)
