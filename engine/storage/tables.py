"""Every Delta read, write and merge, by DataFrames and SQL."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from textwrap import shorten
from typing import Any, cast
from uuid import uuid4

from delta.exceptions import DeltaConcurrentModificationException
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql.types import StructType

from engine.errors import MeanwhileError, PredicateError, TableError, during, listed
from engine.predicates.predicate import rewritten
from engine.redaction import without_secrets
from engine.storage import own_commits
from engine.storage.acceptance import RUN, Acceptance
from engine.storage.delta_log import (
    ATTEMPT,
    DeltaLeaf,
    alone,
    attempt_of,
    delta_identity,
    detail,
    facts_of,
    first_write,
    is_concurrent,
    last_change,
    newest_commits,
    newest_version,
    read_commit,
    remove_first,
    restore,
    table_sql,
)
from engine.storage.digest import row_digest
from engine.storage.identity import delta_leaf, plan_identity, why_changing
from engine.storage.lineage import Snapshot, Written, deciding
from engine.storage.own_files import Form, OwnRows
from engine.storage.place import Place
from engine.storage.session import settings
from engine.storage.source_files import format_of, read_files

FORMAT = 1  # of the tables that jobs write
_FORM = "format"  # which one, among the facts
_NO_TABLE = {"DELTA_TABLE_NOT_FOUND", "PATH_NOT_FOUND"}
# Words are read from LZ4 in half of Snappy's time, in files of nearly the same size.
# A run adds a small commit: reading fifty takes less than writing five checkpoints.
OF_RECORDS = {"delta.checkpointInterval": "50"}
_CODEC, _LZ4 = "spark.sql.parquet.compression.codec", "lz4_raw"
_MAPPING = "delta.columnMapping.mode"


def exists(spark: SparkSession, table: str | Place) -> bool:
    """Tell whether a Delta table is there."""
    place = Place.of(table)
    if place.in_catalog:
        return bool(spark.catalog.tableExists(place.text))
    try:
        _rows(spark, place)
    except AnalysisException as error:
        if error.getCondition() in _NO_TABLE:
            return False
        raise
    return True


def find(
    spark: SparkSession, table: str | Place, accepted: Acceptance | None = None
) -> Snapshot | None:
    """Read a Delta table at its newest version that counts; None where there is none.

    Parameters
    ----------
    spark
        The session.
    table
        Path or catalog name.
    accepted
        Which versions count; all by default.

    Raises
    ------
    TableError
        If the name is a view's, or a table's of another format.
        If a newer version of the engine made it.
    """
    place = Place.of(table)
    if not exists(spark, place):
        return None
    if place.in_catalog and not _is_delta(spark, place):
        raise no_table("table", str(place))
    with during(f"read of {place}"):
        leaf = newest(spark, place)
        version = accepted.version(spark, leaf) if accepted else leaf.version
        if version is None:
            return None
        df = _rows(spark, place, version)
        if version != leaf.version:
            leaf = delta_leaf(df)
        commit = last_change(spark, leaf.log, version)
    facts = facts_of(commit.info.get("userMetadata"))
    check_format(f"table {place}", facts)
    return Snapshot(
        place,
        df,
        str(version),
        delta_identity(leaf, commit),
        str(commit.version),
        facts=facts,
        id=leaf.id,
    )


def newest(spark: SparkSession, table: str | Place) -> DeltaLeaf:
    """Return a Delta table as it is, whether its newest version counts or not."""
    return delta_leaf(_rows(spark, Place.of(table)))


def check_format(what: str, facts: Mapping[str, Any]) -> None:
    """Check that this version of the engine knows the format that something was written in.

    Raises
    ------
    TableError
        If it doesn't.

    Examples
    --------
    >>> check_format("table t", {})
    """
    form = facts.get(_FORM, FORMAT)
    if not isinstance(form, int) or form > FORMAT:
        raise TableError(
            f"{what} has format {form!r}, and this version of the engine knows formats up to "
            f"{FORMAT}: a newer version wrote it, so use that one, or another place"
        )


_MAKERS: Mapping[str, str] = {
    "mask table": "run `python -m jobs.label_slices` first",
    "prediction table": "run the job that makes it first (train_baseline or score_table)",
}


def no_table(role: str, table: str) -> TableError:
    """Return the error of a table that isn't there."""
    return TableError(
        f"the {role} {table} does not exist or is not a Delta table; "
        f"{_MAKERS.get(role, 'check the project file')}"
    )


