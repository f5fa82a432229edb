"""Safetensors with one canonical header: the same bytes, and damage that is named."""

import json
import struct
import subprocess
import sys

import pytest
import torch

from recxfer.foundation import tensors
from recxfer.foundation.errors import CheckpointError

HEADER = {"kind": "test", "nested": {"b": 1, "a": [1, 2.5, None]}}

WRITE = """
import sys
from pathlib import Path
import torch
from recxfer.foundation import tensors
names = sys.argv[2:]
parts = {name: torch.arange(6.0).reshape(2, 3) * len(name) for name in names}
tensors.save(Path(sys.argv[1]), parts, {"b": 1, "a": {"d": 2, "c": 3}})
"""


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "a.safetensors"
    tensors.save(written, {"w": torch.eye(3), "b": torch.zeros(0)}, HEADER)
    return written


def test_what_is_saved_is_loaded(path):
    parts, header = tensors.load(path)
    assert header == HEADER == tensors.read_header(path)
    assert torch.equal(parts["w"], torch.eye(3))
    assert parts["b"].shape == (0,)


def test_views_are_saved_as_they_look(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors.save(tmp_path / "v", {"t": whole.T, "part": whole[1:, 1:3]}, {})
    parts, _ = tensors.load(tmp_path / "v")
    assert torch.equal(parts["t"], whole.T)
    assert torch.equal(parts["part"], whole[1:, 1:3])


def test_two_processes_write_the_same_bytes(tmp_path):
    for name, order in (("one", ["x", "yy"]), ("two", ["yy", "x"])):
        command = [sys.executable, "-c", WRITE, str(tmp_path / name), *order]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_header_can_be_read_with_the_standard_library(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert list(metadata) == ["recxfer"]
    assert json.loads(metadata["recxfer"]) == HEADER


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_cut_file_is_a_checkpoint_error(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        tensors.load(path)


def test_strangers_are_refused(tmp_path):
    from safetensors.torch import save_file

    stranger = tmp_path / "stranger.safetensors"
    save_file({"w": torch.eye(2)}, stranger)
    with pytest.raises(CheckpointError, match="was not written by recxfer"):
        tensors.load(stranger)
    stranger.write_bytes(b"\xff" * 64)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        tensors.load(stranger)
    with pytest.raises(CheckpointError, match="does not exist"):
        tensors.load(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        tensors.read_header(tmp_path)
