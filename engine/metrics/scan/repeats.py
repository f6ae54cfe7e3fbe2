"""Keys that are null or name more than one row, found while rows are scanned: no scan of its own.

Each task sends the hashes of its rows' keys, in blocks of like hashes; Spark brings a block's
together and compares them, wherever the rows are. Two keys that hash alike seem to repeat, too: so
then the tables are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from engine.sql import name_sql

_BLOCK_BITS = 8  # of a hash, that say which block it is in
_NULL = 0  # in place of the hash of a key that is null
_ALL = "flatten(collect_list(keys))"
# Of a block's keys, in SQL.
REPEATED: Final = f"size({_ALL}) > size(array_distinct({_ALL})) OR array_contains({_ALL}, {_NULL})"


def key_sql(columns: Sequence[str]) -> str:
    """Return the hash of a row's key in SQL.

    Examples
    --------
    >>> key_sql(["day", "id"])
    'IF(`day` IS NULL OR `id` IS NULL, 0L, xxhash64(`day`, `id`))'
    """
    names = [name_sql(c) for c in columns]
    null = " OR ".join(f"{name} IS NULL" for name in names)
    return f"IF({null}, {_NULL}L, xxhash64({', '.join(names)}))"


def blocks(hashes: Sequence[np.ndarray]) -> tuple[np.ndarray, pa.ListArray]:
    """Return which blocks hashes ``[n]`` int64 are in, and the hashes of each.

    Examples
    --------
    >>> of, keys = blocks([np.array([1, -1]), np.array([2])])
    >>> of.tolist(), keys.to_pylist()
    ([0, 255], [[1, 2], [-1]])
    """
    every = np.concatenate([np.empty(0, np.int64), *hashes])
    of = (every.view(np.uint64) >> np.uint64(64 - _BLOCK_BITS)).astype(np.uint8)
    each = np.bincount(of, minlength=1 << _BLOCK_BITS)
    used = np.flatnonzero(each)
    ends = np.concatenate([[0], np.cumsum(each[used])]).astype(np.int32)
    order = np.argsort(of, kind="stable")  # of bytes it is a radix sort
    return used, pa.ListArray.from_arrays(pa.array(ends), pa.array(every[order]))
