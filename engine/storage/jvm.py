"""What only a classic session has: its JVM, which Spark Connect doesn't show.

No other file reaches for the JVM by a session, a context or a DataFrame; a test holds that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

OF_FILES = "org.apache.spark.sql.execution.datasources.HadoopFsRelation"  # Delta's are below it
_FEW = 20  # failures of a stage, of which one is enough
_OF_FILE = frozenset(
    ("path", "partitionValues", "size", "modificationTime", "dataChange", "stats", "tags",
     "deletionVector", "baseRowId", "defaultRowCommitVersion", "clusteringProvider")
)  # fmt: skip
# Properties and features of a Delta table that ask nothing of those who add or remove whole files.
_OF_NO_ROW = frozenset(
    ("delta.checkpointInterval", "delta.logRetentionDuration", "delta.deletedFileRetentionDuration",
     "delta.enableDeletionVectors", "delta.dataSkippingNumIndexedCols")
)  # fmt: skip
_FEATURES_OF_NO_ROW = frozenset(
    ("appendOnly", "invariants", "deletionVectors", "timestampNtz", "vacuumProtocolCheck")
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def is_classic(df: DataFrame) -> bool:
    """Tell whether a DataFrame is a classic session's, whose plans can be read."""
    return hasattr(df, "_jdf")


def query(df: DataFrame) -> Any:
    """Return a DataFrame's query, which has its plans."""
    return df._jdf.queryExecution()


def class_name(of: Any) -> str:
    """Return the name of an object's class, without its package."""
    return str(of.getClass().getSimpleName())


def is_a(spark: SparkSession, of: Any, java_class: str) -> bool:
    """Tell whether an object is of a class or of one below it."""
    return bool(_jvm(spark).py4j.reflection.TypeUtil.isInstanceOf(java_class, of))


def items(iterator: Any) -> Iterator[Any]:
    """Yield the items of one of Scala's or Hadoop's iterators."""
    while iterator.hasNext():
        yield iterator.next()


def lines(spark: SparkSession, texts: Any) -> list[str]:
    """Return an array of texts without line breaks, by one call instead of one for each."""
    return str(_jvm(spark).org.apache.hadoop.util.StringUtils.join("\n", texts)).split("\n")


def path_of(spark: SparkSession, *parts: str) -> Any:
    """Return a path as Hadoop has it."""
    return _jvm(spark).org.apache.hadoop.fs.Path("/".join(parts))


