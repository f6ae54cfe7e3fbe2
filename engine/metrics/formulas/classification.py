"""Metrics of classes: the state is what the metric is made of, and no larger.

That is which rows are right; the positive class against all others; or of each class the rows that
are right, those of it that are wrong, and those that are wrongly predicted it. Of two or three
classes it is the confusion matrix, of which all of that is made: ``confusion[i, j]`` is the
(weighted) number of rows of class i that were predicted class j.
Undefined ratios (0/0) are 0 with the status "undefined", as scikit-learn's default has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from engine.errors import MetricError
from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.states import (
    OK,
    UNDEFINED,
    Addend,
    Count,
    Family,
    Pair,
    State,
    Values,
    divided,
)

MOST_SHOWN = 512  # classes; of more there is no confusion
_ROUNDING = 1e-9  # by which a whole number of rows may come out smaller
FEW = 3  # classes of which a matrix is no larger than what averages are made of


_PARTS = ("right", "missed", "false")  # a class's rows: right, wrong of it, wrongly said to be it


class Margins(NamedTuple):
    """What averages over classes are made of, each class's rows ``[..., C]``."""

    right: np.ndarray
    actual: np.ndarray
    predicted: np.ndarray


def margins(m: np.ndarray) -> Margins:
    """Return the margins of confusions ``[..., C, C]``."""
    return Margins(np.diagonal(m, axis1=-2, axis2=-1), m.sum(axis=-1), m.sum(axis=-2))


