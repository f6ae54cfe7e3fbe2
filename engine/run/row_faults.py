"""One row's fault: which row of which slice, and, once somebody asks, what it read and why."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from engine.errors import UnreadableValueError, text_of
from engine.slicing.evaluate import short
from engine.slicing.rows import values_of
from engine.watch import memory_limit

_CAUSE = 500  # characters of what an exception says
_ENGINE = str(Path(__file__).parents[1])


class Texts(NamedTuple):
    """What a fault says.

    Attributes
    ----------
    read
        The columns that the function read, with their values.
    cause
        The exception's type, message and place, or what was returned.
    """

    read: str
    cause: str


class Fault:
    """One row on which one slicing function failed; its texts are made when they are asked for.

    Parameters
    ----------
    slice_id
        The slice.
    row
        Position in the batch.
    texts
        What it says, or what makes it.

    Examples
    --------
    >>> fault = Fault("short", 3, lambda: Texts("text='a'", "ValueError: no"))
    >>> fault.read, fault.cause, fault.at(5).row
    ("text='a'", 'ValueError: no', 5)
    """

    __slots__ = ("_texts", "row", "slice_id")

    def __init__(self, slice_id: str, row: int, texts: Texts | Callable[[], Texts]) -> None:
        self.slice_id, self.row, self._texts = slice_id, row, texts

    @property
    def texts(self) -> Texts:
        """What it says."""
        if not isinstance(self._texts, Texts):
            self._texts = self._texts()
        return self._texts

    @property
    def read(self) -> str:
        """The columns that the function read, with their values."""
        return self.texts.read

    @property
    def cause(self) -> str:
        """The exception's type, message and place, or what was returned."""
        return self.texts.cause

    def at(self, row: int) -> Fault:
        """Return the same fault of another row."""
        return Fault(self.slice_id, row, lambda: self.texts)

    def __eq__(self, other: object) -> bool:
        mine = self.slice_id, self.row, *self.texts
        return isinstance(other, Fault) and mine == (other.slice_id, other.row, *other.texts)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Fault({self.slice_id!r}, {self.row}, {self.texts})"


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


def place_of(trace: TracebackType | None) -> Place | None:
    """Return the outermost line that isn't the engine's: the one of the user's function."""
    for frame, line in traceback.walk_tb(trace):
        file = frame.f_code.co_filename
        if not file.startswith(_ENGINE):
            return Place(file, line)
    return None


def cause_of(error: BaseException, place: Place | None) -> str:
    """Return an exception's type, message and place."""
    if isinstance(error, UnreadableValueError):
        return str(error)  # nothing is wrong with the line
    text, most = text_of(error), memory_limit()
    if most is not None and isinstance(error, MemoryError):
        text = f"it took more than the {most:,} MB of limits.memory_mb"
    where = f" ({os.path.basename(place.file)}:{place.line})" if place else ""
    text = text if len(text) <= _CAUSE else text[: _CAUSE - 3] + "..."
    return _text(f"{type(error).__name__}: {text}{where}")


def read_of(raw: Any, read: Iterable[str]) -> str:
    """Return some of a row's columns, with their values."""
    return _text(", ".join(f"{name}={short(values_of(raw)[name])}" for name in sorted(read)))


def _text(text: str) -> str:
    """Return a text as UTF-8 can hold it: a message may have half of a pair in it."""
    return text.encode("utf-8", "backslashreplace").decode()
