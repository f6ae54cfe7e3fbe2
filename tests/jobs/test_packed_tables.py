"""Jobs over packed mask tables: made, changed, in part, viewed, evaluated, trained on."""

from __future__ import annotations

from engine.masks.reader import read_masks
from engine.storage import tables

SHORT = {"name": "short", "where": "length(text) < 3"}
WITH_A = {"name": "with_a", "where": "text like '%a%'"}
LONG = {"name": "long", "where": "length(text) > 4"}
SCHEMA = "id int, text string"
ROWS = [(1, "a"), (2, "bcd"), (3, None), (4, "abcde")]


def stored(bench, version: int | None = None):
    reader = bench.spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return read_masks(reader.load(bench.place("masks")))


def masks(bench, version: int | None = None):
    """Return slice id to masks, in the order of keys."""
    table = stored(bench, version)
    rows = table.df.select("id", *table.masks()).orderBy("id").collect()
    return {s: [r[s] for r in rows] for s in table.ids}


def test_slices_come_go_and_come_back(bench):
    bench.rows(ROWS, SCHEMA)
    project = bench.project(slices=[SHORT, WITH_A], layout="packed")
    out = bench.done("label_slices", project)
    assert f"wrote {bench.place('masks')} version 0: 4 rows in " in out
    assert "packed masks: --view prints the SELECT that shows each slice as a column" in out
    assert stored(bench).df.dtypes == [("id", "int"), ("in_0", "bigint"), ("null_0", "bigint")]
    first = {"short": [True, False, None, False], "with_a": [True, False, None, True]}
    assert masks(bench) == first
    words = [(r["in_0"], r["null_0"]) for r in bench.read(bench.place("masks"))]
    assert words == [(3, 0), (0, 0), (0, 3), (2, 0)]

    versions = bench.versions()
    again = bench.done("label_slices", bench.project(slices=[WITH_A, SHORT]))  # auto, other order
    assert f"unchanged {bench.place('masks')} version 0" in again
    assert bench.versions() == versions == {"masks": 0, "slices": 0, "coverage": 0}

    bench.done("label_slices", bench.project(slices=[LONG, WITH_A]))
    bits = stored(bench).bits
    assert [(s.id, s.dropped) for s in bits.slices] == [
        ("short", True), ("with_a", False), ("long", False),
    ]  # fmt: skip
    assert masks(bench) == {"with_a": first["with_a"], "long": [False, False, None, True]}
    bench.done("label_slices", bench.project(slices=[LONG, WITH_A, SHORT]))
    assert stored(bench).bits.at == {"with_a": 1, "long": 2, "short": 3}
    assert masks(bench)["short"] == first["short"]
    assert masks(bench, version=0) == first
    assert bench.versions()["masks"] == 2

    covered = {
        (r["mask_version"], r["slice"]): (r["n_rows"], r["n_in"], r["n_null"])
        for r in bench.read(bench.place("coverage"))
    }
    assert covered["0", "short"] == covered["2", "short"] == (4, 1, 1)
    assert ("1", "short") not in covered
    assert {r["id"] for r in bench.read(bench.place("slices"))} == {"short", "with_a", "long"}


def test_partitions_of_packed_masks_are_rewritten_alone(bench, spark):
    schema = "ds string, id int, text string"
    rows = [("a", 1, "x"), ("a", 2, "xyzab"), ("b", 3, "x"), ("b", 4, None)]
    bench.rows(rows, schema, by=["ds"])
    settings = {"partition_by": ["ds"], "layout": "packed"}
    project = bench.project(slices=[SHORT, LONG], **settings)
    bench.done("label_slices", project)
    changed = spark.createDataFrame([("a", 1, "uvwxy"), ("a", 2, "x")], schema)
    changed.write.format("delta").mode("overwrite").option("replaceWhere", "ds = 'a'").save(
        bench.source
    )
    out = bench.done("label_slices", project, "--where", "ds = 'a'")
    assert f"wrote {bench.place('masks')} version 1: 2 rows in " in out
    assert masks(bench) == {"short": [False, True, True, None], "long": [True, False, False, None]}
    other = bench.project(slices=[SHORT, WITH_A], **settings)
    assert bench.run("label_slices", other, "--where", "ds = 'a'").error == (
        f"slices long, with_a changed since {bench.place('masks')} was labelled, so labelling "
        "some partitions only would leave the others with the old ones; label all (without "
        "--where)"
    )
    assert bench.versions()["masks"] == 1


def test_a_layout_is_fixed_when_the_table_is_made(bench):
    bench.rows(ROWS, SCHEMA)
    bench.done("label_slices", bench.project(slices=[SHORT]))
    project = bench.project(slices=[SHORT], layout="packed")
    for arguments in ((), ("--force",)):
        assert bench.run("label_slices", project, *arguments).error == (
            f"the masks in {bench.place('masks')} are boolean and the project's layout is packed, "
            "but a mask table's layout is fixed when it is made: set layout to boolean or auto, or "
            "remove the table to have it made again"
        )
    assert bench.versions() == {"masks": 0, "slices": 0, "coverage": 0}
    assert bench.run("label_slices", project, "layout=words").error == (
        f"{project}: layout: must be 'auto', 'boolean' or 'packed', found 'words'"
    )


