"""A digest of rows: the same for the same rows in any order, another one for any others."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal

from pyspark.sql import functions as F

from engine.storage.digest import row_digest


def test_rows_of_all_kinds(spark):
    schema = (
        "a int, b int, s string, t string collate UTF8_LCASE, f double, l array<string>, "
        "m map<string, int>, r struct<x: int, y: int>, d date, k binary, p decimal(20, 3)"
    )
    first = (
        1, None, "null", "a", 0.5, ["null", None], {"a": 1}, (None, 1), dt.date(2024, 5, 1), b"x",
        None,
    )  # fmt: skip
    others = {
        "a": 2, "b": 0, "s": None, "t": "A", "f": float("nan"), "l": [None, "null"],
        "m": {"a": None}, "r": (1, None), "d": None, "k": b"", "p": Decimal(0),
    }  # fmt: skip
    names = list(others)
    rows = [first, *(tuple({**dict(zip(names, first, strict=True)), n: v}.values())
                     for n, v in others.items())]  # fmt: skip
    rows.append((None, 1, *first[2:]))  # the nulls of two columns are not one
    df = spark.createDataFrame([(i, *row) for i, row in enumerate(rows)], f"i int, {schema}")
    digests = [row_digest(df.where(F.col("i") == i).drop("i")) for i in range(len(rows))]
    for (i, one), (j, other) in itertools.combinations(enumerate(digests), 2):
        assert one != other, (rows[i], rows[j])


def test_order_and_number(spark):
    one = spark.createDataFrame([(1, "a"), (2, None), (2, None)], "n int, s string")
    whole = row_digest(one)
    turned = one.orderBy(F.desc("n")).repartition(3).select("s", "n")
    assert row_digest(turned) == whole
    assert row_digest(one.distinct()) != whole
    assert row_digest(one.union(one)) != whole
    assert row_digest(one.withColumnRenamed("s", "z")) != whole
    assert row_digest(one.withColumn("n", F.col("n").cast("long"))) != whole
    assert row_digest(one.where("n > 5")) == row_digest(one.limit(0))
