"""Rows that workers read from files and label are the rows that Spark hands to them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from pyspark.sql import functions as F

from engine import SlicingFunction
from engine.label.from_files import Stored, labelled_from_files
from engine.label.plan import compile_slices
from engine.label.verify import Comparison
from engine.masks.coverage import coverage
from engine.masks.layout import table_form
from engine.storage.files import unread, unreadable

SCHEMA = (
    "id int, text string, price decimal(8,2), day date, at timestamp, tags array<string>, "
    "place struct<n:int>, part string"
)


def raises(x):
    return 1 / (x.id % 5) > 0.3


SFS = [
    SlicingFunction("long_text", lambda x: len(x.text) > 6),
    SlicingFunction("dear", lambda x: x.price * 2 > Decimal("9.99")),
    SlicingFunction("late", lambda x: x.day > dt.date(1990, 1, 1) and x.at.hour >= 12),
    SlicingFunction("tagged", lambda x: "a" in (x.tags or [])),
    SlicingFunction("placed", lambda x: x.place.n > 3),
    SlicingFunction("raises", raises),
]


@pytest.fixture
def table(spark, tmp_path):
    rows = [
        (
            i, f"text {i}" if i % 7 else None, Decimal(i) / 10, dt.date(1980 + i % 20, 1, 1),
            dt.datetime(2020, 1, 1, i % 24, tzinfo=dt.UTC), ["a"] * (i % 3) or None, (i % 9,),
            f"p{i % 2}",
        )
        for i in range(500)
    ]  # fmt: skip
    df = spark.createDataFrame(rows, SCHEMA)
    df.write.format("delta").partitionBy("part").save(str(tmp_path / "t"))
    return spark.read.format("delta").load(str(tmp_path / "t"))


OF_SPARK = [
    SlicingFunction("sql", sql="length(Text) > 6 AND part = 'p1' AND place.n < 7"),
    SlicingFunction("column", lambda: F.size("tags") > 1),
]
HERE = {"tier": "arrow"}
BOTH = {"tiers": {"raises": "row", "long_text": "spark", "dear": "arrow"}}


@pytest.mark.parametrize("layout", ["boolean", "packed"])
@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize(("sfs", "where"), [(SFS, HERE), ([*SFS, *OF_SPARK], BOTH)])
def test_the_same_rows(table, layout, share, sfs, where):
    plan = compile_slices(sfs, table.schema, **where)
    form = table_form(["id", "part", "price"], sfs, dict.fromkeys(plan.ids, ""), layout, None, "")
    bits = form.places or {s: i for i, s in enumerate(plan.ids)}
    comparison = Comparison(plan, bits, ("id",), share, 3)
    masked = labelled_from_files(comparison, table, form.columns)
    assert masked is not None
    ours = plan.rows(masked, form)
    theirs = plan.rows(comparison.with_faults(table), form)
    assert ours.schema == theirs.schema
    rows, faults = (d.orderBy("id").collect() for d in (ours, theirs))
    assert rows == faults
    assert len(rows) == 500
    assert all(0 < c.n_in < 500 for c in coverage(ours, plan.ids, None))
    both = (masked, comparison.with_faults(table))
    counts = [d.selectExpr("count(_slices._fault) AS n").first()["n"] for d in both]
    assert counts == [100, 100]


def test_slices_of_spark_alone_beside_masks_that_are_there(spark, table, tmp_path):
    old = table.selectExpr("id", "id % 3 = 0 AS old").coalesce(1).sortWithinPartitions("id")
    old.write.format("delta").save(str(tmp_path / "old"))
    rows = table.coalesce(1).sortWithinPartitions("id")
    rows.write.format("delta").save(str(tmp_path / "rows"))
    table, old = (spark.read.format("delta").load(str(tmp_path / n)) for n in ("rows", "old"))
    plan = compile_slices(OF_SPARK, table.schema)
    bits = {s: i for i, s in enumerate(plan.ids)}
    comparison = Comparison(plan, bits, ("id",), 0.0)
    masked = labelled_from_files(comparison, table, ["id"], Stored(old, {"old": "@old"}))
    assert masked is not None
    ours = masked.select("id", "@old", *plan.mask_columns()).orderBy("id").collect()
    joined = comparison.with_faults(table.join(old.withColumnRenamed("old", "@old"), "id"))
    assert ours == joined.select("id", "@old", *plan.mask_columns()).orderBy("id").collect()
    assert len(ours) == 500


def test_what_spark_has_to_read(table):
    def of(sfs, df=table, key=("id",), **more):
        plan = compile_slices(sfs, df.schema, **more)
        bits = {s: i for i, s in enumerate(plan.ids)}
        return labelled_from_files(Comparison(plan, bits, key, 0.5), df, ["id"])

    assert of(SFS[:1], tier="arrow") is not None
    assert of([*SFS[:1], *OF_SPARK], tiers={"long_text": "arrow"}) is not None
    assert of(OF_SPARK) is None
    file = SlicingFunction("file", lambda: F.input_file_name() != "")
    assert of([*SFS[:1], file], tiers={"long_text": "arrow"}) is None
    assert of(SFS[:1], tier="spark") is None
    assert of(SFS[:1], table.where("id > 3"), tier="arrow") is None
    assert of(SFS[:1], key=("day",), tier="arrow") is None  # decides which rows are compared


def test_a_file_that_is_gone_is_a_warning(caplog):
    assert unread(unreadable("/x.parquet", "gone"))
    assert "a worker can't read /x.parquet: gone; Spark reads the table instead" in caplog.text
    assert not unread(ValueError("else"))
