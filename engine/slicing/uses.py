"""What a piece of source says and uses: its text in a normal form, and the names that it reads.

The text leaves out what can't change an answer (comments, formatting, docstrings, annotations),
and is the same in every Python version.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Chain = tuple[str, ...]  # attributes read one after the other

# Methods that change what they are called on.
CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend",
    "extendleft", "insert", "intersection_update", "move_to_end", "pop", "popitem", "popleft",
    "remove", "reverse", "rotate", "setdefault", "sort", "subtract",
    "symmetric_difference_update", "update",
})  # fmt: skip
_NOT_SAID = frozenset({"annotation", "ctx", "kind", "returns", "type_comment", "type_params"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BY_TEXT = frozenset({"resolve_name", "run_module", "run_path"})
_NAMESPACES = frozenset({"globals", "eval", "exec"})


@dataclass(frozen=True, slots=True)
class Import:
    """A module that a function imports when it is called.

    Attributes
    ----------
    alias
        The name that it binds.
    module, level
        The module, and how many packages up from the function's it is looked for.
    name
        What it imports from the module; None for the module itself.
    top
        Whether the name means the module's topmost package.
    """

    alias: str
    module: str
    level: int = 0
    name: str | None = None
    top: bool = False


@dataclass(slots=True)
class Uses:
    """What a piece of source uses of what is around it.

    Attributes
    ----------
    chains
        Name to the attributes that are read from it; an empty chain where it is used as a whole.
    imports
        What it imports.
    whole
        Whether it may use any name of its module.
    unknown
        Functions called that import what the source doesn't tell, with a clause each.
    changed
        Names whose values it changes or binds anew, outside of itself.
    attributes
        Attributes that it sets or changes: the name before the dot, or nothing, and theirs.
    """

    chains: dict[str, set[Chain]] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)
    whole: bool = False
    unknown: dict[str, str] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    attributes: set[tuple[str, str]] = field(default_factory=set)


def body_of(node: ast.AST) -> Sequence[ast.AST]:
    """Return what of a function runs when it is called: no decorators, no defaults."""
    if isinstance(node, ast.Lambda):
        return [node.body]
    return node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else [node]


def text_of(node: ast.AST) -> str:
    """Return a function or an expression in a normal form.

    Examples
    --------
    >>> one, other = "lambda x: x.n>1 # big", "lambda x : (x.n > 1)"
    >>> text_of(ast.parse(one).body[0]) == text_of(ast.parse(other).body[0])
    True
    """
    if isinstance(node, _FUNCTIONS):
        a = node.args
        names = [[p.arg for p in group] for group in (a.posonlyargs, a.args, a.kwonlyargs)]
        rest = [p and p.arg for p in (a.vararg, a.kwarg)]
        kind = f"{type(node).__name__}:{getattr(node, 'name', '')}:{names}{rest}"
        return kind + _normal(body_of(node))
    return _normal([node])


def _normal(nodes: Sequence[ast.AST]) -> str:
    """Write nodes out, without recursion: sums of a thousand terms are deep."""
    out: list[str] = []
    left: list[object] = [list(nodes)]
    while left:
        item = left.pop()
        if isinstance(item, ast.AnnAssign) and item.value is not None:
            item = ast.Assign([item.target], item.value)
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, list):
            left += ["]", *(i for i in reversed(item) if not _says_nothing(i)), "["]
        elif isinstance(item, ast.Constant | ast.MatchSingleton):
            out.append(f"{type(item.value).__name__}:{_plain(item.value)},")
        elif isinstance(item, ast.AST):
            out.append(f"{type(item).__name__}(")
            left.append(")")
            for name, value in reversed(list(_fields(item))):
                left += [value, f"{name}="]
        else:
            out.append(f"{type(item).__name__}:{_plain(item)},")
    return "".join(out)


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name in node._fields:
        value = getattr(node, name, None)
        if value is not None and value != [] and name not in _NOT_SAID:
            yield name, value
    if isinstance(node, ast.ClassDef):  # what a field is annotated with may be looked at
        yield "fields", [n.annotation for n in node.body if isinstance(n, ast.AnnAssign)]


def last_name(f: ast.AST) -> str:
    """Return what a function is called by where it is called, without what is before the dot."""
    return f.id if isinstance(f, ast.Name) else getattr(f, "attr", "")


def _plain(value: object) -> str:
    return hex(value) if type(value) is int else repr(value)  # repr refuses very long numbers


def _says_nothing(node: object) -> bool:
    """Tell whether a statement has no effect: a docstring, `pass`."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or isinstance(node, ast.Pass)


