"""Two models on the same rows: differences per slice, with paired intervals and tests.

Both models' figures come from the same replicates, which draw the same rows for both, so what
varies between samples alike for both models is no part of the difference's spread. Areas under the
ROC curve are compared by their placements instead (:mod:`engine.metrics.inference.per_slice`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from engine.masks.splits import by_split, in_split
from engine.metrics.catalog import OVERALL, MetricSpec
from engine.metrics.formulas.families import family
from engine.metrics.inference.intervals import bootstrap_interval
from engine.metrics.inference.significance import (
    adjusted,
    replicate_test,
    row_variance,
    sufficient,
    unit_of,
)
from engine.metrics.inference.uncertainty import Confidence, decisive_rows, units_of
from engine.metrics.scan.form import EvaluationSpec, Part, Scan

COMPARED = (
    "split",
    "slice",
    "metric",
    "support",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
)
FLIPPED = ("split", "slice", "support", "won", "lost", "net", "p_value", "p_adjusted")


def compare(
    counts: Scan,
    spec: EvaluationSpec,
    confidence: Confidence,
    first: str,
    second: str,
    areas: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compare two models on every slice, by every metric of which that can be done.

    Parameters
    ----------
    counts, spec
        What was added up of both models, with replicates, and what was evaluated.
    confidence
        How sure figures must be; where fewer rows decide one than ``min_support`` it isn't
        tested.
    first, second
        Model ids; a difference is the second's figure less the first's.
    areas
        What :func:`engine.metrics.inference.per_slice.paired_areas` returns; roc_auc needs it.

    Returns
    -------
    pd.DataFrame
        Columns ``COMPARED``, a row per split, metric and slice (overall first); ``support`` is
        the smaller of the models'; ``p_adjusted`` corrects for all slices of a split and metric.
    """
    tables = []
    for (split,), _ in by_split({(s,): None for _, s in counts.parts}):
        parts = (counts.parts[first, split], counts.parts[second, split])
        for metric in spec.metrics:
            if metric.name == "roc_auc" and areas is not None:
                of = _by_delong(areas[in_split(areas["split"], split)], spec, confidence)
            elif metric in spec.replicable:
                of = _by_replicates(parts, metric, spec, confidence)
            else:
                continue
            about = {"split": split, "slice": [OVERALL, *spec.slice_ids], "metric": str(metric)}
            columns = {**of, "p_adjusted": _corrected(of["p_value"], confidence)}
            tables.append(pd.DataFrame({**about, **columns}))
    if not tables:
        return pd.DataFrame(columns=list(COMPARED))
    return pd.concat(tables, ignore_index=True)[list(COMPARED)]


def _by_replicates(
    parts: tuple[Part, Part], metric: MetricSpec, spec: EvaluationSpec, confidence: Confidence
) -> dict[str, np.ndarray]:
    of = family(metric, spec.labels)
    states = [part.state for part in parts]
    drawn = [part.replicates for part in parts if part.replicates is not None]
    before, now = (of.compute(state, state.at(0)).defined for state in states)
    drawn_before, drawn_now = (of.compute(state, state.at(0)).defined for state in drawn)
    support = units_of(parts[1], np.minimum(*map(of.support, states)))
    decide = units_of(parts[1], np.minimum(*(decisive_rows(of, p) for p in parts)))
    difference, replicates = now - before, drawn_now - drawn_before
    interval = bootstrap_interval(difference, replicates, support, confidence.level)
    unit = unit_of(difference, replicates)
    with np.errstate(all="ignore"):
        floor = row_variance(replicates[0] / unit, support[0]) / support
    p = replicate_test(difference / unit, replicates / unit, support, floor)
    p = np.where(sufficient(decide, confidence.min_support), p, np.nan)
    return {
        "support": support, "difference": difference, "ci_low": interval.low,
        "ci_high": interval.high, "p_value": p,
    }  # fmt: skip


