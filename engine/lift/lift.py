"""A row function's source, lifted to an expression tree over columns.

What a function says in plain Python (comparisons, ``in``, string methods, ``re``, conditions,
early returns, loops over constants, helper functions) becomes a tree; anything else is named,
with its line, and the function runs as Python. Nothing is run here but operations on constants.
"""

from __future__ import annotations

import ast
import builtins
import datetime as dt
import importlib
import inspect
import itertools
import math
import operator
import re
import sys
import warnings
from abc import ABCMeta
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import EnumType
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from engine.errors import interrupts
from engine.lift.notes import is_random
from engine.slicing.constants import SCALARS, as_compared, is_constant
from engine.slicing.expr import Call, Column, Const, Expr
from engine.slicing.source import SourceError, function_node

MAX_NODES = 50_000  # of one function's tree; a larger one runs as Python
MAX_STEPS = 200  # iterations of a loop that is unrolled statement by statement

_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv",
    ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.BitAnd: "bitand", ast.BitOr: "bitor",
    ast.BitXor: "bitxor",
}  # fmt: skip
_UNARY: Mapping[type[ast.unaryop], str] = {
    ast.Not: "not", ast.USub: "neg", ast.UAdd: "pos",
}  # fmt: skip
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
    ast.In: "in",
}  # fmt: skip

# Methods of text that change nothing, with the number of arguments they may have here.
METHODS: Mapping[str, range] = {
    "lower": range(1), "upper": range(1), "casefold": range(1), "title": range(1),
    "capitalize": range(1), "swapcase": range(1), "strip": range(2), "lstrip": range(2),
    "rstrip": range(2), "startswith": range(1, 2), "endswith": range(1, 2), "split": range(2),
    "rsplit": range(2), "splitlines": range(1), "count": range(1, 2), "find": range(1, 2),
    "rfind": range(1, 2), "replace": range(2, 3), "isdigit": range(1), "isalpha": range(1),
    "isalnum": range(1), "isupper": range(1), "islower": range(1), "isspace": range(1),
    "isnumeric": range(1), "isdecimal": range(1), "istitle": range(1), "isascii": range(1),
    "isidentifier": range(1), "isprintable": range(1), "removeprefix": range(1, 2),
    "removesuffix": range(1, 2), "zfill": range(1, 2), "partition": range(1, 2),
    "rpartition": range(1, 2), "weekday": range(1), "isoweekday": range(1),
}  # fmt: skip
# Attributes of dates and times.
_ATTRIBUTES = frozenset({"year", "month", "day", "hour", "minute", "second"})
# Functions of one value that change nothing.
_FUNCTIONS: Mapping[Any, str] = {
    len: "len", abs: "abs", bool: "bool", int: "int", float: "float", str: "str",
    math.isnan: "isnan", math.isinf: "isinf", math.isfinite: "isfinite", math.floor: "floor",
    math.ceil: "ceil", math.sqrt: "sqrt", math.log: "log", ord: "ord",
}  # fmt: skip
_REGEX: Mapping[str, str] = {
    "search": "re_search", "match": "re_match", "fullmatch": "re_fullmatch", "findall": "findall",
}  # fmt: skip
# Operations that cannot raise, whatever their arguments' values (which may).
_SAFE = frozenset({"eq", "ne", "not", "bool", "is_none", "and", "or", "if", "isinstance", "is"})
# Operations that take an answer of numpy's (`np.True_`) as they take Python's.
_LIKE_BOOL = frozenset({"not", "and", "or", "if", "then", "any", "all", "bool", "is_none"})
_PASSING = frozenset({"and", "or", "if", "then"})  # those that may give it on
# Operations that give a list or a tuple, which numpy compares element by element.
_LISTS = frozenset({
    "split", "rsplit", "splitlines", "partition", "rpartition", "findall", "getitem", "getslice",
    "dict_get",
})  # fmt: skip
_MUTABLE = (list, set, dict)
_ROW_METHODS = frozenset({"get", "keys", "asDict"})


@dataclass(frozen=True)
class Lifted:
    """What a function says, and the columns that it may read when it is called.

    It may read more than the tree does: what it never uses isn't there.
    """

    tree: Expr
    reads: frozenset[str]


@dataclass(frozen=True)
class NotLifted:
    """Why a function runs as Python: the line, what stands there, and a column that is missing."""

    why: str
    line: int | None = None
    missing: str | None = None

    def __str__(self) -> str:
        return self.why if self.line is None else f"line {self.line}: {self.why}"


class PatternSyntaxError(Exception):
    """A constant regex doesn't compile."""

    def __init__(self, pattern: str, error: re.error) -> None:
        super().__init__(f"the pattern {pattern!r} doesn't compile: {error}")
        self.pattern, self.error = pattern, error


def lift(
    f: Callable[..., Any],
    resources: Mapping[str, Any],
    columns: Sequence[str],
    scalars: Container[str] = (),
) -> Lifted | NotLifted:
    """Return what a row function says as a tree over columns, or why it can't be one.

    Parameters
    ----------
    f
        A function of a row.
    resources
        Its further keyword arguments.
    columns
        The table's columns.
    scalars
        Those that hold text, whole numbers, floats or booleans: numpy's scalars compare with them
        as Python's do.

    Raises
    ------
    PatternSyntaxError
        If it uses a constant regex that doesn't compile.

    Examples
    --------
    >>> print(lift(lambda x: x.text is None or "a" in x.text.lower(), {}, ["text"]).tree)
    or(is_none(text), in('a', lower(text)))
    >>> print(lift(lambda x: print(x.text), {}, ["text"]))
    line 1: it calls print
    """
    if not isinstance(f, FunctionType):
        return NotLifted(f"it is a {type(f).__name__}, not a plain function")
    lifter = _Lifter(frozenset(columns), scalars)
    try:
        tree = lifter.result(f, [_ROW], resources)
        return Lifted(tree, frozenset(lifter.reads))
    except _CannotError as found:
        return NotLifted(found.why, getattr(found.node, "lineno", None), found.missing)
    except RecursionError:
        return NotLifted("it is nested too deeply")
    except PatternSyntaxError:
        raise
    except BaseException as error:  # of a constant that refuses to be compared, or to be true
        if interrupts(error):
            raise
        return NotLifted(f"its constants raise {type(error).__name__} when they are worked with")


