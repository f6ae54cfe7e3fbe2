"""Which expression in the source makes a value that functions change as they run.

A cache is empty at first and full later, and the same all the time. The one expression that makes
it stands for it; where there may be another expression, nothing does.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator
from typing import Any

from engine.slicing.source import Function
from engine.slicing.uses import last_name, uses_of

# Methods that make an object, rather than change it.
MAKING = frozenset({"__init__", "__new__", "__post_init__", "__setstate__", "__set_name__"})


def of_global(tree: ast.Module, name: str, writers: Collection[str]) -> ast.expr | None:
    """Return the expression that makes a module's variable.

    Parameters
    ----------
    tree
        The module.
    name
        The variable.
    writers
        Functions that change it: none may be called while the module is loaded.

    Examples
    --------
    >>> one = ast.parse("SEEN = {}")
    >>> ast.unparse(of_global(one, "SEEN", ()))
    '{}'
    >>> of_global(ast.parse("SEEN = {}; SEEN['a'] = 1"), "SEEN", ()) is None
    True
    """
    mentions, called = _at_the_top(tree)
    if not called.isdisjoint(writers) or len(mentions.get(name, ())) != 1:
        return None
    return _assigned(tree.body, mentions[name][0])


@functools.lru_cache(maxsize=64)
def _at_the_top(tree: ast.Module) -> tuple[dict[str, list[ast.Name]], set[str]]:
    """Return where a module mentions variables, outside of functions, and which it calls."""
    mentions: dict[str, list[ast.Name]] = {}
    called = set[str]()
    for node in _outside(tree.body):
        if isinstance(node, ast.Name):
            mentions.setdefault(node.id, []).append(node)
        functions = [node.func] if isinstance(node, ast.Call) else []
        functions += getattr(node, "decorator_list", ())
        called |= {f.id for f in functions if isinstance(f, ast.Name)}
    return mentions, called


def of_variable(tree: ast.Module, inner: Function, name: str) -> ast.expr | None:
    """Return the expression that makes a variable of a function around another one."""
    for node in _functions_around(tree, inner):
        a = node.args
        if name in {p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)}:
            return None
        outside = list(_outside(node.body))
        if any(isinstance(n, ast.Name) and n.id == name for n in outside):
            return _of_outside(_only_assignment(node.body, outside, name), node)
    return None


def of_default(node: Function, name: str) -> ast.expr | None:
    """Return the expression that makes a parameter's default."""
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    pairs = [*zip(reversed(plain), reversed(a.defaults), strict=False),
             *zip(a.kwonlyargs, a.kw_defaults, strict=True)]  # fmt: skip
    return next((_fresh(d) for p, d in pairs if p.arg == name and d is not None), None)


def of_attribute(
    trees: Collection[ast.Module],
    owner: ast.ClassDef | ast.Module | ast.FunctionDef | ast.AsyncFunctionDef,
    name: str,
    of_class: bool = False,
) -> ast.expr | bool:
    """Return the expression that makes an attribute of an object, a class or a function.

    False where there may be more than one; True where there is none: functions make it as they run.

    Parameters
    ----------
    trees
        The modules whose functions may set it.
    owner
        The class; for an attribute of a function, the module or function around that.
    name
        The attribute.
    of_class
        Whether it is the class's own, not an object's.
    """
    if not isinstance(owner, ast.ClassDef):
        bodies = [t.body for t in trees] + ([] if isinstance(owner, ast.Module) else [owner.body])
        mentions = [n for body in bodies for n in _outside(body) if _names(n, name)]
        values = [v for s in owner.body for v in _values_set(s, name)]
        if not mentions:
            return True
        if len(values) != 1 or len(mentions) != 1:
            return False
        return _of_outside(_fresh(values[0]), owner) or False
    if any(name in _changed_outside(tree, owner) for tree in trees):
        return False
    makers = [m for m in owner.body if isinstance(m, ast.FunctionDef) and m.name in MAKING]
    mentions = [n for m in makers for n in ast.walk(m) if _names(n, name)]
    values = [v for m in makers for s in m.body for v in _values_set(s, name)]
    if mentions and not of_class:
        if len(values) != 1 or len(mentions) != 1:
            return False
        return _of_outside(_fresh(values[0]), *makers) or False
    for s in owner.body:  # what a dataclass' constructor may take
        if isinstance(s, ast.AnnAssign) and getattr(s.target, "id", None) == name:
            return s.value if _is_no_argument(s.value) and s.value is not None else False
    outside = list(_outside(owner.body))
    value = _only_assignment(owner.body, outside, name)
    return value or not any(isinstance(n, ast.Name) and n.id == name for n in outside)


