"""A Delta table's log: the commit that made its rows, whose commits are whose, the way back.

The first write of a table by its path is marked while it runs, and cleaned up if it fails.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from delta.exceptions import DeltaConcurrentModificationException
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import Row, SparkSession

from engine.errors import MeanwhileError, TableError
from engine.storage.digest import digest
from engine.storage.jvm import file_system, items, path_of, qualified
from engine.storage.place import Place

ATTEMPT = "attempt"  # which write a commit is of, among the facts
_PIECE = 2**20
_CHANGES = re.compile(rb'"dataChange"\s*:\s*true|"metaData"\s*:\s*\{')
_LONGEST = 64  # bytes that a match of that has at most, about
_MAINTENANCE = {  # operations that change no row, though some of them write metadata
    "OPTIMIZE", "VACUUM START", "VACUUM END", "REORG", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
    "UPGRADE PROTOCOL", "ADD CONSTRAINT", "DROP CONSTRAINT", "CLUSTER BY", "COMPUTE STATS",
    "ADD FEATURE", "DROP FEATURE", "ROW TRACKING BACKFILL", "ROW TRACKING UNBACKFILL",
    "DOMAIN METADATA CLEANUP", "RESET ZCUBE", "FSCK",
    "CHANGE COLUMN", "CHANGE COLUMNS",  # what matters of these is in the schema
}  # fmt: skip
_MAPPED_TO = "delta.columnMapping.physicalName"
_NO_ROWS = {"comment", "delta.columnMapping.id"}  # of a column's metadata, what changes no row
_EXISTS = {"DELTA_PATH_EXISTS", "DELTA_TABLE_ALREADY_EXISTS", "TABLE_OR_VIEW_ALREADY_EXISTS"}
_MARK = "_writing-"  # how the name of a mark starts that a first write leaves while it runs


@dataclass(frozen=True)
class Commit:
    """One commit of a Delta table.

    Attributes
    ----------
    version
        Its version.
    mark
        A hash of how it starts, which no commit of another table with this id shares.
    info
        What its writer says of it, Delta's ``commitInfo``.
    changes
        Whether it changes rows or columns.
    """

    version: int
    mark: str
    info: Mapping[str, Any]
    changes: bool = True


@dataclass(frozen=True)
class DeltaLeaf:
    """A Delta table as a plan reads it: its own id, its log's folder, its version, its columns."""

    id: str
    log: str
    version: int
    columns: str


def delta_identity(leaf: DeltaLeaf, commit: Commit) -> str:
    """Return what identifies a Delta table's rows.

    Examples
    --------
    >>> delta_identity(DeltaLeaf("0dd2048b", "t/_delta_log", 7, "e1"), Commit(3, "9f2c", {}))
    'delta:0dd2048b@3:9f2c:e1'
    """
    return f"delta:{leaf.id}@{commit.version}:{commit.mark}:{leaf.columns}"


def leaf_of(index: Any) -> DeltaLeaf:
    """Return the table that a Delta relation's index of files is of, as it is now."""
    snapshot = index.getSnapshot()
    about, log = snapshot.metadata(), str(snapshot.deltaLog().logPath().toString())
    columns = digest(json.dumps(_columns(json.loads(about.schemaString()))))
    return DeltaLeaf(str(about.id()), log, int(snapshot.version()), columns)


def last_change(spark: SparkSession, log: str, version: int) -> Commit:
    """Return the commit that made a Delta table's rows what they are at a version.

    Skips commits that rewrite files but change no row, and follows a restore to its version. Where
    the log no longer has that commit, the one at the version stands for it.

    Parameters
    ----------
    spark
        The session.
    log
        The table's log, a folder.
    version
        The version.
    """
    newest, at = None, version
    while at >= 0 and (commit := read_commit(spark, log, at)):
        newest = newest or commit
        back = (commit.info.get("operationParameters") or {}).get("version")
        if commit.info.get("operation") == "RESTORE" and back is not None:
            at = int(back)
        elif is_maintenance(commit):
            at -= 1
        else:
            return commit
    return Commit(version, newest.mark if newest else "", {})


def is_maintenance(commit: Commit) -> bool:
    """Tell whether a commit changes no row, though it may rewrite files."""
    return commit.info.get("operation") in _MAINTENANCE or not commit.changes


def read_commit(spark: SparkSession, log: str, version: int) -> Commit | None:
    """Read a commit's file by pieces until it says whether it changes rows; None if it is gone."""
    try:
        files, path = file_system(spark, f"{log}/{version:020d}.json")
        stream = files.open(path)
    except Exception:  # cleaned up, or a log of another kind
        return None
    with closing(stream):
        piece = bytes(stream.readNBytes(_PIECE))
        mark = hashlib.sha256(piece).hexdigest()[:16]
        # What our jobs say of a commit may be long, for it names all slices.
        while b"\n" not in piece and (more := bytes(stream.readNBytes(_PIECE))):
            piece += more
        info = _commit_info(piece)
        while not (changes := _CHANGES.search(piece) is not None):
            more = bytes(stream.readNBytes(_PIECE))
            if not more:
                break
            piece = piece[-_LONGEST:] + more
    return Commit(version, mark, info, changes)


def _commit_info(start: bytes) -> Mapping[str, Any]:
    """Return what a commit's writer says of it; most write that first."""
    for line in start.split(b"\n"):
        if line.startswith(b'{"commitInfo"'):
            with suppress(ValueError):  # a last line that wasn't read to its end
                return dict(json.loads(line)["commitInfo"])
    return {}


