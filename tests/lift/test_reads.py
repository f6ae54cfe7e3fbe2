"""Which columns a function reads, told from its bytecode: never one too few."""

# Written as users might, not as ruff would.
# ruff: noqa: B007, C420, PLC3002, RUF015, TRY301

from __future__ import annotations

import contextlib
import functools
import operator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.lift.reads import Reads, reads, slice_reads
from engine.slicing.functions import Preprocessor, SlicingFunction
from engine.slicing.rows import Row, TracedRow

WORDS = ("a", "b")


def helper(row):
    return row.hidden


def plain(x):
    return x.a > x["b"]


def many(x):
    if x.a:
        value = x.b.strip().lower()
    elif x["c"]:
        value = f"{x.d!r:>{x.e}}"
    else:
        value = x.f if x.g else x["h"]
    return value


def comprehensions(x):
    return [w for w in x.a if w in x.b] + list({w: x.c for w in WORDS}) + sorted({x.d for _ in "a"})


def generator(x):
    return any(w in x.a.lower() for w in WORDS)


def nested(x):
    def inner(y):
        return y + x.a

    return inner(x.b) + (lambda: x["c"])()


def deep(x):
    return [[(lambda: x.a)() for _ in x.b] for _ in x.c]


def class_body(x):
    class Found:
        value = x.a

    return Found.value


def walrus(x):
    return (n := len(x.a)) > 3 and n < x.b


def tries(x):
    try:
        return x.a.b
    except AttributeError:
        return x.c
    finally:
        print(x.d)


def loops(x):
    total = 0
    for word in x.a:
        while total < x.b:
            total += x.c or 1  # 0 would never end
        if word:
            continue
    with open(x.d) as file:
        return file.read() == x.e


def matches(x):
    match x.a:
        case [first, *_] if first == x.b:
            return x.c
        case {"k": 1}:
            return x.d
    return x.e if x.f else not x.g


def slices(x):
    return x.a[x.b : x.c], x["d"]["e"], x.f["g"].h


def keyword_default(x, least=3):
    return len(x.a) > least


def underscore(_):
    return _.a


def positional_only(x, /):
    return x.a


class Methods:
    def method(self, x):
        return x.a

    @classmethod
    def of_class(cls, x):
        return x.a

    @staticmethod
    def static(x):
        return x.a


# Functions whose reads are known in full.
KNOWN = {
    plain: "ab", many: "abcdefgh", comprehensions: "abcd", generator: "a", nested: "abc",
    deep: "abc", class_body: "a", walrus: "ab", tries: "acd", loops: "abcde", matches: "abcdefg",
    slices: "abcdf", keyword_default: "a", underscore: "a", positional_only: "a",
    Methods().method: "a", Methods.of_class: "a", Methods.static: "a",
}  # fmt: skip


@pytest.mark.parametrize(("f", "columns"), KNOWN.items(), ids=lambda v: getattr(v, "__name__", v))
def test_columns_read_by_a_constant_name(f, columns):
    assert reads(f) == Reads(columns=frozenset(columns))


@dataclass
class Callable:
    word: str

    def __call__(self, x):
        return x.hidden


def passes(x):
    return helper(x)


def alias(x):
    y = x
    return y.hidden


def returns_itself(x):
    return (lambda: x)().hidden


def rebinds(x):
    x = x.other if x.a else x
    return x.hidden


def deletes(x):
    del x


def loop_rebinds(x):
    for x in [x]:  # noqa: B020, PLR1704
        pass
    return x.hidden


def walrus_alias(x):
    return (y := x).hidden or y


def computed(x):
    return x["hid" + "den".strip()]


def get(x):
    return x.get("hidden")


def get_attribute(x):
    return getattr(x, "hidden")  # noqa: B009


def as_dict(x):
    return x.asDict()["hidden"]


def dunder_dict(x):
    return x.__dict__["hidden"]


def dunder_call(x):
    return x.__getitem__("hidden")


def evaluates(x):
    return eval("x.hidden")


def uses_locals(x):
    return locals()["x"].hidden


def star_args(*args):
    return args[0].hidden


def in_a_list(x):
    return [x][0].hidden


