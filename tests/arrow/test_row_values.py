"""The values that row and vectorised functions see, from Arrow and from pandas."""

from __future__ import annotations

import datetime as dt
import operator
import pickle
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices
from engine.arrow.columns import plain_array
from engine.arrow.values import pandas_values, python_values
from engine.run.series import null_series, pandas_series
from engine.slicing.rows import Struct, own_copy

NAN = float("nan")
BERLIN = ZoneInfo("Europe/Berlin")
STAMP = dt.datetime(2024, 2, 29, 12, 30, 0, 123456)


def described(values):
    """Return values with their types, NaN comparable and rows as they print."""
    return [(type(v).__name__, repr(v)) for v in values]


ARROW = {
    "text": (pa.array(["a", "", None]), ["a", "", None]),
    "large text": (pa.array(["a", None], pa.large_string()), ["a", None]),
    "int": (pa.array([1, None, 2**62], pa.int64()), [1, None, 2**62]),
    "byte": (pa.array([1, None], pa.int8()), [1, None]),
    "bool": (pa.array([True, None, False]), [True, None, False]),
    "float": (pa.array([1.5, None, NAN, -0.0]), [1.5, None, NAN, -0.0]),
    "binary": (pa.array([b"\x00", None]), [b"\x00", None]),
    "decimal": (
        pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
        [Decimal("1.50"), None],
    ),
    "date": (pa.array([dt.date(2024, 2, 29), None]), [dt.date(2024, 2, 29), None]),
    "naive": (pa.array([STAMP, None], pa.timestamp("us")), [STAMP, None]),
    "naive ns": (pa.array([STAMP, None], pa.timestamp("ns")), [STAMP, None]),
    "utc": (
        pa.array([STAMP, None], pa.timestamp("us", "UTC")),
        [STAMP.replace(tzinfo=ZoneInfo("UTC")), None],
    ),
    "berlin": (
        pa.array([dt.datetime(2024, 7, 1, tzinfo=dt.UTC)], pa.timestamp("us", "Europe/Berlin")),
        [dt.datetime(2024, 7, 1, 2, tzinfo=BERLIN)],
    ),
    "duration": (
        pa.array([dt.timedelta(seconds=1), None], pa.duration("us")),
        [dt.timedelta(seconds=1), None],
    ),
    "list": (pa.array([["a", None], [], None]), [["a", None], [], None]),
    "nested list": (pa.array([[[1], None], None]), [[[1], None], None]),
    "fixed list": (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), [[1, 2]]),
    "struct": (
        pa.array([{"x": 1, "y": {"z": "a"}}, None]),
        [Struct({"x": 1, "y": Struct({"z": "a"})}), None],
    ),
    "struct of null": (
        pa.array([{"x": None}], pa.struct([("x", pa.int64())])),
        [Struct({"x": None})],
    ),
    "map": (
        pa.array([[("k", 1), ("", None)], [], None], pa.map_(pa.string(), pa.int64())),
        [{"k": 1, "": None}, {}, None],
    ),
    "map of structs": (
        pa.array([[("k", {"x": 1})]], pa.map_(pa.string(), pa.struct([("x", pa.int64())]))),
        [{"k": Struct({"x": 1})}],
    ),
    "list of maps": (
        pa.array([[[("k", 1)]]], pa.list_(pa.map_(pa.string(), pa.int64()))),
        [[{"k": 1}]],
    ),
    "dictionary": (pa.array(["a", None]).dictionary_encode(), ["a", None]),
    "null": (pa.nulls(2), [None, None]),
    "no rows": (pa.array([], pa.string()), []),
    "a slice": (pa.array(["a", "b", None])[1:], ["b", None]),
}


@pytest.mark.parametrize(("array", "values"), ARROW.values(), ids=ARROW)
def test_arrow_values_are_those_of_a_collected_row(array, values):
    assert described(python_values(plain_array(array))) == described(values)


def test_structs_are_read_by_attribute_and_item():
    [value] = python_values(pa.array([{"x": 1, "y": {"z": "a"}}]))
    assert (value.x, value["x"], value.y.z) == (1, 1, "a")


