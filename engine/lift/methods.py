"""Calls of methods to trees: of text, numbers, times, lists, sets, maps, and of constants."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.lift.body import element
from engine.lift.expressions import (
    check_modest,
    constant_call,
    is_of_library,
    over_each,
    with_matches,
)
from engine.lift.patterns import Patterns
from engine.lift.scope import (
    Bound,
    CannotLiftError,
    Closure,
    Generator,
    Items,
    Names,
    NumpyValue,
    Thing,
    Value,
    WholeRow,
    as_value,
)
from engine.lift.syntax import shown
from engine.ops.operations import METHODS, OPERATIONS
from engine.slicing.constants import is_constant
from engine.slicing.expr import Call, Const, Expr

_MATCH_METHODS = frozenset({"group", "groups", "groupdict", "start", "end", "span"})
# Method of sets -> the operator that it is where both are sets.
_SET_METHODS: Mapping[str, str] = {
    "issubset": "le", "issuperset": "ge", "isdisjoint": "bitand", "intersection": "bitand",
    "difference": "sub", "union": "bitor", "symmetric_difference": "bitxor",
}  # fmt: skip
_OF_SETS = frozenset({"bitand", "sub", "bitor", "bitxor"})
_OF_MACHINE = frozenset({"timestamp", "astimezone"})  # what a time says depends on where it runs
# Methods of what libraries give that change nothing: of arrays, addresses, hashes.
_LIBRARY_METHODS = frozenset({
    "all", "any", "argmax", "argmin", "cumsum", "geturl", "item", "limit_denominator", "max",
    "mean", "min", "overlaps", "prod", "ptp", "round", "std", "sum", "supernet", "tolist", "total",
    "var",
})  # fmt: skip
_VIEWS: Sequence[type] = (type({}.keys()), type({}.values()), type({}.items()))


class Methods(Patterns):
    """Reads calls of methods."""

    def _method(
        self, base: Value, name: str, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value:
        if isinstance(base, Items):
            base = self._plain(base, node)
        if isinstance(base, Const) and isinstance(base.value, re.Pattern):
            return self._pattern_method(base.value, name, args, keywords, node)
        for kinds, read in _BY_KIND:
            if isinstance(base, kinds):
                return read(self, base, name, args, keywords, node)
        raise CannotLiftError(node, f"it calls {name}() of a {_WHAT[type(base)]}")

    def _of_row(
        self, base: WholeRow, name: str, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value:
        if name == "get" and args and isinstance(args[0], Const) and "get" not in self.columns:
            there = isinstance(args[0].value, str) and args[0].value in self.columns
            default = args[1] if len(args) > 1 else Const(None)
            return self._column(args[0].value) if there else default
        raise CannotLiftError(node, f"it calls the row's {name}()")

    def _of_thing(
        self, base: Thing | NumpyValue, name: str, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value:
        if type(base.value) is dict and name in {"keys", "values", "items"} and not args:
            return as_value(tuple(getattr(base.value, name)()))
        if type(base.value) is dict and name == "get" and args and isinstance(args[0], Const):
            key = args[0].value
            there = self._computed(lambda k: k in base.value, node, key)
            default = args[1] if len(args) > 1 else Const(None)
            return as_value(base.value[key]) if there.value else default
        raise CannotLiftError(node, f"it calls {name}() of {shown(base.value)}")

    def _of_value(
        self, base: Expr, name: str, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value:
        if name == "join" and len(args) == 1 and self._iterable(args[0]) is not None:
            args = [self._iterable(args[0])]
        if name in _MATCH_METHODS:
            base = with_matches(base)
        if name in _SET_METHODS and len(args) == 1 and not keywords:
            return self._of_sets(base, name, args[0], node)
        values = [self._plain(a, node) for a in args]
        if name == "replace" and not args and _without_zone(keywords):
            return self._operation("without_zone", base)
        if isinstance(base, Const):
            return self._constant_method(base, name, values, keywords, node)
        if (
            keywords
            and name in ("split", "rsplit")
            and keywords.keys() <= {"sep", "maxsplit"}
            and not values
        ):
            sep, most = keywords.get("sep", Const(None)), keywords.get("maxsplit", Const(-1))
            values = [self._plain(sep, node), self._plain(most, node)]
            keywords = {}
        if keywords and name in METHODS:
            named = [self._plain(v, node) for v in keywords.values()]
            how = Const(name), Const(tuple(keywords))
            return self._operation("keyworded", base, *how, *values, *named)
        if name in _LIBRARY_METHODS and isinstance(base, Call) and is_of_library(base):
            named = [self._plain(v, node) for v in keywords.values()]
            how = Const(name), Const(tuple(keywords))
            return self._operation("keyworded", base, *how, *values, *named)
        if keywords or not _is_method(name, len(values)):
            raise CannotLiftError(node, f"it calls the method {name}()")
        return self._operation(name, base, *values)

    def _of_sets(self, base: Expr, name: str, other: Value, node: ast.AST) -> Expr:
        """Return a method of sets as an operator, or as a test of each element."""
        items = self._iterable(other) if self._items(other) is None else None
        constant = isinstance(base, Const) and type(base.value) in (set, frozenset)
        if items is not None and constant and name in ("isdisjoint", "issuperset"):
            item = element(self.depth)
            inside = Call("in", (item, base))
            any_of = name == "isdisjoint"
            op = "any_of" if any_of else "all_of"
            answer = Call(op, (over_each(items, item, inside, Const(True)),))
            return self._operation("not", answer) if any_of else answer
        if not _is_set(base):
            return self._operation(name, base, self._plain(other, node))
        right = self._set(other, node)
        if name == "isdisjoint":
            return self._operation("not", self._folded(OPERATIONS["bitand"], base, right))
        return self._folded(OPERATIONS[_SET_METHODS[name]], base, right)

    def _set(self, value: Value, node: ast.AST) -> Expr:
        """Return what a method of sets makes of its argument."""
        known = self._items(value)
        if known is not None and all(isinstance(v, Const) for v in known):
            return constant_call(frozenset, [Const([v.value for v in known])], node)
        items = self._iterable(value)
        items = self._plain(value, node) if items is None else items
        return items if _is_set(items) else self._operation("set_of", items)

    def _constant_method(
        self, base: Const, name: str, args: list[Expr], keywords: Names, node: ast.AST
    ) -> Expr:
        if name == "get" and isinstance(base.value, dict) and len(args) in (1, 2) and not keywords:
            return self._folded(OPERATIONS["dict_get"], base, *args)
        if isinstance(base.value, str) and name == "format":
            return self._formatted(base.value, args, keywords, node)
        if (
            (name in METHODS or isinstance(base.value, str | bytes))
            and name not in _OF_MACHINE
            and not (isinstance(base.value, dict) and name not in {"keys", "values", "items"})
            and all(isinstance(a, Const) for a in (*args, *keywords.values()))
        ):
            known = {k: v.value for k, v in keywords.items()}
            check_modest([base.value, *(a.value for a in args), *known.values()], name, node)  # type: ignore[attr-defined]
            try:
                answer = getattr(base.value, name)(*(a.value for a in args), **known)  # type: ignore[attr-defined]
            except Exception as error:
                raise CannotLiftError(node, f"{name}() of a constant fails: {error}") from None
            views = type(answer) in _VIEWS
            answer = tuple(answer) if views else answer
            if not is_constant(answer):
                raise CannotLiftError(node, f"it calls {name}() of {shown(base.value)}")
            return Const(answer)
        if not keywords and _is_method(name, len(args)):
            return self._operation(name, base, *args)
        raise CannotLiftError(node, f"it calls {name}() of {shown(base.value)}")

    def _formatted(self, text: str, args: list[Expr], keywords: Names, node: ast.AST) -> Expr:
        """Return what ``format`` makes of values, once it has all of them."""
        if any("{" in (spec or "") for _, _, spec, _ in string.Formatter().parse(text)):
            raise CannotLiftError(node, "it formats text in a way that isn't constant")
        if not keywords:
            return self._folded(OPERATIONS["format"], Const(text), *args)
        named = [self._plain(v, node) for v in keywords.values()]
        how = Const("format"), Const(tuple(keywords))
        return self._operation("keyworded", Const(text), *how, *args, *named)


_Reader = Callable[[Any, Any, str, list[Any], Names, ast.AST], Value]
# What a method is of -> how its calls are read.
_BY_KIND: Sequence[tuple[Any, _Reader]] = (
    (WholeRow, Methods._of_row),
    ((Thing, NumpyValue), Methods._of_thing),
    (Expr, Methods._of_value),
)
_WHAT: Mapping[type, str] = {Generator: "generator", Closure: "function", Bound: "function"}


def _is_method(name: str, arguments: int) -> bool:
    """Tell whether values have a method, of so many arguments, that changes nothing."""
    return name in METHODS and arguments + 1 in METHODS[name].arity


def _without_zone(keywords: Names) -> bool:
    """Tell whether a time is asked for itself without its zone."""
    zone = keywords.get("tzinfo")
    return len(keywords) == 1 and isinstance(zone, Const) and zone.value is None


def _is_set(value: Expr) -> bool:
    """Tell whether a value is surely a set, if it is one at all."""
    while isinstance(value, Call) and value.op in _OF_SETS:
        value = next((a for a in value.args if isinstance(a, Call)), value.args[0])
    if isinstance(value, Const):
        return type(value.value) in (set, frozenset)
    return isinstance(value, Call) and value.op == "set_of"