def file_system(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """Return Hadoop's file system of a path, and the path in it."""
    place = path_of(spark, path)
    return place.getFileSystem(_state(spark).newHadoopConf()), place


def qualified(spark: SparkSession, path: str) -> str:
    """Return a path with its file system and all folders."""
    files, place = file_system(spark, path)
    return str(files.makeQualified(place).toString())


def touch(spark: SparkSession, path: str) -> int:
    """Write an empty file, or write it again; return its time in milliseconds."""
    files, place = file_system(spark, path)
    files.create(place, True).close()
    return int(files.getFileStatus(place).getModificationTime())


def touched(spark: SparkSession, path: str) -> int | None:
    """Return a file's time in milliseconds, in its file system's own clock; None without a file."""
    files, place = file_system(spark, path)
    return int(files.getFileStatus(place).getModificationTime()) if files.exists(place) else None


def remove_file(spark: SparkSession, path: str) -> None:
    """Remove a file, if it is there."""
    files, place = file_system(spark, path)
    files.delete(place, False)


def folder_bytes(spark: SparkSession, path: str) -> int:
    """Return how many bytes the files of a folder have, and those below it."""
    files, place = file_system(spark, path)
    return int(files.getContentSummary(place).getLength())


def read_file(spark: SparkSession, path: str) -> bytes | None:
    """Return a file's bytes; None without a file."""
    files, place = file_system(spark, path)
    if not files.exists(place):
        return None
    with closing(files.open(place)) as stream:
        return bytes(stream.readAllBytes())


def rows_of_files(df: DataFrame, files: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Return the rows of some files that a Delta table has, or had, as rows of a DataFrame's table.

    Parameters
    ----------
    df
        The table.
    files
        What the table's log says of the files.
    """
    from pyspark.sql.classic.dataframe import DataFrame as ClassicDataFrame  # no other has files

    spark, snapshot = df.sparkSession, _delta_snapshot(df)
    java = _jvm(spark)
    added = java.java.util.ArrayList()
    for file in files:
        added.add(_added(spark, file))
    rows = snapshot.deltaLog().createDataFrame(
        snapshot, java.org.apache.spark.api.python.PythonUtils.toSeq(added), False,
        java.scala.Option.empty(),
    )  # fmt: skip
    return ClassicDataFrame(rows, spark)


def deletion_vector(spark: SparkSession, file: Mapping[str, Any]) -> Any:
    """Return a file's deletion vector, as Delta has it, by what its table's log says of it."""
    return _added(spark, file).deletionVector()


def _added(spark: SparkSession, file: Mapping[str, Any]) -> Any:
    """Return a file as Delta has it."""
    about = {"modificationTime": 0, "dataChange": True, "partitionValues": {}, **file}
    known = {k: v for k, v in about.items() if k in _OF_FILE and v is not None}
    actions = _jvm(spark).org.apache.spark.sql.delta.actions
    return _module(actions, "Action").fromJson(json.dumps({"add": known}))


def table_bytes(df: DataFrame) -> int:
    """Return how many bytes the files have of the version of a Delta table that is read."""
    return int(_delta_snapshot(df).sizeInBytes())


def _delta_snapshot(df: DataFrame) -> Any:
    plan = query(df).analyzed()
    while class_name(plan) != "LogicalRelation":
        plan = plan.children().head()
    return plan.relation().location().getSnapshot()


def local_folder(spark: SparkSession, path: str) -> str | None:
    """Return a path as the machine's own file system has it; None where another has it."""
    files, place = file_system(spark, path)
    if str(files.getScheme()) != "file":
        return None
    return str(files.makeQualified(place).toUri().getPath())


def accepts_files(spark: SparkSession, path: str) -> bool:
    """Tell whether a Delta table, if there is one, asks nothing of writers but whole files."""
    none = _jvm(spark).scala.Option.empty()
    snapshot = _delta_log(spark, path).update(False, none, none)
    return int(snapshot.version()) < 0 or _asks_nothing(snapshot)


def begun(spark: SparkSession, path: str) -> Any:
    """Begin a transaction of Delta's; None where the table asks more of its writers meanwhile."""
    transaction = _delta_log(spark, path).startTransaction()
    new = int(transaction.readVersion()) < 0
    return transaction if new or _asks_nothing(transaction) else None


def version_of(transaction: Any) -> int:
    """Return the version that a transaction read; -1 where there is no table."""
    return int(transaction.readVersion())


def columns_of(transaction: Any) -> set[str]:
    """Return the names of the columns of the table that a transaction read."""
    return {*transaction.metadata().schema().fieldNames()}


def _asks_nothing(table: Any) -> bool:
    about = json.loads(table.metadata().json())["metaData"]
    protocol = json.loads(table.protocol().json())["protocol"]
    features = {*protocol.get("readerFeatures", ()), *protocol.get("writerFeatures", ())}
    return (
        not about["partitionColumns"]
        and about["configuration"].keys() <= _OF_NO_ROW
        and features <= _FEATURES_OF_NO_ROW
        and "delta." not in about["schemaString"]
    )


def commit_files(
    spark: SparkSession,
    transaction: Any,
    schema: str,
    files: Sequence[Mapping[str, Any]],
    metadata: str,
    rows: int,
    *,
    replaces: bool,
    writer: tuple[str, int] | None = None,
    properties: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str]:
    """Add files to a Delta table, or to one that there will be; return its version and its id.

    Parameters
    ----------
    spark, transaction
        The session, and what :func:`begun` returned.
    schema
        The table's columns, as JSON.
    files
        What its log is going to say of the files.
    metadata
        What the commit says of itself.
    rows
        How many rows the files have.
    replaces
        Whether these replace the table's rows.
    writer
        A writer's name and the number of its commit, where no commit of anybody else's may be
        between the table that it read and this.
    properties
        Those of a table that isn't there yet.
    """
    java = _jvm(spark)
    delta, now = java.org.apache.spark.sql.delta, int(time.time() * 1000)
    new = int(transaction.readVersion()) < 0
    about: dict[str, Any] = {
        "id": str(uuid4()), "createdTime": now, "partitionColumns": [],
        "configuration": dict(properties), "schemaString": "{}",
        "format": {"provider": "parquet", "options": {}},
    } if new else json.loads(transaction.metadata().json())["metaData"]  # fmt: skip
    read_action = _module(delta.actions, "Action").fromJson
    other = json.loads(about["schemaString"]) != json.loads(schema)
    if new or (replaces and other):
        changed = read_action(json.dumps({"metaData": {**about, "schemaString": schema}}))
        transaction.updateMetadata(changed, False)
    actions = java.java.util.ArrayList()
    if replaces and not new:
        for file in items(transaction.filterFiles().iterator()):
            actions.add(file.removeWithTimestamp(now, True))
    for each in files:
        actions.add(read_action(json.dumps({"add": each})))
    if writer is not None:
        transaction.readWholeTable()
        name, number = writer
        about_writer = {"appId": name, "version": number, "lastUpdated": now}
        actions.add(read_action(json.dumps({"txn": about_writer})))
    numbers = {
        "numFiles": len(files),
        "numOutputRows": rows,
        "numOutputBytes": sum(each["size"] for each in files),
    }
    python = java.org.apache.spark.api.python.PythonUtils
    transaction.registerSQLMetrics(
        spark._jsparkSession, python.toScalaMap(_metrics(spark, numbers))
    )
    what = _write_operation(spark, metadata, replaces=replaces)
    return int(transaction.commit(python.toSeq(actions), what)), str(transaction.metadata().id())


def _write_operation(spark: SparkSession, metadata: str, *, replaces: bool) -> Any:
    """Return what the log calls a write by Spark, for it is one."""
    java = _jvm(spark)
    mode, option = java.org.apache.spark.sql.SaveMode, java.scala.Option
    write = _module(java.org.apache.spark.sql.delta, "DeltaOperations$Write")
    others = (getattr(write, f"apply$default${i}")() for i in range(5, 10))
    return write.apply(
        mode.Overwrite if replaces else mode.Append, option.empty(), option.empty(),
        option.apply(metadata), *others,
    )  # fmt: skip


def _metrics(spark: SparkSession, numbers: Mapping[str, int]) -> Any:
    """Return numbers as Spark counts them."""
    java = _jvm(spark)
    of = _module(java.org.apache.spark.sql.execution.metric, "SQLMetrics")
    metrics = java.java.util.HashMap()
    for name, number in numbers.items():
        metric = of.createMetric(spark._jsparkSession.sparkContext(), name)
        metric.set(number)
        metrics.put(name, metric)
    return metrics


def _delta_log(spark: SparkSession, path: str) -> Any:
    return _module(_jvm(spark).org.apache.spark.sql.delta, "DeltaLog").forTable(
        spark._jsparkSession, path
    )


def _module(package: Any, name: str) -> Any:
    """Return one of Scala's objects."""
    return getattr(getattr(package, f"{name}$"), "MODULE$")


def sha256(spark: SparkSession, path: str) -> str:
    """Hash a file of any length."""
    files, place = file_system(spark, path)
    with closing(files.open(place)) as stream:
        return str(_jvm(spark).org.apache.commons.codec.digest.DigestUtils.sha256Hex(stream))


def parquet_schema(spark: SparkSession, url: str) -> str:
    """Return the schema in a Parquet file's footer, as a text."""
    jvm = _jvm(spark)
    file = jvm.org.apache.parquet.hadoop.util.HadoopInputFile.fromPath(
        jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(url)), _state(spark).newHadoopConf()
    )
    with closing(jvm.org.apache.parquet.hadoop.ParquetFileReader.open(file)) as reader:
        return str(reader.getFooter().getFileMetaData().getSchema().toString())


def task_limits(spark: SparkSession) -> tuple[int, int]:
    """Return how many tasks run at a time, and how many bytes of files each reads at most."""
    most = _state(spark).conf().filesMaxPartitionBytes()
    return spark.sparkContext.defaultParallelism, int(most)


def is_one_process(master: str) -> bool:
    """Tell whether tasks run in the driver's own JVM, with its classes.

    Examples
    --------
    >>> is_one_process("local[*]"), is_one_process("local-cluster[2,1,1024]")
    (True, False)
    """
    return master.startswith("local") and "cluster" not in master


def attempts(spark: SparkSession) -> int:
    """Return how often Spark tries a task; once where it is on the driver's machine alone."""
    if not hasattr(spark, "_jsparkSession"):  # Spark Connect's own affair
        return 1
    master = spark.sparkContext.master or ""
    if is_one_process(master):
        return int(master.rstrip("]").partition(",")[2] or 1)
    return int(spark.sparkContext.getConf().get("spark.task.maxFailures", "4") or 4)


@contextmanager
def tagged(spark: SparkSession, tag: str) -> Iterator[None]:
    """Tag the jobs of this thread in a block."""
    spark.sparkContext.addJobTag(tag)
    try:
        yield
    finally:
        spark.sparkContext.removeJobTag(tag)


def cancel(spark: SparkSession, tag: str) -> None:
    """Cancel the jobs of a tag."""
    spark.sparkContext.cancelJobsWithTag(tag)


def running_stages(spark: SparkSession) -> set[int]:
    """Return the stages that run, those of jobs that were cancelled among them."""
    store = spark.sparkContext._jsc.sc().statusStore()
    return {stage.stageId() for stage in items(store.activeStages().iterator())}


def failures_of_tasks(spark: SparkSession, others: Set[int]) -> list[str]:
    """Return what tasks have failed for, of the stages that run and aren't ``others``."""
    v1 = _jvm(spark).org.apache.spark.status.api.v1
    store = spark.sparkContext._jsc.sc().statusStore()
    statuses = _jvm(spark).java.util.ArrayList()
    statuses.add(v1.TaskStatus.FAILED)
    errors = []
    for stage in items(store.activeStages().iterator()):
        if stage.numFailedTasks() and stage.stageId() not in others:
            at = stage.stageId(), stage.attemptId()
            tasks = store.taskList(*at, 0, _FEW, v1.TaskSorting.ID, statuses)
            errors += [task.errorMessage() for task in items(tasks.iterator())]
    return [str(error.get()) for error in errors if error.isDefined()]


def silence(spark: SparkSession) -> None:
    """Stop Spark's log of errors: they come back as exceptions, with a sentence."""
    from pyspark import accumulators  # heavy, as below

    spark.sparkContext.setLogLevel("FATAL")
    # What hears of Java's counts prints a trace where Java is gone; the next call says so, too.
    for server in (accumulators.AccumulatorTCPServer, accumulators.AccumulatorUnixServer):
        setattr(server, "handle_error", _nothing)  # noqa: B010 - mypy lets no method be assigned


def _nothing(*_: Any) -> None:
    pass


def java_runs() -> bool:
    """Tell whether this process has its JVM already, of a session before."""
    from pyspark import SparkContext  # heavy, as below

    return SparkContext._gateway is not None


def submitted_with(java_class: str) -> bool:
    """Tell whether the JVM that spark-submit started has a class."""
    from pyspark import SparkContext  # heavy, and sessions are opened by modules without Spark

    SparkContext._ensure_initialized()
    jvm = SparkContext._jvm
    assert jvm is not None  # the gateway that spark-submit opened
    try:
        jvm.org.apache.spark.util.Utils.getContextOrSparkClassLoader().loadClass(java_class)
    except Exception:
        return False
    return True


def _state(spark: SparkSession) -> Any:
    return spark._jsparkSession.sessionState()


def _jvm(spark: SparkSession) -> Any:
    assert spark._jvm is not None  # a classic session
    return spark._jvm
