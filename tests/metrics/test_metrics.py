"""Formulas of metrics against scikit-learn, and metric names."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import MetricError
from engine.metrics.catalog import KINDS, MetricSpec, parse_metric
from engine.metrics.custom import custom_metrics
from engine.metrics.formulas.classification import of_confusions
from engine.metrics.formulas.ranking import (
    RANKINGS,
    average_precision,
    bin_of,
    histogram_of,
    in_blocks,
    roc_auc,
)
from engine.metrics.formulas.states import OK, UNDEFINED
from engine.metrics.request import metrics_of

SKLEARN = {
    "accuracy": sk.accuracy_score,
    "precision": lambda g, p, **w: sk.precision_score(g, p, labels=[1], average="micro", **w),
    "recall": lambda g, p, **w: sk.recall_score(g, p, labels=[1], average="micro", **w),
    "f1": lambda g, p, **w: sk.f1_score(g, p, labels=[1], average="micro", **w),
    "fbeta@beta=2": lambda g, p, **w: sk.fbeta_score(
        g, p, beta=2, labels=[1], average="micro", **w
    ),
    "fbeta@beta=0.5": lambda g, p, **w: sk.fbeta_score(
        g, p, beta=0.5, labels=[1], average="micro", **w
    ),
    "f1_micro": lambda g, p, **w: sk.f1_score(g, p, average="micro", **w),
    "f1_macro": lambda g, p, **w: sk.f1_score(g, p, average="macro", **w),
    "f1_weighted": lambda g, p, **w: sk.f1_score(g, p, average="weighted", **w),
    "precision_macro": lambda g, p, **w: sk.precision_score(g, p, average="macro", **w),
    "precision_weighted": lambda g, p, **w: sk.precision_score(g, p, average="weighted", **w),
    "recall_macro": lambda g, p, **w: sk.recall_score(g, p, average="macro", **w),
    "recall_weighted": lambda g, p, **w: sk.recall_score(g, p, average="weighted", **w),
    "balanced_accuracy": sk.balanced_accuracy_score,
    "specificity": lambda g, p, **w: sk.recall_score(g != 1, p != 1, **w),
    "false_positive_rate": lambda g, p, **w: (
        1 - sk.recall_score(g != 1, p != 1, **w) if (g != 1).any() else 0.0
    ),
    "false_negative_rate": lambda g, p, **w: (
        1 - sk.recall_score(g == 1, p == 1, **w) if (g == 1).any() else 0.0
    ),
    "selection_rate": lambda g, p, sample_weight=None: np.average(p == 1, weights=sample_weight),
    "matthews_corrcoef": sk.matthews_corrcoef,
}


def rows(most: int):
    label = st.integers(0, most)
    weight = st.integers(1, 64)
    return st.lists(st.tuples(label, label, weight), min_size=1, max_size=30).map(
        lambda r: tuple(np.array(c) for c in zip(*r, strict=True))
    )


@pytest.fixture(autouse=True)
def silent():
    """scikit-learn warns where a figure is 0/0 or there is one class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def confusion(golds: np.ndarray, preds: np.ndarray, weights: np.ndarray | None = None):
    cells = np.zeros((4, 4))
    np.add.at(cells, (golds, preds), 1 if weights is None else weights)
    return cells


