"""What trees over slices and their values mean, on a row or a batch: the reference for tiers.

Compositions follow Kleene's logic, in which null is "cannot say": it stays null unless the other
side settles the answer.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from engine.errors import SliceFaultError, interrupts
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Column, Const, Expr, Mask, without_lookups
from engine.slicing.rows import Row, TracedMutableRow, TracedRow, values_of
from engine.slicing.slices import Slice, SliceKind

_M = TypeVar("_M")  # a BatchMask, or a BOOLEAN Column of Spark's


@dataclass(frozen=True)
class BatchMask:
    """A slice's mask on one batch.

    Attributes
    ----------
    members, undecided, ask
        ``[n]`` bool: rows in the slice, rows on which it can't be said, and rows that the Python
        function must be asked about; the last two None where there is no such row.

    Examples
    --------
    >>> a, b = BatchMask.of(np.array([1, 0, -1], np.int8)), BatchMask.of(np.array([1, -1, 1]))
    >>> (a & b).codes.tolist(), (a | b).codes.tolist(), (~a).codes.tolist()
    ([1, 0, -1], [1, -1, 1], [0, 1, -1])
    """

    members: np.ndarray
    undecided: np.ndarray | None = None
    ask: np.ndarray | None = None

    @staticmethod
    def of(codes: np.ndarray) -> BatchMask:
        """Return the mask that codes (1 in, 0 out, -1 null) stand for."""
        null = codes == -1
        return BatchMask(codes == 1, null if null.any() else None)

    @property
    def codes(self) -> np.ndarray:
        """``[n]`` int8: 1 in, 0 out, -1 null."""
        codes = self.members.astype(np.int8)
        if self.undecided is not None:
            codes[self.undecided] = -1
        return codes

    def answered(self, at: np.ndarray, codes: np.ndarray) -> BatchMask:
        """Return the mask with Python's answers on some rows."""
        members = self.members.copy()
        members[at] = codes == 1
        undecided = np.zeros_like(members) if self.undecided is None else self.undecided.copy()
        undecided[at] = codes == -1
        return BatchMask(members, undecided)

    @property
    def _possible(self) -> np.ndarray:
        return self.members if self.undecided is None else self.members | self.undecided

    def __and__(self, other: BatchMask) -> BatchMask:
        members = self.members & other.members
        if self.undecided is None and other.undecided is None:
            return BatchMask(members)
        return BatchMask(members, self._possible & other._possible & ~members)

    def __or__(self, other: BatchMask) -> BatchMask:
        members = self.members | other.members
        if self.undecided is None and other.undecided is None:
            return BatchMask(members)
        return BatchMask(members, (self._possible | other._possible) & ~members)

    def __invert__(self) -> BatchMask:
        return BatchMask(~self._possible, self.undecided)


def _balanced(run: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Combine masks two by two: Catalyst recurses, and a thousand in a row are too deep for it."""

    def combine(*masks: Any) -> Any:
        while len(masks) > 1:
            pairs = (run(a, b) for a, b in zip(masks[::2], masks[1::2], strict=False))
            masks = (*pairs, *masks[len(masks) // 2 * 2 :])
        return masks[0]

    return combine


# Operation -> what it does to masks of a batch, and to BOOLEAN Columns of Spark's, which follow
# Kleene's logic too; `engine.ops` has what it does to one row's mask.
KLEENE: Mapping[str, Callable[..., Any]] = {
    "kleene_and": _balanced(operator.and_),
    "kleene_or": _balanced(operator.or_),
    "kleene_not": operator.invert,
}


def is_combination(tree: Expr | None) -> bool:
    """Tell whether a slice's tree combines others' masks: it has no column as a leaf.

    Examples
    --------
    >>> is_combination(None), is_combination(Call("kleene_not", (Mask("a"),)))
    (False, True)
    """
    return isinstance(tree, Mask) or (isinstance(tree, Call) and tree.op in KLEENE)


def masks_needed(tree: Expr) -> list[str]:
    """Return the slices that a combination combines, each once."""
    return [node.slice_id for node in tree.walk() if isinstance(node, Mask)]


def combined(tree: Expr, mask: Callable[[str], _M]) -> _M:
    """Return a combination's mask from those of what it combines, by slice id."""
    masks: dict[Expr, _M] = {}
    for node in tree.walk():
        if isinstance(node, Mask):
            masks[node] = mask(node.slice_id)
        else:
            assert isinstance(node, Call)  # a combination is of masks
            masks[node] = KLEENE[node.op](*(masks[part] for part in node.args))
    return masks[tree]


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
    try:
        return y is None or (y in _MASKS if isinstance(y, _RETURNS) else _is_na(y))
    except BaseException as error:  # of a class of the user's own
        if interrupts(error):
            raise
        return False


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
    values = fields_of(x)
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


def fields_of(x: Any) -> Mapping[str, Any] | None:
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
