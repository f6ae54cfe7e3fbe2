"""Evaluate slices from Python: one call, and the figures in the field's vocabulary."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from engine.compile.plan import compile_slices
from engine.errors import NoMasksError, NoSuchMaskError
from engine.hashing import key_hash_column
from engine.masks.checks import check_columns, quoted
from engine.masks.reader import read_masks
from engine.metrics.checks import check_classes, check_covered, check_numbers
from engine.metrics.compare import compare
from engine.metrics.evaluate import (
    MODEL,
    OVERALL,
    PREDICTION,
    EvaluationSpec,
    cells,
    figures,
    join_predictions,
    replicates,
)
from engine.metrics.predictions import OURS, normalised
from engine.metrics.spec import parse_metric
from engine.metrics.uncertainty import Confidence, needs_replicates, with_uncertainty
from engine.records import METRICS

if TYPE_CHECKING:
    from engine.metrics.bootstrap import Replicates
    from engine.slicing.functions import SlicingFunction

log = logging.getLogger("engine")

COMPLEMENT = "complement"
_ONE = ["model_id", "split", "metric"]


@dataclass(frozen=True)
class Evaluation:
    """Figures of all slices, splits and models.

    Attributes
    ----------
    table
        A row per model, split, slice ("overall" first) and metric, with the metrics table's
        columns from ``model_id`` to ``effect``; docs/tables.md describes them.
    spec, sure
        What was evaluated, and how sure figures must be.
    """

    table: pd.DataFrame
    spec: EvaluationSpec
    sure: Confidence
    _cells: pd.DataFrame
    _drawn: Replicates | None

    @property
    def overall(self) -> pd.DataFrame:
        """The figures of all rows of each split."""
        return self.table[self.table["slice"] == OVERALL].reset_index(drop=True)

    @property
    def by_slice(self) -> pd.DataFrame:
        """The figures of the slices."""
        return self.table[self.table["slice"] != OVERALL].reset_index(drop=True)

    def difference(self, to: str = OVERALL) -> pd.DataFrame:
        """Return the slices' values less those of ``to``.

        Parameters
        ----------
        to
            ``overall``, ``complement`` (the rows of the split outside the slice), or a slice.

        Raises
        ------
        NoSuchMaskError
            If there is no such slice.
        """
        found = self.by_slice
        return found.assign(value=found["value"] - self._reference(found, to))[[*_KEPT]]

    def ratio(self, to: str = OVERALL) -> pd.DataFrame:
        """Return the slices' values divided by those of ``to``, as :meth:`difference` takes it."""
        found = self.by_slice
        return found.assign(value=found["value"] / self._reference(found, to))[[*_KEPT]]

    def worst(self, n: int = 10, metric: str | None = None) -> pd.DataFrame:
        """Return the n slices with the lowest values that rest on enough rows, worst first.

        Parameters
        ----------
        n
            How many figures.
        metric
            The metric; by default the first.
        """
        name = str(parse_metric(metric)) if metric else str(self.spec.metrics[0])
        of_metric = self.by_slice["metric"] == name
        enough = self.by_slice["status"].isin(["ok", "rough"])
        return self.by_slice[of_metric & enough].nsmallest(n, "value").reset_index(drop=True)

    def compare(self, first: str, second: str) -> pd.DataFrame:
        """Compare two models on the same rows; see :func:`engine.metrics.compare.compare`.

        Raises
        ------
        ValueError
            If the evaluation has no replicates.
        """
        if self._drawn is None:
            raise ValueError("models are compared by replicates: evaluate with n_replicates=200")
        return compare(self._cells, self._drawn, self.spec, self.sure, first, second)

    def to_pandas(self) -> pd.DataFrame:
        """Return the table, a copy."""
        return self.table.copy()

    def to_delta(self, path: str) -> None:
        """Write the table to a new Delta table, with the metrics table's types."""
        spark = SparkSession.active()
        known = cast("StructType", StructType.fromDDL(METRICS.schema))
        schema = StructType([known[c] for c in self.table.columns])
        rows = self.table.astype(object).where(self.table.notna(), None)
        records = list(rows.itertuples(index=False, name=None))
        spark.createDataFrame(records, schema).write.format("delta").save(path)

    def _reference(self, found: pd.DataFrame, to: str) -> pd.Series:
        if to == COMPLEMENT:
            return found["value"] - found["effect"]
        if to not in (OVERALL, *self.spec.slice_ids):
            raise NoSuchMaskError(to, self.spec.slice_ids)
        of = self.table[self.table["slice"] == to].set_index(_ONE)["value"]
        return pd.Series(of.reindex(pd.MultiIndex.from_frame(found[_ONE])).to_numpy(), found.index)


_KEPT = ("model_id", "split", "slice", "metric", "class", "value", "support", "status")


