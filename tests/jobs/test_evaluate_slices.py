"""evaluate_slices over mask and prediction tables of all kinds, written here as they may be met."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

NAN = math.nan


@pytest.fixture
def table(bench):
    """Write mask and prediction tables; return their project."""

    def write(
        masks: tuple[list[Any], str],
        slices: list[str],
        given: Mapping[str, tuple[list[Any], str]],
        **settings: Any,
    ) -> str:
        df = bench.spark.createDataFrame(*masks)
        for s in slices:
            about = {"slice": {"name": s, "fingerprint": f"print of {s}"}}
            df = df.withColumn(s, F.col(s).alias(s, metadata=about))
        bench.write(df, bench.place("masks"))
        predictions = {}
        for model, (rows, schema) in given.items():
            bench.write(bench.spark.createDataFrame(rows, schema), bench.place(f"given_{model}"))
            predictions[model] = {"table": bench.place(f"given_{model}")}
        for model, more in settings.pop("predictions", {}).items():
            predictions[model].update(more)
        wanted = {"metrics": ["accuracy"], "predictions": predictions, **settings}
        return bench.project(**wanted)

    return write


def figures(bench, *by: str) -> dict[Any, Any]:
    """Return the metrics table's values by slice, or by other columns."""
    by = by or ("slice",)
    rows = bench.read(bench.place("metrics"))
    return {tuple(r[c] for c in by) if len(by) > 1 else r[by[0]]: r["value"] for r in rows}


def nothing_written(bench) -> bool:
    return not Path(bench.place("metrics")).exists()


ONE = "id int, pred int, label int"
FEW = "insufficient"


def test_names_of_slices_and_columns_do_not_collide(bench, table):
    """Slices and carried columns may be named like the prediction table's columns."""
    slices = ["label", "pred", "prob", "weight", "model_id", "found", "n_0", "_found"]
    masks = [(i, "x", *(i % 8 == j for j in range(8))) for i in range(16)]
    schema = "id int, split string, " + ", ".join(f"`{s}` boolean" for s in slices)
    project = table(
        (masks, schema), slices, {"m": ([(i, i % 2, int(i < 8)) for i in range(16)], ONE)}
    )
    bench.done("evaluate_slices", project)
    wanted = {s: sum((i % 2) == (i < 8) for i in (j, j + 8)) / 2 for j, s in enumerate(slices)}
    assert figures(bench) == {"overall": 0.5, **wanted}

    carried = [(i, "eu", 3, 0.5, i < 3) for i in range(4)]
    schema = "id int, model_id string, label int, weight double, s boolean"
    project = table((carried, schema), ["s"], {"m": ([(i, 1, i % 2) for i in range(4)], ONE)})
    bench.done("evaluate_slices", project)
    newest = max(r["run_ts"] for r in bench.read(bench.place("metrics")))
    rows = [r for r in bench.read(bench.place("metrics")) if r["run_ts"] == newest]
    assert {r["slice"]: r["value"] for r in rows} == {"overall": 0.5, "s": pytest.approx(1 / 3)}


def test_keys_partitions_and_several_models(bench, table):
    days = [dt.date(2024, 5, 1), dt.date(2024, 5, 2)]
    keys = [(day, i) for day in days for i in range(4)]  # the id alone is not unique
    masks = [(day, i, "test" if i else None, i > 1) for day, i in keys]
    good = [(day, i, i % 2, i % 2, None) for day, i in keys]
    bad = [(day, i, 1 - i % 2, i % 2, float(i)) for day, i in keys]
    schema = "ds date, id int, pred int, label int, weight double"
    project = table(
        (masks, "ds date, id int, split string, s boolean"), ["s"],
        {"good": (good, schema), "bad": (bad, schema)}, partition_by=["ds"], split="split",
    )  # fmt: skip
    out = bench.done("evaluate_slices", project)
    values = figures(bench, "model_id", "split", "slice")
    assert values == {
        (model, split, name): None if (split, name) == (None, "s") else value
        for model, value in {"good": 1.0, "bad": 0.0}.items()
        for split in ("test", None)
        for name in ("overall", "s")
    } | {("bad", None, "overall"): None}  # all its weights are 0
    assert {r["class"] for r in bench.read(bench.place("metrics"))} == {None}
    assert out.index("Split null") < out.index("Split test") or "Split test" in out
    (row,) = [
        r for r in bench.read(bench.place("metrics"))
        if (r["model_id"], r["split"], r["slice"]) == ("good", "test", "s")
    ]  # fmt: skip
    assert row["slice_fingerprint"] == "print of s"
    assert (row["support"], row["n_null"], row["n_missing"], row["status"]) == (4, 0, 0, FEW)
    assert (row["mask_version"], row["prediction_version"]) == ("0", "0")
    assert (row["p_value"], row["p_adjusted"]) == (None, None)


