"""What a worker notes of the slice that it runs, and the end of one that takes too much.

Code that holds Python's lock, a crash and ``os._exit`` leave no time for a last word. So the word
is written before: the slice and the rows, into memory that is also the file which Spark reads when
a worker dies. On the driver none of this is on.
"""

from __future__ import annotations

import faulthandler
import functools
import json
import mmap
import os
import stat
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

try:
    import resource
except ImportError:  # Windows has no limits to set
    resource = None  # type: ignore[assignment]

MARK = "@slice-engine "
COMPILED = ""  # in place of a slice, where what runs is many slices' compiled form
_SIZE, _ID = 8192, 64  # bytes of a note, and of its slice
_FOLDER = "PYTHON_FAULTHANDLER_DIR"  # where Spark looks for the last word of a worker
_MEGABYTE = 1 << 20
_exit = os._exit


@dataclass(frozen=True)
class Limits:
    """What a slicing function may take of a worker.

    Attributes
    ----------
    seconds
        On one batch of rows; None for any time.
    memory_mb
        More than the worker had without it, in 2**20 bytes; None for any memory.
    """

    seconds: float | None = None
    memory_mb: int | None = None


NO_LIMITS = Limits()


@dataclass
class Task:
    """One task's way through its rows: every batch is noted, and every slice within it.

    Parameters
    ----------
    run
        Names the run: what slices took of a worker's memory counts within one.
    limits
        What a slice may take.
    rows
        The task's rows before the next batch.
    """

    run: str
    limits: Limits
    rows: int = 0

    @contextmanager
    def batch(self, n: int, partition: int, **more: Any) -> Iterator[None]:
        """Watch a batch of ``n`` rows; ``more`` is noted beside it."""
        about = {"partition": partition, "start": self.rows, "rows": n, **more}
        self.rows += n
        with watched(self.limits, about, self.run):
            yield


def enter(slice_id: str, compiled: bool = False) -> None:
    """Note that a slice runs from now on: its function, or what is compiled of it."""
    if _now is not None:
        _now.enter(slice_id, compiled)


def memory_limit() -> int | None:
    """Return how many 2**20 bytes the slice that runs may take; None where that isn't limited."""
    return None if _now is None else _now.limits.memory_mb


@contextmanager
def watched(limits: Limits, about: Mapping[str, Any], run: str = "") -> Iterator[None]:
    """Watch the slices that are entered in this block.

    Parameters
    ----------
    limits
        What each may take.
    about
        What is noted beside the slice.
    run
        The run.
    """
    global _now  # noqa: PLW0603 - a worker runs one batch at a time
    outer, _now = _now, _Watch(limits, about, run)
    try:
        yield
        _now.leave()
    except MemoryError:  # where nobody holds it for a row's fault
        _now.no_memory()
        raise
    finally:
        _now.close()
        _now = outer


