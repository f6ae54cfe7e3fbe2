"""A Spark session with Delta Lake: local, or the one that spark-submit started.

``python -m engine.storage.session`` resolves Delta's JARs once; sessions after that start without a
network look-up. With ``--classes`` Java keeps all classes ready, too: a session starts in half the
time.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.arguments import flag, mapping, text
from engine.errors import ArgumentError, EngineError, SetupError
from engine.storage import class_archive
from engine.storage.java import check_java
from engine.storage.jvm import is_one_process, java_runs, silence, submitted_with

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ZONE = "UTC"
_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_DELTA = {
    "spark.sql.extensions": _EXTENSION,
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# Rows cross between Spark and pandas as Arrow: faster, and a null string stays null.
_ARROW = {"spark.sql.execution.arrow.pyspark.enabled": "true"}
# What a Python worker wrote before it died comes with Spark's error.
_LAST_WORDS = "spark.sql.execution.pyspark.udf.faulthandler.enabled"
_CLASS_PATH, _JAVA = "spark.driver.extraClassPath", "spark.driver.extraJavaOptions"
_LOG = Path(__file__).parent / "spark_conf" / "log4j2.properties"
_MEANING = (
    "spark.sql.ansi.enabled", "spark.sql.caseSensitive", "spark.sql.legacy.timeParserPolicy",
)  # fmt: skip
_LOCAL = {
    "spark.driver.memory": "4g",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": str(os.cpu_count() or 2),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def open_session(
    app_name: str = "slice-engine",
    conf: Mapping[str, str] | None = None,
    catalog: bool = False,
) -> SparkSession:
    """Return a Spark session that reads and writes Delta tables.

    The active session if there is one; under spark-submit one on its master; else a local one on
    all cores, whose Python workers run this interpreter.

    Parameters
    ----------
    app_name
        The application's name in Spark's UI and logs.
    conf
        Further Spark settings.
    catalog
        Whether tables are named in a catalog: a local session then keeps one, in
        ``metastore_db`` and ``spark-warehouse`` here (under spark-submit the cluster has its own).

    Raises
    ------
    SetupError
        If there is no Java that Spark can use.
        If spark-submit was started without Delta's JARs.
        If the JARs were never resolved and can't be now.
        If this process had a session without Delta.
    """
    text("open_session", "app_name", app_name)
    own = {} if conf is None else mapping("open_session", "conf", conf, "a dict of settings")
    for key, value in own.items():
        text("open_session", "each setting in conf", key)
        if not isinstance(value, str | int | float):
            raise ArgumentError("open_session", f"conf[{key!r}]", "a text", value)
    catalog = flag("open_session", "catalog", catalog)
    from pyspark.sql import SparkSession  # heavy: what is wrong above is told without it

    session = SparkSession.getActiveSession()
    if session is None:
        metastore = {"spark.sql.catalogImplementation": "hive"} if catalog else {}
        wanted = {**_DELTA, **_ARROW, **own}
        session = (
            _submitted(SparkSession.builder.appName(app_name), wanted)
            if "PYSPARK_GATEWAY_PORT" in os.environ
            else _local(SparkSession.builder.appName(app_name), {**metastore, **wanted})
        )
    session.conf.set("spark.sql.session.timeZone", ZONE)
    session.conf.set(_LAST_WORDS, "true")
    return session


@contextmanager
def settings(spark: SparkSession, conf: Mapping[str, str]) -> Iterator[None]:
    """Set some of Spark's settings for what runs in this block.

    Examples
    --------
    ::

        with settings(spark, {"spark.sql.shuffle.partitions": "8"}):
            df.write.format("delta").save("build/table")
    """
    before = {key: spark.conf.get(key, None) for key in conf}
    for key, value in conf.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


# For what compiling a plan, and shuffling it by size, takes longer than running it.
FOR_FEW_ROWS = {
    "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}  # fmt: skip


def meaning(spark: SparkSession) -> dict[str, str]:
    """Return the settings that change what SQL and files mean, as a session has them."""
    legacy = [key for key in spark.conf.getAll if key.startswith("spark.sql.legacy.")]
    return {key: str(spark.conf.get(key)) for key in sorted({*_MEANING, *legacy})}


def delta_package() -> str:
    """Return the Maven coordinates of Delta Lake for ``spark-submit --packages``.

    Examples
    --------
    >>> delta_package().split(":")[:1]
    ['io.delta']
    """
    import pyspark  # heavy, as above

    major, minor = pyspark.__version__.split(".")[:2]
    return f"io.delta:delta-spark_{major}.{minor}_2.13:{version('delta-spark')}"


def _cache() -> Path:
    """Return the folder that the engine's sessions share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slice-engine"


def delta_jars() -> list[Path]:
    """Return Delta's JARs, resolved once per machine and Delta version.

    Raises
    ------
    SetupError
        If they were never resolved and can't be fetched.
    """
    place = _cache() / delta_package().replace(":", "_")
    if not place.is_dir():
        _resolve(place)
    return sorted(place.glob("*.jar"))


