"""Headers of every format are read as one type; what cannot be read is refused by name."""

import json
from pathlib import Path

import pytest

from recxfer.foundation.errors import CheckpointError
from recxfer.foundation.names import RUN_JSON
from recxfer.runs.header import FORMAT, Header, identity_of, parse_header
from recxfer.runs.record import read_record

FILMS = {"name": "films", "fingerprint": "f1", "vocabulary": "v1"}
BOOKS = {"name": "books", "fingerprint": "f2", "vocabulary": "v2"}
TASK = {
    "kind": "next-item", "num_outputs": 24, "column": None, "classes": [], "same_vocabulary": True,
}  # fmt: skip
TASTE = {**TASK, "kind": "profile", "num_outputs": 2, "column": "taste", "classes": ["a", "b"]}
SETTINGS = {"optim": {"lr": 0.01}, "data": {}, "precision": "auto", "device": "cpu", "threads": 1}
BACKBONE = {
    "format": 1,
    "kind": "backbone",
    "objective": {"name": "next-item", "config": {"tied": True}},
    "backbone": {
        "name": "sasrec", "config": {"max_length": 20}, "num_items": 24, "causal": True,
    },
    "task": TASK,
    "dataset": FILMS,
    "parent": None,
    "seed": 3,
    "settings": SETTINGS,
    "code": {"recxfer": "0.1.0", "torch": "2.13.0"},
    "training": {"best_epoch": 2, "validation": {"NDCG@10": 0.5}},
}  # fmt: skip
DELTA = {
    **BACKBONE,
    "kind": "delta",
    "method": {"name": "lora", "config": {"readout": "auto"}},
    "task": TASTE,
    "source": None,
    "max_length": 12,
    "parent": {"kind": "backbone", "sha256": "abc"},
}
CHECKPOINT = Path("checkpoint.safetensors")


def test_a_pretrained_run_of_format_1_holds_the_task_of_its_pretraining():
    header = parse_header(BACKBONE, CHECKPOINT)
    assert (header.format, header.kind, header.method) == (FORMAT, "backbone", None)
    assert header.last.dataset.name == header.read_items.name == "films"
    assert header.last.max_length == 20
    assert header.last.training.validation == {"NDCG@10": 0.5}
    assert header.processes == 1


def test_a_delta_of_format_1_holds_its_own_task_alone():
    header = parse_header(DELTA, CHECKPOINT)
    (learned,) = header.tasks
    assert learned.task.name == "profile:taste"
    assert learned.task.classes == ("a", "b")
    assert learned.max_length == 12
    assert learned.method.name == header.method.name == "lora"
    assert header.parent.sha256 == "abc"


def test_format_2_keeps_its_tasks_and_says_so_by_its_kind():
    entry = {
        key: DELTA[key] for key in ("task", "dataset", "source", "max_length", "method", "training")
    }
    earlier = {**entry, "task": TASK, "method": None, "readout": "last", "rate": 0.7}
    last = {**entry, "dataset": BOOKS, "readout": "mean", "rate": 0.5}
    header = parse_header(
        {
            **DELTA, "format": 2, "kind": "merged", "dataset": BOOKS, "histories": FILMS,
            "pretrained": "def", "tasks": [earlier, last],
        },
        CHECKPOINT,
    )  # fmt: skip
    assert header.keeps_tasks
    assert [learned.rate for learned in header.tasks] == [0.7, 0.5]
    assert [learned.dataset.name for learned in header.tasks] == ["films", "books"]
    assert header.read_items.name == "films"


def test_the_newest_format_reads_what_it_writes():
    header = parse_header(DELTA, CHECKPOINT)
    assert parse_header(json.loads(json.dumps(header.to_json())), CHECKPOINT) == header


def test_a_header_can_name_several_datasets():
    written = parse_header(BACKBONE, CHECKPOINT).to_json()
    written["tasks"][0]["datasets"] = [FILMS, BOOKS]
    header = Header.model_validate(written)
    assert [dataset.name for dataset in header.last.datasets] == ["films", "books"]


def test_a_resume_file_of_format_1_depends_on_what_its_header_says():
    unfinished = {key: DELTA[key] for key in DELTA if key not in ("kind", "training")}
    assert identity_of(unfinished, CHECKPOINT) == parse_header(DELTA, CHECKPOINT).identity()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, f"reads up to {FORMAT}"),
        ({"format": None}, "lacks"),
        ({"task": None}, "task"),
        ({"seed": "three"}, "seed"),
        ({"backbone": 5}, "damaged"),
        ({"unheard_of": 1}, "unheard_of"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(change, message):
    with pytest.raises(CheckpointError, match=message):
        parse_header({**BACKBONE, **change}, CHECKPOINT)


def test_a_record_of_before_says_where_the_data_of_each_task_lie(tmp_path):
    old = {"command": "transfer", "settings": SETTINGS, "device": "cpu", "seconds": 1.0}
    for extra, expected in (
        ({"dataset": "../films", "source": None}, [("../films", None)]),
        (
            {
                "dataset": "../books", "source": "../films",
                "tasks": [{"dataset": "../films"}, {"dataset": "../books", "source": "../films"}],
            },
            [("../films", None), ("../books", "../films")],
        ),
    ):  # fmt: skip
        (tmp_path / RUN_JSON).write_text(json.dumps({**old, **extra}))
        found = read_record(tmp_path).tasks
        assert [(paths.datasets[0], paths.source) for paths in found] == expected


@pytest.mark.parametrize("text", ["[]", "{}", '{"dataset": 1}', '{"dataset": "x", "tasks": [1]}'])
def test_a_damaged_record_is_refused(tmp_path, text):
    (tmp_path / RUN_JSON).write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        read_record(tmp_path)
