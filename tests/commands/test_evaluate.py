"""`evaluate` against figures worked out anew, what it keeps, compares, slices and reports."""

import json
import math
import shutil

import polars as pl
import pytest
import torch

from recxfer.cli.tables.evaluate import render
from recxfer.commands import evaluate
from recxfer.evaluation import cases
from recxfer.evaluation.metrics import DEFAULT_METRICS
from recxfer.evaluation.metrics.choice import fitting, offered
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.names import CHECKPOINT
from recxfer.foundation.reporting import SilentReporter
from recxfer.runs.open import open_run
from recxfer.testing.commands import answered, evaluated, pretrained, recxfer, transferred

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runs(films, tmp_path_factory):
    """Quick runs: `base` and `popular` rank films, `probe`, `finetune`, `groups` tell people."""
    folder = tmp_path_factory.mktemp("runs")
    base = folder / "base"
    pretrained(films, base, "width=8", "max_length=20", "dropout=0.0", epochs=4)
    for name, method, task in (
        ("popular", "popular", "next-item"),
        ("probe", "probe", "profile:taste"),
        ("finetune", "finetune", "profile:taste"),
        ("patched", "peterrec", "profile:taste"),
        ("groups", "probe", "profile:group"),
    ):
        transferred(base, films, folder / name, method, task, epochs=2, batch_size=None)
    return folder


def usual(name):
    """The metrics that a run is measured by where nothing is asked for."""
    fit = fitting(offered(ranks_items=name == "base"))
    return [metric for metric in DEFAULT_METRICS if metric in fit]


def fresh(runs, tmp_path, name="base"):
    """A copy of a run that keeps no cases yet."""
    path = tmp_path / name
    shutil.copytree(runs / name, path, ignore=shutil.ignore_patterns("cases-*"))
    record = json.loads((path / "run.json").read_text())
    _point_at_the_data_of(runs / name, record)
    (path / "run.json").write_text(json.dumps(record))
    return path


def _point_at_the_data_of(run, record):
    """Make relative paths of a run's record absolute, so that a copy elsewhere finds them."""
    for task in record["tasks"]:
        task["datasets"] = [str((run / path).resolve()) for path in task["datasets"]]
    if record["base"] is not None:
        record["base"] = str((run / record["base"]).resolve())


def ranks_one_by_one(run, part, *, keep_seen):
    """The rank of each target, case by case, from the model's own scores."""
    rows = run.rows(part)
    ranks = []
    for row in range(len(rows)):
        with torch.no_grad():
            user_BD = run.learner.represent(run.model, rows.batch(torch.tensor([row])))
            score_V = run.learner.output(run.model).scores(user_BD)[0]
        target = int(rows.target_R[row])
        met = rows.seen.item_E[rows.seen.start_R[row] : rows.seen.end_R[row]].tolist()
        hidden = set() if keep_seen else {item - 1 for item in met} - {target}
        rivals = [s for v, s in enumerate(score_V.tolist()) if v not in hidden | {target}]
        ranks.append(1 + sum(score >= score_V[target] for score in rivals))
    return ranks


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("keep_seen", [False, True])
def test_figures_are_those_of_ranks_one_by_one(runs, part, keep_seen):
    result = evaluated(runs / "base", on=part, keep_seen=keep_seen, at="10,1")
    ranks = ranks_one_by_one(open_run(runs / "base", CPU), part, keep_seen=keep_seen)
    (found,) = result.runs
    assert found.cases == len(ranks)
    assert list(found.metrics) == [f"{name}@{k}" for name in usual("base") for k in (1, 10)]
    hits = [rank for rank in ranks if rank <= 10]
    for name, gain in (
        ("HR@10", len(hits)),
        ("NDCG@10", sum(1 / math.log2(rank + 1) for rank in hits)),
        ("MRR@10", sum(1 / rank for rank in hits)),
    ):
        figure = found.metrics[name]
        assert figure.value == pytest.approx(gain / len(ranks))
        if name == "HR@10" and len(hits) == len(ranks):
            assert figure.low is None, "where all agree, resampling says nothing"
        else:
            assert figure.low <= figure.value <= figure.high


