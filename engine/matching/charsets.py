"""One character of a regular expression: which characters it stands for, as Python's `re` says.

Nothing here knows case folding or Unicode categories: `re` tells, once per distinct set.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from engine.matching.scan import SHARE
from engine.matching.text import Characters, beyond_ascii

Item = tuple[Any, Any]  # an opcode of `re` and its argument, hashable

KEPT_FLAGS = re.IGNORECASE | re.ASCII | re.DOTALL | re.UNICODE  # those that a set depends on
ASCII_SIZE = 128
SURROGATES = range(0xD800, 0xE000)
# Characters beyond ASCII that are an ASCII letter when case doesn't count; a test enumerates all.
FOLD_TO_ASCII = frozenset({0x130, 0x131, 0x17F, 0x212A})
_HAVE_WIDE_TWINS = frozenset("iks")
_WIDE_SHARE = 0.02  # of a text's bytes, expected to begin a character beyond ASCII


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
    def spelling(self) -> tuple[bytes, bool | None]:
        """The bytes of a set of one character, and whether case doesn't count (None: either way).

        The bytes are empty where the set is of several characters.
        """
        literal = self.literal
        if literal is not None:
            return literal.encode(), False if literal.isascii() and literal.isalpha() else None
        letter = self.letter
        return (b"", None) if letter is None else (letter.encode(), True)

    @functools.cached_property
    def ascii(self) -> frozenset[int]:
        """The ASCII characters of the set."""
        return frozenset(c for a, b in self._runs(_ASCII) for c in range(a, b + 1))

    @functools.cached_property
    def beyond(self) -> bool:
        """Whether the set may hold characters beyond ASCII; false is certain."""
        op, value = self.item
        if op is _constants.LITERAL and value < ASCII_SIZE:
            twins = self.any_case and not self.flags & re.ASCII
            return twins and chr(value).lower() in _HAVE_WIDE_TWINS
        if op is _constants.IN and not self.any_case and all(map(_is_ascii, value)):
            return False
        return op is not _constants.LITERAL or value not in SURROGATES

    @functools.cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """All characters of the set, as ranges of code points, both ends included."""
        return tuple(self._runs(_all_characters()))

    @functools.cached_property
    def table(self) -> np.ndarray:
        """``[256]`` bool: the ASCII characters of the set."""
        table = np.zeros(256, dtype=bool)
        table[list(self.ascii)] = True
        return table

    @property
    def wide(self) -> Characters:
        """The characters beyond ASCII of the set."""
        return _wide(self)

    @property
    def expected(self) -> float:
        """Hits expected per byte of text, a rough guess."""
        return float(SHARE[list(self.ascii)].sum()) + _WIDE_SHARE * self.beyond

    def _runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the runs of the set's characters in a text of ascending characters."""
        op, value = self.item
        flags = self.flags | (0 if self.flags & re.ASCII else re.UNICODE)
        state = _parser.State()
        state.flags, state.str = flags, ""
        one = _parser.SubPattern(state, [(op, value)])
        many = (_constants.MAX_REPEAT, (1, _constants.MAXREPEAT, one))
        pattern = _compiler.compile(_parser.SubPattern(state, [many]), flags)
        for run in pattern.finditer(text):
            first, last = ord(text[run.start()]), ord(text[run.end() - 1])
            if first < SURROGATES.start <= last:
                yield first, SURROGATES.start - 1
                first = SURROGATES.stop
            yield first, last


@functools.lru_cache(4096)
def charset(op: Any, value: Any, flags: int) -> Charset:
    """Return the set of an item of a parsed expression: equal sets are one object."""
    return Charset((op, value), flags)


def hashable(value: Any) -> Any:
    """Return the argument of a parsed item with tuples for lists."""
    if isinstance(value, list | tuple):
        return tuple(map(hashable, value))
    return value


def _is_ascii(item: Item) -> bool:
    """Tell whether an item of a set stands for ASCII characters alone; false if in doubt."""
    op, value = item
    if op is _constants.LITERAL:
        return bool(value < ASCII_SIZE)
    return op is _constants.RANGE and bool(value[1] < ASCII_SIZE)


@functools.lru_cache(512)
def _wide(charset: Charset) -> Characters:
    return Characters((max(a, ASCII_SIZE), b) for a, b in charset.ranges if b >= ASCII_SIZE)


_ASCII = "".join(map(chr, range(ASCII_SIZE)))


@functools.lru_cache(1)
def _all_characters() -> str:
    """All characters that UTF-8 can hold, with a gap where the surrogates would be."""
    return _ASCII + "".join(map(chr, beyond_ascii()))