def _columns(schema: Any) -> Any:
    """Return a schema's JSON without what changes no row: comments, and whether nulls may come.

    Examples
    --------
    >>> _columns({"name": "a", "type": "long", "nullable": True, "metadata": {"comment": "b"}})
    {'name': 'a', 'type': 'long', 'metadata': {}}
    """
    if isinstance(schema, list):
        return [_columns(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {k: _columns(v) for k, v in schema.items() if k not in {"nullable", "metadata"}}
    if "metadata" in schema:
        name, about = schema.get("name"), schema["metadata"]
        plain["metadata"] = {
            k: v for k, v in about.items() if k not in _NO_ROWS and (k, v) != (_MAPPED_TO, name)
        }
    return plain


def facts_of(metadata: str | None) -> Mapping[str, Any]:
    """Return the facts in a commit's metadata; none where its writer isn't ours."""
    try:
        facts = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def attempt_of(commit: Row) -> str:
    """Return the attempt whose commit it is; empty where its writer isn't ours."""
    return str(facts_of(commit["userMetadata"]).get(ATTEMPT, ""))


def table_sql(spark: SparkSession, place: Place) -> str:
    """Return a Delta table for a statement in SQL, which takes no relative paths."""
    return Place.of(qualified(spark, place.text)).sql if place.is_relative else place.sql


def location(spark: SparkSession, place: Place) -> str:
    """Return the folder of a Delta table."""
    if not place.in_catalog:
        return place.text.rstrip("/")
    return str(detail(spark, place)["location"])


def detail(spark: SparkSession, place: Place) -> Row:
    """Return what Delta says of a table: its format, folder, files and properties."""
    return spark.sql(f"DESCRIBE DETAIL {table_sql(spark, place)}").collect()[0]


def newest_commits(spark: SparkSession, place: Place, most: int) -> list[Row]:
    """Return a table's last commits, the newest first."""
    return spark.sql(f"DESCRIBE HISTORY {table_sql(spark, place)} LIMIT {most}").collect()


def newest_version(spark: SparkSession, place: Place) -> int:
    """Return the version of a table's last commit."""
    return int(newest_commits(spark, place, 1)[0]["version"])


def restore(spark: SparkSession, place: Place, version: int) -> None:
    """Make a table's rows those of a version, by a commit of its own."""
    spark.sql(f"RESTORE TABLE {table_sql(spark, place)} TO VERSION AS OF {version}")


def is_concurrent(error: Exception) -> bool:
    """Tell whether Delta refused a commit because of another one, converted or not."""
    if isinstance(error, Py4JJavaError):
        return str(error.java_exception.getClass().getName()).startswith("io.delta.exceptions.")
    return isinstance(error, DeltaConcurrentModificationException)


@contextmanager
def alone(place: Place, new: bool) -> Iterator[None]:
    """Turn Delta's errors about a concurrent write into a sentence.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    try:
        yield
    except (AnalysisException, Py4JJavaError, DeltaConcurrentModificationException) as error:
        exists = isinstance(error, AnalysisException) and error.getCondition() in _EXISTS
        if is_concurrent(error) or (new and exists):
            raise MeanwhileError(str(place), new) from None
        raise


@contextmanager
def first_write(spark: SparkSession, place: str, attempt: str) -> Iterator[None]:
    """Mark a place while a first write is under way there, and clean up after one that fails.

    Delta leaves the files of a write that fails. This removes them if nobody else had begun a table
    there or has committed one; else nobody knows whose they are, and VACUUM removes them. Marks
    stay until a commit: they show that the files are those of writes.

    Raises
    ------
    TableError
        If there are files that no write left.
    """
    files, folder = file_system(spark, place)
    begun, before = files.exists(path_of(spark, place, "_delta_log")), _listing(files, folder)
    marks = {name for name in before if name.startswith(_MARK)}
    if before and not marks and not begun:
        raise TableError(
            f"{place} holds files that are no Delta table, so none is written there: give another "
            "place, or remove it"
        )
    mark = f"{_MARK}{attempt}"
    files.create(path_of(spark, place, mark), False).close()
    try:
        yield
    except BaseException:
        now = _listing(files, folder) - {mark}
        others = begun or marks or any(name.startswith(_MARK) for name in now)
        if any(name.startswith("_delta_log/") for name in now):
            own = [*marks, mark]
        else:
            own = [] if others else [*now, mark]  # the mark last: it tells whose the others are
        for name in own:
            files.delete(path_of(spark, place, name), False)
        if own:
            _prune(files, folder)
        raise
    for name in (*marks, mark):
        files.delete(path_of(spark, place, name), False)


def remove_first(spark: SparkSession, place: str) -> None:
    """Remove a table of one commit: its files and its log, and folders that are empty then."""
    files, folder = file_system(spark, place)
    rows = [unquote(name) for name in spark.read.format("delta").load(place).inputFiles()]
    log = [n for n in _listing(files, folder) if n.startswith(f"_delta_log/{0:020d}.")]
    paths = (*(path_of(spark, place, name) for name in log), *(path_of(spark, n) for n in rows))
    for path in paths:
        files.delete(path, False)
    _prune(files, folder)


def _listing(files: Any, folder: Any) -> set[str]:
    """Return the names of the files in a folder and below, relative to it."""
    if not files.exists(folder):
        return set()
    root = str(files.makeQualified(folder).toString())
    paths = (str(f.getPath().toString()) for f in items(files.listFiles(folder, True)))
    return {path.removeprefix(root).lstrip("/") for path in paths}


def _prune(files: Any, folder: Any) -> None:
    """Remove a folder if there is no file in it or below, and those below that have none."""
    if not files.exists(folder):
        return
    for status in files.listStatus(folder):
        if status.isDirectory():
            _prune(files, status.getPath())
    if not len(files.listStatus(folder)):
        files.delete(folder, False)
