"""Where many literals occur in a batch of texts: one pass for all of them.

A scan looks for a literal by four of its bytes (fewer if it has fewer), read as one number. A few
literals are compared one after the other. Many share a table: the number at every position is
hashed, and literals are compared only where the table knows the hash. UTF-8 needs no care: the
bytes of a text occur at the borders of characters only; a hit that crosses a row's end is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.matching.text import PAD, TextBatch, positions_of

_WIDEST = 4  # bytes that a literal is looked for by, fewer if it has fewer
_WORD = 8  # bytes compared at a time
_FEW = 12  # literals of one width up to which each is looked for by itself; measured
_HASH_BITS = 16
_FACTOR = np.uint32(0x9E3779B1)
_BLOCK = 1 << 14  # numbers hashed at a time
_POSITION_BITS = 44  # of a sort key, below the literal's number
_POSITION = (1 << _POSITION_BITS) - 1
_NONE = np.zeros(0, dtype=np.int64)

# How often a byte occurs in 1,000 of English text; what isn't listed is rare.
_COMMON = dict(
    zip(
        b" etaoinshrldcumfpgwybvk.,!'0123456789",
        (160, 100, 75, 70, 70, 60, 60, 55, 45, 50, 35, 30, 28, 25, 25, 15, 17, 20, 18, 20, 13, 9, 9)
        + (9, 6, 6, 4)
        + (4,) * 10,
        strict=True,
    )
)
_RARE, _BEYOND = 2, 10
SHARE = np.array(
    [_COMMON.get(b | 0x20 if chr(b).isalpha() else b, _BEYOND if b >= 0x80 else _RARE)  # noqa: PLR2004
     for b in range(256)]
) / 1000  # fmt: skip


@dataclass(frozen=True)
class Needle:
    """A literal to find: UTF-8 bytes, ASCII letters in lower case if case doesn't count.

    Examples
    --------
    >>> Needle(b"it").expected > Needle(b"xylophone").expected
    True
    """

    text: bytes
    any_case: bool = False

    @property
    def expected(self) -> float:
        """Hits expected per byte of text, a rough guess."""
        return float(np.prod(SHARE[list(self.text)]))


@dataclass(frozen=True)
class Hits:
    """Where literals occur, literal by literal.

    Attributes
    ----------
    position, row
        First byte of a hit, and its row; sorted by literal, then by position.
    ends
        ``[literals + 1]``: hits of literal i are those from ``ends[i]`` to ``ends[i + 1]``.
    """

    position: np.ndarray
    row: np.ndarray
    ends: np.ndarray

    def of(self, needle: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and rows of one literal's hits."""
        span = slice(self.ends[needle], self.ends[needle + 1])
        return self.position[span], self.row[span]


