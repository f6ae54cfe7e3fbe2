"""Coverage: how many rows of each split each slice has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

from engine.masks.counts import tally
from engine.masks.reader import MaskTable, read_masks
from engine.masks.splits import Split, by_split, split_sql
from engine.words import WORD

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


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
    count = _counted if table.spark_counts(ids) else _tallied
    return count(table, ids, split_sql(split))


def _counted(table: MaskTable, ids: Sequence[str], split: str) -> list[Coverage]:
    counts: list[Column] = [F.count(F.lit(1)).alias("rows")]
    for i, mask in enumerate(map(table.mask, ids)):
        counts.append(F.count_if(mask).alias(f"in_{i}"))
        counts.append(F.count_if(mask.isNull()).alias(f"null_{i}"))
    rows = table.df.groupBy(F.expr(split).alias("_split"))
    splits = rows.agg(*counts).orderBy("_split").collect()
    return [
        Coverage(slice_id, r["_split"], r["rows"], r[f"in_{i}"], r[f"null_{i}"])
        for i, slice_id in enumerate(ids)
        for r in splits
    ]


def _tallied(table: MaskTable, ids: Sequence[str], split: str) -> list[Coverage]:
    words = table.words(ids)
    every = "1L"  # a word whose lowest bit all rows have
    counts = tally(table.df, {"_split": split}, [every, *words.in_words, *words.null_words])
    rows = counts.rows
    names = [None if pd.isna(s) else str(s) for s in counts.groups["_split"]]
    splits = by_split({(name,): g for g, name in enumerate(names)})
    first, null = WORD, WORD * (1 + len(words.in_words))
    return [
        Coverage(s, name, *(int(rows[g, i]) for i in (0, first + bit, null + bit)))
        for s, bit in words.at.items()
        for (name,), g in splits
    ]
