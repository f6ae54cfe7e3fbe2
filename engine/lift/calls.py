"""Calls in a function's source to trees: methods, functions, and helpers of the user's own."""

from __future__ import annotations

import ast
import datetime as dt
import re
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from engine.lift.effects import raising, then
from engine.lift.expressions import Expressions, call_name, constant_call
from engine.lift.notes import is_random
from engine.lift.scope import (
    CannotLiftError,
    Generator,
    Items,
    Names,
    NumpyValue,
    PatternSyntaxError,
    Scope,
    Thing,
    Value,
    WholeRow,
    as_value,
    known_value,
    lasting,
)
from engine.lift.syntax import shown
from engine.ops.operations import OPERATIONS, Op, written
from engine.slicing.constants import is_constant
from engine.slicing.expr import Call, Const, Expr
from engine.slicing.origin import is_own

_METHODS = written("method")
_FUNCTIONS: Mapping[Any, Op] = {op.python: op for op in written("function").values()}
_SEARCHES: Mapping[Any, Op] = {op.source: op for op in written("pattern").values()}
_RE_FUNCTIONS: Mapping[Any, str] = {
    getattr(re, name): name for name in ("compile", "search", "match", "fullmatch", "findall")
}


# Functions of a collection's elements, and the operations that they are.
_OF_ITEMS: Sequence[tuple[Any, str]] = (
    (any, "any_of"), (all, "all_of"), (sum, "sum_of"), (min, "min_of"), (max, "max_of"),
    (sorted, "sorted_of"), (set, "set_of"), (frozenset, "set_of"), (list, "listed"),
)  # fmt: skip


