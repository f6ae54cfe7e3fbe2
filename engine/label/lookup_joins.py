"""Look-ups of many keys: tables of keys joined to the rows, each leaving a BOOLEAN column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import BooleanType, StructField, StructType

from engine.errors import SliceError, missing_column
from engine.masks.checks import quoted
from engine.slicing.by_value import family
from engine.slicing.expr import Lookup
from engine.slicing.functions import SlicingFunction
from engine.slicing.slices import joined
from engine.storage.place import Place

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BROADCAST = 1_000_000  # keys that Spark sends to all executors by default
Reader = Callable[[str], "DataFrame"]

# Spark's types that are compared as one, and as what.
_FAMILIES = {
    "string": "text", "boolean": "boolean", "tinyint": "whole number", "smallint": "whole number",
    "int": "whole number", "bigint": "whole number", "date": "date",
}  # fmt: skip
_JOINED_AS = {"text": "string", "whole number": "bigint"}
_ALONE = ("decimal", "timestamp")  # families that are one type each
_ARROW = {
    "text": pa.string(), "boolean": pa.bool_(), "whole number": pa.int64(), "date": pa.date32(),
}  # fmt: skip


def check_lookups(sfs: Iterable[SlicingFunction], schema: StructType, read_table: Reader) -> None:
    """Check that looked up columns exist and are of their keys' type; runs nothing on Spark.

    Parameters
    ----------
    sfs
        Slicing functions, those without a look-up too.
    schema
        The rows' schema.
    read_table
        Returns a table of keys by its path or name.

    Raises
    ------
    ColumnError, SliceError
    """
    every = (part for sf in sfs for part in (sf, *sf.parts.values()) if part.expr is not None)
    for sf in every:
        for node in sf.expr.walk() if sf.expr is not None else ():
            if isinstance(node, Lookup):
                _check(sf.name, node, schema, read_table)


def marked(schema: StructType, lookups: Sequence[Lookup]) -> StructType:
    """Return a schema with the columns that :func:`with_lookups` adds."""
    return StructType([*schema.fields, *(StructField(n.marker, BooleanType()) for n in lookups)])


def with_lookups(df: DataFrame, lookups: Sequence[Lookup], read_table: Reader) -> DataFrame:
    """Return rows with a BOOLEAN column per look-up: whether its column holds one of its keys.

    It is named :attr:`Lookup.marker` and is null where the column is null. No row is repeated or
    lost, however often a key is in its table.

    Parameters
    ----------
    df
        The rows.
    lookups
        Distinct look-ups, as :func:`engine.slicing.slices.joined` finds them.
    read_table
        Returns a table of keys by its path or name.

    Notes
    -----
    Keys in a table whose look-up is ``auto`` are counted first, which is a Spark job each.
    """
    for node in lookups:
        key, column = f"{node.marker}_key", quoted(node.column)
        own = df.schema[node.column].dataType.simpleString()
        as_type = _JOINED_AS.get(_family(own) or "", own)
        keys = _keys(df, node, key, as_type, read_table)
        with_keys = df.join(keys, column.cast(as_type) == F.col(key), "left")
        answer = F.when(column.isNotNull(), F.col(key).isNotNull())
        df = with_keys.withColumn(node.marker, answer).drop(key)
    return df


def reader(spark: SparkSession) -> Reader:
    """Return a reader of tables by name or path: Delta unless the path ends otherwise."""

    def read(table: str) -> DataFrame:
        place = Place.of(table)
        options = {"header": "true", "inferSchema": "true"} if place.format == "csv" else {}
        keys: DataFrame = place.load(spark.read.options(**options), place.format or "delta")
        return keys

    return read


def with_own_lookups(df: DataFrame, sfs: Sequence[SlicingFunction]) -> tuple[DataFrame, list[str]]:
    """Return rows with the look-ups of slices, checked, and the names of the columns added."""
    read, lookups = reader(df.sparkSession), joined(sfs)
    check_lookups(sfs, df.schema, read)
    return with_lookups(df, lookups, read), [node.marker for node in lookups]


def _keys(df: DataFrame, node: Lookup, key: str, as_type: str, read_table: Reader) -> DataFrame:
    """Return distinct keys that aren't null, with a hint for the join."""
    values = node.keys.values
    if values is None:
        own = quoted(node.keys.column).cast(as_type).alias(key)
        keys = read_table(node.keys.table).select(own).where(F.col(key).isNotNull()).distinct()
    else:
        kind = _ARROW[family(values)]
        table = pa.table({key: pa.array(sorted(values), kind)})
        keys = df.sparkSession.createDataFrame(cast("Any", table))
    how = node.how
    if how == "auto":
        n = keys.limit(BROADCAST + 1).count() if values is None else len(values)
        how = "broadcast" if n <= BROADCAST else "auto"
    hints: Mapping[str, str] = {"broadcast": "broadcast", "join": "merge"}
    return keys.hint(hints[how]) if how in hints else keys


def _check(name: str, node: Lookup, schema: StructType, read_table: Reader) -> None:
    if node.column not in schema.names:
        raise missing_column(f"slice {name!r}", node.column, schema.names)
    kind = schema[node.column].dataType.simpleString()
    where = "the keys given"
    if node.keys.values is None:
        table = read_table(node.keys.table)
        if node.keys.column not in table.columns:
            raise missing_column(
                f"slice {name!r}, keys in {node.keys.table}", node.keys.column, table.columns
            )
        key_kind = table.schema[node.keys.column].dataType.simpleString()
        where = f"the keys in {node.keys.table}"
        same = _family(kind) is not None and _family(kind) == _family(key_kind)
    else:
        key_kind = family(node.keys.values)
        same = not node.keys.values or _family(kind) == key_kind
    if not same:
        raise SliceError(
            f"slice {name!r}: column {node.column!r} is {kind}, and {where} are {key_kind}; a "
            "look-up takes text, whole numbers, booleans, dates, DECIMAL or timestamps, both sides "
            "of one type: cast one of them"
        )


def _family(kind: str) -> str | None:
    """Return what a Spark type is compared as; None for one that keys can't be of."""
    plain = kind.partition("(")[0]
    if plain in ("char", "varchar"):
        return "text"
    return kind if plain.startswith(_ALONE) else _FAMILIES.get(kind)
