"""The strength of a logistic regression's penalty, chosen by a small cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

GRID = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # of C, the inverse strength of the penalty
FOLDS = 3
MOST_ROWS = 10_000  # of which C is chosen: it is a prior's variance, which no number of rows scales
DEFAULT = 1.0  # scikit-learn's; where rows are too few to be parted
_LEAST = 2.0**-52  # of a probability, as log_loss has it
Regression = Callable[[float], LogisticRegression]


@dataclass(frozen=True)
class Choice:
    """A chosen C.

    Attributes
    ----------
    c
        The C.
    losses
        The held-out log loss of each C of the grid; empty where rows were too few to be parted.
    rows
        How many rows it was chosen on.
    """

    c: float
    losses: tuple[float, ...]
    rows: int

    def __str__(self) -> str:
        if not self.losses:
            return f"C is {self.c:g}, for {self.rows:,} rows are too few to choose it by"
        tried = ", ".join(f"{c:g} {loss:.4f}" for c, loss in zip(GRID, self.losses, strict=True))
        return (
            f"C is {self.c:g}, the best of {len(GRID)} by log loss in {FOLDS} folds of "
            f"{self.rows:,} rows ({tried})"
        )


def folds_of(hashes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Part rows into folds: classes evenly, rows alike into the same fold; ``[n]``.

    Which fold a row is in doesn't depend on the order of the rows.

    Parameters
    ----------
    hashes
        ``[n]`` hashes of the rows' contents; those of rows alike are the same.
    y
        ``[n]`` classes.

    Examples
    --------
    >>> folds_of(np.array([5, 9, 5, 7, 8]), np.array([0, 0, 0, 0, 1])).tolist()
    [0, 2, 0, 1, 0]
    """
    folds = np.zeros(len(y), np.int64)
    for one in np.unique(y):
        mine = y == one
        _, rank = np.unique(hashes[mine], return_inverse=True)
        folds[mine] = rank % FOLDS
    return folds


def choose(X: Any, y: np.ndarray, hashes: np.ndarray, regression: Regression) -> Choice:  # noqa: N803
    """Choose C from :data:`GRID` by the log loss of rows that a fit hasn't seen.

    The same rows give the same C, in whatever order they come. It costs as many fits as the grid
    has values, times :data:`FOLDS`, on :data:`MOST_ROWS` rows at most.

    Parameters
    ----------
    X
        ``[n, features]``, dense or sparse.
    y
        ``[n]`` labels.
    hashes
        ``[n]`` hashes of the rows' contents.
    regression
        Gives a regression of some C, not fitted yet.

    Examples
    --------
    >>> X, y = np.array([[0.0], [1.0]] * 30), np.array([0, 1] * 30)
    >>> choose(X, y, np.arange(60), lambda c: LogisticRegression(C=c)).c
    100.0
    """
    order = np.argsort(hashes, kind="stable")[:MOST_ROWS]
    X, y, hashes = X[order], y[order], hashes[order]  # noqa: N806
    classes, at = np.unique(y, return_inverse=True)
    folds = folds_of(hashes, y)
    parts = [(folds != k, folds == k) for k in range(FOLDS)]
    parts = [(fit, rest) for fit, rest in parts if rest.any() and len(np.unique(y[fit])) > 1]
    if not parts:
        return Choice(DEFAULT, (), len(y))
    losses = []
    for c in GRID:
        of_rows = [_losses(X, y, at, classes, one, regression(c)) for one in parts]
        losses.append(float(np.concatenate(of_rows).mean()))
    best = min(range(len(GRID)), key=lambda i: (round(losses[i], 6), i))  # more penalty, if equal
    return Choice(GRID[best], tuple(losses), len(y))


def _losses(
    X: Any,  # noqa: N803
    y: np.ndarray,
    at: np.ndarray,
    classes: np.ndarray,
    part: Sequence[np.ndarray],
    model: LogisticRegression,
) -> np.ndarray:
    """Return the log loss of each row that is held out; classes that weren't seen have 0."""
    fit, rest = part
    with warnings.catch_warnings():  # a C at which the solver is slow isn't chosen for that
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[fit], y[fit])
    prob = np.zeros((int(rest.sum()), len(classes)))
    prob[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X[rest])
    right = prob[np.arange(len(prob)), at[rest]]
    return np.asarray(-np.log(np.clip(right, _LEAST, 1.0)))
