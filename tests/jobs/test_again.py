"""A second run: what is known to be the same isn't done again, what isn't known is looked at."""

from __future__ import annotations

import os
import shutil

import pandas as pd
import pytest

from engine.baseline import Baseline
from engine.errors import TableError
from engine.storage import tables

SHORT = {"name": "short", "where": "length(text) < 3"}
SCHEMA = "id int, text string, y int"
ROWS = [(1, "a", 0), (2, "bcd", 1)]
UNCHANGED = "unchanged {} version "


@pytest.fixture
def shop(spark):
    spark.sql("CREATE DATABASE IF NOT EXISTS again")
    yield "again"
    spark.sql("DROP DATABASE again CASCADE")


def shorts(bench) -> dict:
    return {key: masks["short"] for key, masks in bench.masks().items()}


def labelled(bench, project: str) -> bool:
    """Run the job, and tell whether it labelled."""
    before = bench.versions().get("masks")
    out = bench.done("label_slices", project)
    now = bench.versions()["masks"]
    assert (UNCHANGED.format(bench.place("masks")) in out) == (before == now), out
    return before != now


def test_a_table_dropped_and_made_again_is_another_one(bench, spark):
    bench.rows(ROWS, SCHEMA)
    given = {"given": {"table": bench.source, "columns": {"pred": "y", "label": "y"}}}
    project = bench.project(slices=[SHORT], metrics=["accuracy", "count"], predictions=given)
    assert labelled(bench, project)
    bench.done("evaluate_slices", project)
    versions = bench.versions()
    shutil.rmtree(bench.source)
    bench.rows([(1, "long", 0), (2, "b", 1)], SCHEMA)  # version 0 again
    assert labelled(bench, project)
    assert shorts(bench) == {1: False, 2: True}
    assert not labelled(bench, project)

    # A mask table made again is version 0 again too; coverage and figures are of the new one.
    for table in ("masks",):
        shutil.rmtree(bench.place(table))
    more = bench.project(
        slices=[{**SHORT, "where": "length(text) < 9"}], metrics=["accuracy", "count"],
        predictions=given,
    )  # fmt: skip
    assert labelled(bench, more)
    rows = bench.read(bench.place("coverage"))
    newest = tables.read(spark, bench.place("masks"))
    assert newest.version == "0"
    assert [r["n_in"] for r in rows if r["mask_identity"] == newest.identity] == [2]
    bench.done("evaluate_slices", more)
    assert bench.versions()["metrics"] == versions["metrics"] + 1
    counts = [
        r["value"] for r in bench.read(bench.place("metrics"))
        if (r["slice"], r["metric"]) == ("short", "count")
    ]  # fmt: skip
    assert sorted(counts) == [1.0, 2.0]


def test_commits_that_change_no_row_are_no_change(bench, spark):
    from delta.tables import DeltaTable

    bench.rows(ROWS, SCHEMA)
    bench.write(spark.createDataFrame([(3, "c", 0)], SCHEMA), bench.source, mode="append")
    project = bench.project(slices=[SHORT])
    assert labelled(bench, project)
    coverage = bench.versions()["coverage"]
    known = tables.read_source(spark, bench.source).identity
    table = DeltaTable.forPath(spark, bench.source)
    table.optimize().executeCompaction()
    name = f"delta.`{bench.source}`"
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"ALTER TABLE {name} ADD CONSTRAINT positive CHECK (id > 0)")
    spark.sql(f"ALTER TABLE {name} CHANGE COLUMN text COMMENT 'what they wrote'")
    spark.sql(f"VACUUM {name}")
    rows = spark.read.format("delta").load(bench.source).coalesce(1)
    rows.write.format("delta").mode("overwrite").option("dataChange", "false").save(bench.source)
    source = tables.read_source(spark, bench.source)
    assert source.identity == known
    assert int(source.version) > 4
    DeltaTable.forPath(spark, bench.place("masks")).optimize().executeCompaction()
    assert not labelled(bench, project)
    assert bench.versions()["coverage"] == coverage

    spark.sql(f"DELETE FROM {name} WHERE id = 3")
    assert tables.read_source(spark, bench.source).identity != known
    table.restoreToVersion(int(source.version))
    assert tables.read_source(spark, bench.source).identity == known
    spark.sql(f"ALTER TABLE {name} ADD COLUMNS (more int)")
    more = tables.read_source(spark, bench.source).identity
    assert more != known
    spark.sql(f"ALTER TABLE {name} CHANGE COLUMN more FIRST")
    assert tables.read_source(spark, bench.source).identity not in (more, known)


