"""Coverage: how many rows of each split each slice has, for thousands of slices in one scan.

A count per slice as a Spark aggregate each would be more code than the JVM compiles. Words go to
Python as Arrow instead, where numpy counts all bits of a batch at once; the few sums that come
back are added up by Spark, as integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.masks.layout import MOST_BOOLEAN, Layout
from engine.masks.reader import MaskTable, read_masks
from engine.masks.splits import Split, by_split, split_sql
from engine.plain import plain
from engine.words import WORD, bit_counts
from engine.workers import begin

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SPLIT, BIT, ROWS = "_split", "_bit", "_rows"


@dataclass(frozen=True)
class Coverage:
    """How many rows of a split a slice has.

    Attributes
    ----------
    slice_id, split
        Which; None is the split of rows whose split is null.
    rows
        Rows of the split.
    n_in, n_null
        Rows in the slice, and rows on which it could not be decided.
    """

    slice_id: str
    split: Split
    rows: int
    n_in: int
    n_null: int

    @property
    def share(self) -> float:
        """The slice's share of the rows."""
        return self.n_in / self.rows if self.rows else 0.0


def coverage(masks: DataFrame, ids: Sequence[str], split: str | None) -> list[Coverage]:
    """Count each slice's rows per split, in one scan of a mask table of either layout."""
    table = read_masks(masks)
    # A few BOOLEAN columns spare the way to Python; bits are counted in a third of the time there.
    few = table.layout is Layout.BOOLEAN and len(ids) <= MOST_BOOLEAN
    return (_counted if few else _tallied)(table, ids, split_sql(split))


def _counted(table: MaskTable, ids: Sequence[str], split: str) -> list[Coverage]:
    counts: list[Column] = [F.count(F.lit(1)).alias("rows")]
    for i, mask in enumerate(map(table.mask, ids)):
        counts += [F.count_if(mask).alias(f"in_{i}"), F.count_if(mask.isNull()).alias(f"null_{i}")]
    rows = table.df.groupBy(F.expr(split).alias(SPLIT))
    splits = by_split({(r[SPLIT],): r for r in rows.agg(*counts).collect()})
    return [
        Coverage(slice_id, name, r["rows"], r[f"in_{i}"], r[f"null_{i}"])
        for i, slice_id in enumerate(ids)
        for (name,), r in splits
    ]


def _tallied(table: MaskTable, ids: Sequence[str], split: str) -> list[Coverage]:
    words = table.words(ids)
    every = "1L"  # a word whose lowest bit all rows have
    columns = enumerate([every, *words.in_words, *words.null_words])
    narrow = table.df.selectExpr(f"{split} AS {SPLIT}", *(f"{w} AS _word_{k}" for k, w in columns))
    parts = narrow.mapInArrow(_counting(), f"{SPLIT} string, {BIT} int, {ROWS} long")
    sums = parts.groupBy(SPLIT, BIT).agg(F.sum(ROWS).alias(ROWS)).toArrow()
    rows = {(r[SPLIT], r[BIT]): r[ROWS] for r in sums.to_pylist()}
    splits = by_split({(name,): name for name, _ in rows})
    first, null = WORD, WORD * (1 + len(words.in_words))
    return [
        Coverage(s, name, *(rows.get((name, i), 0) for i in (0, first + bit, null + bit)))
        for s, bit in words.at.items()
        for _, name in splits
    ]


def _counting() -> Callable[[Iterable[Any]], Iterable[Any]]:
    plainly = plain()

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        for batch in batches:
            if batch.num_rows:
                yield batch_counts(batch)

    return run


def batch_counts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Count one batch: a row for each split and bit that some row of the split has.

    Parameters
    ----------
    batch
        The splits, then the words without nulls.

    Examples
    --------
    >>> batch = pa.record_batch({"_split": ["x", "y", "x"], "w": [1, 2, 3]})
    >>> batch_counts(batch).to_pylist()[:2]
    [{'_split': 'x', '_bit': 0, '_rows': 2}, {'_split': 'x', '_bit': 1, '_rows': 1}]
    """
    splits, *columns = batch.columns
    encoded = splits.dictionary_encode(null_encoding="encode")
    of_split = encoded.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(of_split, kind="stable")  # one split after another
    starts = np.flatnonzero(np.diff(of_split[order], prepend=-1))
    words = np.column_stack([column.to_numpy(zero_copy_only=False)[order] for column in columns])
    counts = bit_counts(words, starts)
    at, bit = counts.nonzero()
    first = pa.array(order[starts][at])
    return pa.record_batch(
        [splits.take(first), pa.array(bit, pa.int32()), pa.array(counts[at, bit])],
        [SPLIT, BIT, ROWS],
    )
