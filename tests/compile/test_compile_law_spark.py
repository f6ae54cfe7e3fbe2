"""Compile law: every form gives, row for row, what calling the Python function on that row gives.

The rows that a function must see are known here as Python values, and a probe returns one bit of
a digest of what it sees, so a value of another type or with another digit shows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from engine import SlicingFunction, compile_slices, preprocessor, slicing_function, where
from engine.errors import SliceError

UTC = dt.UTC
SCHEMA = (
    "k int, s string, i int, l bigint, d double, f float, dec decimal(20,2), day date, "
    "t timestamp, n timestamp_ntz, b boolean, a array<string>, aa array<array<int>>, "
    "m map<string,int>, st struct<x:int,y:string,z:array<double>>, raw binary"
)
COLUMNS = ["s", "i", "l", "d", "f", "dec", "day", "t", "n", "b", "a", "aa", "m", "st", "raw"]
BITS = 6

NASTY = {
    "s": "𝔘n😀 \n\r\t\"'\\ \x00 \u200b ß ſ İ 'check' &#39;",
    "i": -(2**31),
    "l": 2**63 - 1,
    "d": float("nan"),
    "f": 0.1,
    "dec": Decimal("-123456789012345678.90"),
    "day": dt.date(1, 1, 1),
    "t": dt.datetime(1582, 10, 4, 23, 59, 59, 999999, UTC),
    "n": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    "b": False,
    "a": ["", None, "x"],
    "aa": [[1, None], [], None],
    "m": {"": None, "b": 0},
    "st": {"x": None, "y": "y", "z": [float("nan"), None, -0.0]},
    "raw": b"\x00\xff",
}
ZERO = {
    "s": "",
    "i": 0,
    "l": 0,
    "d": -0.0,
    "f": float("-inf"),
    "dec": Decimal("0.00"),
    "day": dt.date(2024, 2, 29),
    "t": dt.datetime(2024, 3, 31, 1, 30, tzinfo=UTC),  # not there in Berlin
    "n": dt.datetime(1970, 1, 1),
    "b": True,
    "a": [],
    "aa": [],
    "m": {},
    "st": {"x": 0, "y": "", "z": []},
    "raw": b"",
}
NULLS = dict.fromkeys(COLUMNS)


def described(value: Any) -> str:
    """Return a text that two values share if they are of one type and equal."""
    if hasattr(value, "asDict"):
        return f"row({described(value.asDict())})"
    if isinstance(value, dict):
        items = sorted((described(k), described(v)) for k, v in value.items())
        return f"{'map' if all(isinstance(k, str) for k in value) else 'dict'}{items}"
    if isinstance(value, list):
        return f"list{[described(v) for v in value]}"
    if isinstance(value, dt.datetime):
        return f"datetime({value.isoformat()}, {value.utcoffset()!r})"
    return f"{type(value).__name__}({value!r})"


def bit_of(value: Any, bit: int) -> bool:
    digest = hashlib.md5(described(value).encode("utf-8", "surrogatepass")).digest()
    return bool(digest[0] >> bit & 1)


def seen(row: dict[str, Any], column: str) -> Any:
    """Return the value that a function must see: a struct is a row, a float has 32 bits."""
    value = row[column]
    if column == "st" and value is not None:
        from engine.slicing.rows import Row

        return Row(value)
    if column == "f" and value is not None:
        import numpy as np

        return float(np.float32(value))
    return value


def probes() -> list[SlicingFunction]:
    def probe(x: Any, column: str, bit: int) -> bool:
        return bit_of(x[column], bit)

    return [
        SlicingFunction(f"p_{column}_{bit}", probe, resources={"column": column, "bit": bit})
        for column in COLUMNS
        for bit in range(BITS)
    ]


def check_probes(spark: Any, rows: list[dict[str, Any]]) -> None:
    keyed = [(k, *(row[c] for c in COLUMNS)) for k, row in enumerate(rows)]
    df = spark.createDataFrame(keyed, SCHEMA)
    plan = compile_slices(probes(), df.schema)
    for row in plan.apply(df, keep=["k"]).collect():
        for column in COLUMNS:
            value = seen(rows[row.k], column)
            found = [row[f"p_{column}_{bit}"] for bit in range(BITS)]
            # A probe never fails on null, so null stays decided.
            assert found == [bit_of(value, bit) for bit in range(BITS)], (column, value)


def test_a_row_function_sees_python_values_of_every_type(spark):
    check_probes(spark, [NASTY, ZERO, NULLS])


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


TIMES = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
ROWS = st.fixed_dictionaries(
    {
        "s": optional(st.text()),
        "i": optional(st.integers(-(2**31), 2**31 - 1)),
        "l": optional(st.integers(-(2**63), 2**63 - 1)),
        "d": optional(st.floats(allow_nan=True)),
        "f": optional(st.floats(width=32)),
        "dec": optional(st.decimals(-(10**17), 10**17, places=2)),
        "day": optional(st.dates()),
        "t": optional(TIMES.map(lambda v: v.replace(tzinfo=UTC))),
        "n": optional(TIMES),
        "b": optional(st.booleans()),
        "a": optional(st.lists(optional(st.text(max_size=3)), max_size=3)),
        "aa": optional(st.lists(optional(st.lists(optional(st.integers(0, 9)))), max_size=2)),
        "m": optional(st.dictionaries(st.text(max_size=3), optional(st.integers(0, 9)))),
        "st": optional(
            st.fixed_dictionaries(
                {
                    "x": optional(st.integers(0, 9)),
                    "y": optional(st.text(max_size=3)),
                    "z": optional(st.lists(optional(st.floats()), max_size=2)),
                }
            )
        ),
        "raw": optional(st.binary(max_size=5)),
    }
)


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking takes a Spark job per step
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(ROWS, min_size=8, max_size=30))
def test_a_row_function_sees_python_values_of_random_rows(spark, rows):
    check_probes(spark, rows)


def test_a_collected_row_has_the_same_values(spark):
    """The oracle's own check: what `collect` gives is what the probes take as true."""
    rows = [NASTY, ZERO, NULLS]
    df = spark.createDataFrame([(k, *(r[c] for c in COLUMNS)) for k, r in enumerate(rows)], SCHEMA)
    for row in df.drop("t").collect():
        for column in COLUMNS:
            if column != "t":  # `collect` gives those in the driver's own zone
                found = row[column]
                found = bytes(found) if isinstance(found, bytearray) else found
                assert described(found) == described(seen(rows[row.k], column))


