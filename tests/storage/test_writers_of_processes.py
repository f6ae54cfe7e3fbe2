"""First writers in two processes, one of which is killed: what others made stays, and runs work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from engine.storage import tables
from engine.storage.upsert import insert_missing

pytestmark = pytest.mark.slow

# Begins a first write at each place, of which one task has written its file and one waits; makes a
# table that the catalog of the other process doesn't know.
WRITER = """
import sys, threading, time
from pathlib import Path
from pyspark.sql import functions as F
from engine.storage import tables
from engine.storage.session import open_session
from engine.storage.upsert import insert_missing

folder, warehouse = Path(sys.argv[1]), sys.argv[2]
spark = open_session("writer", {
    "spark.master": "local[8]", "spark.sql.warehouse.dir": warehouse, "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "2", "spark.databricks.delta.snapshotPartitions": "1",
})

def rows(name):
    begun, let = str(folder / f"{name}.begun"), str(folder / f"{name}.let")
    def wait(n):
        if n:
            Path(begun).touch()
            while not Path(let).exists():
                time.sleep(0.02)
        return n
    return spark.range(0, 2, numPartitions=2).select(F.udf(wait, "long")("id").alias("id"))

def write(name, place, insert):
    try:
        df = rows(name)
        if insert:
            insert_missing(df, place, ["id"])
        else:
            tables.overwrite(df, place, facts={})
        told = "wrote"
    except Exception as error:
        told = str(error)
    (folder / f"{name}.told").write_text(told)

spark.sql("CREATE DATABASE IF NOT EXISTS killed")
insert_missing(spark.range(0, 2), "killed.committed", ["id"])
writes = {name: (str(folder / name), False) for name in ("alone", "lost", "both")}
writes["added"] = ("killed.added", True)
for name, (place, insert) in writes.items():
    threading.Thread(target=write, args=(name, place, insert)).start()
time.sleep(600)
"""


@pytest.fixture
def writer(spark, tmp_path):
    (tmp_path / "writer.py").write_text(WRITER)
    warehouse = spark.conf.get("spark.sql.warehouse.dir").removeprefix("file:")
    command = [sys.executable, "writer.py", str(tmp_path), warehouse]
    path = os.pathsep.join(
        [str(Path(tables.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def wait_for(*files: Path) -> None:
    end = time.monotonic() + 300
    while not all(f.exists() for f in files):
        assert time.monotonic() < end, (files[0].parent / "log").read_text()
        time.sleep(0.02)


def test_a_killed_first_writer_hinders_nobody_and_takes_nothing_along(spark, tmp_path, writer):
    places = [str(tmp_path / name) for name in ("alone", "lost", "both")]
    alone, lost, both = places
    wait_for(*(tmp_path / f"{name}.begun" for name in ("alone", "lost", "both", "added")))
    for place in places:
        assert list(Path(place).glob("_writing-*"))

    # The one that is quicker keeps its table; the other one says so.
    tables.overwrite(spark.range(10, 12), lost, facts={"by": "quick"})
    (tmp_path / "lost.let").touch()
    wait_for(tmp_path / "lost.told")
    assert (tmp_path / "lost.told").read_text() == (
        f"somebody else made {lost} while this run was writing it, so this run wrote nothing "
        "there; run it again"
    )
    # One fails beside the one that will be killed.
    bad = spark.range(4, numPartitions=2).select(F.expr("if(id < 2, id, raise_error('no'))"))
    with pytest.raises(PySparkException):
        tables.overwrite(bad, both, facts={})

    os.killpg(writer.pid, signal.SIGKILL)
    writer.wait(60)
    assert tables.find(spark, alone) is None
    for place in (alone, both):
        tables.overwrite(spark.range(10, 12), place, facts={"by": "quick"})
    for place in places:
        rows = spark.read.format("delta").load(place).collect()
        assert sorted(r.id for r in rows) == [10, 11]
        assert tables.read(spark, place).facts["by"] == "quick"
        assert not list(Path(place).glob("_writing-*"))

    # In a catalog: what it had committed is kept, what it hadn't is nobody's.
    spark.sql("CREATE DATABASE IF NOT EXISTS killed")
    for name, ids in {"committed": [0, 1, 2], "added": [1, 2]}.items():
        place = f"killed.{name}"
        assert not spark.catalog.tableExists(place)
        insert_missing(spark.range(1, 3), place, ["id"])
        assert sorted(r.id for r in spark.table(place).collect()) == ids
        assert insert_missing(spark.range(1, 3), place, ["id"]).changed is False
