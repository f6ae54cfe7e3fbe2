"""The ways to answer one question about a text column for a batch of rows.

Each fills one row of a matrix, false to begin with, and gives exactly what Python gives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Method:
    """A way to answer a question.

    Attributes
    ----------
    how
        The way in a few words.
    answer
        Sets the rows of which the answer is yes.
    needles
        Literals whose places it needs.
    ascii
        Whether only the ASCII characters of a text matter.
    """

    how: str
    answer: Callable[[Scan, np.ndarray], None]
    needles: tuple[Needle, ...] = ()
    ascii: bool = False


@dataclass(frozen=True)
class Decider:
    """A way to decide any rows.

    Attributes
    ----------
    how
        The way in a few words.
    decide
        Returns the answer for each of some rows.
    """

    how: str
    decide: Callable[[Scan, np.ndarray], Any]


def everywhere(decider: Decider) -> Method:
    """Decide all rows that aren't null."""

    def answer(scan: Scan, out: np.ndarray) -> None:
        out[scan.rows] = decider.decide(scan, scan.rows)

    return Method(decider.how, answer)


def constant(value: bool) -> Method:
    """Give the same answer for every row: of the empty literal, or of one that no text can hold."""

    def answer(scan: Scan, out: np.ndarray) -> None:
        out[scan.rows] = value

    return Method("always" if value else "never", answer, ascii=True)


def literal(needle: Needle) -> Method:
    """Look for a literal anywhere in the text."""

    def answer(scan: Scan, out: np.ndarray) -> None:
        out[scan.of(needle)[1]] = True

    return Method("literal", answer, (needle,), needle.text.isascii())


def edge(literal: bytes, at_end: bool) -> Method:
    """Look for a literal at the beginning of the text, or at its end."""

    def answer(scan: Scan, out: np.ndarray) -> None:
        begins, ends, size = scan.text.offsets[:-1], scan.text.offsets[1:], len(literal)
        rows = scan.rows[(ends - begins)[scan.rows] >= size]
        first = ends[rows] - size if at_end else begins[rows]
        for i, byte in enumerate(literal):  # of all rows at once
            same = scan.text.data[first + i] == byte
            rows, first = rows[same], first[same]
        out[rows] = True

    where = "end" if at_end else "start"
    return Method(f"literal at the {where}", answer, ascii=literal.isascii())


def python(make: Callable[[], Callable[[str], Any]], how: str = "re per row") -> Decider:
    """Ask Python itself, row by row."""

    def decide(scan: Scan, rows: np.ndarray) -> list[bool]:
        ask = make()
        return [bool(ask(text)) for text in scan.text.strings(rows)]

    return Decider(how, decide)


def linear(translation: Translation, otherwise: Decider) -> Decider:
    """Ask RE2, on all rows or on those where it agrees with Python."""

    def match(scan: Scan, rows: np.ndarray) -> np.ndarray:
        array = scan.text.array
        array = array if len(rows) == len(array) else array.take(pa.array(rows))
        matches = pc.match_substring_regex(array, translation.pattern)
        return np.asarray(matches.to_numpy(zero_copy_only=False))

    def decide(scan: Scan, rows: np.ndarray) -> np.ndarray:
        wide = scan.is_wide[rows]
        answers = np.zeros(len(rows), dtype=bool)
        answers[~wide] = match(scan, rows[~wide])
        answers[wide] = otherwise.decide(scan, rows[wide])
        return answers

    if translation.ascii_only:
        return Decider("RE2 on ASCII rows, else re", decide)
    return Decider("RE2", match)


def windows(chains: tuple[Chain, ...], otherwise: Decider | None) -> Method:
    """Look at windows around the hits of their anchors; ``otherwise`` decides rows with twins."""

    def answer(scan: Scan, out: np.ndarray) -> None:
        for chain in chains:
            hits = [scan.of(window.anchor) for window in chain.windows]
            if all(len(position) for position, _ in hits):
                out[rows_of(chain, scan.text, hits)] = True
        if otherwise is not None and len(scan.twins):
            out[scan.twins] = otherwise.decide(scan, scan.twins)

    every = [window for chain in chains for window in chain.windows]
    literals = tuple(w.anchor for w in every if isinstance(w.anchor, Needle))
    if any(chain.gaps for chain in chains):
        return Method("windows in order", answer, literals)
    plain = len(literals) == len(every) and not any(w.before + w.after for w in every)
    return Method("literal" if plain else "fixed window", answer, literals)


def filtered(clauses: tuple[frozenset[Needle], ...], twins: bool, then: Decider) -> Method:
    """Decide the rows that hold a literal of each clause, and those with twins, one by one."""

    def answer(scan: Scan, out: np.ndarray) -> None:
        left = np.ones(len(out), dtype=bool)
        for clause in clauses:
            holds = np.zeros(len(out), dtype=bool)
            for needle in clause:
                holds[scan.of(needle)[1]] = True
            left &= holds
        if twins:
            left[scan.twins] = True
        rows = np.flatnonzero(left)
        if len(rows):
            out[rows] = then.decide(scan, rows)

    needles = tuple(needle for clause in clauses for needle in clause)
    return Method(f"literals then {then.how.removesuffix(' per row')}", answer, needles)
