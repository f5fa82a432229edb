"""Decisions per user: what `evaluate` tells of them, draws of them, and `export` writes of them."""

import numpy as np
import polars as pl
import pytest
import torch

from recxfer.evaluation.cases import diagnostics_of
from recxfer.foundation import tensors
from recxfer.runs.open import open_run
from recxfer.testing.commands import answered, recxfer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def runs(bases, films, books, tmp_path_factory):
    """By chance, so that decisions differ; soft; and one that decides nothing."""
    folder = tmp_path_factory.mktemp("decisions")
    base = bases["nextitnet", "next-item"]
    for name, dataset, task, words in (
        ("chance", films, "profile:group", ["uaf", "--set", "policy=random"]),
        ("soft", films, "profile:group", ["uaf", "--set", "policy=soft"]),
        ("plain", films, "profile:group", ["finetune"]),
        ("cross", books, "cross-domain", ["uaf", "--set", "policy=random", "--set", "rate=0.3"]),
    ):
        recxfer(
            "transfer", base, dataset, folder / name, "--task", task, "--epochs", 1,
            "--method", *words,
        )  # fmt: skip
    return folder


def test_figures_are_those_of_the_decisions_case_by_case(runs, tmp_path):
    page = tmp_path / "page.html"
    names = [runs / name for name in ("plain", "chance", "soft")]
    told = answered("evaluate", *names, "--report", page)["decisions"]
    assert {d["run"] for d in told} == {str(runs / "chance"), str(runs / "soft")}
    for name in ("chance", "soft"):
        opened = open_run(runs / name, CPU)
        rows = opened.rows("test")
        gates = diagnostics_of(opened, rows)["decisions"].numpy().astype(np.float64)
        mine = [d for d in told if d["run"] == str(runs / name)]
        assert [d["by"] for d in mine].count("label") == 3
        for part in mine:
            if part["by"] == "label":
                column = opened.task.classes.index(part["slice"])
                chosen = gates[rows.target_R.numpy() == column]
            elif part["by"] == "history-length":
                low, high = map(int, part["slice"].split("-"))
                length = rows.length_R.numpy()
                chosen = gates[(length >= low) & (length <= high)]
            else:
                chosen = gates
            number = (chosen >= 0.5).sum(1)
            assert part["cases"] == len(chosen)
            assert part["mean"] == pytest.approx(chosen.sum(1).mean())
            assert part["blocks"] == pytest.approx(chosen.mean(0).tolist())
            assert part["counts"] == pytest.approx([(number == n).mean() for n in range(5)])
        assert sum(d["cases"] for d in mine if d["by"] == "history-length") == len(rows)
    text = page.read_text()
    assert text.count("<svg") == 6
    assert "Number of fine-tuned blocks, label" in text


def test_the_table_has_them_and_other_slices_on_request(runs):
    shown = recxfer("evaluate", runs / "cross", "--by", "target-events").output
    assert "fine-tunes" in shown
    told = answered("evaluate", runs / "cross", "--by", "target-events")
    assert [d["by"] for d in told["decisions"]].count("target-events") == 1
    assert not any(d["by"] == "label" for d in told["decisions"])
    plain = answered("evaluate", runs / "plain")
    assert "decisions" not in plain


def test_kept_cases_keep_decisions(runs):
    first = answered("evaluate", runs / "chance")
    (kept,) = (runs / "chance").glob("cases-*")
    assert pl.read_parquet(kept).columns == ["user", "target", "decisions", "scores"]
    again = answered("evaluate", runs / "chance")
    assert again["decisions"] == first["decisions"]


def test_export_writes_what_was_decided_for_whom(runs, tmp_path):
    for name in ("chance", "soft"):
        recxfer("export", runs / name, tmp_path / f"{name}.parquet", "--what", "users")
        recxfer("export", runs / name, tmp_path / f"{name}.safetensors", "--what", "users")
        opened = open_run(runs / name, CPU)
        known = diagnostics_of(opened, opened.rows("all"))["decisions"]
        frame = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert frame.columns == ["user_id", "vector", "decisions"]
        assert np.array_equal(frame["decisions"].to_numpy(), known.numpy())
        parts, _ = tensors.load(tmp_path / f"{name}.safetensors")
        assert torch.equal(parts["decisions"], known)
    recxfer("export", runs / "plain", tmp_path / "plain.parquet", "--what", "users")
    assert pl.read_parquet(tmp_path / "plain.parquet").columns == ["user_id", "vector"]
