"""Scorer and the conversions beside it: what they refuse, and where they say more than snorkel."""

from __future__ import annotations

import sys
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Scorer, metric, overlap, preds_to_probs, probs_to_preds, set_seed
from engine.errors import ArgumentError, InputError, MaskError, MetricError
from engine.metrics import arrays

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


@pytest.mark.parametrize("exponent", [-1060, -1000, -700, 520, 700, 1010])
@pytest.mark.filterwarnings("error")
def test_weights_of_any_scale_give_the_same_rankings(exponent):
    rng = np.random.default_rng(0)
    golds, score = rng.integers(0, 2, 60), rng.random(60).round(1)
    probs, weights = np.stack([1 - score, score], axis=1), rng.integers(1, 9, 60).astype(float)
    scorer = Scorer(["roc_auc", "pr_auc"])
    wanted = scorer.score(golds, None, probs, weights)
    assert scorer.score(golds, None, probs, np.ldexp(weights, exponent)) == wanted


def test_a_metric_of_ones_own_is_no_name():
    @metric
    def cost(y_true, y_pred, y_prob, weight):
        return 1.0

    with pytest.raises(ArgumentError) as caught:
        Scorer(["f1", cost])
    assert str(caught.value) == (
        "Scorer: each of metrics must be a metric's name, found the metric 'cost'; write "
        "custom_metric_funcs={'cost': cost}"
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
        MetricError,
        "unknown metric 'acuracy'; did you mean 'accuracy'?",
    ),
    (
        lambda: score(golds=np.array([])),
        MetricError,
        "there are no labels to score: golds is empty",
    ),
    (
        lambda: score(golds=GOLDS[:3]),
        MetricError,
        "all must have one entry per row, but golds has 3, preds has 4, probs has 4",
    ),
    (
        lambda: score("roc_auc", probs=PROBS[:2], preds=None),
        MetricError,
        "all must have one entry per row, but golds has 4, probs has 2",
    ),
    (
        lambda: slices(S=masks(a=[1])),
        MetricError,
        "all must have one entry per row, but S has 1, golds has 4, preds has 4, probs has 4",
    ),
    (
        lambda: slices(preds=PREDS[:2]),
        MetricError,
        "all must have one entry per row, but S has 4, golds has 4, preds has 2, probs has 4",
    ),
    (
        lambda: score(preds=None),
        MetricError,
        "metric 'accuracy' needs preds, which was not given",
    ),
    (
        lambda: score("coverage", preds=None),
        MetricError,
        "metric 'coverage' needs preds, which was not given",
    ),
    (
        lambda: score("roc_auc", probs=None),
        MetricError,
        "metric 'roc_auc' needs probs, which was not given",
    ),
    (
        lambda: score("f1@threshold=0.5", probs=None),
        MetricError,
        "metric 'f1@threshold=0.5' needs probs, which was not given",
    ),
    (
        lambda: score("f1", golds=np.array([0, 1, 2, 0])),
        MetricError,
        "metric 'f1' is for binary problems: try f1_micro or f1_macro",
    ),
    (
        lambda: score("precision", preds=np.array([0, 1, 2, 0])),
        MetricError,
        "metric 'precision' is for binary problems: it needs labels 0 and 1",
    ),
    (
        lambda: score("roc_auc", probs=np.ones((4, 3)) / 3),
        MetricError,
        "metric 'roc_auc' is for binary problems: it needs two labels and two columns of probs",
    ),
    (
        lambda: score("roc_auc", golds=np.array([0, 1, 2, 0])),
        MetricError,
        "metric 'roc_auc' is for binary problems: it needs two labels and two columns of probs",
    ),
    (
        lambda: score("f1@threshold=0.5", probs=np.ones((4, 3)) / 3),
        MetricError,
        "metric 'f1@threshold=0.5' is for binary problems: a threshold needs two columns of probs",
    ),
    (
        lambda: score(golds=np.array([0, 1, None, 0], object)),
        MetricError,
        "golds: None at row 2 is not an integer",
    ),
    (
        lambda: Scorer(["accuracy"]).score(np.ones(3), np.ones(3), None, np.array([1, 1, -1])),
        MetricError,
        "weights: -1 at row 2 is not at least 0",
    ),
    (
        lambda: score("log_loss", probs=np.array([[0.5, 0.5], [1, 0], [1, 0], [0.5, 2]])),
        MetricError,
        "probs: 2 at row 3 is not a probability from 0 to 1",
    ),
    (
        lambda: score(golds=np.array([0, 1, 1, 0.5])),
        MetricError,
        "golds: 0.5 at row 3 is not an integer",
    ),
    (
        lambda: score(preds=np.array(["a", "b", "c", "d"])),
        MetricError,
        "preds: 'a' at row 0 is not an integer",
    ),
    (
        lambda: score(preds=np.array([0, 1, np.nan, 0])),
        MetricError,
        "preds: nan at row 2 is not an integer",
    ),
    (
        lambda: score(preds=np.zeros((4, 2), dtype=int)),
        MetricError,
        "preds: an array of shape (4, 2) is not one label per row",
    ),
    (
        lambda: score("roc_auc", probs=np.array([[0.5, 0.5], [np.nan, 0.5], [1, 0], [1, 0]])),
        MetricError,
        "probs: row 1 is not a number",
    ),
    (
        lambda: score("log_loss", probs=None),
        MetricError,
        "metric 'log_loss' needs probs, which was not given",
    ),
    (
        lambda: score("mae", preds=None),
        MetricError,
        "metric 'mae' needs preds, which was not given",
    ),
    (
        lambda: score("mean@column=price"),
        MetricError,
        "metric 'mean@column=price' needs a table's column, which was not given",
    ),
    (
        lambda: score("brier", golds=np.array([0, 1, 2, 0])),
        MetricError,
        "golds: 2 is not a class position from 0 to 1",
    ),
    (
        lambda: score("ece", probs=np.full(4, 0.5)),
        MetricError,
        "probs must have one row per data point and at least 2 columns, found (4,)",
    ),
    (
        lambda: score("log_loss", probs=np.array([[0.5, 0.5], [1, 0], [np.nan, 0.5], [1, 0]])),
        MetricError,
        "probs: row 2 is not a number",
    ),
    (
        lambda: score("f1@threshold=0.5", probs=np.array([[1, 0], [1, np.nan], [1, 0], [1, 0]])),
        MetricError,
        "probs: row 1 is not a number",
    ),
    (
        lambda: score("recall@top=0.5", probs=np.ones((4, 3)) / 3),
        MetricError,
        "metric 'recall@top=0.5' is for binary problems: a share needs two columns of probs",
    ),
    (
        lambda: score("mae", golds=np.array(["a", "b", "c", "d"])),
        MetricError,
        "golds: 'a' at row 0 is not a number",
    ),
    (
        lambda: score("rmse", preds=np.array([0, 1, -np.inf, 0])),
        MetricError,
        "preds: -inf is not a number of a size of at most 4e+307",
    ),
    (
        lambda: Scorer(["accuracy"]).score(GOLDS, PREDS, weights=np.array([1, 1, np.nan, 1])),
        MetricError,
        "weights: row 2 is not a number",
    ),
    (
        lambda: preds_to_probs(np.array([0, 2]), 2),
        MetricError,
        "preds: 2 is not a class position from 0 to 1",
    ),
    (
        lambda: preds_to_probs(np.array([0, -1]), 3),
        MetricError,
        "preds: -1 is not a class position from 0 to 2",
    ),
    (
        lambda: probs_to_preds(np.array([0.5, 0.5])),
        MetricError,
        "probs must have one row per data point and at least 2 columns, found (2,)",
    ),
    (
        lambda: probs_to_preds(np.array([[0.5], [0.5]])),
        MetricError,
        "probs must have one row per data point and at least 2 columns, found (2, 1)",
    ),
    (
        lambda: probs_to_preds(PROBS, "coin"),
        ArgumentError,
        "probs_to_preds: tie_break_policy must be one of random, true-random, abstain, found "
        "'coin'",
    ),
    (
        lambda: probs_to_preds(np.array([[0.5, np.nan]])),
        MetricError,
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


# All slices at once.

OF_CLASSES = ["accuracy", "f1_macro", "precision_weighted", "balanced_accuracy", "coverage"]
OF_CLASSES += ["matthews_corrcoef", "recall_micro", "count"]
OF_PROBS = ["log_loss", "brier", "ece", "ece@bins=3", "top_k_accuracy", "top_k_accuracy@k=1"]
OF_TWO = ["f1", "precision", "recall@threshold=0.4", "accuracy@threshold=0.9", "specificity"]
OF_TWO += ["roc_auc", "pr_auc", "selection_rate", "fbeta@beta=3", "false_positive_rate"]
OF_NUMBERS = ["mae", "mse", "rmse", "r2", "bias", "mape", "mape_undefined"]


def drawn(seed: int, n: int, classes: int):
    rng = np.random.default_rng(seed)
    golds, preds = rng.integers(-1, classes, (2, n))
    probs = rng.dirichlet(np.ones(classes), n)
    S = masks(
        half=rng.integers(0, 2, n), few=rng.random(n) < 0.1, undecided=rng.integers(-1, 2, n),
        one_class=(golds == 0).astype(float), none=np.zeros(n, int), every=np.ones(n, int),
        unlabelled=np.where(golds < 0, 1, 0),
    )  # fmt: skip
    return S, golds, preds, probs


@pytest.mark.filterwarnings("ignore:.* is 0/0")
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.sampled_from([2, 3, 6]), st.booleans())
def test_a_slice_scores_as_its_rows_do(seed, n, classes, one_by_one):
    S, golds, preds, probs = drawn(seed, n, classes)
    names = OF_CLASSES + OF_PROBS + OF_NUMBERS + (OF_TWO if classes == 2 else [])
    scorer = Scorer(names, {"n": lambda g, p, q: len(g)})
    with pytest.MonkeyPatch.context() as patch:
        if one_by_one:  # as with so many classes that all slices' counts would fill the memory
            patch.setattr(arrays, "_MOST_SUMS", 0)
        found = scorer.score_slices(S, golds, preds, probs)
    assert list(found) == ["overall", *S.dtype.names]
    for name, scores in found.items():
        member = np.ones(n, bool) if name == "overall" else S[name] == 1
        assert list(scores) == [*names, "n"]
        if not member.any():
            assert np.isnan([*scores.values()]).all()
            continue
        wanted = scorer.score(golds[member], preds[member], probs[member])
        np.testing.assert_equal(scores, wanted)
        assert all(isinstance(v, float) for k, v in scores.items() if k != "n")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_scikit_learns(classes, weighted):
    _, golds, preds, probs = drawn(1, 300, classes)
    weights = np.random.default_rng(2).random(300) if weighted else None
    found = Scorer([*OF_PROBS, "accuracy", "f1_macro"]).score(golds, preds, probs, weights)
    kept = (golds >= 0) & (preds >= 0)
    y, p, q = golds[kept], preds[kept], probs[kept]
    w = {"sample_weight": weights[kept] if weighted else None}
    labels = range(classes)
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, q, labels=labels, **w), abs=1e-12)
    squared = ((q - np.eye(classes)[y]) ** 2).sum(axis=1) / (2 if classes == 2 else 1)
    assert found["brier"] == pytest.approx(np.average(squared, weights=w["sample_weight"]))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, p, **w))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, p, average="macro", **w))
    if classes > 2:
        hits = sk.top_k_accuracy_score(y, q, k=2, labels=labels, **w)
        assert found["top_k_accuracy"] == pytest.approx(hits)


