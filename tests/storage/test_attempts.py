"""A slice that fails for a known cause fails once, however often Spark would try."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from engine.storage.attempts import TaskFailedError, one_attempt

SLICES = """
import os
from engine import slicing_function

@slicing_function()
def endless(x):
    if x.id == 7:
        with open({begun!r}, "a") as file:
            file.write("begun\\n")
    while x.id == 7:
        pass
    return True
"""


@pytest.mark.slow
@pytest.mark.spark
def test_an_endless_function_is_not_tried_again(tmp_path):
    begun = tmp_path / "begun"
    (tmp_path / "slices.py").write_text(SLICES.format(begun=str(begun)))
    pq.write_table(pa.table({"id": range(20)}), tmp_path / "source.parquet")
    project = {
        "name": "attempts",
        "root": str(tmp_path / "out"),
        "source": {"table": str(tmp_path / "source.parquet")},
        "key": "id",
        "sf_modules": ["slices.py"],
        "limits": {"seconds": 3},
        "verify": 0,
        "spark": {"spark.master": "local[1,4]"},
    }
    (tmp_path / "project.yaml").write_text(yaml.safe_dump(project))
    job = [sys.executable, "-m", "jobs.label_slices", "--project", str(tmp_path / "project.yaml")]
    done = subprocess.run(job, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 1
    last = re.sub(r"slices.py:1[01]", "slices.py", done.stderr.splitlines()[-1])
    assert last == (
        "error: slice 'endless' failed on row id=7: it did not finish within 3 s (slices.py); "
        "make it faster, raise limits.seconds, or set on_error: quarantine to leave the slice out"
    )
    # In the run, as the slice is looked for, and the row; a retry may begin before each is stopped.
    # Spark alone would try each four times.
    assert len(begun.read_text().splitlines()) <= 6


def test_where_spark_tries_once_nobody_looks(spark):
    def never(_: str) -> bool:
        raise AssertionError

    with pytest.raises(ValueError, match="own"), one_attempt(spark, never):
        raise ValueError("own")


def test_the_failure_that_is_final_is_told(spark, monkeypatch):
    def slowly(batches):
        for batch in batches:
            time.sleep(30)
            yield batch

    begun = time.monotonic()

    def failures(*_):
        return ["a", "final"] if time.monotonic() > begun + 6 else ["a"]  # the job runs by then

    monkeypatch.setattr("engine.storage.attempts.attempts", lambda _: 4)
    monkeypatch.setattr("engine.storage.attempts.failures_of_tasks", failures)
    with (
        pytest.raises(TaskFailedError, match=r"^final$") as told,
        one_attempt(spark, lambda text: text == "final"),
    ):
        spark.range(1).mapInArrow(slowly, "id long").collect()
    assert "cancel" in str(told.value.__cause__).lower()
    assert spark.range(3).count() == 3
