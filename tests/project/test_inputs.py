"""What models read where the project doesn't say, and warnings of their training."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
from pyspark.sql import types as T

from engine.project.evaluating import EvaluationInput
from engine.project.inputs import baseline_columns, free_columns, with_inputs
from engine.project.settings import Project

COLUMNS = {
    "ds": T.StringType(), "id": T.LongType(), "label": T.IntegerType(), "split": T.StringType(),
    "w": T.DoubleType(), "who": T.StringType(), "age": T.DoubleType(),
    "price": T.DecimalType(9, 2), "member": T.BooleanType(), "city": T.StringType(),
    "text": T.StringType(), "at": T.TimestampType(), "tags": T.ArrayType(T.IntegerType()),
}  # fmt: skip
SCHEMA = T.StructType([T.StructField(name, kind) for name, kind in COLUMNS.items()])
ABOUT = {
    "name": "p", "root": "./out", "source": {"table": "t"}, "key": "id", "partition_by": ["ds"],
    "label": "label", "split": "split", "weight": "w", "sample": {"group": "who"},
}  # fmt: skip


def project(**settings):
    return Project.model_validate({**ABOUT, **settings})


def test_columns_without_a_role_are_read_where_there_is_no_text():
    free = {"numeric": ["age", "price", "member"], "category": ["city", "text"]}
    assert free_columns(project(), SCHEMA) == free
    one = with_inputs(project(), SCHEMA)
    assert one.classifier.features == {"kind": "tabular", **free}
    assert baseline_columns(one) == [*free["numeric"], *free["category"]]


def test_a_text_is_read_where_there_is_one():
    one = with_inputs(project(text="text"), SCHEMA)
    assert one.classifier.features == {"kind": "bag_of_words"}
    assert (one.baseline.columns, baseline_columns(one)) == (None, ["text"])


def test_what_the_project_says_is_read():
    features = {"kind": "tabular", "numeric": ["age"]}
    for text in (None, "text"):
        said = {"classifier": {"features": features}, "baseline": {"columns": ["city"]}}
        one = with_inputs(project(text=text, **said), SCHEMA)
        assert one.classifier.features == features
        assert baseline_columns(one) == ["city"]


def test_what_training_warned_of_is_told_with_each_split_that_is_evaluated():
    shown = pd.DataFrame([("m", "test", "a")], columns=["model_id", "split", "warning"])
    evaluation = SimpleNamespace(
        warnings=shown, table=pd.DataFrame({"split": ["test", "test", None]})
    )
    facts = {"m": {"trained_on": {"warnings": ["b"]}}, "other": {"trained_on": {}}, "theirs": {}}
    stored = {model: SimpleNamespace(facts=of) for model, of in facts.items()}
    warnings = EvaluationInput.warnings(SimpleNamespace(stored=stored), evaluation)
    rows = warnings.astype(object).where(warnings.notna(), None).to_numpy().tolist()
    assert rows == [["m", "test", "a"], ["m", "test", "b"], ["m", None, "b"]]
