"""Slice-aware training must win where a shared model must fail."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.methods import Budget, baseline, slice_aware, wrong_masks
from tests.benchmarks.planted import SLICES, planted_rows

BUDGET = Budget(layers=0, width=8, n_epochs=10, batch_size=64, lr=0.005)
SEEDS = (1, 2, 3)
# Student's t for 95 %, two-sided, two degrees of freedom.
T_95 = 4.303


@pytest.fixture(scope="module")
def accuracies():
    """Method to the accuracy on the planted rows, on the others and on all, [seeds, 3]."""
    scores = {baseline: [], slice_aware: [], wrong_masks: []}
    for seed in SEEDS:
        train, test = planted_rows(seed, 4000), planted_rows(1000 + seed, 4000)
        planted = np.any([test.S[name] == 1 for name in SLICES], axis=0)
        for method, rows in scores.items():
            right = method(train, BUDGET, seed).predict(test.X) == test.y.numpy()
            rows.append([right[planted].mean(), right[~planted].mean(), right.mean()])
    return {method: np.array(rows) for method, rows in scores.items()}


def interval(differences):
    middle = differences.mean(axis=0)
    reach = T_95 * differences.std(axis=0, ddof=1) / np.sqrt(len(differences))
    return middle - reach, middle + reach


def test_slice_aware_beats_the_baseline_on_planted_slices_and_overall(accuracies):
    low, _ = interval(accuracies[slice_aware] - accuracies[baseline])
    planted, _, overall = low
    assert planted > 0.2
    assert overall > 0


def test_the_gain_is_owed_to_the_masks_not_to_the_larger_model(accuracies):
    low, _ = interval(accuracies[slice_aware] - accuracies[wrong_masks])
    assert low[0] > 0


def test_the_baseline_fails_on_planted_slices_only(accuracies):
    planted, others, _ = accuracies[baseline].mean(axis=0)
    assert planted < 0.6
    assert others > 0.9
