"""Replicate weights, intervals and tests against other ways to compute them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, chisquare, fisher_exact, norm, poisson, t

from engine.hashing import key_hash
from engine.metrics.inference import intervals
from engine.metrics.inference.intervals import (
    AreaVariance,
    area_variance_at,
    auc_interval,
    auc_variance,
    average_precision_interval,
    bootstrap_interval,
    rough,
    wilson,
)
from engine.metrics.inference.significance import (
    adjusted,
    auc_test,
    fisher,
    replicate_test,
    row_variance,
    sufficient,
)
from engine.metrics.scan import replicates
from engine.metrics.scan.replicates import LEAST, weights

Z = norm.ppf(0.975)


# --- replicates ---------------------------------------------------------------------------------


def by_the_rule(h: int, r: int) -> int:
    """One weight in Python's integers, as the module's docstring says."""
    z = (h + (r // 4 + 1) * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    number = z >> 16 * (r % 4) & 0xFFFF
    return sum(least <= number for least in LEAST)


def hashes(n: int, seed: int = 1) -> np.ndarray:
    return key_hash(range(n), seed)


@pytest.mark.parametrize("block", [1, 700, 2**16])
def test_weights_follow_the_stated_rule(block, monkeypatch):
    monkeypatch.setattr(replicates, "_BLOCK", block)
    given = np.concatenate([hashes(40), np.array([0, 2**64 - 1], np.uint64)])
    expected = [[by_the_rule(int(h), r) for r in range(203)] for h in given]
    assert weights(given, 203).tolist() == expected


def test_weights_of_a_key_are_these_for_ever():
    assert weights(key_hash([("clip 7", 12)], seed=3), 12).tolist() == [
        [by_the_rule(int(key_hash([("clip 7", 12)], seed=3)[0]), r) for r in range(12)]
    ]
    assert weights(key_hash(["a", "b"], seed=0), 8).tolist() == [
        [1, 1, 0, 0, 1, 1, 0, 0],
        [1, 0, 1, 0, 0, 1, 2, 0],
    ]


def test_more_replicates_change_none_of_the_first():
    h = hashes(100)
    for count in (0, 1, 2, 5, 199):
        assert (weights(h, count) == weights(h, 200)[:, :count]).all()


def test_weights_depend_on_no_other_row():
    h = hashes(2_000)
    order = np.random.default_rng(0).permutation(len(h))
    assert (weights(h[order]) == weights(h)[order]).all()
    assert (weights(h[::7]) == weights(h)[::7]).all()


def test_types_of_weights():
    h = hashes(1_000)
    floats = weights(h, dtype=np.float32)
    assert floats.dtype == np.float32
    assert weights(h).dtype == np.uint8
    assert (floats == weights(h)).all()
    assert weights(h[:0]).shape == (0, 200)


def test_the_table_has_mean_and_variance_one_and_is_nearly_poisson():
    ends = [0, *LEAST, 65536]
    counts = np.diff(ends)
    values = np.arange(len(counts))
    assert (counts * values).sum() == 65536
    assert (counts * (values - 1) ** 2).sum() == 65536
    assert (counts * values**3).sum() / 65536 == pytest.approx(5, abs=1e-4)
    assert np.abs(counts - 65536 * poisson.pmf(values, 1)).max() < 1.3


def test_weights_are_spread_as_the_table():
    found = np.bincount(weights(hashes(20_000)).ravel(), minlength=9)
    expected = np.diff([0, *LEAST, 65536]) / 65536 * found.sum()
    assert (
        chisquare([*found[:7], found[7:].sum()], [*expected[:7], expected[7:].sum()]).pvalue > 0.001
    )


def test_replicates_and_keys_are_independent():
    n = 20_000
    w = weights(hashes(n)).astype(np.float64)
    apart = np.corrcoef(w, rowvar=False)[np.triu_indices(200, 1)]
    # 19,900 correlations of spread 1/sqrt(n): the largest is some 4 spreads.
    assert apart.std() * math.sqrt(n) == pytest.approx(1, abs=0.03)
    assert np.abs(apart).max() * math.sqrt(n) < 5.5
    successive = ((w[1:] - 1) * (w[:-1] - 1)).mean(axis=1)  # of keys 0 and 1, 1 and 2, ...
    assert abs(successive.mean()) * math.sqrt(200 * n) < 4
    assert successive.std() * math.sqrt(200) == pytest.approx(1, abs=0.03)


def test_seeds_give_other_replicates():
    one, two = (weights(hashes(5_000, seed)).astype(float).ravel() for seed in (1, 2))
    assert abs(np.corrcoef(one, two)[0, 1]) * 1000 < 4


# --- intervals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),  # Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
     (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_as_published(k, n, low, high):
    found = wilson(np.array(k), np.array(n))
    assert np.round(found, 4).tolist() == [low, high]


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_wilson_against_scipy(level):
    pairs = [(k, n) for n in (1, 2, 7, 50, 1_000_000) for k in {0, 1, n // 3, n - 1, n}]
    k, n = np.array(pairs).T
    expected = [binomtest(a, b).proportion_ci(level, "wilson") for a, b in pairs]
    low, high = wilson(k, n, level)
    np.testing.assert_allclose(low, [e.low for e in expected], atol=1e-12)
    np.testing.assert_allclose(high, [e.high for e in expected], atol=1e-12)
    assert ((low <= k / n) & (k / n <= high) & (low >= 0) & (high <= 1)).all()


def test_no_rows_have_no_wilson_interval():
    assert np.isnan(wilson(np.array([0]), np.array([0]))).all()


def test_where_wilson_is_rough():
    k, n = np.array([0, 4, 5, 45, 46, 60_000]), np.array([50, 50, 50, 50, 50, 60_000])
    assert rough(k, n).tolist() == [True, True, False, False, True, True]


def drawn_scores(seed: int, n: int, p: int, levels: int):
    rng = np.random.default_rng(seed)
    neg, pos = rng.integers(0, levels, n), rng.integers(levels // 4, levels + 1, p)
    return neg, pos, rng.integers(1, 6, n).astype(float), rng.integers(1, 6, p).astype(float)


def delong_by_pairs(neg, pos, neg_w, pos_w):
    """Value and variance from all pairs of rows."""
    wins = (pos[:, None] > neg) + (pos[:, None] == neg) / 2
    of_pos, of_neg = wins @ neg_w / neg_w.sum(), pos_w @ wins / pos_w.sum()
    value = pos_w @ of_pos / pos_w.sum()
    variance = 0.0
    for placement, w in ((of_pos, pos_w), (of_neg, neg_w)):
        m = w.sum() ** 2 / (w**2).sum()
        variance += (w**2 @ (placement - value) ** 2) / w.sum() ** 2 * m / (m - 1)
    return value, variance


def binned(scores, bins, w=None):
    return np.bincount(scores, w, bins)


@pytest.mark.parametrize("seed", range(20))
def test_delong_against_all_pairs(seed):
    levels = (3, 20, 1000)[seed % 3]
    neg, pos, *_ = drawn_scores(seed, 5 + 7 * seed, 3 + 5 * seed, levels)
    value, variance = delong_by_pairs(neg, pos, np.ones(len(neg)), np.ones(len(pos)))
    wins = (pos[:, None] > neg) + (pos[:, None] == neg) / 2
    textbook = wins.mean(axis=1).var(ddof=1) / len(pos) + wins.mean(axis=0).var(ddof=1) / len(neg)
    assert variance == pytest.approx(textbook, rel=1e-12)
    area = auc_variance(binned(neg, levels + 1), binned(pos, levels + 1))
    assert (area.negatives, area.positives) == (len(neg), len(pos))
    np.testing.assert_allclose([area.value, area.variance], [value, variance], rtol=1e-12)


def test_delong_of_many_slices_is_that_of_each(monkeypatch):
    monkeypatch.setattr(intervals, "_BLOCK", 100)
    rng = np.random.default_rng(0)
    neg, pos = rng.integers(0, 3, (2, 7, 3, 20))
    together = auc_variance(neg, pos)
    for at in np.ndindex(7, 3):
        alone = auc_variance(neg[at], pos[at])
        assert [f[at] for f in together] == [float(f) for f in alone]
    low, high = auc_interval(neg, pos)
    assert low.shape == high.shape == (7, 3)


def test_auc_interval_is_symmetric_in_log_odds_and_classes():
    neg, pos = np.array([40, 30, 20, 10]), np.array([10, 20, 30, 40])
    area = auc_variance(neg, pos)
    half = Z * math.sqrt(area.variance) / (area.value * (1 - area.value))
    low, high = auc_interval(neg, pos)
    np.testing.assert_allclose([low, high], expit(logit(area.value) + half * np.array([-1, 1])))
    turned = auc_interval(pos, neg)
    np.testing.assert_allclose([1 - turned.high, 1 - turned.low], [low, high])


def test_auc_interval_of_few_rows_is_not_narrower_than_hanley_and_mcneil():
    neg, pos = np.array([20, 9, 1, 0]), np.array([0, 0, 1, 28])
    area = auc_variance(neg, pos)
    least = area_variance_at(area.value, area)
    assert area.negatives == 30
    few = auc_interval(np.array([19, 9, 1, 0]), pos)
    many = auc_interval(neg, np.array([0, 0, 1, 29]))
    assert least > area.variance
    assert few.high - few.low > 1.2 * (many.high - many.low)


@pytest.mark.parametrize(
    ("neg", "pos"), [([25, 0], [0, 12]), ([0, 25], [12, 0]), ([25], [12]), ([400, 0], [0, 300])]
)
def test_auc_interval_without_a_variance_is_newcombes(neg, pos):
    area = auc_variance(np.array(neg), np.array(pos))
    assert area.variance == 0
    v = float(area.value)

    def beyond(true):
        return abs(true - v) - Z * math.sqrt(area_variance_at(true, area))

    low = brentq(beyond, 1e-12, v - 1e-9) if v else 0
    high = brentq(beyond, v + 1e-9, 1 - 1e-12) if v < 1 else 1
    found = auc_interval(np.array(neg), np.array(pos))
    np.testing.assert_allclose(found, [low, high], atol=1e-7)
    assert found.high - found.low > 0.005


def test_auc_of_one_class_or_no_rows_has_no_interval():
    none, some = np.zeros((1, 4), int), np.ones((1, 4), int)
    for neg, pos in ((none, some), (some, none), (none, none)):
        assert np.isnan(auc_interval(neg, pos)).all()


def test_auc_of_one_row_of_a_class_has_a_wide_interval():
    low, high = auc_interval(np.array([10, 10, 10]), np.array([0, 1, 0]))
    assert low < 0.2
    assert high > 0.8


def test_average_precision_interval():
    low, high = average_precision_interval(np.array([0.7, 1.0, 0.0]), np.array([40, 40, 40]))
    half = Z / math.sqrt(40 * 0.7 * 0.3)
    np.testing.assert_allclose([low[0], high[0]], expit(logit(0.7) + half * np.array([-1, 1])))
    ends = wilson(np.array([40, 0]), np.array([40, 40]))
    np.testing.assert_allclose([low[1:], high[1:]], ends)
    assert np.isnan(average_precision_interval(np.array(np.nan), np.array(0))).all()


@pytest.mark.parametrize("n", [10, 50, 5_000])
def test_bootstrap_interval_is_percentiles_further_out(n):
    draws = np.random.default_rng(n).normal(size=(3, 200))
    tail = norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf(0.975, n - 1))
    expected = np.quantile(draws, [tail, 1 - tail], axis=1, method="weibull")
    found = bootstrap_interval(np.zeros(3), draws, np.full(3, n))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert tail < 0.025


def test_bootstrap_interval_without_some_replicates():
    draws = np.random.default_rng(0).normal(size=200)
    gaps = draws.copy()
    gaps[:20] = np.nan
    found = bootstrap_interval(np.array(0.0), gaps, np.array(100))
    np.testing.assert_allclose(found, bootstrap_interval(np.array(0.0), draws[20:], np.array(100)))
    gaps[20] = np.nan
    assert np.isnan(bootstrap_interval(np.array(0.0), gaps, np.array(100))).all()


@pytest.mark.parametrize(("value", "n"), [(np.nan, 100), (0.0, 1), (0.0, 0)])
def test_bootstrap_interval_that_does_not_exist(value, n):
    draws = np.random.default_rng(0).normal(size=200)
    assert np.isnan(bootstrap_interval(np.array(value), draws, np.array(n))).all()


def test_bootstrap_interval_has_its_figure():
    found = bootstrap_interval(np.array(3.0), np.linspace(0, 1, 200), np.array(100))
    assert found.low < found.high == 3


# --- tests --------------------------------------------------------------------------------------


def test_fisher_against_scipy_for_all_small_tables():
    tables = [
        (a, n, b, m)
        for n, m in itertools.product(range(1, 8), repeat=2)
        for a, b in itertools.product(range(n + 1), range(m + 1))
    ]
    found = fisher(*np.array(tables).T)
    expected = [fisher_exact([[a, n - a], [b, m - b]]).pvalue for a, n, b, m in tables]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("rows", [300, 20_000, 10_000_000])
def test_fisher_against_scipy_for_large_tables(rows):
    rng = np.random.default_rng(rows)
    n = np.exp(rng.uniform(0, np.log(0.4 * rows), 60)).astype(int) + 1
    share = rng.choice([0.001, 0.3, 0.9], 60)
    k, other = rng.binomial(n, share * rng.choice([1, 1, 0.8], 60)), rng.binomial(rows - n, share)
    expected = [
        fisher_exact([[a, m - a], [b, rows - m - b]]).pvalue
        for a, m, b in zip(k, n, other, strict=True)
    ]
    found = fisher(k, n, other, rows - n)
    assert min(expected) < 1e-6 or rows == 300
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-300)


def test_fisher_where_there_is_nothing_to_compare():
    found = fisher(
        np.array([0, 3, 5, 0]),
        np.array([0, 5, 5, 5]),
        np.array([3, 0, 7, 0]),
        np.array([9, 0, 7, 7]),
    )
    assert np.isnan(found[:2]).all()
    assert found[2:].tolist() == [1, 1]


def test_fisher_takes_leading_axes():
    found = fisher(np.array([[3], [9]]), np.array(10), np.array([50, 80]), np.array(100))
    assert found.shape == (2, 2)
    assert found[1, 0] == pytest.approx(fisher_exact([[9, 1], [50, 50]]).pvalue)


def test_replicate_test_is_students():
    draws = np.random.default_rng(0).normal(2, 0.5, 200)
    variance = draws.var(ddof=1) * 40 / 39
    freedom = 1 / (1 / 39 + 1 / 199)
    for floor in (0.0, 0.01, 1.0):
        expected = 2 * t.sf(1.2 / math.sqrt(max(variance, floor)), freedom)
        found = replicate_test(np.array([1.2, -1.2]), draws, np.array(40), floor)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_replicate_test_leaves_out_replicates_without_a_figure():
    draws = np.random.default_rng(0).normal(size=200)
    gaps = draws.copy()
    gaps[::10] = np.nan
    found = replicate_test(np.array(2.0), gaps, np.array(100))
    assert found == replicate_test(np.array(2.0), gaps[np.isfinite(gaps)], np.array(100))
    gaps[1] = np.nan
    assert np.isnan(replicate_test(np.array(2.0), gaps, np.array(100)))


def test_replicates_all_alike_are_no_proof():
    alike = np.ones(200)
    assert np.isnan(replicate_test(np.array(0.1), alike, np.array(30)))
    assert replicate_test(np.array(0.0), alike, np.array(30)) == 1
    assert replicate_test(np.array(0.1), alike, np.array(30), floor=0.01) == pytest.approx(
        2 * t.sf(1, 1 / (1 / 29 + 1 / 199))
    )
    assert np.isnan(replicate_test(np.array(np.nan), alike, np.array(30), floor=0.01))


@pytest.mark.parametrize("n", [30, 200])
def test_replicate_test_holds_its_level_far_out_for_skewed_means(n):
    # Means of lognormal values, against a truth that is known; without the floor 12 and 6 times
    # the nominal share are below .001 (measured at n = 30 and 100, of 100,000 and more).
    rng, slices = np.random.default_rng(n), 4_000
    x = rng.lognormal(size=(slices, 1, n)).astype(np.float32)
    w = weights(hashes(slices * n), dtype=np.float32).reshape(slices, n, 200)
    draws = np.matmul(x, w)[:, 0] / w.sum(axis=1)
    off = x.mean(axis=2)[:, 0] - math.exp(0.5)
    floor = (math.e - 1) * math.e / n
    p = replicate_test(off, draws - math.exp(0.5), np.full(slices, n), floor)
    own = replicate_test(off, draws - math.exp(0.5), np.full(slices, n))
    assert [(p <= level).mean() <= level for level in (0.05, 0.01, 0.001)] == [True] * 3
    assert (own <= 0.001).mean() > 0.003


def test_row_variance_is_that_of_rows():
    # Of a mean over n rows it is the variance of the rows, as far as 200 replicates can tell.
    n = 5_000
    x = np.random.default_rng(0).normal(0, 3, n)
    w = weights(hashes(n), 2_000).astype(float)
    assert row_variance(x @ w / w.sum(axis=0), np.array(n)) == pytest.approx(9, rel=0.1)


def test_auc_test_takes_the_larger_variance():
    one = AreaVariance(*map(np.array, (1.0, 0.0, 20.0, 20.0)))
    other = AreaVariance(*map(np.array, (0.9, 1e-4, 500.0, 500.0)))
    least = area_variance_at(0.9, one) + area_variance_at(0.9, other)
    assert auc_test(one, other, np.array(0.9)) == pytest.approx(2 * norm.sf(0.1 / math.sqrt(least)))
    sure = one._replace(variance=np.array(0.25))
    expected = 2 * norm.sf(0.1 / math.sqrt(0.2501))
    assert auc_test(sure, other, np.array(0.9)) == pytest.approx(expected)
    assert np.isnan(auc_test(one._replace(value=np.array(np.nan)), other, np.array(0.9)))


def test_support():
    assert sufficient(np.array([0, 29, 30])).tolist() == [False, False, True]
    assert sufficient(np.array([9, 10]), 10).tolist() == [False, True]


P = [0.01, 0.04, 0.03, 0.5]
# By hand: times 4/rank, then from the right the least so far; BY times 1 + 1/2 + 1/3 + 1/4.
BH = [0.04, 0.16 / 3, 0.16 / 3, 0.5]


@pytest.mark.parametrize(
    ("method", "expected"),
    [("bh", BH), ("by", [min(1, p * 25 / 12) for p in BH]), ("none", P)],
)
def test_corrections_by_hand(method, expected):
    np.testing.assert_allclose(adjusted(np.array(P), method), expected)
    gaps = np.array([np.nan, *P[:2], np.nan, *P[2:]]).reshape(2, 3)
    found = adjusted(gaps, method)
    np.testing.assert_allclose(found[np.isfinite(gaps)], expected)
    assert (np.isnan(found) == np.isnan(gaps)).all()


@pytest.mark.parametrize("method", ["bh", "by", "none"])
def test_nothing_to_correct(method):
    assert np.isnan(adjusted(np.full(3, np.nan), method)).all()
    assert adjusted(np.array([]), method).shape == (0,)
