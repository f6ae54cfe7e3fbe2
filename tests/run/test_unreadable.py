"""Values that Python can't hold: a fault of the row where a function reads them, in every tier."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import SlicingFunction, compile_slices, preprocessor, slicing_function
from engine.arrow.values import pandas_values, python_values, readable
from engine.errors import SliceFaultError, UnreadableValueError
from engine.label.appliers import PandasSFApplier
from engine.label.local import batches
from engine.run.kernel import Kernel
from engine.slicing.expr import Call, Column, Const
from engine.slicing.rows import MutableRow, PartialRow, Row, Unreadable, values_of
from tests.matching.nasty import texts

BAD_BYTES = (
    b"\xff",
    b"a\xff",
    b"\xc3",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"ab\x80",
)


def text_of(values: list[bytes | None]) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


def of_numbers(values: list[int | None], kind: pa.DataType) -> pa.Array:
    width = pa.int32() if kind == pa.date32() else pa.int64()
    return pa.array(values, width).view(kind)


UTF8 = "text that is not UTF-8"
DATE = "a date before the year 1 or after 9999"
TIME = "a time before the year 1 or after 9999"
YEAR_0, YEAR_10000 = -62135596800 * 10**6 - 1, 253402300800 * 10**6
# A column of three rows, the second of which Python can't hold: what it has there, and as shown.
COLUMNS: dict[str, tuple[pa.Array, str, str]] = {
    "text": (text_of([b"ab", b"a\xff", b""]), UTF8, "X'61FF'"),
    "large": (text_of([b"ab", b"\xed\xa0\x80", b""]).cast(pa.large_binary()).view(
        pa.large_string()), UTF8, "X'EDA080'"),
    "day": (of_numbers([0, -719163, 1], pa.date32()), DATE, "0000-12-31"),
    "late": (of_numbers([0, 2932897, 1], pa.date32()), DATE, "+10000-01-01"),
    "time": (of_numbers([0, YEAR_0, 1], pa.timestamp("us", "UTC")), TIME,
             "0000-12-31T23:59:59.999999"),
    "naive": (of_numbers([0, YEAR_10000, 1], pa.timestamp("us")), TIME,
              "+10000-01-01T00:00:00.000000"),
    "tokyo": (of_numbers([0, YEAR_10000 - 1, 1], pa.timestamp("us", "Asia/Tokyo")), TIME,
              "9999-12-31T23:59:59.999999"),
    "list": (pa.ListArray.from_arrays([0, 1, 2, 3], text_of([b"ab", b"\xff", b""])),
             f"{UTF8} inside", "<list<item: string>>"),
    "struct": (pa.StructArray.from_arrays([of_numbers([0, -719163, 1], pa.date32())], ["d"]),
               "a value (date value out of range) inside", "<struct<d: date32[day]>>"),
    "map": (pa.MapArray.from_arrays([0, 1, 2, 3], ["k", "k", "k"], text_of([b"a", b"\xff", b"b"])),
            f"{UTF8} inside", "<map<string, string>>"),
    "long": (of_numbers([0, 2**62, 1], pa.duration("s")),
             "a value (Python int too large to convert to C int) inside", "<duration[s]>"),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_value_is_told_apart(name):
    array, what, shown = COLUMNS[name]
    values = python_values(array)
    assert values[1] == Unreadable(what, shown)
    assert not any(isinstance(v, Unreadable) for v in (values[0], values[2]))
    assert values[0] == python_values(array.slice(0, 1))[0]
    left, bad = readable(array)
    assert bad == {1: Unreadable(what, shown)}
    assert left.is_null().to_pylist() == [False, True, False]
    assert left.type == array.type
    assert python_values(array.slice(2)) == [values[2]]


def slices(column: str) -> list[SlicingFunction]:
    """Return functions that read the column in all the ways there are, and one that doesn't."""

    @preprocessor()
    def copied(x):
        x.copy = x[column]
        return x

    @slicing_function()
    def compared(x):
        return x[column] == "ab"

    @slicing_function()
    def known(x):
        return x[column] is not None

    @slicing_function()
    def got(x):
        return x.get(column) is not None

    @slicing_function()
    def every(x):
        return len(x.asDict()) == 2

    @slicing_function()
    def variables(x):
        return len(vars(x)) == 2

    @slicing_function()
    def named(x):
        return column in x and list(x) == x.keys() and len(str(x)) > 3

    @slicing_function(pre=[copied])
    def after(x):
        return x.copy is not None

    @slicing_function(pure=True)
    def pure(x):
        return [x[column]] > []

    @slicing_function()
    def behind(x):
        return x.n == 2 or x[column] is not None

    @slicing_function()
    def never(x):
        return x.n > 0

    return [compared, known, got, every, variables, after, pure, named, behind, never]


FAILING = {"compared", "known", "got", "every", "variables", "after", "pure"}


