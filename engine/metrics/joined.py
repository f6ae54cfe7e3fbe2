"""Mask rows with each model's predictions beside them, and what a scan reads of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import IntegralType, StructType

from engine.masks.checks import quoted
from engine.metrics.outputs import MISSING, UNKNOWN_CLASS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MAX_WEIGHT = 2.0**32
MAX_NUMBER = 2.0**46  # its square, weighted, can still be summed
_PREDICTION = "@prediction"  # named as no slice can be
_FIELDS = ("label", "weight", "pred", "prob")
_SLACK = 1e-6  # a probability computed in 32 bits may be that much over 1


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
        held = df.select(*map(quoted, on), F.struct(*_FIELDS).alias(prediction(at)))
        joined = joined.join(held, list(on), "left")
    return joined


def with_own_predictions(given: DataFrame, kept: Sequence[str]) -> DataFrame:
    """Return rows that hold a model's predictions as if these had been joined to ``kept``."""
    return given.select(*map(quoted, kept), F.struct(*_FIELDS).alias(prediction(0)))


def has_prediction(at: int) -> Column:
    """Tell whether a row has a prediction."""
    return F.col(f"`{prediction(at)}`").isNotNull()


def predicted(at: int, name: str) -> Column:
    """Return what joined rows have of a prediction: its label, weight, pred or prob."""
    return F.col(f"`{prediction(at)}`.{name}")


def position(df: DataFrame, at: int, name: str, classes: Sequence[Any]) -> Column:
    """Return a label's or prediction's class position, -1 for null, -2 for none of the classes."""
    held = df.schema[prediction(at)].dataType
    integral = isinstance(held, StructType) and isinstance(held[name].dataType, IntegralType)
    if integral and all(type(c) is int for c in classes):
        return _position(predicted(at, name).cast("long"), [F.lit(c).cast("long") for c in classes])
    return class_position(predicted(at, name), classes)


def class_position(column: Column, classes: Sequence[Any]) -> Column:
    """Return a value's class position, -1 for null, -2 for none of the classes."""
    # Compared as text: labels may be integers in one table and long or text in another.
    return _position(column.cast("string"), [F.lit(class_text(c)) for c in classes])


def _position(column: Column, values: Sequence[Column]) -> Column:
    at = F.array_position(F.array(*values), column).cast("int") - 1
    return F.when(column.isNull(), MISSING).when(at < 0, UNKNOWN_CLASS).otherwise(at)


def class_text(value: Any) -> str:
    """Return a class as Spark's cast to string shows it.

    Examples
    --------
    >>> class_text(True), class_text(1), class_text("spam")
    ('true', '1', 'spam')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def number(at: int, name: str) -> Column:
    """Return a label or prediction as DOUBLE; null for text that is no number."""
    return predicted(at, name).try_cast("double")


def bad_number(at: int, name: str) -> Column:
    """Tell whether a label or prediction is there but is no number that can be summed."""
    value = number(at, name)
    unusable = value.isNull() | F.isnan(value) | (F.abs(value) > MAX_NUMBER)
    return predicted(at, name).isNotNull() & unusable


def bad_weight(at: int) -> Column:
    """Tell whether a prediction's weight is negative, too large or NaN."""
    weight = predicted(at, "weight")
    return F.coalesce((weight < 0) | F.isnan(weight) | (weight > MAX_WEIGHT), F.lit(False))


def bad_prob(at: int, n_classes: int) -> Column:
    """Tell whether there isn't a probability per class, or one is out of [0, 1]; NaN may be."""
    prob = predicted(at, "prob")
    outside = F.exists(prob, lambda p: ((p < -_SLACK) | (p > 1 + _SLACK)) & ~F.isnan(p))
    return F.coalesce((F.size(prob) != n_classes) | outside, F.lit(False)) & prob.isNotNull()
