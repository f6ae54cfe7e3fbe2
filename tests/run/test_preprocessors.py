"""Preprocessors run once per row, or per distinct value, and change nothing for others."""

from __future__ import annotations

import datetime as dt
import pickle
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import (
    PandasSFApplier,
    Preprocessor,
    SFApplier,
    SlicingFunction,
    compile_slices,
    preprocessor,
)
from engine.run import chains, preprocess
from engine.run.kernel import Kernel
from engine.slicing.rows import Row


def seen_by(sfs_of, columns, pre=()):
    """Return what functions made of `sfs_of` (name to a function of a row) saw, by name."""
    saw = {name: [] for name in sfs_of}

    def recording(name, f):
        def call(x):
            saw[name].append(f(x))
            return True

        return call

    sfs = [SlicingFunction(n, recording(n, f), pre=pre) for n, f in sfs_of.items()]
    arrays = {c: v if isinstance(v, pa.Array) else pa.array(v) for c, v in columns.items()}
    out = Kernel(sfs).run(arrays)
    assert not out.faults, out.faults
    return saw


def counted(calls, memoize=False, **more):
    @preprocessor(memoize=memoize, **more)
    def p(x):
        calls.append(x.text)
        x.size = len(x.text)
        return x

    return p


TEXTS = ["a", "bb", "a", None, "bb", "a"]


def test_it_runs_once_per_row_though_several_functions_use_it():
    calls = []
    p = counted(calls)
    sfs = [SlicingFunction(f"s{n}", lambda x, n: x.size > n, {"n": n}, [p]) for n in range(3)]
    out = Kernel(sfs).run({"text": pa.array(TEXTS)})
    assert calls == TEXTS  # the null too: once, though it failed
    assert out.masks["s1"].tolist() == [0, 1, 0, -1, 1, 0]
    assert not out.faults


def test_failing_functions_do_not_run_it_again():
    calls = []
    p = counted(calls)
    sfs = [SlicingFunction(f"s{n}", lambda x: x.size / 0, pre=[p]) for n in range(3)]
    out = Kernel(sfs).run({"text": pa.array(TEXTS)})
    assert calls == TEXTS
    assert Counter(f.slice_id for f in out.faults) == dict.fromkeys(["s0", "s1", "s2"], 5)
    assert out.faults[0].read == "text='a'"


def test_a_chain_shares_its_beginning():
    calls = []
    p = counted(calls)
    q = Preprocessor("q", lambda x: (setattr(x, "twice", 2 * x.size), x)[1], pre=[p])
    sfs = [
        SlicingFunction("one", lambda x: x.size == 1, pre=[p]),
        SlicingFunction("two", lambda x: x.twice == 2, pre=[q]),
    ]
    out = Kernel(sfs).run({"text": pa.array(["a", "bb"])})
    assert calls == ["a", "bb"]
    assert [m.tolist() for m in out.masks.values()] == [[1, 0], [1, 0]]


def test_memoized_it_runs_once_per_distinct_value_across_batches():
    calls = []
    kernel = Kernel([SlicingFunction("s", lambda x: x.size > 1, pre=[counted(calls, True)])])
    for _ in range(2):
        out = kernel.run({"text": pa.array(["a", "bb", "a", "bb"]), "n": pa.array([1, 2, 3, 4])})
    assert calls == ["a", "bb"]
    assert out.masks["s"].tolist() == [0, 1, 0, 1]


def test_a_memoized_result_carries_no_other_rows_columns_along():
    p = counted([], True)
    days = [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]
    columns = {"text": ["a", "a"], "tags": [[1], [2]], "day": days, "n": [1, 2]}
    saw = seen_by({"s": lambda x: (x.size, x.tags, x.day, x.n)}, columns, [p])
    assert saw["s"] == [(1, [1], days[0], 1), (1, [2], days[1], 2)]


def test_a_memoized_result_carries_no_other_preprocessors_fields_along():
    first = Preprocessor("first", lambda x: (setattr(x, "made", [x.n]), x)[1])
    second = Preprocessor("second", lambda x: (setattr(x, "size", 1), x.text, x)[2], memoize=True)
    columns = {"text": ["a", "a"], "n": [1, 2]}
    saw = seen_by({"s": lambda x: (x.made, x.size)}, columns, [first, second])
    assert saw["s"] == [([1], 1), ([2], 1)]


