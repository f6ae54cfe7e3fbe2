"""A predicate's tree written as Spark's SQL: the only text of it that Spark gets to read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp

from engine.errors import PredicateError
from engine.predicates.dialect import Positive
from engine.predicates.precedence import fits, rank
from engine.redaction import plain_text
from engine.sql import name_sql

_SIGNS: Mapping[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.IntDiv: "DIV",
    exp.DPipe: "||", exp.BitwiseAnd: "&", exp.BitwiseOr: "|", exp.BitwiseXor: "^",
    exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "<=>", exp.NullSafeNEQ: "IS DISTINCT FROM", exp.RegexpLike: "RLIKE",
    exp.Like: "LIKE", exp.ILike: "ILIKE", exp.Is: "IS", exp.And: "AND", exp.Or: "OR",
}  # fmt: skip
_PREFIXES: Mapping[type[exp.Expr], str] = {
    exp.Neg: "-", exp.BitwiseNot: "~", Positive: "+", exp.Not: "NOT ",
}  # fmt: skip
TYPES: Mapping[exp.DType, str] = {
    exp.DType.ARRAY: "ARRAY", exp.DType.BIGINT: "BIGINT", exp.DType.BINARY: "BINARY",
    exp.DType.BOOLEAN: "BOOLEAN", exp.DType.DATE: "DATE", exp.DType.DECIMAL: "DECIMAL",
    exp.DType.DOUBLE: "DOUBLE", exp.DType.FLOAT: "FLOAT", exp.DType.INT: "INT",
    exp.DType.MAP: "MAP", exp.DType.SMALLINT: "SMALLINT", exp.DType.STRUCT: "STRUCT",
    exp.DType.TEXT: "STRING", exp.DType.TIME: "TIME", exp.DType.TIMESTAMP: "TIMESTAMP",
    exp.DType.TIMESTAMPLTZ: "TIMESTAMP_LTZ", exp.DType.TIMESTAMPNTZ: "TIMESTAMP_NTZ",
    exp.DType.TIMESTAMPTZ: "TIMESTAMP", exp.DType.TINYINT: "TINYINT",
    exp.DType.VARIANT: "VARIANT",
}  # fmt: skip
_UNITS = frozenset(
    f"{unit}{s}"
    for unit in (
        "YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAYOFYEAR", "HOUR", "MINUTE", "SECOND",
        "MILLISECOND", "MICROSECOND",
    )
    for s in ("", "S")
)  # fmt: skip
_FIELDS = _UNITS | {
    "DAYOFWEEK", "DAYOFWEEK_ISO", "DOW", "DOW_ISO", "DOY", "WEEK", "YEAROFWEEK", "D", "H", "M",
    "MIN", "MINS", "MON", "MONS", "HR", "HRS", "QTR", "S", "SEC", "SECS", "W", "Y", "YR", "YRS",
}  # fmt: skip
# Functions whose first argument of three is a unit.
_WITH_UNIT = frozenset(
    {"dateadd", "date_add", "datediff", "date_diff", "timestampadd", "timestampdiff", "timediff"}
)
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]*")


def written(tree: exp.Expr) -> str:
    """Write a predicate that was checked, on one line."""
    return _write(tree)


def text_literal(text: str) -> str:
    r"""Write a text as Spark reads it, on one line and without what Spark substitutes.

    Examples
    --------
    >>> text_literal("it's"), text_literal("${env:HOME}"), text_literal("a\nb")
    ("'it\\'s'", "'\\u0024{env:HOME}'", "'a\\u000Ab'")
    """
    return "'" + "".join(map(_character, text)) + "'"


def _character(c: str) -> str:
    if c in "'\\":
        return f"\\{c}"
    return f"\\u{ord(c):04X}" if c == "$" or unicodedata.category(c) == "Cc" else c


def _write(node: Any) -> str:
    kind = type(node)
    if kind in _SIGNS:
        return _binary(node)
    if kind in _PREFIXES:
        return _prefixed(node)
    return _WRITERS[kind](node)


def _operand(node: exp.Expr, operand: Any, first: bool = False) -> str:
    bare = operand.unnest() if isinstance(operand, exp.Paren) else operand
    text = _write(bare)
    # To Spark -1 is a number, and -(1) the number 1 with a sign before it.
    number = isinstance(node, exp.Neg) and isinstance(bare, exp.Literal) and bare is not operand
    return text if fits(node, bare, first) and not number else f"({text})"


def _binary(node: exp.Expr) -> str:
    """Write an operation of two; a chain of them, which may be long, without a deep stack."""
    texts: list[str] = []
    while True:
        sign = _SIGNS[type(node)]
        if node.args.get("negate"):
            sign = "IS NOT" if isinstance(node, exp.Is) else f"NOT {sign}"
        texts.append(f" {sign} {_operand(node, node.args['expression'])}")
        first = node.args["this"]
        if type(first) not in _SIGNS or not fits(node, first, first=True):
            texts.append(_operand(node, first, first=True))
            return "".join(reversed(texts))
        node = first


def _prefixed(node: exp.Expr) -> str:
    return f"{_PREFIXES[type(node)]}{_operand(node, node.args['this'])}"


def _list(nodes: Any) -> str:
    return ", ".join(map(_write, nodes))


def _in(node: exp.Expr) -> str:
    return f"{_operand(node, node.args['this'], True)} IN ({_list(node.args['expressions'])})"


def _between(node: exp.Expr) -> str:
    first, low, high = (_operand(node, node.args[n], n == "this") for n in ("this", "low", "high"))
    return f"{first} BETWEEN {low} AND {high}"


def _escape(node: exp.Expr) -> str:
    return f"{_write(node.args['this'])} ESCAPE {_write(node.args['expression'])}"


def _quantified(word: str) -> Callable[[Any], str]:
    def write(node: Any) -> str:
        options = node.this
        return f"{word} ({_list(options.expressions or [options.unnest()])})"

    return write


def _case(node: exp.Expr) -> str:
    of = node.args.get("this")
    whens = (
        f" WHEN {_write(one.this)} THEN {_write(one.args['true'])}" for one in node.args["ifs"]
    )
    default = node.args.get("default")
    return (
        f"CASE{'' if of is None else f' {_write(of)}'}{''.join(whens)}"
        f"{'' if default is None else f' ELSE {_write(default)}'} END"
    )


def _cast(word: str) -> Callable[[Any], str]:
    return lambda node: f"{word}({_write(node.this)} AS {_type(node.args['to'])})"


def _type(node: Any) -> str:
    if isinstance(node.this, exp.Interval):
        return _interval_type(node.this)
    word, parts = TYPES[node.this], node.expressions
    if node.this is exp.DType.STRUCT:
        fields = (f"{name_sql(one.this.name)}: {_type(one.args['kind'])}" for one in parts)
        return f"{word}<{', '.join(fields)}>"
    if node.this in (exp.DType.ARRAY, exp.DType.MAP):
        return f"{word}<{', '.join(map(_type, parts))}>"
    return f"{word}({', '.join(str(int(one.name)) for one in parts)})" if parts else word


def _interval_type(node: Any) -> str:
    return f"INTERVAL {_unit(node.args['unit'])}"


def _unit(node: Any) -> str:
    if isinstance(node, exp.IntervalSpan):
        return f"{_unit(node.this)} TO {_unit(node.args['expression'])}"
    return str(node.name.upper())


def _field(node: Any) -> str:
    return _write(node) if isinstance(node, exp.Literal) else _unit(node)


def _interval(node: exp.Expr) -> str:
    unit = node.args.get("unit")
    return f"INTERVAL {_write(node.args['this'])}{'' if unit is None else f' {_unit(unit)}'}"


def _literal(node: Any) -> str:
    return text_literal(node.this) if node.is_string else str(node.this)


def _column(node: Any) -> str:
    return ".".join(name_sql(part.name) for part in node.parts)


def _base(node: Any) -> str:
    text = _write(node)
    atom = rank(node) < 0 and not isinstance(node, exp.Literal | exp.Interval)
    return text if atom else f"({text})"


def _call(node: Any, name: str) -> str:
    args = list(node.expressions)
    if name.lower() in _WITH_UNIT and len(args) == 3 and (unit := unit_of(args[0])):  # noqa: PLR2004
        return f"{name}({unit}, {_list(args[1:])})"
    return f"{_word(name)}({_list(args)})"


def _word(name: str) -> str:
    return name if _WORD.fullmatch(name) else name_sql(name)


def _dot(node: Any) -> str:
    call = node.args["expression"]
    if isinstance(call, exp.Anonymous):
        return ".".join([*map(_word, call_name(node).split(".")[:-1]), _write(call)])
    return f"{_base(node.this)}.{_write(call)}"


def call_name(node: Any) -> str:
    """Return what a call names: ``f``, or ``db.f`` of a function in a catalog."""
    if isinstance(node, exp.Column):
        return ".".join(part.name for part in node.parts)
    if isinstance(node, exp.Dot):
        return f"{call_name(node.this)}.{node.expression.name}"
    return str(node.name)


def unit_of(node: Any) -> str | None:
    """Return a unit of time that is written as a word, as in ``timestampdiff(DAY, a, b)``."""
    if not isinstance(node, exp.Column) or len(node.parts) > 1 or node.this.args.get("quoted"):
        return None
    return node.name.upper() if node.name.upper() in _UNITS else None


def _lambda(node: Any) -> str:
    names = ", ".join(name_sql(one.name) for one in node.expressions)
    return f"{names if len(node.expressions) == 1 else f'({names})'} -> {_write(node.this)}"


def _trim(node: Any) -> str:
    """Write a trim; Spark's own order of two arguments is the other way round."""
    args, what = node.args, node.args.get("expression")
    if what is None and not args.get("position"):
        return f"trim({_write(node.this)})"
    shown = "" if what is None else f" {_write(what)}"
    return f"TRIM({args.get('position') or 'BOTH'}{shown} FROM {_write(node.this)})"