def test_files_are_known_by_content(bench, spark):
    folder = bench.folder / "rows"
    folder.mkdir()
    (folder / "a.csv").write_text("id,text\n1,a\n2,bcd\n")
    project = bench.project(source={"table": str(folder)}, slices=[SHORT])
    out = bench.done("label_slices", project)
    assert f"{folder}: 1 file, 18 bytes, known by content" in out
    at = os.stat(folder / "a.csv")
    (folder / "a.csv").write_text("id,text\n1,abc\n2,b\n")  # as long, and as old
    os.utime(folder / "a.csv", ns=(at.st_atime_ns, at.st_mtime_ns))
    out = bench.done("label_slices", project)
    assert f"{bench.place('masks')} is brought up to date, for this changed: source\n" in out
    assert shorts(bench) == {1: False, 2: True}
    os.utime(folder / "a.csv", (1, 1))
    assert not labelled(bench, project)

    known = {tables.read_source(spark, str(folder)).identity}
    (folder / "b.csv").write_text("id,text\n3,c\n")
    known.add(tables.read_source(spark, str(folder)).identity)
    (folder / "b.csv").rename(folder / "c.csv")
    known.add(tables.read_source(spark, str(folder)).identity)
    (folder / "c.csv").unlink()
    (folder / "c.csv").symlink_to(bench.folder / "target.csv")
    for text in ("id,text\n3,d\n", "id,text\n3,e\n"):
        (bench.folder / "target.csv").write_text(text)
        known.add(tables.read_source(spark, str(folder)).identity)
    known.add(tables.read_source(spark, str(folder), "csv", {"sep": ";"}).identity)
    known.add(tables.read_source(spark, str(folder), "csv", {"inferSchema": "false"}).identity)
    assert len(known) == 7
    part = folder / "day=1"
    part.mkdir()
    for old in folder.glob("*.csv"):
        old.unlink()
    (part / "a.csv").write_text("id,text\n1,a\n")
    one = tables.read_source(spark, str(folder)).identity
    part.rename(folder / "day=2")
    assert tables.read_source(spark, str(folder)).identity != one


def test_large_files_are_known_by_what_a_listing_says(spark, tmp_path, monkeypatch):
    from engine.storage import identity as table_identity

    file = tmp_path / "a b%20.csv"
    file.write_text("id\n1\n")
    names = spark.read.csv(str(tmp_path)).inputFiles()
    monkeypatch.setattr(table_identity, "_WHOLE", 2)  # the driver reads it then
    by_content = table_identity.known_files(spark, names)
    monkeypatch.undo()
    assert table_identity.known_files(spark, names) == by_content
    by_listing = table_identity.known_files(spark, names, content=4)
    assert by_listing.files == (
        "1 file, 5 bytes, known by size, time and inode or etag, being more than 4 bytes"
    )
    at = file.stat()
    file.write_text("id\n2\n")
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert table_identity.known_files(spark, names, content=4) == by_listing
    (tmp_path / "new").write_text("id\n1\n")
    os.utime(tmp_path / "new", ns=(at.st_atime_ns, at.st_mtime_ns))
    (tmp_path / "new").replace(file)  # another inode
    assert table_identity.known_files(spark, names, content=4) != by_listing


def test_a_view_is_its_plan_and_what_it_reads(bench, spark, shop):
    bench.rows(ROWS, SCHEMA)
    spark.sql(f"CREATE VIEW {shop}.below AS SELECT * FROM delta.`{bench.source}`")
    spark.sql(f"CREATE VIEW {shop}.rows AS SELECT id, text FROM {shop}.below WHERE y < 1")
    project = bench.project(source={"table": f"{shop}.rows"}, slices=[SHORT])
    assert labelled(bench, project)
    assert not labelled(bench, project)
    spark.sql(f"CREATE OR REPLACE VIEW {shop}.rows AS SELECT id, text FROM {shop}.below")
    assert labelled(bench, project)
    assert shorts(bench) == {1: True, 2: False}
    bench.write(spark.createDataFrame([(3, "c", 0)], SCHEMA), bench.source, mode="append")
    assert labelled(bench, project)
    spark.sql(f"CREATE OR REPLACE VIEW {shop}.below AS SELECT id, 'long' AS text, y FROM "
              f"delta.`{bench.source}`")  # fmt: skip
    assert labelled(bench, project)
    assert set(shorts(bench).values()) == {False}


