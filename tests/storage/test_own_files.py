"""A table's files that workers write are, in all that a reader sees, those that Spark writes."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructType

from engine.errors import MeanwhileError
from engine.storage import own_commits, tables
from engine.storage.own_files import FILE, Form, OwnRows, Writer, as_row
from engine.storage.place import Place

SCHEMA = (
    StructType().add("id", "long").add("text", "string").add("day", "date").add("on", "boolean")
)
COLUMNS = {"id": pa.int64(), "text": pa.string(), "day": pa.date32(), "on": pa.bool_()}


def rows_of(form, schema, tasks, again=False):
    """Return rows that as many tasks write, a hundred each; ``again``, each is tried twice."""

    def run(numbers):
        for batch in numbers:
            for task in batch.column(0).to_pylist():
                for _ in range(1 + again):
                    with Writer(form) as file:
                        for first in (0, 50):
                            ids = range(100 * task + first, 100 * task + first + 50)
                            columns = [
                                pa.array(ids, pa.int64()),
                                pa.array([f"é{i}" if i % 7 else None for i in ids]),
                                pa.array([i % 9 for i in ids], pa.int32()).cast(pa.date32()),
                                pa.array([None if i % 5 == 0 else i % 2 == 0 for i in ids]),
                            ]
                            file.write(pa.record_batch(columns, names=list(form.columns)))
                yield pa.record_batch({FILE: pa.array([None, as_row(file.done)])})

    spark = tables.SparkSession.getActiveSession()
    df = spark.range(0, tasks, 1, tasks).mapInArrow(run, StructType().add(FILE, StringType()))
    return OwnRows(df, form, schema)


def written(spark, place, tasks=2, schema=SCHEMA, **how):
    form = tables.form_of_own(spark, Place.of(place), schema)
    assert form is not None
    return tables.overwrite(rows_of(form, schema, tasks, **how), place, facts={"seed": 1}, run="r")


def by_spark(spark, n):
    ids = spark.range(n)
    text = F.when(F.col("id") % 7 != 0, F.concat(F.lit("é"), "id")).alias("text")
    day = F.date_add(F.lit("1970-01-01").cast("date"), (F.col("id") % 9).cast("int")).alias("day")
    on = F.when(F.col("id") % 5 != 0, F.col("id") % 2 == 0).alias("on")
    return ids.select("id", text, day, on)


def history(spark, place):
    rows = spark.sql(f"DESCRIBE HISTORY delta.`{place}`").collect()
    shown = ("version", "operation", "userMetadata", "readVersion", "isolationLevel")
    return [{c: r[c] for c in shown} | {"mode": r.operationParameters["mode"]} for r in rows]


def without_attempt(rows):
    for row in rows:
        about = json.loads(row["userMetadata"])
        assert about.pop("attempt")
        row["userMetadata"] = about
    return rows


def test_what_readers_see_is_what_spark_writes(spark, tmp_path):
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    for tasks in (2, 3):
        done = written(spark, ours, tasks)
        other = tables.overwrite(by_spark(spark, 100 * tasks), theirs, facts={"seed": 1}, run="r")
        assert (done.rows, done.version) == (other.rows, other.version)
    for version in (0, 1):
        read = spark.read.format("delta").option("versionAsOf", version)
        a, b = (read.load(place) for place in (ours, theirs))
        assert a.schema == b.schema
        assert a.orderBy("id").collect() == b.orderBy("id").collect()
        assert a.where("id = 150").count() == 1  # by the files' statistics, too
        assert a.where("on IS NULL").count() == b.where("on IS NULL").count() > 0
    assert without_attempt(history(spark, ours)) == without_attempt(history(spark, theirs))
    logs = [Path(ours, "_delta_log", f"{v:020d}.json").read_text().splitlines() for v in (0, 1)]
    actions = [json.loads(line) for log in logs for line in log]
    adds = [a["add"] for a in actions if "add" in a]
    assert json.loads(adds[0]["stats"]) == {
        "numRecords": 100, "minValues": {"id": 0}, "maxValues": {"id": 99},
        "nullCount": {"id": 0, "text": 15, "day": 0, "on": 20},
    }  # fmt: skip
    assert sum("metaData" in a for a in actions) == 1  # the same columns aren't told again
    assert {p.name for p in Path(ours).glob("*.parquet")} == {a["path"] for a in adds}
    codec = pq.read_metadata(f"{ours}/{adds[0]['path']}").row_group(0).column(0).compression
    assert codec == "LZ4"


def test_other_columns_and_spark_writing_between(spark, tmp_path):
    place = str(tmp_path / "t")
    written(spark, place)
    tables.overwrite(by_spark(spark, 50), place, facts={}, run="")
    marked = StructType([*SCHEMA])
    marked["on"].metadata = {"slice": {"name": "on", "fingerprint": "f"}}
    written(spark, place, schema=marked)
    df = spark.read.format("delta").load(place)
    assert df.schema["on"].metadata == {"slice": {"name": "on", "fingerprint": "f"}}
    assert df.count() == 200


def test_a_task_that_is_tried_again_leaves_nothing(spark, tmp_path):
    place = str(tmp_path / "t")
    assert written(spark, place, again=True).rows == 200
    assert len(list(Path(place).glob("*.parquet"))) == 2
    assert spark.read.format("delta").load(place).count() == 200


def test_a_write_that_fails_leaves_nothing(spark, tmp_path):
    place = str(tmp_path / "t")
    with (
        mock.patch.object(own_commits, "commit_files", side_effect=OSError("no")),
        pytest.raises(OSError, match="no"),
    ):
        written(spark, place)
    assert not Path(place).exists()


def test_files_of_a_commit_that_is_there_stay(spark, tmp_path):
    """The call that commits may break off when Delta has committed, or is about to."""
    place, commit = str(tmp_path / "t"), own_commits.commit_files
    written(spark, place)

    def broken(*args, **more):
        commit(*args, **more)
        raise error

    for error in (KeyboardInterrupt(), PySparkException("after the commit")):
        with (
            mock.patch.object(own_commits, "commit_files", broken),
            pytest.raises(type(error)),
        ):
            written(spark, place, tasks=3)
        assert spark.read.format("delta").load(place).count() == 300
    before = {p.name for p in Path(place).glob("*.parquet")}
    with (
        mock.patch.object(own_commits, "commit_files", side_effect=PySparkException("no")),
        pytest.raises(PySparkException),
    ):
        written(spark, place)
    assert {p.name for p in Path(place).glob("*.parquet")} == before


def test_somebody_else_writes_meanwhile(spark, tmp_path):
    place, commit = str(tmp_path / "t"), own_commits.commit_files

    def late(*args, **more):
        by_spark(spark, 30).write.format("delta").mode("overwrite").save(place)
        commit(*args, **more)

    for others in (30, 30):  # a first write, and a later one
        with (
            mock.patch.object(own_commits, "commit_files", late),
            pytest.raises(MeanwhileError) as caught,
        ):
            written(spark, place)
        assert place in str(caught.value)
        assert spark.read.format("delta").load(place).count() == others
        mine = {p.name for p in Path(place).glob("*.parquet") if not p.name.startswith("part-")}
        assert not mine


def test_a_file_that_is_not_there_is_not_committed(spark, tmp_path):
    place = str(tmp_path / "t")
    form = tables.form_of_own(spark, Place.of(place), SCHEMA)
    rows = rows_of(form, SCHEMA, 1)
    gone = rows.df.withColumn(
        FILE, F.regexp_replace(F.col(f"`{FILE}`"), '"size": [0-9]+', '"size": 3')
    )
    with pytest.raises(
        OSError, match=r"can't read or write .*: it isn't there as its worker wrote"
    ):
        tables.overwrite(OwnRows(gone, form, SCHEMA), place, facts={})
    assert not Path(place).exists()


def test_a_folder_that_a_worker_lacks_is_for_spark(tmp_path):
    form = Form(str(tmp_path / "none"), "a", COLUMNS, "lz4", "4.1.1")
    with pytest.raises(OSError, match=r"^a worker can't read or write .*none/a-"), Writer(form):
        pass


def test_a_writer_that_fails_removes_its_file(tmp_path):
    form = Form(str(tmp_path), "a", COLUMNS, "lz4", "4.1.1")
    rows = pa.record_batch([pa.nulls(3, kind) for kind in COLUMNS.values()], [*COLUMNS])
    other = pa.record_batch({"id": ["text"]})  # which is seen when the file is closed

    def write(*batches):
        with Writer(form) as file:
            for batch in batches:
                file.write(batch)

    with pytest.raises(pa.ArrowInvalid):
        write(rows, other)
    with pytest.raises(AttributeError):
        write(rows, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("properties", "accepted"),
    [
        ({"delta.checkpointInterval": "7", "delta.enableDeletionVectors": "true"}, True),
        ({"delta.enableChangeDataFeed": "true"}, False),
        ({"delta.columnMapping.mode": "name"}, False),
        ({"delta.appendOnly": "true"}, False),
        ({"delta.constraints.some": "id >= 0"}, False),
    ],
)
def test_which_tables_workers_write(spark, tmp_path, properties, accepted):
    place = str(tmp_path / "t")
    by_spark(spark, 3).write.format("delta").options(**properties).save(place)
    assert (tables.form_of_own(spark, Place.of(place), SCHEMA) is not None) == accepted


def test_what_spark_has_to_write(spark, tmp_path):
    place = Place.of(str(tmp_path / "t"))
    by_spark(spark, 3).write.format("delta").partitionBy("on").save(str(place))
    assert tables.form_of_own(spark, place, SCHEMA) is None
    new = Place.of(str(tmp_path / "new"))

    def of(schema, place=new):
        return tables.form_of_own(spark, place, schema)

    assert of(SCHEMA) is not None
    assert of(SCHEMA, Place.of("default.t")) is None
    assert of(StructType().add("price", "decimal(8,2)")) is None
    assert of(StructType().add("a b", "long")) is None
    generated = {"delta.generationExpression": "id + 1"}
    assert of(StructType().add("id", "long", True, generated)) is None
    with tables.settings(spark, {"spark.sql.parquet.compression.codec": "brotli"}):
        assert of(SCHEMA) is None
    with tables.settings(spark, {"spark.sql.parquet.compression.codec": "zstd"}):
        assert of(SCHEMA).codec == "zstd"
