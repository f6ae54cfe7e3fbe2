"""Calls in a function's source to trees: methods, functions, and helpers of the user's own."""

from __future__ import annotations

import ast
import datetime as dt
import functools
import operator
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from engine.lift.effects import raising, then
from engine.lift.expressions import call_name, constant_call, with_matches
from engine.lift.methods import Methods
from engine.lift.patterns import RE_FUNCTIONS
from engine.lift.scope import (
    Bound,
    CannotLiftError,
    Closure,
    Generator,
    Items,
    Names,
    Scope,
    Thing,
    Value,
    WholeRow,
    as_value,
    known_value,
    lasting,
)
from engine.ops.functions import Function, known_function
from engine.ops.operations import METHODS, OPERATIONS, Op, written
from engine.slicing.expr import Const, Expr
from engine.slicing.fingerprint.chance import is_random
from engine.slicing.origin import is_own
from engine.slicing.rows import Row

_FUNCTIONS: Mapping[Any, Op] = {op.python: op for op in written("function").values()}
# What is made of constants once.
_MAKING = (dt.date, dt.datetime, dt.timedelta, dt.time, Decimal, Fraction, range, ZoneInfo)
_GETTERS = (operator.itemgetter, operator.attrgetter, operator.methodcaller)

# Functions of a collection's elements, and the operations that they are.
_OF_ITEMS: Sequence[tuple[Any, str]] = (
    (any, "any_of"), (all, "all_of"), (sum, "sum_of"), (min, "min_of"), (max, "max_of"),
    (sorted, "sorted_of"), (set, "set_of"), (frozenset, "set_of"), (list, "listed"),
)  # fmt: skip