def _local(builder: SparkSession.Builder, conf: dict[str, str]) -> SparkSession:
    check_java()
    _check_folders(os.environ.get("SPARK_LOCAL_DIRS", ""))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if _locale() in ("", "C", "POSIX"):  # in which Java and workers can't name most files
        os.environ["LC_ALL"] = "C.UTF-8"
    logging.getLogger("py4j").setLevel(logging.ERROR)
    jars, wanted = list(map(str, delta_jars())), dict[str, Any]({**_LOCAL, **conf})
    if java_runs() and not submitted_with(_EXTENSION):
        raise SetupError(
            "this process has a Java already, of a Spark session without Delta Lake, and a class "
            "path can't grow: open the first session with engine's open_session, in a new process"
        )
    if is_one_process(wanted.get("spark.master", "local")):
        # Java's archive has only classes of the class path that it starts with.
        wanted[_CLASS_PATH] = os.pathsep.join([*jars, *filter(None, [conf.get(_CLASS_PATH)])])
        java = [*filter(None, [conf.get(_JAVA)]), *class_archive.options(_cache())]
        if "SPARK_CONF_DIR" not in os.environ:
            java.append(f'"-Dlog4j2.configurationFile={_LOG}"')
        wanted[_JAVA] = " ".join(java)
    else:
        os.environ.setdefault("SPARK_CONF_DIR", str(_LOG.parent))
        builder = builder.config("spark.jars", ",".join(jars))
    session = builder.master("local[*]").config(map=wanted).getOrCreate()
    silence(session)  # a cluster's log stays: who operates it looks for lost executors there
    return session


def _locale() -> str:
    """Return the locale that decides in which letters processes name files."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    return next(filter(None, names), "")


def _check_folders(names: str) -> None:
    """Check the folders for what Spark has no memory for; where none is named it has one itself."""
    for name in filter(None, names.split(",")):
        place = Path(name)
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError:
            raise SetupError(
                f"SPARK_LOCAL_DIRS names {name!r}, where Spark can't write what it has no memory "
                "for: name a folder that can be written, or unset it"
            ) from None


def _submitted(builder: SparkSession.Builder, conf: dict[str, str]) -> SparkSession:
    if not submitted_with(_EXTENSION):
        raise SetupError(
            "Delta Lake is not on Spark's class path: start spark-submit with --packages "
            f"{delta_package()} (or --jars and the JARs themselves)"
        )
    return builder.config(map=dict(conf)).getOrCreate()


def _resolve(place: Path) -> None:
    """Let Spark fetch Delta's packages in a process of its own, and keep the io.delta JARs."""
    check_java()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        jars = Path(scratch, "jars")
        jars.mkdir()
        fetch = subprocess.run(
            [sys.executable, "-c", _FETCH, delta_package(), str(jars)],
            capture_output=True,
            text=True,
            check=False,
        )
        if fetch.returncode or not any(jars.iterdir()):
            raise SetupError(
                f"Delta Lake's JARs ({delta_package()}) are not on this machine and could not be "
                f"fetched: {_reason(fetch.stdout + fetch.stderr)}; run `make setup` once where "
                "Maven Central can be reached"
            )
        if not place.is_dir():  # somebody else may have been faster
            jars.rename(place)


# Spark resolves packages only when a JVM starts, so a short-lived one is started for it.
_FETCH = """
import shutil, sys
from pyspark.sql import SparkSession
package, place = sys.argv[1:]
spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
         .config("spark.jars.packages", package).getOrCreate())
for jar in spark.conf.get("spark.jars").split(","):
    if "/io.delta_" in jar:
        shutil.copy(jar.removeprefix("file://"), place)
spark.stop()
"""


# What most jobs do: tables are written, read, changed, and rows pass through Python.
_WARM = """
import sys, tempfile
from engine.storage.session import open_session
option, = sys.argv[1:]
spark = open_session("classes", {"spark.driver.extraJavaOptions": option})
with tempfile.TemporaryDirectory() as folder:
    place = f"{folder}/t"
    for n in range(2):
        rows = spark.range(n, n + 9).selectExpr("id", "id % 2 = 0 AS even", "string(id) AS text")
        rows.write.format("delta").mode("append").save(place)
    df = spark.read.format("delta").load(place)
    df.groupBy("even").count().toPandas()
    df.join(df.select("id"), "id").mapInArrow(lambda batches: batches, df.schema).collect()
    spark.sql(f"MERGE INTO delta.`{place}` AS a USING (SELECT 1L AS id, true AS even, 'x' AS text) "
              "AS b ON a.id = b.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *")
    spark.sql(f"DESCRIBE DETAIL delta.`{place}`").collect()
spark.stop()
"""


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = re.findall(r"unresolved dependency: [^\]\n]+", output)
    return (telling or lines or ["no output"])[-1]


if __name__ == "__main__":
    try:
        jars = delta_jars()
    except EngineError as error:
        sys.exit(f"error: {error}")
    print(f"Delta Lake: {len(jars)} JARs in {jars[0].parent}")
    if "--classes" in sys.argv:
        archive = class_archive.make(_cache(), _WARM)
        print(f"Java's classes: {archive or 'could not be kept ready; sessions start slower'}")
