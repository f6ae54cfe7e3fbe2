"""What a row function reads: one row's Python values, by attribute or by item."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.errors import UnreadableValueError, near


class Row:
    """One row of a table, read as ``x.text`` or ``x["text"]``.

    The values are those that a collected Spark row has: null is None, an integer stays an
    integer, DECIMAL is Decimal. A row is frozen: a slicing function cannot change what the next
    one sees. A preprocessor gets a :class:`MutableRow`, a copy of its own.

    Examples
    --------
    >>> x = Row({"text": "hello", "likes": None})
    >>> x.text, x["likes"], "text" in x
    ('hello', None, True)
    """

    __slots__ = ("__dict__",)

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "__dict__", values)

    def __getitem__(self, name: Any) -> Any:
        values = values_of(self)
        try:
            return values[name]
        except (KeyError, TypeError):
            return _other_item(self, name, values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_missing(name, values_of(self)))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"a slicing function cannot change x.{name}; do it in a @preprocessor, "
            "which gets a copy of the row"
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __setitem__(self, name: str, value: Any) -> None:
        self.__setattr__(name, value)

    def __delitem__(self, name: str) -> None:
        self.__delattr__(name)

    def __contains__(self, name: object) -> bool:
        return name in values_of(self)

    def __iter__(self) -> Iterator[str]:
        return iter(values_of(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and values_of(self) == values_of(other)

    def __hash__(self) -> int:
        return hash(tuple(values_of(self).items()))

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{k}={v!r}' for k, v in values_of(self).items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(values_of(self)),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Row:
        return type(self)(own_copy(values_of(self)))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by column name, or ``default`` where there is no such column."""
        return values_of(self).get(name, default)

    def keys(self) -> list[str]:
        """Return the column names."""
        return list(values_of(self))

    def asDict(self) -> dict[str, Any]:  # noqa: N802 - the name that a Spark row has
        """Return the values as a new dict."""
        return dict(values_of(self))


class Struct(Row):
    """A struct's value: its fields have an order too, as those of a collected Spark row.

    Examples
    --------
    >>> home = Struct({"lat": 40.7, "lon": -74.0})
    >>> lat, lon = home
    >>> lat == home.lat == home["lat"] == home[0], len(home), home < (50.0, 0.0), "lat" in home
    (True, 2, True, True)
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(values_of(self).values())

    def __len__(self) -> int:
        return len(values_of(self))

    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, int | slice):
            return _fields(self)[name]
        return super().__getitem__(name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Struct | tuple):
            return bool(_fields(self) == _fields(other))
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(_fields(self))

    def __lt__(self, other: Any) -> Any:
        return _fields(self) < _fields(other)

    def __le__(self, other: Any) -> Any:
        return _fields(self) <= _fields(other)

    def __gt__(self, other: Any) -> Any:
        return _fields(self) > _fields(other)

    def __ge__(self, other: Any) -> Any:
        return _fields(self) >= _fields(other)


def structs(fields: Iterable[dict[str, Any] | None]) -> list[Struct | None]:
    """Return structs of the dicts of their fields; None stays None.

    Examples
    --------
    >>> structs([{"lat": 40.7}, None])
    [Row(lat=40.7), None]
    """
    out: list[Struct | None] = []
    for values in fields:
        struct = None if values is None else _new(Struct)
        if struct is not None:
            _set_fields(struct, values)
        out.append(struct)
    return out


_new = object.__new__
_set_fields: Any = vars(Row)["__dict__"].__set__  # quicker than Row's own __init__


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that Python can't hold: a function that reads it fails on that row.

    Attributes
    ----------
    what
        What the column has there, for a sentence.
    shown
        The value, as a message shows it.
    """

    what: str
    shown: str

    def __repr__(self) -> str:
        return self.shown


class PartialRow(Row):
    """A row some of whose values Python can't hold: reading one of them raises.

    Examples
    --------
    >>> x = PartialRow({"n": 1, "text": Unreadable("text that is not UTF-8", "X'FF'")})
    >>> x.n, x
    (1, Row(n=1, text=X'FF'))
    >>> x.text
    Traceback (most recent call last):
    engine.errors.UnreadableValueError: the column 'text' has text that is not UTF-8 there, which \
Python can't read
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        values = values_of(self)
        if name in values:
            _read(self, name)
            return values[name]
        if name == "__dict__":
            _read(self, *values)
        return object.__getattribute__(self, name)

    def __getitem__(self, name: Any) -> Any:
        if isinstance(name, str):
            _read(self, name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by column name, or ``default`` where there is no such column."""
        _read(self, name)
        return values_of(self).get(name, default)

    def asDict(self) -> dict[str, Any]:  # noqa: N802
        """Return the values as a new dict."""
        values = values_of(self)
        _read(self, *values)
        return dict(values)


