"""Look-up slices: rows whose column holds one of many keys."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from engine.arguments import choice, entries, text
from engine.errors import SliceFormError
from engine.slicing.expr import Call, Column, Const, Expr, Keys, Lookup, replaced
from engine.slicing.functions import SlicingFunction
from engine.slicing.values import plain

FEW = 10_000  # keys that are compared with directly; more are joined
_TYPES = (str, bool, int, dt.date)
_HOW = ("auto", "broadcast", "join")


def lookup(
    name: str,
    column: str,
    keys: Iterable[Any] | None = None,
    *,
    table: str | None = None,
    key_column: str | None = None,
    how: Literal["auto", "broadcast", "join"] = "auto",
    id: str | None = None,  # noqa: A002
    description: str | None = None,
) -> SlicingFunction:
    """Make a slice of the rows whose column holds one of the keys.

    Where the column is null the slice is undecided.

    Parameters
    ----------
    name
        A free name.
    column
        The column that is looked up.
    keys
        The keys: text, whole numbers, booleans or dates, all of one type. None is no key.
    table
        A table of keys, in place of ``keys``: a path or a name. It is read in Spark only.
    key_column
        The table's column; ``column`` by default.
    how
        How Spark finds many keys: ``broadcast`` sends them to all executors, ``join`` shuffles,
        ``auto`` broadcasts up to a million.
    id, description
        As :class:`SlicingFunction` has them.

    Raises
    ------
    SliceFormError
        If not exactly one of ``keys`` and ``table`` is given, or keys are of several types.

    Examples
    --------
    >>> vip = lookup("vip", "customer", [17, 4, None])
    >>> vip({"customer": 4}), vip({"customer": 5}), vip({"customer": None})
    (True, False, None)
    """
    name, column = text("lookup", "name", name), text("lookup", "column", column, "a column")
    for argument, value in (("table", table), ("key_column", key_column)):
        if value is not None:
            text("lookup", argument, value)
    how = cast("Literal['auto', 'broadcast', 'join']", choice("lookup", "how", how, _HOW))
    if (keys is None) == (table is None):
        raise SliceFormError(name, "give either keys or a table of keys to look up")
    if table is not None:
        found = Keys.of_table(table, key_column or column)
        about = f"{column} in {found.column} of {table}"
    else:
        found = Keys.given(_checked(name, () if keys is None else keys))
        about = f"{column} in {len(found.values or ()):,} keys"
    return SlicingFunction(
        name,
        expr=Lookup(column, found, how),
        id=id,
        description=about if description is None else description,
    )


def without_lookups(tree: Expr, few: float = FEW) -> Expr:
    """Return a tree in which look-ups are other operations.

    A look-up of few given keys becomes ``None if column is None else column in keys``. Any other
    one becomes the BOOLEAN column in which :mod:`engine.masks.lookups` leaves its answer.

    Examples
    --------
    >>> str(without_lookups(Lookup("a", Keys.given([1]))))
    'if(is_none(a), None, in(a, frozenset({1})))'
    """
    found = [node for node in tree.walk() if isinstance(node, Lookup)]
    return replaced(tree, {node: _plain(node, few) for node in found}) if found else tree


def joined(sfs: Iterable[SlicingFunction]) -> list[Lookup]:
    """Return the look-ups of slices that Spark joins, each once."""
    every = (part for sf in sfs for part in (sf, *sf.parts.values()) if part.expr is not None)
    nodes = (node for part in every for node in cast("Expr", part.expr).walk())
    return list(dict.fromkeys(n for n in nodes if isinstance(n, Lookup) and not _is_few(n, FEW)))


def key_tables(sfs: Iterable[SlicingFunction]) -> list[str]:
    """Return the tables that slices look keys up in, each once."""
    return list(dict.fromkeys(node.keys.table for node in joined(sfs) if node.keys.table))


def versioned(sf: SlicingFunction, versions: Mapping[str, str]) -> SlicingFunction:
    """Return a slice that knows the versions of its tables of keys, which are in its fingerprint.

    Parameters
    ----------
    sf
        The slice.
    versions
        Table to version.
    """
    if not key_tables([sf]):
        return sf
    new: dict[Expr, Expr] = {
        node: Lookup(
            node.column,
            Keys.of_table(node.keys.table, node.keys.column, versions[node.keys.table]),
            node.how,
        )
        for node in joined([sf])
        if node.keys.table
    }
    made = copy.copy(sf)
    made.expr = None if sf.expr is None else replaced(sf.expr, new)
    made.parts = {slice_id: versioned(part, versions) for slice_id, part in sf.parts.items()}
    return made


def check_local(sfs: Iterable[SlicingFunction]) -> None:
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


def _checked(name: str, keys: Iterable[Any]) -> Sequence[Any]:
    if isinstance(keys, str | bytes):
        raise SliceFormError(name, "the keys to look up must be a list or set, not one text")
    given = entries("lookup", "keys", keys, "a list or set of keys")
    own = [k for k in map(plain, given) if k is not None and k == k]  # noqa: PLR0124 - nor NaN
    kinds = set(map(type, own))
    if len(kinds) > 1 or not kinds <= set(_TYPES):
        found = ", ".join(sorted(k.__name__ for k in kinds))
        raise SliceFormError(
            name, f"the keys to look up are {found}; they must be all str, int, bool or date"
        )
    return own
