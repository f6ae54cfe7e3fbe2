"""Metrics of probabilities: log loss, Brier score, calibration error, hits among the first k."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.metrics.formulas.exact import Term
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.formulas.ranking import bin_of
from engine.metrics.formulas.states import (
    LEAST,
    Addend,
    Count,
    Family,
    Share,
    State,
    Sum,
    Values,
    mean,
    share_of,
)


def log_losses(of: Outputs) -> np.ndarray:
    """Return each row's log loss ``[n]``: the negative log of its label's probability.

    A probability is taken to be at least its type's rounding, and at most 1 less that, as in
    scikit-learn.

    Examples
    --------
    >>> from engine.metrics.formulas.outputs import Classes
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
    >>> from engine.metrics.formulas.outputs import Classes
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
    return np.take_along_axis(of.probabilities, of.label.clip(0)[:, None], axis=1)[:, 0]


_PROBABLE = Count("probable", 1, lambda of: np.where(of.probable, 0, -1))
_LOSSES: Mapping[str, Sum] = {
    "log_loss": Sum("log_loss", _PROBABLE, lambda of: ((log_losses(of),),)),
    "brier": Sum("brier", _PROBABLE, _squares),
}


class MeanLoss(Family):
    """Mean losses of probabilities."""

    def addends(self) -> tuple[Addend, ...]:
        """Return the sum of the losses, and how many rows have one."""
        return _PROBABLE, _LOSSES[self.metric.name]

    def compute(self, state: State, whole: State) -> Values:
        """Return the means."""
        total, n = state.sums[self.metric.name], state.weight(_PROBABLE.name)
        return mean(total[..., 0], n[..., 0])


class Calibration(Family):
    """The expected calibration error (Naeini et al. 2015; Guo et al. 2017).

    A row's confidence is the largest probability, and it is right where that is its label's. The
    error is the mean over rows of how far apart, in a row's bin, are the mean confidence and the
    share of rows that are right.
    """

    def addends(self) -> tuple[Count, Sum]:
        """Return rows wrong and right, and their confidence, per bin of confidence."""
        bins = int(self.metric.parameter("bins"))

        def cell(of: Outputs) -> np.ndarray:
            prob = np.where(of.probable[:, None], of.probabilities, 0.0)
            right = prob.argmax(axis=1) == of.label
            return np.where(of.probable, 2 * bin_of(prob.max(axis=1), bins) + right, -1)

        def confidence(of: Outputs) -> tuple[Term, ...]:
            return ((of.probabilities.max(axis=1),),)

        rows = Count(f"calibration@{bins}", 2 * bins, cell)
        return rows, Sum(f"confidence@{bins}", rows, confidence, rounded=False)

    def compute(self, state: State, whole: State) -> Values:
        """Return the errors."""
        rows, confidences = (addend.name for addend in self.addends())
        cells, sums = state.weight(rows), state.sums[confidences]
        confidence = sums.reshape(*sums.shape[:-1], sums.shape[-1] // 2, 2).sum(-1)
        off = np.abs((cells[..., 1::2] - confidence).value).sum(axis=-1)
        return share_of(off, cells.sum(-1).value)

    def bins(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows, their summed confidence and the right ones per bin, ``[..., bins]``."""
        rows, confidences = (addend.name for addend in self.addends())
        cells, sums = state.weights[rows], state.sums[confidences].value
        return (
            cells[..., ::2] + cells[..., 1::2],
            sums[..., ::2] + sums[..., 1::2],
            cells[..., 1::2],
        )


class Hits(Share):
    """The share of rows whose label is among the k likeliest classes."""

    def addends(self) -> tuple[Addend, ...]:
        """Return how many rows have their label elsewhere, and how many there."""
        k = self.metric.parameter("k")
        return (Count(f"hits@{k:g}", 2, lambda of: np.where(of.probable, ranks(of) < k, -1)),)
