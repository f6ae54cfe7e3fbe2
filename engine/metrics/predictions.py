"""Prediction tables, ours and other tools', brought to one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import ArrayType

from engine.errors import (
    ClassOrderError,
    MissingColumnError,
    PredictionColumnError,
    PredictionKeyError,
)
from engine.sql import name_sql, text_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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
    fields = fields_of(df, table, on, columns, classes)
    key = (f"{name_sql(columns.get(c, c))} AS {name_sql(c)}" for c in on)
    rows = of_model(df, model_id, columns)
    return rows.selectExpr(*key, *(f"{sql} AS {name}" for name, sql in fields.items()))


def fields_of(
    df: DataFrame,
    table: str,
    on: Sequence[str],
    columns: Mapping[str, str],
    classes: Sequence[Any],
) -> dict[str, str]:
    """Return a prediction table's label, weight, pred and prob, in SQL; as :func:`normalised`."""
    check_key_names(table, on)
    known = [*on, *OURS, "model_id"]
    for ours, theirs in columns.items():
        if ours not in known:
            raise PredictionColumnError(table, ours, known)
        if theirs not in df.columns:
            raise MissingColumnError(f"columns.{ours} of {table}", theirs, df.columns)
    for required in (*on, "pred"):
        if columns.get(required, required) not in df.columns:
            raise MissingColumnError(f"predictions {table}", required, df.columns)
    return {
        "label": _optional(df, columns, "label"),
        "weight": f"CAST({_optional(df, columns, 'weight')} AS DOUBLE)",
        "pred": _optional(df, columns, "pred"),
        "prob": _probabilities(df, table, columns, classes),
    }


def check_key_names(table: str, on: Sequence[str]) -> None:
    """Check that key and partition columns aren't named as others of a prediction table.

    Raises
    ------
    PredictionKeyError
        If one is.
    """
    for column in on:
        if column.lower() in (*OURS, "model_id"):
            raise PredictionKeyError(table, column)


def of_model(df: DataFrame, model_id: str, columns: Mapping[str, str]) -> DataFrame:
    """Return the rows of one model; all of them where the table has no ``model_id``."""
    own_model = columns.get("model_id", "model_id")
    if own_model not in df.columns:
        return df
    return df.where(f"{name_sql(own_model)} = {text_sql(model_id)}")


def has_weights(df: DataFrame, columns: Mapping[str, str]) -> bool:
    """Tell whether some prediction of a table has a weight."""
    name = columns.get("weight", "weight")
    return name in df.columns and not df.where(f"{name_sql(name)} IS NOT NULL").isEmpty()


def _optional(df: DataFrame, columns: Mapping[str, str], name: str) -> str:
    theirs = columns.get(name, name)
    return name_sql(theirs) if theirs in df.columns else "CAST(NULL AS STRING)"


def _probabilities(
    df: DataFrame, table: str, columns: Mapping[str, str], classes: Sequence[Any]
) -> str:
    theirs = columns.get("prob", "prob")
    if theirs not in df.columns:
        return "CAST(NULL AS ARRAY<DOUBLE>)"
    column, field = name_sql(theirs), df.schema[theirs]
    stored = field.metadata.get("classes")
    if stored is not None and classes and list(stored) != [str(c) for c in classes]:
        raise ClassOrderError(table, stored, classes)
    if isinstance(field.dataType, ArrayType):
        return f"CAST({column} AS ARRAY<DOUBLE>)"
    positive = f"CAST({column} AS DOUBLE)"
    return f"IF({column} IS NULL, NULL, array(1 - {positive}, {positive}))"
