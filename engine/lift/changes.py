"""Which fields of its row a function may change in place, or keep where others may change them.

Lists, maps and structs are shared by all functions of a run, but for those that a function may
change: it gets them for itself. The answer is yes unless every use of a value is known to leave it
as it is.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType

import pyarrow as pa

from engine.lift.fields import OfFields

_ASK = frozenset({"all", "any", "bool", "float", "hash", "int", "isinstance", "len", "repr", "str"})
_PICK = frozenset({"max", "min", "next"})
_GO_THROUGH = frozenset({
    "dict", "enumerate", "filter", "frozenset", "iter", "list", "map", "reversed", "set", "sorted",
    "sum", "tuple", "zip",
})  # fmt: skip
_KNOWN = _ASK | _PICK | _GO_THROUGH
# Methods that change nothing: of what they give, and of what they give the items of.
_ASKING = frozenset({"count", "index"})
_SHOWING = frozenset({"copy", "items", "keys", "values"})


def may_change(of: OfFields, f: FunctionType, kinds: Mapping[str, pa.DataType]) -> frozenset[str]:
    """Return the fields, of those that hold lists, maps or structs, that a function may change.

    Parameters
    ----------
    of
        The function's code over fields.
    f
        The function.
    kinds
        Field to its Arrow type.

    Examples
    --------
    >>> from engine.lift.fields import of_fields
    >>> kinds = {"a": pa.list_(pa.string()), "b": pa.list_(pa.string())}
    >>> f = lambda x: len(x.a) > 2 or x.b.sort()
    >>> sorted(may_change(of_fields(f, frozenset(kinds)), f, kinds))
    ['b']
    """
    uses = _Uses(of, f)
    return frozenset(c for c, name in of.fields.items() if not uses.leave_alone(name, kinds[c]))


def known_builtins(f: FunctionType) -> frozenset[str]:
    """Return the builtins that change nothing and that a function's module has as they are."""
    names = f.__globals__
    own = {n for n in _KNOWN & names.keys() if names[n] is not getattr(builtins, n)}
    return _KNOWN - own if own else _KNOWN