def evaluate(
    masks: DataFrame,
    predictions: Mapping[str, DataFrame] | DataFrame | None = None,
    *,
    key: str | Sequence[str],
    metrics: Sequence[str] = ("accuracy", "f1"),
    slices: Sequence[SlicingFunction] = (),
    classes: Sequence[Any] = (0, 1),
    positive: Any = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    sure: Confidence | None = None,
    n_replicates: int = 200,
    cluster: str | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> Evaluation:
    """Evaluate every slice by every metric, for one or more models.

    Parameters
    ----------
    masks
        A mask table of either layout; with ``slices`` a table of what they read; without
        ``predictions`` one that has label and prediction too.
    predictions
        Model id to its predictions, or one model's: the key, ``label``, ``pred``, and where there
        are any ``prob`` (per class, or a number: the second class's) and ``weight``.
    key
        The columns that name a row.
    metrics
        Metric names, such as ``recall@threshold=0.7``.
    slices
        Slicing functions to evaluate without storing their masks.
    classes, positive
        Label values in class order, and the positive one (the last by default).
    split
        A column of ``masks`` by which figures are apart.
    columns
        Our names of prediction columns to the table's own, where they differ.
    sure
        How sure figures must be.
    n_replicates, cluster, seed
        Bootstrap replicates, the column whose rows are drawn together, and what decides them.
    allow_missing
        Whether rows may lack a prediction; they are counted in ``n_missing`` then.

    Raises
    ------
    EngineError
        With what is missing or wrong, in which table.

    Examples
    --------
    ::

        found = evaluate(masks, {"baseline": a, "candidate": b}, key="id", metrics=["f1"])
        found.worst(5)
        found.difference(to="complement")
        found.compare("baseline", "candidate")
    """
    on = [key] if isinstance(key, str) else list(key)
    named = {"key": on, "split": [split] if split else [], "cluster": [cluster] if cluster else []}
    check_columns(masks, "the table", named)
    rows, ids = masks, read_masks(masks).ids
    if slices:
        plan = compile_slices(slices, masks.schema)
        rows, ids = plan.apply(masks), plan.ids
    if not ids:
        raise NoMasksError
    if predictions is None:
        models = ["model"]
        joined, given = _held(rows, classes, columns or {})
    else:
        of = {"model": predictions} if isinstance(predictions, DataFrame) else predictions
        models = list(of)
        each = (
            normalised(df, f"predictions of {model!r}", model, on, columns or {}, classes)
            for model, df in of.items()
        )
        given = functools.reduce(DataFrame.unionByName, each)
        joined = join_predictions(rows, given, on, models)
    spec = EvaluationSpec(
        metrics=[parse_metric(m) for m in metrics],
        slice_ids=ids,
        classes=list(classes),
        positive=len(classes) - 1 if positive is None else list(classes).index(positive),
        split=split,
        weighted=has_weights(given),
    )
    return measured(
        joined, spec, {model: f"predictions of {model!r}" for model in models}, on, on,
        sure=sure or Confidence(), n_replicates=n_replicates, cluster=cluster, seed=seed,
        allow_missing=allow_missing,
    )  # fmt: skip


def has_weights(predictions: DataFrame) -> bool:
    """Tell whether some prediction has a weight."""
    return not predictions.where("weight is not null").isEmpty()


def measured(
    joined: DataFrame,
    spec: EvaluationSpec,
    tables: Mapping[str, str],
    on: Sequence[str],
    key: Sequence[str],
    *,
    sure: Confidence,
    n_replicates: int,
    cluster: str | None,
    seed: int,
    allow_missing: bool,
) -> Evaluation:
    """Evaluate mask rows that have their predictions; what :func:`evaluate` and the job share.

    Parameters
    ----------
    joined, spec
        The rows, and what is evaluated.
    tables
        Model id to its prediction table, for messages.
    on, key
        Partition and key columns, and the key columns alone, which decide replicates.
    sure, n_replicates, cluster, seed, allow_missing
        As for :func:`evaluate`.
    """
    found = cells(joined, spec)
    check_classes(found, joined, tables, spec.classes)
    check_numbers(found, joined, tables, on, len(spec.classes))
    if not allow_missing:
        check_covered(found, joined, tables, on)
    sure = replace(sure, clustered=cluster is not None)
    drawn = None
    if n_replicates and (len(tables) > 1 or needs_replicates(spec, sure.clustered)):
        log.info("drawing %s replicates", f"{n_replicates:,}")
        hashed = key_hash_column(joined, [cluster] if cluster else key, seed)
        drawn = replicates(joined, spec, hashed, n_replicates, cluster)
    table = with_uncertainty(figures(found, spec), found, spec, sure, drawn)
    return Evaluation(table.reset_index(drop=True), spec, sure, found, drawn)


def _held(
    rows: DataFrame, classes: Sequence[Any], columns: Mapping[str, str]
) -> tuple[DataFrame, DataFrame]:
    """Return rows that hold their predictions as if these had been joined, and these."""
    kept = [c for c in rows.columns if c not in ("model_id", *OURS)]
    given = normalised(rows, "the table", "model", kept, columns, classes)
    joined = given.select(
        *map(quoted, kept),
        F.lit("model").alias(MODEL),
        F.struct(*OURS).alias(PREDICTION),
    )
    return joined, given
