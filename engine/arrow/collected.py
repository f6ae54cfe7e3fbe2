"""Values that cross to Python in another form than a collected Spark row has them.

VARIANT, vectors and other types of users' own cross as structs, which executors turn into values
of the type. An interval of years and months, which pyarrow lacks, crosses as months and days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import (
    ArrayType,
    CalendarIntervalType,
    DataType,
    MapType,
    StructType,
    UserDefinedType,
    VariantType,
    VariantVal,
    YearMonthIntervalType,
)
from pyspark.sql.types import Row as SparkRow

from engine.slicing.rows import Row, Struct, values_of

Decode = Callable[[Any], Any]


def crossing(column: Column, kind: DataType) -> Column:
    """Return a column as it crosses to Python."""
    if isinstance(kind, YearMonthIntervalType):
        years, months = (F.extract(F.lit(part), column) for part in ("YEAR", "MONTH"))
        return F.make_interval(years, months)
    if not isinstance(kind, CalendarIntervalType) and not _crosses(kind):
        return F.when(column.isNotNull(), F.lit(True))
    return column


def decoder(kind: DataType) -> Decode | None:
    """Return the function that turns what crossed into the value; None where it is the value.

    Examples
    --------
    >>> from pyspark.ml.linalg import VectorUDT
    >>> decode = decoder(ArrayType(VectorUDT()))
    >>> decode([Row({"type": 1, "size": None, "indices": None, "values": [1.0, 2.0]}), None])
    [DenseVector([1.0, 2.0]), None]
    >>> decoder(ArrayType(MapType(CalendarIntervalType(), StructType()))) is None
    False
    """
    if isinstance(kind, YearMonthIntervalType | CalendarIntervalType):
        return _as_it_is
    if not _crosses(kind):
        return partial(_never, kind.simpleString())
    return _decoder(kind)


def _decoder(kind: DataType) -> Decode | None:
    if isinstance(kind, VariantType):
        return _variant
    if isinstance(kind, UserDefinedType):
        return partial(_own, kind, _decoder(kind.sqlType()))
    if isinstance(kind, ArrayType):
        return _inside(_array, _decoder(kind.elementType))
    if isinstance(kind, MapType):
        return _inside(_map, _decoder(kind.keyType), _decoder(kind.valueType))
    if isinstance(kind, StructType):
        fields = {f.name: decode for f in kind if (decode := _decoder(f.dataType)) is not None}
        return partial(_struct, fields) if fields else None
    return None


def _inside(run: Callable[..., Any], *parts: Decode | None) -> Decode | None:
    if all(part is None for part in parts):
        return None
    return partial(run, *(_as_it_is if part is None else part for part in parts))


def _crosses(kind: DataType) -> bool:
    try:
        to_arrow_type(kind)
    except Exception:  # such as an interval inside an array
        return False
    return True


def _as_it_is(value: Any) -> Any:
    return value


def _never(kind: str, value: Any) -> Any:
    if value is not None:
        raise TypeError(kind)


def _variant(value: Row | None) -> VariantVal | None:
    return None if value is None else VariantVal(value["value"], value["metadata"])


def _own(kind: UserDefinedType, inner: Decode | None, value: Any) -> Any:
    if value is None:
        return None
    return kind.deserialize(_for_spark(value if inner is None else inner(value)))


def _for_spark(value: Any) -> Any:
    """Return a value as Spark hands it to a type of the user's own: structs are Spark's rows."""
    if isinstance(value, Row):
        fields = values_of(value)
        return SparkRow(*fields)(*map(_for_spark, fields.values()))
    return [_for_spark(v) for v in value] if isinstance(value, list) else value


def _array(inner: Decode, value: list[Any] | None) -> list[Any] | None:
    return None if value is None else [inner(v) for v in value]


def _map(key: Decode, item: Decode, value: Mapping[Any, Any] | None) -> dict[Any, Any] | None:
    return None if value is None else {key(k): item(v) for k, v in value.items()}


def _struct(fields: Mapping[str, Decode], value: Row | None) -> Row | None:
    if value is None:
        return None
    own = values_of(value)
    return Struct({**own, **{name: decode(own[name]) for name, decode in fields.items()}})
