"""Evaluate slices from Python: one call, and the figures in the field's vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StructType

from engine.arguments import flag, text, texts, whole
from engine.errors import (
    ArgumentError,
    MetricCellsError,
    NoReplicatesError,
    NoSuchMaskError,
    NoSuchModelError,
    NotEvaluatedError,
    listed,
)
from engine.hashing import KeyHash
from engine.label.plan import compile_slices
from engine.masks.checks import check_columns, quoted, spark_table
from engine.masks.reader import named_masks, read_masks
from engine.masks.splits import AnySplit, by_split, check_split, in_split, split_name
from engine.masks.table import split_column
from engine.metrics.catalog import KINDS, MetricSpec, badness, better, parse_metric
from engine.metrics.custom import CustomMetric
from engine.metrics.explore.rows import flipped_rows, worst_rows
from engine.metrics.formulas.classification import confusions
from engine.metrics.formulas.probability import bins_of
from engine.metrics.formulas.states import OVERALL
from engine.metrics.inference.compare import compare, flips
from engine.metrics.inference.delong import paired_areas
from engine.metrics.inference.figures import Problem, figures_and_problems
from engine.metrics.inference.per_slice import per_slice
from engine.metrics.inference.uncertainty import Confidence, needs_replicates, with_uncertainty
from engine.metrics.predictions import (
    fields_of,
    has_weights,
    normalised,
    of_model,
    own_names,
    with_arrays,
)
from engine.metrics.request import (
    check_summed,
    classes_of,
    columns_of,
    metrics_of,
    models_of,
    position_of,
    renamed,
    slices_of,
    sureness,
)
from engine.metrics.scan.by_files import Own
from engine.metrics.scan.checks import check_joined
from engine.metrics.scan.form import EvaluationSpec, Scan
from engine.metrics.scan.joined import (
    join_predictions,
    predicted,
    with_own_predictions,
)
from engine.metrics.scan.scan import scan
from engine.metrics.schema import SCHEMA
from engine.run.faults import explained
from engine.slicing.compositions import with_parts

if TYPE_CHECKING:
    from engine.slicing.functions import SlicingFunction

log = logging.getLogger("engine")

COMPLEMENT = "complement"
MOST_REPLICATES = 10_000
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
    _scan: Scan = field(repr=False)
    _joined: DataFrame = field(repr=False)
    _key: tuple[str, ...] = ()
    _seed: int = 0
    _functions: tuple[CustomMetric, ...] = ()
    _problems: tuple[Problem, ...] = ()

    @property
    def overall(self) -> pd.DataFrame:
        """The figures of all rows of each split."""
        return self.table[self.table["slice"] == OVERALL].reset_index(drop=True)

    @property
    def by_slice(self) -> pd.DataFrame:
        """The figures of the slices."""
        return self.table[self.table["slice"] != OVERALL].reset_index(drop=True)

    @property
    def failures(self) -> pd.DataFrame:
        """The figures that metrics of your own failed to give, and what went wrong."""
        return pd.DataFrame(self._problems, columns=list(Problem._fields))

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

    def worst(
        self,
        n: int = 10,
        metric: str | None = None,
        model: str | None = None,
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Return the n slices with the worst values that rest on enough rows, worst first.

        Parameters
        ----------
        n
            How many figures.
        metric
            The metric; by default the first. Of losses and error rates high values are worst, of
            metrics of which neither is better those farthest from the figure of all rows.
        model, split
            Figures of one model, or one split, only; None is the split of rows whose split is null.

        Raises
        ------
        NotEvaluatedError, NoSuchModelError
            If this metric, split or model was not evaluated.
        """
        n, name = whole("worst", "n", n, 1), self._metric(metric)
        if model is not None:
            self._model(model)
        check_split("worst", split, self.table["split"])
        found = self.by_slice
        chosen = (found["metric"] == name) & found["status"].isin(["ok", "rough"])
        chosen &= in_split(found["split"], split)
        if model is not None:
            chosen &= found["model_id"] == model
        rows, to = found[chosen], self._reference(found, OVERALL)[chosen]
        worse: pd.Series = badness(rows["value"], self.better(name), to)
        return rows.loc[worse.nlargest(n).index].reset_index(drop=True)

    def compare(self, first: str, second: str) -> pd.DataFrame:
        """Compare two models on the same rows, as :mod:`engine.metrics.inference.compare` does.

        For roc_auc the rows are read again, and those of a slice brought together; with weights
        or ``cluster`` it is left out, since nothing draws replicates of rankings.

        Raises
        ------
        NoSuchModelError
            If there is no such model.
        NoReplicatesError
            If the evaluation has no replicates.
        """
        at = self._model(first), self._model(second)
        if self.spec.replicable and any(p.replicates is None for p in self._scan.parts.values()):
            raise NoReplicatesError
        areas = None
        ranked = any(m.name == "roc_auc" for m in self.spec.metrics)
        if ranked and not (self.spec.weighted or self.sure.clustered):
            areas = paired_areas(self._joined, self.spec, at)
        return compare(self._scan, self.spec, self.sure, first, second, areas)

    def flips(self, first: str, second: str) -> pd.DataFrame:
        """Count the rows won and lost by the second model.

        Raises
        ------
        NoSuchModelError
            If there is no such model.
        """
        self._model(first), self._model(second)
        return flips(self._scan, self.spec, self.sure, first, second)

    def flipped_rows(
        self,
        first: str,
        second: str,
        slice_id: str = OVERALL,
        n: int = 5,
        columns: Sequence[str] = (),
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Return rows that flip; see :func:`engine.metrics.explore.rows.flipped_rows`."""
        self._slice(slice_id)
        check_split("flipped_rows", split, self.table["split"])
        n = whole("flipped_rows", "n", n, 1)
        columns = texts("flipped_rows", "columns", columns, "a list of columns")
        return flipped_rows(
            self._joined, self.spec, self._key, slice_id=slice_id,
            models=(self._model(first), self._model(second)), n=n, columns=columns, split=split,
            seed=self._seed,
        )  # fmt: skip

    def worst_rows(
        self,
        slice_id: str = OVERALL,
        n: int = 10,
        model: str | None = None,
        columns: Sequence[str] = (),
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Return a slice's rows of largest loss, as :mod:`engine.metrics.explore.rows` does."""
        self._slice(slice_id)
        check_split("worst_rows", split, self.table["split"])
        n = whole("worst_rows", "n", n, 1)
        columns = texts("worst_rows", "columns", columns, "a list of columns")
        return worst_rows(
            self._joined, self.spec, self._key, slice_id=slice_id,
            model=0 if model is None else self._model(model), n=n, columns=columns, split=split,
            seed=self._seed,
        )  # fmt: skip

    def confusion(self, slice_id: str = OVERALL, metric: str | None = None) -> pd.DataFrame:
        """Return a slice's rows of each label by each prediction.

        Parameters
        ----------
        slice_id
            The slice.
        metric
            A metric that was evaluated and is made of such a matrix: that of
            ``recall@threshold=0.3`` is of what the threshold predicts. By default the first.

        Returns
        -------
        pd.DataFrame
            ``model_id, split, label, pred, rows, weight``: all pairs of classes, in their order.

        Raises
        ------
        NotEvaluatedError, MetricCellsError
            If it wasn't evaluated, or has no such matrix.
        """
        at = self._slice(slice_id)
        of = self._made_of("confusion", metric, "confusion matrix", "accuracy")
        label, pred = zip(*product(self.spec.classes, repeat=2), strict=True)
        tables = []
        for (model, split), part in by_split(self._scan.parts):
            rows, weight = (
                confusions(of, cells, self.spec.labels)[at].ravel()
                for cells in (part.state.rows, part.state.weights)
            )
            columns = {
                "model_id": model, "split": split, "label": label, "pred": pred, "rows": rows,
                "weight": weight,
            }  # fmt: skip
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)

    def calibration(self, slice_id: str = OVERALL, metric: str | None = None) -> pd.DataFrame:
        """Return a slice's rows, mean confidence and share right, per bin of confidence.

        Parameters
        ----------
        slice_id
            The slice.
        metric
            An ``ece`` that was evaluated; its bins. By default the first.

        Raises
        ------
        NotEvaluatedError, MetricCellsError
            If it wasn't evaluated, or has no bins.
        """
        at = self._slice(slice_id)
        of = self._made_of("calibration", metric, "bins of confidence", "ece")
        tables = []
        for (model, split), part in by_split(self._scan.parts):
            rows, confidence, right = bins_of(of, part.state.at(at))
            bins = len(rows)
            with np.errstate(all="ignore"):
                columns = {
                    "model_id": model, "split": split, "bin_low": np.arange(bins) / bins,
                    "bin_high": np.arange(1, bins + 1) / bins, "weight": rows,
                    "confidence": confidence / rows, "accuracy": right / rows,
                }  # fmt: skip
            tables.append(pd.DataFrame(columns))
        return pd.concat(tables, ignore_index=True)

    def to_pandas(self) -> pd.DataFrame:
        """Return the table, a copy."""
        return self.table.copy()

    def to_delta(self, path: str) -> None:
        """Write the table to a new Delta table, with the metrics table's types.

        Raises
        ------
        ArgumentError
            If there is a table already, or Spark can't write there.
        """
        text("to_delta", "path", path, "a path")
        spark = SparkSession.active()
        known = cast("StructType", StructType.fromDDL(SCHEMA))
        schema = StructType([known[c] for c in self.table.columns])
        rows = self.table.astype(object).where(self.table.notna(), None)
        records = list(rows.itertuples(index=False, name=None))
        try:
            spark.createDataFrame(records, schema).write.format("delta").save(path)
        except (PySparkException, Py4JJavaError) as error:
            wanted = "where Spark can write, and no table is yet"
            said = str(error).partition("\n")[0]
            raise ArgumentError("to_delta", "path", wanted, path, f": {said}") from None

    def _reference(self, found: pd.DataFrame, to: str) -> pd.Series:
        if text("Evaluation", "to", to, "a slice's id") == COMPLEMENT:
            return found["value"] - found["effect"]
        self._slice(to, [COMPLEMENT])
        of = self.table[self.table["slice"] == to].set_index(_ONE)["value"]
        return pd.Series(of.reindex(pd.MultiIndex.from_frame(found[_ONE])).to_numpy(), found.index)

    def _slice(self, slice_id: str, others: Sequence[str] = ()) -> int:
        names = [OVERALL, *self.spec.slice_ids]
        if text("Evaluation", "slice_id", slice_id, "a slice's id") not in names:
            raise NoSuchMaskError(slice_id, [*names, *others], "the evaluation")
        return names.index(slice_id)

    def _model(self, model: str) -> int:
        if text("Evaluation", "model", model, "a model's id") not in self.spec.models:
            raise NoSuchModelError(model, self.spec.models)
        return list(self.spec.models).index(model)

    def _metric(self, metric: str | None) -> str:
        known = list(dict.fromkeys(self.table["metric"]))
        if metric is None:
            return str(known[0])
        name = text("Evaluation", "metric", metric, "a metric's name")
        if name not in known and name.partition("@")[0].strip() in KINDS:
            name = str(parse_metric(name))
        if name not in known:
            raise NotEvaluatedError("metric", metric, known)
        return name

    def _made_of(self, family: str, metric: str | None, cells: str, example: str) -> MetricSpec:
        """Return the evaluated metric that is named, or the first, which must be of a family."""
        known = {str(m): m for m in self.spec.metrics if m.family == family}
        name = None
        if metric is not None:
            name, evaluated = (
                text("Evaluation", "metric", metric).strip(),
                set(self.table["metric"]),
            )
            if name not in evaluated:
                of = parse_metric(name)
                name = str(of)
                if of.family == family and name not in known:
                    raise NotEvaluatedError("metric", name, known or evaluated)
        if not known or name not in (None, *known):
            raise MetricCellsError(name, cells, list(known), example)
        return known[name or next(iter(known))]

    def better(self, metric: str) -> str:
        """Return which values of a metric are better: ``high``, ``low``, or nothing."""
        name = text("better", "metric", metric, "a metric's name")
        return better(name, (*self.spec.custom, *self._functions))

    def __repr__(self) -> str:
        splits = map(split_name, self.table["split"].astype(object).unique())
        told = {
            "models": self.spec.models,
            "splits": [] if self.spec.split is None else list(splits),
            "slices": self.spec.slice_ids,
            "metrics": list(dict.fromkeys(self.table["metric"])),
        }
        said = "; ".join(f"{what}: {listed(of, 5)}" for what, of in told.items() if of)
        return f"Evaluation({said}; {len(self.table):,} figures, in .table)"


