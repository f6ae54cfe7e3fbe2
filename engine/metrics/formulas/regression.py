"""Metrics of numbers predicted: the state is sums of errors and of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from engine.metrics.formulas.exact import BITS, Exact, Term
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.formulas.states import (
    LEAST,
    OK,
    OVERFLOW,
    UNDEFINED,
    UNDERFLOW,
    Addend,
    Count,
    Family,
    State,
    Sum,
    Values,
    mean,
)


def _distance(of: Outputs) -> np.ndarray:
    """Return how far each row's prediction is from its label, ``[n]``."""
    target, predicted = of.numbers
    return np.asarray(np.abs(predicted - target))


def _relative(of: Outputs) -> tuple[Term, ...]:
    distance, size = _distance(of), np.abs(of.numbers[0])
    with np.errstate(all="ignore"):
        quotient = distance / size
        # Where float64 has no such quotient, powers of two are what is left out of it.
        odd = (distance > 0) & (size > 0) & ~((quotient >= LEAST) & (quotient < np.inf))
    if not odd.any():
        return ((quotient,),)
    (above, up), (below, down) = (np.frexp(each[odd]) for each in (distance, size))
    quotient[odd] = above / below
    scale = np.ones((3, len(odd)))
    half, exponent = (up - down) // 2, up - down
    scale[0, odd], scale[1, odd] = np.ldexp(1.0, half), np.ldexp(1.0, exponent - half)
    return ((quotient, scale[0], scale[1]),)


def _squares(numbers: np.ndarray) -> tuple[Term, ...]:
    return ((numbers, numbers),)


def _explained(of: Outputs) -> tuple[Term, ...]:
    """Return the label's square less that of the error, without the label's cancelling itself."""
    target, predicted = of.numbers
    return (2 * target, predicted), (-predicted, predicted)


_PAIRED = Count("paired", 1, lambda of: np.where(np.isnan(_distance(of)), -1, 0))
_DIVISIBLE = Count(
    "divisible", 1, lambda of: np.where(np.isnan(_distance(of)) | (of.numbers[0] == 0), -1, 0)
)
_ERROR = Sum("error", _PAIRED, lambda of: ((of.numbers[1],), (-of.numbers[0],)), rounded=False)
_ABSOLUTE = Sum("absolute_error", _PAIRED, lambda of: ((_distance(of),),))
_SQUARED = Sum("squared_error", _PAIRED, lambda of: _squares(_distance(of)))
# What r2 takes from each other, and so no rounding may touch.
_LABEL = Sum("label", _PAIRED, lambda of: ((of.numbers[0],),), rounded=False)
_LABEL_SQUARED = Sum("squared_label", _PAIRED, lambda of: _squares(of.numbers[0]), rounded=False)
_EXPLAINED = Sum("explained", _PAIRED, _explained, rounded=False)
_SHARE = Sum("relative_error", _DIVISIBLE, _relative)

_ADDENDS: Mapping[str, tuple[Addend, ...]] = {
    "mae": (_PAIRED, _ABSOLUTE),
    "mse": (_PAIRED, _SQUARED),
    "rmse": (_PAIRED, _SQUARED),
    "bias": (_PAIRED, _ERROR),
    "r2": (_PAIRED, _LABEL, _LABEL_SQUARED, _EXPLAINED),
    "mape": (_DIVISIBLE, _SHARE),
    "mape_undefined": (_PAIRED, _DIVISIBLE),
}


def _mean(total: Sum, power: float = 1.0) -> Callable[[State], Values]:
    def of(state: State) -> Values:
        return mean(state.sums[total.name][..., 0], state.weight(total.by.name)[..., 0], power)

    return of


def _share_explained(state: State) -> Values:
    """Return 1 less the squared error over that of the labels' mean, of integers.

    Of labels that are all the same it is 0/0: 1 where all predictions are right, else 0.
    """
    sums = (state.sums[s.name] for s in (_LABEL, _LABEL_SQUARED, _EXPLAINED))
    n, label, squared, explained = (one[..., 0] for one in (state.weight("paired"), *sums))
    # Σe² is Σy² less what is explained, and the spread of labels Σy² less (Σy)²/Σw.
    low = min(2 * label.low, n.low + squared.low, n.low + explained.low)

    def integers(one: Exact, other: Exact) -> np.ndarray:
        units = 1 << BITS * (one.low + other.low - low)
        return np.asarray(one.integers * other.integers * units, object).reshape(-1)

    square = integers(label, label)
    spread, share = integers(n, squared) - square, integers(n, explained) - square
    value, status = np.full(len(square), np.nan), np.full(len(square), OK)
    for at in np.flatnonzero(n.scaled[0].reshape(-1) > 0):
        value[at], status[at] = _quotient(share[at], spread[at])
    return Values(value.reshape(n.shape), status.reshape(n.shape))


def _quotient(share: int, spread: int) -> tuple[float, int]:
    if spread == 0:
        return float(share == 0), UNDEFINED
    try:
        value = share / spread
    except OverflowError:
        return np.nan, OVERFLOW
    return (np.nan, UNDERFLOW) if share and abs(value) < LEAST else (value, OK)


def _undefined(state: State) -> Values:
    paired, divisible = (state.rows[c.name][..., 0] for c in (_PAIRED, _DIVISIBLE))
    return Values((paired - divisible).astype(np.float64), np.full(paired.shape, OK))


_FORMULAS: Mapping[str, Callable[[State], Values]] = {
    "mae": _mean(_ABSOLUTE),
    "mse": _mean(_SQUARED),
    "rmse": _mean(_SQUARED, 0.5),
    "bias": _mean(_ERROR),
    "r2": _share_explained,
    "mape": _mean(_SHARE),
    "mape_undefined": _undefined,
}


class Regression(Family):
    """Errors of numbers predicted."""

    def addends(self) -> tuple[Addend, ...]:
        """Return the sums that the metric is made of."""
        return _ADDENDS[self.metric.name]

    def compute(self, state: State, whole: State) -> Values:
        """Return the figures."""
        return _FORMULAS[self.metric.name](state)


class Undefined(Regression):
    """How many rows an error isn't defined on."""

    replicated = False
