"""Continual metrics against the definitions, worked by hand."""

import pytest

from recxfer.evaluation.continual import continual_metrics


def test_the_four_means():
    matrix = [[0.5, None, None], [0.6, 0.4, None], [0.3, 0.5, 0.9]]
    found = continual_metrics(matrix, [None, 0.35, 0.8])
    assert found.final_average == pytest.approx((0.3 + 0.5 + 0.9) / 3)
    assert found.forgetting == pytest.approx(((0.6 - 0.3) + (0.4 - 0.5)) / 2)
    assert found.backward_transfer == pytest.approx(((0.3 - 0.5) + (0.5 - 0.4)) / 2)
    assert found.forward_transfer == pytest.approx(((0.4 - 0.35) + (0.9 - 0.8)) / 2)


def test_one_run_has_forgotten_nothing_yet():
    found = continual_metrics([[0.5, 0.7]], [None, None])
    assert found.final_average == pytest.approx(0.6)
    assert (found.forgetting, found.backward_transfer, found.forward_transfer) == (None,) * 3