def uses_of(node: ast.AST, inner: bool = True) -> Uses:
    """Return what a function or an expression uses; also the functions in it, or without them.

    Examples
    --------
    >>> used = uses_of(ast.parse("lambda x: words.bad(x.t) or getattr(words, 'worse')").body[0])
    >>> sorted(used.chains["words"])
    [('bad',), ('worse',)]
    """
    walk = _Walk(inner)
    for part in body_of(node):
        walk.visit(part)
    walk.uses.changed |= {walk.aliases.get(n, n) for n in walk.uses.changed}
    return walk.uses


class _Walk:
    def __init__(self, inner: bool) -> None:
        self.uses, self.inner = Uses(), inner
        self.aliases: dict[str, str] = {}

    def visit(self, root: ast.AST) -> None:
        left = [root]
        while left:
            node = left.pop()
            do = _VISIT.get(type(node))
            below = ast.iter_child_nodes(node) if do is None else do(self, node)
            left += reversed([*(below or ())])

    def read(self, name: str, chain: Chain) -> None:
        self.uses.chains.setdefault(name, set()).add(chain)

    def name(self, node: ast.Name) -> None:
        self.read(node.id, ())

    def attribute(self, node: ast.AST) -> Iterator[ast.AST]:
        """Read `a.b.c` and `getattr(a, "b")` as chains; visit all else as it stands."""
        chain: list[str] = []
        base = node
        while (step := _one_attribute(base)) is not None:
            name, base, others = step
            chain.append(name)
            yield from others
        attributes = tuple(reversed(chain))
        imported = _imported(base)
        if imported is not None:
            self.take_import(imported, attributes)
        elif isinstance(base, ast.Name):
            self.read(base.id, attributes)
        elif base is node:
            yield from ast.iter_child_nodes(node)
        else:
            yield base

    def call(self, node: ast.Call) -> Iterator[ast.AST]:
        f, called = node.func, last_name(node.func)
        if called in _NAMESPACES or (called in {"vars", "dir"} and not node.args):
            self.uses.whole = True
        if called in {"import_module", "__import__"} and _imported(node) is None:
            self.uses.unknown[called] = "with a name that isn't constant"
        if called in _BY_TEXT:
            self.uses.unknown[called] = "which finds code by a text"
        if isinstance(f, ast.Attribute) and f.attr in CHANGING:
            self.change(f.value)
        if called in {"setattr", "delattr"} and len(node.args) > 1:
            of, name = node.args[:2]
            named = str(name.value) if isinstance(name, ast.Constant) else ""
            self.uses.attributes.add((getattr(of, "id", ""), named))
        yield from self.attribute(node)

    def change(self, place: ast.AST) -> None:
        """Note a change in place of what stands there."""
        while isinstance(place, ast.Subscript | ast.Call | ast.Starred):
            place = place.func if isinstance(place, ast.Call) else place.value
            if isinstance(place, ast.Attribute) and place.attr in {*CHANGING, "get", "values"}:
                place = place.value
        if isinstance(place, ast.Attribute):
            self.uses.attributes.add((getattr(place.value, "id", ""), place.attr))
        elif isinstance(place, ast.Name):
            self.uses.changed.add(place.id)
        elif isinstance(place, ast.Tuple | ast.List):
            for part in place.elts:
                if not isinstance(part, ast.Name):
                    self.change(part)

    def assign(self, node: ast.AST) -> Iterator[ast.AST]:
        targets = getattr(node, "targets", None) or [node.target]  # type: ignore[attr-defined]
        value = getattr(node, "value", None)
        for target in targets:
            if not isinstance(target, ast.Name) or isinstance(node, ast.AugAssign):
                self.change(target)
            elif isinstance(value, ast.Name):
                self.aliases[target.id] = self.aliases.get(value.id, value.id)
            yield target
        yield from (n for n in (value, getattr(node, "iter", None)) if n is not None)
        yield from (*getattr(node, "body", ()), *getattr(node, "orelse", ()))

    def outer(self, node: ast.Global | ast.Nonlocal) -> None:
        self.uses.changed.update(node.names)

    def take_import(self, imported: Import, chain: Chain) -> None:
        if imported not in self.uses.imports:
            self.uses.imports.append(imported)
        self.read(imported.alias, chain)

    def import_(self, node: ast.Import) -> None:
        self.uses.imports += (
            Import(a.asname or a.name.partition(".")[0], a.name, top=a.asname is None)
            for a in node.names
        )

    def import_from(self, node: ast.ImportFrom) -> None:
        self.uses.imports += (
            Import(a.asname or a.name, node.module or "", node.level, a.name) for a in node.names
        )

    def function(self, node: ast.AST) -> Iterator[ast.AST]:
        """Visit a function inside: its decorators and defaults run, too."""
        args: ast.arguments = node.args  # type: ignore[attr-defined]
        yield from getattr(node, "decorator_list", ())
        yield from (d for d in (*args.defaults, *args.kw_defaults) if d is not None)
        if self.inner or isinstance(node, ast.Lambda):
            yield from body_of(node)


