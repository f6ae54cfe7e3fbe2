"""Functions over a batch's columns say what they say of a row each: masks, faults, and no more."""

# ruff: noqa: B009, C416, PLC3002, PLR0124, PLR1722, PLW0108, RUF015, RUF017, UP031
# Functions are written as people write them.
from __future__ import annotations

import ast
import collections
import datetime as dt
import functools
import random
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import PandasSFApplier, SlicingFunction
from engine.lift import changes, failures
from engine.lift.fields import of_fields
from engine.run import lean
from engine.run.contents import full_type
from engine.run.kernel import Kernel
from tests.corpus import DOMAINS, domains

TABLE = pa.table(
    {
        "n": [1, 0, None, 7, -3, 2],
        "m": [2.5, None, float("nan"), 0.0, -1.0, 2.0],
        "text": ["b a", "", None, "ünï", "a", "2024"],
        "tags": [["b", "a"], [], None, ["x", None], ["a"], ["c", "b", "a"]],
        "nested": [[[2, 1]], [], None, [[3], None], [[]], [[1], [2]]],
        "home": [{"lat": 1.0, "at": [3, 1]}, None, {"lat": None, "at": None},
                 {"lat": 2.0, "at": [2, 1]}, {"lat": 0.0, "at": []}, None],
        "at": [dt.datetime(2024, 1, 1), None, dt.datetime(1969, 12, 31), dt.datetime(2030, 5, 5),
               dt.datetime(2024, 6, 30, 23, 59, 59, 999999), None],
        "price": [Decimal("1.10"), None, Decimal("0.00"), Decimal("-2.50"), Decimal("9.99"), None],
    }
)  # fmt: skip
TABLE = TABLE.append_column(
    "usage",
    pa.array(
        [[("a", 1)], [], None, [("b", None)], [("a", 0)], None], pa.map_(pa.string(), pa.int64())
    ),
)
KEPT: list = []
LIMIT = 1
WORDS = {"a", "b"}


def helper(x):
    return x.n > 1


def changes_its_list(x):
    return x.tags.sort() is None and x.tags[0] == "a"


def appends(x):
    x.tags.append("z")
    return len(x.tags) > 2


def adds_in_place(x):
    tags = x.tags
    tags += ["z"]
    return len(x.tags) > 2


def changes_an_alias(x):
    tags = x.tags or []
    also = tags
    also.clear()
    return not x.tags


def changes_by_walrus(x):
    return (t := x.tags).pop() and t is x.tags


def sets_an_item(x):
    x.tags[0] = "a"
    return x.tags[0] == "a"


def deletes_an_item(x):
    del x.tags[0]
    return not x.tags


def changes_what_is_inside(x):
    for inner in x.nested:
        inner.append(9)
    return sum(map(len, x.nested)) > 2


def changes_inside_a_struct(x):
    x.home.at.sort()
    return x.home.at == [1, 3]


def changes_a_map(x):
    return x.usage.setdefault("z", 1) == 1 and x.usage.popitem() is not None


def changes_one_of_two(x):
    one = max(x.tags, x.nested, key=len)
    one.clear()
    return not x.tags


def keeps(x):
    KEPT.append(x.tags)
    for tags in KEPT[-2:]:
        tags.insert(0, "k")
    return x.tags.count("k") == 1


def keeps_through_a_closure(x):
    def add(to=x.tags):
        to.append("q")

    add()
    return "q" in x.tags


def a_global_takes_it(x):
    global TAKEN  # noqa: PLW0603
    TAKEN = x.tags
    TAKEN.reverse()
    return x.tags[0] == "a"


MUTATORS = [
    changes_its_list, appends, adds_in_place, changes_an_alias, changes_by_walrus, sets_an_item,
    deletes_an_item, changes_what_is_inside, changes_inside_a_struct, changes_a_map,
    changes_one_of_two, keeps, keeps_through_a_closure, a_global_takes_it,
]  # fmt: skip


def reads_all(x):
    shown = f"{x.tags}{x.nested}{x.home}{x.usage}"
    return [True, False, None][sum(i * ord(c) for i, c in enumerate(shown)) % 3]


