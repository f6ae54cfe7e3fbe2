"""Rows to look at: the worst of a slice, and those on which two models disagree."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

from engine.hashing import key_hash_column
from engine.masks.checks import check_columns
from engine.masks.reader import read_masks
from engine.masks.splits import is_split, split_sql
from engine.metrics.catalog import OVERALL
from engine.metrics.request import Selection
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.joined import (
    is_prediction,
    number,
    position,
    predicted,
    probabilities_type,
)
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LEAST = {"array<float>": 2.0**-23, "array<double>": 2.0**-52}  # less is taken for it
LOSS = "loss"
_LOSS = "@loss"  # named as no column of the rows is


def worst_rows(
    joined: DataFrame, spec: EvaluationSpec, model: int, selection: Selection
) -> pd.DataFrame:
    """Return a slice's rows of the largest loss, largest first.

    The loss is the log loss where there are probabilities, otherwise 1 for a wrong prediction, and
    the absolute error where labels are numbers. Of rows with one loss those with the least hash of
    their key are taken, which is a sample of them that doesn't change.

    Parameters
    ----------
    joined, spec
        The rows, and what was evaluated.
    model
        Position of the model.
    selection
        Which rows, and what of them.
    """
    _check_shown(joined, selection.columns)
    rows = joined.withColumn(_LOSS, _loss(joined, spec, model)).where(F.col(_LOSS).isNotNull())
    rows = rows.where(F.col(_LOSS) > 0).where(_chosen(joined, spec, selection))
    order = [F.desc(_LOSS), _sampled(joined, selection)]
    outputs = ["label", "pred", "prob"]
    shown = [
        *_shown(selection, [*outputs, LOSS]),
        *(f"{predicted(model, name)} AS {name}" for name in outputs),
        f"{name_sql(_LOSS)} AS {LOSS}",
    ]
    return rows.orderBy(*order).limit(selection.n).selectExpr(*shown).toPandas()


def flipped_rows(
    joined: DataFrame, spec: EvaluationSpec, models: tuple[int, int], selection: Selection
) -> pd.DataFrame:
    """Return n rows each that the second model wins and loses against the first.

    Parameters
    ----------
    joined, spec, selection
        As for :func:`worst_rows`.
    models
        Positions of the first and the second model.
    """
    _check_shown(joined, selection.columns)
    label = position(joined, models[0], "label", spec.classes)
    preds = {f"pred_{spec.models[i]}": i for i in models}
    first, second = (position(joined, i, "pred", spec.classes) for i in models)
    scored = f"{label} >= 0 AND {first} >= 0 AND {second} >= 0"
    kinds = {
        "won": f"{first} != {label} AND {second} = {label}",
        "lost": f"{first} = {label} AND {second} != {label}",
    }
    rows = joined.where(scored).where(_chosen(joined, spec, selection))
    order = _sampled(joined, selection)
    shown = [
        *_shown(selection, ["flip", "label", *preds]),
        f"{predicted(models[0], 'label')} AS label",
        *(f"{predicted(i, 'pred')} AS {name_sql(name)}" for name, i in preds.items()),
    ]
    parts = [
        rows.where(flipped)
        .orderBy(order)
        .limit(selection.n)
        .selectExpr(f"'{kind}' AS flip", *shown)
        for kind, flipped in kinds.items()
    ]
    return parts[0].unionByName(parts[1]).toPandas()


def _check_shown(joined: DataFrame, columns: Sequence[str]) -> None:
    own = joined.drop(*(c for c in joined.columns if is_prediction(c)))
    check_columns(own, "the rows", {"columns": columns})


def _shown(selection: Selection, outputs: Sequence[str]) -> list[str]:
    """Return key and columns in SQL; what is named as an output is shown as that."""
    names = dict.fromkeys([*selection.key, *selection.columns])
    return [name_sql(c) for c in names if c not in outputs or c in selection.key]


def _sampled(joined: DataFrame, selection: Selection) -> Column:
    return key_hash_column(joined, list(selection.key), selection.seed)


def _chosen(joined: DataFrame, spec: EvaluationSpec, selection: Selection) -> Column:
    slice_id = selection.slice_id
    member = F.lit(True) if slice_id == OVERALL else read_masks(joined).mask(slice_id)
    if isinstance(selection.split, EllipsisType):
        return member
    return member & F.expr(is_split(split_sql(spec.split), [selection.split]))


def _loss(joined: DataFrame, spec: EvaluationSpec, model: int) -> Column:
    if not spec.classes:
        guess, target = (number(predicted(model, name)) for name in ("pred", "label"))
        return F.expr(f"abs({guess} - {target})")
    label, pred = (F.expr(position(joined, model, c, spec.classes)) for c in ("label", "pred"))
    of_label = F.get(F.expr(predicted(model, "prob")), label)
    clipped = F.greatest(
        F.least(of_label, F.lit(1.0)), F.lit(_LEAST[probabilities_type(joined, model)])
    )
    wrong = F.when(pred >= 0, (pred != label).cast("double"))
    known = of_label.isNotNull() & ~F.isnan(of_label)
    return F.when(label >= 0, F.when(known, -F.log(clipped)).otherwise(wrong))
