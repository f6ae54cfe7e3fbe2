"""Whole columns at once: what each operation of a tree gives on a batch, in Python's terms.

An operation has a quick form where a rule says that it agrees with Python on these kinds of
values; elsewhere Python's own operation runs on each value. A row on which a quick form can't be
told to agree (an integer that overflows, a division by zero) is marked, and asked of the Python
function itself.
"""

from __future__ import annotations

import binascii
import contextlib
import datetime as dt
import functools
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import DivisionByZero, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.arrow.values import python_values, readable, unreadable_rows
from engine.matching.text import TextBatch, char_lengths, word_counts
from engine.ops.operations import OPERATIONS, Op
from engine.slicing.expr import Call, Column, Const, Expr

NULL, ASK = 1, 2  # why a row has no value: it raises for a null that was read, or Python must say
# Further reasons: what Python raises there. They ask Python, too, unless the function catches them.
RAISED: Mapping[type[BaseException], int] = {
    kind: ASK + 1 + at
    for at, kind in enumerate((
        ValueError, TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError,
        OverflowError, UnicodeDecodeError, UnicodeEncodeError, InvalidOperation, DivisionByZero,
        StopIteration, binascii.Error, json.JSONDecodeError,
    ))
}  # fmt: skip
EXACT = 2**53  # integers up to here are exact as floats
INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Vec:
    """A node's values on a batch.

    Attributes
    ----------
    kind
        ``bool``, ``int``, ``float`` (numpy values), ``text`` (a column's name), ``match`` (bool:
        whether there is a match), ``object`` (a list of Python values), ``const`` (one value);
        ``date`` (days), ``naive``, ``utc`` and ``delta`` (microseconds); ``list``, ``set``,
        ``map``, ``struct``, ``tuple`` and ``body``, which :mod:`engine.compile.lists` has; and
        ``decimal``, which :mod:`engine.compile.decimals` has.
    values
        As the kind says; anything where ``null`` or ``fail`` is set.
    null
        Rows on which the value is None; None for no row.
    fail
        uint8 per row: NULL, ASK, or 0 where there is a value; None for no row.
    strict
        Of a column itself: what ``fail`` is where an operation takes no None. Its nulls are ones
        that the function read; None that was made on the way is for Python to judge.
    """

    kind: str
    values: Any
    null: np.ndarray | None = None
    fail: np.ndarray | None = None
    strict: np.ndarray | None = None


@dataclass
class Notes:
    """What is noted while a batch is computed, of the batches of elements in it too.

    Attributes
    ----------
    doubts
        Why parts of the trees are left to Python, whatever the rows.
    by_value
        How often Python's own operation ran on each value.
    """

    doubts: list[str] = field(default_factory=list)
    by_value: int = 0


def _no_rows() -> None:
    return None


