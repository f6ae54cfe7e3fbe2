"""What is said of one column alone is said once per distinct value, and the same of each row."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices
from engine.compile import program
from engine.compile.repeats import repeats

N = 4000
RNG = np.random.default_rng(3)
POOLS = {
    "text": (pa.string(), ["", "a", "É1", None, "12", "x" * 30, "a b"]),
    "raw": (pa.binary(), [b"", b"\xff", None, b"a"]),
    "n": (pa.int32(), [0, 1, -5, None, 2**31 - 1]),
    "f": (pa.float64(), [0.0, -0.0, float("nan"), None, 1.5, float("-inf")]),
    "price": (pa.decimal128(9, 2), [Decimal("1.10"), None, Decimal("-0.01")]),
    "day": (pa.date32(), [dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]),
    "at": (pa.timestamp("us", "UTC"), [dt.datetime(2024, 5, 5, tzinfo=dt.UTC), None]),
}
FUNCTIONS = [
    lambda x: int(x.text) > 3,
    lambda x: x.text.zfill(3).title() == x.text and x.n > 0,
    lambda x: (x.text or "none").upper().startswith("N"),
    lambda x: [w for w in x.text.split() if w.isalpha()] != [],
    lambda x: str(x.f) in ("-0.0", "nan") or x.text == "a",
    lambda x: str(x.price).endswith("1") if x.price is not None else None,
    lambda x: x.day.year < 100 or len(x.raw) > 0,
    lambda x: str(x.at)[:4] == "2024" or x.n / x.n > 0,
    lambda x: x.text.strip() + str(x.n) != "a1",
]


def table(n=N):
    return pa.table(
        {
            name: pa.array([pool[i] for i in RNG.integers(0, len(pool), n)], kind)
            for name, (kind, pool) in POOLS.items()
        }
    )


def run(rows, monkeypatch, found):
    """What a kernel says of rows, with a look for distinct values or without."""
    monkeypatch.setattr(program, "repeats", found)
    sfs = [SlicingFunction(f"s{i}", f) for i, f in enumerate(FUNCTIONS)]
    kernel = compile_slices(sfs, rows.schema, tier="arrow").kernel
    columns = {c: rows[c].combine_chunks() for c in rows.column_names}
    out = kernel.run(columns, len(rows))
    return {s: m.tolist() for s, m in out.masks.items()}, list(map(repr, out.faults))


def test_masks_and_faults_are_the_same(monkeypatch):
    rows, columns = table(), []

    def noted(array):
        found = repeats(array)
        columns.append(found is not None)
        return found

    assert run(rows, monkeypatch, noted) == run(rows, monkeypatch, lambda _: None)
    assert sum(columns) >= 5


@pytest.mark.parametrize("name", POOLS)
def test_places_lead_back_to_the_values(name):
    array = table()[name].combine_chunks()
    found = repeats(array.slice(5))
    taken = found.values.take(pa.array(found.places))
    assert taken.type == array.type
    assert list(map(repr, taken.to_pylist())) == list(map(repr, array.slice(5).to_pylist()))
    assert len(found.values) <= len(POOLS[name][1])


def test_zeros_of_two_signs_are_two():
    found = repeats(pa.array([0.0, -0.0] * N))
    assert np.signbit(found.values.to_numpy()).tolist() == [False, True]


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a"] * 10),
        pa.array([str(i) for i in range(N)]),
        pa.array([str(i // 2) for i in range(N)]),
        pa.array([["a"]] * N),
        pa.array([True] * N),
        pa.array([Decimal("1.10")] * N, pa.decimal32(7, 2)),
        pa.array([Decimal("1.10")] * N, pa.decimal64(12, 2)),
        pa.array(["a"] * N, pa.string_view()),
    ],
    ids=[
        "few rows",
        "all different",
        "too many",
        "lists",
        "booleans",
        "decimals of 32 bits",
        "decimals of 64 bits",
        "views",
    ],
)
def test_others_stay_as_they_are(array):
    assert repeats(array) is None


# Values that repeat, of the types that tables have.
KINDS = [
    pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.date32(),
    pa.date64(), pa.time32("s"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns"),
    pa.timestamp("us", "Europe/Berlin"), pa.duration("ns"), pa.decimal32(7, 2),
    pa.decimal64(12, 2), pa.decimal128(20, 2), pa.decimal256(50, 2), pa.string(),
    pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
    pa.binary(2), pa.null(), pa.list_(pa.int8()), pa.month_day_nano_interval(),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_type_is_coded_or_left_alone(kind):
    if pa.types.is_interval(kind) or pa.types.is_list(kind) or pa.types.is_null(kind):
        array = pa.nulls(N, kind)
    else:
        values = ["10", None] if pa.types.is_binary(kind) or "string" in str(kind) else [1, None]
        values = [b"10", None] if "binary" in str(kind) else values
        values = [Decimal(1), None] if pa.types.is_decimal(kind) else values
        values = [True, None] if pa.types.is_boolean(kind) else values
        values = [np.float16(1), None] if kind == pa.float16() else values
        array = pa.array(values * N, kind)
    found = repeats(array)
    assert found is None or found.values.take(pa.array(found.places)).equals(array)
