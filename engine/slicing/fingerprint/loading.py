"""What may have changed a place while modules were loaded: a cache that was filled is no cache.

Names alone decide: a function may run where something that may run mentions its name. Where that
says too much, a place is described by its value, which is right all the same.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from engine.slicing.fingerprint.places import MAKING, parents_of
from engine.slicing.origin import is_own
from engine.slicing.uses import last_name, uses_of

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Methods that run where code names a class: to define, subclass or call it.
_OF_CLASSES = MAKING | {"__init_subclass__", "__class_getitem__", "__prepare__"}
# What keeps the functions among its arguments, and doesn't call them.
_KEEPING = frozenset({
    "SlicingFunction", "Preprocessor", "slicing_function", "preprocessor", "NLPSlicingFunction",
    "nlp_slicing_function", "wraps", "update_wrapper", "partial", "cache", "lru_cache",
    "staticmethod", "classmethod", "property",
})  # fmt: skip
_PLAIN = frozenset({str, bytes, int, float, complex, bool, type(None)})
_BY_NAME = frozenset({"getattr", "setattr", "methodcaller", "attrgetter"})


# A module's variables, and its source.
Modules = Collection[tuple[Mapping[str, Any], str]]


@dataclass(frozen=True, slots=True)
class _Code:
    """A function's own code, without the functions in it, or a module's."""

    known_as: frozenset[str]  # names that call it; a module's has none
    names: frozenset[str]  # variables that it reads or sets
    attributes: tuple[tuple[str, str], ...]  # the variable, or nothing, and the attribute
    whole: frozenset[str]  # variables that it reads otherwise than for an attribute
    changes: frozenset[str]  # variables outside, and attributes; "" for any attribute


@dataclass(frozen=True, slots=True)
class _Part:
    """Code among its module's variables: the names that call it, and those that it may call."""

    code: _Code
    called_as: frozenset[str]
    calls: frozenset[str]


def may_have_changed(
    modules: Modules,
    name: str,
    at: Mapping[str, Any] | None = None,
    value: object = None,
    around: Collection[str] = (),
    mentions: int = 0,
) -> bool:
    r"""Tell whether code that may have run so far changes a place.

    Parameters
    ----------
    modules
        The modules of the user that are loaded.
    name
        The variable or the attribute.
    at
        The module whose variable it is; None for an attribute, or a function's variable.
    value
        What is there, by which modules' other names for it are known.
    around
        Functions around the place: they ran.
    mentions
        How often the code that makes the attribute names it.

    Examples
    --------
    >>> filled = "SEEN = {}\ndef load(): SEEN['a'] = 1\nload()"
    >>> exec(filled, variables := {})
    >>> may_have_changed([(variables, filled)], "SEEN", variables)
    True
    >>> may_have_changed([(variables, filled[:-6])], "SEEN", variables)
    False
    """
    places = {name} if at is not None else {name, ""}
    ran, left, called, named = list[_Part](), list[_Part](), set[str](), 0
    for names, text in modules:
        alike = () if type(value) in _PLAIN else names.items()
        aliases = {n for n, v in alike if v is value}
        for part in _parts(names, text):
            code = part.code
            if code.known_as and code.known_as.isdisjoint(around):
                left.append(part)
                if not code.changes.isdisjoint(places | aliases):
                    called |= part.called_as
                continue
            ran.append(part)
            named += sum(a == name and not _is_others(names.get(o)) for o, a in code.attributes)
            if named > mentions or (at is None and "" in code.changes):
                return True
            if not code.names.isdisjoint(aliases - {name} if names is at else aliases):
                return True
    while any(not part.calls.isdisjoint(called) for part in left):
        called.update(*(p.called_as for p in left if not p.calls.isdisjoint(called)))
        left = [part for part in left if part.calls.isdisjoint(called)]
    return any(not part.calls.isdisjoint(called) for part in ran)


def together(
    start: Iterable[str], modules: Mapping[str, tuple[ModuleType, Sequence[str]]]
) -> set[str]:
    """Return the modules that some import, that import these, and so on: others can't reach them.

    Parameters
    ----------
    start
        Names of modules.
    modules
        All modules of the user that are loaded, each with its source.
    """
    beside: dict[str, set[str]] = {name: set() for name in modules}
    for name, (module, texts) in modules.items():
        home = getattr(module, "__package__", None) or ""
        for other in {m for text in texts for m in _imports(text, home)} & modules.keys():
            beside[name].add(other)
            beside[other].add(name)
    near, left = set[str](), [name for name in start if name in modules]
    while left:
        name = left.pop()
        if name not in near:
            near.add(name)
            left += beside[name]
    return near


@functools.lru_cache(maxsize=10_000)
def _imports(text: str, home: str) -> frozenset[str]:
    """Return the names of the modules that a module may import, also in its functions."""
    modules = set[str]()
    for node in ast.walk(_parsed(text)):
        match node:
            case ast.Import(names=names):
                modules |= {a.name for a in names}
            case ast.ImportFrom(module=name, names=names, level=level):
                with contextlib.suppress(ImportError):
                    full = importlib.util.resolve_name("." * level + (name or ""), home)
                    modules |= {full, *(f"{full}.{a.name}" for a in names)}
            case ast.Call(func=f, args=[ast.Constant(value=str(name)), *_]):
                if last_name(f) in ("import_module", "__import__"):
                    modules.add(name)
    parts = (name.split(".") for name in modules)
    return frozenset(".".join(p[: i + 1]) for p in parts for i in range(len(p)))


