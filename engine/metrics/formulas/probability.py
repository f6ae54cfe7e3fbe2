"""Metrics of probabilities: log loss, Brier score, calibration error, hits among the first k."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.exact import Term
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.ranking import bin_of
from engine.metrics.formulas.states import (
    LEAST,
    OK,
    Addend,
    Count,
    State,
    Sum,
    Values,
    mean,
    quotient,
)


def log_losses(of: Outputs) -> np.ndarray:
    """Return each row's log loss ``[n]``: the negative log of its label's probability.

    A probability is taken to be at least its type's rounding, and at most 1 less that, as in
    scikit-learn.

    Examples
    --------
    >>> of = Outputs(Classes((0, 1), 1), np.array([1, 0]), np.array([1, 1]), np.array([[.5], [.9]]))
    >>> log_losses(of).round(3).tolist()
    [0.693, 2.303]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(-np.log(np.clip(_of_label(of), of.least, 1 - of.least)))


def squared_errors(of: Outputs) -> np.ndarray:
    """Return each row's squared error of probabilities ``[n]`` (Brier 1950).

    Over all classes; for two the positive one's alone, which is half of it, as is usual.

    Examples
    --------
    >>> of = Outputs(Classes((0, 1), 1), np.array([1, 0]), np.array([1, 1]), np.array([[.5], [.9]]))
    >>> squared_errors(of).round(2).tolist()
    [0.25, 0.81]
    """
    return np.asarray((_errors(of) ** 2).sum(axis=1))


def _errors(of: Outputs) -> np.ndarray:
    """Return errors of all classes' probabilities, or of the positive one's of two, ``[n, C]``."""
    if of.classes.n <= 2:  # noqa: PLR2004
        return np.asarray(of.score - (of.label == of.classes.positive))[:, None]
    off = of.probabilities.copy()
    off[np.arange(len(off)), np.clip(of.label, 0, None)] -= 1
    return off


def _squares(of: Outputs) -> tuple[Term, ...]:
    """Return squared errors, by powers of two where float64 has no such squares."""
    off, square = _errors(of), squared_errors(of)
    small = np.flatnonzero((square < LEAST) & off.any(axis=1))
    if not len(small):
        return ((square,),)
    exponent = np.frexp(np.abs(off[small]).max(axis=1))[1]
    square[small] = (np.ldexp(off[small], -exponent[:, None]) ** 2).sum(axis=1)
    scale = np.ones(len(square))
    scale[small] = np.ldexp(1.0, exponent)
    return ((square, scale, scale),)


def ranks(of: Outputs) -> np.ndarray:
    """Return each label's place among the classes by probability ``[n]``, 0 for the first.

    Of equal ones the later class is first, as in scikit-learn.
    """
    own, prob = _of_label(of)[:, None], of.probabilities
    later = np.arange(prob.shape[1]) > of.label[:, None]
    return np.asarray(((prob > own) | ((prob == own) & later)).sum(axis=1))


def _of_label(of: Outputs) -> np.ndarray:
    at = np.clip(of.label, 0, None)[:, None]
    return np.take_along_axis(of.probabilities, at, axis=1)[:, 0]


_PROBABLE = Count("probable", 1, lambda of: np.where(of.probable, 0, -1))
_LOSSES: Mapping[str, Sum] = {
    "log_loss": Sum("log_loss", _PROBABLE, lambda of: ((log_losses(of),),)),
    "brier": Sum("brier", _PROBABLE, _squares),
}


def addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return the sum of a mean loss, and how many rows have one."""
    return _PROBABLE, _LOSSES[metric.name]


def of_state(metric: MetricSpec, state: State, _: Classes, __: State) -> Values:
    """Compute a mean loss of a state."""
    return mean(state.sums[metric.name][..., 0], state.weight("probable")[..., 0])


def support(_: MetricSpec, state: State, __: Classes) -> np.ndarray:
    """Return how many rows have a label and probabilities, ``[...]``."""
    return state.rows["probable"][..., 0]


def _mean(total: np.ndarray, n: np.ndarray) -> Values:
    value = np.where(n > 0, quotient(total, n).value, np.nan)
    return Values(value, np.full(value.shape, OK))


def _calibration(metric: MetricSpec) -> tuple[Count, Sum]:
    bins = int(metric.parameter("bins"))

    def at(of: Outputs) -> np.ndarray:
        held = of.probable
        prob = np.where(held[:, None], of.probabilities, 0.0)
        right = prob.argmax(axis=1) == of.label
        return np.where(held, 2 * bin_of(prob.max(axis=1), bins) + right, -1)

    count = Count(f"calibration@{bins}", 2 * bins, at)

    def confidence(of: Outputs) -> tuple[Term, ...]:
        return ((of.probabilities.max(axis=1),),)

    return count, Sum(f"confidence@{bins}", count, confidence, rounded=False)


def calibration_addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return rows wrong and right, and their confidence, per bin of confidence."""
    return _calibration(metric)


def calibration_error(metric: MetricSpec, state: State, _: Classes, __: State) -> Values:
    """Compute the expected calibration error (Naeini et al. 2015; Guo et al. 2017).

    A row's confidence is the largest probability, and it is right where that is its label's. The
    error is the mean over rows of how far apart, in a row's bin, are the mean confidence and the
    share of rows that are right.
    """
    count, total = _calibration(metric)
    cells, sums = state.weight(count.name), state.sums[total.name]
    confidence = sums.reshape(*sums.shape[:-1], sums.shape[-1] // 2, 2).sum(-1)
    apart = np.abs((cells[..., 1::2] - confidence).value).sum(axis=-1)
    return _mean(apart, cells.sum(-1).value)


def bins_of(metric: MetricSpec, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows, their summed confidence and the right ones per bin, ``[..., bins]``."""
    count, total = _calibration(metric)
    cells, sums = state.weights[count.name], state.sums[total.name].value
    return cells[..., ::2] + cells[..., 1::2], sums[..., ::2] + sums[..., 1::2], cells[..., 1::2]


def calibration_support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows have a label and probabilities, ``[...]``."""
    return np.asarray(state.rows[_calibration(metric)[0].name].sum(axis=-1))


def hits_addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return how many rows have their label among the k likeliest classes, and how many haven't."""
    k = metric.parameter("k")
    at: Callable[[Outputs], np.ndarray] = lambda of: np.where(of.probable, ranks(of) < k, -1)  # noqa: E731
    return (Count(f"hits@{k:g}", 2, at),)


def hits(metric: MetricSpec, state: State, classes: Classes, whole: State) -> Values:
    """Compute the accuracy of the k likeliest classes."""
    return _mean(*hits_share(metric, state.weights, classes, whole))


def hits_share(
    metric: MetricSpec, counts: Mapping[str, np.ndarray], _: Classes, __: State
) -> tuple[np.ndarray, np.ndarray]:
    """Return its numerator and denominator, ``[...]``."""
    cells = counts[f"hits@{metric.parameter('k'):g}"]
    return cells[..., 1], cells.sum(axis=-1)


def hits_support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows have a label and probabilities, ``[...]``."""
    return np.asarray(state.rows[f"hits@{metric.parameter('k'):g}"].sum(axis=-1))
