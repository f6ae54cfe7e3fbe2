"""The fuzzer sees rules that are wrong: each is planted, and must be found within a few batches."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from engine.arrow import columns, values
from engine.compile import (
    catch,
    folds,
    lists,
    texts,
    tiers,
    times,
    vectors,
)
from engine.compile.vectors import BY_KIND, QUICK, VECTORS, Vec, each, first_fail
from engine.lift import calls, effects, expressions, scope, statements
from engine.lift import methods as method_calls
from engine.matching import methods, patterns, text, windows
from engine.slicing import expr
from engine.slicing.expr import Call
from tests.fuzz import differ, oracle, strategies
from tests.fuzz.differ import Suite

SEED, BATCHES, FUNCTIONS, ROWS = 5, 34, 120, 150
FEW = 10  # functions asked at a time in every second batch: few share other ways than many
MOST = BATCHES * FUNCTIONS * ROWS  # comparisons until a wrong rule must be seen

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Batches of functions and rows, with what Python says."""
    r, folder = Random(SEED), tmp_path_factory.mktemp("fuzzed")
    made = []
    for _ in range(BATCHES):
        suite = differ.load([strategies.function(r) for _ in range(FUNCTIONS)], folder)
        columns = strategies.values(r, ROWS)
        expected = differ.by_oracle(suite, columns)
        # A function that fails on every row tells no rule from another, and takes long.
        kept = (expected != oracle.FAULT).mean(axis=1) > 0.3
        suite = Suite(*(tuple(np.array(v, object)[kept]) for v in (suite.sources, suite.sfs)))
        made.append((suite, columns, expected[kept], FEW if len(made) % 2 else FUNCTIONS))
    return made


def rule(op: str, run: Callable[..., Vec]) -> Plant:
    return lambda patch: patch.setitem(VECTORS, op, run)


def python(op: str, run: Callable[..., object]) -> Plant:
    """Take Python's operation on each value for another one."""
    return rule(op, lambda batch, _, *args: each(batch, run, *args))


def part(of: object, name: str, value: object) -> Plant:
    return lambda patch: patch.setattr(of, name, value)


def _of_each(name: str, value: object, *modules: object) -> Plant:
    """Replace what several modules import by one name."""
    return _every(*(part(module, name, value) for module in modules))


def _every(*plants: Plant) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        for one in plants:
            one(patch)

    return plant


def _lazy(stops: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Vec]:
    """Say that an operand fails even where one before it decided."""

    def run(batch, _, *args):
        found = vectors._until(batch, args, stops)
        members = found.values if stops(np.array(True)) else ~found.values
        return Vec("bool", members, None, first_fail(*(a.fail for a in args)))

    return run


def _eager(batch, node, test, a, b):
    found = vectors._choose(batch, test, a, b)
    return replace(found, fail=first_fail(test.fail, a.fail, b.fail))


def _without_nulls(op: str) -> Plant:
    """Say of null what is said of an empty value."""
    run = VECTORS[op]
    return rule(op, lambda batch, node, *args: run(
        batch, node, *(a if a.kind in ("const", "object") else replace(a, null=None, strict=None)
                       for a in args)))  # fmt: skip


def _negated(op: str) -> Callable[..., Vec]:
    def run(batch, node, a, b):
        found = VECTORS[op](batch, node, a, b)
        return found if found.kind != "bool" else replace(found, values=~found.values)

    return run


def _of_int(batch, node, a):
    found = vectors._mask(batch, node, a)
    return found if a.kind != "int" else Vec("bool", a.values >= 1, found.null, a.fail)


def _true_division(batch, node, a, b):
    numbers = vectors._numbers(a, b)
    if numbers is None or (a.kind == b.kind == "const"):
        return each(batch, operator.truediv, a, b)
    with np.errstate(all="ignore"):
        values = np.divide(*(np.asarray(n, np.float64) for n in numbers))
    fail = first_fail(vectors.strict_fail(a), vectors.strict_fail(b))
    return Vec("float", vectors._full(values, batch), None, fail)


def _parsed(flags: int) -> Plant:
    """Read regular expressions with another flag."""
    right = patterns.parse
    return part(patterns, "parse", lambda pattern, given=0: right(pattern, given | flags))


def _condition(wrong: str, right: str) -> Plant:
    codes = windows.c
    return lambda patch: patch.setitem(
        windows._CONDITIONS, getattr(codes, wrong), windows._CONDITIONS[getattr(codes, right)]
    )


