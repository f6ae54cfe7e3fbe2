"""Signatures answer compositions of slices as a rescan of the rows does."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from engine.errors import MaskError, MetricError
from engine.masks.layout import Bits, StoredSlice, described_words, words_sql
from engine.metrics.explore.signatures import RowCount, signatures

N, IDS = 600, ("a", "b", "c")
ASKED = ["a", "~a", "a & b", "a | ~b", "~(a | b) & c", "a & ~(b | c)", "(a | b) & (b | ~c)"]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, N)
    masks = {
        s: rng.choice(np.array([True, False, None], dtype=object), N, p=[p, 0.9 - p, 0.1])
        for s, p in zip(IDS, (0.5, 0.3, 0.1), strict=True)
    }
    return pd.DataFrame(
        {
            "id": np.arange(N),
            "split": rng.choice(["train", "test"], N),
            "label": label,
            "pred": np.where(rng.random(N) < 0.7, label, 1 - label),
            "weight": rng.integers(0, 9, N) / 8,
            **masks,
        }
    )


@pytest.fixture(scope="module", params=["boolean", "packed"])
def table(spark, rows, request):
    kinds = "id long, split string, label int, pred int, weight double, "
    df = spark.createDataFrame(rows, kinds + ", ".join(f"{s} boolean" for s in IDS))
    if request.param == "packed":
        bits = Bits(tuple(StoredSlice(s, s, "") for s in IDS))
        words = described_words(words_sql(bits), bits)
        return df.select(*(c for c in df.columns if c not in IDS), *words)
    for s in IDS:
        about = {"slice": {"name": s, "fingerprint": s}}
        df = df.withColumn(s, df[s].alias(s, metadata=about))
    return df


def kleene(expr, rows):
    """What a composition is of each row, by pandas' nullable booleans."""
    return eval(expr, {s: rows[s].astype("boolean") for s in IDS})


@pytest.mark.parametrize("split", [..., "test"])
def test_compositions_are_answered_as_by_the_rows(table, rows, split):
    found = signatures(table, label="label", pred="pred", split="split")
    assert (found.complete, found.rows) == (True, N)
    for expr in ASKED:
        chosen = rows if split is ... else rows[rows["split"] == split]
        member = kleene(expr, chosen)
        true, undecided = int(member.sum()), int(member.isna().sum())
        expected = RowCount(true, len(chosen) - true - undecided, undecided)
        assert found.rows_in(expr, split) == expected, expr
        part = chosen[member.fillna(False)]
        np.testing.assert_array_equal(
            found.confusion(expr, split),
            sk.confusion_matrix(part["label"], part["pred"], labels=[0, 1]),
        )
        figures = found.figures(expr, ["accuracy", "f1"], split).set_index("metric")
        assert figures.loc["accuracy", "value"] == pytest.approx(
            sk.accuracy_score(part["label"], part["pred"])
        )
        assert figures.loc["f1", "support"] == len(part)


def test_weights_are_added_up(table, rows):
    found = signatures(table, ["a"], label="label", pred="pred", weight="weight")
    part = rows[rows["a"].eq(True).to_numpy(bool)]
    expected = sk.confusion_matrix(part["label"], part["pred"], sample_weight=part["weight"])
    np.testing.assert_allclose(found.confusion("a"), expected, atol=1e-9)


def test_what_is_left_out_is_said(table, rows):
    whole = signatures(table)
    some = signatures(table, limit=4)
    assert (len(some.counts), some.n_patterns) == (4, len(whole.counts))
    assert some.rows == N
    assert some.rows_left_out == whole.counts[4:].sum()
    count, exact = some.rows_in("a"), whole.rows_in("a")
    assert not count.complete
    assert count.bounds[0] <= exact.true <= count.bounds[1]
    listed = whole.to_pandas()
    assert listed["@rows"].sum() == N
    assert listed["a"].isna().any()


def test_what_cannot_be_asked(table):
    found = signatures(table, label="label", split="split")
    with pytest.raises(MaskError):
        found.rows_in("a & d")
    with pytest.raises(MetricError) as caught:
        found.confusion("a")
    assert str(caught.value) == (
        "these signatures hold no pred, so they have no confusion: make them with pred=..."
    )
    with pytest.raises(MetricError) as split:
        found.rows_in("a", "tset")
    assert str(split.value) == "the signatures have no split 'tset'; did you mean 'test'?"
    with pytest.raises(MetricError) as limit:
        signatures(table, limit=0)
    assert str(limit.value) == "limit must be a positive number of signatures to keep, found 0"
    for metric, problem in {
        "roc_auc": "it is not made of labels and predictions alone",
        "f1@threshold=0.5": "its predictions are made of scores, which signatures do not hold",
    }.items():
        with pytest.raises(MetricError) as wrong:
            found.figures("a", [metric])
        assert str(wrong.value) == (
            f"metric {metric!r} can't be computed from signatures: {problem}; evaluate() can"
        )


def test_the_highest_bit_of_a_word_alone(spark):
    ids = [f"s{i}" for i in range(64)]
    bits = Bits(tuple(StoredSlice(s, s, "") for s in ids))
    rows = spark.range(128).selectExpr(*(f"id % 64 = {i} AS {s}" for i, s in enumerate(ids)))
    found = signatures(rows.select(*described_words(words_sql(bits), bits)), ["s63"])
    assert found.rows_in("s63") == RowCount(2, 126, 0)
