"""Mask rows with each model's predictions beside them, and what a scan reads of these, in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import IntegralType, StructType

from engine.metrics.exact import LARGEST
from engine.metrics.outputs import MISSING, UNKNOWN_CLASS
from engine.metrics.predictions import OURS
from engine.sql import name_sql, text_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAX_WEIGHT = 2.0**100
MAX_NUMBER = LARGEST
_PREDICTION = "@prediction"  # named as no slice can be
SLACK = 1e-6  # a probability computed in 32 bits may be that much over 1


def prediction(at: int) -> str:
    """Return the column that holds the predictions of the model at this position."""
    return f"{_PREDICTION}_{at}"


def join_predictions(
    masks: DataFrame, predictions: Mapping[str, DataFrame], on: Sequence[str]
) -> DataFrame:
    """Return mask rows with a column per model that holds its prediction, null without one.

    Parameters
    ----------
    masks
        The mask table's rows.
    predictions
        Model id to columns ``on``, ``label``, ``weight``, ``pred``, ``prob``.
    on
        Partition and key columns.
    """
    joined = masks
    for at, df in enumerate(predictions.values()):
        held = df.selectExpr(*map(name_sql, on), _struct(dict(zip(OURS, OURS, strict=True)), at))
        joined = joined.join(held, list(on), "left")
    return joined


def with_own_predictions(given: DataFrame, fields: Mapping[str, str]) -> DataFrame:
    """Return rows that hold a model's predictions as if these had been joined to them.

    Parameters
    ----------
    given
        The rows.
    fields
        Label, weight, pred and prob in SQL.
    """
    return given.selectExpr("*", _struct(fields, 0)).drop("model_id", *OURS)


def _struct(fields: Mapping[str, str], at: int) -> str:
    values = ", ".join(f"'{name}', {sql}" for name, sql in fields.items())
    return f"named_struct({values}) AS {name_sql(prediction(at))}"


def has_prediction(at: int) -> str:
    """Tell whether a row has a prediction."""
    return f"{name_sql(prediction(at))} IS NOT NULL"


def predicted(at: int, name: str) -> str:
    """Return what joined rows have of a prediction: its label, weight, pred or prob."""
    return f"{name_sql(prediction(at))}.{name}"


def position(df: DataFrame, at: int, name: str, classes: Sequence[Any]) -> str:
    """Return a label's or prediction's class position, -1 for null, -2 for none of the classes."""
    held = df.schema[prediction(at)].dataType
    integral = isinstance(held, StructType) and isinstance(held[name].dataType, IntegralType)
    value = predicted(at, name)
    if integral and all(type(c) is int for c in classes):
        return _position(f"CAST({value} AS BIGINT)", [f"CAST({c} AS BIGINT)" for c in classes])
    return class_position(value, classes)


def class_position(value: str, classes: Sequence[Any]) -> str:
    """Return a value's class position, -1 for null, -2 for none of the classes; all in SQL."""
    # Compared as text: labels may be integers in one table and long or text in another.
    return _position(f"CAST({value} AS STRING)", [text_sql(class_text(c)) for c in classes])


def _position(value: str, classes: Sequence[str]) -> str:
    at = f"CAST(array_position(array({', '.join(classes)}), {value}) AS INT)"
    return f"COALESCE(NULLIF({at}, 0) - 1, IF({value} IS NULL, {MISSING}, {UNKNOWN_CLASS}))"


def class_text(value: Any) -> str:
    """Return a class as Spark's cast to string shows it.

    Examples
    --------
    >>> class_text(True), class_text(1), class_text("spam")
    ('true', '1', 'spam')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(value: str) -> str:
    """Return a label or prediction as DOUBLE; null for text that is no number."""
    return f"try_cast({value} AS DOUBLE)"


def bad_number(value: str) -> str:
    """Tell whether a label or prediction is there but is no number that can be summed."""
    as_double = number(value)
    large = f"isnan({as_double}) OR abs({as_double}) > {_double(MAX_NUMBER)}"
    return f"({value} IS NOT NULL AND ({as_double} IS NULL OR {large}))"


def bad_weight(weight: str) -> str:
    """Tell whether a weight, a DOUBLE, is negative, too large or NaN."""
    bad = f"{weight} < 0 OR isnan({weight}) OR {weight} > {_double(MAX_WEIGHT)}"
    return f"COALESCE({bad}, false)"


def bad_prob(prob: str, n_classes: int) -> str:
    """Tell whether there isn't a probability per class, or one is out of [0, 1]; NaN may be."""
    # Functions of arrays that take lambdas would be interpreted row by row. NaN is the largest.
    most = f"array_max(array_remove({prob}, double('NaN'))) > {_double(1 + SLACK)}"
    outside = f"array_min({prob}) < {_double(-SLACK)} OR COALESCE({most}, false)"
    return f"({prob} IS NOT NULL AND COALESCE(size({prob}) != {n_classes} OR {outside}, false))"


def _double(value: float) -> str:
    return f"{value!r}D"
