"""A row function as a function of the fields that it reads: the same source, without the row.

Where a function does nothing with its row but read fields by constant names, ``x.text`` becomes a
parameter, and nobody needs to make rows. Lines, closures and globals stay the function's.
"""

from __future__ import annotations
import __future__

import ast
import copy
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_NESTED
from types import CodeType, FunctionType
from typing import Any

from engine.lift.reads import REFLECTION
from engine.slicing.source import Function, SourceError, codes, located

# What such a function returns has only begun to run.
_LAZY = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_STARS = ("vararg", "kwarg")
_FUTURES = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


@dataclass(frozen=True, eq=False)
class OfFields:
    """A row function's code over fields.

    Attributes
    ----------
    code
        The code, whose first parameters are fields.
    fields
        Field to the name of its parameter, in order. No source can have such a name.
    node
        The tree that the code was compiled from.
    sets
        The fields that it returns the values of: of one the value, of others a tuple.
    """

    code: CodeType
    fields: Mapping[str, str]
    node: Function
    sets: tuple[str, ...] = ()

    def bound(self, f: FunctionType, resources: Mapping[str, Any]) -> FunctionType | None:
        """Return the function of fields; None if calling ``f`` with a row raises by itself.

        What else ``f`` takes is a default here: its own as it is now, or a resource.
        """
        code = f.__code__
        places = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        positional, keywords = places[1 : code.co_argcount], places[code.co_argcount :]
        defaults = reversed(f.__defaults__ or ())
        arguments = dict(zip(reversed(positional), defaults, strict=False))
        arguments |= {**(f.__kwdefaults__ or {}), **resources}
        may_be_named = set(places[max(1, code.co_posonlyargcount) :])
        if not resources.keys() <= may_be_named or not arguments.keys() >= set(places[1:]):
            return None
        cells = dict(zip(code.co_freevars, f.__closure__ or (), strict=True))
        closure = tuple(cells[name] for name in self.code.co_freevars)
        values = tuple(arguments[name] for name in positional)
        bound = FunctionType(self.code, f.__globals__, f.__name__, values, closure)
        bound.__kwdefaults__ = {name: arguments[name] for name in keywords}
        return bound


def of_fields(f: Any, columns: frozenset[str]) -> OfFields | None:
    """Return a row function as one of fields, or None where it may do more than read them.

    Examples
    --------
    >>> f = lambda x: len(x.text) < x["most"]
    >>> one = of_fields(f, frozenset(["text", "most"]))
    >>> list(one.fields), one.bound(f, {})("abc", 4)
    (['text', 'most'], True)
    >>> of_fields(lambda x: bool(x), frozenset(["text"])) is None
    True
    """
    return _of_fields(f, f.__code__, columns) if type(f) is FunctionType else None


@functools.lru_cache(maxsize=10_000)
def _of_fields(f: FunctionType, code: CodeType, columns: frozenset[str]) -> OfFields | None:
    return without_row(f, code, lambda node: _reading(node, columns))


WithoutRow = tuple[Function, Mapping[str, str], tuple[str, ...]]  # as the last of OfFields


def without_row(
    f: FunctionType, code: CodeType, change: Callable[[Function], WithoutRow]
) -> OfFields | None:
    """Return a function as ``change`` makes its tree, or None where it or the place forbids it.

    Parameters
    ----------
    f
        The function.
    code
        Its code.
    change
        Returns another tree, whose first parameters are fields, these with their parameters, and
        the fields that it returns.
    """
    if code.co_flags & _LAZY or "__class__" in code.co_freevars:
        return None
    try:
        node, module = located(f)
        at = _compiled(node, module, code).index(code)
        changed, fields, sets = change(node)
        over_fields = _compiled(changed, module, code)
    except (SourceError, RowEscapesError, RecursionError, ValueError):
        return None  # ValueError: it doesn't compile to the same alone, as in a class with __names
    if any(_LOOKS_AROUND.intersection(one.co_names) for one in codes(over_fields[at])):
        return None  # a field may have such a name
    return OfFields(_named_as(code, over_fields[at]), fields, changed, sets)


# With these, code sees the names of its variables.
_LOOKS_AROUND = REFLECTION | {"dir", "stack"}


class RowEscapesError(Exception):
    """The function does something with its row that isn't reading a field."""


