"""What tests share: one Spark session, and projects in a folder of their own.

A test that takes `spark`, or a fixture that does, is marked `spark`; so are tests of processes that
start a JVM, by hand.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import yaml

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# A busy machine is no failure.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")
# Workers and torch share few cores; one thread each is quicker than a quarrel.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# JVMs, also those that jobs and examples start, run much code once, which a compiler that starts
# sooner makes quicker. Such a JVM has room for 48 MB of compiled code; when these are full, it
# spends up to a fifth of its time sweeping them and compiles the same code again.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m"
os.environ.setdefault("SPARK_SUBMIT_OPTS", JAVA_OPTIONS)
os.environ.setdefault("SPARK_DAEMON_JAVA_OPTS", JAVA_OPTIONS)

_MODULES = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker("spark")
    # Long files first, so that at the end no process waits for one.
    long = {item.path for item in items if item.get_closest_marker("spark")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(params=["fast", "plain"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: with every fast path, and with none."""
    monkeypatch.setenv("ENGINE_PLAIN", "1" if request.param == "plain" else "0")
    return str(request.param)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    from engine.storage.session import open_session

    session = open_session(
        "tests",
        {
            "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
            "spark.sql.shuffle.partitions": "2",
            "spark.databricks.delta.snapshotPartitions": "1",
            # VACUUM lists files in as many tasks, 10,000 by default.
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        },
    )
    yield session
    session.stop()


@dataclass(frozen=True)
class Ran:
    """What a job did: exit status, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error's sentence."""
        assert self.status in (1, 2), f"the job ended with {self.status}\n{self.out}\n{self.err}"
        return self.err[self.err.index("error: ") :].removeprefix("error: ").removesuffix("\n")


@dataclass(frozen=True)
class Bench:
    """One project in a folder of its own: `rows` makes its source, `run` runs a job on it."""

    spark: SparkSession
    folder: Path
    capsys: pytest.CaptureFixture[str]
    shared: Path

    def place(self, name: str) -> str:
        return str(self.folder / "out" / name)

    @property
    def source(self) -> str:
        return str(self.folder / "source")

    def rows(self, rows: Sequence[Any], schema: str, **options: Any) -> str:
        """Write the source as a Delta table; return its path."""
        self.write(self.spark.createDataFrame(rows, schema), self.source, **options)
        return self.source

    @staticmethod
    def write(df: DataFrame, place: str, mode: str = "overwrite", by: Sequence[str] = ()) -> None:
        writer = df.coalesce(1).write.format("delta").mode(mode)
        writer.option("overwriteSchema", "true").partitionBy(*by).save(place)

    def module(self, source: str) -> str:
        """Write a module of slicing functions; return its file's name."""
        name = f"slices_{next(_MODULES)}.py"
        head = "import pandas as pd\nfrom engine import preprocessor, slicing_function\n"
        (self.folder / name).write_text(head + source, encoding="utf-8")
        return name

    def project(self, **settings: Any) -> str:
        """Write the project file; return its path."""
        given = {
            "name": "bench",
            "root": str(self.folder / "out"),
            "source": {"table": self.source},
            "key": "id",
            "verify": 0,  # a second scan in each run; tests of it say so
            **settings,
        }
        path = self.folder / "project.yaml"
        path.write_text(yaml.safe_dump(given), encoding="utf-8")
        return str(path)

    def labelled(
        self, name: str, rows: Sequence[Any], schema: str, **settings: Any
    ) -> dict[str, Any]:
        """Copy the tables of a project that is labelled once for a module; return its settings.

        Its source is the module's, so tests only read it.
        """
        folder = self.shared / name
        if not folder.exists():
            folder.mkdir()
            first = replace(self, folder=folder)
            first.rows(rows, schema)
            first.done("label_slices", first.project(**settings))
        shutil.copytree(folder / "out", self.folder / "out")
        return {"source": {"table": str(folder / "source")}, **settings}

    def run(self, job: str, project: str, *arguments: str) -> Ran:
        """Run a job in this process, as `python -m jobs.X` would."""
        self.capsys.readouterr()
        status = importlib.import_module(f"jobs.{job}").main(["--project", project, *arguments])
        out, err = self.capsys.readouterr()
        return Ran(status, out, err)

    def done(self, job: str, project: str, *arguments: str) -> str:
        """Run a job that must succeed; return what it printed."""
        ran = self.run(job, project, *arguments)
        assert ran.status == 0, ran.err
        return ran.out

    def read(self, place: str, version: int | None = None) -> list[dict[str, Any]]:
        """Return a Delta table's rows, sorted by their text."""
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return sorted((r.asDict() for r in reader.load(place).collect()), key=str)

    def masks(self) -> dict[Any, dict[str, bool | None]]:
        """Return the mask table: key to masks and whatever else it has."""
        return {r.pop("id"): r for r in self.read(self.place("masks"))}

    def versions(self) -> Mapping[str, int]:
        """Return the newest version of every table of the project, but of that of its runs."""
        logs = (self.folder / "out").glob("*/_delta_log/*.json")
        newest: dict[str, int] = {}
        for log in logs:
            name = log.parent.parent.name
            newest[name] = max(newest.get(name, -1), int(log.stem))
        newest.pop("runs", None)  # each run adds a row
        return newest


@pytest.fixture
def interpreted(spark: SparkSession) -> Iterator[None]:
    """Let Spark interpret expressions: for three rows, compiling them is the larger part."""
    from engine.storage.session import settings

    codegen = "spark.sql.codegen"
    with settings(
        spark, {f"{codegen}.wholeStage": "false", f"{codegen}.factoryMode": "NO_CODEGEN"}
    ):
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin as if it were alone.

    What jobs print is a log, though xdist gives its workers 80 columns; and warnings are logged,
    though a test before may have silenced them.
    """
    monkeypatch.delenv("COLUMNS", raising=False)
    logging.getLogger("engine").setLevel(logging.NOTSET)


@pytest.fixture
def bench(
    spark: SparkSession,
    interpreted: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shared: Path,
) -> Bench:
    return Bench(spark, tmp_path, capsys, shared)


@pytest.fixture
def plan_text(capsys: pytest.CaptureFixture[str]) -> Callable[[DataFrame], str]:
    """Return the physical plan of a DataFrame as text."""

    def text(df: DataFrame) -> str:
        capsys.readouterr()
        df.explain()
        return capsys.readouterr().out

    return text
