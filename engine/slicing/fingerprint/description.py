"""What a function depends on, described the same in every process: what fingerprints are made of.

What will run is described by its source, what has run by what it left: a function by its text and
by what that names, a value by what it holds. The user's own code is described whole, others' by
its name and version (:mod:`engine.slicing.origin`). A place that the functions themselves change,
such as a cache, is described by the expression that made it
(:mod:`engine.slicing.fingerprint.places`).
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import abc
import ast
import builtins
import copyreg
import dis
import enum
import functools
import importlib
import importlib.util
import inspect
import linecache
import pickle
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.slicing.expr import Const, Expr, Lookup, Mask
from engine.slicing.fingerprint import places
from engine.slicing.fingerprint.loading import Loaded, together
from engine.slicing.fingerprint.parts import Home, Named, Parts, parts_of
from engine.slicing.ids import digest
from engine.slicing.origin import MEANING, file_digest, is_own, package, version_of
from engine.slicing.source import Function, SourceError, located
from engine.slicing.uses import Chain, Import, Uses, text_of, uses_of

# What a function says without effect, and the names by which it is read all the same.
_TOLD = {
    "__annotations__": frozenset({
        "__annotations__", "get_type_hints", "get_annotations", "signature", "getfullargspec",
    }),
    "__doc__": frozenset({"__doc__", "getdoc"}),
}  # fmt: skip
_PLAIN = frozenset({str, bytes, int, float, complex, bool, type(None), type(Ellipsis)})
# Names of a module that say where it is, not what it does.
_ABOUT_MODULES = frozenset(
    f"__{name}__"
    for name in (
        "annotations", "builtins", "cached", "doc", "file", "loader", "name", "package", "path",
        "spec",
    )
)  # fmt: skip
# Attributes of a class that say nothing about what it does, or that Python makes of the others.
_ABOUT = frozenset(
    f"__{name}__"
    for name in (
        "abstractmethods", "annotate", "annotate_func", "annotations", "annotations_cache",
        "classdictcell", "conditional_annotations", "dataclass_fields", "dataclass_params", "dict",
        "doc", "firstlineno", "module", "non_callable_proto_members", "orig_bases", "parameters",
        "protocol_attrs", "static_attributes", "type_params", "weakref",
    )
) | {"_abc_impl", "_is_protocol", "_is_runtime_protocol"}  # fmt: skip


def references(f: types.FunctionType) -> dict[str, Any]:
    """Return the globals and closed-over values that a function uses, by name.

    Examples
    --------
    >>> least = 3
    >>> sorted(references(lambda words: [w for w in words if len(w) >= least]))
    ['least']
    """
    used = _global_names(f.__code__)
    return {name: f.__globals__[name] for name in used if name in f.__globals__} | {
        name: cell.cell_contents for name, cell in _cells(f).items()
    }


def describe(kind: type, parts: Callable[[Any], Parts]) -> None:
    """Say what the objects of a type depend on, where the type is above this file.

    Parameters
    ----------
    kind
        The type.
    parts
        Returns an object's parts.
    """
    _OWN[kind] = lambda _, value: parts(value)


@dataclass(frozen=True)
class Described:
    """What a value depends on.

    Attributes
    ----------
    digest
        Hex digits that change when it does.
    unknown
        What of it can't be described, a clause each.
    """

    digest: str
    unknown: tuple[str, ...] = ()


def described(value: Any, functions: Iterable[Callable[..., Any]]) -> Described:
    """Describe a value.

    Parameters
    ----------
    value
        What is described.
    functions
        The functions that it is about: what is in their packages is the user's own, even where
        it is installed.

    Examples
    --------
    >>> described([1], ()) == described([1], ()), described([1], ()) == described([True], ())
    (True, False)
    """
    about = _Walk([*functions], _Changed())
    text = about.of(value)
    if about.found.matters(about.seen):
        about = _Walk(about.functions, about.found, about.trees)
        text = about.of(value)
    return Described(digest(f"{MEANING}:{text}"), tuple(dict.fromkeys(about.unknown)))


@dataclass
class _Changed:
    """The places that functions change when they run.

    Attributes
    ----------
    names
        A module's variables, by the module's names and theirs, with the functions that do it.
    cells
        Variables of a function around another one.
    attributes
        Names of attributes, of whatever object.
    items
        Names of classes that change their own items.
    told
        What is read that else says nothing: docstrings, annotations.
    """

    names: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    cells: dict[int, types.CellType] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)

    def matters(self, attributes: set[str]) -> bool:
        """Tell whether something that was described by its value is such a place."""
        own = self.names or self.cells or self.items or self.told
        return bool(own or self.attributes & attributes)


@dataclass(frozen=True, eq=False)
class _Made:
    """An expression that made what functions change, and the function beside which it stands."""

    node: ast.expr
    beside: types.FunctionType


@dataclass(slots=True)
class _Frame:
    name: str
    value: Any
    parts: Parts
    texts: list[str] = field(default_factory=list)


class _Walk:
    """Describes a value, and what is below it, each once."""

    def __init__(
        self,
        functions: list[Callable[..., Any]],
        changed: _Changed,
        trees: Iterable[ast.Module] = (),
    ) -> None:
        self.functions, self.changed, self.trees = functions, changed, {*trees}
        self.found, self.seen = _Changed(), set[str]()
        self.unknown: list[str] = []
        modules = [m for m in map(_module_of, functions) if m is not None]
        self._homes = {package(m) for m in modules} - sys.stdlib_module_names - {"", "builtins"}
        self._folders = tuple({f for m in modules if (f := _folder(m)) is not None})
        self._known: dict[int, tuple[Any, str]] = {}  # keeps the value, so that its id stays its
        self._cycles: dict[int, int] = {}
        self._made: dict[Any, _Made] = {}

    def of(self, root: Any) -> str:
        """Return a value's text if it is plain, else a digest. Deep values need no deep stack."""
        stack = [_Frame("", self, Parts("", [("", root)]))]
        opened = {id(self)}
        while True:
            frame = stack[-1]
            if len(frame.texts) < len(frame.parts.below):
                name, value = frame.parts.below[len(frame.texts)]
                text = self.text(value)
                if text is None and id(value) in self._known:
                    text = self._known[id(value)][1]
                elif text is None and id(value) in opened:
                    text = f"cycle:{self._cycles.setdefault(id(value), len(self._cycles))}"
                if text is not None:
                    frame.texts.append(f"{name}={text}")
                    continue
                parts = self._parts(value)
                stack.append(_Frame(name, value, parts))
                opened.add(id(value))
                if parts.unknown:
                    path = ".".join(f.name for f in stack if f.name) or "its function"
                    self.unknown.append(f"uses {path.replace('.[', '[')}, {parts.unknown}")
                continue
            if len(stack) == 1:
                return frame.texts[0]
            texts = frame.texts if frame.parts.ordered else sorted(frame.texts)
            number = self._cycles.get(id(frame.value), "")
            text = digest(f"{number}{frame.parts.label}({','.join(texts)})")
            self._known[id(frame.value)] = frame.value, text
            opened.discard(id(frame.value))
            stack.pop()
            stack[-1].texts.append(f"{frame.name}={text}")

    def text(self, value: Any) -> str | None:
        """Return a plain value as text, None for any other."""
        kind = type(value)
        if kind not in _PLAIN:
            return None
        if kind is int:
            return f"int:{value:x}"  # its decimal digits may be too many
        if kind is str:
            for folder in self._folders:  # a path into the project, which may be moved
                if value.startswith(folder):
                    return f"str:here:{value[len(folder) :]!r}"
        return f"{kind.__name__}:{value!r}"

    def _parts(self, value: Any) -> Parts:
        kind = type(value)  # what it says of itself may be another's: a proxy's
        if kind in _OWN:
            return _OWN[kind](self, value)
        if issubclass(kind, Expr):
            return Parts(_tree(value))
        if issubclass(kind, type):
            return self._class(value)
        if issubclass(kind, types.ModuleType):
            return self._module(value)
        known = parts_of(value, self.text)
        return self._object(value) if known is None else known

    # Functions

    def _function(self, f: types.FunctionType) -> Parts:
        if not self._is_own_code(f):
            return self._others_function(f)
        try:
            node, tree = located(f)
        except SourceError as error:
            return self._compiled(f, str(error))
        text, uses = _source(node)
        self.trees.add(tree)
        self._note(f, uses)
        below = [*self._defaults(f, node, uses), *self._used(f, uses, f.__code__)]
        below += self._held(f, [(k, v) for k, v in vars(f).items() if k != "__wrapped__"],
                            places.around(tree, node))  # fmt: skip
        below += [(called, _Unknown("import", why)) for called, why in uses.unknown.items()]
        below += [(told, getattr(f, told)) for told in sorted(self.changed.told)]
        name = f.__code__.co_name
        return Parts(f"function:{text}", [(f"{name}.{n}", v) for n, v in below])

    def _compiled(self, f: types.FunctionType, why: str) -> Parts:
        """Describe a function without source by its code, which every Python has its own of."""
        imports = [Import(n, n) for n in _imported_names(f.__code__)]
        names = [*_global_names(f.__code__), *f.__code__.co_freevars, *(i.alias for i in imports)]
        uses = Uses({name: {()} for name in names}, imports)
        below = [("", f.__code__), *self._defaults(f, None, uses)]
        below += [*self._used(f, uses, f.__code__), *vars(f).items()]
        return Parts("function", below, unknown=f"a function that counts as compiled, for {why}")

    def _code(self, code: types.CodeType) -> Parts:
        about = code.co_names, code.co_varnames, code.co_code.hex()
        return Parts(f"code:{about}", [("", c) for c in code.co_consts])

    def _others_function(self, f: types.FunctionType) -> Parts:
        """Describe a function of others' by its name, and by what of the user's it holds."""
        home = str(f.__globals__.get("__name__"))
        label = f"function:{home}.{f.__code__.co_qualname}"
        below: list[Named] = [("", Home(home))]
        if _is_importable(f):
            return Parts(label, below)
        registry = vars(f).get("registry")  # functools.singledispatch, which has a cache, too
        if home == "functools" and registry is not None:
            every = sorted(registry.items(), key=lambda item: item[0].__qualname__)
            return Parts(label, [*below, *((k.__qualname__, (k, v)) for k, v in every)])
        try:
            changed = uses_of(located(f)[0]).changed
        except SourceError:
            changed = set()
        below += [(n, c.cell_contents) for n, c in _cells(f).items() if n not in changed]
        below += [("", f.__defaults__), ("", f.__kwdefaults__)]
        if "__wrapped__" in vars(f):
            below.append(("", vars(f)["__wrapped__"]))
        return Parts(label, below)

    def _defaults(
        self, f: types.FunctionType, node: Function | None, uses: Uses
    ) -> Iterator[Named]:
        code = f.__code__
        names = code.co_varnames[: code.co_argcount]
        given = [*zip(reversed(names), reversed(f.__defaults__ or ()), strict=False)]
        for name, value in sorted([*given, *(f.__kwdefaults__ or {}).items()]):
            made = places.of_default(node, name) if node and name in uses.changed else None
            if made is None or self._loaded.may_have_changed(name, around=_around(f)):
                yield name, value
            else:
                yield name, self._making(made, f, ("default", name))

    def _used(self, f: types.FunctionType, uses: Uses, code: types.CodeType) -> Iterator[Named]:
        """Yield what a function reads of what is around it."""
        for name, cell in _cells(f).items():
            if name in uses.chains:
                yield from self._read(name, self._in_cell(f, name, cell), uses.chains[name])
        names = f.__globals__
        for name in sorted(_global_names(code) & uses.chains.keys()):
            if name in names and (name not in _ABOUT_MODULES or name == "__doc__"):
                yield from self._read(name, self._in_module(f, name), uses.chains[name])
            elif name not in names and _is_put_into_builtins(name):
                yield name, getattr(builtins, name)
        if uses.whole:
            yield "globals", _Whole(names)
        for taken in uses.imports:
            yield from self._imports(taken, names, uses.chains.get(taken.alias, {()}))

    def _read(self, name: str, value: Any, chains: Iterable[Chain]) -> Iterator[Named]:
        if not self._is_own_module(value):
            yield name, value
            if any("__subclasses__" in chain for chain in chains) and isinstance(value, type):
                yield f"{name}.__subclasses__", _subclasses(value)
            if issubclass(type(value), types.ModuleType):
                for chain in sorted(chains):
                    yield from self._put_there(name, value, chain)
            return
        for chain in sorted(chains):
            yield from self._along(name, value, chain)

    def _put_there(self, path: str, value: Any, chain: Chain) -> Iterator[Named]:
        """Yield what of the user's a chain of attributes finds in a module of others."""
        for name in chain:
            if not issubclass(type(value), types.ModuleType):
                return
            path, value = f"{path}.{name}", vars(value).get(name)
        is_code = type(value) is types.FunctionType and self._is_own_code(value)
        kind = value if isinstance(value, type) else type(value)
        if is_code or self._is_own_class(kind) or isinstance(value, abc.ABCMeta):
            yield path, value

    def _along(self, path: str, module: types.ModuleType, chain: Chain) -> Iterator[Named]:
        """Yield what a chain of attributes leads to: the first that is no module of the user's."""
        if not chain or chain[0] in ("__dict__", "__getattribute__"):
            yield path, module
            return
        path, names = f"{path}.{chain[0]}", vars(module)
        if chain[0] not in names:
            if "__getattr__" in names:
                yield path, names["__getattr__"]
            return
        value = names[chain[0]]
        if self._is_own_module(value):
            yield from self._along(path, value, chain[1:])
        else:
            yield path, value

    def _imports(
        self, taken: Import, names: Mapping[str, Any], chains: Iterable[Chain]
    ) -> Iterator[Named]:
        home = names.get("__package__") or str(names.get("__name__")).rpartition(".")[0]
        try:
            full = importlib.util.resolve_name("." * taken.level + taken.module, home)
            module = self._imported(full)
            if module is None:
                yield taken.alias, Home(full)
                return
            if taken.name is None:
                value: Any = sys.modules[package(full)] if taken.top else module
            elif taken.name in vars(module) or taken.name == "*":
                value = vars(module).get(taken.name, module)
            else:
                value = self._imported(f"{full}.{taken.name}")
        except Exception as error:
            why = f"which can't be imported ({type(error).__name__}: {error})"
            yield taken.alias, _Unknown(f"import {taken.module}", why)
            return
        yield from self._read(taken.alias, value, chains)

    def _imported(self, name: str) -> types.ModuleType | None:
        """Return a module of the user's own; None for others', which may not even be there."""
        top = package(name)
        if top in sys.stdlib_module_names or top == "engine":
            return None
        loaded = sys.modules.get(top)
        if loaded is not None:
            own = self._is_own_module(loaded)
        else:
            spec = importlib.util.find_spec(top)
            own = spec is not None and (top in self._homes or _is_own_spec(spec))
        return importlib.import_module(name) if own else None

    # Places that functions change

    def _note(self, f: types.FunctionType, uses: Uses) -> None:
        """Note which places around it a function changes."""
        code = f.__code__
        for told, readers in _TOLD.items():
            if not readers.isdisjoint(name for c in _codes(code) for name in c.co_names):
                self.found.told.add(told)
        for name in uses.changed:
            if name in code.co_freevars:
                cell = _cells(f).get(name)
                if cell is not None:
                    self.found.cells[id(cell)] = cell
            elif name in f.__globals__ and name in _stored_or_read(code):
                self.found.names.setdefault((id(f.__globals__), name), set()).add(code.co_name)
            elif name in code.co_varnames[:1] and "." in code.co_qualname:
                owner = code.co_qualname.rpartition(".")[0].rpartition(".")[2]
                if owner != "<locals>":
                    self.found.items.add(owner)
        making = code.co_varnames[:1] if code.co_name in places.MAKING else ()
        self.found.attributes |= {name for of, name in uses.attributes if of not in making}

    def _in_module(self, f: types.FunctionType, name: str) -> Any:
        value = f.__globals__[name]
        key = (id(f.__globals__), name)
        writers = self.changed.names.get(key)
        kind = type(value).__name__
        if writers is None and kind not in self.changed.items and kind not in _DRAWN_FROM:
            return value
        made = places.of_global(located(f)[1], name, writers or ())
        if made is None or self._loaded.may_have_changed(name, f.__globals__, value):
            return value
        return self._making(made, f, key)

    def _in_cell(self, f: types.FunctionType, name: str, cell: types.CellType) -> Any:
        kind = type(cell.cell_contents).__name__
        if id(cell) not in self.changed.cells and kind not in _DRAWN_FROM:
            return cell.cell_contents
        try:
            node, tree = located(f)
        except SourceError:
            return cell.cell_contents
        made = places.of_variable(tree, node, name)
        if made is None or self._loaded.may_have_changed(name, around=_around(f)):
            return cell.cell_contents
        return self._making(made, f, id(cell))

    def _held(
        self,
        owner: Any,
        items: Iterable[Named],
        made_in: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | None = None,
    ) -> Iterator[Named]:
        """Yield the attributes of an object or a function, those that change as they were made."""
        for name, value in sorted(items, key=lambda item: item[0]):
            self.seen.add(name)
            if name not in self.changed.attributes:
                yield name, value
                continue
            if made_in is not None:
                beside: types.FunctionType | None = owner
                made = places.of_attribute(self.trees, made_in, name)
            else:
                made, beside = self._making_attribute(type(owner), name)
            if made is not False and self._changed_while_loading(owner, name):
                made = False
            if made is False or beside is None:
                yield name, value
            elif isinstance(made, ast.expr):
                of_class = self._making_attribute(type(owner), name, of_class=True)[0]
                if made is not of_class or not hasattr(type(owner), name):  # which says it itself
                    yield name, self._making(made, beside, (id(owner), name))

    def _making_attribute(
        self, kind: type, name: str, of_class: bool = False
    ) -> tuple[ast.expr | bool, types.FunctionType | None]:
        beside: types.FunctionType | None = None
        found: ast.expr | bool = True
        for owner in kind.__mro__:
            methods = map(_function_of, vars(owner).values())
            method = next((m for m in methods if m is not None and self._is_own_code(m)), None)
            if method is None:
                continue
            try:
                node, tree = located(method)
            except SourceError:
                return False, None
            written = places.class_of(tree, node)
            if written is None:
                return False, None
            made = places.of_attribute(self.trees, written, name, of_class)
            beside = beside or method
            if made is not True:
                return made, method
            found = made
        return found, beside

    def _changed_while_loading(self, owner: Any, name: str) -> bool:
        """Tell whether an attribute may have been changed since it was made."""
        if isinstance(owner, types.FunctionType):  # its attributes are made by naming them
            return self._loaded.may_have_changed(name, around=_around(owner), made=1)
        kind = owner if isinstance(owner, type) else type(owner)
        around = {part for k in kind.__mro__ for part in _around(k)}
        return self._loaded.may_have_changed(name, around=around)

    @functools.cached_property
    def _loaded(self) -> Loaded:
        """Return the user's modules that may reach the functions', with their source."""
        names = _own_modules((*sys.modules,), frozenset(self._homes))
        modules = {n: (sys.modules[n], [*_texts_of(sys.modules[n])]) for n in names}
        about = [m for m in map(_module_of, self.functions) if m is not None]
        found = {
            (id(vars(modules[n][0])), text): (vars(modules[n][0]), text)
            for n in sorted(together(about, modules))
            for text in modules[n][1]
        }
        return Loaded([*found.values()])

    def _making(self, node: ast.expr, beside: types.FunctionType, key: Any) -> Any:
        """Return what a place is described by: what was made there if that can be told."""
        for value in places.made_value(node):
            return value  # so that it is the same whether it may have changed or not
        return self._made.setdefault((key, id(node)), _Made(node, beside))

    def _made_by(self, made: _Made) -> Parts:
        uses, names = uses_of(made.node), made.beside.__globals__
        below: list[Named] = []
        for name, chains in sorted(uses.chains.items()):
            if name in names:
                below += self._read(name, names[name], chains)
        why = "which draws random numbers without a seed" if _is_unseeded(made.node) else ""
        return Parts(f"made:{text_of(made.node)}", below, unknown=why)

    # Modules and classes

    def _module(self, module: types.ModuleType) -> Parts:
        """Describe a module that is used as a whole: one of the user's with all that is in it."""
        if self._is_own_module(module):
            return self._whole(_Whole(vars(module)))
        return self._home(Home(module.__name__))

    def _home(self, home: Home) -> Parts:
        return Parts(f"module:{home.module}:{self._version(home.module)}")

    def _whole(self, whole: _Whole) -> Parts:
        file = str(whole.names.get("__file__") or ".py")
        compiled = "" if file.endswith((".py", ".pyc")) else file_digest(file)
        kept = sorted((k, v) for k, v in whole.names.items() if k not in _ABOUT_MODULES)
        return Parts(f"module:{compiled}", kept)

    def _class(self, kind: type) -> Parts:
        if not self._is_own_class(kind):
            label = f"class:{kind.__module__}.{kind.__qualname__}"
            registered = [(n, c) for n, c in _registered(kind) if self._is_own_class(c)]
            return Parts(label, [("", Home(kind.__module__)), *registered])
        below: list[Named] = [("", base) for base in kind.__bases__]
        if type(kind) is not type:
            below.append(("metaclass", type(kind)))
        if issubclass(type(kind), enum.EnumType):
            below += [(n, m._value_) for n, m in kind.__members__.items()]  # type: ignore[attr-defined]
        below += [*_fields_of(kind), *_registered(kind)]
        members = [(n, v) for n, v in vars(kind).items() if self._is_said(kind, n, v)]
        members += [("__doc__", d) for d in {kind.__doc__} if "__doc__" in self.changed.told]
        name = kind.__name__
        return Parts(
            f"class:{kind.__qualname__}",
            [*below, *((f"{name}.{n}", v) for n, v in self._of_class(kind, members))],
        )

    def _of_class(self, kind: type, members: Iterable[Named]) -> Iterator[Named]:
        for name, value in sorted(members, key=lambda item: item[0]):
            self.seen.add(name)
            if name in self.changed.attributes and not callable(value):
                made, beside = self._making_attribute(kind, name, of_class=True)
                if (
                    isinstance(made, ast.expr)
                    and beside is not None
                    and not self._changed_while_loading(kind, name)
                ):
                    yield name, self._making(made, beside, (id(kind), name))
                    continue
            yield name, value

    def _is_said(self, kind: type, name: str, value: Any) -> bool:
        """Tell whether a member is what the class says, not what Python makes of it."""
        if name in _ABOUT or type(value) in _SLOTS:
            return False
        if name.startswith("__pydantic_") or name == "__signature__":  # made of the fields
            return name in ("__pydantic_fields__", "__pydantic_decorators__")
        made = "__dataclass_fields__" in vars(kind) or hasattr(kind, "_field_defaults")
        made = made or "_is_protocol" in vars(kind)
        if issubclass(type(kind), enum.EnumType):
            if name in kind.__members__:  # type: ignore[attr-defined]
                return False
            made = made or name.startswith("_")
        if not made:
            return True
        if name.startswith("__") or name.startswith("_"):
            f = getattr(value, "__func__", value)
            return type(f) is types.FunctionType and self._is_own_code(f) and not _is_text(f)
        return type(value).__name__ != "_tuplegetter"

    # Objects

    def _object(self, value: Any) -> Parts:
        kind = type(value)
        if issubclass(kind, enum.Enum):
            about = [(k, v) for k, v in vars(value).items() if not k.startswith("_")]
            return Parts(
                f"member:{value._name_}",
                [("", kind), ("", value._value_), *sorted(about, key=lambda item: item[0])],
            )
        if self._is_own_class(kind):
            return self._own_object(value)
        if "__wrapped__" in _vars(value):
            about = [(k, v) for k, v in _vars(value).items() if _is_said_of(k, v)]
            about.append(("", getattr(value, "_self_wrapper", None)))  # wrapt's
            return Parts("wrapper", [("", kind), *about])
        try:
            return self._reduced(value)
        except Exception:
            return Parts("object", [("", kind)], unknown=_unreadable(kind))

    def _reduced(self, value: Any) -> Parts:
        """Describe an object as it is pickled."""
        kind = type(value)
        by_table = copyreg.dispatch_table.get(kind)
        parts: Any = by_table(value) if by_table else value.__reduce_ex__(4)
        if isinstance(parts, str):
            return Parts(f"global:{parts}", [("", kind)])
        made, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        below = [("", made), ("", arguments), ("", state)]
        listed = [("", None if i is None else list(i)) for i in (items, pairs)]
        return Parts("object", [*below, *listed])

    def _own_object(self, value: Any) -> Parts:
        """Describe an object of a class of the user's by its class and what it holds.

        Executors get what it is pickled as: a class that says how is asked.
        """
        kind = type(value)
        if _says_how(kind):
            try:
                once, again = (pickle.dumps(value.__reduce_ex__(4)[1:3]) for _ in range(2))
                if once == again:
                    return self._reduced(value)
                return Parts("object", [("", kind)], unknown=f"{_a(kind)} that is pickled "
                             "in another way each time")  # fmt: skip
            except Exception:
                pass
        below: list[Named] = [("", kind)]
        base = next(k for k in kind.__mro__ if not self._is_own_class(k))
        if base is not object:
            below += self._as_base(value)
        own = dict(_vars(value))
        cached = {n for k in kind.__mro__ for n, v in vars(k).items()
                  if isinstance(v, functools.cached_property)}  # fmt: skip
        own |= dict(_slots(value))
        kept = ((n, v) for n, v in own.items() if n not in cached and n not in _ABOUT)
        below += self._held(value, kept)
        return Parts("own", below)

    def _as_base(self, value: Any) -> Iterator[Named]:
        """Yield what an object holds as one of the type that its class is made from."""
        for kind, made in _BASES.items():
            if isinstance(value, kind):
                yield kind.__name__, made(value)
                return
        try:
            parts = value.__reduce_ex__(4)
        except Exception:
            yield "base", _Unknown("base", _unreadable(type(value)))
            return
        arguments = [a for a in parts[1] if a is not type(value)]
        yield "base", arguments
        for items in parts[3:5]:
            yield "items", None if items is None else list(items)

    # Whose

    def _version(self, module: str | None) -> str:
        return version_of(package(module))

    def _is_own_module(self, value: Any) -> bool:
        return _is_own_module(value, self._homes)

    def _is_own_code(self, f: types.FunctionType) -> bool:
        module = f.__globals__.get("__name__")
        file = f.__code__.co_filename
        if module is None or package(module) in {"__main__", "builtins", *self._homes}:
            return True
        if file.startswith("<"):  # made by exec
            return self._is_own(module, f.__globals__.get("__file__"))
        return is_own(file)

    def _is_own_class(self, kind: type) -> bool:
        module = kind.__module__
        if module == "builtins":  # made where there is no module, or Python's
            return bool(kind.__flags__ & _HEAP) and not hasattr(builtins, kind.__name__)
        if module == "types":  # made by dataclasses.make_dataclass, or types' own
            return not hasattr(types, kind.__name__)
        known = sys.modules.get(module)
        return self._is_own(module, getattr(known, "__file__", None))

    def _is_own(self, module: str | None, file: str | None) -> bool:
        return _is_own(module, file, self._homes)


