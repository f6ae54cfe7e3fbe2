"""What a slice says, as a tree over columns: what tiers translate.

A tree is made by lifting a Python function (:mod:`engine.compile.lift`) or by a factory (a slice
of a column's value, a composition of slices). It says *what*, in Python's terms: a tier that
translates an operation must give what Python gives, or leave the row to Python.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Expr:
    """A node; equal nodes have equal values on every row, so a batch computes each once."""

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The nodes directly below."""
        return ()

    def walk(self) -> Iterator[Expr]:
        """Yield every distinct node, those below before those above.

        Examples
        --------
        >>> [type(e).__name__ for e in Call("len", (Column("text"),)).walk()]
        ['Column', 'Call']
        """
        seen: set[Expr] = set()
        left: list[tuple[Expr, bool]] = [(self, False)]
        while left:
            e, below_done = left.pop()
            if e in seen:
                continue
            if below_done:
                seen.add(e)
                yield e
            else:
                left.append((e, True))
                left += [(p, False) for p in reversed(e.parts)]


@dataclass(frozen=True, slots=True)
class Column(Expr):
    """A column's value: what ``x.name`` is in a row function."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Const(Expr):
    """A value known before any row is seen.

    Constants are the same where their types and texts are: 1, 1.0 and True are three.
    """

    value: Any = field(compare=False)
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", constant_key(self.value))

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Mask(Expr):
    """Another slice's mask: True, False, or null where it could not decide."""

    slice_id: str

    def __str__(self) -> str:
        return self.slice_id


@dataclass(frozen=True)
class Call(Expr):
    """An operation on the values of other nodes; its name is a key of the tiers' tables."""

    op: str
    args: tuple[Expr, ...]
    _hash: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.op, self.args)))

    def __hash__(self) -> int:  # kept: a tree of a thousand keywords is looked up often
        return self._hash

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The arguments."""
        return self.args

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.args))})"


def constant_key(value: Any) -> str:
    """Return a text that two constants share only if no function can tell them apart.

    Examples
    --------
    >>> constant_key(1) == constant_key(True), constant_key((1,)) == constant_key((1,))
    (False, True)
    """
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({','.join(map(constant_key, value))})"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({','.join(sorted(map(constant_key, value)))})"
    if isinstance(value, dict):
        items = (f"{constant_key(k)}:{constant_key(v)}" for k, v in value.items())
        return f"dict({','.join(items)})"
    if isinstance(value, re.Pattern):  # whose repr is cut short
        return f"Pattern:{value.flags}:{value.pattern!r}"
    if type(value) not in _WRITTEN_OUT:
        return f"object:{id(value)}"
    return f"{type(value).__name__}:{value!r}"


# Types whose repr tells any two values apart.
_WRITTEN_OUT = frozenset(
    {
        str, int, float, bool, type(None), bytes, complex, range, slice, re.RegexFlag, Decimal,
        dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone,
    }
)  # fmt: skip