PANDAS = {
    "text": (pd.Series(["a", None, NAN]), ["a", None, None]),
    "string": (pd.Series(["a", pd.NA], dtype="string"), ["a", None]),
    "arrow text": (pd.Series(["a", None], dtype=pd.ArrowDtype(pa.string())), ["a", None]),
    "object": (
        pd.Series(["a", None, NAN, pd.NA, pd.NaT, np.nan], dtype=object),
        ["a", *[None] * 5],
    ),
    "numpy in object": (
        pd.Series([np.int64(1), np.float32("nan"), np.bool_(True), np.datetime64("NaT")]).astype(
            object
        ),
        [1, None, True, None],
    ),
    "int": (pd.Series([1, 2]), [1, 2]),
    "small int": (pd.Series([1, 2], dtype="uint8"), [1, 2]),
    "nullable int": (pd.Series([1, None], dtype="Int64"), [1, None]),
    "arrow int": (pd.Series([1, None], dtype="int64[pyarrow]"), [1, None]),
    "bool": (pd.Series([True, False]), [True, False]),
    "nullable bool": (pd.Series([True, None], dtype="boolean"), [True, None]),
    "float": (pd.Series([1.0, None, NAN]), [1.0, NAN, NAN]),
    "float32": (pd.Series([0.5, NAN], dtype="float32"), [0.5, NAN]),
    "nullable float": (pd.Series([1.0, None], dtype="Float64"), [1.0, None]),
    "naive": (pd.Series([STAMP, None]), [STAMP, None]),
    "naive ns": (pd.Series([STAMP, None]).astype("datetime64[ns]"), [STAMP, None]),
    "naive s": (
        pd.Series([dt.datetime(2024, 1, 1)]).astype("datetime64[s]"),
        [dt.datetime(2024, 1, 1)],
    ),
    "aware": (
        pd.Series([STAMP.replace(tzinfo=BERLIN), pd.NaT]),
        [STAMP.replace(tzinfo=BERLIN), None],
    ),
    "arrow time": (
        pd.Series([STAMP, None], dtype=pd.ArrowDtype(pa.timestamp("us"))),
        [STAMP, None],
    ),
    "timedelta": (pd.Series(pd.to_timedelta([1, None], "s")), [dt.timedelta(seconds=1), None]),
    "category": (pd.Series(["a", None], dtype="category"), ["a", None]),
    "int category": (pd.Series(pd.Categorical([1, None, 2])), [1, None, 2]),
    "dates": (pd.Series([dt.date(2024, 1, 1), None]), [dt.date(2024, 1, 1), None]),
    "decimals": (pd.Series([Decimal("1.0"), None]), [Decimal("1.0"), None]),
    "lists": (pd.Series([["a"], None]), [["a"], None]),
    "arrow struct": (
        pd.Series(pd.arrays.ArrowExtensionArray(pa.array([{"x": 1}, None]))),
        [Struct({"x": 1}), None],
    ),
    "no rows": (pd.Series([], dtype="str"), []),
}


@pytest.mark.parametrize(("series", "values"), PANDAS.values(), ids=PANDAS)
def test_pandas_values_keep_null_and_nan_apart(series, values):
    assert described(pandas_values(series)) == described(values)
    indexed = series.set_axis(range(5, 5 + len(series)))
    assert described(pandas_values(indexed)) == described(values)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (pa.array([1, None]), "Int64"),
        (pa.array([1, None], pa.int32()), "Int32"),
        (pa.array([True, None]), "boolean"),
        (pa.array([1.5, None]), "Float64"),
        (pa.array(["a", None]), "string"),
        (pa.array([], pa.string()), "string"),
        (pa.nulls(1, pa.string()), "string"),
        (pa.array([STAMP, None], pa.timestamp("us", "UTC")), "datetime64[us, UTC]"),
        (pa.array([["a"], None]), "object"),
    ],
)
def test_series_from_arrow_keep_null(array, dtype):
    series = null_series(array)
    assert str(series.dtype) == dtype
    assert series.isna().tolist() == array.is_null().to_pylist()


def test_a_text_series_from_arrow_uses_pythons_re():
    texts = null_series(pa.array(["\u0130STANBUL", "Straße", None]))
    assert texts.str.contains("İ", case=True).tolist() == [True, False, pd.NA]
    assert texts.str.lower().tolist()[0] == "\u0130STANBUL".lower()


