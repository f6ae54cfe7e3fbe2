"""The operations that trees are made of, one row each.

To add an operation is to add a row, and its quick forms if it has any: a test says what is missing.
"""

from __future__ import annotations

import ast
import functools
import itertools
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

from engine.ops.functions import Function, with_keywords

Written = Literal[
    "operator",
    "syntax",
    "member",
    "function",
    "method",
    "attribute",
    "pattern",
    "composition",
    "inside",
]
SEVERAL = range(1, 2**31)  # operands of an operation that takes any number


class Cost(NamedTuple):
    """Microseconds per row of one core, for texts of 100 characters.

    They are measured, and only their order of magnitude decides.

    Attributes
    ----------
    python
        Of Python's own operation on one value.
    columns
        Of the form for whole columns; None where there is none.
    spark
        Of the form in Spark; None where there is none.
    """

    python: float
    columns: float | None = None
    spark: float | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """An operation.

    Attributes
    ----------
    name
        What nodes of a tree call it; fingerprints depend on it.
    python
        What it gives of the operands' values: every faster form must give the same.
    arity
        How many operands it takes.
    cost
        What a row costs.
    returns
        The type of its values; None where they are of its operands' types, object where only
        values tell.
    written
        How source has it: as an operator, as syntax that lifting knows, as some member of its
        first operand, as a function, a method or an attribute of that, as a method of a pattern,
        as a composition of slices; ``inside`` where no source has it.
    source
        The operator's node, or the name in the source where it differs.
    safe
        Whether it raises on no values.
    on_text
        Whether its form for whole columns needs a column of text.
    """

    name: str
    python: Callable[..., Any]
    arity: range
    cost: Cost
    returns: type | None = None
    written: Written = "inside"
    source: type[ast.AST] | str | None = None
    safe: bool = False
    on_text: bool = False

    @property
    def returns_bool(self) -> bool:
        """Whether its answer, where it has one, is True or False."""
        return self.returns is bool


_ONE, _TWO = range(1, 2), range(2, 3)
_SIMPLE = Cost(0.03, 0.002, 0.004)  # a comparison, a sum, a condition
_IN_PYTHON = Cost(0.05)
_TEXT = Cost(0.1)
_LETTERS = Cost(0.3)


def _method(name: str, arguments: range = range(1), returns: type = str, cost: Cost = _TEXT) -> Op:
    """Return a method that changes nothing: of text, or of dates."""

    def call(value: Any, *args: Any) -> Any:
        return getattr(value, name)(*args)

    run: Callable[..., Any] = operator.methodcaller(name) if arguments == range(1) else call
    arity = range(arguments.start + 1, arguments.stop + 1)
    return Op(name, run, arity, cost, returns, "method")


class TooWideError(Exception):
    """A text would be so wide that it isn't made where Python may never get to it."""


def _wide(name: str, arguments: range) -> Op:
    """Return a method that makes a text as wide as it is told."""

    def call(value: Any, *args: Any) -> Any:
        if args and isinstance(args[0], int) and args[0] > _MOST_WIDE:
            raise TooWideError
        return getattr(value, name)(*args)

    return Op(name, call, range(arguments.start + 1, arguments.stop + 1), _TEXT, str, "member")


_MOST_WIDE = 10_000
_WIDE = frozenset({"zfill", "expandtabs", "ljust", "rjust", "center"})


def _search(name: str, method: str, returns: type, cost: Cost) -> Op:
    def call(pattern: re.Pattern[Any], text: Any) -> Any:
        return getattr(pattern, method)(text)

    return Op(name, call, _TWO, cost, returns, "pattern", method, on_text=True)


def _attribute(name: str) -> Op:
    return Op(name, operator.attrgetter(name), _ONE, _IN_PYTHON, int, "attribute")


def _function(
    name: str, of: Callable[..., Any], returns: type | None = float, cost: Cost = _IN_PYTHON
) -> Op:
    return Op(name, of, _ONE, cost, returns, "function")


def _of_items(name: str, of: Callable[..., Any], returns: type, arity: range = range(1, 2)) -> Op:
    """Return a function of a collection's elements."""
    return Op(name, of, arity, _ITEMS, returns, "syntax")


def _operator(name: str, run: Callable[..., Any], source: type[ast.AST], cost: Cost) -> Op:
    arity = _ONE if issubclass(source, ast.unaryop) else _TWO
    return Op(name, run, arity, cost, None, "operator", source)


def _comparison(
    name: str, run: Callable[..., Any], source: type[ast.AST], *, safe: bool = False
) -> Op:
    return Op(name, run, _TWO, _SIMPLE, bool, "operator", source, safe)


