"""Which rows of a Delta table are others than at an earlier version, by files that came and went.

A file that came holds new rows, or rewritten ones beside some that are as they were; a file that
went held rows that are no more, or are in a file that came. So the rows of both tell all that
changed, for appends, updates, merges and deletes alike, with or without a change data feed. Files
that OPTIMIZE rewrites hold no other rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pyspark.sql import functions as F  # noqa: N812

from engine.sql import name_sql
from engine.storage.delta_files import Action
from engine.storage.delta_log import DeltaLeaf, read_commit
from engine.storage.identity import delta_leaf
from engine.storage.jvm import read_file, rows_of_files, table_bytes, touched
from engine.storage.lineage import Snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_IDENTITY = re.compile(r"delta:(?P<id>[^@:]+)@(?P<version>\d+):(?P<mark>\w*):(?P<columns>.*)")
_MOST_COMMITS = 200  # that are read one by one
_MOST_WENT = 1_000  # files that are looked for
_MOST_OF_ALL = 0.5  # of a table's bytes, above which all rows are looked at
_WHOLE = {"tinyint", "smallint", "int", "bigint"}
Bounds = tuple[str, int, int]  # a column of some keys, its least and its greatest value
_KINDS = {"add", "remove", "metaData"}
_CHANGED = "what changed isn't known: "


@dataclass(frozen=True)
class RowChanges:
    """How a table's rows differ from those at an earlier version.

    Attributes
    ----------
    since
        The earlier version.
    came
        The rows of files that came; None without any.
    gone
        The rows of files that went, as they were; None without any.
    files
        How many files came and went.
    before
        All rows as they were.
    """

    since: int
    came: DataFrame | None
    gone: DataFrame | None
    files: tuple[int, int]
    before: DataFrame


@dataclass
class _Files:
    """What the log says of files that came, of those that went, and which OPTIMIZE wrote.

    Attributes
    ----------
    came
        Path to the version in which a file came, and what the log says of it.
    went
        Path to what the log says of a file that went.
    moved, left
        Files that OPTIMIZE wrote, and those that came and that it took rows from.
    """

    came: dict[str, tuple[int, Action]] = field(default_factory=dict)
    went: dict[str, Action] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)


def bounds_of(keys: DataFrame) -> Bounds | None:
    """Return what is known of some keys; None where they have no column of whole numbers."""
    column = next((c for c, kind in keys.dtypes if kind in _WHOLE), None)
    if column is None:
        return None
    low, high = keys.agg(F.min(name_sql(column)), F.max(name_sql(column))).collect()[0]
    return None if low is None else (column, low, high)


def within(df: DataFrame, bounds: Bounds | None) -> DataFrame:
    """Return the rows within bounds, for which files of other keys needn't be read."""
    if bounds is None:
        return df
    column, low, high = bounds
    return df.where(F.col(name_sql(column)).between(low, high))


def row_changes(before: str, now: Snapshot) -> RowChanges | str:
    """Return how a Delta table's rows changed, or a sentence that says why nobody knows.

    Parameters
    ----------
    before
        The identity of its rows at the earlier version.
    now
        The table.
    """
    log = _log_since(before, now)
    if isinstance(log, str):
        return log
    spark, leaf, since, files = now.df.sparkSession, *log
    bytes_of_all = max(1, _bytes(spark, leaf) or table_bytes(now.df))
    if sum(int(add["size"]) for _, add in files.came.values()) > _MOST_OF_ALL * bytes_of_all:
        return f"most of {now.name} came since version {since}"
    if len(files.went) > _MOST_WENT:
        return f"{len(files.went):,} files of {now.name} went since version {since}"
    if not (files.came or files.went):
        return f"{_CHANGED}no file of {now.name} came or went since version {since}"
    if removed := _removed(spark, leaf.log.rpartition("/")[0], [*files.went, *files.left]):
        return f"{_CHANGED}files that {now.name} had in version {since} are removed ({removed})"
    if any("partitionValues" not in gone for gone in files.went.values()):
        return f"{_CHANGED}the log of {now.name} doesn't say of which partition its files were"
    came = [add for _, add in files.came.values()]
    both = rows_of_files(now.df, came) if came else None
    gone = rows_of_files(now.df, list(files.went.values())) if files.went else None
    counts = len(files.came), len(files.went)
    return RowChanges(since, both, gone, counts, _at(now, since))