@pytest.mark.parametrize("metric", SKLEARN)
@settings(max_examples=40, deadline=None)
@given(data=st.one_of(rows(0), rows(1), rows(1), rows(3)), weighted=st.booleans())
def test_formulas_are_scikit_learns(metric, data, weighted):
    golds, preds, weights = data
    given_ = {"sample_weight": weights} if weighted else {}
    cells = confusion(golds, preds, weights if weighted else None)
    value, status = of_confusions(parse_metric(metric), cells, 1)
    assert value == pytest.approx(SKLEARN[metric](golds, preds, **given_), abs=1e-12)
    assert status in (OK, UNDEFINED)
    assert status == OK or value == 0


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "confusion", "value", "status"),
    [
        ("accuracy", [[0, 0], [0, 0]], NAN, OK),
        ("f1_macro", [[0, 0], [0, 0]], NAN, OK),
        ("precision", [[2, 0], [1, 0]], 0.0, UNDEFINED),
        ("recall", [[2, 1], [0, 0]], 0.0, UNDEFINED),
        ("specificity", [[0, 0], [1, 1]], 0.0, UNDEFINED),
        ("f1", [[2, 0], [0, 0]], 0.0, UNDEFINED),
        ("matthews_corrcoef", [[2, 0], [0, 0]], 0.0, UNDEFINED),
        ("accuracy", [[2, 0], [0, 0]], 1.0, OK),
        ("f1", [[0, 0], [0, 3]], 1.0, OK),
        ("fbeta", [[1, 1], [1, 1]], 0.5, OK),
        ("fbeta@beta=0", [[0, 3], [0, 1]], 0.25, OK),
    ],
)
def test_figures_that_do_not_exist_have_a_status(metric, confusion, value, status):
    found = of_confusions(parse_metric(metric), np.array(confusion), 1)
    np.testing.assert_equal((float(found.value), int(found.status)), (value, status))


def test_the_positive_class_may_be_any():
    cells = np.array([[3, 1], [0, 4]])
    assert of_confusions(parse_metric("recall"), cells, 0).value == 0.75
    assert of_confusions(parse_metric("recall"), cells, 1).value == 1.0


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc"])
@settings(max_examples=60, deadline=None)
@given(rows(1), st.integers(0, 2**31), st.booleans())
def test_rankings_are_scikit_learns(name, data, seed, weighted):
    golds, _, weights = data
    scores = np.random.default_rng(seed).integers(0, 8, len(golds)) / 8
    found = RANKINGS[name](*histogram_of(golds, scores, weights if weighted else None))
    if len(set(golds)) == 1:
        assert np.isnan(found)
        return
    theirs = {"roc_auc": sk.roc_auc_score, "pr_auc": sk.average_precision_score}[name]
    expected = theirs(golds, scores, sample_weight=weights if weighted else None)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("of", [roc_auc, average_precision])
def test_rankings_of_nothing_and_of_many(of):
    assert np.isnan(of(np.zeros(4), np.zeros(4)))
    assert np.isnan(of(*histogram_of(np.array([], dtype=int), np.array([]))))
    rng = np.random.default_rng(0)
    negatives, positives = rng.integers(0, 5, (2, 300, 4096))
    each = [of(n, p) for n, p in zip(negatives, positives, strict=True)]
    assert in_blocks(of, negatives, positives).tolist() == each


def test_bins_cover_the_unit_interval():
    scores = np.array([0, 1e-300, 0.25, 0.5, np.nextafter(1, 0), 1])
    assert bin_of(scores, 4).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("f1", "f1"),
        (" accuracy ", "accuracy"),
        ("precision@threshold=0.70", "precision@threshold=0.7"),
        ("precision@threshold=.7", "precision@threshold=0.7"),
        ("f1@threshold=1", "f1@threshold=1"),
        ("fbeta@threshold=0.5,beta=2", "fbeta@beta=2,threshold=0.5"),
        ("fbeta@ beta = 2.0 ", "fbeta@beta=2"),
        ("roc_auc@bins=65536", "roc_auc@bins=65536"),
        ("f1@threshold=0.12345678901", "f1@threshold=0.12345678901"),
        ("f1@threshold=1e-7", "f1@threshold=1e-07"),
        ("f1@", "f1"),
        ("recall@top=.10", "recall@top=0.1"),
        ("mean@column=price", "mean@column=price"),
        ("top_k_accuracy@k=3", "top_k_accuracy@k=3"),
    ],
)
def test_names_have_one_spelling(text, canonical):
    assert str(parse_metric(text)) == canonical
    assert parse_metric(canonical) == parse_metric(text)


@given(st.floats(0, 1), st.floats(0, 1e6))
def test_no_parameter_is_rounded(threshold, beta):
    metric = parse_metric(f"fbeta@threshold={threshold!r},beta={beta!r}")
    assert (metric.parameter("threshold"), metric.parameter("beta")) == (threshold, beta)
    assert parse_metric(str(metric)) == metric


