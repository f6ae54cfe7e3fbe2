"""Metrics of every slice, split and model from one scan over masks and predictions.

The state is a table of cells: rows grouped by model, split, label, prediction (and score bin, and
side of each threshold), with each slice's count and weight per cell. Cells add up over any
partition of the rows; weights are summed as int64 fixed point, so order and partitioning change
no bit of a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import NotBinaryError
from engine.masks.checks import quoted
from engine.masks.counts import tally
from engine.masks.layout import word
from engine.masks.reader import MaskTable, read_masks
from engine.masks.table import split_column
from engine.masks.words import WORD
from engine.metrics.bootstrap import Replicates, replicate, words_and_bits
from engine.metrics.classification import EMPTY, Figure, compute
from engine.metrics.ranking import RANKINGS
from engine.metrics.spec import MetricSpec

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

OVERALL = "overall"
UNSCORED = "unscored"
WEIGHT_SCALE = 2**20  # weights are summed in units of 1/1,048,576; Spark checks for overflow
UNKNOWN_CLASS = -2  # a value that is none of the classes
# Columns of joined rows, named as no slice can be.
MODEL, PREDICTION = "@model", "@prediction"
_FIELDS = ("label", "weight", "pred", "prob")
_SLACK = 1e-6  # a probability computed in 32 bits may be that much over 1

ROW_COLUMNS = (
    "model_id",
    "split",
    "slice",
    "metric",
    "class",
    "value",
    "support",
    "n_null",
    "n_missing",
    "status",
)
SURE_COLUMNS = ("ci_low", "ci_high", "p_value", "p_adjusted", "effect")  # with_uncertainty's


@dataclass(frozen=True)
class EvaluationSpec:
    """What is evaluated.

    Attributes
    ----------
    metrics
        The metrics.
    slice_ids
        Mask columns.
    classes
        Label values in class order.
    positive
        Position of the positive class.
    split
        The split column, or None.
    weighted
        Whether predictions have weights.

    Raises
    ------
    NotBinaryError
        If a metric has a threshold and there are more than two classes.
    """

    metrics: Sequence[MetricSpec]
    slice_ids: Sequence[str]
    classes: Sequence[Any]
    positive: int
    split: str | None = None
    weighted: bool = False

    def __post_init__(self) -> None:
        for metric in self.metrics:
            if len(self.classes) > 2 and metric.parameter("threshold") is not None:  # noqa: PLR2004
                raise NotBinaryError(str(metric), f"there are {len(self.classes)} classes")

    @property
    def confusions(self) -> list[MetricSpec]:
        """The metrics that are made of a confusion."""
        return [m for m in self.metrics if m.kind.needs == "confusion"]

    @property
    def thresholds(self) -> list[float]:
        """Distinct thresholds among the metrics."""
        return sorted({m.parameter("threshold") for m in self.confusions} - {None})

    @property
    def bins(self) -> list[int]:
        """Distinct histogram sizes among the metrics."""
        return sorted({int(m.parameter("bins")) for m in self.metrics if m.kind.needs == "scores"})


def join_predictions(
    masks: DataFrame, predictions: DataFrame, on: Sequence[str], model_ids: Sequence[str]
) -> DataFrame:
    """Return each mask row once per model, with that model's prediction where there is one.

    Parameters
    ----------
    masks
        The mask table's rows.
    predictions
        Columns ``on``, ``model_id``, ``label``, ``weight``, ``pred``, ``prob``.
    on
        Partition and key columns.
    model_ids
        The models.
    """
    wanted = masks.withColumn(MODEL, F.explode(F.array(*map(F.lit, model_ids))))
    packed = predictions.select(
        *map(quoted, on), F.col("model_id").alias(MODEL), F.struct(*_FIELDS).alias(PREDICTION)
    )
    return wanted.join(packed, [*on, MODEL], "left")


def predicted(name: str) -> Column:
    """Return what joined rows have of a prediction: its label, weight, pred or prob."""
    return F.col(f"`{PREDICTION}`.{name}")


def cells(joined: DataFrame, spec: EvaluationSpec) -> pd.DataFrame:
    """Scan the joined rows once and return the cells.

    Returns
    -------
    pd.DataFrame
        One row per combination that occurs of ``model_id, split, label, pred, t_<i>…, bin_<i>…``
        (class positions; -1 where there is none, -2 for a value that is none of the classes),
        with ``found`` rows that have a prediction, ``bad_weight`` and ``bad_prob`` rows whose
        weight or probabilities can't be, ``n_<j>``, ``null_<j>``, and ``w_<j>`` (int64, in units
        of 1/WEIGHT_SCALE) per slice j, 0 being all rows.
    """
    by = {**_confusion_columns(spec), **_bin_columns(spec)}
    checked = {
        "found": F.col(f"`{PREDICTION}`").isNotNull(),
        "bad_weight": bad_weight(),
        "bad_prob": bad_prob(len(spec.classes)),
    }
    masks = read_masks(joined)
    scan = _counted if masks.spark_counts(spec.slice_ids) else _tallied
    return scan(masks, by, checked, _weight(spec), spec.slice_ids)


def replicates(
    joined: DataFrame, spec: EvaluationSpec, hashed: Column, n: int, cluster: str | None = None
) -> Replicates:
    """Scan the joined rows once and return what each replicate draws of the confusion cells.

    Parameters
    ----------
    joined
        Mask rows with predictions.
    spec
        What is evaluated.
    hashed
        The hash that decides a row's weights: of its key, or of its cluster.
    n
        How many replicates.
    cluster
        The column whose rows are drawn together.
    """
    masks = read_masks(joined)
    held = masks.words(spec.slice_ids)
    words, bits = words_and_bits(held.in_words, held.at, spec.slice_ids)
    found = replicate(masks.df, _confusion_columns(spec), words, bits, hashed, n, _weight(spec))
    if cluster is None:
        return found
    return replace(found, clusters=_clusters(masks.df, spec, words, bits, cluster))


def _clusters(
    df: DataFrame, spec: EvaluationSpec, words: Sequence[Column], bits: Sequence[int], cluster: str
) -> dict[tuple[str, str], np.ndarray]:
    """Count the clusters that have a scored row in each slice."""
    by = {"model_id": F.col(f"`{MODEL}`"), "split": split_column(spec.split)}
    scored = df.where(predicted("label").isNotNull() & predicted("pred").isNotNull())
    groups = [c.alias(name) for name, c in by.items()]
    names = [f"_word_{k}" for k in range(len(words))]
    each = scored.groupBy(*groups, quoted(cluster).alias("_cluster")).agg(
        F.count(F.lit(1)), *(F.bit_or(w).alias(name) for w, name in zip(words, names, strict=True))
    )
    every = F.lit(1).cast("long")  # a word whose lowest bit all clusters have
    found = tally(each, {name: F.col(name) for name in by}, [every, *map(quoted, names)])
    at = [0, *(WORD + bit for bit in bits)]
    return {
        (str(model), str(split)): found.rows[g, at]
        for g, (model, split) in enumerate(found.groups.itertuples(index=False))
    }


def _confusion_columns(spec: EvaluationSpec) -> dict[str, Column]:
    return {
        "model_id": F.col(f"`{MODEL}`"),
        "split": split_column(spec.split),
        "label": class_position(predicted("label"), spec.classes),
        "pred": class_position(predicted("pred"), spec.classes),
        **_side_columns(spec),
    }


def _weight(spec: EvaluationSpec) -> Column | None:
    if not spec.weighted:
        return None
    given = F.when(~bad_weight(), predicted("weight")).otherwise(0.0)
    return F.round(F.coalesce(given, F.lit(1.0)) * WEIGHT_SCALE).cast("long")


def _counted(
    masks: MaskTable,
    by: Mapping[str, Column],
    checked: Mapping[str, Column],
    weight: Column | None,
    ids: Sequence[str],
) -> pd.DataFrame:
    """Count by Spark's aggregates, some for each slice."""
    sums = [F.count_if(test).alias(name) for name, test in checked.items()]
    for j, member in enumerate([F.lit(True), *map(masks.mask, ids)]):
        sums.append(F.count_if(member).alias(f"n_{j}"))
        sums.append(F.count_if(member.isNull()).alias(f"null_{j}"))
        if weight is not None:
            sums.append(F.sum(F.when(member, weight).otherwise(0)).alias(f"w_{j}"))
    groups = [column.alias(name) for name, column in by.items()]
    return masks.df.groupBy(*groups).agg(*sums).toPandas()


