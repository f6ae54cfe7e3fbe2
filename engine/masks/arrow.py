"""Masks out of a mask table's columns as Arrow has them: words in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.masks.layout import Layout
from engine.words import WORD, transposed


@dataclass(frozen=True)
class StoredWords:
    """The columns in which a table holds the words of some slices.

    Attributes
    ----------
    layout
        How it holds them.
    words
        Of each word the column of slices that a row is in and that of undecided ones; or up to 64
        BOOLEAN columns.
    """

    layout: Layout
    words: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> list[str]:
        """All of them."""
        return [column for word in self.words for column in word]


def words_in(
    batch: pa.RecordBatch, stored: StoredWords
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the slices that rows are in and are undecided on, as words.

    There is at least one word, whatever slices there are. Null is never in, whoever wrote the
    words.

    Returns
    -------
    tuple
        Words ``[W, n]`` uint64 of what rows are in; the positions ``[k]`` of undecided rows; words
        ``[W, k]`` uint64 of what these are undecided on.

    Examples
    --------
    >>> batch = pa.record_batch({"a": [True, None, False], "b": [True, True, None]})
    >>> [w.tolist() for w in words_in(batch, StoredWords(Layout.BOOLEAN, (("a", "b"),)))]
    [[[3, 2, 0]], [1, 2], [[1, 2]]]
    """
    word = _packed if stored.layout is Layout.PACKED else _of_booleans
    words = np.zeros((max(1, len(stored.words)), batch.num_rows), np.uint64)
    nulls: dict[int, np.ndarray] = {}
    for k, columns in enumerate(stored.words):
        inside, undecided = word(batch, columns)
        if undecided is None:
            words[k] = inside
        else:
            np.bitwise_and(inside, ~undecided, out=words[k])
            nulls[k] = undecided
    some = np.flatnonzero(np.bitwise_or.reduce([*nulls.values()])) if nulls else np.arange(0)
    which = np.zeros((len(words), len(some)), np.uint64)
    for k, undecided in nulls.items():
        which[k] = undecided[some]
    return words, some, which


def _packed(
    batch: pa.RecordBatch, columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    both = [batch.column(c) for c in columns]
    inside, undecided = (
        (c.fill_null(0) if c.null_count else c).to_numpy().view(np.uint64) for c in both
    )
    if any(c.null_count for c in both):  # of a row without words all slices are null
        without = np.logical_or(*(np.asarray(c.is_null()) for c in both))
        undecided = np.where(without, ~np.uint64(0), undecided)
    return inside, undecided if undecided.any() else None


def _of_booleans(
    batch: pa.RecordBatch, columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    n = batch.num_rows
    bits, nulls = (np.zeros((WORD, -(-n // 8)), np.uint8) for _ in range(2))
    some = False
    for i, name in enumerate(columns):
        column = batch.column(name)
        bits[i] = _bitmap(column, 1, n)
        if column.null_count:
            some = True
            nulls[i] = ~_bitmap(column, 0, n)
    return transposed(bits)[:n], transposed(nulls)[:n] if some else None


def _bitmap(column: pa.Array, which: int, n: int) -> np.ndarray:
    """Return a column's values or, as 0, which of them there are; eight a byte."""
    if column.offset % 8:
        values = column.is_valid() if which == 0 else column.fill_null(False)
        return np.packbits(values.to_numpy(zero_copy_only=False), bitorder="little")
    first = column.offset // 8
    return np.frombuffer(column.buffers()[which], np.uint8)[first : first + -(-n // 8)]
