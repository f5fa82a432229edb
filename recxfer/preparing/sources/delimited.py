"""Read text tables with separators: every column as text, lazily.

Reading all as text keeps ids as they are written (`007`, `23464-3016`) and lets the few columns
that are numbers be converted where a bad value can be named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, final

import polars as pl
import pyarrow as pa
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.foundation.errors import DataError
from recxfer.preparing.sources.format import Format
from recxfer.preparing.streams import stream_errors

_SEPARATORS: Final = ("::", "\t", ";", "|", ",")
_SAMPLE_BYTES: Final = 65_536
_CODECS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""Compressions by the bytes a file of them starts with."""

_NEVER: Final = "\x01"
"""A separator that does not occur: each line becomes one field."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Separator and quoting of text tables."""

    separator: str
    quoted: bool = True
    """Whether double quotes may enclose a field."""


@final
class Delimited(Format[Config]):
    """Read text with a separator, the same in all rows: `,`, tab, `;`, `|` or `::`."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt", ".dat", ".data")

    @override
    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """Scan text files; all have the separator of the first."""
        return scan_delimited(paths, sniff(paths[0]), header=header)


def sniff(path: Path) -> Dialect:
    """Choose the separator that divides all of the first lines alike, and most finely.

    Raises:
        DataError: the file is empty, damaged, or has one column only.
    """
    lines = first_lines(path)
    counts = {separator: {line.count(separator) for line in lines} for separator in _SEPARATORS}
    if counts["::"] - {0} and 0 not in counts["::"]:
        return Dialect("::", quoted=False)
    alike = [separator for separator in _SEPARATORS if len(counts[separator]) == 1]
    best = max(alike, key=lambda separator: max(counts[separator]), default=",")
    if max(counts[best]) == 0:
        best = max(_SEPARATORS[1:], key=lines[0].count)
    if lines[0].count(best) == 0:
        raise DataError(
            f"{path} has one column only, or a separator that is none of , tab ; | ::",
            hint=f"its first line is {lines[0][:80]!r}",
        )
    return Dialect(best)


def scan_delimited(paths: Sequence[Path], dialect: Dialect, *, header: bool) -> pl.LazyFrame:
    """Scan files of one dialect and one header as one frame of text columns.

    Args:
        paths: files, plain, gzipped or zstd, in reading order.
        dialect: separator and quoting.
        header: False: columns are named `1`, `2`, ...
    """
    if dialect.separator == "::":
        return _scan_lines(paths, dialect.separator, header=header)
    frame = pl.scan_csv(
        list(paths),
        separator=dialect.separator,
        has_header=header,
        quote_char='"' if dialect.quoted else None,
        infer_schema=False,
    )
    if header:
        return frame
    names = frame.collect_schema().names()
    return frame.rename({name: str(number) for number, name in enumerate(names, start=1)})


def _scan_lines(paths: Sequence[Path], separator: str, *, header: bool) -> pl.LazyFrame:
    first = first_lines(paths[0])[0].split(separator)
    names = first if header else [str(number) for number in range(1, len(first) + 1)]
    lines = scan_lines(paths, skip=1 if header else 0)
    fields = pl.col("line").str.strip_chars_end("\r").str.split_exact(separator, len(names) - 1)
    return lines.select(fields.struct.rename_fields(names).alias("line")).unnest("line")


def scan_lines(paths: Sequence[Path], *, skip: int = 0) -> pl.LazyFrame:
    """Scan the lines of text files, plain, gzipped or zstd, as one frame of one column `line`.

    Args:
        paths: files in reading order.
        skip: lines to leave out at the beginning of each.
    """
    return pl.scan_csv(
        list(paths),
        separator=_NEVER,
        has_header=False,
        skip_rows=skip,
        quote_char=None,
        schema={"line": pl.String},
        encoding="utf8-lossy",
    )


def first_lines(path: Path) -> list[str]:
    """Read the first lines of a file that are not empty: at most 20, of at most 64 kB together.

    Raises:
        DataError: the file is empty or damaged.
    """
    with stream_errors(str(path)):
        sample = _first_bytes(path)
    lines = [line for line in sample.decode("utf-8-sig", errors="replace").splitlines() if line]
    if not lines:
        raise DataError(f"{path} is empty")
    # The sample may end within a line: that one is not counted, unless it is the only one.
    return lines[:-1][:20] if len(sample) == _SAMPLE_BYTES and len(lines) > 1 else lines[:20]


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
    for magic, codec in _CODECS.items():
        if start.startswith(magic):
            with pa.CompressedInputStream(pa.OSFile(str(path)), codec) as stream:
                return bytes(stream.read(_SAMPLE_BYTES))
    return start
