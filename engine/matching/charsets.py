"""One character of a regular expression: which characters it stands for, as Python's `re` says.

Nothing here knows case folding or Unicode categories: `re` is asked, once per distinct set.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from engine.matching.text import Characters, beyond_ascii

Item = tuple[Any, Any]  # an opcode of `re` and its argument, hashable

KEPT_FLAGS = re.IGNORECASE | re.ASCII | re.DOTALL | re.UNICODE  # those that a set depends on
ASCII_SIZE = 128
SURROGATES = range(0xD800, 0xE000)
# Characters beyond ASCII that are an ASCII letter when case doesn't count; a test enumerates all.
FOLD_TO_ASCII = frozenset({0x130, 0x131, 0x17F, 0x212A})
_HAVE_WIDE_TWINS = frozenset("iks")


@dataclass(frozen=True)
class Charset:
    """A set of characters, written as an item of a parsed regular expression.

    Attributes
    ----------
    item
        The parsed item, hashable.
    flags
        The flags in force where it stands.

    Examples
    --------
    >>> sorted(map(chr, Charset((_constants.LITERAL, ord("k")), re.IGNORECASE).ascii))
    ['K', 'k']
    """

    item: Item
    flags: int

    @property
    def any_case(self) -> bool:
        """Whether case doesn't count."""
        return bool(self.flags & re.IGNORECASE)

    @property
    def literal(self) -> str | None:
        """The character, where the set is that one alone whatever the case."""
        op, value = self.item
        if op is not _constants.LITERAL or value in SURROGATES:
            return None
        c = chr(value)
        return c if not self.any_case or (value < ASCII_SIZE and not c.isalpha()) else None

    @property
    def letter(self) -> str | None:
        """The lower case of an ASCII letter, where the set is the letter in both cases.

        Characters of :data:`FOLD_TO_ASCII` may belong to it too.
        """
        ascii_ = self.ascii
        lower = {chr(c).lower() for c in ascii_}
        if len(ascii_) != 2 or len(lower) != 1:  # noqa: PLR2004 - both cases
            return None
        op, _ = self.item
        return lower.pop() if op is _constants.LITERAL or not self.beyond else None

    @property
    def has_wide_twin(self) -> bool:
        """Whether a letter's set holds a character of :data:`FOLD_TO_ASCII` too."""
        return self.any_case and not self.flags & re.ASCII and self.letter in _HAVE_WIDE_TWINS

    @property
    def ascii(self) -> frozenset[int]:
        """The ASCII characters of the set."""
        return _ascii(self)

    @property
    def beyond(self) -> bool:
        """Whether the set may hold characters beyond ASCII; false is certain."""
        return _beyond(self)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """All characters of the set, as ranges of code points, both ends included."""
        return _ranges(self)

    @property
    def table(self) -> np.ndarray:
        """``[256]`` bool: the ASCII characters of the set."""
        return _table(self)

    @property
    def wide(self) -> Characters:
        """The characters beyond ASCII of the set."""
        return _wide(self)


def hashable(value: Any) -> Any:
    """Return the argument of a parsed item with tuples for lists."""
    if isinstance(value, list | tuple):
        return tuple(map(hashable, value))
    return value


@functools.lru_cache(None)
def _finder(charset: Charset) -> re.Pattern[str]:
    """Compile "one or more characters of the set"."""
    op, value = charset.item
    flags = charset.flags | (0 if charset.flags & re.ASCII else re.UNICODE)
    state = _parser.State()
    state.flags, state.str = flags, ""
    value = [tuple(v) for v in value] if op is _constants.IN else value
    one = _parser.SubPattern(state, [(op, value)])
    many = (_constants.MAX_REPEAT, (1, _constants.MAXREPEAT, one))
    found: re.Pattern[str] = _compiler.compile(_parser.SubPattern(state, [many]), flags)
    return found


@functools.lru_cache(None)
def _ascii(charset: Charset) -> frozenset[int]:
    return frozenset(_spread(_found(charset, _ASCII)))


@functools.lru_cache(None)
def _beyond(charset: Charset) -> bool:
    op, value = charset.item
    if op is _constants.LITERAL and value < ASCII_SIZE:
        twins = charset.any_case and not charset.flags & re.ASCII
        return twins and chr(value).lower() in _HAVE_WIDE_TWINS
    if op is _constants.IN and not charset.any_case and all(_below(v) for v in value):
        return False
    return op is not _constants.LITERAL or value not in SURROGATES


def _below(item: Item) -> bool:
    """Tell whether an item of a set stands for ASCII characters alone; false if in doubt."""
    op, value = item
    if op is _constants.LITERAL:
        return bool(value < ASCII_SIZE)
    return op is _constants.RANGE and bool(value[1] < ASCII_SIZE)


@functools.lru_cache(None)
def _ranges(charset: Charset) -> tuple[tuple[int, int], ...]:
    return tuple(_found(charset, _all_characters()))


@functools.lru_cache(None)
def _table(charset: Charset) -> np.ndarray:
    table = np.zeros(256, dtype=bool)
    table[list(charset.ascii)] = True
    return table


@functools.lru_cache(512)
def _wide(charset: Charset) -> Characters:
    return Characters((max(a, ASCII_SIZE), b) for a, b in charset.ranges if b >= ASCII_SIZE)


def _spread(ranges: Any) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)


_ASCII = "".join(map(chr, range(ASCII_SIZE)))


@functools.lru_cache(1)
def _all_characters() -> str:
    """All characters that UTF-8 can hold, with a gap where the surrogates would be."""
    return _ASCII + "".join(map(chr, beyond_ascii()))


def _found(charset: Charset, text: str) -> Iterator[tuple[int, int]]:
    """Yield the runs of the set's characters in a text of ascending characters."""
    for run in _finder(charset).finditer(text):
        first, last = ord(text[run.start()]), ord(text[run.end() - 1])
        if first < SURROGATES.start <= last:
            yield first, SURROGATES.start - 1
            first = SURROGATES.stop
        yield first, last
