"""Is a slice different from the rest of the rows? Tests, and corrections for very many of them."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, ndtr, stdtr
from scipy.stats import false_discovery_control

CORRECTIONS = ("bh", "by", "none")
_SAME = 1 + 1e-7  # tables as likely as the one found, but for rounding, count as its equals
_LARGE = 500  # from here on in every cell the normal distribution serves as well


def fisher(k: np.ndarray, n: np.ndarray, k_rest: np.ndarray, n_rest: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of Fisher's exact test of two proportions (Fisher 1935).

    It is valid at any size; where each of the four counts is expected to be over 500 it is the
    score test, which is the same there and takes no sum over tables.

    Parameters
    ----------
    k, n
        ``[slices]`` numerator and rows of the slices.
    k_rest, n_rest
        The same of the rows outside.

    Examples
    --------
    >>> fisher(np.array([8]), np.array([10]), np.array([1]), np.array([6])).round(3).tolist()
    [0.035]
    """
    tables = np.stack(np.broadcast_arrays(k, n, k_rest, n_rest), axis=-1).astype(np.float64)
    flat = tables.reshape(-1, 4)
    found = np.array([_fisher(*row) for row in flat], dtype=np.float64)
    return found.reshape(tables.shape[:-1])


def _fisher(k: float, n: float, k_rest: float, n_rest: float) -> float:
    if n <= 0 or n_rest <= 0:
        return np.nan
    hits, total = k + k_rest, n + n_rest
    if min(n, n_rest) * min(hits, total - hits) / total > _LARGE:
        p = hits / total
        z = (k / n - k_rest / n_rest) / np.sqrt(p * (1 - p) * (1 / n + 1 / n_rest))
        return float(2 * ndtr(-abs(z)))
    x = np.arange(max(0.0, hits - n_rest), min(n, hits) + 1)
    logs = -(
        gammaln(x + 1) + gammaln(n - x + 1) + gammaln(hits - x + 1) + gammaln(n_rest - hits + x + 1)
    )
    likely = np.exp(logs - logs.max())
    at = likely[round(k - x[0])]
    return float(min(1.0, likely[likely <= at * _SAME].sum() / likely.sum()))


def from_replicates(effect: np.ndarray, differences: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of a difference, from the spread of its replicates.

    Student's distribution with n - 1 degrees of freedom, n the rows of the smaller side.

    Parameters
    ----------
    effect
        ``[slices]`` the difference.
    differences
        ``[slices, replicates]``, NaN where a replicate has none.
    n
        ``[slices]`` rows.

    Examples
    --------
    >>> p = from_replicates(np.array([0.2]), np.array([[0.1, 0.2, 0.3, 0.2]]), np.array([100]))
    >>> round(float(p[0]), 3)
    0.016
    """
    held = np.isfinite(differences)
    count = held.sum(axis=-1)
    with np.errstate(all="ignore"):
        filled = np.where(held, differences, 0.0)
        mean = filled.sum(axis=-1) / count
        gaps = np.where(held, differences - mean[..., None], 0.0)
        spread = np.sqrt((gaps**2).sum(axis=-1) / (count - 1))
        p = 2 * stdtr(np.asarray(n, np.float64) - 1, -np.abs(effect) / spread)
    exists = (spread > 0) & (count > 0.9 * differences.shape[-1]) & (np.asarray(n) > 1)
    return np.where(exists, p, np.nan)


def normal(effect: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of differences with these variances.

    Examples
    --------
    >>> normal(np.array([1.96]), np.array([1.0])).round(3).tolist()
    [0.05]
    """
    with np.errstate(all="ignore"):
        return np.where(variance > 0, 2 * ndtr(-np.abs(effect) / np.sqrt(variance)), np.nan)


def adjusted(p: np.ndarray, correction: str = "bh") -> np.ndarray:
    """Return p-values corrected for their number; NaN stays and doesn't count.

    Parameters
    ----------
    p
        ``[tests]``.
    correction
        ``bh`` (Benjamini and Hochberg 1995), ``by`` (Benjamini and Yekutieli 2001: whatever way
        the tests depend on each other) or ``none``.

    Examples
    --------
    >>> adjusted(np.array([0.01, np.nan, 0.04])).tolist()
    [0.02, nan, 0.04]
    """
    out = np.array(p, dtype=np.float64)
    held = ~np.isnan(out)
    if correction != "none" and held.any():
        out[held] = false_discovery_control(out[held], method=correction)
    return out
