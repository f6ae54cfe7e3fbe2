"""Which values are constants: those that mean the same to every tier as to Python.

A constant is of an exact plain type, or a collection of such. An object of a subclass may compare,
contain or count in a way of its own, so it isn't one. A scalar of numpy differs from Python's own
value in arithmetic, not in comparisons.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import EllipsisType, NoneType
from typing import Any

import numpy as np

_EXACT_FLOATS = 2**53  # whole numbers up to here are compared with floats without rounding

_PLAIN = frozenset({
    str, int, float, complex, bool, NoneType, EllipsisType, bytes, range, Decimal, dt.date,
    dt.timedelta, dt.timezone, re.Pattern,
})  # fmt: skip
_COLLECTIONS: Mapping[type, Callable[[Iterable[Any]], Any]] = {
    list: list, tuple: tuple, set: set, frozenset: frozenset,
}  # fmt: skip
_ZONES = (NoneType, dt.timezone)


def is_constant(value: Any) -> bool:
    """Tell whether a value is of an exact plain type, or a collection of such values.

    Examples
    --------
    >>> from collections import defaultdict
    >>> is_constant({"a": (1, [2.5])}), is_constant(defaultdict(int)), is_constant([len])
    (True, False, False)
    """
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind in _COLLECTIONS:
        return _PLAIN.issuperset(map(type, value)) or all(map(is_constant, value))
    if kind is dict:
        return all(is_constant(k) and is_constant(v) for k, v in value.items())
    if kind is slice:
        return is_constant((value.start, value.stop, value.step))
    if kind in (dt.datetime, dt.time):
        return type(value.tzinfo) in _ZONES or is_constant(value.tzinfo)
    return kind is zoneinfo.ZoneInfo and value.key is not None


def constant_key(value: Any) -> str:
    """Return a text that two constants share only if no function can tell them apart.

    Any other value (see :func:`is_constant`) shares its text with nothing.

    Examples
    --------
    >>> constant_key(1) == constant_key(True), constant_key((1,)) == constant_key((1,))
    (False, True)
    """
    kind = type(value)
    if kind is str:
        return f"str:{value!r}"
    if kind in (tuple, list):
        return f"{kind.__name__}({','.join(map(constant_key, value))})"
    if kind in (set, frozenset):
        return f"{kind.__name__}({','.join(sorted(map(constant_key, value)))})"
    if kind is dict:
        items = (f"{constant_key(k)}:{constant_key(v)}" for k, v in value.items())
        return f"dict({','.join(items)})"
    if kind is re.Pattern:  # its repr is cut
        return f"Pattern({constant_key(value.pattern)},{value.flags})"
    if kind is int:
        return f"int:{value:x}"  # its decimal digits may be too many
    return f"{kind.__name__}:{value!r}" if is_constant(value) else f"object:{id(value)}"


def as_compared(value: Any) -> Any:
    """Return Python's own value of a numpy scalar, or of a collection that has some.

    It stands for the scalar where values are compared and looked up.

    Raises
    ------
    ValueError
        If Python's own value could compare otherwise, or it is something else.

    Examples
    --------
    >>> as_compared(np.int64(3)), as_compared({np.str_("a"), 1.5}) == {"a", 1.5}
    (3, True)
    >>> as_compared(np.float32(0.1))
    Traceback (most recent call last):
    ValueError: float32
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind](map(as_compared, value))
    if kind is dict:
        return {as_compared(k): v for k, v in value.items()}
    if isinstance(value, np.generic) and kind in _SCALARS:
        own = value.item()
        if type(own) is _SCALARS[kind] and _compares_alike(value, own):
            return own
    raise ValueError(kind.__name__)


def _compares_alike(value: Any, own: Any) -> bool:
    """Tell whether numpy compares a scalar as Python does its own, with every number and text."""
    if type(own) is str:  # numpy's own value lacks the zeros at its end
        return str.__len__(value) == len(own)
    if type(own) is int:
        return abs(own) <= _EXACT_FLOATS
    if type(own) is float:  # a whole number is rounded to a float first
        return abs(own) < _EXACT_FLOATS or not math.isfinite(own)
    return True


# Not np.bool_, which fails beside a whole number of more than 64 bits.
_SCALARS: Mapping[type, type] = {
    np.str_: str, np.float64: float,
    **dict.fromkeys(
        (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64), int
    ),
}  # fmt: skip
SCALARS = frozenset(_SCALARS)