class _Uses:
    """What a function does with values that a name of it has."""

    def __init__(self, of: OfFields, f: FunctionType) -> None:
        self.root = of.node
        self.above = {c: p for p in ast.walk(of.node) for c in ast.iter_child_nodes(p)}
        self.names: dict[str, list[ast.Name]] = {}
        bound = {*f.__code__.co_freevars}
        for node in self.above:
            if isinstance(node, ast.Name):
                self.names.setdefault(node.id, []).append(node)
                if not isinstance(node.ctx, ast.Load):
                    bound.add(node.id)
            elif not isinstance(node, ast.Attribute | ast.keyword | ast.Constant):
                bound.update(_texts(node))
        self.builtins = known_builtins(f) - bound
        self.elsewhere = {
            n for d in self.above if isinstance(d, ast.Global | ast.Nonlocal) for n in d.names
        }
        self.visits: set[tuple[str, str]] = set()

    def leave_alone(self, name: str, kind: pa.DataType) -> bool:
        """Tell whether all uses of a field leave its value as it is, and keep it nowhere."""
        self.visits.clear()
        return self._name_leaves(name, kind)

    def _name_leaves(self, name: str, kind: pa.DataType) -> bool:
        if name in self.elsewhere:
            return False
        if (name, str(kind)) in self.visits:  # its uses are being looked at
            return True
        self.visits.add((name, str(kind)))
        return all(self._leaves(node, kind) for node in self.names.get(name, ())
                   if not isinstance(node.ctx, ast.Store) or self._is_augmented(node))  # fmt: skip

    def _is_augmented(self, node: ast.AST) -> bool:
        return isinstance(self.above[node], ast.AugAssign)

    def _leaves(self, node: ast.expr, kind: pa.DataType) -> bool:  # noqa: PLR0912 - by syntax
        """Tell whether what is around a value of a type leaves it as it is.

        Operators do, whatever their other operand is.
        """
        if not isinstance(getattr(node, "ctx", _LOAD), ast.Load):
            return False
        if _is_fixed(kind):
            return True
        if not _is_known(kind):
            return False
        flat = all(map(_is_fixed, _items(kind)))
        around = self.above[node]
        match around:
            case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Expr() | ast.FormattedValue():
                return True
            case ast.If() | ast.While():
                return True
            case ast.BoolOp():
                return self._leaves(around, kind)
            case ast.IfExp(test=test):
                return test is node or self._leaves(around, kind)
            case ast.BinOp() | ast.Starred():
                return flat
            case ast.AugAssign(value=value):
                return flat and value is node
            case ast.Return() | ast.Lambda():
                return self._is_answer(around)
            case ast.comprehension(iter=over) if over is not node:
                return True
            case ast.For(target=target) | ast.comprehension(target=target):
                return self._target_leaves(target, _item(kind))
            case ast.Assign(targets=targets):
                return all(self._target_leaves(target, kind) for target in targets)
            case ast.AnnAssign(target=target):
                return self._target_leaves(target, kind)
            case ast.NamedExpr(target=target):
                return self._target_leaves(target, kind) and self._leaves(around, kind)
            case ast.Subscript(value=value):
                return value is not node or self._leaves(around, _at(around.slice, kind))
            case ast.Attribute():
                return self._of_attribute(around, kind, flat)
            case ast.Call(func=ast.Name(id=name), args=args) if name in self.builtins:
                return node in args and self._of_call(name, around, node, kind, flat)
            case ast.Call(func=ast.Attribute(value=ast.Constant())):  # ", ".join(x.tags)
                return True
        return False

    def _target_leaves(self, target: ast.expr, kind: pa.DataType) -> bool:
        """Tell whether what is assigned leaves the value as it is."""
        if _is_fixed(kind):
            return True
        if isinstance(target, ast.Name):
            return self._name_leaves(target.id, kind)
        return isinstance(target, ast.Tuple | ast.List) and all(map(_is_fixed, _items(kind)))

    def _of_attribute(self, node: ast.Attribute, kind: pa.DataType, flat: bool) -> bool:
        if pa.types.is_struct(kind):
            at = kind.get_field_index(node.attr)
            return at >= 0 and self._leaves(node, kind.field(at).type)
        call = self.above[node]
        if not isinstance(call, ast.Call) or call.func is not node:
            return False
        if pa.types.is_map(kind) and node.attr == "get":
            return self._leaves(call, kind.item_type)
        return node.attr in _ASKING or (flat and node.attr in _SHOWING)

    def _of_call(
        self, name: str, call: ast.Call, node: ast.expr, kind: pa.DataType, flat: bool
    ) -> bool:
        if name in _ASK:
            return True
        if name in _PICK:  # one of several is given back as it is
            return self._leaves(call, _item(kind) if len(call.args) == 1 else kind)
        return flat and (name != "sum" or call.args[0] is node)

    def _is_answer(self, node: ast.AST) -> bool:
        """Tell whether what a function returns is the slicing function's answer."""
        while not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            node = self.above[node]
        return node is self.root


_LOAD = ast.Load()
ANY = pa.struct([("?", pa.struct([]))])  # a value of ours of which nothing is known
UNKNOWN = pa.dictionary(pa.int8(), pa.string())  # one of a type that may do anything when used


def _texts(node: ast.AST) -> Iterator[str]:
    for _, value in ast.iter_fields(node):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield text


def _is_fixed(kind: pa.DataType) -> bool:
    """Tell whether nobody can change values of a type in place."""
    return any(is_kind(kind) for is_kind in _FIXED)


_FIXED: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating,
    pa.types.is_decimal, pa.types.is_temporal, pa.types.is_string, pa.types.is_large_string,
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary,
)  # fmt: skip


def _is_known(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_struct, pa.types.is_map, *_OF_ONE))


_OF_ONE = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def _items(kind: pa.DataType) -> list[pa.DataType]:
    """Return the types of what a value of a type holds."""
    if pa.types.is_map(kind):
        return [kind.key_type, kind.item_type]
    return [field.type for field in kind] if pa.types.is_struct(kind) else [kind.value_type]


def _item(kind: pa.DataType) -> pa.DataType:
    """Return the type of what going through a value gives."""
    first = _items(kind)[0] if _items(kind) else ANY
    return ANY if pa.types.is_struct(kind) and not all(map(_is_fixed, _items(kind))) else first


def _at(index: ast.expr, kind: pa.DataType) -> pa.DataType:
    """Return the type of what a subscript gives."""
    if pa.types.is_struct(kind) and isinstance(index, ast.Constant) and index.value in _names(kind):
        return kind.field(index.value).type
    if isinstance(index, ast.Slice):
        return kind
    return kind.item_type if pa.types.is_map(kind) else _item(kind)


def _names(kind: pa.StructType) -> list[str]:
    return [field.name for field in kind]
