"""What a comprehension says of each element: a tree of its own, a leaf of the function's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.slicing.expr import Column, Expr


@dataclass(frozen=True, slots=True)
class Body(Expr):
    """A tree that is evaluated for each element of a list, over columns of the elements.

    Attributes
    ----------
    tree
        What is said of an element, which is the column :func:`element`.
    names
        The columns that it is evaluated with: the element's, then those of what is outside.
    """

    tree: Expr
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.names[0]} -> {self.tree}"


def element(depth: int) -> Column:
    """Return what stands for an element; comprehensions within others have another depth.

    Examples
    --------
    >>> element(0).name[1:], element(1).name[1:]
    ('item', 'item2')
    """
    return Column(f"{_MARK}item{depth + 1 if depth else ''}")


def state(depth: int, name: str) -> Column:
    """Return what stands for what an earlier step of a loop left in a name.

    Examples
    --------
    >>> state(0, "n").name[1:]
    'state.n'
    """
    return Column(f"{_MARK}state{depth + 1 if depth else ''}.{name}")


_MARK = "\u2063"  # an invisible character: no column of a user's has this name


def columns_of(*trees: Expr) -> Iterator[Column]:
    """Yield each column that trees read, in order."""
    known: set[Expr] = set()
    for tree in trees:
        for node in tree.walk():
            if isinstance(node, Column) and node not in known:
                known.add(node)
                yield node
