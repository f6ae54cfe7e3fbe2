"""Few rows that the driver has, committed to a table at once.

The driver writes their file itself where the table's folder is at hand; else Spark does, which
takes longer than such rows are worth.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
from pyspark.sql.types import StructType

from engine.errors import during
from engine.storage import own_commits, tables
from engine.storage.delta_log import alone, first_write
from engine.storage.lineage import Written
from engine.storage.place import Place
from engine.storage.session import FOR_FEW_ROWS, settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Records:
    """Rows for one version of a table.

    Attributes
    ----------
    place
        The table's.
    rows, schema
        The rows, and their columns.
    version
        The table's version; -1 where there is no table.
    writer
        A name and a number: of two commits of one writer with one number Delta lets one pass.
    run
        The run whose candidate the commit is, if any.
    """

    place: Place
    rows: pa.Table
    schema: StructType
    version: int
    writer: tuple[str, int]
    run: str = ""


def append(spark: SparkSession, records: Records) -> Written | None:
    """Add rows to a table; None, or an error, where another of the engine's writers was first.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    start, attempt, place = time.monotonic(), uuid4().hex, records.place
    with during(f"write of {place}"), alone(place, new=False):
        if (done := _here(spark, records, attempt)) is not None:
            return _written(records, done, start, attempt)
        name, number = records.writer
        options = {
            "userMetadata": tables.commit_facts({}, attempt, records.run),
            "txnAppId": name,
            "txnVersion": str(number),
            "mergeSchema": "true",  # an earlier version of the engine made the table
        }
        with settings(spark, FOR_FEW_ROWS):
            df = spark.createDataFrame(records.rows, records.schema).coalesce(1)
            place.save(df.write.format("delta").mode("append").options(**options))
    # Delta leaves out a commit whose number another writer's has.
    return tables.written(spark, place, start, attempt, after=records.version)


def replace(spark: SparkSession, records: Records) -> Written | None:
    """Replace a table's rows; None where Spark has to.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    start, attempt = time.monotonic(), uuid4().hex
    with during(f"write of {records.place}"), alone(records.place, new=False):
        done = _here(spark, records, attempt, replaces=True)
    return None if done is None else _written(records, done, start, attempt)


def first(spark: SparkSession, records: Records) -> Written:
    """Make a table, which later commits only add rows to.

    Raises
    ------
    MeanwhileError
        If there is one.
    """
    start, attempt, place = time.monotonic(), uuid4().hex, records.place
    if not place.in_catalog:
        with (
            during(f"write of {place}"),
            alone(place, new=True),
            first_write(spark, place.text, attempt),
        ):
            if (done := _here(spark, records, attempt)) is not None:
                return _written(records, done, start, attempt)
    df = spark.createDataFrame(records.rows, records.schema)
    return tables.overwrite(df, place, facts={}, first=True, run=records.run)


def _here(
    spark: SparkSession, records: Records, attempt: str, replaces: bool = False
) -> tuple[int, str] | None:
    place, schema = records.place, records.schema
    form = own_commits.form_of(spark, place, schema, attempt, tables.codec_name(spark), nested=True)
    if form is None:
        return None
    return own_commits.commit_here(
        spark, place, form, records.rows, schema,
        tables.commit_facts({}, attempt, records.run), version=records.version,
        writer=records.writer, replaces=replaces, properties=tables.OF_RECORDS,
    )  # fmt: skip


def _written(records: Records, done: tuple[int, str], start: float, attempt: str) -> Written:
    version, own = done
    seconds, n = time.monotonic() - start, records.rows.num_rows
    return Written(records.place, str(version), n, seconds, attempt=attempt, id=own)
