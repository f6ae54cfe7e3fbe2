"""Slices by value: one per value of a column, or per combination of values of several.

Each row is in exactly one of them: that of its value, that of null, or that of the others.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from engine.arguments import entries, flag
from engine.errors import SliceError, brief
from engine.slicing.expr import Call, Column, Const, Expr
from engine.slicing.functions import SlicingFunction
from engine.slicing.ids import MAX_ID, digest, slug

TOP = 100  # values of a column that get a slice, the most frequent first
SHOWN = 60  # characters of a value in a name
# Python types whose values can be slices, and their names across table formats.
FAMILIES: Mapping[type, str] = {
    str: "text", bool: "boolean", int: "whole number", dt.date: "date", float: "float",
}  # fmt: skip
_LIKE_OTHERS = frozenset({"null", "NaN", "(other)"})  # what other slices' names end in
_AMBIGUOUS = re.compile(r"[=,'\"]|\A\s|\s\Z|\A\Z")


@dataclass(frozen=True)
class By:
    """What is sliced by value.

    Attributes
    ----------
    columns
        One column, or several whose combinations are slices.
    top
        How many values get a slice where the table tells the values.
    other
        Whether rows of other values get a slice.
    values
        The combinations; None where the table tells them.
    """

    columns: tuple[str, ...]
    top: int = TOP
    other: bool = True
    values: tuple[tuple[Any, ...], ...] | None = None

    def __str__(self) -> str:
        return ", ".join(self.columns)


@dataclass(frozen=True)
class Slot:
    """What one of these slices holds: a combination of values, the rows with a null, the others."""

    kind: Literal["value", "null", "other"]
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ValueSlice:
    """A slice by value, and what it stands for.

    Attributes
    ----------
    sf
        The slice.
    by, slot, position
        What it is sliced by, what it holds, and its place among the slices of ``by``.
    """

    sf: SlicingFunction
    by: By
    slot: Slot
    position: int

    @property
    def definition(self) -> str:
        """What the catalogue keeps, so that the next run makes the same slice; JSON."""
        about = {"by": self.by.columns, "is": self.slot.kind, "position": self.position}
        return json.dumps({**about, "values": [_packed(v) for v in self.slot.values]})


@dataclass(frozen=True)
class Pin:
    """A slice by value of an earlier run, as the catalogue has it."""

    id: str
    columns: tuple[str, ...]
    slot: Slot
    position: int

    @staticmethod
    def read(slice_id: str, definition: str | None) -> Pin | None:
        """Return the pin that a definition in the catalogue says; None of another kind of slice.

        Examples
        --------
        >>> Pin.read("sex_f", '{"by": ["sex"], "is": "value", "position": 0, "values": ["F"]}')
        Pin(id='sex_f', columns=('sex',), slot=Slot(kind='value', values=('F',)), position=0)
        """
        about = json.loads(definition or "{}")
        if "by" not in about:
            return None
        slot = Slot(about["is"], tuple(map(_unpacked, about["values"])))
        return Pin(slice_id, tuple(about["by"]), slot, about["position"])


def by(
    column: str, values: Iterable[Any] | None = None, *, top: int = TOP, other: bool = True
) -> list[SlicingFunction]:
    """Return a slice per value of a column, one for null and one for other values.

    Parameters
    ----------
    column
        The column.
    values
        Its values: a list, or a Series whose most frequent values come first. None is ignored,
        since null has a slice anyway.
    top
        How many values get a slice.
    other
        Whether there is a slice of the rows of other values.

    Raises
    ------
    SliceError
        If a value is not text, a boolean, a whole number, a date or a float.
        If there are no values to slice by, or ``top`` isn't a number of slices.

    Examples
    --------
    >>> [sf.name for sf in by("country", ["US", "DE"])]
    ['country=US', 'country=DE', 'country=null', 'country=(other)']
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        name = brief(column).strip("'")
        raise SliceError(
            f"slice {name!r}: give the column's values to slice by: by('sex', df['sex']), say, or "
            "by('sex', ['F', 'M'])"
        )
    cells = entries("by", "values", values, "a list of the column's values")
    return cross(column, values=[(v,) for v in cells], top=top, other=other)