class _CannotError(Exception):
    """Something that isn't lifted."""

    def __init__(self, node: ast.AST | None, why: str, missing: str | None = None) -> None:
        super().__init__(why)
        self.node, self.why, self.missing = node, why, missing


class _Row:
    """Stands for the row itself."""


_ROW = _Row()


@dataclass(frozen=True)
class _Items:
    """A tuple, list or generator whose elements are known one by one; a generator is lazy."""

    values: tuple[Any, ...]
    lazy: bool = False


@dataclass(frozen=True)
class _Thing:
    """What is no constant: it may be called, read from or gone through, not computed with."""

    value: Any


@dataclass(frozen=True)
class _Numpy:
    """A scalar of numpy, or a collection that has some: it may be compared with."""

    value: Any
    compared: Const


_Value = Any  # Expr | _Row | _Items | _Thing | _Numpy
_Names = dict[str, Any]


@dataclass(frozen=True)
class _Scope:
    """A function's names: locals first, then what it closes over, globals, builtins."""

    f: FunctionType
    local: _Names

    def bind(self, **names: Any) -> _Scope:
        return _Scope(self.f, {**self.local, **names})

    def forget(self, maybe: _Scope) -> None:
        """Leave names without a value that were bound where it isn't sure to be evaluated."""
        for name, value in maybe.local.items():
            if self.local.get(name) is not value:
                self.local.pop(name, None)

    def look_up(self, node: ast.Name) -> _Value:
        name = node.id
        if name in self.local:
            return self.local[name]
        if name in self.f.__code__.co_varnames + self.f.__code__.co_cellvars:
            raise _CannotError(node, f"{name!r} may have no value here")
        if name in self.f.__code__.co_freevars:
            at = self.f.__code__.co_freevars.index(name)
            try:
                return _taken(self.f.__closure__[at].cell_contents)  # type: ignore[index]
            except ValueError:
                raise _CannotError(node, f"{name!r} has no value yet") from None
        for names in (self.f.__globals__, vars(builtins)):
            if name in names:
                return _taken(names[name])
        raise _CannotError(node, f"the name {name!r} is not defined")


def _taken(value: Any) -> Const | _Numpy | _Thing:
    """Return a value of the user's: a constant if it means the same to every tier."""
    if is_constant(value):
        return Const(value)
    try:
        return _Numpy(value, Const(as_compared(value)))
    except (ValueError, TypeError):
        return _Thing(value)


def _held(value: _Value) -> Any:
    """Return the value that a part of the source has before any row is seen, or a row's mark."""
    return value.value if isinstance(value, Const | _Thing | _Numpy) else _ROW


