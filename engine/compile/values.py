"""Arrow columns as the values that functions see: Python's, or nullable pandas Series."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
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


def pandas_values(series: pd.Series) -> list[Any]:
    """Return a Series as the Python values a row function sees.

    Examples
    --------
    >>> pandas_values(pd.Series(["a", None])), pandas_values(pd.Series([1, 2]))
    (['a', None], [1, 2])
    """
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufc":
        return list(series.tolist())  # NaN in a float column stays NaN
    if isinstance(series.dtype, pd.ArrowDtype):
        return python_values(pa.array(series.array))
    values: Any = series
    if series.dtype.kind == "M":
        values = series.dt.floor("us").array.astype(object)
        return [None if v is pd.NaT else v.to_pydatetime() for v in values]
    if series.dtype.kind == "m":
        return [None if v is pd.NaT else v.to_pytimedelta() for v in series.array.astype(object)]
    return [None if _missing(v) else _plain(v) for v in values.tolist()]


_NULLABLE: dict[str, Any] = {
    "string": pd.StringDtype("python", na_value=pd.NA),
    "empty": pd.StringDtype("python", na_value=pd.NA),
    "integer": pd.Int64Dtype(),
    "boolean": pd.BooleanDtype(),
}


def nullable(series: pd.Series) -> pd.Series:
    """Return a Series as a vectorised function sees it in Spark: nullable dtypes, NA for null."""
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else ""
    if kind == "f":
        return series
    if kind in ("i", "u"):
        name = str(series.dtype).replace("uint", "UInt").replace("int", "Int")
        return series.astype(pd.api.types.pandas_dtype(name))
    dtype = _NULLABLE.get(pd.api.types.infer_dtype(series, skipna=True), series.dtype)
    return series.astype(dtype)


def _missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    # NaN and NaT of any width
    return isinstance(value, float | np.generic) and bool(value != value)  # noqa: PLR0124


def _plain(value: Any) -> Any:
    """Return a number of an object column as Python's."""
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biuf" else value