def default_and_star(x, most=1, *, least=0):
    return least <= x.n <= most


def makes(limit):
    def inner(x):
        return x.n > limit + LIMIT

    return inner


def wrapped(x):
    return x.n > 0


@functools.wraps(wrapped)
def wrapper(*args, **kwargs):
    return wrapped(*args, **kwargs)


class Judge:
    def __init__(self, least):
        self.least = least

    def judge(self, x):
        return x.n >= self.least

    __call__ = judge


def yields(x):
    yield x.n


def may_have_no_value(x):
    if x.n is None:
        return x.m > 1
    if x.n > 1:
        found = x.m
    return found > 0


def raises_its_own(x):
    if x.n == 0:
        raise ValueError(f"no {x.text}")
    try:
        return 1 / x.n > x.m
    finally:
        x.text.lower()


def catches(x):
    try:
        return x.tags[1] == "a"
    except (IndexError, TypeError) as error:
        return len(str(error)) > 20


def reads_late(x):
    if x.n > 5:
        return x.m.nothing
    return x["text"].upper() == "A" or [1][x.n]


def partly_known(x):
    return x.text.startswith("b") and x.m < x.n and x.missing_method() if x.n else x.price > 1


OTHERS = [
    lambda x: x.n > 1, lambda x: x["n"] > 1, lambda x: helper(x), lambda x: getattr(x, "n") > 1,
    lambda x: x.get("n", 0) > 1, lambda x: "n" in x, lambda x: x, lambda x: x.n, lambda x: None,
    lambda x: next(t for t in x.tags if t == "a") == "a",
    lambda x: [t for t in x.tags][0] > x.text,
    lambda x: len({k: v for k, v in x.usage.items() if v > 0}) > 0,
    lambda y: (lambda x: x > 1)(y.n),
    lambda x: [x.n for x in [x]][0] > 1, lambda x: x.home.lat > 1 and x.home["at"][0] > 1,
    lambda x: f"{x.n:03d}" > f"{x.m:.1f}", lambda x: x.at.year > 2000 and x.price > x.n,
    lambda x: (yield x.n), lambda x: locals()["x"].n > 1, lambda x: x.n < x.m < len(x.text),
    lambda x: max(x.tags) > "a", lambda x: x.tags + x.nested == [],
    lambda x: sum(x.nested, [])[0] > 1,
    lambda x: {**x.usage} == {"a": 1}, lambda x: print(*x.tags, sep="", end="") or x.n > 0,
    lambda x: "%s %d" % (x.text, x.n) > "b", lambda x: x.text[x.n] == "a",
    lambda x: not x.undefined,
    lambda x: undefined_name > x.n,  # noqa: F821
    lambda x: exit(), default_and_star, makes(0), makes(3), wrapped, wrapper, Judge(2),
    Judge(1).judge,
    functools.partial(default_and_star, most=3), yields, may_have_no_value, raises_its_own, catches,
    reads_late, partly_known, reads_all, *MUTATORS,
]  # fmt: skip


def both(sfs, table, monkeypatch):
    """Return what a kernel says, and what it says without fast paths."""
    columns = {c: table[c].combine_chunks() for c in table.column_names}
    said = []
    for plain in ("0", "1"):
        monkeypatch.setenv("ENGINE_PLAIN", plain)
        KEPT.clear()
        out = Kernel(sfs).run(columns)
        faults = [re.sub(" at 0x[0-9a-f]+", "", str(fault)) for fault in out.faults]
        said.append(({s: m.tolist() for s, m in out.masks.items()}, faults))
    return said


def check(sfs, table, monkeypatch):
    ours, plainly = both(sfs, table, monkeypatch)
    assert ours == plainly


def shuffled(table, seed):
    """Return a table whose columns are mixed, each by itself, with more nulls."""
    draw = np.random.default_rng(seed)
    columns = []
    for column in table.columns:
        at = draw.integers(0, len(table), len(table))
        columns.append(column.combine_chunks().take(pa.array(at, mask=draw.random(len(at)) < 0.1)))
    return pa.table(columns, schema=table.schema)


