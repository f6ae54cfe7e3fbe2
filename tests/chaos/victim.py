"""A job in a process of its own that kills itself at a call: python -m tests.chaos.victim."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chaos.cases import CASES, run_job
from tests.chaos.seams import Fault, injected


def main(file: str, case: str, n: str, when: str, master: str = "") -> int:
    from engine.storage.session import open_session

    cluster = {"spark.master": master} if master else {}
    spark = open_session("victim", {"spark.sql.shuffle.partitions": "2"} | cluster)
    spark.conf.set("spark.databricks.delta.snapshotPartitions", "1")
    root = Path(file.rpartition(".yaml")[0]).with_suffix("")
    Path(f"{root}.begun").touch()
    with injected(Fault(int(n), when == "after", kills=True, durable=True)):
        return run_job(Path(file), next(c for c in CASES if c.name == case))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
