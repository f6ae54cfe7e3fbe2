"""A function that still fails, made as small as it gets: parts are left out one by one."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TRIES = 400


def smaller_source(source: str, fails: Callable[[str], bool]) -> str:
    """Return the smallest function found of which `fails` still holds."""
    left, found = _TRIES, True
    while found and left > 0:
        found = False
        for candidate in _smaller(source):
            left -= 1
            if left < 0:
                break
            if len(candidate) < len(source) and _fails(candidate, fails):
                source, found = candidate, True
                break
    return source


def smaller_row(
    row: Mapping[str, Any], fails: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    """Return a row of shorter texts of which `fails` still holds."""
    small = dict(row)
    for column, value in row.items():
        parts = value if isinstance(value, str) else ""
        width = len(parts) // 2
        while width:
            for at in range(0, len(parts), width):
                shorter = parts[:at] + parts[at + width :]
                if fails({**small, column: shorter}):
                    small[column] = parts = shorter
                    break
            else:
                width //= 2
    return small


def _fails(source: str, fails: Callable[[str], bool]) -> bool:
    try:
        compile(source, "f", "exec")
        return fails(source)
    except Exception:  # it makes no sense any more
        return False


def _smaller(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    for path, node in list(_paths(tree)):
        for new in _instead(node):
            made = copy.deepcopy(tree)
            if _put(made, path, copy.deepcopy(new)):
                yield ast.unparse(ast.fix_missing_locations(made))


_Path = tuple[tuple[str, int | None], ...]


def _paths(tree: ast.AST) -> Iterator[tuple[_Path, ast.AST]]:
    left: list[tuple[_Path, ast.AST]] = [((), tree)]
    while left:
        path, node = left.pop(0)
        if path and isinstance(node, ast.expr | ast.stmt):
            yield path, node
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                left.append(((*path, (name, None)), value))
            elif isinstance(value, list):
                left += [((*path, (name, i)), v) for i, v in enumerate(value)
                         if isinstance(v, ast.AST)]  # fmt: skip


def _instead(node: ast.AST) -> Iterator[ast.AST | list[Any]]:
    if isinstance(node, ast.stmt):
        yield []
        if isinstance(node, ast.If):
            yield [ast.Expr(node.test)]
        for name in ("body", "orelse"):
            inner = getattr(node, name, None)
            if inner and not isinstance(node, ast.FunctionDef):
                yield inner
    else:
        yield from (n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))
        for value in (True, None, 0, ""):
            if not isinstance(node, ast.Constant):
                yield ast.Constant(value)


def _put(tree: ast.AST, path: _Path, new: ast.AST | list[Any]) -> bool:
    node: Any = tree
    for name, i in path[:-1]:
        node = getattr(node, name) if i is None else getattr(node, name)[i]
    name, i = path[-1]
    if isinstance(new, list):
        if i is None:
            return False
        getattr(node, name)[i : i + 1] = new
    elif i is None:
        setattr(node, name, new)
    else:
        getattr(node, name)[i] = new
    return True
