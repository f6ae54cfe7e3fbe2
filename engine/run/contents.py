"""Types of Python's values, like Arrow's: whether somebody can change them, or what they hold."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from engine.lift.changes import ANY, UNKNOWN
from engine.run.steps import FIXED
from engine.slicing.rows import Row, has_containers, values_of

# Those of containers, of whose content nothing is known, and of content that is fixed.
_LIST, _MAP = pa.list_(UNKNOWN), pa.map_(pa.string(), UNKNOWN)
_FLAT = {_LIST: pa.list_(pa.null()), _MAP: pa.map_(pa.string(), pa.null())}
_LISTS = frozenset({list, tuple, set, frozenset, type(None)})
_DICTS = frozenset({dict, type(None)})


def shallow_type(values: Sequence[Any]) -> pa.DataType:
    """Return a type of values without a look into them; null's where none is a container.

    Examples
    --------
    >>> str(shallow_type(["a", None])), shallow_type([collections.Counter()]) == UNKNOWN
    ('null', True)
    """
    types = set(map(type, values))
    if not has_containers(types):
        return pa.null()
    return _LIST if types <= _LISTS else _MAP if types <= _DICTS else UNKNOWN


def full_type(values: Sequence[Any]) -> pa.DataType:
    """Return a type of values that says whether what they hold can be changed, too.

    Examples
    --------
    >>> str(full_type([["a"], None, [1]])), full_type([[[]]]) == ANY
    ('list<item: null>', True)
    >>> full_type([[collections.defaultdict(list)]]) == UNKNOWN
    True
    """
    kind = shallow_type(values)
    if kind not in _FLAT:
        return ANY if kind == UNKNOWN and _are_plain(values) else kind
    some = [v for v in values if v is not None]
    if kind == _LIST:
        fixed = _are_texts(some) or _are_fixed(chain.from_iterable(some))
    else:
        fixed = _are_fixed(chain.from_iterable(chain.from_iterable(v.items() for v in some)))
    if fixed:
        return _FLAT[kind]
    return ANY if _are_plain(some) else UNKNOWN


def _are_plain(values: Iterable[Any]) -> bool:
    try:
        return all(map(_is_plain, values))
    except RecursionError:  # one that holds itself
        return False


def _are_texts(lists: Iterable[Any]) -> bool:
    try:
        collections.deque(map("".join, lists), maxlen=0)  # quicker than asking each for its type
    except TypeError:
        return False
    return True


def _are_fixed(values: Iterable[Any]) -> bool:
    return all(issubclass(t, FIXED) for t in set(map(type, values)))


def _is_plain(value: Any) -> bool:
    """Tell whether a value and all in it are of types that only change where they are told to."""
    if isinstance(value, FIXED):
        return True
    if type(value) in _LISTS:
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    return isinstance(value, Row) and all(map(_is_plain, values_of(value).values()))
