"""How many rows each two slices share, as counts of pairs: what scans add up, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.arguments import number
from engine.plain import plain
from engine.words import WORD, packed, unpacked

# Rows multiplied at once. Their counts are exact in 32 bits up to 2^24 rows; the best of 1,024 to
# 65,536 at 1,000 slices, as the block of 16 MiB stays near the cache.
BLOCK = 4096


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
