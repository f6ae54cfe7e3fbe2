"""Every Delta read, write, merge and version; the only place that knows Delta."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import PurePosixPath
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import uuid4

from delta.exceptions import DeltaConcurrentModificationException
from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, MapType, StructType

from engine.errors import (
    MeanwhileError,
    OccupiedPlaceError,
    SourceReadError,
    TableMissingError,
    WherePredicateError,
)
from engine.sql import name_sql
from engine.storage.digest import row_digest
from engine.storage.identity import (
    delta_identity,
    delta_leaf,
    file_system,
    last_change,
    plan_identity,
    why_changing,
)
from engine.storage.lineage import deciding
from engine.storage.names import FORMATS, is_catalog_name
from engine.storage.session import settings
from engine.storage.snapshot import Snapshot, Written
from engine.storage.source_files import read_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession
    from pyspark.sql.types import DataType

# What people's CSV files look like: a header, quotes doubled inside quotes, newlines in quotes.
_OPTIONS = {
    "csv": {"header": "true", "inferSchema": "true", "multiLine": "true", "escape": '"'},
}
_UNDER_WAY = "_writing-"  # how the name of a mark starts that a first write leaves while it runs
_LATEST = 10  # commits in which a write looks for its own
_THERE = {"DELTA_PATH_EXISTS", "DELTA_TABLE_ALREADY_EXISTS", "TABLE_OR_VIEW_ALREADY_EXISTS"}
# Words are read from LZ4 in half of Snappy's time, in files of nearly the same size.
_CODEC, _LZ4 = "spark.sql.parquet.compression.codec", "lz4_raw"
_MAPPING = "delta.columnMapping.mode"
_NOT_IN_NAMES = frozenset(" ,;{}()\n\t=")


def exists(spark: SparkSession, table: str) -> bool:
    """Tell whether a Delta table is there."""
    if is_catalog_name(table):
        return bool(spark.catalog.tableExists(table))
    return bool(DeltaTable.isDeltaTable(spark, table))


def find(spark: SparkSession, table: str) -> Snapshot | None:
    """Read a Delta table at its newest version; None where there is none."""
    if not exists(spark, table):
        return None
    if is_catalog_name(table):
        _delta(spark, table)  # which says so if it is a view, or a table of another format
    leaf = delta_leaf(_rows(spark, table))
    commit = last_change(spark, leaf.log, leaf.version)
    df = _rows(spark, table, leaf.version)
    identity = delta_identity(leaf, commit)
    facts = _facts(commit.metadata)
    made = str(commit.version)
    return Snapshot(table, df, str(leaf.version), leaf.id, identity, made, facts=facts)


def _rows(spark: SparkSession, table: str, version: int | None = None) -> DataFrame:
    """Read a Delta table at a version, or as it is at each time."""
    reader = spark.read if version is None else spark.read.option("versionAsOf", version)
    return reader.table(table) if is_catalog_name(table) else reader.format("delta").load(table)


def read(spark: SparkSession, table: str, role: str = "table") -> Snapshot:
    """Read a Delta table at its newest version.

    Raises
    ------
    TableMissingError
        If there is none.
    """
    found = find(spark, table)
    if found is None:
        raise TableMissingError(role, table)
    return found


def read_source(
    spark: SparkSession,
    table: str,
    kind: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Snapshot:
    """Read a table of any supported format: Delta, Parquet, CSV or JSON.

    Parameters
    ----------
    spark
        The session.
    table
        Path or catalog name.
    kind
        ``delta``, ``parquet``, ``csv`` or ``json``; told from the path where it is None.
    options
        Reader options, over sensible ones for CSV.

    Raises
    ------
    SourceReadError, SourceEncodingError
        If it can't be read as what it seems to be, or if text isn't UTF-8 as it seems to be.
    """
    try:
        if kind in (None, "delta") and _is_delta(spark, table):
            return read(spark, table, "source")
        if is_catalog_name(table):
            spark.catalog.refreshTable(table)  # a session keeps listings of files
            df = spark.table(table)
        else:
            found = kind or _format_of(spark, table)
            if found is None:
                raise SourceReadError(
                    table, "its format can't be told from its files; set source.format"
                )
            df = read_files(spark, table, found, {**_OPTIONS.get(found, {}), **(options or {})})
        known = plan_identity(df, table)
        text, unknown = known.text, known.unknown
        return Snapshot(table, df, text, identity=text, unknown=unknown, known_by=known.files)
    except AnalysisException as error:
        problem = _first_line(error)
        if table.isidentifier() and spark.catalog.tableExists(table):
            problem = (
                "a name without a schema is a path; name the table or view with its schema, and "
                f"make a temporary view a global one (global_temp.{table})"
            )
        raise SourceReadError(table, problem) from None


def where_partitions(df: DataFrame, where: str, partition_by: Sequence[str]) -> DataFrame:
    """Return the rows of the partitions that ``where`` names.

    Raises
    ------
    WherePredicateError
        If it names anything but partition columns, or may name other rows another time.
    """
    if not partition_by:
        raise WherePredicateError(where, partition_by, "the project has no partition_by")
    only = StructType([df.schema[c] for c in partition_by])
    try:
        chosen = df.sparkSession.createDataFrame([], only).where(where)  # analysed, not run
    except AnalysisException as error:
        raise WherePredicateError(where, partition_by, _first_line(error)) from None
    why = why_changing(chosen)
    if why is not None:
        raise WherePredicateError(where, (), f"it {why}, and would name other rows later; write "
                                  "the values themselves")  # fmt: skip
    return df.where(where)


def overwrite(
    df: DataFrame,
    table: str,
    *,
    facts: Mapping[str, Any],
    partition_by: Sequence[str] = (),
    where: str | None = None,
    observed: bool = False,
    unless: Snapshot | None = None,
    first: bool = False,
) -> Written:
    """Replace a table's rows, or those of the partitions that ``where`` names, in one commit.

    A write that fails takes away what it wrote, and nothing of anybody else's. Parquet files are
    compressed by LZ4, unless the session's settings name a codec.

    Parameters
    ----------
    df
        The new rows.
    table
        Path or catalog name.
    facts
        Kept as the commit's metadata (JSON).
    partition_by
        The table's partition columns.
    where
        A predicate over partition columns; all rows of ``df`` satisfy it.
    observed
        Whether there is an observation on ``df``.
    unless
        The table as it is: where it has the same rows already, nothing is written.
    first
        Whether there must be no table yet.

    Raises
    ------
    OccupiedPlaceError
        If there are files at ``table`` that are no Delta table.
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    spark, start, attempt = df.sparkSession, time.monotonic(), uuid4().hex
    named = is_catalog_name(table)
    # saveAsTable loses observations, so rows are computed before it; and rows are compared first.
    kept = df.persist() if unless is not None or (observed and named) else None
    try:
        if unless is not None:
            before = unless.df if where is None else unless.df.where(where)
            if row_digest(df) == row_digest(before):
                return unchanged(unless)
        elif kept is not None:
            kept.count()
        # A catalog makes no table where a write that failed left files, but replaces one.
        mode = "errorifexists" if first and not named else "overwrite"
        writer = df.write.format("delta").mode(mode)
        said = json.dumps({**facts, "attempt": attempt}, sort_keys=True)
        writer = writer.option("userMetadata", said)
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        new = first or not exists(spark, table)
        writer = writer.options(**_names(df, table, new))
        if where is not None and not new:
            writer = writer.option("replaceWhere", where)
        else:
            writer = writer.option("overwriteSchema", "true")
        with (
            _first(spark, table, attempt) if new and not named else nullcontext(),
            _told(spark, table, new),
            settings(spark, {_CODEC: str(spark.conf.get(_CODEC, _LZ4))}),
        ):
            if named:
                _make_schema(spark, table)
                writer.saveAsTable(table)
            else:
                writer.save(table)
    finally:
        if kept is not None:
            kept.unpersist()
    written = _written(spark, table, start, attempt)
    if first and int(written.version):  # rows that were committed meanwhile, and replaced
        undo(spark, written)
        raise MeanwhileError(table, new)
    return written


