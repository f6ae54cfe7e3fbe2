"""Scorer and the conversions beside it: what they refuse, and where they say more than snorkel."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from engine import Scorer, preds_to_probs, probs_to_preds, set_seed
from engine.errors import (
    EmptyLabelsError,
    LabelValueError,
    LengthError,
    MetricInputError,
    NotBinaryError,
    ProbabilityError,
    UnknownMetricError,
)

GOLDS, PREDS = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 1])
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


def masks(**columns) -> np.recarray:
    return np.rec.fromarrays([np.array(c) for c in columns.values()], names=list(columns))


def test_metrics_with_parameters():
    found = Scorer(["precision@threshold=0.75", "fbeta@beta=2", "fbeta"]).score(GOLDS, PREDS, PROBS)
    assert found == {"precision@threshold=0.75": 1.0, "fbeta@beta=2": 0.5, "fbeta": 0.5}


def test_a_scorer_without_metrics_gives_nothing():
    assert Scorer().score(GOLDS) == {}
    assert Scorer().score_slices(masks(a=[1, 0, 0, 0]), GOLDS, PREDS, PROBS) == {
        "overall": {},
        "a": {},
    }


@pytest.mark.filterwarnings("ignore:f1 is 0/0")
def test_an_undecided_row_is_out_and_an_empty_slice_is_nan():
    S = masks(some=[1, -1, -1, 0], none=[0, 0, -1, 0])
    found = Scorer(["accuracy", "f1"]).score_slices(S, GOLDS, PREDS, PROBS, as_dataframe=True)
    assert found.index.tolist() == ["overall", "some", "none"]
    assert found.loc["some", "accuracy"] == 1.0
    assert found.loc["none"].isna().all()
    both = Scorer(["accuracy"]).score_slices(S, GOLDS, PREDS, PROBS)
    assert both["overall"] == {"accuracy": 0.5}


def test_boolean_masks():
    S = masks(a=[True, False, True, False])
    assert Scorer(["accuracy"]).score_slices(S, GOLDS, PREDS, PROBS)["a"] == {"accuracy": 0.5}


def test_a_row_without_a_label_or_prediction_is_left_out():
    scorer = Scorer(["accuracy", "coverage", "roc_auc"])
    found = scorer.score(np.array([-1, 1, 0, 0]), np.array([0, 1, -1, 0]), PROBS)
    assert found == {"accuracy": 1.0, "coverage": 0.75, "roc_auc": 1.0}
    empty = scorer.score(np.array([-1, -1]), np.array([0, 1]), PROBS[:2])
    assert np.isnan([empty["accuracy"], empty["roc_auc"]]).all()


def test_nothing_is_left_out_without_an_abstain_label():
    golds, preds = np.array([-1, 1, -1]), np.array([-1, 1, 1])
    found = Scorer(["accuracy", "f1", "f1_macro"], abstain_label=None).score(golds, preds)
    assert found == {"accuracy": 2 / 3, "f1": 2 / 3, "f1_macro": 2 / 3}


def test_labels_may_be_any_numbers():
    golds = np.array([10**9, 7, 7])
    assert Scorer(["accuracy", "f1_macro"]).score(golds, np.array([10**9, 7, 5])) == {
        "accuracy": 2 / 3,
        "f1_macro": pytest.approx((1 + 2 / 3) / 3),
    }


def test_a_ratio_of_nothing_is_0_with_a_warning():
    with pytest.warns(UserWarning, match=r"^precision is 0/0 here and given as 0$"):
        assert Scorer(["precision"]).score(np.array([1, 0]), np.array([0, 0])) == {"precision": 0.0}


def test_weights_count_rows_several_times():
    golds, preds = np.array([0, 1, 1, -1, 0]), np.array([0, 1, 0, 1, -1])
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6], [0.6, 0.4]])
    count = np.array([1, 2, 3, 4, 5])
    names = ["accuracy", "f1", "f1_macro", "roc_auc", "coverage", "recall@threshold=0.25"]
    scorer = Scorer(names, {"rows": lambda golds, preds, probs: len(golds)})
    weighted = scorer.score(golds, preds, probs, count.astype(float))
    wanted = scorer.score(*(np.repeat(v, count, axis=0) for v in (golds, preds, probs)))
    assert weighted.pop("rows") == 5  # which is ours to give them, and not theirs to weigh
    assert wanted.pop("rows") == 15
    assert weighted == pytest.approx(wanted)
    assert weighted != pytest.approx(
        {k: v for k, v in scorer.score(golds, preds, probs).items() if k != "rows"}
    )


def test_custom_metrics_see_everything():
    def count(golds, preds, probs):
        return {"n": len(golds), "n_abstained": int((preds == -1).sum())}

    scorer = Scorer(custom_metric_funcs={"count": count, "first": lambda g, p, q: q[0, 1]})
    assert scorer.score(GOLDS, np.array([-1, 0, 0, 0]), PROBS) == {
        "n": 4,
        "n_abstained": 1,
        "first": 0.1,
    }


def score(metric="accuracy", golds=GOLDS, preds=PREDS, probs=PROBS):
    return Scorer([metric]).score(golds, preds, probs)


def slices(**arrays):
    given = {"S": masks(a=[1, 0, 0, 0]), "golds": GOLDS, "preds": PREDS, "probs": PROBS} | arrays
    return Scorer(["accuracy"]).score_slices(**given)


BAD = [
    (
        lambda: Scorer(["accuracy", "acuracy"]),
        UnknownMetricError,
        "unknown metric 'acuracy'; did you mean 'accuracy'?",
    ),
    (
        lambda: score(golds=np.array([])),
        EmptyLabelsError,
        "there are no labels to score: golds is empty",
    ),
    (
        lambda: score(golds=GOLDS[:3]),
        LengthError,
        "all must have one entry per row, but golds has 3, preds has 4, probs has 4",
    ),
    (
        lambda: score("roc_auc", probs=PROBS[:2], preds=None),
        LengthError,
        "all must have one entry per row, but golds has 4, probs has 2",
    ),
    (
        lambda: slices(S=masks(a=[1])),
        LengthError,
        "all must have one entry per row, but S has 1, golds has 4, preds has 4, probs has 4",
    ),
    (
        lambda: slices(preds=PREDS[:2]),
        LengthError,
        "all must have one entry per row, but S has 4, golds has 4, preds has 2, probs has 4",
    ),
    (
        lambda: score(preds=None),
        MetricInputError,
        "metric 'accuracy' needs preds, which was not given",
    ),
    (
        lambda: score("coverage", preds=None),
        MetricInputError,
        "metric 'coverage' needs preds, which was not given",
    ),
    (
        lambda: score("roc_auc", probs=None),
        MetricInputError,
        "metric 'roc_auc' needs probs, which was not given",
    ),
    (
        lambda: score("f1@threshold=0.5", probs=None),
        MetricInputError,
        "metric 'f1@threshold=0.5' needs probs, which was not given",
    ),
    (
        lambda: score("f1", golds=np.array([0, 1, 2, 0])),
        NotBinaryError,
        "metric 'f1' is for binary problems: try f1_micro or f1_macro",
    ),
    (
        lambda: score("precision", preds=np.array([0, 1, 2, 0])),
        NotBinaryError,
        "metric 'precision' is for binary problems: it needs labels 0 and 1",
    ),
    (
        lambda: score("roc_auc", probs=np.ones((4, 3)) / 3),
        NotBinaryError,
        "metric 'roc_auc' is for binary problems: it needs two labels and two columns of probs",
    ),
    (
        lambda: score("roc_auc", golds=np.array([0, 1, 2, 0])),
        NotBinaryError,
        "metric 'roc_auc' is for binary problems: it needs two labels and two columns of probs",
    ),
    (
        lambda: score("f1@threshold=0.5", probs=np.ones((4, 3)) / 3),
        NotBinaryError,
        "metric 'f1@threshold=0.5' is for binary problems: a threshold needs two columns of probs",
    ),
    (
        lambda: score(golds=np.array([0, 1, 1, 0.5])),
        LabelValueError,
        "golds: 0.5 is not an integer",
    ),
    (
        lambda: score(preds=np.array(["a", "b", "c", "d"])),
        LabelValueError,
        "preds: a is not an integer",
    ),
    (
        lambda: score(preds=np.array([0, 1, np.nan, 0])),
        LabelValueError,
        "preds: nan is not an integer",
    ),
    (
        lambda: score(preds=np.zeros((4, 2), dtype=int)),
        LabelValueError,
        "preds: an array of shape (4, 2) is not one label per row",
    ),
    (
        lambda: score("roc_auc", probs=np.array([[0.5, 0.5], [np.nan, 0.5], [1, 0], [1, 0]])),
        LabelValueError,
        "probs: row 1 is not a number",
    ),
    (
        lambda: preds_to_probs(np.array([0, 2]), 2),
        LabelValueError,
        "preds: 2 is not a class position from 0 to 1",
    ),
    (
        lambda: preds_to_probs(np.array([0, -1]), 3),
        LabelValueError,
        "preds: -1 is not a class position from 0 to 2",
    ),
    (
        lambda: probs_to_preds(np.array([0.5, 0.5])),
        ProbabilityError,
        "probs must have one row per data point and at least 2 columns, found (2,)",
    ),
    (
        lambda: probs_to_preds(np.array([[0.5], [0.5]])),
        ProbabilityError,
        "probs must have one row per data point and at least 2 columns, found (2, 1)",
    ),
    (
        lambda: probs_to_preds(PROBS, "coin"),
        LabelValueError,
        "tie_break_policy: coin is not one of random, true-random, abstain",
    ),
    (
        lambda: probs_to_preds(np.array([[0.5, np.nan]])),
        LabelValueError,
        "probs: row 0 is not a number",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD, ids=[b[2] for b in BAD])
def test_what_is_refused_is_a_value_error_with_a_sentence(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)


def test_true_random_ties_follow_the_seed():
    ties = np.full((50, 3), 1 / 3)
    drawn = []
    for seed in (1, 1, 2):
        set_seed(seed)
        drawn.append(probs_to_preds(ties, "true-random").tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {0, 1, 2}


def test_single_rows_and_none_keep_their_shape():
    assert preds_to_probs(np.array([1]), 2).tolist() == [[0.0, 1.0]]
    assert preds_to_probs(np.array([[1]]), 2).tolist() == [[0.0, 1.0]]
    assert preds_to_probs(np.array([], dtype=int), 2).shape == (0, 2)
    assert probs_to_preds(np.empty((0, 2))).tolist() == []


def test_lists_and_series_are_arrays_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Scorer(["accuracy"]).score([0, 1], [0, 0]) == {"accuracy": 0.5}
        series = pd.Series([0, 1], index=[7, 8])
        assert Scorer(["f1"]).score(series, pd.Series([0, 1])) == {"f1": 1.0}
