"""Columns of users' tables, pandas' or pyarrow's, as the Arrow arrays that Spark sends.

A column in chunks becomes one array, and a type that only stores values in another way (a
dictionary, runs, views) becomes the plain type of the same values. Ordinary arrays stay as they
are, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import duplicate_column, missing_column

Local: TypeAlias = pa.Table | pa.RecordBatch | pd.DataFrame
LOCAL = "a pandas DataFrame, or a pyarrow Table or RecordBatch"


@dataclass(frozen=True)
class Columns:
    """Some columns of a table, by name.

    Attributes
    ----------
    n
        The table's rows.
    arrays
        Columns as Arrow has them.
    objects
        Columns of a DataFrame that Arrow would change: objects of several types, times, periods.
    """

    n: int
    arrays: Mapping[str, pa.Array | pa.ChunkedArray]
    objects: Mapping[str, pd.Series]

    def batch(self, start: int, n: int) -> dict[str, pa.Array]:
        """Return some rows of the Arrow columns, each as one array of its plain type."""
        return {name: plain_array(a.slice(start, n)) for name, a in self.arrays.items()}


def columns_of(table: Local, names: Iterable[str]) -> Columns:
    """Return some columns of a table.

    Raises
    ------
    ColumnError
        If several columns have one of the names.

    Examples
    --------
    >>> columns = columns_of(pd.DataFrame({"a": ["x", None], "b": [1, "mixed"]}), ["a", "b"])
    >>> columns.batch(0, 1)["a"].to_pylist(), list(columns.objects)
    (['x'], ['b'])
    """
    places = places_of(names_of(table), names)
    if not isinstance(table, pd.DataFrame):
        return Columns(table.num_rows, {c: table.column(at) for c, at in places.items()}, {})
    series = {c: table.iloc[:, at] for c, at in places.items()}
    arrays = {c: a for c, s in series.items() if (a := pandas_array(s)) is not None}
    return Columns(len(table), arrays, {c: s for c, s in series.items() if c not in arrays})


def places_of(columns: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Return the places of columns among a table's.

    Raises
    ------
    ColumnError
        If no column, or several, have one of the names.
    """
    places = {c: at for at, c in enumerate(columns)}
    wanted = list(names)
    for name in wanted:
        if name not in places:
            raise missing_column("the table", name, columns)
        if len(places) < len(columns) and columns.count(name) > 1:
            raise duplicate_column(name, columns.count(name))
    return {name: places[name] for name in wanted}


def names_of(table: Local | pa.Schema) -> list[str]:
    """Return a table's column names as text.

    Examples
    --------
    >>> names_of(pd.DataFrame({0: [1], ("a", "b"): [2]}))
    ['0', "('a', 'b')"]
    """
    if isinstance(table, pd.DataFrame):
        return [str(c) for c in table.columns]
    schema = table.schema if isinstance(table, pa.Table | pa.RecordBatch) else table
    return list(schema.names)


def kinds_of(schema: pa.Schema | Local) -> dict[str, pa.DataType]:
    """Return the Arrow type of each column as :func:`columns_of` has it; null for an object.

    Examples
    --------
    >>> kinds_of(pa.schema({"a": pa.dictionary(pa.int8(), pa.string())}))
    {'a': DataType(string)}
    """
    if isinstance(schema, pd.DataFrame):
        arrays = ((str(c), pandas_array(schema.iloc[:, i])) for i, c in enumerate(schema.columns))
        return {c: pa.null() if a is None else a.type for c, a in arrays}
    fields = schema if isinstance(schema, pa.Schema) else schema.schema
    return {f.name: plain_type(f.type) for f in fields}


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the plain type of a type's values.

    Examples
    --------
    >>> plain_type(pa.run_end_encoded(pa.int32(), pa.string_view()))
    DataType(large_string)
    """
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    return next((plain(kind) for is_kind, plain in _PLAIN if is_kind(kind)), kind)


_PLAIN: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], pa.DataType]]] = (
    (pa.types.is_float16, lambda _: pa.float32()),
    (pa.types.is_string_view, lambda _: pa.large_string()),
    (pa.types.is_binary_view, lambda _: pa.large_binary()),
    (pa.types.is_timestamp, lambda kind: pa.timestamp(_unit(kind), kind.tz)),
    (pa.types.is_duration, lambda kind: pa.duration(_unit(kind))),
    (pa.types.is_time64, lambda _: pa.time64("us")),
)


def _unit(kind: pa.DataType) -> str:
    """Return the unit in which Python can hold a type's times."""
    return "us" if kind.unit == "ns" else kind.unit


