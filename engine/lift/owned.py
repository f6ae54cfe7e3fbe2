"""Lists, sets and dicts that a function makes for itself: changing one gives its name a new value.

That is so where nothing else has the same list: each value that such a name gets is made where it
gets it, and no use of the name keeps the value elsewhere.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

# Method that changes what it is called of -> the operation that gives the value after it.
CHANGING: Mapping[str, str] = {
    "append": "appended", "add": "with_member", "discard": "without_member", "extend": "extended",
    "update": "updated",
}  # fmt: skip
# What makes a list, a set or a dict that nothing else has: by these names of Python's own.
MAKERS: Mapping[str, Any] = {
    maker.__name__: maker for maker in (Counter, OrderedDict, defaultdict, dict, list, set, sorted)
}
_MAKING_METHODS = frozenset({"copy", "rsplit", "split", "splitlines"})
_MADE = (ast.List, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp)
_ASKING = frozenset({
    "all", "any", "bool", "dict", "enumerate", "filter", "float", "frozenset", "int", "len", "list",
    "map", "max", "min", "range", "reversed", "set", "sorted", "str", "sum", "tuple", "zip",
    "Counter", "pairwise", "mean", "median",
})  # fmt: skip


@functools.lru_cache(maxsize=1_000)
def owned_names(function: ast.AST) -> frozenset[str]:
    r"""Return the names of a function whose lists, sets and dicts nothing else has.

    Examples
    --------
    >>> source = "def f(x):\n    a, b = [], []\n    a.append(1)\n    return b if a else [b]"
    >>> sorted(owned_names(ast.parse(source).body[0]))
    ['a']
    """
    above = {below: node for node in ast.walk(function) for below in ast.iter_child_nodes(node)}
    names: dict[str, list[ast.Name]] = {}
    parameters = {n.arg for n in ast.walk(function) if isinstance(n, ast.arg)}
    for node in above:
        if isinstance(node, ast.Name):
            names.setdefault(node.id, []).append(node)
    return frozenset(
        name for name, uses in names.items()
        if name not in parameters
        and any(map(_is_stored, uses))
        and all(_leaves_alone(use, above) for use in uses)
    )  # fmt: skip


@functools.lru_cache(maxsize=1_000)
def default_names(function: ast.AST) -> Mapping[str, Any]:
    """Return the owned names of a function that are a ``defaultdict``, with what is there at first.

    No use of them asks for an item but to change it: asking would put it there.
    """
    above = {below: node for node in ast.walk(function) for below in ast.iter_child_nodes(node)}
    kinds: dict[str, Any] = {}
    for node in above:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(
                func=ast.Name(id="defaultdict") | ast.Attribute(attr="defaultdict"),
                args=[ast.Name(id=kind)], keywords=[],
            )) if kind in _AT_FIRST and name in owned_names(function):  # fmt: skip
                kinds[name] = _AT_FIRST[kind]
    loads = {
        node.id for node in above if isinstance(node, ast.Name)
        for around in [above[node]]
        if isinstance(around, ast.Subscript) and around.value is node
        and isinstance(around.ctx, ast.Load)
    }  # fmt: skip
    return {name: first for name, first in kinds.items() if name not in loads}


_AT_FIRST: Mapping[str, Any] = {"int": 0, "float": 0.0, "str": ""}


def _leaves_alone(use: ast.Name, above: Mapping[ast.AST, ast.AST]) -> bool:
    around = above[use]
    if _is_stored(use):
        if isinstance(around, ast.AugAssign):
            return True
        value = _value_for(use, above)
        return value is not None and (_is_made(value) or _is_of_value(value, above))
    while isinstance(around, ast.BoolOp | ast.IfExp):
        if isinstance(around, ast.IfExp) and around.test is use:
            return True
        around = above[around]
    match around:
        case ast.Compare() | ast.If() | ast.UnaryOp() | ast.Return() | ast.FormattedValue():
            return True
        case ast.Expr() | ast.While() | ast.comprehension() | ast.For() | ast.BinOp():
            return True
        case ast.AugAssign(target=target):
            return target is not use
        case ast.Attribute() | ast.Subscript(value=ast.Name()):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _ASKING
        case ast.Call(func=ast.Attribute(attr="join")):
            return True
    return False


def _value_for(use: ast.Name, above: Mapping[ast.AST, ast.AST]) -> ast.expr | None:
    """Return what a name gets where it is assigned to, and nothing else does."""
    around = above[use]
    match around:
        case ast.Assign(targets=[target], value=value) if target is use:
            return value
        case ast.AnnAssign(value=value):
            return value
        case ast.Tuple(elts=names):
            match above[around]:
                case ast.Assign(targets=[target], value=ast.Tuple(elts=values)) if (
                    target is around and len(values) == len(names)
                ):
                    return values[names.index(use)]
    return None


def _is_made(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Name(id=name)):
            return name in MAKERS
        case ast.Call(func=ast.Attribute(value=ast.Name(id="collections"), attr=name)):
            return name in MAKERS
        case ast.Constant() | ast.Compare() | ast.JoinedStr():
            return True
    return isinstance(value, _MADE)


def _is_of_value(value: ast.expr, above: Mapping[ast.AST, ast.AST]) -> bool:
    """Tell whether a list is what a method makes of a value that the function has."""
    match value:
        case ast.Call(func=ast.Attribute(value=base, attr=name)) if name in _MAKING_METHODS:
            while isinstance(base, ast.Attribute | ast.Subscript | ast.Call):
                base = base.func if isinstance(base, ast.Call) else base.value
            names = {
                n.id for n in above if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            }
            arguments = {n.arg for n in above if isinstance(n, ast.arg)}
            return isinstance(base, ast.Name) and base.id in names | arguments
    return False


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def changed_names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names whose lists, sets or dicts statements change."""
    for statement in body:
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if (
                    method in CHANGING or method == "sort"
                ):
                    yield name
                case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store()):
                    yield name
