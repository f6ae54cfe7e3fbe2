"""What an evaluation does with rows that are in Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from engine.errors import ArgumentError
from engine.hashing import KeyHash
from engine.label.plan import compile_slices
from engine.masks.checks import (
    EXAMPLES,
    check_columns,
    check_no_null_keys,
    check_unique,
    key_text,
    quoted,
    spark_table,
)
from engine.masks.reader import named_masks, read_masks
from engine.masks.splits import Split, split_sql
from engine.metrics.custom import CustomMetric
from engine.metrics.formulas.outputs import UNKNOWN_CLASS
from engine.metrics.inference.figures import Figures
from engine.metrics.inference.per_slice import paired_areas, per_slice
from engine.metrics.predictions import (
    fields_of,
    has_weights,
    normalised,
    of_model,
    own_names,
    with_arrays,
)
from engine.metrics.request import Request, Selection, check_summed, models_of
from engine.metrics.scan.beside import Beside, ModelRows
from engine.metrics.scan.checks import check_counts
from engine.metrics.scan.chunks import Own
from engine.metrics.scan.form import EvaluationSpec, Scan
from engine.metrics.scan.joined import (
    bad_number,
    bad_prob,
    bad_weight,
    has_prediction,
    is_prediction,
    join_predictions,
    position,
    predicted,
    with_own_predictions,
)
from engine.metrics.scan.scan import Sums, sums_of
from engine.metrics.schema import SCHEMA
from engine.metrics.shown_rows import keys_of_selections, selected_rows
from engine.run.faults import explained
from engine.slicing.compositions import with_parts
from engine.slicing.functions import SlicingFunction
from engine.sql import name_sql

_LEAST = {"array<float>": 2.0**-23, "array<double>": 2.0**-52}  # less is taken for it
_LOSS = "@loss"  # named as no column of the rows is


@dataclass(frozen=True)
class SparkRows:
    """Mask rows with each model's predictions beside them.

    Attributes
    ----------
    joined, spec
        The rows, and what is evaluated.
    on
        Partition and key columns, which name a row.
    sources
        The tables that were joined, by name, that of masks first; none where rows have
        predictions of their own.
    own
        The rows before ``joined`` was made of them, if they have predictions of their own.
    functions
        The slicing functions that the rows' masks come from.
    beside
        The tables that were joined, as they are stored; None where one can't be read apart.
    """

    joined: DataFrame
    spec: EvaluationSpec
    on: Sequence[str]
    sources: Mapping[str, DataFrame] = field(default_factory=dict)
    own: Own | None = None
    functions: Sequence[SlicingFunction] = ()
    beside: Beside | None = None

    def running(self) -> AbstractContextManager[None]:
        """Explain faults of slicing functions."""
        return explained(with_parts(self.functions))

    def scan(self, hashed: KeyHash | None, replicates: int) -> Scan:
        """Add up all states."""
        return self.sums(hashed, replicates).scan

    def sums(self, hashed: KeyHash | None, replicates: int) -> Sums:
        """Scan the rows once."""
        key = self.on if self.sources else ()
        return sums_of(
            self.joined, self.spec, hashed, replicates, self.own, key=key, beside=self.beside
        )

    def check(self, counts: Scan, tables: Mapping[str, str], allow_missing: bool) -> None:
        """Check what the scan counted, keys first.

        Raises
        ------
        TableError
            If a row of a table has no key; with how many.
            If a key names more than one row of a table; with the first.
            If what was counted is wrong; see :func:`.check_counts`.
        """
        # Of masks the scan has looked for keys that are null; predictions without one aren't
        # joined.
        unseen = list(self.sources.items())[0 if counts.repeats else 1 :]
        check_no_null_keys(dict(unseen), self.on)
        for table, df in self.sources.items() if counts.repeats else ():
            check_unique(df, table, self.on)
        check_counts(counts, self.spec, tables, allow_missing, self)

    def unknown(self, i: int, column: str) -> list[str]:
        """Return some values of a model's labels or predictions that are no class."""
        bad = self.joined.where(f"{self._position(i, column)} = {UNKNOWN_CLASS}")
        values = bad.selectExpr(predicted(i, column)).distinct().limit(6).collect()
        return [str(r[0]) for r in values]

    def wrong(self, i: int, column: str) -> list[tuple[Any, str]]:
        """Return a model's first weights, probabilities or numbers that can't be, with keys."""
        value = predicted(i, column)
        if column == "prob":
            bad = bad_prob(value, len(self.spec.classes))
        else:
            bad = (bad_weight if column == "weight" else bad_number)(value)
        rows = self._first(self.joined.where(bad), value)
        return [(r[-1], key_text(r.asDict(), self.on)) for r in rows]

    def uncovered(self, i: int) -> list[str]:
        """Return the keys of the first rows without a model's prediction."""
        rows = self._first(self.joined.where(f"NOT {has_prediction(i)}"))
        return [key_text(r.asDict(), self.on) for r in rows]

    def _first(self, rows: DataFrame, *more: str) -> list[Row]:
        columns = [name_sql(k) for k in self.on]
        return rows.selectExpr(*columns, *more).orderBy(*columns).limit(EXAMPLES).collect()

    def _position(self, i: int, name: str) -> str:
        return position(self.joined, i, name, self.spec.classes)

    def with_clusters(self, counts: Scan, cluster: str) -> Scan:
        """Count the clusters that have a scored row in each slice; a scan of its own."""
        masks = read_masks(self.joined)
        members = [F.lit(True), *map(masks.mask, self.spec.slice_ids)]
        names = [f"in_{j}" for j in range(len(members))]
        parts = dict(counts.parts)
        for i, model in enumerate(self.spec.models):
            label, pred = predicted(i, "label"), predicted(i, "pred")
            scored = masks.df.where(f"{label} IS NOT NULL AND {pred} IS NOT NULL")
            split = F.expr(split_sql(self.spec.split)).alias("split")
            each = scored.groupBy(split, quoted(cluster)).agg(
                *(
                    F.max(F.coalesce(m, F.lit(False))).alias(n)
                    for m, n in zip(members, names, strict=True)
                )
            )
            clusters = each.groupBy("split").agg(*(F.count_if(F.col(n)).alias(n) for n in names))
            for row in clusters.collect():
                at = (model, row["split"])
                parts[at] = replace(parts[at], clusters=np.array([row[n] for n in names], np.int64))
        return replace(counts, parts=parts)

    def per_slice(
        self, functions: Sequence[CustomMetric], counts: Scan
    ) -> dict[tuple[str, Split, str], Figures]:
        """Compute metrics that are plain functions."""
        return per_slice(self.joined, self.spec, functions, counts)

    def paired_areas(self, models: tuple[int, int]) -> pd.DataFrame:
        """Compare two models' areas under the ROC curve."""
        return paired_areas(self.joined, self.spec, models, self.beside)

    def selected(self, selections: Sequence[Selection]) -> list[pd.DataFrame]:
        """Return rows that are asked for; see :mod:`engine.metrics.shown_rows`."""
        own = self.joined.drop(*(c for c in self.joined.columns if is_prediction(c)))
        for selection in selections:
            check_columns(own, "the rows", {"columns": selection.columns})
        keys = keys_of_selections(self.joined, self.spec, self.beside, selections)
        joined = self.joined if keys is None else self._with_keys(keys)
        return selected_rows(joined, self.spec, selections)

    def _with_keys(self, keys: Sequence[Sequence[Any]]) -> DataFrame:
        """Return the joined rows that have one of some keys, of few rows of each table."""
        masks, *models = (with_keys(df, self.on, keys) for df in self.sources.values())
        few = {m: F.broadcast(df) for m, df in zip(self.spec.models, models, strict=True)}
        return join_predictions(masks, few, self.on)