def _one_attribute(node: ast.AST) -> tuple[str, ast.AST, Sequence[ast.AST]] | None:
    """Return an attribute's name, what it is read from, and what else is evaluated."""
    match node:
        case ast.Attribute():
            return node.attr, node.value, ()
        case ast.Call(
            func=ast.Name(id="getattr"), args=[of, ast.Constant(value=str(name)), *default]
        ):
            return name, of, default
    return None


def _imported(node: ast.AST) -> Import | None:
    """Return the module that `import_module("m")` or `sys.modules["m"]` is."""
    match node:
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__" as called)
            | ast.Attribute(attr="import_module" | "__import__" as called),
            args=[ast.Constant(value=str(name)), *_],
        ):
            bare = name.lstrip(".")
            return Import(f"<{name}>", bare, len(name) - len(bare), top=called == "__import__")
        case ast.Subscript(
            value=ast.Attribute(value=ast.Name(id="sys"), attr="modules"),
            slice=ast.Constant(value=str(name)),
        ):
            return Import(f"<{name}>", name)
    return None


# What a node says, and what below it is visited next; all of it where there is nothing special.
_VISIT: Mapping[type, Callable[[_Walk, Any], Iterator[ast.AST] | None]] = {
    ast.Name: _Walk.name,
    ast.Attribute: _Walk.attribute,
    ast.Subscript: _Walk.attribute,
    ast.Call: _Walk.call,
    ast.Assign: _Walk.assign,
    ast.AugAssign: _Walk.assign,
    ast.AnnAssign: _Walk.assign,
    ast.Delete: _Walk.assign,
    ast.For: _Walk.assign,
    ast.Global: _Walk.outer,
    ast.Nonlocal: _Walk.outer,
    ast.Import: _Walk.import_,
    ast.ImportFrom: _Walk.import_from,
    ast.FunctionDef: _Walk.function,
    ast.AsyncFunctionDef: _Walk.function,
    ast.Lambda: _Walk.function,
}
