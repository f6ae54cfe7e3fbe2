"""The ways to answer one question about a text column for a batch of rows.

Each fills one row of a matrix, false to begin with, and gives exactly what Python gives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.matching.charsets import FOLD_TO_ASCII, Charset
from engine.matching.dialect import Translation
from engine.matching.scan import Hits, Needle
from engine.matching.text import TextBatch, characters
from engine.matching.windows import Chain, places, rows_of


class Scan:
    """A batch, and where the literals of all questions are in it.

    Parameters
    ----------
    text
        The batch.
    hits
        All hits.
    numbers
        The number of each literal in them.
    """

    def __init__(self, text: TextBatch, hits: Hits, numbers: Mapping[Needle, int]) -> None:
        self.text = text
        self._hits, self._numbers = hits, numbers
        self._places: dict[Charset, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, anchor: Needle | Charset) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and rows of a literal, or of the characters of a set."""
        if isinstance(anchor, Needle):
            return self._hits.of(self._numbers[anchor])
        if anchor not in self._places:
            self._places[anchor] = places(anchor, self.text)
        return self._places[anchor]

    @functools.cached_property
    def twins(self) -> np.ndarray:
        """Rows with a character beyond ASCII that equals an ASCII one if case doesn't count."""
        return self.text.rows_with(characters(FOLD_TO_ASCII))

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """All rows that aren't null."""
        return self.text.known(np.arange(len(self.text)))

    @functools.cached_property
    def is_wide(self) -> np.ndarray:
        """``[n]`` bool: rows with characters beyond ASCII."""
        wide = np.zeros(len(self.text), dtype=bool)
        wide[self.text.rows_at(self.text.leads)] = True
        return wide


class Method(Protocol):
    """A way to answer a question."""

    @property
    def how(self) -> str:
        """The way in a few words."""

    @property
    def needles(self) -> Iterable[Needle]:
        """Literals whose places it needs."""

    @property
    def ascii(self) -> bool:
        """Whether only the ASCII characters of a text matter."""

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Set the rows of which the answer is yes."""


class Decider(Protocol):
    """A way to decide any rows."""

    @property
    def how(self) -> str:
        """The way in a few words."""

    def decide(self, scan: Scan, rows: np.ndarray) -> Any:
        """Return the answer for each of some rows."""


@dataclass(frozen=True)
class Constant:
    """The same answer for every row: the empty literal, or one that no text can hold."""

    value: bool
    needles: tuple[Needle, ...] = ()
    ascii: bool = True

    @property
    def how(self) -> str:
        """The way in a few words."""
        return "always" if self.value else "never"

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Set all rows that aren't null, or none."""
        if self.value:
            out[scan.rows] = True


@dataclass(frozen=True)
class Literal:
    """A literal anywhere in the text."""

    needle: Needle
    how: str = "literal"

    @property
    def needles(self) -> tuple[Needle, ...]:
        """The literal."""
        return (self.needle,)

    @property
    def ascii(self) -> bool:
        """Whether the literal is ASCII."""
        return self.needle.text.isascii()

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Set the rows of its hits."""
        out[scan.of(self.needle)[1]] = True


@dataclass(frozen=True)
class Edge:
    """A literal at the beginning of the text, or at its end."""

    text: bytes
    at_end: bool
    needles: tuple[Needle, ...] = ()

    @property
    def how(self) -> str:
        """The way in a few words."""
        return "literal at the end" if self.at_end else "literal at the start"

    @property
    def ascii(self) -> bool:
        """Whether the literal is ASCII."""
        return self.text.isascii()

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Compare the bytes of all rows at once, one place after the other."""
        begins, ends, size = scan.text.offsets[:-1], scan.text.offsets[1:], len(self.text)
        rows = scan.rows[(ends - begins)[scan.rows] >= size]
        first = ends[rows] - size if self.at_end else begins[rows]
        for i, byte in enumerate(self.text):
            same = scan.text.data[first + i] == byte
            rows, first = rows[same], first[same]
        out[rows] = True


