"""Confidence intervals of many slices at once, each from the sums that its metric is made of.

Arrays have any leading axes (slices, splits, models); where a figure or its interval doesn't
exist, both ends are NaN. ``docs/statistics.md`` has what each covers, measured.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from engine.metrics.formulas.states import Pair

LEVEL = 0.95
FEW_OUTCOMES = 5
FEW = 30  # rows of a class: with fewer, DeLong's variance is not relied on alone
_BLOCK = 2**20  # histogram cells handled at a time, so that they stay in the processor's cache
_HALVINGS = 60  # of an interval's end, until it is exact to the last bit
_ROUNDING = 2.0**-48  # a smaller error is none: scores rank all rows, or none
SHARE = 0.9  # of the replicates must exist, or those that don't would be left out of a tail


class Interval(NamedTuple):
    """Both ends of an interval; arrays of one shape."""

    low: np.ndarray
    high: np.ndarray


def wilson(k: np.ndarray, n: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the score interval of a proportion (Wilson 1927).

    Parameters
    ----------
    k, n
        Numerator and denominator: counts, or sums of weights.
    level
        Confidence level.

    Examples
    --------
    >>> low, high = wilson(np.array([4, 0]), np.array([5, 0]))
    >>> low.round(4).tolist(), high.round(4).tolist()
    ([0.3755, nan], [0.9638, nan])
    """
    z = _z(level)
    with np.errstate(all="ignore"):
        m = np.asarray(n, np.float64)
        p = np.asarray(k, np.float64) / m
        middle = (p + z**2 / (2 * m)) / (1 + z**2 / m)
        half = z * np.sqrt(p * (1 - p) / m + z**2 / (4 * m**2)) / (1 + z**2 / m)
        # Rounding must not leave the figure just outside its own interval.
        return Interval(
            np.minimum(middle - half, p).clip(0), np.maximum(middle + half, p).clip(None, 1)
        )


def newcombe(share: Pair, other: Pair, level: float = LEVEL) -> Interval:
    """Return the interval of one proportion less another (Newcombe 1998, method 10).

    It is made of both proportions' score intervals, so that it holds for few rows and near 0 and 1.

    Parameters
    ----------
    share, other
        Numerator and denominator of each, as for :func:`wilson`.
    level
        Confidence level.

    Examples
    --------
    >>> low, high = newcombe((np.array([56]), np.array([70])), (np.array([48]), np.array([80])))
    >>> low.round(4).tolist(), high.round(4).tolist()
    ([0.0524], [0.3339])
    """
    (low, high), (other_low, other_high) = wilson(*share, level), wilson(*other, level)
    with np.errstate(all="ignore"):
        a, b = (np.asarray(k, np.float64) / np.asarray(n) for k, n in (share, other))
        below, above = np.hypot(a - low, other_high - b), np.hypot(high - a, b - other_low)
        return Interval(a - b - below, a - b + above)


