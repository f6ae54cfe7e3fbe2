"""Preprocessors of batches give, row for row, what the same gives called on each row alone."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from random import Random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import (
    PandasSFApplier,
    Preprocessor,
    SFApplier,
    SlicingFunction,
    SparkSFApplier,
    compile_slices,
    preprocessor,
    slicing_function,
)
from engine.errors import SliceError
from engine.run import preprocess
from engine.run.kernel import Kernel
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.rows import Row


def counted(calls, **more):
    @preprocessor(batch=True, **more)
    def sizes(xs):
        calls.append(list(xs.text))
        xs.size = [len(text) for text in xs.text]
        return xs

    return sizes


def over_one(*pre):
    return SlicingFunction("over_one", lambda x: x.size > 1, pre=pre)


def run(sfs, **columns):
    return Kernel(sfs).run({c: pa.array(v) for c, v in columns.items()})


def test_it_runs_once_per_batch_in_the_rows_order():
    calls = []
    p = counted(calls)
    sfs = [SlicingFunction(f"s{n}", lambda x, n: x.size > n, {"n": n}, [p]) for n in range(3)]
    out = run(sfs, text=["a", "bb", "ccc", "a"])
    assert calls == [["a", "bb", "ccc", "a"]]
    assert [m.tolist() for m in out.masks.values()] == [[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 0]]


def test_memoized_it_gets_each_distinct_text_once_across_batches():
    calls = []
    kernel = Kernel([over_one(counted(calls, memoize=True))])
    batches = [["a", "bb", "a"], ["bb", "c", "c"]]
    masks = [kernel.run({"text": pa.array(b), "n": pa.array([1, 2, 3])}).masks for b in batches]
    assert calls == [["a", "bb"], ["c"]]
    assert [m["over_one"].tolist() for m in masks] == [[0, 1, 0], [1, 0, 0]]


def test_a_memo_larger_than_it_may_be_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(preprocess, "MEMO_SIZE", 2)
    calls = []
    kernel = Kernel([over_one(counted(calls, memoize=True))])
    for batch in (["a", "bb", "c"], ["a"], ["c"]):
        assert kernel.run({"text": pa.array(batch)}).masks["over_one"][0] == 0
    assert calls == [["a", "bb", "c"], ["a"]]


def test_rows_that_are_null_fail_by_themselves_and_are_no_faults(both_ways):
    calls = []
    out = run([over_one(counted(calls))], text=["a", None, "bb", None])
    assert out.masks["over_one"].tolist() == [0, -1, 1, -1]
    assert not out.faults
    if both_ways == "fast":
        assert calls == [["a", None, "bb", None], ["a", "bb"], [None, None], [None], [None]]


@pytest.mark.parametrize("memoize", [False, True])
def test_a_failing_row_is_a_fault_of_its_own(memoize, both_ways):
    @preprocessor(batch=True, memoize=memoize)
    def inverse(xs):
        xs.inverse = [1 / n for n in xs.n]
        return xs

    sf = SlicingFunction("s", lambda x: x.inverse > 0.3, pre=[inverse])
    n = [*range(1, 6), 0, *range(1, 6), None, 0]
    out = run([sf], n=n, other=["a"] * len(n))
    one = [1, 1, 1, 0, 0]
    assert out.masks["s"].tolist() == [*one, -1, *one, -1, -1]
    line = inverse.f.__code__.co_firstlineno + 2
    assert [(f.row, f.read, f.cause) for f in out.faults] == [
        (row, "n=0", f"ZeroDivisionError: division by zero (test_batch_preprocessors.py:{line})")
        for row in (5, 12)
    ]


def test_bad_rows_are_found_in_few_calls():
    calls = []

    @preprocessor(batch=True)
    def p(xs):
        calls.append(len(xs.n))
        xs.m = [1 // (n - 700) for n in xs.n]
        return xs

    out = run([SlicingFunction("s", lambda x: x.m == 0, pre=[p])], n=list(range(1_000)))
    assert [f.row for f in out.faults] == [700]
    assert len(calls) < 25


def test_only_what_it_names_crosses_and_is_the_memos_key():
    p = counted([], memoize=True)
    schema = pa.schema([("text", pa.string()), ("n", pa.int64())])
    plan = compile_slices([over_one(p)], schema)
    assert plan.crossing == ("text",)
    assert "after sizes" in str(plan.explain())


def test_batches_of_batches_with_rows_between():
    one = counted([])
    twice = Preprocessor("twice", lambda x: (setattr(x, "twice", 2 * x.size), x)[1], pre=[one])

    def totals(xs):
        xs.total = [a + b for a, b in zip(xs.size, xs.twice, strict=True)]
        del xs.twice
        return xs

    total = Preprocessor("total", totals, pre=[twice], batch=True)
    saw = []
    sf = SlicingFunction(
        "s", lambda x: (saw.append((x.total, x.get("twice"))), True)[1], pre=[total]
    )
    assert not run([sf], text=["a", "bb"]).faults
    assert saw == [(3, None), (6, None)]


@pytest.mark.parametrize(
    ("values", "per_row"),
    [
        ((1, 2), [1, 2]),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pd.Series([1, 2]), [1, 2]),
        (pa.array([1, None]), [1, None]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
        ((n for n in (1, 2)), [1, 2]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_fields_are_set_to_lists_of_many_kinds(values, per_row):
    saw = []
    p = Preprocessor("p", lambda xs: (setattr(xs, "v", values), xs)[1], batch=True)
    sf = SlicingFunction("s", lambda x: (saw.append(x.v), True)[1], pre=[p])
    assert not run([sf], n=[1, 2]).faults
    assert [np.asarray(v).tolist() for v in saw] == per_row
    assert {type(v) for v in saw} <= {int, str, type(None), np.ndarray}


@pytest.mark.parametrize(
    ("values", "shown"),
    [("ab", "'ab'"), (b"ab", "b'ab'"), (3, "3"), (None, "None"), ({1: 2}, "{1: 2}")],
)
def test_what_is_no_list_is_a_fault_of_each_row(values, shown):
    p = Preprocessor("p", lambda xs: (setattr(xs, "v", values), xs)[1], batch=True)
    out = run([SlicingFunction("s", lambda x: True, pre=[p])], n=[1, 2])
    assert [f.cause for f in out.faults] == [
        f"SliceError: preprocessor 'p' set 'v' to {shown}; it must set a list with a value per row"
    ] * 2


def test_a_list_of_another_length_is_a_fault_of_each_row():
    p = Preprocessor("p", lambda xs: (setattr(xs, "v", [1, 2, 3]), xs)[1], batch=True)
    out = run([SlicingFunction("s", lambda x: True, pre=[p])], n=[1, 2])
    assert [f.cause for f in out.faults] == [
        "SliceError: preprocessor 'p' set 'v' to 3 values for 1 row; it must set a list with a "
        "value per row"
    ] * 2


@pytest.mark.parametrize("gives", [None, [1]])
def test_it_must_return_the_batch(gives, both_ways):
    p = Preprocessor("p", lambda xs: gives, batch=True)
    out = run([SlicingFunction("s", lambda x: True, pre=[p])], n=[1])
    assert [f.cause for f in out.faults] == [
        f"SliceError: preprocessor 'p' returned {gives}; it must return the row"
    ]


def test_it_may_return_another_object():
    p = Preprocessor("p", lambda xs: SimpleNamespace(text=xs.text, size=[1, 2]), batch=True)
    saw = []
    sf = SlicingFunction(
        "s", lambda x: (saw.append((x.text, x.size, x.get("n"))), True)[1], pre=[p]
    )
    assert not run([sf], text=["a", "b"], n=[5, 6]).faults
    assert saw == [("a", 1, None), ("b", 2, None)]


def test_what_it_changes_in_place_others_do_not_see():
    def changes(xs):
        for tags in xs.tags:
            tags.append("y")
        xs.text[0] = "changed"
        return xs

    p = Preprocessor("p", changes, batch=True)
    saw = {"before": [], "after": []}
    sfs = [
        SlicingFunction(
            name, lambda x, n: (saw[n].append((x.text, x.tags)), True)[1], {"n": name}, pre
        )
        for name, pre in (("before", []), ("after", [p]))
    ]
    assert not run(sfs, text=["a", "b"], tags=[["x"], []]).faults
    assert saw["before"] == [("a", ["x"]), ("b", [])]
    assert saw["after"] == [("changed", ["x", "y"]), ("b", ["y"])]


def test_rows_of_other_fields_are_batches_of_their_own():
    first = Preprocessor("first", lambda x: (setattr(x, "kind", x.n) if x.n > 1 else None, x)[1])
    calls = []

    @preprocessor(pre=[first], batch=True)
    def second(xs):
        calls.append(sorted(xs.keys()))
        xs.has = ["kind" in xs] * len(xs.n)
        return xs

    out = run([SlicingFunction("s", lambda x: x.has, pre=[second])], n=[1, 2, 3, 1])
    assert out.masks["s"].tolist() == [0, 1, 1, 0]
    assert calls == [["n"], ["kind", "n"]]


def test_text_that_is_not_utf_8_is_a_fault_where_it_is_read(both_ways):
    text = pa.array([b"a", b"\xff", b"ccc"]).view(pa.string())
    other = Preprocessor("p", lambda xs: (setattr(xs, "m", xs.n), xs)[1], batch=True)
    sfs = [over_one(counted([])), SlicingFunction("m", lambda x: x.m > 1, pre=[other])]
    out = Kernel(sfs).run({"text": text, "n": pa.array([1, 2, 3])})
    assert [m.tolist() for m in out.masks.values()] == [[0, -1, 1], [0, 1, 1]]
    assert [(f.row, f.cause) for f in out.faults] == [
        (1, "the column 'text' has text that is not UTF-8 there, which Python can't read")
    ]


# Data points, called one at a time


class Comment:
    def __init__(self, text):
        self.text = text


@pytest.mark.parametrize(
    "x",
    [Row({"text": "hello"}), SimpleNamespace(text="hello"), pd.Series({"text": "hello"}),
     Comment("hello")],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_called_on_a_data_point_it_gives_a_copy(x):
    @preprocessor(batch=True)
    def p(xs):
        xs.letters = [len(text) for text in xs.text]
        xs.text = [text.upper() for text in xs.text]
        return xs

    after = p(x)
    assert (after.text, after.letters) == ("HELLO", 5)
    assert x.text == "hello"
    assert not hasattr(x, "letters")


def test_called_on_a_dict_it_gives_a_copy():
    def sizes(xs):
        xs.size = [len(t) for t in xs["text"]]
        del xs.text
        return xs

    x = {"text": "hello"}
    assert Preprocessor("p", sizes, batch=True)(x) == {"size": 5}
    assert x == {"text": "hello"}


def test_a_data_point_without_fields_is_refused():
    with pytest.raises(SliceError) as error:
        counted([])(3)
    assert str(error.value) == (
        "preprocessor 'sizes' takes batches, which have fields by name; a data point of type int "
        "has none"
    )


@pytest.mark.parametrize("memoize", [False, True])
def test_appliers_of_lists(memoize):
    calls = []
    sf = over_one(counted(calls, memoize=memoize))
    points = [SimpleNamespace(text=t) for t in ("a", "bb", "a")]
    assert SFApplier([sf]).apply(points, progress_bar=False)["over_one"].tolist() == [0, 1, 0]
    assert calls == ([["a", "bb"]] if memoize else [["a", "bb", "a"]])
    others = [Comment(t) for t in ("a", "bb", None)]  # not rows: one at a time
    assert SFApplier([over_one(counted([]))]).apply(
        others, progress_bar=False, fault_tolerant=True
    )["over_one"].tolist() == [0, 1, -1]


# Any batch function, any way to run it

TEXTS = ["", "a", "bb", "Bb", "ccc", "zero", None]
NUMBERS = [-1, 0, 1, 2, None]


def lengths(xs):
    xs.size = [len(text) for text in xs.text]
    return xs


def ratios(xs):
    xs.ratio = [n / len(text) for n, text in zip(xs.n, xs.text, strict=True)]
    return xs


def lowers(xs):
    xs.text = [text.lower() for text in xs.text]
    return xs


def knows_null(xs):
    xs.size = [0 if text is None else len(text) for text in xs.text]
    return xs


def by_numpy(xs):
    xs.size = np.array([n * 2 for n in xs.n])
    return xs


FUNCTIONS = {
    "size": lambda x: x.size > 1,
    "ratio": lambda x: x.ratio > 0.4,
    "text": lambda x: x.text == "bb",
    "both": lambda x: x.text == "bb" or x.size / x.n > 1,
}


@pytest.mark.parametrize("seed", range(12))
def test_plain_mode_gives_the_same(seed, monkeypatch):
    r = Random(seed)
    chain = [
        Preprocessor(f.__name__, f, memoize=r.random() < 0.5, batch=True)
        for f in r.choices([lengths, ratios, lowers, knows_null, by_numpy], k=3)
    ]
    sfs = [SlicingFunction(name, f, pre=r.sample(chain, 2)) for name, f in FUNCTIONS.items()]
    columns = {
        "text": pa.array([r.choice(TEXTS) for _ in range(150)]),
        "n": pa.array([r.choice(NUMBERS) for _ in range(150)]),
    }
    outs = []
    for setting in ("0", "1"):
        monkeypatch.setenv("ENGINE_PLAIN", setting)
        kernel = Kernel(sfs)
        for _ in range(2):
            out = kernel.run(columns)
            faults = sorted((f.slice_id, f.row, f.read, f.cause) for f in out.faults)
            outs.append(({s: m.tolist() for s, m in out.masks.items()}, faults))
    assert outs[0] == outs[1] == outs[2] == outs[3]
    seen = Counter(code for mask in outs[0][0].values() for code in mask)
    assert len(seen) > 1


# Where else


def test_it_is_part_of_a_fingerprint():
    one, other = (Preprocessor("p", lengths, batch=batch) for batch in (False, True))
    assert fingerprint(over_one(one)) != fingerprint(over_one(other))


def test_tables_of_pandas_and_arrow_have_the_same_masks(both_ways):
    sf = over_one(counted([], memoize=True))
    table = pa.table({"text": ["a", "bb", None], "day": [dt.date(2024, 1, 1)] * 3})
    plan = compile_slices([sf], table)
    assert plan.apply(table)["over_one"].to_pylist() == [False, True, None]
    assert PandasSFApplier([sf]).apply(table.to_pandas())["over_one"].tolist() == [0, 1, -1]


@slicing_function(pre=[Preprocessor("lengths", lengths, memoize=True, batch=True)])
def long_text(x):
    return x.size > 1


def test_in_spark(spark):
    rows = [("a",), ("bb",), (None,), ("bb",)] * 50
    masked = SparkSFApplier([long_text]).apply(spark.createDataFrame(rows, "text string"))
    expected = {"a": False, "bb": True, None: None}
    assert all(expected[row.text] is row.long_text for row in masked.collect())