UNKNOWN = {
    "*, rand() AS r FROM {0}": "computes rand() AS r, which may differ from run to run",
    "*, uuid() AS r FROM {0}": "computes uuid() AS r, which may differ from run to run",
    "*, current_date() AS r FROM {0}": "depends on the date",
    "*, now() AS r FROM {0}": "depends on the time",
    "*, current_user() AS r FROM {0}": "depends on the user",
    "* FROM {0} LIMIT 1": "has a LIMIT, which may take other rows each time",
    "* FROM {0} TABLESAMPLE (50 PERCENT)": "takes a sample",
    "id FROM range(3)": "has generated rows",
    "id FROM VALUES (1), (2) AS t(id)": "has rows that are in memory",
    "* FROM {0} WHERE id IN (SELECT id FROM range(3))": "has generated rows",
    "y, first(text) AS t FROM {0} GROUP BY y": (
        "computes First, which may depend on the order of rows"
    ),
    "*, row_number() OVER (ORDER BY y) AS n FROM {0}": (
        "computes RowNumber, which may depend on the order of rows"
    ),
}
KNOWN = (
    "* FROM {0} VERSION AS OF 0",
    "a.id FROM {0} a JOIN {0} b ON a.id = b.id WHERE a.id IN (SELECT max(id) FROM {0})",
    "y, count(*) AS n, sum(id) AS s FROM {0} GROUP BY ALL",
    "id FROM {0} UNION ALL SELECT 7",
    "1 AS id",
    "id, explode(array(1, 2)) AS n FROM {0} ORDER BY id",
)


def test_what_views_may_hide_is_unknown(bench, spark, shop):
    bench.rows(ROWS, SCHEMA)
    table = f"delta.`{bench.source}`"
    seen = set()
    for select in (*UNKNOWN, *KNOWN):
        made = f"CREATE OR REPLACE VIEW {shop}.v AS SELECT {select.format(table)}"
        spark.sql(made)
        first = tables.read_source(spark, f"{shop}.v")
        spark.sql(made)
        again = tables.read_source(spark, f"{shop}.v")
        why = UNKNOWN.get(select)
        assert first.unknown == (why and f"{shop}.v {why}"), select
        assert first.identity == again.identity, select
        seen.add(first.identity)
    assert len(seen) == len(UNKNOWN) + len(KNOWN)

    spark.udf.register("of_python", lambda n: n, "int")
    rows = spark.read.format("delta").load(bench.source)
    rows.createOrReplaceTempView("of_a_session")
    with pytest.raises(TableError) as caught:
        tables.read_source(spark, "of_a_session")
    assert str(caught.value) == (
        "source of_a_session can't be read: a name without a schema is a path; name the table or "
        "view with its schema, and make a temporary view a global one (global_temp.of_a_session)"
    )
    rows.selectExpr("of_python(id) AS id").createOrReplaceGlobalTempView("v")
    assert tables.read_source(spark, "global_temp.v").unknown == (
        "global_temp.v calls the function of_python, whose code Spark doesn't show"
    )
    known = set()
    for one in ("1", "'1'", "2", "1"):
        rows.where(f"text = {one} OR id = 3").createOrReplaceGlobalTempView("v")
        known.add(tables.read_source(spark, "global_temp.v").identity)
    assert len(known) == 3
    spark.sql(f"CREATE FUNCTION {shop}.plus(n INT) RETURNS INT RETURN n + 1")
    spark.sql(f"CREATE OR REPLACE VIEW {shop}.v AS SELECT {shop}.plus(id) AS id FROM {table}")
    one = tables.read_source(spark, f"{shop}.v").identity
    spark.sql(f"CREATE OR REPLACE FUNCTION {shop}.plus(n INT) RETURNS INT RETURN n + 2")
    assert tables.read_source(spark, f"{shop}.v").identity != one


