"""Figures per slice with two kinds of interval: over test rows, and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

REPLICATES = 1000
# A slice of fewer test rows (for F1: of fewer positive ones) has a figure, but is no candidate
# for the worst slice.
MIN_ROWS = 20
OVERALL, IN_A_SLICE, IN_NONE, WORST = "overall", "in a slice", "in no slice", "worst slice"
REST = (OVERALL, IN_A_SLICE, IN_NONE)
METRICS = ("accuracy", "f1")


@dataclass(frozen=True)
class Run:
    """One seed's test rows, and the classes that each method predicted for them, [n]."""

    y: np.ndarray
    S: np.recarray
    preds: Mapping[str, np.ndarray]


def summarise(runs: Sequence[Run]) -> pd.DataFrame:
    """Compare methods to the baseline: a row per method, metric and group of test rows.

    ``value`` is the mean over seeds, ``gain`` its difference to the baseline's. ``rows_low`` and
    ``rows_high`` bound 95 % of the means over 1,000 draws of the test rows with replacement, the
    same draws for every method and, where seeds share their test rows, for every seed.
    ``seeds_low`` and ``seeds_high`` are Student's interval of the mean over seeds, ``gain_…``
    those of the paired differences.
    """
    groups = [name for name, _ in _groups(runs[0].S)]
    figures = [_figures(run) for run in runs]
    by_method = {m: np.stack([f[m] for f in figures]) for m in runs[0].preds}
    # The worst slice is another one in every replicate.
    support = [*_support(runs), pd.NA]
    tables = []
    for method, values in by_method.items():  # [seeds, metrics, 1 + replicates, groups]
        found = {
            "value": values[:, :, 0].mean(axis=0),
            **_bounds("", values),
            "gain": (values - by_method["baseline"])[:, :, 0].mean(axis=0),
            **_bounds("gain_", values - by_method["baseline"]),
        }
        for i, metric in enumerate(METRICS):
            table = pd.DataFrame({column: table[i] for column, table in found.items()})
            table.insert(0, "metric", metric)
            table.insert(0, "method", method)
            table.insert(0, "rows", pd.array(support, dtype="Int64"))
            table.insert(0, "group", [*groups, WORST])
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def slices_of(summary: pd.DataFrame) -> list[str]:
    """Return the groups that are slices."""
    return [g for g in summary["group"].unique() if g not in (*REST, WORST)]


def verdicts(summary: pd.DataFrame) -> pd.Series:
    """Say of each row's gain ``better`` or ``worse`` where both its intervals are beyond 0."""
    low = summary[["gain_rows_low", "gain_seeds_low"]].min(axis=1)
    high = summary[["gain_rows_high", "gain_seeds_high"]].max(axis=1)
    return pd.Series(np.select([low > 0, high < 0], ["better", "worse"], "open"), summary.index)


def _groups(S: np.recarray) -> list[tuple[str, np.ndarray]]:
    slices = [(name, S[name] == 1) for name in S.dtype.names]
    inside = np.any([mask for _, mask in slices], axis=0)
    everyone = np.ones(len(S), bool)
    return [*zip(REST, (everyone, inside, ~inside), strict=True), *slices]


def _support(runs: Sequence[Run]) -> list[int]:
    """Test rows per group; the mean where seeds have test rows of their own."""
    counts = [[mask.sum() for _, mask in _groups(run.S)] for run in runs]
    return [int(n) for n in np.mean(counts, axis=0).round()]


def _figures(run: Run) -> dict[str, np.ndarray]:
    """Give each method's metrics of all rows and of every replicate, [metrics, 1 + R, groups]."""
    n = len(run.y)
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), REPLICATES)
    times = np.concatenate([np.ones((1, n)), draws]).astype(np.float32)  # [1 + R, n]
    groups = np.stack([mask for _, mask in _groups(run.S)], axis=1)  # [n, groups]
    return {m: _metrics(times, groups, run.y, preds) for m, preds in run.preds.items()}


def _metrics(times: np.ndarray, groups: np.ndarray, y: np.ndarray, preds: np.ndarray) -> np.ndarray:
    def count(cell: np.ndarray) -> np.ndarray:
        return times @ (groups & cell[:, None]).astype(np.float32)

    tp, fp = count((y == 1) & (preds == 1)), count((y == 0) & (preds == 1))
    fn, tn = count((y == 1) & (preds == 0)), count((y == 0) & (preds == 0))
    with np.errstate(invalid="ignore"):
        accuracy = (tp + tn) / (tp + fp + fn + tn)  # NaN in a replicate without the group
    f1 = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    enough = [groups.sum(axis=0) >= MIN_ROWS, groups[y == 1].sum(axis=0) >= MIN_ROWS]
    return np.stack([_with_worst(*pair) for pair in zip((accuracy, f1), enough, strict=True)])


def _with_worst(values: np.ndarray, enough: np.ndarray) -> np.ndarray:
    """Add the lowest of the slices as one more group: [1 + R, groups] to [1 + R, groups + 1]."""
    slices = enough & (np.arange(len(enough)) >= len(REST))
    worst = np.nanmin(values[:, slices], axis=1, keepdims=True)
    return np.concatenate([values, worst], axis=1)


def _bounds(prefix: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Both intervals of the mean over seeds of [seeds, metrics, 1 + replicates, groups]."""
    low, high = np.nanpercentile(values[:, :, 1:].mean(axis=0), [2.5, 97.5], axis=1)
    seen = values[:, :, 0]
    reach = stats.t.ppf(0.975, len(seen) - 1) * seen.std(axis=0, ddof=1) / np.sqrt(len(seen))
    middle = seen.mean(axis=0)
    return {
        f"{prefix}rows_low": low,
        f"{prefix}rows_high": high,
        f"{prefix}seeds_low": middle - reach,
        f"{prefix}seeds_high": middle + reach,
    }
