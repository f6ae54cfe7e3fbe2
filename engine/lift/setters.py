"""A preprocessor as a function of the fields that it reads, which returns those that it sets.

Where it does nothing with its row but read and set fields by constant names and return it,
``x.words = x.text.split()`` becomes an assignment to a variable, and nobody needs to make rows.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

from engine.lift.failures import SureReads
from engine.lift.fields import (
    FieldReader,
    OfFields,
    RowEscapesError,
    WithoutRow,
    add_parameters,
    own_row,
    without_row,
)
from engine.slicing.source import Function


def of_setters(f: Any, columns: frozenset[str]) -> OfFields | None:
    """Return a preprocessor's function as one of fields, or None where it may do more than that.

    It sets the same fields on every row that it returns, and has then read all that it may read.

    Examples
    --------
    >>> def shorter(x):
    ...     x.words = x.text.split()
    ...     x["n"] = len(x.words)
    ...     return x
    >>> one = of_setters(shorter, frozenset(["text"]))
    >>> list(one.fields), one.sets, one.bound(shorter, {})("a b")
    (['text'], ('words', 'n'), (['a', 'b'], 2))
    """
    return _of_setters(f, f.__code__, columns) if type(f) is FunctionType else None


@functools.lru_cache(maxsize=10_000)
def _of_setters(f: FunctionType, code: CodeType, columns: frozenset[str]) -> OfFields | None:
    of = without_row(f, code, lambda node: _setting(node, columns))
    return of if of is not None and _reads_all(of) else None


def _setting(node: Function, columns: frozenset[str]) -> WithoutRow:
    own, row = own_row(node)
    if isinstance(own, ast.Lambda):
        raise RowEscapesError
    flow = _Flow(row.arg, columns)
    if flow.after(own.body, frozenset()) is not None:
        raise RowEscapesError  # it may end without returning its row
    if any(not known >= flow.sets.keys() for known in flow.returns):
        raise RowEscapesError
    setter = _FieldSetter(row.arg, columns, tuple(flow.sets))
    own.body = [setter.visit(statement) for statement in own.body]
    fields = {c: setter.fields[c] for c in setter.fields if c in flow.read}
    add_parameters(own, row, list(fields.values()))
    return own, fields, setter.sets


class _FieldSetter(FieldReader):
    """Puts variables where fields are read and set, and returns them."""

    def __init__(self, row: str, columns: frozenset[str], sets: tuple[str, ...]) -> None:
        super().__init__(row, columns.union(sets))
        self.sets = sets
        self._is_inner = False

    def _is_read(self, node: ast.Attribute | ast.Subscript) -> bool:
        of_row = isinstance(node.value, ast.Name) and node.value.id == self.row
        return of_row and not isinstance(node.ctx, ast.Del)

    def _field(self, name: Any, node: ast.expr) -> ast.AST:
        variable = super()._field(name, node)
        variable.ctx = node.ctx  # type: ignore[attr-defined]
        return variable

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802 - ast's name
        before, self._is_inner = self._is_inner, True
        inner = self.generic_visit(node)
        self._is_inner = before
        return inner

    def visit_Return(self, node: ast.Return) -> ast.AST:  # noqa: N802
        if self._is_inner:
            return self.generic_visit(node)
        values: list[ast.expr] = [ast.Name(f"{self.row}.{c}", ast.Load()) for c in self.sets]
        node.value = values[0] if len(values) == 1 else ast.Tuple(values, ast.Load())
        for part in ast.walk(node.value):
            ast.copy_location(part, node)
        return node


class _Flow:
    """Which fields are set where a function's statements run, and which are read before that."""

    def __init__(self, row: str, columns: frozenset[str]) -> None:
        self.row, self.columns = row, columns
        self.sets: dict[str, None] = {}  # in order
        self.read: set[str] = set()
        self.returns: list[frozenset[str]] = []

    def after(self, body: Iterable[ast.stmt], known: frozenset[str]) -> frozenset[str] | None:
        """Return the fields that are set behind statements; None where nothing goes on there."""
        for statement in body:
            if (behind := self._behind(statement, known)) is None:
                return None
            known = behind
        return known

    def _behind(self, node: ast.stmt, known: frozenset[str]) -> frozenset[str] | None:  # noqa: PLR0912
        match node:
            case ast.Return(value=ast.Name(id=self.row)):
                self.returns.append(known)
                return None
            case ast.Return() | ast.Match() | ast.TryStar():
                raise RowEscapesError
            case ast.Raise():
                self._take(node, known)
                return None
            case ast.Break() | ast.Continue():
                return None
            case ast.If(test=test, body=body, orelse=orelse):
                self._take(test, known)
                return _both(self.after(body, known), self.after(orelse, known))
            case ast.For(target=target, iter=over, body=body, orelse=orelse):
                self._take(target, known)
                self._take(over, known)
                self.after(body, known)
                return self.after(orelse, known)
            case ast.While(test=test, body=body, orelse=orelse):
                self._take(test, known)
                self.after(body, known)
                return self.after(orelse, known)
            case ast.With(items=items, body=body):
                for item in items:
                    self._take(item, known)
                self.after(body, known)
                return known  # it may catch what is raised
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                behind = self.after(body, known)
                behind = behind if behind is None else self.after(orelse, behind)
                for handler in handlers:
                    self._take(handler.type, known)
                    behind = _both(behind, self.after(handler.body, known))
                if self.after(finalbody, known) is None or _mentions(finalbody, self.row):
                    raise RowEscapesError  # the row may change behind its return
                return behind
            case ast.Assign(targets=targets, value=value):
                self._take(value, known)
                return known.union(*(self._target(t, known) for t in targets))
            case ast.AugAssign(target=target, value=value):
                self._take(value, known)
                if name := self._name(target):
                    self._take_name(name, known)
                return known | self._target(target, known)
        self._take(node, known)
        return known

    def _target(self, target: ast.expr, known: frozenset[str]) -> frozenset[str]:
        """Return the fields that an assignment sets."""
        if isinstance(target, ast.Tuple | ast.List):
            return frozenset[str]().union(*(self._target(t, known) for t in target.elts))
        if isinstance(target, ast.Starred):
            return self._target(target.value, known)
        if name := self._name(target):
            self.sets[name] = None
            return frozenset([name])
        self._take(target, known)
        return frozenset()

    def _take(self, node: ast.AST | None, known: frozenset[str]) -> None:
        """Note the fields that are read."""
        for part in ast.walk(node) if node is not None else ():
            if name := self._name(part):
                if not isinstance(part.ctx, ast.Load):  # type: ignore[attr-defined]
                    raise RowEscapesError  # set where this doesn't look
                self._take_name(name, known)

    def _take_name(self, name: str, known: frozenset[str]) -> None:
        if name not in known:
            if name not in self.columns:
                raise RowEscapesError
            self.read.add(name)

    def _name(self, node: ast.AST) -> str | None:
        match node:
            case ast.Attribute(value=ast.Name(id=self.row), attr=name):
                return name
            case ast.Subscript(value=ast.Name(id=self.row), slice=ast.Constant(value=str(name))):
                return name
        return None


