"""Metrics of numbers predicted: the state is sums of errors and of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.metrics.fixed_point import LARGEST
from engine.metrics.outputs import Classes, Outputs
from engine.metrics.spec import MetricSpec
from engine.metrics.states import OK, UNDEFINED, Addend, Count, State, Sum, Values, quotient


def _known(of: Outputs) -> tuple[np.ndarray, np.ndarray]:
    if of.target is None or of.predicted is None:
        none = np.full(len(of.label), np.nan)
        return none, none
    return of.target, of.predicted


def errors(of: Outputs) -> np.ndarray:
    """Return each row's prediction less its label, ``[n]``."""
    target, predicted = _known(of)
    return np.asarray(predicted - target)


def _relative(of: Outputs) -> np.ndarray:
    target, _ = _known(of)
    with np.errstate(all="ignore"):
        return np.asarray(np.abs(errors(of) / target))


def _paired(of: Outputs) -> np.ndarray:
    return np.where(np.isnan(errors(of)), -1, 0)


def _divisible(of: Outputs) -> np.ndarray:
    # An error of so many times the label can't be summed; there the label is as good as 0.
    with np.errstate(invalid="ignore"):
        return np.where(_relative(of) < LARGEST * 2.0**-33, 0, -1)


_PAIRED = Count("paired", 1, _paired)
_DIVISIBLE = Count("divisible", 1, _divisible)
_ERROR = Sum("error", _PAIRED, errors)
_ABSOLUTE = Sum("absolute_error", _PAIRED, lambda of: np.abs(errors(of)))
_SQUARED = Sum("squared_error", _PAIRED, lambda of: errors(of) ** 2)
_LABEL = Sum("label", _PAIRED, lambda of: _known(of)[0])
_LABEL_SQUARED = Sum("squared_label", _PAIRED, lambda of: _known(of)[0] ** 2)
_SHARE = Sum("relative_error", _DIVISIBLE, _relative)

_MADE_OF: Mapping[str, tuple[Addend, ...]] = {
    "mae": (_PAIRED, _ABSOLUTE),
    "mse": (_PAIRED, _SQUARED),
    "rmse": (_PAIRED, _SQUARED),
    "bias": (_PAIRED, _ERROR),
    "r2": (_PAIRED, _SQUARED, _LABEL, _LABEL_SQUARED),
    "mape": (_DIVISIBLE, _SHARE),
    "mape_undefined": (_PAIRED, _DIVISIBLE),
}


def addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return the sums that a metric is made of."""
    return _MADE_OF[metric.name]


def of_state(metric: MetricSpec, state: State, _: Classes, __: State) -> Values:
    """Compute a metric of a state."""
    return _FORMULAS[metric.name](state)


def support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows have a label and a prediction, ``[...]``; for mape a label not 0."""
    return state.rows[_MADE_OF[metric.name][0].name][..., 0]


def _mean(total: Sum) -> Callable[[State], Values]:
    def of(state: State) -> Values:
        n = state.weights[total.by.name][..., 0]
        value = np.where(n > 0, quotient(state.sums[total.name][..., 0], n).value, np.nan)
        return Values(value, np.full(value.shape, OK))

    return of


def _root(state: State) -> Values:
    mean = _mean(_SQUARED)(state)
    return Values(np.sqrt(np.maximum(mean.value, 0.0)), mean.status)


def _explained(state: State) -> Values:
    """Return 1 less the squared error over that of the labels' mean.

    Of labels that are all the same it is 0/0: 1 where all predictions are right, else 0.
    """
    n = state.weights["paired"][..., 0]
    sums = {s.name: state.sums[s.name][..., 0] for s in (_SQUARED, _LABEL, _LABEL_SQUARED)}
    spread = sums["squared_label"] - quotient(sums["label"] ** 2, n).value
    flat = spread <= 2.0**-46 * sums["squared_label"]  # no more than rounding leaves
    share, _ = quotient(sums["squared_error"], np.where(flat, 0.0, spread))
    value = np.where(flat, sums["squared_error"] == 0, 1 - share)
    return Values(np.where(n > 0, value, np.nan), np.where(flat & (n > 0), UNDEFINED, OK))


def _undefined(state: State) -> Values:
    rows = (state.rows[c.name][..., 0] for c in (_PAIRED, _DIVISIBLE))
    paired, divisible = rows
    return Values((paired - divisible).astype(np.float64), np.full(paired.shape, OK))


_FORMULAS: Mapping[str, Callable[[State], Values]] = {
    "mae": _mean(_ABSOLUTE),
    "mse": _mean(_SQUARED),
    "rmse": _root,
    "bias": _mean(_ERROR),
    "r2": _explained,
    "mape": _mean(_SHARE),
    "mape_undefined": _undefined,
}
