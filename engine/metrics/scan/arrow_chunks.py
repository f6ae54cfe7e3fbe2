"""Rows as Arrow has them, of a file or in memory, to the chunks that tasks of the scan take.

The twin of what :mod:`.by_sql` has Spark do, column for column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.hashing import KeyHash
from engine.masks.reader import StoredWords, words_in
from engine.metrics.classes import INTEGERS, Keys, keys_of
from engine.metrics.formulas.outputs import MISSING, UNKNOWN_CLASS
from engine.metrics.predictions import OURS
from engine.metrics.scan.chunks import Chunk
from engine.metrics.scan.code import code_of
from engine.metrics.scan.form import Form
from engine.metrics.scan.joined import MAX_NUMBER, MAX_WEIGHT, SLACK

NUMBERS = INTEGERS | {"float", "double"}
TEXTS = INTEGERS | {"boolean", "string"}  # Arrow shows these as text as Spark does
ARRAYS = {"array<float>", "array<double>"}
FOUND = "found"  # beside OURS: whether a row has a prediction
_TWO = 2  # classes, of which one probability is that of both


@dataclass(frozen=True)
class Places:
    """Which columns hold what a chunk has.

    Attributes
    ----------
    masks
        Where masks are.
    models
        Per model: label, weight, pred and prob to their columns, without what there is none of;
        and :data:`FOUND` where not every row has a prediction.
    hashed
        The columns and the seed of the rows' hashes; None without.
    """

    masks: StoredWords
    models: tuple[Mapping[str, str], ...]
    hashed: KeyHash | None


def chunk_in(batch: pa.RecordBatch, form: Form, places: Places) -> Chunk:
    """Return a batch of rows as the scan's tasks take it."""
    spec, hashed = form.spec, places.hashed
    columns: dict[str, pa.Array] = {}
    if spec.split is not None:
        columns["split"] = batch.column(spec.split).cast(pa.string())
    if form.replicates and hashed is not None:
        key = [batch.column(c) for c in hashed.columns]
        columns["hash"] = pa.array(hashed.of(key).view(np.int64))
    for i, at in enumerate(places.models):
        columns |= {f"{name}_{i}": of for name, of in _of_model(batch, form, at)}
    for j, name in enumerate(spec.columns):
        kind, _, column = name.partition(":")
        value = batch.column(column)
        columns[f"column_{j}"] = (
            pa.array(np.where(value.is_null(), np.nan, 0.0))
            if kind == "null"
            else pa.array(doubles(value))
        )
    return Chunk(pa.record_batch(columns), *words_in(batch, places.masks))


def _of_model(
    batch: pa.RecordBatch, form: Form, at: Mapping[str, str]
) -> Iterator[tuple[str, pa.Array]]:
    """Yield what tasks take of one model's predictions."""
    spec, n = form.spec, batch.num_rows
    kinds = {"prob": pa.list_(pa.float64())}
    of = {
        name: batch.column(at[name]) if name in at else pa.nulls(n, kinds.get(name, pa.float64()))
        for name in OURS
    }
    none = np.zeros(n, bool)
    predicted = _flags(batch.column(at[FOUND])) if FOUND in at else ~none
    flags = {"found": predicted, "bad_prob": none, "bad_number": none}
    flags["bad_weight"], weight = _weights(of["weight"])
    if spec.weighted:
        yield "weight", pa.array(weight)
    if spec.classes:
        prob, flags["bad_prob"] = _probabilities(of["prob"], len(spec.classes), spec.positive)
        if spec.needs("prob"):
            yield "prob", prob
    if spec.needs("numbers"):
        for name in ("label", "pred"):
            bad = wrong_numbers(of[name])
            flags["bad_number"] = flags["bad_number"] | bad
            yield f"number_{name}", pa.array(np.where(bad, np.nan, doubles(of[name])))
    positions = {name: positions_of(of[name], spec.classes) for name in ("label", "pred")}
    yield "code", pa.array(code_of(flags, positions))


