"""What tasks send: their sums in rows of up to 64 slices, and what doesn't add up as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from engine.masks.splits import ALL, Split
from engine.metrics.scan.form import KEY_ROW, Form
from engine.metrics.scan.repeats import blocks

COLUMNS = ("split", "row", "rep", "block")  # what names a row; sums and a payload follow
_SENT = 2**20  # sums in a batch


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
        blocks = full.reshape(len(rows), form.blocks, -1)
        which, block = np.nonzero(blocks.any(axis=-1))
        if len(which):  # bits that nobody asked for may be all there is
            yield _row_batch(
                split, first + rows[which], rep + drawn[which], block,
                np.ascontiguousarray(blocks[which, block].T),
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


def key_hashes(hashes: Sequence[np.ndarray], form: Form) -> pa.RecordBatch:
    """Return the hashes of rows' keys."""
    block, keys = blocks(hashes)
    n = len(block)
    row, none = np.full(n, KEY_ROW), [pa.nulls(n, pa.int64())] * len(form.sums)
    return _row_batch(ALL, row, np.zeros(n), block, none, pa.nulls(n, pa.binary()), form, keys)