class _Lifter:
    def __init__(self, columns: frozenset[str], scalars: Container[str]) -> None:
        self.columns, self.scalars = columns, scalars
        self.by_numpy: set[Expr] = set()  # comparisons that give `np.True_`
        self.nodes = 0
        self.active: list[Any] = []
        self.reads: set[str] = set()

    # Functions

    def result(self, f: FunctionType, args: Sequence[Any], keywords: Mapping[str, Any]) -> Expr:
        """Return the value of calling a function of the user's."""
        if f.__code__ in self.active:
            raise _CannotError(None, f"{f.__name__!r} calls itself")
        try:
            node = function_node(f)
        except SourceError as error:
            raise _CannotError(None, str(error)) from None
        scope = _Scope(f, self.arguments(f, node, args, keywords))
        self.active.append(f.__code__)
        try:
            if isinstance(node, ast.Lambda):
                return self.expr(node.body, scope)
            if isinstance(node, ast.AsyncFunctionDef):
                raise _CannotError(node, "it is a coroutine")
            if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in ast.walk(node)):
                raise _CannotError(node, "it is a generator")
            return self.block(list(node.body), scope, lambda _: Const(None))
        finally:
            self.active.pop()

    def arguments(
        self, f: FunctionType, node: Any, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> _Names:
        given = node.args
        if given.vararg or given.kwarg:
            raise _CannotError(node, "it takes *args or **kwargs")
        positional = [a.arg for a in (*given.posonlyargs, *given.args)]
        names = dict(zip(positional, args, strict=False))
        known = {*positional, *(a.arg for a in given.kwonlyargs)}
        if len(args) > len(positional) or set(keywords) - known or set(keywords) & set(names):
            raise _CannotError(node, f"{f.__name__!r} is called with arguments it doesn't take")
        names |= {k: v if isinstance(v, _VALUES) else _taken(v) for k, v in keywords.items()}
        defaults = zip(reversed(positional), reversed(f.__defaults__ or ()), strict=False)
        for name, value in [*defaults, *(f.__kwdefaults__ or {}).items()]:
            names.setdefault(name, _taken(value))
        missing = known - names.keys()
        if missing:
            raise _CannotError(node, f"{f.__name__!r} is called without {sorted(missing)[0]!r}")
        return names

    # Statements. `after` gives the function's value where control goes on behind the block.

    def block(self, body: list[ast.stmt], scope: _Scope, after: Callable[[_Scope], Expr]) -> Expr:
        scope = scope.bind()  # what `:=` binds here is not bound in another branch
        for at, node in enumerate(body):
            rest = body[at + 1 :]
            if isinstance(node, ast.Return):
                return Const(None) if node.value is None else self.expr(node.value, scope)
            if isinstance(node, ast.If):
                merged = self.merged(node, scope)
                if merged is not None:
                    scope, effect = merged
                    if effect is not None:
                        return _then(effect, self.block(rest, scope, after))
                    continue
                return self.branches(node, scope, self.behind(rest, after))
            if isinstance(node, ast.Raise):
                return Call("raise", ())
            if isinstance(node, ast.Assert):
                test = self.expr(node.test, scope)
                return self.made("if", test, self.block(rest, scope, after), Call("raise", ()))
            if isinstance(node, ast.For):
                return self.loop(node, scope, self.behind(rest, after))
            scope, effect = self.step(node, scope)
            if effect is not None:
                return _then(effect, self.block(rest, scope, after))
        return after(scope)

    def behind(
        self, rest: list[ast.stmt], after: Callable[[_Scope], Expr]
    ) -> Callable[[_Scope], Expr]:
        return lambda scope: self.block(rest, scope, after)

    def step(self, node: ast.stmt, scope: _Scope) -> tuple[_Scope, Expr | None]:
        """Take a statement that only binds names; return what may raise in it, too."""
        if isinstance(node, ast.Pass):
            return scope, None
        if isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Constant):
                return scope, None
            return scope, _raising(self.expr(node.value, scope))
        if isinstance(node, ast.Import):
            return scope.bind(**dict(self.imported(a, node) for a in node.names)), None
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            _, module = self.imported(ast.alias(node.module, "_"), node)
            names = {
                a.asname or a.name: self.attribute_of(module, a.name, node) for a in node.names
            }
            return scope.bind(**names), None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            value = self.value(node.value, scope)
            return scope.bind(**{node.target.id: value}), _raising(value)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            old = self.expr(ast.copy_location(ast.Name(node.target.id), node), scope)
            if isinstance(old, Const) and isinstance(old.value, _MUTABLE):
                raise _CannotError(node, f"it changes a {type(old.value).__name__} in place")
            value = self.binary(node.op, old, self.expr(node.value, scope), node)
            return scope.bind(**{node.target.id: value}), _raising(value)
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            return self.assigned(node.targets[0], self.value(node.value, scope), scope)
        raise _CannotError(node, _statement(node))

    def assigned(
        self, target: ast.expr, value: _Value, scope: _Scope
    ) -> tuple[_Scope, Expr | None]:
        if isinstance(target, ast.Name):
            return scope.bind(**{target.id: _kept(value, target)}), _raising(value)
        names = getattr(target, "elts", None)
        values = self.items(value)
        if names is None or values is None or not all(isinstance(n, ast.Name) for n in names):
            raise _CannotError(target, "it assigns to something that isn't a local name")
        if len(names) != len(values):
            raise _CannotError(target, "it unpacks another number of values")
        return scope.bind(**{n.id: v for n, v in zip(names, values, strict=True)}), _raising(value)

    def imported(self, alias: ast.alias, node: ast.stmt) -> tuple[str, _Thing]:
        name = alias.name
        if name.partition(".")[0] not in {"re", "math", "string", "datetime", "decimal"}:
            raise _CannotError(node, f"it imports {name}")
        return alias.asname or name.partition(".")[0], _Thing(importlib.import_module(name))

    def branches(self, node: ast.If, scope: _Scope, after: Callable[[_Scope], Expr]) -> Expr:
        test = self.expr(node.test, scope)
        if isinstance(test, Const):
            return self.block(node.body if test.value else node.orelse, scope, after)
        return self.made(
            "if", test, self.block(node.body, scope, after), self.block(node.orelse, scope, after)
        )

    def merged(self, node: ast.If, scope: _Scope) -> tuple[_Scope, Expr | None] | None:
        """Take an `if` whose branches only bind names: each name gets one conditional value."""
        bodies = (node.body, node.orelse)
        if not all(isinstance(s, _BINDING) for body in bodies for s in body):
            return None
        test = self.expr(node.test, scope)
        scopes, effects = [], []
        for body in bodies:
            inner, effect = scope.bind(), None
            for s in body:
                inner, raised = self.step(s, inner)
                effect = raised if effect is None else _then(effect, raised) if raised else effect
            scopes.append(inner.local)
            effects.append(effect)
        names: _Names = {}
        for name in scopes[0].keys() | scopes[1].keys():
            ours, other = scopes[0].get(name), scopes[1].get(name)
            if ours is other:
                names[name] = ours
            elif isinstance(ours, Expr) and isinstance(other, Expr):
                names[name] = self.made("if", test, ours, other)
            # A name that only one branch binds has no value afterwards that could be lifted.
        effect = None
        if any(e is not None for e in effects):
            effect = self.made("if", test, *(e or Const(None) for e in effects))
        elif _raising(test) is not None:
            effect = test
        return _Scope(scope.f, names), effect

    def loop(self, node: ast.For, scope: _Scope, after: Callable[[_Scope], Expr]) -> Expr:
        """Unroll a loop over constants."""
        values = self.items(self.value(node.iter, scope))
        if values is None:
            raise _CannotError(node, "it loops over something that isn't constant")
        if node.orelse:
            raise _CannotError(node, "it has a loop with an else")

        def scope_of(value: Any, outer: _Scope) -> _Scope:
            return self.assigned(node.target, value, outer)[0]

        found = self.first_hit(node, values, scope, scope_of)
        if found is not None:
            tests, result = found
            left = scope_of(values[-1], scope) if values else scope
            return self.made("if", self.made("any", *tests), result, after(left))
        if len(values) > MAX_STEPS:
            raise _CannotError(node, f"it has a loop of {len(values)} steps")

        def go(at: int, inner: _Scope) -> Expr:
            if at == len(values):
                return after(inner)
            return self.block(node.body, scope_of(values[at], inner), lambda s: go(at + 1, s))

        return go(0, scope)

    def first_hit(
        self,
        node: ast.For,
        values: Sequence[Any],
        scope: _Scope,
        scope_of: Callable[[Any, _Scope], _Scope],
    ) -> tuple[list[Expr], Expr] | None:
        """Take `for w in words: if <test>: return <constant>`: one `any`, however many words."""
        match node.body:
            case [ast.If(test=test, body=[ast.Return(value=ast.Constant() as value)], orelse=[])]:
                if _binds(test):
                    return None
                tests = [self.expr(test, scope_of(v, scope)) for v in values]
                return tests, self.expr(value, scope)
        return None

    # Expressions

    def expr(self, node: ast.expr, scope: _Scope) -> Expr:
        value = self.value(node, scope)
        if isinstance(value, _Row):
            raise _CannotError(node, "it uses the whole row")
        if isinstance(value, _Items):
            if all(isinstance(v, Const) for v in value.values) and not value.lazy:
                return Const(tuple(v.value for v in value.values))
            raise _CannotError(node, "it makes a collection of values that aren't constant")
        if isinstance(value, _Thing | _Numpy):
            raise _CannotError(node, f"it computes with {_shown(value.value)}")
        return value  # type: ignore[no-any-return]

    def value(self, node: ast.expr, scope: _Scope) -> _Value:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _CannotError(node, f"it says more than {MAX_NODES:,} things")
        visit = _VISIT.get(type(node))
        if visit is None:
            raise _CannotError(node, _expression(node))
        return visit(self, node, scope)

    def column(self, name: str) -> Column:
        self.reads.add(name)
        return Column(name)

    def made(self, op: str, *args: Expr) -> Expr:
        simple = _SIMPLER[op](args) if op in _SIMPLER else None
        if self.by_numpy and op not in _LIKE_BOOL and any(map(self.is_numpys, args)):
            raise _CannotError(None, "it computes with what numpy answered")
        return simple if simple is not None else Call(op, args)

    def is_numpys(self, value: Expr) -> bool:
        """Tell whether a value may be numpy's answer to a comparison."""
        left = [value]
        while left:
            node = left.pop()
            if node in self.by_numpy:
                return True
            if isinstance(node, Call) and node.op in _PASSING:
                left += node.args
        return False

    def constant_node(self, node: ast.Constant, _: _Scope) -> Const:
        return Const(node.value)

    def name(self, node: ast.Name, scope: _Scope) -> _Value:
        return scope.look_up(node)

    def attribute(self, node: ast.Attribute, scope: _Scope) -> _Value:
        base = self.value(node.value, scope)
        if isinstance(base, _Row):
            if node.attr in self.columns:
                return self.column(node.attr)
            missing = None if node.attr in _ROW_METHODS else node.attr
            raise _CannotError(node, f"it reads x.{node.attr}, which is no column", missing)
        if isinstance(base, Const | _Thing | _Numpy):
            return self.attribute_of(base, node.attr, node)
        if isinstance(base, Expr) and node.attr in _ATTRIBUTES:
            return self.made(node.attr, base)
        raise _CannotError(node, f"it reads the attribute {node.attr!r} of a value")

    def attribute_of(self, base: Const | _Thing | _Numpy, name: str, node: ast.AST) -> _Value:
        if type(base.value) in _OPEN and _is_kept(base.value, name):
            return _taken(getattr(base.value, name))
        raise _CannotError(node, f"it reads the attribute {name!r} of {_shown(base.value)}")

    def subscript(self, node: ast.Subscript, scope: _Scope) -> _Value:
        base = self.value(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            ends = [
                Const(None) if e is None else self.expr(e, scope)
                for e in (node.slice.lower, node.slice.upper, node.slice.step)
            ]
            if not isinstance(base, Expr) or not all(isinstance(e, Const) for e in ends):
                raise _CannotError(node, "it slices by values that aren't constant")
            return self.folded("getslice", operator.getitem, base,
                               Const(slice(*(e.value for e in ends)))  # type: ignore[attr-defined]
                               )  # fmt: skip
        key = self.expr(node.slice, scope)
        if isinstance(base, _Row):
            if isinstance(key, Const) and isinstance(key.value, str) and key.value in self.columns:
                return self.column(key.value)
            raise _CannotError(
                node, "it reads a column by a name that isn't constant or isn't there"
            )
        if isinstance(base, _Items):
            raise _CannotError(node, "it takes an item of a collection that isn't constant")
        taken = isinstance(base, _Thing | _Numpy) and type(base.value) in (list, tuple, dict)
        if taken and isinstance(key, Const) and _is_in(key.value, base.value):
            return _taken(base.value[key.value])
        if not isinstance(base, Expr):
            raise _CannotError(node, f"it takes an item of {_shown(_held(base))}")
        return self.folded("getitem", operator.getitem, base, key)

    def folded(self, op: str, run: Callable[..., Any], *args: Expr) -> Expr:
        """Return an operation, done now if its arguments are constant."""
        if all(isinstance(a, Const) for a in args):
            try:
                result = run(*(a.value for a in args))  # type: ignore[attr-defined]
            except Exception:
                return Call(op, args)  # raises on every row that gets there
            if is_constant(result):
                return Const(result)
        return self.made(op, *args)

    def boolean(self, node: ast.BoolOp, scope: _Scope) -> Expr:
        op = "and" if isinstance(node.op, ast.And) else "or"
        first = self.expr(node.values[0], scope)
        maybe = scope.bind()
        values = [first, *(self.expr(v, maybe) for v in node.values[1:])]
        scope.forget(maybe)
        return self.made(op, *values)

    def unary(self, node: ast.UnaryOp, scope: _Scope) -> _Value:
        op = _UNARY.get(type(node.op))
        if op is None:
            raise _CannotError(node, "it uses the operator ~")
        value = self.value(node.operand, scope)
        if isinstance(value, _Numpy) and type(value.value) in _FOLDED:
            return self.computed(_OPERATORS[op], node, value.value)
        return self.folded(op, _OPERATORS[op], self.operand(value, node))

    def computed(self, run: Callable[..., Any], node: ast.AST, *values: Any) -> _Value:
        """Return what is computed of values that no row decides, as Python computes it."""
        try:
            with warnings.catch_warnings(action="ignore"):
                return _taken(run(*values))
        except Exception as error:
            raise _CannotError(node, f"it computes with constants, which fails: {error}") from None

    def binary_node(self, node: ast.BinOp, scope: _Scope) -> _Value:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        known = isinstance(left, _KNOWN) and isinstance(right, _KNOWN)
        of_others = {type(left.value), type(right.value)} & _FOLDED if known else ()
        if of_others and type(node.op) in _BINARY:
            return self.computed(_OPERATORS[_BINARY[type(node.op)]], node, left.value, right.value)
        return self.binary(node.op, self.operand(left, node), self.operand(right, node), node)

    def binary(self, op: ast.operator, left: Expr, right: Expr, node: ast.AST) -> Expr:
        name = _BINARY.get(type(op))
        if name is None:
            raise _CannotError(node, f"it uses the operator {type(op).__name__}")
        return self.folded(name, _OPERATORS[name], left, right)

    def compare(self, node: ast.Compare, scope: _Scope) -> Expr:
        operands = [node.left, *node.comparators]
        values = [self.value(o, scope) for o in operands[:2]]
        maybe = scope.bind()
        values += [self.value(o, maybe) for o in operands[2:]]
        scope.forget(maybe)
        pairs = itertools.pairwise(values)
        steps = [self.compared(op, *pair, node) for op, pair in zip(node.ops, pairs, strict=True)]
        return steps[0] if len(steps) == 1 else self.made("and", *steps)

    def compared(self, op: ast.cmpop, left: _Value, right: _Value, node: ast.AST) -> Expr:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, _Items):
            right = _Items(right.values)  # it is looked through once, lazy or not
        if isinstance(left, _Numpy) or isinstance(right, _Numpy):
            return self.compared_by_numpy(op, left, right, node)
        left, right = (self.plain(v, node) for v in (left, right))
        if isinstance(op, ast.Is | ast.IsNot):
            found = self.identity(left, right, node)
            return self.made("not", found) if isinstance(op, ast.IsNot) else found
        if isinstance(op, ast.NotIn):
            return self.made("not", self.folded("in", _OPERATORS["in"], left, right))
        name = _COMPARE[type(op)]
        return self.folded(name, _OPERATORS[name], left, right)

    def compared_by_numpy(self, op: ast.cmpop, left: _Value, right: _Value, node: ast.AST) -> Expr:
        """Take a comparison with a numpy scalar as one with Python's own value, where it is that.

        It is with text, whole numbers, floats, booleans and null, which columns of such types
        and most operations give. Lists are compared element by element.
        """
        given = [v.value for v in (left, right) if isinstance(v, _Numpy)]
        inside = isinstance(op, ast.In | ast.NotIn)
        constant = isinstance(left, _KNOWN) and isinstance(right, _KNOWN)
        if isinstance(op, ast.Is | ast.IsNot) or (
            not inside and (constant or any(isinstance(v, _COLLECTIONS) for v in given))
        ):
            raise _CannotError(node, f"it compares with {_shown(given[0])}")
        sides = [v.compared if isinstance(v, _Numpy) else self.plain(v, node)
                 for v in (left, right)]  # fmt: skip
        for below in (n for side in sides for n in side.walk()):
            if isinstance(below, Column) and below.name not in self.scalars:
                why = f"it compares {below.name!r}, which isn't text, a number or a boolean,"
                raise _CannotError(node, f"{why} with a value of numpy's")
            if isinstance(below, Const) and not _is_flat(below.value):
                raise _CannotError(node, f"it compares with {_shown(given[0])}")
            if isinstance(below, Call) and below.op in _LISTS:
                raise _CannotError(node, "it compares what may be a list with a value of numpy's")
        found = self.compared(op, sides[0], sides[1], node)
        if not inside:
            self.by_numpy.add(found)
        return found

    def operand(self, value: _Value, node: ast.AST) -> Expr:
        """Return a value to compute with."""
        if isinstance(value, _Row):
            raise _CannotError(node, "it uses the whole row")
        return self.plain(value, node)

    def plain(self, value: _Value, node: ast.AST) -> Expr:
        if isinstance(value, _Thing | _Numpy):
            raise _CannotError(node, f"it computes with {_shown(value.value)}")
        known = isinstance(value, _Items) and not value.lazy
        if known and all(isinstance(v, Const) for v in value.values):
            return Const(tuple(v.value for v in value.values))
        if not isinstance(value, Expr):
            raise _CannotError(
                node, "it compares the whole row, or a collection that isn't constant"
            )
        return value

    def identity(self, left: Expr, right: Expr, node: ast.AST) -> Expr:
        if isinstance(left, Const):
            left, right = right, left
        if not isinstance(right, Const) or not isinstance(right.value, bool | type(None)):
            raise _CannotError(node, "it uses `is` with something other than None, True or False")
        if isinstance(left, Const):
            return Const(left.value is right.value)
        if right.value is None:
            return self.made("is_none", left)
        return self.made("is", left, right)

    def conditional(self, node: ast.IfExp, scope: _Scope) -> Expr:
        test = self.expr(node.test, scope)
        if isinstance(test, Const):
            return self.expr(node.body if test.value else node.orelse, scope)
        scopes = scope.bind(), scope.bind()
        made = self.made("if", test, self.expr(node.body, scopes[0]),
                         self.expr(node.orelse, scopes[1]))  # fmt: skip
        for maybe in scopes:
            scope.forget(maybe)
        return made

    def walrus(self, node: ast.NamedExpr, scope: _Scope) -> _Value:
        value = _kept(self.value(node.value, scope), node)
        scope.local[node.target.id] = value
        return value

    def display(self, node: ast.Tuple | ast.List | ast.Set, scope: _Scope) -> _Value:
        if any(isinstance(e, ast.Starred) for e in node.elts):
            raise _CannotError(node, "it unpacks a collection")
        values = [self.value(e, scope) for e in node.elts]
        if all(isinstance(v, Const) for v in values):
            kinds: Mapping[type, Callable[[Iterable[Any]], Any]] = {
                ast.Tuple: tuple, ast.List: list, ast.Set: frozenset,
            }  # fmt: skip
            return _folded_call(kinds[type(node)], [Const([v.value for v in values])], node)
        if isinstance(node, ast.Set):
            raise _CannotError(node, "it makes a set of values that aren't constant")
        return _Items(tuple(values))

    def comprehension(self, node: ast.GeneratorExp | ast.ListComp, scope: _Scope) -> _Value:
        """Unroll a comprehension over constants."""
        if len(node.generators) != 1 or node.generators[0].is_async:
            raise _CannotError(node, "it has a comprehension over more than one thing")
        over = node.generators[0]
        values = self.items(self.value(over.iter, scope))
        if values is None:
            raise _CannotError(node, "it has a comprehension over something that isn't constant")
        if _binds(node):
            raise _CannotError(node, "it has a comprehension that binds a name with :=")
        made = []
        for value in values:
            inner = self.assigned(over.target, value, scope)[0]
            tests = [self.expr(t, inner) for t in over.ifs]
            if not all(isinstance(t, Const) for t in tests):
                raise _CannotError(node, "it has a comprehension with a condition on the row")
            if all(t.value for t in tests):  # type: ignore[attr-defined]
                made.append(self.value(node.elt, inner))
        if isinstance(node, ast.ListComp) and all(isinstance(v, Const) for v in made):
            return Const([v.value for v in made])
        return _Items(tuple(made), isinstance(node, ast.GeneratorExp))

    def items(self, value: _Value) -> tuple[Any, ...] | None:
        """Return a constant collection's elements, or None if it isn't one."""
        if isinstance(value, _Items):
            return value.values
        found = _held(value)
        if type(found) in (list, tuple, set, frozenset, dict, str, range):
            return tuple(map(_taken, found))
        return None

    # Calls

    def call(self, node: ast.Call, scope: _Scope) -> _Value:
        if any(isinstance(a, ast.Starred) for a in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            raise _CannotError(node, "it calls a function with * or **")
        of = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        base = self.value(of, scope)
        args = [self.value(a, scope) for a in node.args]
        keywords = {str(k.arg): self.value(k.value, scope) for k in node.keywords}
        target: Any = base
        if isinstance(node.func, ast.Attribute):
            if not (isinstance(base, _Thing) and isinstance(base.value, ModuleType | type)):
                return self.method(base, node.func.attr, args, keywords, node)
            target = self.attribute_of(base, node.func.attr, node)
        if not isinstance(target, _Thing):
            raise _CannotError(node, "it calls something that isn't a function")
        return self.function(target.value, args, keywords, node)

    def method(
        self, base: _Value, name: str, args: list[Any], keywords: _Names, node: ast.Call
    ) -> _Value:
        if isinstance(base, _Row):
            if name == "get" and args and isinstance(args[0], Const) and "get" not in self.columns:
                found = isinstance(args[0].value, str) and args[0].value in self.columns
                default = args[1] if len(args) > 1 else Const(None)
                return self.column(args[0].value) if found else default
            raise _CannotError(node, f"it calls the row's {name}()")
        if isinstance(base, _Items):
            raise _CannotError(node, f"it calls {name}() of a collection that isn't constant")
        if isinstance(base, _Thing | _Numpy):
            if type(base.value) is dict and name in {"keys", "values", "items"} and not args:
                return _taken(tuple(getattr(base.value, name)()))
            raise _CannotError(node, f"it calls {name}() of {_shown(base.value)}")
        if isinstance(base, Const) and isinstance(base.value, re.Pattern):
            if name in _REGEX and len(args) == 1 and not keywords:
                return self.regex(name, base.value, args[0], node)
            raise _CannotError(node, f"it calls {name}() of a pattern")
        values = [self.plain(a, node) for a in args]
        if isinstance(base, Const):
            return self.constant_method(base, name, values, keywords, node)
        if name not in METHODS or len(args) not in METHODS[name] or keywords:
            raise _CannotError(node, f"it calls the method {name}()")
        return self.made(name, base, *values)

    def constant_method(
        self, base: Const, name: str, args: list[Expr], keywords: _Names, node: ast.Call
    ) -> Expr:
        if name == "get" and isinstance(base.value, dict) and len(args) in (1, 2) and not keywords:
            return self.folded("dict_get", dict.get, base, *args)
        if (
            isinstance(base.value, str | bytes | dict | tuple | frozenset)
            and not (isinstance(base.value, dict) and name not in {"keys", "values", "items"})
            and all(isinstance(a, Const) for a in args)
            and not keywords
            and name != "format"
        ):
            try:
                made = getattr(base.value, name)(*(a.value for a in args))  # type: ignore[attr-defined]
            except Exception as error:
                raise _CannotError(node, f"{name}() of a constant fails: {error}") from None
            made = made if is_constant(made) else tuple(made)
            if not is_constant(made):
                raise _CannotError(node, f"it calls {name}() of {_shown(base.value)}")
            return Const(made)
        known = name in METHODS and len(args) in METHODS[name] and not keywords
        if isinstance(base.value, str) and known:
            return self.made(name, base, *args)
        raise _CannotError(node, f"it calls {name}() of {_shown(base.value)}")

    def function(self, f: Any, args: list[Any], keywords: _Names, node: ast.Call) -> _Value:
        if type(f) is FunctionType and f not in _RE_FUNCTIONS and _is_users(f):
            return self.helper(f, args, keywords, node)
        if _hashable(f) and f in _RE_FUNCTIONS:
            return self.re_function(_RE_FUNCTIONS[f], args, keywords, node)
        if keywords:
            raise _CannotError(node, f"it calls {_called(f)} with keywords")
        if _is_one(f, any, all, sum) and len(args) == 1:
            return self.folded_over(f, args[0], node)
        if _is_one(f, min, max, isinstance, getattr) and len(args) == 2:  # noqa: PLR2004
            return self.of_two(f, args[0], args[1], node)
        if _is_one(f, tuple, list, set, frozenset, sorted) and len(args) == 1:
            values = self.items(args[0])
            if values is not None and all(isinstance(v, Const) for v in values):
                return _folded_call(f, [Const([v.value for v in values])], node)
        if _hashable(f) and f in _FUNCTIONS and len(args) == 1:
            return self.folded(_FUNCTIONS[f], f, self.plain(args[0], node))
        if _is_one(f, dt.date, dt.datetime, dt.timedelta, Decimal, range) and all(
            isinstance(a, Const) for a in args
        ):
            return _folded_call(f, args, node)
        raise _CannotError(node, _call_problem(f))

    def helper(self, f: FunctionType, args: list[Any], keywords: _Names, node: ast.Call) -> Expr:
        """Return the value of a function of the user's that the function calls."""
        given = [_kept(value, node) for value in (*args, *keywords.values())]
        made = self.result(f, args, keywords)
        for value in reversed(given):  # arguments are made before the function is called
            raising = _raising(value)
            made = made if raising is None else _then(raising, made)
        return made

    def of_two(self, f: Any, first: _Value, second: _Value, node: ast.Call) -> _Value:
        if f in (min, max):
            a, b = self.plain(first, node), self.plain(second, node)
            # Python asks b < a (or b > a) once it has both: the same, in the order they are read.
            return self.made("if", self.made("gt" if f is min else "lt", a, b), b, a)
        if f is isinstance:
            return self.made("isinstance", self.plain(first, node), _types(second, node))
        known = isinstance(first, _Row) and isinstance(second, Const)
        if f is getattr and known and second.value in self.columns:
            return self.column(str(second.value))
        raise _CannotError(node, _call_problem(f))

    def folded_over(self, f: Any, over: _Value, node: ast.Call) -> Expr:
        values = self.items(over)
        if values is None:
            raise _CannotError(node, f"it takes {f.__name__}() of something that isn't constant")
        tests = [self.plain(v, node) for v in values]
        if f is sum:
            total: Expr = Const(0)
            for test in tests:
                total = self.folded("add", operator.add, total, test)
            return total
        found = self.made(f.__name__, *tests)
        if isinstance(over, _Items) and not over.lazy:  # a list: all elements are made first
            for test in reversed(tests):
                if _raising(test) is not None:
                    found = _then(test, found)
        return found

    def re_function(self, name: str, args: list[Any], keywords: _Names, node: ast.Call) -> Expr:
        given = dict(zip(("pattern", "string", "flags"), args, strict=False)) | keywords
        if name == "compile":
            given["flags"] = given.get("flags", given.pop("string", Const(0)))
        if not set(given) <= {"pattern", "string", "flags"} or "pattern" not in given:
            raise _CannotError(node, f"it calls re.{name} with other arguments")
        pattern, flags = given["pattern"], given.get("flags", Const(0))
        if type(_held(flags)) is re.RegexFlag:
            flags = Const(int(_held(flags)))
        if not isinstance(pattern, Const) or not isinstance(flags, Const):
            raise _CannotError(node, f"it calls re.{name} with a pattern that isn't constant")
        compiled = self.compiled(pattern.value, flags.value)
        if name == "compile":
            return Const(compiled)
        if "string" not in given:
            raise _CannotError(node, f"it calls re.{name} without a string")
        return self.regex(name, compiled, given["string"], node)

    def compiled(self, pattern: Any, flags: Any) -> re.Pattern[Any]:
        try:
            return re.compile(pattern, flags)
        except re.error as error:
            raise PatternSyntaxError(str(pattern), error) from None
        except (TypeError, ValueError) as error:
            raise _CannotError(None, f"its pattern can't be compiled: {error}") from None

    def regex(self, name: str, pattern: re.Pattern[Any], text: _Value, node: ast.Call) -> Expr:
        text = self.plain(text, node)
        if isinstance(text, Const):
            return self.folded_search(name, pattern, text)
        return self.made(_REGEX[name], Const(pattern), text)

    def folded_search(self, name: str, pattern: re.Pattern[Any], text: Const) -> Expr:
        try:
            found = getattr(pattern, name)(text.value)
        except TypeError:
            return Call(_REGEX[name], (Const(pattern), text))  # raises where control gets there
        if found is None or name == "findall":
            return Const(found)
        return Call(_REGEX[name], (Const(pattern), text))  # a match, which is no constant


# How a node is read. A lookup here is what decides whether Python's syntax is lifted.
_VISIT: Mapping[type[ast.AST], Callable[[_Lifter, Any, _Scope], _Value]] = {
    ast.Constant: _Lifter.constant_node,
    ast.Name: _Lifter.name,
    ast.Attribute: _Lifter.attribute,
    ast.Subscript: _Lifter.subscript,
    ast.BoolOp: _Lifter.boolean,
    ast.UnaryOp: _Lifter.unary,
    ast.BinOp: _Lifter.binary_node,
    ast.Compare: _Lifter.compare,
    ast.IfExp: _Lifter.conditional,
    ast.NamedExpr: _Lifter.walrus,
    ast.Tuple: _Lifter.display,
    ast.List: _Lifter.display,
    ast.Set: _Lifter.display,
    ast.GeneratorExp: _Lifter.comprehension,
    ast.ListComp: _Lifter.comprehension,
    ast.Call: _Lifter.call,
}
_BINDING = (ast.Pass, ast.Assign, ast.AnnAssign, ast.AugAssign)
_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "bitand": operator.and_,
    "bitor": operator.or_, "bitxor": operator.xor, "not": operator.not_, "neg": operator.neg,
    "pos": operator.pos, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt,
    "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "in": lambda item, over: item in over,
}  # fmt: skip
_RE_FUNCTIONS: Mapping[Any, str] = {
    getattr(re, name): name for name in ("compile", "search", "match", "fullmatch", "findall")
}


