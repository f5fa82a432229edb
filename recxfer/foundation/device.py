"""Choose the device, precision and threads that torch computes with."""

import ctypes
import sys
from pathlib import Path
from typing import TypedDict

import torch

from recxfer.foundation.errors import UsageError


class Execution(TypedDict, total=False):
    """Options of every command that computes with torch."""

    device: str
    precision: str
    threads: int | None
    overwrite: bool


def choose_device(name: str = "auto") -> torch.device:
    """Choose a device: `auto` takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        UsageError: the named device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device {name!r} cannot be used: {str(error).splitlines()[0]}",
            hint="pass --device auto, cpu, or a device this machine has",
        ) from error
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Choose the dtype of large matrix products: `auto` is bfloat16 where the hardware multiplies
    in it.

    Parameters and optimiser state stay float32 either way.

    Raises:
        UsageError: the precision is unknown.
    """
    names = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if name == "auto":
        return torch.bfloat16 if _multiplies_bf16(device) else torch.float32
    if name not in names:
        raise UsageError(f"unknown precision {name!r}; there are auto, {', '.join(names)}")
    return names[name]


def set_threads(count: int | None) -> None:
    """Use `count` CPU threads, or torch's choice when None."""
    if count is not None:
        torch.set_num_threads(count)


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Run matrix products in `precision`; parameters and sums stay float32."""
    return torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32)


def keep_freed_memory() -> None:
    """Let the allocator keep freed blocks instead of returning them to the system.

    Training asks for the same large blocks at every step; by default glibc maps and unmaps each,
    and touching fresh pages is slow (tests/benchmarks/allocator_speed.py). Elsewhere this does
    nothing.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        cpu_info = Path("/proc/cpuinfo")
        flags = cpu_info.read_text() if cpu_info.exists() else ""
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False
