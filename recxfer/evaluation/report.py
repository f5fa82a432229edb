"""Write the page of `evaluate --report`: self-contained HTML, everything escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from recxfer.evaluation.plot import lines
from recxfer.foundation.files import Json, replaced_file

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0 2rem; display: block; overflow-x: auto; }
th, td {
  padding: .3rem .8rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap;
}
th:first-child, td:first-child { text-align: left; }
small { color: #666; }
"""


def write_report(path: Path, result: Json) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        result: what `evaluate --json` prints.
    """
    parts = []
    for task, dataset in dict.fromkeys((run["task"], run["dataset"]) for run in result["runs"]):
        runs = _of_task(result["runs"], task, dataset)
        parts += [f"<h2>{escape(task)}</h2>", _protocol(result, runs[0]), _runs(runs)]
        compared = _of_task(result.get("differences", []), task, dataset)
        if compared:
            parts.append(_differences(compared))
    if "sequence" in result:
        parts.append(_sequence(result["sequence"]))
    if result.get("slices"):
        parts.append(_slices(result["by"], result["slices"]))
    decided = result.get("decisions", [])
    for run, task in dict.fromkeys((part["run"], part["task"]) for part in decided):
        parts.append(_decisions([d for d in decided if (d["run"], d["task"]) == (run, task)]))
    page = (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<title>recxfer evaluate</title><style>{STYLE}</style></head>"
        f"<body><h1>Evaluation</h1>{''.join(parts)}</body></html>\n"
    )
    with replaced_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _of_task(found: Iterable[Json], task: str, dataset: str) -> list[Json]:
    return [part for part in found if (part["task"], part["dataset"]) == (task, dataset)]


def _sequence(sequence: Json) -> str:
    """Draw tasks by runs, the means over the matrix, and its picture."""
    names = [f"{task['task']} ({task['dataset']})" for task in sequence["tasks"]]
    head = [
        "after",
        *(f"{name}, {t['metric']}" for name, t in zip(names, sequence["tasks"], strict=True)),
    ]
    rows = [
        [run, *("-" if value is None else f"{value:.4f}" for value in values)]
        for run, values in zip(sequence["runs"], sequence["matrix"], strict=True)
    ]
    means = [
        [key.replace("_", " "), "-" if sequence[key] is None else f"{sequence[key]:+.4f}"]
        for key in ("final_average", "forgetting", "backward_transfer", "forward_transfer")
    ]
    columns = dict(zip(names, zip(*sequence["matrix"], strict=True), strict=True))
    return (
        "<h2>Task after task</h2>"
        + _table(head, rows)
        + _table(["mean over tasks", ""], means)
        + lines([Path(run).name for run in sequence["runs"]], columns)
    )


def _protocol(result: Json, first: Json) -> str:
    ranked = ""
    if first["seen"]:
        ranked = f"Candidates: {first['candidates']}; items met before: {first['seen']}. "
    text = (
        f"{first['task']} on {first['dataset']}: {first['cases']:,} {result['on']} cases "
        f"of {first['people']:,} people. "
        f"{ranked}Intervals hold 95 % of {result['resamples']:,} resamples of the people, seed "
        f"{result['seed']}."
    )
    return f"<p>{escape(text)}</p>"


def _runs(runs: Sequence[Json]) -> str:
    names = list(runs[0]["metrics"])
    head = ["run", "method", "checkpoint", "share of backbone", *names]
    rows = (
        [r["run"], r["method"], f"{r['size']['checkpoint_bytes']:,} bytes"]
        + [_share(r["size"]["backbone_share"])]
        + [_figure(r["metrics"].get(name)) for name in names]
        for r in runs
    )
    return _table(head, rows)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _differences(differences: Sequence[Json]) -> str:
    rows = (
        [
            d["run"],
            d["metric"],
            *(_signed(d[key]) for key in ("value", "low", "high")),
            *(f"{d[key]:.4f}" for key in ("p", "p_holm")),
        ]
        for d in differences
    )
    against = differences[0]["against"]
    head = ["run", "metric", "difference", "low", "high", "p", "p (Holm)"]
    return f"<h3>Against {escape(against)}, in pairs</h3>" + _table(head, rows)


def _slices(by: str, slices: Sequence[Json]) -> str:
    names = list(slices[0]["metrics"])
    rows = (
        [s["run"], s["slice"], f"{s['cases']:,}"]
        + [_figure(s["metrics"].get(name)) for name in names]
        for s in slices
    )
    return f"<h2>By {escape(by)}</h2>" + _table(["run", by, "cases", *names], rows)


def _decisions(told: Sequence[Json]) -> str:
    """Draw how many blocks a run fine-tunes: a table, and a picture for each property."""
    first = told[0]
    counts = [str(count) for count in range(len(first["counts"]))]
    head = ["", "", "cases", "mean", *counts, *(f"block {n}" for n in range(len(first["blocks"])))]
    rows = (
        [d["by"], d["slice"], f"{d['cases']:,}", f"{d['mean']:.2f}"]
        + [f"{share:.1%}" for share in (*d["counts"], *d["blocks"])]
        for d in told
    )
    parts = [
        f"<h2>Blocks that {escape(first['run'])} fine-tunes</h2>",
        "<p>Share of the cases with so many fine-tuned blocks, and of each block.</p>",
        _table(head, rows),
    ]
    for by in dict.fromkeys(d["by"] for d in told):
        shares = {f"{d['slice']} ({d['cases']:,})": d["counts"] for d in told if d["by"] == by}
        parts.append(f"<h3>Number of fine-tuned blocks, {escape(by)}</h3>" + lines(counts, shares))
    return "".join(parts)


def _figure(figure: Json | None) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    if figure["low"] is None:
        return f"{figure['value']:.4f}"
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def cells(tag: str, values: Iterable[str]) -> str:
        return "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values)

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"