@functools.lru_cache(maxsize=1_000)
def _changed_outside(tree: ast.Module, owner: ast.ClassDef) -> frozenset[str]:
    """Return the names of attributes that a module sets or changes outside of a class."""
    rest = ast.Module([s for s in tree.body if s is not owner], [])
    return frozenset(name for _, name in uses_of(rest).attributes)


def _is_no_argument(value: ast.expr | None) -> bool:
    """Tell whether a dataclass' field says that its constructor doesn't take it."""
    return isinstance(value, ast.Call) and any(
        k.arg == "init" and isinstance(k.value, ast.Constant) and k.value.value is False
        for k in value.keywords
    )


def around(
    tree: ast.Module, inner: Function
) -> ast.Module | ast.FunctionDef | ast.AsyncFunctionDef:
    """Return the function around a function, or its module."""
    return next(_functions_around(tree, inner), tree)


def _functions_around(
    tree: ast.Module, inner: ast.AST
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    parents = parents_of(tree)
    while inner in parents:
        inner = parents[inner]
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner


def _outside(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield what is in statements, but not in the functions that they define."""
    left: list[ast.AST] = [*body]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += [*node.decorator_list, *node.args.defaults]
            left += [d for d in node.args.kw_defaults if d is not None]
        elif isinstance(node, ast.Lambda):
            left += [*node.args.defaults]
        else:
            left += ast.iter_child_nodes(node)


def _only_assignment(body: list[ast.stmt], outside: list[ast.AST], name: str) -> ast.expr | None:
    mentions = [n for n in outside if isinstance(n, ast.Name) and n.id == name]
    return _assigned(body, mentions[0]) if len(mentions) == 1 else None


def _assigned(body: list[ast.stmt], target: ast.Name) -> ast.expr | None:
    """Return what one of some statements assigns to a variable that stands there."""
    return next((_fresh(v) for s in body for t, v in _pairs(s) if t is target), None)


def _values_set(s: ast.stmt, name: str) -> Iterator[ast.expr]:
    """Yield what a statement sets an attribute to."""
    for target, value in _pairs(s):
        if isinstance(target, ast.Attribute) and target.attr == name:
            yield value


def _pairs(s: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield an assignment's targets with what each is set to."""
    if isinstance(s, ast.AnnAssign) and s.value is not None:
        yield s.target, s.value
    for target in s.targets if isinstance(s, ast.Assign) else ():
        value = s.value  # type: ignore[attr-defined]
        targets, values = getattr(target, "elts", []), getattr(value, "elts", [])
        if targets and len(targets) == len(values):
            yield from zip(targets, values, strict=True)
        else:
            yield target, value


def _names(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Attribute) and node.attr == name:
        return True
    return isinstance(node, ast.Constant) and node.value == name  # setattr(x, "name", …)


def _fresh(value: ast.expr) -> ast.expr | None:
    """Return an expression that makes the same every time: constants, displays, classes called."""
    for node in ast.walk(value):
        if isinstance(node, ast.Lambda | ast.GeneratorExp | ast.Await | ast.NamedExpr):
            return None
        called = (last_name(node.func) or "open") if isinstance(node, ast.Call) else ""
        if called[:1].islower() and called not in _MAKERS:
            return None
    return value


def value_of(node: ast.expr) -> tuple[Any, ...]:
    """Return what an expression makes, in a tuple, where its text alone tells; else nothing.

    Examples
    --------
    >>> [value_of(ast.parse(t, mode="eval").body) for t in ("{}", "set()", "[0]", "other")]
    [({},), (set(),), ([0],), ()]
    """
    empty = isinstance(node, ast.Call) and not node.args and not node.keywords
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and empty:
        make = _EMPTY.get(node.func.id)
        return () if make is None else (make(),)
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ()


def _of_outside(value: ast.expr | None, *makers: ast.AST) -> ast.expr | None:
    """Return an expression unless it reads a function's own variables: those differ by call."""
    if value is None:
        return None
    if makers and isinstance(makers[0], ast.Module):
        return value
    own = {n.arg for m in makers for n in ast.walk(m) if isinstance(n, ast.arg)}
    own |= {n.id for m in makers for n in ast.walk(m)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}  # fmt: skip
    read = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
    return None if read & own else value


_EMPTY: dict[str, type] = {"dict": dict, "list": list, "set": set, "frozenset": frozenset}
# What makes the same of the same arguments, though its name is no class's.
_MAKERS = frozenset({
    "dict", "list", "set", "tuple", "frozenset", "int", "str", "float", "bool", "bytes",
    "bytearray", "defaultdict", "deque", "default_rng", "zeros", "ones", "empty", "array", "range",
    "count", "local", "ref",
})  # fmt: skip


@functools.lru_cache(maxsize=64)
def parents_of(tree: ast.Module) -> dict[ast.AST, ast.AST]:
    """Return the node that each node of a module is in."""
    return {below: node for node in ast.walk(tree) for below in ast.iter_child_nodes(node)}
