"""Arrow columns as the values that functions see: Python's, or nullable pandas Series."""

from __future__ import annotations

import contextlib
from typing import Any

import pandas as pd
import pyarrow as pa

from engine.slicing.rows import Row


def python_values(array: pa.Array) -> list[Any]:
    """Return an Arrow array as the Python values that a collected Spark row has.

    Examples
    --------
    >>> python_values(pa.array([1, None], pa.int64()))
    [1, None]
    """
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    values: list[Any] = array.to_pylist()
    if pa.types.is_nested(array.type):
        return [_nested(v, array.type) for v in values]
    return values


def null_series(array: pa.Array) -> pd.Series:
    """Return an Arrow array as a Series that keeps null apart: nullable dtypes, NA for null.

    Examples
    --------
    >>> null_series(pa.array([1, None])).dtype
    Int64Dtype()
    """
    with nan_apart():
        series: pd.Series = array.to_pandas(types_mapper=_SERIES_DTYPES.get)
    return series


def nan_apart() -> contextlib.AbstractContextManager[None]:
    """Keep NaN apart from null in nullable floats: pandas 3 takes one for the other unless told."""
    if int(pd.__version__.partition(".")[0]) < 3:  # noqa: PLR2004 - and pandas 2 never does
        return contextlib.nullcontext()
    return pd.option_context("future.distinguish_nan_and_na", True)


_SERIES_DTYPES: dict[pa.DataType, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    # Python strings: `.str` methods then use Python's `re`, as row functions do.
    pa.string(): pd.StringDtype("python", na_value=pd.NA),
    pa.large_string(): pd.StringDtype("python", na_value=pd.NA),
}


def _nested(value: Any, kind: pa.DataType) -> Any:
    """Give structs attributes and maps keys, as a collected Spark row has them."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return Row({f.name: _nested(value[f.name], f.type) for f in kind})
    if pa.types.is_map(kind):
        return {_nested(k, kind.key_type): _nested(v, kind.item_type) for k, v in value}
    if pa.types.is_nested(kind):
        return [_nested(v, kind.value_type) for v in value]
    return value