@pytest.mark.parametrize("f", OTHERS)
def test_any_function(f, monkeypatch):
    for seed in range(3):
        check([SlicingFunction("s", f)], shuffled(TABLE, seed) if seed else TABLE, monkeypatch)


def test_functions_together(monkeypatch):
    """What one changes, the next doesn't see."""
    sfs = [SlicingFunction(f"s{i}", f) for i, f in enumerate([*OTHERS, reads_all])]
    check(sfs, TABLE, monkeypatch)


@pytest.mark.parametrize("resources", [{}, {"most": 3}, {"least": 1}, {"most": 0, "least": -3},
                                       {"more": 1}])  # fmt: skip
def test_resources(resources, monkeypatch):
    check([SlicingFunction("s", default_and_star, resources)], TABLE, monkeypatch)


@pytest.mark.parametrize("name", DOMAINS)
def test_the_corpus(name, monkeypatch):
    domain = next(d for d in domains() if d.name == name)
    for seed in range(3):
        given = shuffled(domain.table, seed) if seed else domain.table
        check(domain.sfs, given, monkeypatch)


def test_nearly_all_of_the_corpus_needs_no_rows():
    found = {
        sf.name: of_fields(sf.f, frozenset(d.table.column_names)) is not None
        for d in domains()
        for sf in d.sfs
        if not sf.chain
    }
    assert sum(found.values()) >= 0.97 * len(found)


def test_globals_that_change_between_batches(monkeypatch):
    kernel = Kernel([SlicingFunction("s", makes(0)), SlicingFunction("t", changes_its_list)])
    columns = {c: TABLE[c].combine_chunks() for c in ("n", "tags")}
    assert kernel.run(columns).masks["s"].tolist() == [0, 0, -1, 1, 0, 1]
    monkeypatch.setitem(globals(), "LIMIT", 6)
    assert kernel.run(columns).masks["s"].tolist() == [0, 0, -1, 1, 0, 0]
    assert columns["tags"][0].as_py() == ["b", "a"]


def hides_len(x):
    return len(x.tags) > 1


def test_a_builtin_that_is_hidden_later(monkeypatch):
    columns = {"tags": TABLE["tags"].combine_chunks()}
    kernel = Kernel(
        [SlicingFunction("s", hides_len), SlicingFunction("t", lambda x: x.tags == ["b", "a"])]
    )
    before = kernel.run(columns).masks["t"].tolist()
    monkeypatch.setitem(globals(), "len", lambda tags: tags.sort() or 2)
    assert kernel.run(columns).masks["t"].tolist() == before


# Wrong twins: each is what somebody may forget, and what the tests above must see.


def _twin_sort(patch):
    patch.setattr(changes, "_ASKING", changes._ASKING | {"sort"})


def _twin_append(patch):
    patch.setattr(changes._Uses, "_of_attribute", lambda *_: True)


def _twin_in_place(patch):
    patch.setattr(changes._Uses, "_is_augmented", lambda *_: False)


def _twin_alias(patch):
    patch.setattr(changes._Uses, "_target_leaves", lambda *_: True)


def _twin_unknown_call(patch):
    known = changes._Uses.__init__

    def init(self, of, f):
        known(self, of, f)
        self.builtins = frozenset(n.id for n in ast.walk(of.node) if isinstance(n, ast.Name))

    patch.setattr(changes._Uses, "__init__", init)


def _twin_nothing_changes(patch):
    patch.setattr(lean, "may_change", lambda *_: frozenset())


def _twin_all_is_read(patch):
    patch.setattr(failures.SureReads, "at", lambda self, *_: frozenset(self._fields.values()))


def _twin_no_short_circuit(patch):
    known = failures._operands
    patch.setattr(
        failures, "_operands",
        lambda n: n.values if isinstance(n, ast.BoolOp) else
        [n.left, *n.comparators] if isinstance(n, ast.Compare) else known(n),
    )  # fmt: skip


def _twin_last_binding(patch):
    known = failures._bindings
    patch.setattr(failures, "_bindings", lambda n: ((k, v[-1:]) for k, v in known(n)))


def fails_early(x):
    return (x.n and x.m).nothing