def with_keys(df: DataFrame, on: Sequence[str], keys: Sequence[Sequence[Any]]) -> DataFrame:
    """Return the rows whose keys' values are among some keys' values, column by column."""
    for column, values in zip(on, keys, strict=True):
        kind = df.schema[column].dataType
        df = df.where(quoted(column).isin(*(F.lit(value).cast(kind) for value in values)))
    return df


def spark_rows(masks: Any, predictions: Any, asks: Request) -> SparkRows:
    """Return the rows that ``evaluate`` was given, checked; runs little on Spark."""
    masks = spark_table("evaluate", "masks", masks)
    of = None if predictions is None else models_of(predictions)
    check_columns(masks, "the table", asks.roles)
    check_summed(masks.schema, "the table", asks.metrics)
    named, functions = asks.names, asks.functions
    ids = named_masks(masks, named or None, "slices") if named or not functions else ()
    spec = asks.spec(ids, ["model"] if of is None else list(of))
    rows = compile_slices(functions, masks.schema).apply(masks) if functions else masks
    if of is None:
        columns = own_names(rows.columns, asks.columns)
        spec = replace(spec, weighted=has_weights(rows, columns))
        fields = fields_of(rows, "the table", [], columns, spec.classes)
        scored = of_model(with_arrays(rows, columns), "model", columns)
        joined = with_own_predictions(scored, fields)
        return SparkRows(joined, spec, asks.key, own=Own(rows, columns), functions=functions)
    outputs = {
        model: normalised(df, asks.table(model), model, asks.key, asks.columns, spec.classes)
        for model, df in of.items()
    }
    spec = replace(spec, weighted=any(has_weights(df, asks.columns) for df in of.values()))
    sources = {"the mask table": masks, **{asks.table(m): df for m, df in outputs.items()}}
    joined = join_predictions(rows, outputs, asks.key)
    stored = tuple(ModelRows(df, asks.columns, model) for model, df in of.items())
    beside = None if functions else Beside(masks, stored, tuple(asks.key))
    return SparkRows(joined, spec, asks.key, sources, functions=functions, beside=beside)


def write_table(table: pd.DataFrame, path: str) -> None:
    """Write figures to a new Delta table; see ``Evaluation.to_delta``."""
    wanted = "where Spark can write, and no table is yet"
    known = cast("StructType", StructType.fromDDL(SCHEMA))
    schema = StructType([known[c] for c in table.columns])
    rows = table.astype(object).where(table.notna(), None)
    records = list(rows.itertuples(index=False, name=None))
    try:
        SparkSession.active().createDataFrame(records, schema).write.format("delta").save(path)
    except (PySparkException, Py4JJavaError) as error:
        first = str(error).partition("\n")[0]
        raise ArgumentError("to_delta", "path", wanted, path, f": {first}") from None