def test_what_is_unknown_is_looked_at_again(bench, spark):
    """Of a source, of predictions and of a table of keys."""

    def made(text: str = "bcd", prediction: int = 1, keys: int = 1) -> None:
        rows = {
            "rows": ([(1, "a"), (2, text)], "id int, text string"),
            "scores": ([(1, 0, 0), (2, prediction, 1)], "id int, pred int, label int"),
            "keys": ([(keys,), (None,)], "id int"),
        }
        for name, given in rows.items():
            spark.createDataFrame(*given).createOrReplaceGlobalTempView(name)

    made()
    module = bench.module(
        "from engine import lookup\nvip = lookup('vip', 'id', table='global_temp.keys')\n"
    )
    project = bench.project(
        source={"table": "global_temp.rows"}, slices=[SHORT], sf_modules=[module],
        metrics=["accuracy", "count"], predictions={"given": {"table": "global_temp.scores"}},
    )  # fmt: skip
    assert labelled(bench, project)
    bench.done("evaluate_slices", project)
    versions = bench.versions()
    why = [f"global_temp.{n} has rows that are in memory" for n in ("rows", "keys", "scores")]
    masks = f"looked at again, and {bench.place('masks')} has the same rows"
    made()
    out = bench.done("label_slices", project)
    assert f"{why[0]}: {masks}" in out
    assert f"{why[1]}: {masks}" in out
    assert f"{UNCHANGED.format(bench.place('masks'))}0\n" in out
    out = bench.done("evaluate_slices", project)
    metrics = bench.place("metrics")
    assert f"{why[2]}: looked at again, and {metrics} has the same rows" in out
    assert bench.versions() == versions
    explained = bench.done("label_slices", project, "--explain")
    assert f"{why[0]}: labelled again each time, and compared" in explained

    made(prediction=0, text="b")
    out = bench.done("label_slices", project)
    assert f"{why[0]}: looked at again, and {bench.place('masks')} got other rows" in out
    assert shorts(bench) == {1: True, 2: True}
    made(prediction=0, text="b", keys=2)
    assert labelled(bench, project)
    assert {k: m["vip"] for k, m in bench.masks().items()} == {1: False, 2: True}
    bench.done("evaluate_slices", project)
    made(prediction=1)
    bench.done("evaluate_slices", project)  # only predictions changed
    values = [
        r["value"] for r in bench.read(metrics)
        if (r["slice"], r["metric"]) == ("overall", "accuracy")
    ]  # fmt: skip
    assert sorted(values) == [0.5, 1.0, 1.0]


def test_a_slice_that_cant_be_described_is_looked_at_again(bench, monkeypatch):
    from engine.project import labelling
    from engine.slicing.fingerprint.identity import UNKNOWN

    bench.rows(ROWS, SCHEMA)
    state = bench.folder / "limit"
    state.write_text("2")
    module = bench.module(
        "@slicing_function()\ndef f(x):\n"
        f"    return len(x.text) > int(open({str(state)!r}).read())\n"
        "@slicing_function()\ndef g(x):\n    return len(x.text) > 1\n"
    )
    real = labelling.fingerprint
    monkeypatch.setattr(
        labelling, "fingerprint",
        lambda sf, zone: real(sf, zone) + (UNKNOWN if sf.id == "f" else ""),
    )  # fmt: skip
    monkeypatch.setattr(
        labelling, "unknowns", lambda sf: ("uses what can't be read",) if sf.id == "f" else ()
    )
    project = bench.project(slices=[SHORT], sf_modules=[module])
    assert labelled(bench, project)
    computed = []
    real_plan = labelling.compile_slices
    monkeypatch.setattr(
        labelling, "compile_slices",
        lambda sfs, *a, **k: computed.append([sf.id for sf in sfs]) or real_plan(sfs, *a, **k),
    )  # fmt: skip
    out = bench.done("label_slices", project)
    masks = bench.place("masks")
    assert (
        f"slice 'f' uses what can't be read: looked at again, and {masks} has the same rows" in out
    )
    assert bench.versions() == {"masks": 0, "slices": 0, "coverage": 0}
    assert computed[1:] == [["f"]]
    state.write_text("0")
    out = bench.done("label_slices", project)
    assert f"slice 'f' uses what can't be read: looked at again, and {masks} got other rows" in out
    assert {k: m["f"] for k, m in bench.masks().items()} == {1: True, 2: True}


def test_a_setting_that_decides_masks_or_acceptance_is_a_fact(bench, spark):
    from engine.storage.session import settings

    bench.rows([(1, "a", 0), (1, "b", 0)], SCHEMA)
    project = bench.project(slices=[SHORT], check_key="off")
    assert labelled(bench, project)
    with settings(spark, {"spark.sql.ansi.enabled": "false"}):
        assert labelled(bench, project)
    strict = bench.project(slices=[SHORT], check_key="full")
    assert "is not unique" in bench.run("label_slices", strict).error
    module = bench.module("@slicing_function()\ndef f(x):\n    return 1 / (len(x.text) - 1)\n")
    loose = {"sf_modules": [module], "check_key": "off", "on_error": "null"}
    bench.done("label_slices", bench.project(**loose, max_error_rate=1.0))
    accepted = bench.masks()
    strict = bench.project(**loose, max_error_rate=0.1)
    for _ in range(2):  # what is refused leaves the table that was accepted under the looser budget
        error = bench.run("label_slices", strict).error
        assert "max_error_rate=0.1 allows: 'f' on 2 of 2 rows; " in error
        assert "was restored to version" in error
        assert bench.masks() == accepted
    assert not labelled(bench, bench.project(**loose, max_error_rate=1.0))


