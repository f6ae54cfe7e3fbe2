"""Tables of pandas and pyarrow evaluated without Spark; tests/spark compares with Spark."""

from __future__ import annotations

import datetime as dt
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import Confidence, Scorer, evaluate, metric, slicing_function
from engine.errors import EngineError

N = 300
RNG = np.random.default_rng(7)
LABEL = RNG.integers(0, 2, N)
PROB = np.clip(0.3 * LABEL + 0.7 * RNG.random(N), 0, 1)
FRAME = pd.DataFrame(
    {
        "id": np.arange(N), "word": [f"w{i % 9}" for i in range(N)], "price": RNG.gamma(2, 9, N),
        "a": RNG.random(N) < 0.4, "b": pd.array(RNG.random(N) < 0.2, "boolean"),
        "label": LABEL, "pred": (PROB > 0.5) * 1, "prob": PROB,
    }
)  # fmt: skip
METRICS = ["accuracy", "f1", "recall", "log_loss", "roc_auc"]


@slicing_function()
def dear(x):
    return x.price > 20


def value(found, slice_id, metric):
    table = found.table
    return table[(table["slice"] == slice_id) & (table["metric"] == metric)]["value"].item()


def test_figures_are_those_of_the_scorer():
    found = evaluate(FRAME, key="id", slices=["a", "b", dear], metrics=METRICS, n_replicates=0)
    masks = {"a": FRAME["a"], "b": FRAME["b"], "dear": FRAME["price"] > 20}
    probs = np.stack([1 - PROB, PROB], axis=1)
    for slice_id, mask in {"overall": np.ones(N, bool), **masks}.items():
        at = np.asarray(mask, bool)
        scores = Scorer(METRICS).score(LABEL[at], FRAME["pred"].to_numpy()[at], probs[at])
        for name in METRICS:
            assert value(found, slice_id, name) == scores[name], (slice_id, name)


def test_pandas_arrow_batches_and_joined_tables_give_the_same():
    asks = {"key": "id", "slices": ["a", "b"], "metrics": METRICS, "n_replicates": 20}
    found = evaluate(FRAME, **asks)
    table = pa.Table.from_pandas(FRAME)
    cut = pa.Table.from_batches(table.to_batches(max_chunksize=7))
    predictions = FRAME[["id", "label", "pred", "prob"]].sample(frac=1, random_state=0)
    rows = FRAME[["id", "a", "b"]]
    others = [
        evaluate(cut, **asks),
        evaluate(table.combine_chunks().to_batches()[0], **asks),
        evaluate(rows, predictions, **asks),
        evaluate(rows, pa.Table.from_pandas(predictions), **asks),
    ]
    for other in others:
        pd.testing.assert_frame_equal(other.table, found.table, check_exact=True)


def test_all_that_an_evaluation_offers():
    @metric
    def right(y_true, y_pred, y_prob, weight):
        return (y_true == y_pred).mean()

    second = FRAME.assign(pred=(PROB > 0.4) * 1, prob=PROB**2)
    found = evaluate(
        FRAME[["id", "word", "price", "a"]], {"x": FRAME[["id", "label", "pred", "prob"]],
        "y": second[["id", "label", "pred", "prob"]]}, key="id", slices=["a"], cluster="word",
        metrics=["accuracy", "roc_auc", "mean@column=price", right], n_replicates=50,
        confidence=Confidence(min_support=0),
    )  # fmt: skip
    assert len(found.by_slice) == 8
    assert found.difference(to="complement")["value"].notna().any()
    assert found.ratio()["value"].notna().any()
    assert found.worst(1, "accuracy", "x")["slice"].tolist() == ["a"]
    compared = found.compare("x", "y")
    assert set(compared["metric"]) == {"accuracy", "mean@column=price"}
    flips = found.flips("x", "y")
    rows = found.flipped_rows("x", "y", n=N, columns=["price"])
    assert rows["flip"].value_counts().to_dict().get("won", 0) == flips["won"].iloc[0]
    assert rows["flip"].value_counts().to_dict().get("lost", 0) == flips["lost"].iloc[0]
    assert list(rows.columns) == ["flip", "id", "price", "label", "pred_x", "pred_y"]
    worst = found.worst_rows("a", 5, "y", columns=["word"])
    assert list(worst.columns) == ["id", "word", "label", "pred", "prob", "loss"]
    assert worst["loss"].is_monotonic_decreasing
    assert (worst["word"] == FRAME["word"].iloc[worst["id"]].to_numpy()).all()
    assert found.confusion("a")["rows"].sum() == 2 * FRAME["a"].sum()
    areas = evaluate(
        FRAME, key="id", slices=["a"], metrics=["roc_auc"], n_replicates=0
    )._rows.paired_areas((0, 0))  # fmt: skip
    assert (areas["first"] == areas["second"]).all()


def test_an_empty_table_has_no_figures_and_an_empty_slice_has():
    assert evaluate(FRAME.head(0), key="id", slices=["a"]).table.empty
    found = evaluate(FRAME.assign(a=False), key="id", slices=["a"])
    assert found.by_slice["status"].tolist() == ["empty", "empty"]


