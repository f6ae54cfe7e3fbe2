"""Expressions of a function's source to trees."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import warnings
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from enum import EnumType
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from engine.lift.body import Body, columns_of, element
from engine.lift.effects import raising, then
from engine.lift.modest import is_modest
from engine.lift.scope import (
    KNOWN,
    ROW,
    Bound,
    CannotLiftError,
    Closure,
    Generator,
    Groups,
    Items,
    NumpyValue,
    Scope,
    Thing,
    Value,
    WholeRow,
    as_value,
    known_value,
    lasting,
)
from engine.lift.syntax import expression_problem, shown
from engine.ops.operations import OPERATIONS, Op, written
from engine.slicing.constants import SCALARS, is_constant
from engine.slicing.expr import Call, Column, Const, Expr
from engine.slicing.rows import Struct

Comprehension = ast.GeneratorExp | ast.ListComp | ast.SetComp

MAX_NODES = 50_000  # of one function's tree; a larger one runs as Python
# How source writes operations: the operator's node, the method, the attribute, the function.
_OPERATORS: Mapping[Any, Op] = {op.source: op for op in written("operator").values()}
_ATTRIBUTES = written("attribute")
_SEARCHES: Mapping[str, Any] = {
    op.name: op.source for op in written("pattern").values() if op.returns is re.Match
}
# Operations that take an answer of numpy's (`np.True_`) as they take Python's.
_LIKE_BOOL = frozenset({"not", "and", "or", "if", "then", "any", "all", "bool", "is_none"})
_PASSING = frozenset({"and", "or", "if", "then"})  # those that may give it on
_LARGE = "it computes a constant that may be large"
_GROWING, _MOST_POWER = frozenset({"pow", "lshift"}), 1_000
_LISTS = (list, tuple, object)  # what numpy compares element by element, or may
_ROW_METHODS = frozenset({"get", "keys", "asDict"})
_TRUE, _FALSE = Const(True), Const(False)
_COLLECTIONS = (list, tuple, set, frozenset, dict)
_OPEN = (ModuleType, type, ABCMeta, EnumType)
_BOUND = (
    FunctionType, BuiltinFunctionType, staticmethod, classmethod, MethodDescriptorType,
    WrapperDescriptorType, ClassMethodDescriptorType,
)  # fmt: skip
# Types whose operators change nothing: lifting computes them, constant or not.
_FOLDED = SCALARS | {re.RegexFlag}

# Syntax -> the method that reads it: what is not here is not lifted.
_VISIT: Mapping[type[ast.AST], str] = {
    ast.Constant: "_constant_node",
    ast.Name: "_name",
    ast.Attribute: "_attribute",
    ast.Subscript: "_subscript",
    ast.BoolOp: "_boolean",
    ast.UnaryOp: "_unary",
    ast.BinOp: "_binary_node",
    ast.Compare: "_compare",
    ast.IfExp: "_conditional",
    ast.NamedExpr: "_walrus",
    ast.Tuple: "_display",
    ast.List: "_display",
    ast.Set: "_display",
    ast.GeneratorExp: "_comprehension",
    ast.ListComp: "_comprehension",
    ast.SetComp: "_comprehension",
    ast.Call: "call",
    ast.Lambda: "_lambda",
    ast.Dict: "_dict",
    ast.DictComp: "_dict_comprehension",
    ast.JoinedStr: "_joined",
}


class Expressions(ABC):
    """Reads expressions; notes the columns that are read."""

    def __init__(self, columns: frozenset[str], scalars: Container[str]) -> None:
        self.columns, self.scalars = columns, scalars
        self.by_numpy: set[Expr] = set()  # comparisons that give `np.True_`
        self.nodes, self.depth = 0, 0
        self.active: list[Any] = []  # functions that are being read, and names that change in them
        self.rebound: list[frozenset[str]] = []
        self.functions: list[ast.AST] = []  # their syntax
        self.owned: list[frozenset[str]] = []  # names of theirs whose lists nothing else has
        self.reads: set[str] = set()

    @abstractmethod
    def call(self, node: ast.Call, scope: Scope) -> Value:
        """Return the value of a call."""

    def expr(self, node: ast.expr, scope: Scope) -> Expr:
        """Return the value of an expression that is computed with."""
        value = self.value(node, scope)
        if isinstance(value, WholeRow):
            raise CannotLiftError(node, "it uses the whole row")
        if isinstance(value, Items):
            if not value.lazy:
                return self._plain(value, node)
            raise CannotLiftError(node, "it makes a collection of values that aren't constant")
        if isinstance(value, Generator):
            raise CannotLiftError(node, "it computes with a generator")
        if isinstance(value, Thing | NumpyValue):
            raise CannotLiftError(node, f"it computes with {shown(value.value)}")
        if isinstance(value, Closure | Bound):
            raise CannotLiftError(node, "it computes with a function")
        if isinstance(value, WholeRow):
            raise CannotLiftError(node, "it uses the whole row")
        return value  # type: ignore[no-any-return]

    def value(self, node: ast.expr, scope: Scope) -> Value:
        """Return what an expression stands for."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise CannotLiftError(node, f"it says more than {MAX_NODES:,} things")
        method = _VISIT.get(type(node))
        if method is None:
            raise CannotLiftError(node, expression_problem(node))
        return getattr(self, method)(node, scope)

    def _column(self, name: str) -> Column:
        self.reads.add(name)
        return Column(name)

    def _operation(self, op: str, *args: Expr) -> Expr:
        """Return an operation, simplified where that changes nothing."""
        simple = _SIMPLER[op](args) if op in _SIMPLER else None
        if self.by_numpy and op not in _LIKE_BOOL and any(map(self._is_numpys, args)):
            raise CannotLiftError(None, "it computes with what numpy answered")
        return simple if simple is not None else Call(op, args)

    def _is_numpys(self, value: Expr) -> bool:
        """Tell whether a value may be numpy's answer to a comparison."""
        left = [value]
        while left:
            node = left.pop()
            if node in self.by_numpy:
                return True
            if isinstance(node, Call) and node.op in _PASSING:
                left += node.args
        return False

    def _constant_node(self, node: ast.Constant, _: Scope) -> Const:
        return Const(node.value)

    def _name(self, node: ast.Name, scope: Scope) -> Value:
        return scope.look_up(node)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        base = self.value(node.value, scope)
        if isinstance(base, WholeRow):
            if node.attr in self.columns:
                return self._column(node.attr)
            missing = None if node.attr in _ROW_METHODS else node.attr
            raise CannotLiftError(node, f"it reads x.{node.attr}, which is no column", missing)
        if isinstance(base, Const) and node.attr in _ATTRIBUTES:
            return self._folded(OPERATIONS[node.attr], base)
        if isinstance(base, Const | Thing | NumpyValue):
            return self._attribute_of(base, node.attr, node)
        if isinstance(base, Expr) and node.attr in _ATTRIBUTES:
            return self._operation(node.attr, base)
        if isinstance(base, Expr) and node.attr == "get":
            return Bound(base, "get")
        if isinstance(base, Call) and is_of_library(base) and not node.attr.startswith("_"):
            return self._operation("member", base, Const(node.attr))
        if isinstance(base, Expr) and not hasattr(Struct, node.attr):
            return self._operation("field", base, Const(node.attr))
        raise CannotLiftError(node, f"it reads the attribute {node.attr!r} of a value")

    def _attribute_of(self, base: Const | Thing | NumpyValue, name: str, node: ast.AST) -> Value:
        if type(base.value) in _OPEN and _is_stored(base.value, name):
            return as_value(getattr(base.value, name))
        raise CannotLiftError(node, f"it reads the attribute {name!r} of {shown(base.value)}")

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        base = self.value(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            ends = [
                Const(None) if e is None else self.expr(e, scope)
                for e in (node.slice.lower, node.slice.upper, node.slice.step)
            ]
            if isinstance(base, Items) and not base.lazy:
                base = self._plain(base, node)
            if not isinstance(base, Expr):
                raise CannotLiftError(node, f"it slices {shown(known_value(base))}")
            if not all(isinstance(e, Const) for e in ends):
                return self._operation("part", base, *ends)
            part = slice(*(e.value for e in ends))  # type: ignore[attr-defined]
            return self._folded(OPERATIONS["getslice"], base, Const(part))
        key = self.expr(node.slice, scope)
        if isinstance(base, WholeRow):
            if isinstance(key, Const) and isinstance(key.value, str) and key.value in self.columns:
                return self._column(key.value)
            raise CannotLiftError(
                node, "it reads a column by a name that isn't constant or isn't there"
            )
        if isinstance(base, Items) and not base.lazy:
            return self._item_of(base, key, node)
        has_items = isinstance(base, Thing | NumpyValue) and type(base.value) in (list, tuple, dict)
        if has_items and isinstance(key, Const) and _is_in(key.value, base.value):
            return as_value(base.value[key.value])
        if not isinstance(base, Expr):
            raise CannotLiftError(node, f"it takes an item of {shown(known_value(base))}")
        return self._folded(OPERATIONS["getitem"], with_matches(base), key)

    def _item_of(self, base: Items, key: Expr, node: ast.AST) -> Value:
        """Return an item of a list or tuple that the function makes."""
        at = key.value if isinstance(key, Const) else None
        whole = self._plain(base, node)
        if type(at) is not int or not -len(base.values) <= at < len(base.values):
            return self._folded(OPERATIONS["getitem"], whole, key)
        effect = raising(whole)
        item = base.values[at]
        return item if effect is None or not isinstance(item, Expr) else then(effect, item)

    def _folded(self, op: Op, *args: Expr) -> Expr:
        """Return an operation, done now if its arguments are constant."""
        if all(isinstance(a, Const) for a in args):
            check_modest([a.value for a in args], op.name, None)  # type: ignore[attr-defined]
            try:
                result = op.python(*(a.value for a in args))  # type: ignore[attr-defined]
            except Exception:
                return Call(op.name, args)  # raises on every row that gets there
            if is_constant(result):
                return Const(result)
        return self._operation(op.name, *args)

    def _boolean(self, node: ast.BoolOp, scope: Scope) -> Expr:
        op = "and" if isinstance(node.op, ast.And) else "or"
        first = self.expr(node.values[0], scope)
        maybe = scope.bind()
        values = [first, *(self.expr(v, maybe) for v in node.values[1:])]
        scope.forget(maybe)
        return self._operation(op, *values)

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Value:
        op = _OPERATORS.get(type(node.op))
        if op is None:
            raise CannotLiftError(node, "it uses the operator ~")
        value = self.value(node.operand, scope)
        if isinstance(value, NumpyValue) and type(value.value) in _FOLDED:
            return self._computed(op.python, node, value.value)
        return self._folded(op, self._operand(value, node))

    def _computed(self, run: Callable[..., Any], node: ast.AST, *values: Any) -> Value:
        """Return what is computed of values that no row decides, as Python computes it."""
        check_modest(values, run, node)
        try:
            with warnings.catch_warnings(action="ignore"):
                return as_value(run(*values))
        except Exception as error:
            raise CannotLiftError(
                node, f"it computes with constants, which fails: {error}"
            ) from None

    def _binary_node(self, node: ast.BinOp, scope: Scope) -> Value:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        known = isinstance(left, KNOWN) and isinstance(right, KNOWN)
        of_others = {type(left.value), type(right.value)} & _FOLDED if known else ()
        if of_others and type(node.op) in _OPERATORS:
            return self._computed(_OPERATORS[type(node.op)].python, node, left.value, right.value)
        return self._binary(node.op, self._operand(left, node), self._operand(right, node), node)

    def _binary(self, sign: ast.operator, left: Expr, right: Expr, node: ast.AST) -> Expr:
        op = _OPERATORS.get(type(sign))
        if op is None:
            raise CannotLiftError(node, f"it uses the operator {type(sign).__name__}")
        if op.name in _GROWING and isinstance(left, Const) and not _is_small(right):
            raise CannotLiftError(node, _LARGE)
        return self._folded(op, left, right)

    def _compare(self, node: ast.Compare, scope: Scope) -> Expr:
        operands = [node.left, *node.comparators]
        values = [self.value(o, scope) for o in operands[:2]]
        maybe = scope.bind()
        values += [self.value(o, maybe) for o in operands[2:]]
        scope.forget(maybe)
        pairs = itertools.pairwise(values)
        steps = [self._compared(op, *pair, node) for op, pair in zip(node.ops, pairs, strict=True)]
        return steps[0] if len(steps) == 1 else self._operation("and", *steps)

    def _compared(self, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Expr:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, Items):
            right = replace(right, lazy=False)  # it is looked through once, lazy or not
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, Generator):
            right = right.tree
        if isinstance(left, NumpyValue) or isinstance(right, NumpyValue):
            return self._compared_by_numpy(op, left, right, node)
        left, right = (self._plain(v, node) for v in (left, right))
        if isinstance(op, ast.Is | ast.IsNot):
            same = self._identity(left, right, node)
            return self._operation("not", same) if isinstance(op, ast.IsNot) else same
        if isinstance(op, ast.NotIn):
            return self._operation("not", self._folded(OPERATIONS["in"], left, right))
        return self._folded(_OPERATORS[type(op)], left, right)

    def _compared_by_numpy(self, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Expr:
        """Take a comparison with a numpy scalar as one with Python's own value, where it is that.

        It is with text, whole numbers, floats, booleans and null, which columns of such types
        and most operations give. Lists are compared element by element.
        """
        of_numpy = [v.value for v in (left, right) if isinstance(v, NumpyValue)]
        inside = isinstance(op, ast.In | ast.NotIn)
        constant = isinstance(left, KNOWN) and isinstance(right, KNOWN)
        if isinstance(op, ast.Is | ast.IsNot) or (
            not inside and (constant or any(isinstance(v, _COLLECTIONS) for v in of_numpy))
        ):
            raise CannotLiftError(node, f"it compares with {shown(of_numpy[0])}")
        sides = [v.compared if isinstance(v, NumpyValue) else self._plain(v, node)
                 for v in (left, right)]  # fmt: skip
        for below in (n for side in sides for n in side.walk()):
            if isinstance(below, Column) and below.name not in self.scalars:
                why = f"it compares {below.name!r}, which isn't text, a number or a boolean,"
                raise CannotLiftError(node, f"{why} with a value of numpy's")
            if isinstance(below, Const) and not _is_flat(below.value):
                raise CannotLiftError(node, f"it compares with {shown(of_numpy[0])}")
            if isinstance(below, Call) and OPERATIONS[below.op].returns in _LISTS:
                raise CannotLiftError(
                    node, "it compares what may be a list with a value of numpy's"
                )
        test = self._compared(op, sides[0], sides[1], node)
        if not inside:
            self.by_numpy.add(test)
        return test

    def _operand(self, value: Value, node: ast.AST) -> Expr:
        """Return a value to compute with."""
        if isinstance(value, WholeRow):
            raise CannotLiftError(node, "it uses the whole row")
        return self._plain(value, node)

    def _plain(self, value: Value, node: ast.AST) -> Expr:
        if isinstance(value, Thing | NumpyValue):
            raise CannotLiftError(node, f"it computes with {shown(value.value)}")
        known = isinstance(value, Items) and not value.lazy
        if known and all(isinstance(v, Const) for v in value.values):
            return Const((tuple if value.is_tuple else list)(v.value for v in value.values))
        if isinstance(value, Items) and not value.lazy:
            kind = "tuple" if value.is_tuple else "list"
            return self._operation(kind, *(self._plain(v, node) for v in value.values))
        if isinstance(value, Closure | Bound):
            raise CannotLiftError(node, "it computes with a function")
        if isinstance(value, WholeRow):
            raise CannotLiftError(node, "it uses the whole row")
        if not isinstance(value, Expr):
            raise CannotLiftError(node, "it compares a collection that isn't constant")
        return value

    def _identity(self, left: Expr, right: Expr, node: ast.AST) -> Expr:
        if not isinstance(right, Const) or type(right.value) not in (bool, type(None)):
            left, right = right, left
        if not isinstance(right, Const) or not isinstance(right.value, bool | type(None)):
            raise CannotLiftError(
                node, "it uses `is` with something other than None, True or False"
            )
        if isinstance(left, Const):
            return Const(left.value is right.value)
        if right.value is None:
            return self._operation("is_none", left)
        return self._operation("is", left, right)

    def _conditional(self, node: ast.IfExp, scope: Scope) -> Expr:
        test = self.expr(node.test, scope)
        if isinstance(test, Const):
            return self.expr(node.body if test.value else node.orelse, scope)
        scopes = scope.bind(), scope.bind()
        tree = self._operation("if", test, self.expr(node.body, scopes[0]),
                         self.expr(node.orelse, scopes[1]))  # fmt: skip
        for maybe in scopes:
            scope.forget(maybe)
        return tree

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> Value:
        value = lasting(self.value(node.value, scope), node)
        scope.local[node.target.id] = value
        return value

    def _display(self, node: ast.Tuple | ast.List | ast.Set, scope: Scope) -> Value:
        if any(isinstance(e, ast.Starred) for e in node.elts):
            return self._put_together(node, scope)
        values = [self.value(e, scope) for e in node.elts]
        if all(isinstance(v, Const) for v in values):
            kinds: Mapping[type, Callable[[Iterable[Any]], Any]] = {
                ast.Tuple: tuple, ast.List: list, ast.Set: frozenset,
            }  # fmt: skip
            return constant_call(kinds[type(node)], [Const([v.value for v in values])], node)
        if isinstance(node, ast.Set):
            raise CannotLiftError(node, "it makes a set of values that aren't constant")
        return Items(tuple(values), is_tuple=isinstance(node, ast.Tuple))

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Closure:
        return self._closure(node, scope)

    def _closure(self, node: ast.Lambda | ast.FunctionDef, scope: Scope) -> Closure:
        """Return a function that the source makes."""
        arguments = node.args
        if arguments.vararg or arguments.kwarg:
            raise CannotLiftError(node, "it makes a function that takes *args or **kwargs")
        named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return Closure(
            node,
            scope.bind(),
            tuple(lasting(self.value(d, scope), d) for d in arguments.defaults),
            tuple((a.arg, lasting(self.value(d, scope), d)) for a, d in named if d is not None),
        )

    def _dict(self, node: ast.Dict, scope: Scope) -> Value:
        if any(key is None for key in node.keys):
            raise CannotLiftError(node, "it unpacks a dict")
        pairs = [
            Items((self.value(k, scope), self.value(v, scope)), is_tuple=True)  # type: ignore[arg-type]
            for k, v in zip(node.keys, node.values, strict=True)
        ]
        parts = [part for pair in pairs for part in pair.values]
        if all(isinstance(p, Const) for p in parts):
            return constant_call(dict, [Const([tuple(p.value for p in pair.values)
                                               for pair in pairs])], node)  # fmt: skip
        if all(isinstance(p, KNOWN) for p in parts):
            return self._computed(dict, node, [tuple(p.value for p in q.values) for q in pairs])
        return self._folded(OPERATIONS["dict_of"], self._plain(Items(tuple(pairs)), node))

    def _dict_comprehension(self, node: ast.DictComp, scope: Scope) -> Value:
        pair = ast.copy_location(ast.Tuple([node.key, node.value], ast.Load()), node)
        pairs = ast.copy_location(ast.ListComp(pair, node.generators), node)
        return self._folded(OPERATIONS["dict_of"], self._plain(self.value(pairs, scope), node))

    def _joined(self, node: ast.JoinedStr, scope: Scope) -> Expr:
        """Return what an f-string makes: each value is formatted before the next is computed."""
        pieces: list[Expr] = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                pieces.append(Const(part.value))
                continue
            assert isinstance(part, ast.FormattedValue)  # there is no other part
            how = "" if part.conversion < 0 else f"!{chr(part.conversion)}"
            if part.format_spec is not None:
                spec = self.expr(part.format_spec, scope)
                if not isinstance(spec, Const) or set(spec.value) & set("{}"):
                    raise CannotLiftError(node, "it formats text in a way that isn't constant")
                how += f":{spec.value}"
            value = with_matches(self.expr(part.value, scope))
            pieces.append(self._folded(OPERATIONS["format"], Const(f"{{0{how}}}"), value))
        if all(isinstance(p, Const) for p in pieces):
            return Const("".join(p.value for p in pieces))  # type: ignore[attr-defined]
        return pieces[0] if len(pieces) == 1 else self._operation("concat", *pieces)

    def _put_together(self, node: ast.Tuple | ast.List | ast.Set, scope: Scope) -> Expr:
        """Return a list of values, those with a star one by one."""
        if not isinstance(node, ast.List):
            raise CannotLiftError(node, "it unpacks a collection")
        whole: Expr = Const([])
        for part in node.elts:
            if isinstance(part, ast.Starred):
                items = self.value(part.value, scope)
                more = items.tree if isinstance(items, Generator) else self._plain(items, node)
                whole = self._operation("extended", whole, self._operation("drained", more))
            else:
                whole = self._operation("appended", whole, self.expr(part, scope))
        return whole

    def _comprehension(self, node: Comprehension, scope: Scope) -> Value:
        """Return a comprehension: over constants it is unrolled."""
        if any(over.is_async for over in node.generators):
            raise CannotLiftError(node, "it is a coroutine")
        if binds(node) and self._is_used_outside(node):
            raise CannotLiftError(node, "it has a comprehension that binds a name with :=")
        over, *others = node.generators
        values = self._items(self.value(over.iter, scope))
        if values is None or others or isinstance(node, ast.SetComp):
            tree = self._over(node, node.generators, scope)
            if isinstance(node, ast.GeneratorExp):
                return Generator(tree)
            return self._operation("set_of" if isinstance(node, ast.SetComp) else "listed", tree)
        elements = []
        for value in values:
            inner = self._assigned(over.target, value, scope)[0]
            tests = [self.expr(t, inner) for t in over.ifs]
            if not all(isinstance(t, Const) for t in tests):
                raise CannotLiftError(node, "it has a comprehension with a condition on the row")
            if all(t.value for t in tests):  # type: ignore[attr-defined]
                elements.append(self.value(node.elt, inner))
        if isinstance(node, ast.ListComp) and all(isinstance(v, Const) for v in elements):
            return Const([v.value for v in elements])
        return Items(tuple(elements), isinstance(node, ast.GeneratorExp))

    def _is_used_outside(self, node: Comprehension) -> bool:
        """Tell whether names that a comprehension binds with := are used elsewhere."""
        inside = set(ast.walk(node))
        names = {n.target.id for n in inside if isinstance(n, ast.NamedExpr)}
        return any(
            isinstance(n, ast.Name) and n.id in names and n not in inside
            for n in ast.walk(self.functions[-1])
        )

    def _over(
        self, node: Comprehension, generators: Sequence[ast.comprehension], scope: Scope
    ) -> Expr:
        """Return what a comprehension says of each element of a row's value."""
        (over, *others), item = generators, element(self.depth)
        of = self.value(over.iter, scope)
        if isinstance(of, Groups):
            of = of.once(over.target, [node.elt if not isinstance(node, ast.DictComp) else node,
                                       *over.ifs, *others])  # fmt: skip
        items = self._iterable(of)
        if items is None:
            raise CannotLiftError(node, "it has a comprehension over something that isn't a value")
        self.depth += 1
        inner, effect = self._bound_to_each(over.target, item, items, scope)
        tests = [self.expr(test, inner) for test in over.ifs]
        test = _TRUE if not tests else tests[0] if len(tests) == 1 else Call("and", tuple(tests))
        value = self._over(node, others, inner) if others else self.expr(node.elt, inner)
        self.depth -= 1
        tree = over_each(items, item, value, test if effect is None else then(effect, test))
        return Call("chained", (tree,)) if others else tree

    def _bound_to_each(
        self, target: ast.expr, item: Column, items: Expr, scope: Scope
    ) -> tuple[Scope, Expr | None]:
        """Bind a target to each element; return what may raise in it, too."""
        inner, effect = self._assigned(target, item, scope)
        return inner, item if effect is None and _is_lazy(items) else effect

    def _iterable(self, value: Value) -> Expr | None:
        """Return what is gone through, if the row has it."""
        if isinstance(value, Generator):
            return value.tree
        return gone_through(value) if isinstance(value, Expr) else None

    def _items(self, value: Value) -> tuple[Any, ...] | None:
        """Return a constant collection's elements, or None if it isn't one."""
        if isinstance(value, Items):
            return value.values
        over = known_value(value)
        if type(over) in (list, tuple, set, frozenset, dict, str, range):
            check_modest([over], "", None)
            return tuple(map(as_value, over))
        return None

    def _assigned(self, target: ast.expr, value: Value, scope: Scope) -> tuple[Scope, Expr | None]:
        """Bind a target to a value; return what of the value may raise, too."""
        if isinstance(target, ast.Name):
            return scope.bind(**{target.id: lasting(value, target)}), raising(value)
        names = list(getattr(target, "elts", ()))
        values = self._items(value)
        if isinstance(value, Generator):
            value = self._operation("drained", value.tree)
        if values is None and isinstance(value, Expr):
            return self._unpacked(target, names, value, scope)
        if not names or values is None or not all(isinstance(n, ast.Name) for n in names):
            raise CannotLiftError(target, "it assigns to something that isn't a local name")
        if len(names) != len(values):
            raise CannotLiftError(target, "it unpacks another number of values")
        return scope.bind(**{n.id: v for n, v in zip(names, values, strict=True)}), raising(value)

    def _unpacked(
        self, target: ast.expr, names: list[ast.expr], value: Expr, scope: Scope
    ) -> tuple[Scope, Expr | None]:
        """Bind names to the parts of a row's value, the last one to the rest if it has a star."""
        rest = names.pop() if names and isinstance(names[-1], ast.Starred) else None
        last = rest.value if isinstance(rest, ast.Starred) else None
        if not all(isinstance(n, ast.Name) for n in (*names, *([last] if last else ()))):
            raise CannotLiftError(target, "it assigns to something that isn't a local name")
        whole = Call("unpack", (value, Const(len(names)), Const(last is not None)))
        bound: dict[str, Value] = {
            str(getattr(n, "id", "")): Call("getitem", (whole, Const(at)))
            for at, n in enumerate(names)
        }
        if isinstance(last, ast.Name):
            left = Call("getslice", (whole, Const(slice(len(names), None))))
            bound[last.id] = Call("listed", (left,))
        return scope.bind(**bound), whole


def over_each(items: Expr, item: Column, value: Expr, test: Expr) -> Expr:
    """Return what is said of each element that a test lets through."""
    outer = tuple(c for c in columns_of(value, test) if c != item)
    names = (item.name, *(c.name for c in outer))
    return Call("over", (items, Body(value, names), Body(test, names), *outer))


def _is_lazy(items: Expr) -> bool:
    """Tell whether elements are computed one by one, so that some may raise."""
    if not isinstance(items, Call):
        return False
    return items.op == "over" or (items.op in _PASSING and any(map(_is_lazy, items.args)))


def gone_through(value: Expr) -> Expr:
    """Return what has the elements of a value: nothing is the same in a tuple as in a list."""
    match value:
        case Call(op="or", args=[*some, last]):
            return Call("or", (*some, _list_for_nothing(last)))
        case Call(op="if", args=[test, one, other]):
            return Call("if", (test, _list_for_nothing(one), _list_for_nothing(other)))
    return value


def _list_for_nothing(value: Expr) -> Expr:
    if not isinstance(value, Const):
        return gone_through(value)
    nothing = type(value.value) in _COLLECTIONS and not value.value
    return Const([]) if nothing else value


def with_matches(value: Expr) -> Expr:
    """Return a value in which a search gives its match, not only whether there is one."""
    if not isinstance(value, Call):
        return value
    if value.op in _SEARCHES:
        pattern, text = value.args
        return Call("matched", (pattern, Const(_SEARCHES[value.op]), text))
    if value.op in _PASSING:
        first = {"if": 1, "then": 1}.get(value.op, 0)
        args = (*value.args[:first], *map(with_matches, value.args[first:]))
        return value if args == value.args else Call(value.op, args)
    return value


# Operations whose values are what a library gives: reading a member of such changes nothing.
_OF_LIBRARY = frozenset({
    "apply", "keyworded", "member", "isocalendar", "timetuple", "utctimetuple", "as_tuple",
    "matched",
})  # fmt: skip


def is_of_library(value: Call) -> bool:
    """Tell whether a value is what a library gives, or a part of it."""
    return value.op in _OF_LIBRARY


def _is_small(power: Expr) -> bool:
    return isinstance(power, Const) and type(power.value) is int and abs(power.value) <= _MOST_POWER


def _simpler_if(args: tuple[Expr, ...]) -> Expr | None:
    """Keep long chains of early returns flat: they are an `any` or an `all`."""
    test, then, other = args
    if then == _TRUE and isinstance(other, Call) and other.op == "any":
        return Call("any", (*_any_of(test), *other.args))
    if then == _TRUE and other == _FALSE:
        return Call("any", _any_of(test))
    return None


def _simpler_any(args: tuple[Expr, ...]) -> Expr | None:
    return _FALSE if not args else None


def _simpler_all(args: tuple[Expr, ...]) -> Expr | None:
    return _TRUE if not args else None


def _any_of(test: Expr) -> tuple[Expr, ...]:
    return test.args if isinstance(test, Call) and test.op == "any" else (test,)


_SIMPLER: Mapping[str, Callable[[tuple[Expr, ...]], Expr | None]] = {
    "if": _simpler_if,
    "any": _simpler_any,
    "all": _simpler_all,
}


def _is_flat(value: Any) -> bool:
    """Tell whether a constant is text, a number, a boolean or null, or a collection of such."""
    parts = value if type(value) in _COLLECTIONS else (value,)
    return all(type(part) in (str, int, float, bool, type(None)) for part in parts)


def _is_in(key: Any, over: Any) -> bool:
    """Tell whether a collection has an item of this key."""
    try:
        over[key]
    except Exception:
        return False
    return True


def _is_stored(owner: Any, name: str) -> bool:
    """Tell whether an attribute of a module or a class is stored there, not computed."""
    value = inspect.getattr_static(owner, name, ROW)
    if type(owner) is ModuleType:
        return value is not ROW
    return value is not ROW and (type(value) in _BOUND or not hasattr(type(value), "__get__"))


def constant_call(f: Any, args: Sequence[Const], node: ast.AST) -> Const:
    """Return the value of a function of constants."""
    check_modest([a.value for a in args], f, node)
    try:
        return Const(f(*(a.value for a in args)))
    except Exception as error:
        raise CannotLiftError(node, f"{call_name(f)} of constants fails: {error}") from None


def check_modest(values: Iterable[Any], does: Any, node: ast.AST | None) -> None:
    """Check that computing with constants is quick, wherever the function is read.

    Raises
    ------
    CannotLiftError
        If it may not be.
    """
    if not is_modest(values, does):
        raise CannotLiftError(node, _LARGE)


def binds(node: ast.AST) -> bool:
    """Tell whether a part of a source binds a name with `:=`."""
    return any(isinstance(n, ast.NamedExpr) for n in ast.walk(node))


def call_name(f: Any) -> str:
    """Return a function as a message names it."""
    name = getattr(f, "__qualname__", None) or type(f).__name__
    module = getattr(f, "__module__", None) or getattr(type(f), "__module__", "")
    module = "" if module in ("builtins", "__main__", None) else f"{module}."
    return f"{module}{name}"
