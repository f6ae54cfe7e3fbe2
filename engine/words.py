"""Words: the masks of 64 slices in one int64 per row; bit i % 64 of word i // 64 is slice i's.

numpy counts them for all slices of a word at once; nothing here knows Spark.
"""

from __future__ import annotations

import numpy as np

from engine.plain import plain

WORD = 64  # bits
_LANE = 255  # rows whose bits a byte can count
_EXCHANGES = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0),
    )
)  # fmt: skip


def packed(masks: np.ndarray) -> np.ndarray:
    """Return booleans ``[n, slices]`` as words ``[n, ceil(slices / 64)]``, int64.

    Examples
    --------
    >>> packed(np.array([[True, False, True], [False, False, False]])).tolist()
    [[5], [0]]
    """
    n, slices = masks.shape
    full = np.zeros((n, -(-slices // WORD) * WORD), dtype=bool)
    full[:, :slices] = masks
    return np.packbits(full, axis=1, bitorder="little").view("<i8")


def unpacked(words: np.ndarray) -> np.ndarray:
    """Return the bits of words ``[n, words]`` as ``[n, 64 * words]`` uint8.

    Examples
    --------
    >>> unpacked(np.array([[5]]))[:, :4].tolist()
    [[1, 0, 1, 0]]
    """
    as_bytes = np.ascontiguousarray(words, dtype="<i8").view(np.uint8)
    return np.unpackbits(as_bytes, axis=1, bitorder="little")


def transposed(bitmaps: np.ndarray) -> np.ndarray:
    """Return columns of bits as words.

    Eight columns of eight rows are a word of 64 bits, which is transposed by three exchanges
    (Warren, Hacker's Delight 2013, 7-3).

    Parameters
    ----------
    bitmaps
        ``[64, m]`` uint8: of each column eight rows a byte, the first one lowest.

    Returns
    -------
    np.ndarray
        ``[8 * m]`` uint64: bit i of a row's word is that of column i.

    Examples
    --------
    >>> bitmaps = np.zeros((64, 1), np.uint8)
    >>> bitmaps[0], bitmaps[2] = 0b11, 0b1
    >>> transposed(bitmaps)[:3].tolist()
    [5, 1, 0]
    """
    words = np.empty((8 * bitmaps.shape[1], 8), np.uint8)
    for i in range(8):
        x = np.ascontiguousarray(bitmaps[8 * i : 8 * i + 8].T).view("<u8")[:, 0]
        for shift, mask in _EXCHANGES:
            other = (x ^ (x >> shift)) & mask
            x = x ^ other ^ (other << shift)
        words[:, i] = x.view(np.uint8)
    return np.asarray(words.view("<u8")[:, 0])


def set_bits(words: np.ndarray) -> np.ndarray:
    """Count the rows that have each bit, of words ``[W, n]``; ``[64 * W]`` int64.

    Carry-save adders turn three rows into a row of sums and one of carries, which count twice, by
    five operations on whole words (Harley and Seal, in Warren's Hacker's Delight 2013, 5-1).

    Examples
    --------
    >>> set_bits(np.array([[1, 3, 2]]))[:3].tolist()
    [2, 2, 0]
    """
    if plain():
        return np.asarray(unpacked(words.T).sum(axis=0, dtype=np.int64))
    counts = np.zeros(len(words) * WORD, dtype=np.int64)
    worth = 1
    while words.shape[1]:
        words, carried = _carried(words)
        counts += _lane_counts(words) * worth
        words, worth = carried, 2 * worth
    return counts


def _carried(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return few rows, and rows that count twice, which have as many of each bit together."""
    carries, done = np.empty((len(words), words.shape[1] // 2), words.dtype), 0
    while words.shape[1] > _LANE:
        third, rest = divmod(words.shape[1], 3)
        a, b, c = (words[:, i * third : (i + 1) * third] for i in range(3))
        left = np.empty((len(words), third + rest), words.dtype)
        left[:, third:] = words[:, 3 * third :]
        total, carry = left[:, :third], carries[:, done : done + third]
        np.bitwise_xor(a, b, out=total)
        np.bitwise_and(total, c, out=carry)
        carry |= a & b
        total ^= c
        words, done = left, done + third
    return words, carries[:, :done]


def _lane_counts(words: np.ndarray) -> np.ndarray:
    """Count the rows that have each bit, of no more rows than a byte counts."""
    eights = unpacked(np.ascontiguousarray(words.T)).view(np.uint64)  # eight bits are added at once
    return np.asarray(np.add.reduce(eights, axis=0).view(np.uint8).astype(np.int64))


def bit_counts(words: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Count, per group of rows, the rows that have each bit.

    Parameters
    ----------
    words
        ``[n, words]``, one group after another.
    starts
        ``[groups]``, where each begins; the first is 0.

    Returns
    -------
    np.ndarray
        ``[groups, 64 * words]`` int64.

    Examples
    --------
    >>> bit_counts(np.array([[1], [3], [2]]), np.array([0, 2]))[:, :2].tolist()
    [[2, 1], [0, 1]]
    """
    if plain():
        return bit_sums(words, np.ones(len(words), np.int64), starts)
    # Eight counters of a byte each are added at once; a byte overflows after 255 rows, so long
    # groups are cut.
    cuts = np.union1d(starts, np.arange(0, len(words), _LANE))
    lanes = _added(unpacked(words).view(np.uint64), cuts).view(np.uint8)
    groups = np.searchsorted(cuts, starts)
    return np.asarray(np.add.reduceat(lanes, groups, axis=0, dtype=np.int64))


def bit_sums(words: np.ndarray, weight: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Add up, per group of rows, the weights of the rows that have each bit.

    Parameters
    ----------
    words, starts
        As :func:`bit_counts` has them.
    weight
        ``[n]`` int64, none negative.

    Returns
    -------
    np.ndarray
        ``[groups, 64 * words]`` int64.

    Raises
    ------
    OverflowError
        If a sum takes more than 64 bits.

    Examples
    --------
    >>> bit_sums(np.array([[1], [3], [2]]), np.array([10, 5, 1]), np.array([0, 2]))[:, :2].tolist()
    [[15, 5], [0, 1]]
    """
    if weight.sum(dtype=np.float64) >= 2**63:
        raise OverflowError("the weights of one batch of rows add up to more than 64 bits hold")
    # Word by word: all of them at once would take eight bytes for each row and slice.
    each = [
        _added(unpacked(words[:, [k]]) * weight[:, None], starts) for k in range(words.shape[1])
    ]
    return np.concatenate(each, axis=1)


def _added(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Add up the rows of each group; far quicker than ``np.add.reduceat`` where groups are long."""
    sums = np.empty((len(starts), values.shape[1]), dtype=values.dtype)
    for i, (start, end) in enumerate(zip(starts, [*starts[1:], len(values)], strict=True)):
        np.add.reduce(values[start:end], axis=0, out=sums[i])
    return sums
