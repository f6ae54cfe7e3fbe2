"""Slices by value: names, ids, what is pinned, and the law that each row is in exactly one."""

from __future__ import annotations

import datetime as dt
import json
import math
import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import PandasSFApplier, by, cross
from engine.errors import SliceError
from engine.slicing.by_value import By, Pin, Slot, distinct, name_of, value_slices
from engine.slicing.evaluate import codes
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.ids import check_ids

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["null", "NULL", "(other)", "other", "NaN", "US", "us", "a, b", "'a'", "日本"]),
)
VALUES = {
    "text": TEXTS,
    "whole": st.integers(-3, 3),
    "truth": st.booleans(),
    "day": st.dates(dt.date(2024, 1, 1), dt.date(2024, 1, 5)),
    "float": st.sampled_from([0.0, -0.0, 1.5, math.nan, float("nan"), math.inf]),
}


def columns_of(kinds):
    rows = st.tuples(*(st.none() | VALUES[kind] for kind in kinds))
    return st.lists(rows, max_size=12)


@pytest.mark.parametrize("kinds", [*((k,) for k in VALUES), ("text", "whole"), ("float", "day")])
def test_each_row_is_in_exactly_one(kinds):
    @given(columns_of(kinds), st.integers(1, 4))
    def law(rows, top):
        names = [f"c{i}" for i in range(len(kinds))]
        spec = By(tuple(names), top)
        made = value_slices(spec, distinct(spec, rows)[:top])
        columns = {n: [r[i] for r in rows] for i, n in enumerate(names)}
        masks = [codes(m.sf.expr, {}, columns.__getitem__, len(rows)) for m in made]
        assert set(np.concatenate(masks)) <= {0, 1}  # none is ever undecided
        assert np.sum(masks, axis=0).tolist() == [1] * len(rows)
        null = next(m for m, one in zip(masks, made, strict=True) if one.slot.kind == "null")
        assert null.tolist() == [int(None in row) for row in rows]
        check_ids([m.sf for m in made])
        assert len({m.sf.name for m in made}) == len(made)

    law()


@given(st.lists(TEXTS, unique=True, max_size=20))
def test_ids_and_names_of_texts_differ_and_stay(texts):
    spec = By(("country",))
    made = value_slices(spec, [(t,) for t in texts])
    check_ids([one.sf for one in made])
    assert len({one.sf.name for one in made}) == len(made)
    pins = [Pin.read(one.sf.id, one.definition) for one in made]
    again = value_slices(spec, [(t,) for t in texts], pins)
    assert [one.sf.id for one in again] == [one.sf.id for one in made]
    assert [fingerprint(one.sf) for one in again] == [fingerprint(one.sf) for one in made]


@pytest.mark.parametrize(
    ("value", "name", "slice_id"),
    [
        ("US", "country=US", "country_us"),
        ("null", "country='null'", "country_null_7794d58c"),
        ("(other)", "country='(other)'", "country_other_e0a3855b"),
        ("other", "country=other", "country_other_96872023"),
        ("New York", "country=New York", "country_new_york"),
        ("", "country=''", "country_b1fb3360"),
        ("日本", "country=日本", "country_b7850401"),
        ("a, b", "country='a, b'", "country_a_b"),
        ("a\nb", r"country='a\nb'", "country_a_nb"),
        (" a", "country=' a'", "country_a"),
        ("it's", 'country="it\'s"', "country_it_s"),
        (-5, "country=-5", "country_5"),
        (True, "country=true", "country_true"),
        (dt.date(2024, 5, 1), "country=2024-05-01", "country_2024_05_01"),
        (0.5, "country=0.5", "country_0_5"),
        (math.nan, "country=NaN", "country_nan"),
    ],
)
def test_names_and_ids(value, name, slice_id):
    made = by("country", [value])
    assert [sf.name for sf in made] == [name, "country=null", "country=(other)"]
    assert made[0].id == slice_id
    assert [sf.id for sf in made[1:]] == ["country_null", "country_other"]


def test_a_long_value_is_cut_in_the_name():
    long = [letter * 5000 for letter in "ab"]
    names = [sf.name for sf in by("text", long, other=False)]
    assert names[0].startswith("text=" + "a" * 48 + "... ")
    assert [len(n) for n in names] == [65, 65, 9]


