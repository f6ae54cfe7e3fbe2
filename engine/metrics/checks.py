"""What only joined predictions can show, checked before figures are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import MissingPredictionsError, UnknownClassError
from engine.masks.checks import EXAMPLES, key_text, quoted
from engine.metrics.evaluate import FOUND, UNKNOWN_CLASS, class_position

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame


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
            unknown = class_position(F.col(column), classes) == UNKNOWN_CLASS
            bad = joined.where((F.col("model_id") == model) & unknown)
            values = sorted(str(r[0]) for r in bad.select(column).distinct().limit(6).collect())
            raise UnknownClassError(tables[model], column, values, classes)


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
            without = joined.where((F.col("model_id") == model) & F.col(FOUND).isNull())
            columns = [quoted(k) for k in key]
            first = without.select(*columns).orderBy(*columns).limit(EXAMPLES).collect()
            examples = [key_text(r.asDict(), key) for r in first]
            name = str(model)
            raise MissingPredictionsError(tables[name], name, rows - covered, rows, examples)
