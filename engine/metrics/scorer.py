"""Scores of arrays on the driver: the interface people know from Snorkel, over our formulas."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.arguments import choice, flag, mapping, number, text, texts, whole
from engine.errors import ArgumentError, MetricError
from engine.masks.frames import codes_of
from engine.metrics.arrays import (
    ABSTAIN,
    Arrays,
    array_of,
    array_or_none,
    check_lengths,
    integers,
    no_slices,
    slices_of,
    values_of,
    wrong_shape,
)
from engine.metrics.catalog import OVERALL, MetricSpec, parse_metric
from engine.metrics.custom import RAISED, figure_of, problem
from engine.metrics.formulas.states import UNDEFINED, Values
from engine.metrics.scan.code import MOST_CLASSES


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
        if abstain_label is not None:
            abstain_label = whole("Scorer", "abstain_label", abstain_label)
        self.abstain_label = abstain_label
        wanted = "a list of metrics, such as ['accuracy', 'f1']"
        _check_names(metrics)
        names = [] if metrics is None else texts("Scorer", "metrics", metrics, wanted)
        self.metrics: dict[str, MetricSpec | Callable[..., Any]] = {
            name: parse_metric(name) for name in names
        }
        if custom_metric_funcs is not None:
            wanted = "a dict of functions by name"
            own = mapping("Scorer", "custom_metric_funcs", custom_metric_funcs, wanted)
            for name, function in own.items():
                text("Scorer", "each name in custom_metric_funcs", name)
                if not callable(function):
                    argument = f"custom_metric_funcs[{name!r}]"
                    raise ArgumentError("Scorer", argument, "a function", function)
            self.metrics.update(own)

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
            ``[n]`` integer labels; for metrics of numbers, such as ``mae``, numbers, NaN where
            there is none (-1 is a number like any there).
        preds
            ``[n]`` or ``[n, 1]`` predictions, as labels are.
        probs
            ``[n, C]`` probabilities.
        weights
            ``[n]``, what each row counts; custom metrics don't hear of them.

        Raises
        ------
        ValueError
            If there are no labels, a metric lacks its input, or lengths differ.
        """
        golds = array_of("score", "golds", golds)
        others = {"preds": preds, "probs": probs, "weights": weights}
        preds, probs, weights = (array_or_none("score", *named) for named in others.items())
        if len(golds) == 0:
            raise MetricError("there are no labels to score: golds is empty")
        arrays = Arrays(golds, preds, probs, weights, self.abstain_label)
        self._warn_of_a_class(arrays)
        values = values_of(self._ours, arrays, no_slices(len(golds)))
        _warn(values, 0)
        return self._named(values, 0, "overall", golds, preds, probs)

    def score_slices(
        self,
        S: np.recarray,  # noqa: N803 - the slice matrix, as everywhere
        golds: np.ndarray,
        preds: np.ndarray,
        probs: np.ndarray,
        as_dataframe: bool = False,
    ) -> dict[str, dict[str, float]] | pd.DataFrame:
        """Score all rows ("overall") and the rows of each slice.

        A row is in a slice where its mask is 1 or True; 0, False and -1 or null (undecided) are
        out, and nothing else is a mask. An empty slice gives NaN.

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
            If there are no labels, a metric lacks its input, lengths differ, or a mask holds
            anything else.
        """
        call = "score_slices"
        check_masks(call, S)
        golds = array_of(call, "golds", golds)
        of_preds, of_probs = (
            array_or_none(call, "preds", preds),
            array_or_none(call, "probs", probs),
        )
        as_dataframe = flag(call, "as_dataframe", as_dataframe)
        check_lengths(S=S, golds=golds, preds=of_preds, probs=of_probs)
        if len(golds) == 0:
            raise MetricError("there are no labels to score: golds is empty")
        slices = slices_of(S)
        arrays = Arrays(golds, of_preds, of_probs, None, self.abstain_label)
        self._warn_of_a_class(arrays)
        values = values_of(self._ours, arrays, slices)
        scores = {"overall": self._named(values, 0, "overall", golds, of_preds, of_probs)}
        _warn(values, 0)
        own = len(self._ours) < len(self.metrics)
        for i, name in enumerate(S.dtype.names or ()):
            if not slices.rows[i]:
                scores[name] = dict.fromkeys(scores["overall"], float("nan"))
                continue
            _warn(values, 1 + i)
            at = codes_of(name, S[name]) == 1 if own else slice(0)  # which nobody looks at
            own_rows = (None if a is None else a[at] for a in (golds, of_preds, of_probs))
            scores[name] = self._named(values, 1 + i, name, *own_rows)
        return pd.DataFrame(scores).transpose() if as_dataframe else scores

    @property
    def _ours(self) -> list[MetricSpec]:
        return [m for m in self.metrics.values() if isinstance(m, MetricSpec)]

    def _warn_of_a_class(self, of: Arrays) -> None:
        """Warn where -1 looks like a class, as in labels of -1 and 1: its rows are left out."""
        classified = any(m.needs == "pred" for m in self._ours)
        if not classified or of.abstain != ABSTAIN or of.predicted is None or of.mask.all():
            return
        both = (of.labels, of.predicted)
        if all(np.isin(v, (ABSTAIN, 1)).all() and (v == ABSTAIN).any() for v in both):
            text = (
                "golds and preds are -1 and 1 alone, and rows of -1 are left out as abstentions; "
                "give abstain_label=None if -1 is a class"
            )
            warnings.warn(text, UserWarning, stacklevel=3)

    def _named(
        self,
        values: Mapping[MetricSpec, Values],
        at: int,
        slice_name: str,
        *arrays: np.ndarray | None,
    ) -> dict[str, float]:
        """Return a slice's scores by name, with those of custom metrics."""
        scores: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if isinstance(metric, MetricSpec):
                scores[name] = float(values[metric].value[at])
            else:
                scores |= _of_function(name, metric, slice_name, arrays)
        return scores


