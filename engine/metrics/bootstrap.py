"""Poisson bootstrap of confusion cells: how often each replicate draws each cell of each slice.

A replicate draws a row as often as :func:`engine.metrics.replicates.weights` of its key's hash
says, whatever partition the row is in and whoever counts it; the sums are integers. So every run,
order and retry has the same replicates, bit for bit.
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

from engine.masks.counts import BIT, WEIGHT, grouped, numbered
from engine.masks.words import WORD, unpacked
from engine.metrics.replicates import weights

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_HASH = "_hash"
_MOST = 8  # the largest weight of a replicate
_EXACT = 2**53  # whole numbers up to this are exact in a float64, and so in a matrix product


@dataclass(frozen=True)
class Replicates:
    """What each replicate counts in each group.

    Attributes
    ----------
    groups
        One row per group.
    drawn
        ``[groups, 1 + slices, replicates]`` int64: rows, or sums of weights; first all rows.
    clusters
        Model and split to how many clusters were there to draw, ``[1 + slices]``; None where rows
        are drawn.
    """

    groups: pd.DataFrame
    drawn: np.ndarray
    clusters: Mapping[tuple[str, str], np.ndarray] | None = None


def replicate(
    df: DataFrame,
    by: Mapping[str, Column],
    words: Sequence[Column],
    bits: Sequence[int],
    hashed: Column,
    n: int,
    weight: Column | None = None,
) -> Replicates:
    """Count what each replicate draws, per group and slice, in one scan.

    Parameters
    ----------
    df
        The rows.
    by
        What groups are, by name.
    words
        BIGINT Columns without nulls that hold the masks.
    bits
        Each slice's bit.
    hashed
        The hash of the row's key, or of its cluster's (:func:`engine.hashing.key_hash_column`).
    n
        How many replicates.
    weight
        BIGINT, none negative.
    """
    columns = [w.alias(f"_word_{k}") for k, w in enumerate(words)]
    weights_ = [] if weight is None else [weight.alias(WEIGHT)]
    groups = [column.alias(name) for name, column in by.items()]
    narrow = df.select(*groups, hashed.alias(_HASH), *weights_, *columns)
    schema = StructType([StructField(name, narrow.schema[name].dataType) for name in by])
    schema = schema.add(BIT, IntegerType())
    for r in range(n):
        schema = schema.add(f"r_{r}", LongType())
    parts = narrow.mapInArrow(_drawing(list(by), tuple(bits), n, weight is not None), schema)
    sums = parts.groupBy(*by, BIT).agg(*(F.sum(f"r_{r}").alias(f"r_{r}") for r in range(n)))
    return _arranged(sums.toPandas(), list(by), len(bits), n)


def _arranged(sums: pd.DataFrame, by: list[str], slices: int, n: int) -> Replicates:
    groups, at = numbered(sums, by)
    drawn = np.zeros((len(groups), 1 + slices, n), dtype=np.int64)
    drawn[at, sums[BIT].to_numpy() + 1] = sums[[f"r_{r}" for r in range(n)]].to_numpy(np.int64)
    return Replicates(groups, drawn)


def _drawing(
    by: list[str], bits: tuple[int, ...], n: int, weighted: bool
) -> Callable[[Iterable[Any]], Iterable[Any]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held: dict[tuple[Any, ...], np.ndarray] = {}
        kinds = None
        for batch in batches:
            if not batch.num_rows:
                continue
            kinds = kinds or [batch.schema.field(name) for name in by]
            for group, drawn in batch_draws(batch, by, bits, n, weighted):
                held[group] = held[group] + drawn if group in held else drawn
        if kinds:
            yield from _rows(held, kinds, n)

    return run


def _rows(
    held: Mapping[tuple[Any, ...], np.ndarray], kinds: Sequence[pa.Field], n: int
) -> Iterator[pa.RecordBatch]:
    for group, drawn in held.items():
        slices = np.flatnonzero(drawn.any(axis=1))
        values = np.ascontiguousarray(drawn[slices].T)
        yield pa.record_batch(
            [
                *(
                    pa.array([value] * len(slices), field.type)
                    for value, field in zip(group, kinds, strict=True)
                ),
                pa.array(slices - 1, pa.int32()),
                *(pa.array(values[r]) for r in range(n)),
            ],
            [*(field.name for field in kinds), BIT, *(f"r_{r}" for r in range(n))],
        )


def batch_draws(
    batch: pa.RecordBatch, by: Sequence[str], bits: Sequence[int], n: int, weighted: bool
) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
    """Yield each group of a batch with what the replicates draw of it.

    Parameters
    ----------
    batch
        The columns ``by``, then the hash, the weight if there are weights, and the words.
    by
        Names of the columns that groups are of.
    bits
        Each slice's bit.
    n
        How many replicates.
    weighted
        Whether there are weights.

    Returns
    -------
    Iterator
        Of the group's values and ``[1 + slices, n]`` int64, first all its rows.

    Examples
    --------
    >>> batch = pa.record_batch({"g": ["x", "y"], "h": [1, 2], "w": [1, 0]})
    >>> [(g, d.shape) for g, d in batch_draws(batch, ["g"], [0], 4, False)]
    [(('x',), (2, 4)), (('y',), (2, 4))]
    """
    columns = [c.to_numpy(zero_copy_only=False) for c in batch.columns[len(by) :]]
    hashes, weight = columns[0].view(np.uint64), columns[1] if weighted else None
    words = np.stack(columns[1 + weighted :], axis=1)
    kind = np.float64 if weighted else np.float32
    keys = [batch.column(name) for name in by]
    order, starts = grouped(keys, batch.num_rows)
    for rows in np.split(order, starts[1:]):
        members = np.empty((1 + len(bits), len(rows)), kind)
        members[0] = 1
        members[1:] = unpacked(words[rows])[:, list(bits)].T
        drawn = weights(hashes[rows], n, kind)
        yield (
            tuple(key[int(rows[0])].as_py() for key in keys),
            _product(members, drawn, None if weight is None else weight[rows]),
        )


def _product(members: np.ndarray, drawn: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Multiply exactly: ``[1 + slices, rows] @ [rows, n]`` as int64."""
    if weight is None:  # a batch is far from the 2^24 rows that a float32 counts
        return np.asarray(members @ drawn).astype(np.int64)
    most = int(weight.max(initial=0)) * _MOST
    if most >= _EXACT:
        raise OverflowError("a weight of over 2^30 is more than replicates count exactly")
    step = max(1, _EXACT // max(1, most) - 1)
    total = np.zeros((len(members), drawn.shape[1]), dtype=np.int64)
    for at in range(0, len(weight), step):
        part = slice(at, at + step)
        total += (members[:, part] @ (drawn[part] * weight[part, None])).astype(np.int64)
    return total


def words_and_bits(
    in_words: Sequence[Column], at: Mapping[str, int], ids: Sequence[str]
) -> tuple[list[Column], list[int]]:
    """Return the words that hold these slices and each slice's bit in them."""
    needed = sorted({at[s] // WORD for s in ids})
    place = {k: i for i, k in enumerate(needed)}
    bits = [place[at[s] // WORD] * WORD + at[s] % WORD for s in ids]
    return [in_words[k] for k in needed], bits