def default_argument(x):
    return (lambda y=x: y.hidden)()


def yields(x):
    return next(iter([*(r for r in [x])])).hidden


def unpacks(x):
    return {**x}["hidden"]


def iterates(x):
    return [x[name] for name in x][0]


def matches_row(x):
    match x:
        case Row(hidden=value):
            return value


def chooses(x):
    return (x if x.a else helper).hidden


def exception_variable(x):
    try:
        raise KeyError(x)
    except KeyError as error:
        return error.args[0].hidden


def nonlocal_rebind(x):
    def change():
        nonlocal x
        x = Row({"hidden": 1})

    change()
    return x.hidden


def augmented(x):
    x.hidden += 1
    return x


def formats(x):
    return f"{x}" and x.a


def decorated(f):
    @functools.wraps(f)
    def wrapper(x):
        return x.hidden and f(x)

    return wrapper


def second(words, x, least=1):
    return len(x.a) > least and x.b in words


class Hidden:  # what Python calls is the class's
    def __init__(self):
        self.__call__ = plain

    def __call__(self, x):
        return x.hidden


def test_what_partials_and_objects_read():
    assert reads(Callable("a")).columns == {"hidden"}
    assert reads(functools.partial(plain)).columns == {"a", "b"}
    assert reads(functools.partial(functools.partial(second, ["w"]), least=2)).columns == {"a", "b"}
    assert reads(functools.partial(Callable("a"))).columns == {"hidden"}
    assert reads(functools.partial(Methods.of_class)).columns == {"a"}
    assert "hidden" in reads(Hidden()).used(FIELDS)


# Functions that may read more than is named.
UNKNOWN = [
    passes, alias, returns_itself, rebinds, deletes, loop_rebinds, walrus_alias, computed, get,
    get_attribute, as_dict, dunder_dict, dunder_call, evaluates, uses_locals, star_args, in_a_list,
    default_argument, yields, unpacks, iterates, matches_row, chooses, exception_variable,
    nonlocal_rebind, augmented, formats, decorated(plain),
    functools.partial(passes), operator.attrgetter("hidden"), operator.itemgetter("hidden"), len,
]  # fmt: skip


@pytest.mark.parametrize("f", UNKNOWN, ids=lambda f: getattr(f, "__name__", type(f).__name__))
def test_where_the_row_goes_elsewhere_any_column_may_be_read(f):
    assert "hidden" in reads(f).used(FIELDS)


@pytest.mark.parametrize(
    ("f", "why"),
    [
        (passes, "line {} of test_reads.py passes the whole row on"),
        (deletes, "line {} of test_reads.py assigns to the row's name"),
        (evaluates, "'evaluates' looks at its local variables"),
        (star_args, "'star_args' takes its row as one of *args"),
        (len, "'len' has no Python code to read"),
    ],
)
def test_the_reason_is_told(f, why):
    line = f.__code__.co_firstlineno + 1 if hasattr(f, "__code__") else 0
    assert reads(f).escapes == why.format(line)


@pytest.mark.parametrize("name", ["get", "keys", "asDict"])
def test_a_column_called_like_a_method_of_rows_may_be_read(name):
    f = eval(f"lambda x: x.{name}")
    assert reads(f).escapes
    assert reads(f).used([name, "other"]) == (name, "other")


@pytest.mark.parametrize("name", ["count", "index", "items", "values", "_private"])
def test_a_column_called_like_other_methods_is_a_column(name):
    assert reads(eval(f"lambda x: x.{name}")) == Reads(columns=frozenset({name}))


# Soundness: what is really read at run time is named, or the function says it may read more.

FIELDS = [*"abcdefgh", "hidden", "other"]
VALUES = st.one_of(st.none(), st.text("ab", max_size=3), st.integers(0, 3), st.lists(st.text("ab")))


@pytest.mark.parametrize("f", [*KNOWN, *UNKNOWN], ids=lambda f: getattr(f, "__name__", "callable"))
@settings(max_examples=15, deadline=None)
@given(values=st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUES)))
def test_no_read_is_missed(f, values):
    if f in (loops, tries):  # they open files and print
        values["d"] = 0
    seen: set[str] = set()
    with contextlib.suppress(Exception):  # what was read before one counts
        f(TracedRow(dict(values), seen, set(values)))
    found = reads(f)
    assert found.escapes or seen <= found.columns