@dataclass(frozen=True, eq=False)
class _Whole:
    """All names of a module."""

    names: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Unknown:
    """What can't be described, and why."""

    label: str
    why: str


_SLOTS = (types.GetSetDescriptorType, types.MemberDescriptorType)
# Types whose objects change when they are asked.
_DRAWN_FROM = frozenset({"Random", "Generator", "RandomState", "count", "cycle"})
# Types of which Python has nothing among its builtins.
_PUT = frozenset({str, bytes, int, float, list, tuple, dict, set, frozenset})
_HEAP = 1 << 9  # CPython's flag of a class that Python code made
_OWN: dict[type, Callable[[_Walk, Any], Parts]] = {
    types.FunctionType: _Walk._function,
    types.CodeType: _Walk._code,
    _Made: _Walk._made_by,
    _Whole: _Walk._whole,
    Home: _Walk._home,
    _Unknown: lambda _, value: Parts(f"unknown:{value.label}", unknown=value.why),
}
_BASES: dict[type, Callable[[Any], Any]] = {
    bool: bool,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: lambda v: bytes(memoryview(v)),
    tuple: lambda v: tuple(tuple.__iter__(v)),
    list: lambda v: [*list.__iter__(v)],
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
}
_LEAVES: dict[type, Callable[[Any], str]] = {
    Const: lambda node: node.key,
    Mask: lambda node: node.slice_id,
    Lookup: lambda node: f"{node.column}\n{node.keys.about}",
}


