"""What label_slices reads and writes: sources, the mask table and its facts, again and in part."""

from __future__ import annotations

import datetime as dt
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

SHORT = {"name": "short", "where": "length(text) < 3"}
SCHEMA = "id int, text string"


def facts(bench, place: str = "masks", version: int | None = None) -> dict:
    log = Path(bench.place(place)) / "_delta_log"
    newest = max(log.glob("*.json")) if version is None else log / f"{version:020d}.json"
    actions = map(json.loads, newest.read_text().splitlines())
    info = next(a["commitInfo"] for a in actions if "commitInfo" in a)
    return json.loads(info["userMetadata"])


def data_files(bench, partition: str) -> dict[str, int]:
    folder = Path(bench.place("masks")) / partition
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")}


def live_files(bench, spark) -> set[str]:
    table = spark.read.format("delta").load(bench.place("masks"))
    return {Path(p).name for p in table.inputFiles()}


def test_the_mask_table_its_metadata_and_the_catalogue(bench, spark):
    schema = "id int, text string, split string, region string, amount double"
    bench.rows([(1, "a", "train", "eu", 1.0), (2, "bcd", "test", "us", 2.0)], schema)
    module = bench.module(
        '@slicing_function(name="Long text!")\ndef f(x):\n    """Rows of more text."""\n'
        "    return len(x.text) > 2\n"
    )
    project = bench.project(
        split="split", carry=["region"], slices=[{**SHORT, "description": "few letters"}],
        sf_modules=[module],
    )  # fmt: skip
    out = bench.done("label_slices", project)
    assert f"wrote {bench.place('masks')} version 0: 2 rows in " in out

    table = spark.read.format("delta").load(bench.place("masks"))
    assert table.dtypes == [
        ("id", "int"), ("split", "string"), ("region", "string"),
        ("long_text", "boolean"), ("short", "boolean"),
    ]  # fmt: skip
    assert bench.masks() == {
        1: {"split": "train", "region": "eu", "long_text": False, "short": True},
        2: {"split": "test", "region": "us", "long_text": True, "short": False},
    }
    catalogue = {r["id"]: r for r in bench.read(bench.place("slices"))}
    long = catalogue["long_text"]
    assert (long["name"], long["description"], long["kind"]) == (
        "Long text!", "Rows of more text.", "row",
    )  # fmt: skip
    assert (catalogue["short"]["description"], catalogue["short"]["kind"]) == ("few letters", "sql")
    assert abs(dt.datetime.now(dt.UTC).timestamp() - long["changed_at"].timestamp()) < 600

    said = facts(bench)
    prints = {i: r["fingerprint"] for i, r in catalogue.items()}
    assert said["slices"] == prints
    assert (said["source"], said["source_version"]) == (bench.source, "0")
    assert said["engine_version"] == __import__("engine").__version__
    assert table.schema["long_text"].metadata["slice"] == {
        "name": "Long text!",
        "fingerprint": prints["long_text"],
    }
    covered = {(r["split"], r["slice"]): r for r in bench.read(bench.place("coverage"))}
    row = covered["test", "long_text"]
    assert (row["n_rows"], row["n_in"], row["n_null"], row["mask_version"]) == (1, 1, 0, "0")
    assert covered["train", "long_text"]["n_in"] == 0


def test_a_second_run_changes_nothing_and_a_changed_slice_only_itself(bench):
    bench.rows([(1, "a"), (2, "bcd")], SCHEMA)
    one = bench.module("@slicing_function()\ndef f(x):\n    return len(x.text) > 2\n")
    bench.done("label_slices", bench.project(slices=[SHORT], sf_modules=[one]))
    before, versions = bench.read(bench.place("slices")), bench.versions()

    again = bench.done("label_slices", bench.project(slices=[SHORT], sf_modules=[one]))
    for table in ("masks", "slices", "coverage"):
        assert f"unchanged {bench.place(table)} version 0" in again
    assert bench.versions() == versions == {"masks": 0, "slices": 0, "coverage": 0}
    assert bench.read(bench.place("slices")) == before

    # Comments, docstrings and layout are no change.
    same = bench.module(
        '@slicing_function()\ndef f(x):\n    """New words."""\n    # why\n'
        "    return len(x.text)>2\n"
    )
    bench.done("label_slices", bench.project(slices=[SHORT], sf_modules=[same]))
    assert bench.versions() == {**versions, "slices": 1}  # the description changed

    other = bench.module("@slicing_function()\ndef f(x):\n    return len(x.text) > 3\n")
    bench.done("label_slices", bench.project(slices=[SHORT], sf_modules=[other]))
    assert bench.versions() == {"masks": 1, "slices": 2, "coverage": 1}
    assert [row["f"] for row in bench.masks().values()] == [False, False]
    after = {r["id"]: r for r in bench.read(bench.place("slices"))}
    was = {r["id"]: r for r in before}
    assert after["short"] == was["short"]
    assert after["f"]["changed_at"] > was["f"]["changed_at"]
    assert after["f"]["fingerprint"] != was["f"]["fingerprint"]
    assert [r["f"] for r in bench.read(bench.place("masks"), version=0)] == [False, True]