def test_profiles_have_their_own_metrics(runs):
    (found,) = evaluated(runs / "probe").runs
    assert list(found.metrics) == usual("probe")
    assert (found.task, found.method, found.seen) == ("profile:taste", "probe", None)


def test_chosen_metrics_are_shown_in_the_order_asked_for(runs):
    words = ["evaluate", runs / "base", runs / "popular", runs / "probe"]
    asked = ["--metrics", "MRR,log_likelihood,HR@7,novelty@3", "--at", "2,10"]
    shown = answered(*words, *asked)
    ranked = ["MRR@2", "MRR@10", "HR@7", "novelty@3"]
    assert [list(run["metrics"]) for run in shown["runs"]] == [ranked, ranked, ["log_likelihood"]]
    assert [d["metric"] for d in shown["differences"]] == ranked
    full = evaluated(runs / "base", at="7,2,10").runs[0].metrics
    assert shown["runs"][0]["metrics"]["HR@7"]["value"] == full["HR@7"].value
    assert shown["runs"][0]["metrics"]["MRR@10"]["value"] == full["MRR@10"].value


def test_novelty_of_what_everybody_is_shown_is_that_of_the_most_frequent_films(runs, films):
    figure = evaluated(runs / "popular", metrics="novelty@1", keep_seen=True).runs[0].metrics
    events = pl.read_parquet(films / "interactions.parquet").filter(pl.col("split") == "train")
    most = events["item"].value_counts()["count"].max()
    assert figure["novelty@1"].value == pytest.approx(-math.log2(most / events.height))


