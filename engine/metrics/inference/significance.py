"""Tests of a slice against the other rows, or of two models, and corrections for many of them.

Every test is two-sided and takes arrays of any leading axes; NaN where there is nothing to test.
A spread that is estimated from a slice alone is too small just when the slice looks best or worst,
which is what a search over many slices finds. So where a test estimates one, it takes the larger
of two: the slice's own, and the one it would have if its rows were like all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import gammaln, ndtr, stdtr, stdtrit
from scipy.stats import false_discovery_control, hypergeom

from engine.metrics.catalog import quality
from engine.metrics.inference.intervals import SHARE, AreaVariance, Interval, area_variance_at

MIN_SUPPORT = 30
Method = Literal["bh", "by", "none"]
_TIE = 1e-7  # probabilities that differ by less, relatively, are equal


def fisher(k: np.ndarray, n: np.ndarray, other_k: np.ndarray, other_n: np.ndarray) -> np.ndarray:
    """Return p-values of Fisher's exact test that two proportions are equal.

    The probability, given all four margins, of a table at most as likely as the one found
    (Fisher 1935). For counts only: rows with weights or in clusters need :func:`replicate_test`.

    Parameters
    ----------
    k, n
        Numerator and denominator of the slice, whole numbers.
    other_k, other_n
        The same of rows outside it.

    Examples
    --------
    >>> fisher(np.array([1]), np.array([10]), np.array([11]), np.array([14])).round(6).tolist()
    [0.002759]
    """
    k, n, other_k, other_n = np.broadcast_arrays(
        *(np.asarray(a, np.int64) for a in (k, n, other_k, other_n))
    )
    good, rows = k + other_k, n + other_n
    # Count what is rare in the slice: with k at or below the mode, the near tail is 0 … k.
    mode = (n + 1) * (good + 1) // (rows + 2)
    good, k, mode = np.where(k > mode, (rows - good, n - k, n - mode), (good, k, mode))

    def log_chance(j: np.ndarray) -> np.ndarray:
        return _log_chance(j, n, good, rows)

    # The far tail begins at the first number above the mode that is at most as likely as k.
    most = np.minimum(n, good)
    low, high = mode, most + 1
    own = log_chance(k) + _TIE
    for _ in range(int(most.max(initial=0)).bit_length() + 1):
        middle = (low + high) // 2
        rarer = (log_chance(np.minimum(middle, most)) <= own) | (middle > most)
        low, high = np.where(rarer, low, middle), np.where(rarer, middle, high)
    with ThreadPoolExecutor(1) as beside:  # most of the time goes here, and scipy frees Python
        far = beside.submit(hypergeom.sf, high - 1, rows, good, n)
        p = hypergeom.cdf(k, rows, good, n) + far.result()
    p = np.where(own >= log_chance(mode), 1.0, np.minimum(p, 1.0))
    return np.asarray(np.where((n > 0) & (other_n > 0), p, np.nan))


def least_fisher(n: np.ndarray, good: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the least p-value that :func:`fisher` could have of rows with these margins.

    That is the chance of the rarer of the two outermost tables. Where it is above a level, no
    outcome could be significant, and the test asks nothing (Tarone 1990). It depends on the margins
    alone, so which tests are left out of a correction for it says nothing of their outcome, and
    false discoveries stay bounded (Gilbert 2005).

    Parameters
    ----------
    n
        Rows of the slice.
    good, rows
        The numerator, and the rows, of slice and complement together.

    Examples
    --------
    >>> least_fisher(np.array([1, 2, 3]), np.array([86]), np.array([100])).round(3).tolist()
    [0.14, 0.018, 0.002]
    """
    n, good, rows = np.broadcast_arrays(*(np.asarray(a, np.int64) for a in (n, good, rows)))
    fewest, most = np.maximum(0, n + good - rows), np.minimum(n, good)
    ends = np.stack([_log_chance(end, n, good, rows) for end in (fewest, most)])
    margins = sum(gammaln(margin + 1.0) for margin in (good, rows - good, n, rows - n))
    chance = np.exp(ends.min(axis=0) + margins - gammaln(rows + 1.0))
    alike = np.abs(ends[0] - ends[1]) <= _TIE
    p = np.minimum(1.0, chance * (1.0 + alike))
    return np.asarray(np.where(fewest == most, 1.0, p))


