"""Compositions that a project has as texts of slice ids, and the slices that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from engine.errors import SliceError, near
from engine.slicing.algebra import is_composition, merged, parse, parts_of, text_of, tree_of
from engine.slicing.evaluate import masks_needed
from engine.slicing.expr import Expr, Mask, replaced
from engine.slicing.functions import SlicingFunction
from engine.slicing.ids import composition_id, same_id


@dataclass(frozen=True)
class Composition:
    """A slice as a text of slice ids.

    Attributes
    ----------
    name, id, description
        As a :class:`SlicingFunction` has them.
    text
        ``short_link & (~please | long_comment)``.
    """

    name: str
    text: str
    id: str
    description: str


def compositions(
    texts: Sequence[Composition], known: Sequence[SlicingFunction]
) -> list[SlicingFunction]:
    """Return the slices that texts describe; they may name each other, in any order.

    Raises
    ------
    SliceError
        If a text can't be read, names no slice, or its own.
        If two slices have the same id.

    Examples
    --------
    >>> text = Composition("Short or long", "short | long", "either", "")
    >>> compositions([text], [SlicingFunction(name, len) for name in ("short", "long")])
    [SlicingFunction Short or long (expression)]
    """
    slices = {sf.id: sf for sf in known}
    names = {sf.id: sf.name for sf in known}
    trees: dict[str, Expr] = {}
    by_id: dict[str, Composition] = {}
    for c in texts:
        if c.id in names:
            raise same_id(c.id, names[c.id], c.name)
        by_id[c.id], trees[c.id], names[c.id] = c, parse(c.text), c.name
    named = {i: masks_needed(tree) for i, tree in trees.items()}
    for i, ids in named.items():
        for other in ids:
            if other not in slices and other not in by_id:
                raise SliceError(
                    f"slice {by_id[i].name!r} is composed of {other!r}, which is no slice's "
                    f"id{near(other, names)}"
                )
    try:
        order = list(TopologicalSorter(named).static_order())
    except CycleError as error:
        raise composed_in_circles(error.args[1][::-1]) from None
    for i in order:
        if i in by_id:
            slices[i] = _of(by_id[i], trees[i], [slices[other] for other in named[i]])
    return [slices[c.id] for c in texts]


def composed_in_circles(ids: Sequence[str]) -> SliceError:
    """Return the error of slices that are composed of each other."""
    first, *others = ids[:-1]  # the last is the first again
    return SliceError(
        f"slices are composed of each other: {' -> '.join(ids)}; take one of them out of the circle"
        if others
        else f"slice {first!r} is composed of itself; take it out of its own text"
    )


def with_parts(sfs: Sequence[SlicingFunction]) -> list[SlicingFunction]:
    """Return slices, and after them those that compositions need and that aren't among them.

    Raises
    ------
    SliceError
        If a composition needs a slice whose id another one has.

    Examples
    --------
    >>> a, b = (SlicingFunction(name, len) for name in "ab")
    >>> [sf.id for sf in with_parts([b, a & b])]
    ['b', 'a_and_b', 'a']
    """
    return list(merged([*sfs, *(part for sf in sfs for part in sf.parts.values())]).values())


def _of(c: Composition, written: Expr, operands: Sequence[SlicingFunction]) -> SlicingFunction:
    tree = replaced(written, {Mask(one.id): tree_of(one) for one in operands})
    parts = merged(part for one in operands for part in parts_of(one).values())
    sf = SlicingFunction(c.name, expr=tree, parts=parts, id=c.id, description=c.description)
    if is_composition(c.name) and c.id == composition_id(c.name):
        sf.text = text_of(parse(c.name))
    return sf
