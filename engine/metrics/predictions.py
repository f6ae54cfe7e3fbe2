"""Prediction tables, ours and other tools', brought to one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType

from engine.errors import ClassOrderError, MissingColumnError, PredictionColumnError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

OURS = ("label", "weight", "pred", "prob")


def normalised(
    df: DataFrame,
    table: str,
    model_id: str,
    on: Sequence[str],
    columns: Mapping[str, str],
    classes: Sequence[Any],
) -> DataFrame:
    """Return one model's predictions as ``on``, label, weight, pred, prob.

    Parameters
    ----------
    df
        The prediction table's rows.
    table
        Its name, for messages.
    model_id
        The model; where the table has a ``model_id`` column its rows are chosen by it.
    on
        Partition and key columns.
    columns
        Our column to the table's own, where they differ.
    classes
        Class order; a ``prob`` column that carries another one is refused. None where labels
        are numbers.

    Raises
    ------
    PredictionColumnError
        If ``columns`` maps a name that isn't ours.
    MissingColumnError
        If a key column or ``pred`` is missing, or a mapped column.
    ClassOrderError
        If probabilities are in another class order.

    Notes
    -----
    A ``prob`` that is a number is the positive class's probability (two classes). Missing
    ``label``, ``weight`` and ``prob`` are null.
    """
    known = [*on, *OURS, "model_id"]
    for ours, theirs in columns.items():
        if ours not in known:
            raise PredictionColumnError(table, ours, known)
        if theirs not in df.columns:
            raise MissingColumnError(f"columns.{ours} of {table}", theirs, df.columns)
    for required in (*on, "pred"):
        if columns.get(required, required) not in df.columns:
            raise MissingColumnError(f"predictions {table}", required, df.columns)
    own_model = columns.get("model_id", "model_id")
    if own_model in df.columns:
        df = df.where(F.col(f"`{own_model}`") == model_id)
    return df.select(
        *(F.col(f"`{columns.get(c, c)}`").alias(c) for c in on),
        _optional(df, columns, "label").alias("label"),
        _optional(df, columns, "weight").cast("double").alias("weight"),
        _optional(df, columns, "pred").alias("pred"),
        _probabilities(df, table, columns, classes).alias("prob"),
    )


def has_weights(df: DataFrame, columns: Mapping[str, str]) -> bool:
    """Tell whether some prediction of a table has a weight."""
    name = columns.get("weight", "weight")
    return name in df.columns and not df.where(F.col(f"`{name}`").isNotNull()).isEmpty()


def _optional(df: DataFrame, columns: Mapping[str, str], name: str) -> Column:
    theirs = columns.get(name, name)
    return F.col(f"`{theirs}`") if theirs in df.columns else F.lit(None).cast("string")


def _probabilities(
    df: DataFrame, table: str, columns: Mapping[str, str], classes: Sequence[Any]
) -> Column:
    theirs = columns.get("prob", "prob")
    if theirs not in df.columns:
        return F.lit(None).cast("array<double>")
    column = F.col(f"`{theirs}`")
    field = df.schema[theirs]
    stored = field.metadata.get("classes")
    if stored is not None and classes and list(stored) != [str(c) for c in classes]:
        raise ClassOrderError(table, stored, classes)
    if isinstance(field.dataType, ArrayType):
        return column.cast("array<double>")
    positive = column.cast("double")
    return F.when(positive.isNotNull(), F.array(1 - positive, positive))
