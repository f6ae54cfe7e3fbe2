"""Bootstrap weights that a row's key decides, so that Spark, numpy and every retry agree.

The rule, for the key's 64-bit hash ``h`` (:func:`engine.hashing.key_hash`, which has the seed in
it; of the cluster's key for a cluster bootstrap). All arithmetic is modulo 2^64:

1. word ``i = 0, 1, …`` is ``mix(h + (i + 1) · 0x9E3779B97F4A7C15)``, where ``mix(z)`` is the
   finaliser of splitmix64 (Steele, Lea and Flood 2014)::

       z = (z ^ (z >> 30)) · 0xBF58476D1CE4E5B9
       z = (z ^ (z >> 27)) · 0x94D049BB133111EB
       z =  z ^ (z >> 31)

2. replicate ``r`` has the 16 bits of word ``r // 4`` that start at bit ``16 · (r % 4)``;
3. its weight is how many of :data:`LEAST` are at most that number.

Of the 65,536 numbers 24,109 give weight 0, 24,110 give 1, 12,055 give 2, 4,017 give 3, 1,005 give
4, 201 give 5, 34 give 6, 4 give 7 and 1 gives 8: Poisson(1) to within 1.3 numbers each, rounded
so that the mean and the variance are exactly 1 (the third moment is 5.00003 where Poisson has 5).
"""

from __future__ import annotations

from typing import Any

import numpy as np

REPLICATES = 200
# The least number that gives a weight of at least 1, 2, …, 8.
LEAST = (24109, 48219, 60274, 64291, 65296, 65497, 65531, 65535)

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))
_DRAWS = 4  # numbers of 16 bits in a word
_BLOCK = 2**16  # draws handled at a time, so that they stay in the processor's cache


def weights(hashes: np.ndarray, replicates: int = REPLICATES, dtype: Any = np.uint8) -> np.ndarray:
    """Return how often each replicate draws each row; ``[n, replicates]``.

    Parameters
    ----------
    hashes
        ``[n]`` uint64, from :func:`engine.hashing.key_hash`; equal hashes get equal weights.
    replicates
        The first so many replicates: asking for more changes none of them.
    dtype
        Type of the weights: ``np.uint8``, or ``np.float32`` for a matrix product.

    Examples
    --------
    >>> from engine.hashing import key_hash
    >>> weights(key_hash(["a", "b"], seed=0), 8).tolist()
    [[1, 1, 0, 0, 1, 1, 0, 0], [1, 0, 1, 0, 0, 1, 2, 0]]
    """
    hashes = np.ascontiguousarray(hashes, np.uint64)
    words = -(-replicates // _DRAWS)
    steps = np.arange(1, words + 1, dtype=np.uint64) * _STEP
    out = np.empty((len(hashes), replicates), dtype)
    rows = max(1, _BLOCK // max(1, words * _DRAWS))
    for start in range(0, len(hashes), rows):
        z = hashes[start : start + rows, None] + steps
        for shift, factor in _MIX:
            z ^= z >> np.uint64(shift)
            z *= factor
        z ^= z >> np.uint64(31)
        draws = z.astype("<u8", copy=False).view("<u2")  # the lowest bits come first
        counts = (draws >= LEAST[0]).view(np.uint8)
        for least in LEAST[1:]:
            counts += (draws >= least).view(np.uint8)
        out[start : start + rows] = counts[:, :replicates]
    return out
