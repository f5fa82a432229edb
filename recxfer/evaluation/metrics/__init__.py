"""Metrics: one file for each family, and one line for each metric in the table here."""

import re
from typing import TYPE_CHECKING

from recxfer.foundation.registry import Entry, Table

if TYPE_CHECKING:
    from recxfer.evaluation.metrics.contract import Metric

METRICS: "Table[type[Metric]]" = Table(
    "metric",
    [
        Entry(
            "HR",
            "share of the cases whose target is among the first k",
            "recxfer.evaluation.metrics.ranks:HitRate",
        ),
        Entry(
            "NDCG",
            "discounted gain of the target's rank within the first k",
            "recxfer.evaluation.metrics.ranks:NDCG",
        ),
        Entry(
            "MRR",
            "reciprocal of the target's rank within the first k",
            "recxfer.evaluation.metrics.ranks:MRR",
        ),
        Entry(
            "coverage",
            "share of all items in at least one list of length k",
            "recxfer.evaluation.metrics.lists:Coverage",
        ),
        Entry(
            "novelty",
            "mean self-information of the first k items, in bits",
            "recxfer.evaluation.metrics.novelty:Novelty",
        ),
        Entry(
            "accuracy",
            "share of the cases whose class is predicted",
            "recxfer.evaluation.metrics.classes:Accuracy",
        ),
        Entry(
            "balanced_accuracy",
            "mean over classes of the share that is predicted",
            "recxfer.evaluation.metrics.classes:BalancedAccuracy",
        ),
        Entry(
            "macro_f1",
            "mean over classes of F1",
            "recxfer.evaluation.metrics.classes:MacroF1",
        ),
        Entry(
            "AUC",
            "chance that a case of a class scores above one of another",
            "recxfer.evaluation.metrics.classes:AUC",
        ),
        Entry(
            "log_likelihood",
            "mean log probability of the true class",
            "recxfer.evaluation.metrics.classes:LogLikelihood",
        ),
    ],
    group="recxfer.metrics",
    contract="recxfer.evaluation.metrics.contract:Metric",
    spelling=re.compile(r"[A-Za-z0-9]+(_[a-z0-9]+)*"),
)
"""What `evaluate --metrics` and `optim.metric` know."""

DEFAULT_METRICS = (
    "HR",
    "NDCG",
    "MRR",
    "coverage",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "AUC",
)
"""What `evaluate` measures where `--metrics` does not say."""