# ---- the four forms in one run, each beside its meaning in Python


def decided(f: Any) -> Any:
    """Return what the mask law says of a plain Python function of the row."""

    def mask(row: dict[str, Any]) -> bool | None:
        try:
            return f(row)
        except Exception:
            return None

    return mask


TEXTS = ["", "a", "spam spam", "SPAM\nham", "ß", "12", "x" * 30, None]


def mixed_rows() -> list[tuple[Any, ...]]:
    return [
        (
            k,
            TEXTS[k % len(TEXTS)],
            None if k % 5 == 0 else k - 20,
            (None, float("nan"), 0.5, -1.0)[k % 4],
            (True, False, None)[k % 3],
            dt.datetime(2024, 1, 1, k % 24, tzinfo=UTC) if k % 7 else None,
        )
        for k in range(60)
    ]


def mixed_slices() -> list[tuple[SlicingFunction, Any]]:
    @preprocessor(memoize=True)
    def words(x):
        x.words = x.s.split()
        return x

    @preprocessor(pre=[words])
    def without_first(x):
        del x.words[:1]
        x.s = "changed"
        return x

    @slicing_function()
    def many(x):
        return len(x.s) > 3

    @slicing_function(pre=[words])
    def two_words(x):
        return len(x.words) == 2

    @slicing_function(pre=[without_first])
    def one_left(x):
        return len(x.words) == 1 and x.s == "changed"

    @slicing_function(resources={"least": 5})
    def at_least(x, least):
        return x["i"] >= least

    @slicing_function()
    def whole_number(x):
        return None if x.i is None else type(x.i) is int

    @slicing_function()
    def not_a_number(x):
        return x.d != x.d

    @slicing_function()
    def snorkel_codes(x):
        return -1 if x.i is None else x.i % 2

    @slicing_function()
    def morning(x):
        return x.t.astimezone(UTC).hour < 12 and x.t.utcoffset() == dt.timedelta(0)

    @slicing_function()
    def v_many(s: pd.Series):
        return s.str.len() > 3

    @slicing_function()
    def v_sum(i: pd.Series, d: pd.Series):
        return i + d > 0

    @slicing_function()
    def v_nan(d: pd.Series):
        return d != d  # noqa: PLR0124 - NaN only

    @slicing_function()
    def v_negative(d: pd.Series):
        return d + 1 < 1

    @slicing_function()
    def v_null(i: pd.Series):
        return i.isna()

    @slicing_function()
    def v_flag(b: pd.Series):
        return ~b

    @slicing_function()
    def c_many():
        return F.length("s") > 3

    def truth(f):
        return decided(f)

    return [
        (many, truth(lambda r: len(r["s"]) > 3)),
        (two_words, truth(lambda r: len(r["s"].split()) == 2)),
        (one_left, truth(lambda r: len(r["s"].split()) == 2)),
        (at_least, truth(lambda r: r["i"] >= 5)),
        (whole_number, lambda r: None if r["i"] is None else True),
        (not_a_number, lambda r: r["d"] != r["d"]),
        (snorkel_codes, truth(lambda r: r["i"] % 2 == 1)),
        (morning, truth(lambda r: r["t"].hour < 12)),
        (v_many, truth(lambda r: len(r["s"]) > 3)),
        (v_sum, truth(lambda r: r["i"] + r["d"] > 0)),
        (v_nan, lambda r: None if r["d"] is None else r["d"] != r["d"]),
        (v_negative, truth(lambda r: r["d"] + 1 < 1)),
        (v_null, lambda r: r["i"] is None),
        (v_flag, lambda r: None if r["b"] is None else not r["b"]),
        (c_many, truth(lambda r: len(r["s"]) > 3)),
        (where("sql_many", "length(s) > 3"), truth(lambda r: len(r["s"]) > 3)),
        (where("sql_flag", "b"), lambda r: r["b"]),
        (where("sql_null", "i is null"), lambda r: r["i"] is None),
    ]


