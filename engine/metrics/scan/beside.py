"""Masks and predictions joined by workers: each reads files, and rows travel as bytes of many.

Where files are in the order of the key a task reads a range of it of all tables, and no row
travels: :mod:`engine.storage.ranges`. Elsewhere a task shares the rows of its files out by the hash
of their key. What came together is ordered by it, masks and predictions each, and laid side by
side: so no row passes the JVM, and keys that are null or repeat are seen on the way. Keys that
aren't one integer are compared besides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession

from engine.hashing import KeyHash, row_hashes
from engine.masks.reader import read_masks
from engine.masks.splits import Split
from engine.metrics.classes import INTEGERS
from engine.metrics.formulas.outputs import MISSING
from engine.metrics.predictions import OURS, own_names
from engine.metrics.scan.chunks import (
    CHUNK,
    NUMBERS,
    TEXTS,
    Chunk,
    Places,
    chunk_in,
    chunk_of,
    means_the_same,
    model_columns,
)
from engine.metrics.scan.form import Form, code_of
from engine.plain import plain
from engine.storage.exchange import exchanged, part_of
from engine.storage.files import (
    Files,
    batches,
    files_of,
    rows_about,
    unread,
    unreadable,
)
from engine.storage.jvm import task_limits
from engine.storage.ranges import (
    UNORDERED,
    Cut,
    Keyed,
    Ranges,
    in_ranges,
    within,
)
from engine.workers import begin

KEY = "@key"  # the hash; key columns that are compared follow as @key_0, …
PART = 2**19  # rows that are joined at a time, about
_MOST_PARTS = 2**12
_MASKS = -1  # in place of a model's position
_EVERYWHERE: Cut = (None, None)
T = TypeVar("T")
log = logging.getLogger("engine")


@dataclass(frozen=True)
class ModelRows:
    """A model's predictions as they are stored.

    Attributes
    ----------
    rows
        The table's rows.
    columns
        Our names of columns to the table's own, where they differ.
    model_id
        The model whose rows are meant, where the table has several models'.
    """

    rows: DataFrame
    columns: Mapping[str, str]
    model_id: str


@dataclass(frozen=True)
class Beside:
    """Tables that are to be joined.

    Attributes
    ----------
    masks
        The mask table's rows.
    models
        Each model's predictions.
    key
        The columns that name a row.
    split, splits
        The split column, and the splits whose rows are meant; all where there are none.
    """

    masks: DataFrame
    models: tuple[ModelRows, ...]
    key: tuple[str, ...]
    split: str | None = None
    splits: tuple[Split, ...] = ()


@dataclass(frozen=True)
class ModelFiles:
    """A model's files.

    Attributes
    ----------
    files
        The files.
    places
        Our names to columns.
    key
        The key's columns.
    model
        The column that says which model a row is of, and which is meant; None without.
    """

    files: Files
    places: Mapping[str, str]
    key: tuple[str, ...]
    model: tuple[str, str] | None


@dataclass(frozen=True)
class JoinReader:
    """How tasks read and join their share of the tables.

    Attributes
    ----------
    masks, models
        The files.
    places
        Which of the mask table's columns hold what.
    form
        What is added up.
    key, split, splits
        The columns that name a row; the split column, and the splits that are meant.
    parts
        How many parts rows are shared out to.
    rows
        How many rows are joined at a time.
    ranges
        How the tables are read by ranges of the key; None where they aren't in its order.
    """

    masks: Files
    models: tuple[ModelFiles, ...]
    places: Places
    form: Form
    key: tuple[str, ...]
    split: str | None
    splits: tuple[Split, ...]
    parts: int
    rows: int
    ranges: Ranges | None = None

    @cached_property
    def tasks(self) -> list[tuple[int, int]]:
        """Of each task the table, as a model's position, and which of its tasks."""
        tables = [(_MASKS, self.masks), *((i, m.files) for i, m in enumerate(self.models))]
        return [(i, at) for i, files in tables for at in range(len(files.tasks))]

    @property
    def alone(self) -> bool:
        """Whether one task does it all."""
        return self.parts == 1

    def read(self, table: int, task: int, cut: Cut = _EVERYWHERE) -> Iterator[pa.RecordBatch]:
        """Yield what is joined of one task's files, of keys in a range."""
        of = self._masks_read if table == _MASKS else self._model_read
        yield from of(table, task, cut)

    def _masks_read(self, _: int, task: int, cut: Cut) -> Iterator[pa.RecordBatch]:
        for rows in batches(self.masks, task, self.rows):
            batch = self._of_splits(rows if self.ranges is None else within(rows, self.key[0], cut))
            if batch.num_rows:
                chunk = chunk_in(batch, self.form, self.places)
                columns = dict(zip(chunk.columns.schema.names, chunk.columns.columns, strict=True))
                words = {f"word_{k}": pa.array(w.view(np.int64)) for k, w in enumerate(chunk.words)}
                keys = self._keys([batch.column(c) for c in self.key])
                more = {"nulls": _lists(chunk), **self.of_masks(batch), **keys}
                yield pa.record_batch({**columns, **words, **more})

    def _of_splits(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.split is None or not self.splits:
            return batch
        texts = batch.column(self.split).cast(pa.string())
        return batch.filter(pc.is_in(texts, value_set=pa.array(self.splits, pa.string())))

    def _model_read(self, i: int, task: int, cut: Cut) -> Iterator[pa.RecordBatch]:
        model = self.models[i]
        for rows in batches(model.files, task, self.rows):
            batch = rows if self.ranges is None else within(rows, model.key[0], cut)
            if model.model is not None:
                column, value = model.model
                batch = batch.filter(pc.equal(batch.column(column).cast(pa.string()), value))
            keys = [batch.column(c) for c in model.key]
            valid = np.logical_and.reduce([np.asarray(c.is_valid()) for c in keys])
            if not valid.all():  # they are no row's
                batch = batch.filter(pa.array(valid))
                keys = [batch.column(c) for c in model.key]
            if batch.num_rows:
                columns = self.of_model(batch, i)
                yield pa.record_batch({**columns, **self._keys(keys)})

    def of_model(self, batch: pa.RecordBatch, i: int) -> dict[str, pa.Array]:
        """Return what tasks take of some of a model's predictions."""
        return dict(model_columns(batch, self.form, self.models[i].places, i))

    def of_masks(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """Return what tasks take of some mask rows, beside what the scan takes."""
        return {}

    def _keys(self, columns: Sequence[pa.Array]) -> dict[str, pa.Array]:
        if self.ranges is not None:
            return {KEY: columns[0].cast(pa.int64())}
        hashes, valid = row_hashes(columns)
        keys = {KEY: pa.array(hashes, mask=~valid)}
        if not self.exact:
            kinds = (pa.int64() if pa.types.is_integer(c.type) else c.type for c in columns)
            keys |= {f"{KEY}_{j}": c.cast(kind)
                     for j, (c, kind) in enumerate(zip(columns, kinds, strict=True))}  # fmt: skip
        return keys

    @cached_property
    def exact(self) -> bool:
        """Whether no two keys have one hash."""
        kinds = [self.masks.columns[c] for c in self.key]
        return len(kinds) == 1 and pa.types.is_integer(kinds[0])

    def chunks(self, spark: SparkSession) -> tuple[DataFrame, Chunks]:
        """Return rows for Spark's tasks, and what makes joined chunks of them."""
        here = 1 if self.alone else None if self.ranges is None else self.parts
        n, plainly, send = here or len(self.tasks), plain(), self.sent
        tasks = spark.range(0, n, 1, n)
        if here:
            return tasks, self.chunks_of_all if self.alone else self.chunks_of_ranges

        def share_out(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            begin(plainly)
            yield from send(batches)

        return exchanged(tasks.mapInArrow(share_out, _SCHEMA), self.parts), self.chunks_of_parts

    def sent(self, tasks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of tasks, shared out to parts, as bytes."""
        for numbers in tasks:
            for at in numbers.column(0).to_pylist():
                table, task = self.tasks[at]
                waiting: list[pa.RecordBatch] = []
                most = 2 * _rows_of_part(self.form)
                for batch in self.read(table, task):
                    waiting.append(batch)
                    if sum(b.num_rows for b in waiting) >= most:
                        yield from _shared_out(table, waiting, self.parts)
                        waiting = []
                yield from _shared_out(table, waiting, self.parts)

    def chunks_of_parts(self, sent: Iterable[pa.RecordBatch]) -> Iterator[Chunk | None]:
        """Yield what came together, joined; None for a key that is null or repeats."""
        parts: dict[int, dict[int, list[pa.RecordBatch]]] = {}
        for batch in sent:
            which = (column.to_pylist() for column in batch.columns[:2])
            for part, table, data in zip(*which, batch.column(2), strict=True):
                with pa.ipc.open_stream(data.as_buffer()) as stream:
                    parts.setdefault(part, {}).setdefault(table, []).extend(stream)
        while parts:
            _, tables = parts.popitem()
            yield from self._joined(tables)

    def chunks_of_all(self, tasks: Iterable[pa.RecordBatch]) -> Iterator[Chunk | None]:
        """Yield all tables' rows, joined by one task."""
        for numbers in tasks:
            for _ in numbers.column(0).to_pylist():
                tables: dict[int, list[pa.RecordBatch]] = {}
                for table, task in self.tasks:
                    tables.setdefault(table, []).extend(self.read(table, task))
                yield from self._joined(tables)

    def chunks_of_ranges(self, tasks: Iterable[pa.RecordBatch]) -> Iterator[Chunk | None]:
        """Yield the rows of ranges of the key, joined by the task that reads them."""
        assert self.ranges is not None
        for numbers in tasks:
            for at in numbers.column(0).to_pylist():
                for rows in self.ranges.rows(at, self._range_read, KEY):
                    yield from self._joined(dict(enumerate(rows, _MASKS)))

    def _range_read(self, i: int, task: int, cut: Cut) -> Iterator[pa.RecordBatch]:
        """Yield what is joined of a range; masks are its first table."""
        return self.read(_MASKS + i, task, cut)

    def _joined(self, tables: Mapping[int, list[pa.RecordBatch]]) -> Iterator[Chunk | None]:
        if not tables.get(_MASKS):  # predictions of no row
            return
        masks, keys, repeats = _ordered(tables[_MASKS])
        columns = dict(zip(masks.column_names, masks.columns, strict=True))
        for i in range(len(self.models)):
            if not tables.get(i):
                columns |= self._none(i, masks.num_rows)
                continue
            model, own, twice = _ordered(tables[i])
            repeats |= twice
            rows, there = _beside(keys, own, model)
            self._compare(masks, rows, there)
            columns |= {
                name: _filled(name, rows.column(name))
                for name in rows.column_names
                if not name.startswith(KEY)
            }
        if repeats or masks.column(KEY).null_count:
            yield None
        whole = pa.table({c: of for c, of in columns.items() if not c.startswith(KEY)})
        for batch in whole.combine_chunks().to_batches(max_chunksize=self.rows):
            yield chunk_of(batch, self.form.words)

    def _none(self, i: int, n: int) -> dict[str, pa.ChunkedArray]:
        """Return a model's columns of rows without a prediction."""
        kinds = self.models[i].files.columns
        empty = pa.record_batch({c: pa.nulls(0, kind) for c, kind in kinds.items()})
        return {
            name: _filled(name, pa.chunked_array([pa.nulls(n, of.type)]))
            for name, of in self.of_model(empty, i).items()
        }

    def _compare(self, masks: pa.Table, rows: pa.Table, there: np.ndarray) -> None:
        """Check that keys whose hashes are alike are alike."""
        if self.exact:
            return
        for j in range(len(self.key)):
            name = f"{KEY}_{j}"
            same = pc.equal(masks.column(name), rows.column(name)).fill_null(False)
            if not bool(np.asarray(same)[there].all()):
                raise unreadable("masks and predictions", "two keys hash alike")


def _shared_out(
    table: int, waiting: Sequence[pa.RecordBatch], parts: int
) -> Iterator[pa.RecordBatch]:
    """Yield rows as bytes, each with the part that they are in."""
    if not waiting:
        return
    rows = pa.Table.from_batches(waiting)
    hashes = rows.column(KEY).combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    part = part_of(hashes, parts)
    order = np.argsort(part, kind="stable")  # of few bits it is a radix sort
    ends = np.cumsum(np.bincount(part, minlength=parts))
    ordered, start = rows.take(pa.array(order)).combine_chunks(), 0
    for at, end in enumerate(ends):
        if end > start:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, ordered.schema) as stream:
                stream.write_table(ordered.slice(start, end - start))
            data = sink.getvalue()
            ends_of = pa.py_buffer(np.array([0, data.size], np.int32))
            whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends_of, data])
            which = [pa.array([of], pa.int32()) for of in (at, table)]
            yield pa.record_batch([*which, whole], ["block", "of", "bytes"])
        start = int(end)


_SCHEMA = "block int, of int, bytes binary"
Chunks = Callable[[Iterable[Any]], Iterator[Chunk | None]]


def _ordered(batches: Sequence[pa.RecordBatch]) -> tuple[pa.Table, np.ndarray, bool]:
    """Return rows in the order of their keys' hashes, these, and whether two are alike."""
    whole = pa.Table.from_batches(batches).combine_chunks()
    key = whole.column(KEY)
    hashes = key.fill_null(0).to_numpy()
    if bool((hashes[1:] > hashes[:-1]).all()):
        return whole, hashes, False
    order = np.argsort(hashes)
    ordered = hashes[order]
    return whole.take(pa.array(order)), ordered, bool((ordered[1:] == ordered[:-1]).any())


def _beside(keys: np.ndarray, own: np.ndarray, model: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Return a model's rows of some keys, null where there is none, and where there is one."""
    if len(own) == len(keys) and bool((own == keys).all()):
        return model, np.ones(len(keys), bool)
    at = np.minimum(np.searchsorted(own, keys), len(own) - 1)
    there = own[at] == keys
    return model.take(pa.array(at, mask=None if there.all() else ~there)), there


def _lists(chunk: Chunk) -> pa.ListArray:
    """Return the words that rows are undecided on, a list a row: of most rows an empty one."""
    lengths = np.zeros(chunk.columns.num_rows, np.int32)
    lengths[chunk.undecided] = len(chunk.nulls)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int32)]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, chunk.nulls.T.ravel().view(np.int64))


