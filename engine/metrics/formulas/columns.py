"""Figures of any table: rows, the share that has a prediction, a column's mean and nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.exact import LARGEST, Term
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.states import OK, OVERFLOW, Addend, Count, State, Sum, Values, quotient
from engine.metrics.formulas.states import mean as of_sums

ROWS = Count("rows", 1, lambda of: np.zeros(len(of.label), np.int64))
_PREDICTED = Count("predicted", 2, lambda of: (of.pred >= 0).astype(np.int64))


def rows_addends(_: MetricSpec, __: Classes) -> tuple[Addend, ...]:
    """Return the count of rows."""
    return (ROWS,)


def rows(_: MetricSpec, state: State, __: Classes, ___: State) -> Values:
    """Return how many rows there are; their weights don't count."""
    found = state.rows["rows"][..., 0].astype(np.float64)
    return Values(found, np.full(found.shape, OK))


def rows_support(_: MetricSpec, state: State, __: Classes) -> np.ndarray:
    """Return how many rows there are, ``[...]``."""
    return state.rows["rows"][..., 0]


def predicted_addends(_: MetricSpec, __: Classes) -> tuple[Addend, ...]:
    """Return how many rows have no prediction, and how many have one."""
    return (_PREDICTED,)


def null_addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return how many rows have a value in a column, and how many have none."""
    name = metric.parameter("column")
    return (Count(f"null:{name}", 2, lambda of: np.isnan(of.columns[f"null:{name}"]) * 1),)


def _cells(metric: MetricSpec) -> str:
    name = metric.parameter("column")
    return f"null:{name}" if name else "predicted"


def share(
    metric: MetricSpec, counts: Mapping[str, np.ndarray], _: Classes, __: State
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows with a prediction, or without a value, and all rows, ``[...]``."""
    cells = counts[_cells(metric)]
    return cells[..., 1], cells.sum(axis=-1)


def of_share(metric: MetricSpec, state: State, classes: Classes, whole: State) -> Values:
    """Compute that share."""
    return _mean(*share(metric, state.weights, classes, whole))


def share_support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows there are, ``[...]``."""
    return np.asarray(state.rows[_cells(metric)].sum(axis=-1))


def _filled(metric: MetricSpec) -> tuple[Count, Sum]:
    name = metric.parameter("column")

    def filled(of: Outputs) -> np.ndarray:
        # Infinite values can't be added up; they are counted.
        value = of.columns[f"mean:{name}"]
        return np.where(np.isnan(value), -1, np.where(np.abs(value) <= LARGEST, 0, 1))

    def numbers(of: Outputs) -> tuple[Term, ...]:
        value = of.columns[f"mean:{name}"]
        return ((np.where(np.abs(value) <= LARGEST, value, 0.0),),)

    count = Count(f"filled:{name}", 2, filled)
    return count, Sum(f"column:{name}", count, numbers, rounded=False)


def mean_addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return the sum of a column, and how many rows have a value in it that can be added up."""
    return _filled(metric)


def mean(metric: MetricSpec, state: State, _: Classes, __: State) -> Values:
    """Compute a column's mean."""
    count, total = _filled(metric)
    value, status = of_sums(state.sums[total.name].sum(-1), state.weight(count.name).sum(-1))
    infinite = state.weights[count.name][..., 1] > 0
    return Values(np.where(infinite, np.nan, value), np.where(infinite, OVERFLOW, status))


def mean_support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows have a value in the column, ``[...]``."""
    return np.asarray(state.rows[_filled(metric)[0].name].sum(axis=-1))


def _mean(total: np.ndarray, n: np.ndarray) -> Values:
    value = np.where(n > 0, quotient(total, n).value, np.nan)
    return Values(value, np.full(value.shape, OK))
