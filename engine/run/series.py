"""Columns as Series in which null stays null: what functions of pandas Series are called with."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.arrow.columns import dense, plain_array
from engine.arrow.values import pandas_values, python_values, readable
from engine.slicing.rows import Unreadable

_TEXT = pd.StringDtype("python")  # `.str` then uses Python's `re`, as rows do

_DTYPES: dict[pa.DataType, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.string(): _TEXT,
    pa.large_string(): _TEXT,
}


_TEXT_TYPE = str  # `str` of a Series is something else
_PLAIN: Any = pd.Series  # whose stubs lack what subclasses override


class NullSeries(pd.Series):
    """A Series in which null stays null: what is computed of a null, a comparison too, is null.

    pandas has dtypes of that kind for text, numbers and booleans alone. In a Series of dates,
    times, DECIMAL, lists or categories a comparison with null is False there, and here it is NA.

    Examples
    --------
    >>> import datetime as dt
    >>> days = NullSeries([dt.date(2024, 1, 1), None])
    >>> (days == dt.date(2024, 1, 1)).tolist(), days.isna().tolist()
    ([True, <NA>], [False, True])
    """

    @property
    def _constructor(self) -> Callable[..., NullSeries]:
        return NullSeries

    @property
    def _constructor_expanddim(self) -> Callable[..., NullFrame]:
        return NullFrame

    def _cmp_method(self, other: Any, op: Any) -> Any:
        try:
            if self.dtype.kind in "mM" and pd.api.types.is_scalar(other) and not pd.isna(other):
                plain = _PLAIN._cmp_method(pd.Series(self), other, op)
                answers = pd.arrays.BooleanArray(plain.to_numpy(bool), self.isna().to_numpy(bool))
                return NullSeries(answers, self.index, name=self.name)
            return _mask(_of_known(self, other, lambda a, b: _PLAIN._cmp_method(a, b, op)))
        except TypeError:  # such as all null, taken for another type than it is
            if not self.isna().all():
                raise
            return _mask(_nothing(self))

    def _arith_method(self, other: Any, op: Any) -> Any:
        return _of_known(self, other, lambda a, b: _PLAIN._arith_method(a, b, op))

    def _logical_method(self, other: Any, op: Any) -> Any:
        return _PLAIN._logical_method(_mask(self), _mask(other), op)

    def __invert__(self) -> Any:  # type: ignore[misc]
        return _PLAIN.__invert__(_mask(self))

    def isin(self, values: Any) -> Any:
        """Return whether each value is among some; NA for null, unless null is among them."""
        null = self.isna().to_numpy(bool)
        known = pd.Series(self).isin(values).to_numpy(bool) & ~null
        if pd.isna(pd.Series(list(values), dtype=object)).any():
            return NullSeries(known | null, self.index, name=self.name)
        return NullSeries(pd.arrays.BooleanArray(known, null), self.index, name=self.name)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the values in another dtype; pandas 2 makes text of null, too."""
        series = _PLAIN.astype(self, dtype, *args, **kwargs)
        if dtype is _TEXT_TYPE or (isinstance(dtype, _TEXT_TYPE) and dtype == "str"):
            series = series.where(self.notna(), None)
        is_text = series.dtype == object or isinstance(series.dtype, pd.StringDtype)
        if not is_text or dtype is object or dtype == "object":
            return series
        return null_safe(pd.Series(series))

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Return what a function, or a mapping, gives of each value; as pandas does."""
        return null_safe(_as_objects(self).map(*args, **kwargs))

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Return what a function gives of each value; as pandas does."""
        return null_safe(_as_objects(self).apply(*args, **kwargs))

    def to_numpy(self, *args: Any, **kwargs: Any) -> Any:
        """Return the values as an array, with a null that isn't NaN unless asked otherwise."""
        plain: Any = pd.Series(self) if args or kwargs else _as_objects(self)
        return plain.to_numpy(*args, **kwargs)

    dt = property(lambda self: _Accessor(self, pd.Series(_times(self)).dt))
    str = property(lambda self: _Accessor(self, pd.Series(self).str))


class NullFrame(pd.DataFrame):
    """A DataFrame whose columns are :class:`NullSeries`."""

    @property
    def _constructor(self) -> Callable[..., NullFrame]:
        return NullFrame

    @property
    def _constructor_sliced(self) -> Callable[..., NullSeries]:
        return NullSeries