def _then(first: Expr, value: Expr) -> Expr:
    """Return a value that raises where what came before it raises."""
    return Call("then", (first, value))


def _raising(value: _Value) -> Expr | None:
    """Return what of a value may raise when it is made, or None."""
    if isinstance(value, _Items):
        raising = [v for v in value.values if _raising(v) is not None] if not value.lazy else []
        found: Expr | None = None
        for v in raising:
            found = v if found is None else _then(found, v)
        return found
    if not isinstance(value, Call):
        return None
    if value.op in _SAFE and all(_raising(a) is None for a in value.args):
        return None
    return value


def _simpler_if(args: tuple[Expr, ...]) -> Expr | None:
    """Keep long chains of early returns flat: they are an `any` or an `all`."""
    test, then, other = args
    if then == _TRUE and isinstance(other, Call) and other.op == "any":
        return Call("any", (*_any_of(test), *other.args))
    if then == _TRUE and other == _FALSE:
        return Call("any", _any_of(test))
    return None


def _simpler_any(args: tuple[Expr, ...]) -> Expr | None:
    return _FALSE if not args else None


def _simpler_all(args: tuple[Expr, ...]) -> Expr | None:
    return _TRUE if not args else None


def _any_of(test: Expr) -> tuple[Expr, ...]:
    return test.args if isinstance(test, Call) and test.op == "any" else (test,)