BERLIN = ZoneInfo("Europe/Berlin")
TWINS = [  # equal, or alike, and yet a function may tell them apart
    (1, True), (1, 1.0), (0, False), (0.0, -0.0), ("1", 1), (None, "None"), ([], {}), ([1], [True]),
    ({1: "a"}, {True: "a"}), ({"a": 1}, {"a": 1.0}), (Decimal("1.0"), Decimal("1.00")),
    (b"a", "a"), (dt.date(2024, 1, 1), dt.datetime(2024, 1, 1)), ((1,), [1]),
    (
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
    ),
    (np.zeros(2000), np.eye(1, 2000, 1000)[0]),
    ({1, 2}, frozenset({1, 2})), (SimpleNamespace(a=1), SimpleNamespace(a=True)),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), TWINS, ids=str)
def test_memo_never_takes_one_value_for_another(one, other):
    calls = []

    @preprocessor(memoize=True)
    def p(x):
        calls.append(x.value)
        x.saw = repr(x.value)
        return x

    saw = []
    sf = SlicingFunction("s", lambda x: (saw.append(x.saw), True)[1], pre=[p])
    column = pd.Series([one, other, one, other], dtype=object)
    PandasSFApplier([sf]).apply(pd.DataFrame({"value": column}), progress_bar=False)
    assert len(calls) == 2
    assert saw == [repr(one), repr(other)] * 2


def test_values_read_inside_of_a_column_are_part_of_the_key():
    @preprocessor(memoize=True)
    def p(x):
        x.first = x.tags[0]
        return x

    saw = seen_by({"s": lambda x: x.first}, {"tags": [["a"], ["b"], ["a"]]}, [p])
    assert saw["s"] == ["a", "b", "a"]


def test_a_row_that_is_passed_on_is_the_key_as_a_whole():
    def helper(x):
        return x.text + str(x.n)

    @preprocessor(memoize=True)
    def p(x):
        x.both = helper(x)
        return x

    saw = seen_by({"s": lambda x: x.both}, {"text": ["a", "a"], "n": [1, 2]}, [p])
    assert saw["s"] == ["a1", "a2"]


def test_a_field_that_is_deleted_before_is_no_other_rows_field():
    """Rows that lack a field share no result with rows that have it, whatever its value."""
    first = Preprocessor("first", lambda x: (delattr(x, "kind") if x.n > 1 else None, x)[1])

    @preprocessor(memoize=True)
    def second(x):
        try:
            x.saw = x.kind
        except AttributeError:
            x.saw = "none"
        return x

    columns = {"kind": [None, None, "a"], "n": [1, 2, 3]}
    assert seen_by({"s": lambda x: x.saw}, columns, [first, second])["s"] == [None, "none", "none"]


def test_a_key_that_reads_more_of_one_row_makes_it_undecided_there_only():
    """What a key reads counts for its own row, though another row's result is taken."""
    p = counted([], True, memoize_key=lambda x: x.text if x.n else (x.text, x.other)[0])
    sf = SlicingFunction("s", lambda x: 1 / 0, pre=[p])
    columns = {"text": ["a", "a"], "n": [1, 0], "other": [None, None]}
    out = Kernel([sf]).run({c: pa.array(v) for c, v in columns.items()})
    assert out.masks["s"].tolist() == [-1, -1]
    assert [(f.row, f.read) for f in out.faults] == [(0, "n=1, text='a'")]


def sets_sometimes(x):
    if x.flag:
        x.text = "b"
    return x


def sets_sometimes_and_reads(x):
    if x.flag:
        x.text = "b"
    x.size = len(x.text)
    return x