class MutableRow(Row):
    """A row that may be written to: what a preprocessor gets.

    Examples
    --------
    >>> x = MutableRow({"text": "hello"})
    >>> x.length = len(x.text)
    >>> x
    Row(text='hello', length=5)
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        values_of(self)[name] = value

    def __delattr__(self, name: str) -> None:
        values = values_of(self)
        if name not in values:
            raise AttributeError(_missing(name, values))
        del values[name]


class TracedRow(PartialRow):
    """A row that remembers which source columns were read from it.

    It shows whether a function failed because a column that it read is null. A preprocessor gets
    a traced row (:class:`TracedMutableRow`); a slicing function is called again on one only after
    a failure, since recording every read would cost more than the function does.

    Parameters
    ----------
    values
        Column name to value.
    reads
        Filled with the source columns that are read.
    source
        Columns that still have the source's value: writing to a column removes it.
    """

    __slots__ = ("_reads", "_source")

    def __init__(self, values: dict[str, Any], reads: set[str], source: set[str]) -> None:
        super().__init__(values)
        object.__setattr__(self, "_reads", reads)
        object.__setattr__(self, "_source", source)

    def __reduce__(self) -> tuple[Any, ...]:
        reads, source = _trace(self)
        return type(self), (dict(values_of(self)), reads, set(source))

    def __deepcopy__(self, memo: dict[int, Any]) -> Row:
        reads, source = _trace(self)
        return type(self)(own_copy(values_of(self)), reads, set(source))


class TracedMutableRow(TracedRow, MutableRow):
    """A traced row that may be written to."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        _trace(self)[1].discard(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        _trace(self)[1].discard(name)
        super().__delattr__(name)


# Most values in lists and structs are of these types: they never change, and copy slowly.
_UNCHANGING = frozenset({
    bool, bytes, dt.date, dt.datetime, dt.timedelta, Decimal, float, int, str, type(None),
})  # fmt: skip
# Values that one slicing function could change in place under the next one.
_CONTAINERS = (list, dict, set, bytearray, Row)


def values_of(row: Row) -> dict[str, Any]:
    """Return a row's own dict, whatever its columns are called, and without tracing reads."""
    return object.__getattribute__(row, "__dict__")  # type: ignore[no-any-return]


def _fields(value: Any) -> Any:
    return tuple(values_of(value).values()) if isinstance(value, Struct) else value


def _trace(row: Row) -> tuple[set[str], set[str]]:
    return object.__getattribute__(row, "_reads"), object.__getattribute__(row, "_source")


def _read(row: PartialRow, *names: str) -> None:
    """Note that columns are read where the row remembers it; raise for what Python can't hold."""
    values = values_of(row)
    if type(row) is not PartialRow:
        reads, source = _trace(row)
        reads.update(source.intersection(names))
    for name in names:
        if type(values.get(name)) is Unreadable:
            raise UnreadableValueError(name, values[name].what)


def isolated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a row's values so that nobody else sees when one changes in place.

    Built-in containers are copied deeply, everything else (text, numbers, a parsed document) is
    shared.
    """
    return {k: own_copy(v) if isinstance(v, _CONTAINERS) else v for k, v in values.items()}


def isolated_values(values: Iterable[Any]) -> list[Any]:
    """Copy values as :func:`isolated` does."""
    return [own_copy(v) if isinstance(v, _CONTAINERS) else v for v in values]


def own_copy(value: Any) -> Any:
    """Return a deep copy of a value.

    A vector of Spark's passes what it doesn't know on to its array, ``__deepcopy__`` too:
    ``copy.deepcopy`` would make it an array. Of spaCy's documents it would copy all words that
    the pipeline knows, and it fails for parts of documents, which are shared.

    Examples
    --------
    >>> own_copy({"a": [Row({"b": 1})]})
    {'a': [Row(b=1)]}
    """
    kind = type(value)
    if kind in _UNCHANGING:
        return value
    if kind is list:
        flat = _UNCHANGING.issuperset(map(type, value))
        return value.copy() if flat else [own_copy(v) for v in value]
    if kind is dict:
        return {k: own_copy(v) for k, v in value.items()}
    if isinstance(value, Row):
        return type(value)(own_copy(values_of(value)))
    if kind.__module__.startswith("spacy.tokens."):
        return value.copy() if kind.__name__ == "Doc" else value
    if hasattr(value, "__deepcopy__") and not hasattr(kind, "__deepcopy__"):
        return pickle.loads(pickle.dumps(value))
    return copy.deepcopy(value)


def has_containers(kinds: Iterable[type]) -> bool:
    """Tell whether values of one of these types could be changed in place."""
    return any(issubclass(kind, _CONTAINERS) for kind in kinds)


def _other_item(row: Row, name: Any, values: Mapping[str, Any]) -> Any:
    """Return what pandas' rows give by other names than text: a column's, or a list of columns.

    pandas calls columns by numbers and tuples too; here their names are the text of those.
    """
    if isinstance(name, list):
        import pandas as pd  # which takes long to load, and few rows need it

        return pd.Series([row[str(one)] for one in name], index=name, dtype=object)
    if not isinstance(name, str) and str(name) in values:
        return row[str(name)]
    raise KeyError(_missing(name, values)) from None


def _missing(name: object, values: Mapping[str, Any]) -> str:
    return f"the row has no column {name!r}{near(str(name), values)}"
