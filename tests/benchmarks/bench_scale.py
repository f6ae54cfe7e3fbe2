"""Both jobs over 10^7 rows and twelve ordinary functions: core-microseconds a row, all told.

  .venv/bin/python -m tests.benchmarks.bench_scale            10^7 rows
  .venv/bin/python -m tests.benchmarks.bench_scale 1000000

A job is a process of its own; its CPU time is that of the process, of its JVM and of the JVM's
Python workers, start of the session and all. The last lines are ``figure <claim>: <number>``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml
from pyspark.sql import functions as F

from engine.storage.session import open_session
from tests.benchmarks.ordinary import rows
from tests.benchmarks.turns import Claims

ROWS, POOL = 10_000_000, 100_000
JOBS = ("label_slices", "evaluate_slices")
_TICKS = 100  # of a second's CPU time, as /proc counts


def project(folder: Path) -> Path:
    """Write the project's file."""
    settings = {
        "name": "ordinary", "root": str(folder), "key": ["id"], "label": "label",
        "classes": [0, 1], "positive": 1, "source": {"table": str(folder / "source")},
        "sf_modules": ["tests.benchmarks.ordinary"], "on_error": "null", "max_error_rate": 1.0,
        "metrics": ["accuracy", "f1", "recall", "roc_auc"], "certainty": {"replicates": 0},
        "predictions": {"model": {"table": str(folder / "source"),
                                  "columns": {"pred": "pred", "prob": "prob", "label": "label"}}},
    }  # fmt: skip
    file = folder / "ordinary.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def write_source(folder: Path, n: int) -> None:
    """Write the rows, in files of a million."""
    spark = open_session("bench_scale")
    pool = rows(min(POOL, n))
    pool = pool.append_column("pred", pc.cast(pc.round(pool["prob"]), pa.int32()))
    times = max(1, n // len(pool))
    df = spark.createDataFrame(pool.append_column("place", pa.array(range(len(pool)))))
    copies = spark.range(0, times, 1, min(times, 20)).withColumnRenamed("id", "copy")
    whole = copies.crossJoin(F.broadcast(df))
    whole = whole.withColumn("id", F.col("copy") * len(pool) + F.col("place"))
    whole.drop("copy", "place").write.format("delta").save(str(folder / "source"))
    spark.stop()


class CpuTime:
    """CPU seconds of a process and of all below it, those that ended among them."""

    def __init__(self, pid: int) -> None:
        self.pid, self._seconds = pid, dict[int, float]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self._look()

    def _look(self) -> None:
        stats = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                head, _, tail = file.read_text().rpartition(")")
            except OSError:
                continue  # it has ended
            fields = tail.split()
            stats[int(head.split(" ", 1)[0])] = (int(fields[1]), sum(map(int, fields[11:13])))
        family = {self.pid}
        while more := {p for p, (parent, _) in stats.items() if parent in family} - family:
            family |= more
        for p in family & stats.keys():
            self._seconds[p] = stats[p][1] / _TICKS

    def stop(self) -> float:
        """Return the seconds."""
        self._stop.set()
        self._thread.join()
        return sum(self._seconds.values())


def run(job: str, file: Path) -> tuple[float, float]:
    """Run a job; return its CPU seconds and those of a clock."""
    start = time.perf_counter()
    command = [sys.executable, "-m", f"jobs.{job}", "--project", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    cpu = CpuTime(process.pid)
    out, _ = process.communicate()
    seconds = cpu.stop()
    if process.returncode:
        raise SystemExit(out)
    return seconds, time.perf_counter() - start


def main(arguments: list[str]) -> None:
    n, claims = int(arguments[0]) if arguments else ROWS, Claims()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_source(folder, n)
        file = project(folder)
        for job in JOBS:
            seconds, wall = run(job, file)
            print(f"{job}: {n:,} rows, {seconds:.1f} s of cores, {wall:.1f} s", flush=True)
            claims.figure(f"{job.partition('_')[0]}_core_us", 1e6 * seconds / n)
    claims.tell()


if __name__ == "__main__":
    main(sys.argv[1:])
