"""Two models on the same rows: differences per slice, with paired intervals and tests.

Both models' figures come from the same replicates, which draw the same rows for both, so what
varies between samples alike for both models is no part of the difference's spread.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from engine.metrics.bootstrap import Replicates
from engine.metrics.classification import values
from engine.metrics.evaluate import OVERALL, EvaluationSpec, confusions
from engine.metrics.intervals import bootstrap_interval
from engine.metrics.significance import adjusted, replicate_test, row_variance, sufficient
from engine.metrics.uncertainty import Confidence, counts_of, replicates_of, units_of

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


def compare(
    cells: pd.DataFrame,
    drawn: Replicates,
    spec: EvaluationSpec,
    sure: Confidence,
    first: str,
    second: str,
) -> pd.DataFrame:
    """Compare two models on every slice, by every metric of classes.

    Parameters
    ----------
    cells, drawn, spec
        Cells and replicates of both models, and what was evaluated.
    sure
        How sure figures must be; slices with fewer rows than ``min_support`` aren't tested.
    first, second
        Model ids; a difference is the second's figure less the first's.

    Returns
    -------
    pd.DataFrame
        Columns ``COMPARED``, a row per split, metric and slice (overall first); ``support`` is
        the smaller of the models'; ``p_adjusted`` corrects for all slices of a split and metric.
    """
    names = [OVERALL, *spec.slice_ids]
    parts = []
    for split in sorted(set(cells["split"])):
        of_both = [
            (
                cells[(cells["model_id"] == model) & (cells["split"] == split)],
                replicates_of(drawn, model, split),
            )
            for model in (first, second)
        ]
        if any(part.empty for part, _ in of_both):
            continue
        for metric in spec.confusions:
            value, each, rows = [], [], []
            for part, reps in of_both:
                counts, scored = confusions(part, counts_of(part, spec), metric, spec)
                rows.append(counts_of(part, spec, False)[scored].sum(axis=0))
                value.append(values(metric, counts, spec.positive))
                replicated, _ = confusions(reps.groups, reps.drawn, metric, spec)
                each.append(values(metric, replicated, spec.positive))
            support = units_of(of_both[1][1], np.minimum(*rows))
            difference, replicates = value[1] - value[0], each[1] - each[0]
            interval = bootstrap_interval(difference, replicates, support, sure.level)
            with np.errstate(all="ignore"):
                floor = row_variance(replicates[0], support[0]) / support
            p = replicate_test(difference, replicates, support, floor)
            p = np.where(sufficient(support, sure.min_support), p, np.nan)
            p_adjusted = p.copy()  # all rows are one question, the slices are many
            p_adjusted[1:] = adjusted(p[1:], sure.correction)
            parts.append(
                pd.DataFrame(
                    {
                        "split": split,
                        "slice": names,
                        "metric": str(metric),
                        "support": support,
                        "difference": difference,
                        "ci_low": interval.low,
                        "ci_high": interval.high,
                        "p_value": p,
                        "p_adjusted": p_adjusted,
                    }
                )
            )
    return pd.concat(parts) if parts else pd.DataFrame(columns=list(COMPARED))
