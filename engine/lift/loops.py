"""Loops to trees: over constants they are unrolled, over a row's values they are one operation."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from engine.lift.body import Body, columns_of, element, state
from engine.lift.effects import raising, then
from engine.lift.expressions import binds, over_each
from engine.lift.iteration import Iteration
from engine.lift.owned import changed_names
from engine.lift.scope import CannotLiftError, Leaves, Scope
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Column, Const, Expr

MAX_STEPS = 200  # iterations of a loop that is unrolled statement by statement
GO_ON, LEAVE, RETURN = 0, 1, 2  # how a step of a loop ends
_TRUE = Const(True)
_OF_LISTS = frozenset({"copy", "json", "numpy"})  # modules whose functions may give lists or arrays


class Loops(Iteration):
    """Reads loops."""

    @abstractmethod
    def _block(self, body: list[ast.stmt], scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        """Return what statements say, and what comes after them where they come to their end."""

    def _loop(self, node: ast.For, scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        """Unroll a loop over constants, or take one over a row's values."""
        gone_through = {n.id for n in ast.walk(node.iter) if isinstance(n, ast.Name)}
        if gone_through.intersection(changed_names(node.body)):
            raise CannotLiftError(node, "it changes what it loops over")
        over = self.value(node.iter, scope)
        values = self._items(over)
        if values is None:
            return self._loop_over(node, self._iterable(over), scope, after)
        tree = self._unrolled_loop(node, values, scope, after)
        effect = raising(over)
        return tree if effect is None else then(effect, tree)

    def _unrolled_loop(
        self, node: ast.For, values: Sequence[Any], scope: Scope, after: Callable[[Scope], Expr]
    ) -> Expr:
        def scope_of(value: Any, outer: Scope) -> Scope:
            return self._assigned(node.target, value, outer)[0]

        hit = None if node.orelse else self._first_hit(node, values, scope, scope_of)
        if hit is not None:
            tests, result = hit
            left = scope_of(values[-1], scope) if values else scope
            return self._operation("if", self._operation("any", *tests), result, after(left))
        if len(values) > MAX_STEPS:
            raise CannotLiftError(node, f"it has a loop of {len(values)} steps")

        def outside(inner: Scope) -> Scope:
            return replace(inner, leaves=scope.leaves)

        def go(at: int, inner: Scope) -> Expr:
            if at == len(values):
                return self._block(node.orelse, outside(inner), after)
            leaves = Leaves(
                lambda s: go(at + 1, s), lambda s: after(outside(s)), scope.leaves.answer
            )
            inner = replace(scope_of(values[at], inner), leaves=leaves)
            return self._block(node.body, inner, leaves.go_on)

        return go(0, scope)

    def _first_hit(
        self,
        node: ast.For,
        values: Sequence[Any],
        scope: Scope,
        scope_of: Callable[[Any, Scope], Scope],
    ) -> tuple[list[Expr], Expr] | None:
        """Take `for w in words: if <test>: return <constant>`: one `any`, however many words."""
        match node.body:
            case [ast.If(test=test, body=[ast.Return(value=ast.Constant() as value)], orelse=[])]:
                if binds(test):
                    return None
                tests = [self.expr(test, scope_of(v, scope)) for v in values]
                return tests, scope.leaves.answer(self.expr(value, scope))
        return None

    def _loop_over(
        self, node: ast.For, items: Expr | None, scope: Scope, after: Callable[[Scope], Expr]
    ) -> Expr:
        """Take a loop over a row's values: one that looks or counts is one pass over them all."""
        if items is None:
            raise CannotLiftError(node, "it loops over something that isn't a value")
        depth = self.depth
        try:
            return self._quick_loop(node, items, scope, after)
        except _SlowLoopError:
            self.depth = depth
        return self._step_by_step(node, items, scope, after)

    def _quick_loop(
        self, node: ast.For, items: Expr, scope: Scope, after: Callable[[Scope], Expr]
    ) -> Expr:
        """Take a loop that looks for a value, or counts or adds up."""
        if node.orelse:
            raise _SlowLoopError
        item = element(self.depth)
        self.depth += 1
        inner, effect = self._bound_to_each(node.target, item, items, scope)
        tree = self._search(node, node.body, [], inner)
        test = tree.test if effect is None else then(effect, tree.test)
        self.depth -= 1
        left = scope.bind()
        for name in bound_names([node]):  # what the loop leaves there isn't known
            left.local.pop(name, None)
        if isinstance(tree, _Hit):
            hit = Call("any_of", (over_each(items, item, test, _TRUE),))
            return self._operation("if", hit, scope.leaves.answer(tree.answer), after(left))
        total = Call("sum_of", (Call("listed", (over_each(items, item, tree.value, test),)),))
        old = scope.local.get(tree.name)
        if not _is_whole(old) or not _is_whole(tree.value):
            raise _SlowLoopError
        value = total if old.value == 0 else Call("add", (old, total))
        return then(value, after(left.bind(**{tree.name: value})))

    def _search(
        self, node: ast.For, body: list[ast.stmt], before: list[Expr], scope: Scope
    ) -> _Hit | _Counted:
        """Read a loop's body: conditions, then `return` of a constant, or `name += number`."""
        match body:
            case [ast.If(test=test, body=[ast.Continue()], orelse=[]), *rest] if not binds(test):
                skipped = self._operation("not", self.expr(test, scope))
                return self._search(node, rest, [*before, skipped], scope)
            case [ast.If(test=test, body=inner, orelse=[])] if not binds(test):
                return self._search(node, inner, [*before, self.expr(test, scope)], scope)
            case [ast.Return(value=ast.Constant() as value)]:
                return _Hit(_all_of(before), Const(value.value))
            case [ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value)]:
                return _Counted(name, self.expr(value, scope), _all_of(before))
        raise _SlowLoopError

    def _step_by_step(
        self, node: ast.For, items: Expr, scope: Scope, after: Callable[[Scope], Expr]
    ) -> Expr:
        """Take a loop that goes on with what an earlier step left in some names."""
        changed = {*changed_names(node.body)}
        targets = bound_names([node.target])
        bound = (bound_names(node.body) | changed) - targets
        names = sorted(name for name in bound if name in scope.local)
        before = [self._plain(scope.local[name], node) for name in names]
        added = {n.target.id for s in node.body for n in ast.walk(s)
                 if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)}  # fmt: skip
        for name, value in zip(names, before, strict=True):
            if name in added - self.owned[-1] and self._may_change(value):
                raise CannotLiftError(node, f"it changes {name!r}, which others may have, too")
        depth, item = self.depth, element(self.depth)
        self.depth += 1
        states = [state(depth, name) for name in names]

        def leaf(how: int, value: Expr, inner: Scope) -> Expr:
            if any(name not in inner.local for name in names):
                raise CannotLiftError(node, "it has a loop that leaves a name without a value")
            values = [self._plain(inner.local[name], node) for name in names]
            if any(map(self._is_numpys, values)):
                raise CannotLiftError(node, "it keeps what numpy answered")
            return Call("leaf", (Const(how), value, *values))

        inner = scope.bind(**dict(zip(names, states, strict=True)))
        for name in bound - set(names):
            inner.local.pop(name, None)
        leaves = Leaves(
            lambda s: leaf(GO_ON, Const(None), s),
            lambda s: leaf(LEAVE, Const(None), s),
            lambda value: Call("leaf", (Const(RETURN), value, *states)),
        )
        inner = replace(inner, leaves=leaves)
        inner, effect = self._bound_to_each(node.target, item, items, inner)
        tree = self._block(node.body, inner, leaves.go_on)
        self.depth -= 1
        tree = tree if effect is None else then(effect, tree)
        step = Call("tuple", tuple(_part(tree, at) for at in range(2 + len(names))))
        outer = tuple(c for c in columns_of(step) if c != item and c not in states)
        body = Body(step, (item.name, *(s.name for s in states), *(c.name for c in outer)))
        fold = Call("fold", (items, body, Const(len(names)), *before, *outer))
        how = Call("getitem", (fold, Const(0)))
        left = scope.bind()
        for name in bound | targets:
            left.local.pop(name, None)
        for at, name in enumerate(names, 2):
            left.local[name] = Call("getitem", (fold, Const(at)))
        rest = after(left)
        if node.orelse:
            at_end = self._block(node.orelse, left, after)
            rest = Call("if", (Call("eq", (how, Const(LEAVE))), rest, at_end))
        answer = scope.leaves.answer(Call("getitem", (fold, Const(1))))
        return Call("if", (Call("eq", (how, Const(RETURN))), answer, rest))

    def _may_change(self, value: Expr) -> bool:
        """Tell whether a value may be a list, a set or a dict, which `+=` changes in place."""
        if isinstance(value, Const):
            return isinstance(value.value, list | set | dict)
        if isinstance(value, Column):
            return value.name not in self.scalars
        if isinstance(value, Call) and value.op == "apply":
            return getattr(value.args[0], "value").module in _OF_LISTS  # noqa: B009 - a constant's
        return isinstance(value, Call) and OPERATIONS[value.op].returns in (list, set, dict)