def test_the_first_of_two_that_differ_in_case_has_the_plain_id():
    us, lower = by("country", ["US", "us"])[:2]
    assert us.id == "country_us"
    assert lower.id.startswith("country_us_")
    taken = value_slices(By(("country",)), [("US",)], others=["Country_US", "country_null"])
    assert all(len(one.sf.id.rpartition("_")[2]) == 8 for one in taken[:2])


def test_crosses():
    made = cross("sex", "race", values=[("F", "White"), ("M", "White"), ("F", None)], top=1)
    assert [(sf.id, sf.name) for sf in made] == [
        ("sex_f_race_white", "sex=F, race=White"),
        ("sex_race_null", "(sex, race)=null"),
        ("sex_race_other", "(sex, race)=(other)"),
    ]
    df = pd.DataFrame({"sex": ["F", "M", None, "F"], "race": ["White", "White", "White", "Other"]})
    S = PandasSFApplier(made).apply(df, progress_bar=False)
    assert S.tolist() == [(1, 0, 0), (0, 0, 1), (0, 1, 0), (0, 0, 1)]


def test_values_of_a_series_are_the_most_frequent_first():
    seen = pd.Series(["b", "a", None, "b", np.nan, "c", "c", "b"])
    assert [sf.name for sf in by("x", seen, top=2)] == ["x=b", "x=c", "x=null", "x=(other)"]
    whole = pd.Series([1, 2, 2, None], dtype="Int64")
    assert [sf.name for sf in by("x", whole, other=False)] == ["x=2", "x=1", "x=null"]
    floats = np.array([1.5, math.nan, math.nan])
    assert [sf.name for sf in by("x", floats)] == ["x=NaN", "x=1.5", "x=null", "x=(other)"]
    assert [sf.name for sf in by("x", [])] == ["x=null", "x=(other)"]


@pytest.mark.parametrize(
    ("value", "found"),
    [(dt.datetime(2024, 1, 1), "datetime"), ((1,), "tuple"), (b"a", "bytes"), (1j, "complex")],
)
def test_values_that_can_not_be_slices(value, found):
    with pytest.raises(SliceError) as caught:
        by("x", [value])
    assert str(caught.value).startswith(
        f"column 'x' can't be sliced by value: it is of type {found};"
    )


@given(columns_of(["text", "whole", "truth", "day", "float"]))
def test_a_definition_is_read_back(rows):
    spec = By(tuple(string.ascii_lowercase[:5]))
    for one in value_slices(spec, distinct(spec, rows)):
        pin = Pin.read(one.sf.id, one.definition)
        assert (pin.columns, pin.slot, pin.position) == (spec.columns, one.slot, one.position)
        assert name_of(spec, pin.slot) == one.sf.name
        assert [type(v) for v in pin.slot.values] == [type(v) for v in one.slot.values]


def test_other_definitions_are_no_pins():
    assert Pin.read("a", None) is None
    assert Pin.read("a", json.dumps({"where": "a & b"})) is None


def test_new_values_keep_what_is_pinned():
    spec = By(("c",))
    first = value_slices(spec, [("US",), ("us",)])
    pins = [Pin.read(one.sf.id, one.definition) for one in first]
    later = value_slices(spec, [("US",), ("us",), ("Us",)], pins)
    ids = {one.slot: one.sf.id for one in later}
    assert {one.slot: one.sf.id for one in first}.items() <= ids.items()
    prints = {one.slot: fingerprint(one.sf) for one in first}
    changed = [one.slot.kind for one in later if prints.get(one.slot) != fingerprint(one.sf)]
    assert changed == ["value", "other"]
    assert ids[Slot("value", ("Us",))] not in {one.sf.id for one in first}


def test_a_slice_of_a_value_is_composed_like_any_other():
    us, null, other = by("country", ["US"])
    both = us | null
    assert (both.id, both.name) == ("country_us_or_country_null", "country_us | country_null")
    df = pd.DataFrame({"country": ["US", "DE", None]})
    S = PandasSFApplier([both, ~other]).apply(df, progress_bar=False)
    assert S.tolist() == [(1, 1), (0, 0), (1, 1)]
