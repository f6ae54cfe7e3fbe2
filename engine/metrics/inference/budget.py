"""What figures may take of the driver's memory: beyond it they are less exact, or less sure.

Slices of few scored rows have rankings of the scores themselves, which come to the driver; and so
do the sums of all replicates. Both grow with slices and models.
"""

from __future__ import annotations

from dataclasses import replace

from engine.errors import listed
from engine.metrics.inference.uncertainty import Confidence
from engine.metrics.scan.form import EvaluationSpec

_MB = 2**20
_SCORED, _SUM = 24, 8  # bytes: a score, whether it is a positive's, its weight; a sum
_WHAT_TO_DO = "evaluate fewer slices or models at a time, or raise budget_mb"


def within_budget(
    spec: EvaluationSpec, confidence: Confidence, replicates: int
) -> tuple[EvaluationSpec, list[str]]:
    """Return what can be evaluated within the budget, and a sentence on each thing that can't.

    Parameters
    ----------
    spec
        What is to be evaluated.
    confidence
        Which has the budget.
    replicates
        How many are drawn.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> spec = EvaluationSpec([parse_metric("roc_auc")], ["a", "b"], (0, 1), 1)
    >>> within_budget(spec, Confidence(budget_mb=1), 0)[1]
    []
    >>> within_budget(spec, Confidence(budget_mb=0), 0)[0].exact_rows
    0
    """
    budget, sets = confidence.budget_mb * _MB, (1 + len(spec.slice_ids)) * len(spec.models)
    n = len(spec.models)
    of = f"{1 + len(spec.slice_ids):,} slices of {n} model{'' if n == 1 else 's'}"
    notes = []
    size = _SCORED * spec.exact_rows * sets
    if spec.ranked and size > budget:
        most = budget // (_SCORED * sets)
        notes.append(
            f"rankings are of the scores themselves for slices of up to {most:,} rows and not of "
            f"up to {spec.exact_rows:,}, others are of bins (`bound` says how far they can be "
            f"off): scores of {of} may take {_mb(size)} on the driver for each split, and "
            f"budget_mb is {confidence.budget_mb:,}; {_WHAT_TO_DO}"
        )
        spec = replace(spec, exact_rows=most)
    each = _SUM * replicates * sets
    large = {str(m): spec.cells(m) * each for m in spec.replicable}
    large = {name: size for name, size in large.items() if size > budget}
    if large:
        name = max(large, key=large.__getitem__)
        notes.append(
            f"{listed(list(large), 5)} {'has' if len(large) == 1 else 'have'} no interval from "
            f"replicates: {replicates:,} of {of} "
            f"take {_mb(large[name])} for {name} on the driver for each split, and budget_mb is "
            f"{confidence.budget_mb:,}; {_WHAT_TO_DO}, or draw fewer"
        )
        spec = replace(spec, most_replicated=min(spec.most_replicated, budget // each))
    return spec, notes


def _mb(size: int) -> str:
    return f"{-(-size // _MB):,} MB"
