"""Look-up slices: the rows whose column holds one of many keys."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from engine.arguments import choice, entries, text
from engine.errors import SliceError
from engine.slicing.by_value import plain
from engine.slicing.expr import Expr, Keys, Lookup, replaced
from engine.slicing.functions import SlicingFunction
from engine.slicing.slices import joined, key_tables

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
        The keys: text, whole numbers, booleans or dates, all of one type. None is ignored.
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
    SliceError
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
        raise SliceError(f"slice {name!r}: give either keys or a table of keys to look up")
    if table is not None:
        looked_up = Keys.of_table(table, key_column or column)
        about = f"{column} in {looked_up.column} of {table}"
    else:
        looked_up = Keys.of_values(_checked(name, () if keys is None else keys))
        about = f"{column} in {len(looked_up.values or ()):,} keys"
    return SlicingFunction(
        name,
        expr=Lookup(column, looked_up, how),
        id=id,
        description=about if description is None else description,
    )


def versioned(sf: SlicingFunction, versions: Mapping[str, str]) -> SlicingFunction:
    """Return a slice with the versions of its tables of keys, which are in its fingerprint.

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
    copied = copy.copy(sf)
    copied.expr = None if sf.expr is None else replaced(sf.expr, new)
    copied.parts = {slice_id: versioned(part, versions) for slice_id, part in sf.parts.items()}
    return copied


def _checked(name: str, keys: Iterable[Any]) -> Sequence[Any]:
    if isinstance(keys, str | bytes):
        raise SliceError(f"slice {name!r}: the keys to look up must be a list or set, not one text")
    values = map(plain, entries("lookup", "keys", keys, "a list or set of keys"))
    own = [k for k in values if k is not None and k == k]  # noqa: PLR0124 - nor NaN
    kinds = set(map(type, own))
    if len(kinds) > 1 or not kinds <= set(_TYPES):
        names = ", ".join(sorted(k.__name__ for k in kinds))
        raise SliceError(
            f"slice {name!r}: the keys to look up are {names}; they must be all str, int, bool or "
            "date"
        )
    return own