def _at_end_for_dollar(patch: pytest.MonkeyPatch) -> None:
    _condition("AT_END", "AT_END_STRING")(patch)


def _ascii_lower(t: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in t)


def _bytes(batch_text: object) -> np.ndarray:
    return np.diff(batch_text.offsets).astype(np.int32)


def _in_without_none(batch, node, item, over):
    found = vectors._in(batch, node, item, over)
    return found if item.null is None else replace(found, values=found.values & ~item.null)


def of_kind(op: str, kind: str, run: Callable[..., Vec | None]) -> Plant:
    """Take a form for values of a kind for another one."""
    return lambda patch: patch.setitem(BY_KIND, (op, kind), run)


def _any_without_fails(batch, node, a):
    found = lists._until(True)(batch, node, a)
    return None if found is None else replace(found, fail=vectors.strict_fail(a))


def _last_item(batch, node, a, at):
    of = a.values
    if at.kind != "const" or type(at.values) is not int or not len(of.at):
        return None
    last = of.lens - 1 if at.values < 0 else np.minimum(at.values, of.lens - 1)
    places = np.clip(of.starts + last, 0, len(of.at) - 1)
    found = lists.values_at(of.items, of.at[places], of.batch, batch)
    return replace(found, fail=first_fail(vectors.strict_fail(a), found.fail))


def _catches_all(batch, node, tried, value, kinds, instead, *others):
    if tried.fail is None:
        return value
    found = VECTORS["if"](batch, node, Vec("bool", tried.fail != 0), instead, value)
    return replace(found, strict=None)


def _first_way(batch, node, tried, value, *ways):
    """Catch what the first `except` catches."""
    return catch._caught(batch, node, tried, value, *ways[:2])


def quick(op: str, run: Callable[..., Vec]) -> Plant:
    """Take an operation's form for whole columns for another one."""
    return lambda patch: patch.setitem(QUICK, op, run)


def _counted_from_one(batch, node, items, start):
    return lists._enumerate(batch, node, items, Vec("const", start.values + 1))


def _unequal_pairs(batch, node, *vecs):
    """Put the first of each row's elements beside all of another's."""
    answer = lists._zip(batch, node, *vecs)
    if not isinstance(answer.values, lists.Lists) or not len(answer.values.at):
        return answer
    of = answer.values
    one, *others = of.items.values
    first = lists.values_at(one, np.repeat(of.starts, of.lens), of.batch, of.batch)
    return replace(answer, values=replace(of, items=Vec("tuple", (first, *others))))


def _as_it_was(batch, node, items):
    return VECTORS["listed"](batch, node, items)


def _last(batch, node, items, *default):
    of = lists.lists_of(batch, node.args[0], items)
    if of is None:
        return lists._first(batch, node, items, *default)
    ends = of.parts(of.starts + np.maximum(of.lens - 1, 0), np.minimum(of.lens, 1))
    return lists._first(batch, node, replace(items, kind="list", values=ends), *default)


def _of_one(batch, node, a, b):
    """Compare a set with a constant by whether they share something."""
    form = lists._subsets(lambda shared, one, other: shared > 0)
    return form(batch, node, a, b)


