"""What tasks send: their sums in rows of up to 64 slices, and what doesn't add up as bytes.

Keys that are null or name more than one row are found on the way, without a scan of their own: each
task sends the hashes of its rows' keys, in blocks of like hashes; Spark brings a block's together
and compares them, wherever the rows are. Two keys that hash alike seem to repeat, too: so then the
tables are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.masks.splits import ALL, Split
from engine.metrics.scan.form import KEY_ROW, Form
from engine.sql import name_sql

COLUMNS = ("split", "row", "rep", "block")  # what names a row; sums and a payload follow
_SENT = 2**20  # sums in a batch
_BLOCK_BITS = 8  # of a hash, that say which block it is in
_NULL = 0  # in place of the hash of a key that is null
_ALL = "flatten(collect_list(keys))"
# Of a block's keys, in SQL.
REPEATED: Final = f"size({_ALL}) > size(array_distinct({_ALL})) OR array_contains({_ALL}, {_NULL})"


def sums(
    split: Split, first: int, rep: int, of: np.ndarray, form: Form
) -> Iterator[pa.RecordBatch]:
    """Yield sums ``[rows, replicates, bits]`` as rows of one block of slices each."""
    at = np.flatnonzero(of.any(axis=-1))
    width = form.blocks * len(form.sums)
    step = max(1, _SENT // width)
    for start in range(0, len(at), step):
        rows, drawn = np.divmod(at[start : start + step], of.shape[1])
        full = np.zeros((len(rows), width), dtype=np.int64)
        full[:, : len(form.places)] = of[rows, drawn][:, form.places]
        full = full.reshape(len(rows), form.blocks, -1)
        which, block = np.nonzero(full.any(axis=-1))
        if len(which):  # bits that nobody asked for may be all there is
            yield _row_batch(
                split, first + rows[which], rep + drawn[which], block,
                np.ascontiguousarray(full[which, block].T),
                pa.nulls(len(which), pa.binary()), form,
            )  # fmt: skip


def payloads(
    split: Split,
    row: int,
    at: Sequence[int],
    n: Sequence[int],
    payload: Sequence[bytes | None],
    form: Form,
) -> pa.RecordBatch:
    """Return bytes of slices; of their sums n is the first."""
    place, same = form.place_of[np.array(at, dtype=np.intp)], np.zeros(len(at), np.int32)
    first = [pa.array(n, pa.int64()), *(pa.nulls(len(at), pa.int64()) for _ in form.sums[1:])]
    return _row_batch(
        split, same + row, same - 1, place, first, pa.array(payload, pa.binary()), form
    )


def _row_batch(
    split: Split,
    row: np.ndarray,
    rep: np.ndarray,
    block: np.ndarray,
    columns_of_sums: Iterable[Any],
    payload: pa.Array,
    form: Form,
    keys: pa.Array | None = None,
) -> pa.RecordBatch:
    columns = [
        pa.repeat(pa.scalar(split, pa.string()), len(row)),
        pa.array(row.astype(np.int64)),
        *(pa.array(a.astype(np.int32)) for a in (rep, block)),
        *(a if isinstance(a, pa.Array) else pa.array(a) for a in columns_of_sums),
        payload,
    ]
    if form.key:
        columns.append(pa.nulls(len(row), pa.list_(pa.int64())) if keys is None else keys)
    return pa.record_batch(columns, [*COLUMNS, *form.sums, "payload", "keys"][: len(columns)])


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


def key_hashes(hashes: Sequence[np.ndarray], form: Form) -> pa.RecordBatch:
    """Return the hashes of rows' keys."""
    block, keys = blocks(hashes)
    n = len(block)
    row, none = np.full(n, KEY_ROW), [pa.nulls(n, pa.int64())] * len(form.sums)
    return _row_batch(ALL, row, np.zeros(n), block, none, pa.nulls(n, pa.binary()), form, keys)