@pytest.mark.parametrize("tier", ["arrow", "row"])
@pytest.mark.parametrize("name", COLUMNS)
def test_reading_it_is_a_fault_in_every_python_tier(name, tier):
    array, what, shown = COLUMNS[name]
    table = pa.table({"n": [1, 2, 3], name: array})
    sfs = slices(name)
    plan = compile_slices(sfs, table.schema, tier=tier)
    ((_, _, out),) = batches(plan, table, [0])
    assert {f.slice_id for f in out.faults} == FAILING
    for fault in out.faults:
        assert fault.row == 1
        assert f"{name}={shown}" in fault.read
        assert fault.cause == (f"the column {name!r} has {what} there, which Python can't read")
    for s, codes in out.masks.items():
        assert codes[1] == (-1 if s in FAILING else 1), s
        assert -1 not in codes[[0, 2]], s


@pytest.mark.parametrize("name", ["text", "large", "day", "time", "naive", "list"])
def test_a_series_function_gets_the_other_rows(name):
    array, what, shown = COLUMNS[name]

    def f(**given):
        assert len(given[name]) == 2
        return given[name].notna() & (given["n"] > 1)

    import inspect

    f.__signature__ = inspect.Signature(
        [inspect.Parameter(c, inspect.Parameter.KEYWORD_ONLY, annotation="pd.Series")
         for c in ("n", name)]
    )  # fmt: skip
    sf, other = SlicingFunction("s", f), SlicingFunction("other", lambda x: x.n > 1)
    out = Kernel([sf, other]).run({"n": pa.array([1, 2, 3]), name: array})
    assert out.masks["s"].tolist() == [0, -1, 1]
    assert out.masks["other"].tolist() == [0, 1, 1]
    ((fault),) = out.faults
    assert (fault.row, fault.read) == (1, ", ".join(sorted(["n=2", f"{name}={shown}"])))
    assert fault.cause == f"the column {name!r} has {what} there, which Python can't read"
    out = Kernel([sf]).run({"n": pa.array([1, None, 3]), name: array})
    assert (out.masks["s"].tolist(), out.faults) == ([0, -1, 1], [])


def test_a_null_that_was_read_decides_nothing_and_is_no_fault():
    table = pa.table({"n": pa.array([1, None, 3]), "s": COLUMNS["text"][0]})
    before = SlicingFunction("before", lambda x: x.n is None and x.s == "ab")
    after = SlicingFunction("after", lambda x: x.s == "ab" and x.n is None)
    for tier in ("arrow", "row"):
        plan = compile_slices([before, after], table.schema, tier=tier)
        ((_, _, out),) = batches(plan, table, [0])
        assert [f.slice_id for f in out.faults] == ["after"]
        assert out.masks["before"].tolist() == [0, -1, 0]


def test_the_sentence():
    table = pa.table({"s": COLUMNS["text"][0]})
    plan = compile_slices([SlicingFunction("Is ab", lambda x: x.s == "ab")], table.schema)
    for given_table in (table, pa.table({"s": table["s"].cast(pa.string())})):
        with pytest.raises(SliceFaultError) as caught:
            plan.apply(given_table)
        assert str(caught.value) == (
            "slice 'Is ab' failed on row 1 having s=X'61FF': the column 's' has text that is not "
            'UTF-8 there, which Python can\'t read; fix the function, or set on_error: "null" to '
            "leave such rows undecided and count them"
        )


def test_a_data_frame_of_arrow_columns():
    df = pd.DataFrame({
        "n": [1, 2, 3], "s": pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([
            COLUMNS["text"][0]]))), "d": pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([
                COLUMNS["day"][0]]))),
    })  # fmt: skip
    sfs = [SlicingFunction("s", lambda x: x.s == "ab"), SlicingFunction("n", lambda x: x.n > 1),
           SlicingFunction("d", lambda x: x.d.year == 1970)]  # fmt: skip
    found, meta = PandasSFApplier(sfs).apply(
        df, progress_bar=False, fault_tolerant=True, return_meta=True
    )
    assert (found["s"].tolist(), found["n"].tolist()) == ([1, -1, 0], [0, 1, 1])
    assert (found["d"].tolist(), meta.faults) == ([1, -1, 1], {"s": 1, "d": 1})


def test_slices_by_value_and_compositions_too():
    table = pa.table({"s": COLUMNS["text"][0], "n": [1, 2, 3]})
    same = SlicingFunction("same", expr=Call("eq", (Column("s"), Const("ab"))))
    other = SlicingFunction("other", lambda x: x.n == 2)
    plan = compile_slices([same, same | other], table.schema)
    ((_, _, out),) = batches(plan, table, [0])
    assert out.masks["same"].tolist() == [1, -1, 0]
    assert out.masks["same_or_other"].tolist() == [1, 1, 0]
    assert [(f.slice_id, f.row) for f in out.faults] == [("same", 1)]


