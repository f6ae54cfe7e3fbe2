"""What an evaluation does with rows that are in Spark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from engine.errors import ArgumentError
from engine.label.plan import compile_slices
from engine.masks.checks import check_columns, quoted, spark_table
from engine.masks.reader import named_masks, read_masks
from engine.masks.splits import split_sql
from engine.metrics.custom import CustomMetric
from engine.metrics.explore.rows import flipped_rows, worst_rows
from engine.metrics.inference.delong import paired_areas
from engine.metrics.inference.figures import Figures
from engine.metrics.inference.per_slice import per_slice
from engine.metrics.predictions import (
    fields_of,
    has_weights,
    normalised,
    of_model,
    own_names,
    with_arrays,
)
from engine.metrics.request import Request, Selection, check_summed, models_of
from engine.metrics.scan.by_files import Own
from engine.metrics.scan.checks import check_joined
from engine.metrics.scan.form import EvaluationSpec, Scan
from engine.metrics.scan.joined import join_predictions, predicted, with_own_predictions
from engine.metrics.scan.scan import scan
from engine.metrics.schema import SCHEMA
from engine.run.faults import explained
from engine.slicing.compositions import with_parts

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from engine.hashing import KeyHash
    from engine.masks.splits import Split
    from engine.slicing.functions import SlicingFunction


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
    """

    joined: DataFrame
    spec: EvaluationSpec
    on: Sequence[str]
    sources: Mapping[str, DataFrame] = field(default_factory=dict)
    own: Own | None = None
    functions: Sequence[SlicingFunction] = ()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Explain faults of slicing functions."""
        with explained(with_parts(self.functions)):
            yield

    def scan(self, hashed: KeyHash | None, replicates: int) -> Scan:
        """Add up all states."""
        key = self.on if self.sources else ()
        return scan(self.joined, self.spec, hashed, replicates, self.own, key=key)

    def check(self, counts: Scan, tables: Mapping[str, str], allow_missing: bool) -> None:
        """Check what the scan counted."""
        check_joined(
            counts, self.joined, self.spec, tables, self.on, allow_missing, self.sources
        )  # fmt: skip

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
        return paired_areas(self.joined, self.spec, models)

    def worst_rows(self, model: int, selection: Selection) -> pd.DataFrame:
        """Return a slice's rows of the largest loss."""
        return worst_rows(self.joined, self.spec, model, selection)

    def flipped_rows(self, models: tuple[int, int], selection: Selection) -> pd.DataFrame:
        """Return rows that the second model wins and loses against the first."""
        return flipped_rows(self.joined, self.spec, models, selection)


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
        joined = _with_own(rows, spec.classes, columns)
        return SparkRows(joined, spec, asks.key, own=Own(rows, columns), functions=functions)
    outputs = {
        model: normalised(df, asks.table(model), model, asks.key, asks.columns, spec.classes)
        for model, df in of.items()
    }
    spec = replace(spec, weighted=any(has_weights(df, asks.columns) for df in of.values()))
    sources = {"the mask table": masks, **{asks.table(m): df for m, df in outputs.items()}}
    joined = join_predictions(rows, outputs, asks.key)
    return SparkRows(joined, spec, asks.key, sources, functions=functions)


def write_table(table: pd.DataFrame, path: str) -> None:
    """Write figures to a new Delta table; see ``Evaluation.to_delta``."""
    wanted = "where Spark can write, and no table is yet"
    known = cast("StructType", StructType.fromDDL(SCHEMA))
    schema = StructType([known[c] for c in table.columns])
    rows = table.astype(object).where(table.notna(), None)
    records = list(rows.itertuples(index=False, name=None))
    try:
        spark = SparkSession.active()
        spark.createDataFrame(records, schema).write.format("delta").save(path)
    except (PySparkException, Py4JJavaError) as error:
        first = str(error).partition("\n")[0]
        raise ArgumentError("to_delta", "path", wanted, path, f": {first}") from None


def _with_own(rows: DataFrame, classes: Sequence[Any], columns: Mapping[str, str]) -> DataFrame:
    """Return rows that hold their predictions as if these had been joined."""
    fields = fields_of(rows, "the table", [], columns, classes)
    return with_own_predictions(of_model(with_arrays(rows, columns), "model", columns), fields)