MIXED = "k int, s string, i int, d double, b boolean, t timestamp"


@pytest.fixture(scope="module")
def mixed(spark):
    return spark.createDataFrame(mixed_rows(), MIXED).cache()


def test_all_forms_agree_with_python_in_one_run(mixed):
    slices = mixed_slices()
    plan = compile_slices([sf for sf, _ in slices], mixed.schema)
    names = ["k", "s", "i", "d", "b", "t"]
    rows = {r[0]: dict(zip(names, r, strict=True)) for r in mixed_rows()}
    found = plan.apply(mixed, keep=["k"]).collect()
    assert len(found) == len(rows)
    for sf, truth in slices:
        assert [r[sf.id] for r in found] == [truth(rows[r.k]) for r in found], sf.name


def test_masks_do_not_depend_on_the_partitioning(mixed):
    sfs = [sf for sf, _ in mixed_slices()]
    plan = compile_slices(sfs, mixed.schema)
    one, seven, shuffled = (
        sorted(map(tuple, plan.apply(df, keep=["k"]).collect()), key=str)
        for df in (mixed.repartition(1), mixed.repartition(7), mixed.orderBy(F.rand(1)))
    )
    assert one == seven == shuffled


def test_small_arrow_batches_change_nothing(spark, mixed):
    plan = compile_slices([sf for sf, _ in mixed_slices()], mixed.schema)
    whole = plan.apply(mixed, keep=["k"]).collect()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "3")
    try:
        assert plan.apply(mixed, keep=["k"]).collect() == whole
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")


def test_python_slices_share_one_pass_and_each_column_crosses_once(mixed, plan_text):
    plan = compile_slices([sf for sf, _ in mixed_slices()], mixed.schema)
    text = plan_text(plan.apply(mixed, keep=["k"]))
    assert text.count("ArrowEvalPython") == 1
    assert "BatchEvalPython" not in text
    assert plan.crossing == ("s", "i", "d", "b", "t")
    call = text.partition("ArrowEvalPython [run(")[2].partition(")")[0]
    crossing = [name.partition("#")[0].strip() for name in call.split(",")]
    assert crossing == ["s", "i", "d", "b", "t"]


def test_native_slices_never_cross(mixed, plan_text):
    @slicing_function()
    def long():
        return F.length("s") > 3

    plan = compile_slices([long, where("odd", "i % 2 = 1")], mixed.schema)
    assert "Python" not in plan_text(plan.apply(mixed))
    assert str(plan.explain()) == (
        "slice  runs as           us/row  why\n"
        "long   Spark expression       ?  returns a Spark Column\n"
        "odd    Spark expression       ?  SQL: i % 2 = 1\n"
        "no column crosses to Python"
    )


def test_explain_is_data_and_text(mixed):
    @preprocessor()
    def lowered(x):
        x.low = x.s.lower()
        return x

    @slicing_function(pre=[lowered])
    def spam(x):
        return "spam" in x.low

    @slicing_function()
    def any_column(x):
        return len(str(x)) > 3

    @slicing_function()
    def vectorised(i: pd.Series, d: pd.Series):
        return i > d

    @slicing_function()
    def constant(x):
        return True

    said = compile_slices([spam, vectorised, constant], mixed.schema).explain()
    assert str(said) == (
        "slice       runs as           us/row  why\n"
        "spam        Python per row         ?  a Python function that reads s, after lowered; not "
        "lifted: it needs a preprocessor\n"
        "vectorised  pandas Series          ?  a function of pandas Series i, d\n"
        "constant    Spark expression    0.00  True\n"
        "2 of 3 slices share one Arrow UDF; columns crossing to Python, once each: s, i, d"
    )
    assert [(a.slice_id, str(a.tier), a.columns) for a in said.slices] == [
        ("spam", "Python per row", ("s",)),
        ("vectorised", "pandas Series", ("i", "d")),
        ("constant", "Spark expression", ()),
    ]
    whole = compile_slices([any_column], mixed.schema).explain()
    assert whole.crossing == ("k", "s", "i", "d", "b", "t")
    assert "passes the whole row on: all columns cross" in str(whole)