def test_a_new_source_version_is_labelled(bench, spark):
    bench.rows([(1, "a")], SCHEMA)
    project = bench.project(slices=[SHORT])
    bench.done("label_slices", project)
    bench.write(spark.createDataFrame([(2, "bcd")], SCHEMA), bench.source, mode="append")
    bench.done("label_slices", project)
    assert bench.masks() == {1: {"short": True}, 2: {"short": False}}
    assert facts(bench)["source_version"] == "1"


def test_maintenance_and_restoring_keep_what_the_table_is(bench, spark):
    from delta.tables import DeltaTable

    from engine.storage import tables

    bench.rows([(1, "a"), (2, "bcd")], SCHEMA)
    project = bench.project(slices=[SHORT])
    bench.done("label_slices", project)
    said, place = facts(bench), bench.place("masks")
    table = DeltaTable.forPath(spark, place)
    spark.sql(f"ALTER TABLE delta.`{place}` SET TBLPROPERTIES ('team' = 'me')")
    assert tables.read(spark, place).facts == said
    assert f"unchanged {place} version 1" in bench.done("label_slices", project)
    bench.write(spark.createDataFrame([(9, True)], "id int, short boolean"), place)
    assert tables.read(spark, place).facts == {}
    table.restoreToVersion(1)
    assert tables.read(spark, place).facts == said
    bench.write(spark.createDataFrame([(9, True)], "id int, short boolean"), place)
    table.restoreToVersion(3)
    assert tables.read(spark, place).facts == said
    assert f"unchanged {place} version 5" in bench.done("label_slices", project)


def test_partitions_are_rewritten_alone(bench, spark):
    rows = [(day, i, "a" * i) for day in ("2024-05-01", "2024-05-02") for i in (1, 5)]
    schema = "ds date, id int, text string"
    typed = [(dt.date.fromisoformat(d), i, t) for d, i, t in rows]
    bench.rows(typed, schema, by=["ds"])
    project = bench.project(slices=[SHORT], partition_by=["ds"])
    bench.done("label_slices", project)
    first, second = "ds=2024-05-01", "ds=2024-05-02"
    kept = data_files(bench, second)
    before = live_files(bench, spark)
    assert len(kept) >= 1

    changed = [(d, i, "b" if i == 5 else "bbb") for d, i, _ in typed if str(d) == "2024-05-01"]
    frame = spark.createDataFrame(changed, schema)
    frame.write.format("delta").mode("overwrite").option("replaceWhere", "ds = '2024-05-01'").save(
        bench.source
    )
    out = bench.done("label_slices", project, "--where", "ds = '2024-05-01'")
    assert f"wrote {bench.place('masks')} version 1: 2 rows in " in out
    masks = {(str(r["ds"]), r["id"]): r["short"] for r in bench.read(bench.place("masks"))}
    assert masks == {
        ("2024-05-01", 1): False, ("2024-05-01", 5): True,
        ("2024-05-02", 1): True, ("2024-05-02", 5): False,
    }  # fmt: skip
    assert data_files(bench, second) == kept
    assert set(kept) <= live_files(bench, spark)
    assert not live_files(bench, spark) & before & set(data_files(bench, first))

    versions = bench.versions()
    again = bench.done("label_slices", project, "--where", "ds = '2024-05-01'")
    assert f"unchanged {bench.place('masks')} version 1" in again
    assert bench.versions() == versions

    other = bench.project(slices=[{**SHORT, "where": "length(text) < 4"}], partition_by=["ds"])
    assert bench.run("label_slices", other, "--where", "ds = '2024-05-01'").error == (
        f"slices short changed since {bench.place('masks')} was labelled, so labelling some "
        "partitions only would leave the others with the old ones; label all (without --where)"
    )
    assert bench.versions() == versions