_TRUE, _FALSE = Const(True), Const(False)
_VALUES = (Expr, _Items, _Row, _Thing, _Numpy)
_COLLECTIONS = (list, tuple, set, frozenset, dict)
_OPEN = (ModuleType, type, ABCMeta, EnumType)
_BOUND = (
    FunctionType, BuiltinFunctionType, staticmethod, classmethod, MethodDescriptorType,
    WrapperDescriptorType, ClassMethodDescriptorType,
)  # fmt: skip
_KNOWN = (Const, _Thing, _Numpy)
# Types that are no constants, but whose operators change nothing: computed before any row.
_FOLDED = SCALARS | {re.RegexFlag}
_SIMPLER: Mapping[str, Callable[[tuple[Expr, ...]], Expr | None]] = {
    "if": _simpler_if,
    "any": _simpler_any,
    "all": _simpler_all,
}


def _is_flat(value: Any) -> bool:
    """Tell whether a constant is text, a number, a boolean or null, or a collection of such."""
    parts = value if type(value) in _COLLECTIONS else (value,)
    return all(type(part) in (str, int, float, bool, type(None)) for part in parts)


def _is_one(f: Any, *known: Any) -> bool:
    return any(f is k for k in known)  # it may be of a class that says what it equals


def _is_in(key: Any, over: Any) -> bool:
    """Tell whether a collection has an item of this key."""
    try:
        over[key]
    except Exception:
        return False
    return True


