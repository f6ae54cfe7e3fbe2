"""SFApplier, PandasSFApplier and slice_dataframe: shapes, and what they refuse."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from engine import (
    PandasSFApplier,
    SFApplier,
    SlicingFunction,
    SparkSFApplier,
    preprocessor,
    slice_dataframe,
    slicing_function,
    where,
)
from engine.errors import ColumnError, SliceError, SliceFaultError
from engine.label import appliers

pytestmark = pytest.mark.usefixtures("both_ways")


@slicing_function()
def short(x):
    return len(x.text) < 3


@slicing_function(name="Long one")
def long_one(x):
    return len(x.text) > 2


@slicing_function()
def shouting(text: pd.Series):
    return text.str.isupper()


@slicing_function()
def inverse(x):
    return 1 / x.n > 0.5


DF = pd.DataFrame({"text": ["a", "abc", None], "n": [1, 0, 2]}, index=["x", "y", "z"])


def test_masks_are_a_record_array_of_int64_named_as_the_slices():
    S = PandasSFApplier([short, long_one, shouting]).apply(DF, progress_bar=False)
    assert type(S) is np.recarray
    assert S.dtype == [("short", np.int64), ("Long one", np.int64), ("shouting", np.int64)]
    assert S.shape == (3,)
    assert S.short.tolist() == [1, 0, -1]
    assert S["Long one"].tolist() == [0, 1, -1]
    assert S["shouting"].tolist() == [0, 0, -1]


def test_the_call_shapes():
    applier = PandasSFApplier([short])
    assert applier.apply(DF)["short"].tolist() == [1, 0, -1]
    assert applier.apply(DF, True)["short"].tolist() == [1, 0, -1]
    S, meta = applier.apply(df=DF, progress_bar=False, fault_tolerant=True, return_meta=True)
    assert (S["short"].tolist(), meta.faults) == ([1, 0, -1], {})
    assert repr(applier) == "PandasSFApplier, SFs: ['short']"
    assert repr(SFApplier([short])) == "SFApplier, SFs: ['short']"


def test_no_progress_bar_where_the_output_is_no_terminal(capsys):
    PandasSFApplier([short]).apply(DF)
    assert capsys.readouterr() == ("", "")


def test_faults_stop_or_are_counted():
    applier = PandasSFApplier([short, inverse])
    line = inverse.f.__code__.co_firstlineno + 2
    message = (
        "slice 'inverse' failed on row 1 (index 'y') having n=0: ZeroDivisionError: division by "
        f'zero (test_appliers.py:{line}); fix the function, or set on_error: "null" to leave '
        "such rows undecided and count them"
    )
    with pytest.raises(SliceFaultError, match=f"^{re.escape(message)}$"):
        applier.apply(DF, progress_bar=False)
    S, meta = applier.apply(DF, progress_bar=False, fault_tolerant=True, return_meta=True)
    assert S["inverse"].tolist() == [1, -1, 0]
    assert meta.faults == {"inverse": 1}


def test_a_list_of_objects_names_the_position_only():
    points = [SimpleNamespace(n=2), SimpleNamespace(n=0)]
    with pytest.raises(SliceFaultError, match=r"^slice 'inverse' failed on row 1 having n=0: Zero"):
        SFApplier([inverse]).apply(points)


def test_data_points_may_be_namespaces_arrays_dicts_or_anything():
    points = [SimpleNamespace(text="a"), SimpleNamespace(text="abc"), SimpleNamespace(text=None)]
    S, meta = SFApplier([short]).apply(points, return_meta=True)
    assert (S["short"].tolist(), meta.faults) == ([1, 0, -1], {})
    big = SlicingFunction("big", lambda x: x[0] > 42)
    assert SFApplier([big]).apply(np.array([[10], [100]]))["big"].tolist() == [0, 1]
    item = SlicingFunction("item", lambda x: x["a"] > 1)
    assert SFApplier([item]).apply([{"a": 1}, {"a": 2}])["item"].tolist() == [0, 1]
    whole = SlicingFunction("whole", lambda x: x > 1)
    assert SFApplier([whole]).apply(range(3))["whole"].tolist() == [0, 0, 1]


def test_the_users_data_is_not_changed():
    @preprocessor()
    def changes(x):
        x.tags.append("p")
        x.text = "changed"
        return x

    @slicing_function(pre=[changes])
    def after(x):
        return x.tags == ["a", "p"]

    @slicing_function()
    def direct(x):
        x.tags.append("s")
        return True

    @slicing_function()
    def in_place(n: pd.Series):
        n[:] = 7.0
        return n > 6

    df = pd.DataFrame({"text": ["t"], "tags": [["a"]], "n": [1.0]})
    S = PandasSFApplier([direct, after, in_place]).apply(df)
    assert S.tolist() == [(1, 1, 1)]
    assert df.to_dict("list") == {"text": ["t"], "tags": [["a"]], "n": [1.0]}
    points = [SimpleNamespace(text="t", tags=["a"])]
    assert SFApplier([direct, after]).apply(points).tolist() == [(1, 1)]
    assert points == [SimpleNamespace(text="t", tags=["a"])]


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7])
def test_batches_meet_without_gap(monkeypatch, rows):
    monkeypatch.setattr(appliers, "BATCH", 3)
    numbers = list(range(rows))
    even = SlicingFunction("even", lambda x: x.n % 2 == 0)
    S = PandasSFApplier([even]).apply(pd.DataFrame({"n": numbers}), progress_bar=False)
    assert S["even"].tolist() == [int(n % 2 == 0) for n in numbers]
    points = [SimpleNamespace(n=n) for n in numbers]
    assert SFApplier([even]).apply(points, progress_bar=False)["even"].tolist() == S.even.tolist()


def test_a_fault_in_a_later_batch_names_its_row(monkeypatch):
    monkeypatch.setattr(appliers, "BATCH", 2)
    df = pd.DataFrame({"n": [1, 1, 1, 0]}, index=[10, 11, 12, 13])
    with pytest.raises(SliceFaultError, match=r"^slice 'inverse' failed on row 3 \(index 13\)"):
        PandasSFApplier([inverse]).apply(df)


def test_columns_called_like_methods_numbers_and_spaces():
    df = pd.DataFrame({"count": [1], "get": [2], "asDict": [3], 0: [4], "a b": [5], "index": [6]})
    f = SlicingFunction(
        "f",
        lambda x: (x.count, x["get"], x.asDict, x["0"], x["a b"], x.index) == (1, 2, 3, 4, 5, 6),
    )
    assert PandasSFApplier([f]).apply(df)["f"].tolist() == [1]


def test_a_missing_column_is_named_before_anything_runs():
    calls = []
    typo = SlicingFunction("typo", lambda x: (calls.append(1), x.txet)[1])
    message = "slice 'typo': there is no column 'txet'; did you mean 'text'?"
    with pytest.raises(ColumnError, match=f"^{re.escape(message)}$"):
        PandasSFApplier([typo]).apply(DF)

    @slicing_function()
    def vectorised(txet: pd.Series):
        return txet.isna()

    message = "slice 'vectorised': there is no column 'txet'; did you mean 'text'?"
    with pytest.raises(ColumnError, match=f"^{re.escape(message)}$"):
        PandasSFApplier([vectorised]).apply(DF)
    assert calls == []


def test_a_function_that_looks_first_may_name_a_column_that_is_not_there():
    guarded = SlicingFunction("guarded", lambda x: "lang" in x and x.lang == "en")
    assert PandasSFApplier([guarded]).apply(DF)["guarded"].tolist() == [0, 0, 0]


def test_slice_dataframe_returns_the_rows_in_the_slice():
    found = slice_dataframe(DF, short)
    assert found.index.tolist() == ["x"]
    pd.testing.assert_frame_equal(found, DF.loc[["x"]])
    assert slice_dataframe(DF.iloc[:0], short).empty
    assert slice_dataframe(df=DF, slicing_function=long_one).index.tolist() == ["y"]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: PandasSFApplier([short, short]),
            SliceError,
            "slices 'short' and 'short' have the same id 'short' (ids are compared ignoring case); "
            "give one of them another id",
        ),
        (
            lambda: PandasSFApplier([short, SlicingFunction("short", len, id="other")]),
            SliceError,
            "slice 'short': another slice has this name; give one another name",
        ),
        (
            lambda: PandasSFApplier([where("w", "n > 1")]).apply(DF),
            SliceError,
            "slice 'w': a sql slice cannot be applied by PandasSFApplier",
        ),
        (
            lambda: SFApplier([shouting]).apply([1]),
            SliceError,
            "slice 'shouting': a pandas slice cannot be applied by SFApplier",
        ),
        (
            lambda: SFApplier([SlicingFunction("c", lambda: None)]).apply([1]),
            SliceError,
            "slice 'c': a column slice cannot be applied by SFApplier",
        ),
    ],
)
def test_what_cannot_be_applied(make, kind, message):
    with pytest.raises(kind, match=f"^{re.escape(message)}$") as caught:
        make()
    assert isinstance(caught.value, ValueError)


def test_the_spark_applier_is_made_without_spark():
    assert repr(SparkSFApplier([where("w", "n > 1")])) == "SparkSFApplier, SFs: ['w']"


def test_every_form_of_python_function_in_one_call():
    @preprocessor()
    def size(x):
        x.size = len(x.text)
        return x

    sized = SlicingFunction("sized", lambda x, n: x.size == n, {"n": 3}, [size])
    S = PandasSFApplier([short, shouting, sized]).apply(DF, progress_bar=False)
    assert S.tolist() == [(1, 0, 0), (0, 0, 1), (-1, -1, -1)]
