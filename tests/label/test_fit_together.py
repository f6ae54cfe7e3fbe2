"""Whatever makes masks marks them, and whatever reads masks finds them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from engine import (
    PandasSFApplier,
    SlicingFunction,
    SparkSFApplier,
    compile_slices,
    evaluate,
    overlap,
    signatures,
    where,
)
from engine.errors import ColumnError, MaskError, TableError
from engine.masks.coverage import coverage
from engine.masks.layout import Bits, Layout, StoredSlice, TableForm, slices_of
from engine.masks.reader import read_masks
from engine.slicing.fingerprint.identity import fingerprint

N = 60
SLICES = [where("odd", "id % 2 = 1"), SlicingFunction("Few!", lambda x: x.id < 20)]
IDS = ("odd", "few")


@pytest.fixture(scope="module")
def rows(spark):
    made = pd.DataFrame({"id": np.arange(N), "label": np.arange(N) % 3 % 2})
    return spark.createDataFrame(made.assign(pred=made["label"] * (made["id"] % 5 > 0)))


@pytest.fixture(scope="module")
def masks(rows):
    return SparkSFApplier(SLICES).apply(rows)


def test_masks_are_marked_as_a_stored_tables_are(rows, masks):
    marked = {sf.id: fingerprint(sf, "UTC") for sf in SLICES}
    assert slices_of(masks.schema) == marked
    assert [s.name for s in read_masks(masks).slices] == ["odd", "Few!"]
    planned = compile_slices(SLICES, rows.schema).apply(rows, ["id"])
    assert (planned.columns, slices_of(planned.schema)) == (["id", *IDS], marked)


def test_marks_live_through_what_people_do_with_tables(spark, rows, masks, tmp_path):
    masks.write.parquet(str(tmp_path / "parquet"))
    masks.write.format("delta").save(str(tmp_path / "delta"))
    masks.createOrReplaceTempView("fit_together")
    others = rows.selectExpr("id", "label AS other")
    made = {
        "select": masks.select("id", "few", "odd"),
        "where and sort": masks.where("id > 3").orderBy("id"),
        "withColumn": masks.withColumn("more", F.lit(1)),
        "join": masks.join(others, "id"),
        "union": masks.union(masks),
        "unionByName": masks.unionByName(masks),
        "cache": masks.cache(),
        "parquet": spark.read.parquet(str(tmp_path / "parquet")),
        "delta": spark.read.format("delta").load(str(tmp_path / "delta")),
        "view": spark.table("fit_together"),
        "sql": spark.sql("SELECT *, id + 1 AS next FROM fit_together"),
    }
    assert {how: set(read_masks(df).ids) for how, df in made.items()} == {
        how: set(IDS) for how in made
    }
    assert read_masks(masks.withColumnRenamed("odd", "uneven")).ids == ("uneven", "few")


def test_overlap_signatures_and_evaluate_find_them(rows, masks):
    found = overlap(masks)
    assert (found.ids, found.counts.tolist()) == (IDS, [[30, 10], [10, 20]])
    assert signatures(masks).rows_in("odd & ~few").true == 20
    evaluated = evaluate(masks, key="id", metrics=["count"], n_replicates=0)
    assert evaluated.table.set_index("slice")["value"].to_dict() == {
        "overall": 60, "odd": 30, "few": 20,
    }  # fmt: skip


def test_lost_marks_are_named(spark, rows, masks):
    lost = spark.createDataFrame(masks.toPandas())
    with pytest.raises(MaskError) as caught:
        evaluate(lost, key="id")
    assert str(caught.value) == (
        "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
        "SparkSFApplier.apply made, or slicing functions as slices=[...]. Its BOOLEAN columns "
        "(odd, few) are not marked as masks, which pandas and casts undo: name those that are, "
        "slices=['odd', 'few']"
    )
    for read in (overlap, signatures):
        with pytest.raises(MaskError) as caught:
            read(lost)
        assert str(caught.value).endswith("name those that are, ids=['odd', 'few']")
    big = where("big", "id >= 50")
    found = evaluate(lost, key="id", metrics=["count"], slices=["few", big], n_replicates=0)
    assert found.table["value"].tolist() == [60, 20, 10]
    assert overlap(lost, ["few"]).counts.tolist() == [[20]]
    with pytest.raises(MaskError) as caught:
        evaluate(lost, key="id", slices=["label"])
    assert str(caught.value) == (
        "the mask of slice 'label' can't be read: the column 'label' is bigint; a mask is one "
        "BOOLEAN column (true in, false out, null undecided), or both words of a packed table. To "
        "slice by another column, give slicing functions, as where(...) and by(...) make them"
    )


def test_slices_applied_to_a_packed_table_are_beside_its_own(rows, masks):
    stored = [StoredSlice(s, s, "") for s in IDS]
    packed = TableForm(("id", "label", "pred"), Layout.PACKED, Bits(tuple(stored))).rows(
        masks, [F.col(s) for s in IDS]
    )
    both = SparkSFApplier([where("big", "id >= 50"), where("nine", "id = 9")]).apply(packed)
    table = read_masks(both)
    assert (table.ids, table.layout) == ((*IDS, "big", "nine"), Layout.PACKED)
    assert table.columns == ("id", "label", "pred")
    assert overlap(both, ["nine", "odd", "big"]).counts.tolist() == [
        [1, 1, 0],
        [1, 30, 5],
        [0, 5, 10],
    ]
    found = evaluate(both, key="id", metrics=["count"], n_replicates=0)
    assert found.by_slice["value"].tolist() == [30, 20, 10, 1]
    with pytest.raises(MaskError, match="its column 'null_0' is not there"):
        overlap(both.drop("null_0"))
    twice = masks.join(masks.select("id", "odd"), "id")
    with pytest.raises(MaskError, match="there are 2 columns 'odd'"):
        overlap(twice)


def test_masks_that_a_source_carries_are_no_slices_of_the_run(masks):
    form = TableForm(("id", "odd"), Layout.BOOLEAN, Bits((StoredSlice("a", "a", ""),)))
    assert read_masks(form.rows(masks, [F.col("few").alias("a")])).ids == ("a",)


def test_local_tables_keep_marks_and_names(masks):
    local = pd.DataFrame({"id": [3, 40]})
    sfs = [SlicingFunction("odd", lambda x: x.id % 2 == 1)]
    table = compile_slices(sfs, local).apply(pa.Table.from_pandas(local))
    assert table.schema.field("odd").metadata[b"slice"].startswith(b'{"name": "odd"')
    assert PandasSFApplier(sfs).apply(local, progress_bar=False).dtype.names == ("odd",)


def test_keys_that_repeat_are_found_in_the_same_scan(spark, rows, masks):
    given = rows.select("id", "label", "pred")
    with pytest.raises(TableError) as caught:
        evaluate(masks, given.union(given.where("id = 7")), key="id", n_replicates=0)
    assert str(caught.value) == (
        "the key (id) of predictions of 'model' is not unique: 1 keys name more than one row, the "
        "first are id=7 (2 rows)"
    )
    with pytest.raises(TableError, match=r"the key \(id\) of the mask table is not unique"):
        evaluate(masks.union(masks.where("id = 9")), given, key="id", n_replicates=0)
    both = masks.union(masks.where("id = 9")).selectExpr("id", "id % 4 AS part", "odd")
    with pytest.raises(TableError, match=r"the key \(id, part\) of the mask table is not"):
        evaluate(both, given.withColumn("part", F.expr("id % 4")), key=["id", "part"],
                 slices=["odd"], n_replicates=0)  # fmt: skip
    with pytest.raises(ColumnError) as caught:
        evaluate(masks, given.withColumn("id", F.col("id").cast("string")), key="id")
    assert str(caught.value) == (
        "key column 'id' is bigint in the masks and string in the predictions of 'model': cast "
        "one of them"
    )


def test_one_row_of_many_that_is_there_twice_is_found(spark):
    """Its copy is in another partition, and the join moves no mask row."""
    n = 20_000
    made = spark.range(0, n, 1, 3).selectExpr("id", "id % 3 = 0 AS third")
    twice = made.union(made.where("id = 12345"))
    given = F.broadcast(spark.range(n).selectExpr("id", "id % 2 AS label", "id % 5 % 2 AS pred"))
    asked = {"key": "id", "slices": ["third"], "metrics": ["accuracy"], "n_replicates": 0}
    with pytest.raises(TableError) as caught:
        evaluate(twice, given, **asked)
    assert str(caught.value) == (
        "the key (id) of the mask table is not unique: 1 keys name more than one row, the first "
        "are id=12345 (2 rows)"
    )
    assert evaluate(made, given, **asked).overall["support"].tolist() == [n]


def test_rows_without_a_key_are_refused(rows, masks):
    """They belong to no row, and once were left out without a word."""
    given = rows.select("id", "label", "pred")
    none = given.where("id < 2").withColumn("id", F.lit(None).cast("long"))
    for allow_missing in (False, True):
        with pytest.raises(TableError) as caught:
            evaluate(masks, {"a": given, "b": given.union(none)}, key="id", n_replicates=0,
                     allow_missing=allow_missing)  # fmt: skip
        assert str(caught.value) == (
            "key column 'id' of predictions of 'b' is null on 2 of 62 rows; every row needs a key"
        )
    odd = masks.withColumn("id", F.expr("IF(id = 7, NULL, id)"))
    with pytest.raises(TableError) as caught:
        evaluate(odd, given, key="id", n_replicates=0, allow_missing=True)
    assert str(caught.value) == (
        "key column 'id' of the mask table is null on 1 of 60 rows; every row needs a key"
    )


def test_of_a_row_without_words_all_slices_are_null(spark, rows, masks, tmp_path):
    """A left join makes such rows; their words once were any number."""
    bits = Bits((StoredSlice("odd", "odd", ""), StoredSlice("few", "Few!", "")))
    packed = TableForm(("id",), Layout.PACKED, bits).rows(masks, [F.col(s) for s in IDS])
    some = rows.join(packed.where("id < 40"), "id", "left")
    some.write.format("delta").save(str(tmp_path / "packed"))
    for df in (some, spark.read.format("delta").load(str(tmp_path / "packed"))):
        found = evaluate(df, key="id", metrics=["count"], n_replicates=0).table
        assert found["value"].tolist() == [60, 20, 20]
        assert found["n_null"].tolist() == [0, 20, 20]
        assert [c.n_null for c in coverage(df, IDS, None)] == [20, 20]
        assert overlap(df).counts.tolist() == [[20, 10], [10, 20]]
