"""The last word of a worker that died, as Spark's error brings it: which slice ran, and where."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import WorkerError
from engine.watch import MARK

ROW, FIRST, LAST = "row", "first", "last"  # keys of rows, in a note's facts
_CRASHED = "Python worker exited unexpectedly"
_NOTE = re.compile(re.escape(MARK) + r"(?P<slice>\w*) *(?P<facts>\{.*\}) *\n(?P<dump>(?s:.*))")
_FATAL = re.compile(r"^Fatal Python error: (?P<what>[^\n]*)", re.MULTILINE)
_TIMEOUT = re.compile(r"^Timeout \(", re.MULTILINE)
_FRAME = re.compile(r'^  File "(?P<file>[^"\n]*)", line (?P<line>\d+) in ', re.MULTILINE)
_ROOMS = ("run", "compile", "lift", "arrow", "slicing", "matching", "ops")  # that workers run
_ENGINE = tuple(f"/engine/{room}/" for room in _ROOMS)
WORDLESS = (
    "its worker process ended without a word: a signal killed it, as the system does where memory "
    "is short, it closed descriptors that are not its own, or C code left"
)
_NO_NOTE = (
    "a Python worker ended while slices ran, and left no word which of them ended it: a signal "
    "killed it, as the system does where memory is short"
)


@dataclass(frozen=True)
class Death:
    """A worker's end.

    Attributes
    ----------
    slice_id
        The slice that ran; empty where that isn't known.
    facts
        What was noted beside it: the batch by its partition, the rows before it there and its
        length, limits, and keys of rows where they are known.
    cause
        What it did.
    place
        The line of its file, in parentheses; empty where that isn't known.
    is_late
        Whether it took too long.
    """

    slice_id: str
    facts: Mapping[str, Any]
    cause: str
    place: str = ""
    is_late: bool = False

    @property
    def rows(self) -> str:
        """The rows on which it ended, as far as they are known."""
        if ROW in self.facts:
            return f" on row {self.facts[ROW]}"
        if FIRST in self.facts:
            first, last, n = (self.facts.get(k) for k in (FIRST, LAST, "rows"))
            return f" on the {n:,} rows from {first} to {last}" if n != 1 else f" on row {first}"
        return ""

    def error(self, names: Mapping[str, str]) -> WorkerError:
        """Return the error that says it.

        Parameters
        ----------
        names
            Slice id to name.
        """
        name = names.get(self.slice_id)
        unknown = "a compiled slice" if self.facts else "a slice"
        who = unknown if name is None else f"slice {name!r}"
        how = "make it faster, raise limits.seconds" if self.is_late else "mend the function"
        error = WorkerError(
            f"{who} failed{self.rows}: {self.cause}{self.place}; {how}, or set on_error: "
            "quarantine to leave the slice out"
        )
        error.death = self
        error.slices = () if name is None else (self.slice_id,)
        return error


def death_in(text: str) -> Death | None:
    r"""Return the death that Spark's error tells; None where no worker died.

    Examples
    --------
    >>> note = MARK + "short" + " " * 60 + '{"seconds": 60}' + " " * 9
    >>> dump = "Timeout (0:01:00)!"
    >>> death = death_in(f"Python worker exited unexpectedly (crashed): {note}\n{dump}")
    >>> death.slice_id, death.cause
    ('short', 'it did not finish within 60 s')
    """
    if _CRASHED not in text:
        return None
    note = _NOTE.search(text)
    if note is None:
        return Death("", {}, _NO_NOTE)
    facts, dump = json.loads(note["facts"]), note["dump"]
    late = _TIMEOUT.search(dump) is not None
    return Death(note["slice"], facts, _cause(facts, dump, late), _place(dump), late)


def _cause(facts: Mapping[str, Any], dump: str, late: bool) -> str:
    fatal = _FATAL.search(dump)
    if "cause" in facts:
        return str(facts["cause"])
    if late:
        return f"it did not finish within {facts['seconds']:g} s"
    return f"it ended its worker process: {fatal['what']}" if fatal else WORDLESS


def _place(dump: str) -> str:
    """Return the line at which the user's function was: the outermost that isn't the engine's."""
    frames = [(f["file"], f["line"]) for f in _FRAME.finditer(dump)]
    ours = next((i for i, (file, _) in enumerate(frames) if _is_ours(file)), 0)
    if not ours:
        return ""
    file, line = frames[ours - 1]
    return f" ({os.path.basename(file)}:{line})"


def _is_ours(file: str) -> bool:
    return any(part in file.replace("\\", "/") for part in _ENGINE)
