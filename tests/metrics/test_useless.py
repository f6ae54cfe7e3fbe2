"""Warnings on models that learned nothing, or the wrong way round: their full texts, and where."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from engine import evaluate
from engine.metrics.inference.useless import Outcome, outcome_of, sentences

ONE_CLASS = (
    "model 'm' predicts one class only: ham on all 40 rows of split test, of which 10 have another"
)
BELOW = (
    "model 'm' ranks rows of split test worse than chance would: its roc_auc is 0.2500, below 0.5; "
    "are its classes in the order of its probabilities?"
)
NO_FALL = (
    "the loss of model 'm' never fell: it was 0.6000 in the first of 3 epochs and 0.6100 at best "
    "after it; leave out lr and n_epochs to have them chosen, and check the features"
)
CLASSES = ("ham", "spam")


@pytest.mark.parametrize(
    ("about", "wanted"),
    [
        ({"labels": [30, 10], "predicted": [40, 0]}, [ONE_CLASS]),
        ({"labels": [30, 10], "predicted": [39, 1]}, []),
        ({"labels": [40, 0], "predicted": [40, 0]}, []),  # there is one class only
        ({"labels": [20, 9], "predicted": [29, 0]}, []),  # too few rows to tell
        ({"auc": 0.25}, [BELOW]),
        ({"auc": 0.5}, []),
        ({"auc": float("nan")}, []),
        ({"losses": [0.6, 0.61, 0.7]}, [NO_FALL]),
        ({"losses": [0.6, 0.7, 0.59]}, []),
        ({"losses": [0.6]}, []),  # nothing to compare it with
        (
            {"labels": [30, 10], "predicted": [40, 0], "auc": 0.25, "losses": [0.6, 0.61, 0.7]},
            [ONE_CLASS, BELOW, NO_FALL],
        ),
    ],
)
def test_what_is_said_of_a_model(about, wanted):
    assert sentences(Outcome("m", "of split test", CLASSES, **about)) == wanted


def test_an_area_is_scikit_learns_with_ties():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 200), rng.integers(0, 9, 200) / 9
    outcome = outcome_of("m", y, np.column_stack([1 - p, p]))
    assert outcome.auc == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-12)
    assert outcome_of("m", y % 3, np.full((200, 3), 1 / 3)).auc is None


def _predictions(classes, pred, prob=None):
    n = 60
    label = [classes[i % len(classes)] for i in range(n)]
    columns = {"id": range(n), "label": label, "pred": [pred] * n, "in_a": [True] * n}
    if prob is not None:
        columns["prob"] = [prob(i) for i in range(n)]
    return pd.DataFrame(columns)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_an_evaluation_warns_of_one_class(classes, caplog):
    frame = _predictions(classes, "b")
    asks = {"metrics": ["f1_macro"], "classes": classes, "slices": ["in_a"], "n_replicates": 0}
    with caplog.at_level(logging.WARNING, logger="engine"):  # a test may have set another
        found = evaluate(frame, key="id", **asks)
    others = 60 - 60 // len(classes)
    wanted = (
        f"model 'model' predicts one class only: b on all 60 rows of split all, of which {others} "
        "have another"
    )
    assert found.warnings.to_dict("records") == [
        {"model_id": "model", "split": "all", "warning": wanted}
    ]
    assert caplog.messages == [wanted]


def test_an_evaluation_warns_of_a_ranking_the_wrong_way_round_and_not_of_a_good_one():
    for sign, n in ((1, 0), (-1, 1)):
        frame = _predictions((0, 1), 0, lambda i: 0.5 + sign * 0.4 * (i % 2 - 0.5))  # noqa: B023
        frame.loc[0, "pred"] = 1
        asks = {"metrics": ["accuracy", "roc_auc"], "slices": ["in_a"], "n_replicates": 0}
        found = evaluate(frame, key="id", **asks)
        assert len(found.warnings) == n
    assert found.warnings["warning"][0].startswith("model 'model' ranks rows of split all worse")