def test_a_second_run_adds_nothing_and_another_question_is_another_run(bench, table):
    masks = ([(i, i > 1) for i in range(4)], "id int, s boolean")
    given = {"m": ([(i, 1, i % 2) for i in range(4)], ONE)}
    project = table(masks, ["s"], given, metrics=["accuracy", "f1"])
    bench.done("evaluate_slices", project)
    before = bench.read(bench.place("metrics"))
    assert {r["metric"]: r["class"] for r in before} == {"accuracy": None, "f1": "1"}
    again = bench.done("evaluate_slices", project)
    assert f"unchanged {bench.place('metrics')} version 0" in again
    assert bench.read(bench.place("metrics")) == before

    bench.done("evaluate_slices", project, "metrics=[precision@threshold=0.70]", "seed=1")
    rows = bench.read(bench.place("metrics"))
    assert len(rows) == len(before) + 2
    assert [r for r in rows if r["metric"] in ("accuracy", "f1")] == before
    fresh = [r for r in rows if r["metric"] == "precision@threshold=0.7"]
    assert [(r["class"], r["status"]) for r in fresh] == [("1", "unscored")] * 2
    assert len({r["run_id"] for r in rows}) == 2
    assert bench.versions()["metrics"] == 1


def test_splits_that_are_not_there_are_refused(bench, table):
    masks = ([(1, "test", True), (2, None, True)], "id int, split string, s boolean")
    project = table(masks, ["s"], {"m": ([(1, 1, 1), (2, 0, 1)], ONE)}, split="split")
    assert bench.run("evaluate_slices", project, "evaluate_splits=[test, tset]").error == (
        f"evaluate_splits: {bench.place('masks')} has no split 'tset'; did you mean 'test'?"
    )
    assert bench.run("evaluate_slices", project, 'evaluate_splits=["null"]').error == (
        f"evaluate_splits: {bench.place('masks')} has no split 'null', but rows whose split is "
        "null: write it as null, without quotes"
    )
    assert nothing_written(bench)
    bench.done("evaluate_slices", project, "evaluate_splits=[null]")
    assert figures(bench) == {"overall": 0.0, "s": 0.0}
    bench.write(
        bench.spark.read.format("delta").load(bench.place("masks")).where("split = 'test'"),
        bench.place("masks"),
    )
    assert bench.run("evaluate_slices", project, "evaluate_splits=[null]").error == (
        f"evaluate_splits: {bench.place('masks')} has no split null: the split of every row is "
        "known; known: test"
    )


def test_weights_and_probabilities_that_cannot_be(bench, table):
    masks = ([(i, True) for i in range(5)], "id int, s boolean")
    place = bench.place("given_m")

    def refused(rows: list[Any], schema: str, **settings: Any) -> str:
        project = table(masks, ["s"], {"m": (rows, schema)}, **settings)
        error = bench.run("evaluate_slices", project).error
        assert nothing_written(bench)
        return error

    weighted = "id int, pred int, label int, weight double"
    weights = [1.0, -1.0, NAN, math.inf, -2.0]
    assert refused([(i, 1, 1, w) for i, w in enumerate(weights)], weighted) == (
        f"column 'weight' of {place} is not a number from 0 to 1e+30 on 4 rows, the first "
        "are -1.0 at id=1; nan at id=2; inf at id=3; correct them, or make them null"
    )
    scalar = "id int, pred int, label int, prob double"
    assert refused([(i, 1, 1, p) for i, p in enumerate([0.5, 1.5, NAN, None, 0.0])], scalar) == (
        f"column 'prob' of {place} is not 2 probabilities from 0 to 1 on 1 rows, the first are "
        "[-0.5, 1.5] at id=1; correct them, or make them null"
    )
    arrays = "id int, pred int, label int, prob array<double>"
    probs = [[0.5, 0.5], [1.0], [0.2, 0.3, 0.5], [None, 0.5], None]
    assert refused([(i, 1, 1, p) for i, p in enumerate(probs)], arrays) == (
        f"column 'prob' of {place} is not 2 probabilities from 0 to 1 on 2 rows, the first are "
        "[1.0] at id=1; [0.2, 0.3, 0.5] at id=2; correct them, or make them null"
    )
    three = [(i, i % 3, 0, [0.2, 0.3, 0.5]) for i in range(5)]
    asked = {"classes": [0, 1, 2], "metrics": ["recall@threshold=0.5"]}
    assert refused(three, arrays, **asked) == (
        "metric 'recall@threshold=0.5' is for binary problems: there are 3 classes"
    )