def test_what_is_said_of_all_cases_together_is_not_compared_between_slices(runs):
    result = evaluated(runs / "base", metrics="coverage@5,HR@5", by="history-length")
    assert list(result.runs[0].metrics) == ["coverage@5", "HR@5"]
    assert all(list(part.metrics) == ["HR@5"] for part in result.slices)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["probe"], {"metrics": "HR@10"}, "^HR@10 needs ranks, which .*probe for profile:taste"),
        (["base"], {"metrics": "HR@10,AUC"}, "^AUC needs scores, which .*base for next-item"),
        (["base", "probe"], {"metrics": "MRR@1"}, "^MRR@1 needs ranks, which .*probe"),
        (["base"], {"metrics": "coverage@5", "candidates": "9"}, "^coverage@5 needs lists"),
    ],
)
def test_metrics_that_cannot_be_measured_are_refused(runs, names, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        evaluated(*(runs / name for name in names), **options)
    assert caught.value.hint.startswith("there are ")


def test_cases_are_kept_and_used_again(runs, tmp_path, monkeypatch):
    path = fresh(runs, tmp_path)
    first = evaluated(path)
    (kept,) = path.glob("cases-test-*.parquet")
    frame = pl.read_parquet(kept)
    assert frame.columns == ["user", "target", "rank", "top"]
    bytes_before = kept.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(cases, "rank", None)
        assert evaluated(path).as_json() == first.as_json()
        assert evaluated(path, seed=1).runs[0].cases == first.runs[0].cases
        with pytest.raises(TypeError):  # another protocol has to be computed
            evaluated(path, keep_seen=True)
    kept.write_bytes(b"cut short")
    assert evaluated(path).as_json() == first.as_json()
    assert kept.read_bytes() == bytes_before


def test_cases_of_another_checkpoint_are_not_used(runs, tmp_path):
    path = fresh(runs, tmp_path)
    evaluated(path)
    other = fresh(runs, tmp_path, "popular")
    evaluated(other)
    (kept,) = other.glob("cases-*")
    assert not (path / kept.name).exists()
    assert (path / CHECKPOINT).read_bytes() != (other / CHECKPOINT).read_bytes()


def test_a_run_that_cannot_be_written_to_is_still_measured(runs, tmp_path, monkeypatch):
    path = fresh(runs, tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(cases, "replaced_file", refuse)
    reporter = SilentReporter()
    assert evaluated(path, reporter=reporter).runs[0].cases > 0
    assert "not kept" in reporter.warnings[0]
    assert list(path.glob("cases-*")) == []


def test_runs_are_compared_in_pairs(runs, tmp_path):
    twin = fresh(runs, tmp_path, "popular")
    paths = (runs / "popular", runs / "base", twin)
    shown = evaluated(*paths).as_json()
    assert [run["run"] for run in shown["runs"]] == [str(path) for path in paths]
    assert set(shown["differences"][0]) == {
        "run", "against", "task", "dataset", "metric", "value", "low", "high", "p", "p_holm",
    }  # fmt: skip
    by_run = {}
    for difference in shown["differences"]:
        by_run.setdefault(difference["run"], {})[difference["metric"]] = difference
    again, better = by_run[str(twin)], by_run[str(runs / "base")]
    assert again["HR@10"]["value"] == 0
    assert again["HR@10"]["p"] == 1
    # The next film is the successor of the last one: popularity knows nothing of that.
    assert better["HR@5"]["low"] > 0
    assert better["HR@5"]["p"] < better["HR@5"]["p_holm"] < 0.05
    assert better["HR@5"]["value"] == pytest.approx(
        shown["runs"][1]["metrics"]["HR@5"]["value"] - shown["runs"][0]["metrics"]["HR@5"]["value"]
    )
    assert "coverage@5" not in better


def test_the_same_run_twice_is_a_usage_error(runs):
    with pytest.raises(UsageError, match="is given twice"):
        evaluated(runs / "base", runs / "popular", runs / "." / "popular" / ".." / "base")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"at": "5"}, "--at"),
        ({"candidates": "9"}, "--candidates"),
        ({"keep_seen": True, "at": "10"}, "--at, --keep-seen"),
    ],
)
def test_flags_for_items_are_refused_for_profiles(runs, options, named):
    with pytest.raises(UsageError, match=f"^{named}: .* no items are ranked"):
        evaluated(runs / "probe", **options)


def test_runs_of_different_cases_cannot_be_compared(runs, tmp_path):
    other = fresh(runs, tmp_path, "probe")
    kept = evaluated(other)
    (file,) = other.glob("cases-*.parquet")
    frame = pl.read_parquet(file)
    frame.head(-1).write_parquet(file)
    with pytest.raises(UsageError, match=r"probe \(\d+ cases\) .* not held to the same cases"):
        evaluated(runs / "probe", other)
    assert kept.runs[0].cases == frame.height


def test_tasks_stand_side_by_side_and_runs_are_compared_within_their_task(runs, tmp_path):
    order = ["probe", "base", "groups", "patched", "popular", "finetune"]
    report = tmp_path / "report.html"
    result = evaluated(*(runs / name for name in order), at="5", report=report)
    grouped = ["probe", "patched", "finetune", "base", "popular", "groups"]
    assert [run.run for run in result.runs] == [str(runs / name) for name in grouped]
    against = {d["run"]: d["against"] for d in result.as_json()["differences"]}
    assert against == {
        str(runs / "patched"): str(runs / "probe"),
        str(runs / "finetune"): str(runs / "probe"),
        str(runs / "popular"): str(runs / "base"),
    }
    alone = evaluated(runs / "probe", runs / "patched", runs / "finetune")
    assert result.runs[:3] == alone.runs
    assert list(result.differences[: len(alone.differences)]) == list(alone.differences)
    tables = render(result).renderables
    assert [table.title.plain.split(" on ")[0] for table in tables] == [
        "profile:taste", "next-item", "profile:group",
    ]  # fmt: skip
    page = report.read_text()
    assert page.index("<h2>profile:taste</h2>") < page.index("<h2>next-item</h2>")
    assert page.count("in pairs</h3>") == 2


