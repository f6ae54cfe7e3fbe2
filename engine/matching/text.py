"""A batch of texts as one run of UTF-8 bytes: what every question about a text column reads.

All work is over whole buffers, never row by row; only rows that need Python become strings.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PAD = 16  # readable bytes after the last row, so that a word may be read at any position
_BLOCK = 1 << 16  # bytes handled at a time: stays in the processor's cache
_SPARSE = 128  # bytes per position above which rows are searched for, below it looked up

_A, _LETTERS, _CASE = np.uint8(ord("A")), 26, np.uint8(0x20)
_NO_ROWS = np.zeros(1, dtype=np.int64)
_FIRST_LEAD = 0xC2  # the first byte of a character of two bytes or more
_LENGTH = np.ones(256, dtype=np.uint8)  # bytes of a character, by its first byte
_LENGTH[0xC0:0xE0], _LENGTH[0xE0:0xF0], _LENGTH[0xF0:] = 2, 3, 4
_LEAD_BITS = np.array([0, 0x7F, 0x1F, 0x0F, 0x07], dtype=np.uint32)

# glibc gives freed memory back to the system, page by page, until a large block was freed once:
# without this a fresh megabyte costs more than all work on it.
_block = np.empty(31 << 20, dtype=np.uint8)
del _block

# Python's str.isspace beyond ASCII, which is what split() and strip() without arguments use.
WIDE_SPACES = frozenset(
    {0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
)
# Characters beyond ASCII whose lower case holds ASCII ones; a test enumerates all characters.
LOWERED_TO_ASCII = frozenset({0x130, 0x212A})


def beyond_ascii() -> Iterator[int]:
    """Yield the code points beyond ASCII that UTF-8 can hold."""
    return itertools.chain(range(0x80, 0xD800), range(0xE000, 0x110000))


class Characters:
    """A set of characters beyond ASCII.

    Parameters
    ----------
    ranges
        Code points, first and last of each range.

    Examples
    --------
    >>> Characters([(0xE0, 0xFF)]).hold(np.array([0xDF, 0xE0, 0x20AC]))
    array([False,  True, False])
    """

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        member = np.zeros(0x110000, dtype=bool)
        for first, last in ranges:
            member[first : last + 1] = True
        self._bits = np.packbits(member, bitorder="little")

    def hold(self, points: np.ndarray) -> np.ndarray:
        """Return which of some code points are in the set."""
        bits = self._bits[points >> 3] >> (points & 7).astype(np.uint8)
        return np.asarray(bits & 1 == 1)

    @functools.cached_property
    def pairs(self) -> np.ndarray:
        """``[0x10000]`` bool: whether a character of the set may begin with these two bytes."""
        points = np.flatnonzero(np.unpackbits(self._bits, bitorder="little"))
        pairs = np.zeros(0x10000, dtype=bool)
        for marks, below, shift in ((0xC0, 0x800, 6), (0xE0, 0x10000, 12), (0xF0, 0x110000, 18)):
            some, points = points[points < below], points[points >= below]
            pairs[(marks | some >> shift) << 8 | 0x80 | some >> (shift - 6) & 0x3F] = True
        return pairs


@functools.cache
def characters(points: frozenset[int]) -> Characters:
    """Return a set of characters beyond ASCII, from code points."""
    return Characters((c, c) for c in points)


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
        ends = np.frombuffer(places, kind)[array.offset : array.offset + n + 1] if n else _NO_ROWS
        first, last = int(ends[0]), int(ends[-1])
        self.offsets: np.ndarray = ends.astype(np.int64) - first
        raw = np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)
        roomy = len(raw) >= last + PAD
        self.data: np.ndarray = raw[first : last + PAD] if roomy else _padded(raw[first:last])
        self.valid: np.ndarray | None = (
            array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return len(self.data) - PAD

    @functools.cached_property
    def folded(self) -> np.ndarray:
        """The data with ASCII letters in lower case."""
        return _folded(self.data)

    @functools.cached_property
    def leads(self) -> np.ndarray:
        """Positions of the characters beyond ASCII."""
        return np.flatnonzero(self.data[: self.size] >= _FIRST_LEAD)

    @functools.cached_property
    def _pairs(self) -> np.ndarray:
        """The first two bytes of each character beyond ASCII."""
        return np.asarray(self.data[self.leads] * np.uint16(256) + self.data[self.leads + 1])

    @functools.cached_property
    def newlines(self) -> np.ndarray:
        """Positions of line feeds."""
        return np.flatnonzero(self.data[: self.size] == ord("\n"))

    @functools.cached_property
    def _row_at(self) -> np.ndarray:
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    @functools.cached_property
    def _all_strings(self) -> list[str | None]:
        return list(self.array.to_pylist())

    def rows_at(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows that hold the bytes at some positions."""
        if "_row_at" not in self.__dict__ and len(positions) * _SPARSE < self.size:
            return np.searchsorted(self.offsets, positions, "right") - 1
        return np.asarray(self._row_at[positions])

    def places(self, characters: Characters) -> np.ndarray:
        """Return the positions of some characters beyond ASCII, sorted."""
        likely = self.leads[characters.pairs[self._pairs]]
        return np.asarray(likely[characters.hold(code_points(self.data, likely))])

    def rows_with(self, characters: Characters) -> np.ndarray:
        """Return the rows that hold one of some characters beyond ASCII, each row once, sorted."""
        return np.unique(self.known(self.rows_at(self.places(characters))))

    def known(self, rows: np.ndarray) -> np.ndarray:
        """Return those of some rows that aren't null."""
        return rows if self.valid is None else rows[self.valid[rows]]

    def strings(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return some rows as Python strings; none of them may be null."""
        if "_all_strings" in self.__dict__ or len(rows) * 4 > len(self):
            return [self._all_strings[i] for i in rows]  # type: ignore[misc]
        raw, ends = self.data.data, self.offsets
        return [str(raw[ends[i] : ends[i + 1]], "utf-8") for i in rows]

    def lowered(self, exact: bool = True) -> TextBatch:
        """Return the texts in lower case.

        Parameters
        ----------
        exact
            False where only the ASCII characters of the result matter: that is much cheaper on
            text in other scripts.
        """
        fast = _Lowered(self)
        rows = self.rows_with(_with_lower_case() if exact else characters(LOWERED_TO_ASCII))
        if not len(rows):
            return fast
        where = np.zeros(len(self), dtype=bool)
        where[rows] = True
        new = pa.array([text.lower() for text in self.strings(rows)], self.array.type)
        return TextBatch(pc.replace_with_mask(fast.array, pa.array(where), new))


class _Lowered(TextBatch):
    """A batch with its ASCII letters in lower case; it shares what doesn't depend on case."""

    def __init__(self, source: TextBatch) -> None:
        self.offsets, self.valid = source.offsets, source.valid
        self.data = self.folded = source.folded
        self._source = source

    @functools.cached_property
    def array(self) -> pa.StringArray | pa.LargeStringArray:
        kind = self._source.array.type
        ends = self.offsets if pa.types.is_large_string(kind) else self.offsets.astype(np.int32)
        known = (
            None if self.valid is None else pa.py_buffer(np.packbits(self.valid, bitorder="little"))
        )
        buffers = [known, pa.py_buffer(ends), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(kind, len(self), buffers)

    @functools.cached_property
    def leads(self) -> np.ndarray:
        return self._source.leads

    @functools.cached_property
    def newlines(self) -> np.ndarray:
        return self._source.newlines

    @functools.cached_property
    def _row_at(self) -> np.ndarray:
        return self._source._row_at


@functools.cache
def _with_lower_case() -> Characters:
    """Return the characters beyond ASCII that have a lower case."""
    return Characters((c, c) for c in beyond_ascii() if chr(c).lower() != chr(c))


def code_points(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return the characters that begin at some positions.

    Examples
    --------
    >>> code_points(_padded(np.frombuffer("aé€😀".encode(), np.uint8)), np.array([0, 1, 3, 6]))
    array([    97,    233,   8364, 128512], dtype=uint32)
    """
    lead = data[positions]
    length = _LENGTH[lead]
    value: np.ndarray = lead & _LEAD_BITS[length]
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
    dtype, places = np.dtype(f"<u{width}"), []
    for first in range(width):
        lane = np.frombuffer(data, dtype, -(-max(size - first, 0) // width), first)
        at = np.flatnonzero(lane == dtype.type(key))
        if width == 1:
            return at
        at *= width
        at += first
        places.append(at)
    return np.sort(np.concatenate(places))


def widths(data: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return how many bytes the characters that begin at some positions take."""
    return np.asarray(_LENGTH[data[positions]])


def word_counts(text: pa.StringArray | pa.LargeStringArray | TextBatch) -> np.ndarray:
    r"""Return ``len(t.split())`` of each row, int32; 0 for a null.

    Examples
    --------
    >>> word_counts(pa.array(["two words", "", None, "\u2003a\x1fb c"])).tolist()
    [2, 0, 0, 3]
    """
    text = text if isinstance(text, TextBatch) else TextBatch(text)
    return _filled(text, np.diff(ranks(word_marks(text)[0], text.offsets)))


def word_marks(text: TextBatch) -> tuple[np.ndarray, np.ndarray]:
    """Return at which bytes words begin, and which bytes are white space, as ``split()`` has them.

    Examples
    --------
    >>> [marks.tolist() for marks in word_marks(TextBatch(pa.array(["a b"])))]
    [[True, False, True], [False, True, False]]
    """
    n, data = text.size, text.data
    space = np.empty(n + 1, dtype=bool)
    space[0] = True  # so that space[i] is about the byte before byte i
    for at, block in _blocks(data[:n]):
        out = space[at + 1 : at + 1 + len(block)]
        np.less(block - np.uint8(0x09), 5, out=out)  # \t \n \v \f \r
        out |= block - np.uint8(0x1C) < 5  # noqa: PLR2004 - \x1c to \x1f and the space
    wide = text.places(characters(WIDE_SPACES))
    length = widths(data, wide)
    for i in range(3):
        space[1:][wide[length > i] + i] = True
    begins = space[:-1] > space[1:]
    starts = text.offsets[:-1][np.diff(text.offsets) > 0]
    begins[starts] = ~space[starts + 1]
    return begins, space[1:]


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
    return np.asarray(before[at] + np.bitwise_count(words[at] & below))


def _filled(text: TextBatch, counts: np.ndarray) -> np.ndarray:
    counts = counts.astype(np.int32)
    if text.valid is not None:
        counts[~text.valid] = 0
    return counts


def _blocks(data: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for at in range(0, len(data), _BLOCK):
        yield at, data[at : at + _BLOCK]


def _folded(data: np.ndarray) -> np.ndarray:
    """Return bytes with ASCII letters in lower case."""
    out = np.empty_like(data)
    for at, block in _blocks(data):
        letter = (block - _A < _LETTERS).view(np.uint8)
        np.multiply(letter, _CASE, out=letter)
        np.bitwise_xor(block, letter, out=out[at : at + len(block)])
    return out


def _padded(data: np.ndarray) -> np.ndarray:
    return np.concatenate([data, np.zeros(PAD, np.uint8)])
