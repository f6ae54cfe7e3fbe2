"""Arrow arrays as Python values, quicker than `to_pylist`: whole columns at a time.

Only where the values are exactly those that going through them one by one gives.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.slicing.rows import structs

Convert = Callable[[pa.Array], Sequence[Any]]


def quick_values(array: pa.Array, convert: Convert) -> list[Any] | None:
    """Return an array's values; None where there is no quicker way.

    Parameters
    ----------
    array
        An array of a plain type.
    convert
        Returns the values of what it holds: a list of another type than ``list`` where Python
        can't hold them all.

    Examples
    --------
    >>> quick_values(pa.array([dt.date(2024, 6, 30), None]), list)
    [datetime.date(2024, 6, 30), None]
    """
    kind = array.type
    if pa.types.is_decimal(kind):
        return list(array.to_numpy(zero_copy_only=False).tolist())
    if kind == pa.date32() or pa.types.is_timestamp(kind):
        return _days_and_times(array) if in_range(array) else None
    if pa.types.is_map(kind):
        return _maps(array, convert)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(array, convert)
    return _structs(array, convert) if pa.types.is_struct(kind) else None


# Python's first and last day, each with room for a zone.
_DAYS = np.datetime64(dt.date.min) + 2, np.datetime64(dt.date.max) - 2
_UNITS = ("s", "ms", "us")  # what Python's times can hold, too


def in_range(array: pa.Array) -> bool:
    """Tell whether dates or times are far enough from the ends of what Python holds, at once."""
    kind = array.type
    if not (kind == pa.date32() or (pa.types.is_timestamp(kind) and kind.unit in _UNITS)):
        return False
    unit = "D" if kind == pa.date32() else kind.unit
    numbers = array.view(pa.int32() if unit == "D" else pa.int64())
    ends = pc.min_max(numbers).as_py()
    if ends["min"] is None:
        return True
    first, last = (int(day.astype(f"datetime64[{unit}]").astype(np.int64)) for day in _DAYS)
    return bool(first <= ends["min"] and ends["max"] <= last)


def _days_and_times(array: pa.Array) -> list[Any] | None:
    values: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
    zone = getattr(array.type, "tz", None)
    first = next((i for i, v in enumerate(values) if v is not None), None)
    if zone is None or first is None:
        return values
    tzinfo = array[first].as_py().tzinfo
    if hasattr(tzinfo, "localize"):  # pytz's, of older versions of pyarrow
        return None
    if zone == "UTC":
        return [None if v is None else v.replace(tzinfo=tzinfo) for v in values]
    of_utc = tzinfo.fromutc
    return [None if v is None else of_utc(v.replace(tzinfo=tzinfo)) for v in values]


def _lists(array: pa.Array, convert: Convert) -> list[Any] | None:
    if _is_plain(array.type.value_type):
        return list(array.to_pylist())
    items = convert(array.flatten()) if _is_convertible(array.type.value_type) else None
    if type(items) is not list:
        return None
    lengths = pc.list_value_length(array)
    ends = np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False)).tolist()
    return [
        None if n is None else items[end - n : end]
        for n, end in zip(lengths.to_pylist(), ends, strict=True)
    ]


def _maps(array: pa.Array, convert: Convert) -> list[Any] | None:
    if not (_is_convertible(array.type.key_type) and _is_convertible(array.type.item_type)):
        return None
    ends = array.offsets.to_pylist()
    first, n = (ends[0], ends[-1] - ends[0]) if len(array) else (0, 0)
    keys, items = (convert(part.slice(first, n)) for part in (array.keys, array.items))
    if type(keys) is not list or type(items) is not list:
        return None
    places = ((start - first, end - first) for start, end in pairwise(ends))
    values = [dict(zip(keys[i:j], items[i:j], strict=True)) for i, j in places]
    if not array.null_count:
        return values
    valid = array.is_valid().to_pylist()
    return [v if there else None for v, there in zip(values, valid, strict=True)]


def _structs(array: pa.Array, convert: Convert) -> list[Any] | None:
    names = [field.name for field in array.type]
    if not names or len(set(names)) < len(names):
        return None
    if all(_is_plain(field.type) for field in array.type):
        fields: Iterator[Any] = iter(array.to_pylist())
    else:
        if not all(_is_convertible(field.type) for field in array.type):
            return None
        columns = [convert(column) for column in array.flatten()]
        if any(type(column) is not list for column in columns):
            return None
        rows = zip(*columns, strict=True)
        fields = map(dict, map(zip, repeat(names), rows))
        if array.null_count:
            valid = array.is_valid().to_pylist()
            fields = iter([f if v else None for f, v in zip(fields, valid, strict=True)])
    return structs(list(fields))


def _is_convertible(kind: pa.DataType) -> bool:
    """Tell whether a type's values are the same inside others, where nobody floors finer units."""
    return _is_plain(kind) or not (
        pa.types.is_dictionary(kind)
        or pa.types.is_run_end_encoded(kind)
        or getattr(kind, "unit", None) == "ns"
        or getattr(kind, "tz", None) is not None
    )


def _is_plain(kind: pa.DataType) -> bool:
    """Tell whether `to_pylist` gives values of a type as rows have them, inside others."""
    return any(is_kind(kind) for is_kind in _PLAIN)


_PLAIN: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating,
    pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary,
)  # fmt: skip
