"""Trees as SQL of Spark, where a rule says that Spark gives what Python gives.

Nothing crosses to Python then. Each rule stands beside its translation; what has none, or is
refused (a value that Spark rounds, orders or folds otherwise), runs over Arrow columns instead.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.arrow.values import NO_DATE, NOT_UTF8
from engine.compile.program import as_mask
from engine.compile.vectors import is_plain_collection, is_whole
from engine.errors import UnreadableValueError
from engine.slicing.evaluate import SHOWN
from engine.slicing.expr import Call, Column, Const, Expr
from engine.sql import name_sql, text_sql

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

MOST_LISTED = 1_000  # constants in one IN
# Of one tree: the JVM compiles no method of more, and Catalyst recurses over what is nested.
MOST_NODES = 200
MOST_TEXT = 30_000  # characters of one tree
_EXACT_BITS = 53  # integers of so many bits are exact as DOUBLE
_LONG_BITS = 63

_INT_BITS: Mapping[str, int] = {"tinyint": 7, "smallint": 15, "int": 31, "bigint": 63}
_NO_VALUE = "NULL"


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
        The SQL, in parentheses where it needs some; anything on rows where ``null`` or ``fail`` is
        true.
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
    value: str
    null: str | None = None
    fail: str | None = None
    bits: int = 0
    const: tuple[Any, ...] = ()
    column: bool = False


@dataclass(frozen=True)
class Native:
    """A slice as Spark computes it, in SQL.

    Attributes
    ----------
    mask
        A BOOLEAN: true in, false out, null undecided.
    fault
        A struct ``read, cause`` on rows where a value is read that Python can't hold, else null;
        None where no row can have one. It is over :func:`unreadable_columns`, as the mask is.
    """

    mask: str
    fault: str | None = None


def translated(tree: Expr, schema: StructType) -> Native:
    """Return a tree as Spark computes it.

    Raises
    ------
    NotTranslatedError
        With the reason, if Spark would not give what Python gives.
    """
    terms: dict[Expr, Term] = {}
    root = as_mask(tree)
    for node in root.walk():
        if len(terms) == MOST_NODES:
            raise NotTranslatedError(f"it says more than {MOST_NODES} things")
        terms[node] = _term(node, terms, schema)
        if _size(terms[node]) > MOST_TEXT:  # what a tree shares, its SQL repeats
            raise NotTranslatedError(f"its SQL has more than {MOST_TEXT:,} characters")
    term = terms[root]
    if term.kind not in ("none", "bool"):
        raise NotTranslatedError(f"its answer may be {_KINDS[term.kind]}")
    reads = _reads(root, terms)
    bad = [_both(when, _marker(c)) for c, when in reads if _may_be_unreadable(c, schema)]
    unknown = _any_of(term.null, term.fail, *bad)
    mask = term.value if term.kind == "bool" else "CAST(NULL AS BOOLEAN)"
    return Native(mask if unknown is None else _case((_no(unknown), mask)), _fault(reads, schema))


def _size(term: Term) -> int:
    return sum(map(len, (term.value, term.null or "", term.fail or "")))


# Parts of SQL


def _case(*branches: tuple[str, str], otherwise: str = _NO_VALUE) -> str:
    """Return ``CASE`` over pairs of a condition and a value."""
    whens = " ".join(f"WHEN {test} THEN {value}" for test, value in branches)
    return f"CASE {whens} ELSE {otherwise} END"


def _no(test: str) -> str:
    return f"(NOT {test})"


def _any_of(*tests: str | None) -> str | None:
    """Return whether one of some tests is true; None is a test that never is."""
    some = [test for test in dict.fromkeys(tests) if test is not None]
    return f"({' OR '.join(some)})" if len(some) > 1 else next(iter(some), None)


def _both(a: str | None, b: str | None) -> str | None:
    """Return whether both tests are true; None is a test that always is."""
    return b if a is None else a if b is None else f"({a} AND {b})"


def _cast(value: str, kind: str) -> str:
    return f"CAST({value} AS {kind})"


def _known(test: str, null: str | None, of_null: str = "false") -> str:
    """Return a test's answer, or another one where the value is null."""
    return test if null is None else _case((null, of_null), otherwise=test)


# Values that Python can't hold. Which columns are read, on which rows, in Python's order.

_Reads = list[tuple[str, str | None]]  # a column, and where it is read; None: everywhere


