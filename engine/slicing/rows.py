"""What a row function sees: one row's Python values, by attribute or by item."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

# Values that can be shared between slicing functions without a copy.
_CONTAINERS = (list, dict, set, bytearray)


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

    def __getitem__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise KeyError(_missing(name, self.__dict__)) from None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_missing(name, self.__dict__))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"a slicing function cannot set x.{name}; do it in a @preprocessor, "
            "which gets a copy of the row"
        )

    def __setitem__(self, name: str, value: Any) -> None:
        self.__setattr__(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.items()))

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{k}={v!r}' for k, v in self.__dict__.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.__dict__),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Row:
        return type(self)(copy.deepcopy(self.__dict__, memo))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by column name, or ``default`` where there is no such column."""
        return self.__dict__.get(name, default)

    def keys(self) -> list[str]:
        """Return the column names."""
        return list(self.__dict__)

    def asDict(self) -> dict[str, Any]:  # noqa: N802 - the name that a Spark row has
        """Return the values as a new dict."""
        return dict(self.__dict__)


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
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        del self.__dict__[name]


class TracedRow(MutableRow):
    """A row that remembers which source columns were read from it.

    Only used after a failure, to tell a row that could not be decided (a column it read is null)
    from a fault: recording every read of every row would cost more than the functions.
    """

    __slots__ = ("_reads", "_source")

    def __init__(self, values: dict[str, Any], reads: set[str], source: set[str]) -> None:
        super().__init__(values)
        object.__setattr__(self, "_reads", reads)
        object.__setattr__(self, "_source", source)

    def __getattribute__(self, name: str) -> Any:
        values = object.__getattribute__(self, "__dict__")
        if name in values:
            if name in object.__getattribute__(self, "_source"):
                object.__getattribute__(self, "_reads").add(name)
            return values[name]
        return object.__getattribute__(self, name)

    def __getitem__(self, name: str) -> Any:
        if name in self._source:
            self._reads.add(name)
        return super().__getitem__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._source.discard(name)
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[str]:
        self._reads.update(self._source)
        return super().__iter__()

    def __deepcopy__(self, memo: dict[int, Any]) -> TracedRow:
        values = object.__getattribute__(self, "__dict__")
        return TracedRow(copy.deepcopy(values, memo), self._reads, set(self._source))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value by column name, recording the read."""
        if name in self._source:
            self._reads.add(name)
        return super().get(name, default)

    def asDict(self) -> dict[str, Any]:  # noqa: N802
        """Return all values as a new dict, recording that all were read."""
        self._reads.update(self._source)
        return super().asDict()


def isolated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a row's values so that changing one in place is seen by nobody else.

    Built-in containers are copied deeply, everything else (text, numbers, a parsed document) is
    shared.
    """
    return {k: copy.deepcopy(v) if isinstance(v, _CONTAINERS) else v for k, v in values.items()}


def has_containers(values: Mapping[str, Any]) -> bool:
    """Tell whether a row has a value that could be changed in place."""
    return any(isinstance(v, _CONTAINERS) for v in values.values())


def _missing(name: str, values: Mapping[str, Any]) -> str:
    from engine.errors import near

    return f"the row has no column {name!r}{near(name, values)}"
