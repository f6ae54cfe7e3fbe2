"""What only joined predictions can show, checked before figures are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import MissingPredictionsError, PredictionValueError, UnknownClassError
from engine.masks.checks import EXAMPLES, key_text, quoted
from engine.metrics.evaluate import (
    MODEL,
    PREDICTION,
    UNKNOWN_CLASS,
    bad_prob,
    bad_weight,
    class_position,
    predicted,
)

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame, Row


def check_classes(
    cells: pd.DataFrame, joined: DataFrame, tables: Mapping[str, str], classes: Sequence[Any]
) -> None:
    """Check that labels and predictions are classes; Spark is asked only where they aren't.

    Parameters
    ----------
    cells
        The cells of ``joined``.
    joined
        Mask rows with predictions.
    tables
        Model id to its prediction table, for the message.
    classes
        The class values.

    Raises
    ------
    UnknownClassError
        With the table, the column and the values found.
    """
    for column in ("label", "pred"):
        for model in cells.loc[cells[column] == UNKNOWN_CLASS, "model_id"].unique():
            unknown = class_position(predicted(column), classes) == UNKNOWN_CLASS
            bad = joined.where(_of_model(model) & unknown).select(predicted(column))
            values = sorted(str(r[0]) for r in bad.distinct().limit(6).collect())
            raise UnknownClassError(tables[model], column, values, classes)


def check_numbers(
    cells: pd.DataFrame,
    joined: DataFrame,
    tables: Mapping[str, str],
    key: Sequence[str],
    n_classes: int,
) -> None:
    """Check weights and probabilities, where the cells say that some can't be.

    Raises
    ------
    PredictionValueError
        With the table, the column, the number of rows and the first of them.
    """
    wrong = {
        "weight": (bad_weight(), "is not a finite number of at least 0"),
        "prob": (bad_prob(n_classes), f"is not {n_classes} probabilities from 0 to 1"),
    }
    for column, (bad, problem) in wrong.items():
        for model, n in cells.groupby("model_id")[f"bad_{column}"].sum().items():
            if n:
                name = str(model)
                found = _first(joined.where(_of_model(name) & bad), key, predicted(column))
                examples = [f"{r[-1]} at {key_text(r.asDict(), key)}" for r in found]
                raise PredictionValueError(tables[name], column, int(n), problem, examples)


def check_covered(
    cells: pd.DataFrame, joined: DataFrame, tables: Mapping[str, str], key: Sequence[str]
) -> None:
    """Check that every mask row has a prediction of every model.

    Raises
    ------
    MissingPredictionsError
        With the number of rows and the first keys.
    """
    for model, part in cells.groupby("model_id"):
        rows, covered = int(part["n_0"].sum()), int(part["found"].sum())
        if covered < rows:
            without = joined.where(_of_model(str(model)) & F.col(f"`{PREDICTION}`").isNull())
            examples = [key_text(r.asDict(), key) for r in _first(without, key)]
            name = str(model)
            raise MissingPredictionsError(tables[name], name, rows - covered, rows, examples)


def _of_model(model: str) -> Column:
    return F.col(f"`{MODEL}`") == model


def _first(rows: DataFrame, key: Sequence[str], *more: Column) -> list[Row]:
    columns = [quoted(k) for k in key]
    return rows.select(*columns, *more).orderBy(*columns).limit(EXAMPLES).collect()