def _reads(root: Expr, terms: Mapping[Expr, Term]) -> _Reads:
    """Return the columns that a tree reads, in the order in which Python does."""
    known: dict[Expr, _Reads] = {}
    for node in root.walk():
        if isinstance(node, Column):
            known[node] = [(node.name, None)]
            continue
        reads: _Reads = []
        always: set[str] = set()
        for part, when in zip(node.parts, _evaluated(node, terms), strict=True):
            for column, own in known[part]:
                if column not in always:
                    reads.append((column, _both(when, own)))
                    always |= {column} if reads[-1][1] is None else set()
        known[node] = reads
    return known[root]


def _evaluated(node: Expr, terms: Mapping[Expr, Term]) -> Iterator[str | None]:
    """Yield on which rows each argument is evaluated; None for all."""
    op = node.op if isinstance(node, Call) else ""
    if op == "if":
        test = _truth(terms[node.parts[0]])
        yield from (None, test, _no(test))
        return
    when: str | None = None
    for part in node.parts:
        yield when
        if op in _STOPPED_BY and part is not node.parts[-1]:
            test = _truth(terms[part])
            when = _both(when, _no(test) if _STOPPED_BY[op] else test)


# Operations that evaluate no further argument once one is true, or is false.
_STOPPED_BY: Mapping[str, bool] = {"any": True, "or": True, "all": False, "and": False}


def _fault(reads: _Reads, schema: StructType) -> str | None:
    """Return the fault of each row: of what is read first, a null or an unreadable value."""
    last = max((i for i, (c, _) in enumerate(reads) if _may_be_unreadable(c, schema)), default=-1)
    branches: list[tuple[str, str]] = []
    for column, when in reads[: last + 1]:
        if schema[column].nullable:  # a function that has read a null can't decide
            null = f"({name_sql(column)} IS NULL)"
            branches.append((_both(when, null) or null, _NO_VALUE))
        if _may_be_unreadable(column, schema):
            bad = _marker(column)
            branches.append((_both(when, bad) or bad, _cause(column, _kind(column, schema))))
    return _case(*branches) if branches else None


def _may_be_unreadable(column: str, schema: StructType) -> bool:
    kind = _kind(column, schema)
    return kind == "date" or kind.partition(" ")[0] == "string"


def _kind(column: str, schema: StructType) -> str:
    """Return a column's type, as SQL has it: a collation is part of it."""
    return schema[column].dataType.simpleString()


def _cause(column: str, kind: str) -> str:
    """Return what was read and the cause, as a Python tier has them."""
    if kind == "date":
        what, value = NO_DATE, _cast(name_sql(column), "STRING")
    else:
        start = f"substring({_cast(name_sql(column), 'BINARY')}, 1, {SHOWN})"
        what, value = NOT_UTF8, f"concat('X', chr(39), hex({start}), chr(39))"
    cut = f"concat(left({value}, {SHOWN - 3}), '...')"
    value = _case((f"length({value}) > {SHOWN}", cut), otherwise=value)
    cause = text_sql(str(UnreadableValueError(column, what)))
    return f"named_struct('read', concat({text_sql(f'{column}=')}, {value}), 'cause', {cause})"


def unreadable_columns(trees: Iterable[Expr], schema: StructType) -> dict[str, str]:
    """Return a BOOLEAN by name for each column of trees: where Python can't hold the value.

    They are computed once per row, however many slices read the column.
    """
    names = {n.name for tree in trees for n in tree.walk() if isinstance(n, Column)}
    return {
        _marker(c): _is_unreadable(name_sql(c), _kind(c, schema))
        for c in schema.names
        if c in names and _may_be_unreadable(c, schema)
    }


def _is_unreadable(column: str, kind: str) -> str:
    if kind == "date":
        first, last = (_cast(f"'{day}'", "DATE") for day in ("0001-01-01", "9999-12-31"))
        return f"coalesce({column} < {first} OR {column} > {last}, false)"
    return f"NOT coalesce(is_valid_utf8({column}), true)"


def _marker(column: str) -> str:
    digest = hashlib.sha256(column.encode("utf-8", "surrogatepass")).hexdigest()
    return f"__unreadable_{digest[:16]}"


def _term(node: Expr, terms: Mapping[Expr, Term], schema: StructType) -> Term:
    if isinstance(node, Column):
        return _column(node.name, _kind(node.name, schema))
    if isinstance(node, Const):
        return _constant(node.value)
    if not isinstance(node, Call):
        raise NotTranslatedError("Spark goes through a row's values in another way than Python")
    if node.op not in CATALYST:
        raise NotTranslatedError(f"Spark has no {node.op} that is the same as Python's")
    return CATALYST[node.op](*(terms[a] for a in node.args))


