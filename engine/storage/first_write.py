"""The first write of a table by its path: marked while it runs, and cleaned up if it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from engine.errors import TableError
from engine.storage.jvm import file_system, path_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MARK = "_writing-"  # how the name of a mark starts that a first write leaves while it runs


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
    root, names = str(files.makeQualified(folder).toString()), set()
    listed = files.listFiles(folder, True)
    while listed.hasNext():
        names.add(str(listed.next().getPath().toString()).removeprefix(root).lstrip("/"))
    return names


def _prune(files: Any, folder: Any) -> None:
    """Remove a folder if there is no file in it or below, and those below that have none."""
    if not files.exists(folder):
        return
    for status in files.listStatus(folder):
        if status.isDirectory():
            _prune(files, status.getPath())
    if not len(files.listStatus(folder)):
        files.delete(folder, False)
