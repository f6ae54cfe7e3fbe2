"""Runs that take turns, so that a machine's moods fall on all of them alike."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURNS = 3


def medians(
    runs: dict[str, Callable[[], Any]], turns: int = TURNS, *, warm: bool = False
) -> dict[str, float]:
    """Let each run take its turn, several times; print each, return median seconds.

    A warm run is run once more before it is timed, so that it doesn't pay for whose turn it was.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        for name, run in runs.items():
            if warm:
                run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
            print(f"  turn {turn + 1}: {seconds[name][-1]:8.2f} s  {name}", flush=True)
    return {name: statistics.median(found) for name, found in seconds.items()}


class Claims:
    """What a benchmark claims: told when it is known, and all together at the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def ratio(self, claim: str, value: float) -> None:
        """Claim a ratio."""
        self._add(f"ratio {claim}: {value:.2f}")

    def figure(self, claim: str, value: float) -> None:
        """Claim a figure."""
        self._add(f"figure {claim}: {value:.2f}")

    def _add(self, line: str) -> None:
        self.lines.append(line)
        print(f"  {line}", flush=True)

    def tell(self) -> None:
        """Print all claims, last."""
        print(f"{os.cpu_count()} cores", *self.lines, sep="\n")


class PeakMemory:
    """The peak of summed proportional set size over this process and all below it.

    Examples
    --------
    >>> with PeakMemory(0.01) as peak:
    ...     time.sleep(0.05)
    >>> peak.gib > 0
    True
    """

    def __init__(self, every: float = 1.0) -> None:
        self.every, self.gib = every, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self.every):
            self.gib = max(self.gib, sum(map(_pss, _tree(os.getpid()))) / 2**20)


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue  # it has ended
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found


def _pss(pid: int) -> int:
    """Return a process's proportional set size in KiB; 0 once it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