def _is_kept(owner: Any, name: str) -> bool:
    """Tell whether an attribute of a module or a class is what is kept there, not computed."""
    found = inspect.getattr_static(owner, name, _ROW)
    return found is not _ROW and (type(found) in _BOUND or not hasattr(type(found), "__get__"))


def _folded_call(f: Any, args: Sequence[Const], node: ast.AST) -> Const:
    try:
        return Const(f(*(a.value for a in args)))
    except Exception as error:
        raise _CannotError(node, f"{_called(f)} of constants fails: {error}") from None


def _types(value: _Value, node: ast.AST) -> Const:
    """Return the type, or the types, that a value is asked to be of."""
    parts = value.values if isinstance(value, _Items) else (value,)
    kinds = tuple(_held(p) for p in parts)
    flat = [k for kind in kinds for k in (kind if type(kind) is tuple else (kind,))]
    if not all(type(k) in (type, ABCMeta) for k in flat):  # one that says who is of it
        raise _CannotError(node, "it asks for types that only Python can tell")
    of = kinds if isinstance(value, _Items) else kinds[0]
    return Const(of, "types:" + ",".join(str(id(k)) for k in flat))


def _is_users(f: FunctionType) -> bool:
    from engine.slicing.origin import is_own

    return (
        f.__module__ == "__main__"
        or is_own(f.__code__.co_filename)
        or (
            not f.__code__.co_filename.endswith(".py")  # a REPL, a notebook, a doctest
        )
    )