def test_metrics_of_numbers():
    golds = np.array([-1.0, 2.5, np.nan, 0.0, 4.0])  # -1 is a number here, and no abstention
    preds = np.array([[-1.5], [2.5], [1.0], [1.0], [2.0]])
    found = Scorer(OF_NUMBERS).score(golds, preds)
    y, p = golds[[0, 1, 3, 4]], preds[[0, 1, 3, 4], 0]
    assert found == pytest.approx(
        {
            "mae": sk.mean_absolute_error(y, p), "mse": sk.mean_squared_error(y, p),
            "rmse": sk.root_mean_squared_error(y, p), "r2": sk.r2_score(y, p),
            "bias": -0.375, "mape": (0.5 + 0 + 0.5) / 3, "mape_undefined": 1,
        }
    )  # fmt: skip
    S = masks(a=[1, 0, 0, 0, 0], b=[0, 0, 1, 0, 0])
    of = Scorer(["mae", "bias"]).score_slices(S, golds, preds, np.zeros((5, 2)), True)
    assert of.loc["a"].tolist() == [0.5, -0.5]
    assert of.loc["b"].isna().all()


def test_r2_of_equal_labels_says_what_it_is_given_as():
    with pytest.warns(UserWarning, match=r"^r2 is 0/0 here and given as 1$"):
        assert Scorer(["r2"]).score([3.0, 3.0], [3.0, 3.0]) == {"r2": 1.0}


