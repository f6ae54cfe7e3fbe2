"""Columns, Arrow's and pandas', as the Python values that row functions see."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.compile.columns import dense, plain_array
from engine.slicing.rows import Row


def python_values(array: pa.Array) -> list[Any]:
    """Return an Arrow array as the Python values that a collected Spark row has.

    Examples
    --------
    >>> python_values(pa.array([1, None], pa.int64()))
    [1, None]
    """
    array = plain_array(array)
    values: list[Any] = array.to_pylist()
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return _in_zone(values, array.type.tz)
    if pa.types.is_nested(array.type):
        return [_nested(v, array.type) for v in values]
    return values


def _in_zone(values: list[Any], zone: str) -> list[Any]:
    """Give times a zone of the standard library: older versions of pyarrow give pytz's."""
    first = next((v for v in values if v is not None), None)
    if first is None or not hasattr(first.tzinfo, "localize"):
        return values
    offset = first.utcoffset() if zone[0] in "+-" else None
    zone_of = ZoneInfo(zone) if offset is None else dt.timezone(offset)
    return [None if v is None else v.astimezone(zone_of) for v in values]


def _nested(value: Any, kind: pa.DataType) -> Any:
    """Give structs attributes and maps keys, as a collected Spark row has them."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return Row({f.name: _nested(value[f.name], f.type) for f in kind})
    if pa.types.is_map(kind):
        return {_nested(k, kind.key_type): _nested(v, kind.item_type) for k, v in value}
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _nested(value, kind.value_type)
    if pa.types.is_nested(kind) and hasattr(kind, "value_type"):  # a union's value is plain
        return [_nested(v, kind.value_type) for v in value]
    if isinstance(value, pd.Timestamp):
        return value.as_unit("us").to_pydatetime()
    return value.floor("us").to_pytimedelta() if isinstance(value, pd.Timedelta) else value


def pandas_values(series: pd.Series) -> list[Any]:
    """Return a Series as the Python values a row function sees.

    Examples
    --------
    >>> pandas_values(pd.Series(["a", None])), pandas_values(pd.Series([1, 2]))
    (['a', None], [1, 2])
    """
    series = dense(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        values = [*pandas_values(series.dtype.categories.to_series()), None]  # code -1 is null
        return [values[code] for code in series.cat.codes.tolist()]
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufc":
        wide = series.dtype.kind == "f" and series.dtype.itemsize > np.float64().itemsize
        # NaN in a float column stays NaN
        return list((series.astype(np.float64) if wide else series).tolist())
    if isinstance(series.dtype, pd.ArrowDtype):
        return python_values(plain_array(series.array.__arrow_array__()))
    if series.dtype.kind in "Mm" and series.dt.unit == "ns":
        series = series.dt.as_unit("us")  # which floors, as Arrow's are
    if series.dtype.kind == "M":
        return [None if v is pd.NaT else v.to_pydatetime() for v in series.array.astype(object)]
    if series.dtype.kind == "m":
        return [None if v is pd.NaT else v.to_pytimedelta() for v in series.array.astype(object)]
    return [None if _missing(v) else _plain(v) for v in series.tolist()]


def _missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    # NaN and NaT of any width
    return isinstance(value, float | np.generic) and bool(value != value)  # noqa: PLR0124


def _plain(value: Any) -> Any:
    """Return a number of an object column as Python's."""
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biuf" else value
