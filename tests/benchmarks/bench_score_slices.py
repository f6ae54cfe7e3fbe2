"""Scores of 100 slices of a million rows: ``Scorer.score_slices`` against Snorkel's.

  .venv/bin/python -m tests.benchmarks.bench_score_slices

Both score the same arrays and the same slice matrix, whose slices hold 0.1 % to 30 % of the rows
(log-uniform), by accuracy, precision, recall, F1 and Matthews' coefficient. Their figures are
compared first. The last line is ``ratio score_slices: <number>``: Snorkel's median seconds of three
turns by ours.
"""

from __future__ import annotations

import warnings

import numpy as np
import snorkel.analysis

import engine
from tests.benchmarks.turns import Claims, medians

ROWS, SLICES, SEED = 1_000_000, 100, 0
METRICS = ["accuracy", "precision", "recall", "f1", "matthews_corrcoef"]
COVERAGES = (0.001, 0.3)


def drawn() -> tuple[np.recarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw the slice matrix as appliers make it, labels, predictions and probabilities."""
    rng = np.random.default_rng(SEED)
    S = np.recarray(ROWS, dtype=[(f"slice_{i}", np.int64) for i in range(SLICES)])
    for name, coverage in zip(
        S.dtype.names, np.exp(rng.uniform(*np.log(COVERAGES), SLICES)), strict=True
    ):
        S[name] = rng.random(ROWS) < coverage
    golds = rng.integers(0, 2, ROWS)
    positive = np.clip(0.3 * golds + 0.7 * rng.random(ROWS), 0, 1)
    probs = np.stack([1 - positive, positive], axis=1)
    return S, golds, (positive >= 0.5).astype(np.int64), probs


def main() -> None:
    """Compare, then time."""
    arrays = drawn()
    ours, theirs = (library.Scorer(METRICS) for library in (engine, snorkel.analysis))
    one, other = (s.score_slices(*arrays, as_dataframe=True) for s in (ours, theirs))
    np.testing.assert_allclose(one, other.loc[one.index, one.columns], atol=1e-12)
    seconds = medians(
        {
            "snorkel": lambda: theirs.score_slices(*arrays),
            "ours": lambda: ours.score_slices(*arrays),
        }
    )
    claims = Claims()
    claims.ratio("score_slices", seconds["snorkel"] / seconds["ours"])
    claims.tell()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
