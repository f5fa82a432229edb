"""Decode images of items once, cut to squares, into one array that training maps.

Image files come from anywhere: sizes are read before pixels are, and a file that cannot be decoded
costs its item the image, not the dataset.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recxfer.data.schema import ImageRecord
from recxfer.foundation.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS: Final = 50_000_000
"""An image with more is left out: its pixels are never decoded."""

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
"""No others are tried: Pillow knows some that run programs."""

_CHUNK: Final = 512
"""Images in memory at a time."""

Fault = Literal["missing", "corrupt", "too_large"]


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Outcome of decoding the images of a dataset."""

    record: ImageRecord
    row_V: list[int | None]
    """Row of each item's image in the array; None where it has none."""

    examples: dict[Fault, Path]
    """The first file of each fault."""


class _UnusableError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Fault = fault


@dataclass(slots=True)
class _Tally:
    animated: int = 0
    faults: dict[Fault, int] = field(
        default_factory=lambda: {"missing": 0, "corrupt": 0, "too_large": 0}
    )
    examples: dict[Fault, Path] = field(default_factory=dict)

    def add(self, fault: Fault, path: Path) -> None:
        self.faults[fault] += 1
        self.examples.setdefault(fault, path)


def require_pillow() -> None:
    """Make sure that images can be decoded.

    Raises:
        UsageError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "items have images, and to decode them takes Pillow, which is not installed",
            hint="install it with: pip install 'recxfer[modal]' "
            "(or leave the images out: --columns image= where a table names them)",
        ) from error


def store_images(paths: Sequence[Path | None], file: Path, side: int) -> StoredImages:
    """Decode the images of items, in their order, to one NumPy file of (N, side, side, 3) bytes.

    Each is resized so that its short side has `side` pixels, and cut to its centre.

    Args:
        paths: the image of each item; None where it has none.
        file: the array, written image by image.
        side: pixels of an edge.
    """
    named = [(item, path) for item, path in enumerate(paths) if path is not None]
    row_V: list[int | None] = [None] * len(paths)
    tally = _Tally()

    def pixels() -> Iterator[NDArray[np.uint8]]:
        count = 0
        for (item, path), found in zip(
            named, _decoded([path for _, path in named], side), strict=True
        ):
            if isinstance(found, _UnusableError):
                tally.add(found.fault, path)
                continue
            square, animated = found
            tally.animated += animated
            row_V[item], count = count, count + 1
            yield square

    count = _write_array(file, pixels(), (side, side, 3))
    record = ImageRecord(
        side=side,
        items=count,
        absent=len(paths) - len(named),
        animated=tally.animated,
        **tally.faults,
    )
    return StoredImages(record, row_V, tally.examples)


def _decode(path: Path, side: int) -> tuple[NDArray[np.uint8], bool]:
    """Decode an image file as a square of RGB bytes; say whether it holds more frames than one.

    Transparent parts are white, 16 bits of grey become 8. The orientation in EXIF is not applied.

    Raises:
        _UnusableError: there is no file, it has too many pixels, or it cannot be decoded.
    """
    from PIL import Image, ImageOps

    if not _is_file(path):
        raise _UnusableError("missing")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _UnusableError("too_large")
            animated = bool(getattr(image, "is_animated", False))
            # A JPEG is decoded at the smallest scale that still has twice the pixels needed.
            image.draft("RGB", (2 * side, 2 * side))
            square = ImageOps.fit(_in_colour(image), (side, side), Image.Resampling.BICUBIC)
            return np.asarray(square, dtype=np.uint8), animated
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _UnusableError("too_large") from error
    except (_UnusableError, MemoryError):
        raise
    except Exception as error:  # decoders meet damage with errors of any kind
        raise _UnusableError("corrupt") from error


def _decoded(
    paths: Sequence[Path], side: int
) -> Iterator[tuple[NDArray[np.uint8], bool] | _UnusableError]:
    from PIL import Image

    def attempt(path: Path) -> tuple[NDArray[np.uint8], bool] | _UnusableError:
        try:
            return _decode(path, side)
        except _UnusableError as error:
            return error

    # Pillow lets go of the lock while it decodes. As many threads as polars has: --threads.
    with warnings.catch_warnings(), ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        warnings.simplefilter("ignore")  # of odd metadata and the like
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for first in range(0, len(paths), _CHUNK):
            yield from pool.map(attempt, paths[first : first + _CHUNK])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that may not be entered
        return False


def _in_colour(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        canvas = Image.new("RGBA", image.size, "white")
        canvas.alpha_composite(image.convert("RGBA"))
        return canvas.convert("RGB")
    return image.convert("RGB")


def _write_array(path: Path, rows: Iterator[NDArray[np.uint8]], shape: tuple[int, ...]) -> int:
    """Write rows as one .npy file, and return how many there were.

    How many there are is known at the end: the header has room for the number (NumPy pads it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:

        def write_header(count: int) -> int:
            file.seek(0)
            facts = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
            np.lib.format.write_array_header_1_0(file, facts)
            return file.tell()

        start, count = write_header(0), 0
        for row in rows:
            file.write(row.tobytes())
            count += 1
        if write_header(count) != start:
            raise AssertionError("the header of an array grew with its number of rows")
    return count
