"""label_slices --stream labels and evaluates what arrived, once, and goes on after a stop."""

from __future__ import annotations

from unittest import mock

SCHEMA = "id int, text string, y int"
SHORT = {"name": "short", "where": "length(text) < 3"}


def test_rows_are_labelled_as_they_arrive(bench, spark):
    bench.rows([(1, "a", 0), (2, "bcd", 1)], SCHEMA)
    given = {"given": {"table": bench.source, "columns": {"pred": "y", "label": "y"}}}
    project = bench.project(slices=[SHORT], metrics=["count"], predictions=given)

    def more(*rows: tuple) -> None:
        bench.write(spark.createDataFrame(rows, SCHEMA), bench.source, mode="append")

    def figures() -> list:
        rows = bench.read(bench.place("metrics"))
        return sorted(r["value"] for r in rows if r["slice"] == "overall")

    out = bench.done("label_slices", project, "--stream", "once")
    assert f"1 batches; {bench.place('stream')} remembers which rows were labelled" in out
    assert {k: m["short"] for k, m in bench.masks().items()} == {1: True, 2: False}
    assert figures() == [2.0]
    more((3, "x", 0))
    out = bench.done("label_slices", project, "--stream", "once")
    assert "only rows that changed are labelled: 1 file came since version 0 of the source" in out
    assert figures() == [2.0, 3.0]
    assert "0 batches" in bench.done("label_slices", project, "--stream", "once")

    # A job that fails stops the stream, which gives the batch again.
    more((4, "long", 0))
    with mock.patch("engine.project.cli.run_job", return_value=1):
        assert bench.run("label_slices", project, "--stream", "once").status == 2
    assert len(bench.masks()) == 3
    bench.done("label_slices", project, "--stream", "once")
    assert {k: m["short"] for k, m in bench.masks().items()} == {
        1: True,
        2: False,
        3: True,
        4: False,
    }
    spark.sql(f"UPDATE delta.`{bench.source}` SET text = 'z' WHERE id = 4")
    bench.done("label_slices", project, "--stream", "once")
    assert bench.masks()[4]["short"] is True


def test_rows_are_labelled_before_there_is_a_model(bench):
    bench.rows([(1, "a", 0)], SCHEMA)
    out = bench.done("label_slices", bench.project(slices=[SHORT]), "--stream", "once")
    assert "1 batches" in out
    assert bench.masks()[1]["short"] is True


def test_a_source_that_is_no_delta_table(bench):
    (bench.folder / "rows.csv").write_text("id,text\n1,a\n")
    project = bench.project(source={"table": str(bench.folder / "rows.csv")}, slices=[SHORT])
    assert bench.run("label_slices", project, "--stream", "once").error == (
        f"{bench.folder / 'rows.csv'} is no Delta table, and rows of others can't be waited for"
    )