def test_the_first_run_may_label_one_partition(bench):
    bench.rows([("a", 1, "x"), ("b", 2, "x")], "ds string, id int, text string", by=["ds"])
    project = bench.project(slices=[SHORT], partition_by=["ds"])
    bench.done("label_slices", project, "--where", "ds = 'b'")
    assert bench.masks() == {2: {"ds": "b", "short": True}}
    bench.done("label_slices", project, "--where", "ds = 'a'")
    assert set(bench.masks()) == {1, 2}


def test_keys_of_several_columns_and_types(bench):
    day, at = dt.date(2024, 5, 1), dt.datetime(2024, 5, 1, 12, 30)
    rows = [
        (day, 1, "a'b", Decimal(7), at, "x"),
        (day, 1, "a,b", Decimal(7), at, "xyz"),
        (dt.date(2024, 5, 2), 1, "a'b", Decimal(7), at, None),
    ]
    bench.rows(rows, "d date, i bigint, s string, n decimal(9,0), at timestamp_ntz, text string")
    key = ["d", "i", "s", "n", "at"]
    bench.done("label_slices", bench.project(key=key, slices=[SHORT]))
    found = {tuple(r[k] for k in key): r["short"] for r in bench.read(bench.place("masks"))}
    assert found == {row[:5]: short for row, short in zip(rows, (True, False, None), strict=True)}


# ---- sources that are files

CSV = 'id,text\n1,"a\nb, c"\n2,"say ""hi"""\n3,\n4,"\U0001f600"\n'
WANTED = {1: "a\nb, c", 2: 'say "hi"', 3: None, 4: "\U0001f600"}


def write_files(folder: Path, kind: str) -> str:
    import pandas as pd

    folder.mkdir(parents=True)
    rows = pd.DataFrame({"id": list(WANTED), "text": list(WANTED.values())})
    if kind == "csv":
        (folder / "rows.csv").write_text(CSV, encoding="utf-8")
    elif kind == "json":
        rows.to_json(folder / "rows.json", orient="records", lines=True)
    else:
        rows.to_parquet(folder / "rows.parquet", index=False)
    return str(folder)


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_files_of_any_format_and_place(bench, kind):
    """The folder's name has what URLs escape."""
    from engine.storage import tables

    folder = write_files(bench.folder / "a b%20é", kind)
    source = tables.read_source(bench.spark, folder)
    assert {r.id: r.text for r in source.df.collect()} == WANTED
    again = tables.read_source(bench.spark, folder).version
    assert source.version == again
    assert len(source.version) == 16
    file = next(Path(folder).glob("rows.*"))
    one = tables.read_source(bench.spark, str(file))
    assert {r.id for r in one.df.collect()} == set(WANTED)
    os.utime(file, (1, 1))
    assert tables.read_source(bench.spark, folder).version == again
    (Path(folder) / f"more{file.suffix}").write_bytes(file.read_bytes())
    assert tables.read_source(bench.spark, folder).version != again


def test_a_csv_is_labelled_and_again_when_it_changes(bench):
    place = bench.folder / "rows.csv"
    place.write_text(CSV, encoding="utf-8")
    project = bench.project(source={"table": str(place)}, slices=[SHORT])
    bench.done("label_slices", project)
    assert bench.masks() == {
        1: {"short": False}, 2: {"short": False}, 3: {"short": None}, 4: {"short": True},
    }  # fmt: skip
    version = facts(bench)["source_version"]
    assert f"unchanged {bench.place('masks')} version 0" in bench.done("label_slices", project)
    place.write_text(CSV + "5,x\n", encoding="utf-8")
    bench.done("label_slices", project)
    assert bench.masks()[5] == {"short": True}
    assert facts(bench)["source_version"] != version