class Batch:
    """Arrow columns of equal length, each converted once, when first needed."""

    def __init__(self, columns: Mapping[str, pa.Array], n: int, notes: Notes | None = None) -> None:
        self.columns, self.n = dict(columns), n
        self.notes = Notes() if notes is None else notes
        self.idle: Callable[[], np.ndarray | None] = _no_rows  # that nothing looks at
        self._cache: dict[tuple[str, str], Any] = {}
        self._conversions: dict[
            int, tuple[Any, Vec | None]
        ] = {}  # by the values' id, which they keep

    def once(self, what: str, column: str, make: Callable[[pa.Array], Any]) -> Any:
        """Return what is made of a column, made when it is first asked for."""
        key = what, column
        if key not in self._cache:
            self._cache[key] = make(self._readable(column)[0])
        return self._cache[key]

    def _readable(self, column: str) -> tuple[pa.Array, np.ndarray | None]:
        """Return a column with null for text that isn't UTF-8, and which rows those are."""
        key = "readable", column
        if key not in self._cache:
            array, fail = self.columns[column], None
            if kind_of(array.type) in _READABLE:
                array, bad = readable(array)
                fail = where_fails(np.isin(np.arange(self.n), list(bad)), ASK) if bad else None
            self._cache[key] = array, fail
        return self._cache[key]  # type: ignore[no-any-return]

    def unreadable(self, column: str) -> np.ndarray | None:
        """Return the rows of a column that hold text that isn't UTF-8; None for no row."""
        fail = self._readable(column)[1]
        return None if fail is None else fail != 0

    def array(self, column: str) -> pa.Array:
        """Return a column as Arrow has it, with null for text that isn't UTF-8."""
        return self._readable(column)[0]

    def listed(self, column: str) -> list[Any]:
        """Return a column as the Python values of collected rows."""
        return self.once("list", column, python_values)  # type: ignore[no-any-return]

    def text(self, column: str) -> TextBatch:
        """Return a string column's bytes and offsets."""
        return self.once("text", column, TextBatch)  # type: ignore[no-any-return]

    def codes(self, column: str) -> tuple[np.ndarray, list[Any]]:
        """Return a string column as positions in a list of its distinct values; null is 0."""
        return self.once("codes", column, _codes)  # type: ignore[no-any-return]

    def vec(self, column: str) -> Vec:
        """Return a column's values."""
        if ("vec", column) in self._cache:
            return self._cache["vec", column]  # type: ignore[no-any-return]
        fail = self._readable(column)[1]
        make: Any = lambda array: self._vec(column, array, fail)  # noqa: E731
        return self.once("vec", column, make)  # type: ignore[no-any-return]

    def _vec(self, name: str, array: pa.Array, fail: np.ndarray | None) -> Vec:
        kind = kind_of(array.type)
        special = COLUMNS[kind](self, array) if kind in COLUMNS else None
        return _column(name, array, fail) if special is None else replace(special, fail=fail)

    def is_given(self, column: str) -> bool:
        """Tell a column of the rows from one that stands for another Vec."""
        return column in self.columns and ("vec", column) not in self._cache

    def keep(self, array: pa.Array) -> Vec:
        """Return an array of values that Python can hold as a Vec; its nulls are no column's."""
        name = f"\0{len(self._cache)}"
        self.columns[name] = array
        self._cache["readable", name] = array, None
        return replace(self.vec(name), strict=None)

    def bind(self, name: str, vec: Vec, source: Batch) -> None:
        """Let a column's name stand for a Vec of another batch of as many rows."""
        self._cache["vec", name] = self._adopt(name, vec, source)

    def _adopt(self, name: str, vec: Vec, source: Batch) -> Vec:
        if vec.kind == "tuple":
            parts = (self._adopt(f"{name}.{i}", v, source) for i, v in enumerate(vec.values))
            return replace(vec, values=tuple(parts))
        if vec.kind != "text":
            return vec
        for what in ("list", "text", "codes"):
            if (what, vec.values) in source._cache:
                self._cache[what, name] = source._cache[what, vec.values]
        self.columns[name] = source.columns[vec.values]
        self._cache["readable", name] = source._readable(vec.values)
        return replace(vec, values=name)

    def converted(self, vec: Vec, make: Callable[[Batch, Vec], Vec | None]) -> Vec | None:
        """Return what is made of Python values, made when it is first asked for."""
        if id(vec.values) not in self._conversions:
            self._conversions[id(vec.values)] = vec.values, make(self, vec)
        return self._conversions[id(vec.values)][1]

    def refuse(self, why: str) -> Vec:
        """Leave every row to Python, for a reason."""
        self.notes.doubts.append(why)
        return Vec("const", None, None, np.full(self.n, ASK, np.uint8))

    def values(self, vec: Vec) -> Sequence[Any]:
        """Return a Vec as Python values; anything where it failed."""
        if vec.kind in VALUES:
            return VALUES[vec.kind](self, vec)
        if vec.kind == "const":
            return [vec.values] * self.n
        if vec.kind == "text":
            return self.listed(vec.values)
        if vec.kind == "object":
            return vec.values  # type: ignore[no-any-return]
        if vec.kind == "match":
            return [None] * self.n  # of a match only whether there is one is known
        values = vec.values.tolist()
        if vec.null is not None:
            pairs = zip(values, vec.null.tolist(), strict=True)
            values = [None if null else v for v, null in pairs]
        return values  # type: ignore[no-any-return]


def kind_of(kind: pa.DataType) -> str:
    """Return the kind of Vec that a column of an Arrow type gives."""
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if kind == pa.date32():
        return "date"
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return {None: "naive", "UTC": "utc"}.get(kind.tz, "object")
    if pa.types.is_duration(kind) and kind.unit != "ns":
        return "delta"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list"
    if pa.types.is_decimal(kind):
        return "decimal"
    return "struct" if pa.types.is_struct(kind) else "map" if pa.types.is_map(kind) else "object"


# Kind of a time -> the Arrow type of its numbers.
TIMES: Mapping[str, pa.DataType] = {
    "date": pa.date32(), "naive": pa.timestamp("us"), "utc": pa.timestamp("us", "UTC"),
    "delta": pa.duration("us"),
}  # fmt: skip
_READABLE = {"text", *TIMES}
_EMPTY: Mapping[str, Any] = {"bool": False, "int": 0, "float": 0.0, **dict.fromkeys(TIMES, 0)}
DTYPES: Mapping[str, Any] = {
    "bool": np.bool_, "int": np.int64, "float": np.float64, "match": np.bool_,
    **dict.fromkeys(TIMES, np.int64),
}  # fmt: skip
# Of kinds that other modules know: how a column becomes a Vec (None: it can't), a Vec's values in
# Python, whether they are true; and forms of operations, by the first operand that is of the kind.
# A form returns None where it has no answer.
COLUMNS: dict[str, Callable[[Batch, pa.Array], Vec | None]] = {}
VALUES: dict[str, Callable[[Batch, Vec], Sequence[Any]]] = {}
TRUTHS: dict[str, Callable[[Batch, Vec], np.ndarray]] = {}
BY_KIND: dict[tuple[str, str], Callable[..., Vec | None]] = {}


