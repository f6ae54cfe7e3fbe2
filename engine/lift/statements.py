"""Statements of a function's source to one tree: branches, loops over constants, returns."""

from __future__ import annotations

import ast
import collections
import functools
import importlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

from engine.lift.effects import raising, then
from engine.lift.expressions import binds
from engine.lift.loops import Loops, bound_names
from engine.lift.owned import CHANGING, MAKERS, changed_names, default_names, owned_names
from engine.lift.scope import (
    ROW,
    VALUES,
    CannotLiftError,
    Closure,
    Items,
    Names,
    Scope,
    Thing,
    Value,
    as_value,
    known_value,
    lasting,
)
from engine.lift.syntax import statement_problem
from engine.slicing.expr import Call, Const, Expr
from engine.slicing.source import SourceError, function_node

_MUTABLE = (list, set, dict)
_IMPORTS = frozenset({
    "calendar", "collections", "datetime", "decimal", "fractions", "functools", "itertools", "json",
    "math", "operator", "re", "statistics", "string",
})  # fmt: skip
_BINDING = (ast.Pass, ast.Assign, ast.AnnAssign, ast.AugAssign)


class Statements(Loops):
    """Reads a function statement by statement."""

    def result(self, f: FunctionType, args: Sequence[Any], keywords: Mapping[str, Any]) -> Expr:
        """Return the value of calling a function of the user's."""
        if f.__code__ in self.active:
            raise CannotLiftError(None, f"{f.__name__!r} calls itself")
        try:
            node = function_node(f)
        except SourceError as error:
            raise CannotLiftError(None, str(error)) from None
        scope = Scope(f, self._arguments(f, node, args, keywords))
        self.active.append(f.__code__)
        self.rebound.append(_rebound(node))
        self.owned.append(frozenset() if _has_own_makers(f) else owned_names(node))
        self.functions.append(node)
        try:
            if isinstance(node, ast.Lambda):
                return self.expr(node.body, scope)
            if isinstance(node, ast.AsyncFunctionDef):
                raise CannotLiftError(node, "it is a coroutine")
            if any(isinstance(n, ast.Yield | ast.YieldFrom | ast.Await) for n in ast.walk(node)):
                raise CannotLiftError(node, "it is a generator")
            return self._block(list(node.body), scope, lambda _: Const(None))
        finally:
            self.active.pop()
            self.rebound.pop()
            self.owned.pop()
            self.functions.pop()

    def result_within(
        self, f: Closure, args: Sequence[Any], keywords: Mapping[str, Any], node: ast.AST
    ) -> Value:
        """Return the value of calling a function that the function makes."""
        if f.node in self.active:
            raise CannotLiftError(node, "it makes a function that calls itself")
        arguments = f.node.args
        positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        names = dict(zip(positional, args, strict=False))
        known = {*positional, *(a.arg for a in arguments.kwonlyargs)}
        if len(args) > len(positional) or set(keywords) - known or set(keywords) & set(names):
            raise CannotLiftError(node, "it calls a function with arguments that it doesn't take")
        names |= keywords
        defaults = zip(reversed(positional), reversed(f.defaults), strict=False)
        for name, value in (*defaults, *f.keyword_defaults):
            names.setdefault(name, value)
        if known - names.keys():
            raise CannotLiftError(node, "it calls a function without an argument that it takes")
        body = f.node.body if isinstance(f.node.body, list) else [f.node.body]
        own = f.scope.own | known | bound_names(body)
        outer = {k: v for k, v in f.scope.local.items() if k not in own}
        scope = Scope(f.scope.f, {**outer, **names}, own)
        self.active.append(f.node)
        try:
            if isinstance(f.node, ast.Lambda):
                return self.value(f.node.body, scope)
            return self._block(list(f.node.body), scope, lambda _: Const(None))
        finally:
            self.active.pop()

    def _defined(self, node: ast.FunctionDef, scope: Scope) -> Scope:
        """Bind a function that the function makes."""
        parts = [n for s in node.body for n in ast.walk(s)]
        if node.decorator_list or any(
            isinstance(n, ast.Yield | ast.YieldFrom | ast.Await | ast.Nonlocal | ast.Global)
            for n in parts
        ):
            raise CannotLiftError(
                node, "it makes a function that is more than one of its arguments"
            )
        closure = self._closure(node, scope)
        self._settled(closure)
        return scope.bind(**{node.name: closure})

    def _settled(self, f: Closure) -> None:
        """Refuse a function that stays while names change that it uses."""
        used = {n.id for n in ast.walk(f.node) if isinstance(n, ast.Name)}
        if (used & f.scope.local.keys()) & self.rebound[-1]:
            raise CannotLiftError(f.node, "it makes a function of names that change")

    def _arguments(
        self, f: FunctionType, node: Any, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Names:
        parameters = node.args
        if parameters.kwarg or (parameters.vararg and any(a is ROW for a in args)):
            raise CannotLiftError(node, "it takes *args or **kwargs")
        positional = [a.arg for a in (*parameters.posonlyargs, *parameters.args)]
        more: Names = {}
        if parameters.vararg:
            more[parameters.vararg.arg] = Items(tuple(args[len(positional) :]), is_tuple=True)
            args = args[: len(positional)]
        names = dict(zip(positional, args, strict=False))
        known = {*positional, *(a.arg for a in parameters.kwonlyargs)}
        if len(args) > len(positional) or set(keywords) - known or set(keywords) & set(names):
            raise CannotLiftError(node, f"{f.__name__!r} is called with arguments it doesn't take")
        names |= {k: v if isinstance(v, VALUES) else as_value(v) for k, v in keywords.items()}
        defaults = zip(reversed(positional), reversed(f.__defaults__ or ()), strict=False)
        for name, value in [*defaults, *(f.__kwdefaults__ or {}).items()]:
            names.setdefault(name, as_value(value))
        missing = known - names.keys()
        if missing:
            raise CannotLiftError(node, f"{f.__name__!r} is called without {sorted(missing)[0]!r}")
        return names | more

    def _block(self, body: list[ast.stmt], scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        scope = scope.bind()  # what `:=` binds here is not bound in another branch
        for at, node in enumerate(body):
            rest = body[at + 1 :]
            if isinstance(node, ast.Return):
                value = Const(None) if node.value is None else self.expr(node.value, scope)
                return scope.leaves.answer(value)
            if isinstance(node, ast.Continue | ast.Break):
                go_on = isinstance(node, ast.Continue)
                return scope.leaves.go_on(scope) if go_on else scope.leaves.leave(scope)
            if isinstance(node, ast.If):
                merged = self._merged(node, scope)
                if merged is not None:
                    scope, effect = merged
                    if effect is not None:
                        return then(effect, self._block(rest, scope, after))
                    continue
                return self._branches(node, scope, self._behind(rest, after))
            if isinstance(node, ast.Raise):
                return Call("raise", ())
            if isinstance(node, ast.Assert):
                test = self.expr(node.test, scope)
                return self._operation(
                    "if", test, self._block(rest, scope, after), Call("raise", ())
                )
            if isinstance(node, ast.For | ast.Try | ast.Match):
                return self._compound(node, scope, self._behind(rest, after))
            scope, effect = self._step(node, scope)
            if effect is not None:
                return then(effect, self._block(rest, scope, after))
        return after(scope)

    def _compound(
        self, node: ast.For | ast.Try | ast.Match, scope: Scope, after: Callable[[Scope], Expr]
    ) -> Expr:
        if isinstance(node, ast.For):
            return self._loop(node, scope, after)
        if isinstance(node, ast.Try):
            return self._tried(node, scope, after)
        return self._cases(node, node.cases, scope, after)

    def _behind(
        self, rest: list[ast.stmt], after: Callable[[Scope], Expr]
    ) -> Callable[[Scope], Expr]:
        return lambda scope: self._block(rest, scope, after)

    def _step(self, node: ast.stmt, scope: Scope) -> tuple[Scope, Expr | None]:
        """Take a statement that only binds names; return what may raise in it, too."""
        if isinstance(node, ast.Pass):
            return scope, None
        if isinstance(node, ast.FunctionDef):
            return self._defined(node, scope), None
        if isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Constant):
                return scope, None
            if self._changes(node):
                return self._changed(node.value, scope)
            return scope, raising(self.expr(node.value, scope))
        if isinstance(node, ast.Import | ast.ImportFrom):
            return scope.bind(**self._imports(node)), None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            value = self.value(node.value, scope)
            return scope.bind(**{node.target.id: value}), raising(value)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            return self._added(node, node.target.id, scope)
        item = _item_store(node)
        if item is not None:
            return self._item_changed(node, item, scope)
        if isinstance(node, ast.Assign):
            value = self._assigned_value(node, scope)
            if isinstance(value, Closure):
                self._settled(value)
            effects = []
            for target in node.targets:
                scope, raised = self._assigned(target, value, scope)
                effects += [raised] if raised is not None and raised not in effects else []
            return scope, functools.reduce(then, effects) if effects else None
        raise CannotLiftError(node, statement_problem(node))

    def _added(self, node: ast.AugAssign, name: str, scope: Scope) -> tuple[Scope, Expr | None]:
        """Take ``name += value``, or another operator."""
        old = self.expr(ast.copy_location(ast.Name(name), node), scope)
        owned = name in self.owned[-1]
        if isinstance(old, Const) and isinstance(old.value, _MUTABLE) and not owned:
            raise CannotLiftError(node, f"it changes a {type(old.value).__name__} in place")
        if isinstance(old, Call) and not owned and self._may_change(old):
            raise CannotLiftError(node, f"it changes {name!r}, which others may have, too")
        value = self._binary(node.op, old, self.expr(node.value, scope), node)
        return scope.bind(**{name: value}), raising(value)

    def _assigned_value(self, node: ast.Assign, scope: Scope) -> Value:
        """Return what is assigned; a dict with values for new keys begins as one without them."""
        match node.targets, node.value:
            case [ast.Name(id=name)], ast.Call(func=f) if name in default_names(self.functions[-1]):
                if known_value(self.value(f, scope)) is defaultdict:
                    return Const({})
        return self.value(node.value, scope)

    def _changes(self, node: ast.stmt) -> bool:
        """Tell a statement that changes a list, a set or a dict that only one name has."""
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method))):
                return name in self.owned[-1] and (method in CHANGING or method == "sort")
        return False

    def _changed(self, node: Any, scope: Scope) -> tuple[Scope, Expr | None]:
        """Give a name the value that its list, set or dict has after a change."""
        old = self.expr(node.func.value, scope)
        args = [self._whole(v, node) for a in node.args for v in self._arguments_of(a, scope)]
        if len(args) != (node.func.attr != "sort") or node.keywords:
            raise CannotLiftError(node, f"it calls {node.func.attr}() with other arguments")
        op = CHANGING.get(node.func.attr, "sorted_of")
        value = self._operation(op, old, *args)
        return scope.bind(**{node.func.value.id: value}), value

    def _item_changed(
        self, node: ast.stmt, item: ast.Subscript, scope: Scope
    ) -> tuple[Scope, Expr | None]:
        """Give a name the dict or list that it has once an item of it is another one."""
        name = item.value.id if isinstance(item.value, ast.Name) else ""
        if name not in self.owned[-1] or isinstance(item.slice, ast.Slice):
            raise CannotLiftError(node, statement_problem(node))
        if isinstance(node, ast.AugAssign):
            old, key = self.expr(item.value, scope), self.expr(item.slice, scope)
            first = default_names(self.functions[-1])
            of_key = (
                self._operation("get", old, key, Const(first[name]))
                if name in first
                else self._operation("getitem", old, key)
            )
            value = self._binary(node.op, of_key, self.expr(node.value, scope), node)
        else:
            value = self.expr(node.value, scope)  # type: ignore[attr-defined]
            old, key = self.expr(item.value, scope), self.expr(item.slice, scope)
        after = self._operation("with_item", old, key, value)
        return scope.bind(**{name: after}), then(value, after)

    def _imports(self, node: ast.Import | ast.ImportFrom) -> Names:
        """Return the names that an import binds."""
        if isinstance(node, ast.Import):
            return dict(self._imported(a, node) for a in node.names)
        if node.level or not node.module:
            raise CannotLiftError(node, statement_problem(node))
        _, module = self._imported(ast.alias(node.module, "_"), node)
        return {a.asname or a.name: self._attribute_of(module, a.name, node) for a in node.names}

    def _imported(self, alias: ast.alias, node: ast.stmt) -> tuple[str, Thing]:
        name = alias.name
        if name.partition(".")[0] not in _IMPORTS:
            raise CannotLiftError(node, f"it imports {name}")
        return alias.asname or name.partition(".")[0], Thing(importlib.import_module(name))

    def _branches(self, node: ast.If, scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        test = self.expr(node.test, scope)
        if isinstance(test, Const):
            return self._block(node.body if test.value else node.orelse, scope, after)
        return self._operation(
            "if", test, self._block(node.body, scope, after), self._block(node.orelse, scope, after)
        )

    def _merged(self, node: ast.If, scope: Scope) -> tuple[Scope, Expr | None] | None:
        """Take an `if` whose branches only bind names: each name gets one conditional value."""
        bodies = (node.body, node.orelse)
        if not all(isinstance(s, _BINDING) or self._changes(s) for body in bodies for s in body):
            return None
        test = self.expr(node.test, scope)
        scopes, effects = [], []
        for body in bodies:
            inner, effect = scope.bind(), None
            for s in body:
                inner, raised = self._step(s, inner)
                effect = raised if effect is None else then(effect, raised) if raised else effect
            scopes.append(inner.local)
            effects.append(effect)
        names: Names = {}
        for name in scopes[0].keys() | scopes[1].keys():
            ours, other = scopes[0].get(name), scopes[1].get(name)
            if ours is other:
                names[name] = ours
            elif isinstance(ours, Expr | Items) and isinstance(other, Expr | Items):
                both = self._plain(ours, node), self._plain(other, node)
                names[name] = self._operation("if", test, *both)
            # A name that only one branch binds has no value afterwards that could be lifted.
        effect = None
        if any(e is not None for e in effects):
            effect = self._operation("if", test, *(e or Const(None) for e in effects))
        elif raising(test) is not None:
            effect = test
        return replace(scope, local=names), effect

    def _tried(self, node: ast.Try, scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        """Take a `try`: what is said where the body raises, and where it comes to its end."""
        if not node.handlers or not all(isinstance(s, _BINDING) for s in node.finalbody):
            raise CannotLiftError(node, "it has a try without except, or a finally that does more")
        parts = [n for s in (*node.body, *node.handlers) for n in ast.walk(s)]
        if node.finalbody and any(isinstance(n, ast.Return) for n in parts):
            raise CannotLiftError(node, "it returns before a finally")
        at_end = self._behind(node.finalbody, after)
        tried = self._block(node.body, scope, lambda _: Const(None))
        value = self._block(node.body, scope, self._behind(node.orelse, at_end))
        if raising(tried) is None:
            return value
        left = scope.bind()
        if len(node.body) > 1 or not isinstance(node.body[0], _BINDING) or binds(node.body[0]):
            for name in bound_names(node.body):
                left.local.pop(name, None)  # it may have been bound before the body raised
        ways: list[Expr] = []
        for handler in node.handlers:
            inner = left.bind()
            inner.local.pop(handler.name or "", None)
            ways += [self._caught(handler, scope), self._block(handler.body, inner, at_end)]
        return Call("catch", (tried, value, *ways))

    def _caught(self, handler: ast.ExceptHandler, scope: Scope) -> Const:
        """Return the exceptions that are caught."""
        if handler.type is None:
            return _types_const((BaseException,))
        value = self.value(handler.type, scope)
        kinds = [known_value(v) for v in (value.values if isinstance(value, Items) else (value,))]
        flat = [k for kind in kinds for k in (kind if type(kind) is tuple else (kind,))]
        if not all(type(k) is type and issubclass(k, BaseException) for k in flat):
            raise CannotLiftError(handler, "it catches what isn't an exception's class")
        return _types_const(tuple(flat))

    def _cases(
        self, node: ast.Match, cases: Sequence[ast.match_case], scope: Scope,
        after: Callable[[Scope], Expr],
    ) -> Expr:  # fmt: skip
        """Take a `match` on values as a chain of conditions."""
        subject = lasting(self.value(node.subject, scope), node)
        effect = raising(subject)
        tree = self._chain(node, cases, subject, scope, after)
        return tree if effect is None else then(effect, tree)

    def _chain(
        self, node: ast.Match, cases: Sequence[ast.match_case], subject: Value, scope: Scope,
        after: Callable[[Scope], Expr],
    ) -> Expr:  # fmt: skip
        if not cases:
            return after(scope)
        case, *others = cases
        inner = scope.bind()
        tests = self._pattern(case.pattern, subject, inner)
        if case.guard is not None:
            tests = [*tests, self.expr(case.guard, inner)]
        chosen = self._block(case.body, inner, after)
        if not tests:
            return chosen
        test = tests[0] if len(tests) == 1 else self._operation("and", *tests)
        return self._operation("if", test, chosen, self._chain(node, others, subject, scope, after))

    def _pattern(self, pattern: ast.pattern, subject: Value, scope: Scope) -> list[Expr]:
        """Return what a pattern asks of a value; bind the names that it gives."""
        match pattern:
            case ast.MatchValue(value=value):
                return [self._compared(ast.Eq(), subject, self.value(value, scope), pattern)]
            case ast.MatchSingleton(value=value):
                return [self._compared(ast.Is(), subject, Const(value), pattern)]
            case ast.MatchOr(patterns=patterns):
                names = replace(scope, local={})
                ways = [self._pattern(p, subject, names) for p in patterns]
                if names.local:
                    raise CannotLiftError(pattern, "it has a match statement that gives names")
                if not all(ways):
                    return []
                tests = [w[0] if len(w) == 1 else self._operation("all", *w) for w in ways]
                return [self._operation("any", *tests)]
            case ast.MatchAs(pattern=None, name=name):
                if name is not None:
                    scope.local[name] = subject
                return []
            case ast.MatchSequence(patterns=patterns) if (
                isinstance(subject, Items)
                and len(patterns) == len(subject.values)
                and not any(isinstance(p, ast.MatchStar) for p in patterns)
            ):
                parts = zip(patterns, subject.values, strict=True)
                return [test for p, v in parts for test in self._pattern(p, v, scope)]
        raise CannotLiftError(pattern, "it has a match statement with patterns of other kinds")


def _types_const(kinds: tuple[type[BaseException], ...]) -> Const:
    return Const(kinds, "types:" + ",".join(str(id(k)) for k in kinds))


def _rebound(node: ast.AST) -> frozenset[str]:
    """Return the names of a function that may change once they have a value."""
    arguments = [a.arg for a in ast.walk(node) if isinstance(a, ast.arg)]
    stores = [n.id for n in ast.walk(node)
              if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]  # fmt: skip
    times = Counter(arguments + stores)
    loops = (n for n in ast.walk(node) if isinstance(n, ast.For | ast.While | ast.comprehension))
    looped = {name for loop in loops for name in bound_names([loop])}
    body = getattr(node, "body", None)
    changed = set(changed_names(body)) if isinstance(body, list) else set()
    return frozenset(name for name, n in times.items() if n > 1) | looped | changed


def _has_own_makers(f: FunctionType) -> bool:
    """Tell whether names of Python's own that make lists are others' where a function is."""
    names = {**f.__globals__, **dict.fromkeys(f.__code__.co_freevars)}
    module = names.get("collections", collections)
    return module is not collections or any(
        names.get(name, maker) is not maker for name, maker in MAKERS.items()
    )


def _item_store(node: ast.stmt) -> ast.Subscript | None:
    """Return the item that a statement stores, if it stores one."""
    match node:
        case (
            ast.Assign(targets=[ast.Subscript() as item])
            | ast.AugAssign(target=ast.Subscript() as item)
        ):
            return item
    return None
