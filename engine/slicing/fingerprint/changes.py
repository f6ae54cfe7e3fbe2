"""The places that functions change as they run, and what stands for each in a description.

A cache is described by the expression that makes it, not by what it holds by now
(:mod:`engine.slicing.fingerprint.places`), unless it may have been filled as modules were loaded
(:mod:`engine.slicing.fingerprint.loading`).
"""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.slicing.fingerprint import places
from engine.slicing.fingerprint.code import CHANGES, cells, enclosing, function_of, global_names
from engine.slicing.fingerprint.loading import Modules, may_have_changed
from engine.slicing.fingerprint.modules import read
from engine.slicing.fingerprint.owners import Owners
from engine.slicing.fingerprint.parts import Named, Parts
from engine.slicing.source import Function, SourceError, codes, located
from engine.slicing.uses import Uses, last_name, text_of, uses_of

# What a function says without effect, and the names by which it is read all the same.
_READERS = {
    "__annotations__": frozenset({
        "__annotations__", "get_type_hints", "get_annotations", "signature", "getfullargspec",
    }),
    "__doc__": frozenset({"__doc__", "getdoc"}),
}  # fmt: skip
# Types whose objects change with every value that they give.
_DRAWN_FROM = frozenset({"Random", "Generator", "RandomState", "count", "cycle"})