def _column(name: str, kind: str) -> Term:
    column = name_sql(name)
    null = f"({column} IS NULL)"
    if kind in _INT_BITS:
        return Term("int", _cast(column, "BIGINT"), null, bits=_INT_BITS[kind], column=True)
    if kind in ("float", "double"):
        return Term("float", _cast(column, "DOUBLE"), null, column=True)
    if kind in ("boolean", "string", "date"):  # a string of no collation is compared byte by byte
        kinds = {"boolean": "bool", "string": "text", "date": "date"}
        return Term(kinds[kind], column, null, column=True)
    raise NotTranslatedError(f"{name} is {kind}")


def _constant(value: Any) -> Term:
    const = (value,)
    if value is None:
        return Term("none", _NO_VALUE, "true", const=const)
    if isinstance(value, bool):
        return Term("bool", _flag(value), const=const)
    if type(value) is int and value.bit_length() <= _LONG_BITS:
        return Term("int", f"{value}L", bits=value.bit_length(), const=const)
    if type(value) is float:
        return Term("float", _cast(f"'{value!r}'", "DOUBLE"), const=const)
    if type(value) is str and _is_text(value):
        return Term("text", text_sql(value), const=const)
    if type(value) is dt.date:
        return Term("date", _cast(f"'{value.isoformat()}'", "DATE"), const=const)
    return Term("other", _NO_VALUE, const=const)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair: no Spark text has one
        return False
    return True


def _strict(*terms: Term) -> str | None:
    """Return on which rows an operation that takes no None raises; only columns are None here."""
    for term in terms:
        if term.kind == "none" or (term.null is not None and not term.column):
            raise NotTranslatedError("None is used as a value")
    return _any_of(*(part for t in terms for part in (t.fail, t.null)))


# Kind -> whether a value is true.
_TRUTHS: Mapping[str, str] = {
    "bool": "{}", "int": "({} != 0)", "float": "({} != 0.0D)", "text": "({} != '')",
    "none": "false", "date": "true",
}  # fmt: skip


def _truth(term: Term) -> str:
    if term.kind not in _TRUTHS:
        raise NotTranslatedError("a collection is used as a condition")
    return _known(_TRUTHS[term.kind].replace("{}", term.value), term.null)


def _numbers(a: Term, b: Term) -> tuple[str, str, str] | None:
    """Return two numbers as Spark compares and computes with them exactly as Python does."""
    kinds = {"bool", "int", "float"}
    if a.kind not in kinds or b.kind not in kinds:
        return None
    if "float" not in (a.kind, b.kind):
        return _cast(a.value, "BIGINT"), _cast(b.value, "BIGINT"), "int"
    for term in (a, b):
        if term.kind == "int" and term.bits > _EXACT_BITS:
            raise NotTranslatedError("an integer of 64 bits meets a float")
    return _cast(a.value, "DOUBLE"), _cast(b.value, "DOUBLE"), "float"


def _compared(sign: str) -> Callable[[Term, Term], Term]:
    def compare(a: Term, b: Term) -> Term:
        fail = _strict(a, b)
        numbers = _numbers(a, b)
        if numbers is not None:
            left, right, kind = numbers
            value = f"({left} {sign} {right})"
            if kind == "float":  # Spark's NaN is greater than every number
                value = f"({value} AND NOT isnan({left}) AND NOT isnan({right}))"
        elif a.kind == b.kind and a.kind in ("text", "date"):
            value = f"({a.value} {sign} {b.value})"  # UTF-8 is ordered as code points are
        else:
            raise NotTranslatedError(f"{_KINDS[a.kind]} is compared with {_KINDS[b.kind]}")
        return Term("bool", value, None, fail)

    return compare