def _and(*args: Any) -> Any:
    return next((a for a in args if not a), args[-1])


def _or(*args: Any) -> Any:
    return next((a for a in args if a), args[-1])


def _kleene_and(*masks: bool | None) -> bool | None:
    return False if False in masks else None if None in masks else True


def _kleene_or(*masks: bool | None) -> bool | None:
    return True if True in masks else None if None in masks else False


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124


def _over(items: Any, value: Any, test: Any, *outer: Any) -> Any:
    return (value(i, *outer) for i in items if test(i, *outer))


def _chained(lists: Any) -> list[Any]:
    return [item for items in lists for item in items]


def _unpack(value: Any, n: int, more: bool) -> Any:
    """Return a value that is unpacked to so many names, or more; as a list unless it has them."""
    values = value if isinstance(value, list | tuple) else list(value)
    if len(values) < n or (len(values) > n and not more):
        raise ValueError(f"{len(values)} values are unpacked to {n} names")
    return values


def _catch(tried: Any, value: Any, *ways: Any) -> Any:
    return value


def _apply(function: Function, *args: Any) -> Any:
    return function.run(*args)


def _keyworded(value: Any, name: str, keywords: tuple[str, ...], *args: Any) -> Any:
    return with_keywords(getattr(value, name), keywords)(*args)


def _matched(pattern: re.Pattern[Any], how: str, text: Any) -> re.Match[Any] | None:
    return getattr(pattern, how)(text)  # type: ignore[no-any-return]


def _part(value: Any, *ends: Any) -> Any:
    return value[slice(*ends)]


def _fold(items: Any, step: Any, n: int, *rest: Any) -> tuple[Any, ...]:
    states, outer = rest[:n], rest[n:]
    for item in items:
        how, value, *states = step(item, *states, *outer)
        if how:
            return (how, value, *states)
    return (0, None, *states)


def _with_item(items: Any, key: Any, value: Any) -> Any:
    items = items.copy()
    items[key] = value
    return items


def _updated(items: Any, more: Any) -> Any:
    items = items.copy()
    items.update(more)
    return items


def _sorted_by(pairs: Any, reverse: bool) -> list[Any]:
    """Return what stands behind keys, in the order of the keys."""
    return [value for _, value in sorted(pairs, key=operator.itemgetter(0), reverse=reverse)]


def _best_by(best: Callable[..., Any], pairs: Any, *other: Any) -> Any:
    pairs = list(pairs)
    if other and not pairs:
        return other[0]
    return best(pairs, key=operator.itemgetter(0))[1]


def _raise() -> NoReturn:
    raise ValueError("the function raises here")


