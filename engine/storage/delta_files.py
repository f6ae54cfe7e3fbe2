"""The files of a Delta table's version, read from its log without a Spark job.

Spark replays the log in jobs of its own whenever a table has a new version, however few files the
table has. Here the driver replays it: the last checkpoint of one form or in parts, and the commits
since. Delta's protocol has both (https://github.com/delta-io/delta/blob/master/PROTOCOL.md).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Action = Mapping[str, Any]  # what the log says of a file

_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet")
_OTHER_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*")  # of a form that Spark has to read
_READ = ("path", "partitionValues", "size", "stats", "deletionVector")
_PLAIN = (str, int)  # values whose order is that of the log's least and greatest


def files_added(log: str, version: int) -> list[Action] | None:
    """Return what the log says of each file of a version; None where Spark has to read it.

    Parameters
    ----------
    log
        The table's log, a folder on this machine.
    version
        The version.
    """
    try:
        start, parts = _last_checkpoint(os.listdir(log), version)
        files = {_key(add): add for part in parts for add in _checkpointed(Path(log, part))}
        for at in range(start + 1, version + 1):
            # A commit's removals are of what was there before: it may add a file again.
            actions = list(_actions(Path(log, f"{at:020d}.json")))
            for gone in (action["remove"] for action in actions if "remove" in action):
                files.pop(_key(gone), None)
            files |= {_key(add): add for a in actions if (add := a.get("add"))}
    except (OSError, pa.ArrowException, ValueError, KeyError, LookupError):
        return None
    return list(files.values())


def may_have(file: Action, values: Mapping[str, Any]) -> bool:
    """Tell whether a file may have a row with these values, by column, as its log says.

    Examples
    --------
    >>> file = {"stats": '{"minValues": {"id": 3}, "maxValues": {"id": 5}}'}
    >>> may_have(file, {"id": 4}), may_have(file, {"id": 6}), may_have(file, {"text": "a"})
    (True, False, True)
    """
    stats = json.loads(file.get("stats") or "{}")
    least, most = stats.get("minValues") or {}, stats.get("maxValues") or {}
    for column, value in values.items():
        low, high = least.get(column), most.get(column)
        alike = all(type(v) is type(value) for v in (low, high))
        if type(value) in _PLAIN and alike and not low <= value <= high:
            return False
    return True


def _last_checkpoint(names: list[str], version: int) -> tuple[int, list[str]]:
    """Return the newest checkpoint that is whole: its version and its files; -1 without one.

    Raises
    ------
    LookupError
        If one is newer that Spark has to read.
    """
    whole, parts, others = {}, dict[tuple[int, int], dict[int, str]](), [-1]
    for name in names:
        if known := _CHECKPOINT.fullmatch(name):
            at, part, of = (int(n) if n else 0 for n in known.groups())
            if at <= version and not of:
                whole[at] = [name]
            elif at <= version:
                there = parts.setdefault((at, of), {})  # it may have been written twice
                there[part] = name
                if len(there) == of:
                    whole[at] = [there[i] for i in sorted(there)]
        elif (other := _OTHER_CHECKPOINT.fullmatch(name)) and int(other[1]) <= version:
            others.append(int(other[1]))
    newest = max(whole, default=-1)
    if max(others) > newest:
        raise LookupError
    return newest, whole.get(newest, [])


def _checkpointed(path: Path) -> Iterator[Action]:
    """Yield the files that a checkpoint has.

    Raises
    ------
    LookupError
        If it names other files that have them.
    """
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        if "sidecar" in schema.names:
            raise LookupError
        there = schema.field("add").type
        columns = [f"add.{there.field(i).name}" for i in range(there.num_fields)
                   if there.field(i).name in _READ]  # fmt: skip
        for batch in file.iter_batches(columns=columns):
            for add in batch.column(0).drop_null().to_pylist():
                yield {**add, "partitionValues": dict(add["partitionValues"] or ())}


def _actions(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        yield from map(json.loads, lines)


def _key(action: Action) -> tuple[Any, ...]:
    """Return what names a file with its deleted rows."""
    vector = action.get("deletionVector") or {}
    return (action["path"], *(vector.get(k) for k in ("storageType", "pathOrInlineDv", "offset")))
