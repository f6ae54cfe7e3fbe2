"""The table of runs: what each run read and wrote, and whether it was accepted.

Each row is an event of a run: it started and holds its tables, it was accepted, or it ended some
other way. Rows are numbered, and of two writers that read the same last number Delta lets one add
its row: who holds what is decided there. While a run holds tables it touches a file in the table's
folder, so that others can tell that it lives.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql.types import StructType

from engine.errors import MeanwhileError
from engine.storage import tables
from engine.storage.acceptance import Acceptance
from engine.storage.few_rows import small_rows
from engine.storage.lineage import Snapshot
from engine.storage.place import Place
from engine.storage.records import Records, append, first
from engine.storage.upsert import local_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WRITER = "slice-engine runs"
_TABLES = "array<struct<place: string, id: string, version: string, rows: bigint>>"
_COLUMNS = {
    "seq": "long", "run": "string", "job": "string", "state": "string", "at": "timestamp",
    "holder": "string", "process": "string", "outputs": "array<string>", "read": _TABLES,
    "written": _TABLES, "settings": "string", "rows": "long", "seconds": "double",
    "faults": "map<string, bigint>", "versions": "map<string, string>", "note": "string",
    "started": "timestamp", "ended": "timestamp", "format": "int",
}  # fmt: skip
SCHEMA = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
_READ_BACK = ("seq", "run", "job", "state", "at", "holder", "process", "outputs", "written", "note")


class State(StrEnum):
    """What became of a run."""

    STARTED = "started"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True)
class TableVersion:
    """A version of a table that a run read or wrote, and how many rows it wrote.

    A model's folder has no id, and a hash of its files for a version.
    """

    place: str
    id: str
    version: str
    rows: int | None = None


@dataclass(frozen=True)
class Event:
    """A row of the table of runs.

    Attributes
    ----------
    run, job
        The run's id, and its job.
    state
        What became of the run.
    at, started, ended
        When the row was made, and the run began and ended.
    holder, process
        Whose process it is, for people; and as ``is_gone`` takes it.
    outputs
        The places that the run may write.
    read, written
        The versions of tables that it read and that it leaves.
    settings
        The project's settings, JSON.
    rows, seconds
        Rows written, and how long the run took.
    faults
        Slice id to the rows that its function failed on.
    versions
        Library to version.
    note
        The error's sentence, or what another run found.
    seq
        The row's number.
    format
        Of the row.
    """

    run: str
    job: str
    state: str
    at: dt.datetime
    holder: str = ""
    process: str = ""
    outputs: Sequence[str] = ()
    read: Sequence[TableVersion] = ()
    written: Sequence[TableVersion] = ()
    settings: str = ""
    rows: int = 0
    seconds: float = 0.0
    faults: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    seq: int = 0
    format: int = tables.FORMAT


@dataclass(frozen=True)
class Runs:
    """The tables of a project as the runs that were accepted left them.

    Attributes
    ----------
    spark, place
        Where the table of runs is.
    events
        What it says, by number.
    also
        Further runs whose commits count for this reader, its own among them.
    version
        The version of the table that says it; -1 without one.
    """

    spark: SparkSession
    place: Place
    events: Sequence[Event] = ()
    also: frozenset[str] = frozenset()
    version: int = -1

    @classmethod
    def at(cls, spark: SparkSession, place: Place) -> Runs:
        """Read a table of runs; where there is none, all tables count as they are."""
        stored = tables.find(spark, place)
        if stored is None:
            return cls(spark, place)
        rows = map(_event, small_rows(stored.df.select(*_READ_BACK)))
        events = tuple(sorted(rows, key=lambda e: e.seq))
        return cls(spark, place, events, version=int(stored.version))

    def find(self, table: str | Place) -> Snapshot | None:
        """Read a table at the version that counts; None where none does."""
        return tables.find(self.spark, table, self.acceptance)

    def read(self, table: str | Place, role: str = "table") -> Snapshot:
        """Read a table at the version that counts.

        Raises
        ------
        TableError
            If none does.
        """
        return tables.read(self.spark, table, role, self.acceptance)

    @cached_property
    def acceptance(self) -> Acceptance:
        """Which versions of which tables count."""
        accepted = [e for e in self.events if e.state == State.ACCEPTED]
        versions: dict[str, int] = {}
        for table in (t for e in accepted for t in e.written if t.id):
            versions[table.id] = max(versions.get(table.id, -1), int(table.version))
        done = {e.run for e in accepted} | self.also
        return Acceptance(versions, frozenset(e.run for e in self.events) - done)

    def counting(self, *runs: str) -> Runs:
        """Return this with more runs whose commits count."""
        return replace(self, also=self.also.union(runs))

    def last(self, run: str) -> Event | None:
        """Return a run's last event; None where it has none."""
        return next((e for e in reversed(self.events) if e.run == run), None)

    def holders(self, outputs: Iterable[str]) -> list[Event]:
        """Return the runs that hold one of some places: those that started and didn't end."""
        wanted, last = set(outputs), {e.run: e for e in self.events}
        return [e for e in last.values() if e.state == State.STARTED and wanted & set(e.outputs)]

    def with_table(self) -> Runs:
        """Return this with a table, which is made if there is none."""
        if self.version >= 0 or tables.exists(self.spark, self.place):
            return self
        with suppress(MeanwhileError):  # somebody else made it
            done = first(self.spark, self._records([], 0))
            return replace(self, version=int(done.version))
        return self

    def add(self, *events: Event) -> Runs | None:
        """Add events to the table as it was read; None where somebody else was first."""
        runs = self.with_table()
        start = 1 + max((e.seq for e in self.events), default=0)
        now = tuple(replace(e, seq=start + i) for i, e in enumerate(events))
        try:
            done = append(self.spark, runs._records(now, start))
        except MeanwhileError:
            return None
        more = (*self.events, *now)
        return replace(self, events=more, version=int(done.version)) if done else None

    def _records(self, events: Sequence[Event], number: int) -> Records:
        columns = cast("StructType", StructType.fromDDL(SCHEMA))
        rows = local_table([_row(e) for e in events], columns)
        return Records(self.place, rows, columns, self.version, (_WRITER, number))


def _event(row: Mapping[str, Any]) -> Event:
    written = [TableVersion(**table) for table in row["written"] or ()]
    return Event(**{**row, "written": written})


def _row(event: Event) -> tuple[Any, ...]:
    values = {f.name: getattr(event, f.name) for f in fields(event)}
    for name in ("read", "written"):
        values[name] = [vars(table) for table in values[name]]
    for name in ("faults", "versions"):
        values[name] = list(values[name].items())
    values["outputs"] = list(values["outputs"])
    return tuple(values[name] for name in _COLUMNS)
