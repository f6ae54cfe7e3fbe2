"""Scorer, score_slices and the conversions give what snorkel 0.10's give."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import snorkel.analysis
import snorkel.utils
from hypothesis import given, settings
from hypothesis import strategies as st

import engine

BINARY = ["accuracy", "precision", "recall", "f1", "f1_micro", "f1_macro", "matthews_corrcoef"]
BINARY += ["roc_auc", "coverage"]
MULTICLASS = ["accuracy", "f1_micro", "f1_macro", "matthews_corrcoef", "coverage"]


@pytest.fixture(autouse=True)
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def custom(golds, preds, probs):
    return float((golds == preds).mean() - probs[:, 0].mean())


def several(golds, preds, probs):
    return {"n": len(golds), "n_abstained": int(np.sum(preds == -1)), "share": 1 / len(golds)}


@st.composite
def scored(draw, classes: int, abstain: bool = False, column: bool = False):
    """Draw golds, preds, probs and masks of 0/1 without an empty slice."""
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    golds, preds = rng.integers(-1 if abstain else 0, classes, (2, n))
    golds[:2], preds[:2] = rng.integers(0, classes, (2, 2))  # two rows at least are left
    probs = rng.dirichlet(np.ones(classes), n)
    ties = rng.random(n) < 0.3
    probs[ties] = np.round(probs[ties], 1)
    fields = [rng.integers(0, 2, n) for _ in range(3)]
    for field in fields:
        field[:2] = 1  # snorkel's roc_auc takes no slice of one row
    S = np.rec.fromarrays(fields, names=["short", "link", "pred_ind"])
    return S, golds, preds[:, None] if column else preds, probs


def assert_same(metrics, data, abstain_label=-1):
    S, golds, preds, probs = data
    funcs = {"custom": custom, "several": several}
    ours, theirs = (
        library.Scorer(metrics, funcs if preds.ndim == 1 else None, abstain_label)
        for library in (engine, snorkel.analysis)
    )
    one, other = (s.score(golds, preds, probs) for s in (ours, theirs))
    assert list(one) == list(other)
    np.testing.assert_allclose([*one.values()], [*other.values()], atol=1e-12)
    nested = [s.score_slices(S, golds, preds, probs) for s in (ours, theirs)]
    assert {k: list(v) for k, v in nested[0].items()} == {k: list(v) for k, v in nested[1].items()}
    frames = [s.score_slices(S, golds, preds, probs, as_dataframe=True) for s in (ours, theirs)]
    pd.testing.assert_frame_equal(frames[0], frames[1], rtol=1e-12, atol=1e-12)


def both_classes(data) -> bool:
    """snorkel's roc_auc needs both in every slice; with one class ours and theirs are NaN."""
    S, golds, preds, _ = data
    known = (golds != -1) & (preds.ravel() != -1)
    return all(len(set(golds[known & (S[s] == 1)])) == 2 for s in S.dtype.names)


@settings(max_examples=25, deadline=None)
@given(scored(2))
def test_two_classes(data):
    assert_same(BINARY, data)


@settings(max_examples=8, deadline=None)
@given(scored(2, column=True))
def test_predictions_in_a_column(data):
    assert_same(BINARY, data)


@settings(max_examples=20, deadline=None)
@given(scored(2, abstain=True))
def test_abstentions_are_left_out(data):
    assert_same(BINARY if both_classes(data) else [m for m in BINARY if m != "roc_auc"], data)


@settings(max_examples=15, deadline=None)
@given(scored(5, abstain=True))
def test_several_classes(data):
    assert_same(MULTICLASS, data)


@settings(max_examples=8, deadline=None)
@given(scored(3, abstain=True))
def test_another_abstain_label_or_none(data):
    for label in (None, 0, 2):
        left = (data[1] != label) & (data[2] != label)
        if all(left[data[0][s] == 1].any() for s in data[0].dtype.names):
            assert_same(MULTICLASS, data, label)


