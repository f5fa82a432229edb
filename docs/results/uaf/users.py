"""Whether decisions are about users: their information, and what shuffling them costs.

Shape letters: R cases, N blocks, M masks.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from docs.results.experiments import Row, Untrained, class_metrics, ranking_metrics
from recxfer.data.rows import Batch, Rows
from recxfer.evaluation.cases import Protocol, cases_of, diagnostics_of
from recxfer.evaluation.metrics.contract import Array, Functional
from recxfer.evaluation.ranking import class_scores, rank
from recxfer.evaluation.statistics import compare, mean_over_seeds
from recxfer.foundation.reporting import SilentReporter
from recxfer.methods.uaf import UAFLearner, UAFModel
from recxfer.models.scoring import Output
from recxfer.runs.open import open_run
from recxfer.runs.run import Run, task_rows

Labels: TypeAlias = NDArray[np.int64]

CPU = torch.device("cpu")
SHUFFLES = 200
"""Of decisions among cases, for what information is found by mere chance."""

QUANTILES = 10
AT = (5, 10)
FEW = 2_000
"""Cases on which every mask of a trained network is tried, at most."""


def decisions_of_run(run: Path, part: Literal["valid", "test"]) -> Array:
    """Gates (R, N) of the cases of a part."""
    opened = open_run(run, CPU)
    if part == "test":
        gates = cases_of(opened, Protocol(), None, torch.float32, SilentReporter())[0].decisions
        assert gates is not None
        return gates
    return gates_of(opened, opened.rows(part)).numpy()


def gates_of(opened: Run, rows: Rows) -> Tensor:
    """Gates (R, N) of rows, of a run that decides."""
    return diagnostics_of(opened, rows)["decisions"]


def information(run: Path) -> list[Row]:
    """Mutual information, in bits, between decisions and what is known of a user.

    `halves`: between the decision that a user gets by every other event of the history and the one
    by the events in between. `history length`: of the test cases, in tenths. `label`: of profiles.
    Each beside the mean and the 95 % quantile of the same after decisions are shuffled among users.
    `entropy`: of the decisions themselves, the most that there can be.
    """
    opened = open_run(run, CPU)
    rows = opened.rows("test")
    # One case per user, the last: those of one user would be found to be alike.
    _, behind = np.unique(rows.user_R.numpy()[::-1], return_index=True)
    rows = rows.take(torch.from_numpy(len(rows) - 1 - behind))
    mask_R = masks(gates_of(opened, rows).numpy())
    length_R = rows.length_R.numpy()
    edges = np.unique(np.quantile(length_R, np.linspace(0, 1, QUANTILES + 1)[1:-1]))
    known: dict[str, tuple[Labels, Labels]] = {
        "history length": (mask_R, np.searchsorted(edges, length_R))
    }
    if not opened.task.ranks_items:
        assert rows.target_R is not None
        known["label"] = mask_R, rows.target_R.numpy()
    long = rows.take((rows.length_R >= 2).nonzero().squeeze(1))
    if len(long):
        one, other = (
            masks(gates_of(opened, every_other(long, offset)).numpy()) for offset in (0, 1)
        )
        known["halves"] = one, other
    found = [{"metric": "entropy", "value": mutual(mask_R, mask_R), "cases": mask_R.size}]
    draw = np.random.default_rng(0)
    for name, (one, other) in known.items():
        null = [mutual(draw.permutation(one), other) for _ in range(SHUFFLES)]
        value = mutual(one, other)
        found.append(
            {
                "metric": name, "value": value, "cases": one.size,
                "shuffled": float(np.mean(null)), "shuffled_95": float(np.quantile(null, 0.95)),
                "p": (1 + sum(chance >= value for chance in null)) / (1 + SHUFFLES),
            }
        )  # fmt: skip
    return found


def every_other(rows: Rows, offset: int) -> Rows:
    """The same rows with every second event of their histories, from the first or second on."""
    length_R = (rows.length_R - offset + 1) // 2
    start_R = length_R.cumsum(0) - length_R
    owner_E = torch.repeat_interleave(torch.arange(len(rows)), length_R)
    place_E = torch.arange(owner_E.numel()) - start_R[owner_E]
    item_E = rows.item_E[rows.start_R[owner_E] + offset + 2 * place_E]
    return replace(rows, columns={"item": item_E}, start_R=start_R, length_R=length_R)


def masks(gates: Array) -> Labels:
    """Each row's decisions as one number."""
    return (gates >= 0.5) @ (2 ** np.arange(gates.shape[1]))


