"""A family of metrics: what is added up for them, and what is made of the sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.outputs import Classes
from engine.metrics.formulas.states import Addend, State, Values, share_of

Pair = tuple[np.ndarray, np.ndarray]


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
        """Return what is added up."""

    @abstractmethod
    def compute(self, state: State, whole: State) -> Values:
        """Return the figures ``[...]``."""

    @abstractmethod
    def support(self, state: State) -> np.ndarray:
        """Return how many rows a figure is of, ``[...]``."""

    def share(self, counts: Mapping[str, np.ndarray], whole: State) -> Pair | None:
        """Return numerator and denominator ``[...]`` of a share of rows; None for other figures."""
        return None

    def decisive(self, state: State) -> np.ndarray:
        """Return how many rows decide a figure that is no share, ``[...]``."""
        return self.support(state)


class Share(Family):
    """Shares of rows: of one count's cells, the rows of the second by those of both."""

    @property
    @abstractmethod
    def cells(self) -> str:
        """The count's name."""

    def compute(self, state: State, whole: State) -> Values:
        """Return the shares."""
        return share_of(*self.share(state.weights, whole))

    def support(self, state: State) -> np.ndarray:
        """Return the rows of both cells."""
        return np.asarray(state.rows[self.cells].sum(axis=-1))

    def share(self, counts: Mapping[str, np.ndarray], whole: State) -> Pair:
        """Return the rows of the second cell, and of both."""
        cells = counts[self.cells]
        return cells[..., 1], cells.sum(axis=-1)