def _rows(spark: SparkSession, place: Place, version: int | None = None) -> DataFrame:
    """Read a Delta table at a version, or as it is at each time."""
    reader = spark.read if version is None else spark.read.option("versionAsOf", version)
    return cast("DataFrame", place.load(reader))


def _is_delta(spark: SparkSession, place: Place) -> bool:
    """Tell whether a name in a catalog is a Delta table's."""
    try:
        return bool(detail(spark, place)["format"] == "delta")
    except AnalysisException:  # a view
        return False


def read(
    spark: SparkSession,
    table: str | Place,
    role: str = "table",
    accepted: Acceptance | None = None,
) -> Snapshot:
    """Read a Delta table at its newest version that counts.

    Parameters
    ----------
    spark, table, accepted
        See :func:`find`.
    role
        What it is, for the error.

    Raises
    ------
    TableError
        If there is none.
    """
    snapshot = find(spark, table, accepted)
    if snapshot is None:
        raise no_table(role, str(table))
    return snapshot


def read_source(
    spark: SparkSession,
    table: str | Place,
    kind: str | None = None,
    options: Mapping[str, str] | None = None,
    accepted: Acceptance | None = None,
) -> Snapshot:
    """Read a table of any supported format: Delta, Parquet, CSV or JSON.

    Parameters
    ----------
    spark
        The session.
    table
        Path or catalog name.
    kind
        ``delta``, ``parquet``, ``csv`` or ``json``; where it is None, the files' names say it.
    options
        Reader options, over sensible ones for CSV.
    accepted
        Which versions of a Delta table count; all by default.

    Raises
    ------
    TableError
        If it can't be read as what it seems to be, or if text isn't UTF-8 as it seems to be.
    """
    place = Place.of(table)
    if place.of_format:
        raise path_as_name(str(place))
    is_delta = _is_delta if place.in_catalog else exists
    try:
        with during(f"read of {place}"):
            if kind in (None, "delta") and is_delta(spark, place):
                return read(spark, place, "source", accepted)
            df = _source_rows(spark, place, kind, options or {})
            known = plan_identity(df, str(place))
    except AnalysisException as error:
        problem = _first_line(error)
        if place.text.isidentifier() and spark.catalog.tableExists(place.text):
            problem = (
                "a name without a schema is a path; name the table or view with its schema, and "
                f"make a temporary view a global one (global_temp.{place})"
            )
        raise TableError(f"source {place!s} can't be read: {problem}") from None
    return Snapshot(place, df, known.text, known.text, unknown=known.unknown, known_by=known.files)


def path_as_name(table: str) -> TableError:
    """Return the error of a path that is written as a name, as in Spark's ``json.`/x` ``."""
    return TableError(
        f"{table} is a path written as a table's name: write the path alone, and its format in "
        "source.format"
    )


def _source_rows(
    spark: SparkSession, place: Place, kind: str | None, options: Mapping[str, str]
) -> DataFrame:
    if place.in_catalog:
        spark.catalog.refreshTable(place.text)  # a session keeps listings of files
        return spark.table(place.text)
    kind = kind or format_of(spark, place)
    if kind is None:
        raise TableError(
            f"source {place!s} can't be read: its format can't be told from its files; set "
            "source.format"
        )
    return read_files(spark, place.text, kind, options)


def where_partitions(df: DataFrame, where: str, partition_by: Sequence[str]) -> DataFrame:
    """Return the rows of the partitions that ``where`` names.

    Raises
    ------
    TableError
        If it names anything but partition columns, or may name other rows another time.
    """
    if not partition_by:
        raise no_choice(where, partition_by, "the project has no partition_by")
    only = StructType([df.schema[c] for c in partition_by])
    try:
        sql = rewritten(where)
        chosen = df.sparkSession.createDataFrame([], only).where(sql)  # analysed, not run
    except PredicateError as error:
        raise no_choice(where, (), f"it {error}") from None
    except AnalysisException as error:
        raise no_choice(where, partition_by, _first_line(error)) from None
    if why := why_changing(chosen):
        raise no_choice(where, (), f"it {why}, and would name other rows later; write "
                                  "the values themselves")  # fmt: skip
    return df.where(sql)


def no_choice(where: str, partition_by: Sequence[str], problem: str) -> TableError:
    """Return the error of a predicate that can't choose partitions."""
    known = f"it may name {listed(partition_by)} only: " if partition_by else ""
    return TableError(f"where={where!r} can't choose partitions: {known}{problem}")


