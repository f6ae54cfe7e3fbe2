"""The hash is the same number in Spark and in Python."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest
from pyspark.sql import functions as F

from engine.hashing import unit_interval, unit_interval_column

KEYS = {
    "string": ["", "a", "a,b", "émoji 🙂", "\x00", "1:a,"],
    "int": [0, -1, 2**31 - 1],
    "bigint": [0, -(2**63), 2**63 - 1],
    "boolean": [True, False],
    "date": [dt.date(1970, 1, 1), dt.date(2024, 2, 29), dt.date(1, 1, 1)],
    "timestamp": [
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC),
    ],
    "timestamp_ntz": [dt.datetime(2024, 5, 1, 12, 0, 0, 1), dt.datetime(1900, 1, 1)],
    "decimal(20,0)": [Decimal(0), Decimal("-12345678901234567890")],
}


@pytest.mark.parametrize("kind", KEYS)
def test_spark_and_python_agree(spark, kind):
    values = KEYS[kind]
    df = spark.createDataFrame([(i, v) for i, v in enumerate(values)], f"i int, k {kind}")
    made = df.select("i", unit_interval_column(df, ["k"], seed=7).alias("u")).orderBy("i")
    assert [r["u"] for r in made.collect()] == unit_interval(values, seed=7).tolist()


def test_composite_keys_and_seeds(spark):
    keys = [("a", 1), ("a,1", 2), ("", 3), (None, 4), (None, 5), ("-,", 6), ("6", None)]
    df = spark.createDataFrame(keys, "s string, i int")
    both = df.select(
        "i",
        unit_interval_column(df, ["s", "i"], seed=1).alias("one"),
        unit_interval_column(df, ["s", "i"], seed=2).alias("two"),
    ).orderBy(F.asc_nulls_last("i"))
    found = both.collect()
    assert [r["one"] for r in found] == unit_interval(keys, seed=1).tolist()
    assert [r["two"] for r in found] == unit_interval(keys, seed=2).tolist()
    assert len({r["one"] for r in found}) == len(keys)
    assert not np.isclose([r["one"] for r in found], [r["two"] for r in found]).any()
