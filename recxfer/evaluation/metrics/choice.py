"""Read metrics by name, `NDCG@10` or `accuracy`, and say which cases they can be measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recxfer.evaluation.metrics import METRICS
from recxfer.evaluation.metrics.contract import Functional, Metric, Need, Predictions
from recxfer.foundation.errors import UsageError


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric, and the length of the lists that it reads."""

    name: str
    """As it stands in tables: `NDCG@10`."""

    metric: Metric
    k: int
    """0 where the metric has no k."""


def measures(names: Sequence[str], at: Sequence[int]) -> list[Measure]:
    """Read metric names.

    Args:
        names: `NAME@k`, or `NAME`, which of a ranked list stands for all lengths asked for.
        at: these lengths; without any, a metric of ranked lists has to say its k.

    Raises:
        UsageError: a metric is unknown, or has a k where none is due, or none where one is.
    """
    found: dict[str, Measure] = {}
    for text in names:
        name, at_sign, length = text.strip().partition("@")
        metric: Metric = METRICS.resolve(name)()
        if at_sign and not metric.cut:
            raise UsageError(f"{text}: {name} takes no length", hint=f"write {name}")
        if at_sign and not (length.isascii() and length.isdigit() and int(length) > 0):
            raise UsageError(f"{text}: expected a whole number of at least 1 behind the @")
        if metric.cut and not at_sign and not at:
            raise UsageError(f"{text}: among how many places?", hint=f"write {name}@10, say")
        lengths = [int(length)] if at_sign else list(at) if metric.cut else [0]
        for k in lengths:
            shown = f"{name}@{k}" if metric.cut else name
            found[shown] = Measure(shown, metric, k)
    return list(found.values())


def measured(asked: Sequence[Measure], cases: Predictions) -> dict[str, Functional]:
    """Evaluate each metric of some cases by its name, as a function of their weights."""
    return {measure.name: measure.metric.of(cases, measure.k) for measure in asked}


def offered(*, ranks_items: bool, lists: bool = True) -> frozenset[Need]:
    """Collect what the cases of a task have for metrics.

    Args:
        ranks_items: whether items are ranked, not classes told apart.
        lists: whether the best items of each case are known, which sampled candidates do not tell.
    """
    if not ranks_items:
        return frozenset({"scores"})
    return frozenset({"ranks", "lists", "popularity"} if lists else {"ranks"})


def fitting(offers: frozenset[Need]) -> list[str]:
    """List the metrics that can be measured where this much is known."""
    return [entry.name for entry in METRICS if METRICS.resolve(entry.name).needs <= offers]


def refuse_unfit(asked: Sequence[Measure], offers: Mapping[str, frozenset[Need]]) -> None:
    """Refuse metrics that cannot be measured.

    Args:
        asked: the metrics.
        offers: what is known of the cases of each run, by what the run is called in messages.

    Raises:
        UsageError: a metric fits none of the runs, or none of the metrics fits a run.
    """
    for run, offer in offers.items():
        if not any(measure.metric.needs <= offer for measure in asked):
            raise _unfit(asked[0], run, offer)
    for measure in asked:
        if not any(measure.metric.needs <= offer for offer in offers.values()):
            raise _unfit(measure, *next(iter(offers.items())))


def _unfit(measure: Measure, run: str, offer: frozenset[Need]) -> UsageError:
    return UsageError(
        f"{measure.name} needs {' and '.join(sorted(measure.metric.needs))}, which {run} does not "
        "have",
        hint=f"there are {', '.join(fitting(offer))}",
    )
