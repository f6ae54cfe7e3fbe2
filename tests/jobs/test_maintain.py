"""The job that keeps tables small: fewer files, the same rows, nothing to do afterwards."""

from __future__ import annotations

SCHEMA = "id int, text string, y int, part string"
SHORT = {"name": "short", "where": "length(text) < 3"}


def files(bench, name: str) -> int:
    return len(bench.spark.read.format("delta").load(bench.place(name)).inputFiles())


def test_tables_are_smaller_and_hold_the_same(bench):
    bench.rows([(i, "x" * (i % 5), i % 2, "ab"[i % 2]) for i in range(6)], SCHEMA)
    given = {"given": {"table": bench.source, "columns": {"pred": "y", "label": "y"}}}
    project = bench.project(slices=[SHORT], metrics=["accuracy"], predictions=given, split="part")
    bench.done("label_slices", project)
    for i in range(6, 9):  # each night adds a file
        rows = bench.spark.createDataFrame([(i, "xy", 0, "a")], SCHEMA)
        bench.write(rows, bench.source, mode="append")
        out = bench.done("label_slices", project)
        assert "only rows that changed are labelled: 1 file came since version" in out
    bench.done("evaluate_slices", project)
    before, many = bench.masks(), files(bench, "masks")
    out = bench.done("maintain", project, "--cluster-by", "split")
    assert many == 4
    assert files(bench, "masks") == 1
    assert bench.masks() == before
    line = next(line.split() for line in out.splitlines() if bench.place("masks") in line)
    assert line[1:3] == ["4", "1"]
    assert "unchanged" in bench.done("label_slices", project)
    assert f"unchanged {bench.place('metrics')}" in bench.done("evaluate_slices", project)


def test_old_versions_are_kept_for_a_day_at_least(bench):
    project = bench.project(slices=[SHORT])
    assert bench.run("maintain", project, "--keep-hours", "3").error == (
        "maintain: --keep-hours must be at least 24, for runs may go on that read older versions, "
        "found 3.0"
    )
