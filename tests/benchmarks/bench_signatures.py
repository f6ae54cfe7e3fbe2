"""A question about a composition of slices: asked of signatures, against a scan of the rows.

  .venv/bin/python -m tests.benchmarks.bench_signatures

Ten million rows in twelve slices, labels and predictions are grouped to signatures once; then each
composition's rows and confusion are looked up in these, or counted by Spark, which filters the
Delta table and groups it by label and prediction. Both answers are compared. The last line is
``ratio signature: <number>``, of the median seconds of three turns.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from engine.masks.layout import Layout
from engine.metrics.explore.signatures import Signatures, signatures
from engine.storage.session import open_session
from tests.benchmarks.audit_tables import write_tables
from tests.benchmarks.turns import Claims, medians

ROWS, SLICES = 10_000_000, 12
ASKED = ("s0 & s1", "(s2 | s3) & ~s4", "s5 & ~(s6 | s7)", "(s8 | s9) & (s10 | ~s11)", "~s0 & s11")


def asked(found: Signatures) -> list[np.ndarray]:
    """Look the compositions up."""
    return [found.confusion(expr) for expr in ASKED]


def rescanned(df: DataFrame) -> list[np.ndarray]:
    """Let Spark count each composition's rows."""
    return [_rescanned(df, expr) for expr in ASKED]


def _rescanned(df: DataFrame, expr: str) -> np.ndarray:
    condition = F.expr(expr.replace("&", "AND").replace("|", "OR").replace("~", "NOT "))
    counts = np.zeros((2, 2), np.int64)
    for label, pred, n in df.where(condition).groupBy("label", "pred").count().collect():
        counts[label, pred] = n
    return counts


def run(spark: SparkSession, folder: Path, claims: Claims) -> None:
    """Write the table, compare, then time."""
    df = write_tables(spark, folder, ROWS, SLICES, [Layout.BOOLEAN])[Layout.BOOLEAN]
    start = time.perf_counter()
    found = signatures(df, label="label", pred="pred")
    took = time.perf_counter() - start
    print(f"{found.n_patterns:,} signatures of {found.rows:,} rows, made in {took:.1f} s")
    for _ in range(2):  # the first is a warm-up
        np.testing.assert_array_equal(asked(found), rescanned(df))
    seconds = medians({"rescan": lambda: rescanned(df), "signatures": lambda: asked(found)})
    claims.ratio("signature", seconds["rescan"] / seconds["signatures"])


def main() -> None:
    """Run it in one session."""
    claims = Claims()
    with tempfile.TemporaryDirectory() as folder:
        spark = open_session("bench_signatures", {"spark.master": "local[2]"})
        run(spark, Path(folder), claims)
        spark.stop()
    claims.tell()


if __name__ == "__main__":
    main()