def _with_args(word: str, *names: str) -> Callable[[Any], str]:
    return lambda node: f"{word}({_list(node.args[n] for n in names if node.args.get(n))})"


_WRITERS: Mapping[type[exp.Expr], Callable[[Any], str]] = {
    exp.Alias: lambda node: f"{_write(node.this)} AS {name_sql(node.alias)}",
    exp.All: _quantified("ALL"),
    exp.Anonymous: lambda node: _call(node, node.name),
    exp.Any: _quantified("ANY"),
    exp.Between: _between,
    exp.Boolean: lambda node: "true" if node.this else "false",
    exp.Bracket: lambda node: f"{_base(node.this)}[{_list(node.expressions)}]",
    exp.Case: _case,
    exp.Cast: _cast("CAST"),
    exp.Column: _column,
    exp.CurrentDate: lambda node: "current_date()",
    exp.CurrentTimestamp: lambda node: "current_timestamp()",
    exp.Dot: _dot,
    exp.Escape: _escape,
    exp.Extract: lambda node: (
        f"EXTRACT({_field(node.this)} FROM {_write(node.args['expression'])})"
    ),
    exp.HexString: lambda node: f"X'{node.this}'",
    exp.Identifier: lambda node: name_sql(node.name),
    exp.If: _with_args("if", "this", "true", "false"),
    exp.In: _in,
    exp.Interval: _interval,
    exp.Kwarg: lambda node: f"{node.this.name} => {_write(node.args['expression'])}",
    exp.Lambda: _lambda,
    exp.Literal: _literal,
    exp.Null: lambda node: "NULL",
    exp.Overlay: _with_args("overlay", "this", "expression", "from_", "for_"),
    exp.Paren: lambda node: f"({_write(node.unnest())})",
    exp.RawString: lambda node: text_literal(node.this),
    exp.StrPosition: _with_args("position", "substr", "this", "position"),
    exp.Substring: _with_args("substring", "this", "start", "length"),
    exp.Trim: _trim,
    exp.TryCast: _cast("TRY_CAST"),
    exp.Tuple: lambda node: f"({_list(node.expressions)})",
}


