"""Rows that workers read from a table's files, labelled where they were read.

What comes out is what :meth:`Comparison.with_faults` gives over the same rows, but for columns that
nobody reads afterwards: so texts that Python alone reads never pass the JVM. Where the masks that
are there already are in the order of the same key, they are read beside the rows: so nothing is
joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import BooleanType, StringType, StructField, StructType

from engine.hashing import KeyHash
from engine.label.plan import MaskPlan
from engine.label.verify import PYTHON, SAMPLED, Comparison
from engine.masks.layout import Layout, TableForm
from engine.masks.layout import words_of as bits_set
from engine.plain import plain
from engine.run.udf import FAULT, FAULTS, fused_run, fused_type, sampled_run, sampled_type
from engine.storage.files import Files, batches, files_of, unreadable
from engine.storage.jvm import task_limits
from engine.storage.own_files import FILE, Form, OwnRows, Writer, as_row
from engine.storage.ranges import (
    Cut,
    Keyed,
    Ranges,
    in_key_order,
    in_ranges,
    within,
)
from engine.words import WORD
from engine.workers import begin

ROWS = 2**16  # that a worker labels at a time
# Keys whose hash, which decides the rows that are compared, is the same in Arrow as in Spark.
_HASHED = frozenset(("tinyint", "smallint", "int", "bigint", "boolean", "string"))


@dataclass(frozen=True)
class Stored:
    """A table of the same keys as the rows that are labelled.

    Attributes
    ----------
    df
        The table.
    names
        Those of its columns that come beside labelled rows, to their names there.
    """

    df: DataFrame
    names: Mapping[str, str]


Beside = Mapping[str, pa.Array]  # another table's columns, by name


@dataclass(frozen=True)
class _Alone:
    """Tasks that read the rows' files."""

    files: Files

    @property
    def n(self) -> int:
        """How many tasks there are."""
        return len(self.files.tasks)

    def rows(self, task: int) -> Iterator[tuple[pa.RecordBatch, Beside]]:
        """Yield a task's rows, and nothing beside them."""
        yield from ((batch, {}) for batch in batches(self.files, task, ROWS))


@dataclass(frozen=True)
class _Together:
    """Tasks that read ranges of the key, of the rows and of another table.

    Attributes
    ----------
    ranges
        How both are read.
    key
        The column of the key.
    names
        The other table's columns to their names beside rows.
    """

    ranges: Ranges
    key: str
    names: Mapping[str, str]

    @property
    def n(self) -> int:
        """How many tasks there are."""
        return len(self.ranges.cuts)

    def rows(self, task: int) -> Iterator[tuple[pa.RecordBatch, Beside]]:
        """Yield a task's rows, and columns of the other table beside them.

        Raises
        ------
        OSError
            If the other table has other keys.
        """
        for own, other in self.ranges.rows(task, self._read, self.key):
            if not np.array_equal(self._keys(own), self._keys(other)):
                raise unreadable("the masks beside rows", "their keys are others")
            there, first = pa.Table.from_batches(other), 0
            for batch in pa.Table.from_batches(own).combine_chunks().to_batches():
                part = there.slice(first, batch.num_rows).combine_chunks()
                first += batch.num_rows
                yield batch, {name: _one(part.column(c)) for c, name in self.names.items()}

    def _keys(self, rows: Sequence[pa.RecordBatch]) -> np.ndarray:
        keys = (batch.column(self.key).to_numpy(zero_copy_only=False) for batch in rows)
        return np.concatenate([np.empty(0, np.int64), *keys])

    def _read(self, i: int, n: int, cut: Cut) -> Iterator[pa.RecordBatch]:
        for batch in batches(self.ranges.tables[i], n, ROWS):
            yield within(batch, self.key, cut)


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