class _Accessor:
    """`.dt` or `.str` of a Series, whose answers keep null."""

    def __init__(self, series: NullSeries, accessor: Any) -> None:
        self._series, self._accessor = series, accessor

    def __getattr__(self, name: str) -> Any:
        if name == "get":
            return self.__getitem__
        accessor = self._accessor
        if not hasattr(accessor, name) and self._series.isna().all():
            accessor = pd.Series(self._series).astype("timedelta64[s]").dt  # nulls are of any type
        attribute = getattr(accessor, name)
        if not callable(attribute):
            return self._with_nulls(attribute)
        return lambda *args, **kwargs: self._with_nulls(attribute(*args, **kwargs))

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, str):  # of a map, or a struct
            return self._series.map(lambda value: value.get(at), na_action="ignore")
        return self._with_nulls(self._accessor[at])

    def _with_nulls(self, value: Any) -> Any:
        """Return an answer with null for null: pandas says of no time that it begins no month."""
        answer = null_safe(value)
        plain = isinstance(value, pd.Series) and value.dtype == np.bool_
        return answer.mask(self._series.isna()) if plain else answer

    def __dir__(self) -> list[str]:
        return dir(self._accessor)


def null_series(array: pa.Array) -> NullSeries:
    """Return an Arrow array of a plain type as a Series that keeps null.

    Examples
    --------
    >>> null_series(pa.array([1, None])).dtype
    Int64Dtype()
    """
    if pa.types.is_map(array.type) or pa.types.is_struct(array.type):  # dicts, and rows
        return NullSeries(python_values(array), dtype=object)
    with nan_apart():
        return NullSeries(array.to_pandas(types_mapper=_DTYPES.get))


def pandas_series(column: pd.Series) -> tuple[NullSeries, Mapping[int, Unreadable]]:
    """Return a DataFrame's column as a Series that keeps null, as Spark's would be.

    NaN of a column of floats is null, which pandas can't tell from it there. So is what Python
    can't hold, which is given beside it by row.

    Examples
    --------
    >>> pandas_series(pd.Series([1.5, None]))[0].tolist()
    [1.5, <NA>]
    """
    column = dense(column)
    dtype: Any = column.dtype
    if isinstance(dtype, pd.ArrowDtype):
        array, bad = readable(plain_array(column.array.__arrow_array__()))
        series = null_series(array)
        series.index = column.index
        return series, bad
    if isinstance(dtype, pd.Float32Dtype | pd.Float64Dtype):
        column = column.astype(np.dtype(str(dtype).lower()))
    bad = {}
    if _may_be_unreadable(column):
        values = pandas_values(column)
        bad = {i: v for i, v in enumerate(values) if type(v) is Unreadable}
        column = column.mask(np.isin(np.arange(len(column)), list(bad)))
    return null_safe(column), bad


def _may_be_unreadable(column: pd.Series) -> bool:
    """Tell whether some times, or lengths of time, are none that Python can hold."""
    if column.dtype.kind == "M":
        return not column.dt.year.dropna().between(dt.MINYEAR, dt.MAXYEAR).all()
    most = dt.timedelta.max.days
    return column.dtype.kind == "m" and not column.dt.days.dropna().between(-most, most - 1).all()


def null_safe(value: Any) -> Any:
    """Return what pandas gave so that null stays null; other than a Series or frame, as it is."""
    if isinstance(value, pd.DataFrame):
        return NullFrame(value)
    if not isinstance(value, pd.Series):
        return value
    value = pd.Series(value)
    kind = value.dtype.kind if isinstance(value.dtype, np.dtype) else ""
    if isinstance(value.dtype, pd.StringDtype):
        value = value.astype(_TEXT)
    elif isinstance(value.dtype, pd.CategoricalDtype) and not value.dtype.ordered:
        return _decoded(value)
    elif kind == "b":
        value = value.astype("boolean")
    elif kind in ("i", "u"):
        name: Any = str(value.dtype).replace("uint", "UInt").replace("int", "Int")
        value = value.astype(name)
    elif kind == "f":
        value = _floats(value)
    return NullSeries(value) if kind != "O" else _by_inference(NullSeries(value))


def _decoded(series: pd.Series) -> NullSeries:
    """Return the values of categories without an order: Spark has no such type."""
    categories = null_safe(series.cat.categories.to_series())
    values = categories.array.take(series.cat.codes.to_numpy(), allow_fill=True)
    return NullSeries(values, series.index, name=series.name)


