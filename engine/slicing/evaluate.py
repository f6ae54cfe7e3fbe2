"""What trees over slices and their values mean: evaluated row by row, the reference for tiers.

Compositions follow Kleene's logic, in which null is "cannot say": it stays null unless the other
side settles the answer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engine.slicing.expr import Call, Column, Const, Expr, Mask
from engine.slicing.lookups import without_lookups


def kleene(tree: Expr, masks: Mapping[str, bool | None]) -> bool | None:
    """Evaluate a composition on one row.

    Parameters
    ----------
    tree
        What slices are composed to.
    masks
        Slice id to the row's mask.

    Examples
    --------
    >>> either = Call("kleene_or", (Mask("a"), Mask("b")))
    >>> kleene(either, {"a": None, "b": True}), kleene(either, {"a": None, "b": False})
    (True, None)
    """
    return _answer(_value(tree, masks.__getitem__, lambda c: masks[c]))


def of_row(tree: Expr, x: Any, parts: Mapping[str, Callable[[Any], Any]]) -> bool | None:
    """Evaluate a tree on a row: its columns read from ``x``, its slices called with it.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> of_row(Call("eq", (Column("sex"), Const("F"))), SimpleNamespace(sex="F"), {})
    True
    """
    return _answer(_value(tree, lambda s: _answer(parts[s](x)), lambda c: field_of(x, c)))


def codes(
    tree: Expr,
    masks: Mapping[str, np.ndarray],
    column: Callable[[str], Sequence[Any]],
    n: int,
) -> np.ndarray:
    """Evaluate a tree on a batch of rows.

    Parameters
    ----------
    tree
        The tree.
    masks
        Slice id to ``[n]`` codes: 1 in, 0 out, -1 null.
    column
        Returns a column's Python values.
    n
        The number of rows.

    Returns
    -------
    np.ndarray
        ``[n]`` int8.

    Examples
    --------
    >>> both = Call("kleene_and", (Mask("a"), Call("kleene_not", (Mask("b"),))))
    >>> codes(both, {"a": np.array([1, 1, -1]), "b": np.array([0, -1, 1])}, list, 3).tolist()
    [1, -1, 0]
    """
    found: dict[Expr, Any] = {}
    tree = without_lookups(tree, math.inf)
    for node in tree.walk():
        args = [found[part] for part in node.parts]
        if isinstance(node, Call) and node.op in _BY_CODE:
            found[node] = _BY_CODE[node.op](*(_codes(a, n) for a in args))
        elif isinstance(node, Call):
            found[node] = [_BY_VALUE[node.op](*row) for row in zip(*args, strict=False)]
        elif isinstance(node, Mask):
            found[node] = np.asarray(masks[node.slice_id], np.int8)
        else:
            found[node] = _leaf(node, column, lambda value: itertools.repeat(value, n))
    return _codes(found[tree], n)


def field_of(x: Any, name: str) -> Any:
    """Return a field of a data point, which has it as an attribute or as an item."""
    return x[name] if isinstance(x, Mapping) else getattr(x, name)


def _value(tree: Expr, mask: Callable[[str], Any], column: Callable[[str], Any]) -> Any:
    found: dict[Expr, Any] = {}
    tree = without_lookups(tree, math.inf)
    for node in tree.walk():
        if isinstance(node, Call):
            found[node] = _BY_VALUE[node.op](*(found[part] for part in node.parts))
        elif isinstance(node, Mask):
            found[node] = mask(node.slice_id)
        else:
            found[node] = _leaf(node, column, lambda value: value)
    return found[tree]


def _leaf(node: Expr, column: Callable[[str], Any], constant: Callable[[Any], Any]) -> Any:
    if isinstance(node, Column):
        return column(node.name)
    assert isinstance(node, Const)  # look-ups were taken out, and there is no other leaf
    return constant(node.value)


def _answer(value: Any) -> bool | None:
    """Return what a slice answered as a mask."""
    return None if value is None or value == -1 else bool(value)


def _codes(values: np.ndarray | Iterable[Any], n: int) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    return np.fromiter((-1 if v is None else int(v) for v in values), np.int8, n)


def _and(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _or(a: bool | None, b: bool | None) -> bool | None:
    if a is True or b is True:
        return True
    return None if a is None or b is None else False


# Operation -> what it gives of one row's values, as Python would.
_BY_VALUE: Mapping[str, Callable[..., Any]] = {
    "kleene_and": _and,
    "kleene_or": _or,
    "kleene_not": lambda a: None if a is None else not a,
    "eq": lambda a, b: a == b,
    "in": lambda item, over: item in over,
    "is_none": lambda a: a is None,
    "is_nan": lambda a: isinstance(a, float) and a != a,  # noqa: PLR0124
    "not": lambda a: not a,
    "and": lambda a, b: a and b,
    "if": lambda test, a, b: a if test else b,
}
# The same of a batch's codes.
_BY_CODE: Mapping[str, Callable[..., np.ndarray]] = {
    "kleene_and": lambda a, b: np.where((a == 0) | (b == 0), 0, np.minimum(a, b)).astype(np.int8),
    "kleene_or": lambda a, b: np.where((a == 1) | (b == 1), 1, np.minimum(a, b)).astype(np.int8),
    "kleene_not": lambda a: np.where(a == -1, -1, 1 - a).astype(np.int8),
}
