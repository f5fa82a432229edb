"""Reporters of progress: to a terminal, to nobody, and to files of figures."""

from recxfer.foundation.registry import Entry, Table
from recxfer.foundation.reporting.contract import Progress, Reporter
from recxfer.foundation.reporting.silent import SilentReporter

REPORTERS: "Table[type[Reporter]]" = Table(
    "reporter",
    [
        Entry(
            "rich",
            "notes, warnings and progress on stderr",
            "recxfer.foundation.reporting.terminal:RichReporter",
        ),
        Entry("silent", "nothing", "recxfer.foundation.reporting.silent:SilentReporter"),
        Entry(
            "jsonl",
            "figures of training as lines of JSON",
            "recxfer.foundation.reporting.jsonl:JsonlLog",
        ),
        Entry(
            "tensorboard",
            "figures of training as TensorBoard reads them",
            "recxfer.foundation.reporting.tensorboard:TensorBoardLog",
        ),
    ],
)
"""Who can be told what is going on; `--log-to` knows those that write figures to a place."""

__all__ = ["REPORTERS", "Progress", "Reporter", "SilentReporter"]
