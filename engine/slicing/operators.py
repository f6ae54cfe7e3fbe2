"""What ``&``, ``|`` and ``~`` make of slices.

A composed slice holds its parts, so that it works wherever it is used. A composition of
compositions is one tree, whose leaves are masks of slices that aren't composed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TypeVar

from engine.slicing.algebra import call, is_composed, written
from engine.slicing.expr import Call, Expr, Mask
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.ids import same_id
from engine.slicing.slices import Slice

S = TypeVar("S", bound=Slice)


def composed(op: str, *operands: S) -> tuple[str, Expr, Mapping[str, S]]:
    """Return an operation on slices: its text, its tree of masks, and the slices that these mean.

    Raises
    ------
    SliceError
        If two different slices in it have the same id.
    """
    tree = call(op, tuple(map(tree_of, operands)))
    return written(op, map(_text, operands)), tree, functools.reduce(both, map(parts_of, operands))


def tree_of(sf: Slice) -> Expr:
    """Return what stands for a slice in a composition: its own tree, or its mask."""
    return sf.expr if sf.expr is not None and is_composed(sf.expr) else Mask(sf.id)


def parts_of(sf: S) -> Mapping[str, S]:
    """Return the slices that stand as masks in a slice's place in a composition."""
    return sf.parts if is_composed(sf.expr) else {sf.id: sf}


def _text(sf: Slice) -> tuple[str, str | None]:
    """Return what a slice is called in compositions, and the operation that it is, if any."""
    if sf.text is not None and isinstance(sf.expr, Call):
        return sf.text, sf.expr.op
    return sf.id, None


def both(some: Mapping[str, S], others: Mapping[str, S]) -> Mapping[str, S]:
    """Return slices by id, each once.

    Raises
    ------
    SliceError
        If two different ones have the same id.
    """
    for shared in some.keys() & others.keys():  # of a thousand and one: one look-up
        _check_same(some[shared], others[shared])
    return {**some, **others}


def merged(slices: Iterable[S]) -> Mapping[str, S]:
    """Return slices by id, each once, as :func:`both` does."""
    by_id: dict[str, S] = {}
    for sf in slices:
        _check_same(by_id.setdefault(sf.id, sf), sf)
    return by_id


def _check_same(first: Slice, sf: Slice) -> None:
    if first is not sf and fingerprint(first) != fingerprint(sf):
        raise same_id(sf.id, first.name, sf.name)
