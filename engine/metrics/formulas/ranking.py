"""Metrics of scores: the state is a histogram of scores per class, which adds up over rows.

Rows in one bin count as ties. :func:`bound` says how far a figure can be from the exact one; with
a bin per distinct score it is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas import classification
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.formulas.states import (
    OK,
    SINGLE_CLASS,
    Addend,
    Count,
    Family,
    Pair,
    State,
    Values,
)

BINS = 4096  # of a metric at a share of the rows
_BLOCK = 2**18  # histogram cells handled at a time, so that they stay in the processor's cache


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


def roc_auc(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Compute areas under the ROC curve from counts per score ``[..., bins]``, ascending.

    The probability that a random positive scores higher than a random negative, ties half
    (Mann and Whitney 1947; Bamber 1975). NaN without rows of either class.

    Examples
    --------
    >>> float(roc_auc(np.array([1, 0]), np.array([0, 1])))
    1.0
    """
    negatives, positives = _scaled(negatives), _scaled(positives)
    below = np.cumsum(negatives, axis=-1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=-1)
    return _per_pair(wins, negatives, positives)


def average_precision(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Compute average precisions, the area under the precision-recall curve in steps.

    The mean over positives of the precision among the rows that score as high or higher, as
    scikit-learn has it.

    Examples
    --------
    >>> float(average_precision(np.array([1, 1, 0]), np.array([0, 1, 1])))
    0.8333333333333333
    """
    negatives, positives = _scaled(negatives, positives), _scaled(positives, negatives)
    hits, others = (_from_top(side) for side in (positives, negatives))
    precision = hits / np.maximum(hits + others, np.finfo(float).tiny)
    p, n = positives.sum(axis=-1), negatives.sum(axis=-1)
    with np.errstate(all="ignore"):
        mean = (positives * precision).sum(axis=-1) / p
    return np.asarray(np.where((p > 0) & (n > 0), mean, np.nan))


def _roc_bound(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    return _per_pair((negatives * positives).sum(axis=-1) / 2, negatives, positives)


def _precision_bound(negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Bound by each bin's positives standing above all its negatives, or below."""
    hits, others = (_from_top(side) for side in (positives, negatives))
    before_hits, before_others = hits - positives, others - negatives
    tiny = np.finfo(float).tiny
    precision = hits / np.maximum(hits + others, tiny)
    best = hits / np.maximum(hits + before_others, tiny)
    worst = before_hits / np.maximum(before_hits + others, tiny)
    mixed = (negatives > 0) | (before_others > 0)  # otherwise all are positive down to here
    off = np.where(mixed, np.maximum(best - precision, precision - worst), 0.0)
    # Positives alone in a bin have the precision that they have with a bin for each score.
    p = positives.sum(axis=-1)
    with np.errstate(all="ignore"):
        return np.asarray((positives * off).sum(axis=-1) / p)


def _from_top(side: np.ndarray) -> np.ndarray:
    return np.asarray(np.cumsum(side[..., ::-1], axis=-1, dtype=np.float64)[..., ::-1])


def _scaled(side: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Return weights times a power of two, so that their products neither overflow nor vanish.

    Counts are what they were. The largest of all that are given ends between 1/2 and 1.
    """
    if side.dtype.kind != "f" or not side.size:
        return side
    largest = np.max([of.max(axis=-1, keepdims=True) for of in (side, *others)], axis=0)
    return np.asarray(np.ldexp(side, -np.frexp(largest)[1]))


def _per_pair(wins: np.ndarray, negatives: np.ndarray, positives: np.ndarray) -> np.ndarray:
    pairs = negatives.sum(axis=-1, dtype=np.float64) * positives.sum(axis=-1, dtype=np.float64)
    none = np.full(np.shape(pairs), np.nan)
    return np.asarray(np.divide(wins, pairs, out=none, where=pairs > 0))


RANKINGS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "roc_auc": roc_auc,
    "pr_auc": average_precision,
}
_BOUNDS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "roc_auc": _roc_bound,
    "pr_auc": _precision_bound,
}


def bin_of(scores: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each score in [0, 1]: equal widths, 1.0 in the last.

    Examples
    --------
    >>> bin_of(np.array([0.0, 0.5, 1.0]), 4).tolist()
    [0, 2, 3]
    """
    return np.clip((scores * bins).astype(np.int64), 0, bins - 1)


def _bins(metric: MetricSpec) -> int:
    return int(metric.parameter("bins") or BINS)


def histograms(
    metric: MetricSpec, counts: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a state's rows or weights as histograms ``[..., bins]`` of negatives and positives."""
    bins = _bins(metric)
    cells = counts[f"scores@{bins}"]
    return cells[..., :bins], cells[..., bins:]


def bound(metric: MetricSpec, state: State) -> np.ndarray:
    """Return how far a figure of bins can be from that of the scores themselves, ``[...]``."""
    return in_blocks(_BOUNDS[metric.name], *histograms(metric, state.weights))


def in_blocks(
    of: Callable[[np.ndarray, np.ndarray], np.ndarray], negatives: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """Apply a function of histograms to some slices at a time."""
    if negatives.ndim == 1:
        return of(negatives, positives)
    step = max(1, _BLOCK // negatives.shape[-1])
    return np.concatenate(
        [
            of(negatives[i : i + step], positives[i : i + step])
            for i in range(0, len(negatives), step)
        ]
    )


class _Histogram(Family):
    """What is made of a histogram of scores: negatives' bins, then positives'."""

    replicated = False

    def addends(self) -> tuple[Addend, ...]:
        """Return the histogram."""
        bins = _bins(self.metric)

        def cell(of: Outputs) -> np.ndarray:
            scored = (of.label >= 0) & ~np.isnan(of.score)
            side = (of.label == of.classes.positive) * bins
            return np.where(scored, side + bin_of(np.where(scored, of.score, 0.0), bins), -1)

        return (Count(f"scores@{bins}", 2 * bins, cell),)


class Ranking(_Histogram):
    """Areas under curves."""

    def compute(self, state: State, whole: State) -> Values:
        """Return the areas."""
        negatives, positives = histograms(self.metric, state.weights)
        value = in_blocks(RANKINGS[self.metric.name], negatives, positives)
        some = negatives.any(axis=-1) | positives.any(axis=-1)
        return Values(value, np.where(np.isnan(value) & some, SINGLE_CLASS, OK))


class Top(_Histogram):
    """Metrics of choosing the share of all rows that score highest."""

    def compute(self, state: State, whole: State) -> Values:
        """Return the figures."""
        return classification.of_confusions(
            self.metric, self.chosen(state.weights, whole), self.classes.positive
        )

    def share(self, counts: Mapping[str, np.ndarray], whole: State) -> Pair | None:
        """Return numerator and denominator of a metric that is a share of rows, else None."""
        return classification.proportion(
            self.metric, self.chosen(counts, whole), self.classes.positive
        )

    def one_class(self, state: State, whole: State) -> np.ndarray | None:
        """Return where a metric that weighs classes has labels of one alone."""
        if not classification.weighs_classes(self.metric):
            return None
        actual = self.chosen(state.rows, whole).sum(axis=-1)
        return np.asarray((actual > 0).sum(axis=-1) == 1)

    def chosen(self, counts: Mapping[str, np.ndarray], whole: State) -> np.ndarray:
        """Return confusions ``[..., 2, 2]``.

        All rows in the bin that completes the share are chosen, since a bin's rows are ties.
        """
        negatives, positives = histograms(self.metric, counts)
        first, p = self._first(whole), self.classes.positive
        confusions = np.zeros((*negatives.shape[:-1], 2, 2))
        for side, rows in ((p, positives), (1 - p, negatives)):
            confusions[..., side, p] = rows[..., first:].sum(axis=-1)
            confusions[..., side, 1 - p] = rows[..., :first].sum(axis=-1)
        return confusions

    def _first(self, whole: State) -> int:
        """Return the first bin that is chosen."""
        negatives, positives = histograms(self.metric, whole.weights)
        from_top = np.cumsum((negatives + positives)[::-1], dtype=np.float64)
        wanted = self.metric.parameter("top") * from_top[-1]
        if wanted <= 0:
            return len(from_top)
        return len(from_top) - 1 - int(np.searchsorted(from_top, wanted * (1 - 1e-12)))