def test_models_of_what_may_be_other_rows_are_looked_at_again(bench, spark, shop, caplog):
    """The same rows make no model and no commit; other ones do, though the masks stay."""
    words = ("buy this now", "nice song")
    jobs = {
        "label_slices": "masks", "train_baseline": "predictions_baseline", "train_classifier": "",
        "score_table": "predictions_slice_aware",
    }  # fmt: skip

    derby = {"url": "jdbc:derby:memory:again;create=true", "dbtable": "texts"}

    def made(first: str) -> None:
        rows = [(i, words[i % 2], i % 2, ("train", "valid")[i > 7]) for i in range(1, 12)]
        rows.append((0, first, 0, "train"))
        df = spark.createDataFrame(rows, "id int, text string, y int, split string")
        kinds = {"createTableColumnTypes": "text varchar(50), split varchar(9)"}
        df.write.format("jdbc").options(**derby, **kinds).mode("overwrite").save()

    def models() -> dict[str, int]:
        found = (bench.folder / "out" / "models").rglob("*.*")
        return {f.name: f.stat().st_mtime_ns for f in found if f.is_file()}

    made(words[0])
    options = ", ".join(f"{k} '{v}'" for k, v in derby.items())
    spark.sql(f"CREATE TABLE {shop}.texts USING jdbc OPTIONS ({options})")
    project = bench.project(
        source={"table": f"{shop}.texts"}, text="text", label="y", split="split",
        classes=[0, 1], slices=[{**SHORT, "where": "id % 3 = 0"}], check_key="off",
        metrics=["count"], certainty={"replicates": 0}, audit={"overlap": False, "trend": 0},
        classifier={"n_epochs": 1, "base": {"kind": "mlp", "layers": 1, "width": 4}},
    )  # fmt: skip
    for job in jobs:
        bench.done(job, project)
    versions, files = bench.versions(), models()
    reads = f"{shop}.texts reads a table by JDBC, of which Spark knows no version"
    why = f"{reads}: looked at again, and"
    for job, same in jobs.items():
        out = bench.done(job, project)
        what = f"{bench.place(same)} has the same rows" if same else "the sample is the same"
        assert f"{why} {what}\n" in out
        assert "\nwrote " not in out
    assert (bench.versions(), models()) == (versions, files)
    shutil.rmtree(bench.folder / "out" / "models" / "baseline")
    out = bench.done("train_baseline", project)
    assert f"wrote {bench.folder / 'out' / 'models' / 'baseline'}: scikit-learn pipeline" in out
    assert bench.versions() == versions

    made(words[1])
    outs = [bench.done(job, project) for job in jobs]
    assert UNCHANGED.format(bench.place("masks")) in outs[0]
    assert f"{why} {bench.place('predictions_baseline')} got other rows\n" in outs[1]
    # Workers, which keep models, scored with the new one.
    fitted = Baseline.load(bench.folder / "out" / "models" / "baseline")
    wanted = dict(zip(words, fitted.predict_proba(pd.Series(words)).tolist(), strict=True))
    scored = {r["id"]: r["prob"] for r in bench.read(bench.place("predictions_baseline"))}
    assert scored == {i: pytest.approx(wanted[words[i % 2 or not i]]) for i in range(12)}
    assert f"{why} the sample has other rows\n" in outs[2]
    assert "\nwrote " in outs[2]
    now = models()
    assert all(now[name] > at for name, at in files.items())
    assert bench.versions() == {
        **versions, "predictions_baseline": 1, "predictions_slice_aware": 1,
    }  # fmt: skip

    # Versions that are equal by their names say nothing of rows either.
    bench.done("evaluate_slices", project, "--model", "baseline")
    assert {r["n_stale"] for r in bench.read(bench.place("metrics"))} == {None}
    assert (
        f"{reads}, so {bench.place('masks')} and {bench.place('predictions_baseline')} may be of "
        "other rows: label and score again first"
    ) in caplog.messages