@dataclass(frozen=True)
class Python:
    """Python itself, row by row."""

    make: Callable[[], Callable[[str], Any]]
    how: str = "re per row"
    needles: tuple[Needle, ...] = ()
    ascii: bool = False

    def decide(self, scan: Scan, rows: np.ndarray) -> Any:
        """Call it on some rows."""
        ask = self.make()
        return [bool(ask(text)) for text in scan.text.strings(rows)]

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Call it on all rows."""
        out[scan.rows] = self.decide(scan, scan.rows)


@dataclass(frozen=True)
class Linear:
    """RE2, on all rows or on those where it agrees with Python."""

    translation: Translation
    otherwise: Python
    needles: tuple[Needle, ...] = ()
    ascii: bool = False

    @property
    def how(self) -> str:
        """The way in a few words."""
        return "RE2 on ASCII rows, else re" if self.translation.ascii_only else "RE2"

    def decide(self, scan: Scan, rows: np.ndarray) -> Any:
        """Match some rows."""
        if not self.translation.ascii_only:
            return self._matched(scan, rows)
        wide = scan.is_wide[rows]
        answers = np.zeros(len(rows), dtype=bool)
        answers[~wide] = self._matched(scan, rows[~wide])
        answers[wide] = self.otherwise.decide(scan, rows[wide])
        return answers

    def _matched(self, scan: Scan, rows: np.ndarray) -> np.ndarray:
        array = scan.text.array
        array = array if len(rows) == len(array) else array.take(pa.array(rows))
        matches = pc.match_substring_regex(array, self.translation.pattern)
        answers: np.ndarray = matches.to_numpy(zero_copy_only=False)
        return answers

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Match all rows."""
        out[scan.rows] = self.decide(scan, scan.rows)


@dataclass(frozen=True)
class Windows:
    """Chains of windows around the hits of their anchors; ``twins`` go to ``otherwise``."""

    chains: tuple[Chain, ...]
    twins: bool
    otherwise: Decider
    ascii: bool = False

    @property
    def how(self) -> str:
        """The way in a few words."""
        if any(chain.gaps for chain in self.chains):
            return "windows in order"
        windows = [chain.windows[0] for chain in self.chains]
        plain = all(isinstance(w.anchor, Needle) and not w.before + w.after for w in windows)
        return "literal" if plain else "fixed window"

    @property
    def needles(self) -> tuple[Needle, ...]:
        """The literals among the anchors."""
        anchors = (window.anchor for chain in self.chains for window in chain.windows)
        return tuple(anchor for anchor in anchors if isinstance(anchor, Needle))

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Set the rows in which a chain occurs."""
        for chain in self.chains:
            hits = [scan.of(window.anchor) for window in chain.windows]
            if all(len(position) for position, _ in hits):
                out[rows_of(chain, scan.text, hits)] = True
        if self.twins and len(scan.twins):
            out[scan.twins] = self.otherwise.decide(scan, scan.twins)


@dataclass(frozen=True)
class Filtered:
    """Decides the rows that hold a literal of each clause one by one."""

    clauses: tuple[frozenset[Needle], ...]
    twins: bool
    then: Decider
    ascii: bool = False

    @property
    def how(self) -> str:
        """The way in a few words."""
        return f"literals then {self.then.how.removesuffix(' per row')}"

    @property
    def needles(self) -> tuple[Needle, ...]:
        """All literals."""
        return tuple(needle for clause in self.clauses for needle in clause)

    def answer(self, scan: Scan, out: np.ndarray) -> None:
        """Decide the rows that are left."""
        left: np.ndarray | None = None
        for clause in self.clauses:
            holds = np.zeros(len(out), dtype=bool)
            for needle in clause:
                holds[scan.of(needle)[1]] = True
            left = holds if left is None else left & holds
        assert left is not None  # a filter has clauses
        if self.twins:
            left[scan.twins] = True
        rows = np.flatnonzero(left)
        if len(rows):
            out[rows] = self.then.decide(scan, rows)
