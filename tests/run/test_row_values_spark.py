"""What a function sees in Spark: values of every kind, those that Python can't hold too."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from engine import SlicingFunction, compile_slices, preprocessor, slicing_function, where
from engine.compile.tiers import Tier
from engine.errors import SliceError, SliceFaultError, VerifyError
from engine.label.verify import verify
from engine.run.faults import explained, fault_counts, fault_metrics
from engine.run.udf import FAULT, FAULTS

BAD = "cast(unhex('61FF') as string)"
# Rows 1 and 3 have values that Python can't hold; row 2 has nulls.
ROWS = f"""
select id, case id when 1 then {BAD} when 2 then null when 4 then 'é' else 'ab' end s,
    case id when 3 then {BAD} else 'ab' end u,
    case id when 1 then date'-0001-01-01' when 2 then null when 3 then date'+10000-01-01'
            when 4 then date'9999-12-31' else date'0001-01-01' end d,
    case id when 1 then null else id end n,
    case id when 1 then timestamp'-0001-01-01 00:00:00' else timestamp'2020-01-01 00:00:00' end t,
    array(case id when 1 then {BAD} else 'ab' end) a,
    named_struct('q', named_struct('r', case id when 1 then {BAD} else 'ab' end)) deep
from range(6)
"""


@pytest.fixture(scope="module")
def rows(spark):
    return spark.sql(ROWS).cache()


def lifted() -> list[SlicingFunction]:
    functions = {
        "equal": lambda x: x.s == "ab",
        "unequal": lambda x: x.s != "ab",
        "known": lambda x: x.s is not None,
        "has": lambda x: "a" in x.s,
        "lower": lambda x: x.s.lower().startswith("a"),
        "length": lambda x: len(x.s) == 2,
        "listed": lambda x: x.s in ("ab", "b"),
        "first": lambda x: x.n == 3 or x.s == "ab",
        "second": lambda x: x.s == "ab" or x.n == 3,
        "behind": lambda x: x.n is None or x.s == "ab",
        "ahead": lambda x: x.s == "ab" and x.n is None,
        "either": lambda x: x.s == "ab" or x.u == "ab" or x.s == "b",
        "every": lambda x: x.s != "b" and x.u != "b" and x.n > 0,
        "chosen": lambda x: (x.s if x.id < 3 else x.u) == "ab",
        "nested": lambda x: x.u == "ab" if x.n is not None and x.n > 2 else x.s == "ab",
        "day": lambda x: x.d == dt.date(1, 1, 1),
        "last": lambda x: x.d is not None and x.d == dt.date(9999, 12, 31),
        "late": lambda x: x.d > dt.date(2020, 1, 1) and x.s != "b",
        "number": lambda x: x.n > 2,
        "two": lambda x: x.s == x.u,
        "constant": lambda x: True,
    }
    return [SlicingFunction(name, f) for name, f in functions.items()]


def asked(df: Any, sfs: list[SlicingFunction], tier: str | None) -> tuple[dict, dict]:
    """Return masks, and faults with what was read and the cause, by slice and id."""
    plan = compile_slices(sfs, df.schema, tier=tier)
    masked = plan.with_faults(df)
    native = plan.native_faults
    faults = [F.col(f"{FAULTS}.{FAULT}").alias("faults")] if FAULTS in masked.columns else []
    found = masked.select(
        "id", *plan.mask_columns(), *faults, *(c.alias(f"of {s}") for s, c in native.items())
    ).collect()
    masks = {(sf.id, r.id): r[sf.id] for r in found for sf in sfs}
    told = {(f["slice"], r.id): f["cause"] for r in found
            for f in (r["faults"] if faults else None) or ()}  # fmt: skip
    told |= {(s, r.id): r[f"of {s}"]["cause"] for r in found for s in native if r[f"of {s}"]}
    return masks, told


def test_every_tier_finds_the_same_faults(rows):
    by_row = asked(rows, lifted(), "row")
    assert asked(rows, lifted(), "arrow") == by_row
    assert asked(rows, lifted(), "spark") == by_row
    plan = compile_slices(lifted(), rows.schema, tier="spark")
    inside = [s for s, tier in plan.tiers.items() if tier is Tier.SPARK]
    assert len(inside) == len(lifted())
    masks, told = by_row
    wrong = {s for s, i in told if i == 1}
    assert wrong == {
        "equal", "unequal", "known", "has", "lower", "length", "listed", "second", "ahead",
        "either", "every", "chosen", "nested", "day", "last", "late", "two",
    } - {"nested"}  # fmt: skip
    assert ("first", 1) not in told  # n was read, and is null
    assert masks["first", 1] is None
    assert masks["behind", 1] is True
    assert told["equal", 1] == (
        "the column 's' has text that is not UTF-8 there, which Python can't read"
    )
    assert told["day", 3] == (
        "the column 'd' has a date before the year 1 or after 9999 there, which Python can't read"
    )
    assert {i for _, i in told} == {1, 3}


def test_a_run_that_tolerates_faults_counts_them(rows):
    for tier in ("spark", "row", None):
        plan = compile_slices(lifted(), rows.schema, tier=tier)
        masked = plan.with_faults(rows)
        metrics = masked.agg(*fault_metrics(masked, ["id"], plan.native_faults)).collect()[0]
        counts = fault_counts(metrics.asDict(), plan.failing)
        assert (counts.rows, counts.faults["equal"], counts.faults["day"]) == (6, 1, 2)
        assert counts.faults.get("number", 0) == 0
        assert (
            "'equal' on row id=1 having s=X'61FF': the column 's' has text that is not UTF-8 "
            "there, which Python can't read"
        ) in counts.examples
        assert any(e.startswith("'day' on row id=1 having d=-0001-01-01") for e in counts.examples)


def test_a_run_that_stops_names_slice_row_and_value(rows):
    for tier in ("spark", "arrow", "row"):
        sf = SlicingFunction("Is ab", lambda x: x.s == "ab")
        plan = compile_slices([sf], rows.schema, tier=tier)
        with pytest.raises(PySparkException) as caught:
            plan.apply(rows, keep=["id"]).collect()
        with pytest.raises(SliceFaultError) as told, explained([sf]):
            raise caught.value
        assert str(caught.value) == f"[USER_RAISED_EXCEPTION] {told.value} SQLSTATE: P0001"
        assert str(told.value) == (
            "slice 'Is ab' failed on row id=1 having s=X'61FF': the column 's' has text that is "
            "not UTF-8 there, which Python can't read; fix the function, or set on_error: "
            '"null" to leave such rows undecided and count them'
        )


def test_other_forms_that_read_it(rows):
    @preprocessor()
    def words(x):
        x.n_words = len(x.s.split())
        return x

    @slicing_function(pre=[words])
    def prepared(x):
        return x.n_words == 1

    @slicing_function()
    def series(s: pd.Series):
        return s.str.len() == 2

    @slicing_function()
    def time(x):
        return x.t.year == 2020

    @slicing_function()
    def times(t: pd.Series):
        return t.dt.year == 2020

    @slicing_function()
    def inside(x):
        return x.a == ["ab"]

    @slicing_function()
    def deepest(x):
        return x.deep.q.r == "ab"

    @slicing_function()
    def whole(x):
        return {**x.asDict()}["id"] > 0

    @slicing_function()
    def another(x):
        return [x.id] > [0]

    sfs = [prepared, series, time, times, inside, deepest, whole, another]
    masks, told = asked(rows, sfs, None)
    assert {s for s, i in told if i == 1} == {sf.id for sf in sfs} - {"whole", "another"}
    assert ("whole", 3) in told
    assert all(masks["another", i] is (i > 0) for i in range(6))
    assert all(masks["time", i] is True for i in range(6) if i != 1)
    assert masks["series", 2] is None


# ---- values of Spark's own kinds


def test_values_are_those_of_a_collected_row(spark):
    from pyspark.ml.linalg import Vectors

    vectors = spark.createDataFrame(
        [(0, Vectors.dense([0.25, 0.75]), [Vectors.dense([1.0])]),
         (1, Vectors.sparse(2, [0], [0.5]), []), (2, None, [None])],
        ["id", "vector", "vectors"],
    )  # fmt: skip
    others = spark.sql("""
        select id, case id when 2 then null else parse_json('{"a": [1, "b"]}') end v,
            array(parse_json('1')) vs, named_struct('v', parse_json('2'), 'n', 3) st,
            interval '3' day days, case id when 2 then null else interval '1-2' year to month
                end ym,
            make_interval(0, 1, 0, 2) ci, array(interval '1' month) yms,
            map('k', named_struct('x', 1, 'y', array(date'2020-01-01'))) m,
            X'0001' raw, cast(1.5 as decimal(38, 18)) dec
        from range(3)""")
    df = vectors.join(others, "id")
    collected = {r.id: r for r in df.drop("ym", "ci", "yms").collect()}

    def same(x, f, expected):
        return f(x) == expected[x.id]

    reads = {
        "vector": lambda x: None if x.vector is None else [float(v) for v in x.vector.toArray()],
        "item": lambda x: None if x.vector is None else float(x.vector[1]),
        "kind": lambda x: type(x.vector).__name__,
        "sparse": lambda x: x.vector is not None and type(x.vector).__name__ == "SparseVector",
        "vectors": lambda x: [None if v is None else v.toArray().tolist() for v in x.vectors],
        "variant": lambda x: None if x.v is None else x.v.toPython(),
        "json": lambda x: None if x.v is None else x.v.toJson(),
        "variants": lambda x: [v.toPython() for v in x.vs],
        "field": lambda x: (x.st.v.toPython(), x.st.n, x.st["n"]),
        "days": lambda x: x.days,
        "map": lambda x: (x.m["k"].x, x.m["k"].y, x.m["k"]["y"]),
        "raw": lambda x: bytes(x.raw),
        "decimal": lambda x: (x.dec, str(x.dec)),
    }
    sfs = [
        SlicingFunction(name, same, resources={
            "f": f, "expected": {i: f(row) for i, row in collected.items()}})
        for name, f in reads.items()
    ]  # fmt: skip

    @slicing_function()
    def months(x):
        return None if x.ym is None else (x.ym.months, x.ym.days) == (14, 0)

    @slicing_function()
    def interval(x):
        return (x.ci.months, x.ci.days) == (1, 2)

    @slicing_function()
    def whole(x):
        return len(str(x)) > 100 and len(list(x)) == len(x.keys()) == 13

    @slicing_function()
    def never(x):
        return len(x.yms) == 1

    @slicing_function()
    def as_series(vector: pd.Series, v: pd.Series):
        return vector.map(lambda w: w is not None and w[1] == 0.75) & v.notna()

    found = compile_slices([*sfs, months, interval, whole, as_series], df.schema).apply(
        df, keep=["id"]
    )
    for r in found.collect():
        assert {name: r[name] for name in reads} == dict.fromkeys(reads, True)
        assert (r.months, r.interval, r.whole) == (None if r.id == 2 else True, True, True)
        assert r.as_series is (r.id == 0)
    _, told = asked(df, [never], None)
    assert told == {
        ("never", i): "the column 'yms' has a value (TypeError: array<interval month>) there, "
        "which Python can't read" for i in range(3)
    }  # fmt: skip


# ---- names and sizes


def test_verify_takes_any_name(spark):
    df = spark.range(20).select(
        "id", F.col("id").alias("a`b"), F.col("id").alias("c.d"), F.col("id").alias("e f")
    )

    @slicing_function()
    def odd(x):
        return x["a`b"] % 2 == 1 and x["c.d"] > 3 and x["e f"] < 15

    for key in (["id"], ["a`b", "c.d"]):
        plan = compile_slices([odd], df.schema)
        assert verify(plan, df, key, 1.0) == (20, 1)
    plan.all_sfs["odd"].f = lambda x: x["a`b"] > 5
    with pytest.raises(VerifyError):
        verify(plan, df, ["a`b"], 1.0)
    # A slice whose bit is in a second word.
    many = [SlicingFunction(f"m{i}", lambda x, i=i: x["a`b"] > i) for i in range(70)]
    for tier in ("arrow", "spark"):
        plan = compile_slices(many, df.schema, tier=tier)
        assert verify(plan, df, key, 1.0) == (20, 70)
        before, many[67].f = many[67].f, lambda x: x["a`b"] == 9
        with pytest.raises(VerifyError, match=r"slice 'm67' on row a`b=9, c\.d=9: its"):
            verify(plan, df, key, 1.0)
        many[67].f = before
    found = compile_slices([odd], df.schema, tier="spark").apply(df).where("odd").count()
    assert found == 14


def test_large_compositions_in_spark(spark):
    import functools
    import operator

    from engine import where

    df = spark.range(300).withColumn("k", F.col("id"))
    every = [where(f"s{i}", f"k = {i}") for i in range(400)]
    either = functools.reduce(operator.or_, every).named("either")
    neither = functools.reduce(lambda a, b: a & ~b, every).named("neither")
    rows = [SlicingFunction(f"r{i}", lambda x, i=i: x.k == i) for i in range(200)]
    some = functools.reduce(operator.or_, [*rows, where("none", "k < 0")]).named("some")
    plan = compile_slices([either, neither, some], df.schema)
    counts = plan.apply(df, keep=["id"]).agg(
        *(F.count_if(s).alias(s) for s in ("either", "neither", "some"))
    )
    assert counts.collect()[0].asDict() == {"either": 300, "neither": 1, "some": 200}


def test_a_large_function_runs_over_arrow_columns(spark):
    import linecache

    said = "def f(x):\n    return " + " or ".join(f"x.k == {i} or x.t == '{i}'" for i in range(500))
    linecache.cache["<large>"] = len(said), None, said.splitlines(keepends=True), "<large>"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(said, "<large>", "exec"), names)
    df = spark.range(600).select("id", F.col("id").alias("k"), F.lit("a").alias("t"))
    plan = compile_slices([SlicingFunction("large", names["f"])], df.schema, tier="arrow")
    assert plan.tiers["large"] is Tier.ARROW
    assert plan.candidates["large"].refused[Tier.SPARK] == "it says more than 200 things"
    assert plan.apply(df, keep=["id"]).where("large").count() == 500


def ends(x):
    raise SystemExit(3)


def closes(x):
    raise GeneratorExit


def interrupted(x):
    raise KeyboardInterrupt("mine")


def deep(x, n=0):
    return deep(x, n + 1)


def stops(x):
    return next(iter([]))


def grows(x):
    return x.id == ["a"] * 10**15


def of_series(n: pd.Series):
    raise SystemExit(4)


RAISED = {
    ends: "SystemExit: 3 (", closes: "GeneratorExit:  (", interrupted: "KeyboardInterrupt: mine (",
    deep: "RecursionError: maximum recursion depth exceeded", stops: "StopIteration:  (",
    grows: "MemoryError:  (", of_series: "SystemExit: 4 (",
}  # fmt: skip


def test_whatever_a_function_raises_is_a_fault_of_the_row(rows):
    sfs = [SlicingFunction(f.__name__, f) for f in RAISED]
    sfs.append(SlicingFunction("fine", lambda x: x.id > 1))
    masks, told = asked(rows, sfs, None)
    assert masks["fine", 2] is True
    for f, said in RAISED.items():
        assert [masks[f.__name__, i] for i in range(6)] == [None] * 6
        read = [0, *range(2, 6)] if f is of_series else range(6)  # `n` of row 1 is null
        assert [told[f.__name__, i].startswith(said) for i in read] == [True] * len(read), f


def test_a_predicate_that_fails_on_a_row_is_named_in_what_spark_says(rows):
    bad = where("Is number", "cast(s as int) > 1")
    with pytest.raises(PySparkException) as caught:
        compile_slices([bad], rows.schema).apply(rows.where("id = 0"), keep=["id"]).collect()
    said = str(caught.value)
    assert said.startswith("[CAST_INVALID_INPUT] The value 'ab' of the type")
    assert "\nCAST(`s` AS INT) > 1 /* slice is_number */\n" in said
    with pytest.raises(SliceError) as told, explained([bad]):
        raise caught.value
    assert str(told.value).startswith(
        "slice 'Is number': the predicate 'cast(s as int) > 1' failed on a row: "
        "[CAST_INVALID_INPUT] The value 'ab' of the type"
    )