def cross(*columns: str, values: Any, top: int = TOP, other: bool = True) -> list[SlicingFunction]:
    """Return a slice per combination of values of several columns, as :func:`by` of one.

    The values are a list of combinations, or a table of pandas or pyarrow with the columns. A row
    in which one of the columns is null is in the slice of null.

    Examples
    --------
    >>> [sf.id for sf in cross("sex", "age", values=[("F", 40), ("M", 40)], other=False)]
    ['sex_f_age_40', 'sex_m_age_40', 'sex_age_null']
    """
    name = " x ".join(brief(column).strip("'") for column in columns)
    if not columns or not all(isinstance(column, str) and column for column in columns):
        raise SliceError(f"slice {name!r}: columns are named by text, found {brief(list(columns))}")
    if len(set(columns)) < len(columns):
        raise SliceError(
            f"slice {name!r}: columns must be different ones, found {brief(list(columns))}"
        )
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise SliceError(
            f"slice {name!r}: top must be a whole number of at least 1, found {brief(top)}"
        )
    spec = By(columns, top, flag("cross", "other", other))
    return [one.sf for one in value_slices(spec, distinct(spec, _rows(values))[:top])]


def _rows(values: Any) -> Iterable[Sequence[Any]]:
    """Return combinations; a table or a matrix has one per row."""
    if hasattr(values, "itertuples"):
        return cast("Iterable[Sequence[Any]]", values.itertuples(index=False, name=None))
    if hasattr(values, "column_names"):
        return zip(*values.columns, strict=True)
    if getattr(values, "ndim", 1) == 2:  # noqa: PLR2004 - rows and columns
        return cast("Iterable[Sequence[Any]]", list(values))
    return entries("cross", "values", values, "a list of combinations of values")


