"""Figures of any table: rows, the share that has a prediction, a column's mean and nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.metrics.outputs import Classes, Outputs
from engine.metrics.spec import MetricSpec
from engine.metrics.states import OK, Addend, Count, State, Sum, Values, quotient

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

    def of_column(of: Outputs) -> np.ndarray:
        return of.columns[f"mean:{name}"]

    count = Count(f"filled:{name}", 1, lambda of: np.where(np.isnan(of_column(of)), -1, 0))
    return count, Sum(f"column:{name}", count, of_column)


def mean_addends(metric: MetricSpec, _: Classes) -> tuple[Addend, ...]:
    """Return the sum of a column, and how many rows have a value in it."""
    return _filled(metric)


def mean(metric: MetricSpec, state: State, _: Classes, __: State) -> Values:
    """Compute a column's mean."""
    count, total = _filled(metric)
    return _mean(state.sums[total.name][..., 0], state.weights[count.name][..., 0])


def mean_support(metric: MetricSpec, state: State, _: Classes) -> np.ndarray:
    """Return how many rows have a value in the column, ``[...]``."""
    return state.rows[_filled(metric)[0].name][..., 0]


def _mean(total: np.ndarray, n: np.ndarray) -> Values:
    value = np.where(n > 0, quotient(total, n).value, np.nan)
    return Values(value, np.full(value.shape, OK))
