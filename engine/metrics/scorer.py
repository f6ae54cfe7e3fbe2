"""Scores of arrays on the driver: the interface people know from Snorkel, over our formulas."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from engine.errors import (
    EmptyLabelsError,
    LabelValueError,
    LengthError,
    MetricInputError,
    NotBinaryError,
    ProbabilityError,
)
from engine.metrics.classification import compute, confusion_of
from engine.metrics.ranking import RANKINGS, histogram_of
from engine.metrics.spec import MetricSpec, parse_metric

ABSTAIN = -1


class Scorer:
    """Compute metrics over all rows and per slice.

    Parameters
    ----------
    metrics
        Metric names, such as ``"f1"`` or ``"fbeta@beta=2"``.
    custom_metric_funcs
        Further metrics: name to a function of ``(golds, preds, probs)`` that returns a number,
        or a dict of them.
    abstain_label
        Rows with this label or prediction are left out (not for ``coverage``); None keeps all.

    Raises
    ------
    ValueError
        If a metric is unknown.

    Examples
    --------
    >>> scorer = Scorer(metrics=["accuracy", "f1"])
    >>> scorer.score(np.array([0, 1, 1]), np.array([0, 1, 0]))["f1"]
    0.6666666666666666
    """

    def __init__(
        self,
        metrics: Sequence[str] | None = None,
        custom_metric_funcs: Mapping[str, Callable[..., Any]] | None = None,
        abstain_label: int | None = ABSTAIN,
    ) -> None:
        self.abstain_label = abstain_label
        self.metrics: dict[str, Callable[..., Any]] = {
            text: partial(_score, parse_metric(text), abstain_label) for text in metrics or ()
        }
        self.metrics.update(custom_metric_funcs or {})

    def score(
        self,
        golds: np.ndarray,
        preds: np.ndarray | None = None,
        probs: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Return metric name to value.

        Parameters
        ----------
        golds
            ``[n]`` integer labels.
        preds
            ``[n]`` or ``[n, 1]`` integer predictions.
        probs
            ``[n, C]`` probabilities.
        weights
            ``[n]``, what each row counts; custom metrics don't hear of them.

        Raises
        ------
        ValueError
            If there are no labels, a metric lacks its input, or lengths differ.
        """
        if len(golds) == 0:
            raise EmptyLabelsError
        _check_lengths(golds=golds, preds=preds, probs=probs, weights=weights)
        scores: dict[str, float] = {}
        for name, metric in self.metrics.items():
            ours = isinstance(metric, partial) and metric.func is _score
            found = metric(golds, preds, probs, weights) if ours else metric(golds, preds, probs)
            scores.update(found if isinstance(found, dict) else {name: found})
        return scores

    def score_slices(
        self,
        S: np.recarray,  # noqa: N803 - the slice matrix, as everywhere
        golds: np.ndarray,
        preds: np.ndarray,
        probs: np.ndarray,
        as_dataframe: bool = False,
    ) -> dict[str, dict[str, float]] | pd.DataFrame:
        """Score all rows ("overall") and the rows of each slice.

        A row is in a slice where its mask is 1; -1 (undecided) is out. An empty slice gives NaN.

        Parameters
        ----------
        S
            ``[n]`` record array with one field per slice.
        golds, preds, probs
            As for :meth:`score`.
        as_dataframe
            Return a DataFrame, one row per slice, instead of nested dicts.

        Raises
        ------
        ValueError
            If lengths differ.
        """
        _check_lengths(S=S, golds=golds, preds=preds, probs=probs)
        scores = {"overall": self.score(golds, preds, probs)}
        for name in S.dtype.names or ():
            member = S[name] == 1
            if member.any():
                scores[name] = self.score(golds[member], preds[member], probs[member])
            else:
                scores[name] = dict.fromkeys(scores["overall"], float("nan"))
        return pd.DataFrame(scores).transpose() if as_dataframe else scores


