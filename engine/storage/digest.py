"""Digests of texts, and of a table's rows in any order: the same rows have the same digest."""

from __future__ import annotations

import hashlib

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, DataType, MapType, StringType, StructType, VariantType

from engine.sql import name_sql

_NESTED = (ArrayType, MapType, StructType, VariantType)


def digest(text: str) -> str:
    """Return a short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def row_digest(df: DataFrame) -> str:
    """Return a digest of rows: how many there are, and the exact sum of their hashes.

    Digests differ where rows differ in a value, in a null or in how often a row is there. Columns
    match by name, in any order.

    Parameters
    ----------
    df
        The rows; they are computed once.
    """
    columns = sorted(df.schema.fields, key=lambda f: f.name)
    cells: list[Column] = [F.lit(0)]
    for field in columns:
        column = F.col(name_sql(field.name))
        # A hash skips nulls, so that (1, null) would be (null, 1).
        cells += [_cell(column, field.dataType), column.isNull()]
    total_of = F.sum(F.xxhash64(*cells).cast("decimal(20,0)"))
    n, total = df.agg(F.count(F.lit(1)), total_of).collect()[0]
    kinds = ",".join(f"{f.name} {f.dataType.simpleString()}" for f in columns)
    return f"{n} rows of {kinds}: {total}"


def _cell(column: Column, kind: DataType) -> Column:
    """Return the form of a value that is hashed: hashes skip nulls within it and take no maps."""
    if isinstance(kind, _NESTED):
        return F.to_json(F.struct(column.alias("v")), {"ignoreNullFields": "false"})
    return column.cast("binary") if isinstance(kind, StringType) else column
