"""Figures of any table: rows, the share that has a prediction, a column's mean and nulls."""

from __future__ import annotations

import numpy as np

from engine.metrics.formulas.exact import LARGEST, Term
from engine.metrics.formulas.outputs import Outputs
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
