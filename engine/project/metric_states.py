"""What an evaluation added up, in a file beside its report, so that the next adds only new rows.

Sums are integers: those of rows that came are added, and those of rows that are no more are taken
away, and every figure is bit for bit that of all rows. Rows that are shown stay, unless a new one
comes before them. The file is no table: where it isn't there, is of something else, or where what
changed isn't known, all rows are evaluated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from engine.masks.checks import quoted
from engine.storage.lineage import Snapshot
from engine.storage.row_changes import Bounds, RowChanges, bounds_of, row_changes, within
from engine.storage.texts import replace_bytes

_FORMAT = 1
_MOST = 2**28  # bytes of a file
_FACTS = b"facts"  # where the schema has them
_HASH = 32  # bytes before the table


@dataclass(frozen=True)
class MetricStates:
    """What an evaluation added up.

    Attributes
    ----------
    key
        A hash of what was asked.
    tables
        Each table that was read, by the role that it has, to the identity of its rows.
    sums
        The sums of all rows.
    shown
        Which rows were asked for to be shown, as a text, to their keys.
    """

    key: str
    tables: Mapping[str, str]
    sums: pa.Table
    shown: Mapping[str, Sequence[Sequence[Any]]] = field(default_factory=dict)


def write_states(file: Path, states: MetricStates) -> None:
    """Write states in place of others; none that are too large."""
    facts = {
        "format": _FORMAT, "key": states.key, "tables": dict(states.tables),
        "shown": {wanted: [list(key) for key in keys] for wanted, keys in states.shown.items()},
    }  # fmt: skip
    table = states.sums.replace_schema_metadata({_FACTS: json.dumps(facts, default=str)})
    sink, options = pa.BufferOutputStream(), pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
        stream.write_table(table)
    data = sink.getvalue().to_pybytes()
    if len(data) > _MOST:
        file.unlink(missing_ok=True)
    else:
        replace_bytes(file, hashlib.sha256(data).digest() + data)


def read_states(file: Path) -> MetricStates | None:
    """Return the states in a file; None where there is none, or it isn't whole."""
    try:
        whole = file.read_bytes()
    except OSError:
        return None
    digest, data = whole[:_HASH], whole[_HASH:]
    if hashlib.sha256(data).digest() != digest:
        return None
    with pa.ipc.open_stream(data) as stream:
        table = stream.read_all()
    facts = json.loads(table.schema.metadata[_FACTS])
    if facts["format"] != _FORMAT:
        return None
    shown = {wanted: [tuple(key) for key in keys] for wanted, keys in facts["shown"].items()}
    return MetricStates(facts["key"], facts["tables"], table.replace_schema_metadata(), shown)


@dataclass(frozen=True)
class Changes:
    """How tables differ from those that were evaluated.

    Attributes
    ----------
    of
        Role to how a table's rows changed, of those that did.
    keys
        The keys of all these rows.
    bounds
        What is known of them all.
    """

    of: Mapping[str, RowChanges]
    keys: DataFrame
    bounds: Bounds | None

    def __str__(self) -> str:
        each = []
        for role, changes in self.of.items():
            came, went = changes.files
            files = f"{came:,} file{'' if came == 1 else 's'} of {role} came"
            each.append(f"{files} and {went:,} went" if went else files)
        return f"only rows that changed are evaluated: {', '.join(each)}"

    def among(self, df: DataFrame) -> DataFrame:
        """Return the rows that have one of the keys, of rows with the key's columns."""
        return within(df, self.bounds).join(self.keys, self.keys.columns, "left_semi")

    def others(self, df: DataFrame) -> DataFrame:
        """Return the rows that have none of the keys."""
        return df.join(self.keys, self.keys.columns, "left_anti")


def changes_since(
    states: MetricStates, tables: Mapping[str, tuple[Snapshot, Sequence[str]]], key: Sequence[str]
) -> Changes | str:
    """Return how tables changed since they were evaluated, or a sentence why nobody knows.

    Parameters
    ----------
    states
        What the evaluation left.
    tables
        Role to the table now, and its columns that name a row; the mask table first.
    key
        The columns that name a row, as the mask table has them.
    """
    of, keys = {}, []
    kinds = dict(next(iter(tables.values()))[0].df.dtypes)
    for role, (stored, columns) in tables.items():
        if states.tables.get(role) == stored.identity:
            continue
        changes = row_changes(states.tables.get(role, ""), stored)
        if isinstance(changes, str):
            return changes
        of[role] = changes
        names = [
            quoted(theirs).cast(kinds[ours]).alias(ours)
            for ours, theirs in zip(key, columns, strict=True)
        ]
        keys += [df.select(*names) for df in (changes.came, changes.gone) if df is not None]
    if not of:
        return "no table changed"
    every = reduce(DataFrame.union, keys).dropna().distinct().persist()
    return Changes(of, every, bounds_of(every))
