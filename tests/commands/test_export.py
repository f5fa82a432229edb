"""`export`: what is in the files, that they are the same again, and that nothing is half there."""

import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from recxfer.commands import export
from recxfer.data.dataset import Dataset
from recxfer.foundation import tensors
from recxfer.foundation.config import Settings
from recxfer.foundation.errors import DataError, UsageError
from recxfer.runs.open import open_run
from recxfer.testing.commands import answered, exported, transferred

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(bases):
    """A pretrained run whose output layer is the item table."""
    return bases["sasrec", "next-item"]


@pytest.fixture(scope="module")
def taste(base, films, tmp_path_factory):
    """A run that tells even people from odd ones."""
    return adapted(base, films, tmp_path_factory.mktemp("taste") / "run", "profile:taste")


@pytest.fixture(scope="module")
def reader(base, books, tmp_path_factory):
    """A run that recommends books from films."""
    return adapted(base, books, tmp_path_factory.mktemp("reader") / "run", "cross-domain")


def adapted(base, dataset, run, task, method="finetune"):
    options = {"epochs": 3, "batch_size": None, "lr": None}
    return transferred(base, dataset, run, method, task, **options).path


@torch.no_grad()
def vector_of(run, item_L):
    """The model's vector of one history, on its own."""
    rows = run.rows("all").take(torch.tensor([0]))
    batch = type(rows)(
        columns={"item": item_L.int()},
        start_R=torch.zeros(1, dtype=torch.int64),
        length_R=torch.tensor([item_L.numel()]),
        user_R=rows.user_R,
    ).batch(torch.tensor([0]))
    return run.learner.represent(run.model, batch)[0]


def history_of(dataset, user):
    events = dataset.events
    return events.item_E[events.offset_U1[user] : events.offset_U1[user + 1]]


def test_users_are_vectors_of_whole_histories(base, films, tmp_path):
    result = exported(base, tmp_path / "users.parquet")
    frame = pl.read_parquet(result.path)
    run, dataset = open_run(base, CPU), Dataset(films)
    assert frame.columns == ["user_id", "vector"]
    assert frame["user_id"].to_list() == dataset.user_ids.to_list()
    assert (result.rows, result.dimension) == (dataset.num_users, 16)
    assert frame.schema["vector"] == pl.Array(pl.Float32, 16)
    assert "fixed_size_list<" in str(pq.read_schema(result.path).field("vector").type)
    for user in (0, 7, dataset.num_users - 1):
        expected = vector_of(run, history_of(dataset, user))
        torch.testing.assert_close(torch.tensor(frame["vector"][user].to_list()), expected)


def test_items_come_with_biases_where_there_are_some(base, films, tmp_path):
    tied = pl.read_parquet(exported(base, tmp_path / "a.parquet", what="items").path)
    assert tied.columns == ["item_id", "vector"]
    assert tied["item_id"].to_list() == Dataset(films).item_ids.to_list()
    popular = adapted(base, films, tmp_path / "popular", "next-item", method="popular")
    frame = pl.read_parquet(exported(popular, tmp_path / "b.parquet", what="items").path)
    assert frame.columns == ["item_id", "vector", "bias"]
    run = open_run(popular, CPU)
    output = run.learner.output(run.model)
    torch.testing.assert_close(torch.tensor(frame["bias"].to_list()), output.bias_V)
    torch.testing.assert_close(torch.tensor(frame["vector"].to_list()), output.weight_VD)


def test_recommendations_are_the_best_items_not_met_before(base, films, tmp_path):
    result = exported(base, tmp_path / "top.parquet", what="recommendations", top=5)
    frame = pl.read_parquet(result.path)
    assert frame.columns == ["user_id", "item_id", "rank", "score"]
    assert result.rows == frame.height
    run, dataset = open_run(base, CPU), Dataset(films)
    item_ids, user_ids = dataset.item_ids.to_list(), dataset.user_ids.to_list()
    for user in (0, 5, 11):
        history = history_of(dataset, user)
        score_V = run.learner.output(run.model).scores(vector_of(run, history)[None])[0]
        score_V[history.long() - 1] = -torch.inf
        best = score_V.topk(5)
        mine = frame.filter(pl.col("user_id") == user_ids[user])
        assert mine["rank"].to_list() == [1, 2, 3, 4, 5]
        assert mine["item_id"].to_list() == [item_ids[v] for v in best.indices.tolist()]
        torch.testing.assert_close(torch.tensor(mine["score"].to_list()), best.values.detach())


def test_users_who_have_met_nearly_all_get_shorter_lists(base, films, tmp_path):
    frame = pl.read_parquet(
        exported(base, tmp_path / "all.parquet", what="recommendations", top=1000).path
    )
    dataset = Dataset(films)
    met = {
        dataset.user_ids[user]: history_of(dataset, user).unique().numel()
        for user in range(dataset.num_users)
    }
    lengths = dict(frame.group_by("user_id").len().iter_rows())
    assert lengths == {user: dataset.num_items - count for user, count in met.items()}


