"""Statements of a function's source to one tree: branches, loops over constants, returns."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from engine.lift.calls import Calls
from engine.lift.effects import raising, then
from engine.lift.expressions import binds
from engine.lift.scope import VALUES, CannotLiftError, Names, Scope, Thing, as_value
from engine.lift.syntax import statement_problem
from engine.slicing.expr import Call, Const, Expr
from engine.slicing.source import SourceError, function_node

MAX_STEPS = 200  # iterations of a loop that is unrolled statement by statement
_MUTABLE = (list, set, dict)
_BINDING = (ast.Pass, ast.Assign, ast.AnnAssign, ast.AugAssign)


class Statements(Calls):
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

    def _arguments(
        self, f: FunctionType, node: Any, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Names:
        parameters = node.args
        if parameters.vararg or parameters.kwarg:
            raise CannotLiftError(node, "it takes *args or **kwargs")
        positional = [a.arg for a in (*parameters.posonlyargs, *parameters.args)]
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
        return names

    def _block(self, body: list[ast.stmt], scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        scope = scope.bind()  # what `:=` binds here is not bound in another branch
        for at, node in enumerate(body):
            rest = body[at + 1 :]
            if isinstance(node, ast.Return):
                return Const(None) if node.value is None else self.expr(node.value, scope)
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
            if isinstance(node, ast.For):
                return self._loop(node, scope, self._behind(rest, after))
            scope, effect = self._step(node, scope)
            if effect is not None:
                return then(effect, self._block(rest, scope, after))
        return after(scope)

    def _behind(
        self, rest: list[ast.stmt], after: Callable[[Scope], Expr]
    ) -> Callable[[Scope], Expr]:
        return lambda scope: self._block(rest, scope, after)

    def _step(self, node: ast.stmt, scope: Scope) -> tuple[Scope, Expr | None]:
        """Take a statement that only binds names; return what may raise in it, too."""
        if isinstance(node, ast.Pass):
            return scope, None
        if isinstance(node, ast.Expr):
            if isinstance(node.value, ast.Constant):
                return scope, None
            return scope, raising(self.expr(node.value, scope))
        if isinstance(node, ast.Import):
            return scope.bind(**dict(self._imported(a, node) for a in node.names)), None
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            _, module = self._imported(ast.alias(node.module, "_"), node)
            names = {
                a.asname or a.name: self._attribute_of(module, a.name, node) for a in node.names
            }
            return scope.bind(**names), None
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            value = self.value(node.value, scope)
            return scope.bind(**{node.target.id: value}), raising(value)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            old = self.expr(ast.copy_location(ast.Name(node.target.id), node), scope)
            if isinstance(old, Const) and isinstance(old.value, _MUTABLE):
                raise CannotLiftError(node, f"it changes a {type(old.value).__name__} in place")
            value = self._binary(node.op, old, self.expr(node.value, scope), node)
            return scope.bind(**{node.target.id: value}), raising(value)
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            return self._assigned(node.targets[0], self.value(node.value, scope), scope)
        raise CannotLiftError(node, statement_problem(node))

    def _imported(self, alias: ast.alias, node: ast.stmt) -> tuple[str, Thing]:
        name = alias.name
        if name.partition(".")[0] not in {"re", "math", "string", "datetime", "decimal"}:
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
        if not all(isinstance(s, _BINDING) for body in bodies for s in body):
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
            elif isinstance(ours, Expr) and isinstance(other, Expr):
                names[name] = self._operation("if", test, ours, other)
            # A name that only one branch binds has no value afterwards that could be lifted.
        effect = None
        if any(e is not None for e in effects):
            effect = self._operation("if", test, *(e or Const(None) for e in effects))
        elif raising(test) is not None:
            effect = test
        return Scope(scope.f, names), effect

    def _loop(self, node: ast.For, scope: Scope, after: Callable[[Scope], Expr]) -> Expr:
        """Unroll a loop over constants."""
        values = self._items(self.value(node.iter, scope))
        if values is None:
            raise CannotLiftError(node, "it loops over something that isn't constant")
        if node.orelse:
            raise CannotLiftError(node, "it has a loop with an else")

        def scope_of(value: Any, outer: Scope) -> Scope:
            return self._assigned(node.target, value, outer)[0]

        hit = self._first_hit(node, values, scope, scope_of)
        if hit is not None:
            tests, result = hit
            left = scope_of(values[-1], scope) if values else scope
            return self._operation("if", self._operation("any", *tests), result, after(left))
        if len(values) > MAX_STEPS:
            raise CannotLiftError(node, f"it has a loop of {len(values)} steps")

        def go(at: int, inner: Scope) -> Expr:
            if at == len(values):
                return after(inner)
            return self._block(node.body, scope_of(values[at], inner), lambda s: go(at + 1, s))

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
                return tests, self.expr(value, scope)
        return None
