"""Our side of the benchmarks alone, timed: what `against` runs on one checkout after another.

  .venv/bin/python tests/benchmarks/cases.py audit labels

Run by its path, so that ``engine`` and the other benchmarks are those of the checkout that
PYTHONPATH names. Prints ``seconds <name>: <number>``, medians of three runs after one that isn't
timed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

REPEATS = 3


def timed(**runs: Callable[[], Any]) -> None:
    """Print each run's median seconds."""
    for name, run in runs.items():
        run()
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        print(f"seconds {name}: {statistics.median(seconds):.4f}", flush=True)


def labels(folder: Path) -> None:
    """The tutorial's functions over a Delta table, to the noop sink and to Delta."""
    from engine import compile_slices
    from engine.storage.session import open_session
    from tests.benchmarks import bench_label as bench

    spark = open_session("cases", {"spark.driver.memory": "8g"})
    df = bench.source(spark, folder, 1_000_000)
    plan = compile_slices(bench.SFS, df.schema)
    rows = compile_slices(bench.SFS, df.schema, tier="row")
    timed(
        labels_noop=lambda: bench.to_noop(plan.apply(df, ["comment_id"])),
        labels_delta=lambda: bench.to_delta(plan, df, folder),
        labels_row_tier=lambda: bench.to_noop(rows.apply(df, ["comment_id"])),
    )
    spark.stop()


def patterns(_: Path) -> None:
    """500 keywords and 500 regexes over batches, one core."""
    from tests.benchmarks import bench_patterns as bench

    words = bench.vocabulary(0)
    batches = list(bench.batches(bench.comments(100_000, words, 1)))
    for name, searches in (
        ("keywords", bench.keywords(words, 2)),
        ("regexes", bench.expressions(words, 3)),
    ):
        answer = bench.ours(searches)
        timed(**{name: lambda answer=answer: [answer(b) for b in batches]})


def plans(_: Path) -> None:
    """1,800 slicing functions: their fingerprints, their plan, and pandas rows by them."""
    import pyarrow as pa

    from engine import PandasSFApplier, compile_slices
    from engine.slicing.fingerprint.identity import fingerprint
    from tests.benchmarks import bench_label
    from tests.benchmarks import bench_many as bench
    from tests.benchmarks.comments import comments

    fresh = iter([bench.slicing_functions(1_800) for _ in range(2 * (1 + REPEATS))])
    schema = pa.schema(
        {"text": pa.string(), "likes": pa.int64(), "replies": pa.int64(), "age_days": pa.int64()}
    )
    frame = comments(200_000).to_pandas()
    timed(
        plan_1800=lambda: compile_slices(next(fresh), schema),
        fingerprints_1800=lambda: [fingerprint(sf) for sf in next(fresh)],
        pandas_applier=lambda: PandasSFApplier(bench_label.SFS).apply(frame),
    )


def audit(folder: Path) -> None:
    """Evaluations of a million rows, and of their probabilities."""
    from engine import evaluate
    from engine.masks.layout import Layout
    from engine.storage.session import open_session
    from tests.benchmarks import bench_audit as bench
    from tests.benchmarks.audit_tables import write_tables

    spark = open_session("cases", {"spark.master": "local[2]"})
    tables = {
        (n, layout): df
        for n, layouts in {100: list(Layout), 1000: [Layout.PACKED]}.items()
        for layout, df in write_tables(spark, folder, bench.ROWS, n, layouts).items()
    }
    few = tables[100, Layout.PACKED]
    losses = ["log_loss", "brier", "roc_auc", "ece"]
    timed(
        boolean_100=lambda: bench.ours(tables[100, Layout.BOOLEAN]),
        packed_100=lambda: bench.ours(few),
        packed_1000=lambda: bench.ours(tables[1000, Layout.PACKED]),
        replicates=lambda: bench.ours(few, bench.REPLICATES),
        losses_100=lambda: evaluate(few, key="id", metrics=losses, n_replicates=0),
    )
    spark.stop()


def scores(_: Path) -> None:
    """Scorer.score_slices of a million rows and 100 slices."""
    import engine
    from tests.benchmarks import bench_score_slices as bench

    arrays = bench.drawn()
    timed(
        score_slices=lambda: engine.Scorer(bench.METRICS).score_slices(*arrays),
        score_slices_loss=lambda: engine.Scorer(["log_loss", "roc_auc"]).score_slices(*arrays),
    )


def signed(folder: Path) -> None:
    """Signatures of two million rows, and questions to them."""
    from engine.masks.layout import Layout
    from engine.metrics.explore.signatures import signatures
    from engine.storage.session import open_session
    from tests.benchmarks import bench_signatures as bench
    from tests.benchmarks.audit_tables import write_tables

    spark = open_session("cases", {"spark.master": "local[2]"})
    df = write_tables(spark, folder, 2_000_000, bench.SLICES, [Layout.BOOLEAN])[Layout.BOOLEAN]
    found = signatures(df, label="label", pred="pred")
    timed(
        signatures=lambda: signatures(df, label="label", pred="pred"),
        signatures_asked=lambda: [bench.asked(found) for _ in range(20)],
    )
    spark.stop()


def trained(_: Path) -> None:
    """Training an epoch of 50 and of 200 slices, and scoring."""
    import torch

    from tests.benchmarks import bench_train as bench

    torch.set_num_threads(1)
    fifty, many = bench.made_up(50), bench.made_up(200)
    model, loader = bench.ours(many)
    timed(
        train_50=lambda: bench.fit(bench.ours, bench.Trainer, fifty),
        train_200=lambda: bench.fit(bench.ours, bench.Trainer, many),
        score_slices_200=partial(model.score_slices, [loader]),
    )


CASES: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (plans, patterns, scores, trained, labels, audit, signed)
}


def main(names: list[str]) -> None:
    """Time the cases named, or all."""
    warnings.simplefilter("ignore")
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as folder:
            CASES[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
