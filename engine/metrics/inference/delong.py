"""Areas under the ROC curve of two models on the same rows, and how their difference varies.

DeLong, DeLong and Clarke-Pearson (1988): the variance of a difference is that of the rows'
placements' differences, positives and negatives apart. Placements come from midranks, as Sun and
Xu (2014) have it, so that n rows take n log n steps and not n².
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from engine.masks.splits import ALL
from engine.metrics.scan.chunks import chunks
from engine.metrics.scan.form import EvaluationSpec, Form
from engine.metrics.scan.joined import form_of, narrowed
from engine.metrics.scan.task import outputs_of
from engine.plain import plain
from engine.run.ship import Parcel
from engine.words import unpacked
from engine.workers import begin

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

_KEY = ("split", "slice")


class Paired(NamedTuple):
    """Two areas under the ROC curve of the same rows.

    Attributes
    ----------
    positives, negatives
        How many rows there are of each class.
    first, second
        The areas; NaN without rows of either class.
    of_positives, of_negatives
        Variances of the placements' differences. The variance of the areas' difference is the
        first by the number of positives and the second by that of negatives; NaN of a single row.
    """

    positives: int
    negatives: int
    first: float
    second: float
    of_positives: float
    of_negatives: float

    @property
    def variance(self) -> float:
        """The variance of the difference of the areas."""
        return self.of_positives / self.positives + self.of_negatives / self.negatives


def paired(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two models' scores of the same rows.

    Parameters
    ----------
    positive
        ``[n]`` whether the label is positive.
    first, second
        ``[n]`` scores.

    Examples
    --------
    >>> labels = np.array([False, False, True, True])
    >>> found = paired(labels, np.array([0.1, 0.4, 0.3, 0.8]), np.array([0.1, 0.2, 0.3, 0.4]))
    >>> found.first, found.second, found.variance
    (0.75, 1.0, 0.125)
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not (m and n):
        return Paired(m, n, *[float("nan")] * 4)
    above, below, areas = [], [], []
    for scores in (first, second):
        whole = _midranks(scores)
        above.append((whole[positive] - _midranks(scores[positive])) / n)
        below.append(1 - (whole[~positive] - _midranks(scores[~positive])) / m)
        areas.append(float(above[-1].mean()))
    spread = [_variance(b - a) for a, b in (above, below)]
    return Paired(m, n, areas[0], areas[1], spread[0], spread[1])


def paired_in_order(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare as :func:`paired`, in an order of rows that doesn't depend on how they came."""
    order = np.lexsort((second, first, positive))
    return paired(positive[order], first[order], second[order])


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else float("nan")


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks from 1, of equal scores their mean."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[at])


def paired_areas(joined: DataFrame, spec: EvaluationSpec, models: tuple[int, int]) -> pd.DataFrame:
    """Compare two models' scores on every slice and split; a scan and a shuffle of its own.

    Each row travels once for each slice that it is in and once for all rows, those of one slice to
    one task.

    Parameters
    ----------
    joined, spec
        Rows with predictions, and what is evaluated.
    models
        Positions of the two.

    Returns
    -------
    pd.DataFrame
        ``split``, ``slice`` (its position, 0 of all rows) and what :class:`Paired` has.
    """
    form = form_of(joined, spec)
    rows = narrowed(joined, form).mapInArrow(
        _spread(form, models), "split string, slice int, positive boolean, a double, b double"
    )
    schema = (
        "split string, slice int, positives long, negatives long, first double, second double, "
        "of_positives double, of_negatives double"
    )
    return rows.groupBy(*_KEY).applyInArrow(_compared, schema).toPandas()


def _spread(form: Form, models: Sequence[int]) -> Callable[[Iterable[Any]], Iterable[Any]]:
    bits, plainly, parcel = np.array(form.bits, dtype=np.int64), plain(), Parcel(form)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        form = parcel.unpack()
        spec = form.spec
        for chunk in chunks(batches, form.words, 2**12):
            both = [
                outputs_of(chunk.columns, i, chunk.numbers(f"code_{i}"), spec, {}) for i in models
            ]
            scored = np.flatnonzero(
                (both[0].label >= 0) & ~np.isnan(both[0].score) & ~np.isnan(both[1].score)
            )
            row, at = unpacked(chunk.words[:, scored].T)[:, bits].nonzero()
            rows = scored[np.concatenate([np.arange(len(scored)), row])]
            slices = np.concatenate([np.zeros(len(scored), int), at + 1])
            split = (
                chunk.columns.column("split").take(pa.array(rows))
                if spec.split is not None
                else pa.repeat(pa.scalar(ALL), len(rows))
            )
            columns = [
                split, pa.array(slices, pa.int32()),
                pa.array(both[0].label[rows] == spec.positive),
                *(pa.array(of.score[rows], pa.float64()) for of in both),
            ]  # fmt: skip
            yield pa.record_batch(columns, [*_KEY, "positive", "a", "b"])

    return run


def _compared(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
    positive, a, b = (table.column(c).to_numpy() for c in ("positive", "a", "b"))
    columns = [pa.array([k.as_py()], k.type) for k in key]
    columns += [pa.array([v]) for v in paired_in_order(positive.astype(bool), a, b)]
    return pa.table(columns, names=[*_KEY, *Paired._fields])