WRONG: dict[str, Plant] = {
    "an element that fails is false": of_kind("any_of", "list", _any_without_fails),
    "null in a list is an empty value": part(lists, "_of_nulls", lambda *_: None),
    "an item behind the end is the last one": of_kind("getitem", "list", _last_item),
    "a set has equal elements": part(lists, "_first_of_each", lambda of, _: np.ones(
        len(of.at), np.bool_)),
    "a set is as large as another that it shares with": of_kind("ge", "set", _of_one),
    "words are what is between spaces": part(
        texts, "_words", lambda array: texts._parts(array, False, " ")),
    "a text that isn't cut is all behind": of_kind("partition", "text", texts.of_text(
        texts._partition(reverse=True))),
    "every exception is caught": lambda patch: patch.setitem(QUICK, "catch", _catches_all),
    "weeks begin at 0": of_kind("isoweekday", "date", BY_KIND["weekday", "date"]),
    "a length of time is less than a day": of_kind(
        "total_seconds",
        "delta",
        times._part(lambda v: v % 86_400_000_000 / 10**6, of="float"),
    ),
    "hours are of a day of 12": of_kind("hour", "naive", times._part(
        lambda v: v % 43_200_000_000 // 3_600_000_000)),
    "a loop's empty list is null": of_kind("or", "list", lambda batch, node, a, *rest: a),
    "only the first except catches": quick("catch", _first_way),
    "things are counted from 1": quick("enumerate", _counted_from_one),
    "pairs have the first element": quick("zip", _unequal_pairs),
    "reversed is as it was": quick("reversed", _as_it_was),
    "what comes next is last": quick("first_of", _last),
    "a range begins at 1": quick("range", lambda batch, node, *ends: lists._range(
        batch, node, Vec("const", 1), *ends[-1:])),
    "neighbours are equal": quick(
        "pairwise", lambda batch, node, items: lists._zip(
            batch, Call("zip", (*node.args, *node.args)), items, items)),
    "a loop isn't left": part(folds, "_numbers", lambda vec, batch: np.zeros(batch.n, np.int64)),
    "a list stays as it was": python("appended", lambda items, item: items),
    "a set stays as it was": python("with_member", lambda items, item: items),
    "an item stays as it was": python("with_item", lambda items, key, value: items),
    "a key's order doesn't count": python("sorted_by", lambda pairs, _: [v for _, v in pairs]),
    "the last of the longest counts": python("max_by", lambda pairs, *other: max(
        list(pairs)[::-1], key=operator.itemgetter(0))[1] if pairs or not other else other[0]),
    "values are counted once": python("counter_of", lambda items: Counter(set(items))),
    "a dict has the first of equal keys": python("dict_of", lambda pairs: dict(
        list(pairs)[::-1])),
    "anything can be a key": rule("hashable", lambda batch, _, a: Vec("const", 0, None, a.fail)),
    "text is shown with quotes": python("format", lambda text, *values: text.format(
        *(repr(v) if isinstance(v, str) else v for v in values))),
    "the first hit is replaced": python("re_sub", lambda p, text, repl, n: p.sub(repl, text, 1)),
    "a match begins at 0": python("start", lambda m: m.start() and 0),
    "a slice keeps its end": python("part", lambda v, a, b, step: v[a : b if b is None else b + 1]),
    "a known function takes no keywords": of_kind(
        "apply", "const", lambda batch, node, f, *args: each(
            batch, replace(f.values, keywords=()).run,
            *args[: len(args) - len(f.values.keywords)])),
    "// cuts off": python("floordiv", lambda a, b: math.trunc(a / b)),
    "% has the dividend's sign": python("mod", math.fmod),
    "sums overflow": rule("add", vectors._arithmetic(operator.add, lambda *_: 0)),
    "products overflow": rule("mul", vectors._arithmetic(operator.mul, lambda *_: 0)),
    "the least integer can be negated": rule("neg", vectors._arithmetic(operator.neg, lambda _: 0)),
    "integers are rounded to floats": part(vectors, "EXACT", 2**70),
    "division by zero is infinite": rule("truediv", _true_division),
    "lower() of ASCII only": python("lower", _ascii_lower),
    "lower() makes no ASCII of other letters": part(text, "LOWERED_TO_ASCII", frozenset()),
    "upper() is no longer than the text": python("upper", lambda t: t.upper()[: len(t)]),
    "len() in bytes": part(vectors, "char_lengths", _bytes),
    "split() at ASCII spaces only": part(text, "WIDE_SPACES", ()),
    "strip() of ASCII spaces only": python("strip", lambda t, c=" \t\n\r\x0b\x0c": t.strip(c)),
    "isdigit() of ASCII only": python("isdigit", lambda t: t.isascii() and t.isdigit()),
    "case of ASCII letters only": _parsed(re.ASCII),
    ". is a line feed too": _parsed(re.DOTALL),
    "^ and $ at every line": _parsed(re.MULTILINE),
    "$ only at the very end": _at_end_for_dollar,
    "K and s have no twins": part(methods, "FOLD_TO_ASCII", frozenset()),
    "null is an empty value": part(vectors, "strict_fail", lambda vec: vec.fail),
    "NaN is no number but less": rule("lt", _negated("ge")),
    "null == null is unknown": _without_nulls("eq"),
    "null is in no collection": rule("in", _in_without_none),
    "NaN is false": part(vectors, "truth", lambda vec, batch, _t=vectors.truth: (
        vec.values > 0 if vec.kind == "float" else _t(vec, batch))),
    "a text of a space is false": part(vectors, "truth", lambda vec, batch, _t=vectors.truth: (
        np.array([bool(v and v.strip()) for v in batch.values(vec)]) if vec.kind == "text"
        else _t(vec, batch))),
    "any() fails wherever a part fails": rule("any", _lazy(lambda t: t)),
    "all() fails wherever a part fails": rule("all", _lazy(np.logical_not)),
    "both branches are evaluated": rule("if", _eager),
    "the right side of `and` is always evaluated": rule(
        "and", lambda batch, node, a, b: _eager(batch, node, a, b, a)),
    "what is not used can't fail": _of_each(
        "then", lambda _, value: value, effects, calls, statements),
    "a match is true, and no object": part(vectors, "_unknown", lambda vec: vec.fail),
    "`is None` of a match": rule("is_none", lambda batch, _, a: Vec(
        "bool", np.zeros(batch.n, np.bool_) if a.kind == "match" else vectors.is_none(a, batch),
        None, a.fail)),
    "1 is True": python("is", operator.eq),
    "bool is no int": rule("isinstance", lambda batch, _, a, b: each(
        batch, lambda v, t: type(v) in (t if isinstance(t, tuple) else (t,)), a, b)),
    "any whole number is a mask": rule("mask", _of_int),
    "a name is bound wherever := stands": part(scope.Scope, "forget", lambda *_: None),
    "decimals equal no integer": part(vectors, "is_plain_collection", lambda _: True),
}  # fmt: skip


def test_the_rules_are_right(asked):
    assert not any(_differs(*batch) for batch in asked[:2])


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_rule_is_seen(wrong, asked, monkeypatch):
    WRONG[wrong](monkeypatch)
    assert any(_differs(*batch) for batch in asked), f"not seen in {MOST:,} comparisons"


def _differs(suite, columns, expected, size) -> bool:
    try:
        found = differ.in_parts(differ.by_arrow, size, suite, columns)
        return bool((found != expected).any())
    except Exception:  # a crash is seen too
        return True


# Functions that share their source, have constants of every kind, or are large; tables of any form.


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Suites of such functions with what Python says."""
    r, folder = Random(SEED), tmp_path_factory.mktemp("odd")
    made = []
    for _ in range(2):
        suite = differ.load([strategies.odd_function(r) for _ in range(60)], folder)
        given = strategies.values(r, 60)
        made.append((suite, given, differ.by_oracle(suite, given)))
    return made


def _by_text(value: object) -> str:
    return f"{type(value).__name__}:{value!r}"


def _raises(batch, run, *vecs):
    rows = zip(*(batch.values(v) for v in vecs), strict=True)
    return vectors.of_values([run(*row) for row in rows], first_fail(*(v.fail for v in vecs)))


def _shared_answers(lifted: Callable[..., object]) -> Callable[..., object]:
    """Lift functions of one code once."""
    known: dict[object, object] = {}

    def once(f, *rest):
        if f.__code__ not in known:
            known[f.__code__] = lifted(f, *rest)
        return known[f.__code__]

    return once


ODD: dict[str, tuple[Plant, str | None]] = {
    "constants are what they look like": (
        _every(
            _of_each("is_constant", lambda _: True, scope, expressions, method_calls),
            part(expr, "constant_key", _by_text),
        ),
        None,
    ),
    "an object of a subclass is its base's": (
        _every(
            _of_each("is_constant", lambda v: isinstance(v, str | int | dict | frozenset),
                     scope, expressions, method_calls),
            part(vectors, "is_plain_collection", lambda _: True),
        ),
        None,
    ),
    "functions of one source say the same": (
        part(tiers, "lift", _shared_answers(tiers.lift)), None,
    ),
    "what a constant raises ends the batch": (part(vectors, "each", _raises), None),
    "a column is one array": (
        _every(*(part(of, "plain_array", lambda column: column) for of in (columns, values))),
        "chunks",
    ),
}  # fmt: skip


def test_odd_functions_say_what_python_says(odd):
    for suite, given, expected in odd:
        assert (differ.by_arrow(suite, given) == expected).all()
        for form in ("chunks", "string views"):
            assert (differ.by_form(form, suite, given) == expected).all(), form


@pytest.mark.parametrize("wrong", ODD)
def test_an_odd_wrong_rule_is_seen(wrong, odd, monkeypatch):
    plant, form = ODD[wrong]
    plant(monkeypatch)
    ask = differ.by_arrow if form is None else functools.partial(differ.by_form, form)
    assert any(_differs_as(ask, *one) for one in odd)


def _differs_as(ask, suite, given, expected) -> bool:
    try:
        return bool((ask(suite, given) != expected).any())
    except Exception:  # a crash is seen too
        return True
