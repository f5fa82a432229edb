"""Files and directories appear whole, or not at all."""

import errno
import json
import os
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.files import (
    canonical_json,
    read_json,
    refuse_existing,
    replaced_directory,
    replaced_file,
    sha256_of,
    sha256_of_text,
    write_json,
)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def disk_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        with replaced_file(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent
        assert contents(path.parent) == {"a.txt": text}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(DataError, match="No space left"), replaced_file(path) as temporary:
        temporary.write_text("half")
        disk_full()
    with pytest.raises(ZeroDivisionError), replaced_file(path) as temporary:
        raise ZeroDivisionError
    assert contents(tmp_path) == {"a.txt": "old"}


def test_a_new_file_has_the_usual_permissions(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    with replaced_file(tmp_path / "ours") as temporary:
        temporary.touch()
    assert (tmp_path / "ours").stat().st_mode == usual.stat().st_mode


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "set"
    with (
        pytest.raises(DataError, match="No space left"),
        replaced_directory(path, marker="a") as temporary,
    ):
        (temporary / "a").write_text("half")
        disk_full()
    assert list(tmp_path.iterdir()) == []
    with replaced_directory(path, marker="a") as temporary:
        (temporary / "a").write_text("whole")
    assert contents(path) == {"a": "whole"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_replaced_only_when_asked_and_only_by_a_whole_one(tmp_path):
    path = tmp_path / "set"
    path.mkdir()
    (path / "a").write_text("old")
    with pytest.raises(UsageError, match="exists already"), replaced_directory(path, marker="a"):
        pytest.fail("an existing output must be refused before any work")
    with pytest.raises(DataError), replaced_directory(path, marker="a", overwrite=True):
        disk_full()
    assert contents(path) == {"a": "old"}
    with replaced_directory(path, marker="a", overwrite=True) as temporary:
        (temporary / "b").write_text("new")
    assert contents(path) == {"b": "new"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_taken_output_is_refused_with_a_hint(tmp_path):
    refuse_existing(tmp_path / "free", overwrite=False)
    with pytest.raises(UsageError) as caught:
        refuse_existing(tmp_path, overwrite=False)
    assert "--overwrite" in caught.value.hint


def test_only_what_is_of_the_kind_is_replaced(tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").touch()
    (tmp_path / "empty").mkdir()
    for name in ("file", "foreign"):
        with pytest.raises(UsageError, match=r"holds no run\.json"):
            refuse_existing(tmp_path / name, overwrite=True, marker="run.json")
    refuse_existing(tmp_path / "empty", overwrite=True, marker="run.json")
    (tmp_path / "foreign" / "run.json").touch()
    refuse_existing(tmp_path / "foreign", overwrite=True, marker="run.json")
    with pytest.raises(UsageError, match="is a directory"):
        refuse_existing(tmp_path / "empty", overwrite=True)
    refuse_existing(tmp_path / "file", overwrite=True)


def test_what_is_read_is_never_replaced(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("run.json", "part.parquet"):
        (data / name).touch()
    for output, marker in ((data, "run.json"), (tmp_path, "data"), (data / "part.parquet", None)):
        with pytest.raises(UsageError, match="this command reads"):
            refuse_existing(output, overwrite=True, marker=marker, inputs=[data])


def test_json_is_read_back_and_damage_is_named(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"name": "\u00e9", "n": 1})
    assert read_json(path) == {"name": "\u00e9", "n": 1}
    path.write_text("{")
    with pytest.raises(DataError, match=r"a\.json is not valid JSON"):
        read_json(path)
    with pytest.raises(DataError, match=r"b\.json does not exist"):
        read_json(tmp_path / "b.json")


def test_digests_are_those_of_the_standard(tmp_path):
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "empty") == sha256_of_text("") == empty


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_canonical_json_is_ascii_and_does_not_depend_on_order(value):
    text = canonical_json(value)
    assert text.isascii()
    assert json.loads(text) == value
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


@pytest.mark.parametrize("replaced", [replaced_file, partial(replaced_directory, marker="a")])
def test_a_failed_write_leaves_no_empty_folder(tmp_path, replaced):
    with pytest.raises(RuntimeError), replaced(tmp_path / "new" / "deep" / "thing"):
        raise RuntimeError
    assert not (tmp_path / "new").exists()
