"""What is written anew means what its user wrote: the same tree to Spark, or the same rows."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from pyspark.errors import PySparkException

from engine.errors import PredicateError
from engine.predicates.functions import ALLOWED, FIXED, REFUSED
from engine.predicates.predicate import read
from engine.predicates.writing import text_literal
from tests.predicates.corpus import SAME, SAME_VALUES, TABLE


@pytest.fixture(scope="module")
def parse(spark):
    parser = spark._jsparkSession.sessionState().sqlParser()
    return parser.parseExpression


@pytest.fixture(scope="module")
def table(spark):
    return spark.sql(TABLE)


@pytest.mark.parametrize("text", SAME)
def test_spark_reads_the_same_tree(parse, text):
    assert parse(read(text).sql()).equals(parse(text)), read(text).sql()


def values(table, sql):
    try:
        chosen = table.selectExpr("i", f"{sql} AS mask")
        return chosen.schema.json(), sorted(map(repr, chosen.collect()))
    except PySparkException as error:
        return error.getCondition(), ""


@pytest.mark.parametrize("text", SAME_VALUES)
def test_rows_have_the_same_values(table, text):
    now = values(table, read(text).sql())
    assert now == values(table, text)
    assert "mask" in now[0]


OPERATORS = [
    "+", "-", "*", "/", "%", "DIV", "||", "&", "|", "^", "<<", ">>", "=", "==", "<>", "!=", "<",
    "<=", ">", ">=", "<=>", "AND", "OR", "AND", "OR", "LIKE", "RLIKE", "NOT LIKE", "ILIKE",
    "IS DISTINCT FROM", "IS NOT DISTINCT FROM",
]  # fmt: skip
ATOMS = ["i", "l", "`s`", "t.i", "a[0]", "1", "2.5", "'x'", "NULL", "true", "f1(i)", "st.x", "1e3"]
AFTER = [" IS NULL", " IS NOT NULL", " IN (1, 2)", " NOT IN (i)", " BETWEEN 1 AND 2", " IS TRUE"]
BEFORE = ["-", "~", "NOT ", "+", "!"]


def words(draw: random.Random, depth: int) -> str:
    """Return an expression with hardly a bracket, so that ranks decide what it means."""
    if not depth or draw.random() < 0.2:
        return draw.choice(ATOMS).replace("f1", "abs")
    kind = draw.random()
    if kind < 0.6:
        left, right = words(draw, depth - 1), words(draw, depth - 1)
        return f"{left} {draw.choice(OPERATORS)} {right}"
    if kind < 0.7:
        return f"({words(draw, depth - 1)})"
    if kind < 0.85:
        return f"{words(draw, depth - 1)}{draw.choice(AFTER)}"
    return f"{draw.choice(BEFORE)}{words(draw, depth - 1)}"


@pytest.mark.parametrize("seed", range(4))
def test_made_up_predicates_are_read_as_spark_reads_them_or_refused(parse, seed):
    draw, read_, refused = random.Random(seed), 0, 0
    for _ in range(1500):
        text = words(draw, 4)
        try:
            spark_tree = parse(text)
        except Exception:
            spark_tree = None
        try:
            sql = read(text).sql()
        except PredicateError:
            refused += 1
            continue
        if spark_tree is not None:
            read_ += 1
            assert parse(sql).equals(spark_tree), (text, sql)
    assert read_ > 300, (read_, refused)


@pytest.mark.parametrize("seed", range(2))
def test_any_text_is_the_same_text(spark, seed):
    draw = random.Random(seed)
    signs = "ab'\"\\$`{}%_\n\t\r\x00\x1b\x7f\x85üßж中😀;-/*0u"
    texts = ["".join(draw.choices(signs, k=draw.randrange(12))) for _ in range(300)]
    row = spark.sql("SELECT " + ", ".join(map(text_literal, texts))).collect()[0]
    assert list(row) == texts


@pytest.mark.parametrize("seed", range(2))
def test_any_words_in_quotes_are_read_as_spark_reads_them(parse, seed):
    draw = random.Random(seed)
    parts = ["a", "\\n", "\\'", "\\\\", "\\u0041", "\\U0001F600", "\\101", "\\0", "\\%", "\\_", "\\x", "ü", '"', "\\Z", "%", "\\b", "\\r", "\\t", "\\a", "\\v", "\\9", "\\08", "\\u00", "\\400"]  # fmt: skip  # noqa: E501
    for _ in range(400):
        text = "s = '" + "".join(draw.choices(parts, k=draw.randrange(6))) + "'"
        assert parse(read(text).sql()).equals(parse(text)), (text, read(text).sql())


SYNTAX = {"and", "between", "case", "cast", "div", "extract", "in", "not", "or", "when"}


def test_each_function_of_spark_is_allowed_or_refused_by_name(spark):
    names = {row[0].rpartition(".")[2] for row in spark.sql("SHOW SYSTEM FUNCTIONS").collect()}
    words = {name for name in names if name.replace("_", "").isalnum()}
    assert sorted(words - ALLOWED - FIXED - REFUSED.keys() - SYNTAX) == []
    assert sorted(ALLOWED - names - SYNTAX) == ["timestampadd", "timestampdiff"]  # syntax, too
    assert not ALLOWED & (FIXED | REFUSED.keys())


def test_the_date_is_the_runs(spark):
    date = dt.date(2024, 5, 1)
    row = spark.sql(
        "SELECT " + ", ".join(
            read(f"{call} = x").sql(date).partition(" = ")[0] + f" AS c{i}"
            for i, call in enumerate(["current_date()", "curdate()", "now()", "current_timestamp()", "localtimestamp()", "current_date", "current_timestamp"])  # noqa: E501
        )
    ).collect()[0]  # fmt: skip
    midnight = dt.datetime(2024, 5, 1)
    assert list(row) == [date, date, midnight, midnight, midnight, date, midnight]
