"""A source with a null split and the split 'null', through the jobs: they are two everywhere."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import functions as F

from engine import evaluate, signatures
from engine.project.load import load_project
from engine.project.sample import slice_counts
from engine.sampling import Counts
from engine.storage import tables
from tests.report.pages import data_of

SPLITS = {None: 10, "null": 20, "test": 30}


def test_every_table_and_the_report_keep_them_apart(bench):
    rows = [
        (i, s, i % 3, int(j < n // 2), "spam" if j % 2 else "ham")
        for k, (s, n) in enumerate(SPLITS.items())
        for j, i in enumerate(range(100 * k, 100 * k + n))
    ]
    bench.rows(rows, "id int, part string, n int, label int, text string")
    given = [(i, label if s is None else 1 - label, label, 0.25) for i, s, _, label, _ in rows]
    schema = "id int, pred int, label int, prob double"
    bench.write(bench.spark.createDataFrame(given, schema), bench.place("given"))
    project = bench.project(
        split="part", slices=[{"name": "a", "where": "n = 0"}], layout="packed", text="text",
        label="label", train_split="null", metrics=["accuracy", "log_loss"],
        predictions={"m": {"table": bench.place("given")}}, audit={"worst_rows": 1},
    )  # fmt: skip
    out = bench.done("label_slices", project)
    head = next(line for line in out.splitlines() if "runs as" in line).split()
    assert head[-4:] == ["null", "'null'", "test", "undecided"]
    counted = {r["split"]: r["n_rows"] for r in bench.read(bench.place("coverage"))}
    assert counted == SPLITS

    out = bench.done("evaluate_slices", project)
    assert [line for line in out.splitlines() if ": worst first, with" in line] == [
        f"Split {s}: worst first, with 95% intervals" for s in ("'null'", "null", "test")
    ]
    found = [r for r in bench.read(bench.place("metrics")) if r["slice"] == "overall"]
    held = {r["split"]: (r["support"], r["value"]) for r in found if r["metric"] == "accuracy"}
    assert held == {s: (n, float(s is None)) for s, n in SPLITS.items()}
    page = Path(bench.place("report.html")).read_text()
    assert [s["name"] for s in data_of(page)["splits"]] == ["test", "null", "'null'"]
    assert "unchanged" in bench.done("evaluate_slices", project)

    bench.done("evaluate_slices", project, "evaluate_splits=[null]", "seed=1")
    bench.done("evaluate_slices", project, 'evaluate_splits=["null"]', "seed=2")
    runs = {}
    for r in bench.read(bench.place("metrics")):
        runs.setdefault(r["run_id"], set()).add(r["split"])
    assert sorted(map(len, runs.values())) == [1, 1, 3]
    assert {next(iter(s)) for s in runs.values() if len(s) == 1} == {None, "null"}

    masks = bench.spark.read.format("delta").load(bench.place("masks"))
    labels = bench.spark.createDataFrame(given, schema).select("id", "label", "pred", "prob")
    of = evaluate(masks.join(labels, "id"), key="id", metrics=["accuracy"], split="part")
    assert of.overall["split"].tolist() == [None, "null", "test"]
    assert [len(of.worst_rows(n=99, split=s)) for s in ("null", "test", None)] == [20, 30, 10]
    told = signatures(masks, split="part")
    counts = [told.rows_in("overall", s).true for s in (None, "null", "test", ...)]
    assert counts == [10, 20, 30, 60]

    # The split may also be that of which models are made; counts of an earlier version, which had
    # both as 'null', are counted again.
    of_project = load_project(project, ["valid_split=null"])
    snapshot = tables.read(bench.spark, bench.place("masks"))
    coverage = bench.spark.read.format("delta").load(bench.place("coverage"))
    old = coverage.withColumn("split", F.coalesce("split", F.lit("null")))
    for one in (coverage, old.where("n_rows != 20")):
        assert slice_counts(of_project, snapshot, one, ["a"]) == {
            "null": Counts(20, {"a": 6}), None: Counts(10, {"a": 4}),
        }  # fmt: skip
    fitted = bench.run("train_baseline", project, "train_split=null", "baseline.model_id=b")
    assert fitted.status == 0, fitted.err
