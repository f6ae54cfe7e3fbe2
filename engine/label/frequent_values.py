"""The most frequent values of columns, for slices by value: one aggregation of the source."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import SliceError, listed, missing_column
from engine.masks.checks import quoted
from engine.slicing.by_value import By, family, not_by_value

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructType

# Spark's types whose values can be slices, and what they are; text of a value -> the value.
_FAMILIES = {
    "string": "text", "char": "text", "varchar": "text", "boolean": "boolean",
    "tinyint": "whole number", "smallint": "whole number", "int": "whole number",
    "bigint": "whole number", "date": "date", "float": "float", "double": "float",
}  # fmt: skip
_READ: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "boolean": lambda text: text == "true",
    "whole number": int,
    "date": dt.date.fromisoformat,
    "float": lambda text: math.nan if text == "NaN" else float(text),
}


@dataclass(frozen=True)
class FoundValues:
    """Values of one :class:`By` in a table.

    Attributes
    ----------
    values
        The most frequent combinations without null.
    n_values, rows
        How many combinations there are, and rows that have one.
    rows_of_values
        Rows of those in ``values``.
    """

    values: tuple[tuple[Any, ...], ...] = ()
    n_values: int = 0
    rows: int = 0
    rows_of_values: int = 0


def check_by(specs: Sequence[By], schema: StructType) -> list[str]:
    """Check that columns can be sliced by value; runs nothing on Spark.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    ColumnError, SliceError
    """
    warnings = []
    for spec in specs:
        for i, column in enumerate(spec.columns):
            if column not in schema.names:
                raise missing_column("by", column, schema.names)
            kind = _family(schema[column].dataType)
            if kind is None:
                raise not_by_value(column, schema[column].dataType.simpleString())
            if kind == "float":
                warnings.append(
                    f"by: column {column!r} is a float; two that look alike may be two values"
                )
            wrong = [cell[i] for cell in spec.values or () if family([cell[i]]) != kind]
            if wrong and not (kind == "float" and family(wrong) == "whole number"):
                raise SliceError(
                    f"column {column!r} is {schema[column].dataType.simpleString()}, and its "
                    f"values to slice by are given as {family(wrong)}: "
                    f"{listed([repr(v) for v in wrong], 3)}; write them as the column has them "
                    "(YAML reads no, yes, on and off as booleans unless they are quoted)"
                )
    return warnings


def families(spec: By, schema: StructType) -> tuple[str, ...]:
    """Return what the values of each column are, as :data:`engine.slicing.by_value.FAMILIES`."""
    return tuple(_family(schema[c].dataType) or "" for c in spec.columns)


def find_values(df: DataFrame, specs: Sequence[By]) -> list[FoundValues]:
    """Find the most frequent values of each, in one Spark job.

    Values that are equally frequent come in the order of their texts.
    """
    if not specs:
        return []
    cells = [
        F.struct(F.lit(i).alias("by"), F.array(*(_text(df, c) for c in spec.columns)).alias("cell"))
        for i, spec in enumerate(specs)
    ]
    rows = df.select(F.explode(F.array(*cells)).alias("one")).select("one.by", "one.cell")
    known = rows.where(~F.exists("cell", lambda text: text.isNull()))
    counts = known.groupBy("by", "cell").agg(F.count(F.lit(1)).alias("n"))
    first = Window.partitionBy("by").orderBy(F.desc("n"), F.asc("cell"))
    most = max(spec.top for spec in specs)
    top = counts.withColumn("at", F.row_number().over(first)).where(F.col("at") <= most)
    sums = (F.sum("n").alias("n"), F.count(F.lit(1)).cast("int").alias("at"))
    every = counts.groupBy("by").agg(F.lit(None).cast("array<string>").alias("cell"), *sums)
    counted = top.unionByName(every).collect()
    return [
        _values(spec, families(spec, df.schema), [r for r in counted if r["by"] == i])
        for i, spec in enumerate(specs)
    ]


def _values(spec: By, kinds: Sequence[str], rows: Sequence[Any]) -> FoundValues:
    every = next((r for r in rows if r["cell"] is None), None)
    if every is None:
        return FoundValues()
    top = sorted((r for r in rows if r["cell"] is not None), key=lambda r: r["at"])[: spec.top]
    values = tuple(
        tuple(_READ[kind](text) for kind, text in zip(kinds, r["cell"], strict=True)) for r in top
    )
    return FoundValues(values, every["at"], every["n"], sum(r["n"] for r in top))


def _text(df: DataFrame, column: str) -> Column:
    """Return a column as text from which each value is read back."""
    own = quoted(column)
    if _family(df.schema[column].dataType) == "float":
        own = own.cast("double") + F.lit(0.0)  # -0.0 is 0.0
    return own.cast("string")


def _family(kind: DataType) -> str | None:
    return _FAMILIES.get(kind.simpleString().partition("(")[0])