def rough(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return where :func:`wilson` may hold less than it says.

    It covers at least 93 % where both outcomes are expected twice or more, and as little as 84 %
    where one is rarer. Fewer than 5 of either seen is where that can't be ruled out.

    Parameters
    ----------
    k, n
        As for :func:`wilson`.

    Examples
    --------
    >>> rough(np.array([49, 45, 500]), np.array([50, 50, 500])).tolist()
    [True, False, True]
    """
    return np.asarray(np.minimum(k, np.asarray(n) - k) < FEW_OUTCOMES)


class AreaVariance(NamedTuple):
    """An area under the ROC curve and what is known of its error; arrays of one shape.

    Attributes
    ----------
    value
        The area.
    variance
        DeLong's estimate; 0 or NaN where the scores tell nothing of it.
    negatives, positives
        Numbers of rows.
    """

    value: np.ndarray
    variance: np.ndarray
    negatives: np.ndarray
    positives: np.ndarray


def auc_variance(negatives: np.ndarray, positives: np.ndarray) -> AreaVariance:
    """Return the area under the ROC curve and its variance (DeLong et al. 1988).

    Rows in one bin are ties, so the placements of all rows come from the two histograms alone.

    Parameters
    ----------
    negatives, positives
        ``[..., bins]`` rows per score, ascending.

    Examples
    --------
    >>> area = auc_variance(np.array([2, 1, 0]), np.array([0, 1, 2]))
    >>> round(float(area.value), 4), round(float(area.variance), 4)
    (0.9444, 0.0062)
    """
    bins = np.shape(negatives)[-1]
    lead = np.shape(negatives)[:-1]
    sides = [np.reshape(a, (-1, bins)) for a in (negatives, positives)]
    step = max(1, _BLOCK // max(1, bins))
    parts = [
        _delong(*(a[at : at + step].astype(np.float64) for a in sides))
        for at in range(0, max(1, len(sides[0])), step)
    ]
    return AreaVariance(*(np.concatenate(p).reshape(lead) for p in zip(*parts, strict=True)))


def _delong(
    neg: np.ndarray, pos: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, p = neg.sum(axis=-1), pos.sum(axis=-1)
    with np.errstate(all="ignore"):
        # A row's placement: the share of the other class on the side where it should be.
        of_pos = (np.cumsum(neg, axis=-1) - neg / 2) / n[:, None]
        of_neg = 1 - (np.cumsum(pos, axis=-1) - pos / 2) / p[:, None]
        value = np.einsum("sb,sb->s", pos, of_pos) / p
        variances = []
        for rows, placement, total in ((neg, of_neg, n), (pos, of_pos, p)):
            off = placement - value[:, None]
            spread = np.einsum("sb,sb,sb->s", rows, off, off) / total**2
            variances.append(spread * total / (total - 1))
    return value, sum(variances), n, p


def auc_interval(negatives: np.ndarray, positives: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the interval of an area under the ROC curve, symmetric in its log odds.

    DeLong's variance is too small where a class has few rows and the area is near 1. So with fewer
    than 30 of either class it is at least :func:`area_variance_at` the area found. Where all
    positives score above all negatives (or below), or all rows the same, it is 0 and says nothing;
    there the interval is the score interval of Newcombe (2006, method 5).

    Parameters
    ----------
    negatives, positives
        As for :func:`auc_variance`.
    level
        Confidence level.

    Examples
    --------
    >>> low, high = auc_interval(np.array([[20, 10, 0]]), np.array([[0, 10, 20]]))
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.887], [0.974])
    """
    area = auc_variance(negatives, positives)
    z = _z(level)
    with np.errstate(all="ignore"):
        least = np.where(np.fmin(area.negatives, area.positives) < FEW, 1.0, 0.0)
        variance = np.fmax(area.variance, least * area_variance_at(area.value, area))
        spread = area.value * (1 - area.value)
        half = z * np.sqrt(variance) / spread
        middle = logit(area.value)
        informative = (area.variance > _ROUNDING**2) & (spread > _ROUNDING)
        low, high = _newcombe_area(area, z)
        return Interval(
            np.where(informative, expit(middle - half), low),
            np.where(informative, expit(middle + half), high),
        )


def area_variance_at(t: np.ndarray, area: AreaVariance) -> np.ndarray:
    """Return the variance of an area if its true value were t, from the numbers of rows alone.

    Hanley and McNeil's (1982), made symmetric as in Newcombe (2006).

    Examples
    --------
    >>> area = AreaVariance(np.array(1.0), np.array(0.0), np.array(50.0), np.array(50.0))
    >>> round(float(area_variance_at(np.array(0.5), area)), 5)
    0.00337
    """
    n, p = area.negatives, area.positives
    shape = 1 + ((n + p) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))
    return np.asarray(t * (1 - t) * shape / (n * p))