@dataclass(frozen=True)
class Into:
    """A mask table whose files workers write.

    Attributes
    ----------
    form
        How.
    schema
        The table's columns.
    table
        Which of them are what.
    own
        The slices that are computed; other masks come beside rows.
    old
        The names of columns beside rows, by their names in the table.
    """

    form: Form
    schema: StructType
    table: TableForm
    own: tuple[str, ...]
    old: Mapping[str, str]

    def rows(self, columns: Mapping[str, pa.Array], at: Mapping[str, int]) -> pa.RecordBatch:
        """Return the table's rows.

        Parameters
        ----------
        columns
            Those that are carried, the words of masks, and masks beside rows.
        at
            Slice id to its bit in these words.
        """
        carried = {c: columns[c] for c in self.table.columns}
        masks = self._masks if self.table.layout is Layout.BOOLEAN else self._words
        return pa.record_batch({**carried, **masks(columns, at)})

    def _masks(self, columns: Mapping[str, pa.Array], at: Mapping[str, int]) -> dict[str, pa.Array]:
        own, words = frozenset(self.own), _words(columns)

        def mask(s: str) -> pa.Array:
            if s not in own:
                return columns[self.old[s]]
            k, b = divmod(at[s], WORD)
            inside, undecided = (
                (words[f"{kind}_{k}"] >> b & 1).astype(bool) for kind in ("in", "null")
            )
            return pa.array(inside, mask=undecided)

        return {s: mask(s) for s in self.table.bits.at}

    def _words(self, columns: Mapping[str, pa.Array], at: Mapping[str, int]) -> dict[str, pa.Array]:
        bits, words = self.table.bits, _words(columns)
        own = bits_set([bits.at[s] for s in self.own], bits.words)
        same = bits_set([b for s, b in bits.at.items() if s not in self.own], bits.words)
        n = len(next(iter(columns.values())))

        def word(name: str, k: int) -> np.ndarray:
            new = words[name] & own[k] if name in words else np.zeros(n, np.int64)
            if name in self.old:
                new |= columns[self.old[name]].to_numpy(zero_copy_only=False) & same[k]
            return new

        return {name: pa.array(word(name, i % bits.words)) for i, name in enumerate(bits.columns)}


