"""What a night costs: rows that came, a function that was edited, nothing; against a full run.

  .venv/bin/python -m tests.benchmarks.bench_incremental            10^7 rows
  .venv/bin/python -m tests.benchmarks.bench_incremental 1000000

Both jobs run in one warm session over twenty slices. The results are compared with those of a full
run each time. The last lines are ``figure <claim>: <number>``.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from engine.storage.digest import row_digest
from engine.storage.session import open_session
from tests.benchmarks.bench_scale import project, write_source
from tests.benchmarks.turns import Claims

ROWS, FEW = 10_000_000, 10
EDITED = (
    "from engine import slicing_function\n\n\n"
    "@slicing_function()\ndef edited(x):\n    return len(x.text) % {} == 1\n"
)
PREDICATES = [f"length(text) % {i} = 1" for i in range(3, 10)]


def settings(folder: Path, root: str, edition: int) -> Path:
    """Write the project's file: twelve functions, one that is edited, seven predicates."""
    given = yaml.safe_load(project(folder).read_text())
    module = folder / "edited.py"
    module.write_text(EDITED.format(edition))
    given["root"] = str(folder / root)
    given["sf_modules"].append(str(module))
    given["slices"] = [{"name": f"every_{i}", "where": p} for i, p in enumerate(PREDICATES)]
    file = folder / f"{root}.yaml"
    file.write_text(yaml.safe_dump(given))
    return file


def run(file: Path) -> float:
    """Label and evaluate; return the seconds that both took."""
    start = time.monotonic()
    for job in ("label_slices", "evaluate_slices"):
        with redirect_stdout(io.StringIO()):
            assert import_module(f"jobs.{job}").main(["--project", str(file)]) == 0
    return time.monotonic() - start


def results(spark: SparkSession, root: Path) -> tuple[str, list[str]]:
    """Return a digest of the masks, and the figures of the last run."""
    masks = spark.read.format("delta").load(str(root / "masks"))
    metrics: DataFrame = spark.read.format("delta").load(str(root / "metrics"))
    last = metrics.where(F.col("run_ts") == metrics.agg(F.max("run_ts")).collect()[0][0])
    rows = last.select("slice", "metric", "value", "support", "n_null", "status").collect()
    return row_digest(masks), sorted(map(str, rows))


def append(spark: SparkSession, source: Path, share: float) -> None:
    """Add rows like those that are there."""
    df = spark.read.format("delta").load(str(source))
    n = df.count()
    more = df.where(F.col("id") < int(n * share)).withColumn("id", F.col("id") + n)
    more.coalesce(2).write.format("delta").mode("append").save(str(source))


def measure(folder: Path, n: int) -> dict[str, float]:
    """Time a full run, and runs after a change; check what they leave against full ones."""
    write_source(folder, n)
    spark = open_session("bench_incremental")
    file = settings(folder, "audit", 3)
    seconds = {"first": run(file), "nothing": run(file)}
    append(spark, folder / "source", 0.01)
    for change, edition in (("append", 3), ("edit", 5)):
        whole = settings(folder, "whole", edition)
        seconds[change] = run(settings(folder, "audit", edition))
        seconds[f"whole after {change}"] = run(whole)
        assert results(spark, folder / "audit") == results(spark, folder / "whole"), change
        shutil.rmtree(folder / "whole")
    return seconds


def main(n: int) -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as folder:
        small, large = measure(Path(few), FEW), measure(Path(folder), n)
    for change, seconds in large.items():
        print(f"{change}: {n:,} rows {seconds:.1f} s, {FEW} rows {small[change]:.1f} s")
    claims = Claims()
    claims.figure("appended_share", large["append"] / large["whole after append"])
    claims.figure("edited_share", large["edit"] / large["whole after edit"])
    claims.figure("unchanged_s", large["nothing"])
    claims.figure("fixed_s", small["append"])
    claims.tell()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
