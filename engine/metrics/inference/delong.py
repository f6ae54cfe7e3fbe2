"""Areas under the ROC curve of two models on the same rows, and how their difference varies.

DeLong, DeLong and Clarke-Pearson (1988): the variance of a difference is that of the rows'
placements' differences, positives and negatives apart. Placements come from midranks, as Sun and
Xu (2014) have it, so that n rows take n log n steps and not n².
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Paired(NamedTuple):
    """Two areas under the ROC curve of the same rows.

    Attributes
    ----------
    positives, negatives
        How many rows there are of each class.
    first, second
        The areas; NaN without rows of either class.
    of_positives, of_negatives
        Variances of the placements' differences. The variance of the areas' difference is the
        first by the number of positives and the second by that of negatives; NaN of a single row.
    """

    positives: int
    negatives: int
    first: float
    second: float
    of_positives: float
    of_negatives: float

    @property
    def variance(self) -> float:
        """The variance of the difference of the areas."""
        return self.of_positives / self.positives + self.of_negatives / self.negatives


def paired(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two models' scores of the same rows.

    Parameters
    ----------
    positive
        ``[n]`` whether the label is positive.
    first, second
        ``[n]`` scores.

    Examples
    --------
    >>> labels = np.array([False, False, True, True])
    >>> found = paired(labels, np.array([0.1, 0.4, 0.3, 0.8]), np.array([0.1, 0.2, 0.3, 0.4]))
    >>> found.first, found.second, found.variance
    (0.75, 1.0, 0.125)
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not (m and n):
        return Paired(m, n, *[float("nan")] * 4)
    above, below, areas = [], [], []
    for scores in (first, second):
        whole = _midranks(scores)
        above.append((whole[positive] - _midranks(scores[positive])) / n)
        below.append(1 - (whole[~positive] - _midranks(scores[~positive])) / m)
        areas.append(float(above[-1].mean()))
    spread = [float((b - a).var(ddof=1)) if len(a) > 1 else float("nan") for a, b in (above, below)]
    return Paired(m, n, areas[0], areas[1], spread[0], spread[1])


def paired_in_order(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare as :func:`paired`, in an order of rows that doesn't depend on how they came."""
    order = np.lexsort((second, first, positive))
    return paired(positive[order], first[order], second[order])


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks from 1, of equal scores their mean."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[at])
