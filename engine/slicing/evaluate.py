"""What trees over slices and their values mean: evaluated row by row, the reference for tiers.

Compositions follow Kleene's logic, in which null is "cannot say": it stays null unless the other
side settles the answer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engine.errors import SliceFaultError, interrupts
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Column, Const, Expr, Mask, without_lookups
from engine.slicing.kleene import KLEENE, BatchMask
from engine.slicing.rows import Row, TracedMutableRow, TracedRow, values_of
from engine.slicing.slices import Slice, SliceKind


def of_row(tree: Expr, x: Any, parts: Mapping[str, Slice]) -> bool | None:
    """Evaluate a tree on a row: its columns read from ``x``, its slices called with it.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> of_row(Call("eq", (Column("sex"), Const("F"))), SimpleNamespace(sex="F"), {})
    True
    """
    values: dict[Expr, Any] = {}
    tree = without_lookups(tree, math.inf)
    for node in tree.walk():
        if isinstance(node, Call):
            values[node] = OPERATIONS[node.op].python(*(values[part] for part in node.parts))
        elif isinstance(node, Mask):
            values[node] = mask_of(parts[node.slice_id], x)
        else:
            values[node] = _leaf(node, lambda c: field_of(x, c), lambda value: value)
    return _answer(values[tree])


def mask_of(sf: Slice, x: Any) -> bool | None:
    """Return a slice's mask of one row: what the slice answers, by the mask law.

    A row function that raises on a row where a column that it read is null can't decide.

    Raises
    ------
    SliceFaultError
        If its answer isn't a mask.
    Exception
        Whatever else it raises.

    Examples
    --------
    >>> from engine.slicing.functions import SlicingFunction
    >>> few = SlicingFunction("few", lambda x: x.n < 3)
    >>> mask_of(few, Row({"n": 1})), mask_of(few, Row({"n": None}))
    (True, None)
    """
    try:
        y = sf(x)
    except BaseException as error:
        if not interrupts(error) and sf.kind is SliceKind.ROW and _reads_null(sf, x):
            return None
        raise
    if not is_mask(y):
        raise SliceFaultError(sf.name, "", "", wrong_return(y))
    return _answer(None if is_undecided(y) else y)


def is_undecided(y: Any) -> bool:
    """Tell whether a slicing function's answer is that it can't decide."""
    return y is None or (y == -1 if isinstance(y, _RETURNS) else _is_na(y))


def is_mask(y: Any) -> bool:
    """Tell whether a slicing function may return a value.

    Examples
    --------
    >>> [is_mask(y) for y in (True, 0, -1, None, np.bool_(False), 2, 1.0, "yes")]
    [True, True, True, True, True, False, False, False]
    """
    return y is None or (y in _MASKS if isinstance(y, _RETURNS) else _is_na(y))


def _is_na(y: Any) -> bool:
    """Tell whether a value is pandas' NA, which needs no pandas that isn't there already."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and y is pandas.NA


def wrong_return(y: Any) -> str:
    """Say that a function returned something that isn't a mask."""
    return f"it returned {short(y)} ({type(y).__name__}), not True, False or None"


def short(value: Any) -> str:
    """Return a value as a message shows it.

    Examples
    --------
    >>> short("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    try:
        text = repr(value)
    except BaseException as error:  # of a class of the user's own
        if interrupts(error):
            raise
        text = f"<a {type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


SHOWN = 60  # characters of a value in a message
_RETURNS = (bool, int, np.bool_, np.integer)  # what a slicing function may return, beside None
_MASKS = frozenset({True, False, -1})


def _reads_null(sf: Slice, x: Any) -> bool:
    """Call a function again, on a row that notes what it reads: whether any of it is null."""
    values = _values(x)
    if values is None:
        return False
    read: set[str] = set()
    kind = TracedMutableRow if sf.chain else TracedRow
    try:
        sf(kind(dict(values), read, set(values)))
    except BaseException as error:  # the one that is being explained
        if interrupts(error):
            raise
    return any(values[name] is None for name in read)


def _values(x: Any) -> Mapping[str, Any] | None:
    """Return a data point's fields by name, or None where it doesn't say them."""
    if isinstance(x, Row):
        return values_of(x)
    for form in ("asDict", "_asdict", "to_dict"):  # a Spark row, a named tuple, a Series
        if callable(getattr(x, form, None)):
            return getattr(x, form)()  # type: ignore[no-any-return]
    return x if isinstance(x, Mapping) else getattr(x, "__dict__", None)


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
    values: dict[Expr, Any] = {}
    tree = without_lookups(tree, math.inf)
    for node in tree.walk():
        args = [values[part] for part in node.parts]
        if isinstance(node, Call) and node.op in KLEENE:
            values[node] = KLEENE[node.op](*(_mask(a, n) for a in args))
        elif isinstance(node, Call):
            values[node] = [*map(OPERATIONS[node.op].python, *args)]
        elif isinstance(node, Mask):
            values[node] = BatchMask.of(np.asarray(masks[node.slice_id]))
        else:
            values[node] = _leaf(node, column, lambda value: [value] * n)
    return _mask(values[tree], n).codes


def field_of(x: Any, name: str) -> Any:
    """Return a field of a data point, which has it as an attribute or as an item."""
    return x[name] if isinstance(x, Mapping) else getattr(x, name)


def _leaf(node: Expr, column: Callable[[str], Any], constant: Callable[[Any], Any]) -> Any:
    if isinstance(node, Column):
        return column(node.name)
    assert isinstance(node, Const)  # look-ups were taken out, and there is no other leaf
    return constant(node.value)


def _answer(value: Any) -> bool | None:
    """Return what a slice answered as a mask."""
    return None if value is None or value == -1 else bool(value)


def _mask(values: BatchMask | Iterable[Any], n: int) -> BatchMask:
    if isinstance(values, BatchMask):
        return values
    return BatchMask.of(np.fromiter((-1 if v is None else int(v) for v in values), np.int8, n))