def test_a_run_s_size_leaves_item_tables_out(runs):
    shown = evaluated(*(runs / name for name in ("base", "popular", "finetune", "patched")))
    size = {run.method: run.size for run in shown.runs}
    for name, run in (("finetune", "finetune"), ("peterrec", "patched")):
        assert size[name].checkpoint_bytes == (runs / run / CHECKPOINT).stat().st_size
    assert size["popular"].backbone_share is None
    assert size["next-item"].backbone_share == 1
    classes = (8 + 1) * 2 * 4
    opened = open_run(runs / "patched", CPU).model
    patches = sum(p.nbytes for name, p in opened.named_parameters() if "patch" in name)
    body = sum(
        p.nbytes
        for name, p in open_run(runs / "base", CPU).model.named_parameters()
        if "item_table" not in name
    )
    assert size["finetune"].backbone_share == pytest.approx((body + classes) / body)
    assert size["peterrec"].backbone_share == pytest.approx((patches + classes) / body)


def test_sampled_candidates_say_so_everywhere(runs, tmp_path):
    report = tmp_path / "report.html"
    result = evaluated(runs / "popular", candidates="9", report=report)
    shown = result.as_json()["runs"][0]
    assert shown["candidates"] == "1+9 sampled"
    assert shown["metrics"]["HR@10"]["value"] == 1
    assert "coverage@10" not in shown["metrics"]
    assert "1+9 sampled" in report.read_text()
    assert "1+9 sampled" in render(result).renderables[0].title.plain
    full = evaluated(runs / "popular").as_json()["runs"][0]["metrics"]
    assert shown["metrics"]["HR@5"]["value"] > full["HR@5"]["value"]


def test_candidates_are_the_same_for_every_run_and_drawn_by_seed(runs, tmp_path):
    same = [evaluated(runs / "base", candidates="3", seed=4).runs[0].metrics for _ in range(2)]
    assert same[0] == same[1]
    others = {
        evaluated(runs / "base", candidates="3", seed=seed).runs[0].metrics["MRR@5"].value
        for seed in range(4)
    }
    assert len(others) > 1


def test_more_candidates_than_items_is_an_error(runs):
    with pytest.raises(DataError, match="candidates were asked for"):
        evaluated(runs / "base", candidates="1000")


@pytest.mark.parametrize(
    ("name", "by", "names"),
    [
        ("base", "history-length", {"1-5", "6-20"}),
        ("base", "item-frequency", {"21-100"}),
        ("base", "target-events", {"2-4", "5+"}),
        ("probe", "history-length", {"1-5", "6-20"}),
        ("groups", "label", {"a", "b", "c"}),
    ],
)
def test_slices_part_the_cases(runs, name, by, names):
    result = evaluated(runs / name, by=by)
    assert {part.slice for part in result.slices} == names
    assert sum(part.cases for part in result.slices) == result.runs[0].cases
    metric = "HR@10" if name == "base" else "accuracy"
    mean = sum(part.cases * part.metrics[metric].value for part in result.slices)
    assert mean / result.runs[0].cases == pytest.approx(result.runs[0].metrics[metric].value)
    json.dumps(result.as_json(), allow_nan=False)


def test_within_one_class_only_accuracy_means_anything(runs):
    result = evaluated(runs / "probe", by="label")
    assert {part.slice for part in result.slices} == {"even", "odd"}
    assert all(list(part.metrics) == ["accuracy"] for part in result.slices)


