"""Metrics of arrays on the driver, of all slices at once.

What one task of a scan does with its rows is done with all rows here: the same kernel adds up, and
the same formulas make figures. Only rankings are of the scores themselves and not of bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from engine.errors import ArgumentError, MetricError
from engine.masks.frames import are_codes, codes_of
from engine.metrics.catalog import MetricSpec, not_binary
from engine.metrics.formulas.exact import LARGEST
from engine.metrics.formulas.families import addends_of, compute
from engine.metrics.formulas.outputs import MISSING, Classes, Outputs, least_of
from engine.metrics.formulas.ranking import RANKINGS, histogram_of
from engine.metrics.formulas.states import OK, State, Values
from engine.metrics.scan.kernel import Added, Masks, Work, add, state_of
from engine.words import WORD, packed, set_bits

ABSTAIN = -1
SLACK = 1e-6  # a probability computed in 32 bits may be that much over 1
_CHUNK = 2**16  # rows that are added up at a time, so that they stay in the processor's cache
_MOST_SUMS = 2**24  # of more sums, as of very many classes, slices are added up one by one
_TWO = 2
_MOST = np.float64(2**63)  # a label is below
_NUMBERS = (int, float, Decimal, np.integer, np.floating, np.bool_)


@dataclass(frozen=True)
class Slices:
    """Which slices rows are in.

    Attributes
    ----------
    words
        ``[W, n]`` uint64.
    count
        How many slices there are.
    """

    words: np.ndarray
    count: int = 0

    @cached_property
    def rows(self) -> np.ndarray:
        """How many rows each slice has, ``[S]``."""
        return set_bits(self.words)[: self.count]

    def members(self, i: int) -> np.ndarray:
        """Return the positions of a slice's rows."""
        return np.flatnonzero(self.words[i // WORD] >> np.uint64(i % WORD) & np.uint64(1))


def no_slices(n: int) -> Slices:
    """Return no slices of n rows."""
    return Slices(np.zeros((0, n), np.uint64))


def slices_of(S: np.recarray) -> Slices:  # noqa: N803 - the slice matrix, as everywhere
    """Return the slices of a record array; a row is in one where its field is 1.

    Raises
    ------
    MaskError
        If a field holds what is neither 1, 0, -1 nor null.

    Examples
    --------
    >>> slices_of(np.rec.fromarrays([[1, 0, -1], [1, 1, 0]], names="a,b")).rows.tolist()
    [1, 2]
    """
    names = S.dtype.names or ()
    if not names:
        return no_slices(len(S))
    blocks = [packed(one) for one in _blocks(np.asarray(S), names)]
    words = np.concatenate(blocks) if blocks else np.zeros((0, 1), np.int64)
    return Slices(np.ascontiguousarray(words.T).view(np.uint64), len(names))


def _blocks(S: np.ndarray, names: Sequence[str]) -> Iterator[np.ndarray]:  # noqa: N803
    first = S.dtype[0]
    alike = all(S.dtype[name] == first for name in names) and not first.hasobject
    dense = alike and S.dtype.itemsize == first.itemsize * len(names) and S.flags.c_contiguous
    step = _CHUNK // 32  # they are looked at more than once
    for start in range(0, len(S), step):
        block = S[start : start + step]
        if dense and are_codes(values := block.view(first).reshape(len(block), len(names))):
            yield values == 1
        else:
            yield np.stack([codes_of(name, block[name], start) == 1 for name in names], axis=1)


@dataclass(frozen=True)
class Arrays:
    """Labels and a model's outputs as they are given.

    Attributes
    ----------
    golds, preds, probs, weights
        The arrays; None where not given.
    abstain
        Rows with this label or prediction are left out; None keeps all.
    """

    golds: np.ndarray
    preds: np.ndarray | None = None
    probs: np.ndarray | None = None
    weights: np.ndarray | None = None
    abstain: int | None = ABSTAIN

    def __post_init__(self) -> None:
        check_lengths(golds=self.golds, preds=self.preds, probs=self.probs, weights=self.weights)

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels, ``[n]`` int64."""
        return integers(self.golds, "golds")

    @cached_property
    def predicted(self) -> np.ndarray | None:
        """The predictions, ``[n]`` int64."""
        return None if self.preds is None else integers(self.preds, "preds")

    @cached_property
    def mask(self) -> np.ndarray:
        """Which rows are not left out, ``[n]``."""
        mask = np.ones(len(self.labels), bool)
        for values in (self.labels, self.predicted):
            if values is not None and self.abstain is not None:
                mask &= values != self.abstain
        return mask

    def probable(self, metric: MetricSpec) -> np.ndarray:
        """Return the probabilities that a metric needs.

        Raises
        ------
        MetricError
            If there are none, or one is out of [0, 1] on a row that is kept.
        """
        probs = np.asarray(_needed(metric, "probs", self.probs))
        if probs.dtype.kind not in "biuf":
            _typed(probs.ravel(), "probs", "not a number")
            probs = probs.astype(np.float64)
        outside = ((probs < -SLACK) | (probs > 1 + SLACK)).reshape(len(probs), -1)
        rows = np.flatnonzero(outside.any(axis=1) & self.mask)
        if len(rows):
            value = probs[rows[0]].ravel()[outside[rows[0]].argmax()]
            example = f"{value:g} at row {rows[0]}"
            raise MetricError(f"probs: {example} is not a probability from 0 to 1")
        return probs

    @cached_property
    def weight(self) -> np.ndarray | None:
        """The weights, ``[n]`` float64."""
        if self.weights is None:
            return None
        weight = _numbers(self.weights, "weights")
        _check_numbers("weights", ~np.isfinite(weight))
        below = np.flatnonzero(weight < 0)
        if len(below):
            at = below[0]
            raise MetricError(f"weights: {weight[at]:g} at row {at} is not at least 0")
        return weight


def values_of(
    metrics: Sequence[MetricSpec], of: Arrays, slices: Slices
) -> Mapping[MetricSpec, Values]:
    """Compute metrics of all rows, then of each slice: ``[1 + S]`` values each.

    Parameters
    ----------
    metrics
        The metrics.
    of, slices
        The rows.

    Raises
    ------
    MetricError
        If a metric's input isn't given.
        If a metric has a positive class and there are more than two.
        If a label or prediction is no integer, or a probability or weight no number.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> of, f1 = Arrays(np.array([1, 0, 1]), np.array([1, 1, 0])), parse_metric("f1")
    >>> slices = slices_of(np.rec.fromarrays([[1, 1, 0], [0, 0, 0]], names="a,b"))
    >>> values_of([f1], of, slices)[f1].value.round(3).tolist()
    [0.5, 0.667, nan]
    """
    sources: dict[tuple[str, float | None], list[MetricSpec]] = {}
    for metric in metrics:
        sources.setdefault(_source(metric), []).append(metric)
    values: dict[MetricSpec, Values] = {}
    for (source, threshold), some in sources.items():
        if source == "scores":
            values |= _ranked(some, of, slices)
            continue
        outputs = _outputs(source, threshold, some, of)
        added = _added([_plain(m) for m in some], outputs, of.weight, slices)
        values |= dict(zip(some, added, strict=True))
    return values


def _source(metric: MetricSpec) -> tuple[str, float | None]:
    threshold = metric.parameter("threshold")
    if threshold is not None:
        return "pred", threshold
    own = metric.family in ("scores", "predictions")
    return (metric.family if own else metric.needs), None


def _plain(metric: MetricSpec) -> MetricSpec:
    """Return a metric without its threshold, whose predictions it is computed from."""
    return replace(metric, parameters=tuple(p for p in metric.parameters if p[0] != "threshold"))


def _outputs(
    source: str, threshold: float | None, metrics: Sequence[MetricSpec], of: Arrays
) -> Outputs:
    """Return rows as metrics need them; they count where there is a label."""
    n = len(of.golds)
    match source:
        case "pred":
            return _classified(metrics, of, threshold)
        case "prob":
            return _probable(metrics, of)
        case "predictions":
            has_pred = np.asarray(_needed(metrics[0], "preds", of.predicted) != ABSTAIN)
            return Outputs(Classes(), of.labels, np.where(has_pred, 0, MISSING))
        case "numbers":
            none = np.full(n, MISSING)
            preds = _needed(metrics[0], "preds", of.preds)
            target, predicted = _numbers(of.golds, "golds"), _numbers(preds, "preds")
            return Outputs(Classes(), none, none, None, target, predicted)
        case "column":
            raise MetricError(
                f"metric {str(metrics[0])!r} needs a table's column, which was not given"
            )
        case _:
            return Outputs(Classes(), np.zeros(n), np.zeros(n))


def _classified(metrics: Sequence[MetricSpec], of: Arrays, threshold: float | None) -> Outputs:
    """Return class positions among the values that occur, and 1."""
    labels, predicted, mask = of.labels, of.predicted, of.mask
    if threshold is not None:
        probs = of.probable(metrics[0])
        if not _has_columns(probs, _TWO):
            raise not_binary(str(metrics[0]), "a threshold needs two columns of probs")
        _check_numbers("probs", np.isnan(probs[:, 1]) & mask)
        predicted = (probs[:, 1].astype(np.float64) >= threshold).astype(np.int64)
    predicted = _needed(metrics[0], "preds", predicted)
    both = (labels, predicted) if mask.all() else (labels[mask], predicted[mask])
    occurring = np.union1d(*map(np.unique, both))
    # As scikit-learn has it: two labels, of which 1 is the positive one, or a single one.
    binary = len(occurring) <= 1 or (len(occurring) == _TWO and 1 in occurring)
    for metric in metrics:
        if metric.name == "f1" and not (binary and both[0].max(initial=0) <= 1):
            raise not_binary(str(metric), "try f1_micro or f1_macro")
        if metric.kind.binary and not binary:
            raise not_binary(str(metric), "it needs labels 0 and 1")
    values = np.union1d(occurring, [1])
    label, pred = (np.where(mask, np.searchsorted(values, v), MISSING) for v in (labels, predicted))
    return Outputs(Classes(tuple(values.tolist()), int(np.searchsorted(values, 1))), label, pred)


def _probable(metrics: Sequence[MetricSpec], of: Arrays) -> Outputs:
    """Return labels as positions among the columns of probabilities."""
    labels, _, mask = of.labels, of.predicted, of.mask
    probs = of.probable(metrics[0])
    for metric in metrics:
        if metric.family == "top" and not _has_columns(probs, _TWO):
            raise not_binary(str(metric), "a share needs two columns of probs")
    if probs.ndim != _TWO or probs.shape[1] < _TWO:
        raise wrong_shape(probs.shape)
    last = probs.shape[1] - 1
    outside = labels[mask & ((labels < 0) | (labels > last))]
    if len(outside):
        raise MetricError(f"golds: {outside[0]} is not a class position from 0 to {last}")
    _check_numbers("probs", np.isnan(probs).any(axis=1) & mask)
    label = np.where(mask, labels, MISSING)
    classes = Classes(tuple(range(last + 1)), 1)
    return Outputs(classes, label, label, probs.astype(np.float64), least=least_of(probs))


def wrong_shape(shape: Sequence[int]) -> MetricError:
    """Return the error of probabilities of a wrong shape."""
    return MetricError(
        f"probs must have one row per data point and at least 2 columns, found {tuple(shape)}"
    )


def _has_columns(probs: np.ndarray, n: int) -> bool:
    return probs.ndim == _TWO and probs.shape[1] == n


def _added(
    metrics: Sequence[MetricSpec], outputs: Outputs, weight: np.ndarray | None, slices: Slices
) -> list[Values]:
    classes = outputs.classes
    work = Work(*addends_of(metrics, classes), weight is not None)
    if max(count.cells for count in work.counts) * (1 + slices.count) <= _MOST_SUMS:
        state = _state(work, outputs, weight, slices)
        return [compute(m, state, classes, state.at(0)) for m in metrics]
    whole = _state(work, outputs, weight, no_slices(len(outputs.label)))

    def each() -> Iterator[State]:
        yield whole
        for i in range(slices.count):
            rows = slices.members(i)
            own = None if weight is None else weight[rows]
            yield _state(work, outputs.take(rows), own, no_slices(len(rows)))

    figures = [[compute(m, one, classes, whole.at(0)) for m in metrics] for one in each()]
    return [
        Values(*map(np.concatenate, zip(*of, strict=True))) for of in zip(*figures, strict=True)
    ]


def _state(work: Work, outputs: Outputs, weight: np.ndarray | None, slices: Slices) -> State:
    added = Added()
    for start in range(0, len(outputs.label), _CHUNK):
        part = slice(start, start + _CHUNK)
        own = None if weight is None else weight[part]
        add(added, work, Masks(slices.words[:, part]), outputs.take(part), own)
    return state_of(added, work, slices.count)


def _ranked(metrics: Sequence[MetricSpec], of: Arrays, slices: Slices) -> dict[MetricSpec, Values]:
    """Compute rankings of the scores themselves."""
    labels, _, mask = of.labels, of.predicted, of.mask
    probs = of.probable(metrics[0])
    occurring = np.unique(labels[mask])
    if not _has_columns(probs, _TWO) or len(occurring) > _TWO:
        raise not_binary(str(metrics[0]), "it needs two labels and two columns of probs")
    _check_numbers("probs", np.isnan(probs).any(axis=1) & mask)
    positive = (labels == occurring.max(initial=-1)).astype(np.int64)
    _, rank = np.unique(probs[:, 1], return_inverse=True)
    value = np.empty((len(metrics), 1 + slices.count))
    for i in range(1 + slices.count):
        at = np.flatnonzero(mask) if i == 0 else slices.members(i - 1)
        at = at[mask[at]]
        weight = None if of.weight is None else of.weight[at]
        sides = histogram_of(positive[at], rank[at], weight)
        value[:, i] = [RANKINGS[m.name](*sides) for m in metrics]
    return {m: Values(v, np.full(len(v), OK)) for m, v in zip(metrics, value, strict=True)}


def array_or_none(call: str, name: str, value: Any) -> np.ndarray | None:
    """Return what was given as an array, as :func:`array_of` does; None stays none."""
    return None if value is None else array_of(call, name, value)


def array_of(call: str, name: str, value: Any) -> np.ndarray:
    """Return what was given as an array.

    Raises
    ------
    ArgumentError
        If it is no array, list or Series of values.

    Examples
    --------
    >>> array_of("score", "golds", [0, 1])
    array([0, 1])
    """
    listed = isinstance(value, np.ndarray | list | tuple) or hasattr(value, "__array__")
    frame = hasattr(value, "columns") and name != "probs"
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        hint = f"; write {name}.filled(...), or leave these rows out"
        raise ArgumentError(call, name, "an array without masked values", value, hint)
    if listed and not frame and not isinstance(value, np.generic):
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            array = np.zeros(())
        if array.ndim and array.dtype.names is None:
            return array
    raise ArgumentError(call, name, "an array with an entry per row", value)


def check_lengths(**arrays: np.ndarray | None) -> None:
    """Check that all arrays given have one entry per row.

    Raises
    ------
    MetricError
        If they don't; with the lengths.
    """
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise unequal_lengths(lengths)


def unequal_lengths(lengths: Mapping[str, int]) -> MetricError:
    """Return the error of arrays that differ in length."""
    each = ", ".join(f"{name} has {n}" for name, n in lengths.items())
    return MetricError(f"all must have one entry per row, but {each}")


def _check_numbers(name: str, bad: np.ndarray) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise MetricError(f"{name}: row {rows[0]} is not a number")


def _needed(metric: MetricSpec, name: str, array: np.ndarray | None) -> np.ndarray:
    if array is None:
        raise MetricError(f"metric {str(metric)!r} needs {name}, which was not given")
    return array


def _column(values: np.ndarray, name: str) -> np.ndarray:
    flat = np.asarray(values)
    flat = flat[:, 0] if flat.ndim == _TWO and flat.shape[1] == 1 else flat
    if flat.ndim != 1:
        raise MetricError(f"{name}: an array of shape {flat.shape} is not one label per row")
    return flat


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    flat = _column(values, name)
    if flat.dtype.kind not in "biuf":
        flat = _typed(flat, name, "not a number")
    numbers: np.ndarray = flat.astype(np.float64)
    large = numbers[np.abs(numbers) > LARGEST]
    if len(large):
        raise MetricError(f"{name}: {large[0]} is not a number of a size of at most {LARGEST:.0e}")
    return numbers


def _typed(flat: np.ndarray, name: str, wanted: str) -> np.ndarray:
    """Return objects that are all numbers as such.

    Raises
    ------
    MetricError
        With the first that is none.
    """
    odd = [i for i, v in enumerate(flat.tolist()) if not isinstance(v, _NUMBERS)]
    if odd or flat.dtype.kind != "O":
        at = odd[0] if odd else 0
        example = f"{flat.tolist()[at]!r} at row {at}" if len(flat) else str(flat.dtype)
        raise MetricError(f"{name}: {example} is {wanted}")
    return np.array([float(v) if isinstance(v, Decimal) else v for v in flat.tolist()])


def integers(values: np.ndarray, name: str) -> np.ndarray:
    """Return values ``[n]`` or ``[n, 1]`` as integers ``[n]``.

    Raises
    ------
    MetricError
        If they aren't integers; with the first that isn't.

    Examples
    --------
    >>> integers(np.array([[1.0], [0.0]]), "golds").tolist()
    [1, 0]
    """
    flat = _column(values, name)
    if flat.dtype.kind not in "biuf":
        flat = _typed(flat, name, "not an integer")
    if flat.dtype.kind == "f":
        off = np.flatnonzero((flat != np.floor(flat)) | np.isinf(flat))
        if len(off):
            raise MetricError(f"{name}: {flat[off[0]]:g} at row {off[0]} is not an integer")
    large = np.flatnonzero(np.abs(flat) >= _MOST) if flat.dtype.kind in "uf" else np.arange(0)
    if len(large):
        example = f"{flat[large[0]]:g} at row {large[0]}"
        raise MetricError(f"{name}: {example} is larger than a label can be")
    whole: np.ndarray = flat.astype(np.int64, copy=False)
    return whole
