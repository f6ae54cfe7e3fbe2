"""The five jobs, one after the other, as a user runs them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from engine import PandasSFApplier, Scorer
from engine.project.demo_data import read_youtube_spam
from sfs import spam

ROOT = Path(__file__).parents[2]
YOUTUBE = ROOT.parent / "shared" / "data" / "youtube-spam"
SFS = [
    spam.short_link,
    spam.keyword_subscribe,
    spam.keyword_please,
    spam.regex_check_out,
    spam.short_comment,
    spam.textblob_polarity,
]
TUTORIAL = {  # accuracy and F1 of the baseline on the tutorial's test split
    "overall": (0.9280, 0.9250),
    "short_link": (0.3333, 0.5000),
    "keyword_subscribe": (0.9444, 0.9714),
    "keyword_please": (1.0, 1.0),
    "regex_check_out": (1.0, 1.0),
    "short_comment": (0.9457, 0.6667),
    "textblob_polarity": (0.8750, 0.7273),
}
FLOW = ("label_slices", "train_baseline", "train_classifier", "score_table", "evaluate_slices")


def metrics(bench, **where):
    rows = bench.read(bench.place("metrics"))
    return [r for r in rows if all(r[k] == v for k, v in where.items())]


@pytest.fixture
def interpreted():
    """The flow runs as users run it: Spark compiles expressions."""


@pytest.fixture
def overrides(bench):
    return [f"root={bench.folder / 'out'}", f"source.table={bench.source}"]


def test_the_whole_flow_and_again(bench, overrides):
    project = str(ROOT / "conf" / "spam.yaml")
    quick = [*overrides, "classifier.n_epochs=1"]
    for job in ("make_source", *FLOW):
        out = bench.done(job, project, *quick)
        assert "wrote " in out
        if job not in ("train_classifier", "evaluate_slices"):
            assert re.search(r"^wrote .* version 0: [\d,]+ rows in \d+\.\d s$", out, re.MULTILINE)
    before, ids = bench.versions(), {r["run_id"] for r in metrics(bench)}
    stamps = {r["run_ts"] for r in metrics(bench)}
    assert len(ids) == len(stamps) == 1
    # 3 splits, 2 models, 7 slices and overall, 3 metrics: none is missing, empty or not.
    assert len(metrics(bench)) == 3 * 2 * 8 * 3
    for job in ("make_source", *FLOW):
        assert "unchanged " in bench.done(job, project, *quick)
    assert bench.versions() == before
    assert {r["run_ts"] for r in metrics(bench)} == stamps
    titles = re.findall("<h2>(.*?)</h2>", (bench.folder / "out" / "report.html").read_text())
    assert titles[:3] == ["Split test", "Split train", "Split valid"]
    around = (
        "slice_aware less baseline",
        "Rows that slice_aware alone",
        "Rows of the largest loss",
    )
    assert all(any(t.startswith(one) for t in titles) for one in around)
    (overall,) = metrics(
        bench, model_id="baseline", split="test", slice="overall", metric="accuracy"
    )
    (weak,) = metrics(bench, model_id="baseline", split="test", slice="short_link", metric="f1")
    assert overall["value"] > 0.85
    assert weak["value"] < 0.6
    assert weak["support"] >= 15


@pytest.mark.skipif(not YOUTUBE.is_dir(), reason="the YouTube Spam Collection is not in ../shared")
@pytest.mark.slow
def test_the_tutorials_figures(bench, overrides):
    project = str(ROOT / "conf" / "youtube_spam.yaml")
    bench.done("make_source", project, *overrides, "--data", str(YOUTUBE))
    for job in FLOW:
        out = bench.done(job, project, *overrides)
    assert "Split test: worst first" in out
    table = {
        (r["slice"], r["metric"]): r["value"]
        for r in metrics(bench, split="test", model_id="baseline")
    }
    for name, (accuracy, f1) in TUTORIAL.items():
        assert round(table[name, "accuracy"], 4) == accuracy
        assert round(table[name, "f1"], 4) == f1

    comments = read_youtube_spam(YOUTUBE)
    test = comments[comments["split"] == "test"].reset_index(drop=True)
    S = PandasSFApplier(SFS).apply(test, progress_bar=False)
    stored = {r["comment_id"]: r for r in bench.read(bench.place("predictions_baseline"))}
    preds = np.array([stored[i]["pred"] for i in test["comment_id"]])
    probs = np.array([stored[i]["prob"] for i in test["comment_id"]])
    scores = Scorer(["accuracy", "f1"]).score_slices(S, test["label"].to_numpy(), preds, probs)
    for name, score in scores.items():
        for metric, value in score.items():
            assert table[name, metric] == pytest.approx(value, abs=1e-12)

    slice_aware = {
        r["metric"]: r["value"]
        for r in metrics(bench, split="test", model_id="slice_aware", slice="overall")
    }
    assert slice_aware["accuracy"] >= 0.925
    assert slice_aware["f1"] >= 0.915


@pytest.fixture
def labelled(bench):
    """Six labelled rows; returns a function that writes settings with predictions."""
    bench.rows([(i, "x" * i, i % 2) for i in range(6)], "id int, text string, label int")
    settings = {
        "text": "text",
        "label": "label",
        "slices": [{"name": "long", "where": "length(text) > 2"}],
        "metrics": ["accuracy"],
    }
    bench.done("label_slices", bench.project(**settings))

    def project(rows, schema, predictions=None, **more):
        place = bench.place("given")
        bench.write(bench.spark.createDataFrame(rows, schema), place)
        given = {"table": place, **(predictions or {})}
        return bench.project(**settings, predictions={"given": given}, **more)

    return project


def test_predictions_that_do_not_cover_the_masks_are_refused(bench, labelled):
    project = labelled([(0, 0), (1, 1)], "id int, pred int")
    assert bench.run("evaluate_slices", project).error == (
        f"{bench.place('given')} has no prediction of model 'given' for 4 of 6 rows of the mask "
        "table, the first are id=2; id=3; id=4; score them, choose other evaluate_splits, or set "
        "missing_predictions: count (in Python allow_missing=True)"
    )
    assert "metrics" not in bench.versions()
    bench.done("evaluate_slices", project, "missing_predictions=count")
    (overall,) = metrics(bench, slice="overall")
    assert (overall["support"], overall["n_missing"], overall["status"]) == (0, 6, "unscored")


def test_two_predictions_of_a_key_are_refused(bench, labelled):
    project = labelled([(i % 6, 1) for i in range(8)], "id int, pred int")
    assert bench.run("evaluate_slices", project).error == (
        f"the key (id) of {bench.place('given')} (model 'given') is not unique: 2 keys name more "
        "than one row, the first are id=0 (2 rows); id=1 (2 rows)"
    )


def test_a_prediction_that_is_no_class_is_refused(bench, labelled):
    project = labelled([(i, 2) for i in range(6)], "id int, pred int")
    assert bench.run("evaluate_slices", project).error == (
        f"column 'pred' of {bench.place('given')} has values that are not in classes [0, 1]: 2"
    )


def test_another_tools_table_and_labels_that_come_late(bench, labelled):
    late = bench.place("late")
    bench.write(bench.spark.createDataFrame([(i, 1) for i in range(6)], "id int, y int"), late)
    project = labelled(
        [(f"{i}", i, 1, 0.7) for i in range(6)],
        "name string, row int, guess int, p double",
        {
            "columns": {"id": "row", "pred": "guess", "prob": "p"},
            "label": {"table": late, "column": "y"},
        },
    )
    bench.done("evaluate_slices", project)
    found = {r["slice"]: r["value"] for r in metrics(bench)}
    assert found == {"overall": 1.0, "long": 1.0}


def test_nothing_to_evaluate_says_what_to_run(bench):
    bench.rows([(1, "a")], "id int, text string")
    project = bench.project(slices=[{"name": "s", "where": "true"}])
    assert bench.run("evaluate_slices", project).error == (
        f"the mask table {bench.place('masks')} does not exist or is not a Delta table; run "
        "`python -m jobs.label_slices` first"
    )
    bench.done("label_slices", project)
    assert bench.run("evaluate_slices", project).error == (
        f"there is no prediction table yet, looked at {bench.place('predictions_baseline')}, "
        f"{bench.place('predictions_slice_aware')}; run `python -m jobs.train_baseline` first, or "
        "name one under predictions"
    )
