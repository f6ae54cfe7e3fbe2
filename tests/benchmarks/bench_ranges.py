"""Masks and predictions in the order of their key: read by ranges of it against an exchange.

  .venv/bin/python -m tests.benchmarks.bench_ranges            4,000,000 rows
  .venv/bin/python -m tests.benchmarks.bench_ranges 1000000

Twenty slices, four metrics, one model; both give the same figures. The last lines are
``ratio <claim>: <number>``.
"""

from __future__ import annotations

import sys
import tempfile
from unittest import mock

import pandas as pd
from pyspark.sql import functions as F

from engine import evaluate
from engine.masks.layout import StoredSlice, described_mask
from engine.metrics.evaluation import Evaluation
from engine.metrics.scan import beside
from engine.storage.session import open_session
from tests.benchmarks.turns import Claims, medians

ROWS = 4_000_000
SLICES = [f"every_{k}" for k in range(2, 22)]
METRICS = ["accuracy", "f1", "recall", "roc_auc"]


def main(n: int) -> None:
    """Print all claims."""
    spark, claims = open_session("bench_ranges"), Claims()
    with tempfile.TemporaryDirectory() as folder:
        rows = spark.range(0, n, 1, 4).selectExpr(
            "id", "cast(rand(1) > .5 as int) AS label", "rand(2) AS prob"
        )
        scores = rows.withColumn("pred", F.expr("cast(prob > .5 as int)"))
        scores.write.format("delta").save(f"{folder}/scores")
        masks = [described_mask(F.expr(f"id % {s[6:]} = 1"), StoredSlice(s, s, "")) for s in SLICES]
        spark.range(0, n, 1, 6).select("id", *masks).write.format("delta").save(f"{folder}/masks")
        read = spark.read.format("delta")
        tables = read.load(f"{folder}/masks"), {"m": read.load(f"{folder}/scores")}

        def figures() -> Evaluation:
            return evaluate(*tables, key="id", metrics=METRICS, n_replicates=0)

        def exchanged() -> Evaluation:
            with mock.patch.object(beside, "_by_ranges", return_value=None):
                return figures()

        pd.testing.assert_frame_equal(figures().table, exchanged().table, check_exact=True)
        seconds = medians({"ranges": figures, "exchange": exchanged})
    claims.ratio("ranges", seconds["exchange"] / seconds["ranges"])
    claims.tell()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