_NONE = code_of({}, {"label": np.array([MISSING]), "pred": np.array([MISSING])})[0]
_FILLS = {"code": int(_NONE), "weight": 1.0, "number_label": float("nan"),
          "number_pred": float("nan")}  # fmt: skip


def _filled(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a model's column with what rows without a prediction have."""
    fill = _FILLS.get(name.rpartition("_")[0])
    if not column.null_count or fill is None:
        return column
    return column.fill_null(pa.scalar(fill, column.type))


def _rows_of_part(form: Form) -> int:
    """Return how many rows are joined at a time: fewer where each has many probabilities."""
    return max(1, PART * form.rows_at_once(CHUNK) // CHUNK)


def joined_by_workers(
    beside: Beside,
    form: Form,
    hashed: KeyHash | None,
    rows: int,
    run: Callable[[JoinReader], T],
) -> T | None:
    """Do something with how tasks can read and join the tables; None where Spark has to read them.

    Parameters
    ----------
    beside
        The tables.
    form, hashed
        What is added up, and by which hash replicates are drawn.
    rows
        How many rows a task takes at a time.
    run
        What is done.
    """
    reader = join_reader(beside, form, hashed, rows)
    if reader is None:
        return None
    ranged = None if reader.alone else _by_ranges(reader, beside.masks.sparkSession)
    for one in filter(None, (ranged, reader)):
        try:
            return run(one)
        except PythonException as error:
            if UNORDERED in str(error):
                log.info("keys aren't in order all through: rows are exchanged")
            elif unread(error):
                break
            else:
                raise
    return None


def _by_ranges(reader: JoinReader, spark: SparkSession) -> JoinReader | None:
    """Return how tasks read ranges of the key; None where tables aren't in its order."""
    if not reader.exact:
        return None
    models = [Keyed(m.files, *m.key) for m in reader.models]
    slots, _ = task_limits(spark)
    ranges = in_ranges([Keyed(reader.masks, *reader.key), *models], slots)
    if ranges is None:
        return None
    masks, *files = ranges.tables
    of = tuple(replace(m, files=f) for m, f in zip(reader.models, files, strict=True))
    return replace(reader, masks=masks, models=of, parts=len(ranges.cuts), ranges=ranges)


def join_reader(beside: Beside, form: Form, hashed: KeyHash | None, rows: int) -> JoinReader | None:
    """Return how tasks can read and exchange the tables' rows; None where Spark has to."""
    masks = _masks_of(beside, form, hashed)
    if masks is None:
        return None
    models = [_model_of(beside, m, form) for m in beside.models]
    whole = tuple(m for m in models if m is not None)
    if len(whole) < len(models):
        return None
    files, places = masks
    every = max(rows_about(of) for of in (files, *(m.files for m in whole)))
    parts = min(_MOST_PARTS, max(1, -(-every // _rows_of_part(form))))
    return JoinReader(
        files, whole, places, form, beside.key, beside.split, beside.splits, parts, rows
    )


def _masks_of(beside: Beside, form: Form, hashed: KeyHash | None) -> tuple[Files, Places] | None:
    spec, kinds = form.spec, {f.name: f.dataType.simpleString() for f in beside.masks.schema}
    drawn = hashed.columns if hashed is not None and form.replicates else ()
    texts = [*drawn, *([spec.split] if spec.split is not None else [])]
    texts += [beside.split] if beside.split is not None and beside.splits else []
    means = [c.partition(":")[2] for c in spec.columns if c.startswith("mean:")]
    wanted = [*((c, TEXTS) for c in texts), *((c, NUMBERS) for c in means)]
    if any(kinds.get(c) not in allowed for c, allowed in wanted):
        return None
    stored = read_masks(beside.masks).stored_words(spec.slice_ids)
    if stored is None:
        return None
    others = (c.partition(":")[2] for c in spec.columns)
    columns = [*dict.fromkeys([*beside.key, *texts, *others, *stored.columns])]
    files = files_of(beside.masks, columns)
    return None if files is None else (files, Places(stored, (), hashed))


def _model_of(beside: Beside, model: ModelRows, form: Form) -> ModelFiles | None:
    kinds = {f.name: f.dataType.simpleString() for f in model.rows.schema}
    names = own_names(list(kinds), model.columns)
    at = {ours: names.get(ours, ours) for ours in OURS}
    key = tuple(names.get(c, c) for c in beside.key)
    which = names.get("model_id", "model_id")
    spelled = {kind.lower(): kind for kind in kinds}
    used = [*at.values(), *key, which]
    if any(spelled.get(c.lower(), c) != c for c in used) or len(spelled) < len(kinds):
        return None  # Spark takes it in any case
    at = {ours: column for ours, column in at.items() if column in kinds}
    of_masks = {f.name: f.dataType.simpleString() for f in beside.masks.schema}
    same = all(
        kinds.get(c) == of_masks[ours] or {kinds.get(c), of_masks[ours]} <= INTEGERS
        for ours, c in zip(beside.key, key, strict=True)
    )
    several = which in kinds
    if not same or not means_the_same(at, kinds, form.spec):
        return None
    if several and kinds[which] != "string":
        return None
    columns = [*dict.fromkeys([*key, *at.values(), *([which] if several else [])])]
    files = files_of(model.rows, columns)
    of = (which, model.model_id) if several else None
    return None if files is None else ModelFiles(files, at, key, of)
