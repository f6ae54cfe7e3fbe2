"""A table's files by its log are those that Delta says it has, whatever the table went through."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from engine.storage.delta_files import files_added, may_have
from engine.storage.few_rows import small_rows
from engine.storage.files import files_of
from engine.storage.jvm import _delta_snapshot

STATEMENTS = (
    "DELETE FROM {t} WHERE id % 7 = {n}", "UPDATE {t} SET text = 'new' WHERE id % 5 = {n} % 5",
    "OPTIMIZE {t}", "RESTORE TABLE {t} TO VERSION AS OF {v}",
    "REORG TABLE {t} APPLY (PURGE)", "ALTER TABLE {t} SET TBLPROPERTIES ('a' = '{n}')",
)  # fmt: skip


def of_delta(df) -> list[tuple]:
    """Return a version's files as Delta has them."""
    snapshot = _delta_snapshot(df)
    return _known([json.loads(f.json())["add"] for f in snapshot.allFiles().collectAsList()])


def by_log(path: Path, version: int) -> list[tuple] | None:
    files = files_added(str(path / "_delta_log"), version)
    return None if files is None else _known(files)


def _known(files) -> list[tuple]:
    vectors = [f.get("deletionVector") or {} for f in files]
    return sorted(
        (f["path"], f["size"], sorted(f["partitionValues"].items()), v.get("offset", -1))
        for f, v in zip(files, vectors, strict=True)
    )


@pytest.mark.parametrize(("by", "vectors"), [([], False), (["part"], True)])
def test_files_after_whatever_happened(spark, tmp_path, by, vectors):
    path, chance = tmp_path / "a table", random.Random(5)
    properties = {
        "delta.enableDeletionVectors": str(vectors).lower(),
        "delta.checkpointInterval": "3",
    }
    for version in range(12):
        rows = [(version * 10 + i, f"text {i}", f"p ä{i % 3}") for i in range(10)]
        df = spark.createDataFrame(rows, "id int, text string, part string").coalesce(1)
        if version % 2 == 0:
            df.write.format("delta").options(**properties).partitionBy(*by).mode("append").save(
                str(path)
            )
        else:
            statement = chance.choice(STATEMENTS)
            facts = {"t": f"delta.`{path}`", "n": chance.randrange(5), "v": version // 2}
            spark.sql(statement.format(**facts))
        table = spark.read.format("delta").load(str(path))
        newest = int(_delta_snapshot(table).version())
        assert by_log(path, newest) == of_delta(table)
    table = spark.read.format("delta").load(str(path))
    rows = [repr(r.asDict()) for r in table.collect()]
    assert sorted(map(repr, small_rows(table))) == sorted(rows)
    assert len(list(path.glob("_delta_log/*.checkpoint.parquet"))) > 2
    for version in range(1, newest, 4):
        then = spark.read.format("delta").option("versionAsOf", version).load(str(path))
        assert by_log(path, version) == of_delta(then)


def test_no_job_runs(spark, tmp_path):
    spark.range(5).write.format("delta").save(str(tmp_path / "t"))
    df = spark.read.format("delta").load(str(tmp_path / "t"))
    spark.sparkContext.setJobGroup("files", "files")
    assert files_of(df, ["id"]) is not None
    assert sorted(row["id"] for row in small_rows(df)) == [0, 1, 2, 3, 4]
    assert len(spark.sparkContext.statusTracker().getJobIdsForGroup("files")) == 0
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)


def test_logs_that_spark_has_to_read(spark, tmp_path):
    for i in range(3):
        spark.range(i, i + 1).write.format("delta").mode("append").save(str(tmp_path / "t"))
    log = tmp_path / "t" / "_delta_log"
    assert len(files_added(str(log), 2)) == 3
    assert files_added(str(log), 3) is None
    assert files_added(str(tmp_path / "none"), 0) is None
    (log / f"{1:020d}.json").rename(log / "gone")
    assert files_added(str(log), 2) is None
    (log / f"{1:020d}.checkpoint.0a1b.parquet").write_bytes(b"of another form")
    assert files_added(str(log), 2) is None


def test_a_checkpoint_in_parts(spark, tmp_path):
    conf = "spark.databricks.delta.checkpoint.partSize"
    spark.conf.set(conf, "2")
    try:
        for i in range(12):
            spark.range(i, i + 1).write.format("delta").mode("append").save(str(tmp_path / "t"))
    finally:
        spark.conf.unset(conf)
    log = tmp_path / "t" / "_delta_log"
    parts = sorted(p.name for p in log.glob("*.checkpoint.*.parquet"))
    assert len(parts) > 1
    assert all(re.fullmatch(r"0{18}10\.checkpoint\.\d{10}\.\d{10}\.parquet", p) for p in parts)
    df = spark.read.format("delta").load(str(tmp_path / "t"))
    assert by_log(tmp_path / "t", 11) == of_delta(df)
    (log / parts[0]).unlink()  # one that isn't whole counts for nothing
    assert by_log(tmp_path / "t", 11) == of_delta(df)


@pytest.mark.parametrize(
    ("value", "there"), [(3, True), (5, True), (2, False), ("3", True), (None, True), (True, True)]
)
def test_files_that_may_have_a_value(value, there):
    stats = '{"minValues": {"id": 3, "text": "b"}, "maxValues": {"id": 5, "text": "c"}}'
    assert may_have({"stats": stats}, {"id": value}) is there
    assert not may_have({"stats": stats}, {"text": "d"})
    assert may_have({}, {"id": 9})
