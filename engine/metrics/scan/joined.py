"""Mask rows with each model's predictions beside them, and what a scan reads of these, in SQL.

:mod:`.chunks` reads the same from files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from engine.errors import ColumnError
from engine.hashing import KeyHash
from engine.masks.reader import read_masks
from engine.masks.splits import split_sql
from engine.metrics.classes import INTEGERS, class_position
from engine.metrics.formulas.exact import LARGEST
from engine.metrics.formulas.outputs import MISSING
from engine.metrics.predictions import OURS
from engine.metrics.scan.form import EvaluationSpec, Form, code_sql
from engine.metrics.scan.sums import key_sql
from engine.sql import name_sql

_NAN = "double('NaN')"
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

    Raises
    ------
    ColumnError
        If a key is of another type in predictions, so that Spark would cast one of them.
    """
    for model, df in predictions.items():
        for column in on:
            ours, theirs = (d.schema[column].dataType.simpleString() for d in (masks, df))
            if _key_family(ours) != _key_family(theirs):
                raise other_key_type(column, ours, model, theirs)
    for at, df in enumerate(predictions.values()):
        outputs = df.selectExpr(*map(name_sql, on), _struct(dict(zip(OURS, OURS, strict=True)), at))
        masks = masks.join(outputs, list(on), "left")
    return masks


def other_key_type(column: str, ours: str, model: str, theirs: str) -> ColumnError:
    """Return the error of a key that is of one type in masks and of another in predictions."""
    return ColumnError(
        f"key column {column!r} is {ours} in the masks and {theirs} in the predictions of "
        f"{model!r}: cast one of them"
    )


def _key_family(kind: str) -> str:
    if kind in INTEGERS or kind.startswith("decimal"):
        return "whole number"
    return "text" if kind.startswith(("string", "varchar", "char")) else kind.partition("_")[0]


def with_own_predictions(rows: DataFrame, fields: Mapping[str, str]) -> DataFrame:
    """Return rows that hold a model's predictions as if these had been joined to them.

    Parameters
    ----------
    rows
        The rows.
    fields
        Label, weight, pred and prob in SQL.
    """
    return rows.selectExpr("*", _struct(fields, 0)).drop("model_id", *OURS)


def _struct(fields: Mapping[str, str], at: int) -> str:
    values = ", ".join(f"'{name}', {sql}" for name, sql in fields.items())
    return f"named_struct({values}) AS {name_sql(prediction(at))}"


def has_prediction(at: int) -> str:
    """Tell whether a row has a prediction."""
    return f"{name_sql(prediction(at))} IS NOT NULL"


def is_prediction(column: str) -> bool:
    """Tell whether a column of joined rows is a model's prediction.

    Examples
    --------
    >>> is_prediction("@prediction_0"), is_prediction("price")
    (True, False)
    """
    return column.startswith(f"{_PREDICTION}_")


def predicted(at: int, name: str) -> str:
    """Return what joined rows have of a prediction: its label, weight, pred or prob."""
    return f"{name_sql(prediction(at))}.{name}"


def probabilities_type(df: DataFrame, at: int) -> str:
    """Return the type of joined rows' probabilities: of 32 or of 64 bits."""
    struct = df.schema[prediction(at)].dataType
    kind = struct["prob"].dataType.simpleString() if isinstance(struct, StructType) else ""
    return "array<float>" if kind == "array<float>" else "array<double>"


def position(df: DataFrame, at: int, name: str, classes: Sequence[Any]) -> str:
    """Return a label's or prediction's class position, -1 for null, -2 for none of the classes."""
    struct = df.schema[prediction(at)].dataType
    kind = struct[name].dataType.simpleString() if isinstance(struct, StructType) else "string"
    return class_position(predicted(at, name), kind, classes)


def number(value: str) -> str:
    """Return a label or prediction as DOUBLE; null for text that is no number."""
    return f"try_cast({value} AS DOUBLE)"


def bad_number(value: str) -> str:
    """Tell whether a label or prediction is there but is no number that can be summed."""
    as_double = number(value)
    large = f"isnan({as_double}) OR abs({as_double}) > {MAX_NUMBER!r}D"
    return f"({value} IS NOT NULL AND ({as_double} IS NULL OR {large}))"


def bad_weight(weight: str) -> str:
    """Tell whether a weight, a DOUBLE, is negative, too large or NaN."""
    bad = f"{weight} < 0 OR isnan({weight}) OR {weight} > {MAX_WEIGHT!r}D"
    return f"COALESCE({bad}, false)"