def test_across_domains_users_are_those_of_the_source(reader, films, books, tmp_path):
    frame = pl.read_parquet(
        exported(reader, tmp_path / "top.parquet", what="recommendations", top=30).path
    )
    source, target = Dataset(films), Dataset(books)
    assert set(frame["user_id"]) == set(source.user_ids)
    assert set(frame["item_id"]) <= set(target.item_ids)
    user_of = dict(zip(target.user_ids, range(target.num_users), strict=True))
    for user_id in source.user_ids.head(10):
        met = history_of(target, user_of[user_id]).unique().numel()
        assert frame.filter(pl.col("user_id") == user_id).height == target.num_items - met


def test_profiles_are_recommended_as_class_and_probability(taste, films, tmp_path):
    frame = pl.read_parquet(exported(taste, tmp_path / "c.parquet", what="recommendations").path)
    assert frame.columns == ["user_id", "class", "probability"]
    run, dataset = open_run(taste, CPU), Dataset(films)
    assert frame.height == dataset.num_users
    for user in (0, 9):
        vector_D = vector_of(run, history_of(dataset, user))
        score_C = run.learner.output(run.model).scores(vector_D[None])[0]
        share_C = score_C.detach().softmax(0)
        assert frame["class"][user] == run.task.classes[int(share_C.argmax())]
        assert frame["probability"][user] == pytest.approx(float(share_C.max()), abs=1e-5)


def test_profiles_have_no_lists(taste, tmp_path):
    with pytest.raises(UsageError, match="each person gets one class"):
        exported(taste, tmp_path / "c.parquet", what="recommendations", top=3)


def test_classes_are_no_items(taste, tmp_path):
    with pytest.raises(UsageError, match="classes, not items"):
        exported(taste, tmp_path / "items.parquet", what="items")


def test_the_model_is_whole_and_says_what_it_is(taste, tmp_path):
    result = exported(taste, tmp_path / "model.safetensors", what="model")
    parts, header = tensors.load(result.path)
    assert header["kind"] == "merged"
    assert header["tasks"][0]["task"]["classes"] == ["even", "odd"]
    own = open_run(taste, CPU).model.state_dict()
    assert parts.keys() == own.keys()
    assert all(torch.equal(parts[name], own[name]) for name in own)
    assert result.parameters == sum(part.numel() for part in own.values())


def test_vectors_as_safetensors(base, tmp_path):
    users, header = tensors.load(exported(base, tmp_path / "users.safetensors").path)
    assert users["users"].shape == (120, 16)
    assert header["dataset"]["name"] == "films"
    items, _ = tensors.load(exported(base, tmp_path / "i.safetensors", what="items").path)
    assert items["items"].shape == (24, 16)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_lists_as_text(base, tmp_path, suffix):
    options = {"what": "recommendations", "top": 2}
    table = pl.read_parquet(exported(base, tmp_path / "top.parquet", **options).path)
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson}[suffix]
    text = read(exported(base, tmp_path / f"top.{suffix}", **options).path)
    assert text["item_id"].to_list() == table["item_id"].to_list()
    assert text["rank"].to_list() == table["rank"].to_list()


@pytest.mark.parametrize("what", ["users", "items", "recommendations", "model"])
def test_the_same_export_gives_the_same_bytes(base, tmp_path, what):
    suffix = export.FORMATS[what][0]
    first = exported(base, tmp_path / f"1.{suffix}", what=what).path.read_bytes()
    assert exported(base, tmp_path / f"2.{suffix}", what=what).path.read_bytes() == first


@pytest.mark.parametrize(
    ("out", "options", "expected"),
    [
        ("users.parquet", {}, "parquet"),
        ("users", {}, "parquet"),
        ("users", {"format": "safetensors"}, "safetensors"),
        ("users.safetensors", {}, "safetensors"),
        ("model", {"what": "model"}, "safetensors"),
        ("top.csv", {"what": "recommendations"}, "csv"),
    ],
)
def test_the_format_follows_flag_then_suffix_then_habit(tmp_path, out, options, expected):
    config = export.resolve(tmp_path, tmp_path / out, settings=Settings.read(), **options)
    assert config.format == expected


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("users.csv", {}, "cannot be written as 'csv'; there are parquet, safetensors"),
        ("model.parquet", {"what": "model"}, "there are safetensors"),
        ("x", {"format": "onnx"}, "cannot be written as 'onnx'"),
        ("x", {"what": "user"}, "--what user: there are users"),
        ("x", {"top": 3}, "--top is for recommendations, not for users"),
    ],
)
def test_a_format_that_does_not_go_with_it_is_a_usage_error(tmp_path, out, options, message):
    with pytest.raises(UsageError, match=message):
        export.resolve(tmp_path, tmp_path / out, settings=Settings.read(), **options)


def test_what_is_there_is_kept_unless_told_otherwise(base, tmp_path):
    out = tmp_path / "users.parquet"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        exported(base, out)
    assert out.read_text() == "mine"
    exported(base, out, overwrite=True)
    assert pl.read_parquet(out).height == 120


def test_a_full_disk_leaves_nothing_behind(base, tmp_path, monkeypatch):
    def full(path, frame):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_table", full)
    with pytest.raises(DataError, match="No space left"):
        exported(base, tmp_path / "users.parquet")
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_promised_keys(base, tmp_path):
    out = tmp_path / "users.parquet"
    shown = answered("export", base, out, "--threads", "1", "--precision", "fp32")
    assert (shown["what"], shown["format"], shown["rows"], shown["dimension"]) == (
        "users", "parquet", 120, 16,
    )  # fmt: skip
    assert shown["path"] == str(out)
