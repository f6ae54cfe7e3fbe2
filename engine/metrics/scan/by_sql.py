"""What tasks read of joined rows, in Spark's SQL; :mod:`.by_files` reads the same from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.masks.reader import read_masks
from engine.masks.splits import split_sql
from engine.metrics.formulas.outputs import MISSING
from engine.metrics.predictions import OURS
from engine.metrics.scan.code import code_sql
from engine.metrics.scan.form import EvaluationSpec, Form
from engine.metrics.scan.joined import (
    bad_number,
    bad_prob,
    bad_weight,
    has_prediction,
    number,
    position,
    predicted,
    probabilities_type,
)
from engine.metrics.scan.repeats import key_sql
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.hashing import KeyHash

_NAN = "double('NaN')"


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
