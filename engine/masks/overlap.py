"""Overlap: how many rows each two slices share, counted for all pairs in one scan.

The masks of a block of rows, as a matrix of 0 and 1, times themselves are the counts of all its
pairs: that is a matrix product, which numpy hands to BLAS. Each task adds up its blocks and sends
the pairs that occur once; Spark adds up the tasks'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.arguments import number, texts
from engine.masks.checks import spark_table
from engine.masks.frames import inside, is_local
from engine.masks.reader import named_masks, read_masks
from engine.plain import plain
from engine.words import WORD, packed, unpacked
from engine.workers import begin

# Rows multiplied at once. Their counts are exact in 32 bits up to 2^24 rows; the best of 1,024 to
# 65,536 at 1,000 slices, as the block of 16 MiB stays near the cache.
BLOCK = 4096
_SENT = 2**20  # pairs in a batch sent to Spark
_PAIR, _ROWS = "_pair", "_rows"
_ALL, _UNCOVERED = -1, -2  # what else a task sends as if they were pairs


@dataclass(frozen=True)
class Overlap:
    """How many rows each two slices share.

    Attributes
    ----------
    ids
        The slices.
    rows
        Rows of the table.
    counts
        ``[S, S]`` int64: rows in both slices; on the diagonal, rows in the slice.
    uncovered
        Rows in none of the slices.

    Examples
    --------
    >>> found = Overlap(("a", "b"), 9, np.array([[4, 3], [3, 3]]), 5)
    >>> found.jaccard().loc["a", "b"], found.containment().loc["b", "a"]
    (np.float64(0.75), np.float64(1.0))
    >>> found.contained()[["slice_a", "slice_b"]].values.tolist()
    [['b', 'a']]
    """

    ids: tuple[str, ...]
    rows: int
    counts: np.ndarray
    uncovered: int

    def to_pandas(self) -> pd.DataFrame:
        """Return a row per two slices that share a row, in the slices' order.

        Returns
        -------
        pd.DataFrame
            ``slice_a, slice_b``; their rows ``n_a``, ``n_b`` and ``n_both``; ``jaccard``, the
            share of the rows in either that are in both; ``containment_a``, the share of a's rows
            that are in b, and ``containment_b``, that of b's in a.
        """
        return self._pairs(*np.nonzero(np.triu(self.counts, 1)))

    def jaccard(self) -> pd.DataFrame:
        """Return ``[S, S]`` shares of the rows in either slice that are in both; 0/0 is NaN."""
        own = np.diag(self.counts)
        return self._square(self.counts, own[:, None] + own[None, :] - self.counts)

    def containment(self) -> pd.DataFrame:
        """Return ``[S, S]`` shares of the row's slice that the column's has; 0/0 is NaN."""
        own = np.diag(self.counts)[:, None]
        return self._square(self.counts, np.broadcast_to(own, self.counts.shape))

    def near_duplicates(self, at_least: float = 0.95) -> pd.DataFrame:
        """Return the pairs that are nearly the same slice, those of the highest Jaccard first.

        Parameters
        ----------
        at_least
            Their Jaccard index. Slices that share no row are never a pair.
        """
        at_least = number("near_duplicates", "at_least", at_least, 0, 1)
        pairs = self.to_pandas()
        return _sorted(pairs[pairs["jaccard"] >= at_least], "jaccard")

    def contained(self, at_least: float = 1.0) -> pd.DataFrame:
        """Return the pairs of which ``slice_a`` is within ``slice_b`` and not equal to it.

        Parameters
        ----------
        at_least
            The share of a's rows that are in b. Below 1, both directions may hold.

        Returns
        -------
        pd.DataFrame
            As :meth:`to_pandas`, the highest ``containment_a`` first.
        """
        at_least = number("contained", "at_least", at_least, 0, 1)
        both, own = self.counts, np.diag(self.counts)
        equal = (both == own[:, None]) & (both == own[None, :])
        a, b = np.nonzero((both > 0) & (both >= at_least * own[:, None]) & ~equal)
        return _sorted(self._pairs(a, b), "containment_a")

    def _pairs(self, a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
        own, names = np.diag(self.counts), np.array(self.ids, dtype=object)
        n_a, n_b, both = own[a], own[b], self.counts[a, b]
        columns = {
            "slice_a": names[a],
            "slice_b": names[b],
            "n_a": n_a,
            "n_b": n_b,
            "n_both": both,
            "jaccard": both / (n_a + n_b - both),
            "containment_a": both / n_a,
            "containment_b": both / n_b,
        }
        return pd.DataFrame(columns)

    def _square(self, above: np.ndarray, below: np.ndarray) -> pd.DataFrame:
        shares = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
        return pd.DataFrame(shares, index=list(self.ids), columns=list(self.ids))


def _sorted(pairs: pd.DataFrame, by: str) -> pd.DataFrame:
    return pairs.sort_values(by, ascending=False, kind="stable", ignore_index=True)


def overlap(masks: Any, ids: Sequence[str] | None = None) -> Overlap:
    """Count the rows that each two slices share, in one scan of a mask table of either layout.

    A row on which a slice is undecided is not in it.

    Parameters
    ----------
    masks
        The mask table's rows; or masks that are not Spark's, in a table of pandas or pyarrow, or
        in the record array that an applier returns.
    ids
        The slices; by default all.

    Raises
    ------
    MaskError
        If the table has no slices, not this one, or its column can't be a mask.

    Examples
    --------
    ::

        found = overlap(spark.read.format("delta").load("build/demo/masks"))
        found.near_duplicates(at_least=0.9)
    """
    names = None if ids is None else texts("overlap", "ids", ids, "a list of slice ids")
    if is_local(masks):
        wanted, members = inside(masks, names)
        counts, n = np.zeros((len(wanted), len(wanted)), dtype=np.int64), len(members)
        covered = add_pairs(counts, packed(members), np.arange(len(wanted))) if wanted and n else 0
        return Overlap(wanted, n, counts, n - covered)
    masks = spark_table("overlap", "masks", masks)
    wanted = named_masks(masks, names, "ids") if names is None or names else ()
    words = read_masks(masks).words(wanted)
    columns = enumerate(words.in_words or ("0L",))
    narrow = masks.selectExpr(*(f"{word} AS _word_{i}" for i, word in columns))
    count = _counting(np.array([words.at[s] for s in wanted], dtype=np.intp))
    parts = narrow.mapInArrow(count, f"{_PAIR} long, {_ROWS} long")
    sums = parts.groupBy(_PAIR).agg(F.sum(_ROWS).alias(_ROWS)).toPandas()
    return _arranged(sums[_PAIR].to_numpy(np.int64), sums[_ROWS].to_numpy(np.int64), wanted)


def _arranged(pair: np.ndarray, n: np.ndarray, ids: tuple[str, ...]) -> Overlap:
    counts = np.zeros((len(ids), len(ids)), dtype=np.int64)
    of_slices = pair >= 0
    if len(ids):
        a, b = np.divmod(pair[of_slices], len(ids))
        counts[a, b] = counts[b, a] = n[of_slices]
    rows, uncovered = (int(n[pair == special].sum()) for special in (_ALL, _UNCOVERED))
    return Overlap(ids, rows, counts, uncovered)


def _counting(bits: np.ndarray) -> Callable[[Iterable[Any]], Iterable[Any]]:
    plainly = plain()

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        counts = np.zeros((len(bits), len(bits)), dtype=np.int64)
        rows = covered = 0
        for batch in batches:
            words = np.column_stack([c.to_numpy(zero_copy_only=False) for c in batch.columns])
            rows += len(words)
            covered += add_pairs(counts, words, bits)
        if rows:
            yield from _sent(counts, rows, rows - covered)

    return run


def _sent(counts: np.ndarray, rows: int, uncovered: int) -> Iterator[pa.RecordBatch]:
    pair = np.flatnonzero(np.triu(counts))
    all_pairs = np.concatenate([[_ALL, _UNCOVERED], pair])
    all_counts = np.concatenate([[rows, uncovered], counts.ravel()[pair]])
    for start in range(0, len(all_pairs), _SENT):
        end = start + _SENT
        columns = [pa.array(all_pairs[start:end]), pa.array(all_counts[start:end])]
        yield pa.record_batch(columns, [_PAIR, _ROWS])


def add_pairs(counts: np.ndarray, words: np.ndarray, bits: np.ndarray) -> int:
    """Add to counts the rows that have each two of these bits.

    Parameters
    ----------
    counts
        ``[S, S]`` int64, added to in place.
    words
        ``[n, words]`` int64.
    bits
        ``[S]``, each slice's bit.

    Returns
    -------
    int
        The rows that have any of these bits.

    Examples
    --------
    >>> counts = np.zeros((2, 2), dtype=np.int64)
    >>> add_pairs(counts, np.array([[1], [5], [4], [2]]), np.array([0, 2])), counts.tolist()
    (3, [[2, 1], [1, 2]])
    """
    wanted = np.zeros(words.shape[1] * WORD, dtype=bool)
    wanted[bits] = True
    covered = int(np.count_nonzero((words & packed(wanted[None, :])).any(axis=1)))
    if plain():
        members = unpacked(words)[:, bits].astype(np.int64)
        counts += members.T @ members
        return covered
    space = np.empty(min(BLOCK, len(words)) * len(bits), dtype=np.float32)
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        any_row = unpacked(np.bitwise_or.reduce(block, axis=0)[None, :])[0, bits]
        some = np.flatnonzero(any_row)  # slices that are empty here are left out
        masks = space[: len(block) * len(some)].reshape(len(block), len(some))
        masks[:] = np.take(unpacked(block), bits[some], axis=1)
        # One array on both sides: BLAS computes half of a symmetric product.
        shared = (masks.T @ masks).astype(np.int64)
        if len(some) == len(bits):
            counts += shared
        else:
            counts[np.ix_(some, some)] += shared
    return covered
