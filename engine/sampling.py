"""A seeded, slice-aware draw: the border between Spark and torch.

A row is kept if u < p, where u is the engine's hash of its key (:mod:`engine.hashing`), shared by
all slices, and p is the largest over its slices, and over all rows, of min(1, quota / count). So
each slice gets its quota in expectation, small slices come whole, and the draw is the same
whatever the partitioning. Weighting a row by 1/p makes figures on the sample unbiased for the
table (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import QuotaError
from engine.hashing import unit_interval_column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

P = "sample_p"  # the column with a kept row's probability


@dataclass(frozen=True)
class Quota:
    """Expected rows: of each slice, and of all rows.

    Raises
    ------
    QuotaError
        If one is not positive.
    """

    per_slice: int
    overall: int

    def __post_init__(self) -> None:
        for name, value in (("per_slice", self.per_slice), ("overall", self.overall)):
            if value <= 0:
                raise QuotaError(name, value)

    def probabilities(self, counts: Mapping[str, int], rows: int) -> tuple[float, dict[str, float]]:
        """Return p of any row, and per slice, from the slices' counts.

        Examples
        --------
        >>> Quota(per_slice=10, overall=50).probabilities({"a": 5, "b": 40, "none": 0}, 100)
        (0.5, {'a': 1.0, 'b': 0.25})
        """
        any_row = min(1.0, self.overall / rows) if rows else 1.0
        return any_row, {s: min(1.0, self.per_slice / n) for s, n in counts.items() if n > 0}

    def expected(self, counts: Mapping[str, int], rows: int) -> int:
        """Return the most rows to expect: slices add up where they don't overlap."""
        any_row, by_slice = self.probabilities(counts, rows)
        return min(rows, round(any_row * rows + sum(p * counts[s] for s, p in by_slice.items())))


def draw(
    masks: DataFrame,
    key: Sequence[str],
    counts: Mapping[str, int],
    rows: int,
    quota: Quota,
    seed: int,
) -> DataFrame:
    """Return the sampled rows of a mask table, with their probability in ``sample_p``.

    Parameters
    ----------
    masks
        Rows of the mask table (one split of it).
    key
        Key columns.
    counts
        Slice id to its number of rows in ``masks``.
    rows
        Number of rows in ``masks``.
    quota
        How many rows to expect.
    seed
        Another seed is another sample.
    """
    any_row, by_slice = quota.probabilities(counts, rows)
    chances = [F.when(F.col(f"`{s}`"), F.lit(p)).otherwise(0.0) for s, p in by_slice.items()]
    p = F.greatest(F.lit(any_row), *chances) if chances else F.lit(any_row)
    u = unit_interval_column(masks, key, seed)
    return masks.withColumn(P, p).where(u < F.col(P))
