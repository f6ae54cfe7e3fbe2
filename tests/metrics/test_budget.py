"""What may not take so much of the driver's memory is less exact, or less sure, and says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from engine import Confidence, evaluate
from engine.metrics.catalog import parse_metric
from engine.metrics.inference.budget import within_budget
from engine.metrics.scan.form import EvaluationSpec

N = 600
CLASSES = list(range(20))


def rows(classes: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    label = rng.integers(0, classes, N)
    df = pd.DataFrame({"id": np.arange(N), "label": label, "few": np.arange(N) < 90})
    df["pred"] = np.where(rng.random(N) < 0.7, label, rng.integers(0, classes, N))
    df["prob"] = np.clip(rng.normal(label / classes, 0.4), 0, 1)
    return df


def spec(metrics: list[str], slices: int, classes: int, models: int = 1) -> EvaluationSpec:
    return EvaluationSpec(
        [*map(parse_metric, metrics)], [f"s{i}" for i in range(slices)], range(classes), 1,
        models=[f"m{i}" for i in range(models)],
    )  # fmt: skip


def test_what_is_within_the_budget_is_as_it_was():
    asked = spec(["roc_auc", "f1"], 3_000, 2)
    assert within_budget(asked, Confidence(), 200) == (asked, [])


def test_rankings_are_of_fewer_scores():
    asked = spec(["roc_auc", "accuracy"], 2_999, 2, models=4)
    fewer, (note,) = within_budget(asked, Confidence(budget_mb=64), 0)
    assert fewer.exact_rows == 64 * 2**20 // (24 * 3_000 * 4) == 233
    assert note == (
        "rankings are of the scores themselves for slices of up to 233 rows and not of up to "
        "1,000, others are of bins (`bound` says how far they can be off): scores of 3,000 slices "
        "of 4 models may take 275 MB on the driver for each split, and budget_mb is 64; evaluate "
        "fewer slices or models at a time, or raise budget_mb"
    )


def test_replicates_of_many_classes_are_left_out():
    asked = spec(["accuracy", "f1_macro", "cohen_kappa"], 999, 100)
    fewer, (note,) = within_budget(asked, Confidence(budget_mb=256), 200)
    assert [m.name for m in fewer.replicable] == ["accuracy"]
    assert note == (
        "f1_macro, cohen_kappa have no interval from replicates: 200 of 1,000 slices of 1 model "
        "take 458 MB for f1_macro on the driver for each split, and budget_mb is 256; evaluate "
        "fewer slices or models at a time, or raise budget_mb, or draw fewer"
    )


@pytest.mark.parametrize("budget_mb", [0, 512])
def test_figures_of_bins_and_without_intervals(budget_mb, caplog):
    sure = Confidence(budget_mb=budget_mb)
    found = evaluate(rows(2), key="id", metrics=["roc_auc"], slices=["few"], confidence=sure)
    table = found.table.set_index("slice")
    exact = evaluate(rows(2), key="id", metrics=["roc_auc"], slices=["few"]).table["value"]
    assert table["value"].to_numpy() == pytest.approx(exact.to_numpy(), abs=1e-3)
    assert (table["bound"] == 0).all() == bool(budget_mb)
    many = rows(20).drop(columns="prob")
    found = evaluate(
        many, key="id", metrics=["f1_macro"], slices=["few"], classes=CLASSES, confidence=sure
    )
    assert found.table["ci_low"].notna().all() == bool(budget_mb)
    said = [m for m in caplog.messages if "budget_mb is 0" in m]
    assert len(said) == (0 if budget_mb else 2)