def _part(tree: Expr, at: int | None) -> Expr:
    """Return one of the values that the leaves of a step's tree have; None: all that may raise."""
    if not isinstance(tree, Call):
        return tree
    match tree.op:
        case "leaf":
            return Call("tuple", tree.args) if at is None else tree.args[at]
        case "if":
            test, one, other = tree.args
            return Call("if", (test, _part(one, at), _part(other, at)))
        case "then":
            return then(tree.args[0], _part(tree.args[1], at))
        case "catch":
            tried, value, *ways = tree.args
            parts = [_part(w, at) if i % 2 else w for i, w in enumerate(ways)]
            return Call("catch", (_part(tried, None), _part(value, at), *parts))
    return tree


def bound_names(body: Sequence[ast.AST]) -> set[str]:
    """Return the names that parts of a source bind."""
    nodes = (n for s in body for n in ast.walk(s))
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _is_whole(value: Any) -> TypeGuard[Const]:
    return isinstance(value, Const) and type(value.value) is int


class _SlowLoopError(Exception):
    """A loop does more than look or count."""


@dataclass(frozen=True)
class _Hit:
    """A loop that returns a constant at the first element for which a test is true."""

    test: Expr
    answer: Expr


@dataclass(frozen=True)
class _Counted:
    """A loop that adds a value to a name for each element for which a test is true."""

    name: str
    value: Expr
    test: Expr


def _all_of(tests: list[Expr]) -> Expr:
    return _TRUE if not tests else tests[0] if len(tests) == 1 else Call("and", tuple(tests))
