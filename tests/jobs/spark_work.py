"""What Spark did in a block: its jobs, Delta's own apart from ours, and the scans of tables.

As Spark counts them: an adaptive query runs a job for each of its shuffles and broadcasts. What
Delta runs for itself says so in its description: files chosen for a query, a snapshot computed,
a commit written; or it has no name, as where it replays a log without adaptive execution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.storage.jvm import items
from engine.storage.session import settings


@dataclass
class SparkWork:
    """Jobs and scans.

    Attributes
    ----------
    ours, deltas
        Where each job was started, in the order in which they ran.
    scans
        The folders of all scans of Parquet files, with how many rows each gave.
    """

    ours: list[str] = field(default_factory=list)
    deltas: list[str] = field(default_factory=list)
    scans: list[tuple[str, int]] = field(default_factory=list)

    def scans_of(self, folder: str) -> int:
        """Return how many scans of a table there were that gave a row."""
        return sum(place.endswith(folder) and rows > 0 for place, rows in self.scans)

    def __str__(self) -> str:
        lines = [f"{len(self.ours)} jobs of ours:", *(f"  {job}" for job in self.ours)]
        lines += [f"{len(self.deltas)} jobs of Delta's", f"{len(self.scans)} scans:"]
        return "\n".join([*lines, *(f"  {rows:,} rows of {place}" for place, rows in self.scans)])


@contextmanager
def spark_work(spark: Any) -> Iterator[SparkWork]:
    """Note what Spark does in this block."""
    work, bus = SparkWork(), spark.sparkContext._jsc.sc().listenerBus()
    jobs = spark.sparkContext._jsc.sc().statusStore()
    queries = spark._jsparkSession.sharedState().statusStore()

    def now(of: Any, key: str) -> dict[int, Any]:
        bus.waitUntilEmpty()
        return {getattr(one, key)(): one for one in items(of.iterator())}

    jobs_before = now(jobs.jobsList(None), "jobId").keys()
    queries_before = now(queries.executionsList(), "executionId").keys()
    with settings(spark, {"spark.sql.maxMetadataStringLength": "1000"}):  # of folders' names
        yield work
    for at, job in sorted(now(jobs.jobsList(None), "jobId").items()):
        if at not in jobs_before:
            about = job.description().get() if job.description().isDefined() else ""
            delta = about.startswith("Delta:") or "recordDeltaOperation" in about
            delta = delta or not job.name()
            (work.deltas if delta else work.ours).append(job.name())
    for at in sorted(now(queries.executionsList(), "executionId").keys() - queries_before):
        rows_of = queries.executionMetrics(at)
        for node in items(queries.planGraph(at).allNodes().iterator()):
            if not node.name().startswith("Scan parquet"):
                continue
            place = node.desc().partition("paths)[file:")[2].partition("]")[0]
            metrics = {m.name(): m.accumulatorId() for m in items(node.metrics().iterator())}
            rows = rows_of.get(metrics["number of output rows"])
            text = rows.get() if rows.isDefined() else "0"
            work.scans.append((place, int(text.replace(",", ""))))
