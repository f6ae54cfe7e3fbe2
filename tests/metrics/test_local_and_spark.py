"""The same rows evaluated in Spark and in memory: figures are equal bit for bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import evaluate, metric

pytestmark = pytest.mark.spark
N = 3_000
METRICS = [
    "accuracy", "f1", "recall@threshold=0.3", "precision@top=0.2", "matthews_corrcoef", "roc_auc",
    "pr_auc", "log_loss", "brier", "ece", "coverage", "count", "mean@column=price",
    "null_rate@column=part",
]  # fmt: skip


@metric
class costs:
    def state(y_true, y_pred, y_prob, weight):
        return np.array([(y_true > y_pred).sum(), len(y_true)])

    def merge(a, b):
        return a + b

    def compute(state):
        return state[0] / state[1]


@metric(needs="prob")
def right(y_true, y_pred, y_prob, weight):
    return float((y_true == y_pred).mean())


def table(seed, classes, weighted):
    rng = np.random.default_rng(seed)

    def some(values, share):
        return pa.array(values, mask=rng.random(N) < share)

    label = rng.integers(0, classes, N)
    prob = rng.dirichlet(np.ones(classes) * 2, N).astype(rng.choice([np.float32, np.float64]))
    pred = np.where(rng.random(N) < 0.7, label, rng.integers(0, classes, N))
    columns = {
        "id": pa.array(rng.permutation(N)),
        "part": some(rng.choice(["train", "test", "null"], N), 0.1),
        "group": pa.array(rng.integers(0, 90, N)),
        "price": some(rng.normal(0, 1e3, N), 0.05),
        **{f"s{i}": some(rng.random(N) < rng.random() ** 3, 0.02 * (i % 2)) for i in range(70)},
        "label": some(label, 0.05),
        "pred": some(pred, 0.05),
        "prob": some(prob[:, 1], 0.05) if classes == 2 else pa.array(prob.tolist()),
    }
    if weighted:
        columns["weight"] = some(rng.gamma(1, 2, N), 0.1)
    return pa.table(columns)


CASES = [
    (0, 2, False, {"split": "part", "n_replicates": 20}),
    (1, 2, True, {"n_replicates": 20, "cluster": "group"}),
    (2, 4, True, {"n_replicates": 10}),
]


@pytest.mark.parametrize(("seed", "classes", "weighted", "more"), CASES)
def test_figures_are_equal_bit_for_bit(spark, seed, classes, weighted, more):
    rows = table(seed, classes, weighted)
    binary = [m for m in METRICS if classes == 2 or not {"@t", "_auc"} & {m[-4:], m[6:8], m[9:11]}]
    asks = {
        "key": "id", "metrics": [*binary, costs, right], "classes": list(range(classes)),
        "slices": [f"s{i}" for i in range(70)], "allow_missing": True, **more,
    }  # fmt: skip
    outputs = [c for c in ("label", "pred", "prob", "weight") if c in rows.column_names]
    masks = rows.drop_columns(outputs)
    models = {"a": rows.select(["id", *outputs]), "b": rows.select(["id", *outputs])[: N // 2]}
    for given in ((rows,), (masks, models)):
        there = [
            {m: spark.createDataFrame(t) for m, t in one.items()}
            if isinstance(one, dict)
            else spark.createDataFrame(one)
            for one in given
        ]
        ours, of_spark = evaluate(*given, **asks), evaluate(*there, **asks)
        pd.testing.assert_frame_equal(ours.table, of_spark.table, check_exact=True)
    for slice_id in ("overall", "s3"):
        one, other = (
            e.worst_rows(slice_id, 9, columns=["price"]).drop(columns="prob")
            for e in (ours, of_spark)
        )
        pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-12)
        one, other = (e.flipped_rows("a", "b", slice_id) for e in (ours, of_spark))
        pd.testing.assert_frame_equal(one, other, check_dtype=False)
    one, other = (e.compare("a", "b") for e in (ours, of_spark))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