# Nodes that may be in a tree, and those of their arguments that mean something.
PARTS: Mapping[type[exp.Expr], frozenset[str]] = {
    **dict.fromkeys(_SIGNS, frozenset({"this", "expression"})),
    **dict.fromkeys(_PREFIXES, frozenset({"this"})),
    **{
        kind: frozenset(names.split())
        for kind, names in {
            exp.Alias: "this alias", exp.All: "this", exp.Any: "this",
            exp.Anonymous: "this expressions", exp.Between: "this low high",
            exp.Boolean: "this", exp.Bracket: "this expressions", exp.Case: "this ifs default",
            exp.Cast: "this to", exp.TryCast: "this to safe", exp.Column: "this table db catalog",
            exp.ColumnDef: "this kind", exp.CurrentDate: "", exp.CurrentTimestamp: "",
            exp.DataType: "this expressions nested", exp.DataTypeParam: "this",
            exp.Div: "this expression typed safe", exp.Dot: "this expression",
            exp.DPipe: "this expression safe", exp.Escape: "this expression",
            exp.Extract: "this expression", exp.HexString: "this",
            exp.Identifier: "this quoted", exp.If: "this true false",
            exp.ILike: "this expression negate", exp.In: "this expressions",
            exp.Interval: "this unit fraction_in_string", exp.IntervalSpan: "this expression",
            exp.Is: "this expression negate", exp.Kwarg: "this expression",
            exp.Lambda: "this expressions", exp.Like: "this expression negate",
            exp.Literal: "this is_string", exp.Null: "", exp.Paren: "this",
            exp.Overlay: "this expression from_ for_", exp.RawString: "this",
            exp.StrPosition: "this substr position", exp.Substring: "this start length",
            exp.Trim: "this expression position", exp.Tuple: "expressions", exp.Var: "this",
        }.items()
    },
}  # fmt: skip


