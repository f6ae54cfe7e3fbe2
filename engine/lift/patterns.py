"""Calls of ``re``, and of what it compiled, to trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from engine.lift.expressions import Expressions
from engine.lift.modest import MOST_SEARCHED
from engine.lift.scope import (
    CannotLiftError,
    Generator,
    Names,
    PatternSyntaxError,
    Value,
    known_value,
)
from engine.ops.operations import OPERATIONS, Op, written
from engine.slicing.expr import Call, Const, Expr

_SEARCHES: Mapping[Any, Op] = {op.source: op for op in written("pattern").values()}
# What makes something of a text by a pattern, and what its arguments are called behind that.
_REWRITING: Mapping[str, tuple[str, ...]] = {
    "sub": ("repl", "string", "count"), "split": ("string", "maxsplit"), "finditer": ("string",),
}  # fmt: skip
RE_FUNCTIONS: Mapping[Any, str] = {
    getattr(re, name): name
    for name in ("compile", "search", "match", "fullmatch", "findall", *_REWRITING)
}


class Patterns(Expressions):
    """Reads calls of ``re``."""

    def _pattern_method(
        self, pattern: re.Pattern[Any], name: str, args: list[Any], keywords: Names, node: ast.AST
    ) -> Value:
        if name in _SEARCHES and len(args) == 1 and not keywords:
            return self._regex(name, pattern, args[0], node)
        if name in _REWRITING:
            return self._rewritten(name, pattern, args, keywords, node)
        raise CannotLiftError(node, f"it calls {name}() of a pattern")

    def _re_function(self, name: str, args: list[Any], keywords: Names, node: ast.AST) -> Value:
        """Return what a function of ``re`` gives."""
        order = ("pattern", *_REWRITING.get(name, ("string",)), "flags")
        if name == "compile":
            order = ("pattern", "flags")
        by_name = dict(zip(order, args, strict=False)) | keywords
        if len(args) > len(order) or not set(by_name) <= set(order) or "pattern" not in by_name:
            raise CannotLiftError(node, f"it calls re.{name} with other arguments")
        pattern, flags = by_name.pop("pattern"), by_name.pop("flags", Const(0))
        if type(known_value(flags)) is re.RegexFlag:
            flags = Const(int(known_value(flags)))
        if not isinstance(pattern, Const) or not isinstance(flags, Const):
            raise CannotLiftError(node, f"it calls re.{name} with a pattern that isn't constant")
        compiled = self._compiled(pattern.value, flags.value)
        if name == "compile":
            return Const(compiled)
        if "string" not in by_name:
            raise CannotLiftError(node, f"it calls re.{name} without a string")
        if name in _REWRITING:
            return self._rewritten(name, compiled, [], by_name, node)
        return self._regex(name, compiled, by_name["string"], node)

    def _rewritten(
        self, name: str, pattern: re.Pattern[Any], args: list[Any], keywords: Names, node: ast.AST
    ) -> Value:
        """Return what a pattern's ``sub``, ``split`` or ``finditer`` makes of a text."""
        order = _REWRITING[name]
        by_name = dict(zip(order, args, strict=False)) | keywords
        if len(args) > len(order) or not set(by_name) <= set(order) or "string" not in by_name:
            raise CannotLiftError(node, f"it calls re.{name} with other arguments")
        text = self._plain(by_name["string"], node)
        if name == "finditer":
            return Generator(self._operation("finditer", Const(pattern), text))
        n = self._plain(by_name.get(order[-1], Const(0)), node)
        if name == "split":
            return self._folded(OPERATIONS["re_split"], Const(pattern), text, n)
        repl = by_name.get("repl")
        if not isinstance(repl, Const):
            raise CannotLiftError(node, "it calls re.sub with a replacement that isn't constant")
        return self._folded(OPERATIONS["re_sub"], Const(pattern), text, repl, n)

    def _compiled(self, pattern: Any, flags: Any) -> re.Pattern[Any]:
        try:
            return re.compile(pattern, flags)
        except re.error as error:
            raise PatternSyntaxError(str(pattern), error) from None
        except (TypeError, ValueError) as error:
            raise CannotLiftError(None, f"its pattern can't be compiled: {error}") from None

    def _regex(self, name: str, pattern: re.Pattern[Any], text: Value, node: ast.AST) -> Expr:
        text = self._plain(text, node)
        if isinstance(text, Const):
            return self._folded_search(name, pattern, text)
        return self._operation(_SEARCHES[name].name, Const(pattern), text)

    def _folded_search(self, name: str, pattern: re.Pattern[Any], text: Const) -> Expr:
        if isinstance(text.value, str | bytes) and len(text.value) > MOST_SEARCHED:
            raise CannotLiftError(None, "it looks for a pattern in a constant that is long")
        try:
            match = getattr(pattern, name)(text.value)
        except TypeError:
            match = ...  # it raises where control gets there
        if match is None or (name == "findall" and match is not ...):
            return Const(match)
        return Call(_SEARCHES[name].name, (Const(pattern), text))  # a match isn't constant
