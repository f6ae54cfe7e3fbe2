"""A small run of the fuzzer in Spark; rules of Spark's that are wrong, and must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from engine.compile import catalyst
from engine.compile.catalyst import CATALYST, Term
from engine.compile.tiers import Tier
from engine.label.plan import compile_slices
from tests.fuzz import differ, strategies
from tests.fuzz.differ import Suite

SEED, BATCHES, FUNCTIONS, ROWS = 3, 8, 200, 250


@pytest.fixture(scope="module")
def asked(spark, tmp_path_factory):
    """Batches of functions with what Python says, and the table's schema."""
    r, folder = Random(SEED), tmp_path_factory.mktemp("fuzzed")
    made = []
    for _ in range(BATCHES):
        suite = differ.load([strategies.sharp_function(r) for _ in range(FUNCTIONS)], folder)
        columns = strategies.values(r, ROWS)
        schema = differ.in_spark(spark, strategies.table(columns).slice(0, 1)).schema
        made.append((suite, columns, differ.by_oracle(suite, columns), schema))
    return made


@pytest.mark.parametrize("tier", ["spark", "arrow", "row", None])
def test_every_tier_says_what_python_says(tier, spark, tmp_path):
    r = Random(7)
    suite = differ.load([strategies.function(r) for _ in range(40)], tmp_path)
    columns = strategies.values(r, 200)
    expected = differ.by_oracle(suite, columns)
    found, _ = differ.by_spark(spark, suite, columns, tier)
    assert not list(differ.mismatches(str(tier), suite, columns, expected, found))


def test_the_rules_are_right(asked, spark):
    assert not _differs(spark, *asked[0])


def rule(op: str, run: Callable[..., Term]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(CATALYST, op, run)


def part(name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(catalyst, name, value)


def _compared(a: Term, b: Term) -> Term:
    right = _GREATER(a, b)
    numbers = catalyst._numbers(a, b)
    return right if numbers is None else replace(right, value=f"({numbers[0]} > {numbers[1]})")


def _equal(a: Term, b: Term) -> Term:
    right = catalyst._equal(a, b)
    if {a.kind, b.kind} & {"none", "other"} or a.kind != b.kind:
        return right
    return Term("bool", f"({a.value} = {b.value})", None, right.fail)


def _without_null(a: Term, b: Term) -> Term:
    value = f"({a.value} IS NOT NULL AND {catalyst._in(a, b).value})"
    return Term("bool", value, None, a.fail)


def _cut(a: Term, b: Term) -> Term:
    right = catalyst._floor_divided(a, b)
    value = f"(CAST({a.value} AS BIGINT) div {b.value})"
    return Term("int", value, None, right.fail, right.bits)


def _rest(a: Term, b: Term) -> Term:
    right = catalyst._mod(a, b)
    value = f"(CAST({a.value} AS BIGINT) % {b.value})"
    return Term("int", value, None, right.fail, right.bits)


def _octets(a: Term) -> Term:
    catalyst._length(a)  # refuses what it must
    value = f"CAST(octet_length({a.value}) AS BIGINT)"
    return Term("int", value, None, catalyst._strict(a), 31)


def _always(stops: bool) -> Callable[..., Term]:
    def chain(*terms: Term) -> Term:
        value = catalyst._until(stops)(*terms).value
        return Term("bool", value, None, catalyst._any_of(*(t.fail for t in terms)))

    return chain


_GREATER = CATALYST["gt"]
WRONG = {
    "NaN is greater than all": rule("gt", _compared),
    "NaN == NaN": rule("eq", _equal),
    "null is in no collection": rule("in", lambda a, b: catalyst._in(a, b)
                                     if b.kind == "text" else _without_null(a, b)),
    "// cuts off": rule("floordiv", _cut),
    "% has the dividend's sign": rule("mod", _rest),
    "len() in bytes": rule("len", _octets),
    "integers are rounded to floats": part("_EXACT_BITS", 64),
    "sums overflow": rule("add", catalyst._computed("+", lambda *_: 1)),
    "any() fails wherever a part fails": rule("any", _always(True)),
    "what is not used can't fail": rule("then", lambda _, value: value),
    "null is not known to be false": part("_truth", lambda term: f"({term.value} = true)"
                                          if term.kind == "bool" else _TRUTH(term)),
    "a text starts where it has": rule("startswith", catalyst._searched("contains")),
}  # fmt: skip
_TRUTH = catalyst._truth


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_rule_is_seen(wrong, asked, spark, monkeypatch):
    WRONG[wrong](monkeypatch)
    assert any(_differs(spark, *batch) for batch in asked)


def _differs(spark, suite, columns, expected, schema) -> bool:
    """Ask those functions that Spark would run."""
    spark.createDataFrame([], "a int")  # makes the session active again after a job that failed
    plan = compile_slices(suite.sfs, schema, tier="spark")
    inside = np.array([plan.tiers[sf.id] is Tier.SPARK for sf in suite.sfs])
    assert inside.sum() > FUNCTIONS / 4
    few = Suite(*(tuple(np.array(v, object)[inside]) for v in (suite.sources, suite.sfs)))
    try:
        found, _ = differ.by_spark(spark, few, columns, "spark", words=False)
    except (PySparkException, Py4JError):  # a crash is seen too
        return True
    return bool((found != expected[inside]).any())
