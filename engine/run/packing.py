"""Masks of one batch, and their combinations in Kleene's logic: null is "can't say"."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.plain import plain
from engine.slicing.expr import Call, Expr, Mask
from engine.words import WORD
from engine.words import packed as as_words


@dataclass(frozen=True)
class Found:
    """A slice's mask on one batch.

    Attributes
    ----------
    members, undecided, ask
        ``[n]`` bool: rows in the slice, rows on which it can't be said, and rows that the Python
        function must be asked about; the last two None where there is no such row.

    Examples
    --------
    >>> Found.of(np.array([1, 0, -1], np.int8)).codes.tolist()
    [1, 0, -1]
    """

    members: np.ndarray
    undecided: np.ndarray | None = None
    ask: np.ndarray | None = None

    @staticmethod
    def of(codes: np.ndarray) -> Found:
        """Return the mask that codes (1 in, 0 out, -1 null) stand for."""
        null = codes == -1
        return Found(codes == 1, null if null.any() else None)

    @property
    def codes(self) -> np.ndarray:
        """``[n]`` int8: 1 in, 0 out, -1 null."""
        codes = self.members.astype(np.int8)
        if self.undecided is not None:
            codes[self.undecided] = -1
        return codes

    def answered(self, at: np.ndarray, codes: np.ndarray) -> Found:
        """Return the mask with Python's answers on some rows."""
        members = self.members.copy()
        members[at] = codes == 1
        undecided = np.zeros_like(members) if self.undecided is None else self.undecided.copy()
        undecided[at] = codes == -1
        return Found(members, undecided)


def _and(*args: Found) -> Found:
    return functools.reduce(_both, args)


def _or(*args: Found) -> Found:
    return functools.reduce(_any_of, args)


def _both(a: Found, b: Found) -> Found:
    members = a.members & b.members
    if a.undecided is None and b.undecided is None:
        return Found(members)
    return Found(members, _possible(a) & _possible(b) & ~members)


def _any_of(a: Found, b: Found) -> Found:
    members = a.members | b.members
    return Found(members, None if (u := _either(a, b)) is None else u & ~members)


def _not(a: Found) -> Found:
    return Found(~_possible(a), a.undecided)


def _possible(a: Found) -> np.ndarray:
    return a.members if a.undecided is None else a.members | a.undecided


def _either(a: Found, b: Found) -> np.ndarray | None:
    if a.undecided is None or b.undecided is None:
        return b.undecided if a.undecided is None else a.undecided
    both: np.ndarray = a.undecided | b.undecided
    return both


KLEENE: Mapping[str, Callable[..., Found]] = {
    "kleene_and": _and,
    "kleene_or": _or,
    "kleene_not": _not,
}


def is_combination(tree: Expr) -> bool:
    """Tell whether a tree combines other slices' masks."""
    return isinstance(tree, Mask) or (isinstance(tree, Call) and tree.op in KLEENE)


def masks_needed(tree: Expr) -> set[str]:
    """Return the slices that a combination combines."""
    return {node.slice_id for node in tree.walk() if isinstance(node, Mask)}


def combined(tree: Expr, found: Mapping[str, Found]) -> Found:
    """Return a combination's mask from those of what it combines, by slice id."""
    made: dict[Expr, Found] = {}
    for node in tree.walk():
        if isinstance(node, Mask):
            made[node] = found[node.slice_id]
        else:
            assert isinstance(node, Call)  # a combination is of masks
            made[node] = KLEENE[node.op](*(made[part] for part in node.args))
    return made[tree]


def packed(
    found: Sequence[Found], bits: Sequence[int], n_words: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pack masks into words: bit ``i % 64`` of word ``i // 64`` is the mask with bit ``i``.

    Returns
    -------
    np.ndarray, np.ndarray
        ``[n_words, n]`` int64 each: rows in a slice, and rows on which it is undecided.

    Examples
    --------
    >>> one, two = Found.of(np.array([1, 0])), Found.of(np.array([1, -1]))
    >>> [w.tolist() for w in packed([one, two], [0, 1], 1, 2)]
    [[[3, 0]], [[0, 2]]]
    """
    members = [(mask.members, bit) for mask, bit in zip(found, bits, strict=True)]
    undecided = [(mask.undecided, bit) for mask, bit in zip(found, bits, strict=True)
                 if mask.undecided is not None]  # fmt: skip
    return _words(members, n_words, n), _words(undecided, n_words, n)


def _words(masks: Sequence[tuple[np.ndarray, int]], n_words: int, n: int) -> np.ndarray:
    """Put masks together byte by byte: whole columns at a time, and no byte without a mask."""
    if plain():
        bits = np.zeros((n, n_words * WORD), bool)
        for mask, bit in masks:
            bits[:, bit] = mask
        return np.ascontiguousarray(as_words(bits).T)
    made: dict[int, np.ndarray] = {}
    for mask, bit in masks:
        byte, at = divmod(bit, 8)
        part = mask.view(np.uint8) << np.uint8(at)
        made[byte] = np.bitwise_or(made[byte], part, out=part) if byte in made else part
    out = np.zeros((n_words, n, WORD // 8), np.uint8)
    for byte, column in made.items():
        out[byte * 8 // WORD, :, byte % (WORD // 8)] = column
    words: np.ndarray = out.view("<i8")[..., 0]
    return words
