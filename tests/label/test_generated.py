"""Compositions, values and look-ups against Spark SQL: logic, what is found, what is joined."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from engine import SparkSFApplier, by, lookup
from engine.errors import ColumnError, SliceError
from engine.label.frequent_values import check_by, find_values
from engine.label.lookup_joins import check_lookups, marked, reader, with_lookups, with_own_lookups
from engine.slicing.by_value import By
from engine.slicing.expr import FEW, Mask
from engine.slicing.slices import joined
from tests.slicing.test_algebra import MASKS, TREES, kleene

SQL = {"kleene_and": "({} AND {})", "kleene_or": "({} OR {})", "kleene_not": "(NOT {})"}
FEW_ROWS = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def sql_of(tree):
    if isinstance(tree, Mask):
        return tree.slice_id
    return SQL[tree.op].format(*map(sql_of, tree.args))


@given(trees=st.lists(TREES, min_size=1, max_size=20))
@FEW_ROWS
def test_kleenes_logic_is_sqls(spark, trees):
    rows = list(itertools.product(MASKS, repeat=3))
    df = spark.createDataFrame(rows, "a boolean, b boolean, c boolean")
    found = df.select("a", "b", "c", *(F.expr(sql_of(tree)) for tree in trees)).collect()
    for r in found:
        masks = dict(zip("abc", r[:3], strict=True))
        assert list(r[3:]) == [kleene(tree, masks) for tree in trees]


# ---- values

DAYS = [dt.date(2024, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31)]
CELLS = st.tuples(
    st.none() | st.sampled_from(["US", "us", "", " ", "a,b", "null", "é", "\x00", "日本"]),
    st.none() | st.booleans(),
    st.none() | st.sampled_from([0, -1, 2**63 - 1, -(2**63)]),
    st.none() | st.sampled_from(DAYS),
    st.none() | st.sampled_from([0.0, -0.0, 0.1, math.inf, -math.inf, math.nan, 1e300]),
)
SCHEMA = "`a.b` string, t boolean, n bigint, d date, f double"
NAMES = ["a.b", "t", "n", "d", "f"]


@given(rows=st.lists(CELLS, max_size=30), top=st.integers(1, 3))
@FEW_ROWS
def test_the_most_frequent_values_are_found(spark, rows, top):
    specs = [*(By((name,), top) for name in NAMES), By(("f", "a.b"), top)]
    df = spark.createDataFrame(rows, SCHEMA)
    assert [w.partition(" is ")[0] for w in check_by(specs, df.schema)] == ["by: column 'f'"] * 2
    for spec, found in zip(specs, find_values(df, specs), strict=True):
        at = [NAMES.index(c) for c in spec.columns]
        cells = [tuple(plain(r[i]) for i in at) for r in rows]
        counts = Counter(c for c in cells if None not in c)
        assert (found.n_values, found.rows) == (len(counts), counts.total())
        assert len(found.values) == min(top, len(counts))
        values = [tuple(plain(v) for v in cell) for cell in found.values]
        assert [counts[v] for v in values] == sorted(counts.values(), reverse=True)[: len(values)]
        assert len(set(values)) == len(values)
        assert found.rows_of_values == sum(counts[v] for v in values)


def plain(value):
    """Return a value so that NaN equals NaN and zeros are one, and keep whole numbers apart."""
    return repr(value + 0.0) if isinstance(value, float) else value


def test_small_numbers_and_floats_keep_their_values(spark):
    df = spark.sql("SELECT 0.1f AS f, 3Y AS b, CAST('x' AS VARCHAR(3)) AS v")
    found = find_values(df, [By(("f",)), By(("b",)), By(("v",))])
    assert [one.values for one in found] == [((0.10000000149011612,),), ((3,),), (("x",),)]
    assert df.collect()[0]["f"] == found[0].values[0][0]


def test_the_source_is_read_once(spark, tmp_path, plan_text):
    """The most frequent values and their totals share one aggregation."""
    from engine.label import frequent_values as values

    spark.range(9).selectExpr("id % 3 AS a", "id AS b").write.parquet(str(tmp_path / "t"))
    df, plans = spark.read.parquet(str(tmp_path / "t")), []
    first = type(df).collect

    def collect(self):
        rows = first(self)
        plans.append(plan_text(self).partition("Initial Plan")[0])
        return rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(df), "collect", collect)
        found = values.find_values(df, [By(("a",)), By(("b",), top=2)])
    assert [len(one.values) for one in found] == [3, 2]
    (text,) = plans
    assert (text.count("FileScan"), text.count("ReusedExchange")) == (1, 1), text


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (By(("nn",)), ColumnError, "by: there is no column 'nn'; did you mean 'n'?"),
        (
            By(("n", "tags")),
            SliceError,
            "column 'tags' can't be sliced by value: it is of type array<string>; use text, a "
            "boolean, a whole number, a date or a float, or cast it in the source",
        ),
        (
            By(("s",), values=(("DE",), (False,))),
            SliceError,
            "column 's' is string, and its values to slice by are given as boolean: False; write "
            "them as the column has them (YAML reads no, yes, on and off as booleans unless they "
            "are quoted)",
        ),
    ],
)
def test_columns_that_can_not_be_sliced(spark, spec, kind, message):
    schema = spark.createDataFrame([], "n int, s string, tags array<string>").schema
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        check_by([spec], schema)
    check_by([By(("n",), values=((1,),)), By(("s",), values=(("no",),))], schema)


def test_nothing_to_find(spark):
    df = spark.createDataFrame([(None,)], "a string")
    assert find_values(df, []) == []
    (found,) = find_values(df, [By(("a",))])
    assert (found.values, found.n_values, found.rows) == ((), 0, 0)


# ---- look-ups

KEYS = {
    "string": (["a", "b", None, "B"], ["b", "x", None]),
    "int": ([1, 2, None, 3], [2, 9, None]),
    "boolean": ([True, False, None, True], [True]),
    "date": ([DAYS[0], DAYS[1], None, DAYS[2]], [DAYS[1]]),
}


@pytest.mark.parametrize("how", ["auto", "broadcast", "join"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_look_up_says_whether_a_key_is_there(spark, kind, how):
    values, keys = KEYS[kind]
    df = spark.createDataFrame(list(enumerate(values)), f"id int, `the key` {kind}")
    repeated = [(k,) for k in keys * 3]
    table = spark.createDataFrame(repeated, f"k {'bigint' if kind == 'int' else kind}")
    sf = lookup("vip", "the key", table="keys", key_column="k", how=how)
    nodes = joined([sf])
    check_lookups([sf], df.schema, {"keys": table}.__getitem__)
    found = with_lookups(df, nodes, {"keys": table}.__getitem__)
    assert [(f.name, f.dataType) for f in found.schema] == [
        (f.name, f.dataType) for f in marked(df.schema, nodes)
    ]
    wanted = {i: None if v is None else v in keys for i, v in enumerate(values)}
    assert {r["id"]: r[nodes[0].marker] for r in found.collect()} == wanted
    assert found.count() == len(values)


@pytest.mark.parametrize(
    ("how", "n", "join"),
    [
        ("auto", FEW + 1, "BroadcastHashJoin"),
        ("broadcast", FEW + 1, "BroadcastHashJoin"),
        ("join", FEW + 1, "SortMergeJoin"),
    ],
)
def test_how_keys_are_joined(spark, plan_text, how, n, join):
    df = spark.range(5).withColumn("city", F.lit("b"))
    sfs = [lookup("vip", "id", range(2, n + 2), how=how), lookup("few", "id", [1])]
    found, added = with_own_lookups(df, sfs)
    assert len(added) == 1
    assert join in plan_text(found)
    answers = {r["id"]: r[added[0]] for r in found.collect()}
    assert answers == {0: False, 1: False, 2: True, 3: True, 4: True}


def test_no_look_up_leaves_rows_alone(spark):
    df = spark.range(3)
    assert with_own_lookups(df, [lookup("few", "id", [1])]) == (df, [])


def test_the_spark_applier(spark):
    df = spark.createDataFrame([(1, "a"), (2, "b"), (None, "c")], "id int, city string")
    many, few = lookup("many", "id", range(2, FEW + 3)), lookup("few", "city", ["a", "c"])
    sfs = [many, few, (many | few).named("either"), *by("city", ["a"], other=False)]
    found = SparkSFApplier(sfs).apply(df)
    ids = ["many", "few", "either", "city_a", "city_null"]
    assert found.columns == ["id", "city", *ids]
    assert sorted(tuple(r) for r in found.select("city", *ids).collect()) == [
        ("a", False, True, True, True, False),
        ("b", True, False, True, False, False),
        ("c", None, True, True, False, False),
    ]


@pytest.mark.parametrize("kind", ["delta", "parquet", "csv", "json"])
def test_tables_of_keys_by_path(spark, tmp_path, kind):
    place = str(tmp_path / ("keys" if kind == "delta" else f"keys.{kind}"))
    writer = spark.range(2, 4).write.format(kind)
    (writer.option("header", "true") if kind == "csv" else writer).save(place)
    found, (marker,) = with_own_lookups(spark.range(4), [lookup("vip", "id", table=place)])
    assert sorted(r["id"] for r in found.where(F.col(marker)).collect()) == [2, 3]


def test_a_table_of_keys_by_name(spark):
    spark.range(1).write.mode("overwrite").format("parquet").saveAsTable("default.some_keys")
    assert reader(spark)("default.some_keys").count() == 1


@pytest.mark.parametrize(
    ("sf", "kind", "message"),
    [
        (
            lookup("vip", "s", table="keys", key_column="n"),
            SliceError,
            "slice 'vip': column 's' is string, and the keys in keys are int; a look-up takes "
            "text, whole numbers, booleans, dates, DECIMAL or timestamps, both sides of one type: "
            "cast one of them",
        ),
        (
            lookup("vip", "n", ["1"]),
            SliceError,
            "slice 'vip': column 'n' is int, and the keys given are text; a look-up takes text, "
            "whole numbers, booleans, dates, DECIMAL or timestamps, both sides of one type: cast "
            "one of them",
        ),
        (
            lookup("vip", "f", table="keys"),
            SliceError,
            "slice 'vip': column 'f' is double, and the keys in keys are double; a look-up takes "
            "text, whole numbers, booleans, dates, DECIMAL or timestamps, both sides of one type: "
            "cast one of them",
        ),
        (
            lookup("vip", "x", table="keys", key_column="n"),
            ColumnError,
            "slice 'vip': there is no column 'x'; known: f, n, s, t",
        ),
        (
            ~lookup("vip", "n", table="keys", key_column="nn"),
            ColumnError,
            "slice 'vip', keys in keys: there is no column 'nn'; did you mean 'n'?",
        ),
    ],
)
def test_look_ups_that_can_not_be(spark, sf, kind, message):
    table = spark.createDataFrame([], "s string, n int, f double, t timestamp")
    with pytest.raises(kind, match=f"^{re.escape(message)}$"):
        check_lookups([sf], table.schema, {"keys": table}.__getitem__)
    fine = [lookup("t", "t", table="keys"), lookup("s", "s", ["a"]), lookup("none", "f", [])]
    check_lookups(fine, table.schema, {"keys": table}.__getitem__)
