"""A null split and the split 'null' are two, wherever splits are counted, compared and shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from engine.errors import MetricError
from engine.hashing import key_hash
from engine.masks.splits import no_split
from engine.metrics.catalog import better, parse_metric
from engine.metrics.evaluation import Evaluation
from engine.metrics.explore.signatures import RowCount, Signatures
from engine.metrics.explore.trend import trend
from engine.metrics.inference.compare import compare, flips
from engine.metrics.inference.uncertainty import Confidence, with_uncertainty
from engine.metrics.scan.form import EvaluationSpec
from engine.report import sections
from engine.report.page import render
from tests.metrics.scanned import figures, scan_of
from tests.report.pages import data_of

# Of each split how many rows there are, and how many of them the model "m" has right.
SPLITS = {None: (40, 10), "null": (50, 30), "test": (60, 60)}
SURE = Confidence(min_support=0)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rows = [(s, int(i < right), i % 2) for s, (n, right) in SPLITS.items() for i in range(n)]
    frame = pd.DataFrame({"split": pd.Series([r[0] for r in rows], dtype=object)})
    frame = frame.assign(a=[r[2] for r in rows], hash=key_hash(range(len(rows)), 1))
    one = pd.DataFrame({"label": 1, "pred": [r[1] for r in rows]})
    spec = EvaluationSpec(
        [parse_metric(m) for m in ("accuracy", "f1")], ("a",), [0, 1], 1, "split",
        models=["m", "n"],
    )  # fmt: skip
    found = scan_of(frame, {"m": one, "n": one.assign(pred=1)}, spec, 20)
    table = with_uncertainty(figures(found, spec), found, spec, SURE)
    return Evaluation(table.reset_index(drop=True), spec, SURE, found, None)


def test_figures_comparisons_and_reports_keep_them_apart(evaluation):
    table, found, spec = evaluation.table, evaluation._scan, evaluation.spec
    overall = table.query("slice == 'overall' and metric == 'accuracy' and model_id == 'm'")
    assert overall["split"].tolist() == [None, "null", "test"]
    assert overall["support"].tolist() == [40, 50, 60]
    assert overall["value"].tolist() == [0.25, 0.6, 1.0]
    worst = evaluation.worst(1, "accuracy", "m", None)
    assert worst[["split", "slice", "support"]].values.tolist() == [[None, "a", 20]]
    assert len(evaluation.worst(9, "accuracy", "m")) == 3
    assert evaluation.worst(9, "accuracy", "m", "null")["split"].tolist() == ["null"]
    # Each slice is taken from its own split's figures.
    slices = evaluation.by_slice.query("metric == 'accuracy' and model_id == 'm'")
    expected = slices["value"].to_numpy() - overall["value"].to_numpy()
    less = evaluation.difference().query("metric == 'accuracy' and model_id == 'm'")
    np.testing.assert_array_equal(less["value"], expected)
    told = compare(found, spec, SURE, "m", "n").query("slice == 'overall' and metric == 'accuracy'")
    assert told[["split", "support"]].values.tolist() == [[None, 40], ["null", 50], ["test", 60]]
    flipped = flips(found, spec, SURE, "m", "n").query("slice == 'overall'")
    assert flipped[["split", "won"]].values.tolist() == [[None, 30], ["null", 20], ["test", 0]]

    shown = [["null", 40], ["'null'", 50], ["test", 60]]
    of = sections.comparison(told, "m", "n", 0.95, better)
    assert [[r[0], r[3]] for r in of.rows] == shown
    of = sections.flips(flipped, "m", "n", 0.95)
    assert [[r[0], r[2]] for r in of.rows] == shown
    title = sections.figures(
        table[table["split"].isna()], ["overall", "a"], ["m"], None, 0.95, better
    )
    assert title.title.startswith("Split null: worst first")
    assert sections.differences(table, "null", 0.95, better).title.startswith("Split 'null': ")
    page = render("p", {}, table, ["m", "n"], evaluation.better)
    assert [s["name"] for s in data_of(page)["splits"]] == ["null", "'null'", "test"]


def test_a_calibration_and_a_confusion_name_the_split(evaluation):
    found = evaluation.confusion().query("model_id == 'm'").drop_duplicates("split")
    assert found["split"].tolist() == [None, "null", "test"]


def test_trends_of_both_are_two_series():
    rows = pd.DataFrame(
        {
            "run_id": ["x", "x", "y", "y"], "run_ts": pd.to_datetime([1, 1, 2, 2]),
            "model_id": "m", "split": pd.Series([None, "null"] * 2, dtype=object), "slice": "a",
            "slice_fingerprint": "f", "metric": "f1", "value": [0.1, 0.9, 0.4, 0.5],
            "ci_low": [0.0, 0.8, 0.3, 0.4], "ci_high": [0.2, 1.0, 0.5, 0.6], "support": 9,
        }
    )  # fmt: skip
    for split, change in ((None, 0.3), ("null", -0.4)):
        assert trend(rows, split=split)["change"].iloc[1] == pytest.approx(change)
    moved = sections.trend(trend(rows), lambda metric: "high").rows
    assert [(r[0], round(r[6], 1), r[8].values) for r in moved] == [
        ("'null'", -0.4, (0.9, 0.5)),
        ("null", 0.3, (0.1, 0.4)),
    ]


def test_signatures_count_a_null_split_when_asked_for_none():
    groups = pd.DataFrame({"split": [None, "null"], "label": [0, 0], "pred": [0, 1]})
    words = np.array([[1], [1]])
    found = Signatures(
        ("a",), words, words * 0, {"a": 0}, groups, np.array([3, 4]), None, (0, 1), 1, 2
    )
    counted = [found.rows_in("a", s) for s in (None, "null", ...)]
    assert counted == [RowCount(n, 0, 0) for n in (3, 4, 7)]
    assert found.to_pandas()["@split"].tolist() == [None, "null"]
    with pytest.raises(MetricError) as caught:
        found.rows_in("a", "nul")
    assert str(caught.value) == "the signatures have no split 'nul'; did you mean 'null'?"


def test_a_split_that_is_not_there_is_named_as_it_would_be_written():
    told = [no_split(*asked) for asked in [
        ("null", {None, "test"}), (None, {"test"}), ("tset", {None, "test"}),
    ]]  # fmt: skip
    assert told == [
        "'null', but rows whose split is null: write it as null, without quotes",
        "null: the split of every row is known; known: test",
        "'tset'; did you mean 'test'?",
    ]
