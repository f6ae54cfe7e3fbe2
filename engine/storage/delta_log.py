"""A Delta table's log: which commit made its rows what they are, and how rows are identified."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from engine.storage.digest import digest
from engine.storage.jvm import file_system

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
        newest, operation = newest or commit, commit.info.get("operation")
        back = (commit.info.get("operationParameters") or {}).get("version")
        if operation == "RESTORE" and back is not None:
            at = int(back)
        elif operation in _MAINTENANCE or not commit.changes:
            at -= 1
        else:
            return commit
    return Commit(version, newest.mark if newest else "", {})


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
