"""Add rows to tables of records: what is there isn't added again, what differs is updated."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from engine.errors import MeanwhileError
from engine.storage import tables
from engine.storage.delta_log import alone
from engine.storage.few_rows import rows_with
from engine.storage.lineage import Snapshot, Written
from engine.storage.merging import equal, merge_into
from engine.storage.place import Place
from engine.storage.session import FOR_FEW_ROWS, settings

_TRIES = 5
_WRITER = "slice-engine"  # Delta lets no two commits of a writer pass that read the same version


def local_rows(
    spark: SparkSession, rows: Sequence[tuple[Any, ...]], schema: StructType | str
) -> DataFrame:
    """Return rows as a DataFrame that stays with the driver: reading it is no job."""
    columns = cast("StructType", StructType.fromDDL(schema) if isinstance(schema, str) else schema)
    fields = to_arrow_schema(columns)
    values = zip(*rows, strict=True) if rows else [()] * len(fields)
    arrays = [pa.array(list(v), f.type) for v, f in zip(values, fields, strict=True)]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=fields), columns)


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
        return tables.overwrite(df, place, facts={}, first=True, run=run)
    missing, differ = (news or news_of(df, stored, on, compare))[1:]
    attempt = uuid4().hex
    metadata = tables.commit_facts({}, attempt, run)
    with alone(place, new=False):
        if differ:
            _merge(df, stored, on, compare, metadata)
        elif missing:
            _append(local_rows(spark, missing, df.schema), stored, metadata)
        else:
            return tables.unchanged(stored)
    written = tables.written(spark, place, start, attempt, after=int(stored.version))
    if written is None:  # Delta leaves out a commit where another writer's was first
        raise MeanwhileError(str(place), new=False)
    return written


class News(NamedTuple):
    """How rows differ from a table: those that it lacks, and whether one that it has differs."""

    stored: Snapshot
    missing: Sequence[Row]
    differ: bool

    @property
    def is_none(self) -> bool:
        """Whether :func:`upsert` would change nothing."""
        return not (self.missing or self.differ)


def news_of(df: DataFrame, stored: Snapshot, on: Sequence[str], compare: Sequence[str]) -> News:
    """Return what :func:`upsert` would change of a table, whose version that counts is given."""
    rows = df.collect()
    known = _known(stored.df, rows, on, compare)
    missing = [row for row in rows if _values(row, on) not in known]
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


def _append(df: DataFrame, stored: Snapshot, metadata: str) -> None:
    """Add rows, unless another of the engine's writers was first."""
    options = {
        "userMetadata": metadata,
        "txnAppId": _WRITER,
        "txnVersion": str(1 + int(stored.version)),
        "mergeSchema": "true",  # an earlier version of the engine made the table
    }
    with settings(df.sparkSession, FOR_FEW_ROWS):  # a merge reads all of the table
        stored.place.save(df.coalesce(1).write.format("delta").mode("append").options(**options))


def _merge(
    df: DataFrame, stored: Snapshot, on: Sequence[str], compare: Sequence[str], metadata: str
) -> None:
    differs = " OR ".join(f"NOT ({equal(c)})" for c in compare)
    actions = f"WHEN MATCHED AND ({differs}) THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    merge_into(df, stored.place, on, actions, metadata, evolves=True)
