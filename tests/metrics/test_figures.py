"""Merge law and empty law of figures, through what the scan's tasks do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.hashing import key_hash
from engine.masks.splits import split_name
from engine.metrics.catalog import KINDS, parse_metric
from engine.metrics.classes import class_text
from engine.metrics.formulas.ranking import histogram_of, roc_auc
from engine.metrics.inference.figures import ROW_COLUMNS
from engine.metrics.inference.uncertainty import Confidence, with_uncertainty
from engine.metrics.scan.form import EvaluationSpec
from tests.metrics.scanned import figures, parts_of, scan_of

SLICES = ("a", "b")
CHOSEN = [
    "f1@threshold=0.3",
    "recall@threshold=0.7",
    "fbeta@beta=2",
    "roc_auc@bins=8",
    "f1@top=0.5",
]
METRICS = [*(f"{k}@column=x" if "column" in v.parameters else k for k, v in KINDS.items()), *CHOSEN]


def spec_of(
    weighted: bool = False, metrics=METRICS, positive: int = 1, split: str | None = "split"
) -> EvaluationSpec:
    parsed = [parse_metric(m) for m in metrics]
    return EvaluationSpec(parsed, SLICES, ["ham", "spam"], positive, split, weighted, ["m"])


def figures_of(rows: pd.DataFrame, spec: EvaluationSpec, **more) -> pd.DataFrame:
    return figures(scan_of(rows, None, spec, **more), spec)


ROW = st.fixed_dictionaries(
    {
        "split": st.sampled_from(["train", "test", "null", None]),
        "label": st.sampled_from([-1, 0, 1, 1]),
        "pred": st.sampled_from([-1, 0, 1, 1]),
        "score": st.one_of(st.just(float("nan")), st.floats(0, 1)),
        "weight": st.floats(0, 3),
        "number_label": st.one_of(st.just(float("nan")), st.just(0.0), st.floats(-1e3, 1e3)),
        "number_pred": st.one_of(st.just(float("nan")), st.floats(-1e3, 1e3)),
        "mean:x": st.one_of(st.just(float("nan")), st.floats(-1, 1)),
        "null:x": st.sampled_from([0.0, float("nan")]),
        "a": st.sampled_from([-1, 0, 1]),
        "b": st.sampled_from([0, 1]),
    }
)
TABLE = st.lists(ROW, min_size=1, max_size=25).map(pd.DataFrame)


@settings(max_examples=20, deadline=None)
@given(TABLE, st.booleans(), st.data())
def test_states_of_any_partition_merge_to_the_states_of_all_rows(rows, weighted, data):
    """Figures, intervals and tests too, bit for bit."""
    spec = spec_of(weighted)
    rows["hash"] = key_hash(range(len(rows)), 3)
    part = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    parts = [[i for i in order if part[i] == k] for k in range(4) if k in part]

    def of(parts):
        found = scan_of(rows, None, spec, 8, parts)
        return with_uncertainty(figures(found, spec), found, spec, Confidence(min_support=0))

    cut = of(parts)
    pd.testing.assert_frame_equal(cut, of(parts_of(len(rows), [0] * len(rows))))
    pd.testing.assert_frame_equal(cut, of(None), check_exact=True)


@settings(max_examples=40, deadline=None)
@given(TABLE)
def test_figures_are_those_of_the_rows(rows):
    spec = spec_of()
    found = figures_of(rows, spec)
    found = found.assign(split=[split_name(s) for s in found["split"]])
    found = found.set_index(["split", "slice", "metric"])
    for split, group in rows.groupby(np.array([split_name(s) for s in rows["split"]], object)):
        for name in ("overall", *SLICES):
            members = group if name == "overall" else group[group[name] == 1]
            scored = members[(members["label"] >= 0) & (members["pred"] >= 0)]
            row = found.loc[(split, name, "accuracy")]
            assert row["support"] == len(scored)
            assert row["n_missing"] == len(members) - len(scored)
            assert row["n_null"] == (0 if name == "overall" else (group[name] == -1).sum())
            if len(scored):
                assert row["value"] == (scored["label"] == scored["pred"]).mean()
            ranked = members[(members["label"] >= 0) & members["score"].notna()]
            auc = found.loc[(split, name, "roc_auc")]
            assert auc["support"] == len(ranked)
            if len(ranked):  # the rows are few, so the area is that of the scores
                exact = roc_auc(*histogram_of(ranked["label"].to_numpy(), ranked["score"]))
                assert auc["value"] == pytest.approx(float(exact), nan_ok=True)
                assert auc["status"] == ("single_class" if np.isnan(exact) else "ok")
            covered = found.loc[(split, name, "coverage")]
            if len(members):
                assert covered["value"] == pytest.approx((members["pred"] >= 0).mean())


def rows_of(**columns) -> pd.DataFrame:
    n = max((len(v) for v in columns.values()), default=1)
    defaults = {"split": ["test"], "label": [1], "pred": [1], "score": [0.5], "weight": [1.0]}
    defaults |= {"a": [1], "b": [0], "mean:x": [1.0], "null:x": [0.0]}
    return pd.DataFrame({k: columns.get(k, v * n) for k, v in defaults.items()})


def figure(rows: pd.DataFrame, metric: str, slice_id: str = "overall", **spec) -> tuple:
    found = figures_of(rows, spec_of(metrics=[metric], **spec)).set_index("slice").loc[slice_id]
    value = None if pd.isna(found["value"]) else found["value"]
    return value, found["support"], found["n_missing"], found["status"]


def test_every_split_slice_and_metric_has_a_row_in_order():
    rows = rows_of(split=["test", "a"])
    found = figures_of(rows, spec_of())
    assert found.columns.tolist() == list(ROW_COLUMNS)
    assert len(found) == 2 * 3 * len(METRICS)
    assert found["split"].tolist()[0] == "a"
    assert found["slice"].tolist()[:: len(METRICS)] == ["overall", "a", "b"] * 2
    assert found["metric"].tolist()[: len(METRICS)] == [str(parse_metric(m)) for m in METRICS]


@pytest.mark.parametrize(
    ("rows", "metric", "slice_id", "expected"),
    [
        (rows_of(pred=[1, 0]), "accuracy", "overall", (0.5, 2, 0, "ok")),
        (rows_of(pred=[1, 0]), "accuracy", "b", (None, 0, 0, "empty")),
        (rows_of(label=[-1, -1]), "accuracy", "overall", (None, 0, 2, "unscored")),
        (rows_of(pred=[-1, 1]), "accuracy", "overall", (1.0, 1, 1, "ok")),
        (rows_of(pred=[-1, -1]), "coverage", "overall", (0.0, 2, 0, "ok")),
        (rows_of(pred=[-1, 1]), "coverage", "b", (None, 0, 0, "empty")),
        (rows_of(label=[0, 0], pred=[0, 0]), "precision", "overall", (0.0, 2, 0, "undefined")),
        (rows_of(label=[1, 1]), "roc_auc", "overall", (None, 2, 0, "single_class")),
        (rows_of(score=[float("nan")] * 2), "roc_auc", "overall", (None, 0, 2, "unscored")),
        (rows_of(score=[0.1, float("nan")]), "roc_auc", "a", (None, 1, 1, "single_class")),
        (rows_of(label=[-2, 1]), "accuracy", "overall", (1.0, 1, 1, "ok")),
        (rows_of(score=[float("nan")] * 2), "log_loss", "overall", (None, 0, 2, "unscored")),
        (rows_of(), "log_loss", "b", (None, 0, 0, "empty")),
        (rows_of(), "count", "b", (0.0, 0, 0, "empty")),
        (rows_of(), "mean@column=x", "b", (None, 0, 0, "empty")),
        (rows_of(**{"mean:x": [float("nan")]}), "mean@column=x", "a", (None, 0, 1, "unscored")),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_has_a_status(rows, metric, slice_id, expected):
    assert figure(rows, metric, slice_id) == expected


def test_a_threshold_decides_instead_of_the_prediction():
    rows = rows_of(label=[1, 1, 0, 0], pred=[0, 0, 0, 0], score=[0.7, 0.69, 0.7, float("nan")])
    assert figure(rows, "recall@threshold=0.7") == (0.5, 3, 1, "ok")
    assert figure(rows, "precision@threshold=0.7") == (0.5, 3, 1, "ok")
    # Where the first class is the positive one, it is chosen at or above the threshold.
    assert figure(rows, "recall@threshold=0.7", positive=0) == (1.0, 3, 1, "ok")


def test_weights_count_and_support_is_rows():
    rows = rows_of(label=[1, 0], pred=[1, 1], weight=[3.0, 1.0])
    assert figure(rows, "accuracy", weighted=True) == (0.75, 2, 0, "ok")
    assert figure(rows, "coverage", weighted=True) == (1.0, 2, 0, "ok")
    assert figure(rows_of(weight=[0.0, 0.0]), "accuracy", weighted=True)[3] == "weightless"


def test_the_positive_class_is_named_for_metrics_that_have_one():
    found = figures_of(rows_of(), spec_of())
    named = found.drop_duplicates("metric").set_index("metric")["class"]
    assert named["f1"] == named["roc_auc"] == "spam"
    assert named[["accuracy", "f1_macro", "coverage"]].isna().all()


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (1, "1"), ("A", "A")]
)
def test_classes_as_text(value, text):
    assert class_text(value) == text
