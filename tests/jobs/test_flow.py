"""The five jobs, one after the other, as a user runs them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from engine import PandasSFApplier, Scorer
from engine.project.demo_data import read_youtube_spam
from sfs import spam
from tests.report.pages import data_of

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
    page = (bench.folder / "out" / "report.html").read_text()
    titles = re.findall("<h2>(.*?)</h2>", page)
    about = data_of(page)
    assert [s["name"] for s in about["splits"]][:1] == ["test"]
    texts = {s["id"]: s for s in about["slices"]}
    assert texts["short_link"]["description"].startswith("Comments with a shortened link")
    assert "re.search" in texts["short_link"]["source"]
    assert texts["long_comment"]["source"] == "length(text) > 80"
    assert (texts["long_comment"]["kind"], texts["short_link"]["kind"]) == (
        "SQL",
        "a Python function of a row",
    )
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
    assert overall["value"] > 0.97
    assert weak["value"] < overall["value"] - 0.02
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
