"""Metrics of classes: the state is a confusion matrix, which adds up over any partition of rows.

``confusion[i, j]`` is the (weighted) number of rows of class i that were predicted class j.
Undefined ratios (0/0) are 0 with the status "undefined", as scikit-learn's default has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.metrics.outputs import Classes, Outputs
from engine.metrics.spec import MetricSpec
from engine.metrics.states import OK, UNDEFINED, Addend, Count, State, Values


def values(metric: MetricSpec, confusions: np.ndarray, positive: int = 1) -> np.ndarray:
    """Compute a metric of many confusion matrices at once, such as slices and their replicates.

    Parameters
    ----------
    metric
        One whose family is a confusion's.
    confusions
        ``[..., C, C]`` counts or weights.
    positive
        Position of the positive class, for binary metrics.

    Returns
    -------
    np.ndarray
        ``[...]``; NaN where the metric is 0/0 of a matrix, or it is all 0.

    Examples
    --------
    >>> from engine.metrics.spec import parse_metric
    >>> values(parse_metric("recall"), np.array([[[3, 1], [1, 3]], [[0, 0], [0, 0]]])).tolist()
    [0.75, nan]
    """
    return of_confusions(metric, confusions, positive).defined


def ratio(
    metric: MetricSpec, confusions: np.ndarray, positive: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a metric's values ``[...]`` and where they are 0/0, of matrices ``[..., C, C]``.

    ``rows`` are the same in rows, by which classes occur that have no weight.
    """
    m = confusions.astype(np.float64)
    if confusions.dtype.kind == "f":  # products of weights must neither overflow nor vanish
        exponent = np.frexp(m.sum(axis=(-2, -1), keepdims=True))[1]
        m = np.ldexp(m, -exponent)
    return _FORMULAS[metric.name](m, positive, metric, _occurs(m if rows is None else m + rows))


def _occurs(m: np.ndarray) -> np.ndarray:
    # Classes that occur neither as label nor as prediction don't count, as in scikit-learn.
    return np.asarray((m.sum(axis=-1) + m.sum(axis=-2)) > 0, dtype=np.float64)


