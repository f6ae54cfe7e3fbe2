"""Functions that go through collections: zip, enumerate, map, sorted by a key, and their kin."""

from __future__ import annotations

import ast
import collections
import functools
import itertools
from collections.abc import Mapping
from typing import Any

from engine.lift.body import Body, columns_of, element, state
from engine.lift.calls import Calls
from engine.lift.expressions import gone_through, over_each
from engine.lift.scope import (
    CannotLiftError,
    Generator,
    Groups,
    Items,
    Names,
    Value,
    known_value,
)
from engine.slicing.expr import Call, Const, Expr

_TRUE = Const(True)


class Iteration(Calls):
    """Reads calls of functions that go through collections."""

    def _through(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        method = _METHODS.get(f)
        return None if method is None else getattr(self, method)(f, args, keywords, node)

    def _collection(self, value: Value, node: ast.AST) -> Expr:
        """Return what a function goes through as a list of all its elements."""
        if isinstance(value, Generator):
            return self._operation("drained", value.tree)
        return gone_through(self._plain(value, node))

    def _known(self, *values: Value) -> list[tuple[Any, ...]] | None:
        """Return collections' elements, if each is known."""
        items = [self._items(v) for v in values]
        return None if any(i is None for i in items) else items  # type: ignore[return-value]

    def _zip(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or not args:
            return None
        known = self._known(*args)
        if known is not None:
            pairs = zip(*known, strict=False)
            return Items(tuple(Items(p, is_tuple=True) for p in pairs))
        return Generator(self._operation("zip", *(self._collection(a, node) for a in args)))

    def _pairwise(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or len(args) != 1:
            return None
        return Generator(self._operation("pairwise", self._collection(args[0], node)))

    def _enumerate(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        start = keywords.get("start", args[1] if len(args) > 1 else Const(0))
        if not args or not keywords.keys() <= {"start"}:
            return None
        known = self._known(args[0])
        if known is not None and isinstance(start, Const) and type(start.value) is int:
            pairs = enumerate(known[0], start.value)
            return Items(tuple(Items((Const(i), v), is_tuple=True) for i, v in pairs))
        items = self._collection(args[0], node)
        return Generator(self._operation("enumerate", items, self._plain(start, node)))

    def _reversed(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or len(args) != 1 or isinstance(args[0], Generator):
            return None
        known = self._known(args[0])
        if known is not None and not isinstance(known_value(args[0]), set | frozenset):
            return Items(known[0][::-1])
        return Generator(self._operation("reversed", self._plain(args[0], node)))

    def _range(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or not 1 <= len(args) <= 3 or all(isinstance(a, Const) for a in args):  # noqa: PLR2004
            return None
        return self._operation("range", *(self._plain(a, node) for a in args))

    def _map(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or len(args) != 2 or self._known(args[1]) is not None:  # noqa: PLR2004
            return self._unrolled(args, node) if len(args) == 2 and not keywords else None  # noqa: PLR2004
        return Generator(self._each(args[0], args[1], node))

    def _unrolled(self, args: list[Any], node: ast.AST) -> Value:
        values = self._items(args[1]) or ()
        return Items(tuple(self.called(args[0], [v], {}, node) for v in values), lazy=True)

    def _filter(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        items = self._iterable(args[1]) if len(args) == 2 and not keywords else None  # noqa: PLR2004
        if items is None or isinstance(items, Const):
            return None
        item = element(self.depth)
        self.depth += 1
        none = isinstance(args[0], Const) and args[0].value is None
        test = item if none else self._plain(self.called(args[0], [item], {}, node), node)
        self.depth -= 1
        return Generator(over_each(items, item, item, test))

    def _each(self, f: Value, over: Value, node: ast.AST) -> Expr:
        """Return what a function gives of each element."""
        items = self._iterable(over)
        if items is None:
            raise CannotLiftError(node, "it goes through something that isn't a value")
        item = element(self.depth)
        self.depth += 1
        value = self._plain(self.called(f, [item], {}, node), node)
        self.depth -= 1
        return over_each(items, item, value, _TRUE)

    def _by_key(self, key: Value, over: Value, node: ast.AST) -> Expr:
        """Return pairs of what a key function gives, and the element."""
        items = self._collection(over, node)
        item = element(self.depth)
        self.depth += 1
        of_key = self._plain(self.called(key, [item], {}, node), node)
        self.depth -= 1
        pair = self._operation("tuple", of_key, item)
        return self._operation("drained", over_each(items, item, pair, _TRUE))

    def _sorted(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        key, reverse = keywords.get("key"), keywords.get("reverse", Const(False))
        if not keywords or not keywords.keys() <= {"key", "reverse"} or len(args) != 1:
            return None
        pairs = self._pairs(Const(None) if key is None else key, args[0], node)
        return self._operation("sorted_by", pairs, self._plain(reverse, node))

    def _pairs(self, key: Value, over: Value, node: ast.AST) -> Expr:
        """Return pairs of keys and elements; an element is its own key where there is no other."""
        if not _is_none(key):
            return self._by_key(key, over, node)
        items, item = self._collection(over, node), element(self.depth)
        pair = self._operation("tuple", item, item)
        return self._operation("listed", over_each(items, item, pair, _TRUE))

    def _extreme(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        key = keywords.get("key")
        if key is None or not keywords.keys() <= {"key", "default"}:
            return None
        over = args[0] if len(args) == 1 else Items(tuple(args))
        pairs = self._by_key(key, over, node)
        other = [self._plain(keywords["default"], node)] if "default" in keywords else []
        return self._operation(f"{f.__name__}_by", pairs, *other)

    def _counter(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or len(args) != 1:
            return None
        return self._operation("counter_of", self._collection(args[0], node))

    def _dict_of(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or len(args) != 1:
            return None
        return self._operation("dict_of", self._collection(args[0], node))

    def _next(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        if keywords or not args or not isinstance(args[0], Generator):
            return None
        rest = [self._plain(a, node) for a in args[1:]]
        return self._operation("first_of", args[0].tree, *rest)

    def _iterator(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        items = self._iterable(args[0]) if len(args) == 1 and not keywords else None
        return None if items is None or isinstance(items, Const) else Generator(items)

    def _sum(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        start = keywords.get("start", args[1] if len(args) > 1 else None)
        if start is None or not keywords.keys() <= {"start"}:
            return None
        if self._known(args[0]) is not None:
            return None
        return self._operation("sum_of", self._collection(args[0], node), self._plain(start, node))

    def _one_after_another(
        self, f: Any, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value | None:
        over = Items(tuple(self._collection(a, node) for a in args))
        if keywords or not args:
            return None
        return Generator(self._operation("chained", self._plain(over, node)))

    def _groups(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        key = keywords.get("key", args[1] if len(args) > 1 else Const(None))
        if not args or not keywords.keys() <= {"key"}:
            return None
        return Groups(self._operation("runs", self._pairs(key, args[0], node)))

    def _reduced(self, f: Any, args: list[Any], keywords: Names, node: ast.AST) -> Value | None:
        """Take ``reduce`` as a loop that goes on with what it has so far."""
        if keywords or len(args) not in (2, 3):
            return None
        items, first = self._collection(args[1], node), args[2:]
        item, so_far, begun = element(self.depth), state(self.depth, "a"), state(self.depth, "b")
        self.depth += 1
        after = self._plain(self.called(args[0], [so_far, item], {}, node), node)
        self.depth -= 1
        step = self._operation("if", begun, after, item)
        body = Call("tuple", (Const(0), Const(None), step, _TRUE))
        outer = tuple(c for c in columns_of(body) if c not in (item, so_far, begun))
        names = (item.name, so_far.name, begun.name, *(c.name for c in outer))
        before = (self._plain(first[0], node), _TRUE) if first else (Const(None), Const(False))
        fold = Call("fold", (items, Body(body, names), Const(2), *before, *outer))
        some = Call("getitem", (fold, Const(3)))
        return Call("if", (some, Call("getitem", (fold, Const(2))), Call("raise", ())))


def _is_none(value: Value) -> bool:
    return isinstance(value, Const) and value.value is None


# Function -> the method that reads its calls.
_METHODS: Mapping[Any, str] = {
    zip: "_zip", enumerate: "_enumerate", reversed: "_reversed", range: "_range", map: "_map",
    filter: "_filter", sorted: "_sorted", min: "_extreme", max: "_extreme", dict: "_dict_of",
    next: "_next", iter: "_iterator", sum: "_sum", collections.Counter: "_counter",
    itertools.groupby: "_groups", functools.reduce: "_reduced", itertools.pairwise: "_pairwise",
    itertools.chain: "_one_after_another",
}  # fmt: skip
