"""Labels, predictions and probabilities as other tools hold them, Spark ML above all."""

from __future__ import annotations

import decimal
import itertools
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from engine import evaluate, where
from engine.errors import ColumnError, TableError
from engine.metrics.classes import class_position, given_classes
from engine.metrics.predictions import fields_of, with_arrays
from engine.metrics.scan.chunks import positions_of

TYPES = {
    "boolean": [False, True, None, True],
    "tinyint": [0, 1, None, 7],
    "bigint": [0, 1, None, 7],
    "float": [-0.0, 1.0, None, 0.5],
    "double": [-0.0, 1.0, None, 0.5],
    "decimal(4,1)": [decimal.Decimal(0), decimal.Decimal(1), None, decimal.Decimal("0.5")],
    "decimal(9,0)": [decimal.Decimal(0), decimal.Decimal(1), None, decimal.Decimal(7)],
    "string": ["0", "1.0", None, "x"],
}
CLASSES = {
    "whole": [0, 1],
    "floats": [0.0, 1.0],
    "booleans": [False, True],
    "texts": ["0", "1"],
    "numpy": np.array([0, 1], np.int8),
    "numpy booleans": np.array([False, True]),
}


@pytest.fixture(scope="module")
def values(spark):
    names = {kind: f"c_{i}" for i, kind in enumerate(TYPES)}
    schema = ", ".join(f"{name} {kind}" for kind, name in names.items())
    df = spark.createDataFrame(list(zip(*TYPES.values(), strict=True)), schema)
    return df.coalesce(1), names


def test_a_value_is_the_same_class_whatever_holds_it(values):
    df, names = values
    sql = {
        (kind, how): class_position(name, kind, given_classes("evaluate", classes))
        for (kind, name), (how, classes) in itertools.product(names.items(), CLASSES.items())
    }
    found = df.selectExpr(*(f"{s} AS p{i}" for i, s in enumerate(sql.values()))).toPandas()
    columns = {name: df.toArrow().column(name).combine_chunks() for name in names.values()}
    for i, (kind, how) in enumerate(sql):
        last = 1 if kind == "boolean" else -2
        second = -2 if (kind, how) == ("string", "texts") else 1  # "1.0" is another text than "1"
        at = found[f"p{i}"].tolist()
        assert at == [0, second, -1, last], (kind, how)
        if kind in ("boolean", "tinyint", "bigint", "float", "double"):
            direct = positions_of(columns[names[kind]], given_classes("evaluate", CLASSES[how]))
            assert direct.tolist() == at, (kind, how)


@pytest.mark.parametrize(
    ("kind", "classes", "given", "position"),
    [
        ("string", [False, True], ["True", "false", "1", "no"], [1, 0, 1, -2]),
        ("string", [0, 1], [" 1 ", "1e0", "true", "0.0"], [1, 1, -2, 0]),
        ("string", ["a", 7], ["a", "7.0", "7", "b"], [0, 1, 1, -2]),
        ("string", ["007", "7"], ["7", "007", "7.0", "07"], [1, 0, -2, -2]),
        ("boolean", ["no", "true"], [True, False, None, True], [1, -2, -1, 1]),
        ("float", [0.1, 0.2], [0.1, 0.2, 0.3, None], [0, 1, -2, -1]),
        ("double", [0.1, 0.2], [0.1, math.nan, math.inf, None], [0, -2, -2, -1]),
        ("bigint", [2**62, 2**62 + 1], [2**62 + 1, 2**62, 0, None], [1, 0, -2, -1]),
        ("bigint", [0.5, 1], [1, 0, None, 2], [1, -2, -1, -2]),
        ("string", [2**62, 2**62 + 1], [str(2**62 + 1), "0", None, ""], [1, -2, -1, -2]),
    ],
)
def test_values_and_classes_of_two_types(spark, kind, classes, given, position):
    df = spark.createDataFrame([(v,) for v in given], f"v {kind}").coalesce(1)
    assert [r[0] for r in df.selectExpr(class_position("v", kind, classes)).collect()] == position
    if kind != "string":
        column = df.toArrow().column("v").combine_chunks()
        assert positions_of(column, classes).tolist() == position


