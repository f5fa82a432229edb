"""JSON lines: one object per row, every field read as text."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, final

import polars as pl
from typing_extensions import override

from recxfer.foundation.config import Config
from recxfer.preparing.ids import written_id
from recxfer.preparing.sources.format import Format

_SAMPLE_LINES: Final = 1000


@final
class JsonLines(Format[Config]):
    """Read JSON lines: the fields of the first thousand lines."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")
    fields_vary: ClassVar[bool] = True

    @override
    def scan(self, paths: Sequence[Path], *, header: bool) -> pl.LazyFrame:
        """Scan files of JSON lines; rows may differ in their fields."""
        files = list(paths)
        schema = pl.scan_ndjson(files, infer_schema_length=_SAMPLE_LINES).collect_schema()
        return pl.scan_ndjson(files, schema=dict.fromkeys(schema.names(), pl.String))

    @override
    def id(self, name: str, frame: pl.LazyFrame) -> pl.Expr:
        """Read ids as they are: JSON has a null of its own, so `null` in quotes is an id."""
        return written_id(name, frame, words=False)
