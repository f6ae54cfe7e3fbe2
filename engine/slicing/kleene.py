"""Masks of one batch, and Kleene's logic over masks: null is "can't say"."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from engine.slicing.expr import Call, Expr, Mask

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