def _tree(tree: Expr) -> str:
    known: dict[Expr, str] = {}
    for node in tree.walk():
        own = _LEAVES.get(type(node), str)(node) if not node.parts else getattr(node, "op", "")
        below = ",".join(known[part] for part in node.parts)
        known[node] = digest(f"{type(node).__name__}:{own}({below})")
    return f"tree:{known[tree]}"


def _a(kind: type) -> str:
    return f"a {kind.__module__}.{kind.__qualname__}".replace("a builtins.", "a ")


def _unreadable(kind: type) -> str:
    return f"{_a(kind)}, whose contents can't be read"


def _vars(value: Any) -> Mapping[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def _slots(value: Any) -> Iterator[Named]:
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    yield name, slot.__get__(value)
                except AttributeError:  # has no value yet
                    continue


def _says_how(kind: type) -> bool:
    """Tell whether a class says how its objects are pickled."""
    names = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
    return any(
        type(vars(k).get(name)) is types.FunctionType
        for k in kind.__mro__
        for name in names
        if not hasattr(k, "_field_defaults") or k is not kind
    ) and not hasattr(kind, "_field_defaults")


def _is_said_of(name: str, value: Any) -> bool:
    """Tell whether an attribute of others' wrapper is what it was given, not what it counts."""
    if name == "__wrapped__":
        return True
    plain = (str, bool, float, type(None), types.FunctionType, type, functools.partial)
    return not name.startswith("__") and isinstance(value, (*plain, types.MethodType))


def _is_put_into_builtins(name: str) -> bool:
    """Tell whether a name of everywhere isn't Python's."""
    value = getattr(builtins, name, None)
    home = getattr(value, "__module__", None) or type(value).__module__
    return value is not None and (
        home not in {"builtins", "_sitebuiltins", "io", "_io"} or type(value) in _PUT
    )


def _subclasses(kind: type) -> list[type]:
    below: list[type] = sorted(type.__subclasses__(kind), key=lambda k: k.__qualname__)
    return [*below, *(k for b in below for k in _subclasses(b))]


def _function_of(member: Any) -> types.FunctionType | None:
    """Return the function that a class's member is, or is made of."""
    if isinstance(member, classmethod | staticmethod):
        member = member.__func__
    elif isinstance(member, property):
        member = member.fget
    elif isinstance(member, functools.cached_property):
        member = member.func
    return member if type(member) is types.FunctionType else None


def _registered(kind: type) -> Iterator[Named]:
    """Yield the classes that were registered with an abstract base class."""
    if isinstance(kind, abc.ABCMeta):
        classes = [c for ref in _abc._get_dump(kind)[0] if (c := ref()) is not None]
        for c in sorted(classes, key=lambda c: (c.__module__, c.__qualname__)):
            yield "registered", c


def _fields_of(kind: type) -> Iterator[Named]:
    """Yield what a class says of its fields: annotations, and what a dataclass makes of them."""
    try:
        annotations = inspect.get_annotations(kind)
    except Exception:  # a name that isn't defined yet
        annotations = {}
    if annotations:
        yield "annotations", annotations
    fields = vars(kind).get("__dataclass_fields__", {})
    about = ("default", "default_factory", "init", "compare", "hash", "kw_only", "metadata")
    for name, f in fields.items():
        yield name, [getattr(f, a) for a in about]
    if fields:
        params = vars(kind)["__dataclass_params__"]
        yield "dataclass", [getattr(params, a) for a in ("init", "eq", "order", "frozen")]
    if "_fields" in vars(kind) and issubclass(kind, tuple):
        yield "fields", [kind._fields, kind._field_defaults]  # type: ignore[attr-defined]


def _is_own(module: str | None, file: str | None, homes: Collection[str]) -> bool:
    return package(module) in {"__main__", *homes} or is_own(file)


def _is_own_module(value: Any, homes: Collection[str]) -> bool:
    if not issubclass(type(value), types.ModuleType):
        return False
    file = getattr(value, "__file__", None)
    if file is None:  # a package without __init__.py
        file = next(iter(getattr(value, "__path__", ())), None)
    return _is_own(value.__name__, file, homes)


@functools.lru_cache(maxsize=8)
def _own_modules(names: tuple[str, ...], homes: frozenset[str]) -> list[str]:
    """Return those of the modules that are the user's; what runs as a script by its file."""
    found = []
    for name in names:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        script = name == "__main__" and file is not None
        if is_own(file) if script else _is_own_module(module, homes):
            found.append(name)
    return found


def _around(made: types.FunctionType | type) -> set[str]:
    """Return the names of the functions that a function or a class is made in."""
    name = made.__code__.co_qualname if isinstance(made, types.FunctionType) else made.__qualname__
    before, _, _ = name.rpartition(".<locals>.")
    return {*before.split(".")} - {"", "<locals>"}


def _texts_of(module: types.ModuleType) -> Iterator[str]:
    """Yield a module's source; of a notebook, each cell that ran."""
    yield "".join(linecache.getlines(getattr(module, "__file__", None) or "", vars(module)))
    yield from (c for c in vars(module).get("In", ()) if type(c) is str)


def _is_unseeded(node: ast.expr) -> bool:
    generators = {"Random", "RandomState", "SystemRandom", "default_rng"}
    return any(
        isinstance(n, ast.Call)
        and not n.args
        and not n.keywords
        and getattr(n.func, "attr", getattr(n.func, "id", "")) in generators
        for n in ast.walk(node)
    )


def _is_text(f: types.FunctionType) -> bool:
    """Tell whether a function was made of a text, as a dataclass's are."""
    return f.__code__.co_filename.startswith("<string>")


@functools.lru_cache(maxsize=100_000)
def _source(node: Function) -> tuple[str, Uses]:
    return text_of(node), uses_of(node)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a function's code and that of the functions in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


@functools.lru_cache(maxsize=100_000)
def _global_names(code: types.CodeType) -> frozenset[str]:
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    return frozenset(
        str(i.argval) for c in _codes(code) for i in dis.get_instructions(c) if i.opname in loads
    )


@functools.lru_cache(maxsize=100_000)
def _stored_or_read(code: types.CodeType) -> frozenset[str]:
    return _global_names(code) | frozenset(
        str(i.argval)
        for c in _codes(code)
        for i in dis.get_instructions(c)
        if i.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
    )


def _imported_names(code: types.CodeType) -> list[str]:
    return [
        str(i.argval)
        for c in _codes(code)
        for i in dis.get_instructions(c)
        if i.opname == "IMPORT_NAME" and i.argval
    ]


def _cells(f: types.FunctionType) -> dict[str, types.CellType]:
    """Return the variables that a function closes over, but those without a value yet."""
    pairs = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    return {name: cell for name, cell in pairs if _is_filled(cell)}


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where the cell is empty
    except ValueError:
        return False
    return True


def _is_importable(f: types.FunctionType) -> bool:
    """Tell whether a function is found by its name in the module that its code is of."""
    found: Any = sys.modules.get(str(f.__globals__.get("__name__")))
    for name in f.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is f or getattr(found, "__func__", None) is f


def _is_own_spec(spec: Any) -> bool:
    folders = spec.submodule_search_locations or ()
    return is_own(spec.origin if spec.has_location else next(iter(folders), None))


def _folder(module: str) -> str | None:
    """Return the folder that the user's modules are in, with the separator behind it."""
    top = sys.modules.get(package(module))
    file = getattr(top, "__file__", None)
    if file is None:
        return None
    inside = Path(file).parent
    folder = str(inside.parent if hasattr(top, "__path__") else inside)
    return folder + "/" if len(folder) > 1 else None


def _module_of(f: Any) -> str | None:
    while isinstance(f, functools.partial):
        f = f.func
    module: str | None = (f if hasattr(f, "__code__") else type(f)).__module__
    return module
