"""Overlap: how many rows each two slices share, counted for all pairs in one scan.

The masks of a block of rows, as a matrix of 0 and 1, times themselves are the counts of all its
pairs: that is a matrix product, which numpy hands to BLAS. Each task adds up its blocks and sends
the pairs that occur once; Spark adds up the tasks'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.arguments import texts
from engine.masks.checks import spark_table
from engine.masks.frames import inside, is_local
from engine.masks.pairs import Overlap, add_pairs
from engine.masks.reader import named_masks, read_masks
from engine.plain import plain
from engine.words import packed
from engine.workers import begin

_SENT = 2**20  # pairs in a batch sent to Spark
_PAIR, _ROWS = "_pair", "_rows"
_ALL, _UNCOVERED = -1, -2  # what else a task sends as if they were pairs


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
