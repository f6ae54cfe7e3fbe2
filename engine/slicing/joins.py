"""Look-ups in trees: which ones are compared with directly, and which ones Spark joins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from engine.errors import SliceFormError
from engine.slicing.expr import Call, Column, Const, Expr, Lookup, replaced
from engine.slicing.slices import Slice

FEW = 10_000  # keys that are compared with directly; more are joined


def without_lookups(tree: Expr, few: float = FEW) -> Expr:
    """Return a tree in which look-ups are other operations.

    A look-up of few given keys becomes ``None if column is None else column in keys``. Any other
    one becomes the BOOLEAN column in which :mod:`engine.label.lookup_joins` leaves its answer.

    Examples
    --------
    >>> from engine.slicing.expr import Keys
    >>> str(without_lookups(Lookup("a", Keys.given([1]))))
    'if(is_none(a), None, in(a, frozenset({1})))'
    """
    found = [node for node in tree.walk() if isinstance(node, Lookup)]
    return replaced(tree, {node: _plain(node, few) for node in found}) if found else tree


def joined(sfs: Iterable[Slice]) -> list[Lookup]:
    """Return the look-ups of slices that Spark joins, each once."""
    every = (part for sf in sfs for part in (sf, *sf.parts.values()) if part.expr is not None)
    nodes = (node for part in every for node in cast("Expr", part.expr).walk())
    return list(dict.fromkeys(n for n in nodes if isinstance(n, Lookup) and not _is_few(n, FEW)))


def key_tables(sfs: Iterable[Slice]) -> list[str]:
    """Return the tables that slices look keys up in, each once."""
    return list(dict.fromkeys(node.keys.table for node in joined(sfs) if node.keys.table))


def check_local(sfs: Iterable[Slice]) -> None:
    """Check that slices can be told without Spark, which reads tables of keys.

    Raises
    ------
    SliceFormError
    """
    for sf in sfs:
        for table in key_tables([sf]):
            raise SliceFormError(sf.name, f"its keys are in {table}, which is read in Spark only")


def _plain(node: Lookup, few: float) -> Expr:
    column = Column(node.column)
    if not _is_few(node, few):
        return Column(node.marker)
    found = Call("in", (column, Const(node.keys.values, node.keys.about)))
    return Call("if", (Call("is_none", (column,)), Const(None), found))


def _is_few(node: Lookup, few: float) -> bool:
    return node.keys.values is not None and len(node.keys.values) <= few
