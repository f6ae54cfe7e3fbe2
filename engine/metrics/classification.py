"""Metrics of classes: the state is a confusion matrix, which adds up over any partition of rows.

``confusion[i, j]`` is the (weighted) number of rows of class i that were predicted class j.
Undefined ratios (0/0) are 0 with the status "undefined", as scikit-learn's default has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.metrics.spec import MetricSpec

OK, UNDEFINED, EMPTY, SINGLE_CLASS = "ok", "undefined", "empty", "single_class"


@dataclass(frozen=True)
class Figure:
    """A metric's value and what to think of it.

    Attributes
    ----------
    value
        The figure; None where it doesn't exist.
    status
        ``ok``; ``undefined`` (0/0, the value is 0); ``empty`` (no scored row);
        ``single_class`` (the metric needs both classes).
    """

    value: float | None
    status: str = OK


def confusion_of(
    golds: np.ndarray, preds: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Count (gold, pred) pairs of class positions, or add up weights; ``[C, C]``.

    Examples
    --------
    >>> confusion_of(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    cells = np.bincount(golds * n_classes + preds, weights, n_classes * n_classes)
    return cells.reshape(n_classes, n_classes)


def compute(metric: MetricSpec, confusion: np.ndarray, positive: int = 1) -> Figure:
    """Compute a metric from a confusion matrix.

    Parameters
    ----------
    metric
        One whose kind needs a confusion.
    confusion
        ``[C, C]`` counts or weights.
    positive
        Position of the positive class, for binary metrics.

    Examples
    --------
    >>> from engine.metrics.spec import parse_metric
    >>> compute(parse_metric("accuracy"), np.array([[3, 1], [0, 4]]))
    Figure(value=0.875, status='ok')
    """
    if confusion.sum() <= 0:
        return Figure(None, EMPTY)
    return _FORMULAS[metric.name](confusion.astype(np.float64), positive, metric)


def _ratio(above: float, below: float) -> Figure:
    return Figure(float(above / below)) if below else Figure(0.0, UNDEFINED)


def _f(tp: float, predicted: float, actual: float, beta: float) -> Figure:
    # Van Rijsbergen 1979: (1+b²)·tp / (b²·actual + predicted)
    return _ratio((1 + beta**2) * tp, beta**2 * actual + predicted)


def _accuracy(m: np.ndarray, _: int, __: MetricSpec) -> Figure:
    return _ratio(np.trace(m), m.sum())


def _precision(m: np.ndarray, p: int, _: MetricSpec) -> Figure:
    return _ratio(m[p, p], m[:, p].sum())


def _recall(m: np.ndarray, p: int, _: MetricSpec) -> Figure:
    return _ratio(m[p, p], m[p].sum())


def _f1(m: np.ndarray, p: int, _: MetricSpec) -> Figure:
    return _f(m[p, p], m[:, p].sum(), m[p].sum(), 1.0)


def _fbeta(m: np.ndarray, p: int, metric: MetricSpec) -> Figure:
    return _f(m[p, p], m[:, p].sum(), m[p].sum(), metric.parameter("beta"))


def _f1_macro(m: np.ndarray, _: int, __: MetricSpec) -> Figure:
    # Classes that occur neither as label nor as prediction don't count, as in scikit-learn.
    seen = [c for c in range(len(m)) if m[c].sum() + m[:, c].sum() > 0]
    each = [_f(m[c, c], m[:, c].sum(), m[c].sum(), 1.0) for c in seen]
    return Figure(float(np.mean([f.value for f in each])))


def _matthews(m: np.ndarray, _: int, __: MetricSpec) -> Figure:
    # Gorodkin 2004, the multiclass form of Matthews 1975.
    actual, predicted, n, correct = m.sum(axis=1), m.sum(axis=0), m.sum(), np.trace(m)
    spread = (n**2 - predicted @ predicted) * (n**2 - actual @ actual)
    return _ratio(correct * n - actual @ predicted, np.sqrt(spread))


_FORMULAS: Mapping[str, Callable[[np.ndarray, int, MetricSpec], Figure]] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "fbeta": _fbeta,
    "f1_micro": _accuracy,  # with one label per row they are the same
    "f1_macro": _f1_macro,
    "matthews_corrcoef": _matthews,
}
