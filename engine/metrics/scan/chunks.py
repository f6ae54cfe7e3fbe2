"""Chunks: the rows that a task of the scan takes at a time, as columns and words.

Spark sends them, or they are made of rows as Arrow has them, in memory or of a table's files, which
workers read: the twin of what :mod:`.joined` has Spark do, column for column. Types of which that
isn't sure are left to Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from engine.hashing import KeyHash
from engine.masks.reader import StoredWords, read_masks, words_in
from engine.metrics.classes import INTEGERS, Keys, keys_of
from engine.metrics.formulas.outputs import MISSING, UNKNOWN_CLASS
from engine.metrics.predictions import OURS
from engine.metrics.scan.form import EvaluationSpec, Form, code_of
from engine.metrics.scan.joined import MAX_NUMBER, MAX_WEIGHT, SLACK
from engine.storage.files import Files, batches, files_of

CHUNK = 2**17  # rows
NUMBERS = INTEGERS | {"float", "double"}
TEXTS = INTEGERS | {"boolean", "string"}  # Arrow shows these as text as Spark does
ARRAYS = frozenset({"array<float>", "array<double>"})
FOUND = "found"  # beside OURS: whether a row has a prediction
_TWO = 2  # classes, of which one probability is that of both


@dataclass(frozen=True)
class Chunk:
    """Some rows.

    Attributes
    ----------
    columns
        All but their masks.
    words
        ``[W, n]`` uint64: the slices that each row is in.
    undecided
        ``[k]``, ascending: the rows that some slice is undecided on.
    nulls
        ``[W, k]`` uint64: the slices that are undecided on these.
    """

    columns: pa.RecordBatch
    words: np.ndarray
    undecided: np.ndarray
    nulls: np.ndarray

    def numbers(self, name: str) -> np.ndarray:
        """Return a column's values."""
        values: np.ndarray = self.columns.column(name).to_numpy(zero_copy_only=False)
        return values

    def take(self, rows: np.ndarray) -> Chunk:
        """Return some of the rows, whose positions ascend."""
        there = np.isin(self.undecided, rows)
        return Chunk(
            self.columns.take(pa.array(rows)),
            np.take(self.words, rows, axis=1),
            np.searchsorted(rows, self.undecided[there]),
            self.nulls[:, there],
        )


def chunk_of(batch: pa.RecordBatch, words: int) -> Chunk:
    """Return a batch whose masks are in the columns ``word_0, …`` and ``nulls``.

    ``nulls`` is a list of as many words, or an empty one where no slice is undecided.

    Examples
    --------
    >>> batch = pa.record_batch({"id": [7, 8, 9], "word_0": [1, 3, 0], "nulls": [[], [], [4]]})
    >>> chunk = chunk_of(batch, 1)
    >>> chunk.words.tolist(), chunk.undecided.tolist(), chunk.nulls.tolist()
    ([[1, 3, 0]], [2], [[4]])
    >>> some = chunk.take(np.array([1, 2]))
    >>> some.numbers("id").tolist(), some.words.tolist(), some.undecided.tolist()
    ([8, 9], [[3, 0]], [1])
    """
    columns = [batch.column(f"word_{k}").to_numpy(zero_copy_only=False) for k in range(words)]
    lists = batch.column("nulls")
    undecided = np.flatnonzero(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    nulls = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, words).T
    return Chunk(
        batch,
        np.stack(columns).view(np.uint64),
        undecided,
        np.ascontiguousarray(nulls).view(np.uint64),
    )


def chunks(batches: Iterable[pa.RecordBatch], words: int, rows: int = CHUNK) -> Iterator[Chunk]:
    """Join batches until they have about so many rows: numpy's calls cost the same for more.

    Examples
    --------
    >>> one = pa.record_batch({"word_0": [1, 2], "nulls": [[5], []]})
    >>> [c.words.shape for c in chunks([one] * 5, 1, 4)]
    [(1, 4), (1, 4), (1, 2)]
    """
    waiting: list[pa.RecordBatch] = []
    for batch in chain(batches, [None]):  # the last are yielded, however few
        if batch is not None and batch.num_rows:
            waiting.append(batch)
        if waiting and (batch is None or sum(b.num_rows for b in waiting) >= rows):
            # As several chunks where a column of texts would be too long for one.
            for whole in pa.Table.from_batches(waiting).combine_chunks().to_batches():
                yield chunk_of(whole, words)
            waiting = []


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
        hashes = hashed.of([batch.column(c) for c in hashed.columns])
        columns["hash"] = pa.array(hashes.view(np.int64))
    for i, at in enumerate(places.models):
        columns |= dict(model_columns(batch, form, at, i))
    for j, name in enumerate(spec.columns):
        kind, _, column = name.partition(":")
        value = batch.column(column)
        columns[f"column_{j}"] = (
            pa.array(np.where(value.is_null(), np.nan, 0.0))
            if kind == "null"
            else pa.array(doubles(value))
        )
    words = words_in(batch, places.masks)
    if not columns:  # a batch without columns has no rows
        columns["row"] = pa.nulls(batch.num_rows, pa.int8())
    return Chunk(pa.record_batch(columns), *words)


