"""The families of metrics by name, those of any table among them, and what is added up for many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.classification import PROPORTIONS, Confusion
from engine.metrics.formulas.exact import LARGEST, Term
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.probability import Calibration, Hits, MeanLoss
from engine.metrics.formulas.ranking import Ranking, Top
from engine.metrics.formulas.regression import Regression, Undefined
from engine.metrics.formulas.states import (
    OK,
    OVERFLOW,
    Addend,
    Count,
    Family,
    Share,
    State,
    Sum,
    Values,
    mean,
)

ROWS = Count("rows", 1, lambda of: np.zeros(len(of.label), np.int64))
_PREDICTED = Count("predicted", 2, lambda of: (of.pred >= 0).astype(np.int64))


class Rows(Family):
    """How many rows there are; their weights don't count."""

    replicated = False

    def addends(self) -> tuple[Addend, ...]:
        """Return the count of rows."""
        return (ROWS,)

    def compute(self, state: State, whole: State) -> Values:
        """Return that count."""
        n = self.support(state).astype(np.float64)
        return Values(n, np.full(n.shape, OK))


class Predicted(Share):
    """The share of rows that have a prediction."""

    def addends(self) -> tuple[Addend, ...]:
        """Return how many rows have no prediction, and how many have one."""
        return (_PREDICTED,)


class Nulls(Share):
    """The share of rows without a value in a column."""

    def addends(self) -> tuple[Addend, ...]:
        """Return how many rows have a value in the column, and how many have none."""
        name = f"null:{self.metric.parameter('column')}"
        return (Count(name, 2, lambda of: np.isnan(of.columns[name]) * 1),)


class ColumnMean(Family):
    """A column's mean."""

    def addends(self) -> tuple[Count, Sum]:
        """Return how many rows have a value, one that can be added up or not, and the sum."""
        column = self.metric.parameter("column")

        def cell(of: Outputs) -> np.ndarray:
            # Infinite values can't be added up; they are counted.
            value = of.columns[f"mean:{column}"]
            return np.where(np.isnan(value), -1, np.where(np.abs(value) <= LARGEST, 0, 1))

        def numbers(of: Outputs) -> tuple[Term, ...]:
            value = of.columns[f"mean:{column}"]
            return ((np.where(np.abs(value) <= LARGEST, value, 0.0),),)

        filled = Count(f"filled:{column}", 2, cell)
        return filled, Sum(f"column:{column}", filled, numbers, rounded=False)

    def compute(self, state: State, whole: State) -> Values:
        """Return the mean."""
        filled, total = (addend.name for addend in self.addends())
        value, status = mean(state.sums[total].sum(-1), state.weight(filled).sum(-1))
        infinite = state.weights[filled][..., 1] > 0
        return Values(np.where(infinite, np.nan, value), np.where(infinite, OVERFLOW, status))


FAMILIES: Mapping[str, type[Family]] = {
    "confusion": Confusion,
    "scores": Ranking,
    "top": Top,
    "probability": MeanLoss,
    "calibration": Calibration,
    "hits": Hits,
    "regression": Regression,
    "undefined": Undefined,
    "predictions": Predicted,
    "nulls": Nulls,
    "column": ColumnMean,
    "rows": Rows,
}


def family(metric: MetricSpec, classes: Classes) -> Family:
    """Return a metric as its family makes it."""
    return FAMILIES[metric.family](metric, classes)


def is_share(metric: MetricSpec) -> bool:
    """Tell whether a metric is a share of rows, so that its interval and test have formulas.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> [is_share(parse_metric(m)) for m in ("recall@top=0.1", "f1", "top_k_accuracy", "mae")]
    [True, False, True, False]
    """
    if metric.kind.family == "confusion":
        return metric.name in PROPORTIONS
    return metric.family in ("hits", "predictions", "nulls")


def compute(metric: MetricSpec, state: State, classes: Classes, whole: State) -> Values:
    """Compute a metric of a state; ``whole`` is the state of all rows."""
    return family(metric, classes).compute(state, whole)


def addends_of(
    metrics: Iterable[MetricSpec], classes: Classes
) -> tuple[tuple[Count, ...], tuple[Sum, ...]]:
    """Return the counts and sums that metrics are made of, each once; all rows are the first.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> counts, sums = addends_of(map(parse_metric, ["f1", "recall", "mae"]), Classes((0, 1), 1))
    >>> [c.name for c in counts], [s.name for s in sums]
    (['rows', 'confusion', 'paired'], ['absolute_error'])
    """
    by_name: dict[str, Addend] = {ROWS.name: ROWS}
    for metric in metrics:
        for addend in family(metric, classes).addends():
            by_name.setdefault(addend.name, addend)
    counts = tuple(a for a in by_name.values() if isinstance(a, Count))
    return counts, tuple(a for a in by_name.values() if isinstance(a, Sum))
