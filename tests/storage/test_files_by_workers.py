"""What workers read of files is what Spark reads, type by type; what they can't, Spark reads."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.storage.deletion_vectors import DeletionVector, rows_in
from engine.storage.files import batches, files_of, with_values

KINDS = {
    "whole": ("tinyint", [1, None, -7]),
    "price": ("decimal(10,2)", [Decimal("1.50"), None, Decimal("-99999999.99")]),
    "wide": ("decimal(38,6)", [Decimal("1e-6"), None, Decimal(10) ** 31]),
    "day": ("date", [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
    "at": ("timestamp", [dt.datetime(1582, 10, 4, tzinfo=dt.UTC), None,
                         dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)]),
    "local": ("timestamp_ntz", [dt.datetime(1, 1, 1), None, dt.datetime(2024, 2, 29, 1, 2, 3, 4)]),
    "bytes": ("binary", [b"", None, b"\xff\x00"]),
    "flags": ("array<boolean>", [[], None, [True, None]]),
    "times": ("array<timestamp>", [[], None, [dt.datetime(1700, 1, 1, tzinfo=dt.UTC), None]]),
    "by_name": ("map<string,decimal(5,1)>", [{}, None, {"a": Decimal("1.5"), "b": None}]),
    "parts": ("struct<n:int,of:array<struct<d:date>>>",
              [(1, []), None, (None, [(dt.date(2020, 1, 1),), None])]),
}  # fmt: skip


def by_workers(df, columns, rows=2):
    """Return what workers read of a table's files; None where Spark has to."""
    files = files_of(df, columns)
    if files is None:
        return None
    parts = [b for i in range(len(files.tasks)) for b in batches(files, i, rows)]
    return pa.Table.from_batches(parts)


def same(df, columns=None, by="id"):
    """Assert that workers read what Spark reads."""
    columns = list(df.columns) if columns is None else columns
    ours = by_workers(df, columns)
    assert ours is not None, "Spark has to read it"
    theirs = df.select(*(f"`{c}`" for c in columns)).toArrow()
    assert ours.schema.types == theirs.schema.types
    assert ours.sort_by(by).to_pylist() == theirs.sort_by(by).to_pylist()
    return ours.num_rows


@pytest.fixture
def every_kind(spark):
    schema = "id int, " + ", ".join(f"{c} {kind}" for c, (kind, _) in KINDS.items())
    columns = zip(*(values for _, values in KINDS.values()), strict=True)
    return spark.createDataFrame([(i, *row) for i, row in enumerate(columns)], schema)


@pytest.mark.parametrize("form", ["delta", "parquet"])
@pytest.mark.parametrize("times", ["INT96", "TIMESTAMP_MICROS"])
def test_all_types_that_slices_read(spark, tmp_path, every_kind, form, times):
    conf = "spark.sql.parquet.outputTimestampType"
    spark.conf.set(conf, times)
    try:
        every_kind.write.format(form).save(str(tmp_path / "t"))
    finally:
        spark.conf.unset(conf)
    assert same(spark.read.format(form).load(str(tmp_path / "t"))) == 3


def test_what_arrow_shows_otherwise_is_sparks(spark, tmp_path):
    df = spark.sql("SELECT 1 AS id, array(parse_json('{}')) AS v")
    df.write.format("delta").save(str(tmp_path / "t"))
    df = spark.read.format("delta").load(str(tmp_path / "t"))
    assert by_workers(df, ["v"]) is None


def test_partitions(spark, tmp_path):
    df = spark.range(40).selectExpr(
        "id", "IF(id % 4 = 3, NULL, concat('a b/', id % 4)) AS text", "CAST(id % 3 AS INT) AS n",
        "date'2024-01-01' + CAST(id % 2 AS INT) AS day",
    )  # fmt: skip
    df.write.format("delta").partitionBy("text", "n", "day").save(str(tmp_path / "t"))
    table = spark.read.format("delta").load(str(tmp_path / "t"))
    assert same(table) == 40
    assert same(table.where("n = 1 AND day > date'2024-01-01'")) == 7
    assert same(table.where("n = 1").select("id", "n")) == 13
    assert by_workers(table.where("n = 1 AND id > 3"), ["id"]) is None
    assert by_workers(table.where("rand() < 0.5"), ["id"]) is None
    odd = df.selectExpr("id", "CAST(id % 2 AS DOUBLE) AS part")
    odd.write.format("delta").partitionBy("part").save(str(tmp_path / "odd"))
    odd = spark.read.format("delta").load(str(tmp_path / "odd"))
    assert by_workers(odd, ["id", "part"]) is None
    assert same(odd, ["id"]) == 40
    odd.write.partitionBy("part").parquet(str(tmp_path / "folders"))
    assert by_workers(spark.read.parquet(str(tmp_path / "folders")), ["id"]) is None


