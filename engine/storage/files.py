"""Python workers read Delta's Parquet files themselves instead of by way of the JVM.

Spark hands rows to Python one by one: decoded, made into rows, written to Arrow, sent. Where a
DataFrame is nothing but a table's files, and workers can open these, a worker that reads them
itself has the same columns in a tenth of the time: docs/adr/0012 has the figures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapreplace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from engine.plain import plain
from engine.storage.jvm import class_name, is_classic, lines, query, task_limits

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Spark's types that are read, as Arrow has them.
TYPES: Mapping[str, pa.DataType] = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "array<float>": pa.list_(pa.float32()),
    "array<double>": pa.list_(pa.float64()),
}
UNREADABLE = "a worker can't read"  # how a worker's message starts
_LEAST = 2**22  # bytes that are worth a task
_READ = 2**27  # bytes that are read at a time, about; large reads are quicker
_SCHEME = "file:"
# Workers read this plan alone; a rule of Spark's or of the catalog's that changes it adds a node.
_FORMAT, _INDEX = "DeltaParquetFileFormat", "PreparedDeltaFileIndex"
_VECTORS = "deletionVectors"


@dataclass(frozen=True)
class Span:
    """The row groups of a file that start within these bytes."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class Files:
    """What workers read.

    Attributes
    ----------
    tasks
        For each task its spans.
    columns
        The columns with their types.
    """

    tasks: tuple[tuple[Span, ...], ...]
    columns: Mapping[str, pa.DataType]


def files_of(df: DataFrame, columns: Sequence[str]) -> Files | None:
    """Return the files whose rows are a DataFrame's; None where Spark has to read it.

    Spark has to where the DataFrame is more than a Delta table's rows, where the table may have
    deletion vectors or has renamed columns, where its files aren't on a mounted file system,
    where a column isn't in the files, has a dot in its name or is of none of :data:`TYPES`, and in
    plain mode.

    Parameters
    ----------
    df
        The rows.
    columns
        Those of its columns that are read.
    """
    kinds = {f.name: f.dataType.simpleString() for f in df.schema}
    readable = all(kinds.get(c) in TYPES and "." not in c for c in columns)
    paths = _paths(df, columns) if readable and not plain() else None
    if not paths:
        return None
    sizes = {path: os.stat(path).st_size for path in paths}
    return Files(
        shared(sizes, *task_limits(df.sparkSession)), {c: TYPES[kinds[c]] for c in columns}
    )


def _paths(df: DataFrame, columns: Sequence[str]) -> list[str] | None:
    """Return the files' paths on this machine."""
    if not is_classic(df):
        return None
    # A query of its own: one that was planned before doesn't see what was written since.
    plan = query(df.alias("rows")).optimizedPlan()
    while class_name(plan) == "Project" and plan.outputSet().subsetOf(plan.child().outputSet()):
        plan = plan.child()
    if class_name(plan) != "LogicalRelation" or class_name(plan.relation()) != "HadoopFsRelation":
        return None
    relation = plan.relation()
    form, index = relation.fileFormat(), relation.location()
    if (class_name(form), class_name(index)) != (_FORMAT, _INDEX):
        return None
    vectors = form.protocol().readerAndWriterFeatureNames().contains(_VECTORS)
    elsewhere = set(relation.partitionSchema().fieldNames()) & set(columns)
    if vectors or elsewhere or form.columnMappingMode().name() != "none":
        return None
    names = lines(df.sparkSession, index.inputFiles())
    if not all(name.startswith(_SCHEME) for name in names):
        return None
    paths = [name.removeprefix(_SCHEME) for name in names]
    # Delta's versions don't agree on whether these are URLs.
    both = (paths, [unquote(path) for path in paths])
    return next((names for names in both if all(map(os.path.isfile, names))), None)


def shared(sizes: Mapping[str, int], slots: int, most: int) -> tuple[tuple[Span, ...], ...]:
    """Share files out to tasks, as evenly as their sizes allow.

    Parameters
    ----------
    sizes
        Path to bytes.
    slots
        How many tasks run at a time.
    most
        How many bytes a task reads at most, unless a row group has more.

    Examples
    --------
    >>> [[s.path for s in task] for task in shared({"a": 5, "b": 3, "c": 3}, 2, 2**27)]
    [['a'], ['b', 'c']]
    >>> [[(s.start, s.end) for s in task] for task in shared({"a": 2**28}, 2, 2**27)]
    [[(0, 134217728)], [(134217728, 268435456)]]
    """
    total = sum(sizes.values())
    target = min(most, max(_LEAST, -(-total // slots)))
    spans = []
    for path, size in sizes.items():
        pieces = max(1, round(size / target))
        ends = [size * i // pieces for i in range(pieces + 1)]
        spans += [Span(path, a, b) for a, b in pairwise(ends)]
    spans.sort(key=lambda s: (s.start - s.end, s.path, s.start))
    n = min(len(spans), max(slots, -(-total // target)))
    tasks: list[tuple[int, int, list[Span]]] = [(0, i, []) for i in range(n)]
    for span in spans:
        load, i, own = tasks[0]
        heapreplace(tasks, (load + span.end - span.start, i, [*own, span]))
    return tuple(tuple(own) for _, _, own in sorted(tasks, key=lambda task: task[1]))


def batches(files: Files, task: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a task's rows, at most so many at a time.

    Raises
    ------
    OSError
        With the file and the cause, if one can't be read.
    """
    for span in files.tasks[task]:
        try:
            yield from _batches(span, files.columns, rows)
        except (OSError, pa.ArrowException) as error:
            raise OSError(f"{UNREADABLE} {span.path}: {error}") from error


def _batches(span: Span, columns: Mapping[str, pa.DataType], rows: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(span.path, memory_map=True) as file:
        about = file.metadata
        place = {about.schema.column(i).path: i for i in range(about.num_columns)}
        for g in range(about.num_row_groups):
            group = about.row_group(g)
            if not span.start <= _start(group) < span.end:
                continue
            same = {
                name: value
                for name, kind in columns.items()
                if name in place and pa.types.is_integer(kind)
                for value in [_one_value(group.column(place[name]))]
                if value is not None
            }
            there = [c for c in columns if c not in same and c in file.schema_arrow.names]
            most = rows * max(1, _READ // (8 * rows * len(columns)))
            for batch in file.iter_batches(most, [g], there, use_threads=False):
                whole = pa.record_batch(
                    [
                        batch.column(name).cast(kind)
                        if name in there
                        else _repeated(same.get(name), kind, batch.num_rows)
                        for name, kind in columns.items()
                    ],
                    list(columns),
                )
                yield from (whole.slice(at, rows) for at in range(0, whole.num_rows, rows))


@lru_cache(maxsize=8)
def _repeated(value: int | None, kind: pa.DataType, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), n)


def _start(group: Any) -> int:
    """Return where a row group starts in its file."""
    first = group.column(0)
    starts = (first.dictionary_page_offset, first.data_page_offset)
    return int(min(at for at in starts if at is not None))


def _one_value(chunk: Any) -> int | None:
    """Return the value that all of a column's rows have, if its statistics say so."""
    known = chunk.statistics
    sure = known is not None and known.has_min_max and known.null_count == 0
    return known.min if sure and known.min == known.max else None
