"""Figures of any table: rows, the share that has a prediction, a column's mean and nulls."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from engine.metrics.formulas.exact import LARGEST, Term
from engine.metrics.formulas.family import Family, Share
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.formulas.states import OK, OVERFLOW, Addend, Count, State, Sum, Values, mean

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

    def support(self, state: State) -> np.ndarray:
        """Return that count."""
        return state.rows["rows"][..., 0]


class Predicted(Share):
    """The share of rows that have a prediction."""

    @property
    def cells(self) -> str:
        """The count's name."""
        return _PREDICTED.name

    def addends(self) -> tuple[Addend, ...]:
        """Return how many rows have no prediction, and how many have one."""
        return (_PREDICTED,)


class Nulls(Share):
    """The share of rows without a value in a column."""

    @property
    def cells(self) -> str:
        """The count's name."""
        return f"null:{self.metric.parameter('column')}"

    def addends(self) -> tuple[Addend, ...]:
        """Return how many rows have a value in the column, and how many have none."""
        return (Count(self.cells, 2, lambda of: np.isnan(of.columns[self.cells]) * 1),)


class ColumnMean(Family):
    """A column's mean."""

    @cached_property
    def _filled(self) -> Count:
        def cell(of: Outputs) -> np.ndarray:
            # Infinite values can't be added up; they are counted.
            value = of.columns[f"mean:{self._column}"]
            return np.where(np.isnan(value), -1, np.where(np.abs(value) <= LARGEST, 0, 1))

        return Count(f"filled:{self._column}", 2, cell)

    @cached_property
    def _total(self) -> Sum:
        def numbers(of: Outputs) -> tuple[Term, ...]:
            value = of.columns[f"mean:{self._column}"]
            return ((np.where(np.abs(value) <= LARGEST, value, 0.0),),)

        return Sum(f"column:{self._column}", self._filled, numbers, rounded=False)

    @property
    def _column(self) -> str:
        return str(self.metric.parameter("column"))

    def addends(self) -> tuple[Addend, ...]:
        """Return the sum of the column, and how many rows have a value that can be added up."""
        return self._filled, self._total

    def compute(self, state: State, whole: State) -> Values:
        """Return the mean."""
        name = self._filled.name
        value, status = mean(state.sums[self._total.name].sum(-1), state.weight(name).sum(-1))
        infinite = state.weights[name][..., 1] > 0
        return Values(np.where(infinite, np.nan, value), np.where(infinite, OVERFLOW, status))

    def support(self, state: State) -> np.ndarray:
        """Return how many rows have a value in the column."""
        return np.asarray(state.rows[self._filled.name].sum(axis=-1))
