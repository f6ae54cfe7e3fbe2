"""Look-up slices without Spark: few and many keys, what null means, what can't be looked up."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest

from engine import PandasSFApplier, SFApplier, SlicingFunction, lookup
from engine.errors import ColumnError, SliceError
from engine.slicing.expr import FEW, Lookup, without_lookups
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.lookups import versioned
from engine.slicing.slices import joined, key_tables

pytestmark = pytest.mark.usefixtures("both_ways")

DF = pd.DataFrame({"id": pd.array([1, 2, None, 4], "Int64"), "name": ["a", None, "c", "A"]})


@pytest.mark.parametrize("extra", [0, FEW])
def test_few_and_many_keys_say_the_same(extra):
    keys = [1, 4, None, *range(100, 100 + extra)]
    vip = lookup("vip", "id", keys)
    assert bool(joined([vip])) is bool(extra)
    S = PandasSFApplier([vip, (~vip).named("rest")]).apply(DF, progress_bar=False)
    assert S.tolist() == [(1, 0), (0, 1), (-1, -1), (1, 0)]
    rows = [{"id": i} for i in (1, 2, None, 4)]
    assert SFApplier([vip]).apply(rows)["vip"].tolist() == [1, 0, -1, 1]
    assert [vip(row) for row in rows] == [True, False, None, True]


def test_keys_may_be_texts_dates_arrays_or_none_at_all():
    assert lookup("a", "name", {"a", "c"})({"name": "A"}) is False
    assert lookup("a", "name", pd.Series(["a", None]))({"name": "a"}) is True
    assert lookup("a", "id", np.array([1, 2]))({"id": 2}) is True
    assert lookup("a", "day", [dt.date(2024, 1, 1)])({"day": dt.date(2024, 1, 1)}) is True
    assert lookup("a", "id", [])({"id": 2}) is False


def test_a_table_of_keys_is_read_in_spark_only():
    vip = lookup("vip", "id", table="vips", key_column="customer")
    assert vip.description == "id in customer of vips"
    message = "slice 'vip': its keys are in vips, which is read in Spark only"
    for call in (
        lambda: vip({"id": 1}),
        lambda: PandasSFApplier([vip]).apply(DF),
        lambda: SFApplier([vip]).apply([{"id": 1}]),
    ):
        with pytest.raises(SliceError, match=f"^{re.escape(message)}$"):
            call()
    both = vip & lookup("few", "id", [1])
    with pytest.raises(SliceError, match=r"^slice 'vip & few': its keys are in vips, which"):
        PandasSFApplier([both]).apply(DF)


def test_the_keys_are_in_the_fingerprint():
    def of(**how):
        return fingerprint(lookup("vip", "id", **how))

    assert of(keys=[1, 2]) == of(keys={2, 1}) == of(keys=[2, None, 1, 1], how="join")
    assert of(keys=[1, 2]) != of(keys=[1, 3])
    assert of(keys=[1]) != of(keys=["1"])
    assert of(table="t") == of(table="t", key_column="id") != of(table="u")
    assert of(table="t") != of(table="t", key_column="other")
    assert fingerprint(lookup("vip", "other", [1])) != of(keys=[1])


def test_a_tables_version_is_in_the_fingerprint_also_of_compositions():
    vip, short = lookup("vip", "id", table="t"), SlicingFunction("short", len)
    assert key_tables([short, ~vip, vip]) == ["t"]
    for sf in (vip, vip & short, ~vip):
        first, again, later = (versioned(sf, {"t": v}) for v in "112")
        assert fingerprint(first) == fingerprint(again) != fingerprint(later)
        assert (first.id, first.name) == (sf.id, sf.name)
        assert joined([first])[0].keys.version == "1"
    assert versioned(short, {}) is short


def test_one_look_up_in_two_slices_is_joined_once():
    vip = lookup("vip", "id", table="t")
    same = lookup("Very important", "id", table="t", how="join")
    other = lookup("o", "name", table="t")
    assert [n.column for n in joined([vip, ~same, other])] == ["id", "name"]
    assert without_lookups(vip.expr) == without_lookups(same.expr)
    assert isinstance(vip.expr, Lookup)


def test_a_column_that_is_not_there():
    with pytest.raises(ColumnError) as caught:
        PandasSFApplier([lookup("vip", "nmae", ["a"])]).apply(DF)
    assert str(caught.value) == "slice 'vip': there is no column 'nmae'; did you mean 'name'?"


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({}, "give either keys or a table of keys to look up"),
        ({"keys": [1], "table": "t"}, "give either keys or a table of keys to look up"),
        ({"keys": "abc"}, "the keys to look up must be a list or set, not one text"),
        (
            {"keys": [1, "a"]},
            "the keys to look up are int, str; they must be all str, int, bool or date",
        ),
        ({"keys": [1.5]}, "the keys to look up are float; they must be all str, int, bool or date"),
        (
            {"keys": [dt.datetime(2024, 1, 1)]},
            "the keys to look up are datetime; they must be all str, int, bool or date",
        ),
    ],
)
def test_keys_that_can_not_be(how, problem):
    with pytest.raises(SliceError, match=f"^slice 'vip': {re.escape(problem)}$"):
        lookup("vip", "id", **how)