def test_a_share_is_of_all_rows():
    """Of six rows the two that score highest are chosen, of which slices have one and none."""
    golds, probs = np.array([0, 1, 0, 1, 0, 1]), np.array([0.9, 0.8, 0.5, 0.4, 0.3, 0.2])
    S = masks(a=[0, 1, 1, 1, 0, 0], b=[0, 0, 0, 1, 1, 1])
    given_ = (golds, golds, np.stack([1 - probs, probs], axis=1))
    with pytest.warns(UserWarning, match=r"^precision@top=0.3 is 0/0 here and given as 0$"):
        found = Scorer(["precision@top=0.3", "recall@top=0.3"]).score_slices(S, *given_)
    assert [list(v.values()) for v in found.values()] == [[0.5, 1 / 3], [1.0, 0.5], [0.0, 0.0]]


def test_a_warning_for_each_metric_and_slice():
    S = masks(a=[1, 0, 0, 1], none=[0, 0, 0, 0], b=[0, 1, 1, 0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        golds = np.array([0, 1, 1, 0])
        Scorer(["recall", "f1", "specificity"]).score_slices(S, golds, golds, PROBS)
    assert [str(w.message).partition(" ")[0] for w in caught] == ["recall", "f1", "specificity"]
    assert {w.filename for w in caught} == {__file__}


def test_fields_of_any_kind_and_layout():
    a, b = np.array([1, -1, 1, 0]), np.array([1, 1, 0, 0])
    forms = [
        masks(a=a, b=b), masks(a=a.astype(float), b=b == 1), masks(a=a.astype(object), b=b),
        masks(a=np.repeat(a, 2), b=np.repeat(b, 2))[::2], masks(z=b, a=a, b=b)[["a", "b"]],
        masks(a=a.astype(np.int8), b=b.astype(np.int8)),
    ]  # fmt: skip
    wanted = {"overall": {"accuracy": 0.5}, "a": {"accuracy": 0.5}, "b": {"accuracy": 1.0}}
    for S in forms:
        assert Scorer(["accuracy"]).score_slices(S, GOLDS, PREDS, PROBS) == wanted


def test_more_slices_than_a_word_has_bits_and_more_rows_than_a_chunk():
    rng = np.random.default_rng(3)
    n = 70_000
    golds, preds = rng.integers(0, 2, (2, n))
    S = masks(**{f"s{i}": rng.random(n) < 0.2 for i in range(130)})
    found = Scorer(["accuracy"]).score_slices(S, golds, preds, np.eye(2)[preds])
    right = golds == preds
    for name in S.dtype.names:
        assert found[name]["accuracy"] == right[S[name]].mean()


def test_a_custom_metric_may_take_the_place_of_one_of_ours():
    scorer = Scorer(["accuracy", "f1"], {"accuracy": lambda g, p, q: 7})
    found = scorer.score_slices(masks(a=[1, 1, 0, 0]), GOLDS, PREDS, PROBS)
    assert found == {"overall": {"accuracy": 7, "f1": 0.5}, "a": {"accuracy": 7, "f1": 1.0}}


def test_a_class_of_minus_one_is_told_from_an_abstention():
    golds, preds = np.array([-1, 1, 1, -1]), np.array([-1, 1, -1, -1])
    told = (
        "golds and preds are -1 and 1 alone, and rows of -1 are left out as abstentions; give "
        "abstain_label=None if -1 is a class"
    )
    with pytest.warns(UserWarning, match="-1 is a class") as caught:
        Scorer(["accuracy"]).score(golds, preds)
    assert [str(w.message) for w in caught] == [told]
    with warnings.catch_warnings(action="error"):
        assert Scorer(["accuracy"], abstain_label=None).score(golds, preds) == {"accuracy": 0.75}
        Scorer(["accuracy"]).score(np.array([-1, 1, 0]), np.array([1, 1, -1]))


def test_what_is_no_array_of_numbers_but_holds_numbers_is_taken():
    assert Scorer(["accuracy"]).score([0, 1], [True, True]) == {"accuracy": 0.5}
    assert Scorer(["accuracy"]).score(pd.Series([0, 1]), np.array([0, 1], object))["accuracy"] == 1


NO_MASKS = {
    "seven": (np.array([1, 0, 7, 1]), "7 in row 2"),
    "minus two": (np.array([1, 0, 1, -2], np.int8), "-2 in row 3"),
    "unsigned": (np.array([1, 200, 0, 0], np.uint8), "200 in row 1"),
    "half": (np.array([0.5, 0, 1, 1]), "0.5 in row 0"),
    "infinite": (np.array([0, 1, np.inf, 1]), "inf in row 2"),
    "text": (np.array(["True", "False", "True", "True"]), "'True' in row 0"),
    "digits": (np.array(["1", "0", "1", "1"]), "'1' in row 0"),
    "bytes": (np.array([b"1", b"0", b"1", b"1"]), "b'1' in row 0"),
    "texts among flags": (np.array([True, None, "no", True], object), "'no' in row 2"),
    "a list": (np.array([1, 0, [1], 0], object), "[1] in row 2"),
    "complex": (np.array([1, 0, 1j, 0]), "(1+0j) in row 0"),
    "a decimal": (np.array([1, Decimal("0.5"), 0, 0], object), "Decimal('0.5') in row 1"),
    "dates": (np.array(["2024-01-01"] * 4, "datetime64[D]"), "datetime.date(2024, 1, 1) in row 0"),
}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", NO_MASKS)
def test_what_is_no_mask_is_named_with_its_slice_and_row(name, beside):
    values, found = NO_MASKS[name]
    fields = [np.array([1, 1, 0, -1]), values] if beside else [values]
    S = np.rec.fromarrays(fields, names="fine,odd" if beside else "odd")
    told = (
        f"the mask of slice 'odd' holds {found}; a mask is 1 (in), 0 (out) or -1 (could not be "
        "decided)"
    )
    with pytest.raises(MaskError) as caught:
        Scorer(["accuracy"]).score_slices(S, GOLDS, PREDS, PROBS)
    assert str(caught.value) == told
    if values.dtype.kind in "bi":  # what overlap takes for masks
        with pytest.raises(MaskError) as caught:
            overlap(S)
        assert str(caught.value) == told


def test_a_value_that_is_no_mask_is_found_in_any_row():
    n = 70_000
    S = masks(a=np.zeros(n, int), b=np.zeros(n, int))
    S["b"][n - 2] = 9
    with pytest.raises(MaskError, match="'b' holds 9 in row 69998;"):
        Scorer(["accuracy"]).score_slices(S, np.zeros(n), np.zeros(n), None)


@pytest.mark.parametrize("null", [None, np.nan, pd.NA, pd.NaT, -1, np.float32("nan")])
def test_a_null_in_a_mask_is_undecided(null):
    S = masks(a=np.array([1, null, 1.0, np.False_], object))
    scorer = Scorer(["accuracy"], {"rows": lambda golds, *_: len(golds)})
    assert scorer.score_slices(S, GOLDS, PREDS, PROBS)["a"] == {"accuracy": 0.5, "rows": 2.0}
    S = masks(a=np.array([1, np.nan, 1, 0]), b=[1, 0, 0, 1])
    assert scorer.score_slices(S, GOLDS, PREDS, PROBS)["a"] == {"accuracy": 0.5, "rows": 2.0}


def test_masks_must_be_a_record_array():
    masks = pd.DataFrame({"short": [True, False]})
    with pytest.raises(ArgumentError) as caught:
        Scorer(["accuracy"]).score_slices(masks, [0, 1], [0, 1], None)
    assert str(caught.value) == (
        "score_slices: S must be a record array with a field per slice, as PandasSFApplier.apply "
        'gives it, found a pandas DataFrame; write S.astype("int64").to_records(index=False)'
    )
    S = masks.astype("int64").to_records(index=False)
    found = Scorer(["accuracy"]).score_slices(S, [0, 1], [0, 1], None)
    assert found == {"overall": {"accuracy": 1.0}, "short": {"accuracy": 1.0}}


FAILING = {
    "raises": (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
    "none": (lambda *_: None, "TypeError: it must return a number, found None"),
    "array": (lambda *_: np.ones(2), "TypeError: it must return a number, found a numpy ndarray"),
    "text": (lambda *_: "0.5", "TypeError: it must return a number, found '0.5'"),
    "no text": (lambda *_: (_ for _ in ()).throw(ValueError("\ud800")), "ValueError: \\ud800"),
    "leaves": (lambda *_: sys.exit("no more"), "SystemExit: no more"),
    "complex": (lambda *_: 1j, "TypeError: it must return a number, found 1j"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_custom_function_that_fails_is_nan_and_the_rest_goes_on(name):
    function, said = FAILING[name]
    scorer = Scorer(["accuracy"], {name: function, "rows": lambda golds, *_: len(golds)})
    S = np.rec.fromarrays([[1, 0], [0, 0]], names="a,b")
    with pytest.warns(UserWarning, match=f"metric {name!r} failed on slice") as warned:
        found = scorer.score_slices(S, np.array([0, 1]), np.array([0, 1]), None)
    assert [str(w.message) for w in warned] == [
        f"metric {name!r} failed on slice {s!r} and is NaN there: {said}" for s in ("overall", "a")
    ]
    assert {s: (f["accuracy"], f["rows"]) for s, f in found.items() if s != "b"} == {
        "overall": (1.0, 2.0), "a": (1.0, 1.0),
    }  # fmt: skip
    assert all(np.isnan(f[name]) for f in found.values())


@pytest.mark.parametrize(
    "value", [1, True, 0.5, np.float32(0.5), np.array(2), np.bool_(True), Decimal("0.5")]
)
def test_a_custom_function_may_give_any_number(value):
    found = Scorer(custom_metric_funcs={"f": lambda *_: value}).score(np.array([0, 1]))
    assert found == {"f": float(value)}


@pytest.mark.parametrize("of", [Decimal, np.int32, np.float16, bool])
def test_labels_and_weights_of_any_type_of_number(of):
    golds, preds, weights = (
        np.array([of(int(v)) for v in a], object) for a in (GOLDS, PREDS, GOLDS)
    )
    found = Scorer(["accuracy", "f1", "mae"]).score(golds, preds, weights=weights)
    assert found == Scorer(["accuracy", "f1", "mae"]).score(GOLDS, PREDS, weights=GOLDS)


ODD = {
    lambda: Scorer(["accuracy"]).score(np.array([1e300, 0]), [0, 0]): (
        "golds: 1e+300 at row 0 is larger than a label can be"
    ),
    lambda: Scorer(["accuracy"]).score([0, 0], np.array([0, 2**63], np.uint64)): (
        "preds: 9.22337e+18 at row 1 is larger than a label can be"
    ),
    lambda: Scorer(["mae"]).score(np.ma.array([0, 1], mask=[0, 1]), [0, 0]): (
        "score: golds must be an array without masked values, found a numpy MaskedArray; write "
        "golds.filled(...), or leave these rows out"
    ),
    lambda: Scorer(["accuracy"]).score((i for i in [0, 1]), [0, 0]): (
        "score: golds must be an array with an entry per row, found a generator"
    ),
    lambda: Scorer(["accuracy"]).score_slices(masks(overall=[1, 0]), [0, 1], [0, 1], None): (
        "score_slices: each field of S must be a slice other than all rows, found 'overall'"
    ),
    lambda: Scorer(["accuracy"]).score_slices(
        np.zeros(2, [("a", int, (2,))]), [0, 1], [0, 1], None
    ): "score_slices: field 'a' of S must be a value per row, found a numpy ndarray",
    lambda: preds_to_probs([0, 1], 10**15): (
        "preds_to_probs: num_classes must be at most 268,435,454, found 1000000000000000"
    ),
}


@pytest.mark.parametrize(("call", "sentence"), ODD.items())
def test_odd_arrays_are_refused_in_a_sentence(call, sentence):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == sentence


def test_a_metric_that_sorts_what_it_is_given_changes_nothing_else():
    golds, preds = GOLDS.copy(), PREDS.copy()
    own = {
        "sorts": lambda g, p, q: g.sort() or p.sort() or 1,
        "right": lambda g, p, q: (g == p).mean(),
    }
    found = Scorer(["accuracy"], own).score_slices(masks(a=[1, 1, 1, 1]), golds, preds, PROBS)
    assert found["a"] == found["overall"] == {"accuracy": 0.5, "sorts": 1.0, "right": 0.5}
    assert (golds.tolist(), preds.tolist()) == (GOLDS.tolist(), PREDS.tolist())