class Calls(Expressions):
    """Reads calls."""

    @abstractmethod
    def result(self, f: FunctionType, args: Sequence[Any], keywords: Mapping[str, Any]) -> Expr:
        """Return the value of calling a function of the user's."""

    def call(self, node: ast.Call, scope: Scope) -> Value:
        """Return the value of a call."""
        if any(isinstance(a, ast.Starred) for a in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            raise CannotLiftError(node, "it calls a function with * or **")
        of = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        base = self.value(of, scope)
        args = [self.value(a, scope) for a in node.args]
        keywords = {str(k.arg): self.value(k.value, scope) for k in node.keywords}
        target: Any = base
        if isinstance(node.func, ast.Attribute):
            if not (isinstance(base, Thing) and isinstance(base.value, ModuleType | type)):
                return self._method(base, node.func.attr, args, keywords, node)
            target = self._attribute_of(base, node.func.attr, node)
        if not isinstance(target, Thing):
            raise CannotLiftError(node, "it calls something that isn't a function")
        return self._function(target.value, args, keywords, node)

    def _method(
        self, base: Value, name: str, args: list[Any], keywords: Names, node: ast.Call
    ) -> Value:
        if isinstance(base, WholeRow):
            if name == "get" and args and isinstance(args[0], Const) and "get" not in self.columns:
                there = isinstance(args[0].value, str) and args[0].value in self.columns
                default = args[1] if len(args) > 1 else Const(None)
                return self._column(args[0].value) if there else default
            raise CannotLiftError(node, f"it calls the row's {name}()")
        if isinstance(base, Items):
            raise CannotLiftError(node, f"it calls {name}() of a collection that isn't constant")
        if isinstance(base, Thing | NumpyValue):
            if type(base.value) is dict and name in {"keys", "values", "items"} and not args:
                return as_value(tuple(getattr(base.value, name)()))
            raise CannotLiftError(node, f"it calls {name}() of {shown(base.value)}")
        if isinstance(base, Const) and isinstance(base.value, re.Pattern):
            if name in _SEARCHES and len(args) == 1 and not keywords:
                return self._regex(name, base.value, args[0], node)
            raise CannotLiftError(node, f"it calls {name}() of a pattern")
        if isinstance(base, Generator):
            raise CannotLiftError(node, f"it calls {name}() of a generator")
        if name == "join" and len(args) == 1 and self._iterable(args[0]) is not None:
            args = [self._iterable(args[0])]
        values = [self._plain(a, node) for a in args]
        if name == "replace" and not args and _without_zone(keywords):
            return self._operation("without_zone", base)
        if isinstance(base, Const):
            return self._constant_method(base, name, values, keywords, node)
        if keywords or not _is_method(name, len(args)):
            raise CannotLiftError(node, f"it calls the method {name}()")
        return self._operation(name, base, *values)

    def _constant_method(
        self, base: Const, name: str, args: list[Expr], keywords: Names, node: ast.Call
    ) -> Expr:
        if name == "get" and isinstance(base.value, dict) and len(args) in (1, 2) and not keywords:
            return self._folded(OPERATIONS["dict_get"], base, *args)
        if (
            isinstance(base.value, str | bytes | dict | tuple | frozenset)
            and not (isinstance(base.value, dict) and name not in {"keys", "values", "items"})
            and all(isinstance(a, Const) for a in args)
            and not keywords
            and name != "format"
        ):
            try:
                answer = getattr(base.value, name)(*(a.value for a in args))  # type: ignore[attr-defined]
            except Exception as error:
                raise CannotLiftError(node, f"{name}() of a constant fails: {error}") from None
            answer = answer if is_constant(answer) else tuple(answer)
            if not is_constant(answer):
                raise CannotLiftError(node, f"it calls {name}() of {shown(base.value)}")
            return Const(answer)
        if isinstance(base.value, str) and not keywords and _is_method(name, len(args)):
            return self._operation(name, base, *args)
        raise CannotLiftError(node, f"it calls {name}() of {shown(base.value)}")

    def _function(self, f: Any, args: list[Any], keywords: Names, node: ast.Call) -> Value:
        if type(f) is FunctionType and f not in _RE_FUNCTIONS and _is_users(f):
            return self._helper(f, args, keywords, node)
        if _hashable(f) and f in _RE_FUNCTIONS:
            return self._re_function(_RE_FUNCTIONS[f], args, keywords, node)
        of_items = self._of_items(f, args, keywords, node)
        if of_items is not None:
            return of_items
        constant = all(isinstance(v, Const) for v in (*args, *keywords.values()))
        if keywords and constant and _is_one(f, dt.date, dt.datetime, dt.timedelta):
            f = partial(f, **{k: v.value for k, v in keywords.items()})
            return constant_call(f, args, node)
        if keywords:
            raise CannotLiftError(node, f"it calls {call_name(f)} with keywords")
        if _is_one(f, any, all, sum) and len(args) == 1:
            return self._folded_over(f, args[0], node)
        if _is_one(f, min, max, isinstance, getattr) and len(args) == 2:  # noqa: PLR2004
            return self._of_two(f, args[0], args[1], node)
        if _is_one(f, tuple, list, set, frozenset, sorted) and len(args) == 1:
            values = self._items(args[0])
            if values is not None and all(isinstance(v, Const) for v in values):
                return constant_call(f, [Const([v.value for v in values])], node)
        if _hashable(f) and f in _FUNCTIONS and len(args) in _FUNCTIONS[f].arity:
            return self._folded(_FUNCTIONS[f], *(self._plain(a, node) for a in args))
        if _is_one(f, dt.date, dt.datetime, dt.timedelta, Decimal, range) and all(
            isinstance(a, Const) for a in args
        ):
            return constant_call(f, args, node)
        raise CannotLiftError(node, _call_problem(f))

    def _of_items(self, f: Any, args: list[Any], keywords: Names, node: ast.Call) -> Expr | None:
        """Return what a function gives of the elements of a row's value; None for another call."""
        op = next((op for of, op in _OF_ITEMS if f is of), None)
        items = self._iterable(args[0]) if len(args) == 1 else None
        if op is None or items is None or isinstance(items, Const):
            return None
        if keywords and not (op in ("min_of", "max_of") and keywords.keys() == {"default"}):
            return None
        return self._operation(op, items, *(self._plain(v, node) for v in keywords.values()))

    def _helper(self, f: FunctionType, args: list[Any], keywords: Names, node: ast.Call) -> Expr:
        """Return the value of a function of the user's that the function calls."""
        values = [lasting(value, node) for value in (*args, *keywords.values())]
        tree = self.result(f, args, keywords)
        for value in reversed(values):  # Python evaluates arguments before it calls the function
            effect = raising(value)
            tree = tree if effect is None else then(effect, tree)
        return tree

    def _of_two(self, f: Any, first: Value, second: Value, node: ast.Call) -> Value:
        if f in (min, max):
            a, b = self._plain(first, node), self._plain(second, node)
            # Python asks b < a (or b > a) once it has both: the same, in the order they are read.
            return self._operation("if", self._operation("gt" if f is min else "lt", a, b), b, a)
        if f is isinstance:
            return self._operation("isinstance", self._plain(first, node), _types(second, node))
        known = isinstance(first, WholeRow) and isinstance(second, Const)
        if f is getattr and known and second.value in self.columns:
            return self._column(str(second.value))
        raise CannotLiftError(node, _call_problem(f))

    def _folded_over(self, f: Any, over: Value, node: ast.Call) -> Expr:
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

    def _re_function(self, name: str, args: list[Any], keywords: Names, node: ast.Call) -> Expr:
        by_name = dict(zip(("pattern", "string", "flags"), args, strict=False)) | keywords
        if name == "compile":
            by_name["flags"] = by_name.get("flags", by_name.pop("string", Const(0)))
        if not set(by_name) <= {"pattern", "string", "flags"} or "pattern" not in by_name:
            raise CannotLiftError(node, f"it calls re.{name} with other arguments")
        pattern, flags = by_name["pattern"], by_name.get("flags", Const(0))
        if type(known_value(flags)) is re.RegexFlag:
            flags = Const(int(known_value(flags)))
        if not isinstance(pattern, Const) or not isinstance(flags, Const):
            raise CannotLiftError(node, f"it calls re.{name} with a pattern that isn't constant")
        compiled = self._compiled(pattern.value, flags.value)
        if name == "compile":
            return Const(compiled)
        if "string" not in by_name:
            raise CannotLiftError(node, f"it calls re.{name} without a string")
        return self._regex(name, compiled, by_name["string"], node)

    def _compiled(self, pattern: Any, flags: Any) -> re.Pattern[Any]:
        try:
            return re.compile(pattern, flags)
        except re.error as error:
            raise PatternSyntaxError(str(pattern), error) from None
        except (TypeError, ValueError) as error:
            raise CannotLiftError(None, f"its pattern can't be compiled: {error}") from None

    def _regex(self, name: str, pattern: re.Pattern[Any], text: Value, node: ast.Call) -> Expr:
        text = self._plain(text, node)
        if isinstance(text, Const):
            return self._folded_search(name, pattern, text)
        return self._operation(_SEARCHES[name].name, Const(pattern), text)

    def _folded_search(self, name: str, pattern: re.Pattern[Any], text: Const) -> Expr:
        try:
            match = getattr(pattern, name)(text.value)
        except TypeError:
            match = ...  # it raises where control gets there
        if match is None or (name == "findall" and match is not ...):
            return Const(match)
        return Call(_SEARCHES[name].name, (Const(pattern), text))  # a match isn't constant


def _is_method(name: str, arguments: int) -> bool:
    """Tell whether values have a method, of so many arguments, that changes nothing."""
    return name in _METHODS and arguments + 1 in _METHODS[name].arity


def _without_zone(keywords: Names) -> bool:
    """Tell whether a time is asked for itself without its zone."""
    zone = keywords.get("tzinfo")
    return len(keywords) == 1 and isinstance(zone, Const) and zone.value is None


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


def _hashable(value: Any) -> bool:
    return type(value) in (
        FunctionType,
        BuiltinFunctionType,
        type,
    )  # and of no metaclass of its own


def _call_problem(f: Any) -> str:
    return f"it calls {call_name(f)}{', which is random' * is_random(f)}"