def check_words(node: Any) -> None:
    """Check what is written as it stands, without quotes.

    Raises
    ------
    PredicateError
        If a number, a name, a unit or a type is none that Spark's SQL has here.
    """
    kind, name = type(node), node.name
    if kind is exp.Literal and not node.is_string and not _NUMBER.fullmatch(name):
        raise PredicateError(f"has the number {name!r}, which can't be read")
    if kind is exp.Identifier and ("${" in name or not name or plain_text(name) != name):
        raise PredicateError(f"has the name {name!r}, which can't be a column's")
    if kind in (exp.In, exp.Tuple) and not node.expressions:
        raise PredicateError("has brackets with nothing in them")
    if kind is exp.HexString and not _HEX.fullmatch(str(node.this)):
        raise PredicateError(f"has the bytes {node.this!r}, which can't be read")
    if kind is exp.DataType and not isinstance(node.this, exp.Interval) and node.this not in TYPES:
        raise PredicateError(f"casts to {node.sql(dialect='spark')}, which isn't taken")
    if kind is exp.Interval and node.args.get("unit") is None and not node.args.get("this"):
        raise PredicateError("has an interval without a unit")
    if kind is exp.Var and not isinstance(node.parent, exp.Kwarg) and name.upper() not in _FIELDS:
        raise PredicateError(f"has {name!r}, which is no unit of time")
    if kind is exp.Extract and not isinstance(node.this, exp.Var | exp.Literal):
        raise PredicateError("extracts something that is no unit of time")
    if kind is exp.Kwarg and not _WORD.fullmatch(node.this.name):
        raise PredicateError(f"names an argument {node.this.name!r}, which is none")
