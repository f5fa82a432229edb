"""Slicers: properties that cases are divided by, one line for each in the table here."""

from typing import TYPE_CHECKING

from recxfer.foundation.registry import Entry, Table

if TYPE_CHECKING:
    from recxfer.evaluation.slices.contract import Slicer

SLICERS: "Table[type[Slicer]]" = Table(
    "slicer",
    [
        Entry(
            "history-length",
            "events of the history that are read",
            "recxfer.evaluation.slices.users:HistoryLength",
        ),
        Entry(
            "target-events",
            "training events of the person in the target",
            "recxfer.evaluation.slices.users:TargetEvents",
        ),
        Entry(
            "item-frequency",
            "training events of the target item",
            "recxfer.evaluation.slices.items:ItemFrequency",
        ),
        Entry(
            "item-age",
            "days since training first met the target item",
            "recxfer.evaluation.slices.items:ItemAge",
        ),
        Entry("label", "class of the person", "recxfer.evaluation.slices.users:Label"),
    ],
    group="recxfer.slicers",
    contract="recxfer.evaluation.slices.contract:Slicer",
)
"""What `--by` knows. Events are those of the training part."""