def only_came(before: str, now: Snapshot) -> str:
    """Say why a Delta table's rows aren't those at an earlier version and new ones; nothing if so.

    Parameters
    ----------
    before
        The identity of its rows at the earlier version.
    now
        The table.
    """
    log = _log_since(before, now)
    if isinstance(log, str):
        return log
    _, since, files = log
    went = len(files.went)
    return f"rows of {now.name} were changed or went since version {since}" if went else ""


def _log_since(before: str, now: Snapshot) -> tuple[DeltaLeaf, int, _Files] | str:
    """Return the table, the earlier version, and what the log says since, or why nobody knows."""
    spark, known = now.df.sparkSession, _IDENTITY.fullmatch(before)
    if known is None or not now.identity.startswith("delta:"):
        return f"{_CHANGED}{now.name} is no Delta table"
    leaf, since = delta_leaf(now.df), int(known["version"])
    if (leaf.id, leaf.columns) != (known["id"], known["columns"]):
        how = "was made again" if leaf.id != known["id"] else "has other columns"
        return f"{_CHANGED}{now.name} {how} since version {since}"
    start = read_commit(spark, leaf.log, since)
    if start is None or start.mark != known["mark"] or since > leaf.version:
        return f"{_CHANGED}the log of {now.name} no longer has version {since}"
    files = _files(spark, leaf, since, now.name)
    if isinstance(files, str):
        return files
    return leaf, since, files


def _files(spark: SparkSession, leaf: DeltaLeaf, since: int, name: str) -> _Files | str:
    if leaf.version - since > _MOST_COMMITS:
        return f"{_CHANGED}{name} has {leaf.version - since:,} commits since version {since}"
    files = _Files()
    for version in range(since + 1, leaf.version + 1):
        text = read_file(spark, f"{leaf.log}/{version:020d}.json")
        if text is None:
            return f"{_CHANGED}the log of {name} no longer has version {version}"
        for kind, action in _actions(text):
            if problem := _problem(files, kind, action, version):
                return f"{_CHANGED}{problem} in version {version} of {name}"
    return files


def _bytes(spark: SparkSession, leaf: DeltaLeaf) -> int:
    """Return how many bytes a version's files have, as its checksum says; 0 without one."""
    text = read_file(spark, f"{leaf.log}/{leaf.version:020d}.crc")
    try:
        return int(json.loads(text or b"{}")["tableSizeBytes"])
    except (ValueError, KeyError, TypeError):
        return 0


def _removed(spark: SparkSession, root: str, paths: Iterable[str]) -> str | None:
    """Return the first of some files that VACUUM has removed; None where all are there.

    Parameters
    ----------
    root
        The table's folder.
    paths
        The files, as the log names them.
    """
    for path in sorted(paths):
        place = unquote(path)
        absolute = place.startswith("/") or ":" in place.partition("/")[0]
        if touched(spark, place if absolute else f"{root}/{place}") is None:
            return path
    return None


def _actions(text: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a commit does to files and to the table."""
    for line in text.splitlines():
        for kind, action in json.loads(line).items():
            if kind in _KINDS:
                yield kind, action


def _at(table: Snapshot, version: int) -> DataFrame:
    """Return a table's rows at a version."""
    reader = table.df.sparkSession.read.option("versionAsOf", version)
    df: DataFrame = table.place.load(reader)
    return df


def _problem(files: _Files, kind: str, action: dict[str, Any], version: int) -> str:
    """Note what an action does to a file; return what can't be followed, or nothing."""
    if kind == "metaData":
        return "columns or properties were changed"
    path, changes = str(action["path"]), bool(action.get("dataChange", True))
    if kind == "add" and changes:
        files.came[path] = (version, action)
    elif kind == "add":
        files.moved.add(path)
    elif not changes and path in files.came:
        files.left.add(path)
    elif changes and path in files.moved:
        return "rows were changed in a file that OPTIMIZE had made"
    elif changes and files.came.get(path, (version, {}))[0] < version:
        return "rows were changed that had come"
    elif changes:
        files.went[path] = action
    return ""