class Calls(Methods):
    """Reads calls."""

    @abstractmethod
    def result(self, f: FunctionType, args: Sequence[Any], keywords: Mapping[str, Any]) -> Expr:
        """Return the value of calling a function of the user's."""

    @abstractmethod
    def result_within(
        self, f: Closure, args: Sequence[Any], keywords: Mapping[str, Any], node: ast.AST
    ) -> Value:
        """Return the value of calling a function that the function makes."""

    @abstractmethod
    def _through(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        """Return what a function gives that goes through a collection; None for another one."""

    def call(self, node: ast.Call, scope: Scope) -> Value:
        """Return the value of a call."""
        if any(k.arg is None for k in node.keywords):
            raise CannotLiftError(node, "it calls a function with **")
        of = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        base = self.value(of, scope)
        args = [v for a in node.args for v in self._arguments_of(a, scope)]
        keywords = {str(k.arg): self.value(k.value, scope) for k in node.keywords}
        target: Any = base
        if isinstance(node.func, ast.Attribute):
            if not (isinstance(base, Thing) and isinstance(base.value, ModuleType | type)):
                return self._method(base, node.func.attr, args, keywords, node)
            target = self._attribute_of(base, node.func.attr, node)
        return self.called(target, args, keywords, node)

    def _arguments_of(self, node: ast.expr, scope: Scope) -> Sequence[Any]:
        """Return an argument, or those that one with a star stands for."""
        if not isinstance(node, ast.Starred):
            return [self.value(node, scope)]
        values = self._items(self.value(node.value, scope))
        if values is None:
            raise CannotLiftError(node, "it calls a function with * of a row's values")
        return values

    def called(self, target: Value, args: Sequence[Any], keywords: Names, node: ast.AST) -> Value:
        """Return what something gives that is called."""
        if isinstance(target, Bound):
            return self._method(target.base, target.name, list(args), keywords, node)
        if isinstance(target, Closure):
            return self._within(target, args, keywords, node)
        if not isinstance(target, Thing):
            raise CannotLiftError(node, "it calls something that isn't a function")
        return self._function(target.value, list(args), keywords, node)

    def _function(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value:
        if type(f) in _WRAPPING and known_function(f) is None:
            return _WRAPPING[type(f)](self, f, args, keywords, node)
        if type(f) is FunctionType and f not in RE_FUNCTIONS and _is_users(f):
            return self._helper(f, args, keywords, node)
        if _hashable(f) and f in RE_FUNCTIONS:
            return self._re_function(RE_FUNCTIONS[f], args, keywords, node)
        answer = self._through(f, args, keywords, node) if _hashable(f) else None
        if answer is None:
            answer = self._of_items(f, args, keywords, node)
        if answer is None and all(isinstance(v, Const) for v in (*args, *keywords.values())):
            answer = self._of_constants(f, args, keywords, node)
        if answer is None and not keywords:
            answer = self._plain_call(f, args, node)
        return self._applied(f, args, keywords, node) if answer is None else answer

    def _plain_call(self, f: Any, args: list[Any], node: ast.AST) -> Value | None:
        """Return what a function gives that has an operation of its own; None for another one."""
        if _is_one(f, any, all, sum) and len(args) == 1:
            return self._folded_over(f, args[0], node)
        if _is_one(f, min, max):
            return self._best(f, args, node)
        if _is_one(f, isinstance, getattr) and len(args) in (2, 3):
            return self._of_two(f, args, node)
        if _is_one(f, tuple, list, set, frozenset, sorted) and len(args) == 1:
            values = self._items(args[0])
            if values is not None and all(isinstance(v, Const) for v in values):
                return constant_call(f, [Const([v.value for v in values])], node)
        if _hashable(f) and f in _FUNCTIONS and len(args) in _FUNCTIONS[f].arity:
            return self._folded(_FUNCTIONS[f], *(self._plain(a, node) for a in args))
        return None

    def _of_constants(
        self, f: Any, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value | None:
        """Return what a function of constants makes; None for another one."""
        if _is_one(f, *_MAKING):
            named = {k: v.value for k, v in keywords.items()}
            return constant_call(functools.partial(f, **named) if named else f, args, node)
        if _is_one(f, set, frozenset, list, tuple, dict) and not args and not keywords:
            return Items((), is_tuple=f is tuple) if f in (list, tuple) else Const(f())
        if _is_one(f, *_GETTERS) and not keywords:
            return Thing(f(*(a.value for a in args)))
        return None

    def _applied(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value:
        """Return what a known function gives, which runs on each value."""
        function = _text_function(f) if type(f) is MethodDescriptorType else known_function(f)
        if function is None:
            how = " with keywords" if keywords else ""
            raise CannotLiftError(node, _call_problem(f) + how)
        values = [self._whole(a, node) for a in (*args, *keywords.values())]
        if keywords:
            function = replace(function, keywords=tuple(keywords))
        if all(isinstance(v, Const) for v in values):
            answer = self._computed(function.run, node, *(v.value for v in values))  # type: ignore[attr-defined]
            if not isinstance(answer, Thing):
                return answer
        return self._operation("apply", Const(function, function.key), *values)

    def _whole(self, value: Value, node: ast.AST) -> Expr:
        """Return a value that a function goes through, if it does, before it says anything."""
        if isinstance(value, Generator):
            return self._operation("drained", value.tree)
        if isinstance(value, Thing) and _is_one(value.value, bool, int, float, str):
            return Const(value.value, f"types:{id(value.value)}")
        return self._plain(value, node)

    def _remembered(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value:
        """Return the value of a function that remembers what it answered, by its arguments."""
        tree = self._plain(self.called(Thing(f.__wrapped__), args, keywords, node), node)
        values = [self._plain(v, node) for v in (*args, *keywords.values())]
        effects = [v for v in values if raising(v) is not None]
        keys = [self._operation("hashable", v) for v in values if not isinstance(v, Const)]
        for effect in reversed([*effects, *keys]):
            tree = then(effect, tree)
        return tree

    def _partial(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value:
        before = [as_value(a) for a in f.args]
        names = {k: as_value(v) for k, v in f.keywords.items()} | keywords
        return self._function(f.func, [*before, *args], names, node)

    def _getter(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value:
        """Return what an item's getter gives of a value."""
        _, (name, *more) = f.__reduce__()[:2]
        value = args[0] if len(args) == 1 else None
        if more or keywords or not isinstance(value, Expr):
            raise CannotLiftError(node, f"it calls {call_name(type(f))} with other arguments")
        return self._operation("getitem", value, Const(name))

    def _of_items(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Expr | None:
        """Return what a function gives of the elements of a row's value; None for another call."""
        op = next((op for of, op in _OF_ITEMS if f is of), None)
        items = self._iterable(args[0]) if len(args) == 1 else None
        if op is None or items is None or isinstance(items, Const):
            return None
        if keywords and not (op in ("min_of", "max_of") and keywords.keys() == {"default"}):
            return None
        return self._operation(op, items, *(self._plain(v, node) for v in keywords.values()))

    def _helper(self, f: FunctionType, args: list[Any], keywords: Names, node: ast.AST) -> Expr:
        """Return the value of a function of the user's that the function calls."""
        values = [lasting(value, node) for value in (*args, *keywords.values())]
        tree = self.result(f, args, keywords)
        for value in reversed(values):  # Python evaluates arguments before it calls the function
            effect = raising(value)
            tree = tree if effect is None else then(effect, tree)
        return tree

    def _best(self, f: Any, args: list[Any], node: ast.AST) -> Value:
        """Return min or max of values that are known one by one."""
        values = args if len(args) > 1 else self._items(args[0]) if args else None
        if not values:
            return self._applied(f, args, {}, node)
        plain = [self._plain(v, node) for v in values]
        best, sign = plain[0], "gt" if f is min else "lt"
        for value in plain[1:]:
            # Python asks b < a (or b > a) once it has both: the same, in the order they are read.
            best = self._operation("if", self._operation(sign, best, value), value, best)
        lazy = len(args) == 1 and isinstance(args[0], Items) and args[0].lazy
        if len(plain) > 2 and not lazy:  # noqa: PLR2004 - all are evaluated before any is compared
            for value in reversed(plain):
                best = best if raising(value) is None else then(value, best)
        return best

    def _of_two(self, f: Any, args: list[Any], node: ast.AST) -> Value:
        first, second = args[:2]
        if f is isinstance and len(args) == 2:  # noqa: PLR2004
            value = with_matches(self._plain(first, node))
            return self._operation("isinstance", value, _types(second, node))
        known = isinstance(first, WholeRow) and isinstance(second, Const)
        if f is getattr and known and second.value in self.columns:
            return self._column(str(second.value))
        if f is getattr and known and len(args) > 2 and not hasattr(Row, str(second.value)):  # noqa: PLR2004
            return args[2]
        raise CannotLiftError(node, _call_problem(f))

    def _within(self, f: Closure, args: Sequence[Any], keywords: Names, node: ast.AST) -> Value:
        """Return the value of calling a function that the function makes."""
        values = [lasting(value, node) for value in (*args, *keywords.values())]
        tree = self.result_within(f, args, keywords, node)
        for value in reversed(values):
            effect = raising(value)
            if effect is not None:
                tree = then(effect, self._plain(tree, node))
        return tree

    def _folded_over(self, f: Any, over: Value, node: ast.AST) -> Expr:
        """Return `any`, `all` or `sum` of a collection whose elements are known one by one."""
        values = self._items(over)
        if values is None:
            raise CannotLiftError(node, f"it takes {f.__name__}() of something that isn't constant")
        tests = [self._plain(v, node) for v in values]
        if f is sum:
            total: Expr = Const(0)
            for test in tests:
                total = self._folded(OPERATIONS["add"], total, test)
            return total
        tree = self._operation(f.__name__, *tests)
        if isinstance(over, Items) and not over.lazy:  # Python evaluates a list's elements first
            for test in reversed(tests):
                if raising(test) is not None:
                    tree = then(test, tree)
        return tree


_WRAPPING: Mapping[type, Callable[..., Value]] = {
    functools._lru_cache_wrapper: Calls._remembered,
    functools.partial: Calls._partial,
    operator.itemgetter: Calls._getter,
}


def _is_one(f: Any, *known: Any) -> bool:
    return any(f is k for k in known)  # it may be of a class that says what it equals


def _types(value: Value, node: ast.AST) -> Const:
    """Return the type, or the types, of a call of isinstance."""
    parts = value.values if isinstance(value, Items) else (value,)
    kinds = tuple(known_value(p) for p in parts)
    flat = [k for kind in kinds for k in (kind if type(kind) is tuple else (kind,))]
    if not all(type(k) in (type, ABCMeta) for k in flat):  # one that says who is of it
        raise CannotLiftError(node, "it asks for types that only Python can tell")
    of = kinds if isinstance(value, Items) else kinds[0]
    return Const(of, "types:" + ",".join(str(id(k)) for k in flat))


def _is_users(f: FunctionType) -> bool:
    return (
        f.__module__ == "__main__"
        or is_own(f.__code__.co_filename)
        or (
            not f.__code__.co_filename.endswith(".py")  # a REPL, a notebook, a doctest
        )
    )


def _text_function(f: Any) -> Function | None:
    """Return a method of text that is called as a function."""
    name = f.__name__
    is_text = f.__objclass__ is str and name in METHODS
    return Function("builtins", f"str.{name}") if is_text else None


def _hashable(value: Any) -> bool:
    return type(value) in (
        FunctionType,
        BuiltinFunctionType,
        type,
    )  # and of no metaclass of its own


def _call_problem(f: Any) -> str:
    return f"it calls {call_name(f)}{', which is random' * is_random(f)}"
