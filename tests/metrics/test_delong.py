"""Paired areas under the ROC curve: against the definition, in n² steps, and against resampling."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.catalog import parse_metric
from engine.metrics.inference.compare import COMPARED, compare
from engine.metrics.inference.per_slice import Paired, paired
from engine.metrics.inference.uncertainty import Confidence
from engine.metrics.scan.form import EvaluationSpec, Part, Scan


def direct(positive, scores):
    """Compare every positive to every negative, as DeLong et al. define placements."""
    high, low = scores[positive][:, None], scores[~positive][None, :]
    wins = (high > low) + (high == low) / 2
    return wins.mean(axis=1), wins.mean(axis=0)


rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40
)


@given(rows)
@settings(max_examples=300, deadline=None)
def test_it_is_what_the_definition_says(drawn):
    labels, a, b = (np.array(column) for column in zip(*drawn, strict=True))
    positive, first, second = labels.astype(bool), a / 6, b / 6
    found = paired(positive, first, second)
    m, n = positive.sum(), (~positive).sum()
    assert (found.positives, found.negatives) == (m, n)
    if not (m and n):
        assert np.isnan(found[2:]).all()
        return
    (high_a, low_a), (high_b, low_b) = direct(positive, first), direct(positive, second)
    assert found.first == pytest.approx(high_a.mean(), abs=1e-12)
    assert found.second == pytest.approx(high_b.mean(), abs=1e-12)
    spread = [np.var(d, ddof=1) if len(d) > 1 else np.nan for d in (high_b - high_a, low_b - low_a)]
    assert [found.of_positives, found.of_negatives] == pytest.approx(spread, abs=1e-12, nan_ok=True)


def test_its_variance_is_that_of_resampled_rows():
    rng = np.random.default_rng(3)
    n = 600
    positive = rng.random(n) < 0.4
    shared = positive + rng.normal(size=n)
    first, second = shared + rng.normal(size=n), shared + 0.5 * rng.normal(size=n)
    found = paired(positive, first, second)
    drawn = []
    for _ in range(400):
        at = rng.integers(0, n, n)
        one = paired(positive[at], first[at], second[at])
        drawn.append(one.second - one.first)
    assert found.variance == pytest.approx(np.var(drawn), rel=0.2)
    apart = paired(positive, first, rng.permutation(second))
    assert found.variance < apart.variance / 2  # rows in common are no part of it


def scanned(splits):
    none = Part(None, None, {}, {})
    return Scan({(m, s): none for m in ("x", "y") for s in splits}, {}, {})


def test_a_comparison_has_a_row_of_its_own_per_split_metric_and_slice():
    spec = EvaluationSpec(
        [parse_metric("roc_auc"), parse_metric("roc_auc@bins=10")], ["a", "b", "none"], [0, 1], 1,
        models=["x", "y"],
    )  # fmt: skip
    of = [
        Paired(200, 300, 0.7, 0.8, 0.2, 0.3), Paired(100, 150, 0.7, 0.9, 0.0, 0.0),
        Paired(9, 200, 0.5, 0.5, 0.4, 0.5), Paired(0, 7, *[np.nan] * 4),
    ]  # fmt: skip
    areas = pd.concat(
        pd.DataFrame([one._asdict() | {"split": s, "slice": i} for i, one in enumerate(of)])
        for s in ("test", "train")
    )
    found = compare(scanned(["test", "train"]), spec, Confidence(), "x", "y", areas)
    assert list(found.columns) == list(COMPARED)
    assert found.index.is_unique
    assert len(found) == 16
    assert not found.duplicated(["slice", "metric", "split"]).any()
    part = found[(found["split"] == "test") & (found["metric"] == "roc_auc")].set_index("slice")
    assert part["support"].tolist() == [500, 250, 209, 7]
    assert part["difference"].tolist() == pytest.approx([0.1, 0.2, 0.0, np.nan], nan_ok=True)
    half = 1.959964 * np.sqrt(0.2 / 100 + 0.3 / 150)  # a slice varies no less than all rows do
    assert part.loc["a", "ci_low"] == pytest.approx(0.2 - half, rel=1e-6)
    assert part["p_value"].isna().tolist() == [False, False, True, True]
    assert part.loc["overall", "p_value"] == pytest.approx(0.0253473, rel=1e-4)
    assert compare(scanned(["test"]), spec, Confidence(), "x", "y").empty
