"""How each figure is computed, in words: what a page says to who must trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.metrics.catalog import KINDS

# Of a row: tp is positive and predicted so, fp predicted so alone, fn positive alone, tn neither.
FORMULAS: Mapping[str, str] = {
    "accuracy": "Rows that are predicted right, of all rows.",
    "precision": "Rows that are positive, of those predicted positive.",
    "recall": "Rows that are predicted positive, of those that are positive.",
    "f1": "Harmonic mean of precision and recall: 2·tp / (2·tp + fp + fn).",
    "fbeta": "Mean of precision and recall in which recall counts beta² times as much.",
    "specificity": "Rows that are predicted negative, of those that are negative.",
    "false_positive_rate": "Rows that are predicted positive, of those that are negative.",
    "false_negative_rate": "Rows that are predicted negative, of those that are positive.",
    "selection_rate": "Rows that are predicted positive, of all rows.",
    "balanced_accuracy": "Mean of the classes' recalls, over classes that occur.",
    "f1_micro": "Rows that are predicted right, of all rows.",
    "f1_macro": "Mean of the classes' F1, each class alike.",
    "f1_weighted": "Mean of the classes' F1, each weighted by its rows.",
    "precision_micro": "Rows that are predicted right, of all rows.",
    "precision_macro": "Mean of the classes' precisions, each class alike.",
    "precision_weighted": "Mean of the classes' precisions, each weighted by its rows.",
    "recall_micro": "Rows that are predicted right, of all rows.",
    "recall_macro": "Mean of the classes' recalls, each class alike.",
    "recall_weighted": "Mean of the classes' recalls, each weighted by its rows.",
    "matthews_corrcoef": "Correlation of labels and predictions, -1 to 1; 0 is chance.",
    "cohen_kappa": "Agreement of labels and predictions beyond chance; 1 is all, 0 is chance.",
    "roc_auc": "How often a positive row scores above a negative one, both drawn at random; ties "
    "count half.",
    "pr_auc": "Average precision: mean, over positive rows, of the precision among the rows that "
    "score at least as high.",
    "log_loss": "Mean of -ln p, where p is the probability that the model gave the label.",
    "brier": "Mean squared distance of the probabilities from what happened.",
    "ece": "How far confidence is from the share of right predictions, on average over bins of "
    "confidence; small slices look worse by chance.",
    "top_k_accuracy": "Rows whose label is among the k most probable classes, of all rows.",
    "mae": "Mean distance of predictions from labels.",
    "rmse": "Root of the mean squared distance of predictions from labels.",
    "mse": "Mean squared distance of predictions from labels.",
    "r2": "Share of the labels' variance that predictions explain; below 0 their mean does better.",
    "bias": "Mean of prediction less label; above 0 predictions are too high.",
    "mape": "Mean distance of predictions from labels, as a share of the label; of rows whose "
    "label isn't 0.",
    "mape_undefined": "Rows whose label is 0, which mape leaves out.",
    "coverage": "Rows that have a prediction, of all rows.",
    "count": "Rows of the slice.",
    "mean": "Mean of a column.",
    "null_rate": "Rows in which a column is null, of all rows.",
}
_INTERVALS: Mapping[str, str] = {
    "Wilson": "Wilson's score interval",
    "DeLong": "DeLong's variance, symmetric in the log odds",
    "Boyd": "Boyd's logit interval",
    "replicates": "percentiles of bootstrap replicates",
    "none": "none",
}
_DIRECTIONS = {"high": "high", "low": "low", "": "neither"}


@dataclass(frozen=True)
class Definition:
    """One metric, in words.

    Attributes
    ----------
    metric, formula
        Its name with its parameters, and what it is.
    better
        Which values are: ``high``, ``low`` or ``neither``.
    interval
        How its interval is computed; ``none`` where it has none.
    """

    metric: str
    formula: str
    better: str
    interval: str


def definition(metric: str, better: str, interval: str = "none") -> Definition:
    """Return what a page says of a metric.

    Parameters
    ----------
    metric
        Its name, with its parameters; one that isn't the engine's is the project's own.
    better
        Which values are: ``high``, ``low`` or nothing.
    interval
        What :func:`engine.metrics.inference.uncertainty.interval_source` says of it.

    Examples
    --------
    >>> definition("recall@threshold=0.7", "high", "Wilson").formula
    'Rows that are predicted positive, of those that are positive. With threshold=0.7.'
    >>> definition("cost", "").formula, definition("cost", "").better
    ("A metric of the project's own.", 'neither')
    """
    name, _, parameters = metric.partition("@")
    formula = FORMULAS.get(name, "A metric of the project's own.")
    if parameters and name in KINDS:
        formula += f" With {parameters.replace(',', ', ')}."
    return Definition(metric, formula, _DIRECTIONS[better], _INTERVALS[interval])
