"""A Delta table's commits: whose they are, the way back, and the first one, of a table by its path.

A first write is marked while it runs, and cleaned up if it fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from delta.exceptions import DeltaConcurrentModificationException
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import Row, SparkSession

from engine.errors import MeanwhileError, TableError
from engine.storage.jvm import file_system, items, path_of, qualified
from engine.storage.place import Place

ATTEMPT = "attempt"  # which write a commit is of, among the facts
_EXISTS = {"DELTA_PATH_EXISTS", "DELTA_TABLE_ALREADY_EXISTS", "TABLE_OR_VIEW_ALREADY_EXISTS"}
_MARK = "_writing-"  # how the name of a mark starts that a first write leaves while it runs


def facts_of(metadata: str | None) -> Mapping[str, Any]:
    """Return the facts in a commit's metadata; none where its writer isn't ours."""
    try:
        facts = json.loads(metadata or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def attempt_of(commit: Row) -> str:
    """Return the attempt whose commit it is; empty where its writer isn't ours."""
    return str(facts_of(commit["userMetadata"]).get(ATTEMPT, ""))


def table_sql(spark: SparkSession, place: Place) -> str:
    """Return a Delta table for a statement in SQL, which takes no relative paths."""
    return Place.of(qualified(spark, place.text)).sql if place.is_relative else place.sql


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
