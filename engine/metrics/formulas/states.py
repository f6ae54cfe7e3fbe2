"""States: what a scan adds up for metrics; families of metrics make figures of it.

There are two kinds of addends. A :class:`Count` puts each row into a cell, such as its label and
prediction; a :class:`Sum` has a number for each row in a cell. Both are added up per slice, so the
states of any partition of the rows add up to the state of all rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.exact import Exact, Term, exact
from engine.metrics.formulas.outputs import Classes, Outputs

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Count:
    """Rows counted, and their weights added up, by cell.

    Attributes
    ----------
    name
        Its name in the state; the same name is the same count.
    cells
        How many cells there are.
    at
        Each row's cell ``[n]``; -1 for a row that doesn't count.
    """

    name: str
    cells: int
    at: Callable[[Outputs], np.ndarray] = field(compare=False)


@dataclass(frozen=True)
class Sum:
    """Numbers added up by the cells of a count, exactly.

    Attributes
    ----------
    name
        Its name in the state.
    by
        The count in whose cells the numbers are added up; rows that it leaves out have none.
    of
        Each row's number as a sum of products of ``[n]`` float64; what rows that don't count have
        is not looked at.
    rounded
        Whether a row's product is rounded to float64. So it may be where all numbers have one
        sign, which no sum can take from each other.
    """

    name: str
    by: Count
    of: Callable[[Outputs], tuple[Term, ...]] = field(compare=False)
    rounded: bool = True


Addend = Count | Sum

# Positions in STATUSES.
OK, UNDEFINED, SINGLE_CLASS, WEIGHTLESS, OVERFLOW, UNDERFLOW = range(6)
STATUSES = ("ok", "undefined", "single_class", "weightless", "overflow", "underflow")
LEAST = float(np.finfo(np.float64).tiny)  # of less, float64 has fewer digits
INSUFFICIENT, ROUGH = "insufficient", "rough"  # what uncertainty says instead of "ok"
QUARANTINED = "quarantined"  # the slice failed, and nobody knows which rows are in it
FAILED = "failed"  # a metric of the user's own raised, or gave no number


class Values(NamedTuple):
    """A metric's values ``[...]``, NaN where there is none, and their statuses' positions."""

    value: np.ndarray
    status: np.ndarray

    @property
    def defined(self) -> np.ndarray:
        """The values ``[...]``, NaN too where they are 0/0."""
        return np.where(self.status == OK, self.value, np.nan)


def divided(above: np.ndarray, below: np.ndarray) -> Pair:
    """Return quotients and where they are 0/0, which is 0, as scikit-learn's default has it.

    Examples
    --------
    >>> divided(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    (array([0.5, 0. ]), array([False,  True]))
    """
    zero = np.asarray(below == 0)
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=~zero), zero


def share_of(above: np.ndarray, below: np.ndarray) -> Values:
    """Divide; NaN where there are no rows.

    Examples
    --------
    >>> share_of(np.array([1.0, 0.0]), np.array([2.0, 0.0])).value.tolist()
    [0.5, nan]
    """
    value = np.where(below > 0, divided(above, below)[0], np.nan)
    return Values(value, np.full(value.shape, OK))


def mean(total: Exact, n: Exact, power: float = 1.0) -> Values:
    """Divide exact sums and raise the quotient to a power, 1 or 1/2; NaN where n is 0.

    A mean of numbers whose sum float64 can't hold is right; one that it can't hold itself is NaN
    with the status "overflow", or "underflow" where it isn't 0 and float64 has no digits for it.

    Examples
    --------
    >>> mean(exact([3.0, 0.0]), exact([2, 0]))
    Values(value=array([1.5, nan]), status=array([0, 0]))
    """
    (above, up), (below, down) = total.scaled, n.scaled
    none = below == 0
    exponent = up - down
    with np.errstate(over="ignore", under="ignore"):
        value = above / np.where(none, 1.0, below)
        if power != 1:  # an even exponent has a whole half
            value, exponent = np.sqrt(np.ldexp(value, exponent % 2)), exponent // 2
        number = np.ldexp(value, exponent)
        underflow = (np.abs(number) < LEAST) & (np.ldexp(number, -exponent) != value) & ~none
    overflow = np.isinf(number) & ~none
    status = np.where(overflow, OVERFLOW, np.where(underflow, UNDERFLOW, OK))
    return Values(np.where(none | overflow | underflow, np.nan, number), status)


@dataclass(frozen=True)
class State:
    """What was added up, of any number of sets of rows: slices, and their replicates.

    Attributes
    ----------
    rows
        Count to rows per cell, ``[..., cells]`` int64.
    weighed
        Count to the sum of weights per cell, ``[..., cells]``; none where each row counts one.
    sums
        Sum to its (weighted) numbers per cell, ``[..., cells]``.

    Examples
    --------
    >>> one = State({"c": np.array([[3, 1], [1, 0]])})
    >>> one.less(one.at(0)).rows["c"].tolist()
    [[0, 0], [2, 1]]
    """

    rows: Mapping[str, np.ndarray]
    weighed: Mapping[str, Exact] = field(default_factory=dict)
    sums: Mapping[str, Exact] = field(default_factory=dict)

    @cached_property
    def weights(self) -> Mapping[str, np.ndarray]:
        """Count to the sum of weights per cell as float64; the rows where there are none."""
        return {**self.rows, **{name: each.value for name, each in self.weighed.items()}}

    def weight(self, name: str) -> Exact:
        """Return a count's sum of weights per cell, or of rows."""
        return self.weighed[name] if name in self.weighed else exact(self.rows[name])

    def at(self, index: Any) -> State:
        """Return the state of some of the sets, as numpy indexes the first axes."""
        parts = (self.rows, self.weighed, self.sums)
        return State(*({k: v[index] for k, v in part.items()} for part in parts))  # type: ignore[arg-type]

    def only(self, *names: str) -> State:
        """Return the state with these counts and sums alone."""
        parts = (self.rows, self.weighed, self.sums)
        return State(*({k: v for k, v in part.items() if k in names} for part in parts))  # type: ignore[arg-type]

    def less(self, whole: State) -> State:
        """Return the state of the rows outside: the whole's less this one's."""
        return State(
            {k: whole.rows[k] - v for k, v in self.rows.items()},
            {k: whole.weighed[k] - v for k, v in self.weighed.items()},
            {k: whole.sums[k] - v for k, v in self.sums.items()},
        )


@dataclass(frozen=True)
class Family(ABC):
    """One metric of a family, for some classes.

    States have any leading axes: slices, and their replicates. ``whole`` is the state of all rows.
    """

    metric: MetricSpec
    classes: Classes
    # Whether the interval of what is no share comes from bootstrap replicates.
    replicated: ClassVar[bool] = True

    @abstractmethod
    def addends(self) -> tuple[Addend, ...]:
        """Return what is added up; first the count of the rows that a figure is of."""

    @abstractmethod
    def compute(self, state: State, whole: State) -> Values:
        """Return the figures ``[...]``."""

    def support(self, state: State) -> np.ndarray:
        """Return how many rows a figure is of, ``[...]``."""
        return np.asarray(state.rows[self.addends()[0].name].sum(axis=-1))

    def share(self, counts: Mapping[str, np.ndarray], whole: State) -> Pair | None:
        """Return numerator and denominator ``[...]`` of a share of rows; None for other figures."""
        return None

    def decisive(self, state: State) -> np.ndarray:
        """Return how many rows decide a figure that is no share, ``[...]``."""
        return self.support(state)

    def one_class(self, state: State, whole: State) -> np.ndarray | None:
        """Return where labels of one class decide the figure ``[...]``; None where they can't."""
        return None


class Share(Family):
    """Shares of rows: of one count's cells, the rows of the second by those of both."""

    def compute(self, state: State, whole: State) -> Values:
        """Return the shares."""
        return share_of(*self.share(state.weights, whole))

    def share(self, counts: Mapping[str, np.ndarray], whole: State) -> Pair:
        """Return the rows of the second cell, and of both."""
        cells = counts[self.addends()[0].name]
        return cells[..., 1], cells.sum(axis=-1)