def overwrite(
    df: DataFrame | OwnRows,
    table: str | Place,
    *,
    facts: Mapping[str, Any],
    partition_by: Sequence[str] = (),
    where: str | None = None,
    observed: bool = False,
    unless: Snapshot | None = None,
    first: bool = False,
    run: str = "",
) -> Written:
    """Replace a table's rows, or those of the partitions that ``where`` names, in one commit.

    A write that fails takes away what it wrote, and nothing of anybody else's. Parquet files are
    compressed by LZ4, unless the session's settings name a codec.

    Parameters
    ----------
    df
        The new rows; or those that workers write.
    table
        Path or catalog name.
    facts
        The commit's metadata (JSON).
    partition_by
        The table's partition columns.
    where
        A predicate over partition columns; all rows of ``df`` satisfy it.
    observed
        Whether there is an observation on ``df``.
    unless
        The table as it is: where it has the same rows already, nothing is written.
    first
        Whether there must be no table yet, as of one that later commits only add rows to.
    run
        The run whose candidate the commit is, if any.

    Raises
    ------
    TableError
        If there are files at ``table`` that are no Delta table.
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    if isinstance(df, OwnRows):
        assert (where, unless) == (None, None)  # Spark compares rows, and replaces some
        return _by_workers(df, Place.of(table), commit_facts(facts, df.form.attempt, run))
    spark, start, attempt = df.sparkSession, time.monotonic(), uuid4().hex
    place, where = Place.of(table), rewritten(where) if where else None
    # saveAsTable loses observations, so rows are computed before it; and rows are compared first.
    cached = df.persist() if unless is not None or (observed and place.in_catalog) else None
    try:
        if unless is not None:
            before = unless.df if where is None else unless.df.where(where)
            if row_digest(df) == row_digest(before):
                return unchanged(unless)
        elif cached is not None:
            cached.count()
        new = first or not exists(spark, place)
        by_path = new and not place.in_catalog
        # A catalog makes no table where a write that failed left files, but replaces one.
        mode = "errorifexists" if first and by_path else "overwrite"
        metadata = commit_facts(facts, attempt, run)
        writer = _writer(df, place, partition_by, where, new)
        writer = writer.mode(mode).option("userMetadata", metadata)
        writer = writer.options(**(OF_RECORDS if first else {}))
        with (
            during(f"write of {place}"),
            first_write(spark, place.text, attempt) if by_path else nullcontext(),
            alone(place, new),
            settings(spark, codec(spark)),
        ):
            if place.in_catalog and not spark.catalog.databaseExists(place.schema):
                spark.sql(f"CREATE SCHEMA {place.schema}")
            place.save(writer)
    finally:
        if cached is not None:
            cached.unpersist()
    done = written(spark, place, start, attempt)
    assert done is not None  # a write that didn't commit raised
    if first and int(done.version):  # rows that were committed meanwhile, and replaced
        undo(spark, done)
        raise MeanwhileError(str(place), new)
    return done


def _by_workers(rows: OwnRows, place: Place, metadata: str) -> Written:
    """Replace a table's rows by those that workers write."""
    spark, start, attempt = rows.df.sparkSession, time.monotonic(), rows.form.attempt
    new = not exists(spark, place)
    with (
        during(f"write of {place}"),
        first_write(spark, place.text, attempt) if new else nullcontext(),
        alone(place, new),
    ):
        n, version, own = own_commits.commit(rows, place, metadata, replaces=True)
    return Written(place, str(version), n, time.monotonic() - start, attempt=attempt, id=own)


def form_of_own(spark: SparkSession, place: Place, schema: StructType) -> Form | None:
    """Return how workers write a table's files in one attempt; None where Spark has to."""
    return own_commits.form_of(spark, place, schema, uuid4().hex, codec_name(spark))


def codec(spark: SparkSession) -> Mapping[str, str]:
    """Return the setting that compresses Parquet files, the session's own if it has one."""
    return {_CODEC: codec_name(spark)}


def codec_name(spark: SparkSession) -> str:
    """Return what the session compresses Parquet files by."""
    return str(spark.conf.get(_CODEC, _LZ4))