def nan_apart() -> contextlib.AbstractContextManager[None]:
    """Keep NaN and null distinct in nullable floats: pandas 3 confuses them by default."""
    if int(pd.__version__.partition(".")[0]) < 3:  # noqa: PLR2004 - and pandas 2 never does
        return contextlib.nullcontext()
    return pd.option_context("future.distinguish_nan_and_na", True)


def _floats(series: pd.Series) -> pd.Series:
    """Return floats with NA for NaN."""
    single = series.dtype in (np.float16, np.float32)
    values = series.to_numpy(np.float32 if single else np.float64)
    array = pd.arrays.FloatingArray(values.copy(), np.isnan(values))
    return pd.Series(array, series.index, name=series.name)


# What a column of objects holds -> the same in the dtype of such values.
_INFERRED: dict[str, Callable[[pd.Series], pd.Series]] = {
    "string": lambda s: s.astype(_TEXT),
    "empty": lambda s: s.astype(_TEXT),
    "integer": lambda s: s.astype("Int64"),
    "boolean": lambda s: s.astype("boolean"),
    "floating": lambda s: _floats(s.astype(np.float64)),
    "datetime": pd.to_datetime,
    "timedelta": pd.to_timedelta,
}


def _as_objects(series: NullSeries) -> pd.Series:
    """Return numbers and times of which some are null as objects, null neither NaN nor NaT.

    What a function says of those, as of the hour of NaT, would be False.
    """
    if not series.hasnans or series.dtype.kind not in "iufMm":
        return pd.Series(series)
    objects = series.astype(object)
    return pd.Series(objects.where(series.notna(), None) if series.dtype.kind in "Mm" else objects)


def _times(series: NullSeries) -> pd.Series:
    """Return dates as the times at which they begin, of any year: pandas has `.dt` of times."""
    null = series.isna().to_numpy(bool)
    if series.dtype.kind in "mM" or (series.dtype != object and not null.all()):
        return series
    if pd.api.types.infer_dtype(pd.Series(series)[~null]) not in ("date", "empty"):
        return series
    days = np.full(len(series), np.datetime64("NaT"), "datetime64[D]")
    days[~null] = np.array(series[~null].tolist(), "datetime64[D]")
    return pd.Series(days.astype("datetime64[s]"), series.index, name=series.name)


def _nothing(series: pd.Series) -> NullSeries:
    """Return null for every value, of no type."""
    nulls = np.full(len(series), pd.NA, object)
    return NullSeries(nulls, series.index, dtype=object, name=series.name)


def _as_it_is(series: pd.Series) -> pd.Series:
    return series


def _by_inference(series: Any) -> Any:
    """Return a Series of objects in the nullable dtype of its values, where there is one."""
    if not isinstance(series, pd.Series) or series.dtype != object:
        return series
    kind = pd.api.types.infer_dtype(pd.Series(series)[series.notna().to_numpy()])
    with contextlib.suppress(OverflowError, TypeError, ValueError, UnicodeError):
        return NullSeries(_INFERRED.get(kind, _as_it_is)(pd.Series(series)))
    return NullSeries(series)


def _mask(series: Any) -> Any:
    """Return a Series of objects in the nullable dtype of its values; nulls alone are a mask."""
    if isinstance(series, pd.Series) and series.dtype in (object, _TEXT) and series.isna().all():
        return NullSeries(pd.Series(series).astype(object).astype("boolean"))
    return _by_inference(series)


def _of_known(series: NullSeries, other: Any, run: Callable[[Any, Any], Any]) -> Any:
    """Compute on the values that aren't null, where the dtype doesn't keep null by itself."""
    series = null_safe(series) if isinstance(series.dtype, pd.CategoricalDtype) else series
    if getattr(series.dtype, "na_value", None) is pd.NA:
        return run(series, other)
    n = len(series)
    by_row = pd.api.types.is_list_like(other) and hasattr(other, "__len__") and len(other) == n
    values = np.asarray(other, object) if isinstance(other, list | tuple) and by_row else other
    no_value = pd.isna(values) if by_row or pd.api.types.is_scalar(other) else False
    null = series.isna().to_numpy(bool) | np.asarray(no_value, bool)
    if not null.any():
        return null_safe(run(series, other))
    known = ~null
    if not known.any():
        return _nothing(series)
    part = null_safe(run(series[known], values[known] if by_row else other))
    places = np.where(known, np.cumsum(known) - 1, -1)
    return NullSeries(part.array.take(places, allow_fill=True), series.index, name=series.name)
