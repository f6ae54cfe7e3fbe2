"""One run of a job: it holds its tables, writes candidates, and is accepted as a whole.

A job does its work inside ``with Run.of(…) as run``. What it writes counts for readers once the
run's row in the table of runs says that it was accepted, which is the last thing that a run does.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from pyspark.sql import DataFrame, SparkSession

from engine.errors import FaultBudgetError, LostError
from engine.project.settings import Project
from engine.redaction import redacted, without_secrets
from engine.storage import lease, tables
from engine.storage.lineage import Snapshot, Written
from engine.storage.own_files import OwnRows
from engine.storage.place import Place
from engine.storage.process import this_process
from engine.storage.recovery import recover
from engine.storage.runs import Event, Runs, State, TableVersion
from engine.storage.upsert import news_of, upsert

_LIBRARIES = ("slice-engine", "pyspark", "delta-spark", "pandas", "numpy", "pyarrow")
_ELSEWHERE = {"spark", "runs"}  # settings that decide no row
_LONGEST = 2_000  # characters of a note
_log = logging.getLogger(__name__)


def _never(_: Mapping[str, Any]) -> bool:
    return False


@dataclass
class Run:
    """One run of a job.

    Attributes
    ----------
    project, job
        What runs.
    id
        The run's own.
    runs
        The project's tables as this run sees them: accepted ones, and its own.
    started
        When it began.
    """

    project: Project
    job: str
    id: str
    runs: Runs
    started: dt.datetime
    faults: Mapping[str, int] = field(default_factory=dict)
    _read: dict[str, Snapshot] = field(default_factory=dict)
    _written: dict[str, Written] = field(default_factory=dict)
    _outputs: Sequence[str] = ()
    _models: dict[str, str] = field(default_factory=dict)
    _pulse: lease.Pulse | None = None

    @classmethod
    def of(cls, project: Project, spark: SparkSession, job: str, *outputs: Place | Path) -> Run:
        """Begin a run, which holds nothing yet.

        Parameters
        ----------
        project, spark, job
            What runs, and where.
        outputs
            The tables and folders that it may write.
        """
        now = dt.datetime.now(dt.UTC)
        own = f"{now:%Y%m%d-%H%M%S}-{uuid4().hex[:8]}"
        runs = Runs.at(spark, project.place("runs")).counting(own)
        return cls(project, job, own, runs, now, _outputs=[str(place) for place in outputs])

    @property
    def spark(self) -> SparkSession:
        """The session."""
        return self.runs.spark

    def reads(self, *snapshots: Snapshot) -> None:
        """Note what the run read."""
        self._read |= {snapshot.name: snapshot for snapshot in snapshots}

    def hold(self) -> None:
        """Hold the run's outputs.

        Raises
        ------
        HeldError
            If another run holds one all the time that this one waits.
        """
        if self._pulse is not None:
            return
        settings = self.project.runs
        patience = lease.Patience(settings.wait_seconds, settings.silence_seconds)
        self.runs = self.runs.with_table()
        pulse = lease.pulse(self.runs, self.id, patience)
        pulse.start()
        self._pulse = pulse
        self.runs = lease.take(self.runs, self._event(State.STARTED), patience)

    def own(self, place: Place, keep: Callable[[Mapping[str, Any]], bool] = _never) -> None:
        """Hold the run's outputs, and set right what a run that died left at one of them.

        Parameters
        ----------
        place
            The table that is going to be written.
        keep
            Whether a commit that nobody accepted, with these facts, is what this run would write.

        Raises
        ------
        HeldError
            If another run holds one all the time that this one waits.
        """
        self.hold()
        recovery = recover(self.runs, place, keep)
        if recovery:
            _log.warning("%s", recovery.sentence)
            if recovery.run:
                self.runs = self.runs.counting(recovery.run)

    def overwrite(self, df: DataFrame | OwnRows, place: Place, **how: Any) -> Written:
        """Write a candidate: ``tables.overwrite`` of a table that the run holds."""
        return self.writes(tables.overwrite(df, place, run=self.id, **how))

    def upsert(
        self, df: DataFrame, place: Place, on: Sequence[str], compare: Sequence[str] = ()
    ) -> Written:
        """Write a candidate of a table of records, unless it has the rows already."""
        stored = self.runs.find(place)
        news = news_of(df, stored, on, compare) if stored else None
        if news and news.is_none:
            return self.writes(tables.unchanged(news.stored))
        self.own(place)
        return self.writes(upsert(df, place, on, compare, self.id, news))

    def writes(self, written: Written) -> Written:
        """Note what the run wrote, or left as it was."""
        self._written[str(written.place)] = written
        return written

    def leaves(self, folder: Path, identity: str) -> None:
        """Note which model the run leaves in a folder."""
        self._models[str(folder)] = identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._end(State.ACCEPTED)
            elif self._pulse is not None:
                refused = isinstance(error, FaultBudgetError)
                with suppress(Exception):  # the error itself is what matters
                    self._end(State.REFUSED if refused else State.FAILED, _sentence(error))
        finally:
            if self._pulse is not None:
                self._pulse.stop()

    def _end(self, state: State, note: str = "") -> None:
        """Add the run's last event, after whatever others added meanwhile.

        Raises
        ------
        LostError
            If another run took this one for dead.
        """
        while True:
            last = self.runs.last(self.id)
            if last is not None and last.state == State.LOST:
                raise LostError(self.id, last.note)
            more = self.runs.add(self._event(state, note))
            if more is not None:
                self.runs = more
                return
            self.runs = Runs.at(self.spark, self.runs.place).counting(*self.runs.also)

    def _event(self, state: State, note: str = "") -> Event:
        now = dt.datetime.now(dt.UTC)
        process, done = this_process(), state is not State.STARTED
        written = list(self._written.values())
        models = [TableVersion(folder, "", of) for folder, of in self._models.items()]
        return Event(
            self.id,
            self.job,
            state,
            now,
            process.shown,
            process.text,
            self._outputs,
            [TableVersion(s.name, s.id, s.version) for s in self._read.values()],
            [*(TableVersion(str(w.place), w.id, w.version, w.rows) for w in written), *models],
            _settings(self.project) if done else "",
            sum(w.rows for w in written),
            round((now - self.started).total_seconds(), 3),
            dict(self.faults),
            _versions() if done else {},
            note,
            self.started,
            now if done else None,
        )


def _settings(project: Project) -> str:
    settings = project.model_dump(mode="json", exclude=_ELSEWHERE)
    settings["source"].pop("options")  # which may hold a password
    return json.dumps(without_secrets(settings), sort_keys=True)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(PackageNotFoundError):  # it may lie on the path alone
            versions[library] = version(library)
    return versions


def _sentence(error: BaseException) -> str:
    return redacted(f"{type(error).__name__}: {error}".partition("\n")[0])[:_LONGEST]