def _equal(a: Term, b: Term) -> Term:
    fail = _any_of(a.fail, b.fail)
    if "other" in (a.kind, b.kind):
        raise NotTranslatedError(f"{_KINDS[a.kind]} is compared with {_KINDS[b.kind]}")
    if a.kind == "none" or b.kind == "none":
        null = (b if a.kind == "none" else a).null
        return Term("bool", _flag(a.kind == b.kind) if null is None else null, None, fail)
    numbers = _numbers(a, b)
    if numbers is not None:
        left, right, kind = numbers
        value = f"({left} = {right})"
        if kind == "float":
            value = f"({value} AND NOT isnan({left}))"
    elif a.kind == b.kind:
        value = f"({a.value} = {b.value})"
    else:
        value = "false"  # a text never equals a number
    both = f"({a.null} AND {b.null})" if a.null is not None and b.null is not None else "false"
    return Term("bool", _known(value, _any_of(a.null, b.null), both), None, fail)


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
    listed: Mapping[str, list[Any]] = {
        "text": [v for v in values if type(v) is str and _is_text(v)],
        "int": [int(v) for v in values if is_whole(v)],
        "bool": [int(v) for v in values if is_whole(v)],
    }
    if item.kind not in listed:
        raise NotTranslatedError(f"it looks for {_KINDS[item.kind]} in a collection")
    keys = listed[item.kind]
    if item.bits == _LOWERED and not all(map(str.isascii, keys)):
        raise NotTranslatedError("Java and Python may put other letters in lower case")
    if item.kind != "text":
        keys = [v for v in keys if isinstance(v, int) and v.bit_length() <= _LONG_BITS]
    key = item.value if item.kind == "text" else _cast(item.value, "BIGINT")
    value = f"({key} IN ({', '.join(_constant(v).value for v in keys)}))" if keys else "false"
    return Term("bool", _known(value, item.null, _flag(None in values)), None, item.fail)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _searched(method: str) -> Callable[[Term, Term], Term]:
    def search(text: Term, what: Term) -> Term:
        if text.kind != "text" or not what.const or what.kind != "text":
            raise NotTranslatedError("it searches for something that isn't a constant text")
        lowered = text.bits == _LOWERED
        if lowered and not what.const[0].isascii():
            raise NotTranslatedError("Java and Python may put other letters in lower case")
        return Term("bool", f"{method}({text.value}, {what.value})", None, _strict(text))

    return search


_LOWERED = -1  # `bits` of a text in lower case, which may only be searched for ASCII


def _lower(text: Term) -> Term:
    """Put in lower case, to be searched for ASCII text only.

    Which characters become ASCII letters is the same in Java and Python (a test asks all of
    Unicode); what others become may not be.
    """
    if text.kind != "text" or text.const or text.bits:
        raise NotTranslatedError("it puts something other than a column in lower case")
    return Term("text", f"lower({text.value})", None, _strict(text), _LOWERED)


def _plain_text(op: Callable[..., Term]) -> Callable[..., Term]:
    """Refuse text in lower case, which only searches may take."""

    def checked(*terms: Term) -> Term:
        if any(t.kind == "text" and t.bits == _LOWERED for t in terms):
            raise NotTranslatedError("Java and Python may put letters in lower case otherwise")
        return op(*terms)

    return checked


def _computed(sign: str, bits: Callable[[int, int], int]) -> Callable[[Term, Term], Term]:
    def compute(a: Term, b: Term) -> Term:
        numbers = _numbers(a, b)
        if numbers is None:
            raise NotTranslatedError(f"it computes with {_KINDS[a.kind]} and {_KINDS[b.kind]}")
        left, right, kind = numbers
        size = bits(max(a.bits, 1), max(b.bits, 1))
        if kind == "int" and size >= _LONG_BITS:  # of 63 bits may be 2**63 itself
            raise NotTranslatedError("an integer may take more than 64 bits")
        value = f"({left} {sign} {right})"
        return Term(kind, value, None, _strict(a, b), size if kind == "int" else 0)

    return compute


def _divided(a: Term, b: Term) -> Term:
    if not b.const or b.kind not in ("int", "float") or not b.const[0]:
        raise NotTranslatedError("it divides by something that isn't a constant other than 0")
    if a.kind not in ("int", "float", "bool") or max(a.bits, b.bits) > _EXACT_BITS:
        raise NotTranslatedError("it divides integers of 64 bits")
    value = f"({_cast(a.value, 'DOUBLE')} / {_cast(b.value, 'DOUBLE')})"
    return Term("float", value, None, _strict(a, b))


def _whole_divided(a: Term, b: Term) -> tuple[str, str]:
    if a.kind not in ("int", "bool") or b.kind != "int" or not b.const or b.const[0] <= 0:
        raise NotTranslatedError("it divides by something that isn't a positive whole constant")
    return _cast(a.value, "BIGINT"), b.value


def _mod(a: Term, b: Term) -> Term:
    top, bottom = _whole_divided(a, b)
    return Term("int", f"pmod({top}, {bottom})", None, _strict(a, b), b.bits)


