"""Merge law and empty law of cells, which is what one scan of a table leaves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.classification import compute, confusion_of
from engine.metrics.evaluate import (
    ROW_COLUMNS,
    WEIGHT_SCALE,
    EvaluationSpec,
    by_slice,
    class_text,
    figures,
    merge_cells,
)
from engine.metrics.ranking import bin_of, histogram_of, roc_auc
from engine.metrics.spec import KINDS, parse_metric

SLICES = ("a", "b")
METRICS = [*KINDS, "f1@threshold=0.3", "recall@threshold=0.7", "fbeta@beta=2", "roc_auc@bins=8"]


def spec_of(weighted: bool = False, metrics=METRICS, positive: int = 1) -> EvaluationSpec:
    parsed = [parse_metric(m) for m in metrics]
    return EvaluationSpec(parsed, SLICES, ["ham", "spam"], positive, "split", weighted)


def cells_of(rows: pd.DataFrame, spec: EvaluationSpec) -> pd.DataFrame:
    """Group rows as the scan does; plain pandas."""
    score = rows["score"]
    by = {
        "model_id": rows["model_id"],
        "split": rows["split"],
        "label": rows["label"],
        "pred": rows["pred"],
    }
    for i, t in enumerate(spec.thresholds):
        by[f"t_{i}"] = np.where(score.isna(), -1, (score >= t).astype(int))
    for i, b in enumerate(spec.bins):
        by[f"bin_{i}"] = np.where(score.isna(), -1, bin_of(score.fillna(0).to_numpy(), b))
    sums = {"found": (rows["pred"] != -1).astype(int)}
    members = [pd.Series(1, rows.index), *(rows[s] for s in spec.slice_ids)]
    for j, member in enumerate(members):
        sums[f"n_{j}"] = (member == 1).astype(int)
        sums[f"null_{j}"] = (member == -1).astype(int)
        if spec.weighted:
            sums[f"w_{j}"] = (rows["weight"] * WEIGHT_SCALE).astype("int64") * (member == 1)
    table = pd.DataFrame({**by, **sums})
    return table.groupby([*by], as_index=False).sum()


ROW = st.fixed_dictionaries(
    {
        "model_id": st.sampled_from(["m1", "m2"]),
        "split": st.sampled_from(["train", "test"]),
        "label": st.sampled_from([-1, 0, 1, 1]),
        "pred": st.sampled_from([-1, 0, 1, 1]),
        "score": st.one_of(st.just(float("nan")), st.integers(0, 16).map(lambda n: n / 16)),
        "weight": st.integers(0, 8).map(lambda n: n / 4),
        "a": st.sampled_from([-1, 0, 1]),
        "b": st.sampled_from([0, 1]),
    }
)
TABLE = st.lists(ROW, min_size=1, max_size=25).map(pd.DataFrame)


@settings(max_examples=40, deadline=None)
@given(TABLE, st.booleans(), st.data())
def test_states_of_any_partition_merge_to_the_states_of_all_rows(rows, weighted, data):
    spec = spec_of(weighted)
    part = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    order = data.draw(st.permutations(range(4)))
    parts = [cells_of(rows[part == k], spec) for k in order if (part == k).any()]
    pd.testing.assert_frame_equal(
        figures(merge_cells(parts), spec), figures(cells_of(rows, spec), spec), check_exact=True
    )


@settings(max_examples=40, deadline=None)
@given(TABLE)
def test_figures_are_those_of_the_rows(rows):
    spec = spec_of()
    found = figures(cells_of(rows, spec), spec).set_index(["model_id", "split", "slice", "metric"])
    for (model, split), group in rows.groupby(["model_id", "split"]):
        for name in ("overall", *SLICES):
            members = group if name == "overall" else group[group[name] == 1]
            scored = members[(members["label"] >= 0) & (members["pred"] >= 0)]
            row = found.loc[(model, split, name, "accuracy")]
            assert row["support"] == len(scored)
            assert row["n_missing"] == len(members) - len(scored)
            assert row["n_null"] == (0 if name == "overall" else (group[name] == -1).sum())
            if len(scored):
                confusion = confusion_of(scored["label"].to_numpy(), scored["pred"].to_numpy(), 2)
                assert row["value"] == compute(parse_metric("accuracy"), confusion).value
            ranked = members[(members["label"] >= 0) & members["score"].notna()]
            auc = found.loc[(model, split, name, "roc_auc")]
            assert auc["support"] == len(ranked)
            if len(ranked):  # the scores are few, so bins are exact
                exact = roc_auc(*histogram_of(ranked["label"].to_numpy(), ranked["score"]))
                assert auc["status"] == exact.status
                assert (
                    auc["value"] == pytest.approx(exact.value, nan_ok=True) or exact.value is None
                )
            covered = found.loc[(model, split, name, "coverage")]
            if len(members):
                assert covered["value"] == pytest.approx((members["pred"] >= 0).mean())


def rows_of(**columns) -> pd.DataFrame:
    n = max((len(v) for v in columns.values()), default=1)
    defaults = {"model_id": ["m"], "split": ["test"], "label": [1], "pred": [1], "score": [0.5]}
    defaults |= {"weight": [1.0], "a": [1], "b": [0]}
    return pd.DataFrame({k: columns.get(k, v * n) for k, v in defaults.items()})


def figure(rows: pd.DataFrame, metric: str, slice_id: str = "overall", **spec) -> tuple:
    chosen = spec_of(metrics=[metric], **spec)
    found = figures(cells_of(rows, chosen), chosen).set_index("slice").loc[slice_id]
    value = None if pd.isna(found["value"]) else found["value"]
    return value, found["support"], found["n_missing"], found["status"]


def test_every_model_split_slice_and_metric_has_a_row_in_order():
    rows = rows_of(model_id=["m2", "m1"], split=["test", "test"])
    found = figures(cells_of(rows, spec_of()), spec_of())
    assert found.columns.tolist() == list(ROW_COLUMNS)
    assert len(found) == 2 * 3 * len(METRICS)
    assert found["model_id"].tolist()[0] == "m1"
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
    assert figure(rows_of(weight=[0.0, 0.0]), "accuracy", weighted=True)[3] == "empty"


def test_the_positive_class_is_named_for_metrics_that_have_one():
    found = figures(cells_of(rows_of(), spec_of()), spec_of())
    named = found.drop_duplicates("metric").set_index("metric")["class"]
    assert named["f1"] == named["roc_auc"] == "spam"
    assert named[["accuracy", "f1_macro", "coverage"]].isna().all()


def test_by_slice_has_worst_first_and_none_last():
    rows = pd.DataFrame(
        {
            "model_id": ["m"] * 5,
            "split": ["test"] * 4 + ["train"],
            "slice": ["overall", "good", "none", "bad", "good"],
            "metric": "f1",
            "value": [0.5, 0.9, None, 0.1, 0.2],
        }
    )
    table = by_slice(rows, "f1", "test")
    assert table.index.tolist() == ["overall", "bad", "good", "none"]
    assert table["m"].tolist()[:3] == [0.5, 0.1, 0.9]


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (1, "1"), ("A", "A")]
)
def test_classes_as_text(value, text):
    assert class_text(value) == text
