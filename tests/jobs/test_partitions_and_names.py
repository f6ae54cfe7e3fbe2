"""Values of partition columns and names of columns that Delta doesn't take as they are."""

from __future__ import annotations

import datetime as dt

import pytest

from engine.errors import ColumnError
from engine.masks.checks import check_columns
from engine.storage.files import batches, files_of

SLICES = [{"name": "s", "where": "n = 0"}]
ODD = "@slicing_function()\ndef odd(x): return x['q`r'] + x['a b'] > 3\n"
NAMES = ["a b", "c,d", "e;f", "{g}", "(h)", "i\tj", "k=l", "m\nn", "o.p", "q`r", "🙂"]


NULL = "Delta writes that as null, and joins would lose these rows"
FOLDER = "no folder can be named so"


@pytest.mark.parametrize(
    ("value", "problem", "shown", "cause"),
    [
        ("", "is ''", "''", NULL),
        (
            "__HIVE_DEFAULT_PARTITION__", "is '__HIVE_DEFAULT_PARTITION__'",
            "'__HIVE_DEFAULT_PARTITION__'", NULL,
        ),
        ("a\0b", "has a NUL character", r"'a\x00b'", FOLDER),
        ("é" * 127, "is longer than 252 bytes", f"'{'é' * 127}'", FOLDER),
    ],
)  # fmt: skip
def test_a_text_that_no_partition_can_have_is_refused(bench, value, problem, shown, cause):
    """Before anything is written, with the first row."""
    bench.rows([("x", 1, 0), (value, 2, 0), (value, 3, 1)], "ds string, id int, n int")
    project = bench.project(partition_by=["ds"], slices=SLICES)
    assert bench.run("label_slices", project).error == (
        f"partition column 'ds' of {bench.source} {problem} on 2 of 3 rows, the first is "
        f"ds={shown}, id=2: {cause}; give it another value in the source, or leave the column out "
        "of partition_by"
    )
    assert not (bench.folder / "out").exists()


def test_all_that_is_wrong_with_a_partition_is_told_at_once(bench):
    rows = [("x", 1, 0), ("", 2, 0), (None, 3, 1), ("a\0b", 4, 1)]
    bench.rows(rows, "ds string, id int, n int")
    project = bench.project(partition_by=["ds"], slices=SLICES)
    how = "give it another value in the source, or leave the column out of partition_by"
    assert bench.run("label_slices", project).error == (
        f"key column 'ds' of {bench.source} is null on 1 of 4 rows; every row needs a key; "
        f"besides, partition column 'ds' of {bench.source} is '' on 1 of 4 rows, the first is "
        f"ds='', id=2: {NULL}; {how}; besides, partition column 'ds' of {bench.source} has a NUL "
        f"character on 1 of 4 rows, the first is ds='a\\x00b', id=4: {FOLDER}; {how}"
    )
    assert not (bench.folder / "out").exists()


def test_other_values_of_partitions_come_back_as_they_are(bench):
    texts = [" ", "a ", "a/b", "a:b", "a=b", "a%20b", "é🙂", "a\nb", "a'b\"", "null", ".", "A", "a"]
    early = dt.datetime(1800, 1, 1, 0, 0, 0, 500001)
    given = [(text, dt.date(1, 1, 1), early, i, i % 2) for i, text in enumerate(texts)]
    bench.rows(given, "p string, d date, t timestamp, id int, n int")
    project = bench.project(
        partition_by=["p", "d", "t"], slices=SLICES, metrics=["count"],
        predictions={"m": {"table": bench.place("given")}},
    )  # fmt: skip
    bench.done("label_slices", project)
    source = bench.spark.read.format("delta").load(bench.source)
    bench.write(source.selectExpr("p", "d", "t", "id", "n AS pred"), bench.place("given"))
    assert {k: (r["p"], r["s"]) for k, r in bench.masks().items()} == {
        i: (text, i % 2 == 0) for i, text in enumerate(texts)
    }
    bench.done("evaluate_slices", project)  # no row lacks its prediction


def test_columns_may_have_any_names(bench):
    names = ", ".join(f"`{n.replace('`', '``')}` int" for n in NAMES)
    df = bench.spark.createDataFrame(
        [
            (*range(len(NAMES)), "x y", i, i % 3, i % 2, "spam" if i % 2 else "ham")
            for i in range(12)
        ],
        f"{names}, `part of` string, `the id` int, n int, `a label` int, `a text` string",
    )
    writer = df.coalesce(1).write.format("delta").option("delta.columnMapping.mode", "name")
    writer.save(bench.source)
    project = bench.project(
        key=["the id", "a b"], partition_by=["part of"], split="k=l", carry=NAMES[1:6] + NAMES[7:],
        slices=SLICES, label="a label", text="a text", train_split="6", metrics=["accuracy"],
        predictions={"baseline": {}}, verify=1.0,
        sf_modules=[bench.module(ODD)],
    )  # fmt: skip
    bench.done("label_slices", project)
    bench.done("train_baseline", project, "baseline.c=1.0")
    out = bench.done("evaluate_slices", project)
    assert "Split 6" in out
    masks = bench.spark.read.format("delta").load(bench.place("masks"))
    assert set(NAMES) <= set(masks.columns)
    assert masks.where("s").count() == 4
    assert masks.where("odd").count() == 12
    files = files_of(masks, ["s"])  # workers look for columns by the names that files have
    assert files is not None
    read = [value for batch in batches(files, 0, 100) for value in batch.column("s").to_pylist()]
    assert read.count(True) == 4


def test_a_table_that_has_plain_names_may_get_others(bench):
    bench.rows([(1, 2, 0)], "id int, c int, n int")
    bench.done("label_slices", bench.project(carry=["c"], slices=SLICES))
    df = bench.spark.read.format("delta").load(bench.source).selectExpr("id", "c AS `c d`", "n")
    df.write.mode("overwrite").parquet(str(bench.folder / "plain"))
    project = bench.project(
        carry=["c d"], slices=SLICES, source={"table": str(bench.folder / "plain")}
    )
    bench.done("label_slices", project)
    assert bench.masks() == {1: {"c d": 2, "s": True}}


def test_names_that_differ_in_case_alone_are_refused(bench):
    df = bench.spark.createDataFrame([(1, 2)], "id int, ID int")
    with pytest.raises(ColumnError) as caught:
        check_columns(df, "rows.parquet", {"key": ["id"]})
    assert str(caught.value) == (
        "column 'id' of rows.parquet can't be told from 'ID', as Spark looks at no case: rename "
        "one in the source, or set spark.sql.caseSensitive under spark"
    )