def test_defaults_of_parameters():
    assert parse_metric("fbeta").parameter("beta") == 1
    assert parse_metric("f1").parameter("threshold") is None
    assert parse_metric("roc_auc").parameter("bins") == 4096
    assert MetricSpec("f1").kind is KINDS["f1"]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("acuracy", MetricError, "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        ("F1", MetricError, "unknown metric 'F1'; did you mean 'f1'?"),
        (
            "zzz",
            MetricError,
            "unknown metric 'zzz'; known: accuracy, balanced_accuracy, bias, brier, "
            "cohen_kappa, count, coverage, ece, f1, f1_macro and 28 more",
        ),
        (
            "f1@threshold=high",
            MetricError,
            "metric 'f1@threshold=high': parameter 'threshold': the value 'high' is not a number",
        ),
        (
            "f1@threshold",
            MetricError,
            "metric 'f1@threshold': parameter 'threshold': the value '' is not a number",
        ),
        (
            "f1@beta=2",
            MetricError,
            "metric 'f1@beta=2': parameter 'beta': it takes threshold, top",
        ),
        (
            "f1@threshold=0.1,threshold=0.2",
            MetricError,
            "metric 'f1@threshold=0.1,threshold=0.2': parameter 'threshold': it is given twice",
        ),
        (
            "coverage@beta=2",
            MetricError,
            "metric 'coverage@beta=2': parameter 'beta': it takes none",
        ),
        (
            "f1@threshold=1.5",
            MetricError,
            "metric 'f1@threshold=1.5': parameter 'threshold': it must be in 0 to 1",
        ),
        (
            "f1@threshold=nan",
            MetricError,
            "metric 'f1@threshold=nan': parameter 'threshold': it must be in 0 to 1",
        ),
        (
            "fbeta@beta=-1",
            MetricError,
            "metric 'fbeta@beta=-1': parameter 'beta': it must be in 0 to 1e+06",
        ),
        (
            "roc_auc@bins=1",
            MetricError,
            "metric 'roc_auc@bins=1': parameter 'bins': it must be in 2 to 65536",
        ),
        (
            "roc_auc@bins=2.5",
            MetricError,
            "metric 'roc_auc@bins=2.5': parameter 'bins': it must be a whole number",
        ),
        (
            "recall@top=1.5",
            MetricError,
            "metric 'recall@top=1.5': parameter 'top': it must be in 0 to 1",
        ),
        (
            "f1_macro@top=0.1",
            MetricError,
            "metric 'f1_macro@top=0.1': parameter 'top': it takes threshold",
        ),
        (
            "f1@threshold=0.5,top=0.1",
            MetricError,
            "metric 'f1@threshold=0.5,top=0.1': parameter 'top': give a threshold or a top share, "
            "not both",
        ),
        (
            "mean@column=",
            MetricError,
            "metric 'mean@column=': parameter 'column': write mean@column=NAME",
        ),
    ],
)
def test_names_that_are_none(text, kind, message):
    with pytest.raises(kind) as caught:
        parse_metric(text)
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)


def test_a_metric_of_a_module_that_cannot_be_sent_is_refused(tmp_path):
    file = tmp_path / "ours_with_a_lock.py"
    file.write_text(
        "import threading\n\nfrom engine import metric\n\nLOCK = threading.Lock()\n\n\n"
        "@metric\ndef guarded(y_true, y_pred, y_prob, weight):\n"
        "    with LOCK:\n        return 1.0\n"
    )
    (guarded,) = custom_metrics(str(file))
    with pytest.raises(MetricError) as caught:
        metrics_of("evaluate", ["f1", guarded])
    assert str(caught.value) == (
        "metric 'guarded': it can't be sent to executors (TypeError: cannot pickle '_thread.lock' "
        "object); @metric takes a function of (y_true, y_pred, y_prob, weight), or a class with "
        "state, merge and compute"
    )
