"""Evaluate slices from Python: one call, and the figures in the field's vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.arguments import entries, flag, text, texts, whole
from engine.arrow.columns import Local
from engine.errors import ArgumentError, MetricError, listed, near, no_such_mask
from engine.hashing import KeyHash
from engine.masks.pairs import Overlap
from engine.masks.splits import AnySplit, Split, by_split, check_split, in_split, split_name
from engine.metrics.catalog import KINDS, OVERALL, MetricSpec, badness, better, parse_metric
from engine.metrics.custom import CustomMetric
from engine.metrics.explore.findings import Findings, candidate_slices, findings
from engine.metrics.formulas.classification import FEW, check_shown, class_rows, confusions
from engine.metrics.formulas.probability import Calibration
from engine.metrics.formulas.states import State
from engine.metrics.inference.budget import within_budget
from engine.metrics.inference.compare import compare, flips
from engine.metrics.inference.figures import Problem, figures_and_problems
from engine.metrics.inference.uncertainty import Confidence, needs_replicates, with_uncertainty
from engine.metrics.inference.useless import Outcome, sentences
from engine.metrics.local_tables import local_rows
from engine.metrics.request import Selection, confidence_of, deprecated, request_of
from engine.metrics.scan.form import EvaluationSpec, Scan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.metrics.in_memory import LocalRows
    from engine.metrics.in_spark import SparkRows
    from engine.slicing.functions import SlicingFunction

    Rows = LocalRows | SparkRows

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
    spec, confidence
        What was evaluated, and how sure figures must be.
    """

    table: pd.DataFrame
    spec: EvaluationSpec
    confidence: Confidence
    _scan: Scan = field(repr=False)
    _rows: Rows = field(repr=False)
    _key: tuple[str, ...] = ()
    _seed: int = 0
    _functions: tuple[CustomMetric, ...] = ()
    _problems: tuple[Problem, ...] = ()

    @property
    def sure(self) -> Confidence:
        """The old name of ``confidence``."""
        deprecated("Evaluation.sure", "Evaluation.confidence")
        return self.confidence

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

    @property
    def warnings(self) -> pd.DataFrame:
        """What shows that models are of no use: ``model_id, split, warning``; empty if nothing.

        Such a model predicts one class only, or its ``roc_auc`` is below 0.5, on all rows of a
        split, 30 at least. What is predicted is known where a metric counts it: of up to three
        classes any metric of classes, of more an average over classes.
        """
        shown = [
            (model, split, sentence)
            for (model, split), part in by_split(self._scan.parts)
            for sentence in sentences(self._outcome(model, split, part.state.at(0)))
        ]
        return pd.DataFrame(shown, columns=["model_id", "split", "warning"])

    def _outcome(self, model: str, split: Split, state: State) -> Outcome:
        """Return what a model did on all rows of a split."""
        of = self.overall
        here = (of["model_id"] == model) & in_split(of["split"], split)
        sure = here & (of["metric"] == "roc_auc") & of["status"].isin(["ok", "rough"])
        auc = next(iter(of.loc[sure, "value"]), None)
        counts = class_rows(state.rows, self.spec.labels)
        labels, predicted = (
            ([], []) if counts is None else (counts.actual.tolist(), counts.predicted.tolist())
        )
        where = f"of split {split_name(split)}"
        return Outcome(model, where, self.spec.classes, labels, predicted, auc)

    @property
    def overlap(self) -> Overlap | None:
        """The rows that each two slices share, where the scan was asked for them; else None."""
        return self._scan.overlap

    def difference(self, to: str = OVERALL) -> pd.DataFrame:
        """Return the slices' values less those of ``to``.

        Parameters
        ----------
        to
            ``overall``, ``complement`` (the rows of the split outside the slice), or a slice.

        Raises
        ------
        MaskError
            If there is no such slice.
        """
        figures = self.by_slice
        return figures.assign(value=figures["value"] - self._reference(figures, to))[[*_KEPT]]

    def ratio(self, to: str = OVERALL) -> pd.DataFrame:
        """Return the slices' values divided by those of ``to``, as :meth:`difference` takes it."""
        figures = self.by_slice
        return figures.assign(value=figures["value"] / self._reference(figures, to))[[*_KEPT]]

    def worst(
        self,
        n: int = 10,
        metric: str | None = None,
        model: str | None = None,
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Return the n slices with the worst values that rest on enough rows, worst first.

        A value of few rows is among them where an exact test tells it from the rows outside.

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
        MetricError
            If this metric, split or model was not evaluated.
        """
        n, name = whole("worst", "n", n, 1), self._metric(metric)
        if model is not None:
            self._model(model)
        check_split("worst", split, self.table["split"])
        figures = self.by_slice
        sure = figures["p_adjusted"] <= 1 - self.confidence.level
        chosen = (figures["metric"] == name) & (figures["status"].isin(["ok", "rough"]) | sure)
        chosen &= in_split(figures["split"], split)
        chosen &= (figures["model_id"] == model) | (model is None)
        rows, to = figures[chosen], self._reference(figures, OVERALL)[chosen]
        worse: pd.Series = badness(rows["value"], self.better(name), to)
        return rows.loc[worse.nlargest(n).index].reset_index(drop=True)

    def findings(
        self, n: int = 5, model: str | None = None, split: AnySplit = ..., min_support: int = 0
    ) -> Findings:
        """Rank where slices are worse than the rows outside, by harm and by severity.

        Slices that are nested or nearly the same are one finding; where the rows that they share
        weren't counted, they are now, of the slices that may be findings.

        Parameters
        ----------
        n
            How many findings of each ranking, at most.
        model, split
            Findings of one model, or one split, only; None is the split of rows whose split is
            null.
        min_support
            Leave out figures that fewer rows decide.

        Raises
        ------
        ArgumentError, MetricError
            If there is no such model or split, or a number is out of its range.
        """
        check_split("findings", split, self.table["split"])
        if model is not None:
            self._model(model)
        chosen = in_split(self.table["split"], split)
        figures = self.table[chosen & ((self.table["model_id"] == model) | (model is None))]
        ranked = partial(
            findings, figures, n=n, min_support=min_support,
            level=self.confidence.level, better=self.better,
        )  # fmt: skip
        if self.overlap is not None:
            return ranked(self.overlap)
        candidates = candidate_slices(figures, self.confidence.level, self.better)
        return ranked(self._overlap_of(candidates) if len(candidates) > 1 else None)

    def _overlap_of(self, slices: Sequence[str]) -> Overlap | None:
        """Count the rows that some slices share; reads the rows again."""
        spec = replace(self.spec, metrics=[], custom=[], slice_ids=slices, overlap=True)
        with self._rows.running():
            return replace(self._rows, spec=spec).scan(None, 0).overlap

    def compare(self, first: str, second: str) -> pd.DataFrame:
        """Compare two models on the same rows, as :mod:`engine.metrics.inference.compare` does.

        For roc_auc the rows are read again, and those of a slice brought together; with weights
        or ``cluster`` it is left out, since nothing draws replicates of rankings.

        Raises
        ------
        MetricError
            If there is no such model.
            If the evaluation has no replicates.
        """
        at = self._model(first), self._model(second)
        if self.spec.replicable and any(p.replicates is None for p in self._scan.parts.values()):
            raise MetricError("models are compared by replicates: evaluate with n_replicates=200")
        areas = None
        ranked = any(m.name == "roc_auc" for m in self.spec.metrics)
        if ranked and not (self.spec.weighted or self.confidence.clustered):
            areas = self._rows.paired_areas(at)
        return compare(self._scan, self.spec, self.confidence, first, second, areas)

    def flips(self, first: str, second: str) -> pd.DataFrame:
        """Count the rows won and lost by the second model.

        Raises
        ------
        MetricError
            If there is no such model.
        """
        self._model(first), self._model(second)
        return flips(self._scan, self.spec, self.confidence, first, second)

    def flipped_rows(
        self,
        first: str,
        second: str,
        slice_id: str = OVERALL,
        n: int = 5,
        columns: Sequence[str] = (),
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Return rows that flip; n each that the second model wins and loses."""
        models = self._model(first), self._model(second)
        selection = self._selection("flipped_rows", models, slice_id, n, columns, split)
        return self._rows.selected([selection])[0]

    def worst_rows(
        self,
        slice_id: str = OVERALL,
        n: int = 10,
        model: str | None = None,
        columns: Sequence[str] = (),
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Return a slice's rows of the largest loss; see :mod:`engine.metrics.in_spark`."""
        at = 0 if model is None else self._model(model)
        selection = self._selection("worst_rows", (at,), slice_id, n, columns, split)
        return self._rows.selected([selection])[0]

    def rows_of(
        self,
        wanted: Sequence[tuple[Sequence[str], str, int]],
        columns: Sequence[str] = (),
        split: AnySplit = ...,
    ) -> list[pd.DataFrame]:
        """Return what :meth:`worst_rows` and :meth:`flipped_rows` do, of many slices in one scan.

        Parameters
        ----------
        wanted
            Models, a slice, and how many rows: one model's worst ones, or what flips of two.
        columns, split
            As for :meth:`worst_rows`.

        Raises
        ------
        ArgumentError
            If one of them is none.
        """
        each = "a list of models, a slice and a number of rows each"
        selections = []
        for one in entries("rows_of", "wanted", wanted, each):
            if not isinstance(one, tuple) or len(one) != 3:  # noqa: PLR2004 - as `each` says
                raise ArgumentError("rows_of", "wanted", each, one)
            models, slice_id, n = one
            first, *others = map(self._model, texts("rows_of", "models", models, least=1))
            if len(others) > 1:
                raise ArgumentError("rows_of", "models", "one model or two", models)
            at = (first, others[0]) if others else (first,)
            selections.append(self._selection("rows_of", at, slice_id, n, columns, split))
        return self._rows.selected(selections)

    def _selection(
        self,
        call: str,
        models: tuple[int] | tuple[int, int],
        slice_id: str,
        n: int,
        columns: Sequence[str],
        split: AnySplit,
    ) -> Selection:
        self._slice(slice_id)
        check_split(call, split, self.table["split"])
        n = whole(call, "n", n, 1)
        columns = texts(call, "columns", columns, "a list of columns")
        return Selection(models, self._key, slice_id, n, columns, split, self._seed)

    def confusion(self, slice_id: str = OVERALL, metric: str | None = None) -> pd.DataFrame:
        """Return a slice's rows of each label by each prediction.

        Of more than three classes the rows are read again, for no metric needs all of that.

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
        MetricError
            If it wasn't evaluated, or has no such matrix.
            If there are more classes than can be shown.
        """
        at = self._slice(slice_id)
        of = self._of_family("confusion", metric, "confusion matrix", "accuracy")
        scan = self._scan
        if len(self.spec.classes) > FEW:
            check_shown(self.spec.labels)
            one = [] if at == 0 else [slice_id]
            spec = replace(
                self.spec, metrics=[], custom=[], slice_ids=one, overlap=False, matrix=True
            )
            with self._rows.running():
                scan, at = replace(self._rows, spec=spec).scan(None, 0), len(one)
        label, pred = zip(*product(self.spec.classes, repeat=2), strict=True)

        def columns(state: State) -> dict[str, Any]:
            rows, weight = (
                confusions(of, cells, self.spec.labels)[at].ravel()
                for cells in (state.rows, state.weights)
            )
            return {"label": label, "pred": pred, "rows": rows, "weight": weight}

        return self._by_split(columns, scan)

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
        MetricError
            If it wasn't evaluated, or has no bins.
        """
        at = self._slice(slice_id)
        ece = self._of_family("calibration", metric, "bins of confidence", "ece")
        of = Calibration(ece, self.spec.labels)

        def columns(state: State) -> dict[str, Any]:
            rows, confidence, right = of.bins(state.at(at))
            bins = len(rows)
            with np.errstate(all="ignore"):
                return {
                    "bin_low": np.arange(bins) / bins, "bin_high": np.arange(1, bins + 1) / bins,
                    "weight": rows, "confidence": confidence / rows, "accuracy": right / rows,
                }  # fmt: skip

        return self._by_split(columns, self._scan)

    @staticmethod
    def _by_split(columns: Callable[[State], Mapping[str, Any]], scan: Scan) -> pd.DataFrame:
        """Return what is shown of each model's and split's state."""
        tables = [
            pd.DataFrame({"model_id": model, "split": split, **columns(part.state)})
            for (model, split), part in by_split(scan.parts)
        ]
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
        from engine.metrics.in_spark import write_table  # pyspark is heavy

        write_table(self.table, path)

    def _reference(self, figures: pd.DataFrame, to: str) -> pd.Series:
        if text("Evaluation", "to", to, "a slice's id") == COMPLEMENT:
            return figures["value"] - figures["effect"]
        self._slice(to, [COMPLEMENT])
        of = self.table[self.table["slice"] == to].set_index(_ONE)["value"]
        return pd.Series(
            of.reindex(pd.MultiIndex.from_frame(figures[_ONE])).to_numpy(), figures.index
        )

    def _slice(self, slice_id: str, others: Sequence[str] = ()) -> int:
        names = [OVERALL, *self.spec.slice_ids]
        if text("Evaluation", "slice_id", slice_id, "a slice's id") not in names:
            raise no_such_mask(slice_id, [*names, *others], "the evaluation")
        return names.index(slice_id)

    def _model(self, model: str) -> int:
        if text("Evaluation", "model", model, "a model's id") not in self.spec.models:
            raise MetricError(f"model {model!r} was not evaluated{near(model, self.spec.models)}")
        return list(self.spec.models).index(model)

    def _metric(self, metric: str | None) -> str:
        known = list(dict.fromkeys(self.table["metric"]))
        if metric is None:
            return str(known[0])
        name = text("Evaluation", "metric", metric, "a metric's name")
        if name not in known and name.partition("@")[0].strip() in KINDS:
            name = str(parse_metric(name))
        if name not in known:
            raise MetricError(f"metric {metric!r} was not evaluated{near(str(metric), known)}")
        return name

    def _of_family(self, family: str, metric: str | None, cells: str, example: str) -> MetricSpec:
        """Return the evaluated metric that is named, or the first, which must be of a family."""
        known = {str(m): m for m in self.spec.metrics if m.family == family}
        name, evaluated = None, set(self.table["metric"])
        if metric is not None:
            name = text("Evaluation", "metric", metric).strip()
            if name not in evaluated:
                of = parse_metric(name)
                name = str(of)
                if of.family == family and name not in known:
                    raise MetricError(
                        f"metric {name!r} was not evaluated{near(name, known or evaluated)}"
                    )
        if not known or name not in (None, *known):
            raise no_cells(name, cells, list(known), example)
        return known[name or next(iter(known))]

    def better(self, metric: str) -> str:
        """Return which values of a metric are better: ``high``, ``low``, or nothing."""
        name = text("better", "metric", metric, "a metric's name")
        own = {m.name: m.better for m in (*self.spec.custom, *self._functions)}
        return own[name] if name in own else better(name)

    def __repr__(self) -> str:
        splits = map(split_name, self.table["split"].astype(object).unique())
        contents = {
            "models": self.spec.models,
            "splits": [] if self.spec.split is None else list(splits),
            "slices": self.spec.slice_ids,
            "metrics": list(dict.fromkeys(self.table["metric"])),
        }
        shown = "; ".join(f"{what}: {listed(of, 5)}" for what, of in contents.items() if of)
        return f"Evaluation({shown}; {len(self.table):,} figures, in .table)"


def no_cells(metric: str | None, cells: str, known: Sequence[object], example: str) -> MetricError:
    """Return the error of a metric without the cells that are to be shown."""
    what = "no metric evaluated has any" if metric is None else f"metric {metric!r} has no"
    there = (
        f"of those evaluated {listed(known)} {'has' if len(known) == 1 else 'have'}"
        if known
        else f"evaluate one that has, such as {example!r}"
    )
    return MetricError(f"{what} {cells}; {there}")


_KEPT = ("model_id", "split", "slice", "metric", "class", "value", "support", "status")


def evaluate(
    masks: DataFrame | Local,
    predictions: Mapping[str, DataFrame] | Mapping[str, Local] | DataFrame | Local | None = None,
    *,
    key: str | Sequence[str],
    metrics: Sequence[str | CustomMetric] = ("accuracy", "f1"),
    slices: Sequence[SlicingFunction | str] = (),
    classes: Sequence[Any] | None = (0, 1),
    positive: Any = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    confidence: Confidence | None = None,
    n_replicates: int = 200,
    cluster: str | None = None,
    seed: int = 0,
    allow_missing: bool = False,
    sure: Confidence | None = None,
) -> Evaluation:
    """Evaluate every slice by every metric, for one or more models.

    Parameters
    ----------
    masks
        A mask table of either layout, or what ``SparkSFApplier.apply`` or ``MaskPlan.apply``
        returned; with slicing functions as ``slices`` a table of what they read; without
        ``predictions`` one that has label and prediction too. A table of pandas or pyarrow is
        evaluated here, without Spark; its masks are BOOLEAN columns.
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
        A column of ``masks``; each of its values has figures of its own.
    columns
        Our names of prediction columns to the table's own, where they differ.
    confidence
        How sure figures must be.
    n_replicates, cluster, seed
        Bootstrap replicates, the column whose rows are drawn together, and what decides them.
    allow_missing
        Whether rows may lack a prediction; they are counted in ``n_missing`` then.
    sure
        The old name of ``confidence``.

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
    asks = request_of(
        "evaluate", key=key, metrics=metrics, slices=slices, classes=classes, positive=positive,
        split=split, cluster=cluster, columns=columns,
    )  # fmt: skip
    certainty = confidence_of(confidence, sure)
    n_replicates = whole("evaluate", "n_replicates", n_replicates, 0, MOST_REPLICATES)
    seed = whole("evaluate", "seed", seed)
    allow_missing = flag("evaluate", "allow_missing", allow_missing)
    if isinstance(masks, Local):
        rows: Rows = local_rows(masks, predictions, asks)
    else:
        from engine.metrics.in_spark import spark_rows  # pyspark is heavy, and may not be needed

        rows = spark_rows(masks, predictions, asks)
    with rows.running():
        evaluation = measured(
            rows, {model: asks.table(model) for model in rows.spec.models}, asks.key,
            confidence=certainty, n_replicates=n_replicates, cluster=cluster, seed=seed,
            allow_missing=allow_missing,
            functions=[m for m in asks.own if m.function is not None],
        )  # fmt: skip
    for sentence in evaluation.warnings["warning"]:
        log.warning("%s", sentence)
    return evaluation


def measured(
    rows: Rows,
    tables: Mapping[str, str],
    key: Sequence[str],
    *,
    confidence: Confidence,
    n_replicates: int,
    cluster: str | None,
    seed: int,
    allow_missing: bool,
    functions: Sequence[CustomMetric] = (),
) -> Evaluation:
    """Evaluate mask rows that have their predictions; what :func:`evaluate` and the job share.

    Parameters
    ----------
    rows
        The rows, with what is evaluated.
    tables
        Model id to its prediction table, for messages.
    key
        The key columns, which decide replicates.
    confidence, n_replicates, cluster, seed, allow_missing
        As for :func:`evaluate`.
    functions
        Metrics that are plain functions.
    """
    confidence = replace(confidence, clustered=cluster is not None)
    spec, notes = within_budget(rows.spec, confidence, n_replicates)
    for note in notes:
        log.warning("%s", note)
    rows = replace(rows, spec=spec)
    drawn = bool(n_replicates) and (len(tables) > 1 or needs_replicates(spec, confidence.clustered))
    hashed = KeyHash((cluster,) if cluster else tuple(key), seed) if drawn else None
    counts = rows.scan(hashed, n_replicates if drawn else 0)
    rows.check(counts, tables, allow_missing)
    if cluster and drawn:
        counts = rows.with_clusters(counts, cluster)
    per = rows.per_slice(functions, counts) if functions else None
    of_figures, problems = figures_and_problems(counts, spec, per)
    _warn(problems)
    table = with_uncertainty(of_figures, counts, spec, confidence)
    return Evaluation(
        table.reset_index(drop=True), spec, confidence, counts, rows, tuple(key), seed,
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
