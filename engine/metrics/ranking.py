"""Metrics of scores: the state is a histogram of scores per class, which adds up over rows.

Rows in one bin count as ties, so a binned ROC AUC is within Σ pos[b]·neg[b] / (2·P·N) of the
exact one; with a bin per distinct score it is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.metrics.classification import EMPTY, SINGLE_CLASS, Figure


def histogram_of(
    golds: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Count negatives and positives per distinct score, ascending: the exact state.

    With weights they are added up instead.

    Examples
    --------
    >>> histogram_of(np.array([0, 1, 1]), np.array([0.1, 0.1, 0.9]))[1].tolist()
    [1, 1]
    """
    _, at = np.unique(scores, return_inverse=True)
    bins = int(at.max()) + 1 if len(at) else 0
    positive = golds == 1

    def count(of_class: np.ndarray) -> np.ndarray:
        return np.bincount(at[of_class], None if weights is None else weights[of_class], bins)

    return count(~positive), count(positive)


def roc_auc(negatives: np.ndarray, positives: np.ndarray) -> Figure:
    """Compute the area under the ROC curve from counts per score, ascending.

    The probability that a random positive scores higher than a random negative, ties half
    (Mann and Whitney 1947; Bamber 1975).

    Examples
    --------
    >>> roc_auc(np.array([1, 0]), np.array([0, 1]))
    Figure(value=1.0, status='ok')
    """
    n, p = float(negatives.sum()), float(positives.sum())
    if n + p == 0:
        return Figure(None, EMPTY)
    if not n or not p:
        return Figure(None, SINGLE_CLASS)
    below = np.cumsum(negatives) - negatives
    wins = float((positives * (below + negatives / 2)).sum())
    return Figure(wins / (n * p))


def average_precision(negatives: np.ndarray, positives: np.ndarray) -> Figure:
    """Compute the average precision, the area under the precision-recall curve in steps.

    The mean over positives of the precision among the rows that score as high or higher, as
    scikit-learn has it.

    Examples
    --------
    >>> average_precision(np.array([1, 1, 0]), np.array([0, 1, 1]))
    Figure(value=0.8333333333333333, status='ok')
    """
    n, p = float(negatives.sum()), float(positives.sum())
    if n + p == 0:
        return Figure(None, EMPTY)
    if not n or not p:
        return Figure(None, SINGLE_CLASS)
    hits, others = (np.cumsum(side[::-1], dtype=np.float64) for side in (positives, negatives))
    precision = hits / np.maximum(hits + others, np.finfo(float).tiny)
    return Figure(float((positives[::-1] * precision).sum() / p))


RANKINGS: Mapping[str, Callable[[np.ndarray, np.ndarray], Figure]] = {
    "roc_auc": roc_auc,
    "pr_auc": average_precision,
}


def bin_of(scores: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each score in [0, 1]: equal widths, 1.0 in the last.

    Examples
    --------
    >>> bin_of(np.array([0.0, 0.5, 1.0]), 4).tolist()
    [0, 2, 3]
    """
    return np.minimum((scores * bins).astype(np.int64), bins - 1)
