"""The mask table: key, split, partition and carried columns, and a BOOLEAN column per slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from engine.masks.checks import quoted
from engine.slicing.functions import SlicingFunction

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

_META = "slice"  # a mask column's metadata: which slice it is; time travel reads it too
ALL = "all"  # the split of a table without splits


@dataclass(frozen=True)
class Coverage:
    """How many rows of a split a slice has.

    Attributes
    ----------
    slice_id, split
        Which.
    rows
        Rows of the split.
    n_in, n_null
        Rows in the slice, and rows on which it could not be decided.
    """

    slice_id: str
    split: str
    rows: int
    n_in: int
    n_null: int

    @property
    def share(self) -> float:
        """The slice's share of the rows."""
        return self.n_in / self.rows if self.rows else 0.0


def mask_table(
    masked: DataFrame,
    columns: Sequence[str],
    masks: Sequence[Column],
    sfs: Sequence[SlicingFunction],
    fingerprints: Mapping[str, str],
) -> DataFrame:
    """Return the mask table's rows: the named columns, then the masks with their metadata."""
    described = [
        mask.alias(sf.id, metadata={_META: {"name": sf.name, "fingerprint": fingerprints[sf.id]}})
        for mask, sf in zip(masks, sfs, strict=True)
    ]
    return masked.select(*(quoted(c) for c in columns), *described)


def slices_of(schema: StructType) -> dict[str, str]:
    """Return slice id to fingerprint of a mask table, in column order."""
    found: dict[str, Any] = {f.name: f.metadata[_META] for f in schema if _META in f.metadata}
    return {slice_id: about["fingerprint"] for slice_id, about in found.items()}


def split_column(split: str | None) -> Column:
    """Return the split as text: "all" in a table without splits, "null" where it is null."""
    if split is None:
        return F.lit(ALL)
    return F.coalesce(quoted(split).cast("string"), F.lit("null"))


def coverage(masks: DataFrame, ids: Sequence[str], split: str | None) -> list[Coverage]:
    """Count each slice's rows per split, in one scan."""
    counts: list[Column] = [F.count(F.lit(1)).alias("rows")]
    for i, slice_id in enumerate(ids):
        counts.append(F.count_if(quoted(slice_id)).alias(f"in_{i}"))
        counts.append(F.count_if(quoted(slice_id).isNull()).alias(f"null_{i}"))
    found = (
        masks.groupBy(split_column(split).alias("_split")).agg(*counts).orderBy("_split").collect()
    )
    return [
        Coverage(slice_id, str(r["_split"]), r["rows"], r[f"in_{i}"], r[f"null_{i}"])
        for i, slice_id in enumerate(ids)
        for r in found
    ]