def _tallied(
    masks: MaskTable,
    by: Mapping[str, Column],
    checked: Mapping[str, Column],
    weight: Column | None,
    ids: Sequence[str],
) -> pd.DataFrame:
    """Count by numpy, all slices at once; the same cells."""
    held = masks.words(ids)
    # The first word's lowest bit is set in every row, so that a group is never without one.
    words = [word([F.lit(True), *checked.values()]), *held.in_words, *held.null_words]
    found = tally(masks.df, by, words, weight)
    columns = {name: found.rows[:, i] for i, name in enumerate(checked, start=1)}
    null = WORD * len(held.in_words)
    bits = [0, *(WORD + held.at[s] for s in ids)]
    for j, bit in enumerate(bits):
        columns[f"n_{j}"] = found.rows[:, bit]
        columns[f"null_{j}"] = found.rows[:, null + bit] if j else np.zeros_like(found.rows[:, 0])
        if found.weight is not None:
            columns[f"w_{j}"] = found.weight[:, bit]
    return pd.concat([found.groups, pd.DataFrame(columns)], axis=1)


def merge_cells(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Add up cells of disjoint sets of rows.

    Examples
    --------
    >>> one = pd.DataFrame({"model_id": ["m"], "split": ["all"], "label": [1], "pred": [1],
    ...                     "found": [2], "n_0": [2], "null_0": [0]})
    >>> merge_cells([one, one]).n_0.tolist()
    [4]
    """
    whole = pd.concat(parts, ignore_index=True)
    by = [c for c in whole.columns if not c.startswith(("found", "bad_", "n_", "null_", "w_"))]
    return whole.groupby(by, as_index=False, sort=True).sum()


def figures(found: pd.DataFrame, spec: EvaluationSpec) -> pd.DataFrame:
    """Compute all metrics of all slices from cells; pure.

    Returns
    -------
    pd.DataFrame
        Columns ``ROW_COLUMNS``; one row per model, split, slice (overall first) and metric, in
        that order. Empty slices have rows too.
    """
    names = [OVERALL, *spec.slice_ids]
    rows = [
        (model, split, name, *_row(part, j, metric, spec))
        for (model, split), part in found.groupby(["model_id", "split"], sort=True)
        for j, name in enumerate(names)
        for metric in spec.metrics
    ]
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def _row(part: pd.DataFrame, j: int, metric: MetricSpec, spec: EvaluationSpec) -> tuple[Any, ...]:
    n = part[f"n_{j}"].to_numpy(np.int64)
    weight = part[f"w_{j}"].to_numpy(np.int64) if spec.weighted else n
    figure, scored = _COMPUTE[metric.kind.needs](part, weight, metric, spec)
    support = int(n[scored].sum())
    if not support:
        figure = Figure(None, UNSCORED if n.sum() else EMPTY)
    positive = str(spec.classes[spec.positive]) if metric.kind.binary else None
    nulls, missing = int(part[f"null_{j}"].sum()), int(n.sum()) - support
    return str(metric), positive, figure.value, support, nulls, missing, figure.status


def _confusion_figure(
    part: pd.DataFrame, weight: np.ndarray, metric: MetricSpec, spec: EvaluationSpec
) -> tuple[Figure, np.ndarray]:
    confusion, scored = confusions(part, weight, metric, spec)
    return compute(metric, confusion, spec.positive), scored


def confusions(
    groups: pd.DataFrame, counts: np.ndarray, metric: MetricSpec, spec: EvaluationSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Arrange cells' counts ``[groups, ...]`` as confusions ``[..., C, C]``.

    Returns
    -------
    tuple of np.ndarray
        The confusions, and which groups ``[groups]`` have a label and a prediction.
    """
    label, threshold = groups["label"].to_numpy(), metric.parameter("threshold")
    if threshold is None:
        pred = groups["pred"].to_numpy()
    else:  # t_<i> is 1 at or above the threshold, 0 below, -1 without a score
        side = groups[f"t_{spec.thresholds.index(threshold)}"].to_numpy()
        pred = np.where(side == 1, spec.positive, np.where(side == 0, 1 - spec.positive, -1))
    scored = (label >= 0) & (pred >= 0)
    filled = np.zeros((len(spec.classes), len(spec.classes), *counts.shape[1:]), dtype=np.int64)
    np.add.at(filled, (label[scored], pred[scored]), counts[scored])
    return np.moveaxis(filled, (0, 1), (-2, -1)), scored


def _scores_figure(
    part: pd.DataFrame, weight: np.ndarray, metric: MetricSpec, spec: EvaluationSpec
) -> tuple[Figure, np.ndarray]:
    (negatives, positives), scored = histograms(part, weight, metric, spec)
    return RANKINGS[metric.name](negatives, positives), scored


def histograms(
    part: pd.DataFrame, counts: np.ndarray, metric: MetricSpec, spec: EvaluationSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Arrange cells' counts ``[cells, ...]`` as histograms of scores ``[2, ..., bins]``.

    Returns
    -------
    tuple of np.ndarray
        Those of negatives and of positives, and which cells have a label and a score.
    """
    bins = int(metric.parameter("bins"))
    label, at = part["label"].to_numpy(), part[f"bin_{spec.bins.index(bins)}"].to_numpy()
    scored = (label >= 0) & (at >= 0)
    side = (label[scored] == spec.positive).astype(int)
    filled = np.zeros((2, bins, *counts.shape[1:]), dtype=np.int64)
    np.add.at(filled, (side, at[scored]), counts[scored])
    return np.moveaxis(filled, 1, -1), scored


def _predicted_figure(
    part: pd.DataFrame, weight: np.ndarray, _: MetricSpec, __: EvaluationSpec
) -> tuple[Figure, np.ndarray]:
    total, predicted = weight.sum(), weight[part["pred"].to_numpy() >= 0].sum()
    figure = Figure(float(predicted / total)) if total else Figure(None, EMPTY)
    return figure, np.ones(len(part), dtype=bool)


_COMPUTE = {
    "confusion": _confusion_figure,
    "scores": _scores_figure,
    "predictions": _predicted_figure,
}


def _score(spec: EvaluationSpec) -> tuple[Column, Column]:
    """Return the positive class's probability, and whether there is one."""
    score = F.get(predicted("prob"), F.lit(spec.positive))
    return score, score.isNotNull() & ~F.isnan(score)


def _side_columns(spec: EvaluationSpec) -> dict[str, Column]:
    score, known = _score(spec)
    return {
        f"t_{i}": F.when(known, (score >= F.lit(t)).cast("int")).otherwise(-1)
        for i, t in enumerate(spec.thresholds)
    }


def _bin_columns(spec: EvaluationSpec) -> dict[str, Column]:
    score, known = _score(spec)
    return {
        f"bin_{i}": F.when(
            known, F.greatest(F.lit(0), F.least(F.floor(score * b), F.lit(b - 1))).cast("int")
        ).otherwise(-1)
        for i, b in enumerate(spec.bins)
    }


def bad_weight() -> Column:
    """Tell whether a prediction's weight is negative, infinite or NaN."""
    weight = predicted("weight")
    return F.coalesce((weight < 0) | F.isnan(weight) | (weight == float("inf")), F.lit(False))


def bad_prob(n_classes: int) -> Column:
    """Tell whether there isn't a probability per class, or one is out of [0, 1]; NaN may be."""
    prob = predicted("prob")
    outside = F.exists(prob, lambda p: ((p < -_SLACK) | (p > 1 + _SLACK)) & ~F.isnan(p))
    return F.coalesce((F.size(prob) != n_classes) | outside, F.lit(False)) & prob.isNotNull()


def class_position(column: Column, classes: Sequence[Any]) -> Column:
    """Return a value's class position, -1 for null, -2 for none of the classes."""
    # Compared as text: labels may be integers in one table and long or text in another.
    names = F.array(*(F.lit(class_text(c)) for c in classes))
    at = F.array_position(names, column.cast("string")).cast("int") - 1
    return F.when(column.isNull(), -1).when(at < 0, UNKNOWN_CLASS).otherwise(at)


def class_text(value: Any) -> str:
    """Return a class as Spark's cast to string shows it.

    Examples
    --------
    >>> class_text(True), class_text(1), class_text("spam")
    ('true', '1', 'spam')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def by_slice(rows: pd.DataFrame, metric: str, split: str) -> pd.DataFrame:
    """Arrange one metric's figures: a row per slice, a column per model; worst first.

    Examples
    --------
    >>> rows = pd.DataFrame({"model_id": "m", "split": "test", "slice": ["overall", "a", "b"],
    ...                      "metric": "f1", "value": [0.8, 0.9, 0.5]})
    >>> by_slice(rows, "f1", "test").index.tolist()
    ['overall', 'b', 'a']
    """
    chosen = rows[(rows["metric"] == metric) & (rows["split"] == split)]
    wide = chosen.pivot_table(
        index="slice", columns="model_id", values="value", aggfunc="first", dropna=False
    )
    worst = wide.min(axis=1).sort_values(kind="stable", na_position="last").index
    return wide.loc[[s for s in (OVERALL,) if s in wide.index] + [s for s in worst if s != OVERALL]]
