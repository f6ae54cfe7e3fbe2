"""Places: paths, URIs and names in a catalog, as statements and readers take them."""

from __future__ import annotations

import os

import pytest
from pyspark.sql import functions as F

from engine.errors import TableError
from engine.storage import tables
from engine.storage.place import Place, Root
from engine.storage.upsert import insert_missing, upsert


def test_names_of_a_catalog_may_be_quoted():
    names = {
        "`db`.`t`": "`db`", "`my cat`.`d.b`.t": "`my cat`.`d.b`", "a.`b``c`": "a", "db.CSV": "db",
    }  # fmt: skip
    assert {name: Place.of(name).schema for name in names} == names
    for path in ("`db`", "db.csv", "a.b.c.d", "1a.b", "./db.t", "s3a://bucket/a.b", "a`b.c"):
        assert not Place.of(path).in_catalog
    assert Place.of("a`b").sql == "delta.`a``b`"
    assert str(Root.of("`c`.`d`").table("masks")) == "`c`.`d`.masks"


def test_a_place_is_parsed_once():
    place = Place.of("./rows.CSV")
    assert Place.of(place) is place
    assert (place.format, str(place)) == ("csv", "./rows.CSV")


@pytest.mark.parametrize(
    ("path", "relative"),
    [("build/t", True), ("t", True), ("/t", False), ("s3://b/t", False), ("file:/t", False)],
)
def test_relative_paths(path, relative):
    assert Place.of(path).is_relative is relative


@pytest.mark.parametrize("quoted", [False, True])
def test_all_that_is_done_with_a_table(spark, tmp_path, quoted):
    """At a relative path, whose characters mean something to SQL and to formats, and by a name."""
    place = "`places`.`rows_of`" if quoted else os.path.relpath(tmp_path / "a `b` {c}")
    assert tables.find(spark, place) is None
    first = spark.range(3).withColumn("n", F.lit(0))
    tables.overwrite(first, place, facts={"by": "first"})
    second = tables.overwrite(first.where("id < 2"), place, facts={"by": "second"})
    assert tables.read(spark, place).facts["by"] == "second"
    assert tables.undo(spark, second) == f"{place} was restored to version 0"
    assert tables.read(spark, place).facts["by"] == "first"
    new = spark.range(2, 5).select("id", (F.col("id") * 10).alias("n"), F.lit("{}").alias("m"))
    assert upsert(new, place, ["id"], ["n"]).changed
    rows = [tuple(r) for r in tables.read(spark, place).df.orderBy("id").collect()]
    assert rows == [(0, 0, None), (1, 0, None), (2, 20, "{}"), (3, 30, "{}"), (4, 40, "{}")]
    assert not insert_missing(new, place, ["id"]).changed
    assert tables.read_source(spark, place).name == place


def test_a_name_that_is_no_delta_tables(spark):
    spark.sql("CREATE DATABASE IF NOT EXISTS places")
    spark.sql("CREATE TABLE places.p USING parquet AS SELECT 1 AS a")
    spark.sql("CREATE VIEW places.v AS SELECT 1 AS a")
    for name in ("places.p", "places.v"):
        with pytest.raises(TableError, match=f"{name} does not exist or is not a Delta"):
            tables.find(spark, name)
        assert tables.read_source(spark, name).df.collect() == [(1,)]