_KEPT = ("model_id", "split", "slice", "metric", "class", "value", "support", "status")


def evaluate(
    masks: DataFrame,
    predictions: Mapping[str, DataFrame] | DataFrame | None = None,
    *,
    key: str | Sequence[str],
    metrics: Sequence[str | CustomMetric] = ("accuracy", "f1"),
    slices: Sequence[SlicingFunction | str] = (),
    classes: Sequence[Any] | None = (0, 1),
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
        A mask table of either layout, or what ``SparkSFApplier.apply`` or ``MaskPlan.apply``
        returned; with slicing functions as ``slices`` a table of what they read; without
        ``predictions`` one that has label and prediction too.
    predictions
        Model id to its predictions, or one model's: the key, ``label``, ``pred``, and where there
        are any ``prob`` (per class, or a number: the second class's) and ``weight``.
    key
        The columns that name a row.
    metrics
        Metric names, such as ``recall@threshold=0.7``, and metrics made with ``@metric``.
    slices
        Slicing functions to evaluate without storing their masks, or the names of masks that the
        table has; all of those by default.
    classes, positive
        Label values in class order, and the positive one (the last by default). Not looked at
        where no metric needs classes, as those of numbers don't. Values of other types are
        compared as :mod:`engine.metrics.classes` says: 1, 1.0 and true are one class.
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
    call = "evaluate"
    masks = spark_table(call, "masks", masks)
    on, known = columns_of(call, "key", key), renamed(columns)
    parsed, own = metrics_of(call, metrics)
    names = classes_of(parsed, own, classes)
    made, named = slices_of(slices)
    for argument, column in (("split", split), ("cluster", cluster)):
        if column is not None:
            text(call, argument, column, "a column")
    surely = sureness(sure)
    n_replicates = whole(call, "n_replicates", n_replicates, 0, MOST_REPLICATES)
    seed, allow_missing = whole(call, "seed", seed), flag(call, "allow_missing", allow_missing)
    of = None if predictions is None else models_of(predictions)
    check_columns(
        masks,
        "the table",
        {
            "key": on,
            "split": [] if split is None else [split],
            "cluster": [] if cluster is None else [cluster],
            "metrics": [m.parameter("column") for m in parsed if m.needs == "column"],
        },
    )
    check_summed(masks.schema, "the table", parsed)
    ids = named_masks(masks, named or None, "slices") if named or not made else ()
    spec = EvaluationSpec(
        metrics=parsed,
        slice_ids=(*ids, *(sf.id for sf in made)),
        classes=names,
        positive=position_of(names, positive),
        split=split,
        models=["model"] if of is None else list(of),
        custom=[c for c in own if c.function is None],
    )
    rows = compile_slices(made, masks.schema).apply(masks) if made else masks
    tables = {model: f"predictions of {model!r}" for model in spec.models}
    own_rows, sources = None, {}
    if of is None:
        known = own_names(rows, known)
        joined = _held(rows, names, known)
        weighted, own_rows = has_weights(rows, known), Own(rows, known)
    else:
        given = {
            model: normalised(df, tables[model], model, on, known, names)
            for model, df in of.items()
        }
        joined = join_predictions(rows, given, on)
        sources = {"the mask table": masks, **{tables[m]: df for m, df in given.items()}}
        weighted = any(has_weights(df, known) for df in of.values())
    with explained(with_parts(made)):
        return measured(
            joined, replace(spec, weighted=weighted), tables, on, on,
            sure=surely, n_replicates=n_replicates, cluster=cluster, seed=seed,
            allow_missing=allow_missing, functions=[c for c in own if c.function is not None],
            own=own_rows, sources=sources,
        )  # fmt: skip


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
    functions: Sequence[CustomMetric] = (),
    own: Own | None = None,
    sources: Mapping[str, DataFrame],
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
    functions
        Metrics that are plain functions.
    own
        The rows before ``joined`` was made of them, if they have predictions of their own.
    sources
        The tables that were joined, by name; none where rows have predictions of their own.
    """
    sure = replace(sure, clustered=cluster is not None)
    drawn = bool(n_replicates) and (len(tables) > 1 or needs_replicates(spec, sure.clustered))
    hashed = KeyHash((cluster,) if cluster else tuple(key), seed) if drawn else None
    joined_by = on if sources else ()
    found = scan(joined, spec, hashed, n_replicates if drawn else 0, own, key=joined_by)
    check_joined(found, joined, spec, tables, on, allow_missing, sources)
    if cluster and drawn:
        found = with_clusters(found, joined, spec, cluster)
    per = per_slice(joined, spec, functions, found) if functions else None
    of_figures, problems = figures_and_problems(found, spec, per)
    _warn(problems)
    table = with_uncertainty(of_figures, found, spec, sure)
    return Evaluation(
        table.reset_index(drop=True), spec, sure, found, joined, tuple(key), seed,
        tuple(functions), tuple(problems),
    )  # fmt: skip


def _warn(problems: Sequence[Problem]) -> None:
    """Say once per metric of the user's own on how many figures it failed, and how."""
    for metric in dict.fromkeys(p.metric for p in problems):
        first, *others = (p for p in problems if p.metric == metric)
        log.warning(
            "metric %r failed on slice %r of model %r, split %r: %s%s; such figures have the "
            "status failed, and Evaluation.failures has all of them",
            metric, first.slice, first.model_id, first.split, first.problem,
            f" (and {len(others):,} more)" if others else "",
        )  # fmt: skip


def with_clusters(found: Scan, joined: DataFrame, spec: EvaluationSpec, cluster: str) -> Scan:
    """Count the clusters that have a scored row in each slice; a scan of its own."""
    masks = read_masks(joined)
    members = [F.lit(True), *map(masks.mask, spec.slice_ids)]
    names = [f"in_{j}" for j in range(len(members))]
    parts = dict(found.parts)
    for i, model in enumerate(spec.models):
        label, pred = predicted(i, "label"), predicted(i, "pred")
        scored = masks.df.where(f"{label} IS NOT NULL AND {pred} IS NOT NULL")
        each = scored.groupBy(split_column(spec.split).alias("split"), quoted(cluster)).agg(
            *(
                F.max(F.coalesce(m, F.lit(False))).alias(n)
                for m, n in zip(members, names, strict=True)
            )
        )
        counts = each.groupBy("split").agg(*(F.count_if(F.col(n)).alias(n) for n in names))
        for row in counts.collect():
            at = (model, row["split"])
            parts[at] = replace(parts[at], clusters=np.array([row[n] for n in names], np.int64))
    return replace(found, parts=parts)


def _held(rows: DataFrame, classes: Sequence[Any], columns: Mapping[str, str]) -> DataFrame:
    """Return rows that hold their predictions as if these had been joined."""
    fields = fields_of(rows, "the table", [], columns, classes)
    return with_own_predictions(of_model(with_arrays(rows, columns), "model", columns), fields)