_EXPENSIVE = Cost(0.8)
_ITEMS = Cost(0.3)
_TO_BOOL = Cost(0.05)
_BITS = Cost(0.03, 0.002)
_LIST = range(2)
_PAIRS = Cost(0.3, 0.1)
_SEARCHED = Cost(0.05, 0.03, 0.03)
_LISTED = (
    # What both Python and the tiers have as an operator.
    _comparison("eq", operator.eq, ast.Eq, safe=True),
    _comparison("ne", operator.ne, ast.NotEq, safe=True),
    _comparison("lt", operator.lt, ast.Lt),
    _comparison("le", operator.le, ast.LtE),
    _comparison("gt", operator.gt, ast.Gt),
    _comparison("ge", operator.ge, ast.GtE),
    Op("in", lambda item, over: item in over, _TWO, Cost(0.05, 0.04, 0.18), bool, "operator",
       ast.In, on_text=True),
    _operator("add", operator.add, ast.Add, _SIMPLE),
    _operator("sub", operator.sub, ast.Sub, _SIMPLE),
    _operator("mul", operator.mul, ast.Mult, _SIMPLE),
    _operator("truediv", operator.truediv, ast.Div, _SIMPLE),
    _operator("floordiv", operator.floordiv, ast.FloorDiv, _SIMPLE),
    _operator("mod", operator.mod, ast.Mod, _SIMPLE),
    _operator("pow", operator.pow, ast.Pow, _IN_PYTHON),
    _operator("lshift", operator.lshift, ast.LShift, _BITS),
    _operator("rshift", operator.rshift, ast.RShift, _BITS),
    _operator("bitand", operator.and_, ast.BitAnd, _BITS),
    _operator("bitor", operator.or_, ast.BitOr, _BITS),
    _operator("bitxor", operator.xor, ast.BitXor, _BITS),
    _operator("neg", operator.neg, ast.USub, _SIMPLE),
    _operator("pos", operator.pos, ast.UAdd, _SIMPLE),
    Op("not", operator.not_, _ONE, _SIMPLE, bool, "operator", ast.Not, safe=True),
    # Syntax that evaluates not all of its operands, and what lifting makes of other syntax.
    Op("and", _and, SEVERAL, _SIMPLE, None, "syntax", safe=True),
    Op("or", _or, SEVERAL, _SIMPLE, None, "syntax", safe=True),
    Op("if", lambda test, a, b: a if test else b, range(3, 4), _SIMPLE, None, "syntax", safe=True),
    Op("any", lambda *args: any(args), SEVERAL, _SIMPLE, bool, "syntax"),
    Op("all", lambda *args: all(args), SEVERAL, _SIMPLE, bool, "syntax"),
    Op("is", operator.is_, _TWO, _SIMPLE, bool, "syntax", safe=True),
    Op("is_none", lambda a: a is None, _ONE, _SIMPLE, bool, "syntax", safe=True),
    Op("isinstance", isinstance, _TWO, _BITS, bool, "syntax", safe=True),
    Op("getitem", operator.getitem, _TWO, _IN_PYTHON, object, "syntax"),
    Op("getslice", operator.getitem, _TWO, _IN_PYTHON, object, "syntax"),
    Op("dict_get", dict.get, range(2, 4), _IN_PYTHON, object, "syntax"),
    Op("part", _part, range(4, 5), _IN_PYTHON, object, "syntax"),
    Op("list", lambda *values: list(values), SEVERAL, _IN_PYTHON, list, "syntax", safe=True),
    # What isn't an operation of its own: known functions, methods with keywords, attributes.
    Op("apply", _apply, SEVERAL, _EXPENSIVE, object, "syntax"),
    Op("keyworded", _keyworded, SEVERAL, _EXPENSIVE, object, "member"),
    Op("member", getattr, _TWO, _IN_PYTHON, object, "member"),
    Op("hashable", hash, _ONE, _BITS, int),
    # Text that is made of values; what a pattern finds in text.
    Op("format", str.format, _TWO, _TEXT, str, "syntax"),
    Op("concat", lambda *texts: "".join(texts), SEVERAL, _TEXT, str, "syntax"),
    Op("matched", _matched, range(3, 4), _EXPENSIVE, object, "syntax"),
    Op("re_sub", lambda p, text, repl, n: p.sub(repl, text, n), range(4, 5), _EXPENSIVE, str,
       "syntax"),
    Op("finditer", lambda p, text: list(p.finditer(text)), _TWO, _EXPENSIVE, list, "syntax"),
    Op("re_split", lambda p, text, n: p.split(text, n), range(3, 4), _EXPENSIVE, list, "syntax"),
    # What goes through a collection's elements: what is said of each is a tree of its own.
    Op("over", _over, range(3, 2**31), Cost(1.5, 0.1), list, "syntax"),
    Op("listed", list, _ONE, _ITEMS, list, "syntax"),
    # A loop: what each step leaves is what the next one begins with.
    Op("fold", _fold, range(3, 2**31), Cost(1.5, 0.5), tuple, "syntax"),
    Op("leaf", lambda *values: values, SEVERAL, _IN_PYTHON, tuple),
    Op("appended", lambda items, item: [*items, item], _TWO, _IN_PYTHON, list, "syntax"),
    Op("extended", lambda items, more: [*items, *more], _TWO, _IN_PYTHON, list, "syntax"),
    Op("with_member", lambda items, item: items | {item}, _TWO, _IN_PYTHON, set, "syntax"),
    Op("without_member", lambda items, item: items - {item}, _TWO, _IN_PYTHON, set, "syntax"),
    Op("with_item", _with_item, range(3, 4), _IN_PYTHON, object, "syntax"),
    Op("updated", _updated, _TWO, _IN_PYTHON, object, "syntax"),
    Op("chained", _chained, _ONE, _ITEMS, list, "syntax"),
    Op("drained", list, _ONE, _PAIRS, list, "syntax"),
    Op("zip", lambda *items: list(zip(*items, strict=False)), SEVERAL, _PAIRS, list, "syntax"),
    Op("enumerate", lambda items, start: list(enumerate(items, start)), _TWO, _PAIRS, list,
       "syntax"),
    Op("reversed", lambda items: list(reversed(items)), _ONE, _PAIRS, list, "syntax"),
    Op("range", range, range(1, 4), _PAIRS, list, "syntax"),
    Op("pairwise", lambda items: list(itertools.pairwise(items)), _ONE, _PAIRS, list, "syntax"),
    Op("first_of", lambda items, *other: next(iter(items), *other), range(1, 3), _PAIRS, object,
       "syntax"),
    Op("runs", lambda pairs: [(key, [value for _, value in group]) for key, group in
                              itertools.groupby(pairs, key=operator.itemgetter(0))],
       _ONE, _ITEMS, list, "syntax"),
    Op("sorted_by", _sorted_by, _TWO, _ITEMS, list, "syntax"),
    Op("min_by", functools.partial(_best_by, min), range(1, 3), _ITEMS, object, "syntax"),
    Op("max_by", functools.partial(_best_by, max), range(1, 3), _ITEMS, object, "syntax"),
    Op("dict_of", dict, _ONE, _ITEMS, dict, "syntax"),
    Op("counter_of", Counter, _ONE, _EXPENSIVE, dict, "syntax"),
    Op("tuple", lambda *values: values, SEVERAL, Cost(0.05, 0.01), tuple, "syntax", safe=True),
    Op("unpack", _unpack, range(3, 4), _IN_PYTHON, object, "syntax"),
    Op("field", getattr, _TWO, Cost(0.05, 0.03), object, "syntax"),
    Op("catch", _catch, range(4, 2**31), Cost(0.05, 0.01)),
    Op("without_zone", lambda t: t.replace(tzinfo=None), _ONE, _TEXT, None, "syntax"),
    Op("then", lambda first, value: value, _TWO, _SIMPLE),
    Op("raise", _raise, range(1), _BITS, bool),
    Op("mask", lambda answer: answer, _ONE, _SIMPLE),
    Op("is_nan", _is_nan, _ONE, _SIMPLE, bool),
    Op("word_count", lambda text: len(text.split()), _ONE, Cost(0.8, 0.08), int, on_text=True),
    Op("match_count", lambda pattern, text: len(pattern.findall(text)), _TWO, Cost(0.5), int),
    # Functions of one value that change nothing.
    Op("len", len, _ONE, Cost(0.03, 0.03, 0.05), int, "function", on_text=True),
    _function("abs", abs, None, _SIMPLE),
    Op("bool", bool, _ONE, _SIMPLE, bool, "function", safe=True),
    _function("int", int, int),
    _function("float", float, cost=_BITS),
    _function("str", str, str),
    _function("isnan", math.isnan, bool, _SIMPLE),
    _function("isinf", math.isinf, bool),
    _function("isfinite", math.isfinite, bool),
    _function("floor", math.floor, int),
    _function("ceil", math.ceil, int),
    _function("sqrt", math.sqrt, cost=_BITS),
    _function("log", math.log),
    _function("ord", ord, int),
    _function("fabs", math.fabs),
    _function("log10", math.log10),
    _function("log2", math.log2),
    _function("exp", math.exp),
    Op("round", round, range(1, 3), Cost(0.3), object, "function"),
    # Functions of a collection's elements.
    _of_items("any_of", any, bool),
    _of_items("all_of", all, bool),
    _of_items("sum_of", sum, object, range(1, 3)),
    _of_items("min_of", lambda items, *other: min(items, default=other[0]) if other
              else min(items), object, range(1, 3)),
    _of_items("max_of", lambda items, *other: max(items, default=other[0]) if other
              else max(items), object, range(1, 3)),
    _of_items("sorted_of", sorted, list),
    _of_items("set_of", set, set),
    # Methods of text.
    _method("lower", cost=Cost(0.3, None, 0.6)),
    _method("upper", cost=_LETTERS),
    _method("casefold", cost=_LETTERS),
    _method("title", cost=_EXPENSIVE),
    _method("capitalize", cost=_LETTERS),
    _method("swapcase", cost=_EXPENSIVE),
    _method("strip", _LIST),
    _method("lstrip", _LIST),
    _method("rstrip", _LIST),
    _method("removeprefix", range(1, 2)),
    _method("removesuffix", range(1, 2)),
    _method("replace", range(2, 3)),
    _wide("zfill", range(1, 2)),
    _wide("expandtabs", range(2)),
    *(_wide(name, range(1, 3)) for name in ("ljust", "rjust", "center")),
    _method("startswith", range(1, 2), bool, _SEARCHED),
    _method("endswith", range(1, 2), bool, _SEARCHED),
    _method("count", range(1, 2), int),
    _method("find", range(1, 2), int),
    _method("rfind", range(1, 2), int),
    _method("split", range(3), list, _EXPENSIVE),
    _method("rsplit", range(3), list, _EXPENSIVE),
    _method("join", range(1, 2)),
    _method("splitlines", range(1), list),
    _method("partition", range(1, 2), tuple),
    _method("rpartition", range(1, 2), tuple),
    _method("index", range(1, 4), int),
    _method("rindex", range(1, 2), int),
    _method("encode", range(3), bytes),
    _method("translate", range(1, 2)),
    _method("most_common", range(2), list, _ITEMS),
    _method("isdisjoint", range(1, 2), bool, _ITEMS),
    _method("issubset", range(1, 2), bool, _ITEMS),
    _method("issuperset", range(1, 2), bool, _ITEMS),
    *(_method(name, range(1, 2), set, _ITEMS) for name in (
        "union", "intersection", "difference", "symmetric_difference")),
    *(_method(name, range(1), bool, _TO_BOOL) for name in (
        "isdigit", "isalpha", "isalnum", "isupper", "islower", "isspace", "isnumeric", "isdecimal",
        "istitle", "isascii", "isidentifier", "isprintable")),
    # Methods of maps.
    _method("get", range(1, 3), object, _IN_PYTHON),
    _method("keys", range(1), list, _IN_PYTHON),
    _method("values", range(1), list, _IN_PYTHON),
    _method("items", range(1), list, _IN_PYTHON),
    # Methods and attributes of dates and times.
    _method("date", range(1), object, _IN_PYTHON),
    _method("time", range(1), object, _IN_PYTHON),
    _method("toordinal", range(1), int, _IN_PYTHON),
    _method("timestamp", range(1), float, _IN_PYTHON),
    _method("total_seconds", range(1), float, _IN_PYTHON),
    _method("weekday", range(1), int, _IN_PYTHON),
    _method("isoweekday", range(1), int, _IN_PYTHON),
    *(_method(name, range(1), object, _IN_PYTHON) for name in (
        "isocalendar", "timetuple", "utctimetuple", "timetz", "utcoffset", "dst", "tzname", "ctime",
    )),
    _method("isoformat", range(3)),
    _method("strftime", range(1, 2), str, _EXPENSIVE),
    _method("astimezone", range(2), object, _EXPENSIVE),
    # Methods of numbers, bytes and what a pattern found.
    *(_method(name, range(1), object, _IN_PYTHON) for name in (
        "is_integer", "bit_length", "bit_count", "as_integer_ratio", "conjugate",
        "is_finite", "is_infinite", "is_signed", "is_zero", "is_normal", "is_subnormal", "as_tuple",
        "adjusted", "normalize", "copy_abs", "copy_negate", "ln", "hexdigest", "digest", "copy",
        "groupdict")),
    *(_method(name, range(2), object, _IN_PYTHON) for name in ("to_integral_value", "hex")),
    *(_method(name, range(1, 3), object, _IN_PYTHON) for name in ("quantize", "compare")),
    _method("decode", range(3)),
    _method("group", range(4), object, _IN_PYTHON),
    *(_method(name, range(2), object, _IN_PYTHON) for name in ("groups", "start", "end", "span")),
    *map(_attribute, ("year", "month", "day", "hour", "minute", "second", "microsecond", "days",
                      "seconds", "microseconds")),
    # Methods of patterns.
    _search("re_search", "search", re.Match, Cost(0.3, 0.05)),
    _search("re_match", "match", re.Match, Cost(0.1, 0.05)),
    _search("re_fullmatch", "fullmatch", re.Match, Cost(0.1, 0.05)),
    _search("findall", "findall", list, Cost(0.5)),
    # Compositions of slices, in Kleene's logic: null is "can't say".
    Op("kleene_and", _kleene_and, SEVERAL, _SIMPLE, bool, "composition"),
    Op("kleene_or", _kleene_or, SEVERAL, _SIMPLE, bool, "composition"),
    Op("kleene_not", lambda a: None if a is None else not a, _ONE, _SIMPLE, bool, "composition"),
)  # fmt: skip
OPERATIONS: Mapping[str, Op] = {op.name: op for op in _LISTED}


METHODS: Mapping[str, Op] = {
    op.name: op for op in _LISTED if op.written == "method" or op.name in _WIDE
}


def written(how: Written) -> dict[str, Op]:
    """Return the operations that source has in a way, by name.

    Examples
    --------
    >>> list(written("pattern"))
    ['re_search', 're_match', 're_fullmatch', 'findall']
    """
    return {name: op for name, op in OPERATIONS.items() if op.written == how}