def bad_prob(prob: str, n_classes: int) -> str:
    """Tell whether there isn't a probability per class, or one is out of [0, 1]; NaN may be."""
    prob = f"CAST({prob} AS ARRAY<DOUBLE>)"
    # Functions of arrays that take lambdas would be interpreted row by row. NaN is the largest.
    most = f"array_max(array_remove({prob}, double('NaN'))) > {1 + SLACK!r}D"
    outside = f"array_min({prob}) < {-SLACK!r}D OR COALESCE({most}, false)"
    return f"({prob} IS NOT NULL AND COALESCE(size({prob}) != {n_classes} OR {outside}, false))"


def form_of(
    joined: DataFrame, spec: EvaluationSpec, hashed: KeyHash | None = None, replicates: int = 0
) -> Form:
    """Return how rows go to tasks and sums come back; as for :func:`.scan.scan`."""
    words = read_masks(joined).words(spec.slice_ids)
    bits = tuple(words.at[s] for s in spec.slice_ids)
    return Form(spec, replicates if hashed else 0, max(1, len(words.in_words)), bits)


def narrowed(joined: DataFrame, form: Form, hashed: KeyHash | None = None) -> DataFrame:
    """Return what tasks read of joined rows."""
    masks = read_masks(joined)
    words = masks.words(form.spec.slice_ids)
    columns = columns_of(joined, form, hashed)
    # Few rows are undecided, so that most have no words to send. They have an empty array instead
    # of none, which is quicker to write than null.
    nulls = f"array({', '.join(words.null_words or ('0L',))})"
    columns["nulls"] = f"IF({words.undecided}, {nulls}, CAST(array() AS ARRAY<BIGINT>))"
    columns |= {f"word_{i}": word for i, word in enumerate(words.in_words or ("0L",))}
    return masks.df.selectExpr(*(f"{sql} AS {name}" for name, sql in columns.items()))


def columns_of(df: DataFrame, form: Form, hashed: KeyHash | None) -> dict[str, str]:
    """Return what tasks read of a row, but for its masks, in SQL."""
    spec = form.spec
    columns: dict[str, str] = {}
    if spec.split is not None:
        columns["split"] = split_sql(spec.split)
    if form.replicates and hashed is not None:
        columns["hash"] = hashed.sql(df)
    if form.key:
        columns["key"] = key_sql(form.key)
    for i in range(len(spec.models)):
        columns |= {f"{name}_{i}": sql for name, sql in _of_model(df, i, spec).items()}
    for j, name in enumerate(spec.columns):
        kind, _, column = name.partition(":")
        value = name_sql(column)
        columns[f"column_{j}"] = (
            f"IF({value} IS NULL, {_NAN}, 0D)"
            if kind == "null"
            else f"COALESCE(CAST({value} AS DOUBLE), {_NAN})"
        )
    return columns


def _of_model(df: DataFrame, i: int, spec: EvaluationSpec) -> dict[str, str]:
    numbers = spec.needs("numbers")
    label, weight, pred, prob = (predicted(i, name) for name in OURS)
    flags = {
        "found": has_prediction(i),
        "bad_weight": bad_weight(weight),
        "bad_prob": bad_prob(prob, len(spec.classes)) if spec.classes else "false",
        "bad_number": f"{bad_number(label)} OR {bad_number(pred)}" if numbers else "false",
    }
    positions = {
        name: position(df, i, name, spec.classes)
        if spec.classes
        else f"IF({predicted(i, name)} IS NULL, {MISSING}, 0)"
        for name in ("label", "pred")
    }
    columns = {"code": code_sql(flags, positions)}
    if spec.weighted:
        columns["weight"] = f"IF({bad_weight(weight)}, 0D, COALESCE({weight}, 1D))"
    if spec.needs("prob") and spec.classes:
        # Not null, as for nulls of masks.
        every = f"COALESCE({prob}, CAST(array() AS {probabilities_type(df, i)}))"
        columns["prob"] = every if len(spec.classes) > 2 else f"get({prob}, {spec.positive})"  # noqa: PLR2004
    if numbers:
        for name, value in (("label", label), ("pred", pred)):
            known = f"{value} IS NOT NULL AND NOT {bad_number(value)}"
            columns[f"number_{name}"] = f"IF({known}, {number(value)}, {_NAN})"
    return columns