def distinct(spec: By, values: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return the combinations among values, the most frequent first, without those with a null.

    Raises
    ------
    SliceError
        If a value can't be a slice.
    """
    counts: Counter[tuple[Any, ...]] = Counter()
    for row in values:
        whole = isinstance(row, Iterable) and not isinstance(row, str | bytes)
        cell = tuple(map(plain, row)) if whole else (row,)
        if not whole or len(cell) != len(spec.columns):
            wanted = f"a value of each of {', '.join(spec.columns)}"
            raise SliceError(f"slice {' x '.join(spec.columns)!r}: {brief(row)} is not {wanted}")
        for column, value in zip(spec.columns, cell, strict=True):
            if value is not None and type(value) not in FAMILIES:
                raise not_by_value(column, type(value).__name__)
        if None not in cell:
            counts[cell] += 1
    cells = [cell for cell, _ in counts.most_common()]
    texts = {i for cell in cells for i, v in enumerate(cell) if not isinstance(v, float)}
    # Among texts, NaN is pandas' null.
    return [c for c in cells if not any(i in texts and _is_nan(v) for i, v in enumerate(c))]


def not_by_value(column: str, kind: str) -> SliceError:
    """Return the error of a column whose type can't be sliced by value."""
    return SliceError(
        f"column {column!r} can't be sliced by value: it is of type {kind}; use text, a "
        "boolean, a whole number, a date or a float, or cast it in the source"
    )


def value_slices(
    spec: By,
    values: Sequence[tuple[Any, ...]],
    pinned: Iterable[Pin] = (),
    others: Collection[str] = (),
) -> list[ValueSlice]:
    """Return the slices of combinations, then that of null, then that of the others.

    Parameters
    ----------
    spec
        What is sliced.
    values
        Distinct combinations without null.
    pinned
        The slices of earlier runs, which keep their ids.
    others
        The ids of other slices.
    """
    slots = [*(Slot("value", v) for v in values), Slot("null"), *([Slot("other")] * spec.other)]
    ids = {pin.slot: pin.id for pin in pinned}
    used = {i.lower() for i in (*others, *ids.values())}
    # null and other first, so that no value takes their plain ids
    for slot in sorted(slots, key=lambda s: s.kind == "value"):
        if slot not in ids:
            ids[slot] = _free_id(spec, slot, used)
            used.add(ids[slot])
    return [
        ValueSlice(
            SlicingFunction(
                name_of(spec, slot), expr=_tree(spec, slot, values), id=ids[slot], description=""
            ),
            spec,
            slot,
            i,
        )
        for i, slot in enumerate(slots)
    ]


def name_of(spec: By, slot: Slot) -> str:
    """Return a slice's name: the values as they are shown.

    Quotes mark text that looks like something else (``null``, a comma); long text is cut and ends
    in a hash.

    Examples
    --------
    >>> one = By(("country",))
    >>> [name_of(one, s) for s in (Slot("value", ("null",)), Slot("null"), Slot("other"))]
    ["country='null'", 'country=null', 'country=(other)']
    """
    if slot.kind == "value":
        return ", ".join(f"{c}={shown(v)}" for c, v in zip(spec.columns, slot.values, strict=True))
    columns = str(spec) if len(spec.columns) == 1 else f"({spec})"
    return f"{columns}={'null' if slot.kind == 'null' else '(other)'}"


def family(values: Iterable[Any]) -> str:
    """Return the families of values' types, joined."""
    return " and ".join(sorted({FAMILIES.get(type(v), type(v).__name__) for v in values}))


def _free_id(spec: By, slot: Slot, used: Collection[str]) -> str:
    """Return the slug of a name; with a hash where it is in use, or says nothing of a value."""
    name = name_of(spec, slot)
    short = slug(name)
    says = all(re.search("[A-Za-z0-9]", shown(v)) for v in slot.values)
    return short if says and short not in used else f"{short[: MAX_ID - 9]}_{digest(name)[:8]}"


def _tree(spec: By, slot: Slot, values: Sequence[tuple[Any, ...]]) -> Expr:
    columns = [Column(c) for c in spec.columns]
    null = _any([Call("is_none", (c,)) for c in columns])
    if slot.kind == "null":
        return null
    if slot.kind == "value":
        return _all([_is(c, v) for c, v in zip(columns, slot.values, strict=True)])
    return _all([Call("not", (null,)), *(Call("not", (e,)) for e in _known(columns, values))])


def _is(column: Column, value: Any) -> Expr:
    return Call("is_nan", (column,)) if _is_nan(value) else Call("eq", (column, Const(value)))


def _known(columns: Sequence[Column], values: Sequence[tuple[Any, ...]]) -> list[Expr]:
    """Return trees of which one is true where a row has one of the combinations."""
    if len(columns) > 1:
        by_first: dict[Any, list[tuple[Any, ...]]] = {}
        for first, *rest in values:
            by_first.setdefault(first, []).append(tuple(rest))
        return [
            _all([_is(columns[0], first), _any(_known(columns[1:], rest))])
            for first, rest in by_first.items()
        ]
    plain = frozenset(v for (v,) in values if not _is_nan(v))
    trees: list[Expr] = [Call("in", (columns[0], Const(plain)))] if plain else []
    return trees + [_is(columns[0], v) for (v,) in values if _is_nan(v)]


def _all(trees: Sequence[Expr]) -> Expr:
    """Return the tree of "all are true"; none is ever null."""
    first, *rest = trees
    return Call("and", (first, _all(rest))) if rest else first


def _any(trees: Sequence[Expr]) -> Expr:
    if len(trees) == 1:
        return trees[0]
    return Call("not", (_all([Call("not", (tree,)) for tree in trees]),))


def shown(value: Any) -> str:
    """Return a value as names show it, with quotes around text that looks like something else.

    Examples
    --------
    >>> shown("US"), shown("null"), shown(True)
    ('US', "'null'", 'true')
    """
    text = "NaN" if _is_nan(value) else str(value)
    if isinstance(value, str):
        special = value in _LIKE_OTHERS or _AMBIGUOUS.search(value) or not value.isprintable()
        text = repr(value) if special else value
    elif isinstance(value, bool):
        text = text.lower()
    if len(text) <= SHOWN:
        return text
    return f"{text[: SHOWN - 12]}... {digest(text)[:8]}"


def plain(value: Any) -> Any:
    """Return a value as Python's own; None for every kind of missing but NaN.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.int64(3)), plain(np.datetime64("NaT")), plain(float("nan"))
    (3, None, nan)
    """
    if type(value).__module__ == "numpy":
        value = value.item()
    elif hasattr(value, "as_py"):  # of an Arrow array
        value = value.as_py()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return math.nan if _is_nan(value) else value  # one object, so that NaN equals NaN


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _packed(value: Any) -> Any:
    if isinstance(value, dt.date):
        return {"date": value.isoformat()}
    return {"float": repr(value)} if isinstance(value, float) else value


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "date" in value:
        return dt.date.fromisoformat(value["date"])
    return plain(float(value["float"]))