def preds_to_probs(preds: np.ndarray, num_classes: int) -> np.ndarray:
    """Return ``[n, C]`` probabilities that are 1 at each prediction.

    Raises
    ------
    ValueError
        If a prediction is not a class position (an abstention is not).

    Examples
    --------
    >>> preds_to_probs(np.array([0, 1]), 2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    flat = _integers(preds, "preds")
    outside = flat[(flat < 0) | (flat >= num_classes)]
    if len(outside):
        raise LabelValueError(
            "preds", outside[0], f"not a class position from 0 to {num_classes - 1}"
        )
    probs: np.ndarray = np.eye(num_classes)[flat]
    return probs


def probs_to_preds(
    probs: np.ndarray, tie_break_policy: str = "random", tol: float = 1e-5
) -> np.ndarray:
    """Return ``[n]`` predictions: the class of the largest probability.

    Parameters
    ----------
    probs
        ``[n, C]`` probabilities.
    tie_break_policy
        Among classes within ``tol`` of the largest: ``random`` (by a hash of the row number, the
        same each time), ``true-random``, or ``abstain`` (-1).
    tol
        What counts as a tie.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or the policy is unknown.

    Examples
    --------
    >>> probs_to_preds(np.array([[0.8, 0.2], [0.5, 0.5]]), tie_break_policy="abstain").tolist()
    [0, -1]
    """
    if probs.ndim != 2 or probs.shape[1] < 2:  # noqa: PLR2004
        raise ProbabilityError(probs.shape)
    if tie_break_policy not in _TIE_BREAKERS:
        raise LabelValueError(
            "tie_break_policy", tie_break_policy, f"not one of {', '.join(_TIE_BREAKERS)}"
        )
    _check_numbers(probs)
    near_best = probs.max(axis=1, keepdims=True) - probs < tol
    preds: np.ndarray = near_best.argmax(axis=1)
    for row in np.flatnonzero(near_best.sum(axis=1) > 1):
        preds[row] = _TIE_BREAKERS[tie_break_policy](int(row), np.flatnonzero(near_best[row]))
    return preds


def _by_hash(row: int, tied: np.ndarray) -> int:
    # SHA-1 of the row number: the rule people's results rest on.
    return int(tied[int(hashlib.sha1(str(row).encode()).hexdigest(), 16) % len(tied)])


_TIE_BREAKERS: Mapping[str, Callable[[int, np.ndarray], int]] = {
    "random": _by_hash,
    "true-random": lambda _, tied: int(np.random.choice(tied)),  # what set_seed seeds
    "abstain": lambda _, __: ABSTAIN,
}


def _score(
    metric: MetricSpec,
    abstain: int | None,
    golds: np.ndarray,
    preds: np.ndarray | None,
    probs: np.ndarray | None,
    weights: np.ndarray | None = None,
) -> float:
    labels = _integers(golds, "golds")
    predicted = _integers(preds, "preds") if preds is not None else None
    if metric.family == "predictions":
        return float(np.average(_needed(metric, "preds", predicted) != ABSTAIN, weights=weights))
    if abstain is not None:
        keep = labels != abstain
        keep &= predicted != abstain if predicted is not None else True
        labels = labels[keep]
        predicted = predicted[keep] if predicted is not None else None
        probs = probs[keep] if probs is not None else None
        weights = weights[keep] if weights is not None else None
    if metric.family == "scores":
        return _auc(metric, labels, _needed(metric, "probs", probs), weights)
    threshold = metric.parameter("threshold")
    if threshold is not None:
        scores = _needed(metric, "probs", probs)
        if scores.shape[1] != 2:  # noqa: PLR2004
            raise NotBinaryError(str(metric), "a threshold needs two columns of probs")
        predicted = (scores[:, 1] >= threshold).astype(np.int64)
    predicted = _needed(metric, "preds", predicted)
    return _value(metric, labels, predicted, weights)


def _value(
    metric: MetricSpec, labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None
) -> float:
    seen = np.union1d(labels, predicted)
    # As scikit-learn has it: two labels, of which 1 is the positive one, or a single one.
    binary = len(seen) <= 1 or (len(seen) == 2 and 1 in seen)  # noqa: PLR2004
    if metric.name == "f1" and (not binary or labels.max(initial=0) > 1):
        raise NotBinaryError(str(metric), "try f1_micro or f1_macro")
    if metric.kind.binary and not binary:
        raise NotBinaryError(str(metric), "it needs labels 0 and 1")
    classes = np.union1d(seen, [1])
    golds, preds, one = (np.searchsorted(classes, v) for v in (labels, predicted, [1]))
    figure = compute(metric, confusion_of(golds, preds, len(classes), weights), int(one[0]))
    if figure.status == "undefined":
        warnings.warn(f"{metric} is 0/0 here and given as 0", UserWarning, stacklevel=4)
    return float("nan") if figure.value is None else figure.value


def _auc(
    metric: MetricSpec, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
) -> float:
    seen = np.unique(labels)
    if probs.ndim != 2 or probs.shape[1] != 2 or len(seen) > 2:  # noqa: PLR2004
        raise NotBinaryError(str(metric), "it needs two labels and two columns of probs")
    _check_numbers(probs)
    positive = (labels == seen.max(initial=-1)).astype(np.int64)
    return float(RANKINGS[metric.name](*histogram_of(positive, probs[:, 1], weights)))


def _check_lengths(**arrays: np.ndarray | None) -> None:
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise LengthError(lengths)


def _check_numbers(probs: np.ndarray) -> None:
    rows = np.flatnonzero(np.isnan(probs).any(axis=1))
    if len(rows):
        raise LabelValueError("probs", f"row {rows[0]}", "not a number")


def _needed(metric: MetricSpec, name: str, given: np.ndarray | None) -> np.ndarray:
    if given is None:
        raise MetricInputError(str(metric), name)
    return given


def _integers(values: np.ndarray, name: str) -> np.ndarray:
    flat = np.asarray(values)
    flat = flat[:, 0] if flat.ndim == 2 and flat.shape[1] == 1 else flat  # noqa: PLR2004
    if flat.ndim != 1:
        raise LabelValueError(name, f"an array of shape {flat.shape}", "not one label per row")
    if flat.dtype.kind not in "biuf":
        raise LabelValueError(name, flat[0] if len(flat) else flat.dtype, "not an integer")
    off = flat[np.mod(flat, 1) != 0]
    if len(off):
        raise LabelValueError(name, off[0], "not an integer")
    whole: np.ndarray = flat.astype(np.int64)
    return whole
