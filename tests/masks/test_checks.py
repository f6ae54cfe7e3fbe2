"""What only the data can show, in one scan: rows, nulls, and keys that name more than one row."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from engine.errors import TableError
from engine.masks.checks import check_rows
from tests.jobs.spark_work import spark_work

SCHEMA = "day string, id int, text string"


def rows(spark, *more):
    return spark.createDataFrame([("a", i, f"{i}") for i in range(50)] + list(more), SCHEMA)


@pytest.mark.parametrize("scans", [0, 1])
def test_at_most_one_scan_counts_rows_and_compares_the_hashes_of_keys(spark, tmp_path, scans):
    place = str(tmp_path / "rows")
    rows(spark).write.format("delta").save(place)
    df = spark.read.format("delta").load(place)
    if scans:  # Spark has to look at each row; workers read whole files without it
        df = df.where("id >= 0")
    with spark_work(spark) as work:
        assert check_rows(df, "t", ["day", "id"], {"text": ["short"]}, unique=True) == 50
    assert work.scans_of("rows") == scans, work
    assert len(work.ours) <= 2, work


def test_keys_that_hash_alike_are_compared_themselves(spark, monkeypatch):
    monkeypatch.setattr(F, "xxhash64", lambda *columns: F.lit(1))
    assert check_rows(rows(spark), "t", ["day", "id"], {}, unique=True) == 50
    with pytest.raises(TableError) as error:
        check_rows(rows(spark, ("a", 7, "")), "t", ["day", "id"], {}, unique=True)
    assert str(error.value) == (
        "the key (day, id) of t is not unique: 1 keys name more than one row, the first are "
        "day='a', id=7 (2 rows)"
    )


@pytest.mark.parametrize("unique", [False, True])
def test_nulls_and_no_rows_come_before_keys(spark, unique):
    with pytest.raises(TableError) as error:
        check_rows(rows(spark, ("a", 7, ""), (None, 7, "")), "t", ["day", "id"], {}, unique=unique)
    assert str(error.value) == (
        "key column 'day' of t is null on 1 of 52 rows; every row needs a key"
    )
    with pytest.raises(TableError) as error:
        check_rows(rows(spark).where("id > 50"), "t", ["day", "id"], {}, unique=unique)
    assert str(error.value) == "t has no rows; nothing was written"