class _Note:
    """A worker's file that Spark reads when the worker dies; it is written like memory."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self.fd, _SIZE)
        self.text = mmap.mmap(self.fd, _SIZE)
        self.file = os.fstat(self.fd).st_ino
        self._ids: dict[str, bytes] = {}
        faulthandler.enable(self.fd)  # what a crash says comes after the note

    def is_of(self, path: str) -> bool:
        """Tell whether this is the file at a path: Spark makes one for each task."""
        with suppress(OSError):
            there = os.stat(path)
            return (there.st_ino, there.st_size >= _SIZE) == (self.file, True)
        return False

    def slice(self, slice_id: str) -> None:
        """Note which slice runs."""
        text = self._ids.get(slice_id)
        if text is None:
            text = self._ids[slice_id] = (MARK + slice_id.ljust(_ID)).encode()
        self.text[: len(text)] = text

    def about(self, facts: Mapping[str, Any]) -> None:
        """Note what is known beside the slice."""
        start = len(MARK) + _ID
        text = json.dumps(facts)[: _SIZE - start - 1].encode()
        self.text[start:] = text.ljust(_SIZE - start - 1) + b"\n"


def _worker_note() -> _Note | None:
    """Return this worker's note; None where Spark doesn't look for one."""
    global _note
    folder = os.environ.get(_FOLDER)
    path = None if folder is None else os.path.join(folder, str(os.getpid()))
    if path is None:
        return None
    if _note is None or not _note.is_of(path):
        old, _note = _note, _Note(path)
        if old is not None:
            with suppress(OSError):
                old.text.close()
                os.close(old.fd)
    return _note


@dataclass
class _Watch:
    """The slice that runs now, since when, and what it took."""

    limits: Limits
    facts: Mapping[str, Any]
    run: str
    slice_id: str | None = None
    compiled: bool = True
    armed: float | None = None
    resident: int = 0
    before: tuple[int, int] | None = None
    process: int = field(default_factory=os.getpid)

    def __post_init__(self) -> None:
        self.note, self.sockets = _worker_note(), _sockets()
        os._exit = _noted_exit
        limits = {"seconds": self.limits.seconds, "memory_mb": self.limits.memory_mb}
        self.facts = {**self.facts, **limits}
        if self.note is not None:
            self.note.slice(COMPILED)
            self.note.about(self.facts)
        self._limit_memory()

    def enter(self, slice_id: str, compiled: bool) -> None:
        """Begin a slice's time: the slice before it has ended."""
        if slice_id == self.slice_id and compiled == self.compiled:
            return
        self.leave()
        self.slice_id, self.compiled = slice_id, compiled
        if self.note is not None:
            self.note.slice(slice_id)
        self._arm()

    def leave(self) -> None:
        """Look at what the function that ran has left behind."""
        if self.compiled:
            return
        for fd in self.sockets:
            if not _is_open(fd):
                self.end("it closed a descriptor that is not its own: the way to Spark is gone")
        if self.limits.memory_mb is not None:
            self._count(self.limits.memory_mb)
        self.compiled = True

    def end(self, cause: str) -> NoReturn:
        """End the worker, and say why."""
        if self.note is not None:
            self.note.about({**self.facts, "cause": cause})
        _exit(1)

    def no_memory(self) -> None:
        """End the worker for the slice that runs, where its memory is limited."""
        if self.before is not None and self.slice_id:
            resource.setrlimit(resource.RLIMIT_DATA, self.before)
            self.end(_MEMORY.format(self.limits.memory_mb))

    def close(self) -> None:
        """Take all limits away."""
        os._exit = _exit
        if self.armed is not None:
            faulthandler.cancel_dump_traceback_later()
        if self.before is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self.before)

    def _arm(self) -> None:
        """Set the time after which the worker ends, unless that was done a moment ago.

        The timer is a thread in C, which needs no lock of Python's; starting one takes longer than
        some slices do, so that one serves several.
        """
        seconds, now = self.limits.seconds, time.monotonic()
        if seconds is None:
            return
        slack = min(seconds / _SLACK, _MOST_SLACK)
        if self.armed is None or now - self.armed > slack:
            to = 2 if self.note is None else self.note.fd
            faulthandler.dump_traceback_later(seconds + slack, exit=True, file=to)
            self.armed = now

    def _limit_memory(self) -> None:
        """Let the system refuse what is beyond the limit: Python raises MemoryError then."""
        if self.limits.memory_mb is None or resource is None:
            return
        with suppress(
            OSError, ValueError, IndexError
        ):  # not on Linux, or a limit is there that is lower
            pages, before = _pages(), resource.getrlimit(resource.RLIMIT_DATA)
            self.resident = pages[_RESIDENT] * _PAGE
            most = pages[_DATA] * _PAGE + self.limits.memory_mb * _MEGABYTE
            if before[0] == resource.RLIM_INFINITY or most < before[0]:
                resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
                self.before = before

    def _count(self, most: int) -> None:
        """Count what a slice left in memory; what it keeps of each batch adds up."""
        now, run = _resident(), _grown.setdefault(self.run, Counter())
        if len(_grown) > 1:
            _grown.popitem(last=False)
        run[str(self.slice_id)] += now - self.resident
        self.resident = now
        if run[str(self.slice_id)] > most * _MEGABYTE:
            self.end(_MEMORY.format(most))


_MEMORY = "it took more than the {:,} MB of limits.memory_mb"
_SLACK = 8  # parts of the limit, by one of which a slice may take longer
_MOST_SLACK = 5.0  # seconds
_RESIDENT, _DATA = 1, 5  # where the system's line on a process has its pages
_PAGE = mmap.PAGESIZE
_now: _Watch | None = None
_note: _Note | None = None
_grown: OrderedDict[str, Counter[str]] = OrderedDict()  # of the last run, bytes by slice


def _noted_exit(status: int) -> NoReturn:
    if _now is not None and _now.process == os.getpid():  # a function's own child may leave
        _now.end(f"it called os._exit({status!r})")
    _exit(status)


def _pages() -> list[int]:
    return [int(n) for n in os.pread(_pages_file(os.getpid()), 200, 0).split()]


@functools.lru_cache(maxsize=1)
def _pages_file(_: int) -> int:
    """Return a process's file of its pages, which stays open: opening it takes long."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def _resident() -> int:
    """Return the bytes of this process that are in memory."""
    try:
        return _pages()[_RESIDENT] * _PAGE
    except (OSError, ValueError, IndexError):  # not on Linux, or a function closed the file
        return 0


def _is_open(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


@functools.cache
def _sockets() -> Sequence[int]:
    """Return the descriptors of this worker's way to Spark: those that are one socket."""
    if sys.platform != "linux":
        return ()
    fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
    sockets = {fd: os.fstat(fd).st_ino for fd in fds if _is_open(fd)}
    return [fd for fd, file in sockets.items() if [*sockets.values()].count(file) > 1]
