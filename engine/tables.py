"""Every Delta read, write, merge and version; the only place that knows Delta."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, MapType, StructType

from engine.errors import (
    OccupiedPlaceError,
    SourceReadError,
    TableMissingError,
    WherePredicateError,
)
from engine.names import FORMATS, is_catalog_name
from engine.session import settings
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession
    from pyspark.sql.types import DataType

# What people's CSV files look like: a header, quotes doubled inside quotes, newlines in quotes.
_OPTIONS = {
    "csv": {"header": "true", "inferSchema": "true", "multiLine": "true", "escape": '"'},
}
# Words are read from LZ4 in half of Snappy's time, in files of nearly the same size.
_CODEC, _LZ4 = "spark.sql.parquet.compression.codec", "lz4_raw"
_MAPPING = "delta.columnMapping.mode"
_NOT_IN_NAMES = frozenset(" ,;{}()\n\t=")
_HISTORY = 50  # commits looked at for what the last writer said
_MAINTENANCE = {  # operations that change no row
    "OPTIMIZE", "VACUUM START", "VACUUM END", "REORG", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
    "UPGRADE PROTOCOL",
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A table as it was read.

    Attributes
    ----------
    name
        Path or catalog name.
    df
        Its rows; for Delta pinned at ``version``, however often it is read.
    version
        The Delta version, or a hash of file names, sizes and modification times.
    facts
        The last commit's metadata, as its writer gave it; empty where it isn't ours.
    """

    name: str
    df: DataFrame
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What a write did: the table, its version, rows written and seconds taken."""

    name: str
    version: str
    rows: int
    seconds: float
    changed: bool = True

    def __str__(self) -> str:
        if not self.changed:
            return f"unchanged {self.name} version {self.version} ({self.rows:,} rows)"
        return (
            f"wrote {self.name} version {self.version}: {self.rows:,} rows in {self.seconds:.1f} s"
        )


def exists(spark: SparkSession, table: str) -> bool:
    """Tell whether a Delta table is there."""
    if is_catalog_name(table):
        return bool(spark.catalog.tableExists(table))
    return bool(DeltaTable.isDeltaTable(spark, table))


def find(spark: SparkSession, table: str) -> Snapshot | None:
    """Read a Delta table at its newest version; None where there is none."""
    if not exists(spark, table):
        return None
    version, facts = _last_commit(spark, table)
    reader = spark.read.option("versionAsOf", version)
    df = reader.table(table) if is_catalog_name(table) else reader.format("delta").load(table)
    return Snapshot(table, df, version, facts)


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
    SourceReadError
        If it can't be read as what it seems to be.
    """
    try:
        if kind in (None, "delta") and _is_delta(spark, table):
            return read(spark, table, "source")
        if is_catalog_name(table):
            df = spark.table(table)
        else:
            found = kind or _format_of(spark, table)
            if found is None:
                raise SourceReadError(
                    table, "its format can't be told from its files; set source.format"
                )
            settings = {**_OPTIONS.get(found, {}), **(options or {})}
            df = spark.read.format(found).options(**settings).load(table)
        return Snapshot(table, df, _file_version(spark, df))
    except AnalysisException as error:
        raise SourceReadError(table, _first_line(error)) from None


def where_partitions(df: DataFrame, where: str, partition_by: Sequence[str]) -> DataFrame:
    """Return the rows of the partitions that ``where`` names.

    Raises
    ------
    WherePredicateError
        If it names anything but partition columns.
    """
    if not partition_by:
        raise WherePredicateError(where, partition_by, "the project has no partition_by")
    only = StructType([df.schema[c] for c in partition_by])
    try:
        df.sparkSession.createDataFrame([], only).where(where)  # analysed, not run
    except AnalysisException as error:
        raise WherePredicateError(where, partition_by, _first_line(error)) from None
    return df.where(where)


