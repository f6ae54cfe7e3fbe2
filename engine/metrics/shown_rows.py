"""Rows that people look at, taken of joined rows in one scan: the worst, and those that flip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from engine.hashing import key_hash_column
from engine.masks.reader import read_masks
from engine.masks.splits import is_split, split_sql
from engine.metrics.catalog import OVERALL
from engine.metrics.request import Selection
from engine.metrics.scan.beside import Beside
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.joined import number, position, predicted, probabilities_type
from engine.metrics.scan.largest import Wanted, keys_of_rows
from engine.sql import name_sql

_LEAST = {"array<float>": 2.0**-23, "array<double>": 2.0**-52}  # less is taken for it
_WHOLE = {"tinyint": np.int8, "smallint": np.int16, "int": np.int32, "bigint": np.int64}
_LOSS = "@loss"  # named as no column of the rows is


@dataclass(frozen=True)
class _Ask:
    """Rows of one kind.

    Attributes
    ----------
    chosen
        Which rows are of it.
    loss
        What orders them, the largest first.
    n
        How many are taken.
    shown
        What is shown of them, in SQL, by name.
    kind
        ``won`` or ``lost``, of rows that flip.
    """

    chosen: Column
    loss: Column
    n: int
    shown: Mapping[str, str]
    kind: str | None = None


def selected_rows(
    joined: DataFrame, spec: EvaluationSpec, selections: Sequence[Selection]
) -> list[pd.DataFrame]:
    """Return rows that are asked for, of all selections in one scan.

    One model's rows are those of the largest loss, largest first: the log loss where there are
    probabilities, otherwise 1 for a wrong prediction, and the absolute error where labels are
    numbers. Of two models they are rows that the second wins and loses against the first. Of rows
    with one loss those with the least hash of their key are taken, which is a sample of them that
    doesn't change.

    Parameters
    ----------
    joined, spec
        Mask rows with predictions, and what is evaluated.
    selections
        What is asked for; of one key and seed.
    """
    if not selections:
        return []
    asks = [list(_asks(joined, spec, selection)) for selection in selections]
    every = [ask for of_one in asks for ask in of_one]
    at = {sql: f"c_{i}" for i, sql in enumerate({sql for a in every for sql in a.shown.values()})}
    key, seed = list(selections[0].key), selections[0].seed
    models = {s.models[0] for s in selections if len(s.models) == 1}
    losses = {f"{_LOSS}_{m}": _loss(joined, spec, m) for m in models}
    each = (
        F.when(ask.chosen, F.struct(F.lit(i).alias("at"), ask.loss.alias("loss")))
        for i, ask in enumerate(every)
    )
    rows = joined.withColumns(losses).select(
        *(F.expr(sql).alias(name) for sql, name in at.items()),
        key_hash_column(joined, key, seed).alias("hash"),
        F.explode(F.array_compact(F.array(*each))).alias("ask"),
    )
    # Spark takes the first of each before it brings them together.
    order = Window.partitionBy("ask.at").orderBy(F.desc("ask.loss"), "hash")
    ranked = rows.withColumn("place", F.row_number().over(order))
    first = ranked.where(F.col("place") <= max(ask.n for ask in every))
    shown = first.select("ask.at", "ask.loss", "place", *at.values())
    kinds = {f.name: f.dataType.simpleString() for f in shown.schema}
    # pandas would make floats of BIGINTs among which there is a null.
    exact = {c: F.col(c).cast("decimal(20,0)") for c in at.values() if kinds[c] == "bigint"}
    frame = shown.withColumns(exact).toPandas().sort_values(["at", "place"])
    numbered = iter(range(len(every)))
    return [
        pd.concat(
            [_of(frame[frame["at"] == next(numbered)], ask, at, kinds) for ask in of_one],
            ignore_index=True,
        )
        for of_one in asks
    ]


def keys_of_selections(
    joined: DataFrame,
    spec: EvaluationSpec,
    beside: Beside | None,
    selections: Sequence[Selection],
) -> list[list[Any]] | None:
    """Return the keys, column by column, of at least the rows that :func:`selected_rows` returns.

    Workers look for them where they can read the tables; None where Spark has to.

    Parameters
    ----------
    joined, spec, selections
        As for it.
    beside
        The tables that were joined, if they can be read apart.
    """
    if len({(*s.key, s.seed) for s in selections}) != 1 or beside is None:
        return None
    wanted = [
        Wanted(s.models, kind, None if s.slice_id == OVERALL else s.slice_id, s.split, s.n)
        for s in selections
        for kind in (("loss",) if len(s.models) == 1 else ("won", "lost"))
    ]
    return keys_of_rows(joined, spec, beside, wanted, selections[0].seed)


def _asks(joined: DataFrame, spec: EvaluationSpec, selection: Selection) -> Iterator[_Ask]:
    """Yield what a selection asks for."""
    chosen, n = _chosen(joined, spec, selection), selection.n
    if len(selection.models) == 1:
        model = selection.models[0]
        outputs = {name: predicted(model, name) for name in ("label", "pred", "prob")}
        loss = F.col(name_sql(f"{_LOSS}_{model}"))
        yield _Ask(chosen & (loss > 0), loss, n, _shown(selection, outputs, "loss"))
        return
    a = selection.models[0]
    outputs = {
        "label": predicted(a, "label"),
        **{f"pred_{spec.models[m]}": predicted(m, "pred") for m in selection.models},
    }
    label = position(joined, a, "label", spec.classes)
    first, second = (position(joined, m, "pred", spec.classes) for m in selection.models)
    scored = chosen & F.expr(f"{label} >= 0 AND {first} >= 0 AND {second} >= 0")
    kinds = {
        "won": f"{first} != {label} AND {second} = {label}",
        "lost": f"{first} = {label} AND {second} != {label}",
    }
    for kind, flipped in kinds.items():
        shown = _shown(selection, outputs, "flip")
        yield _Ask(scored & F.expr(flipped), F.lit(0.0), n, shown, kind)


def _shown(selection: Selection, outputs: Mapping[str, str], more: str) -> dict[str, str]:
    """Return key, columns and outputs in SQL; what is named as an output is shown as that."""
    names = dict.fromkeys([*selection.key, *selection.columns])
    hidden = {*outputs, more} - set(selection.key)
    return {**{c: name_sql(c) for c in names if c not in hidden}, **outputs}


def _of(
    frame: pd.DataFrame, ask: _Ask, at: Mapping[str, str], kinds: Mapping[str, str]
) -> pd.DataFrame:
    """Return what is asked for of the rows that were taken."""
    frame = frame[frame["place"] <= ask.n].reset_index(drop=True)
    columns = {name: _alone(frame[at[sql]], kinds[at[sql]]) for name, sql in ask.shown.items()}
    if ask.kind is None:
        return pd.DataFrame({**columns, "loss": frame["loss"]})
    return pd.DataFrame({"flip": pd.Series(ask.kind, frame.index, dtype=object), **columns})


def _alone(column: pd.Series, kind: str) -> pd.Series:
    """Return a column as if no other rows had come with these: without their nulls."""
    if kind not in _WHOLE:
        return column
    return column.astype(_WHOLE[kind] if column.notna().all() else np.float64)


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
    least = F.lit(_LEAST[probabilities_type(joined, model)])
    clipped = F.greatest(F.least(of_label, F.lit(1.0)), least)
    wrong = F.when(pred >= 0, (pred != label).cast("double"))
    known = of_label.isNotNull() & ~F.isnan(of_label)
    return F.when(label >= 0, F.when(known, -F.log(clipped)).otherwise(wrong))
