"""Python workers read a table's Parquet files themselves instead of by way of the JVM.

Spark hands rows to Python one by one: decoded, made into rows, written to Arrow, sent. Where a
DataFrame is nothing but a table's files, and workers can open these, a worker that reads them
itself has the same columns in a tenth of the time: docs/adr/0012 and 0030 have the figures.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapreplace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.plain import plain
from engine.storage.deletion_vectors import DeletionVector
from engine.storage.jvm import task_limits
from engine.storage.scanned import scanned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

log = logging.getLogger("engine")
UNREADABLE = "a worker can't read"  # how a worker's message starts
_FOOTERS = 8  # that are read to know how many rows there are
_LEAST = 2**22  # bytes that are worth a task
_READ = 2**27  # bytes that are read at a time, about; large reads are quicker
SCALARS = frozenset(
    ("tinyint", "smallint", "int", "bigint", "float", "double", "boolean", "string", "binary",
     "date", "timestamp", "timestamp_ntz")
)  # fmt: skip
# Of times before 1900 Spark's and others' files may mean another calendar or zone.
_SURE = dt.datetime(1900, 1, 1)
_LEGACY = (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")
_SPARK = b"org.apache.spark.version"


@dataclass(frozen=True)
class Span:
    """The row groups of a file that start within these bytes.

    Attributes
    ----------
    path, start, end
        Which.
    constants
        Column to the value that all rows of the file have; it isn't in the file.
    deleted
        Which rows are deleted.
    """

    path: str
    start: int
    end: int
    constants: tuple[tuple[str, Any], ...] = ()
    deleted: DeletionVector | None = None


@dataclass(frozen=True)
class Files:
    """What workers read.

    Attributes
    ----------
    tasks
        For each task its spans.
    columns
        The columns with their types.
    names
        Column to its name in the files, where that is another.
    """

    tasks: tuple[tuple[Span, ...], ...]
    columns: Mapping[str, pa.DataType]
    names: Mapping[str, str] | None = None


def files_of(
    df: DataFrame, columns: Sequence[str], values: Mapping[str, Any] = MappingProxyType({})
) -> Files | None:
    """Return the files whose rows are a DataFrame's; None where Spark has to read it.

    Spark has to where the DataFrame is more than the rows of a table of Delta or Parquet, or of
    some of its partitions, where its files aren't on a mounted file system, where a column is of a
    type that Arrow and Spark may show otherwise or has a dot in its name, and in plain mode.

    Parameters
    ----------
    df
        The rows.
    columns
        Those of its columns that are read.
    values
        Column to the value of all rows that are wanted; others may be left out.
    """
    kinds = {f.name: f.dataType for f in df.schema}
    arrow = {c: arrow_kind(kinds[c]) if c in kinds else None for c in columns}
    if plain() or any(kind is None or "." in c for c, kind in arrow.items()):
        return None
    table = scanned(df, {c: kinds[c].simpleString() for c in columns}, values)
    if table is None:
        return None
    sizes = {piece.path: piece.size for piece in table.pieces}
    about = {p.path: (tuple(p.constants.items()), p.deleted) for p in table.pieces}
    tasks = tuple(
        tuple(Span(s.path, s.start, s.end, *about[s.path]) for s in task)
        for task in shared(sizes, *task_limits(df.sparkSession))
    )
    names = {c: name for c, name in table.names.items() if c != name}
    return Files(tasks, {c: kind for c, kind in arrow.items() if kind is not None}, names or None)


def arrow_kind(kind: DataType) -> pa.DataType | None:
    """Return a type of Spark's as Arrow has it; None where Spark has to read it.

    Examples
    --------
    >>> from pyspark.sql.types import ArrayType, DateType, VariantType
    >>> print(arrow_kind(ArrayType(DateType())), arrow_kind(ArrayType(VariantType())))
    list<element: date32[day]> None
    """
    from pyspark.sql.pandas.types import to_arrow_type  # heavy, and executors don't ask
    from pyspark.sql.types import ArrayType, DecimalType, MapType, StructType

    parts: list[DataType] = []
    if isinstance(kind, ArrayType):
        parts = [kind.elementType]
    elif isinstance(kind, MapType):
        parts = [kind.keyType, kind.valueType]
    elif isinstance(kind, StructType):
        parts = [f.dataType for f in kind]
    elif not isinstance(kind, DecimalType) and kind.simpleString() not in SCALARS:
        return None
    return to_arrow_type(kind) if all(arrow_kind(part) is not None for part in parts) else None


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


def rows_about(files: Files) -> int:
    """Return how many rows some files have, as far as the first of them tell."""
    spans = {span.path: span for task in files.tasks for span in task}
    sizes = {path: os.stat(path).st_size for path in spans}
    some = list(sizes)[:_FOOTERS]
    rows = sum(int(pq.read_metadata(path, memory_map=True).num_rows) for path in some)
    return -(-rows * sum(sizes.values()) // max(1, sum(sizes[path] for path in some)))


def batches(files: Files, task: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a task's rows, at most so many at a time.

    Raises
    ------
    OSError
        With the file and the cause, if one can't be read.
    """
    for span in files.tasks[task]:
        try:
            yield from _batches(span, files, rows)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(span.path, error) from error