def test_no_column_is_named_as_a_word(bench):
    bench.rows([(1, "a", 7)], "id int, text string, null_0 int")
    project = bench.project(slices=[SHORT], carry=["null_0"], layout="packed")
    assert bench.run("label_slices", project).error == (
        "column 'null_0' has the name of a word of the packed mask table: rename it in the source, "
        "leave it out of carry, or set layout to boolean"
    )
    assert bench.versions() == {}
    bench.done("label_slices", project, "layout=boolean")


def test_the_view_is_printed_for_a_path_and_made_in_a_catalog(bench, spark):
    bench.rows(ROWS, SCHEMA)
    project = bench.project(slices=[SHORT, WITH_A], layout="packed")
    assert "does not exist" in bench.run("label_slices", project, "--view").error
    bench.done("label_slices", project)
    text = bench.done("label_slices", project, "--view")
    assert text == (
        "SELECT\n"
        "  `id`,\n"
        "  CASE WHEN bit_get(null_0,0)=1 THEN NULL ELSE bit_get(in_0,0)=1 END AS `short`,\n"
        "  CASE WHEN bit_get(null_0,1)=1 THEN NULL ELSE bit_get(in_0,1)=1 END AS `with_a`\n"
        f"FROM delta.`{bench.place('masks')}`\n"
    )
    wanted = [(1, True, True), (2, False, False), (3, None, None), (4, False, True)]
    assert sorted(spark.sql(text).collect()) == wanted

    named = ("root=packed_audit", f"folder={bench.folder}")
    out = bench.done("label_slices", project, *named)
    assert "wrote view packed_audit.masks_view: 3 columns" in out
    assert sorted(spark.table("packed_audit.masks_view").collect()) == wanted
    more = bench.project(slices=[WITH_A, LONG], layout="packed")
    bench.done("label_slices", more, *named)
    assert spark.table("packed_audit.masks_view").columns == ["id", "with_a", "long"]

    said = tables.create_view(spark, "packed_audit.masks_view", "SELECT id, nobody FROM nowhere")
    assert said.startswith(
        "no view packed_audit.masks_view, for the catalog can't hold its 30 characters: "
        "[TABLE_OR_VIEW_NOT_FOUND]"
    )
    assert not spark.catalog.tableExists("packed_audit.masks_view")


def test_more_than_a_hundred_slices_are_packed_and_evaluated_alike(bench):
    bench.rows([(i, "x" * i, i % 2) for i in range(12)], "id int, text string, y int")
    bench.write(bench.spark.read.format("delta").load(bench.source), bench.place("given"))
    slices = [
        {"name": f"s{i}", "where": f"nullif(length(text), {i % 7}) < {i % 13}"} for i in range(101)
    ]
    given = {"table": bench.place("given"), "columns": {"pred": "y", "label": "y"}}
    project = bench.project(
        slices=slices, predictions={"given": given}, metrics=["accuracy", "coverage"]
    )
    out = bench.done("label_slices", project)
    assert "Coverage of 101 slices over 12 rows" in out
    assert "… and 1 more, in the coverage table\n" in out
    assert "s99 " in out
    assert "s100 " not in out
    other = (f"root={bench.folder / 'other'}", "layout=boolean")
    bench.done("label_slices", project, *other)
    bench.done("evaluate_slices", project)
    bench.done("evaluate_slices", project, *other)

    def figures(root):
        rows = bench.read(str(root / "metrics"))
        left_out = {"run_id", "run_ts", "mask_version"}
        return sorted(str({k: v for k, v in r.items() if k not in left_out}) for r in rows)

    packed, boolean = figures(bench.folder / "out"), figures(bench.folder / "other")
    assert packed == boolean
    assert len(packed) == 2 * (1 + len(slices))
    read = bench.spark.read.format("delta")
    both = [read.load(str(bench.folder / root / "masks")) for root in ("out", "other")]
    assert [len(df.columns) for df in both] == [5, 102]
    tables = map(read_masks, both)
    whole = [table.df.select(*table.columns, *table.masks()) for table in tables]
    assert whole[0].columns == whole[1].columns
    assert sorted(whole[0].collect()) == sorted(whole[1].collect())


def test_a_classifier_is_trained_on_packed_masks(bench):
    words = ["check out my channel", "love this song", "subscribe http://x.y", "nice voice"]
    rows = [(i, words[i % 4], (i + 1) % 2, "valid" if i % 5 == 0 else "train") for i in range(60)]
    bench.rows(rows, "id long, text string, label int, split string")
    project = bench.project(
        text="text",
        label="label",
        split="split",
        layout="packed",
        slices=[{"name": "link", "where": "text like '%http%'"}, SHORT],
        classifier={"base": {"kind": "mlp", "layers": 1, "width": 4}, "n_epochs": 1},
    )
    bench.done("label_slices", project)
    bench.done("train_classifier", project)
    bench.done("score_table", project, "--heads")
    row = bench.read(bench.place("predictions_slice_aware"))[0]
    assert set(row["indicator"].asDict()) == {"link", "short", "base"}