def test_deletion_vectors(spark, tmp_path):
    path = str(tmp_path / "t")
    df = spark.range(0, 100_000, 1, 2).selectExpr("id", "id % 2 AS part")
    df.write.format("delta").option("delta.enableDeletionVectors", "true").save(path)
    table = spark.read.format("delta").load(path)
    spark.sql(f"DELETE FROM delta.`{path}` WHERE id % 1000 = 7")
    spark.sql(f"DELETE FROM delta.`{path}` WHERE id BETWEEN 20000 AND 60000")
    spark.sql(f"UPDATE delta.`{path}` SET part = -1 WHERE id % 500 = 1")
    assert same(table) == 100_000 - 100 - 40_001 + 40
    assert spark.sql(f"DESCRIBE DETAIL delta.`{path}`").first()["numFiles"] == 4


def test_names_in_files(spark, tmp_path):
    path = str(tmp_path / "t")
    df = spark.range(5).selectExpr("id", "id * 2 AS `a b`", "struct(id AS n) AS s")
    df.write.format("delta").option("delta.columnMapping.mode", "name").save(path)
    spark.sql(f"ALTER TABLE delta.`{path}` RENAME COLUMN `a b` TO twice")
    spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMN late STRING")
    table = spark.read.format("delta").load(path)
    assert same(table, ["id", "twice", "late"]) == 5
    assert by_workers(table, ["s"]) is None  # its fields have other names, too


def test_a_name_in_another_case_is_sparks(spark, tmp_path):
    spark.range(3).selectExpr("id AS Key").write.parquet(str(tmp_path / "t"))
    df = spark.read.schema("key long").parquet(str(tmp_path / "t"))
    with pytest.raises(OSError, match="column 'key' is spelled otherwise there"):
        by_workers(df, ["key"])


def test_options_of_parquet_are_sparks(spark, tmp_path):
    spark.range(3).write.parquet(str(tmp_path / "t"))
    df = spark.read.option("mergeSchema", "true").parquet(str(tmp_path / "t"))
    assert by_workers(df, ["id"]) is None


@pytest.mark.parametrize("year", [1899, 1900])
def test_old_times_of_other_writers_are_sparks(spark, tmp_path, year):
    days = pa.table({"id": [1], "day": [dt.date(year, 1, 1)], "at": [dt.datetime(year, 1, 1)]})
    pq.write_table(days, tmp_path / "t.parquet")
    df = spark.read.parquet(str(tmp_path / "t.parquet"))
    if year == 1900:
        assert same(df) == 1
        return
    for column in ("day", "at"):
        with pytest.raises(OSError, match=f"times of '{column}' may be of another calendar"):
            by_workers(df, [column])


def test_columns_with_a_value(spark, tmp_path):
    path = str(tmp_path / "t")
    rows = [(i, None, "x" if i else None, [], [1]) for i in range(3)]
    df = spark.createDataFrame(rows, "id int, n int, s string, e array<int>, f array<int>")
    df.coalesce(1).write.format("delta").save(path)
    files = files_of(spark.read.format("delta").load(path), df.columns)
    assert with_values(files, 0, ["n", "s", "e", "f"]) == {"s", "f"}


def bitmap(*containers, runs=()):
    """Return a Roaring bitmap of containers: key and values."""
    cookie = (
        struct.pack("<I", 12347 | (len(containers) - 1) << 16) + bytes([sum(1 << i for i in runs)])
        if runs
        else struct.pack("<II", 12346, len(containers))
    )
    about = b"".join(struct.pack("<HH", key, len(values) - 1) for key, values in containers)
    offsets = b"" if runs and len(containers) < 4 else bytes(4 * len(containers))
    data = b""
    for i, (_, values) in enumerate(containers):
        if i in runs:
            data += struct.pack("<HHH", 1, values[0], len(values) - 1)
        elif len(values) > 4096:
            bits = np.zeros(2**16, np.uint8)
            bits[values] = 1
            data += np.packbits(bits, bitorder="little").tobytes()
        else:
            data += np.array(values, "<u2").tobytes()
    return cookie + about + offsets + data


def test_bitmaps_of_all_forms():
    many, run = list(range(0, 60_000, 7)), list(range(5, 5000))
    first = bitmap((0, [1, 9]), (2, many))
    second = bitmap((1, run), (3, [4]), runs=[0])
    data = struct.pack("<Iq", 1681511377, 2)
    data += struct.pack("<I", 0) + first + struct.pack("<I", 1) + second
    wanted = [1, 9, *(2 * 2**16 + v for v in many)]
    wanted += [2**32 + 2**16 + v for v in run] + [2**32 + 3 * 2**16 + 4]
    assert rows_in(data).tolist() == wanted
    assert DeletionVector(inline=data).rows().tolist() == wanted


def test_a_vector_that_is_none(tmp_path):
    (tmp_path / "v.bin").write_bytes(struct.pack(">i", 4) + b"abcd")
    with pytest.raises(OSError, match=r"v\.bin: there are 4 bytes, not 12"):
        DeletionVector(str(tmp_path / "v.bin"), 0, 12).rows()
    with pytest.raises(OSError, match="the deletion vector in the log: it begins with 1"):
        DeletionVector(inline=struct.pack("<Iq", 1, 0)).rows()
