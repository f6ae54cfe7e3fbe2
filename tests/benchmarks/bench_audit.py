"""Figures of 10 to 1,000 slices of a million rows, against the SQL that one would write by hand.

Before Spark starts, an Arrow table of a hundred BOOLEAN columns is evaluated without it.

  .venv/bin/python -m tests.benchmarks.bench_audit

Both sides compute accuracy, precision, recall, F1, Matthews' coefficient and the selection rate of
each slice, from Delta tables that were read before; ours adds intervals and tests against the rows
outside. The SQL reads BOOLEAN columns in three ways, each of which has one trial per number of
slices; the fastest takes the turns. Its figures are compared with ours first. Whatever is timed has
just run once before. The last lines are ``ratio <claim>: <number>``: the SQL's median seconds by
ours, and for ``cost_`` ours by ours.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from engine.masks.layout import Layout
from engine.metrics.evaluation import Evaluation, evaluate
from engine.storage.session import open_session
from tests.benchmarks.audit_tables import draw, ids_of, write_tables
from tests.benchmarks.turns import Claims, medians

ROWS, REPLICATES, WARM = 1_000_000, 200, 3
METRICS = ["accuracy", "precision", "recall", "f1", "matthews_corrcoef", "selection_rate"]
_BATCH = 100  # columns of a query

Confusions = np.ndarray  # [1 + S, label, pred], all rows first


def grouped(df: DataFrame, ids: list[str]) -> Confusions:
    """Count the rows of each slice by label and prediction, a column per slice."""
    held = [F.count_if(F.col(s)) for s in ids]
    rows = df.groupBy("label", "pred").agg(F.count(F.lit(1)), *held).collect()
    found = np.zeros((1 + len(ids), 2, 2), np.int64)
    for row in rows:
        found[:, row[0], row[1]] = row[2:]
    return found


def conditional(df: DataFrame, ids: list[str]) -> Confusions:
    """Count four kinds of rows of each slice, a column each."""
    kinds = [(F.col("label") == a) & (F.col("pred") == b) for a in (0, 1) for b in (0, 1)]
    slices: list[Column] = [F.lit(True), *map(F.col, ids)]
    counts = [F.count_if(s & kind) for s in slices for kind in kinds]
    return np.array(df.agg(*counts).collect()[0]).reshape(-1, 2, 2)


def exploded(df: DataFrame, ids: list[str]) -> Confusions:
    """Make a row of each row and slice it is in, and count those."""
    places = [F.lit(0), *(F.when(F.col(s), F.lit(i)) for i, s in enumerate(ids, 1))]
    of = F.explode(F.array_compact(F.array(*places))).alias("slice")
    counts = df.select("label", "pred", of).groupBy("slice", "label", "pred").count()
    found = np.zeros((1 + len(ids), 2, 2), np.int64)
    rows: list[Row] = counts.collect()
    for at, label, pred, n in rows:
        found[at, label, pred] = n
    return found


def batched(df: DataFrame, ids: list[str]) -> Confusions:
    """Group by label and prediction, a hundred slices per query."""
    found = [grouped(df, ids[i : i + _BATCH]) for i in range(0, len(ids), _BATCH)]
    return np.concatenate([found[0][:1], *(f[1:] for f in found)])


FEW_SLICES = (grouped, conditional, exploded)
# Four conditions per slice, the slowest of these at 100 slices, are 4,000 columns at 1,000.
MANY_SLICES = (grouped, exploded, batched)


def figures(confusions: Confusions) -> np.ndarray:
    """Compute the metrics ``[1 + S, 6]``."""
    (tn, fp), (fn, tp) = np.moveaxis(confusions.astype(float), 0, -1)
    n = tn + fp + fn + tp
    with np.errstate(all="ignore"):
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        each = (
            (tp + tn) / n, tp / (tp + fp), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn),
            (tp * tn - fp * fn) / spread, (tp + fp) / n,
        )  # fmt: skip
    found: np.ndarray = np.nan_to_num(np.stack(each, axis=-1))
    return found


def by_hand(way: Callable[[DataFrame, list[str]], Confusions], df: DataFrame, n: int) -> np.ndarray:
    """Return the figures that SQL written in one way gives."""
    return figures(way(df, ids_of(n)))


def ours(df: DataFrame, replicates: int = 0) -> Evaluation:
    """Evaluate the table."""
    return evaluate(df, key="id", metrics=METRICS, n_replicates=replicates)


def fastest(df: DataFrame, n: int, expected: np.ndarray) -> Callable[[], np.ndarray]:
    """Try each way once, compare its figures with ours, and return the fastest."""
    seconds = {}
    for way in FEW_SLICES if n <= _BATCH else MANY_SLICES:
        start = time.perf_counter()
        found = by_hand(way, df, n)
        seconds[way] = time.perf_counter() - start
        print(f"  trial: {seconds[way]:8.2f} s  {way.__name__} of {n} slices", flush=True)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    best = min(seconds, key=lambda way: seconds[way])
    print(f"the fastest SQL over {n} BOOLEAN columns is {best.__name__}")
    return partial(by_hand, best, df, n)


def warmed(tables: dict[tuple[int, Layout], DataFrame]) -> Iterator[tuple[int, np.ndarray]]:
    """Read every table several times; yield our figures of its slices."""
    for (n, _), df in tables.items():
        for _ in range(WARM):
            found = ours(df).table
        yield n, found["value"].to_numpy().reshape(1 + n, len(METRICS))


def run(spark: SparkSession, folder: Path, claims: Claims) -> None:
    """Write the tables, compare, then time."""
    boolean, packed = Layout.BOOLEAN, Layout.PACKED
    tables: dict[tuple[int, Layout], DataFrame] = {}
    for n, layouts in {10: [packed], 100: [boolean, packed], 1000: [boolean, packed]}.items():
        made = write_tables(spark, folder, ROWS, n, layouts)
        tables |= {(n, layout): df for layout, df in made.items()}
    figures_of = dict(warmed({at: df for at, df in tables.items() if at != (1000, boolean)}))
    sql = {}
    for n in (100, 1000):
        for _ in range(WARM if n <= _BATCH else 1):
            by_hand(batched, tables[n, boolean], n)  # warm
        sql[n] = fastest(tables[n, boolean], n, figures_of[n])
    seconds = medians(
        {
            "sql_100": sql[100],
            "boolean_100": partial(ours, tables[100, boolean]),
            "packed_100": partial(ours, tables[100, packed]),
            "packed_10": partial(ours, tables[10, packed]),
            "sql_1000": sql[1000],
            "packed_1000": partial(ours, tables[1000, packed]),
            "replicates": partial(ours, tables[100, packed], REPLICATES),
        },
        warm=True,
    )
    claims.ratio("boolean_100", seconds["sql_100"] / seconds["boolean_100"])
    claims.ratio("packed_100", seconds["sql_100"] / seconds["packed_100"])
    claims.ratio("packed_1000", seconds["sql_1000"] / seconds["packed_1000"])
    claims.ratio("cost_1000_over_100", seconds["packed_1000"] / seconds["packed_100"])
    claims.ratio("cost_1000_over_10", seconds["packed_1000"] / seconds["packed_10"])
    claims.ratio("cost_replicates", seconds["replicates"] / seconds["packed_100"])


def in_memory(claims: Claims) -> None:
    """Evaluate an Arrow table of the same rows without Spark."""
    columns, masks = draw(ROWS, _BATCH, [0, 0])
    named = dict(zip(ids_of(_BATCH), map(np.ascontiguousarray, masks.T), strict=True))
    table = pa.table({"id": np.arange(ROWS), **columns, **named})
    metrics = ["accuracy", "f1", "recall", "log_loss", "roc_auc"]
    ask = partial(evaluate, table, key="id", slices=ids_of(_BATCH), metrics=metrics, n_replicates=0)
    claims.figure("evaluate_arrow_s", medians({"arrow": ask}, warm=True)["arrow"])


def main() -> None:
    """Run all of it, what needs Spark in one session."""
    claims = Claims()
    in_memory(claims)
    with tempfile.TemporaryDirectory() as folder:
        spark = open_session("bench_audit", {"spark.master": "local[2]"})
        run(spark, Path(folder), claims)
        spark.stop()
    claims.tell()


if __name__ == "__main__":
    main()
