"""Why some syntax of Python isn't lifted, in words."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import ModuleType
from typing import Any

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


def statement_problem(node: ast.stmt) -> str:
    """Say why a statement is not lifted."""
    return _WORDS.get(type(node), f"it has a statement ({type(node).__name__})")


def expression_problem(node: ast.expr) -> str:
    """Say why an expression is not lifted."""
    return _WORDS.get(type(node), f"it has an expression ({type(node).__name__})")


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    return f"a {type(value).__name__}" if not isinstance(value, ModuleType) else value.__name__
