"""Read and write safetensors files with a header, equal bytes for equal contents.

The header carries one key, `recxfer`, with canonical JSON. One key and not several, because
safetensors writes its metadata in hash order: several keys would change places between runs.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recxfer.foundation.errors import CheckpointError
from recxfer.foundation.files import Json, canonical_json, replaced_file
from recxfer.foundation.names import HEADER_KEY

_HEADER_LIMIT = 100_000_000
"""Bytes of header that are believed; the cap safetensors itself uses."""


def save(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, object]) -> None:
    """Write `tensors` and `header` to `path` in one atomic step.

    Each tensor is written once and contiguous; tied weights belong under one name only.
    """
    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    with replaced_file(path) as temporary:
        save_file(contiguous, temporary, metadata={HEADER_KEY: canonical_json(dict(header))})


def load(path: Path) -> tuple[dict[str, torch.Tensor], Json]:
    """Read tensors (on the CPU) and header; a missing or damaged file is a checkpoint error."""
    header = read_header(path)
    try:
        return load_file(path), header
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}", hint="write it again from its run, or restore a copy"
        ) from error


def byte_sizes(path: Path) -> dict[str, int]:
    """Read the bytes of each tensor, with the standard library alone and without the tensors."""
    facts = _safetensors_header(path)
    spans = {name: facts[name]["data_offsets"] for name in facts if name != "__metadata__"}
    return {name: end - start for name, (start, end) in spans.items()}


def read_header(path: Path) -> Json:
    """Read the `recxfer` header, with the standard library alone and without the tensors."""
    metadata = _safetensors_header(path).get("__metadata__", {})
    if HEADER_KEY not in metadata:
        raise CheckpointError(f"{path} was not written by recxfer: its header lacks {HEADER_KEY!r}")
    decoded: Json = json.loads(metadata[HEADER_KEY])
    return decoded


def _safetensors_header(path: Path) -> Json:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise CheckpointError(f"{path} is not a safetensors file: header of {length} bytes")
            facts: Json = json.loads(file.read(length))
            return facts
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist", hint="is this a finished run?") from error
    except (struct.error, ValueError, IsADirectoryError) as error:
        raise CheckpointError(f"{path} is not a safetensors file, or is cut short") from error
