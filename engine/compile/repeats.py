"""Columns whose values repeat: what is said of one column alone is said once per distinct value."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SAMPLE = 1024  # rows that are looked at first, from the whole batch
_FEW = 0.6  # of the sample: distinct values, at most
_SHARE = 3  # rows per distinct value, at least


class Distinct(NamedTuple):
    """A column's distinct values, null among them, and the place of each row's; ``[n]`` int64."""

    values: pa.Array
    places: np.ndarray


def repeats(array: pa.Array) -> Distinct | None:
    """Return a column's distinct values where they are few, of types that can be told apart.

    Values are one only where all their bits are: 0.0 and -0.0 are two.

    Examples
    --------
    >>> found = repeats(pa.array(["a", None] * 1000))
    >>> found.values.to_pylist(), found.places[:3].tolist()
    (['a', None], [0, 1, 0])
    >>> repeats(pa.array(["a", "b"])) is None
    True
    """
    if len(array) < _SAMPLE or not any(is_kind(array.type) for is_kind in _KINDS):
        return None
    # A float's bits: Arrow holds some floats for equal that Python can tell apart.
    kind = array.type
    bits = array.view(pa.int64()) if kind == pa.float64() else array
    some = bits.take(pa.array(np.arange(0, len(array), len(array) // _SAMPLE)[:_SAMPLE]))
    if len(pc.dictionary_encode(some).dictionary) > _FEW * _SAMPLE:
        return None
    encoded = pc.dictionary_encode(bits, null_encoding="encode")
    if len(encoded.dictionary) * _SHARE > len(array):
        return None
    places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Distinct(
        encoded.dictionary.view(kind) if bits is not array else encoded.dictionary, places
    )


# Types that Arrow tells values of apart; of decimals those alone.
_KINDS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary,
    pa.types.is_integer, pa.types.is_float64, pa.types.is_decimal128, pa.types.is_decimal256,
    pa.types.is_date, pa.types.is_timestamp, pa.types.is_duration,
)  # fmt: skip