def overwrite(
    df: DataFrame,
    table: str,
    *,
    facts: Mapping[str, Any],
    partition_by: Sequence[str] = (),
    where: str | None = None,
    observed: bool = False,
) -> Written:
    """Replace a table's rows, or those of the partitions that ``where`` names, in one commit.

    Its Parquet files are compressed by LZ4, unless the session's settings name a codec.

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

    Raises
    ------
    OccupiedPlaceError
        If there are files at ``table`` that are no Delta table.
    """
    spark, start = df.sparkSession, time.monotonic()
    named = is_catalog_name(table)
    if observed and named:  # saveAsTable loses observations, so rows are computed before it
        df = df.persist()
        df.count()
    writer = df.write.format("delta").mode("overwrite")
    writer = writer.option("userMetadata", json.dumps(facts, sort_keys=True))
    if partition_by:
        writer = writer.partitionBy(*partition_by)
    new = not exists(spark, table)
    if new and _holds_files(spark, table):
        raise OccupiedPlaceError(table)
    writer = writer.options(**_names(df, table, new))
    if where is not None and not new:
        writer = writer.option("replaceWhere", where)
    else:
        writer = writer.option("overwriteSchema", "true")
    try:
        with settings(spark, {_CODEC: str(spark.conf.get(_CODEC, _LZ4))}):
            if named:
                _make_schema(spark, table)
                writer.saveAsTable(table)
            else:
                writer.save(table)
    except Exception:
        if new:  # Delta's commit is atomic, but a first one that fails leaves files behind
            _remove(spark, table)
        raise
    finally:
        if observed and named:
            df.unpersist()
    return _written(spark, table, start)


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
        return overwrite(df, table, facts={})
    added = [f for f in df.schema if f.name not in stored.df.columns]
    old = stored.df.withColumns({f.name: F.lit(None).cast(f.dataType) for f in added})
    same = " AND ".join(f"old.`{c}` <=> new.`{c}`" for c in on)
    differs = " OR ".join(f"NOT (old.`{c}` <=> new.`{c}`)" for c in compare) or "false"
    as_is = F.expr(f"({same}) AND NOT ({differs})")
    if df.alias("new").join(old.alias("old"), as_is, "left_anti").isEmpty():
        return unchanged(stored)
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


def undo(spark: SparkSession, table: str, before: Snapshot | None) -> str:
    """Take the last write back, and say so: restore the version before, or drop a first table."""
    if before is not None:
        _delta(spark, table).restoreToVersion(int(before.version))
        return f"{table} was restored to version {before.version}"
    _remove(spark, table)
    return f"{table}, which this run had made, was dropped"


def _written(spark: SparkSession, table: str, start: float) -> Written:
    last = _delta(spark, table).history(1).collect()[0]
    rows = int((last["operationMetrics"] or {}).get("numOutputRows", 0))
    return Written(table, str(last["version"]), rows, time.monotonic() - start)


def _make_schema(spark: SparkSession, table: str) -> None:
    schema = table.rpartition(".")[0]
    if not spark.catalog.databaseExists(schema):
        spark.sql(f"CREATE SCHEMA {schema}")


def _remove(spark: SparkSession, table: str) -> None:
    if is_catalog_name(table):
        spark.sql(f"DROP TABLE IF EXISTS {table}")
        return
    files, path = _file_system(spark, table)
    files.delete(path, True)


def _holds_files(spark: SparkSession, table: str) -> bool:
    if is_catalog_name(table):
        return False
    files, path = _file_system(spark, table)
    return bool(files.exists(path) and len(files.listStatus(path)))


def _file_system(spark: SparkSession, table: str) -> tuple[Any, Any]:
    """Return Hadoop's file system of a path, and the path in it."""
    assert spark._jvm is not None  # a classic session, where Delta writes paths
    path = spark._jvm.org.apache.hadoop.fs.Path(table)
    return path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf()), path


def _sql_name(table: str) -> str:
    return table if is_catalog_name(table) else f"delta.{name_sql(table)}"


def _delta(spark: SparkSession, table: str) -> DeltaTable:
    named = is_catalog_name(table)
    return DeltaTable.forName(spark, table) if named else DeltaTable.forPath(spark, table)


def _last_commit(spark: SparkSession, table: str) -> tuple[str, Mapping[str, Any]]:
    commits = _delta(spark, table).history(_HISTORY).collect()
    last = _writer(commits)
    try:
        said = json.loads(last["userMetadata"] or "{}")
    except ValueError:
        said = {}
    return str(commits[0]["version"]), said if isinstance(said, dict) else {}


def _writer(commits: Sequence[Row]) -> Row:
    """Return the commit that made a table's rows: no maintenance, and where a restore went to."""
    newest = int(commits[0]["version"])
    for commit in commits:
        back = (commit["operationParameters"] or {}).get("version")
        if commit["version"] > newest or commit["operation"] in _MAINTENANCE:
            continue
        if commit["operation"] != "RESTORE" or back is None:
            return commit
        newest = int(back)
    return commits[0]


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


def _file_version(spark: SparkSession, df: DataFrame) -> str:
    names = df.inputFiles()
    if not names:
        return "unversioned"
    # Spark gives files as URLs and takes them as patterns.
    paths = [re.sub(r"([*?\[\]{}\\])", r"\\\1", unquote(name)) for name in names]
    rows = _files(spark, paths).collect()
    listing = sorted(f"{r['path']}|{r['length']}|{r['modificationTime']}" for r in rows)
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(" SQLSTATE")[0]