_known: dict[tuple[int, str], tuple[tuple[int, ...], list[_Part]]] = {}


def _parts(names: Mapping[str, Any], text: str) -> list[_Part]:
    """Return a module's code, which is looked at again where its variables are others."""
    values = (*map(id, names.values()),)
    former, parts = _known.get((id(names), text), (None, []))
    if former != values:
        parts = [
            _Part(
                code,
                code.known_as.union(_at(name, names) for name in code.known_as),
                frozenset(_calls(names, code)),
            )
            for code in _codes(text)
        ]
        _known[id(names), text] = values, parts
    return parts


def _calls(names: Mapping[str, Any], code: _Code) -> Iterator[str]:
    """Yield what code may call: methods by name, its module's functions, others by their module."""
    for of, name in code.attributes:
        value = names.get(of)
        if not _is_others(value):
            yield name
            if type(getattr(type(value), name, None)) is FunctionType:
                yield from _as_object(value, name)
    for name in code.whole:
        value = names.get(name, names)
        if value is names:  # a variable of a function's
            if code.known_as:
                yield _at(name, names)
        elif isinstance(value, type):
            yield from (k.__name__ for k in value.__mro__)
        else:
            yield from _functions_in(value)
        if value is not names and not _is_others(value):
            yield from _as_object(value)


def _functions_in(value: object) -> Iterator[str]:
    """Yield a function, and those that it is around."""
    if type(value) is FunctionType:
        yield _at(value.__code__.co_name, value.__globals__)
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # it has no value yet
                if cell.cell_contents is not value:
                    yield from _functions_in(cell.cell_contents)


def _at(name: str, names: Mapping[str, Any]) -> str:
    return f"{name}@{id(names)}"


def _as_object(value: object, method: str | None = None) -> Iterator[str]:
    """Yield what an object's methods are called by where others call them, in theirs or any."""
    own = type(value).__mro__[:-1]
    modules = (sys.modules.get(k.__module__) for k in own if method in vars(k))
    if method is None or not any(is_own(getattr(m, "__file__", None)) for m in modules):
        yield from (f"{k.__name__}()" for k in own)


def _is_others(value: object) -> bool:
    """Tell whether a value is a module of others, or a slice."""
    if type(value) is ModuleType:
        return not is_own(getattr(value, "__file__", None))
    return type(value).__module__.partition(".")[0] == "engine"


@functools.lru_cache(maxsize=10_000)
def _codes(text: str) -> tuple[_Code, ...]:
    tree = _parsed(text)
    parents = parents_of(tree)
    functions = (node for node in ast.walk(tree) if isinstance(node, _DEFINITIONS))
    return (_code(tree, frozenset()), *(_code(f, _known_as(f, parents[f])) for f in functions))


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _known_as(node: ast.FunctionDef | ast.AsyncFunctionDef, within: ast.AST) -> frozenset[str]:
    if not isinstance(within, ast.ClassDef):
        return frozenset({node.name})
    return frozenset({node.name, within.name + "()" * (node.name not in _OF_CLASSES)})


def _code(root: ast.AST, known_as: frozenset[str]) -> _Code:
    names, attributes, whole = set[str](), list[tuple[str, str]](), set[str]()
    for node, parent in _own(root):
        match node:
            case ast.Attribute():
                attributes.append((_root(node), node.attr))
            case ast.Name():
                names.add(node.id)
                read = not isinstance(node.ctx, ast.Store)
                if read and not isinstance(parent, ast.Attribute | ast.Return):
                    whole.add(node.id)
            case ast.Call() if last_name(node.func) in _BY_NAME:
                constants = (a.value for a in node.args if isinstance(a, ast.Constant))
                attributes += (("", value) for value in constants if isinstance(value, str))
    uses = uses_of(root, inner=False)
    making = known_as & MAKING and isinstance(root, _DEFINITIONS) and root.args.args[:1]
    own = {a.arg for a in making or ()}
    changes = uses.changed | {a for of, a in uses.attributes if of not in own or not a}
    changes |= {"" for _, a in attributes if a == "__dict__"}
    return _Code(
        known_as, frozenset(names), tuple(attributes), frozenset(whole), frozenset(changes)
    )


def _own(root: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield what runs as a function or a module does, with what it is in."""
    left = [(n, root) for n in getattr(root, "body", ())]
    while left:
        node, parent = left.pop()
        yield node, parent
        if isinstance(node, _DEFINITIONS):
            defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d]
            left += [(n, node) for n in (*node.decorator_list, *defaults)]
        elif isinstance(node, ast.Call) and last_name(node.func) in _KEEPING:
            left += [
                (n, node) for n in _arguments(node) if not isinstance(n, ast.Name | ast.Lambda)
            ]
        elif isinstance(node, ast.AnnAssign):
            left += [(n, node) for n in (node.target, node.value) if n is not None]
        else:
            left += [(n, node) for n in ast.iter_child_nodes(node)]


def _arguments(call: ast.Call) -> Iterator[ast.AST]:
    """Yield a call's arguments, and what lists and dicts among them hold."""
    left: list[ast.AST] = [*call.args, *(k.value for k in call.keywords)]
    while left:
        node = left.pop()
        if isinstance(node, ast.List | ast.Tuple | ast.Dict):
            left += ast.iter_child_nodes(node)
        else:
            yield node


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