EXPRESSIONS = st.recursive(
    st.sampled_from(
        ["x.a", "x['b']", "x.c", "x.get('d')", "x", "y", "helper(x)", "x.e['f']", "'a' in x", "1"]
    ),
    lambda inner: st.builds(
        lambda form, p, q: form.format(p=p, q=q),
        st.sampled_from(
            [
                "({p} if {q} else 2)", "({p}, {q})", "[{p} for y in [{q}]][0]", "(lambda: {p})()",
                "(lambda y: {p})({q})", "(y := {p})", "str({p})", "{p}[0]", "({p} or {q})",
                "(not {p})", "(lambda x: {p})(x)", "next(({p} for _ in '1'))", "f'{{{p}}}'",
                "getattr({p}, 'g', {q})", "{p}.h", "[{p}, {q}]", "{{'k': {p}}}['k']",
            ]
        ),
        inner,
        inner,
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUES)))
def test_no_read_is_missed_in_any_expression(expression, values):
    scope = {"helper": helper}
    try:
        exec(f"def f(x, y=''):\n    return {expression}", scope)
    except SyntaxError:
        return  # a walrus where there may be none
    seen: set[str] = set()
    with contextlib.suppress(Exception):
        scope["f"](TracedRow(dict(values), seen, set(values)))
    found = reads(scope["f"])
    assert found.escapes or seen <= found.columns, expression


# With preprocessors.


def sets(x):
    x.made = len(x.a)
    return x


def sets_item(x):
    x["made"] = len(x["a"])
    return x


def sets_sometimes(x):
    if x.flag:
        x.text = x.a
    return x


def makes_another(x):
    return Row({"made": x.a})


def either(x):
    if x.flag:
        return x
    return Row({})


def one_or_other(x):
    return Row({}) if x.flag else x


def chain_reads(f, *preprocessors):
    pre = [p if isinstance(p, Preprocessor) else Preprocessor("p", p) for p in preprocessors]
    return slice_reads(SlicingFunction("s", f, pre=pre))


@pytest.mark.parametrize("p", [sets, sets_item])
def test_a_field_that_a_preprocessor_sets_need_not_be_a_column(p):
    found = chain_reads(lambda x: x.made > x.b, p)
    assert (found.columns, found.covered, found.escapes) == ({"a", "b"}, {"made"}, None)
    assert found.missing(["a", "b"]) == []
    assert found.used(["a", "b", "c"]) == ("a", "b")
    assert found.used(["a", "b", "made"]) == ("a", "b", "made")


def test_a_column_that_is_set_on_some_rows_only_still_crosses():
    found = chain_reads(lambda x: x.text, sets_sometimes)
    assert found.used(["a", "flag", "text", "other"]) == ("a", "flag", "text")


def test_what_is_read_before_it_is_set_is_a_column():
    assert chain_reads(lambda x: x.made, lambda x: (x.made, x)[1], sets).columns == {"a", "made"}


def sets_and_reads(x):
    x.a = x.a + x.b
    x.made = x.a
    return (lambda: x.made > x.c and x)()


def test_what_is_read_after_it_is_set_need_not_be_a_column():
    found = reads(sets_and_reads)
    assert (found.columns, found.writes) == ({"a", "b", "c"}, {"a", "made"})
    assert found.covered == {"a", "made"}


@pytest.mark.parametrize("p", [makes_another, either, one_or_other])
def test_after_a_preprocessor_that_returns_another_row_any_field_may_be_there(p):
    found = chain_reads(lambda x: x.made, p)
    assert found.escapes == "preprocessor 'p' returns another row"
    assert found.missing(["a"]) == []


def test_missing_columns_are_named_in_order_unless_the_function_may_look_first():
    assert reads(many).missing(["a", "c"]) == ["b", "d", "e", "f", "g", "h"]
    assert reads(lambda x: "b" in x and x.b).missing(["a"]) == []