def test_what_a_row_lacks_is_counted_by_metric(bench, table):
    """Null masks, null labels, null and NaN scores, no prediction: a status, never a failure."""
    masks = [(0, True), (1, True), (2, None), (3, True), (4, False), (5, True)]
    given = [(0, 1, 1, 0.9), (1, None, 0, NAN), (2, 1, 1, 0.5), (3, 0, None, 0.5), (4, 1, 0, None)]
    project = table(
        (masks, "id int, s boolean"), ["s"],
        {"m": (given, "id int, pred int, label int, prob double")},
        metrics=["accuracy", "roc_auc", "coverage", "recall@threshold=0.5"],
        certainty={"min_support": 0},
            missing_predictions="count",
    )  # fmt: skip
    bench.done("evaluate_slices", project)
    found = {
        (r["slice"], r["metric"]): (
            r["value"],
            r["support"],
            r["n_null"],
            r["n_missing"],
            r["status"],
        )
        for r in bench.read(bench.place("metrics"))
    }
    assert found == {
        ("overall", "accuracy"): (pytest.approx(2 / 3), 3, 0, 3, "rough"),
        ("overall", "roc_auc"): (None, 2, 0, 4, "single_class"),
        ("overall", "coverage"): (pytest.approx(4 / 6), 6, 0, 0, "rough"),
        ("overall", "recall@threshold=0.5"): (1.0, 2, 0, 4, "rough"),
        ("s", "accuracy"): (1.0, 1, 1, 3, "rough"),
        ("s", "roc_auc"): (None, 1, 1, 3, "single_class"),
        ("s", "coverage"): (0.5, 4, 1, 0, "rough"),
        ("s", "recall@threshold=0.5"): (1.0, 1, 1, 3, "rough"),
    }


def test_figures_have_intervals_and_tests(bench, table):
    """A slice that the model fails on, a good one and a small one."""
    n = 400
    masks = (
        [(i, i < 60, i % 2 == 0, i < 5, f"v{i // 4}") for i in range(n)],
        "id int, bad boolean, even boolean, few boolean, video string",
    )
    rows = [(i, int(i % 3 == 0) if i < 60 else i % 2, i % 2) for i in range(n)]
    project = table(masks, ["bad", "even", "few"], {"m": (rows, ONE)}, metrics=["accuracy", "f1"])
    ran = bench.run("evaluate_slices", project)
    stored = {(r["slice"], r["metric"]): r for r in bench.read(bench.place("metrics"))}
    for metric in ("accuracy", "f1"):
        row = stored["bad", metric]
        assert row["ci_low"] < row["value"] < row["ci_high"] < stored["overall", metric]["ci_low"]
        assert 0 < row["p_value"] <= row["p_adjusted"] < 0.001
        assert row["effect"] < -0.4
        assert stored["overall", metric]["p_value"] is None
        assert stored["few", metric]["status"] == "insufficient"
        assert (stored["few", metric]["p_value"] is None) is (metric == "f1")
    assert (stored["few", "f1"]["n_decisive"], stored["few", "f1"]["support"]) == (3, 5)
    assert stored["bad", "accuracy"]["effect_low"] < stored["bad", "accuracy"]["effect_high"] < 0
    assert ran.out.index("most severe") < ran.out.index("Split all: worst first")
    assert " 1   f1 is " in ran.out or " 1   accuracy is " in ran.out
    assert "most severe" in Path(bench.place("report.html")).read_text()
    assert "Split all: different from the rows outside the slice" in ran.out
    assert "?" in next(line for line in ran.out.splitlines() if line.startswith(" few"))
    clustered = {"certainty": {"cluster": "video", "replicates": 50, "min_support": 0}}
    project = bench.project(
        metrics=["accuracy"], predictions={"m": {"table": bench.place("given_m")}}, **clustered
    )
    bench.run("evaluate_slices", project)
    again = [r for r in bench.read(bench.place("metrics")) if r["run_id"] != row["run_id"]]
    by_cluster = next(r for r in again if r["slice"] == "bad")
    assert by_cluster["ci_low"] != stored["bad", "accuracy"]["ci_low"]
    assert by_cluster["ci_low"] < by_cluster["value"] < by_cluster["ci_high"]
    project = bench.project(
        certainty={"cluster": "vidoe"}, predictions={"m": {"table": bench.place("given_m")}}
    )
    assert bench.run("evaluate_slices", project).error == (
        f"certainty.cluster of {bench.place('masks')}: there is no column 'vidoe'; did you mean "
        "'video'?"
    )