@pytest.mark.parametrize(
    ("series", "dtype"),
    [
        (pd.Series(["a", None]), "string"),
        (pd.Series(["a", None], dtype=object), "string"),
        (pd.Series([None, None], dtype=object), "string"),
        (pd.Series([], dtype=object), "string"),
        (pd.Series([1, None], dtype=object), "Int64"),
        (pd.Series([1, 2]), "Int64"),
        (pd.Series([True, None], dtype=object), "boolean"),
        (pd.Series([1.0, None]), "Float64"),
        (pd.Series([["a"], None]), "object"),
        (pd.Series([dt.date(2024, 1, 1), None]), "object"),
    ],
)
def test_series_at_the_pandas_edge(series, dtype):
    made, unreadable = pandas_series(series)
    assert (str(made.dtype), unreadable) == (dtype, {})
    assert made.isna().tolist() == series.isna().tolist()


STRUCTS = {
    "its fields in order": lambda s: [v for v in s],  # noqa: C416
    "a list of it": list,
    "unpacked": lambda s: [(c, b, a) for a, b, c in [s]],
    "its length": len,
    "by place": lambda s: (s[0], s[-1], s[1:]),
    "by name": lambda s: (s.a, s["b"]),
    "beyond its end": lambda s: s[3],
    "no field": lambda s: s["d"],
    "a name in it": lambda s: ("a" in s, "d" in s, 1 in s),
    "equal": lambda s: (
        s == (1, "x", None),
        operator.eq((1, "x", None), s),
        s == [1, "x", None],
        s != (1,),
    ),
    "in a set": lambda s: s in {(1, "x", None)},
    "smaller": lambda s: (s < (2,), s >= (1, "x"), operator.lt((0,), s), max(s, s) == s),
    "sorted": lambda s: [tuple(v) for v in sorted([s, (0,)])],
    "a dict of it": lambda s: s.asDict(),
    "true": bool,
}


@pytest.mark.parametrize("ask", STRUCTS.values(), ids=STRUCTS)
def test_a_struct_is_what_a_collected_row_has(ask):
    from pyspark.sql import Row as SparkRow

    def said(struct):
        try:
            return ask(struct)
        except Exception as error:
            return LookupError if isinstance(error, LookupError | ValueError) else type(error)

    fields = [("a", pa.int64()), ("b", pa.string()), ("c", pa.int64())]
    given = {"a": 1, "b": "x", "c": None}
    (value,) = python_values(pa.array([given], pa.struct(fields)))
    assert said(value) == said(SparkRow(**given))
    assert said(own_copy(value)) == said(pickle.loads(pickle.dumps(value))) == said(value)


def test_every_tier_reads_structs_as_rows_do(both_ways):
    kind = pa.struct([("low", pa.int64()), ("high", pa.int64())])
    table = pa.table({
        "s": pa.array([{"low": 1, "high": 5}, {"low": 9, "high": 2}, None], kind),
        "l": pa.array([[{"low": 3, "high": 0}, {"low": 1, "high": 7}]] * 3, pa.list_(kind)),
    })  # fmt: skip

    def unpacked(x):
        low, high = x.s
        return low < high

    sfs = [
        SlicingFunction("unpacked", unpacked),
        SlicingFunction("item", lambda x: x.s[0] < x.s[1]),
        SlicingFunction("length", lambda x: len(x.s) == 2),
        SlicingFunction("equal", lambda x: x.s == (1, 5)),
        SlicingFunction("total", lambda x: sum(x.s) == 6),
        SlicingFunction("smallest", lambda x: min(x.l).low == 1),
        SlicingFunction("later", lambda x: x.s > (2, 0)),
    ]
    masks = compile_slices(sfs, table.schema).apply(table)
    assert {sf.name: masks[sf.name].to_pylist() for sf in sfs} == {
        "unpacked": [True, False, None],
        "item": [True, False, None],
        "length": [True, True, None],
        "equal": [True, False, False],
        "total": [True, False, None],
        "smallest": [True, True, True],
        "later": [False, True, None],
    }