def _newcombe_area(area: AreaVariance, z: float) -> Interval:
    """Solve |t - value| = z·√(variance if the area were t), by halving."""
    ends = []
    for outside in (0.0, 1.0):
        out, inside = np.full(np.shape(area.value), outside), area.value
        for _ in range(_HALVINGS):
            middle = (out + inside) / 2
            beyond = np.abs(middle - area.value) > z * np.sqrt(area_variance_at(middle, area))
            out, inside = np.where(beyond, middle, out), np.where(beyond, inside, middle)
        ends.append(np.where(np.isnan(area.value), np.nan, out))
    return Interval(*ends)


def average_precision_interval(
    value: np.ndarray, positives: np.ndarray, level: float = LEVEL
) -> Interval:
    """Return the interval of an average precision (Boyd, Eng and Page 2013, the logit interval).

    It takes the average precision for a proportion of the positives; where it is 0 or 1, and has
    no log odds, the interval is Wilson's.

    Parameters
    ----------
    value
        The average precision.
    positives
        Number of positive rows.
    level
        Confidence level.

    Examples
    --------
    >>> low, high = average_precision_interval(np.array([0.8]), np.array([100]))
    >>> low.round(2).tolist(), high.round(2).tolist()
    ([0.71], [0.87])
    """
    value, positives = np.asarray(value, np.float64), np.asarray(positives, np.float64)
    with np.errstate(all="ignore"):
        half = _z(level) / np.sqrt(positives * value * (1 - value))
        inner = (value > 0) & (value < 1)
        at_end = wilson(value * positives, positives, level)
        return Interval(
            np.where(inner, expit(logit(value) - half), at_end.low),
            np.where(inner, expit(logit(value) + half), at_end.high),
        )


def bootstrap_interval(
    value: np.ndarray, replicates: np.ndarray, n: np.ndarray, level: float = LEVEL
) -> Interval:
    """Return the percentile interval of replicates, widened for small samples (Hesterberg 2015).

    A bootstrap is too narrow by √((n-1)/n) and knows no t distribution. So the tails are cut at
    Φ(-√(n/(n-1))·t), with t the quantile of Student's distribution with n - 1 degrees of freedom.

    Parameters
    ----------
    value
        The figure.
    replicates
        ``[..., B]``, NaN where a replicate has no figure; those are left out, and where they are
        more than a tenth, there is no interval.
    n
        Rows; clusters, where those are drawn.
    level
        Confidence level.

    Examples
    --------
    >>> low, high = bootstrap_interval(np.array(0.0), np.linspace(-1, 1, 201), np.array(50))
    >>> round(float(low), 3), round(float(high), 3)
    (-0.967, 0.967)
    """
    replicates = np.sort(replicates, axis=-1)  # NaN last
    n = np.asarray(n, np.float64)
    total = replicates.shape[-1]
    finite = np.isfinite(replicates).sum(axis=-1)
    with np.errstate(all="ignore"):
        tail = ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2))
        exists = np.isfinite(value) & (n > 1) & (finite >= max(2, SHARE * total))
        low, high = (_quantile(replicates, finite, q) for q in (tail, 1 - tail))
        exists &= low < high  # replicates that are all the same say nothing of how sure it is
        # A few replicates can all lie on one side of the figure; its interval has it all the same.
        return Interval(
            np.where(exists, np.minimum(low, value), np.nan),
            np.where(exists, np.maximum(high, value), np.nan),
        )


def _quantile(ordered: np.ndarray, finite: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Interpolate at (held + 1)·q, which keeps few replicates from cutting a tail too short."""
    at = np.clip(np.nan_to_num((finite + 1) * q) - 1, 0, np.maximum(finite - 1, 0))
    below = np.floor(at).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(finite - 1, 0))
    first = np.take_along_axis(ordered, below[..., None], axis=-1)[..., 0]
    second = np.take_along_axis(ordered, above[..., None], axis=-1)[..., 0]
    return np.asarray(first + (at - below) * (second - first))


def _z(level: float) -> float:
    return float(ndtri((1 + level) / 2))
