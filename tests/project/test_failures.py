"""A job that fails: what failed, the root cause's own sentence, what to do, the exit status."""

# ruff: noqa: E501 - what Spark says is long
from __future__ import annotations

import logging

import pytest

from engine.errors import (
    ArgumentError,
    ConfigError,
    FaultBudgetError,
    MeanwhileError,
    PredicateFaultError,
    SetupError,
    SliceError,
    SliceFaultError,
    StaleError,
    TableError,
    VerifyError,
    WorkerError,
    during,
)
from engine.project.failures import ended, failure_of

JAVA = "py4j.protocol.Py4JJavaError", "An error occurred while calling o411.save.\n: "
STACK = "\n\tat org.apache.spark.sql.X.y(X.scala:1)\n\tat java.base/java.lang.Thread.run(T.java:1)"


def spark_error(text: str) -> Exception:
    kind = type("Py4JJavaError", (Exception,), {"__module__": "py4j.protocol"})
    return kind(text)


TASK = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed 1 "
    "times, most recent failure: Lost task 0.0 in stage 1.0 (TID 1) (127.0.0.1 executor driver): "
)
FREE = "free space where the tables, SPARK_LOCAL_DIRS and the temporary folder are, run it again"
GONE = "Spark's Java process is gone: it was killed, ran out of memory, or could not start"
AGAIN = "see whether the machine has memory left, run it again"
COPY = "restore the file from a copy or make the table again"
CASES = [
    (
        f"{JAVA[1]}{TASK}java.io.IOException: No space left on device{STACK}\nDriver stacktrace:",
        f"the disk is full (No space left on device); {FREE}",
    ),
    (
        f"{JAVA[1]}org.apache.spark.SparkException: Job aborted.{STACK}\nCaused by: {TASK}x{STACK}\n"
        f"Caused by: java.io.IOException: Disk quota exceeded{STACK}",
        f"the disk is full (Disk quota exceeded); {FREE}",
    ),
    (
        f"{JAVA[1]}java.io.IOException: File too large{STACK}",
        f"a file is larger than this system or user may write (File too large); {FREE}",
    ),
    (
        f"{JAVA[1]}java.nio.file.FileSystemException: /x/out: Read-only file system{STACK}",
        "nothing can be written there (/x/out: Read-only file system); name another place",
    ),
    (
        f"{JAVA[1]}java.lang.OutOfMemoryError: Java heap space{STACK}",
        "memory ran out (Java heap space); raise spark.driver.memory under spark: in the project "
        "file, run it again",
    ),
    ("Answer from Java side is empty", f"{GONE} (Answer from Java side is empty); {AGAIN}"),
    (
        f"{JAVA[1]}io.delta.exceptions.ConcurrentAppendException: [DELTA_CONCURRENT_APPEND] Files "
        f"were added by a concurrent update.{STACK}",
        "somebody else wrote the table meanwhile ([DELTA_CONCURRENT_APPEND] Files were added by a "
        "concurrent update.); run it again",
    ),
    (
        f"{JAVA[1]}{TASK}org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered "
        f"error while reading file file:/x.{STACK}\nCaused by: java.lang.RuntimeException: file:/x is "
        f"not a Parquet file. Expected magic number at tail{STACK}",
        "a file of the table can't be read, for it is damaged or cut short (file:/x is not a Parquet "
        f"file. Expected magic number at tail); {COPY}",
    ),
    (
        f"{JAVA[1]}{TASK}org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered "
        f"error while reading file file:/x y/p.snappy.parquet. {STACK}\nCaused by: "
        f"java.lang.RuntimeException: corrupted file: the footer index is not within{STACK}",
        "read of file:/x y/p.snappy.parquet failed: a file of the table can't be read, for it is "
        f"damaged or cut short (corrupted file: the footer index is not within); {COPY}",
    ),
    (
        f"{JAVA[1]}{TASK}java.io.FileNotFoundException: File file:/x does not exist{STACK}",
        "a file that the table names is not there (File file:/x does not exist); VACUUM or somebody "
        f"removed it: {COPY}",
    ),
    (
        "[DELTA_VERSIONS_NOT_CONTIGUOUS] Versions (0, 2) are not contiguous. SQLSTATE: KD00C",
        "the table's Delta log lacks an entry or can't be read ([DELTA_VERSIONS_NOT_CONTIGUOUS] "
        "Versions (0, 2) are not contiguous.); restore _delta_log from a copy, or remove the table "
        "and make it again",
    ),
    (
        f"{JAVA[1]}{TASK}org.apache.spark.api.python.PythonException: Traceback (most recent call "
        'last):\n  File "/x.py", line 1, in f\n    g()\nValueError: no such word\n' + STACK,
        "Spark failed: ValueError: no such word (--debug shows all of it)",
    ),
    (
        f"{JAVA[1]}{TASK}org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)"
        f"{STACK}\nCaused by: java.io.EOFException{STACK}",
        "a worker process died: it was killed, ran out of memory, or its code ended it "
        "(EOFException); run it again with more memory, or with one slice at a time to see whose "
        "code it is",
    ),
    (
        "[PATH_NOT_FOUND] Path does not exist: file:/x. SQLSTATE: 42K03\n== SQL ==\nx",
        "Spark failed: [PATH_NOT_FOUND] Path does not exist: file:/x. (--debug shows all of it)",
    ),
    (f"{JAVA[1]}java.util.NoSuchElementException: None.get{STACK}",
     "Spark failed: None.get (--debug shows all of it)"),
    (f"{JAVA[1]}java.lang.UnsupportedOperationException{STACK}",
     "Spark failed: UnsupportedOperationException (--debug shows all of it)"),
    ("", "Spark failed: Py4JJavaError (--debug shows all of it)"),
    (
        f"{JAVA[1]}java.sql.SQLException: jdbc:postgresql://ann:hunter2@db/x?password=hunter2 is down"
        f"{STACK}",
        "Spark failed: jdbc:postgresql://***@db/x?password=*** is down (--debug shows all of it)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), CASES)
def test_what_spark_says_last_is_said_in_a_sentence(text, sentence):
    failure = failure_of(spark_error(text))
    assert failure.sentence == sentence
    assert failure.status == 2
    for sign in ("\n", "\tat ", "calling o", "SQLSTATE", "hunter2"):
        assert sign not in failure.sentence


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ConnectionRefusedError(111, "Connection refused"),
            f"{GONE} (Connection refused); {AGAIN}",
        ),
        (
            PermissionError(13, "Permission denied", "/x/report.html"),
            "this user may not read or write it (Permission denied: '/x/report.html'); give the right "
            "to, or name another place",
        ),
        (
            OSError(30, "Read-only file system", "/x"),
            "nothing can be written there (Read-only file system: '/x'); name another place",
        ),
        (
            ModuleNotFoundError("No module named 'torch'"),
            "Python lacks a module (No module named 'torch'); install it, or see that no other "
            "package of that name comes first on the path",
        ),
        (
            MemoryError(),
            "memory ran out (MemoryError); raise spark.driver.memory under spark: in the project "
            "file, run it again",
        ),
        (KeyError("x"), "unexpected KeyError: 'x' (--debug shows all of it)"),
        (ValueError("a\nb\n\x1b[2J"), "unexpected ValueError: a (--debug shows all of it)"),
    ],
    ids=repr,
)
def test_what_python_says_is_said_in_a_sentence(error, sentence):
    assert failure_of(error).sentence == sentence
    assert failure_of(error).status == 2


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_that_cannot_be_said():
    assert failure_of(Unspeakable()).sentence == (
        "unexpected Unspeakable: Unspeakable (--debug shows all of it)"
    )