@contextmanager
def _told(spark: SparkSession, table: str, new: bool) -> Iterator[None]:
    """Turn what Delta says of a concurrent write into a sentence."""
    try:
        yield
    except (AnalysisException, Py4JJavaError, DeltaConcurrentModificationException) as error:
        there = isinstance(error, AnalysisException) and error.getCondition() in _THERE
        if _concurrent(error) or (new and there):
            raise MeanwhileError(table, new) from None
        raise


def _concurrent(error: Exception) -> bool:
    """Tell whether Delta refused a commit because of another one, converted or not."""
    if isinstance(error, Py4JJavaError):
        return str(error.java_exception.getClass().getName()).startswith("io.delta.exceptions.")
    return isinstance(error, DeltaConcurrentModificationException)


@contextmanager
def _first(spark: SparkSession, place: str, attempt: str) -> Iterator[None]:
    """Mark a place while a first write is under way there, and clean up after one that fails.

    Delta leaves the files of a write that fails. They are removed if nobody else had begun a table
    there or has committed one; else it can't be known whose they are, and VACUUM removes them.
    Marks stay until a commit, for they tell that the files are those of writes.

    Raises
    ------
    OccupiedPlaceError
        If there are files that no write left.
    """
    files, folder = file_system(spark, place)
    begun, before = files.exists(_path(spark, place, "_delta_log")), _listing(files, folder)
    marks = {name for name in before if name.startswith(_UNDER_WAY)}
    if before and not marks and not begun:
        raise OccupiedPlaceError(place)
    mark = f"{_UNDER_WAY}{attempt}"
    files.create(_path(spark, place, mark), False).close()
    try:
        yield
    except BaseException:
        now = _listing(files, folder) - {mark}
        others = begun or marks or any(name.startswith(_UNDER_WAY) for name in now)
        if any(name.startswith("_delta_log/") for name in now):
            gone = [*marks, mark]
        else:
            gone = [] if others else [*now, mark]  # the mark last: it tells whose the others are
        for name in gone:
            files.delete(_path(spark, place, name), False)
        if gone:
            _prune(files, folder)
        raise
    for name in (*marks, mark):
        files.delete(_path(spark, place, name), False)


