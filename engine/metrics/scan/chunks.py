"""Chunks: the rows that a task of the scan takes at a time, as columns and words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

CHUNK = 2**17  # rows


@dataclass(frozen=True)
class Chunk:
    """Some rows.

    Attributes
    ----------
    columns
        All but their masks.
    words
        ``[W, n]`` uint64: the slices that each row is in.
    undecided
        ``[k]``, ascending: the rows that some slice is undecided on.
    nulls
        ``[W, k]`` uint64: the slices that are undecided on these.
    """

    columns: pa.RecordBatch
    words: np.ndarray
    undecided: np.ndarray
    nulls: np.ndarray

    def numbers(self, name: str) -> np.ndarray:
        """Return a column's values."""
        values: np.ndarray = self.columns.column(name).to_numpy(zero_copy_only=False)
        return values

    def take(self, rows: np.ndarray) -> Chunk:
        """Return some of the rows, whose positions ascend."""
        there = np.isin(self.undecided, rows)
        return Chunk(
            self.columns.take(pa.array(rows)),
            np.take(self.words, rows, axis=1),
            np.searchsorted(rows, self.undecided[there]),
            self.nulls[:, there],
        )


def chunk_of(batch: pa.RecordBatch, words: int) -> Chunk:
    """Return a batch whose masks are in the columns ``word_0, …`` and ``nulls``.

    ``nulls`` is a list of as many words, or an empty one where no slice is undecided.

    Examples
    --------
    >>> batch = pa.record_batch({"id": [7, 8, 9], "word_0": [1, 3, 0], "nulls": [[], [], [4]]})
    >>> chunk = chunk_of(batch, 1)
    >>> chunk.words.tolist(), chunk.undecided.tolist(), chunk.nulls.tolist()
    ([[1, 3, 0]], [2], [[4]])
    >>> some = chunk.take(np.array([1, 2]))
    >>> some.numbers("id").tolist(), some.words.tolist(), some.undecided.tolist()
    ([8, 9], [[3, 0]], [1])
    """
    columns = [batch.column(f"word_{k}").to_numpy(zero_copy_only=False) for k in range(words)]
    lists = batch.column("nulls")
    undecided = np.flatnonzero(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    nulls = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, words).T
    return Chunk(
        batch,
        np.stack(columns).view(np.uint64),
        undecided,
        np.ascontiguousarray(nulls).view(np.uint64),
    )


def chunks(batches: Iterable[pa.RecordBatch], words: int, rows: int = CHUNK) -> Iterator[Chunk]:
    """Join batches until they have about so many rows: numpy's calls cost the same for more.

    Examples
    --------
    >>> one = pa.record_batch({"word_0": [1, 2], "nulls": [[5], []]})
    >>> [c.words.shape for c in chunks([one] * 5, 1, 4)]
    [(1, 4), (1, 4), (1, 2)]
    """
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= rows:
            yield from _joined(waiting, words)
            waiting = []
    if waiting:
        yield from _joined(waiting, words)


def _joined(batches: Sequence[pa.RecordBatch], words: int) -> Iterator[Chunk]:
    """Yield batches as one chunk; as several where a column of texts would be too long."""
    for whole in pa.Table.from_batches(batches).combine_chunks().to_batches():
        yield chunk_of(whole, words)
