"""Write the figures of training as lines of JSON."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import final

from typing_extensions import override

from recxfer.foundation.errors import DataError
from recxfer.foundation.reporting.log import Log


@final
class JsonlLog(Log):
    """One object a line: `step` and the values; null where a number is not finite."""

    @override
    def __init__(self, place: str) -> None:
        """Make the file, unless it exists."""
        super().__init__(place)
        self._path = Path(place)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.open("a").close()
        except OSError as error:
            raise DataError(
                f"{place} cannot be written to: {error.strerror}",
                hint="log to another file",
            ) from error

    @override
    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Append a line and close the file; this happens a few times an epoch."""
        line = json.dumps({"step": step, **{name: _json(v) for name, v in values.items()}})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _json(value: float | str) -> float | str | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