@pytest.mark.parametrize(("memoize", "pure"), [(True, False), (False, True)])
def test_a_column_that_is_set_on_some_rows_only_is_part_of_the_key(memoize, pure):
    one, other = (
        Preprocessor("p", p, memoize=memoize) for p in (sets_sometimes, sets_sometimes_and_reads)
    )
    sfs = [
        SlicingFunction("text", lambda x: len(x.text) > 1, pre=[one], pure=pure),
        SlicingFunction("size", lambda x: x.size > 1, pre=[other], pure=pure),
    ]
    out = Kernel(sfs).run(
        {"text": pa.array(["a", "aa", "aa", "a"]), "flag": pa.array([False, False, True, True])}
    )
    assert [m.tolist() for m in out.masks.values()] == [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_what_a_memoized_preprocessor_sets_to_the_value_that_was_there_it_sets_on_other_rows():
    @preprocessor()
    def from_n(x):
        x.size = x.n
        return x

    @preprocessor(memoize=True)
    def from_text(x):
        x.size = len(x.text)
        return x

    sf = SlicingFunction("s", lambda x: x.size > 1, pre=[from_n, from_text])
    out = Kernel([sf]).run({"text": pa.array(["a", "a", "bb", "bb"]), "n": pa.array([1, 9, 2, 0])})
    assert out.masks["s"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("memoize", [False, True])
def test_a_preprocessor_reads_what_it_has_set(memoize):
    def words(x):
        x.words = x.text.split()
        x.words.append("end")
        x["size"] = len([w for w in x.words if w])
        return x

    p = Preprocessor("p", words, memoize=memoize)
    plan = compile_slices(
        [SlicingFunction("s", lambda x: x.size > 2, pre=[p])], pa.schema([("text", pa.string())])
    )
    assert plan.crossing == ("text",)
    table = pa.table({"text": ["a b", "a", "b a"]})
    assert plan.apply(table)["s"].to_pylist() == [True, False, True]


def test_a_pure_function_is_told_which_columns_its_preprocessors_read():
    """A failing value is a fault on each of its rows, with the columns read before it failed."""
    p = counted([], True)
    sf = SlicingFunction("s", lambda x: x.size / (x.n - 1) > 1, pre=[p], pure=True)
    out = Kernel([sf]).run({"text": pa.array(["a", "bb", "bb", "a"]), "n": pa.array([2, 1, 1, 3])})
    assert out.masks["s"].tolist() == [0, -1, -1, 0]
    assert [(f.row, f.read) for f in out.faults] == [(1, "n=1, text='bb'"), (2, "n=1, text='bb'")]


def test_a_key_of_the_users_own():
    calls = []
    p = counted(calls, True, memoize_key=lambda x: x.text.lower())
    columns = {"text": ["A", "a", "B"], "n": [1, 2, 3]}
    saw = seen_by({"s": lambda x: (x.text, x.n, x.size)}, columns, [p])
    assert calls == ["A", "B"]
    assert saw["s"] == [("A", 1, 1), ("a", 2, 1), ("B", 3, 1)]


def test_what_a_key_reads_crosses_too():
    p = counted([], True, memoize_key=lambda x: (x.text, x.other))
    table = pa.table({"text": ["a", "bb"], "other": [1, None], "more": [1, 2]})
    plan = compile_slices([SlicingFunction("s", lambda x: x.size > 1, pre=[p])], table.schema)
    assert plan.crossing == ("text", "other")
    assert plan.apply(table)["s"].to_pylist() == [False, True]


def test_a_key_that_fails_on_null_is_null():
    p = counted([], True, memoize_key=lambda x: x.text.lower())
    sf = SlicingFunction("s", lambda x: True, pre=[p])
    out = Kernel([sf]).run({"text": pa.array(["a", None])})
    assert (out.masks["s"].tolist(), list(out.faults)) == ([1, -1], [])


def test_the_memo_forgets_the_oldest(monkeypatch):
    for module in (preprocess, chains):
        monkeypatch.setattr(module, "MEMO_SIZE", 2)
    calls = []
    kernel = Kernel([SlicingFunction("s", lambda x: True, pre=[counted(calls, True)])])
    kernel.run_rows([Row({"text": text}) for text in ["a", "b", "a", "c", "a", "b"]])
    assert calls == ["a", "b", "c", "b"]
    for batch in (["a"], ["b", "c"], ["a"]):
        kernel.run({"text": pa.array(batch)})
    assert calls[4:] == ["a", "b", "c", "a"]


def test_a_kernel_travels_without_its_memo():
    kernel = Kernel([SlicingFunction("s", len)])
    assert pickle.loads(pickle.dumps(kernel)).sfs[0].name == "s"


def test_memoized_namespaces_run_once_per_distinct_value():
    calls = []
    sf = SlicingFunction("s", lambda x: x.size > 1, pre=[counted(calls, True)])
    points = [SimpleNamespace(text=t) for t in ["a", "bb", "a"]]
    S = SFApplier([sf]).apply(points, progress_bar=False)
    assert (S["s"].tolist(), calls) == ([0, 1, 0], ["a", "bb"])
    assert vars(points[0]) == {"text": "a"}


def test_memoized_objects_of_any_kind():
    calls = []

    @preprocessor(memoize=True)
    def p(x):
        calls.append(1)
        return x * 2

    sf = SlicingFunction("s", lambda x: x.sum() > 4, pre=[p])
    points = np.array([[1, 1], [2, 2], [1, 1]])
    assert SFApplier([sf]).apply(points, progress_bar=False)["s"].tolist() == [0, 1, 0]
    assert len(calls) == 2


# What preprocessors and functions must not do to others.

COLUMNS = {
    "text": ["a"],
    "tags": [["x"]],
    "map": pa.array([[("k", [1])]], pa.map_(pa.string(), pa.list_(pa.int64()))),
    "struct": [{"z": [1], "n": {"deep": ["d"]}}],
}
LOOKS = {
    "text": lambda x: x.text,
    "tags": lambda x: list(x.tags),
    "map": lambda x: {k: list(v) for k, v in x.map.items()},
    "struct": lambda x: (list(x.struct.z), list(x.struct.n.deep)),
}
CHANGES = {
    "sets": lambda x: setattr(x, "text", "changed"),
    "sets an item": lambda x: x.__setitem__("text", "changed"),
    "deletes": lambda x: delattr(x, "text"),
    "appends": lambda x: x.tags.append("y"),
    "clears": lambda x: x.tags.clear(),
    "fills a map": lambda x: x.map.update(k=[2]),
    "appends in a map": lambda x: x.map["k"].append(2),
    "appends in a struct": lambda x: x.struct.z.append(2),
    "appends deep in a struct": lambda x: x.struct.n.deep.append(2),
    "sets in a struct": lambda x: setattr(x.struct, "z", []),
    "writes to its dict's copy": lambda x: x.asDict().clear(),
}


def untouched():
    return seen_by(LOOKS, COLUMNS)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_slicing_function_cannot_change_what_the_next_one_sees(change):
    def tries(x):
        change(x)
        return True

    looks = {name: [] for name in LOOKS}
    sfs = [SlicingFunction("tries", tries)]
    sfs += [
        SlicingFunction(n, lambda x, n: (looks[n].append(LOOKS[n](x)), True)[1], {"n": n})
        for n in LOOKS
    ]
    Kernel(sfs).run({c: v if isinstance(v, pa.Array) else pa.array(v) for c, v in COLUMNS.items()})
    assert looks == untouched()


@pytest.mark.parametrize("memoize", [False, True])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_preprocessor_changes_its_own_copy_only(change, memoize):
    @preprocessor(memoize=memoize)
    def p(x):
        change(x)
        return x

    plain = {name: [] for name in LOOKS}
    sfs = [SlicingFunction("first", lambda x: True, pre=[p])]
    sfs += [
        SlicingFunction(n, lambda x, n: (plain[n].append(LOOKS[n](x)), True)[1], {"n": n})
        for n in LOOKS
    ]
    sfs += [SlicingFunction("last", lambda x: True, pre=[p])]
    Kernel(sfs).run({c: v if isinstance(v, pa.Array) else pa.array(v) for c, v in COLUMNS.items()})
    assert plain == untouched()


@pytest.mark.parametrize("memoize", [False, True])
def test_what_a_preprocessor_changed_its_own_functions_see_the_same_each_time(memoize):
    @preprocessor(memoize=memoize)
    def p(x):
        x.tags.append("more")
        x.made = [x.text]
        del x.text
        return x

    def tries(x):
        assert "text" not in x
        before = (list(x.tags), list(x.made))
        x.tags.append("leak")
        x.made.append("leak")
        return before == (["x", "more"], ["a"])

    sfs = [SlicingFunction(f"s{n}", tries, pre=[p]) for n in range(3)]
    columns = {"text": pa.array(["a", "a"]), "tags": pa.array([["x"], ["x"]])}
    out = Kernel(sfs).run(columns)
    assert not out.faults
    assert [m.tolist() for m in out.masks.values()] == [[1, 1]] * 3


def test_a_later_preprocessor_does_not_change_an_earlier_ones_result():
    p = Preprocessor("p", lambda x: (setattr(x, "doc", SimpleNamespace(n=[1])), x)[1])
    q = Preprocessor("q", lambda x: (x.doc.n.append(2), x)[1], pre=[p])
    sfs = [
        SlicingFunction("q", lambda x: x.doc.n == [1, 2], pre=[q]),
        SlicingFunction("p", lambda x: x.doc.n == [1], pre=[p]),
    ]
    out = Kernel(sfs).run({"text": pa.array(["a"])})
    assert [m.tolist() for m in out.masks.values()] == [[1], [1]]


@pytest.mark.parametrize(
    "another",
    [
        lambda x: SimpleNamespace(text=x.text, size=len(x.text)),
        lambda x: type(x)({"text": x.text, "size": len(x.text)}, set(), set()),
        lambda x: pickle.loads(pickle.dumps((setattr(x, "size", len(x.text)), x)[1])),
    ],
)
@pytest.mark.parametrize("memoize", [False, True])
def test_a_preprocessor_may_return_another_object(another, memoize):
    p = Preprocessor("p", another, memoize=memoize)
    saw = seen_by(
        {"s": lambda x: (x.text, x.size)}, {"text": ["a", "bb", "a"], "n": [1, 2, 3]}, [p]
    )
    assert saw["s"] == [("a", 1), ("bb", 2), ("a", 1)]
