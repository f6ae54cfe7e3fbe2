"""Metrics of the user's own that fail: a status and a message, and the rest goes on."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from engine import evaluate, metric, where

N = 90


@metric
class few:
    """Its state fails where a label isn't positive."""

    def state(y_true, y_pred, y_prob, weight):
        if not y_true.all():
            raise ValueError("too\nmany rows")
        return np.array([len(y_true)])

    def merge(a, b):
        return a + b

    def compute(state):
        return state[0]


@metric
class ragged:
    """It has no state without a row of class 1."""

    def state(y_true, y_pred, y_prob, weight):
        return np.array([1.0]) if y_true.any() else None

    def merge(a, b):
        return a + b

    def compute(state):
        return state.sum()


@metric
class listed:
    """It computes no number."""

    def state(y_true, y_pred, y_prob, weight):
        return np.array([1])

    def merge(a, b):
        return a

    def compute(state):
        return [1, 2]


@metric
def careful(y_true, y_pred, y_prob, weight):
    if len(y_true) == 30:
        return None
    return np.float32(0.5) if len(y_true) < 60 else float("inf")


@metric
def leaving(y_true, y_pred, y_prob, weight):
    raise SystemExit("no more")


def test_what_fails_has_a_status_and_the_rest_goes_on(spark, caplog):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"id": np.arange(N), "label": np.arange(N) % 3 == 0, "part": "t"})
    rows["old"], rows["new"] = rng.random((2, N)).round(2)
    df = spark.createDataFrame(rows).repartition(3)
    models = {
        m: df.selectExpr("id", "label", f"{m} >= 0.5 AS pred", f"{m} AS prob")
        for m in ("old", "new")
    }
    slices = [where("third", "label"), where("rest", "NOT label"), where("none", "id < 0")]
    with caplog.at_level(logging.WARNING, "engine"):
        found = evaluate(
            df.select("id", "label", "part"), models, key="id", split="part", slices=slices,
            metrics=["accuracy", "roc_auc", few, ragged, listed, careful, leaving],
            n_replicates=20,
        )  # fmt: skip
    table = found.table.set_index(["model_id", "slice", "metric"])
    status = table["status"].unstack().loc["old"]
    assert status["few"].to_dict() == {
        "overall": "failed", "rest": "failed", "third": "ok", "none": "empty",
    }  # fmt: skip
    assert status["ragged"].to_dict() == {
        "overall": "ok", "rest": "failed", "third": "ok", "none": "empty",
    }  # fmt: skip
    assert set(status["listed"]) == set(status["leaving"]) == {"failed", "empty"}
    assert status["careful"].to_dict() == {
        "overall": "undefined", "rest": "undefined", "third": "failed", "none": "empty",
    }  # fmt: skip
    assert set(status["accuracy"]) == {"ok", "empty"}
    assert table.loc[("old", "third", "few"), "value"] == 30
    assert table["value"][table["status"] == "failed"].isna().all()
    failures = found.failures
    assert len(failures) == 2 * (2 + 1 + 3 + 1 + 3)
    assert set(failures["problem"]) == {
        "ValueError: too many rows",
        "TypeError: its state must be an array of numbers, found None",
        "TypeError: it must return a number, found [1, 2]",
        "TypeError: it must return a number, found None",
        "SystemExit: no more",
    }
    said = [r.getMessage() for r in caplog.records if "failed" in r.getMessage()]
    assert len(said) == 5
    assert said[0] == (
        "metric 'few' failed on slice 'overall' of model 'new', split 't': ValueError: too many "
        "rows (and 3 more); such figures have the status failed, and Evaluation.failures has all "
        "of them"
    )
    compared(found, rows)


def compared(found, rows):
    told = found.compare("old", "new")
    assert told.index.is_unique
    assert not told.duplicated(["slice", "metric", "split"]).any()
    assert set(told["metric"]) == {"accuracy", "roc_auc"}
    of = told[told["metric"] == "roc_auc"].set_index("slice")
    high, low = rows[rows["label"]], rows[~rows["label"]]
    areas = [
        np.mean([(a > low[m]).mean() + (a == low[m]).mean() / 2 for a in high[m]])
        for m in ("old", "new")
    ]
    assert of.loc["overall", "difference"] == pytest.approx(areas[1] - areas[0], abs=1e-12)
    assert of.loc["overall", "p_value"] > 0
    assert of.loc["third":, "difference"].isna().all()
