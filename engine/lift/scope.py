"""What a name stands for while a function is lifted: columns, constants, and other things."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from engine.slicing.constants import as_compared, is_constant
from engine.slicing.expr import Const, Expr


class PatternSyntaxError(Exception):
    """A constant regex doesn't compile."""

    def __init__(self, pattern: str, error: re.error) -> None:
        super().__init__(f"the pattern {pattern!r} doesn't compile: {error}")
        self.pattern, self.error = pattern, error


class CannotLiftError(Exception):
    """Something that isn't lifted."""

    def __init__(self, node: ast.AST | None, why: str, missing: str | None = None) -> None:
        super().__init__(why)
        self.node, self.why, self.missing = node, why, missing


class WholeRow:
    """Stands for the row itself."""


ROW = WholeRow()


@dataclass(frozen=True)
class Items:
    """A tuple, list or generator whose elements are known one by one; a generator is lazy."""

    values: tuple[Any, ...]
    lazy: bool = False
    is_tuple: bool = False


@dataclass(frozen=True)
class Generator:
    """A generator over a row's values, which is used up when it is read."""

    tree: Expr


@dataclass(frozen=True)
class Groups:
    """What ``groupby`` gives: each group is used up when it is read."""

    tree: Expr

    def once(self, target: ast.expr, uses: Sequence[ast.AST]) -> Generator:
        """Return pairs of keys and lists, where each group is read at most once."""
        names = [n.id for n in getattr(target, "elts", ()) if isinstance(n, ast.Name)]
        reads = [n for use in uses for n in ast.walk(use)
                 if isinstance(n, ast.Name) and n.id in names[1:]]  # fmt: skip
        again = any(
            read in ast.walk(part) and not _begins_with(part, read)
            for use in uses for part in ast.walk(use) if isinstance(part, _REPEATING)
            for read in reads
        )  # fmt: skip
        if len(names) != _PAIR or len(reads) > 1 or again:
            raise CannotLiftError(target, "it uses a group of groupby more than once")
        return Generator(self.tree)


_PAIR = 2
_REPEATING = (ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.Lambda)


def _begins_with(node: Any, read: ast.AST) -> bool:
    """Tell whether a name is the first thing that a comprehension goes through."""
    return not isinstance(node, ast.Lambda) and node.generators[0].iter is read


@dataclass(frozen=True)
class Thing:
    """Something that isn't constant: source may call it, read from it or go through it."""

    value: Any


@dataclass(frozen=True)
class NumpyValue:
    """A scalar of numpy, or a collection that has some: it may be compared with."""

    value: Any
    compared: Const


Value = Any  # Expr | WholeRow | Items | Generator | Thing | NumpyValue | Closure | Bound
Names = dict[str, Any]


def _outside(scope: Scope) -> Expr:
    raise CannotLiftError(None, "it leaves a loop that it isn't in")  # Python compiles no such


def _itself(value: Expr) -> Expr:
    return value


@dataclass(frozen=True)
class Leaves:
    """What a function says where a step of a loop ends, the loop is left, or it returns."""

    go_on: Callable[[Scope], Expr] = _outside
    leave: Callable[[Scope], Expr] = _outside
    answer: Callable[[Expr], Expr] = _itself


@dataclass(frozen=True)
class Scope:
    """A function's names: locals first, then what it closes over, globals, builtins."""

    f: FunctionType
    local: Names
    own: frozenset[str] = frozenset()  # of a function within: names that it binds somewhere
    leaves: Leaves = Leaves()

    def bind(self, **names: Any) -> Scope:
        """Return the scope with other values of some names."""
        return replace(self, local={**self.local, **names})

    def forget(self, maybe: Scope) -> None:
        """Leave names without a value that were bound where it isn't sure to be evaluated."""
        for name, value in maybe.local.items():
            if self.local.get(name) is not value:
                self.local.pop(name, None)

    def look_up(self, node: ast.Name) -> Value:
        """Return what a name stands for."""
        name = node.id
        if name in self.local:
            return self.local[name]
        if name in self.own or name in self.f.__code__.co_varnames + self.f.__code__.co_cellvars:
            raise CannotLiftError(node, f"{name!r} may have no value here")
        if name in self.f.__code__.co_freevars:
            at = self.f.__code__.co_freevars.index(name)
            try:
                return as_value(self.f.__closure__[at].cell_contents)  # type: ignore[index]
            except ValueError:
                raise CannotLiftError(node, f"{name!r} has no value yet") from None
        for names in (self.f.__globals__, vars(builtins)):
            if name in names:
                return as_value(names[name])
        raise CannotLiftError(node, f"the name {name!r} is not defined")


def as_value(value: Any) -> Const | NumpyValue | Thing:
    """Return a value of the user's: a constant if it means the same to every tier."""
    if is_constant(value):
        return Const(value)
    try:
        return NumpyValue(value, Const(as_compared(value)))
    except (ValueError, TypeError):
        return Thing(value)


def known_value(value: Value) -> Any:
    """Return the value that a part of the source has before any row is seen, or a row's mark."""
    return value.value if isinstance(value, Const | Thing | NumpyValue) else ROW


@dataclass(frozen=True)
class Closure:
    """A function that the function makes: what its names stand for where it is made."""

    node: ast.Lambda | ast.FunctionDef
    scope: Scope
    defaults: tuple[Any, ...] = ()
    keyword_defaults: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Bound:
    """A method of a value that isn't called where it is read."""

    base: Expr
    name: str


VALUES = (Expr, Items, WholeRow, Thing, NumpyValue, Closure, Bound)
KNOWN = (Const, Thing, NumpyValue)


def lasting(value: Value, node: ast.AST) -> Value:
    """Return a value that is given a name: no generator, which is used up when it is read."""
    if isinstance(value, Generator | Groups) or (isinstance(value, Items) and value.lazy):
        raise CannotLiftError(node, "it keeps a generator")
    return value