def test_rows_with_and_without():
    bad = Unreadable("text that is not UTF-8", "X'FF'")
    x = PartialRow({"a": 1, "s": bad})
    assert (x.a, x["a"], x.get("a"), x.get("b", 3), "s" in x, list(x)) == (
        1,
        1,
        1,
        3,
        True,
        ["a", "s"],
    )
    for read in (lambda: x.s, lambda: x["s"], lambda: x.get("s"), x.asDict, lambda: vars(x),
                 lambda: getattr(x, "s", None)):  # fmt: skip
        with pytest.raises(UnreadableValueError) as caught:
            read()
    assert str(caught.value) == (
        "the column 's' has text that is not UTF-8 there, which Python can't read"
    )
    for ask, error in ((lambda: x.b, AttributeError), (lambda: x["b"], KeyError)):
        with pytest.raises(error, match="the row has no column 'b'"):
            ask()
    assert x == PartialRow(dict(values_of(x)))
    assert repr(x) == "Row(a=1, s=X'FF')"
    assert issubclass(MutableRow, Row)


# ---- any bytes, any tier

FUNCTIONS = {
    "contains": lambda x: "a" in x.s,
    "lower": lambda x: "a" in x.s.lower(),
    "starts": lambda x: x.s.startswith("a"),
    "length": lambda x: len(x.s) > 2,
    "words": lambda x: len(x.s.split()) > 1,
    "equal": lambda x: x.s == "a",
    "listed": lambda x: x.s in ("a", "", "ab"),
    "none": lambda x: x.s is None,
    "truth": lambda x: bool(x.s),
    "short": lambda x: x.n < 2 or x.s == "a",
    "both": lambda x: x.s < "b" and x.n > 1,
    "slice": lambda x: x.s[:1] == "a",
    "chosen": lambda x: (x.s if x.n > 1 else "a") == "a",
}


@given(
    st.lists(
        st.none() | texts.map(str.encode) | st.sampled_from(BAD_BYTES) | st.binary(max_size=6),
        min_size=1, max_size=12,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_bytes_in_any_python_tier(rows):
    table = pa.table({"s": text_of(rows), "n": [i % 4 for i in range(len(rows))]})
    sfs = [SlicingFunction(name, f) for name, f in FUNCTIONS.items()]
    found = {}
    for tier in ("arrow", "row"):
        ((_, _, out),) = batches(compile_slices(sfs, table.schema, tier=tier), table, [0])
        faults = {(f.slice_id, f.row) for f in out.faults}
        found[tier] = {s: c.tolist() for s, c in out.masks.items()}, faults
    assert found["arrow"] == found["row"]
    for name in ("contains", "none", "truth", "equal"):
        wrong = {i for i, row in enumerate(rows) if row is not None and not is_utf8(row)}
        assert {row for s, row in found["row"][1] if s == name} == wrong


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_a_batch_without_such_values_is_looked_through_once(monkeypatch):
    """A validation per column and batch, and nothing per value."""
    seen: list[Any] = []
    from engine.arrow import values

    monkeypatch.setattr(values, "_separated", seen.append)
    table = pa.table({"s": ["a", None], "d": [dt.date(1, 1, 1), dt.date(9999, 12, 31)]})
    sfs = [SlicingFunction("t", lambda x: "a" in x.s), SlicingFunction("y", lambda x: x.d.year > 1)]
    compile_slices(sfs, table.schema).apply(table)
    assert not seen


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_a_data_frame_of_numpys_times(unit, zone):
    values = np.array(["2020-01-01", "-0005-01-01", "12020-01-01", "NaT"], f"datetime64[{unit}]")
    times = pd.Series(values)
    times = times if zone is None else times.dt.tz_localize(zone)
    sf = SlicingFunction("s", lambda x: x.t.year == 2020)
    found, meta = PandasSFApplier([sf]).apply(
        pd.DataFrame({"t": times}), progress_bar=False, fault_tolerant=True, return_meta=True
    )
    assert (found["s"].tolist(), meta.faults) == ([1, -1, -1, -1], {"s": 2})
    assert pandas_values(times)[2].shown.startswith("+12020-01-01T00:00:00")
    assert pandas_values(times)[1].what == TIME


@pytest.mark.parametrize("name", COLUMNS)
def test_functions_of_series_say_so_too_whatever_holds_the_column(name):
    array, what, shown = COLUMNS[name]

    def known(c: pd.Series):
        return c.map(lambda _: True)

    sf = SlicingFunction("known", known)
    arrow = pd.arrays.ArrowExtensionArray(pa.chunked_array([array[:1], array[1:]]))
    forms = [pa.table({"c": array}), pd.DataFrame({"c": arrow}, [7, 7, 8])]
    if name in ("time", "naive", "tokyo", "long"):
        forms.append(pd.DataFrame({"c": array.to_pandas()}))
    for form in forms:
        plan = compile_slices([sf], form)
        ((_, _, out),) = batches(plan, form, [0])
        assert out.masks["known"].tolist() == [1, -1, 1]
        (fault,) = out.faults
        if name == "long" and form is forms[-1]:
            shown, what = "4611686018427387904 seconds", "a length of time that is too long"
        assert (fault.row, fault.read) == (1, f"c={shown}")
        assert what in fault.cause
    S = PandasSFApplier([sf]).apply(forms[1], fault_tolerant=True, progress_bar=False)
    assert S["known"].tolist() == [1, -1, 1]
