"""The peak memory of 2,000 slices by 12 metrics by 2 models on ten million rows.

  .venv/bin/python -m tests.benchmarks.audit_memory
  .venv/bin/python -m tests.benchmarks.audit_memory 100000 200    rows and slices of a small run

The masks are a packed Delta table, each model's predictions another one. The last line is ``figure
audit_peak_gib: <number>``: the peak of the summed PSS of driver, JVM and Python workers.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from engine.masks.layout import Layout
from engine.metrics.evaluation import evaluate
from engine.storage.session import open_session
from tests.benchmarks.audit_tables import model_columns, write_tables
from tests.benchmarks.turns import Claims, PeakMemory

ROWS, SLICES = 10_000_000, 2000
METRICS = [
    "accuracy", "precision", "recall", "f1", "matthews_corrcoef", "selection_rate",
    "balanced_accuracy", "recall@threshold=0.7", "roc_auc", "log_loss", "brier", "ece",
]  # fmt: skip
_PART = 1_000_000


def predictions(spark: SparkSession, folder: Path, model: int, rows: int) -> DataFrame:
    """Write a model's predictions as a Delta table."""
    drawn = folder / f"model_{model}_drawn"
    drawn.mkdir()
    for part in range(0, rows, _PART):
        n = min(_PART, rows - part)
        columns = model_columns(n, [0, part], model)
        table = pa.table({"id": range(part, part + n), **columns})
        pq.write_table(table, drawn / f"{part}.parquet")
    at = str(folder / f"model_{model}")
    spark.read.parquet(str(drawn)).write.format("delta").save(at)
    return spark.read.format("delta").load(at)


def run(spark: SparkSession, folder: Path, claims: Claims, rows: int, slices: int) -> None:
    """Write the tables, then evaluate once."""
    masks = write_tables(spark, folder, rows, slices, [Layout.PACKED])[Layout.PACKED]
    masks = masks.drop("label", "pred", "prob")
    models = {f"model {i}": predictions(spark, folder, i, rows) for i in range(2)}
    start = time.perf_counter()
    with PeakMemory() as peak:
        found = evaluate(masks, models, key="id", metrics=METRICS, n_replicates=0)
    took = time.perf_counter() - start
    statuses = found.table["status"].value_counts().to_dict()
    print(f"{len(found.table):,} figures in {took:.0f} s: {statuses}")
    claims.figure("audit_peak_gib", peak.gib)


def main(argv: list[str]) -> None:
    """Run it in one session."""
    rows, slices = (int(a) for a in argv) if argv else (ROWS, SLICES)
    claims = Claims()
    with tempfile.TemporaryDirectory() as folder:
        spark = open_session("audit_memory", {"spark.master": "local[2]"})
        run(spark, Path(folder), claims, rows, slices)
        spark.stop()
    claims.tell()


if __name__ == "__main__":
    main(sys.argv[1:])
