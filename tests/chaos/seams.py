"""The calls at which a run can fail or die: reads, writes, statements, changes of files.

``Fault`` counts them; at the n-th it raises or kills its process, before or after its effect.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock


class InjectedError(OSError):
    """The fault that was asked for."""


@dataclass
class Fault:
    """What happens at the n-th call.

    Attributes
    ----------
    n
        Which call; 0 for none, as of a run that only counts.
    after
        Whether the call has its effect first.
    kills
        Whether the process dies, instead of the call failing.
    durable
        Whether calls that change nothing durable are left out.
    calls
        The names of the calls so far.
    """

    n: int = 0
    after: bool = False
    kills: bool = False
    durable: bool = False
    calls: list[str] = field(default_factory=list)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            here = len(self.calls) == self.n
            if here and not self.after:
                self._strike(name)
            result = call(*args, **kwargs)
            if here:
                self._strike(name)
            return result

        return counted

    def _strike(self, name: str) -> None:
        if self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        when = "after" if self.after else "before"
        raise InjectedError(f"injected {when} call {self.n}, {name}")


def _seams() -> list[tuple[Any, str, bool]]:
    """Return whose attribute each seam is, its name, and whether the call changes something."""
    from pyspark.sql import SparkSession

    import engine.classifier.checkpoint
    from engine.storage import delta_log, lease, own_commits
    from engine.storage.place import Place

    return [
        (Place, "save", True),
        (Place, "load", False),
        (SparkSession, "sql", True),
        (delta_log, "file_system", True),
        (own_commits, "commit_files", True),
        (lease, "touch", True),
        (lease, "touched", False),
        (lease, "remove_file", True),
        (engine.classifier.checkpoint, "save_file", True),
        (Path, "write_text", True),
        (Path, "write_bytes", True),
        (Path, "rename", True),
        (Path, "replace", True),
        (Path, "unlink", True),
        (os, "replace", True),
        (shutil, "rmtree", True),
    ]


@contextmanager
def injected(fault: Fault) -> Iterator[Fault]:
    """Put a fault into this process."""
    with ExitStack() as stack:
        for owner, name, durable in _seams():
            if durable or not fault.durable:
                call = getattr(owner, name)
                stack.enter_context(mock.patch.object(owner, name, fault.around(name, call)))
        yield fault