def _kept(value: _Value, node: ast.AST) -> _Value:
    """Return a value that is given a name: no generator, which is used up when it is read."""
    if isinstance(value, _Items) and value.lazy:
        raise _CannotError(node, "it keeps a generator")
    return value


def _binds(node: ast.expr) -> bool:
    return any(isinstance(n, ast.NamedExpr) for n in ast.walk(node))


def _hashable(value: Any) -> bool:
    return type(value) in (
        FunctionType,
        BuiltinFunctionType,
        type,
    )  # and of no metaclass of its own


def _called(f: Any) -> str:
    name = getattr(f, "__qualname__", None) or type(f).__name__
    module = getattr(f, "__module__", None) or getattr(type(f), "__module__", "")
    module = "" if module in ("builtins", "__main__", None) else f"{module}."
    return f"{module}{name}"


def _call_problem(f: Any) -> str:
    return f"it calls {_called(f)}{', which is random' * is_random(f)}"


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if not isinstance(value, ModuleType) else value.__name__


def _statement(node: ast.stmt) -> str:
    return _WORDS.get(type(node), f"it has a statement ({type(node).__name__})")


def _expression(node: ast.expr) -> str:
    return _WORDS.get(type(node), f"it has an expression ({type(node).__name__})")


_WORDS: Mapping[type[ast.AST], str] = {
    ast.Try: "it catches exceptions", ast.With: "it uses with", ast.While: "it has a while loop",
    ast.Global: "it changes a global",
    ast.Nonlocal: "it changes a variable of an outer function",
    ast.FunctionDef: "it defines a function", ast.ClassDef: "it defines a class",
    ast.Import: "it imports a module", ast.ImportFrom: "it imports a module",
    ast.Delete: "it deletes a name", ast.Break: "it leaves a loop", ast.Continue:
    "it goes on with a loop's next step", ast.Assign: "it assigns to more than one target",
    ast.AugAssign: "it changes something that isn't a local name", ast.For: "it has a loop",
    ast.Lambda: "it makes a function", ast.DictComp: "it makes a dict", ast.Dict: "it makes a dict",
    ast.SetComp: "it makes a set", ast.JoinedStr: "it formats text",
    ast.Starred: "it unpacks a collection", ast.Match: "it has a match statement",
}  # fmt: skip
assert sys.version_info >= (3, 11)  # code positions