def _by_delong(
    areas: pd.DataFrame, spec: EvaluationSpec, confidence: Confidence
) -> dict[str, np.ndarray]:
    """Compare areas under the ROC curve; as everywhere, with no less spread than all rows have."""
    each = areas.set_index("slice").reindex(range(1 + len(spec.slice_ids)))
    m, n = (each[c].fillna(0).to_numpy(np.float64) for c in ("positives", "negatives"))
    of_m, of_n = (each[c].to_numpy(np.float64) for c in ("of_positives", "of_negatives"))
    difference = (each["second"] - each["first"]).to_numpy(np.float64)
    with np.errstate(all="ignore"):
        variance = np.fmax(of_m / m + of_n / n, of_m[0] / m + of_n[0] / n)
        variance = np.where((m > 0) & (n > 0), variance, np.nan)
        half = norm.ppf((1 + confidence.level) / 2) * np.sqrt(variance)
        p = 2 * norm.sf(np.abs(difference) / np.sqrt(variance))
    p = np.where((variance == 0) & (difference == 0), 1.0, p)
    p = np.where(sufficient(np.minimum(m, n), confidence.min_support), p, np.nan)
    low, high = (np.clip(difference + side * half, -1, 1) for side in (-1, 1))
    return {
        "support": (m + n).astype(np.int64), "difference": difference, "ci_low": low,
        "ci_high": high, "p_value": p,
    }  # fmt: skip


def flips(
    counts: Scan, spec: EvaluationSpec, confidence: Confidence, first: str, second: str
) -> pd.DataFrame:
    """Count the rows that the second model wins and loses against the first, on every slice.

    Parameters
    ----------
    counts, spec, confidence, first, second
        As for :func:`compare`; no replicates are needed.

    Returns
    -------
    pd.DataFrame
        Columns ``FLIPPED``, a row per split and slice (overall first): rows that both models
        predict and that have a label, those that the second alone has right and wrong, and the
        difference. ``p_value`` is McNemar's test (1947) in its exact form: were both models as
        good, each row that flips would be won or lost as a coin falls. It is made at any number of
        rows; slices of which so few flip that no outcome could be significant have no
        ``p_adjusted``. Rows in clusters and rows with weights aren't tested.
    """
    tables = []
    turned = (first, second) not in {(a, b) for a, b, _ in counts.pairs}
    for (a, b, split), cells in by_split(counts.pairs):
        if {a, b} != {first, second}:
            continue
        won, lost = (cells[:, 1], cells[:, 2]) if turned else (cells[:, 2], cells[:, 1])
        support = cells.sum(axis=1)
        rows_alone = not (spec.weighted or confidence.clustered)
        p = np.where((support > 0) & rows_alone, mcnemar(won, lost), np.nan)
        telling = mcnemar(won + lost, 0 * lost) <= 1 - confidence.level
        tables.append(
            pd.DataFrame(
                {
                    "split": split,
                    "slice": [OVERALL, *spec.slice_ids],
                    "support": support,
                    "won": won,
                    "lost": lost,
                    "net": won - lost,
                    "p_value": p,
                    "p_adjusted": _corrected(np.where(telling, p, np.nan), confidence),
                }
            )
        )
    if not tables:
        return pd.DataFrame(columns=list(FLIPPED))
    return pd.concat(tables, ignore_index=True)


def mcnemar(won: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of McNemar's exact test; 1 where no row flips.

    Examples
    --------
    >>> mcnemar(np.array([8, 3]), np.array([1, 3])).round(4).tolist()
    [0.0391, 1.0]
    """
    won, lost = np.asarray(won), np.asarray(lost)
    return np.asarray(np.minimum(1.0, 2 * binom.cdf(np.minimum(won, lost), won + lost, 0.5)))


def _corrected(p: np.ndarray, confidence: Confidence) -> np.ndarray:
    corrected = p.copy()  # all rows are one question, the slices are many
    corrected[1:] = adjusted(p[1:], confidence.correction)
    return corrected
