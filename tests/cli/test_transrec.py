"""`transrec` as it is typed: from items with text and images to figures in another domain."""

import json
import shutil

import polars as pl
import pytest

from recxfer.foundation import tensors
from recxfer.foundation.names import CHECKPOINT
from recxfer.testing.commands import answered, recxfer, refused, sets

SMALL = [
    "width=8", "max_length=12", "text_width=8", "text_depth=1", "text_buckets=50",
    "image_width=8", "image_depth=1", "image_side=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """Two domains of the synthetic world that share no item; items have texts and images."""
    folder = tmp_path_factory.mktemp("pictured")
    for domain in ("source", "target"):
        world = sets(
            "users=60", "items=21", "events_per_user=8", "images=true", "image_side=16",
            f"domain={domain}",
        )  # fmt: skip
        recxfer("prepare", "synthetic", folder / domain, *world)
    return folder


@pytest.mark.parametrize("modality", ["mixture", "image"])
def test_from_one_domain_to_another(modality, pictured, tmp_path):
    source, target, base = pictured / "source", pictured / "target", tmp_path / "base"
    made = answered(
        "pretrain", source, base, "--objective", "transrec", "--epochs", 2,
        *sets(*SMALL, f"modality={modality}"),
    )  # fmt: skip
    assert made["validation"]["NDCG@10"] > 0
    own = answered("evaluate", base)["runs"][0]
    zero_shot = answered("evaluate", base, "--dataset", target)["runs"][0]
    assert own["cases"] != zero_shot["cases"]
    run, frozen = tmp_path / "run", tmp_path / "frozen"
    answered("transfer", base, target, run, "--method", "transrec", "--epochs", 1)
    answered(
        "transfer", base, target, frozen, "--method", "transrec", "--epochs", 1,
        *sets("encoders=frozen", "user_encoder=new"),
    )  # fmt: skip
    kept = {path.name.partition("-")[0] for path in (target / "features").iterdir()}
    assert "image" in kept
    popular = tmp_path / "popular"
    answered("transfer", base, target, popular, "--method", "popular")
    # All are held to the same cases, and compared in pairs with what was never trained on them.
    runs = [base, run, frozen, popular]
    together = answered("evaluate", *runs, "--dataset", target, "--by", "item-age")
    assert [figures["run"] for figures in together["runs"]] == list(map(str, runs))
    assert together["runs"][0]["metrics"] == zero_shot["metrics"]
    assert len(together["differences"]) == 3 * len(
        {difference["metric"] for difference in together["differences"]}
    )
    num_items = pl.read_parquet(target / "items.parquet").height
    items, users, lists = (tmp_path / f"{name}.parquet" for name in ("items", "users", "lists"))
    assert answered("export", run, items, "--what", "items")["rows"] == num_items
    assert answered("export", run, users, "--what", "users")["dimension"] == 8
    assert answered("export", frozen, lists, "--what", "recommendations", "--top", 3)["rows"] > 0
    assert (
        answered("export", frozen, tmp_path / "m.safetensors", "--what", "model")["parameters"] > 0
    )
    assert tensors.read_header(tmp_path / "m.safetensors")["kind"] == "merged"
    # The base recommends what it never saw, too.
    zero = tmp_path / "zero.parquet"
    answered("export", base, zero, "--what", "recommendations", "--dataset", target)
    known = set(pl.read_parquet(target / "items.parquet")["item_id"])
    assert set(pl.read_parquet(zero)["item_id"]) <= known


@pytest.mark.parametrize("loss", [[], ["loss=cpc-bce", "encoders=frozen"]], ids=str)
def test_a_transfer_that_was_killed_ends_in_the_same_bytes(
    loss, content_base, books, tmp_path, resumes_as_if_never_killed
):
    """A real SIGKILL while the vectors of all items are measured, behind the first epoch."""
    dying = (
        "import os, signal\n"
        "from recxfer.training import loop\n"
        "_validate = loop._validate\n"
        "def validate(model, phase, training, state):\n"
        "    _validate(model, phase, training, state)\n"
        "    if state.epoch == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop._validate = validate\n"
    )
    resumes_as_if_never_killed(
        dying, content_base, books, tmp_path / "run", "--method", "transrec",
        "--epochs", "3", "--threads", "1", *sets(*loss),
    )  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A dataset whose items have neither text nor image."""
    folder = tmp_path_factory.mktemp("bare")
    lines = [f"u{user},i{(user + step) % 9},{step}" for user in range(20) for step in range(6)]
    (folder / "log.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    recxfer("prepare", folder / "log.csv", folder / "data")
    return folder / "data"


def test_items_without_content_are_a_data_error(content_base, pictured, bare, films, tmp_path):
    run = tmp_path / "run"
    for words in (
        ["pretrain", bare, run, "--objective", "transrec"],
        ["transfer", content_base, bare, run, "--method", "transrec"],
        ["evaluate", content_base, "--dataset", bare],
        ["export", content_base, run, "--what", "items", "--dataset", bare],
    ):
        code, error, hint = refused(*words)
        assert (code, str(bare) in error, "--items" in hint) == (3, True, True), error
    code, error, _ = refused(
        "pretrain", films, run, "--objective", "transrec", *sets("modality=image")
    )
    assert (code, "picture" in error, str(films) in error) == (3, True, True)
    answered(
        "pretrain", pictured / "source", tmp_path / "seen", "--objective", "transrec",
        "--epochs", 1, *sets(*SMALL, "modality=image"),
    )  # fmt: skip
    code, error, _ = refused(
        "transfer", tmp_path / "seen", films, run, "--method", "transrec", "--epochs", 1
    )
    assert (code, "picture" in error) == (3, True)
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


@pytest.mark.parametrize("method", ["finetune", "scratch", "probe", "conure", "replay", "uaf"])
def test_methods_that_know_items_by_number_say_so(method, content_base, films, tmp_path):
    words = ["transfer", content_base, films, tmp_path / "run", "--method", method]
    code, error, hint = refused(*words, "--task", "profile:taste")
    assert (code, "knows items by their text and images" in error) == (2, True), error
    assert "transrec" in hint
    assert list(tmp_path.iterdir()) == []


def test_a_base_with_a_table_of_items_is_refused(bases, films, books, tmp_path):
    base = bases["sasrec", "next-item"]
    words = ["transfer", base, films, tmp_path / "run", "--method", "transrec"]
    code, error, hint = refused(*words)
    assert (code, "by their place in a table" in error) == (2, True)
    assert "--objective transrec" in hint
    # Its vocabulary still matters.
    assert refused("evaluate", base, "--dataset", books)[0] == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["readout=last-valid", "loss=in-batch"], "sees both sides"),
        (["loss=softmax"], "objective.loss (--set): Input should be 'auto', 'in-batch'"),
        (["negatives=0", "loss=cpc-bce"], "objective.negatives (--set)"),
        (["text_layers=9"], "layers are to train"),
        (["text=/no/such/directory"], "/no/such/directory"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_a_usage_error(given, message, films, tmp_path):
    words = ["pretrain", films, tmp_path / "run", "--objective", "transrec"]
    code, error, _ = refused(*words, *sets(*given))
    assert (code, message in error) == (2, True), error
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_names_no_path_of_this_host(content_base):
    header = tensors.read_header(content_base / CHECKPOINT)
    assert header["backbone"]["content"]["config"]["modality"] == "text"
    assert "/" not in json.dumps([header["objective"], header["backbone"]])


def test_items_that_cannot_be_read_are_counted(content_base, tmp_path):
    lines = [f"u{user},i{(user + step) % 9},{step}" for user in range(20) for step in range(6)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,time", *lines]) + "\n")
    titles = [f"i{item},step {item}" for item in range(7)]
    (tmp_path / "titles.csv").write_text("\n".join(["item,text", *titles]) + "\n")
    recxfer("prepare", tmp_path / "log.csv", tmp_path / "data", "--items", tmp_path / "titles.csv")
    shown = answered("evaluate", content_base, "--dataset", tmp_path / "data")
    assert ["2 of 9 items of" in warning for warning in shown["warnings"]] == [True]


def test_a_run_with_a_pretrained_encoder_opens_where_its_directory_is_gone(films, books, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `modal` is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="the extra `modal` is not installed")
    words = ["[PAD]", "[UNK]", "odd", "even", "step", *map(str, range(15))]
    tokeniser = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]")
    )
    tokeniser.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=2, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=12,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    tokeniser.save(str(tmp_path / "bert" / "tokenizer.json"))
    base = tmp_path / "base"
    encoder = [f"text={tmp_path / 'bert'}", "text_layers=1", "width=8", "max_length=12"]
    answered(
        "pretrain", films, base, "--objective", "transrec", "--epochs", 1, *sets(*encoder)
    )  # fmt: skip
    shutil.rmtree(tmp_path / "bert")
    transfer = ["--method", "transrec", "--epochs", 1]
    answered("transfer", base, books, tmp_path / "top", *transfer)
    answered("transfer", base, books, tmp_path / "none", *transfer, *sets("encoders=frozen"))
    for name, layers in (("top", {"1"}), ("none", set())):
        parts, header = tensors.load(tmp_path / name / CHECKPOINT)
        assert header["kind"] == "delta"
        # Neither frozen layers nor the tokeniser, which the base holds.
        encoders = [part for part in parts if ".encoder." in part]
        assert {part.split(".layer.")[1][0] for part in encoders} == layers
        assert str(tmp_path) not in json.dumps(header)
    answered("evaluate", base, tmp_path / "top", tmp_path / "none", "--dataset", books)
