"""A user's module as it is imported: it speaks for itself, and can't end or change the process.

What no Python code can hold off, such as a crash in C, still ends the job, though never as a
success.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn


class LeavingError(BaseException):
    """A module is about to end the process, past everyone who may catch it."""


class ClosedError(Exception):
    """A module closed what the process writes to."""


_STREAMS = ("standard input", "standard output", "standard error")
_LEAVING = ("_exit", "execv", "execve", "abort")  # of os


@contextmanager
def contained(module: str) -> Iterator[None]:
    """Import a module in this block: where the process is and what it is called stay its own.

    What the module prints goes to standard error, for results are on standard output.

    Parameters
    ----------
    module
        What the module's own argument parser calls the program.

    Raises
    ------
    LeavingError
        If the module calls ``os._exit`` or one of its kind.
    ClosedError
        If it closed a standard stream, which is open again afterwards.
    """
    folder, arguments, out, err = _folder(), sys.argv, sys.stdout, sys.stderr
    own = {name: getattr(os, name) for name in _LEAVING if hasattr(os, name)}
    spare = {fd: os.dup(fd) for fd in range(3) if _is_open(fd)}
    sys.argv = [module]
    for name in own:
        setattr(os, name, _refuse(name))
    try:
        with contextlib.redirect_stdout(err):
            yield
    finally:
        for name, function in own.items():
            setattr(os, name, function)
        sys.argv, sys.stdout, sys.stderr = arguments, out, err
        if folder is not None:
            os.chdir(folder)
        closed = _opened_again(spare)
    if closed:
        raise ClosedError(f"it closed {_STREAMS[closed[0]]}")


def imported(name: str) -> ModuleType:
    """Import a module by its name, contained; raises as :func:`contained`, or as importing does."""
    if name in sys.modules:
        return importlib.import_module(name)
    with contained(name):
        return importlib.import_module(name)


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **_: Any) -> NoReturn:
        raise LeavingError(f"it called os.{name}({', '.join(map(repr, args[:1]))})")

    return refuse


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _opened_again(spare: dict[int, int]) -> list[int]:
    """Open what was closed of the standard streams, and return which were.

    Parameters
    ----------
    spare
        A second descriptor for each of those that were open.
    """
    closed = [fd for fd in spare if not _is_open(fd)]
    for fd, again in spare.items():
        if fd in closed:
            os.dup2(again, fd)
        os.close(again)
    for fd, name in enumerate(("stdout", "stderr"), 1):
        if fd in spare and getattr(getattr(sys, name), "closed", False):
            closed.append(fd)
            anew = open(fd, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
            setattr(sys, name, anew)
    return closed