def test_what_failed_is_named():
    def fails():
        with during("write of out/masks"), during("first write of out/masks"):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left") as raised:
        fails()
    assert failure_of(raised.value).sentence == (
        f"first write of out/masks failed: the disk is full (No space left on device); {FREE}"
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TableError("t"), 1),
        (StaleError("t"), 1),
        (FaultBudgetError("t"), 1),
        (VerifyError("t"), 1),
        (PredicateFaultError("t"), 1),
        (SliceFaultError("s", "id=1", "", "ValueError"), 1),
        (SliceError("t"), 2),
        (ConfigError("f", "t"), 2),
        (SetupError("t"), 2),
        (MeanwhileError("t", True), 2),
        (ArgumentError("f", "x", "a text", 1), 2),
    ],
    ids=repr,
)
def test_a_verdict_is_1_and_what_could_not_run_is_2(error, status):
    assert failure_of(error).status == status
    assert failure_of(error).sentence == str(error)


def test_how_a_job_ends(capsys, caplog):
    def raises(error):
        def job():
            raise error

        return job

    assert ended(lambda: None, debug=False) == 0
    assert ended(raises(TableError("t has no rows")), debug=False) == 1
    assert ended(raises(KeyboardInterrupt()), debug=False) == 130
    assert capsys.readouterr().err == "error: t has no rows\ninterrupted\n"
    assert not caplog.records
    with caplog.at_level(logging.ERROR):
        assert ended(raises(ZeroDivisionError("by zero")), debug=True) == 2
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_code_of_the_users_own_that_ends_the_job_is_no_success(capsys, kind):
    def job():
        raise kind(0)

    assert ended(job, debug=False) == 2
    line = job.__code__.co_firstlineno + 1
    assert capsys.readouterr().err == (
        f"error: a module, a slicing function or a metric tried to end the job by {kind.__name__} "
        f"(test_failures.py:{line}); take that out of it\n"
    )


def test_a_worker_that_a_slice_ended_is_a_verdict():
    assert failure_of(WorkerError("slice 's' failed")).status == 1