def wrong_numbers(column: pa.Array) -> np.ndarray:
    """Tell which labels or predictions are there but are no number that can be summed."""
    with np.errstate(invalid="ignore"):
        summed = np.abs(doubles(column)) <= MAX_NUMBER
    return np.asarray(np.asarray(column.is_valid()) & ~summed)


def _flags(column: pa.Array) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool)


def _weights(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return which weights can't be, and all of them: 0 for these, 1 for null."""
    weight = doubles(column)
    known = ~np.isnan(weight)
    known[~known] = np.asarray(column.is_valid())[~known]
    with np.errstate(invalid="ignore"):
        bad = known & ~((weight >= 0) & (weight <= MAX_WEIGHT))
    return bad, np.where(bad, 0.0, np.where(known, weight, 1.0))


def doubles(column: pa.Array) -> np.ndarray:
    """Return numbers as float64, NaN for null."""
    numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, np.float64)


def positions_of(column: pa.Array, classes: Sequence[Any]) -> np.ndarray:
    """Return class positions, -1 for null, -2 for none of the classes; ``[n]`` int64."""
    valid = np.asarray(column.is_valid())
    if not classes:
        return np.where(valid, 0, MISSING)
    keys = keys_of(_kind(column.type), classes)
    if keys.type in ("FLOAT", "DOUBLE"):
        return np.where(valid, _among(doubles(column), keys), MISSING)
    kind = pa.string() if keys.type == "STRING" else pa.int64()
    among = pc.index_in(column.cast(kind), value_set=pa.array(keys.keys, kind))
    at = pc.fill_null(among, UNKNOWN_CLASS).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(valid, at, MISSING)


def _kind(kind: pa.DataType) -> str:
    """Return an Arrow type as Spark writes it, as far as classes tell types apart."""
    if pa.types.is_integer(kind):
        return "bigint"
    names = {pa.bool_(): "boolean", pa.float32(): "float", pa.float64(): "double"}
    return names.get(kind, "string")


def _among(values: np.ndarray, keys: Keys) -> np.ndarray:
    """Return which key each number is; -0.0 is 0."""
    single = np.float32 if keys.type == "FLOAT" else np.float64
    numbers = [(float(single(k)), i) for i, k in enumerate(keys.keys) if k is not None]
    of_class = np.array([k for k, _ in numbers] or [np.nan])
    position = np.array([i for _, i in numbers] or [UNKNOWN_CLASS])
    order = np.argsort(of_class, kind="stable")
    at = order[np.minimum(np.searchsorted(of_class[order], values), len(of_class) - 1)]
    return np.where(of_class[at] == values, position[at], UNKNOWN_CLASS)


def _probabilities(column: pa.Array, n: int, positive: int) -> tuple[pa.Array, np.ndarray]:
    """Return probabilities as tasks take them, and which rows' can't be.

    Of two classes they are the positive one's, else a list of all classes'.
    """
    narrow = pa.types.is_float32(
        column.type.value_type if pa.types.is_list(column.type) else column.type
    )
    kind = pa.float32() if narrow else pa.float64()
    if not pa.types.is_list(column.type):
        high = doubles(column)
        low = 1 - high
        with np.errstate(invalid="ignore"):
            bad = _outside(high) | _outside(low)
        return pa.array(high if positive == 1 else low).cast(kind), bad
    column = column.cast(pa.list_(kind))
    valid = np.asarray(column.is_valid())
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    whole = np.flatnonzero(valid & (lengths == n))
    starts = column.offsets.to_numpy(zero_copy_only=False)[:-1]
    values = doubles(column.values)
    each = values[starts[whole, None] + np.arange(n)]
    bad = valid & (lengths != n)
    bad[whole] = _outside(each).any(axis=1)
    if n != _TWO:
        return column, bad
    there = np.flatnonzero(valid & (lengths > positive))
    prob = np.full(len(column), np.nan)
    prob[there] = values[starts[there] + positive]
    return pa.array(prob).cast(kind), bad


def _outside(prob: np.ndarray) -> np.ndarray:
    """Tell which probabilities are out of [0, 1]; NaN isn't."""
    return np.asarray((prob < -SLACK) | (prob > 1 + SLACK))