def proportion(
    metric: MetricSpec, confusions: np.ndarray, positive: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numerator and denominator ``[...]`` of a metric that is a share of rows, else None.

    Examples
    --------
    >>> from engine.metrics.spec import parse_metric
    >>> k, n = proportion(parse_metric("recall"), np.array([[3, 1], [1, 3]]), 1)
    >>> float(k), float(n)
    (3.0, 4.0)
    """
    counts = PROPORTIONS.get(metric.name)
    return counts(confusions.astype(np.float64), positive) if counts else None


_Pair = tuple[np.ndarray, np.ndarray]


def _divided(above: np.ndarray, below: np.ndarray) -> _Pair:
    zero = np.asarray(below == 0)
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=~zero), zero


def _f(tp: np.ndarray, predicted: np.ndarray, actual: np.ndarray, beta: float) -> _Pair:
    # Van Rijsbergen 1979: (1+b²)·tp / (b²·actual + predicted)
    return _divided((1 + beta**2) * tp, beta**2 * actual + predicted)


def _of_class(m: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the true positives, predicted and actual rows of one class."""
    return m[..., c, c], m[..., :, c].sum(axis=-1), m[..., c, :].sum(axis=-1)


def _correct(m: np.ndarray, _: int) -> _Pair:
    return np.trace(m, axis1=-2, axis2=-1), m.sum(axis=(-2, -1))


def _precise(m: np.ndarray, p: int) -> _Pair:
    tp, predicted, _ = _of_class(m, p)
    return tp, predicted


def _recalled(m: np.ndarray, p: int) -> _Pair:
    tp, _, actual = _of_class(m, p)
    return tp, actual


def _missed(m: np.ndarray, p: int) -> _Pair:
    actual = m[..., p, :]
    return np.delete(actual, p, axis=-1).sum(axis=-1), actual.sum(axis=-1)


def _false_alarms(m: np.ndarray, p: int) -> _Pair:
    # Added up and not taken from all rows: of weights that would leave a rest where there is none.
    others = np.delete(m, p, axis=-2)
    return others[..., p].sum(axis=-1), others.sum(axis=(-2, -1))


def _rejected(m: np.ndarray, p: int) -> _Pair:
    others = np.delete(m, p, axis=-2)
    return np.delete(others, p, axis=-1).sum(axis=(-2, -1)), others.sum(axis=(-2, -1))


def _selected(m: np.ndarray, p: int) -> _Pair:
    return m[..., :, p].sum(axis=-1), m.sum(axis=(-2, -1))


# Metrics that are a share of rows: their numerators and denominators.
PROPORTIONS: Mapping[str, Callable[[np.ndarray, int], _Pair]] = {
    "accuracy": _correct,
    "precision": _precise,
    "recall": _recalled,
    "specificity": _rejected,
    "false_positive_rate": _false_alarms,
    "false_negative_rate": _missed,
    "selection_rate": _selected,
    # With one label per row they are the same.
    "f1_micro": _correct,
    "precision_micro": _correct,
    "recall_micro": _correct,
}


_Formula = Callable[[np.ndarray, int, MetricSpec, np.ndarray], _Pair]


def _f1(m: np.ndarray, p: int, _: MetricSpec, __: np.ndarray) -> _Pair:
    return _f(*_of_class(m, p), 1.0)


def _fbeta(m: np.ndarray, p: int, metric: MetricSpec, _: np.ndarray) -> _Pair:
    return _f(*_of_class(m, p), metric.parameter("beta"))


def _averaged(
    of_class: Callable[[np.ndarray, int], _Pair],
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> _Formula:
    """Return the mean of a metric over classes, which ``weigh`` says the weights of."""

    def formula(m: np.ndarray, _: int, __: MetricSpec, occurs: np.ndarray) -> _Pair:
        each = np.stack([_divided(*of_class(m, c))[0] for c in range(m.shape[-1])], axis=-1)
        weight = weigh(m, occurs)
        return _divided((each * weight).sum(axis=-1), weight.sum(axis=-1))

    return formula


def _as_f1(m: np.ndarray, c: int) -> _Pair:
    tp, predicted, actual = _of_class(m, c)
    return 2 * tp, predicted + actual


def _occurring(_: np.ndarray, occurs: np.ndarray) -> np.ndarray:
    return occurs


def _labelled(m: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.asarray(m.sum(axis=-1) > 0, dtype=np.float64)


def _by_support(m: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.asarray(m.sum(axis=-1))


def _matthews(m: np.ndarray, _: int, __: MetricSpec, ___: np.ndarray) -> _Pair:
    # Gorodkin 2004, the multiclass form of Matthews 1975.
    actual, predicted = m.sum(axis=-1), m.sum(axis=-2)
    correct, n = _correct(m, 0)
    spread = _spread(predicted) * _spread(actual)
    return _divided(correct * n - (actual * predicted).sum(axis=-1), np.sqrt(spread))


def _spread(each: np.ndarray) -> np.ndarray:
    """Return n² less the classes' squares: products with all others, exactly 0 of one class."""
    before = np.cumsum(each, axis=-1)[..., :-1]
    after = np.cumsum(each[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    return np.asarray((before * each[..., 1:]).sum(axis=-1) + (after * each[..., :-1]).sum(axis=-1))


def _share(counts: Callable[[np.ndarray, int], _Pair]) -> _Formula:
    return lambda m, p, _, __: _divided(*counts(m, p))


_FORMULAS: Mapping[str, _Formula] = {
    **{name: _share(counts) for name, counts in PROPORTIONS.items()},
    "balanced_accuracy": _averaged(_recalled, _labelled),
    "f1": _f1,
    "fbeta": _fbeta,
    "f1_macro": _averaged(_as_f1, _occurring),
    "f1_weighted": _averaged(_as_f1, _by_support),
    "precision_macro": _averaged(_precise, _occurring),
    "precision_weighted": _averaged(_precise, _by_support),
    "recall_macro": _averaged(_recalled, _occurring),
    "recall_weighted": _averaged(_recalled, _by_support),
    "matthews_corrcoef": _matthews,
}


def addends(metric: MetricSpec, classes: Classes) -> tuple[Addend, ...]:
    """Return the confusion that a metric is made of: by the prediction, or by a threshold."""
    threshold, n = metric.parameter("threshold"), classes.n

    def at(of: Outputs) -> np.ndarray:
        pred = of.pred if threshold is None else sides(of, threshold)
        return np.where((of.label >= 0) & (pred >= 0), of.label * n + pred, -1)

    return (Count(_name(metric), n * n, at),)


def sides(of: Outputs, threshold: float) -> np.ndarray:
    """Return what a threshold predicts ``[n]``: the positive class at or above it; -1 without."""
    positive = of.classes.positive
    side = np.where(of.score >= threshold, positive, 1 - positive)
    return np.where(np.isnan(of.score), -1, side)


def _name(metric: MetricSpec) -> str:
    threshold = metric.parameter("threshold")
    return "confusion" if threshold is None else f"confusion@{threshold!r}"


def confusions(
    metric: MetricSpec, counts: Mapping[str, np.ndarray], classes: Classes
) -> np.ndarray:
    """Return a state's rows or weights as confusions ``[..., C, C]``."""
    cells = counts[_name(metric)]
    return cells.reshape(*cells.shape[:-1], classes.n, classes.n)


def of_state(metric: MetricSpec, state: State, classes: Classes, _: State) -> Values:
    """Compute a metric of a state."""
    weights, rows = (confusions(metric, of, classes) for of in (state.weights, state.rows))
    return of_confusions(metric, weights, classes.positive, rows)


def of_confusions(
    metric: MetricSpec, confusions: np.ndarray, positive: int, rows: np.ndarray | None = None
) -> Values:
    """Compute a metric of confusions ``[..., C, C]``; NaN of one that is all 0."""
    value, undefined = ratio(metric, confusions, positive, rows)
    empty = confusions.sum(axis=(-2, -1)) <= 0
    return Values(np.where(empty, np.nan, value), np.where(undefined & ~empty, UNDEFINED, OK))


def share(
    metric: MetricSpec, counts: Mapping[str, np.ndarray], classes: Classes, _: State
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numerator and denominator ``[...]`` of a metric that is a share of rows, else None."""
    return proportion(metric, confusions(metric, counts, classes), classes.positive)


def support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows have a label and a prediction, ``[...]``."""
    return np.asarray(state.rows[_name(metric)].sum(axis=-1))


def rests_on(metric: MetricSpec, state: State, classes: Classes) -> np.ndarray:
    """Return how many rows a figure that is no share rests on, ``[...]``."""
    if metric.name not in ("f1", "fbeta"):
        return support(metric, state, classes)
    rows, positive = confusions(metric, state.rows, classes), classes.positive
    either = rows[..., positive, :].sum(axis=-1) + rows[..., :, positive].sum(axis=-1)
    return np.asarray(either - rows[..., positive, positive])