def _compiled(node: Function, module: ast.Module, code: CodeType) -> list[CodeType]:
    """Compile a function as in its place: all code of it, in an order that its shape gives."""
    body: ast.stmt = ast.Expr(node) if isinstance(node, ast.Lambda) else node
    if code.co_flags & CO_NESTED:  # what it closes over is of the function around it
        around = ast.parse(f"def around({', '.join(code.co_freevars)}): pass")
        around.body[0].body = [body]  # type: ignore[attr-defined]
    else:
        around = ast.Module([body], [])
    around.body[:0] = _imports(module)  # Python compiles calls of what is imported in another way
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python gave them when it loaded the file
        whole = compile(
            ast.fix_missing_locations(around), code.co_filename, "exec",
            code.co_flags & _FUTURES, dont_inherit=True,
        )  # fmt: skip
    return list(codes(whole))


@functools.lru_cache(maxsize=64)
def _imports(module: ast.Module) -> tuple[ast.stmt, ...]:
    """Return the imports of a module's own scope."""
    left, imports = list[ast.AST](module.body), []
    while left:
        node = left.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif not isinstance(node, Function | ast.ClassDef | ast.expr):
            left += ast.iter_child_nodes(node)
    return tuple(n for n in imports if getattr(n, "module", "") != "__future__")


def _named_as(old: CodeType, new: CodeType) -> CodeType:
    """Return code with the names that messages have of functions in it."""
    inner = (c for c in old.co_consts if isinstance(c, CodeType))
    consts = tuple(
        _named_as(next(inner), c) if isinstance(c, CodeType) else c for c in new.co_consts
    )
    return new.replace(co_qualname=old.co_qualname, co_consts=consts)


def _reading(node: Function, columns: frozenset[str]) -> WithoutRow:
    """Return a function's tree with parameters for the fields, and those."""
    own, row = own_row(node)
    reader = FieldReader(row.arg, columns)
    if isinstance(own, ast.Lambda):
        own.body = reader.visit(own.body)
    else:
        own.body = [reader.visit(statement) for statement in own.body]
    add_parameters(own, row, list(reader.fields.values()))
    return own, reader.fields, ()


def own_row(node: Function) -> tuple[Function, ast.arg]:
    """Return a copy of a function's tree without its row, and the row.

    Raises
    ------
    RowEscapesError
        If something else than an assignment may bind the row's name.
    """
    own = copy.deepcopy(node)
    arguments = own.args
    places = arguments.posonlyargs or arguments.args
    if not places or any(getattr(arguments, star) for star in _STARS):
        raise RowEscapesError
    row = places.pop(0)
    if isinstance(own, ast.AsyncFunctionDef) or row.arg in _bound_within(own):
        raise RowEscapesError
    return own, row


def add_parameters(own: Function, row: ast.arg, names: list[str]) -> None:
    """Put parameters where the row was."""
    arguments = own.args
    places = arguments.posonlyargs or arguments.args
    names = names or [f"{row.arg}."]  # a call needs an argument
    places[:0] = [ast.copy_location(ast.arg(name), row) for name in names]
    n_required = len(arguments.posonlyargs + arguments.args)
    arguments.defaults = arguments.defaults[:n_required]


def _bound_within(node: ast.AST) -> Iterator[str]:
    """Yield names that something else than assigning to a name binds in a function."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name | ast.Attribute | ast.keyword | ast.Constant):
            continue
        for _, value in ast.iter_fields(part):
            for name in value if isinstance(value, list) else (value,):
                if isinstance(name, str):
                    yield name


class FieldReader(ast.NodeTransformer):
    """Puts a parameter where a field of the row is read."""

    def __init__(self, row: str, columns: frozenset[str]) -> None:
        self.row, self.columns = row, columns
        self.fields: dict[str, str] = {}

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Put a parameter in the place of `x.name`."""
        if self._is_read(node) and not node.attr.startswith("__"):
            return self._field(node.attr, node)
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Put a parameter in the place of `x["name"]`."""
        if self._is_read(node) and isinstance(node.slice, ast.Constant):
            return self._field(node.slice.value, node)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Refuse any other use of the row."""
        if node.id == self.row:
            raise RowEscapesError
        return node

    def _is_read(self, node: ast.Attribute | ast.Subscript) -> bool:
        of_row = isinstance(node.value, ast.Name) and node.value.id == self.row
        return of_row and isinstance(node.ctx, ast.Load)

    def _field(self, name: Any, node: ast.expr) -> ast.AST:
        if not isinstance(name, str) or name not in self.columns:
            raise RowEscapesError
        parameter = self.fields.setdefault(name, f"{self.row}.{name}")
        return ast.copy_location(ast.Name(parameter, ast.Load()), node)
