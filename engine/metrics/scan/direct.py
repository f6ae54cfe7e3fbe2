"""What the scan reads, from a table's files: the twin of what it otherwise reads by Spark's SQL.

A worker reads the columns that hold masks, labels, predictions and the rest from Parquet, and makes
of them the chunk that Spark would have sent, column for column (:func:`.narrowed` and
:mod:`engine.metrics.scan.joined` have the SQL). Types of which that isn't sure are left to Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.masks.arrow import StoredWords, words_in
from engine.masks.reader import read_masks
from engine.metrics.classes import INTEGERS, Keys, keys_of
from engine.metrics.formulas.outputs import MISSING, UNKNOWN_CLASS
from engine.metrics.predictions import OURS
from engine.metrics.scan.chunks import Chunk
from engine.metrics.scan.code import code_of
from engine.metrics.scan.joined import MAX_NUMBER, MAX_WEIGHT, SLACK
from engine.storage.files import Files, batches, files_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.hashing import KeyHash
    from engine.metrics.scan.scan import EvaluationSpec, Form

_NUMBERS = INTEGERS | {"float", "double"}
_TEXTS = INTEGERS | {"boolean", "string"}  # Arrow shows these as text as Spark does
_ARRAYS = {"array<float>", "array<double>"}
_TWO = 2  # classes, of which one probability is that of both


@dataclass(frozen=True)
class Own:
    """A table that holds masks and one model's predictions.

    Attributes
    ----------
    rows
        Its rows.
    columns
        Our names of prediction columns to the table's own, where they differ.
    """

    rows: DataFrame
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Reader:
    """How a task reads its share of the files.

    Attributes
    ----------
    files
        The files.
    form
        What the scan adds up.
    held
        Where masks are.
    at
        Label, weight, pred and prob to where they are; what there is none of is left out.
    hashed
        Of what the rows' hashes are.
    rows
        How many rows are read at a time.
    """

    files: Files
    form: Form
    held: StoredWords
    at: Mapping[str, str]
    hashed: KeyHash | None
    rows: int

    def chunks(self, tasks: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
        """Yield what tasks take, of rows that are tasks' numbers."""
        for numbers in tasks:
            for task in numbers.column(0).to_pylist():
                yield from map(self.chunk, batches(self.files, task, self.rows))

    def chunk(self, batch: pa.RecordBatch) -> Chunk:
        """Return a batch of the table's rows as the scan's tasks take it."""
        spec, found = self.form.spec, {}
        if spec.split is not None:
            found["split"] = batch.column(spec.split).cast(pa.string())
        if self.form.replicates and self.hashed is not None:
            key = [batch.column(c) for c in self.hashed.columns]
            found["hash"] = pa.array(self.hashed.of(key).view(np.int64))
        found |= self._of_model(batch)
        for j, name in enumerate(spec.columns):
            kind, _, column = name.partition(":")
            value = batch.column(column)
            found[f"column_{j}"] = (
                pa.array(np.where(value.is_null(), np.nan, 0.0))
                if kind == "null"
                else pa.array(_doubles(value))
            )
        return Chunk(pa.record_batch(found), *words_in(batch, self.held))

    def _of_model(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """Return what tasks take of the predictions."""
        spec, n = self.form.spec, batch.num_rows
        missing = pa.nulls(n, pa.float64())
        given = {name: batch.column(self.at[name]) if name in self.at else missing for name in OURS}
        found: dict[str, pa.Array] = {}
        none = np.zeros(n, bool)
        flags = {"found": ~none, "bad_prob": none, "bad_number": none}
        weight = _doubles(given["weight"])
        known = ~np.isnan(weight)
        known[~known] = np.asarray(given["weight"].is_valid())[~known]
        with np.errstate(invalid="ignore"):
            bad = known & ~((weight >= 0) & (weight <= MAX_WEIGHT))
        flags["bad_weight"] = bad
        if spec.weighted:
            found["weight_0"] = pa.array(np.where(bad, 0.0, np.where(known, weight, 1.0)))
        if spec.classes:
            prob, bad = _probabilities(given["prob"], len(spec.classes), spec.positive)
            flags["bad_prob"] = bad
            if spec.needs("prob"):
                found["prob_0"] = prob
        numbers = spec.needs("numbers")
        positions = {n: _positions(given[n], spec.classes) for n in ("label", "pred")}
        for name in positions:
            if numbers:
                value, valid = _doubles(given[name]), np.asarray(given[name].is_valid())
                with np.errstate(invalid="ignore"):
                    bad = valid & ~(np.abs(value) <= MAX_NUMBER)
                flags["bad_number"] = flags["bad_number"] | bad
                found[f"number_{name}_0"] = pa.array(np.where(bad, np.nan, value))
        return {"code_0": pa.array(code_of(flags, positions)), **found}


def reader_of(own: Own, form: Form, hashed: KeyHash | None, rows: int) -> Reader | None:
    """Return how tasks can read the table's files; None where Spark has to.

    Parameters
    ----------
    own
        The table.
    form, hashed
        What is added up, and by which hash replicates are drawn.
    rows
        How many rows a task takes at a time.
    """
    spec, kinds = form.spec, {f.name: f.dataType.simpleString() for f in own.rows.schema}
    at = {ours: own.columns.get(ours, ours) for ours in OURS}
    spelled = {kind.lower(): kind for kind in kinds}
    if any(spelled.get(column.lower(), column) != column for column in at.values()):
        return None  # Spark takes it in any case
    at = {ours: column for ours, column in at.items() if column in kinds}
    if own.columns.get("model_id", "model_id") in kinds or not _held_well(at, kinds, spec):
        return None
    key = hashed.columns if hashed is not None and form.replicates else ()
    texts = [*key, *([spec.split] if spec.split is not None else [])]
    means = [c.partition(":")[2] for c in spec.columns if c.startswith("mean:")]
    if any(kinds.get(c) not in _TEXTS for c in texts):
        return None
    if any(kinds.get(c) not in _NUMBERS for c in means):
        return None
    masks = read_masks(own.rows).stored_words(spec.slice_ids)
    if masks is None:
        return None
    others = [c.partition(":")[2] for c in spec.columns]
    columns = list(dict.fromkeys([*at.values(), *texts, *others, *masks.columns]))
    files = files_of(own.rows, columns)
    return None if files is None else Reader(files, form, masks, at, hashed, rows)


def _held_well(at: Mapping[str, str], kinds: Mapping[str, str], spec: EvaluationSpec) -> bool:
    """Tell whether predictions are of types that mean the same here and in SQL."""
    if "weight" in at and kinds[at["weight"]] not in _NUMBERS:
        return False
    allowed = _TEXTS | _NUMBERS
    if spec.classes and not all(isinstance(c, str) for c in spec.classes):
        allowed = allowed - {"string"}  # of which some read as numbers, as Spark has it
    if spec.needs("numbers"):
        allowed = allowed & _NUMBERS
    if any(kinds[at[name]] not in allowed for name in ("label", "pred") if name in at):
        return False
    if any(isinstance(c, int) and abs(c) >= 2**63 for c in spec.classes):
        return False
    if not spec.classes or "prob" not in at:
        return True
    return kinds[at["prob"]] in (_NUMBERS | _ARRAYS if len(spec.classes) == _TWO else _ARRAYS)


def _doubles(column: pa.Array) -> np.ndarray:
    """Return numbers as float64, NaN for null."""
    found = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(found, np.float64)


def _positions(column: pa.Array, classes: Sequence[Any]) -> np.ndarray:
    """Return class positions, -1 for null, -2 for none of the classes; ``[n]`` int64."""
    valid = np.asarray(column.is_valid())
    if not classes:
        return np.where(valid, 0, MISSING)
    keys = keys_of(_kind(column.type), classes)
    if keys.type in ("FLOAT", "DOUBLE"):
        return np.where(valid, _among(_doubles(column), keys), MISSING)
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
    known = [(float(single(k)), i) for i, k in enumerate(keys.keys) if k is not None]
    held = np.array([k for k, _ in known] or [np.nan])
    position = np.array([i for _, i in known] or [UNKNOWN_CLASS])
    order = np.argsort(held, kind="stable")
    at = order[np.minimum(np.searchsorted(held[order], values), len(held) - 1)]
    return np.where(held[at] == values, position[at], UNKNOWN_CLASS)


def _probabilities(column: pa.Array, n: int, positive: int) -> tuple[pa.Array, np.ndarray]:
    """Return probabilities as tasks take them, and which rows' can't be.

    Of two classes they are the positive one's, else a list of all classes'.
    """
    narrow = pa.types.is_float32(
        column.type.value_type if pa.types.is_list(column.type) else column.type
    )
    kind = pa.float32() if narrow else pa.float64()
    if not pa.types.is_list(column.type):
        high = _doubles(column)
        low = 1 - high
        with np.errstate(invalid="ignore"):
            bad = _outside(high) | _outside(low)
        return pa.array(high if positive == 1 else low).cast(kind), bad
    column = column.cast(pa.list_(kind))
    valid = np.asarray(column.is_valid())
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    whole = np.flatnonzero(valid & (lengths == n))
    starts = column.offsets.to_numpy(zero_copy_only=False)[:-1]
    values = _doubles(column.values)
    each = values[starts[whole, None] + np.arange(n)]
    bad = valid & (lengths != n)
    bad[whole] = _outside(each).any(axis=1)
    if n != _TWO:
        return column, bad
    held = np.flatnonzero(valid & (lengths > positive))
    prob = np.full(len(column), np.nan)
    prob[held] = values[starts[held] + positive]
    return pa.array(prob).cast(kind), bad


def _outside(prob: np.ndarray) -> np.ndarray:
    """Tell which probabilities are out of [0, 1]; NaN isn't."""
    return np.asarray((prob < -SLACK) | (prob > 1 + SLACK))
