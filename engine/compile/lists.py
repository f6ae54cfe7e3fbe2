"""Lists, sets, maps and structs as whole columns: lengths, and one column of all their elements.

What a function says of each element is said of that column, once per distinct text where nothing
else of the row is asked; any, all, sum, min, max, len and ``in`` then add it up row by row.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.arrow.values import python_values, readable
from engine.compile.vectors import (
    ASK,
    BY_KIND,
    COLUMNS,
    INT64,
    QUICK,
    RAISED,
    TIMES,
    TRUTHS,
    UNKNOWN,
    VALUES,
    VECTORS,
    Batch,
    Vec,
    each,
    first_fail,
    kind_of,
    of_values,
    strict_fail,
    strict_fails,
    truth,
    truth_fail,
    where_fails,
)
from engine.matching.charsets import ASCII_SIZE
from engine.matching.text import TextBatch, code_points, ranks
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Const

_SUMMED_IN_TURN = sys.version_info < (3, 12)  # later Pythons' sum() of floats rounds less
_NUMBERS = ("bool", "int", "float")


@dataclass(frozen=True)
class Lists:
    """A column of lists.

    Attributes
    ----------
    lens
        ``[n]`` int64: how many elements each has; 0 for null.
    at
        Where each element is among ``items``.
    batch, items
        The elements' own batch, and their values there.
    unique
        Whether no two items are known to be equal.
    """

    lens: np.ndarray
    at: np.ndarray
    batch: Batch
    items: Vec
    unique: bool = False

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """The row of each element."""
        return np.repeat(np.arange(len(self.lens)), self.lens)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Where each row's elements begin."""
        starts: np.ndarray = np.cumsum(self.lens) - self.lens
        return starts

    @functools.cached_property
    def distinct(self) -> Lists:
        """The same lists over distinct texts; those of other elements as they are."""
        if self.unique or self.items.kind != "text" or not len(self.at):
            return self
        if self.items.fail is not None:  # equal texts may have none for another reason
            return self
        array = self.batch.array(self.items.values)
        encoded = pc.dictionary_encode(array, null_encoding="encode")
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        inner = Batch({}, len(encoded.dictionary), self.batch.notes)
        return Lists(self.lens, codes[self.at], inner, inner.keep(encoded.dictionary), unique=True)

    def counts(self, passing: np.ndarray) -> np.ndarray:
        """Return how many of each row's elements pass; ``[n]`` int64."""
        counts: np.ndarray = self.of_rows(np.add, passing, np.int32).astype(np.int64)
        return counts

    def some(self, passing: np.ndarray) -> np.ndarray:
        """Return whether one of each row's elements passes; ``[n]`` bool."""
        return self.of_rows(np.logical_or, passing, np.bool_)

    def of_rows(self, add: np.ufunc, values: np.ndarray, kind: Any) -> np.ndarray:
        """Return each row's elements added up; 0 where it has none."""
        out, filled = np.zeros(len(self.lens), kind), self.lens > 0
        if len(values):
            out[filled] = add.reduceat(values, self.starts[filled], dtype=kind)
        return out

    def where(self, passing: np.ndarray) -> Lists:
        """Return lists of some of the elements."""
        return replace(self, lens=self.counts(passing), at=np.compress(passing, self.at))

    def parts(self, starts: np.ndarray, lens: np.ndarray) -> Lists:
        """Return lists of elements from some place on, as many as said."""
        places = np.arange(lens.sum()) + np.repeat(starts - (np.cumsum(lens) - lens), lens)
        return Lists(lens, self.at[places], self.batch, self.items, self.unique)


