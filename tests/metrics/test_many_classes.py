"""Very many classes: fields are wide enough, and figures are those of few classes."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

from engine.errors import MetricError
from engine.metrics.catalog import parse_metric
from engine.metrics.formulas.classification import MOST_SHOWN, confusions
from engine.metrics.scan import form
from engine.metrics.scan.form import (
    CODE_FLAGS,
    MOST_CLASSES,
    SHIFTS,
    EvaluationSpec,
    code_of,
    flags_in,
    positions_in,
)
from tests.metrics.scanned import figures, scan_of
from tests.metrics.test_families import AVERAGES, BINARY_ORACLES, Rows, drawn

BORDERS = [
    -2,
    -1,
    0,
    4092,
    4093,
    4094,
    4095,
    4096,
    65_533,
    65_534,
    65_535,
    65_536,
    MOST_CLASSES - 1,
]


def test_codes_hold_every_position_and_flag():
    label, pred = np.array([(a, b) for a in BORDERS for b in BORDERS]).T
    flags = {
        name: (np.arange(len(label)) >> i & 1).astype(bool) for i, name in enumerate(CODE_FLAGS)
    }
    code = code_of(flags, {"label": label, "pred": pred})
    assert (positions_in(code)["label"] == label).all()
    assert (positions_in(code)["pred"] == pred).all()
    for name, each in flags_in(code).items():
        assert (each == flags[name]).all()
    assert max(SHIFTS.values()) + 28 < 63


@pytest.mark.parametrize("classes", [4093, 4094, 4095, 4096, 5000])
def test_log_loss_of_many_classes(classes):
    """Of 4,095 classes the last one's position once ran over into the prediction's."""
    label = np.array([0, 1, classes - 3, classes - 2, classes - 1])
    pred = np.array([0, 5, classes - 1, classes - 2, 7])
    prob = np.full((5, classes), 0.5 / (classes - 1))
    prob[np.arange(5), label] = 0.5
    rows = pd.DataFrame({"label": label, "pred": pred, "prob": [*prob], "a": [1, 1, 0, 0, 1]})
    metrics = ["log_loss", "accuracy", "top_k_accuracy@k=1", "f1_macro", "recall"]
    spec = EvaluationSpec([*map(parse_metric, metrics)], ["a"], range(classes), classes - 1)
    found = figures(scan_of(rows, None, spec), spec).set_index(["slice", "metric"])["value"]
    assert found["overall", "log_loss"] == found["a", "log_loss"] == np.log(2)
    assert found["overall", "accuracy"] == pytest.approx(2 / 5)
    assert found["a", "accuracy"] == pytest.approx(1 / 3)
    assert found["overall", "top_k_accuracy@k=1"] == 1
    assert found["overall", "recall"] == 0
    assert found["overall", "f1_macro"] == pytest.approx(
        sk.f1_score(label, pred, average="macro", zero_division=0)
    )


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
def test_metrics_without_a_confusion_are_those_with_one(weighted, monkeypatch):
    names = [*BINARY_ORACLES, *AVERAGES]
    values = []
    for few in (5, 3):
        monkeypatch.setattr("engine.metrics.formulas.classification.FEW", few)
        rows, masks = drawn(3, 5, weighted, positive=2)
        values.append(figures_of(rows, masks, names))
    # Of rows, sums are the same bit for bit; those of weights are rounded once or cell by cell.
    how = {"rtol": 1e-13} if weighted else {"check_exact": True}
    pd.testing.assert_frame_equal(*values, **how)


def figures_of(rows: Rows, masks: np.ndarray, names: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({"label": rows.label, "pred": rows.pred})
    if rows.weight is not None:
        table["weight"] = rows.weight
    ids = [f"s{i}" for i in range(masks.shape[1])]
    table[ids] = masks.astype(int)
    spec = EvaluationSpec(
        [*map(parse_metric, names)], ids, range(5), rows.positive, weighted=rows.weight is not None
    )
    return figures(scan_of(table, None, spec), spec)


def test_classes_of_the_weight_0_count_in_averages():
    """As in scikit-learn, whose classes are those of all labels and predictions."""
    label, pred = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2])
    weight = np.array([1.0, 2.0, 1.0, 0.0, 0.0])
    rows = pd.DataFrame({"label": label, "pred": pred, "weight": weight, "a": [1, 1, 1, 0, 0]})
    names = ["f1_macro", "precision_macro", "recall_macro", "f1_weighted", "balanced_accuracy"]
    spec = EvaluationSpec([*map(parse_metric, names)], ["a"], range(3), 1, weighted=True)
    found = figures(scan_of(rows, None, spec), spec).set_index(["slice", "metric"])["value"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names[:-1]:
            kind, average = name.split("_")
            score = getattr(sk, f"{kind}_score")
            asked = {"average": average, "sample_weight": weight, "zero_division": 0}
            assert found["overall", name] == pytest.approx(score(label, pred, **asked))
            some = {**asked, "sample_weight": weight[:3]}
            assert found["a", name] == pytest.approx(score(label[:3], pred[:3], **some))
        wanted = sk.balanced_accuracy_score(label, pred, sample_weight=weight)
    assert found["overall", "balanced_accuracy"] == pytest.approx(wanted)


def test_more_classes_than_can_be_told_apart_are_refused(monkeypatch):
    monkeypatch.setattr(form, "MOST_CLASSES", 3)
    with pytest.raises(MetricError) as caught:
        EvaluationSpec([parse_metric("accuracy")], [], range(4), 1)
    assert str(caught.value) == (
        "labels and predictions: there are 4 classes, and at most 3 are possible"
    )
    spec = EvaluationSpec([parse_metric("accuracy")], [], range(3), 1)
    assert len(spec.classes) == 3


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["accuracy", "f1_micro"], 1 + 2),
        (["recall", "precision", "f1", "specificity"], 1 + 4),
        (["f1_macro", "balanced_accuracy", "cohen_kappa", "recall_weighted"], 1 + 3 * 30_000),
    ],
)
def test_a_state_is_as_large_as_its_formula_needs(names, numbers):
    classes, n = 30_000, 20_000
    rng = np.random.default_rng(1)
    label = rng.integers(0, classes, n)
    pred = np.where(rng.random(n) < 0.7, label, rng.integers(0, classes, n))
    rows = pd.DataFrame({"label": label, "pred": pred, "a": np.arange(n) % 2})
    spec = EvaluationSpec([*map(parse_metric, names)], ["a"], range(classes), 1)
    assert spec.work().numbers == numbers
    tracemalloc.start()
    found = figures(scan_of(rows, None, spec), spec).set_index(["slice", "metric"])["value"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A word of 64 slices, and all rows; what is sent and arranged besides.
    assert peak < 2**24 + 8 * 8 * 65 * numbers
    assert found["overall", names[0]] == pytest.approx(
        {
            "accuracy": (label == pred).mean(),
            "recall": sk.recall_score(label == 1, pred == 1, zero_division=0),
            "f1_macro": sk.f1_score(label, pred, average="macro", zero_division=0),
        }[names[0]]
    )


def test_rows_with_many_probabilities_are_taken_few_at_a_time():
    spec = EvaluationSpec([parse_metric("log_loss")], [], range(30_000), 1)
    assert form.Form(spec, 0, 1, ()).rows_at_once(2**17) == 139
    few = EvaluationSpec([parse_metric("log_loss")], [], range(32), 1)
    assert form.Form(few, 0, 1, ()).rows_at_once(2**17) == 2**17


def test_a_confusion_of_very_many_classes_is_refused():
    classes = MOST_SHOWN + 1
    rows = pd.DataFrame({"label": [0, classes - 1], "pred": [0, 1]})
    spec = EvaluationSpec([parse_metric("accuracy")], [], range(classes), 1)
    state = scan_of(rows, None, spec).parts["model", "all"].state
    with pytest.raises(MetricError) as caught:
        confusions(spec.metrics[0], state.rows, spec.labels)
    assert str(caught.value) == ("confusion: there are 513 classes, and at most 512 are possible")
