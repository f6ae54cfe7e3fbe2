"""Texts that Spark reads as another day each day, wherever one becomes a time."""

from __future__ import annotations

import pytest

from engine.errors import SliceError
from engine.label.predicates import check_predicates
from engine.slicing.functions import where

TABLE = "SELECT DATE'2024-05-01' d, TIMESTAMP'2024-05-01 00:00:00' ts, 'x' s, array('a') a"
DAYS = [
    "d < 'tomorrow'", "d < ' NOW '", "ts < 'now'", "d IN ('2024-05-01', 'today')",
    "d BETWEEN '2024-05-01' AND 'tomorrow'", "coalesce(d, 'today') = d", "date('today') > d",
    "to_date('today') > d", "timestamp('now') > ts", "to_timestamp('now') > ts",
    "date_add('today', 1) > d", "datediff('today', d) > 1", "year('today') > 2000",
    "d < concat('to', 'day')", "d < 'to' || 'day'", "d < lower('TODAY')", "d < reverse('yadot')",
    "CASE WHEN d < 'today' THEN true END", "exists(a, x -> d > 'today')",
]  # fmt: skip
NO_DAYS = [
    "s = 'today'", "s IN ('now', 'today')", "d < '2024-05-01'", "ts < '2024-05-01T00:00:00Z'",
    "s LIKE concat('to', 'day')", "exists(a, x -> x = 'today')", "to_date(s) > d",
    "concat(s, 'today') = 'x'", "d < date('2024-05-01')",
    "d < date(CAST('2024-05-01 00:00:00Z' AS TIMESTAMP))", "d < date_add('2024-05-01', 1)",
    "ts < timestamp('2024-05-01 00:00:00 Europe/Paris')", "d < concat('2024', '-05-01')",
]  # fmt: skip


@pytest.mark.parametrize("text", DAYS)
def test_a_text_that_is_another_day_each_day_is_refused(spark, text):
    with pytest.raises(SliceError) as raised:
        check_predicates([where("late", text)], spark.sql(TABLE).schema, spark)
    start = f"slice 'late': the predicate {text!r} casts "
    assert str(raised.value).startswith(start)


@pytest.mark.parametrize("text", NO_DAYS)
def test_a_text_that_is_a_text_is_taken(spark, text):
    check_predicates([where("late", text)], spark.sql(TABLE).schema, spark)
