"""Which process a run is, and whether one on this machine still lives."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_STARTED_AT = 19  # of the fields of /proc/PID/stat after the command, when the process started


@dataclass(frozen=True)
class Process:
    """A process as another one may meet it.

    Attributes
    ----------
    machine
        A hash that no two machines, nor two sets of process numbers on one, share.
    number
        The process' number there.
    started
        When it started, in the machine's own count; empty where that isn't known.
    shown
        Whose it is and where, for people.
    """

    machine: str
    number: int
    started: str
    shown: str

    @property
    def text(self) -> str:
        """The process as one text.

        Examples
        --------
        >>> Process("8d2f", 12, "7", "ann@box").text
        '8d2f/12/7'
        """
        return f"{self.machine}/{self.number}/{self.started}"


def this_process() -> Process:
    """Return the process that calls."""
    number = os.getpid()
    shown = f"{_user()}@{platform.node()}, process {number}"
    return Process(_machine(), number, _started(number) or "", shown)


def is_gone(process: str) -> bool:
    """Tell whether a process was on this machine and isn't any more.

    Parameters
    ----------
    process
        ``Process.text``.

    Examples
    --------
    >>> is_gone(this_process().text)
    False
    >>> is_gone("another machine/1/0")
    False
    """
    machine, number, started = process.rsplit("/", 2)
    if machine != _machine():
        return False
    now = _started(int(number))
    return now is None or bool(started and now != started)


def _started(number: int) -> str | None:
    """Return when a process started; empty where that isn't known, None where there is none."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        return "" if _answers(number) else None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state == "Z" else fields[_STARTED_AT - 1]


def _answers(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@cache
def _machine() -> str:
    parts = [platform.node(), str(uuid.getnode())]
    for name, read in (
        ("/proc/sys/kernel/random/boot_id", lambda p: Path(p).read_text()),
        ("/proc/self/ns/pid", os.readlink),
    ):
        with suppress(OSError):
            parts.append(str(read(name)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may know no name for its user
        return "somebody"
