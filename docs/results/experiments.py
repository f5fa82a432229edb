"""What the scripts of the result pages share: runs that resume, and tables over seeds."""

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch.nn import functional as F

from recxfer.data.examples import profile_rows
from recxfer.evaluation.cases import Protocol, cases_of
from recxfer.evaluation.metrics.choice import measured, measures
from recxfer.evaluation.metrics.contract import Predictions
from recxfer.evaluation.slices.cutting import slices_of
from recxfer.evaluation.statistics import compare, estimate
from recxfer.foundation.console import SilentReporter
from recxfer.foundation.device import choose_device
from recxfer.runs.open import open_run

OF_RANKS = ("HR", "NDCG", "MRR")
OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_f1", "AUC")
WHOLE = 10**6
"""More events than any history holds."""


def recxfer(*words, out=None):
    """Run a command unless its output is there; return what `--json` printed.

    Args:
        words: of the command.
        out: what it makes, if that is not the last of its paths.
    """
    out = Path(out or (words[2] if words[0] != "transfer" else words[3]))
    record = _record(out)
    if not record.exists():
        command = [sys.executable, "-m", "recxfer", *map(str, words), "--json", "--overwrite"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        record.write_text(done.stdout)
        print(out, "done", file=sys.stderr, flush=True)
    return json.loads(record.read_text())


def record_of(run):
    """What `--json` printed of a finished run."""
    return json.loads(_record(run).read_text())


def _record(run):
    return run.with_name(run.name + ".json")


class Bench:
    """The work directory: what is made in it, and who makes it, some of it side by side."""

    def __init__(self, work, jobs, *, quick):
        self.work, self.quick = work, quick
        self.few = ["--epochs", 1] if quick else []
        self.pool = ThreadPoolExecutor(jobs)
        self.bases = set()
        self.waiting = []

    def pretrained(self, data, path, *words):
        """A base, made when it is first asked for; returns its path."""
        if path not in self.bases:
            self.bases.add(path)
            self.pool.submit(
                recxfer, "pretrain", self.work / data, path, *words, "--threads", 1, *self.few
            ).result()
        return path

    def ask(self, *commands):
        """Ask for commands, each a sequence of words, to be run one after another."""
        self.waiting.append(self.pool.submit(lambda: [recxfer(*words) for words in commands]))

    def wait(self):
        """Until everything asked for is done; what each command printed."""
        found = [told for future in self.waiting for told in future.result()]
        self.waiting.clear()
        return found


def run_page(
    description, here, *, bench, prepare, parts, quick, tables, plot=None,
    raw="holds food.csv.gz and kitchen.csv.gz",
):  # fmt: skip
    """The command line of a page: makes its parts, keeps their rows, fills its tables.

    Args:
        description: for `--help`.
        here: the folder of the page.
        bench: the class of its work directory.
        prepare: makes datasets, given the work directory and the folder of raw files.
        parts: functions of a bench that return rows, by name.
        quick: names of the parts that `--quick` makes.
        tables: makes tables by name of all rows.
        plot: a function that draws rows into a file, and the file's name.
        raw: what the folder of raw files holds.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("work", type=Path)
    parser.add_argument("raw", type=Path, help=raw)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=parts, help="others stay as they are")
    parser.add_argument("--quick", action="store_true", help="few parts, one seed, one epoch")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    prepare(options.work, options.raw)
    made = bench(options.work, options.jobs, quick=options.quick)
    out = options.work if options.quick else here
    results = out / "results.parquet"
    found = pl.read_parquet(results) if results.exists() else pl.DataFrame({"part": []})
    for part in options.parts or (quick if options.quick else parts):
        started = time.perf_counter()
        rows = pl.DataFrame(parts[part](made), infer_schema_length=None)
        kept = found.filter(pl.col("part") != part)
        found = pl.concat([kept, rows.with_columns(part=pl.lit(part))], how="diagonal_relaxed")
        found.write_parquet(results)
        print(f"{part} done, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    shown = tables(found)
    for name, table in shown.items():
        print(f"\n{name}\n\n{table}")
    if set(found["part"]) == set(parts):
        fill(out / "index.md", shown)
        if plot is not None:
            draw, name = plot
            draw(found, out / name)


def item_sets(dataset, column, part):
    """Each user's set of items as a row of zeros and ones, and the labels."""
    rows = profile_rows(dataset, column, part, WHOLE)
    batch = rows.batch(torch.arange(len(rows)))
    sets = torch.zeros(len(rows), dataset.num_items + 1)
    sets.scatter_(1, batch.item_BL, 1.0)
    return sets[:, 1:], batch.target_B


def logistic_regression(dataset, column):
    """Test scores of L2-regularised logistic regression; the penalty is chosen on validation."""
    (train, label), (valid, truth), (test, target) = (
        item_sets(dataset, column, part) for part in ("train", "valid", "test")
    )
    classes = len(dataset.labels(column)[1])
    best, chosen = -np.inf, None
    for penalty in (1e-3, 3e-3, 1e-2, 3e-2):
        weight = torch.zeros(classes, train.shape[1] + 1, requires_grad=True)
        optimiser = torch.optim.LBFGS([weight], max_iter=300, line_search_fn="strong_wolfe")

        def scores(sets, weight=weight):
            return sets @ weight[:, 1:].T + weight[:, 0]

        def closure(weight=weight, scores=scores, optimiser=optimiser, penalty=penalty):
            optimiser.zero_grad()
            loss = F.cross_entropy(scores(train), label) + penalty * weight[:, 1:].square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        with torch.no_grad():
            value = -float(F.cross_entropy(scores(valid), truth))
            if value > best:
                best, chosen = value, scores(test).double().numpy()
    cases = Predictions(target_R=target.numpy(), score_RC=chosen)
    return measured(measures(OF_CLASSES, ()), cases)


def cases_of_run(run, protocol, number=None, dataset=None):
    """Cases of a run, or of one of its tasks, and their rows; kept in the run's directory.

    Args:
        run: the directory.
        protocol: what is ranked.
        number: which task, of several.
        dataset: another one than the run's own.
    """
    device = choose_device("auto")
    opened = open_run(run, device, number=number, moved_dataset=dataset)
    cases, rows = cases_of(opened, protocol, dataset, torch.float32, SilentReporter())
    return opened, cases, rows


def mean_over_seeds(metrics):
    """Metrics of several seeds as one: each resample of cases is the same for all of them."""
    return {
        name: lambda weights, name=name: np.mean([m[name](weights) for m in metrics], axis=0)
        for name in metrics[0]
    }


def comparison(runs, *references, protocol=None, at=(5, 10), by=None, others=None, **facts):
    """Figures of methods averaged over their seeds, each beside references on the same people.

    Args:
        runs: directories of each method's runs, one per seed; (directory, number) for one task of
            a run that holds several; (directory, path of a dataset) for another than its own.
        references: the methods that the others are compared with.
        protocol: what is ranked; by default the test part, all items.
        at: cut-offs.
        by: a slicer; the slice `all` is always there.
        others: metrics of methods that are no runs, over all cases.
        facts: columns of their own for all rows.

    Returns:
        One dict per reference, slice, method and metric.
    """
    protocol = protocol or Protocol()
    runs = {method: [_meant(run) for run in of_seeds] for method, of_seeds in runs.items()}
    opened = {
        method: [cases_of_run(run, protocol, number, dataset) for run, number, dataset in of_seeds]
        for method, of_seeds in runs.items()
    }
    one, cases, rows = next(iter(opened.values()))[0]
    people = cases.people()
    slices = [("all", None), *(slices_of(one, rows, None, by) if by else [])]
    found = {reference: [] for reference in references}
    asked = measures([*OF_RANKS, *OF_CLASSES], at)
    for name, chosen in slices:
        by_method = {
            method: mean_over_seeds([cases.metrics(asked, chosen) for _, cases, _ in of_seeds])
            for method, of_seeds in opened.items()
        }
        if chosen is None:
            by_method |= others or {}
        who = people if chosen is None else people[chosen]
        for method, metrics in by_method.items():
            of_seeds = [run for run, *_ in runs.get(method, [])]
            figures = estimate(metrics, who, seed=0)
            for reference in references:
                against = compare(metrics, by_method[reference], who, seed=0)
                for metric, figure in figures.items():
                    difference = against[metric]
                    found[reference].append(
                        {
                            **facts,
                            "by": by or "",
                            "slice": name,
                            "method": method,
                            "metric": metric,
                            "value": figure.value,
                            "low": figure.low,
                            "high": figure.high,
                            "reference": reference,
                            "difference": difference.value,
                            "difference_low": difference.low,
                            "difference_high": difference.high,
                            "p": difference.p,
                            "seeds": len(of_seeds) or 1,
                            "cases": who.size,
                            "people": np.unique(who).size,
                            **cost_of(of_seeds),
                        }
                    )
    return [row for rows in found.values() for row in rows]


def _meant(run):
    """A run, which of its tasks is meant and which dataset; None: its own, or the last."""
    if not isinstance(run, tuple):
        return run, None, None
    run, more = run
    return (run, None, more) if isinstance(more, Path) else (run, more, None)


def cost_of(runs):
    """What training took, averaged over seeds; nothing for what is no run."""
    records = [record_of(run) for run in runs]
    if not records:
        return {}
    return {
        name: float(np.mean([record[name] for record in records]))
        for name in ("trained_share", "delta_bytes", "seconds", "peak_memory_mb", "epochs")
        if name in records[0]
    }


def figure(row, *, digits=3):
    """A value with its interval, as a cell."""
    value, low, high = (row.get(name) for name in ("value", "low", "high"))
    if value is None:
        return ""
    interval = "" if low is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{interval}"


def difference(row, *, digits=3):
    """A paired difference with its interval and p-value, as a cell; empty for the reference."""
    if row.get("difference") is None or row["method"] == row["reference"]:
        return ""
    value, low, high = (row[f"difference{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}], p {row['p']:.3f}"


def markdown(header, rows):
    """A table in Markdown; numbers are set as they come."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def fill(page, tables):
    """Put tables into a page, each between the comments `<!-- NAME -->` and `<!-- end -->`.

    Figures are never copied by hand. A table without a place, or a place without a table, ends
    the script.
    """
    text = page.read_text()
    places = re.findall(r"<!-- (?!end -->)(.+?) -->", text)
    if sorted(places) != sorted(tables):
        sys.exit(f"{page}: places {sorted(places)}, tables {sorted(tables)}")
    for name, table in tables.items():
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition("<!-- end -->")
        text = f"{before}<!-- {name} -->\n\n{table}\n\n<!-- end -->{after}"
    page.write_text(text)


def show(table, metrics, index):
    """Print figures with their intervals, one row per method."""
    cell = pl.format(
        "{} [{}, {}]",
        pl.col("value").round(4),
        pl.col("low").round(4),
        pl.col("high").round(4),
    )
    wide = (
        table.filter(pl.col("metric").is_in(metrics))
        .with_columns(cell.alias("cell"))
        .pivot("metric", index=index, values="cell")
    )
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=60):
        print(wide)
