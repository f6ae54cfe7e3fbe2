"""Masks of one batch, packed into words of bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.plain import plain
from engine.slicing.evaluate import BatchMask
from engine.words import WORD
from engine.words import packed as as_words


def packed(
    masks: Sequence[BatchMask], bits: Sequence[int], n_words: int, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pack masks into words: bit ``i % 64`` of word ``i // 64`` is the mask with bit ``i``.

    Returns
    -------
    np.ndarray, np.ndarray
        ``[n_words, n]`` int64 each: rows in a slice, and rows on which it is undecided.

    Examples
    --------
    >>> one, two = BatchMask.of(np.array([1, 0])), BatchMask.of(np.array([1, -1]))
    >>> [w.tolist() for w in packed([one, two], [0, 1], 1, 2)]
    [[[3, 0]], [[0, 2]]]
    """
    members = [(mask.members, bit) for mask, bit in zip(masks, bits, strict=True)]
    undecided = [(mask.undecided, bit) for mask, bit in zip(masks, bits, strict=True)
                 if mask.undecided is not None]  # fmt: skip
    return _words(members, n_words, n), _words(undecided, n_words, n)


def _words(masks: Sequence[tuple[np.ndarray, int]], n_words: int, n: int) -> np.ndarray:
    """Put masks together byte by byte: whole columns at a time, and no byte without a mask."""
    if plain():
        bits = np.zeros((n, n_words * WORD), bool)
        for mask, bit in masks:
            bits[:, bit] = mask
        return np.ascontiguousarray(as_words(bits).T)
    parts: dict[int, np.ndarray] = {}
    for mask, bit in masks:
        byte, at = divmod(bit, 8)
        part = mask.view(np.uint8) << np.uint8(at)
        parts[byte] = np.bitwise_or(parts[byte], part, out=part) if byte in parts else part
    out = np.zeros((n_words, n, WORD // 8), np.uint8)
    for byte, column in parts.items():
        out[byte * 8 // WORD, :, byte % (WORD // 8)] = column
    words: np.ndarray = out.view("<i8")[..., 0]
    return words
