"""One run at a time writes a table: a run holds its tables until it ends or is found to be dead.

While a run holds tables it touches a file beside the table of runs. A run is dead if its process
was on this machine and is gone, or if it hasn't touched its file for some time; times are compared
in the file system's own clock, so that no two machines need to agree on theirs.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from engine.errors import HeldError
from engine.storage.delta_log import location
from engine.storage.jvm import remove_file, touch, touched
from engine.storage.process import is_gone, this_process
from engine.storage.runs import Event, Runs, State

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BEATS = 4  # in the time after which a silent run is dead
_PAUSE = 1.0  # seconds between two looks at who holds a table
_beating: set[str] = set()  # the files of this process' runs that live
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a run waits for others.

    Attributes
    ----------
    wait
        Seconds that it waits for a table that a living run holds.
    silence
        Seconds without a sign after which a run is dead.
    """

    wait: float = 600.0
    silence: float = 60.0


@dataclass
class Pulse:
    """The sign that a run lives: a file that a thread touches until it is stopped."""

    spark: SparkSession
    path: str
    seconds: float
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Touch the file, and go on."""
        touch(self.spark, self.path)
        _beating.add(self.path)
        threading.Thread(target=self._run, daemon=True, name="pulse").start()

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            with suppress(Exception):  # the next one may come through
                touch(self.spark, self.path)

    def stop(self) -> None:
        """Remove the file."""
        self._stop.set()
        _beating.discard(self.path)
        with suppress(Exception):  # a session that died takes no file away
            remove_file(self.spark, self.path)


def pulse(runs: Runs, run: str, patience: Patience) -> Pulse:
    """Return a run's sign of life."""
    return Pulse(runs.spark, _file(runs, run), patience.silence / _BEATS)


def take(
    runs: Runs, event: Event, patience: Patience, sleep: Callable[[float], None] = time.sleep
) -> Runs:
    """Add the event that a run started and holds its outputs, once no living run holds one.

    Parameters
    ----------
    runs
        The table of runs.
    event
        The run's first event; its pulse beats already.
    patience
        How long it waits.
    sleep
        What waits.

    Raises
    ------
    HeldError
        If another run holds one of the outputs all the time.
    """
    start, missing, waiting = time.monotonic(), dict[str, float](), False
    while True:
        holders = runs.holders(event.outputs)
        living = [e for e in holders if not _is_dead(runs, e, event.run, patience, missing)]
        if not living:
            more = runs.add(*(_lost(e, event.run) for e in holders), event)
            if more is not None:
                for dead in holders:
                    remove_file(runs.spark, _file(runs, dead.run))
                return more
        elif time.monotonic() - start > patience.wait:
            raise HeldError(event.job, _first(living[0], event), _about(living[0]), patience.wait)
        else:
            if not waiting:
                about = _about(living[0])
                _log.info("waiting up to %.0f s for %s", patience.wait, about)
                waiting = True
            sleep(_PAUSE)
        runs = Runs.at(runs.spark, runs.place).counting(*runs.also)


def _file(runs: Runs, run: str) -> str:
    return f"{location(runs.spark, runs.place)}/_alive/{run}"


def _is_dead(
    runs: Runs, event: Event, us: str, patience: Patience, missing: dict[str, float]
) -> bool:
    """Tell whether a run that holds something is dead.

    Parameters
    ----------
    runs
        The table of runs.
    event
        The other run's event.
    us
        The run that asks, whose file was touched just now.
    patience
        How long a run may be silent.
    missing
        Run to when its file was missing first; updated.
    """
    file = _file(runs, event.run)
    if event.process and is_gone(event.process):
        return True
    if event.process == this_process().text and file not in _beating:
        return True  # it ended, and could not say so
    theirs = touched(runs.spark, file)
    if theirs is None:
        since = missing.setdefault(event.run, time.monotonic())
        return time.monotonic() - since > patience.silence
    missing.pop(event.run, None)
    return touch(runs.spark, _file(runs, us)) - theirs > 1000 * patience.silence


def _lost(event: Event, by: str) -> Event:
    now = dt.datetime.now(dt.UTC)
    note = f"run {by} found that this one had died"
    return replace(event, state=State.LOST, at=now, note=note, written=())


def _first(holder: Event, event: Event) -> str:
    return next(place for place in event.outputs if place in holder.outputs)


def _about(event: Event) -> str:
    since = event.at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"run {event.run} of {event.job} ({event.holder}), which has held it since {since}"
