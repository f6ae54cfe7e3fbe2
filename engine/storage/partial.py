"""Writes of a part of a table's rows, in one commit: rows that are added, and rows by their key."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from pyspark.sql import DataFrame

from engine.errors import MeanwhileError, during
from engine.sql import name_sql
from engine.storage import own_commits, tables
from engine.storage.delta_log import alone
from engine.storage.lineage import Snapshot, Written
from engine.storage.merging import merge_into
from engine.storage.own_files import OwnRows
from engine.storage.session import settings

GONE = "@gone"  # named as no column is: whether a row is to go


def append(df: DataFrame | OwnRows, table: Snapshot, facts: Mapping[str, Any], run: str) -> Written:
    """Add rows to a table.

    Parameters
    ----------
    df
        The rows; or those that workers write.
    table
        The table.
    facts
        The commit's metadata, of all rows.
    run
        The run whose candidate the commit is.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    start = time.monotonic()
    if isinstance(df, OwnRows):
        attempt = df.form.attempt
        with during(f"write of {table.place}"), alone(table.place, new=False):
            metadata = tables.commit_facts(facts, attempt, run)
            n, version, _ = own_commits.commit(df, table.place, metadata, replaces=False)
        seconds = time.monotonic() - start
        return Written(table.place, str(version), n, seconds, attempt=attempt, id=table.id)
    attempt = uuid4().hex
    metadata = tables.commit_facts(facts, attempt, run)
    writer = df.write.format("delta").mode("append").option("userMetadata", metadata)
    with alone(table.place, new=False), settings(df.sparkSession, tables.codec(df.sparkSession)):
        table.place.save(writer)
    return _done(table, start, attempt)


def merge(
    df: DataFrame, table: Snapshot, on: Sequence[str], facts: Mapping[str, Any], run: str
) -> Written:
    """Replace, add and remove rows of a table by their key.

    Parameters
    ----------
    df
        The rows, with a column ``@gone`` that says which are to go.
    table, facts, run
        As :func:`append` takes them.
    on
        The key's columns; each key is there once.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    spark, start, attempt = df.sparkSession, time.monotonic(), uuid4().hex
    names = [name_sql(c) for c in table.df.columns]
    gone, sets = f"new.{name_sql(GONE)}", ", ".join(f"{n} = new.{n}" for n in names)
    actions = (
        f"WHEN MATCHED AND {gone} THEN DELETE WHEN MATCHED THEN UPDATE SET {sets} "
        f"WHEN NOT MATCHED AND NOT {gone} THEN "
        f"INSERT ({', '.join(names)}) VALUES ({', '.join(f'new.{n}' for n in names)})"
    )
    metadata = tables.commit_facts(facts, attempt, run)
    with alone(table.place, new=False), settings(spark, tables.codec(spark)):
        merge_into(df, table.place, on, actions, metadata, evolves=False)
    return _done(table, start, attempt)


def _done(table: Snapshot, start: float, attempt: str) -> Written:
    spark = table.df.sparkSession
    done = tables.written(spark, table.place, start, attempt, after=int(table.version))
    if done is None:
        raise MeanwhileError(str(table.place), new=False)
    return done
