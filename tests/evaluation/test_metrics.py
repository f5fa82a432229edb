"""Metrics against their definitions; intervals and tests against scipy."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recxfer.evaluation.metrics import METRICS
from recxfer.evaluation.metrics.choice import fitting, measures, offered
from recxfer.evaluation.metrics.contract import Mean, Predictions, Whole
from recxfer.evaluation.statistics import (
    compare,
    estimate,
    holm,
    mean_over_seeds,
    resamples,
    two_sided_p,
)


def once(metric, num_cases):
    return float(metric(np.ones((1, num_cases)))[0])


def of(names, at=(), **fields):
    """Metrics by name, as functions of weights."""
    if "target_R" not in fields:
        fields["target_R"] = np.ones(len(next(iter(fields.values()))), dtype=np.int64)
    predictions = Predictions(**fields)
    return {m.name: m.metric.of(predictions, m.k) for m in measures(names, at)}


def ranking_metrics(ranks, at):
    return of(["HR", "NDCG", "MRR"], at, rank_R=ranks)


def class_metrics(score, target):
    return of(fitting(offered(ranks_items=False)), score_RC=score, target_R=target)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 20))
def test_ranking_metrics_are_their_definitions(ranks, k):
    metrics = ranking_metrics(np.array(ranks), [k])
    hits = [r for r in ranks if r <= k]
    n = len(ranks)
    assert once(metrics[f"HR@{k}"], n) == pytest.approx(len(hits) / n)
    assert once(metrics[f"MRR@{k}"], n) == pytest.approx(sum(1 / r for r in hits) / n)
    gain = sum(1 / np.log2(r + 1) for r in hits) / n
    assert once(metrics[f"NDCG@{k}"], n) == pytest.approx(gain)


@given(st.integers(0, 5000), st.integers(4, 60), st.integers(2, 6))
def test_auc_is_the_mann_whitney_statistic(seed, n, levels):
    draw = np.random.default_rng(seed)
    target = np.r_[0, 1, draw.integers(2, size=n - 2)]
    score = draw.integers(levels, size=n).astype(float)
    metrics = class_metrics(np.stack([np.zeros(n), score], 1), target)
    u = stats.mannwhitneyu(score[target == 1], score[target == 0]).statistic
    pairs = (target == 1).sum() * (target == 0).sum()
    assert once(metrics["AUC"], n) == pytest.approx(u / pairs)


def test_class_metrics_on_a_table_worked_by_hand():
    predicted = np.array([0, 0, 1, 1, 2, 0])
    target = np.array([0, 0, 0, 1, 1, 2])
    metrics = class_metrics(np.eye(3)[predicted], target)
    assert once(metrics["accuracy"], 6) == pytest.approx(3 / 6)
    assert once(metrics["balanced_accuracy"], 6) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    # F1 of class 0: 2*2/(3+3); class 1: 2*1/(2+2); class 2: 0.
    assert once(metrics["macro_f1"], 6) == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)


def test_a_class_without_cases_is_left_out():
    metrics = class_metrics(np.eye(3)[[0, 1, 0]], np.array([0, 1, 1]))
    assert once(metrics["balanced_accuracy"], 3) == pytest.approx((1 + 1 / 2) / 2)


def drawn(seed, chosen=slice(None)):
    """Made-up predictions of nine cases with all that any metric may need, or some of them."""
    draw = np.random.default_rng(seed)
    lists = np.stack([draw.permutation(7)[:4] + 1 for _ in range(9)])
    cases = {
        "rank_R": draw.integers(1, 8, size=9),
        "item_RK": lists,
        "score_RC": draw.normal(size=(9, 3)),
        "target_R": draw.integers(3, size=9),
    }
    popularity = np.r_[0, draw.integers(0, 9, size=7)]
    return Predictions(
        **{name: values[chosen] for name, values in cases.items()},
        popularity_V1=popularity,
        num_items=7,
    )


@pytest.mark.parametrize("name", [n for n in METRICS.names if METRICS.resolve(n).cut])
@given(st.integers(0, 1000))
def test_what_comes_behind_the_first_k_does_not_count(name, seed):
    cases = drawn(seed)
    behind = cases.item_RK[:, 3:]
    shuffled_RK = np.hstack([cases.item_RK[:, :3], np.roll(behind, 1, axis=0)])
    rank_R = np.where(cases.rank_R > 3, cases.rank_R + 1, cases.rank_R)
    (measure,) = measures([name], [3])
    one, other = (
        once(measure.metric.of(given, measure.k), 9)
        for given in (cases, replace(cases, item_RK=shuffled_RK, rank_R=rank_R))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", METRICS.names)
@given(st.integers(0, 1000))
def test_weights_are_repetitions(name, seed):
    counts = np.random.default_rng(seed + 1).integers(0, 3, size=9)
    counts[0] += 1
    repeated = np.repeat(np.arange(9), counts)
    (measure,) = measures([name], [3])
    metric = measure.metric.of(drawn(seed), measure.k)
    if isinstance(metric, Whole):
        return  # says itself that resampling says nothing about it
    again = measure.metric.of(drawn(seed, repeated), measure.k)
    weighted = float(metric(counts[None].astype(float))[0])
    np.testing.assert_allclose(weighted, once(again, repeated.size), equal_nan=True)


@pytest.mark.parametrize("name", METRICS.names)
def test_training_records_the_metric_itself(name):
    (measure,) = measures([name], [3])
    value = measure.metric.value(drawn(4), measure.k)
    assert value == pytest.approx(once(measure.metric.of(drawn(4), measure.k), 9))


@pytest.mark.parametrize("name", METRICS.names)
def test_a_metric_reads_no_more_than_it_says_it_needs(name):
    (measure,) = measures([name], [3])
    fields = {"ranks": "rank_R", "lists": "item_RK", "scores": "score_RC"}
    fields["popularity"] = "popularity_V1"
    unneeded = {fields[need]: None for need in fields.keys() - measure.metric.needs}
    assert np.isfinite(measure.metric.value(replace(drawn(4), **unneeded), measure.k))


@given(st.integers(0, 5000), st.integers(2, 5))
def test_log_likelihood_is_its_definition(seed, num_classes):
    draw = np.random.default_rng(seed)
    score, target = draw.normal(size=(6, num_classes)), draw.integers(num_classes, size=6)
    chances = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    expected = np.log(chances[np.arange(6), target]).mean()
    found = of(["log_likelihood"], score_RC=score, target_R=target)["log_likelihood"]
    assert once(found, 6) == pytest.approx(expected, abs=1e-6)


def test_novelty_is_self_information_and_unmet_items_count_as_met_once():
    lists, counts = np.array([[1, 2, 3], [4, 1, 2]]), np.array([0, 8, 4, 4, 0])
    found = of(["novelty@1", "novelty@3"], item_RK=lists, popularity_V1=counts)
    assert once(found["novelty@1"], 2) == pytest.approx((1 + 4) / 2)
    assert once(found["novelty@3"], 2) == pytest.approx(((1 + 2 + 2) / 3 + (4 + 1 + 2) / 3) / 2)


def test_coverage_counts_distinct_items():
    top = np.array([[1, 2, 3], [1, 4, 2]])
    found = of(["coverage"], [1, 3], item_RK=top, num_items=8)
    assert found == {"coverage@1": Whole(1 / 8), "coverage@3": Whole(4 / 8)}
    figure = estimate(found, np.arange(2), seed=0)["coverage@3"]
    assert (figure.value, figure.low, figure.high) == (4 / 8, None, None)


def test_intervals_match_scipy_and_cover_the_truth():
    draw = np.random.default_rng(0)
    values = draw.exponential(size=400)
    figure = estimate({"mean": Mean(values)}, np.arange(400), seed=1)["mean"]
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=4000, rng=0
    ).confidence_interval
    assert figure.value == pytest.approx(values.mean())
    assert figure.low == pytest.approx(reference.low, abs=0.01)
    assert figure.high == pytest.approx(reference.high, abs=0.01)
    inside = 0
    for trial in range(100):
        sample = draw.exponential(size=200)
        figure = estimate({"mean": Mean(sample)}, np.arange(200), seed=trial)["mean"]
        inside += figure.low <= 1 <= figure.high
    assert 87 <= inside <= 100


def test_paired_differences_see_what_unpaired_intervals_miss():
    draw = np.random.default_rng(0)
    base = draw.normal(size=300) * 10
    better = base + 0.3 + draw.normal(size=300) * 0.5
    ours, theirs = {"m": Mean(better)}, {"m": Mean(base)}
    difference = compare(ours, theirs, np.arange(300), seed=0)["m"]
    assert difference.low > 0
    assert difference.p < 0.01
    t_test = stats.ttest_rel(better, base).confidence_interval()
    assert difference.low == pytest.approx(t_test.low, abs=0.02)
    assert difference.high == pytest.approx(t_test.high, abs=0.02)
    ours, theirs = estimate(ours, np.arange(300), 0)["m"], estimate(theirs, np.arange(300), 0)["m"]
    assert ours.low < theirs.high


def test_equal_runs_do_not_differ():
    metric = {"m": Mean(np.arange(20.0))}
    difference = compare(metric, metric, np.arange(20), seed=0)["m"]
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_p_values_of_no_difference_are_uniform():
    draw = np.random.default_rng(0)
    ps = []
    for trial in range(200):
        noise = draw.normal(size=80)
        difference = compare(
            {"m": Mean(noise)}, {"m": Mean(np.zeros(80))}, np.arange(80), seed=trial
        )["m"]
        ps.append(difference.p)
    assert stats.kstest(ps, "uniform").pvalue > 0.001


def test_a_p_value_is_never_zero():
    assert two_sided_p(np.full(99, 1.0)) == pytest.approx(2 / 100)


def test_resamples_draw_every_case_as_often():
    weights = np.concatenate(list(resamples(50, 50, seed=3)))
    assert weights.shape[1] == 50
    assert (weights.sum(1) == 50).all()
    assert abs(weights.mean(0) - 1).max() < 0.15


def test_groups_of_equal_cases_are_resampled_like_cases():
    draw = np.random.default_rng(0)
    ranks = draw.integers(1, 60, size=500)
    grouped = estimate(ranking_metrics(ranks, [10]), np.arange(500), seed=1)
    for name, metric in ranking_metrics(ranks, [10]).items():
        spread = np.concatenate([metric(weights) for weights in resamples(500, 500, seed=1)])
        low, high = np.percentile(spread, [2.5, 97.5])
        assert grouped[name].low == pytest.approx(low, abs=0.1 * (high - low))
        assert grouped[name].high == pytest.approx(high, abs=0.1 * (high - low))


def test_grouping_keeps_pairs_together():
    ranks = np.tile([1, 5, 30, 40], 100)
    better = np.tile([1, 4, 30, 9], 100)
    difference = compare(
        ranking_metrics(better, [10]), ranking_metrics(ranks, [10]), np.arange(400), seed=0
    )
    exact = stats.binom(400, 1 / 4)
    assert difference["HR@10"].value == 1 / 4
    assert difference["HR@10"].low == pytest.approx(exact.ppf(0.025) / 400, abs=0.006)
    assert difference["HR@10"].high == pytest.approx(exact.ppf(0.975) / 400, abs=0.006)


def test_a_million_cases_take_no_time():
    ranks = np.random.default_rng(0).integers(1, 1000, size=1_000_000)
    figure = estimate(ranking_metrics(ranks, [10]), np.arange(ranks.size), seed=0)["HR@10"]
    assert figure.low < 0.01 < figure.high


def test_cases_of_one_person_count_as_one():
    """Ten equal cases each say no more than one; case by case, intervals would be 3 times less."""
    values = np.random.default_rng(0).normal(size=60)
    single = estimate({"m": Mean(values)}, np.arange(60), seed=0)["m"]
    person = np.random.default_rng(1).permutation(np.repeat(np.arange(60) * 7, 10))
    ten = estimate({"m": Mean(values[person // 7])}, person, seed=0)["m"]
    assert (ten.low, ten.high) == (pytest.approx(single.low), pytest.approx(single.high))


def test_unequal_people_are_drawn_whole():
    """HR of people with 1 to 20 cases, of whom half hit always: grouped and not, by definition."""
    draw = np.random.default_rng(0)
    count = draw.integers(1, 21, size=200)
    person = np.repeat(np.arange(200), count)
    hit = (person % 2).astype(float)
    exact = []
    for _ in range(4000):
        drawn = draw.integers(200, size=200)
        exact.append((count[drawn] * (drawn % 2)).sum() / count[drawn].sum())
    low, high = np.percentile(exact, [2.5, 97.5])
    grouped = estimate({"m": Mean(hit)}, person, seed=0)["m"]
    single = estimate({"m": Mean(hit + draw.normal(size=hit.size) * 1e-9)}, person, seed=0)["m"]
    for figure in (grouped, single):
        assert figure.low == pytest.approx(low, abs=0.006)
        assert figure.high == pytest.approx(high, abs=0.006)


def test_an_interval_does_not_depend_on_what_else_is_asked():
    ranks = np.random.default_rng(0).integers(1, 60, size=300)
    people = np.arange(300)
    few = estimate(ranking_metrics(ranks, [10]), people, seed=0)
    many = estimate(ranking_metrics(ranks, [3, 10, 50]), people, seed=0)
    assert few == {name: many[name] for name in few}


def test_people_who_are_all_alike_have_no_interval():
    for values in (np.zeros(9), np.ones(1)):
        figure = estimate({"m": Mean(values)}, np.arange(values.size), seed=0)["m"]
        assert (figure.value, figure.low, figure.high) == (values[0], None, None)


def test_what_is_undefined_is_none():
    metrics = class_metrics(np.eye(2)[[0, 1, 0]], np.array([1, 1, 1]))
    figures = estimate(metrics, np.arange(3), seed=0)
    assert (figures["AUC"].value, figures["AUC"].low, figures["AUC"].high) == (None, None, None)
    assert figures["accuracy"].value == pytest.approx(1 / 3)
    difference = compare(metrics, metrics, np.arange(3), seed=0)["AUC"]
    assert (difference.value, difference.low, difference.p) == (None, None, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(ps):
    adjusted = holm(ps)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for place, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
            if min(1.0, (len(ps) - place) * ps[index]) > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


def test_the_mean_over_seeds_is_that_of_each_resample():
    seeds = [ranking_metrics(np.array(ranks), [1]) for ranks in ([1, 2, 1], [2, 2, 1], [2, 2, 2])]
    mean = mean_over_seeds(seeds)
    assert mean.keys() == seeds[0].keys()
    # Weighed (1, 0, 2), hits at 1 are 1, 2/3 and 0; weighed equally 2/3, 1/3 and 0.
    weights = np.array([[1.0, 0.0, 2.0], [1.0, 1.0, 1.0]])
    assert mean["HR@1"](weights) == pytest.approx([5 / 9, 1 / 3])


def test_means_over_seeds_are_compared_on_the_same_people():
    people = np.arange(40)
    draw = np.random.default_rng(0)
    seeds = [ranking_metrics(draw.integers(1, 4, 40), [1]) for _ in range(3)]
    worse = [ranking_metrics(np.full(40, 9), [1]) for _ in range(3)]
    found = compare(mean_over_seeds(seeds), mean_over_seeds(worse), people, seed=0)["HR@1"]
    alone = estimate(mean_over_seeds(seeds), people, seed=0)["HR@1"]
    # Beside a method that never hits, the difference is the figure itself.
    assert (found.value, found.low, found.high) == (alone.value, alone.low, alone.high)