def ratio(
    metric: MetricSpec, confusions: np.ndarray, positive: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a metric's values ``[...]`` and where they are 0/0, of matrices ``[..., C, C]``.

    ``rows`` are the same in rows, by which classes occur that have no weight.
    """
    m = confusions.astype(np.float64)
    if confusions.dtype.kind == "f":  # products of weights must neither overflow nor vanish
        m = np.ldexp(m, -np.frexp(m.sum(axis=(-2, -1), keepdims=True))[1])
    if metric.name in _OF_MARGINS:
        of = margins(m)
        return _OF_MARGINS[metric.name](of, of if rows is None else margins(rows))
    if metric.name in PROPORTIONS:
        return divided(*PROPORTIONS[metric.name](m, positive))
    # Van Rijsbergen 1979: (1+b²)·tp / (b²·actual + predicted)
    tp, predicted = PROPORTIONS["precision"](m, positive)
    _, actual = PROPORTIONS["recall"](m, positive)
    beta = 1.0 if metric.name == "f1" else metric.parameter("beta")
    return divided((1 + beta**2) * tp, beta**2 * actual + predicted)


def proportion(
    metric: MetricSpec, confusions: np.ndarray, positive: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numerator and denominator ``[...]`` of a metric that is a share of rows, else None.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> k, n = proportion(parse_metric("recall"), np.array([[3, 1], [1, 3]]), 1)
    >>> float(k), float(n)
    (3.0, 4.0)
    """
    counts = PROPORTIONS.get(metric.name)
    return counts(confusions.astype(np.float64), positive) if counts else None


def _correct(m: np.ndarray, p: int) -> Pair:
    # In the order in which margins are added up: of weights another one has other last bits.
    return np.diagonal(m, axis1=-2, axis2=-1).sum(axis=-1), m.sum(axis=-1).sum(axis=-1)


def _missed(m: np.ndarray, p: int) -> Pair:
    actual = m[..., p, :]
    return np.delete(actual, p, axis=-1).sum(axis=-1), actual.sum(axis=-1)


def _false_alarms(m: np.ndarray, p: int) -> Pair:
    # Added up and not taken from all rows: of weights that would leave a rest where there is none.
    others = np.delete(m, p, axis=-2)
    return others[..., p].sum(axis=-1), others.sum(axis=(-2, -1))


def _rejected(m: np.ndarray, p: int) -> Pair:
    others = np.delete(m, p, axis=-2)
    return np.delete(others, p, axis=-1).sum(axis=(-2, -1)), others.sum(axis=(-2, -1))


# Metrics that are a share of rows: their numerators and denominators.
PROPORTIONS: Mapping[str, Callable[[np.ndarray, int], Pair]] = {
    "accuracy": _correct,
    "precision": lambda m, p: (m[..., p, p], m[..., :, p].sum(axis=-1)),
    "recall": lambda m, p: (m[..., p, p], m[..., p, :].sum(axis=-1)),
    "specificity": _rejected,
    "false_positive_rate": _false_alarms,
    "false_negative_rate": _missed,
    "selection_rate": lambda m, p: (m[..., :, p].sum(axis=-1), m.sum(axis=(-2, -1))),
    # With one label per row they are the same.
    "f1_micro": _correct,
    "precision_micro": _correct,
    "recall_micro": _correct,
}

# What is averaged over classes: each class's numerators and denominators.
_OF_EACH: Mapping[str, Callable[[Margins], Pair]] = {
    "f1": lambda m: (2 * m.right, m.predicted + m.actual),
    "precision": lambda m: (m.right, m.predicted),
    "recall": lambda m: (m.right, m.actual),
}
# The weights of classes in an average, by their margins, and by those in rows. In macro averages
# classes that occur neither as label nor as prediction don't count, as in scikit-learn, and those
# do that occur in rows of the weight 0 alone.
_WEIGHTS: Mapping[str, Callable[[Margins, Margins], np.ndarray]] = {
    "labelled": lambda m, _: (m.actual > 0) * 1.0,
    "macro": lambda m, rows: (m.actual + m.predicted + rows.actual + rows.predicted > 0) * 1.0,
    "weighted": lambda m, _: m.actual,
}
_Average = Callable[[Margins, Margins], Pair]


def _averaged(figure: str, by: str) -> _Average:
    """Return the mean of a metric over classes."""

    def formula(m: Margins, rows: Margins) -> Pair:
        each, _ = divided(*_OF_EACH[figure](m))
        weight = _WEIGHTS[by](m, rows)
        return divided((each * weight).sum(axis=-1), weight.sum(axis=-1))

    return formula


def _matthews(m: Margins, rows: Margins) -> Pair:
    # Gorodkin 2004, the multiclass form of Matthews 1975.
    spreads = _products(m.predicted, m.predicted) * _products(m.actual, m.actual)
    return divided(_beyond_chance(m), np.sqrt(spreads))


def _kappa(m: Margins, rows: Margins) -> Pair:
    # Cohen 1960: what labels and predictions agree on beyond chance, by all that chance leaves.
    return divided(_beyond_chance(m), _products(m.actual, m.predicted))


def _beyond_chance(m: Margins) -> np.ndarray:
    agreed = m.right.sum(axis=-1) * m.actual.sum(axis=-1)
    return np.asarray(agreed - (m.actual * m.predicted).sum(axis=-1))


def _products(each: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Add up the products of different classes, exactly 0 of one class."""
    before = np.cumsum(each, axis=-1)[..., :-1]
    after = np.cumsum(each[..., ::-1], axis=-1)[..., ::-1][..., 1:]
    lower, upper = (before * other[..., 1:]).sum(axis=-1), (after * other[..., :-1]).sum(axis=-1)
    return np.asarray(lower + upper)


_ALIKE = ("accuracy", "f1_micro", "precision_micro", "recall_micro")  # with one label per row
_OF_MARGINS: Mapping[str, _Average] = {
    **dict.fromkeys(_ALIKE, lambda m, _: divided(m.right.sum(axis=-1), m.actual.sum(axis=-1))),
    "balanced_accuracy": _averaged("recall", "labelled"),
    **{f"{of}_{by}": _averaged(of, by) for of in _OF_EACH for by in ("macro", "weighted")},
    "matthews_corrcoef": _matthews,
    "cohen_kappa": _kappa,
}


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
    """Return a state's rows or weights as confusions ``[..., C, C]``.

    Raises
    ------
    MetricError
        If there are so many classes that none is shown.
    """
    check_shown(classes)
    return _matrices(counts[_name(metric)])


def check_shown(classes: Classes) -> None:
    """Check that there are no more classes than a confusion is shown of.

    Raises
    ------
    MetricError
    """
    if classes.n > MOST_SHOWN:
        raise MetricError(
            f"confusion: there are {classes.n:,} classes, and at most {MOST_SHOWN:,} are possible"
        )


def _matrices(cells: np.ndarray) -> np.ndarray:
    n = int(np.sqrt(cells.shape[-1]))
    return cells.reshape(*cells.shape[:-1], n, n)


def of_confusions(
    metric: MetricSpec, confusions: np.ndarray, positive: int, rows: np.ndarray | None = None
) -> Values:
    """Compute a metric of confusions ``[..., C, C]``; NaN of one that is all 0."""
    empty = np.asarray(confusions.sum(axis=(-2, -1)) <= 0)
    return _values(*ratio(metric, confusions, positive, rows), empty)


def _values(value: np.ndarray, undefined: np.ndarray, empty: np.ndarray) -> Values:
    return Values(np.where(empty, np.nan, value), np.where(undefined & ~empty, UNDEFINED, OK))


def confusion_count(classes: Classes) -> Count:
    """Return the count of rows by label and prediction."""

    def cell(of: Outputs) -> np.ndarray:
        scored = (of.label >= 0) & (of.pred >= 0)
        return np.where(scored, of.label * classes.n + of.pred, -1)

    return Count("confusion", classes.n**2, cell)


# What weighs classes against each other: of labels of one class F1 is 0 or hardly below 1, kappa is
# 0, a macro average is of what occurs, whatever the model does. Recall and precision keep their
# meaning there, and so does what is the share of rows that are right.
# In these a class of few rows has as large a part as one of many.
_ALIKE_CLASSES = frozenset({
    "balanced_accuracy", "matthews_corrcoef", "cohen_kappa",
    "f1_macro", "precision_macro", "recall_macro",
})  # fmt: skip
_OF_CLASSES = _ALIKE_CLASSES | {"f1", "fbeta", "f1_weighted", "precision_weighted"}


def _evened(actual: np.ndarray) -> np.ndarray:
    """Return the rows that decide a mean over classes of ``[..., C]`` rows: C² by the sum of 1/n.

    Each class's figure varies by about 1/n, and their mean by the sum of these over C².

    Examples
    --------
    >>> _evened(np.array([[66, 2], [30, 30], [9, 0]])).tolist()
    [7, 60, 9]
    """
    there = actual > 0
    spread = np.divide(1.0, actual, out=np.zeros(actual.shape), where=there).sum(axis=-1)
    classes = there.sum(axis=-1)
    rows = np.divide(classes**2, spread, out=np.zeros(spread.shape), where=classes > 0)
    return np.asarray(np.floor(rows + _ROUNDING).astype(np.int64))


def weighs_classes(metric: MetricSpec) -> bool:
    """Tell whether a metric of labels of one class says nothing of the model.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> [weighs_classes(parse_metric(m)) for m in ("f1_macro", "f1@top=0.1", "recall")]
    [True, True, False]
    """
    return metric.name in _OF_CLASSES


def class_rows(rows: Mapping[str, np.ndarray], classes: Classes) -> Margins | None:
    """Return each class's rows ``[..., C]`` of a state; None where no metric's state has them.

    Examples
    --------
    >>> margins_of = class_rows({"confusion": np.array([3, 1, 0, 2])}, Classes((0, 1), 1))
    >>> margins_of.actual.tolist(), margins_of.predicted.tolist()
    ([4, 2], [3, 3])
    """
    if "confusion" in rows:
        return margins(_matrices(rows["confusion"]))
    names = [f"confusion {part}" for part in _PARTS]
    if not all(name in rows for name in names):
        return None
    right, missed, false = (rows[name] for name in names)
    return Margins(right, right + missed, right + false)


class Confusion(Family):
    """Metrics of a confusion: by the prediction, or by a threshold."""

    def addends(self) -> tuple[Addend, ...]:
        """Return what the metric is made of."""
        n, name, positive = self.classes.n, _name(self.metric), self.classes.positive

        def cell(of: Outputs) -> np.ndarray:
            label, pred, scored = self._pair(of)
            return np.where(scored, label * n + pred, -1)

        def right(of: Outputs) -> np.ndarray:
            label, pred, scored = self._pair(of)
            return np.where(scored, label == pred, -1)

        def against_others(of: Outputs) -> np.ndarray:
            label, pred, scored = self._pair(of)
            return np.where(scored, 2 * (label == positive) + (pred == positive), -1)

        def part(i: int, of: Outputs) -> np.ndarray:
            label, pred, scored = self._pair(of)
            counted = scored & ((label == pred) == (i == 0))
            return np.where(counted, pred if i == 2 else label, -1)  # noqa: PLR2004 - the third

        if n <= FEW:
            return (Count(name, n * n, cell),)
        if self._alike:
            return (Count(f"{name} right or wrong", 2, right),)
        if self.metric.kind.binary:
            return (Count(f"{name} of one", 4, against_others),)
        return tuple(Count(f"{name} {what}", n, partial(part, i)) for i, what in enumerate(_PARTS))

    def compute(self, state: State, whole: State) -> Values:
        """Return the figures."""
        metric = self.metric
        if self._alike:
            right, all_rows = self._rows_right(state.weights)
            return _values(*divided(right, all_rows), np.asarray(all_rows <= 0))
        if self._has_matrix:
            m, positive = self._matrix(state.weights)
            return of_confusions(metric, m, positive, self._matrix(state.rows)[0])
        weights, rows = (self._margins(of) for of in (state.weights, state.rows))
        total = weights.actual.sum(axis=-1, keepdims=True)
        scale = -np.frexp(total)[1]
        scaled = Margins(*(np.ldexp(each.astype(np.float64), scale) for each in weights))
        return _values(*_OF_MARGINS[metric.name](scaled, rows), total[..., 0] <= 0)

    def support(self, state: State) -> np.ndarray:
        """Return how many rows have a label and a prediction."""
        # Of a class's parts the first are the right rows, and the second the wrong ones.
        counts = [state.rows[addend.name].sum(axis=-1) for addend in self.addends()[:2]]
        return np.asarray(sum(counts))

    def share(self, counts: Mapping[str, np.ndarray], whole: State) -> Pair | None:
        """Return numerator and denominator of a metric that is a share of rows, else None."""
        if self.metric.name not in PROPORTIONS:
            return None
        if self._alike:
            return self._rows_right(counts)
        return proportion(self.metric, *self._matrix(counts))

    def decisive(self, state: State) -> np.ndarray:
        """Return the rows that are positive or predicted so, for F measures; else the support.

        Of what gives each class the same say it is as many rows as would decide it as well were
        classes alike: of 66 and 2 rows of two classes 7, since the 2 are half of the figure.
        """
        if self.metric.name in _ALIKE_CLASSES:
            return _evened(self._actual(state))
        if self.metric.name not in ("f1", "fbeta"):
            return self.support(state)
        rows, positive = self._matrix(state.rows)
        either = rows[..., positive, :].sum(axis=-1) + rows[..., :, positive].sum(axis=-1)
        return np.asarray(either - rows[..., positive, positive])

    def one_class(self, state: State, whole: State) -> np.ndarray | None:
        """Return where a metric that weighs classes has labels of one alone."""
        if not weighs_classes(self.metric):
            return None
        return np.asarray((self._actual(state) > 0).sum(axis=-1) == 1)

    def _actual(self, state: State) -> np.ndarray:
        """Return the rows of each class ``[..., C]``, or of the positive one and all others."""
        if self._has_matrix:
            return np.asarray(self._matrix(state.rows)[0].sum(axis=-1))
        return np.asarray(self._margins(state.rows).actual)

    @property
    def _has_matrix(self) -> bool:
        return self.classes.n <= FEW or self.metric.kind.binary

    @property
    def _alike(self) -> bool:
        """Whether the metric is the share of rows that are right, of more than few classes."""
        return self.classes.n > FEW and self.metric.name in _ALIKE

    def _rows_right(self, counts: Mapping[str, np.ndarray]) -> Pair:
        """Return the rows that are right, and all."""
        cells = counts[self.addends()[0].name].astype(np.float64)
        return cells[..., 1], cells.sum(axis=-1)

    def _pair(self, of: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels, predictions, and which rows have both."""
        threshold = self.metric.parameter("threshold")
        pred = of.pred if threshold is None else sides(of, threshold)
        return of.label, pred, (of.label >= 0) & (pred >= 0)

    def _matrix(self, counts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, int]:
        """Return confusions, of many classes the positive one's, and where that is in them."""
        if self.classes.n <= FEW:
            return confusions(self.metric, counts, self.classes), self.classes.positive
        return _matrices(counts[f"{_name(self.metric)} of one"]), 1

    def _margins(self, counts: Mapping[str, np.ndarray]) -> Margins:
        right, missed, false = (counts[f"{_name(self.metric)} {part}"] for part in _PARTS)
        return Margins(right, right + missed, right + false)
