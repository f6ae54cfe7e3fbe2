"""Which fields a function has surely read where an expression in it fails.

A failure on a row where one of those is null is undecided, and nobody needs to call the function
again to see what it reads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import CodeType

from engine.lift.fields import OfFields

Span = tuple[int | None, ...]
_NOTHING: frozenset[str] = frozenset()


class SureReads:
    """The fields that a function's expressions have read once they are evaluated.

    Examples
    --------
    >>> from engine.lift.fields import of_fields
    >>> one = of_fields(lambda x: x.a and x.b.lower(), frozenset("ab"))
    >>> sorted(sorted(fields) for fields in SureReads(one).by_span.values())
    [['a'], ['a'], ['b'], ['b'], ['b']]
    """

    def __init__(self, of: OfFields) -> None:
        self._fields = {parameter: field for field, parameter in of.fields.items()}
        self._bindings = dict(_bindings(of.node))
        self._names: dict[str, frozenset[str]] = {}
        body = of.node.body
        parts = [n for b in (body if isinstance(body, list) else [body]) for n in ast.walk(b)]
        self.by_span: dict[Span, frozenset[str]] = {}
        for node in parts:
            if isinstance(node, ast.expr) and _may_fail(node):
                self._note(node, self.of(node))
            elif isinstance(node, ast.Assign):
                for target in node.targets:  # its value is there when it is unpacked
                    if isinstance(target, ast.Tuple | ast.List):
                        self._note(target, self.of(node.value))
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Tuple | ast.List):
                self._note(node.target, self.of(node.iter))

    def _note(self, node: ast.expr, fields: frozenset[str]) -> None:
        span = node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
        self.by_span[span] = self.by_span.get(span, fields) & fields

    def at(self, code: CodeType, instruction: int) -> frozenset[str]:
        """Return what was read when an instruction of the function failed."""
        positions = list(code.co_positions())
        return self.by_span.get(positions[instruction // 2], _NOTHING)

    def of(self, node: ast.expr | None) -> frozenset[str]:
        """Return what was read once an expression is evaluated, or fails after its operands."""
        if isinstance(node, ast.Name):
            return self._of_name(node.id)
        return _NOTHING.union(*map(self.of, _operands(node)))

    def _of_name(self, name: str) -> frozenset[str]:
        if name in self._fields:
            return frozenset([self._fields[name]])
        if name not in self._names:
            self._names[name] = _NOTHING  # a name may be of itself
            values = [self.of(value) for value in self._bindings.get(name, ())]
            self._names[name] = frozenset.intersection(*values) if values else _NOTHING
        return self._names[name]


def _may_fail(node: ast.expr) -> bool:
    """Tell what can be the place of a failure by itself.

    A constant can't, nor the format of a text's part, which has the place of the whole text; a
    target's value is what fails.
    """
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(v, ast.FormattedValue) for v in node.values)
    stored = isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Store)
    return not isinstance(node, ast.Constant) and not stored


def _operands(node: ast.expr | None) -> Sequence[ast.expr | None]:
    """Return the parts of an expression that are evaluated before it is, whatever they are."""
    match node:
        case ast.BoolOp(values=[first, *_]) | ast.IfExp(test=first) | ast.NamedExpr(value=first):
            return [first]
        case ast.Compare(left=left, comparators=[right, *_]):
            return [left, right]
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return [node.generators[0].iter]
        case ast.Call(func=f, args=args, keywords=keywords):
            if any(isinstance(a, ast.Starred) for a in args) or any(
                k.arg is None for k in keywords
            ):
                return []  # they are put together one by one
            return [f, *args, *(k.value for k in keywords)]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.UnaryOp(operand=value) | ast.Attribute(value=value):
            return [value]
        case ast.FormattedValue(value=value):
            return [value]
        case ast.JoinedStr(values=values):  # made from left to right
            return [v for v in values if isinstance(v, ast.FormattedValue)][:1]
        case ast.Subscript(value=value, slice=index):
            return [value, index]
        case ast.Slice(lower=lower, upper=upper, step=step):
            return [lower, upper, step]
    return []


def _bindings(node: ast.AST) -> Iterator[tuple[str, list[ast.expr | None]]]:
    """Yield each local name with what has been evaluated where it is bound; None: who knows."""
    by_name: dict[str, list[ast.expr | None]] = {}
    known: set[ast.AST] = set()

    def bind(target: ast.expr, value: ast.expr | None) -> None:
        for part in ast.walk(target):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                known.add(part)
                by_name.setdefault(part.id, []).append(value)

    for part in ast.walk(node):
        match part:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    bind(target, value)
            case (
                ast.AnnAssign(target=target, value=value)
                | ast.NamedExpr(target=target, value=value)
            ):
                bind(target, value)
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                bind(target, value)
            case ast.AugAssign(target=ast.Name() as target):
                known.add(target)  # it had a value before
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load) and part not in known:
            by_name.setdefault(part.id, []).append(None)
        elif not isinstance(part, ast.Name | ast.Attribute | ast.keyword | ast.Constant):
            for _, value in ast.iter_fields(part):
                for name in value if isinstance(value, list) else [value]:
                    if isinstance(name, str):  # a parameter, an import, an exception's name
                        by_name.setdefault(name, []).append(None)
    yield from by_name.items()
