"""Add rows to tables of records: what is there isn't added again, what differs is updated."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from engine.errors import MeanwhileError
from engine.storage import tables
from engine.storage.delta_log import alone
from engine.storage.few_rows import rows_with, small_rows
from engine.storage.jvm import is_classic, table_bytes
from engine.storage.lineage import Snapshot, Written
from engine.storage.merging import equal, merge_into
from engine.storage.place import Place
from engine.storage.records import Records, append, first
from engine.storage.records import replace as rewrite

_TRIES = 5
_SMALL = 2**22  # bytes of a table that the driver writes anew rather than have rows merged
_WRITER = "slice-engine"  # Delta lets no two commits of a writer pass that read the same version


def local_table(rows: Sequence[tuple[Any, ...]], columns: StructType) -> pa.Table:
    """Return rows with Arrow's types of some columns."""
    fields = to_arrow_schema(columns)
    values = zip(*rows, strict=True) if rows else [()] * len(fields)
    arrays = [pa.array(list(v), f.type) for v, f in zip(values, fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=fields)


def local_rows(
    spark: SparkSession, rows: Sequence[tuple[Any, ...]], schema: StructType | str
) -> DataFrame:
    """Return rows as a DataFrame that stays with the driver: reading it is no job."""
    columns = cast("StructType", StructType.fromDDL(schema) if isinstance(schema, str) else schema)
    return spark.createDataFrame(local_table(rows, columns), columns)


def insert_missing(df: DataFrame, table: str | Place, on: Sequence[str]) -> Written:
    """Add the rows of ``df`` whose ``on`` columns (null equals null) are not in the table yet.

    A run that adds nothing makes no commit.
    """
    return upsert(df, table, on, ())


def upsert(
    df: DataFrame,
    table: str | Place,
    on: Sequence[str],
    compare: Sequence[str],
    run: str = "",
    news: News | None = None,
) -> Written:
    """Insert new rows and update those that differ in the ``compare`` columns.

    A run that changes nothing makes no commit. The driver compares the rows, which are few, so
    that most runs append or do nothing; only updates cost a MERGE. Who meets another writer looks
    again.

    Parameters
    ----------
    df
        The rows.
    table
        Path or catalog name.
    on
        The columns that name a row.
    compare
        The columns that are updated where they differ.
    run
        The run whose candidate the commit is, if any.
    news
        What :func:`news_of` returned, if the caller has looked already.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table each time.
    """
    place, start = Place.of(table), time.monotonic()
    for tries in range(1, 1 + _TRIES):
        try:
            return _upserted(df, place, on, compare, run, start, news if tries == 1 else None)
        except MeanwhileError:
            if tries == _TRIES:
                raise
    raise AssertionError("the last try returns or raises")


def _upserted(
    df: DataFrame,
    place: Place,
    on: Sequence[str],
    compare: Sequence[str],
    run: str,
    start: float,
    news: News | None,
) -> Written:
    spark = df.sparkSession
    stored = news.stored if news else tables.find(spark, place)
    if stored is None:
        return first(spark, Records(place, _table_of(df), df.schema, -1, (_WRITER, 0), run))
    news = news or news_of(df, stored, on, compare)
    if news.is_none:
        return tables.unchanged(stored)
    version = int(stored.version)
    rows = Records(place, _table_of(df), df.schema, version, (_WRITER, 1 + version), run)
    if not news.differ:
        written = append(spark, replace(rows, rows=rows.rows.take(news.missing)))
    else:
        written = _updated(spark, rows, stored, on, compare)
        written = written or _merged(df, stored, on, compare, run, start)
    if written is None:
        raise MeanwhileError(str(place), new=False)
    return written


def _table_of(df: DataFrame) -> pa.Table:
    """Return the driver's own rows; as Arrow's, Spark would run a job for them."""
    return local_table([tuple(map(_with_zone, row)) for row in df.collect()], df.schema)


def _with_zone(value: Any) -> Any:
    """Return a value with the zone that a time of Spark's rows is in: the machine's."""
    return value.astimezone() if isinstance(value, dt.datetime) else value


def _updated(
    spark: SparkSession,
    records: Records,
    stored: Snapshot,
    on: Sequence[str],
    compare: Sequence[str],
) -> Written | None:
    """Write a small table anew, with its rows updated as a MERGE does; None where Spark has to."""
    if not is_classic(stored.df) or table_bytes(stored.df) > _SMALL:
        return None
    there = {f.name for f in stored.df.schema}
    schema = StructType([*stored.df.schema, *(f for f in records.schema if f.name not in there)])
    news = {tuple(row[c] for c in on): row for row in records.rows.to_pylist()}
    rows, known = [], set()
    for row in small_rows(stored.df):
        key = tuple(row[c] for c in on)
        known.add(key)
        new = news.get(key, row)
        rows.append({**row, **new} if any(row.get(c) != new[c] for c in compare) else row)
    rows += [row for key, row in news.items() if key not in known]
    every = pa.Table.from_pylist(rows, to_arrow_schema(schema))
    return rewrite(spark, replace(records, rows=every, schema=schema))


def _merged(
    df: DataFrame,
    stored: Snapshot,
    on: Sequence[str],
    compare: Sequence[str],
    run: str,
    start: float,
) -> Written | None:
    attempt = uuid4().hex
    with alone(stored.place, new=False):
        _merge(df, stored, on, compare, tables.commit_facts({}, attempt, run))
    version = int(stored.version)
    return tables.written(df.sparkSession, stored.place, start, attempt, after=version)


class News(NamedTuple):
    """How rows differ from a table: which it lacks, and whether one that it has differs."""

    stored: Snapshot
    missing: Sequence[int]
    differ: bool

    @property
    def is_none(self) -> bool:
        """Whether :func:`upsert` would change nothing."""
        return not (self.missing or self.differ)


def news_of(df: DataFrame, stored: Snapshot, on: Sequence[str], compare: Sequence[str]) -> News:
    """Return what :func:`upsert` would change of a table, whose version that counts is given."""
    rows = df.collect()
    known = _known(stored.df, rows, on, compare)
    missing = [i for i, row in enumerate(rows) if _values(row, on) not in known]
    now = ((known.get(_values(r, on)), _values(r, compare)) for r in rows)
    differ = any(there is not None and there != new for there, new in now)
    return News(stored, missing, differ)


def _values(row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[c] for c in columns)


def _known(
    stored: DataFrame, rows: Sequence[Row], on: Sequence[str], compare: Sequence[str]
) -> Mapping[tuple[Any, ...], tuple[Any, ...]]:
    """Return what the table has for keys like those of some rows: key to ``compare`` values."""
    values = {c: {row[c] for row in rows} for c in on}
    # A run's rows share its id, by which files are skipped.
    shared = {c: next(iter(of)) for c, of in values.items() if len(of) == 1}
    columns = [c for c in (*on, *compare) if c in stored.columns]
    there = (dict(zip(columns, r, strict=True)) for r in rows_with(stored, columns, shared))
    return {tuple(r.get(c) for c in on): tuple(r.get(c) for c in compare) for r in there}


def _merge(
    df: DataFrame, stored: Snapshot, on: Sequence[str], compare: Sequence[str], metadata: str
) -> None:
    differs = " OR ".join(f"NOT ({equal(c)})" for c in compare)
    actions = f"WHEN MATCHED AND ({differs}) THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    merge_into(df, stored.place, on, actions, metadata, evolves=True)