def test_a_slice_that_reads_no_column_runs_on_every_row(mixed):
    @slicing_function()
    def constant(x):
        return True

    plan = compile_slices([constant], mixed.schema)
    assert {r.constant for r in plan.apply(mixed).collect()} == {True}


def test_a_preprocessor_runs_once_per_row_and_memoised_once_per_value(spark, tmp_path: Path):
    log, memo = tmp_path / "log", tmp_path / "memo"

    @preprocessor()
    def counted(x):
        with log.open("a") as f:
            f.write(f"{x.k}\n")
        x.n = len(x.s)
        return x

    @preprocessor(memoize=True)
    def remembered(x):
        with memo.open("a") as f:
            f.write(f"{x.s}\n")
        x.n = len(x.s)
        return x

    @slicing_function(pre=[counted])
    def short(x):
        return x.n < 3

    @slicing_function(pre=[counted])
    def long(x):
        return x.n > 3

    @slicing_function(pre=[remembered])
    def even(x):
        return x.n % 2 == 0

    @slicing_function(pre=[remembered])
    def odd(x):
        return x.n % 2 == 1

    df = spark.createDataFrame([(k, "ab" * (k % 2)) for k in range(20)], "k int, s string")
    plan = compile_slices([short, long, even, odd], df.schema)
    plan.apply(df.coalesce(1)).collect()
    assert sorted(map(int, log.read_text().split())) == list(range(20))
    assert sorted(memo.read_text().splitlines()) == ["", "ab"]


def test_nobody_sees_what_another_slice_changed_in_place(spark):
    @preprocessor()
    def emptied(x):
        x.a.clear()
        x.st = {"x": 99}
        return x

    @slicing_function()
    def clears(x):
        x.a.clear()
        return True

    @slicing_function(pre=[emptied])
    def emptied_first(x):
        return x.a == [] and x.st["x"] == 99

    @slicing_function()
    def unharmed(x):
        return x.a == ["a"] and x.st.x == 1 and x["st"]["x"] == 1

    @slicing_function()
    def overwrites(s: pd.Series):
        s[:] = "changed"
        return s == "changed"

    @slicing_function()
    def as_it_was(s: pd.Series):
        return s == "s"

    schema = "a array<string>, st struct<x:int>, s string"
    df = spark.createDataFrame([(["a"], (1,), "s")], schema)
    sfs = [clears, emptied_first, unharmed, overwrites, as_it_was]
    row = compile_slices(sfs, df.schema).apply(df).first()
    assert [row[sf.id] for sf in sfs] == [True] * 5


def test_column_names_with_dots_spaces_and_quotes(spark):
    df = spark.createDataFrame([("x", 1, 2)], "`a.b` string, `two words` int, `tick``s` int")

    @slicing_function()
    def dotted(x):
        return x["a.b"] == "x" and x["two words"] == 1 and x["tick`s"] == 2

    row = compile_slices([dotted], df.schema).apply(df).first()
    assert row.dotted is True


def test_a_vectorised_slice_may_be_called_with_nullable_series(spark):
    @slicing_function()
    def dtypes(s: pd.Series, i: pd.Series, d: pd.Series, b: pd.Series, t: pd.Series):
        kinds = [str(v.dtype).partition("[")[0] for v in (s, i, d, b, t)]
        good = kinds == ["string", "Int32", "Float64", "boolean", "datetime64"]
        return pd.Series([good and str(t.dtype).endswith("UTC]")] * len(s))

    df = spark.createDataFrame(mixed_rows(), MIXED)
    assert {r.dtypes for r in compile_slices([dtypes], df.schema).apply(df).collect()} == {True}


def test_a_preprocessor_goes_with_row_functions_only():
    @preprocessor()
    def same(x):
        return x

    with pytest.raises(SliceError) as raised:

        @slicing_function(pre=[same])
        def vectorised(s: pd.Series):
            return s == ""

    assert str(raised.value) == (
        "slice 'vectorised': preprocessors go with row functions, this is a pandas one"
    )


def test_spark_applier_adds_named_mask_columns(mixed):
    from engine import SparkSFApplier

    @slicing_function()
    def many(x):
        return len(x.s) > 3

    df = SparkSFApplier([many, where("odd", "i % 2 <> 0")]).apply(mixed)
    assert df.columns == [*mixed.columns, "many", "odd"]
    assert [df.schema[c].dataType.simpleString() for c in ("many", "odd")] == ["boolean"] * 2
    both = [r for r in mixed_rows() if r[1] and len(r[1]) > 3 and r[2] and r[2] % 2]
    assert df.where("many and odd").count() == len(both) > 3
