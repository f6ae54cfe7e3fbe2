"""A table of numbers and categories from labels to figures, without a setting of a model."""

from __future__ import annotations

import json
import random
from pathlib import Path

SCHEMA = "id long, age double, city string, members int, day date, label int, split string"
ONE_CLASS = (
    "model 'vendor' predicts one class only: 0 on all 60 rows of split test, of which {} have "
    "another"
)


def rows():
    rng = random.Random(0)
    for i in range(260):
        age, city = rng.gauss(40, 10), rng.choice(["Oslo", "Rome", None])
        noisy = rng.random() < 0.1
        label = int((age > 45) ^ noisy)
        split = "test" if i >= 200 else "train"
        yield (i, age if i % 20 else None, city, i % 5, None, label, split)


def test_a_table_without_a_text(bench, caplog):
    caplog.set_level("INFO", "engine")
    bench.rows(list(rows()), SCHEMA)
    vendor = str(bench.folder / "vendor")
    scored = [(i, label, 0, [0.8, 0.2]) for i, *_, label, _ in rows()]
    schema = "id long, label int, pred int, prob array<double>"
    bench.write(bench.spark.createDataFrame(scored, schema), vendor)
    project = bench.project(
        label="label",
        split="split",
        slices=[{"name": "old", "where": "age > 50"}],
        predictions={"baseline": {}, "slice_aware": {}, "vendor": {"table": vendor}},
        metrics=["accuracy", "roc_auc"],
        certainty={"replicates": 0},
        evaluate_splits=["test"],
    )
    for job in ("label_slices", "train_baseline", "train_classifier"):
        bench.done(job, project)
    models = Path(bench.place("models"))
    baseline = json.loads((models / "baseline" / "baseline.json").read_text())
    assert baseline["facts"]["settings"]["columns"] == ["age", "members", "city"]
    assert f"baseline.c isn't set: C is {baseline['choice']['c']:g}, the best" in caplog.text
    facts = json.loads((models / "slice_aware" / "checkpoint.json").read_text())["facts"]
    assert facts["settings"]["features"] == {
        "kind": "tabular", "numeric": ["age", "members"], "category": ["city"],
    }  # fmt: skip
    assert facts["chosen"]["base"] == {"kind": "tabular_mlp", "width": 32}
    assert facts["chosen"]["monitor"] == "overall/log_loss"
    assert "of 200 training rows are held out to choose the epoch" in caplog.text

    out = bench.done("evaluate_slices", project)
    positive = sum(label for *_, label, split in rows() if split == "test")
    warning = ONE_CLASS.format(positive)
    start = f"Read this first: models that learned nothing, or the wrong way round\n{warning}\n"
    assert start in out
    assert out.index(start) < out.index("Split test: worst first")
    assert start in bench.done("evaluate_slices", project)  # the second time from the archive
    page = Path(bench.place("report.html")).read_text()
    assert page.index("predicts one class only") < page.index("<div id='app'")
    figures = bench.read(bench.place("metrics"))
    of = {(r["model_id"], r["slice"], r["metric"]): r for r in figures}
    assert {r["warning"] for r in figures if r["model_id"] != "vendor"} == {None}
    assert {k[1:]: r["warning"] for k, r in of.items() if k[0] == "vendor"} == {
        ("overall", "accuracy"): warning, ("overall", "roc_auc"): warning,
        ("old", "accuracy"): None, ("old", "roc_auc"): None,
    }  # fmt: skip
    assert of["baseline", "overall", "roc_auc"]["value"] > 0.8