def _column(name: str, array: pa.Array, fail: np.ndarray | None) -> Vec:
    kind = kind_of(array.type)
    null = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    strict = None if null is None else null.astype(np.uint8)  # NULL is 1
    if kind == "text":
        return Vec(kind, name, null, fail, strict)
    if kind in TIMES:
        array = _in_unit(array, TIMES[kind])
        kind = kind if array.type == TIMES[kind] else "object"
    if kind not in DTYPES:
        kind, values = "object", python_values(array)
        bad = unreadable_rows(values)
        return Vec(kind, values, null, None if bad is None else where_fails(bad, ASK), strict)
    filled = array if null is None else array.fill_null(_EMPTY[kind])
    values = filled.to_numpy(zero_copy_only=False).astype(DTYPES[kind], copy=False)
    return Vec(kind, values, null, fail, strict)


def _in_unit(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return times in microseconds; as they are where those are too many for 64 bits."""
    with contextlib.suppress(pa.ArrowInvalid):
        return array.cast(kind)
    return array


def _codes(array: pa.Array) -> tuple[np.ndarray, list[Any]]:
    encoded = pc.dictionary_encode(array)
    return (
        encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1,
        [None, *encoded.dictionary.to_pylist()],
    )


# Rows without a value


def first_fail(*fails: np.ndarray | None) -> np.ndarray | None:
    """Return per row why it has no value: of what is evaluated first."""
    first: np.ndarray | None = None
    for fail in fails:
        if fail is None or fail is first:
            continue
        first = fail if first is None else np.where(first != 0, first, fail)
    return first


def strict_fails(*vecs: Vec) -> np.ndarray | None:
    """Return why rows have no value where an operation takes no None, once it has its operands."""
    return first_fail(*(vec.fail for vec in vecs), *map(strict_fail, vecs))


def strict_fail(vec: Vec) -> np.ndarray | None:
    """Return why rows have no value where an operation takes no None."""
    if vec.null is None or vec.strict is not None:
        return first_fail(vec.fail, vec.strict)
    return first_fail(vec.fail, where_fails(vec.null, ASK))


def where_fails(rows: np.ndarray, why: int) -> np.ndarray | None:
    """Return why some rows have no value; None for no row."""
    return np.where(rows, np.uint8(why), np.uint8(0)) if rows.any() else None


def truth(vec: Vec, batch: Batch) -> np.ndarray:
    """Return Python's ``bool()`` of each value; False for None."""
    if vec.kind == "const":
        return np.full(batch.n, _truth(vec.values))
    if vec.kind == "text":
        filled = np.diff(batch.text(vec.values).offsets) > 0
        return filled if vec.null is None else filled & ~vec.null
    if vec.kind == "object":
        return np.fromiter((_truth(v) for v in vec.values), np.bool_, batch.n)
    if vec.kind in TRUTHS:
        known = TRUTHS[vec.kind](batch, vec)
        return known if vec.null is None else known & ~vec.null
    values: np.ndarray = vec.values if vec.kind in ("bool", "match") else vec.values != 0
    return values if vec.null is None else values & ~vec.null


def _truth(value: Any) -> bool:
    try:
        return bool(value)
    except Exception:
        return False  # an empty row's stand-in; what raises is marked by `truth_fail`


def is_none(vec: Vec, batch: Batch) -> np.ndarray:
    """Return on which rows the value is None."""
    if vec.kind == "const":
        return np.full(batch.n, vec.values is None)
    if vec.kind == "match":
        return ~vec.values  # type: ignore[no-any-return]
    return np.zeros(batch.n, np.bool_) if vec.null is None else vec.null


# Python's own operation on each value


def each(batch: Batch, run: Callable[..., Any], *vecs: Vec, fail: np.ndarray | None = None) -> Vec:
    """Run Python's operation on each row's values: exact, whatever they are.

    Rows aren't asked that fail before the operation has its operands, as ``fail`` says.
    """
    batch.notes.by_value += 1
    idle = batch.idle()
    fail = first_fail(fail, *map(_unknown, vecs), None if idle is None else where_fails(idle, ASK))
    columns = [batch.values(v) for v in vecs]
    rows: Sequence[int] = range(batch.n)
    if fail is not None:
        rows = np.flatnonzero(fail == 0).tolist()
        columns = [
            [v.values] * len(rows) if v.kind == "const" else [column[i] for i in rows]
            for v, column in zip(vecs, columns, strict=True)
        ]
    raised: dict[int, int] = {}
    try:
        answers = list(map(run, *columns))
    except Exception:  # the rows are asked one by one
        answers, raised = _one_by_one(run, rows, columns)
    if raised:
        why = np.zeros(batch.n, np.uint8)
        at = np.array(list(raised))
        for_null = np.zeros(len(at), np.bool_)
        for v in vecs:
            if v.strict is not None:
                for_null |= v.strict[at] == NULL
        codes = np.array(list(raised.values()), np.uint8)
        # NULL is of what None lacks: Python says what else comes of it.
        plain = (codes == RAISED[TypeError]) | (codes == RAISED[AttributeError])
        why[at] = np.where(for_null, np.where(plain, NULL, ASK), codes)
        fail = first_fail(fail, why)
    if len(rows) < batch.n:
        out: list[Any] = [None] * batch.n
        for i, answer in zip(rows, answers, strict=True):
            out[i] = answer
        answers = out
    return of_values(answers, fail)


def _one_by_one(
    run: Callable[..., Any], rows: Sequence[int], columns: Sequence[Sequence[Any]]
) -> tuple[list[Any], dict[int, int]]:
    """Return what each row gives, None where it raises, and what it raises by row."""
    answers: list[Any] = []
    raised: dict[int, int] = {}
    for i, *row in zip(rows, *columns, strict=True):
        try:
            answers.append(run(*row))
        except Exception as error:
            raised[i] = RAISED.get(type(error), ASK)
            answers.append(None)
    return answers, raised


def _unknown(vec: Vec) -> np.ndarray | None:
    """Return why rows have no value that Python's operation could take: a match is none."""
    if vec.kind in UNKNOWN:
        return first_fail(vec.fail, UNKNOWN[vec.kind](vec))
    return first_fail(vec.fail, where_fails(vec.values, ASK)) if vec.kind == "match" else vec.fail


UNKNOWN: dict[str, Callable[[Vec], np.ndarray | None]] = {}  # of a kind: rows that hold no value


def of_values(values: list[Any], fail: np.ndarray | None = None) -> Vec:
    """Return Python's values as a Vec: as numbers or times where all are of one type."""
    kinds = set(map(type, values))
    null = None
    if type(None) in kinds:
        kinds.discard(type(None))
        null = np.array([v is None for v in values], np.bool_)
    if len(kinds) == 1:
        only = kinds.pop()
        for kind, of in (("bool", bool), ("int", int), ("float", float)):
            if only is of:
                filled = values if null is None else [_EMPTY[kind] if v is None else v
                                                      for v in values]  # fmt: skip
                with contextlib.suppress(OverflowError):  # an integer of more than 64 bits
                    return Vec(kind, np.array(filled, DTYPES[kind]), null, fail)
        if only in _OF_TIMES:
            numbers = _numbers_of_times(values, _OF_TIMES[only])
            if numbers is not None:
                return Vec(_OF_TIMES[only], numbers, null, fail)
    return Vec("object", values, null, fail)


_OF_TIMES: Mapping[type, str] = {dt.date: "date", dt.datetime: "naive", dt.timedelta: "delta"}


def _numbers_of_times(values: list[Any], kind: str) -> np.ndarray | None:
    """Return Python's times as numbers, None's as 0; None where they aren't all of a kind."""
    numbers = [0 if v is None else _IN_UNITS[kind](v) for v in values]
    if any(n is None for n in numbers) or any(getattr(v, "fold", 0) for v in values):
        return None
    return np.array(numbers, np.int64)


# Quick forms


def _numbers(*vecs: Vec) -> list[Any] | None:
    """Return numbers to compute with, or None where numpy's arithmetic isn't Python's."""
    numbers = []
    for v in vecs:
        if v.kind == "const":
            if type(v.values) not in (bool, int, float) or (
                type(v.values) is int and v.values not in INT64
            ):
                return None
            numbers.append(v.values)
        elif v.kind in ("bool", "int", "float"):
            numbers.append(v.values)
        else:
            return None
    floats = any(isinstance(m, float) or getattr(m, "dtype", None) == np.float64 for m in numbers)
    if floats and any(bound(m) > EXACT for m in numbers if not _is_float(m)):
        return None  # Python compares and converts exactly, numpy rounds the integer first
    return numbers


def times(*vecs: Vec) -> list[Any] | None:
    """Return times of one kind as whole numbers to compare with, or None if they aren't."""
    kind = next((v.kind for v in vecs if v.kind in TIMES), None)
    numbers = [as_time(v, kind) if kind is not None else None for v in vecs]
    return None if any(n is None for n in numbers) else numbers


def as_time(vec: Vec, kind: str) -> Any:
    """Return a Vec's numbers, or a constant's, if it is of a kind of time; else None."""
    if vec.kind == kind:
        return vec.values
    return _IN_UNITS[kind](vec.values) if vec.kind == "const" else None


_DAY, _EPOCH = dt.date(1970, 1, 1), dt.datetime(1970, 1, 1)
_MICROSECOND = dt.timedelta(microseconds=1)


def _days(value: Any) -> int | None:
    return (value - _DAY).days if type(value) is dt.date else None


def _naive(value: Any) -> int | None:
    known = type(value) is dt.datetime and value.tzinfo is None
    return (value - _EPOCH) // _MICROSECOND if known else None


def _utc(value: Any) -> int | None:
    known = type(value) is dt.datetime and type(value.tzinfo) is dt.timezone
    return (value - _EPOCH.replace(tzinfo=dt.UTC)) // _MICROSECOND if known else None


def _microseconds(value: Any) -> int | None:
    if type(value) is not dt.timedelta:
        return None
    number = value // _MICROSECOND
    return number if number in INT64 else None


_IN_UNITS: Mapping[str, Callable[[Any], int | None]] = {
    "date": _days, "naive": _naive, "utc": _utc, "delta": _microseconds,
}  # fmt: skip


def _is_float(value: Any) -> bool:
    return isinstance(value, float) or getattr(value, "dtype", None) == np.float64


def bound(value: Any) -> int:
    """Return the largest magnitude among integers."""
    if isinstance(value, int):
        return abs(value)
    if not len(value):
        return 0
    return max(abs(int(value.max())), abs(int(value.min())))


def _integers(numbers: list[Any]) -> list[Any]:
    """Return booleans as the integers they are in arithmetic, and columns of 64 bits."""
    return [
        int(m) if isinstance(m, bool) else m.astype(np.int64, copy=False) if _is_whole(m) else m
        for m in numbers
    ]


def _is_whole(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") in ("b", "i")


def _full(values: Any, batch: Batch) -> np.ndarray:
    return values if isinstance(values, np.ndarray) and values.ndim else np.full(batch.n, values)


def _compare(run: Callable[[Any, Any], Any]) -> Callable[..., Vec]:
    def compare(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
        numbers = _numbers(a, b) or times(a, b)
        if numbers is None:
            return each(batch, run, a, b)
        fail = strict_fails(a, b)
        return Vec("bool", _full(run(*numbers), batch), None, fail)

    return compare


def _equal(run: Callable[[Any, Any], Any]) -> Callable[..., Vec]:
    same = run is operator.eq

    def equal(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
        fail = first_fail(a.fail, b.fail)
        for text, other in ((a, b), (b, a)):
            if text.kind == "text" and other.kind == "const":
                answers = _of_distinct(batch, text, functools.partial(run, other.values))
                if answers is None:
                    return each(batch, run, a, b)
                return Vec("bool", answers, None, fail)
        numbers = _numbers(a, b) or times(a, b)
        if numbers is None:
            return each(batch, run, a, b)
        return equality(batch, _full(run(*numbers), batch), a, b, same=same)

    return equal


def equality(batch: Batch, values: np.ndarray, a: Vec, b: Vec, *, same: bool) -> Vec:
    """Return whether values are equal, or differ, by answers for what isn't None.

    None is equal to itself alone.
    """
    if a.null is not None or b.null is not None:
        a_null, b_null = is_none(a, batch), is_none(b, batch)
        values = np.where(a_null | b_null, (a_null & b_null) == same, values)
    return Vec("bool", values, None, first_fail(a.fail, b.fail))


def _of_distinct(batch: Batch, text: Vec, test: Callable[[Any], Any]) -> np.ndarray | None:
    """Ask each distinct text once; None where Python must say what comes of it."""
    codes, distinct = batch.codes(text.values)
    try:
        answers = [test(v) for v in distinct]
    except Exception:  # `in None`, say: a fault of the rows that get there
        return None
    if not all(type(a) is bool for a in answers):
        return None
    members: np.ndarray = np.array(answers, np.bool_)[codes]
    return members


_IN = OPERATIONS["in"].python


def _in(batch: Batch, node: Call, item: Vec, over: Vec) -> Vec:
    if over.kind != "const":
        return each(batch, _IN, item, over)
    if item.kind == "text" and not isinstance(over.values, str | bytes):
        answers = _of_distinct(batch, item, lambda v: v in over.values)
        if answers is None:
            return each(batch, _IN, item, over)
        return Vec("bool", answers, None, item.fail)
    if item.kind in ("int", "bool") and is_plain_collection(over.values):
        whole = [v for v in map(int, filter(is_whole, over.values)) if v in INT64]
        values = np.isin(item.values.astype(np.int64), np.array(whole, np.int64))
        if item.null is not None:
            values = np.where(item.null, None in over.values, values)
        return Vec("bool", values, None, item.fail)
    return each(batch, _IN, item, over)


def is_plain_collection(value: Any) -> bool:
    """Tell whether a constant is a collection in which only whole numbers equal integers."""
    return isinstance(value, tuple | list | set | frozenset) and all(
        type(v) in (bool, int, float, str, bytes, type(None)) for v in value
    )


def is_whole(value: Any) -> bool:
    """Tell a whole number, of whichever type, from other values."""
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _arithmetic(run: Callable[..., Any], most: Callable[..., int]) -> Callable[..., Vec]:
    def compute(batch: Batch, _: Call, *args: Vec) -> Vec:
        numbers = _numbers(*args)
        if numbers is None or all(a.kind == "const" for a in args):
            return each(batch, run, *args)
        fail = strict_fails(*args)
        numbers = _integers(numbers)
        if any(map(_is_float, numbers)):
            with np.errstate(all="ignore"):
                return Vec("float", _full(run(*numbers), batch), None, fail)
        if most(*map(bound, numbers)) not in INT64:
            return each(batch, run, *args)  # Python's integers don't overflow
        return Vec("int", _full(run(*numbers), batch), None, fail)

    return compute


def _shift(run: Callable[..., Any]) -> Callable[..., Vec]:
    def shift(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
        known = a.kind == "int" and b.kind == "const" and type(b.values) is int
        if not known or not 0 <= b.values < _LONG:
            return each(batch, run, a, b)
        if run is operator.lshift and bound(a.values) << b.values not in INT64:
            return each(batch, run, a, b)
        return Vec("int", run(a.values, b.values), None, strict_fail(a))

    return shift


_LONG = 63  # bits of an integer beside its sign


def _sqrt(batch: Batch, _: Call, a: Vec) -> Vec:
    """Return square roots, which are rounded once everywhere."""
    numbers = _numbers(a)
    if numbers is None or a.kind == "const" or (a.kind == "int" and bound(a.values) > EXACT):
        return each(batch, math.sqrt, a)
    values = numbers[0].astype(np.float64)
    wrong = where_fails(values < 0, RAISED[ValueError])
    with np.errstate(all="ignore"):
        return Vec("float", np.sqrt(values), None, first_fail(strict_fail(a), wrong))


def _float(batch: Batch, _: Call, a: Vec) -> Vec:
    if a.kind not in ("bool", "int", "float"):
        return each(batch, float, a)
    return Vec("float", a.values.astype(np.float64), None, strict_fail(a))


def _divide(run: Callable[..., Any]) -> Callable[..., Vec]:
    def divide(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
        numbers = _numbers(a, b)
        if numbers is None or (a.kind == b.kind == "const"):
            return each(batch, run, a, b)
        numbers = _integers(numbers)
        whole = run is not operator.truediv
        bounds = [bound(m) for m in numbers if not _is_float(m)]
        # Python's // and % of floats can differ from numpy's in the last bit, its / of integers is
        # rounded once, and the least integer divided by -1 is none of 64 bits.
        floats = len(bounds) < len(numbers)
        inexact = floats or bounds[0] == -INT64[0] if whole else max(bounds, default=0) > EXACT
        if inexact:
            return each(batch, run, a, b)
        fail = strict_fails(a, b)
        top, bottom = numbers
        zero = _full(bottom == 0, batch)
        with np.errstate(all="ignore"):
            values = _full(run(top, np.where(zero, 1, bottom)), batch)
        return Vec(
            "int" if whole else "float",
            values,
            None,
            first_fail(fail, where_fails(zero, RAISED[ZeroDivisionError])),
        )

    return divide


def _bits(run: Callable[..., Any]) -> Callable[..., Vec]:
    def compute(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
        numbers = _numbers(a, b)
        if numbers is None or any(map(_is_float, numbers)) or a.kind == b.kind == "const":
            return each(batch, run, a, b)
        types = {_python_type(a), _python_type(b)}
        if types == {bool}:
            return Vec("bool", run(*numbers), None, strict_fails(a, b))
        if bool in types:
            return each(batch, run, a, b)
        return Vec("int", run(*_integers(numbers)), None, strict_fails(a, b))

    return compute


def _python_type(vec: Vec) -> type:
    return type(vec.values) if vec.kind == "const" else bool if vec.kind == "bool" else int


def truth_fail(batch: Batch, a: Vec) -> np.ndarray | None:
    """Return on which rows asking whether a value is true raises, and why."""
    if a.kind != "object" and (a.kind != "const" or type(a.values) in _SURE):
        return a.fail
    return each(batch, bool, a).fail  # a value may refuse to be true or false


_SURE = (bool, int, float, str, type(None))  # of a constant: it is true or false


def _is_nan(batch: Batch, _: Call, a: Vec) -> Vec:
    """Tell NaN from every other value, None too: for slices by value."""
    if a.kind == "float":
        values = np.isnan(a.values)
        return Vec("bool", values if a.null is None else values & ~a.null, None, a.fail)
    return each(batch, OPERATIONS["is_nan"].python, a)


def _math_isnan(batch: Batch, _: Call, a: Vec) -> Vec:
    if a.kind == "float":
        return Vec("bool", np.isnan(a.values), None, strict_fail(a))
    return each(batch, math.isnan, a)


def _is(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
    if a.kind == "bool" and b.kind == "const":
        values = a.values == b.values
        return Vec("bool", values if a.null is None else values & ~a.null, None, a.fail)
    return each(batch, operator.is_, a, b)


_INSTANCES: Mapping[str, tuple[type, ...]] = {
    "text": (str,), "bool": (bool, int), "int": (int,), "float": (float,),
}  # fmt: skip


def _isinstance(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec:
    if a.kind not in _INSTANCES or not isinstance(b.values, type):
        return each(batch, isinstance, a, b)
    none = is_none(a, batch)
    known = any(issubclass(t, b.values) for t in _INSTANCES[a.kind][:1])
    values = np.where(none, issubclass(type(None), b.values), known)
    return Vec("bool", values, None, a.fail)


def _len(batch: Batch, _: Call, a: Vec) -> Vec:
    if a.kind != "text":
        return each(batch, len, a)
    return Vec("int", char_lengths(batch.text(a.values)), None, strict_fail(a))


def _word_count(batch: Batch, node: Call, a: Vec) -> Vec:
    if a.kind != "text":
        return each(batch, OPERATIONS["word_count"].python, a)
    return Vec("int", word_counts(batch.text(a.values)), None, strict_fail(a))


# Operations that don't evaluate all their arguments


def _all(batch: Batch, _: Call, *args: Vec) -> Vec:
    stopped = _until(batch, args, np.logical_not)
    return Vec("bool", ~stopped.values, None, stopped.fail)


def _until(batch: Batch, args: Sequence[Vec], stops: Callable[[np.ndarray], np.ndarray]) -> Vec:
    """Evaluate in order until one stops it: what comes behind is not evaluated on that row."""
    stopped = np.zeros(batch.n, np.bool_)
    fail: np.ndarray | None = None
    reasons: set[int] = set()
    for a in args:
        why = truth_fail(batch, a)
        if why is not None and id(why) not in reasons:
            reasons.add(id(why))
            fail = first_fail(fail, np.where(stopped, np.uint8(0), why))
        stopped = stopped | stops(truth(a, batch))
    return Vec("bool", stopped, None, fail)


def _and(batch: Batch, node: Call, *args: Vec) -> Vec:
    if all(a.kind == "bool" and a.null is None for a in args):
        return _all(batch, node, *args)  # what it is of truths
    return functools.reduce(lambda rest, a: _choose(batch, a, rest, a), reversed(args))


def _or(batch: Batch, node: Call, *args: Vec) -> Vec:
    if all(a.kind == "bool" and a.null is None for a in args):
        return _until(batch, args, lambda t: t)
    return functools.reduce(lambda rest, a: _choose(batch, a, a, rest), reversed(args))


def _choose(batch: Batch, test: Vec, a: Vec, b: Vec) -> Vec:
    chosen = truth(test, batch)
    fail = truth_fail(batch, test)
    if a.fail is not None or b.fail is not None:
        none = np.zeros(batch.n, np.uint8)
        inner = np.where(
            chosen, none if a.fail is None else a.fail, none if b.fail is None else b.fail
        )
        fail = first_fail(fail, inner)
    kinds = {const_kind(v) for v in (a, b)} - {"none"}
    if len(kinds) == 1 and kinds <= DTYPES.keys():
        kind = kinds.pop()
        values = np.where(chosen, _plain(a, kind), _plain(b, kind))
        null = None
        if kind != "match" and any(v.null is not None or const_kind(v) == "none" for v in (a, b)):
            null = np.where(chosen, is_none(a, batch), is_none(b, batch))
        return Vec(kind, values, null, fail)
    for v, rows in ((a, chosen), (b, ~chosen)):
        if v.kind == "match":
            fail = first_fail(fail, where_fails(rows & v.values, ASK))
    pairs = zip(chosen.tolist(), batch.values(a), batch.values(b), strict=True)
    return of_values([x if c else y for c, x, y in pairs], fail)


def const_kind(v: Vec) -> str:
    """Return a Vec's kind, a constant's by its value: ``none`` of None."""
    if v.kind != "const":
        return v.kind
    if v.values is None:
        return "none"
    if type(v.values) is int and v.values not in INT64:
        return "object"
    return {bool: "bool", int: "int", float: "float"}.get(type(v.values), "object")


def _plain(v: Vec, kind: str) -> Any:
    if v.kind == "const" and v.values is None:
        return DTYPES[kind](0)
    return v.values


def _then(batch: Batch, node: Call, first: Vec, value: Vec) -> Vec:
    return replace(value, fail=first_fail(first.fail, value.fail), strict=None)


def _mask(batch: Batch, _: Call, a: Vec) -> Vec:
    """Return a function's answer as a mask: True, False or None; Python says what else it is."""
    if a.kind == "bool":
        return a
    none = is_none(a, batch)
    if a.kind == "int":
        wrong = (a.values > 1) | (a.values < -1)
        null = none | (a.values == -1)
        return Vec("bool", a.values == 1, null, first_fail(a.fail, where_fails(wrong & ~none, ASK)))
    if a.kind == "object":
        codes = [
            _MASKS.get(int(v), ASK) if isinstance(v, bool | int | np.bool_) else ASK
            for v in a.values
        ]
        mask = np.where(none, -1, np.array(codes, np.int8))
        fail = first_fail(a.fail, where_fails(mask == ASK, ASK))
        return Vec("bool", mask == 1, mask == -1, fail)
    # A text, a number with a fraction, a match: no mask, so a fault for Python to tell.
    return Vec(
        "bool", np.zeros(batch.n, np.bool_), none, first_fail(a.fail, where_fails(~none, ASK))
    )


_MASKS = {True: 1, False: 0, -1: -1}


def _by_value(op: Op) -> Callable[..., Vec]:
    """Return an operation's form that runs Python's own on each value."""
    of_value = op.written in ("method", "attribute", "member")

    def by_value(batch: Batch, _: Call, *args: Vec) -> Vec:
        if op.returns is re.Match:
            answer = each(batch, op.python, *args)
            return Vec("match", ~is_none(answer, batch), None, answer.fail)
        if not of_value:
            return each(batch, op.python, *args)
        fail = _none_lacks(args[0])
        if op.written == "method" and all(a.kind == "const" for a in args[1:]):
            call = operator.methodcaller(op.name, *(a.values for a in args[1:]))
            return each(batch, call, args[0], fail=fail)
        return each(batch, op.python, *args, fail=fail)

    return by_value


def _apply(batch: Batch, _: Call, function: Vec, *args: Vec) -> Vec:
    """Call a known function with each row's values."""
    known = function.values
    n = len(known.keywords)
    if n and all(a.kind == "const" for a in args[-n:]):
        named = {k: a.values for k, a in zip(known.keywords, args[-n:], strict=True)}
        run = functools.partial(replace(known, keywords=()).run, **named)
        return each(batch, run, *args[:-n])
    return each(batch, known.run, *args)


def _hashable(batch: Batch, _: Call, a: Vec) -> Vec:
    """Tell where a value can't be a key."""
    if a.kind in _KEYS or (a.kind == "const" and type(a.values) in _SURE):
        return Vec("const", 0, None, a.fail)
    return each(batch, hash, a)


_KEYS = {"text", "bool", "int", "float", *TIMES}


def _none_lacks(of: Vec) -> np.ndarray | None:
    """Return why rows fail whose value is None, which has no attribute, before others are read."""
    if of.null is None:
        return None
    why = RAISED[AttributeError] if of.strict is None else NULL
    return first_fail(of.fail, where_fails(of.null, why))


# Operation -> its form for whole columns.
QUICK: dict[str, Callable[..., Vec]] = {
    "eq": _equal(operator.eq),
    "ne": _equal(operator.ne),
    "lt": _compare(operator.lt),
    "le": _compare(operator.le),
    "gt": _compare(operator.gt),
    "ge": _compare(operator.ge),
    "in": _in,
    "add": _arithmetic(operator.add, operator.add),
    "sub": _arithmetic(operator.sub, operator.add),
    "mul": _arithmetic(operator.mul, operator.mul),
    "neg": _arithmetic(operator.neg, lambda a: a),
    "pos": _arithmetic(operator.pos, lambda a: a),
    "abs": _arithmetic(operator.abs, lambda a: a),
    "truediv": _divide(operator.truediv),
    "floordiv": _divide(operator.floordiv),
    "mod": _divide(operator.mod),
    "lshift": _shift(operator.lshift),
    "rshift": _shift(operator.rshift),
    "sqrt": _sqrt,
    "float": _float,
    "bitand": _bits(operator.and_),
    "bitor": _bits(operator.or_),
    "bitxor": _bits(operator.xor),
    "not": lambda batch, _, a: Vec("bool", ~truth(a, batch), None, truth_fail(batch, a)),
    "bool": lambda batch, _, a: Vec("bool", truth(a, batch), None, truth_fail(batch, a)),
    "is_none": lambda batch, _, a: Vec("bool", is_none(a, batch), None, a.fail),
    "is_nan": _is_nan,
    "isnan": _math_isnan,
    "is": _is,
    "isinstance": _isinstance,
    "len": _len,
    "word_count": _word_count,
    "any": lambda batch, _, *args: _until(batch, args, lambda t: t),
    "all": _all,
    "and": _and,
    "or": _or,
    "if": lambda batch, _, test, a, b: _choose(batch, test, a, b),
    "then": _then,
    "raise": lambda batch, _: Vec("const", None, None, np.full(batch.n, ASK, np.uint8)),
    "mask": _mask,
}


# Operation -> how a batch is computed. What has no quick form is Python's own, value by value.
def _form(op: Op) -> Callable[..., Vec]:
    """Return an operation's form, which asks that of the operands' kinds first."""
    by_value = _by_value(op)

    def run(batch: Batch, node: Call, *args: Vec) -> Vec:
        for a in args:
            form = BY_KIND.get((op.name, a.kind))
            answer = None if form is None else form(batch, node, *args)
            if answer is not None:
                return answer
        answer = QUICK.get(op.name, by_value)(batch, node, *args)
        return answer if batch.n else _of_no_rows(op, answer)

    return run


def _of_no_rows(op: Op, vec: Vec) -> Vec:
    """Return nothing as values of the type that an operation returns: no value tells."""
    kind = op.returns.__name__ if op.returns in (bool, int, float) else vec.kind
    if vec.kind != "object" or kind == "object":
        return vec
    return replace(vec, kind=kind, values=np.array([], DTYPES[kind]))


BY_KIND["apply", "const"] = _apply
QUICK["hashable"] = _hashable
VECTORS: Mapping[str, Callable[..., Vec]] = {
    op.name: _form(op) for op in OPERATIONS.values() if op.written != "composition"
}


def leaf(batch: Batch, node: Expr) -> Vec:
    """Return a node without arguments."""
    if isinstance(node, Column):
        return batch.vec(node.name)
    assert isinstance(node, Const)  # masks are combined apart
    return Vec("const", node.value)