def plain_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of its plain type.

    Examples
    --------
    >>> plain_array(pa.chunked_array([["a"], ["b", None]]).dictionary_encode()).to_pylist()
    ['a', 'b', None]
    """
    if isinstance(column, pa.ChunkedArray):
        # An empty chunk's offset may lie outside its buffers, which joining refuses.
        return _whole([plain_array(c) for c in column.chunks if len(c)], column.type)
    if pa.types.is_run_end_encoded(column.type):
        column = _runs_decoded(column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = plain_type(column.type)
    if kind == column.type:
        return column
    if getattr(column.type, "unit", None) == "ns":
        return _floored(column).view(kind)
    return plain_array(column.cast(kind))


def taken_from(array: pa.Array, at: pa.Array) -> pa.Array:
    """Return an array's values at some positions; null where the position is null.

    Examples
    --------
    >>> views = pa.array([["a"], ["b"]], pa.list_(pa.string_view()))
    >>> taken_from(views, pa.array([1, None])).to_pylist()
    [['b'], None]
    """
    try:
        return array.take(at)
    except pa.ArrowNotImplementedError:  # views inside others can be cut, but not taken
        nothing = pa.nulls(1, array.type)
        rows = [nothing if i is None else array.slice(i, 1) for i in at.to_pylist()]
        return pa.concat_arrays([array.slice(0, 0), *rows])


def _floored(array: pa.Array) -> pa.Array:
    """Return nanoseconds as the microseconds before them, before 1970 too, as pandas does."""
    whole = np.floor_divide(array.view(pa.int64()).fill_null(0).to_numpy(), 1000)
    return pa.array(whole, mask=array.is_null().to_numpy(zero_copy_only=False))


def _runs_decoded(array: pa.Array) -> pa.Array:
    try:
        return pc.run_end_decode(array)
    except pa.ArrowNotImplementedError:  # of views, or of dictionaries
        return pa.array(array.to_pylist(), plain_type(array.type))


_MOST_BYTES = 2**31 - 1  # of a string array


def _whole(chunks: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    if len(chunks) == 1:
        return chunks[0]
    if not chunks:
        return pa.array([], plain_type(kind))
    if pa.types.is_string(chunks[0].type) and sum(c.nbytes for c in chunks) > _MOST_BYTES:
        chunks = [c.cast(pa.large_string()) for c in chunks]
    return pa.concat_arrays(chunks)


def pandas_array(column: pd.Series) -> pa.Array | pa.ChunkedArray | None:
    """Return a DataFrame's column as Arrow; None where that would change a value.

    NaN of a column of floats stays NaN; elsewhere it is null.

    Examples
    --------
    >>> pandas_array(pd.Series([1.5, None])).to_pylist(), pandas_array(pd.Series([1, "a"]))
    ([1.5, nan], None)
    """
    column = dense(column)
    dtype: Any = column.dtype
    kind = dtype.kind if isinstance(dtype, np.dtype) else ""
    if kind in ("b", "i", "u", "f"):
        if dtype.itemsize > _WIDEST:
            return None
        return pa.array(column.to_numpy().astype(dtype.newbyteorder("="), copy=False),
                        from_pandas=False)  # fmt: skip
    if isinstance(dtype, pd.ArrowDtype):
        return column.array.__arrow_array__()
    if isinstance(dtype, pd.StringDtype) or (
        kind == "O" and pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty")
    ):
        return _text(column, pa.large_string())
    if str(dtype).startswith(("Int", "UInt", "boolean")):  # pandas' nullable ones
        return pa.array(column, from_pandas=True)
    if isinstance(dtype, pd.CategoricalDtype):
        values = pandas_array(dtype.categories.to_series())
        if values is not None and not pa.types.is_floating(values.type):
            return _text(column, None)
    return None


def dense(column: pd.Series) -> pd.Series:
    """Return a column without sparse storage."""
    if not isinstance(column.dtype, pd.SparseDtype):
        return column
    return cast("Any", column).sparse.to_dense()  # type: ignore[no-any-return]


_WIDEST = 8  # bytes of a number that Arrow has


def _text(column: pd.Series, kind: pa.DataType | None) -> pa.Array | pa.ChunkedArray | None:
    try:
        return pa.array(column, kind, from_pandas=True)
    except (pa.ArrowException, UnicodeEncodeError):  # half of a surrogate pair
        return None
