"""A model's outputs on some rows, as the arrays that metrics are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

MISSING, UNKNOWN_CLASS = -1, -2  # in place of a class position


@dataclass(frozen=True)
class Classes:
    """Label values in class order, and which is the positive one.

    Examples
    --------
    >>> Classes(("ham", "spam"), 1).n
    2
    """

    values: tuple[object, ...] = ()
    positive: int = 0

    @property
    def n(self) -> int:
        """How many classes there are; 0 where labels are numbers."""
        return len(self.values)


def least_of(probabilities: np.ndarray) -> float:
    """Return the rounding of probabilities' type: one below it may be 0 for all that is known.

    Examples
    --------
    >>> least_of(np.array([0.5], np.float32)), least_of(np.array([0, 1]))
    (1.1920928955078125e-07, 2.220446049250313e-16)
    """
    kind = probabilities.dtype
    return float(np.finfo(kind if kind.kind == "f" and kind.itemsize < 8 else np.float64).eps)  # noqa: PLR2004


@dataclass(frozen=True)
class Outputs:
    """Labels and what a model says of n rows.

    Attributes
    ----------
    classes
        The classes.
    label, pred
        ``[n]`` class positions; -1 where there is none, -2 for a value that is no class.
    prob
        ``[n, C]`` probabilities, NaN where there are none; for two classes ``[n, 1]`` will do, the
        positive one's. None without any.
    target, predicted
        ``[n]`` labels and predictions as numbers, NaN where there is none.
    columns
        Other columns as numbers ``[n]``.
    weight
        ``[n]``; None without weights.
    least
        What of a probability its type tells from 0 and from 1, as :func:`least_of` has it.
    """

    classes: Classes
    label: np.ndarray
    pred: np.ndarray
    prob: np.ndarray | None = None
    target: np.ndarray | None = None
    predicted: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    weight: np.ndarray | None = None
    least: float = float(np.finfo(np.float64).eps)

    def take(self, rows: slice | np.ndarray) -> Outputs:
        """Return the outputs of some rows, without other columns."""
        names = ("label", "pred", "prob", "target", "predicted", "weight")
        arrays = {name: getattr(self, name) for name in names}
        return replace(self, **{name: a[rows] for name, a in arrays.items() if a is not None})

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and predictions as numbers, ``[n]``, NaN where there are none."""
        none = np.full(len(self.label), np.nan)
        if self.target is None or self.predicted is None:
            return none, none
        return self.target, self.predicted

    @cached_property
    def score(self) -> np.ndarray:
        """The positive class's probability, ``[n]``, NaN where there is none."""
        if self.prob is None:
            return np.full(len(self.label), np.nan)
        column = self.classes.positive if self.prob.shape[1] > 1 else 0
        return np.asarray(self.prob[:, column])

    @cached_property
    def probabilities(self) -> np.ndarray:
        """All classes' probabilities, ``[n, C]``, NaN where there are none."""
        if self.prob is None:
            return np.full((len(self.label), max(1, self.classes.n)), np.nan)
        if self.prob.shape[1] > 1:
            return np.asarray(self.prob)
        both = np.empty((len(self.label), 2))
        both[:, self.classes.positive] = self.prob[:, 0]
        both[:, 1 - self.classes.positive] = 1 - self.prob[:, 0]
        return both

    @cached_property
    def probable(self) -> np.ndarray:
        """Which rows have a label and probabilities, ``[n]``."""
        return np.asarray((self.label >= 0) & ~np.isnan(self.probabilities).any(axis=1))