def test_late_labels_must_fit(bench, table):
    masks = ([(1, True), (2, False)], "id int, s boolean")
    late = bench.place("late")
    given = {"m": ([(1, 1), (2, 1)], "id int, pred int")}
    asked = {"predictions": {"m": {"label": {"table": late, "column": "y"}}}}
    project = table(masks, ["s"], given, **asked)
    bench.write(bench.spark.createDataFrame([(1, 1), (1, 0)], "id int, y int"), late)
    assert bench.run("evaluate_slices", project).error == (
        f"the key (id) of {late} is not unique: 1 keys name more than one row, the first are id=1 "
        "(2 rows)"
    )
    bench.write(bench.spark.createDataFrame([(1, 1)], "id int, yy int"), late)
    assert bench.run("evaluate_slices", project).error == (
        f"label of {late}: there is no column 'y'; did you mean 'yy'?"
    )
    bench.write(bench.spark.createDataFrame([(1, 1)], "id int, y int"), late)
    bench.done("evaluate_slices", project)
    (overall, s) = sorted(bench.read(bench.place("metrics")), key=lambda r: r["slice"])
    assert (overall["value"], overall["support"], overall["n_missing"]) == (1.0, 1, 1)
    assert (s["value"], s["support"]) == (1.0, 1)


def test_predictions_may_be_files_of_another_tool(bench, table):
    file = bench.folder / "predictions.csv"
    file.write_text("row,guess,truth,p,model_id\n1,spam,spam,0.9,m\n2,spam,ham,0.6,m\n2,x,y,0,n\n")
    columns = {"id": "row", "pred": "guess", "label": "truth", "prob": "p"}
    project = table(
        ([(1, True), (2, False)], "id int, s boolean"), ["s"], {},
        classes=["ham", "spam"], metrics=["precision", "roc_auc"],
    )  # fmt: skip
    with open(project, "a") as f:
        f.write(f"\npredictions: {{m: {{table: {file}, columns: {columns}}}}}\n")
    text = Path(project).read_text().replace("predictions: {}\n", "", 1)
    Path(project).write_text(text)
    bench.done("evaluate_slices", project)
    assert figures(bench, "slice", "metric") == {
        ("overall", "precision"): 0.5, ("overall", "roc_auc"): 1.0,
        ("s", "precision"): 1.0, ("s", "roc_auc"): None,
    }  # fmt: skip
    assert {r["class"] for r in bench.read(bench.place("metrics"))} == {"spam"}
    version = {r["prediction_version"] for r in bench.read(bench.place("metrics"))}
    assert [len(v) for v in version] == [16]


def test_a_mask_table_of_another_key_is_refused(bench, table):
    masks = ([(1, True)], "id int, s boolean")
    project = table(masks, ["s"], {"m": ([(1, 1, 1)], ONE)}, key="idd")
    assert bench.run("evaluate_slices", project).error == (
        "predictions " + bench.place("given_m") + ": there is no column 'idd'; did you mean 'id'?"
    )
    given = {"m": ([(1, 1, 1)], "idd int, pred int, label int")}
    project = table(masks, ["s"], given, key="idd")
    assert bench.run("evaluate_slices", project).error == (
        f"key of {bench.place('masks')}: there is no column 'idd'; did you mean 'id'?"
    )