class Scanner:
    """Finds literals in batches of text.

    Parameters
    ----------
    needles
        Literals, none empty, each once.
    few
        Literals of one width up to which each is looked for by itself.

    Examples
    --------
    >>> import pyarrow as pa
    >>> scanner = Scanner([Needle(b"ab"), Needle(b"sub", any_case=True)])
    >>> hits = scanner.hits(TextBatch(pa.array(["abab", "xSub", "a", "b"])))
    >>> hits.position.tolist(), hits.row.tolist(), hits.ends.tolist()
    ([0, 2, 5], [0, 0, 1], [0, 2, 3])
    """

    def __init__(self, needles: Sequence[Needle], few: int = _FEW) -> None:
        self.needles = tuple(needles)
        self._length = np.array([len(n.text) for n in needles], dtype=np.int64)
        self._any_case = np.array([n.any_case for n in needles], dtype=bool)
        self._fold = bool(self._any_case.any())
        self._first = np.array([_word(n.text[:_WORD]) for n in needles], dtype=np.uint64)
        self._last = np.array([_word(n.text[-_WORD:]) for n in needles], dtype=np.uint64)
        self._mask = np.array(
            [_word(b"\xff" * min(len(n.text), _WORD)) for n in needles], np.uint64
        )
        widths = [min(len(n.text), _WIDEST) for n in needles]
        by_width = [[i for i, w in enumerate(widths) if w == width] for width in range(_WIDEST + 1)]
        texts = [n.text.lower() if self._fold else n.text for n in needles]
        self._single = sorted(i for ids in by_width if len(ids) <= few for i in ids)
        self._tables = [
            _Table(width, ids, [texts[i] for i in ids])
            for width, ids in enumerate(by_width)
            if len(ids) > few
        ]

    def hits(self, text: TextBatch) -> Hits:
        """Return all hits in a batch, those that overlap others too; none in null rows."""
        hits = [self._one(text, i) for i in self._single]
        hits += [self._many(text, table) for table in self._tables]
        needle = np.concatenate([_NONE, *(n for n, _ in hits)])
        start = np.concatenate([_NONE, *(s for _, s in hits)])
        if self._tables:  # else they are in order already
            key = needle << _POSITION_BITS | start
            key.sort()
            needle, start = key >> _POSITION_BITS, key & _POSITION
        row = text.rows_at(start)
        inside = start + self._length[needle] <= text.offsets[row + 1]
        if text.valid is not None:
            inside &= text.valid[row]
        if not inside.all():
            needle, start, row = needle[inside], start[inside], row[inside]
        return Hits(start, row, np.searchsorted(needle, np.arange(len(self.needles) + 1)))

    def _one(self, text: TextBatch, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Look for one literal, by the rarest of its numbers."""
        needle = self.needles[i]
        data = text.folded if needle.any_case else text.data
        width = {3: 2}.get(len(needle.text), min(len(needle.text), _WIDEST))
        at, key = _rarest(needle.text, width)
        start = positions_of(data, text.size, key, width) - at
        start = start[(start >= 0) & (start + len(needle.text) <= text.size)]
        if len(needle.text) > width:
            start = start[self._same(data, np.full(len(start), i), start)]
        return np.full(len(start), i), start

    def _many(self, text: TextBatch, table: _Table) -> tuple[np.ndarray, np.ndarray]:
        """Look for all literals of a table."""
        needle, start = table.candidates(text.folded if self._fold else text.data, text.size)
        inside = (start >= 0) & (start + self._length[needle] <= text.size)
        needle, start = needle[inside], start[inside]
        if not self._fold:
            same = self._same(text.data, needle, start)
        else:
            same = np.empty(len(start), dtype=bool)
            folded = self._any_case[needle]
            for data, part in ((text.folded, folded), (text.data, ~folded)):
                same[part] = self._same(data, needle[part], start[part])
        return needle[same], start[same]

    def _same(self, data: np.ndarray, needle: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return at which positions the bytes are those of the literal there."""
        words = np.ndarray((len(data) - PAD + 1,), "<u8", data, strides=(1,))
        same: np.ndarray = words[start] & self._mask[needle] == self._first[needle]
        length = self._length[needle]
        longer = np.flatnonzero(same & (length > _WORD))
        if len(longer):
            which = needle[longer]
            last = start[longer] + self._length[which] - _WORD
            same[longer] = words[last] == self._last[which]
            for i in np.unique(which[self._length[which] > 2 * _WORD]):
                literal, at = self.needles[i].text, longer[(which == i) & same[longer]]
                for k in range(_WORD, len(literal) - _WORD, _WORD):
                    same[at] &= words[start[at] + k] == _word(literal[k : k + _WORD])
        return same


class _Table:
    """Which literals may begin near a position, by a hash of the bytes there."""

    def __init__(self, width: int, ids: Sequence[int], literals: Sequence[bytes]) -> None:
        self._keep = np.uint32((1 << 8 * width) - 1)
        places, keys = zip(*(_rarest(text, width) for text in literals), strict=True)
        slots = _hashes(np.array(keys, dtype=np.uint32))
        order = np.argsort(slots, kind="stable")
        self._ids, self._places = np.array(ids)[order], np.array(places)[order]
        counts = np.bincount(slots, minlength=1 << _HASH_BITS)
        self._counts, self._firsts = counts, np.cumsum(counts) - counts
        self._known = counts > 0

    def candidates(self, data: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return literals and where each may begin."""
        at, slots = [_NONE], [_NONE]
        for first in range(4):
            lane = np.frombuffer(data, "<u4", -(-max(size - first, 0) // 4), first)
            for begin in range(0, len(lane), _BLOCK):
                numbers = lane[begin : begin + _BLOCK]
                hashes = _hashes(numbers & self._keep)
                likely = np.flatnonzero(self._known[hashes])
                at.append((likely + begin) * 4 + first)
                slots.append(hashes[likely])
        position, slot = np.concatenate(at), np.concatenate(slots)
        counts = self._counts[slot]
        which = np.repeat(self._firsts[slot] - np.cumsum(counts) + counts, counts)
        which += np.arange(len(which))
        return self._ids[which], np.repeat(position, counts) - self._places[which]


def _hashes(numbers: np.ndarray) -> np.ndarray:
    return (numbers * _FACTOR) >> np.uint32(32 - _HASH_BITS)


def _rarest(text: bytes, width: int) -> tuple[int, int]:
    """Return where the rarest ``width`` bytes of a literal are, and their number."""
    places = range(len(text) - width + 1)
    at = min(places, key=lambda i: float(np.prod(SHARE[list(text[i : i + width])])))
    return at, _word(text[at : at + width])


def _word(text: bytes) -> int:
    return int.from_bytes(text, "little")