def _log_chance(j: np.ndarray, n: np.ndarray, good: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the logarithm of a table's chance, but for what all tables of its margins share."""
    cells = (j, good - j, n - j, rows - good - n + j)
    return np.asarray(-sum(gammaln(cell + 1.0) for cell in cells))


def replicate_test(
    difference: np.ndarray,
    replicates: np.ndarray,
    n: np.ndarray,
    floor: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Return p-values of differences from their bootstrap replicates, by Student's t.

    The variance is the replicates', times n / (n - 1), and at least ``floor``. Its degrees of
    freedom are those of n rows and of B replicates together: 1 / (1/(n-1) + 1/(B-1)).

    Parameters
    ----------
    difference
        Slice minus complement, minus all rows or minus a named slice; or model minus model.
    replicates
        ``[..., B]``, the same difference in each replicate; NaN where there is none.
    n
        Rows that decide the slice's figure; clusters, where those are drawn.
    floor
        The variance if the slice's rows were like all rows: :func:`row_variance` of the figure
        over all N rows times 1/n + 1/(N - n) against the complement, times 1/n - 1/N against all
        rows; of the two models' difference over all rows times 1/n for two models.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(0, 1, 200)
    >>> p = replicate_test(np.array([0.0, 3.0]), np.stack([draws, draws + 3]), np.array(1000))
    >>> p.round(2).tolist()
    [1.0, 0.0]
    """
    return spread_of(replicates, n, floor).test(difference)


@dataclass(frozen=True)
class Spread:
    """How far differences may be off: standard errors, with Student's degrees of freedom.

    Attributes
    ----------
    error
        Standard errors; NaN where nothing is known of them.
    freedom
        Degrees of freedom; infinite where a difference is normal.
    """

    error: np.ndarray
    freedom: np.ndarray | float = np.inf

    def test(self, difference: np.ndarray) -> np.ndarray:
        """Return two-sided p-values; 1 of no difference, NaN where the error is 0 or unknown."""
        with np.errstate(all="ignore"):
            t = np.abs(difference) / self.error
            p = np.where(np.asarray(difference) == 0, 1.0, 2 * stdtr(self.freedom, -t))
        exists = np.isfinite(difference) & ~np.isnan(self.error) & ~np.isinf(t)
        return np.where(exists, p, np.nan)

    def interval(self, difference: np.ndarray, level: float) -> Interval:
        """Return the intervals that leave 0 out where the test is significant at their level.

        Examples
        --------
        >>> low, high = Spread(np.array([0.1])).interval(np.array([-0.3]), 0.95)
        >>> low.round(3).tolist(), high.round(3).tolist()
        ([-0.496], [-0.104])
        """
        half = stdtrit(self.freedom, (1 + level) / 2) * self.error
        return Interval(np.asarray(difference - half), np.asarray(difference + half))


def spread_of(replicates: np.ndarray, n: np.ndarray, floor: np.ndarray | float = 0.0) -> Spread:
    """Return the spread of differences by their replicates; see :func:`replicate_test`."""
    n = np.asarray(n, np.float64)
    b = np.isfinite(replicates).sum(axis=-1)
    with np.errstate(all="ignore"):
        variance = row_variance(replicates, n) / (n - 1)
        freedom = 1 / (1 / (n - 1) + 1 / (b - 1))
        error = np.sqrt(np.maximum(variance, floor))
    exists = (n > 1) & (b >= max(2, SHARE * replicates.shape[-1]))
    return Spread(np.where(exists, error, np.nan), freedom)


def row_variance(replicates: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the variance that one row brings to a figure: n times its replicates' variance.

    Parameters
    ----------
    replicates
        ``[..., B]``, of the figure over all rows.
    n
        All rows that decide it, counted as for :func:`replicate_test`.

    Examples
    --------
    >>> float(row_variance(np.array([0.4, 0.5, 0.6]), np.array(100)).round(6))
    1.0
    """
    finite = np.isfinite(replicates)
    b = finite.sum(axis=-1)
    with np.errstate(all="ignore"):
        mean = np.where(finite, replicates, 0.0).sum(axis=-1) / b
        squares = np.where(finite, (replicates - mean[..., None]) ** 2, 0.0)
        return np.asarray(squares.sum(axis=-1) / (b - 1) * n)


def unit_of(*figures: np.ndarray) -> float:
    """Return a power of two by which figures can be divided, so that their squares are finite.

    Examples
    --------
    >>> unit_of(np.array([1e300, np.nan])) * 2.0**-997
    1.0
    """
    largest = max(float(np.abs(f[np.isfinite(f)]).max(initial=0.0)) for f in figures)
    return float(np.ldexp(1.0, max(-1000, min(1000, int(np.frexp(largest)[1])))))


def auc_test(slice_: AreaVariance, others: AreaVariance, whole: np.ndarray) -> np.ndarray:
    """Return p-values of areas under the ROC curve against those of the rows outside.

    Parameters
    ----------
    slice_, others
        The variances of :func:`engine.metrics.inference.intervals.auc_variance`, of both parts.
    whole
        The area over all rows, at which the least variances are taken.

    Examples
    --------
    >>> from engine.metrics.inference.intervals import auc_variance
    >>> a, b = (auc_variance(np.array([n, 50]), np.array([50, n])) for n in (60, 90))
    >>> round(float(auc_test(a, b, np.array(0.6))), 4)
    0.0554
    """
    with np.errstate(all="ignore"):
        error = area_error(slice_, others, whole)
        return np.asarray(2 * ndtr(-np.abs(slice_.value - others.value) / error))


def area_error(slice_: AreaVariance, others: AreaVariance, whole: np.ndarray) -> np.ndarray:
    """Return the standard error of the difference that :func:`auc_test` is of."""
    with np.errstate(all="ignore"):
        own = slice_.variance + others.variance
        least = area_variance_at(whole, slice_) + area_variance_at(whole, others)
        return np.asarray(np.sqrt(np.fmax(own, least)))


def sufficient(support: np.ndarray, min_support: int = MIN_SUPPORT) -> np.ndarray:
    """Return which figures enough rows decide for a test that isn't exact, and to trust intervals.

    Parameters
    ----------
    support
        Rows that decide the figure: a proportion's denominator (for precision the predicted
        positives, for F1 the rows that are positive or predicted so), the smaller class for an
        area under a curve, all scored rows for other metrics.
    min_support
        The least number of them.

    Examples
    --------
    >>> sufficient(np.array([29, 30])).tolist()
    [False, True]
    """
    return np.asarray(np.asarray(support) >= min_support)


def adjusted(p: np.ndarray, method: Method = "bh") -> np.ndarray:
    """Correct p-values for how many there are; NaN stays NaN and doesn't count.

    Parameters
    ----------
    p
        P-values of one family of tests, of any shape.
    method
        ``bh`` bounds the share of false ones among those below a level where tests are
        independent or lean the same way (Benjamini and Hochberg 1995), ``by`` however they depend
        on each other (Benjamini and Yekutieli 2001), ``none`` returns them as they are.

    Examples
    --------
    >>> adjusted(np.array([0.01, np.nan, 0.04])).tolist()
    [0.02, nan, 0.04]
    """
    p = np.asarray(p, np.float64)
    finite = np.isfinite(p)
    if method == "none" or not finite.any():
        return p.copy()
    out = np.full(p.shape, np.nan)
    out[finite] = false_discovery_control(p[finite], method=method)
    return out


def level_of_selected(p: np.ndarray, level: float = 0.95, method: Method = "bh") -> float:
    """Return the level of intervals that hold though only what differs is looked at.

    Of those that ``adjusted`` finds below 1 - level, intervals of this level miss the truth on
    average for a share of 1 - level: the false coverage rate (Benjamini and Yekutieli 2005). It is
    1 - (1 - level)·R/m, R found of m; as if one were found where none is.

    Parameters
    ----------
    p
        P-values of all that the selection is from; NaN doesn't count.
    level
        What is wanted.
    method
        The correction: ``by`` divides by 1 + 1/2 + ... + 1/m besides, ``none`` returns the level.

    Examples
    --------
    >>> p = np.array([0.001, 0.002, 0.5, 0.6, np.nan])
    >>> round(level_of_selected(p), 4), level_of_selected(p, method="none")
    (0.975, 0.95)
    """
    m = int(np.isfinite(p).sum())
    if method == "none" or not m:
        return level
    count = max(1, int((adjusted(p, method) <= 1 - level).sum()))
    terms = float((1 / np.arange(1, m + 1)).sum()) if method == "by" else 1.0
    return 1 - (1 - level) * count / (m * terms)


def mark(row: Mapping[Any, Any], level: float = 0.95, better: str = "high") -> str:
    """Return "+" where a slice is significantly better than its complement, "-" where worse.

    Parameters
    ----------
    row
        A figure with ``p_adjusted`` and ``effect``.
    level
        1 less the p-value that is significant.
    better
        Which values are: ``high``, ``low``, or nothing, for which the mark is "~", different.

    Examples
    --------
    >>> row = {"p_adjusted": 0.01, "effect": -0.2}
    >>> [mark(row, better=better) for better in ("high", "low", "")]
    ['-', '+', '~']
    >>> mark({"p_adjusted": 0.2, "effect": -0.2})
    ''
    """
    p = row.get("p_adjusted")
    if p is None or not p <= 1 - level:
        return ""
    return {"better": "+", "worse": "-"}.get(quality(row["effect"], better), "~")
