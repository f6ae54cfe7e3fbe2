"""Columns, Arrow's and pandas', as the Python values that row functions see."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.arrow.columns import dense, plain_array, taken_from
from engine.arrow.quick_values import in_range, quick_values
from engine.errors import interrupts
from engine.plain import plain
from engine.slicing.rows import Struct, Unreadable


class PartialValues(list[Any]):
    """Values of which some are :class:`Unreadable`."""


def python_values(array: pa.Array) -> list[Any]:
    r"""Return an Arrow array of a plain type as the Python values that a collected Spark row has.

    They are :class:`PartialValues` where Python can't hold one of them.

    Examples
    --------
    >>> python_values(pa.array([1, None], pa.int64()))
    [1, None]
    >>> python_values(pa.array([b"a", b"\xff"]).view(pa.string()))
    ['a', X'FF']
    """
    try:
        quick = None if plain() else quick_values(array, python_values)
        if quick is not None:
            return quick
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        array, bad = _separated(array)
        values = PartialValues(python_values(array))
        for i, value in bad.items():
            values[i] = value
        return values
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return _in_zone(values, array.type.tz)
    if pa.types.is_nested(array.type):
        return [_nested(v, array.type) for v in values]
    return values


def _in_zone(values: list[Any], zone: str) -> list[Any]:
    """Return times in a zone of the standard library: older versions of pyarrow have pytz's."""
    first = next((v for v in values if v is not None), None)
    if first is None or not hasattr(first.tzinfo, "localize"):
        return values
    offset = first.utcoffset() if zone[0] in "+-" else None
    zone_of = ZoneInfo(zone) if offset is None else dt.timezone(offset)
    return [None if v is None else v.astimezone(zone_of) for v in values]


def readable(array: pa.Array) -> tuple[pa.Array, Mapping[int, Unreadable]]:
    r"""Return a plain array with null for what Python can't hold, and what that is by row.

    Examples
    --------
    >>> array, bad = readable(pa.array([b"a", b"\xff"]).view(pa.string()))
    >>> array.to_pylist(), bad
    (['a', None], {1: X'FF'})
    """
    try:
        if _is_text(array.type):
            if not is_ascii(array):
                array.validate(full=True)  # to_pandas takes bytes that are no text
        elif not (_always_readable(array.type) or in_range(array)):
            array.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException):
        return _separated(array)
    return array, {}


def is_ascii(array: pa.Array) -> bool:
    """Tell, by one look at the bytes, that texts are of ASCII alone."""
    _, places, data = array.buffers()
    if data is None or not len(array):
        return True
    kind = np.int32 if pa.types.is_string(array.type) else np.int64
    ends = np.frombuffer(places, kind)[[array.offset, array.offset + len(array)]]
    text: np.ndarray = np.frombuffer(data, np.int8)[ends[0] : ends[1]]
    return bool(text.min(initial=0) >= 0)


def _separated(array: pa.Array) -> tuple[pa.Array, Mapping[int, Unreadable]]:
    bad = {}
    for i, scalar in enumerate(array):
        try:
            scalar.as_py()
        except (ValueError, OverflowError, pa.ArrowException) as error:
            bad[i] = _unreadable(scalar, error)
    rows = np.arange(len(array))
    return taken_from(array, pa.array(rows, mask=np.isin(rows, list(bad)))), bad


def _unreadable(scalar: pa.Scalar, error: Exception) -> Unreadable:
    kind = scalar.type
    if _is_text(kind):
        return Unreadable(NOT_UTF8, f"X'{scalar.as_buffer().to_pybytes().hex().upper()}'")
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        unit: Any = "D" if kind == pa.date32() else getattr(kind, "unit", "ms")
        what = NO_DATE if pa.types.is_date(kind) else NO_TIME
        return Unreadable(what, _as_spark(np.datetime64(scalar.value, unit)))
    inner = NOT_UTF8 if isinstance(error, UnicodeDecodeError) else f"a value ({error})"
    return Unreadable(f"{inner} inside", f"<{kind}>")