def test_types_that_arrow_and_pandas_have_for_the_same_values():
    asks = {"key": "id", "slices": ["a"], "metrics": METRICS, "n_replicates": 0}
    plain = evaluate(FRAME, **asks).table
    alike = [
        {"label": LABEL.astype(bool)},
        {"label": [Decimal(int(v)) for v in LABEL]},
        {"label": LABEL.astype(str), "pred": FRAME["pred"].astype(str).astype("category")},
        {"label": LABEL.astype("uint8"), "id": FRAME["id"].astype("uint32")},
        {"prob": [np.array([1 - p, p]) for p in PROB]},
    ]
    for columns in alike:
        other = evaluate(FRAME.assign(**columns), **asks).table
        pd.testing.assert_frame_equal(other, plain, check_exact=True)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("none", [{}, {"prob": None}, {"weight": None}, {"label": None}])
def test_what_there_is_none_of(classes, none):
    label = np.arange(N) % classes
    rows = FRAME[["id", "a"]].assign(**{"label": label, "pred": label, **none})
    asks = {"metrics": ["log_loss", "accuracy"], "classes": list(range(classes))}
    found = evaluate(rows, key="id", slices=["a"], n_replicates=0, **asks)
    assert value(found, "a", "accuracy") == 1.0 or "label" in none
    assert found.table["status"].unique().tolist()[0] == "unscored"


WRONG = {
    "unmarked": ({"slices": []}, "a, b"),
    "no mask": ({"slices": ["zz"]}, "'zz'"),
    "no column": ({"key": "idd"}, "key of the table: there is no column 'idd'"),
    "a time": ({"rows": {"split": [dt.datetime(2024, 1, 1)] * N}, "split": "split"}, "split must"),
    "a float key": ({"key": "price"}, "key column 'price' is double"),
    "a class": ({"rows": {"label": 7}}, "7"),
    "a weight": ({"rows": {"weight": -1.0}}, "is not a number from 0 to 1e+30 on 300 rows"),
    "a probability": ({"rows": {"prob": 2.0}, "metrics": ["log_loss"]}, "2.0 at id=0"),
    "a map": ({"rows": {"prob": [{"0": 0.5, "1": 0.5}] * N}}, "must be a number, or an array"),
    "text": ({"rows": {"label": "1.0"}}, "1.0"),
    "numbers": ({"rows": {"label": "1"}, "metrics": ["mae"]}, "is string, and must be a number"),
    "missing": ({"predictions": FRAME.head(9)}, "for 291 of 300 rows"),
    "twice": ({"predictions": FRAME.assign(id=0)}, "id=0 (300 rows)"),
    "null": ({"predictions": FRAME.assign(id=pd.array([None] * N, "Int64"))}, "null on 300"),
    "other keys": ({"predictions": FRAME.assign(id=FRAME["word"])}, "cast one of them"),
}


def test_keys_of_more_digits_than_int64_has_are_their_digits():
    keys = [10**19 + i for i in range(N)]
    wide = pa.array(list(map(Decimal, keys)), pa.decimal128(20, 0))
    asks = {"key": "id", "slices": ["a"], "metrics": ["accuracy"], "n_replicates": 50}
    rows = pa.Table.from_pandas(FRAME, preserve_index=False)
    at = rows.schema.get_field_index("id")
    tables = [rows.set_column(at, "id", ids) for ids in (wide, pa.array(list(map(str, keys))))]
    decimal, texts = (evaluate(table, **asks).table for table in tables)
    pd.testing.assert_frame_equal(decimal, texts)


def test_whole_numbers_that_spark_can_not_hold_are_refused():
    rows = FRAME.assign(id=np.arange(N, dtype=np.uint64) + np.uint64(2**63))
    with pytest.raises(EngineError) as error:
        evaluate(rows, key="id", slices=["a"])
    assert str(error.value) == (
        "column 'id' of the table is uint64 above 2**63 - 1, and must be int64 or text: cast it, "
        "or name another one in columns"
    )


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused_says_what_is_wrong(name):
    asks, sentence = WRONG[name]
    asks = {"key": "id", "slices": ["a"], **asks}
    rows = FRAME.assign(**asks.pop("rows", {}))
    with pytest.raises(EngineError) as error:
        evaluate(rows, **asks)
    assert sentence in str(error.value)


def test_sure_is_the_old_name_of_confidence():
    asks = {"key": "id", "slices": ["a"]}
    with pytest.warns(DeprecationWarning, match="write confidence=") as caught:
        old = evaluate(FRAME, sure=Confidence(level=0.8), **asks)
    assert [w.filename for w in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = evaluate(FRAME, confidence=Confidence(level=0.8), **asks)
    pd.testing.assert_frame_equal(old.table, new.table)
    with pytest.warns(DeprecationWarning, match="Evaluation.confidence") as caught:
        assert new.sure == new.confidence
    assert [w.filename for w in caught] == [__file__]