def test_several_cases_of_a_person_are_counted_and_numbered_as_in_the_tables(
    bases, books, tmp_path
):
    base = bases["sasrec", "next-item"]
    run = transferred(base, books, tmp_path / "run", "popular", "cross-domain").path
    (found,) = evaluated(run).runs
    events = pl.read_parquet(books / "interactions.parquet").filter(pl.col("split") == "test")
    assert found.cases == events.height > found.people == events["user"].n_unique()
    (kept,) = run.glob("cases-test-*.parquet")
    frame = pl.read_parquet(kept)
    assert frame.select("user", item="target").equals(
        events.select("user", pl.col("item").cast(pl.Int64)), null_equal=True
    )
    most_popular = (
        pl.read_parquet(books / "interactions.parquet")
        .filter(pl.col("split") == "train")["item"]
        .value_counts()
        .sort("count", descending=True)["item"][0]
    )
    assert most_popular in frame["top"].explode().unique().to_list()
    assert frame["top"].explode().min() >= 1


@pytest.mark.parametrize(("name", "by"), [("base", "label"), ("probe", "item-frequency")])
def test_a_slice_that_does_not_fit_the_task_is_a_usage_error(runs, name, by):
    with pytest.raises(UsageError, match="does not fit the task"):
        evaluated(runs / name, by=by)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": "5,zero"}, "whole number"),
        ({"at": "0"}, "at least 1"),
        ({"candidates": "some"}, "whole number"),
        ({"by": "history"}, "--by history: there are history-length"),
        ({"on": "train"}, "there are test and valid"),
        ({"metrics": "HR@10,NDGC"}, "unknown metric 'NDGC'; there are HR, NDCG"),
        ({"metrics": "HR@ten"}, "HR@ten: expected a whole number"),
        ({"metrics": "AUC@5"}, "AUC takes no length"),
        ({"metrics": "HR@10,accuracy", "at": "5"}, "--at 5: none of the metrics"),
    ],
)
def test_flags_that_mean_nothing_are_usage_errors(options, message):
    with pytest.raises(UsageError, match=message):
        evaluate.resolve([], settings=Settings.read(), **options)


def test_the_report_stands_alone_and_escapes_everything(runs, tmp_path):
    odd = tmp_path / "<script>alert(1)</script>&"
    shutil.copytree(runs / "base", odd)
    record = json.loads((odd / "run.json").read_text())
    _point_at_the_data_of(runs / "base", record)
    (odd / "run.json").write_text(json.dumps(record))
    report = tmp_path / "report.html"
    result = evaluated(runs / "popular", odd, by="history-length", report=report)
    assert result.path == report
    page = report.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page
    assert "://" not in page
    for part in ("<h2>next-item</h2>", "in pairs</h3>", "<h2>By history-length</h2>", "p (Holm)"):
        assert part in page
    with pytest.raises(UsageError, match="exists already"):
        evaluated(runs / "popular", report=report)
    evaluated(runs / "popular", report=report, overwrite=True)


def test_json_is_one_object_with_the_promised_keys(runs):
    words = ["evaluate", runs / "popular", runs / "base"]
    shown = answered(*words, "--by", "history-length", "--threads", "1")
    assert {"command", "path", "seconds", "peak_memory_mb", "version"} <= set(shown)
    assert {"run", "method", "task", "dataset", "cases", "metrics"} <= set(shown["runs"][0])
    assert set(shown["runs"][0]["metrics"]["HR@10"]) == {"value", "low", "high"}
    assert {"run", "task", "slice", "cases", "metrics"} == set(shown["slices"][0])


def test_outside_a_terminal_the_figures_are_plain_text_on_stderr(runs):
    words = ["evaluate", runs / "popular", runs / "base"]
    done = recxfer(*words)
    assert done.stdout == f"{runs / 'popular'}\n"
    value = evaluated(runs / "base").runs[0].metrics["NDCG@10"].value
    assert "NDCG@10" in done.stderr
    assert f"{value:.4f}" in done.stderr
    assert str(runs / "base") in done.stderr  # long paths are not folded
    assert "\x1b" not in done.stderr
    assert recxfer(*words, "--quiet").stderr == ""
    assert recxfer(*words, "--json").stderr == ""
