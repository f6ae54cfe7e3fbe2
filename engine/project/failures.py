"""What a job that fails says: what failed, on which table, the root cause, what to do.

One place for all jobs, so that nobody has to read a trace of Python or Java: ``--debug`` shows it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine.errors import (
    DatasetError,
    EngineError,
    FaultBudgetError,
    PredicateFaultError,
    SliceFaultError,
    StaleError,
    TableError,
    TrainingError,
    UnreadableValueError,
    VerifyError,
    WorkerError,
)
from engine.redaction import readable

DONE, VERDICT, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130
STATUSES = """exit status:
  0    done, also where nothing changed
  1    the job ran, and says no: rows, labels or tables are not what they must be, functions fail
       on rows or more than max_error_rate allows, compiled slices differ from Python
  2    the job could not run: settings, files, Java, memory, disk, a network, another writer
  130  interrupted"""
GATE_STATUSES = """exit status:
  0    the gate passes
  1    it fails: a rule of level fail doesn't hold, or names what isn't there
  2    it could not be judged: settings, files, Java, tables, no evaluation of what they hold now
  3    it is inconclusive, where --strict or gate.strict asks for that
  130  interrupted"""
_VERDICTS = (
    DatasetError, FaultBudgetError, PredicateFaultError, SliceFaultError, StaleError, TableError,
    TrainingError, UnreadableValueError, VerifyError, WorkerError,
)  # fmt: skip
_log = logging.getLogger("engine")


@dataclass(frozen=True)
class Failure:
    """How a job ended.

    Attributes
    ----------
    sentence
        What its user reads.
    status
        The exit status.
    """

    sentence: str
    status: int


@dataclass(frozen=True)
class _Kind:
    """A cause that has words of its own: what errors say of it, what it is, what to do."""

    signs: re.Pattern[str]
    what: str
    todo: str


_FREE = "free space where the tables, SPARK_LOCAL_DIRS and the temporary folder are, run it again"
_MEMORY = "raise spark.driver.memory under spark: in the project file, run it again"
_COPY = "restore the file from a copy or make the table again"
_KINDS = tuple(
    _Kind(re.compile(signs), what, todo)
    for signs, what, todo in (
        (r"No space left on device|Disk quota exceeded", "the disk is full", _FREE),
        (r"File too large", "a file is larger than this system or user may write", _FREE),
        (
            r"Read-only file system|Mkdirs failed to create|Parent path is not a directory"
            r"|Not a directory|NotADirectoryError|ParentNotDirectoryException",
            "nothing can be written there",
            "name another place",
        ),
        (
            r"Class \S+ not found|No FileSystem for scheme|UnsupportedFileSystemException"
            r"|Relative path in absolute URI|Wrong FS",
            "Spark can't reach such a place",
            "name a path, or a table of a catalog, or add the JARs of its file system "
            "(spark.jars.packages)",
        ),
        (
            r"OutOfMemoryError: ([\w ]+)|MemoryError|Cannot allocate memory|OutOfMemoryException",
            "memory ran out",
            _MEMORY,
        ),
        (
            r"Py4JNetworkError|Answer from Java side is empty|ConnectionRefusedError"
            r"|Connection refused|ConnectionResetError|Broken pipe.*py4j|SparkContext was shut down"
            r"|Cannot call methods on a stopped SparkContext|Java gateway process exited"
            r"|Error while (?:obtaining|sending)|RemoteDisconnected",
            "Spark's Java process is gone: it was killed, ran out of memory, or could not start",
            "see whether the machine has memory left, run it again",
        ),
        (
            r"(?:ConcurrentAppend|ConcurrentDeleteRead|ConcurrentDeleteDelete|ConcurrentWrite"
            r"|ConcurrentTransaction|MetadataChanged|ProtocolChanged|ConcurrentModification)"
            r"Exception"
            r"|DELTA_(?:CONCURRENT_\w+|METADATA_CHANGED|PROTOCOL_CHANGED)",
            "somebody else wrote the table meanwhile",
            "run it again",
        ),
        (
            r"DELTA_(?:VERSIONS_NOT_CONTIGUOUS|TRUNCATED_TRANSACTION_LOG|LOG_FILE_NOT_FOUND\w*"
            r"|STATE_RECOVER_ERROR|MISSING_TRANSACTION_LOG|LOG_ALREADY_EXISTS|CHECKPOINT_\w+)"
            r"|Versions? .{0,80}(?:is|are) not contiguous|DeltaLogFileNotFound",
            "the table's Delta log lacks an entry or can't be read",
            "restore _delta_log from a copy, or remove the table and make it again",
        ),
        (
            r"DELTA_(?:INVALID_PROTOCOL_VERSION|UNSUPPORTED_FEATURES_FOR_READ"
            r"|UNSUPPORTED_FEATURES_FOR_WRITE|READ_FEATURE_PROTOCOL_REQUIRES_WRITE)",
            "a newer version of Delta wrote the table",
            "use that version here",
        ),
        (
            r"FAILED_READ_FILE\.FILE_NOT_EXIST|DELTA_FILE_NOT_FOUND\w*|FileNotFoundException",
            "a file that the table names is not there",
            "VACUUM or somebody removed it: " + _COPY,
        ),
        (
            r"is not a Parquet file|CANNOT_READ_FILE_FOOTER|FAILED_READ_FILE|Parquet magic bytes"
            r"|ParquetDecodingException|Could not read (?:page|footer)|[Cc]orrupt"
            r"|can not read class org\.apache\.parquet",
            "a file of the table can't be read, for it is damaged or cut short",
            _COPY,
        ),
        (
            r"Permission denied|AccessControlException|AccessDenied|EACCES|Operation not permitted",
            "this user may not read or write it",
            "give the right to, or name another place",
        ),
        (
            r"Python worker (?:exited unexpectedly|failed to connect)|ExecutorLostFailure"
            r"|Remote RPC client disassociated|Worker died",
            "a worker process died: it was killed, ran out of memory, or its code ended it",
            "run it again with more memory, or with one slice at a time to see whose code it is",
        ),
        (
            r"ModuleNotFoundError: No module named '([\w.]+)'",
            "Python lacks a module",
            "install it, or see that no other package of that name comes first on the path",
        ),
        (r"UnknownHostException|Name or service not known", "no host has this name", "correct it"),
        (r"RecursionError", "something is nested too deeply", "write it with fewer levels"),
    )
)  # fmt: skip


def ended(job: Callable[[], int | None], debug: bool) -> int:
    """Run a job and return its exit status; what stops it becomes a sentence on stderr.

    Parameters
    ----------
    job
        The work, which may return a status of its own.
    debug
        Whether to show traces.
    """
    try:
        status = job()
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaseException as error:
        if debug:
            _log.exception("the job failed")
        failure = failure_of(error)
        print(f"error: {failure.sentence}", file=sys.stderr)
        return failure.status
    return DONE if status is None else status


def _left(error: BaseException) -> str:
    """Say that code of the user's own tried to end the job, and where: none of ours does."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        "a module, a slicing function or a metric tried to end the job by "
        f"{type(error).__name__} ({os.path.basename(place.filename)}:{place.lineno}); take that "
        "out of it"
    )