def _mentions(body: Iterable[ast.stmt], row: str) -> bool:
    nodes = (n for statement in body for n in ast.walk(statement))
    return any(isinstance(n, ast.Name) and n.id == row for n in nodes)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _reads_all(of: OfFields) -> bool:
    """Tell whether all fields are surely read before the row is returned, and before they are set.

    Then what a failure's place says was read is so, and on a row that is returned all were.
    """
    sure, reads, parameters = set[str](), SureReads(of), set(of.fields.values())
    fields = {parameter: field for field, parameter in of.fields.items()}
    for statement in of.node.body if isinstance(of.node.body, list) else ():
        sure |= reads.of(_first(statement))
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            sure |= {fields[name] for name in {statement.target.id} & parameters}
        inner = [*ast.walk(statement)]
        stores = {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        if not {fields[name] for name in stores & parameters} <= sure:
            return False
        if any(isinstance(n, ast.Return) for n in inner):
            break
    return sure >= of.fields.keys()


def _first(statement: ast.stmt) -> ast.expr | None:
    """Return what is evaluated first where a statement runs."""
    match statement:
        case ast.Assign(value=value) | ast.AugAssign(value=value) | ast.Expr(value=value):
            return value
        case ast.If(test=value) | ast.While(test=value) | ast.For(iter=value):
            return value
    return None