def _words(columns: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    """Return the words of masks that Python gave."""
    of = columns[FAULTS]
    return {f.name: of.field(f.name).to_numpy() for f in of.type if f.name != FAULT}


def _can_write(plan: MaskPlan) -> bool:
    """Tell whether a worker has all masks of a plan at hand."""
    return set(plan.ids) <= {sf.id for sf in plan.python_sfs}


def labelled_from_files(
    comparison: Comparison,
    df: DataFrame,
    columns: Sequence[str],
    beside: Stored | None = None,
    into: Callable[[DataFrame], Into | None] | None = None,
) -> DataFrame | OwnRows | None:
    """Return labelled rows that workers read themselves; None where Spark has to read them.

    Spark has to where it runs all slices, unless another table is read beside the rows, and where
    :func:`.files_of` says so. Of slices that it runs the columns come along, for it keeps the order
    in which they come.

    Parameters
    ----------
    comparison
        The compiled slices, and which of their rows are compared with Python.
    df
        The rows.
    columns
        The columns that are carried beside the masks.
    beside
        A table of the same keys whose columns come, too: None is returned where it can't be read
        beside the rows.
    into
        Returns, for the rows that there would be, the table whose files workers are to write; None
        where Spark has to.
    """
    plan, key, kinds = comparison.plan, comparison.key, dict(df.dtypes)
    hashed = not comparison.slices or all(kinds.get(c) in _HASHED for c in key)
    worth = bool(plan.python_sfs) or beside is not None
    if not (hashed and worth) or plan.decoders or len(kinds) < len(df.columns):
        return None
    if (of_spark := plan.columns_of_spark(df)) is None:
        return None
    carried = list(dict.fromkeys([*columns, *key, *sorted(of_spark)]))
    wanted = list(dict.fromkeys([*carried, *plan.crossing]))
    if not set(wanted) <= kinds.keys() or (files := files_of(df, wanted)) is None:
        return None
    schema = StructType([StructField(c, df.schema[c].dataType, True, df.schema[c].metadata)
                         for c in carried])  # fmt: skip
    if plan.python_sfs:
        schema = schema.add(FAULTS, fused_type(comparison.bits_of_udf))
    if comparison.slices:
        bits = comparison.bits_of_slices
        schema = schema.add(SAMPLED, BooleanType()).add(PYTHON, sampled_type(bits))
    tasks = _alone(files, key) if beside is None else _together(df, files, key, beside)
    if tasks is None:
        return None
    label, session = _labelling(comparison, tasks, carried), df.sparkSession

    def labelled(label: _Label, schema: StructType) -> DataFrame:
        numbers = session.range(0, tasks.n, 1, tasks.n)
        masked = plan.with_unreadable(numbers.mapInArrow(_of_numbers(label), schema))
        return comparison.checked(masked) if comparison.slices else masked

    every = StructType([*schema])
    if beside is not None:
        for c, name in beside.names.items():
            every = every.add(name, beside.df.schema[c].dataType)
    rows = labelled(label, every)
    own = into(rows) if into is not None and _can_write(plan) else None
    if own is None:
        return rows
    some = StructType([*schema]).add(FILE, StringType())
    write = _writing(label, own, comparison.bits_of_udf, to_arrow_schema(some))
    return OwnRows(labelled(write, some), own.form, own.schema)


def _alone(files: Files, key: Sequence[str]) -> _Alone:
    """Return how rows are read: in the order of the key, as far as files have one."""
    column = next((c for c in key if pa.types.is_integer(files.columns[c])), None)
    return _Alone(files if column is None else in_key_order(Keyed(files, column)))


def _together(df: DataFrame, files: Files, key: Sequence[str], stored: Stored) -> _Together | None:
    """Return how rows and a table of the same keys are read; None where keys have no order."""
    if len(key) != 1:
        return None
    others = files_of(stored.df, [*key, *stored.names])
    if others is None:
        return None
    slots, _ = task_limits(df.sparkSession)
    ranges = in_ranges([Keyed(of, *key) for of in (files, others)], slots)
    return None if ranges is None else _Together(ranges, key[0], stored.names)


_Label = Callable[[int], Iterator[dict[str, pa.Array]]]  # of a task's number its labelled rows


def _labelling(comparison: Comparison, read: _Alone | _Together, carried: Sequence[str]) -> _Label:
    """Return what gives the labelled rows of a task."""
    plan = comparison.plan
    crossing, inputs = plan.crossing, [*plan.crossing] or [carried[0]]
    inside, bits = plan.python_sfs, comparison.bits_of_udf
    run = fused_run(plan.kernel, crossing, bits, plan.limits) if inside else None
    compare = _comparing(comparison) if comparison.slices else None

    def label(task: int) -> Iterator[dict[str, pa.Array]]:
        for batch, beside in read.rows(task):
            columns = {c: batch.column(c) for c in carried}
            if run is not None:
                columns[FAULTS] = run(*(batch.column(c) for c in inputs))
            if compare is not None:
                columns |= compare(batch)
            yield {**columns, **beside}

    return label


def _writing(label: _Label, into: Into, bits: Mapping[str, int], schema: pa.Schema) -> _Label:
    """Return what writes the labelled rows of a task, and gives those that have to be looked at."""

    def write(task: int) -> Iterator[dict[str, pa.Array]]:
        with Writer(into.form) as file:
            for columns in label(task):
                file.write(into.rows(columns, bits))
                looked_at = columns[FAULTS].field(FAULT).is_valid()
                if SAMPLED in columns:
                    looked_at = pc.or_(looked_at, columns[SAMPLED])
                if pc.any(looked_at).as_py():
                    some = {c: a.filter(looked_at) for c, a in columns.items() if c in schema.names}
                    yield some | {FILE: pa.nulls(len(some[FAULTS]), pa.string())}
        assert file.done is not None  # it was closed
        yield {f.name: pa.nulls(1, f.type) for f in schema} | {FILE: pa.array([as_row(file.done)])}

    return write


def _of_numbers(
    label: _Label,
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task of Spark's does, whose rows are numbers of ours."""
    plainly = plain()

    def run(tasks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        for numbers in tasks:
            for task in numbers.column(0).to_pylist():
                yield from (pa.record_batch(columns) for columns in label(task))

    return run


def _comparing(comparison: Comparison) -> Callable[[pa.RecordBatch], dict[str, pa.Array]]:
    """Return what says which rows of a batch are compared, and what Python says of them."""
    python = comparison.plan.only(comparison.slices).as_python()
    crossing, key, share = python.crossing, comparison.key, comparison.share
    run = sampled_run(python.kernel, crossing, comparison.bits_of_slices, python.limits)
    hashed = KeyHash(key, comparison.seed)

    def compare(batch: pa.RecordBatch) -> dict[str, pa.Array]:
        hashes = hashed.of([batch.column(c) for c in key])
        drawn = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
        flag = pa.array(drawn)
        return {SAMPLED: flag, PYTHON: run(flag, *(batch.column(c) for c in crossing))}

    return compare