def mutual(one: Labels, other: Labels) -> float:
    """Mutual information of two labellings in bits, from their joint frequencies."""
    one, other = (np.unique(labels, return_inverse=True)[1] for labels in (one, other))
    joint = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(joint, (one, other), 1 / one.size)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / independent[there])).sum())


class Under(Untrained):
    """A run's learner with given decisions (R, N) in place of its own."""

    def __init__(self, learner: UAFLearner, gates: Tensor) -> None:
        self.learner, self.gates = learner, gates

    @override
    def represent(self, model: UAFModel, batch: Batch) -> Tensor:
        """User vectors under the given decisions."""
        return self.learner.represent_under(model, batch, self.gates[batch.row_B])

    @override
    def output(self, model: UAFModel) -> Output:
        """What scores items or classes."""
        return self.learner.output(model)


def measured(opened: Run, rows: Rows, gates: Tensor) -> dict[str, Functional]:
    """Metrics of rows under given decisions."""
    assert isinstance(opened.learner, UAFLearner)
    learner = Under(opened.learner, gates)
    if opened.task.ranks_items:
        return ranking_metrics(rank(learner, opened.model, rows, device=CPU).rank_R.numpy(), AT)
    score_RC = class_scores(learner, opened.model, rows, CPU).double().numpy()
    assert rows.target_R is not None
    return class_metrics(score_RC, rows.target_R.numpy())


def under_shuffled_decisions(runs: Sequence[Path]) -> list[Row]:
    """Test metrics with own decisions and with shuffled ones; means over seeds, in pairs."""
    owns: list[dict[str, Functional]] = []
    others: list[dict[str, Functional]] = []
    for seed, run in enumerate(runs):
        opened = open_run(run, CPU)
        rows = opened.rows("test")
        gates = gates_of(opened, rows)
        order_R = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        owns.append(measured(opened, rows, gates))
        others.append(measured(opened, rows, gates[order_R]))
    people = rows.user_R.numpy()
    own, shuffled = mean_over_seeds(owns), mean_over_seeds(others)
    return [
        {
            "metric": name,
            "own": float(own[name](np.ones((1, people.size)))[0]),
            "value": float(shuffled[name](np.ones((1, people.size)))[0]),
            "difference": found.value, "difference_low": found.low, "difference_high": found.high,
            "p": found.p, "seeds": len(runs),
        }
        for name, found in compare(shuffled, own, people, seed=0).items()
    ]  # fmt: skip


def own_masks(run: Path) -> list[Row]:
    """The policy against every mask for all, in its own trained network: what it learned from, and
    validation."""
    opened = open_run(run, CPU)
    metric = "NDCG@10" if opened.task.ranks_items else "AUC"
    found: list[Row] = []
    parts: tuple[Literal["train", "valid"], ...] = ("train", "valid")
    for part in parts:
        datasets = opened.source, opened.target
        rows = task_rows(opened.task, *datasets, part, opened.max_length, {"item"})
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:FEW]
        rows = rows.take(drawn.sort().values)
        gates = gates_of(opened, rows)
        num_blocks = gates.shape[1]
        tried = {"policy": gates}
        for number in range(2**num_blocks):
            mask_N = torch.tensor([number >> block & 1 for block in range(num_blocks)]).float()
            blocks = ",".join(str(block) for block in range(num_blocks) if mask_N[block])
            tried[f"blocks {blocks or 'none'}"] = mask_N.expand_as(gates)
        found += [
            {
                "slice": name, "metric": metric, "cases": len(rows), "on": part,
                "value": float(measured(opened, rows, gates)[metric](np.ones((1, len(rows))))[0]),
            }
            for name, gates in tried.items()
        ]  # fmt: skip
    return found