@pytest.mark.parametrize("labels", [(1, 2), (-1, 1), (0, 1), (0,), (1,)])
def test_two_labels_of_any_kind(labels):
    rng = np.random.default_rng(5)
    golds, preds = (np.array(labels)[rng.integers(0, len(labels), 30)] for _ in range(2))
    probs = rng.dirichlet([1, 1], 30)
    metrics = ["accuracy", "precision", "recall", "f1_macro", "roc_auc"]
    metrics += ["f1"] if max(labels) <= 1 else []
    ours, theirs = (
        library.Scorer(metrics, abstain_label=None).score(golds, preds, probs)
        for library in (engine, snorkel.analysis)
    )
    np.testing.assert_allclose([*ours.values()], [*theirs.values()], atol=1e-12)


@pytest.mark.parametrize(
    ("metric", "golds", "preds", "probs"),
    [
        ("f1", [0, 1, 2], [0, 1, 2], None),
        ("precision", [0, 1, 2], [0, 1, 2], None),
        ("recall", [0, 2, 2], [0, 2, 0], None),
        ("roc_auc", [0, 1, 2], None, [[1, 0], [0, 1], [0, 1]]),
        ("roc_auc", [0, 1, 1], None, [[1, 0, 0]] * 3),
        ("roc_auc", [0, 1], None, None),
        ("accuracy", [0, 1], None, None),
        ("accuracy", [], [], None),
        ("accuracy", [0.5, 1], [0, 1], None),
        ("no_such_metric", [0], [0], None),
    ],
)
def test_where_snorkel_raises_a_value_error_so_does_ours(metric, golds, preds, probs):
    given_ = [None if a is None else np.array(a) for a in (golds, preds, probs)]
    for library in (snorkel.analysis, engine):
        with pytest.raises(ValueError, match=r"."):
            library.Scorer([metric]).score(*given_)


def test_masks_of_another_length_are_a_value_error_in_both():
    S = np.rec.fromarrays([[1, 0]], names=["a"])
    three = np.array([0, 1, 1])
    for library in (snorkel.analysis, engine):
        with pytest.raises(ValueError, match=r"."):
            library.Scorer(["accuracy"]).score_slices(S, three, three, np.ones((3, 2)))


# preds_to_probs and probs_to_preds.


@st.composite
def probabilities(draw):
    """Draw probabilities, with exact ties and near ones."""
    classes, n = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    value = st.one_of(
        st.sampled_from([0.0, 0.25, 0.5, 0.5 + 9e-6, 0.5 + 1e-5, 0.5 + 1.1e-5, 1.0]),
        st.floats(0, 1),
    )
    row = st.lists(value, min_size=classes, max_size=classes)
    return np.array(draw(st.lists(row, min_size=n, max_size=n)))


@settings(max_examples=150, deadline=None)
@given(probabilities(), st.sampled_from(["random", "abstain"]), st.sampled_from([1e-5, 1e-2, 0.3]))
def test_probs_to_preds(probs, policy, tol):
    ours, theirs = (
        f(probs, policy, tol) for f in (engine.probs_to_preds, snorkel.utils.probs_to_preds)
    )
    assert ours.dtype == theirs.dtype
    assert ours.tolist() == theirs.tolist()


def test_true_random_ties_are_drawn_alike():
    ties = np.full((40, 4), 0.25)
    drawn = []
    for f in (engine.probs_to_preds, snorkel.utils.probs_to_preds):
        engine.set_seed(3)
        drawn.append(f(ties, tie_break_policy="true-random").tolist())
    assert drawn[0] == drawn[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(5, 7), st.booleans())
def test_preds_to_probs(preds, classes, column):
    given_ = np.array(preds)[:, None] if column else np.array(preds)
    ours, theirs = (
        f(given_, classes) for f in (engine.preds_to_probs, snorkel.utils.preds_to_probs)
    )
    assert ours.dtype == theirs.dtype
    assert ours.tolist() == theirs.tolist()