def _floor_divided(a: Term, b: Term) -> Term:
    top, bottom = _whole_divided(a, b)
    if a.bits >= _LONG_BITS:
        raise NotTranslatedError("it divides integers of 64 bits")
    # Exact: what is divided is a multiple of what it is divided by, below 2**63.
    value = f"(({top} - pmod({top}, {bottom})) div {bottom})"
    return Term("int", value, None, _strict(a, b), a.bits)


def _negated(a: Term) -> Term:
    if a.kind not in ("int", "float") or a.bits >= _LONG_BITS:
        raise NotTranslatedError("it negates something that may not fit")
    return replace(a, value=f"(- {a.value})", null=None, fail=_strict(a), const=(), column=False)


def _absolute(a: Term) -> Term:
    if a.kind not in ("int", "float") or a.bits >= _LONG_BITS:
        raise NotTranslatedError("it takes the magnitude of something that may not fit")
    return replace(a, value=f"abs({a.value})", null=None, fail=_strict(a), const=(), column=False)


def _positive(a: Term) -> Term:
    if a.kind not in ("int", "float"):
        raise NotTranslatedError("it takes + of something other than a number")
    return replace(a, null=None, fail=_strict(a), const=(), column=False)


def _length(a: Term) -> Term:
    if a.kind != "text" or a.const:
        raise NotTranslatedError(f"it takes the length of {_KINDS[a.kind]}")
    return Term("int", _cast(f"length({a.value})", "BIGINT"), None, _strict(a), 31)


def _not(a: Term) -> Term:
    return Term("bool", _no(_truth(a)), None, a.fail)


def _bool(a: Term) -> Term:
    return Term("bool", _truth(a), None, a.fail)


def _is_none(a: Term) -> Term:
    value = _flag(a.kind == "none") if a.null is None else a.null
    return Term("bool", value, None, a.fail)


def _is(a: Term, b: Term) -> Term:
    if a.kind != "bool":
        return Term("bool", "false", None, a.fail)
    return Term("bool", _known(f"({a.value} = {b.value})", a.null), None, a.fail)


def _is_nan(a: Term) -> Term:
    if a.kind != "float":
        return Term("bool", "false", None, a.fail)
    return Term("bool", _known(f"isnan({a.value})", a.null), None, a.fail)


def _math_isnan(a: Term) -> Term:
    if a.kind != "float":
        raise NotTranslatedError("it asks whether something other than a float is NaN")
    return Term("bool", f"isnan({a.value})", None, _strict(a))


def _until(stops: bool) -> Callable[..., Term]:
    def chain(*terms: Term) -> Term:
        """Evaluate in order: what comes behind the one that decides is not evaluated."""
        tests = [_truth(term) if stops else _no(_truth(term)) for term in terms]
        fails: dict[str, str | None] = {}  # why -> where; what failed before needn't fail again
        for at, term in enumerate(terms):
            if term.fail is not None and term.fail not in fails:
                decided = _any_of(*tests[:at])
                fails[term.fail] = _both(term.fail, None if decided is None else _no(decided))
        value = _any_of(*tests)
        assert value is not None  # an empty chain is a constant
        return Term("bool", value if stops else _no(value), None, _any_of(*fails.values()))

    return chain


def _if(test: Term, a: Term, b: Term) -> Term:
    kinds = {a.kind, b.kind} - {"none"}
    if len(kinds) > 1:
        raise NotTranslatedError("its branches have values of different kinds")
    chosen = _truth(test)

    def pick(x: str | None, y: str | None) -> str | None:
        if x is None and y is None:
            return None
        return _case((chosen, x or "false"), otherwise=y or "false")

    kind = kinds.pop() if kinds else "none"
    value = _case((chosen, a.value), otherwise=b.value)
    bits = _LOWERED if _LOWERED in (a.bits, b.bits) else max(a.bits, b.bits)
    null = pick(a.null, b.null)
    return Term(kind, value, null, _any_of(test.fail, pick(a.fail, b.fail)), bits)


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
    return replace(value, fail=_any_of(first.fail, value.fail), const=(), column=False)


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
    "lt": _plain_text(_compared("<")),
    "le": _plain_text(_compared("<=")),
    "gt": _plain_text(_compared(">")),
    "ge": _plain_text(_compared(">=")),
    "in": _in,
    "startswith": _searched("startswith"),
    "endswith": _searched("endswith"),
    "lower": _lower,
    "add": _computed("+", lambda m, n: max(m, n) + 1),
    "sub": _computed("-", lambda m, n: max(m, n) + 1),
    "mul": _computed("*", lambda m, n: m + n),
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