def _of_function(
    name: str,
    function: Callable[..., Any],
    slice_name: str,
    arrays: Sequence[np.ndarray | None],
) -> dict[str, float]:
    """Return what a custom metric says; NaN, and a warning, where it fails."""
    try:
        # Of its own, for it may sort them.
        result = function(*(None if a is None else a.copy() for a in arrays))
        named = result if isinstance(result, dict) else {name: result}
        return {str(each): figure_of(value) for each, value in named.items()}
    except RAISED as error:
        text = f"metric {name!r} failed on slice {slice_name!r} and is NaN there: {problem(error)}"
        warnings.warn(text, UserWarning, stacklevel=4)
        return {name: math.nan}


def _check_names(metrics: Any) -> None:
    """Say where a metric of the user's own goes that stands among names."""
    for one in metrics if isinstance(metrics, list | tuple) else ():
        if callable(one):
            name = getattr(one, "name", getattr(one, "__name__", "name"))
            hint = f"; write custom_metric_funcs={{{name!r}: {name}}}"
            raise ArgumentError("Scorer", "each of metrics", "a metric's name", one, hint)


def check_masks(call: str, masks: Any) -> None:
    """Check that masks are a record array, as appliers give it.

    Raises
    ------
    ArgumentError
        If they are anything else.

    Examples
    --------
    >>> check_masks("score_slices", pd.DataFrame({"short": [1, 0]}))
    Traceback (most recent call last):
    engine.errors.ArgumentError: score_slices: S must be a record array with a field per slice, \
as PandasSFApplier.apply gives it, found a pandas DataFrame; write \
S.astype("int64").to_records(index=False)
    """
    if isinstance(masks, np.ndarray) and masks.dtype.names is not None and masks.ndim == 1:
        for name in masks.dtype.names:
            if name == OVERALL:
                raise ArgumentError(call, "each field of S", "a slice other than all rows", name)
            if shape := masks.dtype[name].shape:
                field = f"field {name!r} of S"
                raise ArgumentError(call, field, "a value per row", np.empty(shape))
        return
    hint = (
        '; write S.astype("int64").to_records(index=False)'
        if isinstance(masks, pd.DataFrame)
        else ""
    )
    wanted = "a record array with a field per slice, as PandasSFApplier.apply gives it"
    raise ArgumentError(call, "S", wanted, masks, hint)


def _warn(values: Mapping[MetricSpec, Values], at: int) -> None:
    for metric, (value, status) in values.items():
        if status[at] == UNDEFINED:
            text = f"{metric} is 0/0 here and given as {value[at]:g}"
            warnings.warn(text, UserWarning, stacklevel=3)


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
    num_classes = whole("preds_to_probs", "num_classes", num_classes, 1)
    flat = integers(array_of("preds_to_probs", "preds", preds), "preds")
    _check_size("preds_to_probs", "num_classes", num_classes)
    outside = flat[(flat < 0) | (flat >= num_classes)]
    if len(outside):
        raise MetricError(
            f"preds: {outside[0]} is not a class position from 0 to {num_classes - 1}"
        )
    probs: np.ndarray = np.eye(num_classes)[flat]
    return probs


def _check_size(call: str, argument: str, classes: int) -> None:
    if classes > MOST_CLASSES:
        raise ArgumentError(call, argument, f"at most {MOST_CLASSES:,}", classes)


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
    array = array_of("probs_to_preds", "probs", probs)
    if array.dtype.kind not in "biuf":
        raise ArgumentError("probs_to_preds", "probs", "an array of probabilities", probs)
    probs, tol = array, number("probs_to_preds", "tol", tol, 0)
    if probs.ndim != 2 or probs.shape[1] < 2:  # noqa: PLR2004
        raise wrong_shape(probs.shape)
    tie_break_policy = choice(
        "probs_to_preds", "tie_break_policy", tie_break_policy, list(_TIE_BREAKERS)
    )
    unknown = np.flatnonzero(np.isnan(probs).any(axis=1))
    if len(unknown):
        raise MetricError(f"probs: row {unknown[0]} is not a number")
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
