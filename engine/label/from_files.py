"""Rows that workers read from a table's files, labelled where they were read.

What comes out is what :meth:`Comparison.with_faults` gives over the same rows, but for columns that
nobody reads afterwards: so texts never pass the JVM. Where the masks that are there already are in
the order of the same key, they are read beside the rows: so nothing is joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BooleanType, StructField, StructType

from engine.compile.tiers import Tier
from engine.hashing import KeyHash
from engine.label.placement import PYTHON as IN_PYTHON
from engine.label.verify import PYTHON, SAMPLED, Comparison
from engine.plain import plain
from engine.run.udf import FAULTS, fused_run, fused_type, sampled_run, sampled_type
from engine.storage.files import Files, batches, files_of, unreadable
from engine.storage.jvm import task_limits
from engine.storage.ranges import (
    Keyed,
    Ordered,
    Ranges,
    in_key_order,
    in_ranges,
    side_by_side,
    within,
)
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


@dataclass(frozen=True)
class _Tasks:
    """What tasks read: the rows' files; or ranges of the key, and beside them another table.

    Attributes
    ----------
    files, ranges
        The rows' files, or how they and the other table are read; one of both.
    key
        The column of the key.
    names
        The other table's columns to their names beside rows.
    """

    files: Files | None
    ranges: Ranges | None = None
    key: str = ""
    names: Mapping[str, str] | None = None

    @property
    def n(self) -> int:
        """How many tasks there are."""
        return len(self.files.tasks if self.files else self.ranges.cuts if self.ranges else ())

    def rows(self, task: int) -> Iterator[tuple[pa.RecordBatch, Mapping[str, pa.Array]]]:
        """Yield a task's rows, and columns of the other table beside them.

        Raises
        ------
        OSError
            If the other table has other keys.
        """
        if self.files is not None:
            yield from ((batch, {}) for batch in batches(self.files, task, ROWS))
        if self.ranges is None:
            return
        tables = [
            [Ordered(self._read(files, n, task), self.key) for n in self.ranges.tasks[task][i]]
            for i, files in enumerate(self.ranges.tables)
        ]
        for own, other in side_by_side(tables):
            there = pa.Table.from_batches(other, None if other else _EMPTY).combine_chunks()
            first = 0
            for batch in pa.Table.from_batches(own).combine_chunks().to_batches():
                beside = there.slice(first, batch.num_rows)
                first += batch.num_rows
                if self.key not in beside.column_names or not _alike(
                    batch.column(self.key), beside.column(self.key)
                ):
                    raise unreadable("the masks beside rows", "their keys are others")
                yield (
                    batch,
                    {
                        name: beside.column(c).combine_chunks()
                        for c, name in (self.names or {}).items()
                    },
                )

    def _read(self, files: Files, n: int, task: int) -> Iterator[pa.RecordBatch]:
        assert self.ranges is not None
        for batch in batches(files, n, ROWS):
            yield within(batch, self.key, self.ranges.cuts[task])


_EMPTY = pa.schema([])


def _alike(one: pa.Array, other: pa.ChunkedArray) -> bool:
    a, b = one.to_numpy(zero_copy_only=False), other.to_numpy()
    return len(a) == len(b) and bool((a == b).all())


def labelled_from_files(
    comparison: Comparison, df: DataFrame, columns: Sequence[str], beside: Stored | None = None
) -> DataFrame | None:
    """Return labelled rows that workers read themselves; None where Spark has to read them.

    Spark has to where it runs slices itself, and where :func:`.files_of` says so.

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
    """
    plan, key, kinds = comparison.plan, comparison.key, dict(df.dtypes)
    alone = set(plan.tiers.values()) <= {*IN_PYTHON, Tier.MASKS} and not plan.native_faults
    hashed = not comparison.slices or all(kinds.get(c) in _HASHED for c in key)
    wanted = list(dict.fromkeys([*columns, *key, *plan.crossing]))
    if not (alone and hashed and plan.python_sfs and set(wanted) <= kinds.keys()) or plan.decoders:
        return None
    if len(set(df.columns)) < len(df.columns) or (files := files_of(df, wanted)) is None:
        return None
    carried = list(dict.fromkeys([*columns, *key]))
    schema = StructType([StructField(c, df.schema[c].dataType, True, df.schema[c].metadata)
                         for c in carried])  # fmt: skip
    schema = schema.add(FAULTS, fused_type(comparison.bits_of_udf))
    if comparison.slices:
        bits = comparison.bits_of_slices
        schema = schema.add(SAMPLED, BooleanType()).add(PYTHON, sampled_type(bits))
    tasks = _alone(files, key) if beside is None else _beside(df, files, key, beside)
    if tasks is None:
        return None
    for c, name in (tasks.names or {}).items():
        assert beside is not None
        schema = schema.add(name, beside.df.schema[c].dataType)
    numbers = df.sparkSession.range(0, tasks.n, 1, tasks.n)
    masked = numbers.mapInArrow(_labelling(comparison, tasks, carried), schema)
    return comparison.checked(masked) if comparison.slices else masked


def _alone(files: Files, key: Sequence[str]) -> _Tasks:
    """Return how rows are read: in the order of the key, as far as files have one."""
    column = next((c for c in key if pa.types.is_integer(files.columns[c])), None)
    return _Tasks(files if column is None else in_key_order(Keyed(files, column)))


def _beside(df: DataFrame, files: Files, key: Sequence[str], stored: Stored) -> _Tasks | None:
    """Return how rows and a table of the same keys are read; None where keys have no order."""
    if len(key) != 1:
        return None
    others = files_of(stored.df, [*key, *stored.names])
    if others is None:
        return None
    slots, _ = task_limits(df.sparkSession)
    ranges = in_ranges([Keyed(of, *key) for of in (files, others)], slots)
    return None if ranges is None else _Tasks(None, ranges, key[0], stored.names)


def _labelling(
    comparison: Comparison, read: _Tasks, carried: Sequence[str]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task does: of its number it makes labelled rows."""
    plan, plainly = comparison.plan, plain()
    crossing, inputs = plan.crossing, [*plan.crossing] or [carried[0]]
    run = fused_run(plan.kernel, crossing, comparison.bits_of_udf, plan.limits)
    compare = _comparing(comparison) if comparison.slices else None

    def label(tasks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        for numbers in tasks:
            for task in numbers.column(0).to_pylist():
                for batch, beside in read.rows(task):
                    columns = {c: batch.column(c) for c in carried}
                    columns[FAULTS] = run(*(batch.column(c) for c in inputs))
                    if compare is not None:
                        columns |= compare(batch)
                    yield pa.record_batch({**columns, **beside})

    return label


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
