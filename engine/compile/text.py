"""A batch of texts as one run of UTF-8 bytes: what every question about a text column looks at.

All work is over whole buffers, never row by row; a row that needs Python is asked for by number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PAD = 16  # readable bytes after the last row, so that a word may be read at any position
_BLOCK = 1 << 16  # bytes handled at a time: stays in the processor's cache
_FEW_PAIRS = 8  # beyond this many kinds of first two bytes, all characters are looked at
_SPARSE = 64  # bytes per position above which rows are searched for, below it looked up

_A_Z, _A_Z_LOWER, _LETTERS, _CASE = ord("A"), ord("a"), 26, np.uint8(0x20)
_FIRST_LEAD = 0xC2  # the first byte of a character of two bytes or more
_LENGTH = np.ones(256, dtype=np.uint8)  # bytes of a character, by its first byte
_LENGTH[0xC0:0xE0], _LENGTH[0xE0:0xF0], _LENGTH[0xF0:] = 2, 3, 4
_LEAD_BITS = np.array([0, 0x7F, 0x1F, 0x0F, 0x07], dtype=np.uint32)

# glibc gives freed memory back to the system, page by page, until it has seen a large block freed;
# without this a fresh megabyte costs more than all that is done with it.
del (_large := [np.empty(31 << 20, dtype=np.uint8)])[:]

# Python's str.isspace beyond ASCII, which is what split() and strip() without arguments use.
WIDE_SPACES = (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)


class TextBatch:
    """Rows of text over one byte buffer.

    Parameters
    ----------
    array
        A string or large string array; sliced or with nulls as may be.

    Attributes
    ----------
    data
        ``[bytes + PAD]`` uint8: the rows' UTF-8, one after the other, then bytes without meaning.
    offsets
        ``[n + 1]`` int64: where each row begins, and the end.
    valid
        ``[n]`` bool, or None where no row is null.

    Examples
    --------
    >>> text = TextBatch(pa.array(["héllo", None, ""]))
    >>> len(text), text.offsets.tolist(), text.strings([0])
    (3, [0, 6, 6, 6], ['héllo'])
    """

    def __init__(self, array: pa.StringArray | pa.LargeStringArray) -> None:
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            array = array.cast(pa.large_string())
        self.array = array
        kind = np.int32 if pa.types.is_string(array.type) else np.int64
        n, (_, places, buffer) = len(array), array.buffers()
        ends = (
            np.frombuffer(places, kind)[array.offset : array.offset + n + 1]
            if n
            else np.zeros(1, kind)
        )
        first, last = int(ends[0]), int(ends[-1])
        self.offsets: np.ndarray = ends.astype(np.int64) - first
        raw = np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
        self.data: np.ndarray = (
            raw[first : last + PAD] if len(raw) >= last + PAD else _padded(raw[first:last])
        )
        self.valid: np.ndarray | None = (
            array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
        )
        self._forms: dict[tuple[str, bool], TextBatch] = {}
        self._rows_with: dict[frozenset[int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return len(self.data) - PAD

    @functools.cached_property
    def folded(self) -> np.ndarray:
        """The data with ASCII letters in lower case."""
        return _flipped(self.data, _A_Z)

    @functools.cached_property
    def leads(self) -> np.ndarray:
        """Positions of the characters beyond ASCII."""
        return np.flatnonzero(self.data[: self.size] >= _FIRST_LEAD)

    @functools.cached_property
    def wide(self) -> np.ndarray:
        """The characters beyond ASCII, as code points."""
        return code_points(self.data, self.leads)

    @functools.cached_property
    def newlines(self) -> np.ndarray:
        """Positions of line feeds."""
        return np.flatnonzero(self.data[: self.size] == ord("\n"))

    @functools.cached_property
    def _row_at(self) -> np.ndarray:
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    @functools.cached_property
    def _all_strings(self) -> list[str | None]:
        strings: list[str | None] = self.array.to_pylist()
        return strings

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows that hold the bytes at some positions."""
        if "_row_at" not in self.__dict__ and len(positions) * _SPARSE < self.size:
            return np.searchsorted(self.offsets, positions, "right") - 1
        return self._row_at[positions]

    def places(self, characters: Iterable[int]) -> np.ndarray:
        """Return the positions of some characters beyond ASCII."""
        pairs: dict[int, list[int]] = {}
        for c in characters:
            pairs.setdefault(int.from_bytes(chr(c).encode()[:2], "little"), []).append(c)
        if len(pairs) > _FEW_PAIRS or "leads" in self.__dict__:
            found = [self.leads[np.isin(self.wide, [c for cs in pairs.values() for c in cs])]]
        else:
            found = [self._begins(pair, cs) for pair, cs in pairs.items()]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _begins(self, pair: int, characters: list[int]) -> np.ndarray:
        """Return the positions of characters whose first two bytes are the same."""
        found = positions_of(self.data, self.size, pair, 2)
        return found[np.isin(code_points(self.data, found), characters)]

    def rows_with(self, characters: frozenset[int]) -> np.ndarray:
        """Return the rows that hold one of some characters beyond ASCII, each row once, sorted."""
        if characters not in self._rows_with:
            found = self.places(characters)
            self._rows_with[characters] = np.unique(self.known(self.rows_at(found)))
        return self._rows_with[characters]

    def known(self, rows: np.ndarray) -> np.ndarray:
        """Return those of some rows that aren't null."""
        return rows if self.valid is None else rows[self.valid[rows]]

    def strings(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return some rows as Python strings; none of them may be null."""
        if "_all_strings" in self.__dict__ or len(rows) * 4 > len(self):
            every = self._all_strings
            return [every[i] for i in rows]  # type: ignore[misc]
        raw, ends = memoryview(self.data), self.offsets
        return [str(raw[ends[i] : ends[i + 1]], "utf-8") for i in rows]

    def form(self, name: str, exact: bool = True) -> TextBatch:
        """Return the texts after one of :data:`FORMS`, such as ``lower``.

        Parameters
        ----------
        name
            The form.
        exact
            False where only the ASCII characters of the result matter: that is much cheaper on
            text in other scripts.
        """
        key = (name, exact or name == "strip")
        if name == "as_is":
            return self
        if key not in self._forms:
            self._forms[key] = self._formed(FORMS[name], exact)
        return self._forms[key]

    def _formed(self, form: Form, exact: bool) -> TextBatch:
        fast = self if form.first is None else self._replaced(_flipped(self.data, form.first))
        rows = form.rows(self, exact)
        if not len(rows):
            return fast
        where = np.zeros(len(self), dtype=bool)
        where[rows] = True
        new = pa.array([form.of(t) for t in self.strings(rows)], self.array.type)
        return TextBatch(pc.replace_with_mask(fast.array, pa.array(where), new))

    def _replaced(self, data: np.ndarray) -> TextBatch:
        """Return the same rows over other bytes."""
        large = pa.types.is_large_string(self.array.type)
        ends = pa.py_buffer(self.offsets if large else self.offsets.astype(np.int32))
        known = None if self.valid is None else pa.py_buffer(_bits(self.valid))
        made = pa.Array.from_buffers(
            self.array.type, len(self), [known, ends, pa.py_buffer(data)], self.array.null_count
        )
        return TextBatch(made)


@dataclass(frozen=True)
class Form:
    """A method of str without arguments that is applied before a text is searched.

    Attributes
    ----------
    of
        The method.
    first
        The first of the 26 ASCII letters that it changes, or None for none.
    to_ascii
        Characters beyond ASCII whose form holds ASCII ones.
    """

    of: Callable[[str], str]
    first: int | None
    to_ascii: frozenset[int]

    def rows(self, text: TextBatch, exact: bool) -> np.ndarray:
        """Return the rows on which more than ASCII letters change, or may."""
        if self.first is None:
            return _edged(text)
        if not exact:
            return text.rows_with(self.to_ascii)
        found = text.leads[_changed(self)[text.wide]]
        return np.unique(text.known(text.rows_at(found)))


# The sets are what Unicode's case mappings say; a test enumerates all characters.
_LIGATURES = frozenset({0xDF, 0x149, 0x1F0, 0x1E96, 0x1E97, 0x1E98, 0x1E99, 0x1E9A})
_LIGATURES |= frozenset(range(0xFB00, 0xFB07)) | {0x17F}
FORMS: dict[str, Form] = {
    "lower": Form(str.lower, _A_Z, frozenset({0x130, 0x212A})),
    "upper": Form(str.upper, _A_Z_LOWER, _LIGATURES | {0x131}),
    "casefold": Form(str.casefold, _A_Z, _LIGATURES | {0x130, 0x1E9E, 0x212A}),
    "strip": Form(str.strip, None, frozenset()),
}


@functools.cache
def _changed(form: Form) -> np.ndarray:
    """Return for each character beyond ASCII whether a form changes it."""
    changed = np.zeros(0x110000, dtype=bool)
    changed[[c for c in range(0x80, 0x110000) if form.of(chr(c)) != chr(c)]] = True
    return changed


def _edged(text: TextBatch) -> np.ndarray:
    """Return the rows whose first or last byte may be whitespace."""
    rows = np.flatnonzero(np.diff(text.offsets))
    rows = text.known(rows)
    first, last = text.data[text.offsets[rows]], text.data[text.offsets[rows + 1] - 1]
    return rows[(first <= ord(" ")) | (last <= ord(" ")) | (first >= 0x80) | (last >= 0x80)]


def code_points(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the characters that begin at some positions.

    Examples
    --------
    >>> code_points(_padded(np.frombuffer("aé€😀".encode(), np.uint8)), np.array([0, 1, 3, 6]))
    array([    97,    233,   8364, 128512], dtype=uint32)
    """
    lead = data[positions]
    length = _LENGTH[lead]
    value = lead & _LEAD_BITS[length]
    for i in range(1, 4):
        more = length > i
        tail = data[positions + i * more] & np.uint32(0x3F)
        value = np.where(more, value << 6 | tail, value)
    return value


def positions_of(data: np.ndarray, size: int, key: int, width: int) -> np.ndarray:
    """Return where ``width`` bytes (1, 2 or 4), read as a little-endian number, are ``key``.

    Examples
    --------
    >>> data = _padded(np.frombuffer(b"abcab", np.uint8))
    >>> positions_of(data, 5, int.from_bytes(b"ab", "little"), 2)
    array([0, 3])
    """
    dtype, found = np.dtype(f"<u{width}"), []
    for first in range(width):
        lane = np.frombuffer(data, dtype, -(-max(size - first, 0) // width), first)
        at = np.flatnonzero(lane == dtype.type(key))
        if width > 1:
            at *= width
            at += first
        found.append(at)
    if width == 1:
        return found[0]
    at = np.concatenate(found)
    at.sort()
    return at


def widths(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return how many bytes the characters that begin at some positions take."""
    return _LENGTH[data[positions]]


def word_counts(text: pa.StringArray | pa.LargeStringArray | TextBatch) -> np.ndarray:
    """Return ``len(t.split())`` of each row, int32; 0 for a null.

    Examples
    --------
    >>> word_counts(pa.array(["two words", "", None, "\\u2003a\\x1fb c"])).tolist()
    [2, 0, 0, 3]
    """
    text = text if isinstance(text, TextBatch) else TextBatch(text)
    n, data = text.size, text.data
    space = np.empty(n + 1, dtype=bool)
    space[0] = True  # so that space[i] is about the byte before byte i
    for at, block in _blocks(data[:n]):
        out = space[at + 1 : at + 1 + len(block)]
        np.less(block - np.uint8(0x09), 5, out=out)  # \t \n \v \f \r
        out |= block - np.uint8(0x1C) < 5  # noqa: PLR2004 - \x1c to \x1f and the space
    found = text.places(WIDE_SPACES)
    length = _LENGTH[data[found]]
    for i in range(3):
        space[1:][found[length > i] + i] = True
    begins = space[:-1] > space[1:]
    starts = text.offsets[:-1][np.diff(text.offsets) > 0]
    begins[starts] = ~space[starts + 1]
    return _filled(text, np.diff(ranks(begins, text.offsets)))


def char_lengths(text: pa.StringArray | pa.LargeStringArray | TextBatch) -> np.ndarray:
    """Return ``len(t)`` of each row, in characters, int32; 0 for a null.

    Examples
    --------
    >>> char_lengths(pa.array(["aé😀", "", None])).tolist()
    [3, 0, 0]
    """
    text = text if isinstance(text, TextBatch) else TextBatch(text)
    starts = text.data[: text.size].view(np.int8) >= -64  # noqa: PLR2004 - not 0b10xxxxxx
    return _filled(text, np.diff(ranks(starts, text.offsets)))


def ranks(marks: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return how many marks lie before each position.

    Examples
    --------
    >>> ranks(np.array([True, False, True]), np.array([0, 1, 2, 3])).tolist()
    [0, 1, 1, 2]
    """
    packed = np.zeros((len(marks) // 64 + 1) * 8, dtype=np.uint8)
    packed[: (len(marks) + 7) // 8] = np.packbits(marks, bitorder="little")
    words = packed.view("<u8")
    before = np.zeros(len(words), dtype=np.int64)
    np.cumsum(np.bitwise_count(words[:-1]), out=before[1:])
    at, bit = positions >> 6, (positions & 63).astype(np.uint64)
    below = (np.uint64(1) << bit) - np.uint64(1)
    return before[at] + np.bitwise_count(words[at] & below)


def _filled(text: TextBatch, counts: np.ndarray) -> np.ndarray:
    counts = counts.astype(np.int32)
    if text.valid is not None:
        counts[~text.valid] = 0
    return counts


def _blocks(data: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for at in range(0, len(data), _BLOCK):
        yield at, data[at : at + _BLOCK]


def _flipped(data: np.ndarray, first: int) -> np.ndarray:
    """Return bytes with the case of 26 letters changed."""
    out = np.empty_like(data)
    for at, block in _blocks(data):
        letter = (block - np.uint8(first) < _LETTERS).view(np.uint8)
        np.multiply(letter, _CASE, out=letter)
        np.bitwise_xor(block, letter, out=out[at : at + len(block)])
    return out


def _padded(data: np.ndarray) -> np.ndarray:
    out = np.zeros(len(data) + PAD, dtype=np.uint8)
    out[: len(data)] = data
    return out


def _bits(marks: np.ndarray) -> np.ndarray:
    return np.packbits(marks, bitorder="little")
