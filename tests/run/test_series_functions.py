"""Functions of pandas Series: a null stays null, whatever the column's type and the idiom."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import PandasSFApplier, SlicingFunction, compile_slices
from engine.run.series import NullSeries, null_series, pandas_series

D = Decimal
DAY, DAYS = dt.date(2024, 2, 29), dt.timedelta(days=1)
NAIVE = dt.datetime(2024, 2, 29, 12, 30)
AWARE = NAIVE.replace(tzinfo=dt.UTC)
EARLIER = pd.Timestamp("2000-01-01")

# A column, called as its type is: three values, one of them null.
TYPES = {
    "text": (pa.string(), ["ab c", None, "X"]),
    "int": (pa.int64(), [5, None, -1]),
    "byte": (pa.uint8(), [5, None, 1]),
    "float": (pa.float64(), [1.5, None, -1.0]),
    "single": (pa.float32(), [1.5, None, -1.0]),
    "bool": (pa.bool_(), [True, None, False]),
    "date": (pa.date32(), [DAY, None, dt.date(1960, 1, 1)]),
    "naive": (pa.timestamp("us"), [NAIVE, None, dt.datetime(1960, 1, 1)]),
    "aware": (pa.timestamp("us", "UTC"), [AWARE, None, dt.datetime(1960, 1, 1, tzinfo=dt.UTC)]),
    "interval": (pa.duration("us"), [2 * DAYS, None, -DAYS]),
    "decimal": (pa.decimal128(12, 2), [D("1.50"), None, D("-2.00")]),
    "binary": (pa.binary(), [b"ab", None, b""]),
    "array": (pa.list_(pa.string()), [["a", "b"], None, []]),
    "map": (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None, []]),
    "struct": (pa.struct([("n", pa.int64())]), [{"n": 1}, None, {"n": 2}]),
}
# Idioms: the masks of the two values that aren't null.
COMPARED = {
    "s.astype(object) == first": (1, 0),
    "s.mask(s != first) == first": (1, -1),
    "s.where(s == first) == first": (1, -1),
    "s.where(s == first, last) == last": (0, 1, 1),
    "s.map({first: True, last: False})": (1, 0),
    "s.map({first: 1}).fillna(0) == 1": (1, 0, 0),
    "s.map(lambda v: v == first, na_action='ignore')": (1, 0),
    "s.combine_first(pd.Series([last] * len(s))) == last": (0, 1, 1),
    "s.eq(first) & s.notna()": (1, 0, 0),
    "(s == first).map({True: True, False: False})": (1, 0),
    "np.where(s == first, True, False)": (1, 0),
    "np.equal(s, first)": (1, 0),
    "s.isin({first})": (1, 0),
    "s.isin(pd.Series([first]))": (1, 0),
    "s.isin([])": (0, 0),
    "s.isin(['zz'])": (0, 0),
    "s.to_frame('a')['a'] == first": (1, 0),
    "s.shift(0) == first": (1, 0),
    "s.copy().rename('q').reset_index(drop=True) == first": (1, 0),
    "s.groupby(s).transform('size') > 0": (1, 1),
    "s.dropna() == first": (1, 0),
    "s.eq(first, fill_value=first)": (1, 1, 0),
    "(s == first) == True": (1, 0),
    "(s == first).eq(False)": (0, 1),
    "(s == first) != (s == last)": (1, 1),
    "(s == first).where(s.notna())": (1, 0),
    "s == pd.NA": (-1, -1),
    "pd.notna(s) & (s == first)": (1, 0, 0),
    "s.pipe(lambda q: q == first)": (1, 0),
    "s.replace(first, last) == last": (1, 1),
    "s == first": (1, 0),
    "s != first": (0, 1),
    "~(s == first)": (0, 1),
    "~(s != first)": (1, 0),
    "s.eq(first)": (1, 0),
    "(s == first) | (s != first)": (1, 1),
    "(s == first) & (s != first)": (0, 0),
    "first == s": (1, 0),
    "s == s": (1, 1),
    "s.isin([first])": (1, 0),
    "~s.isin([first])": (0, 1),
    "s.where(s.notna()) == first": (1, 0),
    "s == [first, first, first]": (1, 0),
    "s.map(lambda v: v == first if v is not None and not pd.isna(v) else None)": (1, 0),
}
ORDERED = {
    "s >= first": (1, 0),
    "s < first": (0, 1),
    "~(s < first)": (1, 0),
    "s.gt(last)": (1, 0),
    "s.between(last, first)": (1, 1),
    "s.between(first, first)": (1, 0),
    "(s > last) & (s <= first)": (1, 0),
    "s.clip(first, first) == first": (1, 1),
    "first > s": (0, 1),
}
IDIOMS = {
    "text": {
        "s.str.len() > 2": (1, 0),
        "s.str.split().str.len() < 2": (0, 1),
        "s.str.isupper()": (0, 1),
        "~s.str.isupper()": (1, 0),
        "s.str.contains('b')": (1, 0),
        "~s.str.contains('b', regex=False)": (0, 1),
        "s.str.lower().str.startswith('x')": (0, 1),
        "s.str[0] == 'X'": (0, 1),
        "s.str.count('b') == 1": (1, 0),
        "s.str.extract('(b)', expand=False) == 'b'": (1, -1),
        "s.str.split(' ', expand=True)[0] == 'ab'": (1, 0),
        "s.str.replace('a', '') != s": (1, 0),
        "s + '!' == 'X!'": (0, 1),
    },
    "int": {"s % 2 == 1": (1, 1), "s * 2.5 > 1": (1, 0), "s / 2 > 1": (1, 0), "s + 1 == 0": (0, 1),
            "s // 2 == 2": (1, 0), "np.abs(s) == 1": (0, 1), "-s > 0": (0, 1),
            "s.astype(float) > 1": (1, 0), "s.map(lambda v: v + 1) > 1": (1, 0),
            "s.abs() > 1": (1, 0), "np.log2(s.abs() + 3) == 3": (1, 0)},
    "float": {"s * 2 == 3": (1, 0), "s.round() == 2": (1, 0), "s.to_numpy() > 1": (1, 0),
              "s // 1 == 1": (1, 0), "np.floor(s) == 1": (1, 0),
              "s.apply(lambda v: v > 0)": (1, 0)},
    "bool": {"s": (1, 0), "~s": (0, 1), "s & True": (1, 0), "s ^ True": (0, 1)},
    "date": {"s > dt.date(2000, 1, 1)": (1, 0), "pd.to_datetime(s).dt.year < 2000": (0, 1),
             "pd.to_datetime(s) > '2000-01-01'": (1, 0),
             "s.map(lambda d: d.year) == 2024": (1, 0),
             "s.apply(lambda d: d.weekday() == 3)": (1, 0),
             "(s - dt.date(2024, 1, 1)) > dt.timedelta(0)": (1, 0),
             "s.dt.date == first": (1, 0), "s.dt.month == 2": (1, 0),
             "s.dt.to_period('M') == '2024-02'": (1, 0),
             "s.dt.year.fillna(2024) == 2024": (1, 1, 0),
             "s.fillna(first).dt.year == 2024": (1, 1, 0),
             "s.dt.month.map({2: True, 1: False})": (1, 0),
             "(s.max() - s).dt.days > 1": (0, 1),
             "s.astype('datetime64[s]') > '2000-01-01'": (1, 0),
             "s.astype(str).str.startswith('2024')": (1, 0),
             "(s + dt.timedelta(days=1)) == dt.date(1960, 1, 2)": (0, 1)},
    "naive": {"s > '2000-01-01'": (1, 0), "s > EARLIER": (1, 0),
              "s > np.datetime64('2000-01-01')": (1, 0), "s.between('2000', '2030')": (1, 0),
              "s.dt.tz_localize('UTC') > AWARE": (0, 0),
              "s.dt.date == dt.date(2024, 2, 29)": (1, 0)},
    "aware": {"s > '2000-01-01'": (1, 0), "s.dt.tz_convert('Asia/Tokyo').dt.hour == 21": (1, 0),
              "s.dt.tz_localize(None) > EARLIER": (1, 0)},
    "interval": {"s > '1 day'": (1, 0), "s.dt.days > 1": (1, 0), "s.dt.total_seconds() < 0": (0, 1),
                 "s / pd.Timedelta(hours=1) > 47": (1, 0), "s * 2 > dt.timedelta(days=3)": (1, 0)},
    "decimal": {"s > 1": (1, 0), "s > 1.25": (1, 0), "s * 2 == 3": (1, 0), "s + 1 < 0": (0, 1),
                "s.abs() > 1": (1, 1), "-s == 2": (0, 1), "s.astype(float) > 1": (1, 0),
                "s.map(float) > 1": (1, 0), "pd.to_numeric(s) > 1": (1, 0), "s / 2 > 0": (1, 0)},
    "binary": {"s.str.len() > 1": (1, 0), "s.map(len) == 0": (0, 1),
               "s.str.decode('utf-8') == 'ab'": (1, 0)},
    "array": {"s.str.len() > 1": (1, 0), "s.map(len) > 1": (1, 0), "s.str[0] == 'a'": (1, -1),
              "s.apply(lambda v: 'a' in v)": (1, 0)},
    "map": {"s.map(len) > 0": (1, 0), "s.str['a'] == 1": (1, -1), "s.str.get('a') == 1": (1, -1),
            "s.map(lambda v: v.get('a', 0)) > 0": (1, 0), "s.map(lambda v: 'a' in v)": (1, 0)},
    "struct": {"s.map(lambda v: v['n']) == 1": (1, 0), "s.str['n'] > 1": (0, 1),
               "s.map(lambda v: v.n) == 1": (1, 0)},
}  # fmt: skip
TIMES = {
    "s.dt.year > 2000": (1, 0),
    "s.dt.hour == 12": (1, 0),
    "s.dt.day_of_week.isin([3])": (1, 0),
    "~s.dt.day_of_week.isin([5, 6])": (1, 1),
    "s.dt.day_name() == 'Thursday'": (1, 0),
    "s.dt.strftime('%Y') == '2024'": (1, 0),
    "s.apply(lambda v: v.hour > 3)": (1, 0),
    "s.map(lambda v: v.year) > 2000": (1, 0),
    "s.dt.is_month_start": (0, 1),
    "~s.dt.is_month_end": (0, 1),
    "s.dt.normalize() == s": (0, 1),
    "s.dt.floor('D') < s": (1, 0),
    "s.dt.isocalendar().week == 9": (1, 0),
    "s.dt.date.map(lambda d: d.year) == 2024": (1, 0),
    "s + pd.Timedelta(hours=1) > s": (1, 1),
    "(s - s.min()).dt.days > 1": (1, 0),
    "(s - s.min()) > '1 day'": (1, 0),
    "s + pd.DateOffset(months=1) > s": (1, 1),
}
IDIOMS["naive"] |= TIMES
IDIOMS["aware"] |= TIMES
# Of what is made of times, dates have what says nothing of the time of day.
IDIOMS["date"] |= {
    idiom: said
    for idiom, said in TIMES.items()
    if ".dt." in idiom and not any(part in idiom for part in ("hour", "normalize", "floor"))
}
NOT_ORDERED = {"binary", "array", "map", "struct", "bool"}
NOT_COMPARED = {"array", "map", "struct"}  # pandas compares a list with each row
HANDLED = {  # functions that handle null say what it means
    "s.isna()": (0, 1, 0),
    "s.notna()": (1, 0, 1),
    "~s.isna()": (1, 0, 1),
    "s.isnull() | (s == first)": (1, 1, 0),
    "s.fillna(first) == first": (1, 1, 0),
    "(s == first).fillna(False)": (1, 0, 0),
    "s.isin([first, None])": (1, 1, 0),
}


def law():
    """Yield type, idiom, and the masks of a value, null and another value."""
    for name in TYPES:
        idioms = {} if name in NOT_COMPARED else {**COMPARED, **HANDLED}
        if name not in NOT_ORDERED:
            idioms |= ORDERED
        for idiom, said in {**idioms, **IDIOMS.get(name, {})}.items():
            yield name, idiom, list(said if len(said) == 3 else (said[0], -1, said[1]))


def function_of(name, idiom, slice_id="f"):
    """Write an idiom as a function of the column that is called as its type."""
    first, _, last = TYPES[name][1]
    known = {"pd": pd, "np": np, "dt": dt, "AWARE": AWARE, "EARLIER": EARLIER}
    known |= {"first": first, "last": last}
    exec(f"def f({name}: pd.Series):\n    s = {name}\n    return {idiom}", known)
    return SlicingFunction(slice_id, known["f"])


def frames_of(name):
    """Yield the column as pandas may hold it."""
    kind, values = TYPES[name]
    array = pa.array(values, kind)
    yield (
        "arrow",
        pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([array[:1], array[1:]]))),
    )
    if name not in ("map", "struct"):
        yield "object", pd.Series(values, dtype=object)
    if name in ("text", "int", "float", "date", "decimal", "binary"):
        yield "category", pd.Series(pd.Categorical(values))
    own = {
        "text": ("string[python]", "string[pyarrow]"), "int": ("Int64", "float64", "Sparse[float]"),
        "float": ("float64", "Float64", "float32"), "single": ("float32", "float16"),
        "bool": ("boolean",), "naive": ("datetime64[us]", "datetime64[ns]"),
        "aware": ("datetime64[ns, UTC]",), "interval": ("timedelta64[ns]",), "byte": ("UInt8",),
    }  # fmt: skip
    for dtype in own.get(name, ()):
        yield dtype, pd.Series(values, dtype=object).astype(dtype)


@pytest.mark.parametrize(
    ("name", "idiom", "expected"), [pytest.param(*c, id=f"{c[0]}: {c[1]}") for c in law()]
)
def test_a_null_stays_null(name, idiom, expected):
    sf = function_of(name, idiom)
    kind, values = TYPES[name]
    table = pa.table({name: pa.array(values, kind)})
    masks = compile_slices([sf], table).apply(table)["f"].to_pylist()
    assert [-1 if m is None else int(m) for m in masks] == expected
    for form, series in frames_of(name):
        S = PandasSFApplier([sf]).apply(pd.DataFrame({name: series}), progress_bar=False)
        assert S["f"].tolist() == expected, form


def test_an_order_of_categories_is_kept():
    sizes = pd.Series(pd.Categorical(["S", None, "L"], ["S", "M", "L"], ordered=True))

    def at_least_m(size: pd.Series):
        return size >= "M"

    S = PandasSFApplier([SlicingFunction("m", at_least_m)]).apply(pd.DataFrame({"size": sizes}))
    assert S["m"].tolist() == [0, -1, 1]


def test_nan_is_no_null_where_the_two_are_told_apart():
    numbers = pa.array([1.0, None, float("nan")])

    def positive(n: pd.Series):
        return n > 0

    sf = SlicingFunction("positive", positive)
    table = pa.table({"n": numbers})
    assert compile_slices([sf], table).apply(table)["positive"].to_pylist() == [True, None, False]
    frame = pd.DataFrame({"n": numbers.to_pandas()})  # where both are NaN, and so null
    assert PandasSFApplier([sf]).apply(frame)["positive"].tolist() == [1, -1, -1]


def test_rows_with_null_are_apart_where_a_function_fails_on_null():
    calls = []

    def long(words: pd.Series):
        calls.append(len(words))
        return words.map(len) > 1

    rows = [["a", "b"], None] * 500
    S = PandasSFApplier([SlicingFunction("long", long)]).apply(pd.DataFrame({"words": rows}))
    assert S["long"].tolist() == [1, -1] * 500
    assert calls[:3] == [1000, 500, 500]


def test_answers_are_series_too():
    texts = null_series(pa.array(["a b", None]))
    assert type(texts.str.split().str.len()) is NullSeries
    assert type(texts.str.split(" ", expand=True)[0]) is NullSeries
    assert type(texts.to_frame("t")["t"]) is NullSeries
    times, _ = pandas_series(pd.Series([NAIVE, None]))
    assert (times.dt.hour > 11).tolist() == [True, pd.NA]
    assert dir(texts.str) == dir(pd.Series(texts).str)
