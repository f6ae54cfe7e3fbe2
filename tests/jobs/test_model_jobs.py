"""What the jobs that train and score refuse, and what they do with labels and partitions."""

from __future__ import annotations

import shutil
from pathlib import Path

from engine.hashing import unit_interval

SCHEMA = "ds string, id int, text string, label string, split string"
ROWS = [
    (day, i, "nice song" if i % 2 else "buy this now", ("ham", "spam")[i % 2 == 0], split)
    for day, split in (("a", "train"), ("b", "it's test"))
    for i in range(6)
]
SETTINGS = {
    "key": ["ds", "id"],
    "partition_by": ["ds"],
    "text": "text",
    "label": "label",
    "split": "split",
    "classes": ["ham", "spam"],
    "slices": [{"name": "short", "where": "length(text) < 10"}],
    "metrics": ["accuracy", "f1"],
    "classifier": {"n_epochs": 1, "base": {"kind": "mlp", "layers": 1, "width": 4}},
}


def test_partitions_text_classes_and_rows_without_a_label(bench, spark):
    unlabelled = [("b", 9, None, None, "it's test")]
    bench.rows([*ROWS, *unlabelled], SCHEMA, by=["ds"])
    project = bench.project(**SETTINGS)
    for job in ("label_slices", "train_baseline", "train_classifier", "score_table"):
        bench.done(job, project)
    for model in ("baseline", "slice_aware"):
        table = spark.read.format("delta").load(bench.place(f"predictions_{model}"))
        found = {(r.ds, r.id): r for r in table.collect()}
        assert len(found) == 13
        assert found["b", 9].label is None
        assert all(len(r.prob) == 2 and abs(sum(r.prob) - 1) < 1e-6 for r in found.values())
        assert all(r.pred == ("ham", "spam")[r.prob[1] > r.prob[0]] for r in found.values())
        assert {(r.model_id, r.weight) for r in found.values()} == {(model, None)}
        assert table.schema["prob"].metadata["classes"] == ["ham", "spam"]
        assert (Path(bench.place(f"predictions_{model}")) / "ds=a").is_dir()
    bench.done("evaluate_slices", project)
    rows = bench.read(bench.place("metrics"))
    (row,) = [
        r for r in rows
        if (r["model_id"], r["split"], r["slice"], r["metric"])
        == ("baseline", "it's test", "overall", "f1")
    ]  # fmt: skip
    assert (row["value"], row["support"], row["n_missing"], row["class"]) == (1.0, 6, 1, "spam")

    scored = bench.done("score_table", project, "--where", "ds = 'b'")
    assert "version 1: 7 rows in " in scored
    assert len(bench.read(bench.place("predictions_slice_aware"))) == 13

    # The source goes on: what was labelled from its old version is no match for its new one.
    bench.write(spark.createDataFrame(ROWS[:1], SCHEMA), bench.source, mode="append", by=["ds"])
    assert bench.run("train_classifier", project).error == (
        f"{bench.place('masks')} was labelled from version 0 of {bench.source}, which is now at "
        "version 1; run `python -m jobs.label_slices` again, or set on_stale: count"
    )
    # A mask table that was removed begins again at version 0, and so does its coverage.
    shutil.rmtree(bench.place("masks"))
    bench.write(spark.createDataFrame(ROWS, SCHEMA), bench.source, by=["ds"])
    bench.done("label_slices", project)
    counts = {r["split"]: r for r in bench.read(bench.place("coverage"))}
    assert counts["it's test"]["n_rows"] == 6
    assert counts["it's test"]["source_version"] == "2"


def test_labels_that_cannot_be_trained_on(bench):
    source = bench.rows([(*row[:3], "spam", row[4]) for row in ROWS], SCHEMA)
    project = bench.project(**SETTINGS)
    assert bench.run("train_baseline", project).error == (
        "the baseline can't be trained: its rows have only the label 1, and it takes two classes; "
        "check the label column and the training split"
    )
    bench.rows(
        [(*row[:3], ("spam", "ham", "Ham", "??")[row[1] % 4], row[4]) for row in ROWS], SCHEMA
    )
    assert bench.run("train_baseline", project).error == (
        f"column 'label' of {source} has values that are not in classes ['ham', 'spam']: ??, Ham"
    )
    bench.rows([(*row[:3], None, row[4]) for row in ROWS], SCHEMA)
    assert bench.run("train_baseline", project).error == (
        f"column 'label' of {source} is null on all 12 rows, and is read by label; check the "
        "source, or leave them out"
    )
    bench.rows([(*row[:4], "test") for row in ROWS], SCHEMA)
    assert bench.run("train_baseline", project).error == (
        f"{source} has no rows where the split is 'train' and label is not null; nothing was "
        "written"
    )
    assert not Path(bench.place("predictions_baseline")).exists()
    assert not Path(bench.place("models")).exists()


def test_a_baseline_is_fitted_to_a_sample_of_many_rows(bench, caplog):
    bench.rows([("a", i, *ROWS[i % 6][2:4], "train") for i in range(400)], SCHEMA)
    project = bench.project(**{**SETTINGS, "key": ["id"], "partition_by": []})
    kept = int((unit_interval(range(400), 5) < 0.25).sum())
    caplog.set_level("INFO", "engine")
    for limit, told in (
        ("max_rows=100", f"{kept} rows of 400, drawn by the hash of their keys: baseline.max_rows"),
        ("max_rows=400", "400 rows"),
    ):
        caplog.clear()
        bench.done("train_baseline", project, "seed=5", f"baseline.{limit}")
        (line,) = [m for m in caplog.messages if m.startswith("fitting on")]
        assert line.startswith(f"fitting on {told}")


def test_settings_and_inputs_that_a_job_lacks(bench):
    bench.rows(ROWS, SCHEMA)
    assert bench.run("train_baseline", bench.project(text="text")).error == (
        "bench: this job needs the setting 'label'"
    )
    wrong = bench.project(**{**SETTINGS, "text": "txt"})
    assert bench.run("train_baseline", wrong).error == (
        f"text of {bench.source}: there is no column 'txt'; did you mean 'text'?"
    )
    project = bench.project(**SETTINGS)
    assert bench.run("train_classifier", project).error == (
        f"the mask table {bench.place('masks')} does not exist or is not a Delta table; run "
        "`python -m jobs.label_slices` first"
    )
    folder = Path(bench.place("models")) / "slice_aware"
    assert bench.run("score_table", project).error == (
        f"no checkpoint at {str(folder)!r}: checkpoint.json is not there; train one first, or "
        "correct the path"
    )