def test_probabilities_of_any_shape_are_arrays(spark):
    from pyspark.ml.linalg import DenseVector, SparseVector

    shapes = {
        "prob_array": ("array<float>", [[0.25, 0.75], None, [0.5], [0.5, None]]),
        "prob_number": ("double", [0.75, None, 1.0, 0.0]),
        "prob_int_map": ("map<int,double>", [{0: 0.25, 1: 0.75}, None, {0: 0.5}, {0: 0.5, 2: 0.5}]),
        "prob_double_map": (
            "map<double,float>",
            [{0.0: 0.25, 1.0: 0.75}, None, {}, {1.0: 0.5, 3.0: 0.5}],
        ),
        "prob_text_map": (
            "map<string,double>",
            [{"0": 0.25, "1": 0.75}, None, {"0.0": 0.5, "1.0": 0.5}, {"a": 1.0}],
        ),
        "prob_flag_map": (
            "map<boolean,double>",
            [{False: 0.25, True: 0.75}, None, {True: 1.0}, {}],
        ),
        "prob_struct": (
            "struct<`1`:double,`0`:float>",
            [(0.75, 0.25), None, (None, 0.5), (1.0, 0.0)],
        ),
    }
    schema = ", ".join(f"{name} {kind}" for name, (kind, _) in shapes.items())
    rows = list(zip(*(v for _, v in shapes.values()), strict=True))
    df = spark.createDataFrame(rows, schema).coalesce(1).withColumn("pred", F.lit(1))
    fields = {name: fields_of(df, "t", [], {"prob": name}, [0, 1])["prob"] for name in shapes}
    found = df.selectExpr(*(f"{sql} AS {name}" for name, sql in fields.items())).toPandas()
    held = {
        c: [None if v is None else np.array(v, float).tolist() for v in found[c]] for c in found
    }
    nan = pytest.approx(np.nan, nan_ok=True)
    whole = [0.25, 0.75]
    assert held == {
        "prob_array": [whole, None, [0.5], [0.5, nan]],
        "prob_number": [whole, None, [0.0, 1.0], [1.0, 0.0]],
        "prob_int_map": [whole, None, [0.5, nan], []],
        "prob_double_map": [whole, None, [nan, nan], []],
        "prob_text_map": [whole, None, [0.5, 0.5], []],
        "prob_flag_map": [whole, None, [nan, 1.0], [nan, nan]],
        "prob_struct": [whole, None, [0.5, nan], [0.0, 1.0]],
    }
    vectors = spark.createDataFrame(
        [(DenseVector([0.25, 0.75]), 1), (SparseVector(2, {1: 1.0}), 0), (None, 1)],
        _vector_schema(),
    )
    arrays = with_arrays(vectors, {})
    assert [r["prob"] for r in arrays.collect()] == [[0.25, 0.75], [0.0, 1.0], None]


def _vector_schema():
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import IntegerType, StructField, StructType

    return StructType([StructField("prob", VectorUDT()), StructField("pred", IntegerType())])


def test_types_that_can_be_neither_are_refused_before_the_scan(spark):
    df = spark.range(3).selectExpr("id", "0 AS label", "1 AS pred")
    slices = [where("odd", "id % 2 = 1")]

    def message(error, **columns):
        made = df.selectExpr(
            "id",
            *(f"{sql} AS {name}" for name, sql in {"label": "0", "pred": "1", **columns}.items()),
        )
        with pytest.raises(error) as caught:
            evaluate(df.select("id"), made, key="id", slices=slices, metrics=["accuracy"])
        return str(caught.value)

    assert message(ColumnError, label="array(0)") == (
        "column 'label' of predictions of 'model' is array<int>, and must be a number, text or a "
        "boolean: cast it, or name another one in columns"
    )
    assert message(ColumnError, weight="'1'") == (
        "column 'weight' of predictions of 'model' is string, and must be a number: cast it, or "
        "name another one in columns"
    )
    assert message(ColumnError, prob="'0.5'") == (
        "column 'prob' of predictions of 'model' is string, and must be a number, an array, a "
        "vector, a map by class or a struct by class, of numbers: cast it, or name another one in "
        "columns"
    )
    assert message(ColumnError, prob="named_struct('0', 0.5D, 'one', 0.5D)") == (
        "probabilities prob of predictions of 'model': there is no column '1'; known: 0, one"
    )
    empty = "[] (of a map: one of its keys is no class)"
    assert message(TableError, prob="map(0, 0.5D, 7, 0.5D)") == (
        "column 'prob' of predictions of 'model' is not 2 probabilities from 0 to 1 on 3 rows, the "
        "first are "
        + "; ".join(f"{empty} at id={i}" for i in range(3))
        + "; correct them, or make "
        "them null"
    )
    assert message(TableError, label="0.5D") == (
        "column 'label' of predictions of 'model' has values that are not in classes [0, 1]: 0.5"
    )


def test_a_model_of_spark_ml(spark):
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import VectorAssembler

    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"id": np.arange(80), "a": rng.normal(size=80), "b": rng.normal(size=80)})
    rows["label"] = (rows["a"] + 0.5 * rng.normal(size=80) > 0).astype(float)
    df = spark.createDataFrame(rows)
    stages = [VectorAssembler(inputCols=["a", "b"], outputCol="features"), LogisticRegression()]
    scored = Pipeline(stages=stages).fit(df).transform(df).cache()
    slices = [where("high", "b > 0")]
    metrics = ["accuracy", "roc_auc", "log_loss"]
    joined = evaluate(df.select("id", "b"), scored, key="id", slices=slices, metrics=metrics)
    named = {"pred": "prediction", "prob": "probability"}
    own = evaluate(
        scored, key="id", slices=slices, metrics=metrics, columns=named, classes=[False, True]
    )
    local = scored.select("label", "prediction", "probability").toPandas()
    score = np.array([p[1] for p in local["probability"]])
    right = local["label"].to_numpy() == 1
    expected = {
        "accuracy": (local["label"] == local["prediction"]).mean(),
        "log_loss": -np.log(np.where(right, score, 1 - score)).mean(),
        "roc_auc": (score[right][:, None] > score[~right]).mean(),
    }
    for found in (joined, own):
        overall = found.overall.set_index("metric")["value"]
        assert overall.to_dict() == pytest.approx(expected, rel=1e-6)
    assert joined.by_slice["status"].tolist() == own.by_slice["status"].tolist()
    doubled = evaluate(scored, key="id", slices=slices, metrics=metrics, classes=[0.0, 1.0])
    assert doubled.table["value"].tolist() == own.table["value"].tolist()
    assert pa.types.is_float64(scored.select("prediction").toArrow().schema.field(0).type)
