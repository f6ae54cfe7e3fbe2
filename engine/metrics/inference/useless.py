"""Models that learned nothing, or the wrong way round: a plain sentence on each.

A model that predicts one class only, ranks worse than chance, or whose loss never fell has figures
like any other; a person should read these sentences before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

FEWEST = 30  # rows; of fewer, nothing is claimed
CHANCE = 0.5


@dataclass(frozen=True)
class Outcome:
    """What a model did on some rows.

    Attributes
    ----------
    model
        The model's id.
    rows
        What the rows are called: ``of split test``, say.
    classes
        The classes, in their order.
    labels, predicted
        How many rows have each class as label, and as prediction; empty where nobody knows.
    auc
        The area under the ROC curve of two classes; None where nobody knows.
    losses
        The loss of each epoch of training; empty where nobody knows.
    """

    model: str
    rows: str
    classes: Sequence[object] = ()
    labels: Sequence[int] = ()
    predicted: Sequence[int] = ()
    auc: float | None = None
    losses: Sequence[float] = ()


def sentences(outcome: Outcome) -> list[str]:
    """Say what shows that a model is of no use; nothing where nothing does.

    Examples
    --------
    >>> sentences(Outcome("m", "of split test", [0, 1], [80, 20], [100, 0]))
    ["model 'm' predicts one class only: 0 on all 100 rows of split test, of which 20 have another"]
    >>> sentences(Outcome("m", "of split test", [0, 1], [80, 20], [90, 10], auc=0.7))
    []
    """
    return [*_one_class(outcome), *_below_chance(outcome), *_no_fall(outcome)]


def _one_class(of: Outcome) -> list[str]:
    n, only = sum(of.predicted), np.flatnonzero(of.predicted)
    if n < FEWEST or len(only) > 1:
        return []
    others = n - of.labels[only[0]]
    if not others:
        return []
    return [
        f"model {of.model!r} predicts one class only: {of.classes[only[0]]} on all {n:,} rows "
        f"{of.rows}, of which {others:,} have another"
    ]


def _below_chance(of: Outcome) -> list[str]:
    if of.auc is None or not of.auc < CHANCE:
        return []
    return [
        f"model {of.model!r} ranks rows {of.rows} worse than chance would: its roc_auc is "
        f"{of.auc:.4f}, below {CHANCE}; are its classes in the order of its probabilities?"
    ]


def _no_fall(of: Outcome) -> list[str]:
    if len(of.losses) < 2 or min(of.losses[1:]) < of.losses[0]:  # noqa: PLR2004 - to compare
        return []
    return [
        f"the loss of model {of.model!r} never fell: it was {of.losses[0]:.4f} in the first of "
        f"{len(of.losses)} epochs and {min(of.losses[1:]):.4f} at best after it; leave out lr and "
        "n_epochs to have them chosen, and check the features"
    ]


def outcome_of(
    model: str,
    y: np.ndarray,
    prob: np.ndarray,
    *,
    rows: str = "that it was fitted to",
    classes: Sequence[object] | None = None,
    losses: Sequence[float] = (),
) -> Outcome:
    """Count what a model did on rows that are here.

    Parameters
    ----------
    model, rows, losses
        As :class:`Outcome` has them.
    y
        ``[n]`` positions of the labels' classes.
    prob
        ``[n, classes]`` probabilities.
    classes
        The classes; their positions by default.

    Examples
    --------
    >>> y, prob = np.array([0, 1] * 20), np.array([[0.6, 0.4], [0.7, 0.3]] * 20)
    >>> outcome = outcome_of("m", y, prob)
    >>> outcome.labels, outcome.predicted, outcome.auc
    ([20, 20], [40, 0], 0.0)
    """
    n = prob.shape[1]
    labels, predicted = (np.bincount(of, minlength=n).tolist() for of in (y, prob.argmax(axis=1)))
    auc = None
    if n == 2 and all(labels) and sum(labels) >= FEWEST:  # noqa: PLR2004 - two classes
        # Mann and Whitney 1947: by the ranks of the positive rows, ties half.
        ranks, positive = rankdata(prob[:, 1]), labels[1]
        above = ranks[y == 1].sum() - positive * (positive + 1) / 2
        auc = float(above / (positive * labels[0]))
    names = range(n) if classes is None else classes
    return Outcome(model, rows, list(names), labels, predicted, auc, losses)