def failure_of(error: BaseException) -> Failure:
    """Return what is words of an error, and the exit status.

    Examples
    --------
    >>> failure_of(TableError("t has no rows"))
    Failure(sentence='t has no rows', status=1)
    >>> failure_of(OSError(28, "No space left on device", "/x")).sentence
    "the disk is full (No space left on device: '/x'); free space where the tables, \
SPARK_LOCAL_DIRS and the temporary folder are, run it again"
    """
    if not isinstance(error, Exception):
        return Failure(readable(_left(error)), COULD_NOT_RUN)
    if isinstance(error, EngineError):
        return Failure(
            readable(str(error)), VERDICT if isinstance(error, _VERDICTS) else COULD_NOT_RUN
        )
    words = "\n".join(_texts(error))
    cause = _root_cause(error, words)
    where = _place(error, words, cause)
    kind = next((kind for kind in _KINDS if kind.signs.search(words)), None)
    if kind is not None:
        return Failure(readable(f"{where}{kind.what} ({cause}); {kind.todo}"), COULD_NOT_RUN)
    who = "Spark failed" if _is_sparks(error) else f"unexpected {type(error).__name__}"
    return Failure(readable(f"{where}{who}: {cause} (--debug shows all of it)"), COULD_NOT_RUN)


def _is_sparks(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in {"py4j", "pyspark", "delta"}


def _texts(error: BaseException | None) -> Iterator[str]:
    """Yield what an error and its causes say, each with its type's name."""
    known: set[int] = set()
    while error is not None and id(error) not in known:
        known.add(id(error))
        yield f"{type(error).__name__}: {_text(error)}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _text(error: BaseException) -> str:
    """Return what an error says; nothing where saying it fails: a dead JVM's error asks the JVM."""
    try:
        return str(error).strip()
    except Exception:
        return ""


def _place(error: BaseException, words: str, cause: str) -> str:
    """Say what was being done: what was noted of it, or which file Spark names beside the cause."""
    file = _FILE.search(words)
    notes = [*getattr(error, "__notes__", ())[:1]]
    if file and file["file"] not in cause:
        notes.append(f"read of {file['file']}")
    return f"{', '.join(notes)} failed: " if notes else ""


_CAUSED = re.compile(r"^\s*Caused by: (?P<cause>.+)$", re.MULTILINE)
_IN_PYTHON = re.compile(r"^(?P<cause>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*)$", re.M)
_OF_A_TASK = re.compile(r"\(TID \d+\) \([^)]*\): (?P<cause>.+)$", re.MULTILINE)
_JAVA_CLASS = re.compile(r"^(?:[a-z_]\w*\.)+(?P<name>[A-Z]\w*(?:\$\w+)*)(?:: |$)")
_NOTHING = ("An error occurred while calling", "Job aborted", "Writing job aborted", "Task failed")
_FILE = re.compile(r"while reading file (?P<file>[a-z0-9]+:\S.{0,400}?\.parquet)")
_LONGEST = 500


def _root_cause(error: BaseException, words: str) -> str:
    """Return the root cause's own sentence, without its class where that is Java's."""
    if isinstance(error, OSError) and error.strerror and not _is_sparks(error):
        named = f": {error.filename!r}" if error.filename else ""
        return f"{error.strerror}{named}"
    text = _text(error)
    lines = [match["cause"] for match in _CAUSED.finditer(text)]
    if "PythonException: Traceback" in text:
        lines += [match["cause"] for match in _IN_PYTHON.finditer(text)]
    lines = [*lines[::-1], *(m["cause"] for m in _OF_A_TASK.finditer(text)), *text.splitlines()]
    plain = (_without_class(line.strip()) for line in lines)
    sentences = (line for line in plain if line and not line.startswith(_NOTHING))
    first = next(sentences, "") or words.splitlines()[-1].rstrip(": ")
    return first if len(first) <= _LONGEST else f"{first[: _LONGEST - 3]}..."


def _without_class(line: str) -> str:
    """Return a line of Java's or Spark's without the class that begins it, and what ends it.

    Examples
    --------
    >>> _without_class("java.io.IOException: No space left on device")
    'No space left on device'
    >>> _without_class("[PATH_NOT_FOUND] Path does not exist: x. SQLSTATE: 42K03")
    '[PATH_NOT_FOUND] Path does not exist: x.'
    """
    if line.startswith("at ") or line.startswith(": "):
        line = line.removeprefix(": ") if line.startswith(": ") else ""
    match = _JAVA_CLASS.match(line)
    rest = line[match.end() :] if match else line
    text = rest or (match["name"] if match else "")
    return text.partition(" SQLSTATE")[0].strip()