def _as_spark(value: Any) -> str:
    """Return a date or time as Spark writes it: years of four digits, after 9999 with a sign.

    Examples
    --------
    >>> [_as_spark(np.datetime64(days, "D")) for days in (-719529, -1000000, 2932900)]
    ['-0001-12-31', '-0768-02-04', '+10000-01-04']
    """
    text = str(value)
    year, _, rest = text.removeprefix("-").partition("-")
    sign = "-" if text.startswith("-") else "+" if len(year) > len("9999") else ""
    return f"{sign}{year:0>4}-{rest}"


NOT_UTF8 = "text that is not UTF-8"
NO_DATE = "a date before the year 1 or after 9999"
NO_TIME = "a time before the year 1 or after 9999"


def _is_text(kind: pa.DataType) -> Any:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _always_readable(kind: pa.DataType) -> Any:
    t = pa.types
    plain = t.is_decimal(kind) or t.is_binary(kind) or t.is_large_binary(kind)
    return plain or (t.is_primitive(kind) and not t.is_temporal(kind))


def decoded(values: Sequence[Any], decode: Callable[[Any], Any]) -> list[Any]:
    """Return what a function makes of each value; :class:`Unreadable` where it raises."""
    out = PartialValues()
    for value in values:
        try:
            out.append(value if type(value) is Unreadable else decode(value))
        except BaseException as error:  # of a type of the user's own
            if interrupts(error):
                raise
            out.append(Unreadable(f"a value ({type(error).__name__}: {error})", repr(value)))
    return out if any(type(v) is Unreadable for v in out) else list(out)


def values_at(values: Sequence[Any], at: np.ndarray) -> list[Any]:
    """Return a column's values at some places."""
    kind = PartialValues if isinstance(values, PartialValues) else list
    return kind([values[i] for i in at.tolist()])


def values_between(values: Sequence[Any], start: int, stop: int) -> Sequence[Any]:
    """Return a column's values from one place to another."""
    some = values[start:stop]
    return PartialValues(some) if isinstance(values, PartialValues) else some


def unreadable_rows(values: Sequence[Any]) -> np.ndarray | None:
    """Return which of a column's values Python can't hold; None where it can hold all."""
    if not isinstance(values, PartialValues):
        return None
    return np.fromiter((type(v) is Unreadable for v in values), np.bool_, len(values))


def _nested(value: Any, kind: pa.DataType) -> Any:
    """Return a value with structs that have attributes and maps that are dicts, as Spark's rows."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return Struct({f.name: _nested(value[f.name], f.type) for f in kind})
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
    if series.dtype.kind in "Mm":  # in microseconds, which are floored, as Arrow's are
        return _moments(series.dt.as_unit("us") if series.dt.unit == "ns" else series)
    return [None if _missing(v) else _plain(v) for v in series.tolist()]


def _moments(series: pd.Series) -> list[Any]:
    """Return times, or lengths of time, as Python's."""
    is_time = series.dtype.kind == "M"
    to_python: Any = pd.Timestamp.to_pydatetime if is_time else pd.Timedelta.to_pytimedelta

    def of(some: pd.Series) -> list[Any]:
        return [None if v is pd.NaT else to_python(v) for v in some.array.astype(object)]

    with contextlib.suppress(ValueError, OverflowError):
        return of(series)
    values = PartialValues()
    for i in range(len(series)):
        one = series.iloc[i : i + 1]
        try:
            values += of(one)
        except (ValueError, OverflowError):
            kind: Any = f"{series.dtype.kind}8[{series.dt.unit}]"
            value = one.to_numpy(kind)[0]
            what = NO_TIME if is_time else "a length of time that is too long"
            values.append(Unreadable(what, _as_spark(value) if is_time else str(value)))
    return values


def _missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    # NaN and NaT of any width
    return isinstance(value, float | np.generic) and bool(value != value)  # noqa: PLR0124


def _plain(value: Any) -> Any:
    """Return a number of an object column as Python's."""
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biuf" else value