def unreadable(path: str, why: object) -> OSError:
    """Return the error of a file that a worker can't read as Spark does."""
    return OSError(f"{UNREADABLE} {path}: {why}")


def unread(error: Exception) -> bool:
    """Tell whether a worker couldn't read a file, and warn that Spark reads the table then."""
    _, there, cause = str(error).partition(UNREADABLE)
    if there:
        cause = cause.partition("\n")[0]
        log.warning("%s%s; Spark reads the table instead", UNREADABLE, cause)
    return bool(there)


def _batches(span: Span, files: Files, rows: int) -> Iterator[pa.RecordBatch]:
    # Of INT96 Arrow makes nanoseconds otherwise, which reach from 1677 to 2262 alone.
    reader = pq.ParquetFile(span.path, memory_map=True, coerce_int96_timestamp_unit="us")
    with reader as file:
        form = _Form(file, span, files)
        first = 0
        for g in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(g)
            if span.start <= group_start(group) < span.end:
                yield from form.batches(g, first, rows)
            first += group.num_rows


def with_values(files: Files, task: int, columns: Sequence[str]) -> frozenset[str]:
    """Return those of some columns of which statistics say that a task's rows have a value.

    Raises
    ------
    OSError
        As for :func:`batches`.
    """
    known: set[str] = set()
    for span in files.tasks[task]:
        if span.deleted is not None:
            continue  # it may be the rows with a value that are deleted
        known |= {c for c, value in span.constants if value is not None and c in columns}
        try:
            about = pq.read_metadata(span.path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(span.path, error) from error
        groups = (about.row_group(g) for g in range(about.num_row_groups))
        for group in groups:
            if span.start <= group_start(group) < span.end:
                some = _columns_with_values(group)
                known |= {c for c in columns if (files.names or {}).get(c, c) in some}
    return frozenset(known)


def _columns_with_values(group: Any) -> set[str]:
    """Return a row group's columns some value of which, or within which, isn't null."""
    some = set()
    for i in range(group.num_columns):
        chunk = group.column(i)
        known = chunk.statistics
        if known is not None and known.has_null_count and known.null_count < chunk.num_values:
            some.add(chunk.path_in_schema.partition(".")[0])
    return some


class _Form:
    """How a file holds the columns that are read.

    Parameters
    ----------
    file
        The file.
    span, files
        What is read of it.
    """

    def __init__(self, file: pq.ParquetFile, span: Span, files: Files) -> None:
        self.file, self.columns = file, files.columns
        self.constants = dict(span.constants)
        self.names = {c: (files.names or {}).get(c, c) for c in files.columns}
        there = set(file.schema_arrow.names)
        lower = {name.lower() for name in there}
        for name in self.names.values():
            if name not in there and name.lower() in lower:
                raise OSError(f"column {name!r} is spelled otherwise there")
        self.read = [c for c, name in self.names.items()
                     if name in there and c not in self.constants]  # fmt: skip
        about = file.metadata
        self.place = {about.schema.column(i).path: i for i in range(about.num_columns)}
        self.deleted = None if span.deleted is None else span.deleted.rows()
        self.times = [c for c in self.read if _has_time(files.columns[c])]
        if self.times and not _of_one_calendar(about.metadata or {}):
            kinds = [files.columns[c] for c in self.times]
            if any(pa.types.is_nested(kind) for kind in kinds):
                raise OSError("times within its lists may be of another calendar")
        else:
            self.times = []

    def batches(self, g: int, first: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a row group, the first of which is the file's ``first``."""
        same = self.constants | self._same(g)
        there = {c: self.names[c] for c in self.read if c not in same}
        most = rows * max(1, _READ // (8 * rows * max(1, len(self.columns))))
        for batch in self._pieces(g, most, list(there.values())):
            self._check(batch, there)
            whole = pa.record_batch(
                [
                    batch.column(there[c]).cast(kind)
                    if c in there
                    else _repeated(same.get(c), kind, batch.num_rows)
                    for c, kind in self.columns.items()
                ],
                names=list(self.columns),
            )
            last = first + whole.num_rows
            if self.deleted is not None:
                whole = _without(whole, self.deleted, first, last)
            first = last
            yield from (whole.slice(at, rows) for at in range(0, whole.num_rows, rows))

    def _pieces(self, g: int, most: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        yield from self.file.iter_batches(most, [g], names, use_threads=False)

    def _same(self, g: int) -> dict[str, int]:
        """Return the integer columns of which statistics say that all rows have one value."""
        group = self.file.metadata.row_group(g)
        values = {
            c: _one_value(group.column(self.place[self.names[c]]))
            for c in self.read
            if self.names[c] in self.place and pa.types.is_integer(self.columns[c])
        }
        return {c: value for c, value in values.items() if value is not None}

    def _check(self, batch: pa.RecordBatch, there: Mapping[str, str]) -> None:
        """Check that times are late enough to be of one calendar, whoever wrote the file."""
        for c in self.times:
            least = pc.min(batch.column(there[c])).as_py()
            when = least if least is None or isinstance(least, dt.datetime) else _midnight(least)
            if when is not None and when.replace(tzinfo=None) < _SURE:
                raise OSError(f"times of {c!r} may be of another calendar")


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day)


def _has_time(kind: pa.DataType) -> bool:
    """Tell whether values are, or hold, dates or times."""
    if pa.types.is_nested(kind):
        return any(_has_time(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _of_one_calendar(about: Mapping[bytes, bytes]) -> bool:
    """Tell whether Spark wrote a file, as it does since 3.1, in the calendar of today."""
    version = about.get(_SPARK, b"0.0").decode().split(".")[:2]
    return tuple(map(int, version)) >= (3, 1) and not any(key in about for key in _LEGACY)


def _without(batch: pa.RecordBatch, deleted: np.ndarray, first: int, last: int) -> pa.RecordBatch:
    """Return the rows of a batch, the file's from ``first``, that aren't deleted."""
    gone = deleted[slice(*np.searchsorted(deleted, [first, last]))] - first
    if not len(gone):
        return batch
    stay = np.ones(last - first, bool)
    stay[gone] = False
    return batch.filter(pa.array(stay))


@lru_cache(maxsize=8)
def _repeated(value: Any, kind: pa.DataType, n: int) -> pa.Array:
    return pa.nulls(n, kind) if value is None else pa.repeat(pa.scalar(value, kind), n)


def group_start(group: Any) -> int:
    """Return where a row group starts in its file."""
    first = group.column(0)
    starts = (first.dictionary_page_offset, first.data_page_offset)
    return int(min(at for at in starts if at is not None))


def _one_value(chunk: Any) -> int | None:
    """Return the value that all of a column's rows have, if its statistics say so."""
    known = chunk.statistics
    sure = known is not None and known.has_min_max and known.null_count == 0
    return known.min if sure and known.min == known.max else None