def _writer(
    df: DataFrame, place: Place, partition_by: Sequence[str], where: str | None, new: bool
) -> DataFrameWriter:
    rows = {"overwriteSchema": "true"} if new or where is None else {"replaceWhere": where}
    writer = df.write.format("delta").options(**rows, **_names(df, place, new))
    return writer.partitionBy(*partition_by) if partition_by else writer


def same(stored: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Tell whether a stored table's facts are those of a run, but for what only people read.

    Examples
    --------
    >>> same({"source": "t", "source_version": "4"}, {"source": "t", "source_version": "5"})
    True
    """
    return bool(deciding(dict(stored)) == deciding(dict(facts)))


def _names(df: DataFrame, place: Place, new: bool) -> Mapping[str, str]:
    """Return the writer's options that let a table have the rows' names of columns."""
    if not own_commits.maps_names(df.schema):
        return {}
    if new:
        return {_MAPPING: "name"}
    spark = df.sparkSession
    if detail(spark, place)["properties"].get(_MAPPING, "none") == "none":
        spark.sql(
            f"ALTER TABLE {table_sql(spark, place)} SET TBLPROPERTIES ('{_MAPPING}' = 'name')"
        )
    return {}


def commit_facts(facts: Mapping[str, Any], attempt: str, run: str) -> str:
    """Return what a commit says of itself.

    Examples
    --------
    >>> commit_facts({"seed": 1}, "5e1f", "")
    '{"attempt": "5e1f", "format": 1, "seed": 1}'
    """
    about = {_FORM: FORMAT, ATTEMPT: attempt, **({RUN: run} if run else {})}
    return json.dumps({**without_secrets(facts), **about}, sort_keys=True)


def unchanged(table: Snapshot) -> Written:
    """Say that a run left a table as it was."""
    return Written(table.place, table.version, 0, 0.0, changed=False, id=table.id)


def create_view(spark: SparkSession, view: str, select: str) -> str:
    """Make a view in the catalog, or replace it, and say so; or say why there is none.

    Not every catalog holds every view: a local metastore takes 32,700 characters.
    """
    try:
        spark.sql(f"CREATE OR REPLACE VIEW {view} AS {select}")
    except AnalysisException as error:
        spark.sql(f"DROP VIEW IF EXISTS {view}")  # the one of an earlier run shows other columns
        cause = shorten(_first_line(error), 160, placeholder=" …")
        return f"no view {view}, for the catalog can't hold its {len(select):,} characters: {cause}"
    return f"wrote view {view}: {len(spark.table(view).columns):,} columns"


def undo(spark: SparkSession, written: Written) -> str:
    """Take a write back, and say so: restore the version before it, or drop a first table.

    A table that somebody else wrote since is left as it is.
    """
    place, version = written.place, int(written.version)
    if not written.changed:
        return f"{place} was left at version {version}"
    last = newest_commits(spark, place, 1)[0]
    if attempt_of(last) != written.attempt:
        return _left(written, int(last["version"]))
    if not version:
        if place.in_catalog:
            spark.sql(f"DROP TABLE IF EXISTS {place.text}")
        else:
            remove_first(spark, place.text)
        return f"{place}, which this run had made, was dropped"
    try:
        restore(spark, place, version - 1)
    except (Py4JJavaError, DeltaConcurrentModificationException) as error:
        if not is_concurrent(error):
            raise
        return _left(written, newest_version(spark, place))
    restored = newest_version(spark, place)
    if restored > version + 1:  # a commit came between: it is the newest again
        restore(spark, place, restored - 1)
        return _left(written, restored - 1)
    return f"{place} was restored to version {version - 1}"


def _left(written: Written, last: int) -> str:
    return (
        f"{written.place} was left as it is, for version {last} came after this run's version "
        f"{written.version}, whose masks are in it or were replaced: label again, or RESTORE it"
    )


def written(
    spark: SparkSession, place: Place, start: float, attempt: str, after: int = -1
) -> Written | None:
    """Return what a write did: its attempt's commit since a version, if there is one."""
    leaf = newest(spark, place)
    for version in range(leaf.version, after, -1):  # somebody else may have written since
        commit = read_commit(spark, leaf.log, version)
        if commit and facts_of(commit.info.get("userMetadata")).get(ATTEMPT) == attempt:
            rows = int(commit.info.get("operationMetrics", {}).get("numOutputRows", 0))
            seconds = time.monotonic() - start
            return Written(place, str(version), rows, seconds, attempt=attempt, id=leaf.id)
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" SQLSTATE")[0]
