"""Devices, precisions and memory."""

import subprocess
import sys

import pytest
import torch

from recxfer.foundation.device import (
    choose_device,
    choose_precision,
    keep_freed_memory,
    set_threads,
)
from recxfer.foundation.errors import UsageError
from recxfer.foundation.memory import peak_memory_mb


def test_a_device_is_chosen_by_name():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "tpu"])
def test_a_device_that_is_not_there_is_a_usage_error(name):
    with pytest.raises(UsageError, match=f"device '{name}' cannot be used") as caught:
        choose_device(name)
    assert "auto" in caught.value.hint


def test_a_precision_is_chosen_by_name():
    cpu = torch.device("cpu")
    assert choose_precision("fp32", cpu) is torch.float32
    assert choose_precision("bf16", cpu) is torch.bfloat16
    assert choose_precision("auto", cpu) in {torch.float32, torch.bfloat16}
    with pytest.raises(UsageError, match="unknown precision 'fp8'; there are auto, fp32, bf16"):
        choose_precision("fp8", cpu)


def test_threads_are_set_or_left_alone():
    before = torch.get_num_threads()
    set_threads(None)
    assert torch.get_num_threads() == before
    set_threads(before)
    assert torch.get_num_threads() == before


def test_the_allocator_setting_is_harmless():
    keep_freed_memory()
    assert torch.ones(10).sum() == 10


def test_peak_memory_is_of_this_program_alone():
    held = torch.ones(50_000_000)  # 200 MB, which a child must not report as its own
    assert 200 < peak_memory_mb() < 1e5
    code = "from recxfer.foundation.memory import peak_memory_mb; print(peak_memory_mb())"
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, stdin=subprocess.DEVNULL
    )
    assert 1 < float(child.stdout) < 150
    assert held[0] == 1
