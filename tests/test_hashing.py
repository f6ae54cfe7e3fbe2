"""One hash of keys: canonical text, xxhash64, uniform numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import types as T

from engine.errors import ColumnError
from engine.hashing import canonical, check_key_type, key_hash, unit_interval

NOON = dt.datetime(2024, 7, 1, 12, 0, 0, 1)
MICROS = "1719835200000001"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "0:,"),
        ("a,b", "3:a,b,"),
        ("é", "2:é,"),
        (7, "1:7,"),
        (-(2**63), "20:-9223372036854775808,"),
        (np.int8(7), "1:7,"),
        (True, "4:true,"),
        (np.False_, "5:false,"),
        (Decimal(7), "1:7,"),
        (Decimal("7.00"), "1:7,"),
        (Decimal("12345678901234567890"), "20:12345678901234567890,"),
        (dt.date(2024, 2, 29), "10:2024-02-29,"),
        (dt.date(1, 1, 1), "10:0001-01-01,"),
        (NOON, f"16:{MICROS},"),
        (NOON.replace(tzinfo=dt.UTC), f"16:{MICROS},"),
        (dt.datetime(2024, 7, 1, 14, 0, 0, 1, ZoneInfo("Europe/Berlin")), f"16:{MICROS},"),
        (pd.Timestamp(NOON), f"16:{MICROS},"),
        (dt.datetime(1969, 12, 31, 23, 59, 59, 999999), "2:-1,"),
        (("a", 7, True), "1:a,1:7,4:true,"),
        (("a",), "1:a,"),
        (("a", None), "1:a,-,"),
        ((None, "a"), "-,1:a,"),
        ((), ""),
    ],
)
def test_canonical_texts(key, text):
    assert canonical(key) == text


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (1.0, "float"), (None, "NoneType"), (b"a", "bytes"), (Decimal("1.5"), "Decimal"),
        ([1], "list"), (np.float64(1), "float64"), (dt.time(1), "time"),    ],
)  # fmt: skip
def test_a_value_without_canonical_text(key, kind):
    with pytest.raises(ColumnError) as caught:
        canonical(key)
    assert str(caught.value) == (
        f"key column 'key' is {kind}, which can't be a key: use a string, integer, boolean, date, "
        "timestamp or DECIMAL(p,0), or cast it in the source"
    )


VALUE = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers())


@given(st.tuples(VALUE, VALUE), st.tuples(VALUE, VALUE))
def test_no_two_keys_have_one_text(one, other):
    same = tuple(map(str, one)) == tuple(map(str, other))
    assert (canonical(one) == canonical(other)) is same


@given(st.lists(VALUE), st.integers(0, 2**31))
def test_the_hash_is_xxhash64_of_seed_and_canonical_text(keys, seed):
    expected = [
        xxhash.xxh64(f"{seed}/{len(str(k).encode())}:{k},".encode(), seed=42).intdigest()
        for k in keys
    ]
    found = key_hash(keys, seed)
    assert found.dtype == np.uint64
    assert found.tolist() == expected


def test_hashes_that_must_never_change():
    assert key_hash(["a", "b", 7, ("a", 7)], seed=7).tolist() == [
        12372766651052094886,
        8460402387191283182,
        6983837933894516134,
        3196213379684132883,
    ]


@given(st.lists(VALUE, max_size=5), st.integers(0, 100))
def test_numbers_in_the_unit_interval(keys, seed):
    numbers = unit_interval(keys, seed)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert numbers.tolist() == [(int(h) >> 11) / 2**53 for h in key_hash(keys, seed)]


def test_numbers_are_uniform_and_seeds_independent():
    keys = [f"comment-{i}" for i in range(20_000)]
    one, other = unit_interval(keys, 1), unit_interval(keys, 2)
    counts = np.histogram(one, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-squared, 19 degrees, p = 0.001
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert len(set(one)) == len(keys)


@pytest.mark.parametrize(
    "kind",
    [
        T.StringType(), T.ByteType(), T.ShortType(), T.IntegerType(), T.LongType(),
        T.BooleanType(), T.DateType(), T.TimestampType(), T.TimestampNTZType(),
        T.DecimalType(38, 0),
    ],
)  # fmt: skip
def test_types_that_can_be_keys(kind):
    assert check_key_type("id", kind) is None


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (T.DoubleType(), "double"), (T.FloatType(), "float"), (T.DecimalType(5, 2), "decimal(5,2)"),
        (T.BinaryType(), "binary"), (T.ArrayType(T.StringType()), "array<string>"),
        (T.StructType().add("a", "integer"), "struct<a:int>"),
    ],
)  # fmt: skip
def test_types_that_cannot(kind, shown):
    with pytest.raises(ColumnError) as caught:
        check_key_type("id", kind)
    assert str(caught.value) == (
        f"key column 'id' is {shown}, which can't be a key: use a string, integer, boolean, date, "
        "timestamp or DECIMAL(p,0), or cast it in the source"
    )
