"""Write files and folders safely: beside the target first, then one rename."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from recxfer.foundation.errors import DataError, UsageError

Json: TypeAlias = dict[str, Any]
"""A JSON object as a file holds it, before it is typed."""


def canonical_json(value: object) -> str:
    """Write JSON text that is the same for equal values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_of(path: Path) -> str:
    """Compute the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    """Compute the sha256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_existing(
    path: Path, *, overwrite: bool, marker: str | None = None, inputs: Iterable[Path] = ()
) -> None:
    """Raise unless `path` is free, or may be replaced.

    Called before long work starts, so that hours of it are not lost at the end.

    Args:
        path: the output.
        overwrite: whether it may be replaced at all.
        marker: a file that directories of the kind being made hold: only such a directory, or an
            empty one, is ever replaced. None where the output is a file.
        inputs: what the same command reads, and must not lose.
    """
    if not path.exists():
        return
    if not overwrite:
        raise UsageError(
            f"{path} exists already",
            hint="choose another output, or pass --overwrite to replace it",
        )
    mine = path.resolve()
    for read in inputs:
        source = read.resolve()
        # A directory inside an input is told by its marker; a file there may be a part of it.
        if source.is_relative_to(mine) or (marker is None and mine.is_relative_to(source)):
            raise UsageError(
                f"{path} cannot be replaced: this command reads {read}",
                hint="choose another output",
            )
    if marker is None and path.is_dir():
        raise UsageError(
            f"{path} is a directory, and a file is to be written",
            hint="choose another output",
        )
    if marker is not None and not _may_go(path, marker):
        raise UsageError(
            f"--overwrite does not replace {path}: it holds no {marker}, "
            "so it is not of the kind that is to be written",
            hint="choose another output, or remove it yourself",
        )


def _may_go(path: Path, marker: str) -> bool:
    return path.is_dir() and ((path / marker).exists() or not any(path.iterdir()))


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block ends well.

    The bytes are synced before the rename: after a crash the old file or the new one is there,
    whole.
    """
    made = _make_parents(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free some space or choose another output; nothing was left half-written",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
        _remove_empty(made)


@contextmanager
def replaced_directory(path: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside `path`; rename it to `path` when the block ends well.

    With `overwrite` an existing directory that holds the file `marker` is replaced, but only after
    the new one is complete.
    """
    refuse_existing(path, overwrite=overwrite, marker=marker)
    made = _make_parents(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.rename(old / path.name)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free some space or choose another output; nothing was left half-written",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(made)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, for people to read, in one atomic step."""
    with replaced_file(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one is a data error that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error


def _make_parents(path: Path) -> list[Path]:
    """Make the folders above `path`; return those that were not there, deepest first."""
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders that a failed write made and left empty."""
    for folder in folders:
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
