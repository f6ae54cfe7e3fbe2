"""Rows counted per group and slice, for thousands of slices in one scan.

A count per slice as a Spark aggregate each would be more code than the JVM compiles. Words go to
Python as Arrow instead, where numpy counts all bits of a batch at once; the few sums that come
back are added up by Spark, as integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import IntegerType, LongType, StructField, StructType

from engine.plain import plain
from engine.words import WORD, bit_counts, bit_sums
from engine.workers import begin

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BIT, ROWS, WEIGHT = "_bit", "_rows", "_weight"


@dataclass(frozen=True)
class Tally:
    """Counts of every bit in every group.

    Attributes
    ----------
    groups
        One row per group.
    rows
        ``[groups, 64 * words]`` int64: the group's rows that have the bit.
    weight
        The same for the sum of their weights; None without weights.
    """

    groups: pd.DataFrame
    rows: np.ndarray
    weight: np.ndarray | None


def tally(
    df: DataFrame,
    by: Mapping[str, str],
    words: Sequence[str],
    weight: str | None = None,
) -> Tally:
    """Count the rows that have each bit of these words, per group, in one scan.

    Parameters
    ----------
    df
        The rows.
    by
        Name to SQL of what groups are of; every group has a row with a bit in some word, or isn't
        found.
    words
        SQL of BIGINTs without nulls.
    weight
        SQL of a BIGINT, none negative.
    """
    weights = {} if weight is None else {WEIGHT: weight}
    read = {**by, **weights, **{f"_word_{k}": w for k, w in enumerate(words)}}
    narrow = df.selectExpr(*(f"{sql} AS {name}" for name, sql in read.items()))
    schema = StructType([StructField(name, narrow.schema[name].dataType) for name in by])
    schema = schema.add(BIT, IntegerType()).add(ROWS, LongType()).add(WEIGHT, LongType())
    parts = narrow.mapInArrow(_counting(list(by), weight is not None), schema)
    sums = parts.groupBy(*by, BIT).agg(F.sum(ROWS).alias(ROWS), F.sum(WEIGHT).alias(WEIGHT))
    return _arranged(sums.toPandas(), list(by), len(words) * WORD, weight is not None)


def _arranged(sums: pd.DataFrame, by: list[str], bits: int, weighted: bool) -> Tally:
    groups, at = numbered(sums, by)

    def matrix(column: str) -> np.ndarray:
        filled = np.zeros((len(groups), bits), dtype=np.int64)
        filled[at, sums[BIT].to_numpy()] = sums[column].to_numpy(np.int64)
        return filled

    return Tally(groups, matrix(ROWS), matrix(WEIGHT) if weighted else None)


def numbered(sums: pd.DataFrame, by: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the distinct groups of rows, in order, and each row's number among them.

    Examples
    --------
    >>> groups, at = numbered(pd.DataFrame({"g": ["y", "x", "y"]}), ["g"])
    >>> groups["g"].tolist(), at.tolist()
    (['x', 'y'], [1, 0, 1])
    """
    at = sums.groupby(by, sort=True, dropna=False).ngroup().to_numpy()
    groups = sums[by].assign(_at=at).drop_duplicates("_at").sort_values("_at")[by]
    return groups.reset_index(drop=True), at


def _counting(by: list[str], weighted: bool) -> Callable[[Iterable[Any]], Iterable[Any]]:
    plainly = plain()

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        for batch in batches:
            if batch.num_rows:
                yield batch_counts(batch, by, weighted)

    return run


def batch_counts(batch: pa.RecordBatch, by: Sequence[str], weighted: bool) -> pa.RecordBatch:
    """Count one batch: a row for each group and bit that some row of the group has.

    Parameters
    ----------
    batch
        The columns ``by``, then the weight if there are weights, then the words.
    by
        Names of the columns that groups are of.
    weighted
        Whether there are weights.

    Examples
    --------
    >>> batch = pa.record_batch({"g": ["x", "y", "x"], "w": [1, 2, 3]})
    >>> batch_counts(batch, ["g"], False).select(["g", "_bit", "_rows"]).to_pylist()[:2]
    [{'g': 'x', '_bit': 0, '_rows': 2}, {'g': 'x', '_bit': 1, '_rows': 1}]
    """
    order, starts = grouped([batch.column(name) for name in by], batch.num_rows)
    weights, columns = (
        (batch.columns[len(by)], batch.columns[len(by) + 1 :])
        if weighted
        else (None, batch.columns[len(by) :])
    )
    words = np.empty((batch.num_rows, len(columns)), dtype=np.int64)
    for k, column in enumerate(columns):
        words[:, k] = column.to_numpy(zero_copy_only=False)[order]
    counts = bit_counts(words, starts)
    group, bit = counts.nonzero()
    if weights is None:
        sums = pa.nulls(len(bit), pa.int64())
    else:
        weight = weights.to_numpy(zero_copy_only=False)[order]
        sums = pa.array(bit_sums(words, weight, starts)[group, bit])
    first = pa.array(order[starts][group])
    return pa.record_batch(
        [
            *(batch.column(name).take(first) for name in by),
            pa.array(bit, pa.int32()),
            pa.array(counts[group, bit]),
            sums,
        ],
        [*by, BIT, ROWS, WEIGHT],
    )


def grouped(columns: Sequence[pa.Array], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an order of the rows that has one group after another, and where each starts."""
    group = np.zeros(n, dtype=np.int64)
    for column in columns:
        values = column.dictionary_encode(null_encoding="encode")
        both = group * len(values.dictionary) + values.indices.to_numpy(zero_copy_only=False)
        group = np.unique(both, return_inverse=True)[1]
    order = np.argsort(group, kind="stable")
    new = np.diff(group[order], prepend=-1)
    return order, np.flatnonzero(new)