def test_partitioned_parquet_and_format_options(bench, spark):
    from engine.storage import tables

    place = str(bench.folder / "parts")
    frame = spark.createDataFrame([(1, "x", "a"), (2, "y", "b")], "id int, text string, ds string")
    frame.write.partitionBy("ds").parquet(place)
    source = tables.read_source(spark, place)
    assert {(r.id, r.ds) for r in source.df.collect()} == {(1, "a"), (2, "b")}
    semicolons = bench.folder / "rows.dat"
    semicolons.write_text("id;text\n1;a,b\n")
    read = tables.read_source(spark, str(semicolons), "csv", {"sep": ";"})
    assert read.df.collect() == [(1, "a,b")]


def test_tables_of_a_catalog(bench, spark):
    spark.sql("CREATE DATABASE IF NOT EXISTS shop")
    rows = spark.createDataFrame([(1, "a", 0), (2, "bcd", 1)], "id int, text string, y int")
    rows.write.format("delta").mode("overwrite").saveAsTable("shop.comments")
    project = bench.project(
        source={"table": "shop.comments"}, root="spark_catalog.audit", folder=str(bench.folder),
        slices=[SHORT], metrics=["accuracy"],
        predictions={"given": {"table": "shop.comments", "columns": {"pred": "y", "label": "y"}}},
    )  # fmt: skip
    out = bench.done("label_slices", project)
    assert "wrote spark_catalog.audit.masks version 0: 2 rows in " in out
    assert "unchanged spark_catalog.audit.masks version 0" in bench.done("label_slices", project)
    found = {r.id: r.short for r in spark.table("spark_catalog.audit.masks").collect()}
    assert found == {1: True, 2: False}

    bench.done("evaluate_slices", project)
    values = spark.table("spark_catalog.audit.metrics").select("slice", "value").collect()
    assert {tuple(r) for r in values} == {("overall", 1.0), ("short", 1.0)}

    broken = bench.module("@slicing_function()\ndef f(x):\n    return 1 / 0\n")
    error = bench.run("label_slices", project, f"sf_modules=[{broken}]").error
    assert "slice 'f' failed on row id=" in error
    tolerant = (f"sf_modules=[{broken}]", "on_error=null")
    error = bench.run("label_slices", project, *tolerant).error
    assert "spark_catalog.audit.masks was restored to version 0." in error

    # A first table that fails leaves nothing in the warehouse, so the next run can write it.
    first = ("root=second", f"folder={bench.folder}")
    assert "slice 'f'" in bench.run("label_slices", project, *first, f"sf_modules=[{broken}]").error
    assert not spark.catalog.tableExists("second.masks")
    error = bench.run("label_slices", project, *first, *tolerant).error
    assert "second.masks, which this run had made, was dropped." in error
    bench.done("label_slices", project, *first)
    assert spark.table("second.masks").count() == 2


# ---- explain


def test_explain_reads_no_row_and_writes_nothing(bench):
    bench.rows([(1, "a")], SCHEMA)
    for file in Path(bench.source).glob("*.parquet"):
        file.unlink()  # any job over the data fails now
    module = bench.module("@slicing_function()\ndef f(x):\n    return len(x.text) > 2\n")
    project = bench.project(slices=[SHORT], sf_modules=[module])
    assert bench.done("label_slices", project, "--explain") == (
        f"{bench.source} version 0\n"
        "slice  runs as           us/row  why\n"
        "f      Spark expression    0.05  gt(len(text), 2)\n"
        "short  Spark expression       ?  SQL: length(text) < 3\n"
        "no column crosses to Python\n"
        "(id) is checked to be unique: one shuffle of its hashes (check_key: off saves it)\n"
    )
    off = bench.done("label_slices", project, "--explain", "check_key=off")
    assert off.endswith("\n(id) is not checked to be unique (check_key: off)\n")
    assert not Path(bench.place("")).exists()


def test_tables_are_compressed_by_lz4_or_as_the_session_says(bench, spark):
    from engine.storage.session import settings

    bench.rows([(1, "a"), (2, "bcd")], SCHEMA)
    for codec, name in ((None, "lz4raw"), ("zstd", "zstd")):
        project = bench.project(slices=[{**SHORT, "name": f"short {name}"}])
        with settings(spark, {"spark.sql.parquet.compression.codec": codec} if codec else {}):
            bench.done("label_slices", project)
        assert {Path(f).suffixes[-2] for f in live_files(bench, spark)} == {f".{name}"}
    assert spark.conf.get("spark.sql.parquet.compression.codec", None) is None
