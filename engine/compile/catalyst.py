"""Trees as Spark expressions, where a rule says that Spark gives what Python gives.

Nothing crosses to Python then. Each rule stands beside its translation; what has none, or is
refused (a value that Spark rounds, orders or folds otherwise), runs over Arrow columns instead.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import Column as SparkColumn
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import (
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructType,
)

from engine.arrow.values import NO_DATE, NOT_UTF8
from engine.compile.program import as_mask
from engine.compile.vectors import is_plain_collection
from engine.errors import UnreadableValueError
from engine.slicing.evaluate import SHOWN
from engine.slicing.expr import Call, Column, Const, Expr
from engine.sql import name_sql

MOST_LISTED = 1_000  # constants in one IN
# Of one tree: the JVM compiles no method of more, and Catalyst recurses over what is nested.
MOST_NODES = 200
_EXACT_BITS = 53  # integers of so many bits are exact as DOUBLE
_LONG_BITS = 63

_INT_BITS: Mapping[type[DataType], int] = {
    ByteType: 7, ShortType: 15, IntegerType: 31, LongType: 63,
}  # fmt: skip


class NotTranslatedError(Exception):
    """Spark has nothing that gives the same answer."""


@dataclass(frozen=True)
class Term:
    """A node as Spark sees it.

    Attributes
    ----------
    kind
        ``bool``, ``int``, ``float``, ``text``, ``date`` or ``none``.
    value
        The Column; anything on rows where ``null`` or ``fail`` is true.
    null
        Rows on which the value is None; None for no row.
    fail
        Rows on which Python raises because a null was read; None for no row.
    bits
        Of an integer: how many its magnitude may take.
    const
        The constant, if it is one, in a tuple of one.
    column
        Whether it is a column itself, so that its null is one that the function read.
    """

    kind: str
    value: SparkColumn
    null: SparkColumn | None = None
    fail: SparkColumn | None = None
    bits: int = 0
    const: tuple[Any, ...] = ()
    column: bool = False


@dataclass(frozen=True)
class Native:
    """A slice as Spark computes it.

    Attributes
    ----------
    mask
        A BOOLEAN Column: true in, false out, null undecided.
    fault
        A struct ``read, cause`` on rows where a value is read that Python can't hold, else null;
        None where no row can have one. It is over :func:`unreadable_columns`, as the mask is.
    """

    mask: SparkColumn
    fault: SparkColumn | None = None


def translated(tree: Expr, schema: StructType) -> Native:
    """Return a tree as Spark computes it.

    Raises
    ------
    NotTranslatedError
        With the reason, if Spark would not give what Python gives.
    """
    made: dict[Expr, Term] = {}
    root = as_mask(tree)
    for node in root.walk():
        if len(made) == MOST_NODES:
            raise NotTranslatedError(f"it says more than {MOST_NODES} things")
        made[node] = _term(node, made, schema)
    term = made[root]
    if term.kind not in ("none", "bool"):
        raise NotTranslatedError(f"its answer may be {_KINDS[term.kind]}")
    reads = _reads(root, made)
    bad = [_both(when, _unreadable(c)) for c, when in reads if _may_be_unreadable(c, schema)]
    unknown = _or(term.null, term.fail, *bad)
    mask = term.value if term.kind == "bool" else F.lit(None).cast("boolean")
    return Native(mask if unknown is None else F.when(~unknown, mask), _fault(reads, schema))


# Values that Python can't hold. Which columns are read, on which rows, in Python's order.

_Reads = list[tuple[str, SparkColumn | None]]  # a column, and where it is read; None: everywhere


def _reads(root: Expr, made: Mapping[Expr, Term]) -> _Reads:
    """Return the columns that a tree reads, in the order in which Python does."""
    known: dict[Expr, _Reads] = {}
    for node in root.walk():
        if isinstance(node, Column):
            known[node] = [(node.name, None)]
            continue
        found: _Reads = []
        always: set[str] = set()
        for part, when in zip(node.parts, _evaluated(node, made), strict=True):
            for column, own in known[part]:
                if column not in always:
                    found.append((column, _both(when, own)))
                    always |= {column} if found[-1][1] is None else set()
        known[node] = found
    return known[root]


def _evaluated(node: Expr, made: Mapping[Expr, Term]) -> Iterator[SparkColumn | None]:
    """Yield on which rows each argument is evaluated; None for all."""
    op = node.op if isinstance(node, Call) else ""
    if op == "if":
        test = _truth(made[node.parts[0]])
        yield from (None, test, ~test)
        return
    when: SparkColumn | None = None
    for part in node.parts:
        yield when
        if op in _STOPPED_BY and part is not node.parts[-1]:
            test = _truth(made[part])
            when = _both(when, ~test if _STOPPED_BY[op] else test)


# Operations that evaluate no further argument once one is true, or is false.
_STOPPED_BY: Mapping[str, bool] = {"any": True, "or": True, "all": False, "and": False}


def _both(a: SparkColumn | None, b: SparkColumn | None) -> SparkColumn | None:
    return b if a is None else a if b is None else a & b


def _fault(reads: _Reads, schema: StructType) -> SparkColumn | None:
    """Return the fault of each row: of what is read first, a null or an unreadable value."""
    last = max((i for i, (c, _) in enumerate(reads) if _may_be_unreadable(c, schema)), default=-1)
    found: Any = F  # whose `when` begins a CASE
    for column, when in reads[: last + 1]:
        if schema[column].nullable:  # a function that has read a null can't decide
            found = found.when(_both(when, F.col(name_sql(column)).isNull()), F.lit(None))
        if _may_be_unreadable(column, schema):
            told = _told(column, schema[column].dataType)
            found = found.when(_both(when, _unreadable(column)), told)
    return None if found is F else found


def _may_be_unreadable(column: str, schema: StructType) -> bool:
    return isinstance(schema[column].dataType, StringType | DateType)


def _told(column: str, kind: DataType) -> SparkColumn:
    """Return what was read and the cause, as a Python tier tells them."""
    if isinstance(kind, DateType):
        what, value = NO_DATE, F.col(name_sql(column)).cast("string")
    else:
        start = F.substring(F.col(name_sql(column)).cast("binary"), 1, SHOWN)
        what, value = NOT_UTF8, F.concat(F.lit("X'"), F.hex(start), F.lit("'"))
    cut = F.concat(F.left(value, F.lit(SHOWN - 3)), F.lit("..."))
    value = F.when(F.length(value) > SHOWN, cut).otherwise(value)
    return F.struct(
        F.concat(F.lit(f"{column}="), value).alias("read"),
        F.lit(str(UnreadableValueError(column, what))).alias("cause"),
    )


def unreadable_columns(trees: Iterable[Expr], schema: StructType) -> dict[str, SparkColumn]:
    """Return a BOOLEAN Column by name for each column of trees: where Python can't hold the value.

    They are computed once per row, however many slices read the column.
    """
    names = {n.name for tree in trees for n in tree.walk() if isinstance(n, Column)}
    return {
        _marker(c): _is_unreadable(F.col(name_sql(c)), schema[c].dataType)
        for c in schema.names
        if c in names and _may_be_unreadable(c, schema)
    }


def _is_unreadable(column: SparkColumn, kind: DataType) -> SparkColumn:
    if isinstance(kind, DateType):
        first, last = (F.lit(day).cast("date") for day in ("0001-01-01", "9999-12-31"))
        return F.coalesce((column < first) | (column > last), F.lit(False))
    return ~F.coalesce(F.is_valid_utf8(column), F.lit(True))


def _unreadable(column: str) -> SparkColumn:
    return F.col(_marker(column))


def _marker(column: str) -> str:
    digest = hashlib.sha256(column.encode("utf-8", "surrogatepass")).hexdigest()
    return f"__unreadable_{digest[:16]}"


def _term(node: Expr, made: Mapping[Expr, Term], schema: StructType) -> Term:
    if isinstance(node, Column):
        return _column(node.name, schema[node.name].dataType)
    if isinstance(node, Const):
        return _constant(node.value)
    assert isinstance(node, Call)
    if node.op not in CATALYST:
        raise NotTranslatedError(f"Spark has no {node.op} that is the same as Python's")
    return CATALYST[node.op](*(made[a] for a in node.args))


def _column(name: str, kind: DataType) -> Term:
    column = F.col(name_sql(name))
    null = column.isNull()
    if isinstance(kind, BooleanType):
        return Term("bool", column, null, column=True)
    if type(kind) in _INT_BITS:
        return Term("int", column.cast("long"), null, bits=_INT_BITS[type(kind)], column=True)
    if isinstance(kind, FloatType | DoubleType):
        return Term("float", column.cast("double"), null, column=True)
    if isinstance(kind, StringType) and kind == StringType():  # compared byte by byte
        return Term("text", column, null, column=True)
    if isinstance(kind, DateType):
        return Term("date", column, null, column=True)
    raise NotTranslatedError(f"{name} is {kind.simpleString()}")


def _constant(value: Any) -> Term:
    const = (value,)
    if value is None:
        return Term("none", F.lit(None), F.lit(True), const=const)
    if isinstance(value, bool):
        return Term("bool", F.lit(value), const=const)
    if type(value) is int and value.bit_length() <= _LONG_BITS:
        return Term("int", F.lit(value).cast("long"), bits=value.bit_length(), const=const)
    if type(value) is float:
        return Term("float", F.lit(value).cast("double"), const=const)
    if type(value) is str and _is_text(value):
        return Term("text", F.lit(value), const=const)
    if type(value) is dt.date:
        # As text: Py4J refuses dates before the year 1000.
        return Term("date", F.lit(value.isoformat()).cast("date"), const=const)
    return Term("other", F.lit(None), const=const)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair: no Spark text has one
        return False
    return True


def _or(*parts: SparkColumn | None) -> SparkColumn | None:
    found: SparkColumn | None = None
    for part in parts:
        if part is not None:
            found = part if found is None else found | part
    return found


def _strict(*terms: Term) -> SparkColumn | None:
    """Return on which rows an operation that takes no None raises; only columns are None here."""
    for term in terms:
        if term.kind == "none" or (term.null is not None and not term.column):
            raise NotTranslatedError("None is used as a value")
    return _or(*(part for t in terms for part in (t.fail, t.null)))


def _truth(term: Term) -> SparkColumn:
    tests: Mapping[str, Callable[[Term], SparkColumn]] = {
        "bool": lambda t: t.value,
        "int": lambda t: t.value != 0,
        "float": lambda t: t.value != 0.0,  # NaN is true in both
        "text": lambda t: t.value != "",
        "none": lambda _: F.lit(False),
        "date": lambda _: F.lit(True),
    }
    if term.kind not in tests:
        raise NotTranslatedError("a collection is used as a condition")
    test = tests[term.kind](term)
    return test if term.null is None else F.when(term.null, False).otherwise(test)


def _numbers(a: Term, b: Term) -> tuple[SparkColumn, SparkColumn, str] | None:
    """Return two numbers as Spark compares and computes with them exactly as Python does."""
    kinds = {"bool", "int", "float"}
    if a.kind not in kinds or b.kind not in kinds:
        return None
    if "float" not in (a.kind, b.kind):
        return a.value.cast("long"), b.value.cast("long"), "int"
    for term in (a, b):
        if term.kind == "int" and term.bits > _EXACT_BITS:
            raise NotTranslatedError("an integer of 64 bits meets a float")
    return a.value.cast("double"), b.value.cast("double"), "float"


def _compared(run: Callable[[Any, Any], Any]) -> Callable[[Term, Term], Term]:
    def compare(a: Term, b: Term) -> Term:
        fail = _strict(a, b)
        found = _numbers(a, b)
        if found is not None:
            left, right, kind = found
            value = run(left, right)
            if kind == "float":  # Spark's NaN is greater than every number
                value = value & ~F.isnan(left) & ~F.isnan(right)
        elif a.kind == b.kind and a.kind in ("text", "date"):
            value = run(a.value, b.value)  # UTF-8 is ordered as code points are
        else:
            raise NotTranslatedError(f"{_KINDS[a.kind]} is compared with {_KINDS[b.kind]}")
        return Term("bool", value, None, fail)

    return compare


def _equal(a: Term, b: Term) -> Term:
    fail = _or(a.fail, b.fail)
    if "other" in (a.kind, b.kind):
        raise NotTranslatedError(f"{_KINDS[a.kind]} is compared with {_KINDS[b.kind]}")
    if a.kind == "none" or b.kind == "none":
        value = (b if a.kind == "none" else a).null
        return Term("bool", F.lit(a.kind == b.kind) if value is None else value, None, fail)
    found = _numbers(a, b)
    if found is not None:
        left, right, kind = found
        value = left == right
        if kind == "float":
            value = value & ~F.isnan(left)
    elif a.kind == b.kind:
        value = a.value == b.value
    else:
        value = F.lit(False)  # a text is no number
    for_null = _or(a.null, b.null)
    if for_null is not None:
        both = a.null & b.null if a.null is not None and b.null is not None else F.lit(False)
        value = F.when(for_null, both).otherwise(value)
    return Term("bool", value, None, fail)


def _in(item: Term, over: Term) -> Term:
    if over.kind == "text" and item.kind == "text":
        return _searched("contains")(over, item)
    if not over.const or not isinstance(over.const[0], tuple | list | set | frozenset):
        raise NotTranslatedError("it looks in something that isn't a constant collection")
    values = list(over.const[0])
    if not is_plain_collection(over.const[0]):
        raise NotTranslatedError("it looks in a collection of other than plain constants")
    if len(values) > MOST_LISTED:
        raise NotTranslatedError(f"it looks in {len(values):,} values")
    found: Mapping[str, list[Any]] = {
        "text": [v for v in values if type(v) is str and _is_text(v)],
        "int": [int(v) for v in values if _is_whole(v)],
        "bool": [int(v) for v in values if _is_whole(v)],
    }
    if item.kind not in found:
        raise NotTranslatedError(f"it looks for {_KINDS[item.kind]} in a collection")
    kept = found[item.kind]
    if item.bits == _LOWERED and not all(map(str.isascii, kept)):
        raise NotTranslatedError("Java and Python may put other letters in lower case")
    if item.kind != "text":
        kept = [v for v in kept if isinstance(v, int) and v.bit_length() <= _LONG_BITS]
    looked = item.value if item.kind == "text" else item.value.cast("long")
    value = looked.isin(kept) if kept else F.lit(False)
    if item.null is not None:
        value = F.when(item.null, None in values).otherwise(value)
    return Term("bool", value, None, item.fail)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _searched(method: str) -> Callable[[Term, Term], Term]:
    def search(text: Term, what: Term) -> Term:
        if text.kind != "text" or not what.const or what.kind != "text":
            raise NotTranslatedError("it searches for something that isn't a constant text")
        lowered = text.bits == _LOWERED
        if lowered and not what.const[0].isascii():
            raise NotTranslatedError("Java and Python may put other letters in lower case")
        return Term("bool", getattr(text.value, method)(what.const[0]), None, _strict(text))

    return search


_LOWERED = -1  # `bits` of a text in lower case, which may only be searched for ASCII


def _lower(text: Term) -> Term:
    """Put in lower case, to be searched for ASCII text only.

    Which characters become ASCII letters is the same in Java and Python (a test asks all of
    Unicode); what others become may not be.
    """
    if text.kind != "text" or text.const or text.bits:
        raise NotTranslatedError("it puts something other than a column in lower case")
    return Term("text", F.lower(text.value), None, _strict(text), _LOWERED)


def _plain_text(op: Callable[..., Term]) -> Callable[..., Term]:
    """Refuse text in lower case, which only searches may take."""

    def checked(*terms: Term) -> Term:
        if any(t.kind == "text" and t.bits == _LOWERED for t in terms):
            raise NotTranslatedError("Java and Python may put letters in lower case otherwise")
        return op(*terms)

    return checked


def _computed(
    run: Callable[[Any, Any], Any], bits: Callable[[int, int], int]
) -> Callable[[Term, Term], Term]:
    def compute(a: Term, b: Term) -> Term:
        found = _numbers(a, b)
        if found is None:
            raise NotTranslatedError(f"it computes with {_KINDS[a.kind]} and {_KINDS[b.kind]}")
        left, right, kind = found
        size = bits(max(a.bits, 1), max(b.bits, 1))
        if kind == "int" and size >= _LONG_BITS:  # of 63 bits may be 2**63 itself
            raise NotTranslatedError("an integer may take more than 64 bits")
        return Term(kind, run(left, right), None, _strict(a, b), size if kind == "int" else 0)

    return compute


def _divided(a: Term, b: Term) -> Term:
    if not b.const or b.kind not in ("int", "float") or not b.const[0]:
        raise NotTranslatedError("it divides by something that isn't a constant other than 0")
    if a.kind not in ("int", "float", "bool") or max(a.bits, b.bits) > _EXACT_BITS:
        raise NotTranslatedError("it divides integers of 64 bits")
    value = a.value.cast("double") / b.value.cast("double")
    return Term("float", value, None, _strict(a, b))


def _whole_divided(a: Term, b: Term) -> tuple[SparkColumn, SparkColumn]:
    if a.kind not in ("int", "bool") or b.kind != "int" or not b.const or b.const[0] <= 0:
        raise NotTranslatedError("it divides by something that isn't a positive whole constant")
    return a.value.cast("long"), b.value


def _mod(a: Term, b: Term) -> Term:
    top, bottom = _whole_divided(a, b)
    return Term("int", F.pmod(top, bottom).cast("long"), None, _strict(a, b), b.bits)


def _floor_divided(a: Term, b: Term) -> Term:
    top, bottom = _whole_divided(a, b)
    if a.bits >= _LONG_BITS:
        raise NotTranslatedError("it divides integers of 64 bits")
    rest = F.pmod(top, bottom)
    # Exact: what is divided is a multiple of what it is divided by, below 2**63.
    value = F.call_function("div", top - rest, bottom) if a.bits <= _LONG_BITS else top
    return Term("int", value.cast("long"), None, _strict(a, b), a.bits)


def _negated(a: Term) -> Term:
    if a.kind not in ("int", "float") or a.bits >= _LONG_BITS:
        raise NotTranslatedError("it negates something that may not fit")
    return replace(a, value=-a.value, null=None, fail=_strict(a), const=(), column=False)


def _absolute(a: Term) -> Term:
    if a.kind not in ("int", "float") or a.bits >= _LONG_BITS:
        raise NotTranslatedError("it takes the magnitude of something that may not fit")
    return replace(a, value=F.abs(a.value), null=None, fail=_strict(a), const=(), column=False)


def _positive(a: Term) -> Term:
    if a.kind not in ("int", "float"):
        raise NotTranslatedError("it takes + of something other than a number")
    return replace(a, null=None, fail=_strict(a), const=(), column=False)


def _length(a: Term) -> Term:
    if a.kind != "text" or a.const:
        raise NotTranslatedError(f"it takes the length of {_KINDS[a.kind]}")
    return Term("int", F.length(a.value).cast("long"), None, _strict(a), 31)


def _not(a: Term) -> Term:
    return Term("bool", ~_truth(a), None, a.fail)


def _bool(a: Term) -> Term:
    return Term("bool", _truth(a), None, a.fail)


def _is_none(a: Term) -> Term:
    value = F.lit(a.kind == "none") if a.null is None else a.null
    return Term("bool", value, None, a.fail)


def _is(a: Term, b: Term) -> Term:
    if a.kind != "bool":
        return Term("bool", F.lit(False), None, a.fail)
    value = a.value == b.value
    return Term("bool", value if a.null is None else F.when(a.null, False).otherwise(value),
                None, a.fail)  # fmt: skip


def _is_nan(a: Term) -> Term:
    if a.kind != "float":
        return Term("bool", F.lit(False), None, a.fail)
    value = F.isnan(a.value)
    return Term("bool", value if a.null is None else F.when(a.null, False).otherwise(value),
                None, a.fail)  # fmt: skip


def _math_isnan(a: Term) -> Term:
    if a.kind != "float":
        raise NotTranslatedError("it asks whether something other than a float is NaN")
    return Term("bool", F.isnan(a.value), None, _strict(a))


def _until(stops: bool) -> Callable[..., Term]:
    def chain(*terms: Term) -> Term:
        """Evaluate in order: what comes behind the one that decides is not evaluated."""
        decided: SparkColumn | None = None
        fail: SparkColumn | None = None
        for term in terms:
            if term.fail is not None:
                raised = term.fail if decided is None else term.fail & ~decided
                fail = _or(fail, raised)
            test = _truth(term) if stops else ~_truth(term)
            decided = test if decided is None else decided | test
        assert decided is not None  # an empty chain is a constant
        return Term("bool", decided if stops else ~decided, None, fail)

    return chain


def _if(test: Term, a: Term, b: Term) -> Term:
    kinds = {a.kind, b.kind} - {"none"}
    if len(kinds) > 1:
        raise NotTranslatedError("its branches have values of different kinds")
    chosen = _truth(test)

    def pick(x: SparkColumn | None, y: SparkColumn | None) -> SparkColumn | None:
        if x is None and y is None:
            return None
        no = F.lit(False)
        return F.when(chosen, no if x is None else x).otherwise(no if y is None else y)

    kind = kinds.pop() if kinds else "none"
    value = F.when(chosen, a.value).otherwise(b.value)
    bits = _LOWERED if _LOWERED in (a.bits, b.bits) else max(a.bits, b.bits)
    null = pick(a.null, b.null)
    return Term(kind, value, null, _or(test.fail, pick(a.fail, b.fail)), bits)


def _and(*terms: Term) -> Term:
    if _plain_bool(*terms):
        return _until(False)(*terms)
    return functools.reduce(lambda rest, a: _if(a, rest, a), reversed(terms))


def _either(*terms: Term) -> Term:
    if _plain_bool(*terms):
        return _until(True)(*terms)
    return functools.reduce(lambda rest, a: _if(a, a, rest), reversed(terms))


def _plain_bool(*terms: Term) -> bool:
    return all(t.kind == "bool" and t.null is None for t in terms)


def _then(first: Term, value: Term) -> Term:
    return replace(value, fail=_or(first.fail, value.fail), const=(), column=False)


def _mask(a: Term) -> Term:
    if a.kind not in ("bool", "none"):
        raise NotTranslatedError(f"its answer may be {_KINDS[a.kind]}")
    return a


_KINDS = {
    "bool": "a boolean", "int": "an integer", "float": "a float", "text": "a text",
    "date": "a date", "none": "None", "other": "another kind of constant",
}  # fmt: skip

# Operation -> its translation, which refuses where Spark would answer otherwise.
CATALYST: Mapping[str, Callable[..., Term]] = {
    "eq": _plain_text(_equal),
    "ne": _plain_text(lambda a, b: _not(_equal(a, b))),
    "lt": _plain_text(_compared(lambda a, b: a < b)),
    "le": _plain_text(_compared(lambda a, b: a <= b)),
    "gt": _plain_text(_compared(lambda a, b: a > b)),
    "ge": _plain_text(_compared(lambda a, b: a >= b)),
    "in": _in,
    "startswith": _searched("startswith"),
    "endswith": _searched("endswith"),
    "lower": _lower,
    "add": _computed(lambda a, b: a + b, lambda m, n: max(m, n) + 1),
    "sub": _computed(lambda a, b: a - b, lambda m, n: max(m, n) + 1),
    "mul": _computed(lambda a, b: a * b, lambda m, n: m + n),
    "truediv": _divided,
    "floordiv": _floor_divided,
    "mod": _mod,
    "neg": _negated,
    "abs": _absolute,
    "pos": _positive,
    "len": _plain_text(_length),
    "not": _not,
    "bool": _bool,
    "is_none": _is_none,
    "is": _is,
    "is_nan": _is_nan,
    "isnan": _math_isnan,
    "any": _until(True),
    "all": _until(False),
    "and": _and,
    "or": _either,
    "if": _if,
    "then": _then,
    "mask": _mask,
}