@dataclass
class Changed:
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
    remarks
        Docstrings and annotations, where a function reads them.
    """

    names: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    cells: dict[int, types.CellType] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    remarks: set[str] = field(default_factory=set)

    def matters(self, attributes: set[str]) -> bool:
        """Tell whether something that was described by its value is such a place."""
        return any((self.names, self.cells, self.items, self.remarks, self.attributes & attributes))


class Changes:
    """What one walk over a value knows of places that change, and what it learns.

    Parameters
    ----------
    owners
        Whose code is.
    changed
        The places that the walk before this one noted.
    trees
        The modules of the functions that it met.

    Attributes
    ----------
    noted
        The places that this walk noted.
    attributes
        The names of all attributes that it described.
    """

    def __init__(
        self, owners: Owners, changed: Changed | None = None, trees: Iterable[ast.Module] = ()
    ) -> None:
        self.owners, self.changed, self.trees = owners, changed or Changed(), {*trees}
        self.noted, self.attributes = Changed(), set[str]()
        self._makings: dict[Any, Parts] = {}

    def note(self, f: types.FunctionType, uses: Uses) -> None:
        """Note which places around it a function changes."""
        code = f.__code__
        for remark, readers in _READERS.items():
            if not readers.isdisjoint(name for c in codes(code) for name in c.co_names):
                self.noted.remarks.add(remark)
        for name in uses.changed:
            if name in code.co_freevars:
                self.noted.cells |= {id(c): c for n, c in cells(f).items() if n == name}
            elif name in f.__globals__ and name in global_names(code, CHANGES):
                self.noted.names.setdefault((id(f.__globals__), name), set()).add(code.co_name)
            elif name in code.co_varnames[:1]:
                owner = code.co_qualname.split(".")[-2:-1]  # none of a function at the top
                self.noted.items |= {*owner} - {"<locals>"}
        own = code.co_varnames[:1] if code.co_name in places.MAKING else ()
        self.noted.attributes |= {name for of, name in uses.attributes if of not in own}

    def of_global(self, f: types.FunctionType, name: str) -> Any:
        """Return what stands for a variable of a function's module."""
        value = f.__globals__[name]
        key = (id(f.__globals__), name)
        writers = self.changed.names.get(key)
        kind = type(value).__name__
        if writers is None and kind not in self.changed.items and kind not in _DRAWN_FROM:
            return value
        node = places.of_global(located(f)[1], name, writers or ())
        if node is None or may_have_changed(self._loaded, name, f.__globals__, value):
            return value
        return self._stand_in(node, f, key)

    def of_cell(self, f: types.FunctionType, name: str, cell: types.CellType) -> Any:
        """Return what stands for a variable that a function closes over."""
        value = cell.cell_contents
        if id(cell) not in self.changed.cells and type(value).__name__ not in _DRAWN_FROM:
            return value
        try:
            inner, tree = located(f)
        except SourceError:
            return value
        node = places.of_variable(tree, inner, name)
        if node is None or may_have_changed(self._loaded, name, around=enclosing(f)):
            return value
        return self._stand_in(node, f, id(cell))

    def of_defaults(
        self, f: types.FunctionType, node: Function | None, uses: Uses
    ) -> Iterator[Named]:
        """Yield what stands for the defaults of a function's parameters."""
        code = f.__code__
        names = code.co_varnames[: code.co_argcount]
        by_place = [*zip(reversed(names), reversed(f.__defaults__ or ()), strict=False)]
        for name, value in sorted([*by_place, *(f.__kwdefaults__ or {}).items()]):
            default = places.of_default(node, name) if node and name in uses.changed else None
            if default is None or may_have_changed(self._loaded, name, around=enclosing(f)):
                yield name, value
            else:
                yield name, self._stand_in(default, f, ("default", name))

    def of_attributes(
        self,
        owner: Any,
        items: Iterable[Named],
        place: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | None = None,
    ) -> Iterator[Named]:
        """Yield what stands for the attributes of an object, or of a function that has a place."""
        for name, value in sorted(items, key=lambda item: item[0]):
            self.attributes.add(name)
            if name not in self.changed.attributes:
                yield name, value
                continue
            if place is not None:
                node, beside = places.of_attribute(self.trees, place, name), owner
            else:
                node, beside = self._expression(type(owner), name)
            if node is False or beside is None or self._may_have_changed(owner, name):
                yield name, value
            elif isinstance(node, ast.expr):
                of_class = self._expression(type(owner), name, of_class=True)[0]
                if node is not of_class or not hasattr(type(owner), name):  # which says it itself
                    yield name, self._stand_in(node, beside, (id(owner), name))

    def of_members(self, kind: type, members: Iterable[Named]) -> Iterator[Named]:
        """Yield what stands for the members of a class."""
        for name, value in sorted(members, key=lambda item: item[0]):
            self.attributes.add(name)
            changes = name in self.changed.attributes and not callable(value)
            node, beside = self._expression(kind, name, True) if changes else (False, None)
            if isinstance(node, bool) or beside is None or self._may_have_changed(kind, name):
                yield name, value
            else:
                yield name, self._stand_in(node, beside, (id(kind), name))

    def _expression(
        self, kind: type, name: str, of_class: bool = False
    ) -> tuple[ast.expr | bool, types.FunctionType | None]:
        """Return what makes an attribute, as :func:`places.of_attribute`, and a method beside."""
        beside: types.FunctionType | None = None
        for owner in kind.__mro__:
            methods = map(function_of, vars(owner).values())
            method = next((m for m in methods if m is not None and self.owners.has_code(m)), None)
            if method is None:
                continue
            try:
                node, tree = located(method)
            except SourceError:
                return False, None
            written = places.parents_of(tree).get(node)
            if not isinstance(written, ast.ClassDef):
                return False, None
            expression = places.of_attribute(self.trees, written, name, of_class)
            beside = beside or method
            if expression is not True:
                return expression, method
        return True, beside

    def _may_have_changed(self, owner: Any, name: str) -> bool:
        """Tell whether an attribute may have changed as modules were loaded."""
        if isinstance(owner, types.FunctionType):  # one mention makes its attribute
            return may_have_changed(self._loaded, name, around=enclosing(owner), mentions=1)
        kind = owner if isinstance(owner, type) else type(owner)
        around = {part for k in kind.__mro__ for part in enclosing(k)}
        return may_have_changed(self._loaded, name, around=around)

    @functools.cached_property
    def _loaded(self) -> Modules:
        return self.owners.loaded()

    def _stand_in(self, node: ast.expr, beside: types.FunctionType, key: Any) -> Any:
        """Return what a place is described by: what an expression makes, if its text tells it."""
        for value in places.value_of(node):
            return value  # so that it is the same whether it may have changed or not
        known = (key, id(node))
        if known not in self._makings:
            self._makings[known] = _making(node, beside, self.owners)
        return self._makings[known]


def _making(node: ast.expr, beside: types.FunctionType, owners: Owners) -> Parts:
    """Describe an expression that makes what functions change by its text, and what it reads."""
    uses, names = uses_of(node), beside.__globals__
    below: list[Named] = []
    for name, chains in sorted(uses.chains.items()):
        if name in names:
            below += read(name, names[name], chains, owners)
    why = "which draws random numbers without a seed" if _is_unseeded(node) else ""
    return Parts(f"made:{text_of(node)}", below, unknown=why)


def _is_unseeded(node: ast.expr) -> bool:
    calls = (n for n in ast.walk(node) if isinstance(n, ast.Call))
    bare = {last_name(call.func) for call in calls if not call.args and not call.keywords}
    return not bare.isdisjoint({"Random", "RandomState", "SystemRandom", "default_rng"})