TWINS = [
    _twin_sort, _twin_append, _twin_in_place, _twin_alias, _twin_nothing_changes,
    _twin_all_is_read, _twin_no_short_circuit, _twin_last_binding,
]  # fmt: skip


def compares_late(x):
    return x.n > 0 and x.tags[x.n] < x.text < x.m


def has_two_values(x):
    found = x.n
    if x.text:
        found = x.m
    return [1, 2][found if found == found else 0] > 1


@pytest.mark.parametrize("twin", TWINS)
def test_twins_are_seen(twin, monkeypatch):
    twin(monkeypatch)
    functions = [
        *MUTATORS, may_have_no_value, reads_late, raises_its_own, compares_late, has_two_values,
        partly_known, fails_early,
    ]  # fmt: skip
    tables = [TABLE, *(shuffled(TABLE, seed) for seed in range(8))]
    pairs = (
        both([SlicingFunction("s", f), SlicingFunction("after", reads_all)], given, monkeypatch)
        for f in functions
        for given in tables
    )
    assert any(ours != plainly for ours, plainly in pairs)


def test_random_functions_of_nulls(monkeypatch):
    """Is a null to blame? Expressions made at random, on rows that are null here and there."""
    draw, sources = random.Random(5), []
    leaves = ["x.n", "x.m", "len(x.text)", "x.n", "1", "0"]
    forms = [
        "(@ + @)", "(@ / @)", "(@ < @)", "(@ and @)", "(@ or @)", "(@ if @ else @)", "[@, @][@]",
        "(lambda a: a + @)(@)", "max(@, @)", "len(f'{@}{@:d}')", "(t := @)", "(@ < @ < @)",
    ]  # fmt: skip

    def expression(depth):
        form = draw.choice(forms if depth else leaves)
        return re.sub("@", lambda _: expression(depth - 1), form)

    for i in range(150):
        sources.append(
            f"def f{i}(x):\n    t = {expression(1)}\n    return bool({expression(2)} or t)"
        )
    module = _module("\n\n\n".join(sources))
    sfs = [SlicingFunction(f"s{i}", module[f"f{i}"]) for i in range(len(sources))]
    for seed in range(3):
        check(sfs, shuffled(TABLE.select(["n", "m", "text"]), seed), monkeypatch)


def _module(text):
    import linecache

    name = "<made at random>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict = {"__name__": "made"}
    exec(compile(text, name, "exec"), scope)
    return scope


OBJECTS = {
    "a defaultdict": lambda: [collections.defaultdict(list), collections.defaultdict(list, a=[1])],
    "in a list": lambda: [[collections.defaultdict(list)], []],
    "in a dict": lambda: [{"a": collections.defaultdict(list)}, {}],
}


@pytest.mark.parametrize("values", OBJECTS.values(), ids=OBJECTS)
def test_objects_that_change_when_they_are_read_are_the_functions_own(values, both_ways):
    """A user's own frame holds what Arrow can't: a defaultdict that is asked for a key has it."""

    def fills(x):
        inner = x.d if isinstance(x.d, collections.defaultdict) else next(iter(x.d))
        inner = x.d[inner] if isinstance(inner, str) else inner
        return inner["q"] == [] and x.d["q"] == []

    sfs = [
        SlicingFunction("asks", lambda x: x.d["q"] == []),
        SlicingFunction("asks below", lambda x: x.d[0]["q"] == []),
        SlicingFunction("asks a dict below", lambda x: x.d["a"]["q"] == []),
        SlicingFunction("fills", fills),
        SlicingFunction("sees", lambda x: len(repr(x.d)) > 40),
    ]
    df = pd.DataFrame({"d": pd.Series(values(), dtype=object)})
    S = PandasSFApplier(sfs).apply(df, progress_bar=False, fault_tolerant=True)
    assert S["sees"].tolist() == [int(len(repr(v)) > 40) for v in values()]
    assert repr(df.d.tolist()) == repr(values())


def test_what_holds_itself_may_change():
    one: list = []
    one.append(one)
    assert full_type([one]) == changes.UNKNOWN
    assert full_type([[["a"]]]) == changes.ANY
