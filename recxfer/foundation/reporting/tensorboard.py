"""Write the figures of training as event files that TensorBoard reads."""

from collections.abc import Mapping
from typing import final

from typing_extensions import override

from recxfer.foundation.errors import DataError, UsageError
from recxfer.foundation.reporting.log import Log


@final
class TensorBoardLog(Log):
    """One scalar for each number, under its name; text is left out."""

    @override
    def __init__(self, place: str) -> None:
        """Begin an event file in the directory."""
        super().__init__(place)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                f"--log-to tensorboard needs the package {error.name or 'tensorboard'}",
                hint="pip install 'recxfer[tensorboard]', or use --log-to jsonl:PATH",
            ) from error
        try:
            self._writer = SummaryWriter(place)
        except OSError as error:
            raise DataError(
                f"{place} cannot be written to: {error.strerror}",
                hint="log to another directory",
            ) from error

    @override
    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        for name, value in values.items():
            if not isinstance(value, str):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()
