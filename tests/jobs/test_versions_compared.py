"""Masks, predictions and labels of different versions of the source are never mixed unasked."""

from __future__ import annotations

import json

import pytest

from engine.project.job_tables import RowColumns
from engine.storage.lineage import Reading, Snapshot, read_again, readings
from engine.storage.place import Place

SCHEMA = "ds string, id int, n int, label int, text string"


def rows(day: str, flipped: bool) -> list[tuple]:
    texts = ("ham", "spam")
    return [(day, i, i % 3, (i % 2) ^ flipped, texts[i % 2]) for i in range(20)]


@pytest.fixture
def project(bench):
    """A project of two days, labelled, with a baseline's predictions of the first version."""
    bench.rows(rows("a", False) + rows("b", False), SCHEMA, by=["ds"])
    path = bench.project(
        key=["id"], partition_by=["ds"], slices=[{"name": "s", "where": "n = 0"}], label="label",
        text="text", carry=["label"], metrics=["accuracy"], split=None,
        predictions={"baseline": {}},
        classifier={"n_epochs": 1, "base": {"kind": "mlp", "layers": 1, "width": 4}},
    )  # fmt: skip
    bench.done("label_slices", path)
    bench.done("train_baseline", path, "baseline.c=1.0")
    return path


def newest(bench, column):
    rows = [r for r in bench.read(bench.place("metrics")) if r["slice"] == "overall"]
    return max(rows, key=lambda r: r["run_ts"])[column]


def test_figures_of_two_versions_are_refused_or_counted(bench, project):
    source, masks, given = bench.source, bench.place("masks"), bench.place("predictions_baseline")
    bench.done("evaluate_slices", project)
    assert newest(bench, "n_stale") == 0
    assert newest(bench, "value") == 1.0
    # All labels of one day are flipped, and labelled again: what was scored has the old ones.
    bench.rows(rows("a", False) + rows("b", True), SCHEMA, by=["ds"])
    bench.done("label_slices", project, "--where", "ds = 'b'")
    facts = _facts(bench, masks)["read"]
    assert [(r["where"], r["version"]) for r in facts] == [(None, "0"), ("ds = 'b'", "1")]
    told = (
        f"{masks} was labelled from version 1 of {source}, and {given} (model 'baseline') was "
        f"scored from version 0 of {source}: this is so on 20 of 40 rows in 1 partition, the first "
        "is ds='b'"
    )
    before = bench.read(bench.place("metrics"))
    assert bench.run("evaluate_slices", project).error == (
        f"{told}; run `python -m jobs.label_slices` and `python -m jobs.train_baseline` for all "
        "partitions, without --where, or set on_stale: count"
    )
    assert bench.read(bench.place("metrics")) == before
    assert bench.run("train_classifier", project).error == (
        f"{masks} was labelled from version 0 of {source}, which is now at version 1, on 20 of 40 "
        "rows in 1 partition, the first is ds='a'; run `python -m jobs.label_slices` for all "
        "partitions, without --where, or set on_stale: count"
    )
    bench.done("evaluate_slices", project, "on_stale=count")
    assert (newest(bench, "n_stale"), newest(bench, "source_version")) == (20, "0 and 1")
    assert told.replace("'", "&#39;") in (bench.folder / "out" / "report.html").read_text()
    # What was counted once isn't shown again by a project that refuses it.
    assert bench.run("evaluate_slices", project).error.startswith(f"{told}; run ")

    # Once all is of one version, nothing is stale.
    bench.done("label_slices", project)
    bench.done("train_baseline", project, "baseline.c=1.0")
    bench.done("evaluate_slices", project)
    assert (newest(bench, "n_stale"), newest(bench, "source_version")) == (0, "1")
    bench.done("train_classifier", project)
    # A table of another tool says nothing of versions, which is no error.
    vendor = bench.spark.read.format("delta").load(given)
    vendor = vendor.withColumn("pred", vendor["label"]).drop("model_id")
    bench.write(vendor, bench.place("vendor"))
    given_too = f"predictions.vendor.table={bench.place('vendor')}"
    bench.done("evaluate_slices", project, given_too, "--model", "vendor")
    assert newest(bench, "n_stale") is None


def _facts(bench, place):
    history = bench.spark.sql(f"DESCRIBE HISTORY delta.`{place}`").orderBy("version").collect()
    return json.loads(history[-1]["userMetadata"])


def test_readings_of_partitions():
    whole, day = Reading(None, "s", "0", "x@0"), Reading("ds = 1", "s", "1", "x@1")
    stored = {"read": read_again(None, whole)}
    after = {"read": read_again(stored, day)}
    assert readings(after) == (whole, day)
    assert readings({"read": read_again(after, whole)}) == (whole,)
    again = Reading("ds = 1", "s", "0", "x@0")
    assert readings({"read": read_again(after, again)}) == (whole,)
    assert readings({"read": read_again({}, day)}) == (Reading(None, "s", "", ""), day)
    assert readings({"read": read_again(None, day)}) == (day,)


def test_rows_that_are_shown_of_another_version_are_told():
    old, new = Reading(None, "s", "0", "x@0"), Reading(None, "s", "1", "x@1")
    columns = RowColumns((), ("text", "n"), Snapshot(Place.of("s"), None, "1", "x@1"))
    assert columns.other_version([new]) is None
    assert RowColumns((), (), None).other_version([old]) is None
    assert columns.other_version([old, new]) == (
        "text, n of the rows that are shown come from version 1 of s, and masks from version 0 and "
        "1"
    )