def picked(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return values at some places: bytes by bytes where both are, which needs no room."""
    if at.dtype == np.uint8 and values.dtype.itemsize == 1:
        table = values.tobytes().ljust(_BYTES, b"\0")
        return np.frombuffer(at.tobytes().translate(table), values.dtype)
    return values.take(at)


def values_at(vec: Vec, at: np.ndarray, source: Batch, target: Batch) -> Vec:
    """Return a Vec's values at some places, in another batch."""
    null, fail, strict = (None if m is None else m[at] for m in (vec.null, vec.fail, vec.strict))
    kind, values = vec.kind, vec.values
    if kind == "text":
        passing = target.keep(source.array(values).take(pa.array(at)))
        return replace(passing, fail=fail, strict=strict)
    if kind == "object":
        values = [values[i] for i in at.tolist()]
    elif kind == "struct":
        values = values.take(pa.array(at))
    elif kind == "tuple":
        values = tuple(values_at(part, at, source, target) for part in values)
    elif isinstance(values, Lists):
        values = values.parts(values.starts[at], values.lens[at])
    elif kind not in ("const", "body"):
        values = values[at]
    return Vec(kind, values, null, fail, strict)


def lists_of(batch: Batch, node: Any, vec: Vec) -> Lists | None:
    """Return what a value's elements are, one after the other, or None where that isn't known."""
    if isinstance(vec.values, Lists):
        if vec.kind == "map":
            return replace(vec.values, items=vec.values.items.values[0])
        return vec.values if vec.kind in ("list", "set") else None
    text = as_text(batch, node, vec)
    if text is not None:
        return batch.once("characters", text.values, _characters)  # type: ignore[no-any-return]
    if vec.kind == "const":
        return _of_constant(batch, vec.values)
    return _of_python(batch, vec) if vec.kind == "object" and _gives_list(node) else None


def _returns(node: Any) -> type | None:
    return OPERATIONS[node.op].returns if isinstance(node, Call) else None


def _gives_list(node: Any) -> bool:
    """Tell whether an operation's values are gone through, where there are some."""
    if isinstance(node, Call) and node.op == "apply":
        return getattr(node.args[0], "value").returns is list  # noqa: B009 - a constant's
    if isinstance(node, Call) and node.op in ("if", "or", "then"):
        first = {"if": 1, "then": 1}.get(node.op, 0)
        return all(_gives_list(a) or isinstance(a, Const) for a in node.args[first:])
    return _returns(node) in (list, set, dict, tuple)


def as_text(batch: Batch, node: Any, vec: Vec) -> Vec | None:
    """Return what is text, in Arrow or in Python, as Arrow's; None if it is something else."""
    if vec.kind != "object" or (batch.n == 0 and _returns(node) is not str):
        return vec if vec.kind == "text" else None
    return batch.converted(vec, _text_of)


def _text_of(batch: Batch, vec: Vec) -> Vec | None:
    if not {str, type(None)}.issuperset(map(type, vec.values)):
        return None
    try:
        array = pa.array(vec.values, pa.large_string())
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        return None  # half of a pair
    return replace(batch.keep(array), fail=vec.fail)


def _of_python(batch: Batch, vec: Vec) -> Lists | None:
    """Return Python's collections as one column of what is in them."""
    known = [() if v is None else v for v in vec.values]
    if not all(type(v) in _COLLECTIONS for v in known):
        return None
    flat = list(itertools.chain.from_iterable(known))
    lens = np.fromiter(map(len, known), np.int64, batch.n)
    inner = Batch({}, len(flat))
    return Lists(lens, np.arange(len(flat)), inner, _column_of(inner, flat))


def _column_of(batch: Batch, values: list[Any]) -> Vec:
    """Return Python's values as columns: texts as Arrow's, pairs as one column each."""
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        with contextlib.suppress(pa.ArrowException, UnicodeEncodeError, TypeError):
            return batch.keep(pa.array(values, pa.large_string()))
    if kinds == {tuple} and len(set(map(len, values))) == 1 and values[0]:
        parts = (_column_of(batch, list(part)) for part in zip(*values, strict=True))
        return Vec("tuple", tuple(parts))
    return of_values(values)


_COLLECTIONS = {
    list, tuple, set, frozenset, dict, Counter, range, type({}.keys()), type({}.values()),
    type({}.items()),
}  # fmt: skip


def _of_constant(batch: Batch, value: Any) -> Lists | None:
    """Return a constant's elements, for each row."""
    if type(value) not in (*_COLLECTIONS, str):
        return None
    flat = list(value)
    at = np.tile(np.arange(len(flat)), batch.n)
    inner = Batch({}, len(flat))
    return Lists(np.full(batch.n, len(flat)), at, inner, _column_of(inner, flat))


def over_array(lens: np.ndarray, array: pa.Array) -> Lists:
    """Return lists of so many elements of an array each."""
    inner = Batch({}, len(array))
    return Lists(lens, np.arange(len(array)), inner, inner.keep(array))


def _characters(array: pa.Array) -> Lists:
    """Return the characters of texts: lists over those of ASCII, and the others that occur."""
    text = TextBatch(array.fill_null("") if array.null_count else array)
    data = text.data[: text.size]
    ends, points, beyond = text.offsets, data, np.zeros(0, np.uint32)
    if data.max(initial=0) >= ASCII_SIZE:
        first = data.view(np.int8) >= -64  # noqa: PLR2004 - not 0b10xxxxxx
        ends, points = ranks(first, ends), np.compress(first, data)
        wide = np.flatnonzero(points >= ASCII_SIZE)
        beyond, places = np.unique(code_points(text.data, text.leads), return_inverse=True)
        points = points if ASCII_SIZE + len(beyond) <= _BYTES else points.astype(np.int64)
        points[wide] = ASCII_SIZE + places
    characters = map(chr, (*range(ASCII_SIZE), *beyond.tolist()))
    lists = over_array(np.diff(ends), pa.array(characters, pa.string()))
    return replace(lists, at=points, unique=True)


_BYTES = 256  # places that a byte can hold


# Columns


def _list_column(batch: Batch, array: pa.Array) -> Vec | None:
    lists = _sound_lists(array)
    return None if lists is None else of_column("list", array, lists)


def _sound_lists(array: pa.Array) -> Lists | None:
    items = array.flatten()
    if not _is_sound(items):
        return None
    lens = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    return over_array(lens.astype(np.int64), items)


# Types of elements that Arrow's own functions can move: views, for one, aren't.
_LEAVES = (
    pa.types.is_primitive, pa.types.is_decimal, pa.types.is_string, pa.types.is_large_string,
    pa.types.is_binary, pa.types.is_large_binary,
)  # fmt: skip


def _is_sound(array: pa.Array) -> bool:
    """Tell whether Python can hold every value inside: else Python's values say which not."""
    kind = array.type
    if kind_of(kind) == "list":
        return _is_sound(array.flatten())
    if pa.types.is_struct(kind):
        return all(map(_is_sound, array.flatten()))
    if pa.types.is_map(kind):
        return _is_sound(array.keys) and _is_sound(array.items)
    if not any(test(kind) for test in _LEAVES):
        return False
    if pa.types.is_temporal(kind) and kind_of(kind) not in TIMES:
        return False
    return not readable(array)[1]


def of_column(kind: str, array: pa.Array, values: Any) -> Vec:
    """Return a column's Vec."""
    null = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    return Vec(kind, values, null, None, None if null is None else null.astype(np.uint8))


def _struct_column(batch: Batch, array: pa.Array) -> Vec | None:
    names = [field.name for field in array.type]
    sound = len(set(names)) == len(names) > 0 and _is_sound(array)
    return of_column("struct", array, array) if sound else None


def _map_column(batch: Batch, array: pa.Array) -> Vec | None:
    if not _is_sound(array):
        return None
    ends = np.asarray(array.offsets)
    lens = np.diff(ends).astype(np.int64)
    first, n = (int(ends[0]), int(ends[-1] - ends[0])) if len(array) else (0, 0)
    inner = Batch({}, n)
    keys, items = (inner.keep(part.slice(first, n)) for part in (array.keys, array.items))
    lists = Lists(lens, np.arange(n), inner, Vec("tuple", (keys, items)))
    whole = of_column("map", array, lists)
    if (whole.null is not None and lens[whole.null].any()) or _repeats(lists, keys):
        return None  # a dict has the last of equal keys
    return whole


def _repeats(lists: Lists, keys: Vec) -> bool:
    codes = _codes_of(lists.batch, keys)
    return codes is None or _first_of_each(lists, codes).sum() < len(lists.at)


def _codes_of(batch: Batch, vec: Vec) -> np.ndarray | None:
    """Return a number for each value that equal values share, or None where that isn't known."""
    null = np.zeros(batch.n, np.bool_) if vec.null is None else vec.null
    if vec.kind == "text":
        return batch.codes(vec.values)[0].astype(np.int64)
    if vec.kind in ("bool", "int", "date", "naive", "utc", "delta"):
        codes = np.unique(vec.values, return_inverse=True)[1].astype(np.int64)
        return np.where(null, len(codes), codes)
    return None


def _first_of_each(lists: Lists, codes: np.ndarray) -> np.ndarray:
    """Return which elements are the first of their kind in their row."""
    of = codes[lists.at]
    key = lists.rows * (int(of.max(initial=0)) + 1) + of
    first = np.zeros(len(of), np.bool_)
    first[np.unique(key, return_index=True)[1]] = True
    return first


# Values in Python


def _list_values(of: Callable[[Sequence[Any]], Any]) -> Callable[[Batch, Vec], list[Any]]:
    def values(_: Batch, vec: Vec) -> list[Any]:
        lists: Lists = vec.values
        items = lists.batch.values(lists.items)
        flat = [items[i] for i in lists.at.tolist()]
        ends = np.cumsum(lists.lens).tolist()
        out = [of(flat[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=False)]
        if vec.null is not None:
            out = [None if n else v for v, n in zip(out, vec.null.tolist(), strict=True)]
        return out

    return values


def _tuple_values(batch: Batch, vec: Vec) -> list[Any]:
    return list(zip(*map(batch.values, vec.values), strict=True))


def _element_fail(vec: Vec) -> np.ndarray | None:
    """Return the rows that have an element without a value: by the first such."""
    lists: Lists = vec.values
    if lists.items.fail is None:
        return None
    return _first_codes(lists, lists.items.fail[lists.at])


def _first_codes(lists: Lists, codes: np.ndarray) -> np.ndarray | None:
    bad = np.flatnonzero(codes)[::-1]
    if not len(bad):
        return None
    fail = np.zeros(len(lists.lens), np.uint8)
    fail[lists.rows[bad]] = codes[bad]  # what is written last stays: the first
    return fail


def _of_nulls(lists: Lists, why: int) -> np.ndarray | None:
    """Return the rows that have None among their elements, as failed."""
    if lists.items.kind == "const" and lists.items.values is None:
        return where_fails(lists.lens > 0, why)
    if lists.items.null is None:
        return None
    return _first_codes(lists, np.where(lists.items.null[lists.at], np.uint8(why), np.uint8(0)))


# Comprehensions


def _no_list(batch: Batch) -> Vec:
    return batch.refuse("it goes through what isn't known to be a list")


def _over(batch: Batch, node: Call, items: Vec, value: Vec, test: Vec, *outer: Vec) -> Vec:
    """Return what a comprehension gives of each element that its test lets through."""
    lists = lists_of(batch, node.args[0], items)
    if lists is None:
        return _no_list(batch)
    names = node.args[1].names  # type: ignore[attr-defined]
    if outer:
        inner = Batch({}, len(lists.at), batch.notes)
        inner.bind(names[0], values_at(lists.items, lists.at, lists.batch, inner), inner)
        for name, vec in zip(names[1:], outer, strict=True):
            inner.bind(name, values_at(vec, lists.rows, batch, inner), inner)
        lists = replace(lists, at=np.arange(len(lists.at)), batch=inner)
    else:
        lists = lists.distinct
        inner = Batch({}, lists.batch.n, batch.notes)
        inner.bind(names[0], lists.items, lists.batch)
    passes = node.args[2].tree  # type: ignore[attr-defined]
    if isinstance(passes, Const) and passes.value is True:
        out = replace(lists, batch=inner, items=value.values(inner), unique=False)
        return Vec("list", out, None, strict_fail(items))
    tested = test.values(inner)
    why = truth_fail(inner, tested)
    passing = truth(tested, inner)
    before, idle = inner.idle, ~passing if why is None else ~passing | (why != 0)
    inner.idle = lambda: idle
    values = value.values(inner)
    inner.idle = before
    passing = passing if why is None else passing | (why != 0)
    values = replace(values, fail=first_fail(why, values.fail))
    out = replace(lists, batch=inner, items=values, unique=False)
    return Vec("list", out.where(picked(passing, out.at)), None, strict_fail(items))


def _listed(batch: Batch, node: Call, items: Vec) -> Vec | None:
    """Return a list of what may be used up: all elements are evaluated."""
    lists = lists_of(batch, node.args[0], items)
    if lists is None or items.kind == "set":
        return None
    fail = first_fail(strict_fail(items), _element_fail(replace(items, values=lists)))
    return Vec("list", replace(lists, items=replace(lists.items, fail=None)), None, fail)


def _chained(batch: Batch, node: Call, items: Vec) -> Vec | None:
    """Return lists of lists as one list for each row."""
    lists: Lists = items.values
    if lists.items.kind != "list":
        return None
    of: Lists = lists.items.values
    fail = lists.items.fail
    whole = of.parts(of.starts[lists.at], of.lens[lists.at])
    lens = np.bincount(lists.rows, weights=whole.lens, minlength=batch.n).astype(np.int64)
    failed = None if fail is None else _first_codes(lists, fail[lists.at])
    return Vec("list", replace(whole, lens=lens), None, first_fail(strict_fail(items), failed))


def _until(stops: bool) -> Callable[..., Vec | None]:
    """Return any (an element that is true stops it) or all (one that is false)."""

    def answer(batch: Batch, node: Call, a: Vec) -> Vec | None:
        lists = lists_of(batch, node.args[0], a)
        if lists is None:
            return None
        stop = truth(lists.items, lists.batch) == stops
        why = truth_fail(lists.batch, lists.items)
        answers = np.zeros(batch.n, np.bool_)
        fail = None
        if why is None:
            answers = lists.some(picked(stop, lists.at))
        else:
            codes = why[lists.at]
            first = np.flatnonzero(stop[lists.at] | (codes != 0))[::-1]
            answers[lists.rows[first]] = codes[first] == 0
            fail = np.zeros(batch.n, np.uint8)
            fail[lists.rows[first]] = codes[first]
        return Vec("bool", answers == stops, None, first_fail(strict_fail(a), fail))

    return answer


def _contains(batch: Batch, node: Call, item: Vec, over: Vec) -> Vec | None:
    """Return whether a value is an element: `is` or `==`, which agree for these kinds."""
    if over.kind not in ("list", "set", "map"):
        return None
    lists = lists_of(batch, node.args[1], over)
    known = ("text", "const", *TIMES, *_NUMBERS)
    if lists is None or lists.items.kind not in known or item.kind not in known:
        return None
    if item.kind == "const":
        lists = lists.distinct
        if type(item.values) not in (str, int, bool, type(None)) or lists.items.kind == "const":
            return None
        same = VECTORS["eq"](lists.batch, node, lists.items, item)
    else:
        inner = Batch({}, len(lists.at), batch.notes)
        sides = (
            values_at(lists.items, lists.at, lists.batch, inner),
            replace(values_at(item, lists.rows, batch, inner), fail=None),
        )
        same = VECTORS["eq"](inner, node, *sides)
        lists = replace(lists, at=np.arange(len(lists.at)), batch=inner)
    if same.kind != "bool":
        return None
    answers = _until(True)(batch, Call("any_of", (node,)), Vec("list", replace(lists, items=same)))
    assert answers is not None
    fail = first_fail(item.fail, strict_fail(over), answers.fail)
    return Vec("bool", answers.values, None, fail)


# Elements beside others


def _drained(batch: Batch, node: Call, items: Vec) -> Vec:
    """Return a list of what something else goes through: Python says what fails on the way."""
    answer = _listed(batch, node, items)
    if answer is None:
        return each(batch, list, items)
    fail = answer.fail
    return replace(answer, fail=None if fail is None else np.minimum(fail, np.uint8(ASK)))


def _sides(batch: Batch, node: Call, vecs: Sequence[Vec]) -> list[Lists] | None:
    """Return what operands go through, if it is known."""
    sides = [lists_of(batch, part, v) for part, v in zip(node.args, vecs, strict=True)]
    return None if any(side is None for side in sides) else sides  # type: ignore[return-value]


def _beside(batch: Batch, lens: np.ndarray, sides: Sequence[tuple[Lists, np.ndarray]]) -> Lists:
    """Return lists of tuples of elements, each side's at some places among its own."""
    inner = Batch({}, int(lens.sum()), batch.notes)
    parts = tuple(values_at(of.items, of.at[at], of.batch, inner) for of, at in sides)
    return Lists(lens, np.arange(inner.n), inner, Vec("tuple", parts))


def _places(lens: np.ndarray) -> np.ndarray:
    """Return the number of each element in its row."""
    counted: np.ndarray = np.arange(lens.sum()) - np.repeat(np.cumsum(lens) - lens, lens)
    return counted


def _zip(batch: Batch, node: Call, *vecs: Vec) -> Vec:
    sides = _sides(batch, node, vecs)
    if sides is None:
        return _no_list(batch)
    lens = np.minimum.reduce([side.lens for side in sides])
    at = _places(lens)
    parts = [(side, np.repeat(side.starts, lens) + at) for side in sides]
    return Vec("list", _beside(batch, lens, parts), None, strict_fails(*vecs))


def _enumerate(batch: Batch, node: Call, items: Vec, start: Vec) -> Vec:
    lists = lists_of(batch, node.args[0], items)
    known = start.kind == "const" and type(start.values) is int and abs(start.values) < _FAR
    if lists is None or not known:
        return _no_list(batch)
    inner = Batch({}, len(lists.at), batch.notes)
    numbers = Vec("int", _places(lists.lens) + start.values)
    pair = numbers, values_at(lists.items, lists.at, lists.batch, inner)
    out = Lists(lists.lens, np.arange(inner.n), inner, Vec("tuple", pair))
    return Vec("list", out, None, strict_fail(items))


def _reversed(batch: Batch, node: Call, items: Vec) -> Vec:
    lists = lists_of(batch, node.args[0], items)
    if lists is None:
        return _no_list(batch)
    ends = np.repeat(lists.starts + lists.lens - 1, lists.lens)
    return Vec("list", replace(lists, at=lists.at[ends - _places(lists.lens)]), None,
               strict_fail(items))  # fmt: skip


def _pairwise(batch: Batch, node: Call, items: Vec) -> Vec:
    lists = lists_of(batch, node.args[0], items)
    if lists is None:
        return _no_list(batch)
    lens = np.maximum(lists.lens - 1, 0)
    first = np.repeat(lists.starts, lens) + _places(lens)
    pairs = _beside(batch, lens, [(lists, first), (lists, first + 1)])
    return Vec("list", pairs, None, strict_fail(items))


def _range(batch: Batch, node: Call, *ends: Vec) -> Vec:
    """Return whole numbers one after the other; very many of them are left to Python."""
    first, last, step = (Vec("const", 0), ends[0], Vec("const", 1)) if len(ends) == 1 else (
        *ends, Vec("const", 1))[:3]  # fmt: skip
    whole = all(v.kind == "int" or (v.kind == "const" and type(v.values) is int) for v in ends)
    if not whole or step.kind != "const" or not step.values:
        return each(batch, range, *ends)
    numbers = [np.broadcast_to(v.values, batch.n) for v in (first, last)]
    if any(v.kind == "const" and abs(v.values) > _FAR for v in ends):
        return each(batch, range, *ends)
    fail = strict_fails(*ends)
    far = (np.abs(numbers[0]) > _FAR) | (np.abs(numbers[1]) > _FAR)
    start, stop = (np.where(far, 0, n).astype(np.int64) for n in numbers)
    lens = np.maximum(-((start - stop) // step.values), 0)
    many = far | (lens > _MANY)
    lens = np.where(many if fail is None else many | (fail != 0), 0, lens)
    values = np.repeat(start, lens) + _places(lens) * step.values
    out = Lists(lens, np.arange(len(values)), Batch({}, len(values)), Vec("int", values))
    return Vec("list", out, None, first_fail(fail, where_fails(many, ASK)))


_FAR, _MANY = 2**40, 10_000


def _first(batch: Batch, node: Call, items: Vec, *default: Vec) -> Vec:
    """Return what comes first; what comes behind isn't evaluated."""
    lists = lists_of(batch, node.args[0], items)
    if lists is None:
        return each(batch, OPERATIONS["first_of"].python, items, *default)
    some, fail = lists.lens > 0, first_fail(strict_fail(items), *(d.fail for d in default))
    if not default:
        fail = first_fail(fail, where_fails(~some, RAISED[StopIteration]))
    if not some.any():
        answer = default[0] if default else Vec("const", None)
        return replace(answer, fail=fail, strict=None)
    at = lists.at[np.where(some, lists.starts, 0)]
    answer = replace(values_at(lists.items, at, lists.batch, batch), strict=None)
    if answer.fail is not None:
        answer = replace(answer, fail=np.where(some, answer.fail, np.uint8(0)))
    if default:
        answer = VECTORS["if"](batch, node, Vec("bool", some), answer, default[0])
    return replace(answer, fail=first_fail(fail, answer.fail))


# What is added up


def _eager(form: Callable[..., Vec | None]) -> Callable[..., Vec | None]:
    """Return a form of all elements: each must have a value."""

    def run(batch: Batch, node: Call, a: Vec, *rest: Vec) -> Vec | None:
        lists = lists_of(batch, node.args[0], a)
        if lists is None:
            return None
        fail = first_fail(strict_fail(a), _element_fail(replace(a, values=lists)))
        return form(batch, lists, fail, *rest)

    return run


def _plain_items(lists: Lists, kinds: Sequence[str]) -> np.ndarray | None:
    """Return elements as numbers, in their order, if they are of some kinds."""
    items = lists.items
    if items.kind == "const" and type(items.values) in (bool, int) and "int" in kinds:
        return np.full(len(lists.at), int(items.values)) if items.values in INT64 else None
    return picked(items.values, lists.at) if items.kind in kinds else None


def _sum(batch: Batch, lists: Lists, fail: np.ndarray | None, *start: Vec) -> Vec | None:
    values = _plain_items(lists, _NUMBERS)
    if start or values is None or (lists.items.kind == "float" and not _SUMMED_IN_TURN):
        return None
    fail = first_fail(fail, _of_nulls(lists, RAISED[TypeError]))
    if values.dtype == np.float64:
        with np.errstate(all="ignore"):
            total = _in_turn(lists, values, np.zeros(batch.n), operator.add)
        some = lists.lens > 0
        if not some.all():  # the sum of nothing is an integer
            mixed = [v if s else 0 for v, s in zip(total.tolist(), some.tolist(), strict=True)]
            return Vec("object", mixed, None, fail)
        return Vec("float", total, None, fail)
    values = values.astype(np.int64)
    most = max(int(values.max(initial=0)), -int(values.min(initial=0)))
    if most * int(lists.lens.max(initial=0)) not in INT64:
        return None
    return Vec("int", lists.of_rows(np.add, values, np.int64), None, fail)


def _in_turn(
    lists: Lists, values: np.ndarray, first: np.ndarray, step: Callable[..., np.ndarray]
) -> np.ndarray:
    """Add values to each row's, one after the other, as Python does."""
    out = first.copy()
    left = np.flatnonzero(lists.lens)
    for k in range(int(lists.lens.max(initial=0))):
        left = left[lists.lens[left] > k]
        out[left] = step(out[left], values[lists.starts[left] + k])
    return out


def _better_of(better: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def choose(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = np.where(better(b, a), b, a)
        return chosen

    return choose


def _extreme(better: Callable[..., np.ndarray]) -> Callable[..., Vec | None]:
    """Return min or max: the first element that none after it is better than."""

    def run(batch: Batch, lists: Lists, fail: np.ndarray | None, *default: Vec) -> Vec | None:
        values = _plain_items(lists, ("int", "float", *TIMES))
        if values is None:
            return None
        kind = "int" if lists.items.kind == "const" else lists.items.kind
        fail = first_fail(fail, _of_nulls(lists, ASK))
        some = lists.lens > 0
        first = np.zeros(batch.n, values.dtype)
        first[some] = values[lists.starts[some]]
        answer = _in_turn(lists, values, first, _better_of(better))
        if not default:
            return Vec(kind, answer, None, first_fail(fail, where_fails(~some, RAISED[ValueError])))
        of_some = Vec(kind, answer, None, fail)
        chosen = VECTORS["if"](batch, None, Vec("bool", some), of_some, *default)
        return replace(chosen, fail=first_fail(fail, chosen.fail))

    return run


def _len(batch: Batch, lists: Lists, fail: np.ndarray | None) -> Vec:
    return Vec("int", lists.lens, None, fail)


def _sorted(batch: Batch, lists: Lists, fail: np.ndarray | None) -> Vec | None:
    values = _plain_items(lists, ("int", "float", *TIMES))
    if values is None or lists.items.kind == "const":
        return None
    if values.dtype == np.float64 and np.isnan(values).any():
        return None
    fail = first_fail(fail, _of_nulls(lists, ASK))
    order = np.lexsort((values, lists.rows))
    items = replace(lists.items, fail=None)
    return Vec("list", replace(lists, at=lists.at[order], items=items), None, fail)


def _item(batch: Batch, node: Call, a: Vec, at: Vec) -> Vec | None:
    lists: Lists = a.values
    if at.kind not in ("const", "int") or (at.kind == "const" and type(at.values) is not int):
        return None
    if at.kind == "const" and at.values not in INT64:
        return None
    place = np.full(batch.n, at.values)
    place = np.where(place < 0, place + lists.lens, place)
    there = (place >= 0) & (place < lists.lens)
    fail = first_fail(strict_fails(a, at), where_fails(~there, RAISED[IndexError]))
    if batch.n and not len(lists.at):
        return Vec("const", None, None, fail)
    answer = values_at(
        lists.items, lists.at[np.where(there, lists.starts + place, 0)], lists.batch, batch
    )
    return replace(answer, fail=first_fail(fail, answer.fail), strict=None)


def _slice(batch: Batch, node: Call, a: Vec, part: Vec) -> Vec | None:
    cut = part.values
    if part.kind != "const" or type(cut) is not slice:
        return None
    return _part(batch, node, a, *(Vec("const", v) for v in (cut.start, cut.stop, cut.step)))


def _part(batch: Batch, node: Call, a: Vec, start: Vec, stop: Vec, step: Vec) -> Vec | None:
    """Return lists from some place on, up to another."""
    lists: Lists = a.values
    first = _bound(start, np.zeros(batch.n, np.int64), lists.lens)
    last = _bound(stop, lists.lens, lists.lens)
    one_by_one = step.kind == "const" and step.values in (None, 1)
    if first is None or last is None or not one_by_one:
        return None
    some = lists.parts(lists.starts + first, np.maximum(last - first, 0))
    return Vec("list", some, None, first_fail(a.fail, start.fail, stop.fail, strict_fail(a)))


def _bound(end: Vec, of_none: np.ndarray, lens: np.ndarray) -> np.ndarray | None:
    """Return at which place each slice begins or ends; None where Python tells."""
    if end.kind == "const":
        if end.values is None:
            return of_none
        if type(end.values) is not int or abs(end.values) >= _MOST_PLACES:
            return None
    elif end.kind != "int" or end.null is not None:
        return None
    at = np.clip(end.values, -_MOST_PLACES, _MOST_PLACES)
    places: np.ndarray = np.clip(np.where(at < 0, at + lens, at), 0, lens)
    return places


_MOST_PLACES = 2**31


# Sets


def _set(batch: Batch, lists: Lists, fail: np.ndarray | None) -> Vec | None:
    lists = lists.distinct
    codes = _codes_of(lists.batch, lists.items)
    if codes is None:
        return None
    lists = replace(lists, items=replace(lists.items, fail=None))
    return Vec("set", lists.where(_first_of_each(lists, codes)), None, fail)


def _among(lists: Lists, values: Any) -> np.ndarray | None:
    """Return which elements are in a constant set."""
    if type(values) not in (set, frozenset):
        return None
    if not all(type(v) in (str, int, bool, type(None)) for v in values):
        return None
    inside = VECTORS["in"](lists.batch, None, lists.items, Vec("const", values))
    return inside.values[lists.at] if inside.kind == "bool" and inside.fail is None else None


def _common(passing: bool) -> Callable[..., Vec | None]:
    """Return what a set has in common with a constant one, or what not."""

    def run(batch: Batch, node: Call, a: Vec, b: Vec) -> Vec | None:
        one, other = (a, b) if a.kind == "set" else (b, a)
        inside = _among(one.values, other.values) if other.kind == "const" else None
        if inside is None or (one is b and not passing):
            return None
        return Vec("set", one.values.where(inside == passing), None, strict_fail(one))

    return run


def _subsets(test: Callable[[Any, Any, Any], Any]) -> Callable[..., Vec | None]:
    """Compare a set with a constant one: by how many they share, and how many each has."""

    def run(batch: Batch, node: Call, a: Vec, b: Vec) -> Vec | None:
        one, other = (a, b) if a.kind == "set" else (b, a)
        if other.kind != "const":
            return None
        inside = _among(one.values, other.values)
        if inside is None:
            return None
        shared = one.values.where(inside).lens
        sizes = (one.values.lens, np.full(batch.n, len(other.values)))
        first, second = sizes if one is a else sizes[::-1]
        fail = strict_fail(one)
        return Vec("bool", test(shared, first, second), None, fail)

    return run


_COMPARED: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "ge": lambda shared, a, b: shared == b,
    "gt": lambda shared, a, b: (shared == b) & (a > b),
    "le": lambda shared, a, b: shared == a,
    "lt": lambda shared, a, b: (shared == a) & (a < b),
    "eq": lambda shared, a, b: (shared == a) & (a == b),
    "ne": lambda shared, a, b: (shared != a) | (a != b),
}


# Structs, maps, tuples


def _field(batch: Batch, node: Call, a: Vec, name: Vec) -> Vec | None:
    array: pa.StructArray = a.values
    names = [field.name for field in array.type]
    if name.values not in names:
        return None
    answer = batch.keep(array.flatten()[names.index(name.values)])
    return replace(answer, fail=first_fail(strict_fail(a), answer.fail))


def _struct_item(batch: Batch, node: Call, a: Vec, at: Vec) -> Vec | None:
    if at.kind == "const" and type(at.values) is str:
        return _field(batch, node, a, at)
    fields = list(a.values.type)
    if at.kind != "const" or type(at.values) is not int or not 0 <= at.values < len(fields):
        return None
    return _field(batch, node, a, Vec("const", fields[at.values].name))


def _no_field(batch: Batch, node: Call, a: Vec, name: Vec) -> Vec:
    return batch.refuse(f"it reads the attribute {name.values!r} of what isn't known to have it")


def _tuple_item(batch: Batch, node: Call, a: Vec, at: Vec) -> Vec | None:
    known = at.kind == "const" and type(at.values) is int
    if not known or not -len(a.values) <= at.values < len(a.values):
        return None
    answer: Vec = a.values[at.values]
    return replace(answer, fail=first_fail(a.fail, answer.fail))


def _looked_up(batch: Batch, a: Vec, key: Vec) -> np.ndarray | None:
    """Return where among a map's elements a constant key is; -1 where it isn't."""
    lists: Lists = a.values
    if key.kind != "const" or type(key.values) not in (str, int, bool):
        return None
    keys = lists.items.values[0]
    same = VECTORS["eq"](lists.batch, None, keys, key)
    if same.kind != "bool":
        return None
    hits = np.flatnonzero(same.values[lists.at])
    place = np.full(batch.n, -1)
    place[lists.rows[hits]] = hits
    return place


def _get(batch: Batch, node: Call, a: Vec, key: Vec, *default: Vec) -> Vec | None:
    place = _looked_up(batch, a, key)
    if place is None:
        return None
    other = default[0] if default else Vec("const", None)
    there, fail = place >= 0, first_fail(strict_fail(a), other.fail)
    if node.op == "getitem":
        fail = first_fail(fail, where_fails(~there, RAISED[KeyError]))
    if batch.n and not there.any():
        return replace(other, fail=fail, strict=None)
    lists: Lists = a.values
    answer = values_at(lists.items.values[1], np.where(there, place, 0), lists.batch, batch)
    if isinstance(answer.values, Lists):  # what isn't there has no elements
        of = answer.values
        answer = replace(answer, values=of.parts(of.starts, np.where(there, of.lens, 0)))
    if node.op == "getitem":
        return replace(answer, fail=first_fail(fail, answer.fail))
    if other.kind == "const" and other.values is None:
        null = ~there if answer.null is None else answer.null | ~there
        if answer.kind == "text":
            answer = batch.keep(pc.if_else(pa.array(there), batch.array(answer.values), None))
        return replace(answer, null=null, fail=fail)
    chosen = VECTORS["if"](batch, None, Vec("bool", there), answer, other)
    return replace(chosen, fail=first_fail(fail, chosen.fail))


def _view(part: int | None) -> Callable[..., Vec]:
    """Return a map's keys, values or both."""

    def view(batch: Batch, node: Call, a: Vec) -> Vec:
        lists: Lists = a.values
        items = lists.items if part is None else lists.items.values[part]
        return Vec("list", replace(lists, items=items), None, strict_fail(a))

    return view


def _or_empty(batch: Batch, node: Call, a: Vec, *rest: Vec) -> Vec | None:
    """Return lists where there are some, and none where there are none."""
    known = len(rest) == 1 and rest[0].kind == "const" and type(rest[0].values) is list
    if not known or rest[0].values or a.kind != "list":
        return None
    return Vec("list", a.values, None, a.fail)


def _if_list(batch: Batch, node: Call, test: Vec, a: Vec, b: Vec) -> Vec | None:
    """Return lists where a test is true, or where it isn't, and none elsewhere."""
    some, other = (a, b) if a.kind == "list" else (b, a)
    if some.kind != "list" or other.kind != "const" or other.values != []:
        return None
    rows = truth(test, batch) == (some is a)
    lists: Lists = some.values
    inner = None if some.fail is None else np.where(rows, some.fail, np.uint8(0))
    out = lists.parts(lists.starts, np.where(rows, lists.lens, 0))
    null = None if some.null is None else some.null & rows
    return Vec("list", out, null, first_fail(truth_fail(batch, test), inner))


def _unpack(batch: Batch, node: Call, a: Vec, n: Vec, more: Vec) -> Vec | None:
    """Return lists that have as many elements as there are names for them."""
    lists: Lists = a.values
    right = lists.lens >= n.values if more.values else lists.lens == n.values
    wrong = where_fails(~right, RAISED[ValueError])
    return replace(a, null=None, fail=first_fail(strict_fail(a), wrong), strict=None)


def _unpack_struct(batch: Batch, node: Call, a: Vec, n: Vec, more: Vec) -> Vec | None:
    fields = a.values.type.num_fields
    right = fields >= n.values if more.values else fields == n.values
    return replace(a, fail=strict_fail(a), null=None, strict=None) if right else None


def _unpack_tuple(batch: Batch, node: Call, a: Vec, n: Vec, more: Vec) -> Vec | None:
    return a if len(a.values) == n.values and not more.values else None


def _tuple(batch: Batch, node: Call, *args: Vec) -> Vec:
    return Vec("tuple", args, None, first_fail(*(a.fail for a in args)))


def _tuple_in(batch: Batch, node: Call, item: Vec, over: Vec) -> Vec | None:
    """Return whether a tuple of values is one of some constant tuples of plain values."""
    if item.kind != "tuple" or over.kind != "const":
        return None
    if type(over.values) not in (tuple, list, set, frozenset):
        return None
    parts = item.values
    plain = (str, int, bool, type(None))
    known = ("text", "const", *_NUMBERS)
    if any(
        p.kind not in known or (p.kind == "const" and type(p.values) not in plain) for p in parts
    ):
        return None
    answers = np.zeros(batch.n, np.bool_)
    for wanted in over.values:
        if type(wanted) is not tuple or not all(type(v) in plain for v in wanted):
            return None
        if len(wanted) == len(parts):
            sides = (VECTORS["eq"](batch, None, p, Vec("const", w))
                     for p, w in zip(parts, wanted, strict=True))  # fmt: skip
            tests = [truth(side, batch) for side in sides]
            answers |= np.logical_and.reduce(tests)
    return Vec("bool", answers, None, item.fail)


COLUMNS |= {"list": _list_column, "struct": _struct_column, "map": _map_column}
VALUES |= {
    "list": _list_values(list),
    "set": _list_values(set),
    "map": _list_values(dict),
    "struct": lambda _, vec: python_values(vec.values),
    "tuple": _tuple_values,
    "body": lambda batch, vec: [vec.values] * batch.n,
}
TRUTHS |= dict.fromkeys(("list", "set", "map"), lambda _, vec: vec.values.lens > 0)
TRUTHS |= dict.fromkeys(("struct", "tuple"), lambda batch, vec: np.ones(batch.n, np.bool_))
UNKNOWN |= dict.fromkeys(("list", "set"), _element_fail)
for _kind in ("list", "set", "map", "text", "object"):
    BY_KIND |= {("any_of", _kind): _until(True), ("all_of", _kind): _until(False)}
    BY_KIND |= {("listed", _kind): _listed, ("set_of", _kind): _eager(_set)}
for _kind in ("list", "set"):
    BY_KIND |= {
        ("len", _kind): _eager(_len),
        ("sum_of", _kind): _eager(_sum),
        ("min_of", _kind): _eager(_extreme(np.less)),
        ("max_of", _kind): _eager(_extreme(np.greater)),
        ("sorted_of", _kind): _eager(_sorted),
        ("in", _kind): _contains,
    }
BY_KIND |= {("bitand", "set"): _common(True), ("sub", "set"): _common(False)}
BY_KIND |= {(name, "set"): _subsets(test) for name, test in _COMPARED.items()}
BY_KIND |= {
    ("chained", "list"): _chained,
    ("getitem", "list"): _item,
    ("getslice", "list"): _slice,
    ("part", "list"): _part,
    ("or", "list"): _or_empty,
    ("if", "list"): _if_list,
    ("unpack", "list"): _unpack,
    ("field", "struct"): _field,
    ("getitem", "struct"): _struct_item,
    ("unpack", "struct"): _unpack_struct,
    ("getitem", "tuple"): _tuple_item,
    ("unpack", "tuple"): _unpack_tuple,
    ("in", "tuple"): _tuple_in,
    ("len", "map"): _eager(_len),
    ("in", "map"): _contains,
    ("get", "map"): _get,
    ("getitem", "map"): _get,
    ("keys", "map"): _view(0),
    ("values", "map"): _view(1),
    ("items", "map"): _view(None),
}
# Operations that go through their operands, which must be known to be lists.
AS_LISTS = ("zip", "enumerate", "reversed", "pairwise")
QUICK |= {
    "over": _over,
    "field": _no_field,
    "tuple": _tuple,
    "drained": _drained,
    "zip": _zip,
    "enumerate": _enumerate,
    "reversed": _reversed,
    "pairwise": _pairwise,
    "range": _range,
    "first_of": _first,
}
