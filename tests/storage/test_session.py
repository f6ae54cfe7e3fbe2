"""A session in a process of its own: what it needs, and what it says where that is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.storage.class_archive import archive
from engine.storage.session import delta_jars, delta_package, settings

pytestmark = [pytest.mark.slow, pytest.mark.spark]

START = """
from engine.storage.session import open_session
spark = open_session("test", {"spark.sql.warehouse.dir": "%s"})
print(spark.conf.get("spark.driver.extraClassPath"))
spark.range(3).write.format("delta").save("%s")
print(spark.read.format("delta").load("%s").count())
print(spark.conf.get("spark.sql.session.timeZone"))
assert open_session("another") is spark
"""
# A JVM with this can't reach Maven Central, and has nothing from before.
NO_NETWORK = "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1 -Duser.home={0}"


def python(
    arguments: list[str], folder: Path, cache: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("PYSPARK_GATEWAY_PORT", "SPARK_HOME")}
    env |= {"XDG_CACHE_HOME": str(cache), "JAVA_TOOL_OPTIONS": NO_NETWORK.format(folder), **more}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_session_after_set_up_needs_no_network(tmp_path):
    ours = delta_jars()[0].parent
    place = tmp_path / "cache" / "slice-engine" / ours.name
    place.parent.mkdir(parents=True)
    place.symlink_to(ours)
    table = str(tmp_path / "table")
    ran = python(["-c", START % (tmp_path, table, table)], tmp_path, tmp_path / "cache")
    assert ran.returncode == 0, ran.stderr
    jars, rows, zone = ran.stdout.splitlines()
    assert len(jars.split(":")) == 5
    assert all("/io.delta_delta-" in jar and jar.endswith(".jar") for jar in jars.split(":"))
    assert (rows, zone) == ("3", "UTC")
    said = [line for line in ran.stderr.lower().splitlines() if not line.startswith("picked up ")]
    for sign in ("ivy", "resolv", "repo1.maven.org", "downloading"):
        assert sign not in "\n".join(said)


AFTER_ANOTHER = """
from pyspark.sql import SparkSession
from engine.errors import SetupError
from engine.storage.session import open_session
open_session("one").stop()
spark = open_session("two")
spark.range(3).write.format("delta").save("%s")
print(spark.read.format("delta").load("%s").count())
"""
WITHOUT_DELTA = """
from pyspark.sql import SparkSession
from engine.errors import SetupError
from engine.storage.session import open_session
SparkSession.builder.master("local[1]").getOrCreate().stop()
try:
    open_session("test")
except SetupError as error:
    print(error)
"""
CLASSES = """
import subprocess
from engine.storage.session import open_session
spark = open_session("test", {"spark.driver.extraJavaOptions": "-Dours=1"})
print(spark._jvm.System.getProperty("ours"))
options = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()
print([o for o in options if o.startswith("-XX:SharedArchiveFile=")])
"""


def test_a_session_after_another(tmp_path):
    table, cache = str(tmp_path / "table"), delta_jars()[0].parents[2]
    ran = python(["-c", AFTER_ANOTHER % (table, table)], tmp_path, cache)
    assert ran.stdout.splitlines()[-1:] == ["3"], ran.stderr
    ran = python(["-c", WITHOUT_DELTA], tmp_path, cache)
    assert ran.stdout.splitlines()[-1] == (
        "this process has a Java already, of a Spark session without Delta Lake, and a class path "
        "can't grow: open the first session with engine's open_session, in a new process"
    )


def test_java_maps_its_classes_where_they_are_kept(tmp_path):
    """Java looks itself whether an archive is of its classes, and starts without one that isn't."""
    ours = delta_jars()[0].parent
    place = tmp_path / "a cache" / "slice-engine" / ours.name
    place.parent.mkdir(parents=True)
    place.symlink_to(ours)
    file = archive(place.parent)
    for there in (False, True):
        if there:
            file.write_bytes(b"no archive")
        ran = python(["-c", CLASSES], tmp_path, tmp_path / "a cache")
        assert ran.returncode == 0, ran.stderr
        ours, option = ran.stdout.splitlines()
        assert ours == "1"
        assert option == str([f"-XX:SharedArchiveFile={file}"] if there else [])
        assert "archive" not in ran.stderr


def test_without_jars_and_network_one_sentence_says_what_to_run(tmp_path):
    ran = python(["-m", "engine.storage.session"], tmp_path, tmp_path / "cache")
    assert ran.returncode == 1
    what = delta_package().replace(":", "#", 1).replace(":", ";", 1)
    assert ran.stderr.splitlines()[-1] == (
        f"error: Delta Lake's JARs ({delta_package()}) are not on this machine and could not be "
        f"fetched: unresolved dependency: {what}: not found; run `make setup` once where Maven "
        "Central can be reached"
    )
    assert not list((tmp_path / "cache" / "slice-engine").iterdir())


def test_catalog_tables_of_one_local_run_are_there_in_the_next(tmp_path):
    """In processes of their own: a local session then keeps a catalog where it runs."""
    (tmp_path / "rows.csv").write_text("id,text\n1,a\n2,bcd\n")
    (tmp_path / "audit.yaml").write_text(
        "{name: audit, root: audit, folder: files, source: {table: ./rows.csv}, key: id, "
        "slices: [{name: short, where: length(text) < 3}]}"
    )
    said = []
    for _ in range(2):
        ran = python(
            ["-m", "jobs.label_slices", "--project", "audit.yaml"],
            tmp_path,
            delta_jars()[0].parents[2],
            PYTHONPATH=str(Path(__file__).parents[2]),
        )
        assert ran.returncode == 0, ran.stderr
        said.append(ran.stdout)
    assert "wrote audit.masks version 0: 2 rows in " in said[0]
    for name in ("masks", "slices", "coverage"):
        assert f"unchanged audit.{name} version 0" in said[1]
    assert (tmp_path / "spark-warehouse" / "audit.db" / "masks").is_dir()


def test_settings_hold_in_a_block_alone(spark):
    known, unknown = "spark.sql.shuffle.partitions", "spark.slice.test"
    before = spark.conf.get(known)
    with settings(spark, {known: "7", unknown: "a"}):
        assert (spark.conf.get(known), spark.conf.get(unknown)) == ("7", "a")
    assert (spark.conf.get(known), spark.conf.get(unknown, None)) == (before, None)