def model_columns(
    batch: pa.RecordBatch, form: Form, at: Mapping[str, str], i: int
) -> Iterator[tuple[str, pa.Array]]:
    """Yield what tasks take of the i-th model's predictions, by name."""
    yield from ((f"{name}_{i}", of) for name, of in _of_model(batch, form, at))


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
    has_prediction = batch.column(at[FOUND]) if FOUND in at else ~none
    flags = {"found": np.asarray(has_prediction, bool), "bad_prob": none, "bad_number": none}
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
    of_class, position = np.array(sorted(numbers, key=itemgetter(0)) or [(np.nan, UNKNOWN_CLASS)]).T
    at = np.minimum(np.searchsorted(of_class, values), len(of_class) - 1)
    return np.where(of_class[at] == values, position[at].astype(np.int64), UNKNOWN_CLASS)


def _probabilities(column: pa.Array, n: int, positive: int) -> tuple[pa.Array, np.ndarray]:
    """Return probabilities as tasks take them, and which rows' can't be.

    Of two classes they are the positive one's, else a list of all classes'.
    """
    lists = pa.types.is_list(column.type)
    narrow = pa.types.is_float32(column.type.value_type if lists else column.type)
    kind = pa.float32() if narrow else pa.float64()
    if not lists:
        high = doubles(column)
        low = 1 - high
        prob = pa.array(high if positive == 1 else low).cast(kind)
        return prob, _outside(high) | _outside(low)
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
    places
        Which columns hold what tasks take.
    rows
        How many rows are read at a time.
    """

    files: Files
    form: Form
    places: Places
    rows: int

    def chunks(self, tasks: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
        """Yield what tasks take, of rows that are tasks' numbers."""
        for numbers in tasks:
            for task in numbers.column(0).to_pylist():
                for batch in batches(self.files, task, self.rows):
                    yield chunk_in(batch, self.form, self.places)


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
    if own.columns.get("model_id", "model_id") in kinds or not means_the_same(at, kinds, spec):
        return None
    key = hashed.columns if hashed is not None and form.replicates else ()
    texts = [*key, *([spec.split] if spec.split is not None else [])]
    means = [c.partition(":")[2] for c in spec.columns if c.startswith("mean:")]
    wanted = [*((c, TEXTS) for c in texts), *((c, NUMBERS) for c in means)]
    if any(kinds.get(c) not in allowed for c, allowed in wanted):
        return None
    masks = read_masks(own.rows).stored_words(spec.slice_ids)
    if masks is None:
        return None
    others = (c.partition(":")[2] for c in spec.columns)
    files = files_of(own.rows, [*dict.fromkeys([*at.values(), *texts, *others, *masks.columns])])
    return None if files is None else Reader(files, form, Places(masks, (at,), hashed), rows)


def means_the_same(at: Mapping[str, str], kinds: Mapping[str, str], spec: EvaluationSpec) -> bool:
    """Tell whether predictions are of types that mean the same here and in SQL."""
    labels = NUMBERS if spec.needs("numbers") else TEXTS | NUMBERS
    if spec.classes and not all(isinstance(c, str) for c in spec.classes):
        labels = labels - {"string"}  # of which some read as numbers, as Spark has it
    allowed = {"weight": NUMBERS, "label": labels, "pred": labels}
    if spec.classes:
        allowed["prob"] = ARRAYS | NUMBERS if len(spec.classes) == _TWO else ARRAYS
    large = any(isinstance(c, int) and abs(c) >= 2**63 for c in spec.classes)
    return not large and all(kinds[at[ours]] in allowed[ours] for ours in allowed if ours in at)