def same(stored: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Tell whether a stored table's facts are those of a run, but for what only people read.

    Examples
    --------
    >>> same({"source": "t", "source_version": "4"}, {"source": "t", "source_version": "5"})
    True
    """
    return bool(deciding(dict(stored)) == deciding(dict(facts)))


def _mapped(kind: DataType) -> bool:
    """Tell whether a column's name has a character that Parquet has no names with.

    Delta maps such names to others; readers of Delta know that since its reader version 2.
    """
    if isinstance(kind, StructType):
        return any(set(f.name) & _NOT_IN_NAMES or _mapped(f.dataType) for f in kind)
    if isinstance(kind, ArrayType):
        return _mapped(kind.elementType)
    return isinstance(kind, MapType) and (_mapped(kind.keyType) or _mapped(kind.valueType))


def _names(df: DataFrame, table: str, new: bool) -> Mapping[str, str]:
    """Return what a writer is told so that a table may have the rows' names of columns."""
    if not _mapped(df.schema):
        return {}
    if new:
        return {_MAPPING: "name"}
    spark = df.sparkSession
    properties = _delta(spark, table).detail().collect()[0]["properties"]
    if properties.get(_MAPPING, "none") == "none":
        spark.sql(f"ALTER TABLE {_sql_name(table)} SET TBLPROPERTIES ('{_MAPPING}' = 'name')")
    return {}


def unchanged(table: Snapshot) -> Written:
    """Say that a run left a table as it was."""
    return Written(table.name, table.version, table.df.count(), 0.0, changed=False)


def insert_missing(df: DataFrame, table: str, on: Sequence[str]) -> Written:
    """Add the rows of ``df`` whose ``on`` columns (null equals null) are not in the table yet.

    A run that adds nothing makes no commit.
    """
    return _merge(df, table, on, ())


def upsert(df: DataFrame, table: str, on: Sequence[str], compare: Sequence[str]) -> Written:
    """Insert new rows and update those that differ in the ``compare`` columns.

    A run that changes nothing makes no commit.
    """
    return _merge(df, table, on, compare)


def _merge(df: DataFrame, table: str, on: Sequence[str], compare: Sequence[str]) -> Written:
    spark, start = df.sparkSession, time.monotonic()
    stored = find(spark, table)
    if stored is None:
        try:
            return overwrite(df, table, facts={}, first=True)
        except MeanwhileError:  # the rows of whoever was first stay
            stored = read(spark, table)
    added = [f for f in df.schema if f.name not in stored.df.columns]
    old = stored.df.withColumns({f.name: F.lit(None).cast(f.dataType) for f in added})
    same = " AND ".join(f"old.`{c}` <=> new.`{c}`" for c in on)
    differs = " OR ".join(f"NOT (old.`{c}` <=> new.`{c}`)" for c in compare) or "false"
    as_is = F.expr(f"({same}) AND NOT ({differs})")
    if df.alias("new").join(old.alias("old"), as_is, "left_anti").isEmpty():
        return unchanged(stored)
    with _told(spark, table, new=False):
        if added:  # an earlier version of the engine made the table
            columns = ", ".join(f"`{f.name}` {f.dataType.simpleString()}" for f in added)
            spark.sql(f"ALTER TABLE {_sql_name(table)} ADD COLUMNS ({columns})")
        merge = _delta(spark, table).alias("old").merge(df.alias("new"), same)
        if compare:
            merge = merge.whenMatchedUpdateAll(condition=differs)
        merge.whenNotMatchedInsertAll().execute()
    return _written(spark, table, start)


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
    table, version = written.name, int(written.version)
    if not written.changed:
        return f"{table} was left at version {version}"
    delta = _delta(spark, table)
    newest = delta.history(1).collect()[0]
    if _attempt(newest) != written.attempt:
        return _left(written, int(newest["version"]))
    if not version:
        _drop(spark, table)
        return f"{table}, which this run had made, was dropped"
    try:
        delta.restoreToVersion(version - 1)
    except (Py4JJavaError, DeltaConcurrentModificationException) as error:
        if not _concurrent(error):
            raise
        return _left(written, int(delta.history(1).collect()[0]["version"]))
    restored = int(delta.history(1).collect()[0]["version"])
    if restored > version + 1:  # a commit came between: it is the newest again
        delta.restoreToVersion(restored - 1)
        return _left(written, restored - 1)
    return f"{table} was restored to version {version - 1}"


def _left(written: Written, newest: int) -> str:
    return (
        f"{written.name} was left as it is, for version {newest} came after this run's version "
        f"{written.version}, whose masks are in it or were replaced: label again, or RESTORE it"
    )


def _written(spark: SparkSession, table: str, start: float, attempt: str = "") -> Written:
    """Return what a write did: by its attempt, for somebody else may have written since."""
    commits = _delta(spark, table).history(_LATEST).collect()
    own = next((c for c in commits if attempt and _attempt(c) == attempt), commits[0])
    rows = int((own["operationMetrics"] or {}).get("numOutputRows", 0))
    return Written(table, str(own["version"]), rows, time.monotonic() - start, attempt=attempt)


def _attempt(commit: Row) -> str:
    return str(_facts(commit["userMetadata"]).get("attempt", ""))


def _make_schema(spark: SparkSession, table: str) -> None:
    schema = table.rpartition(".")[0]
    if not spark.catalog.databaseExists(schema):
        spark.sql(f"CREATE SCHEMA {schema}")


def _drop(spark: SparkSession, table: str) -> None:
    """Remove a table of one commit: its files and its log, and folders that are empty then."""
    if is_catalog_name(table):
        spark.sql(f"DROP TABLE IF EXISTS {table}")
        return
    files, place = file_system(spark, table)
    names = [unquote(name) for name in spark.read.format("delta").load(table).inputFiles()]
    log = [n for n in _listing(files, place) if n.startswith(f"_delta_log/{0:020d}.")]
    for path in (*(_path(spark, table, name) for name in log), *(_path(spark, n) for n in names)):
        files.delete(path, False)
    _prune(files, place)


def _path(spark: SparkSession, *parts: str) -> Any:
    assert spark._jvm is not None  # a classic session, where Delta writes paths
    return spark._jvm.org.apache.hadoop.fs.Path("/".join(parts))


def _listing(files: Any, place: Any) -> set[str]:
    """Return the names of the files in a folder and below, relative to it."""
    if not files.exists(place):
        return set()
    root, found = str(files.makeQualified(place).toString()), set()
    listed = files.listFiles(place, True)
    while listed.hasNext():
        found.add(str(listed.next().getPath().toString()).removeprefix(root).lstrip("/"))
    return found


def _prune(files: Any, folder: Any) -> None:
    """Remove a folder if there is no file in it or below, and those below that have none."""
    if not files.exists(folder):
        return
    for status in files.listStatus(folder):
        if status.isDirectory():
            _prune(files, status.getPath())
    if not len(files.listStatus(folder)):
        files.delete(folder, False)


def _sql_name(table: str) -> str:
    return table if is_catalog_name(table) else f"delta.{name_sql(table)}"


def _delta(spark: SparkSession, table: str) -> DeltaTable:
    named = is_catalog_name(table)
    return DeltaTable.forName(spark, table) if named else DeltaTable.forPath(spark, table)


def _facts(said: str | None) -> Mapping[str, Any]:
    try:
        facts = json.loads(said or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_delta(spark: SparkSession, table: str) -> bool:
    if not is_catalog_name(table):
        return exists(spark, table)
    try:
        _delta(spark, table)
    except AnalysisException:
        return False
    return True


def _files(spark: SparkSession, path: Any) -> DataFrame:
    """List files with size and modification time; their contents are not read."""
    found = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path)
    return found.select("path", "length", "modificationTime")


def _format_of(spark: SparkSession, path: str) -> str | None:
    own = FORMATS.get(PurePosixPath(path).suffix.lower())
    if own is not None:
        return own
    names = [r["path"] for r in _files(spark, path).select("path").collect()]
    found = {FORMATS.get(_suffix(name)) for name in names} - {None}
    return found.pop() if len(found) == 1 else None


def _suffix(name: str) -> str:
    plain = re.sub(r"\.(gz|bz2|zst|snappy|lz4|deflate)$", "", name.lower())
    return PurePosixPath(plain).suffix


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" SQLSTATE")[0]
