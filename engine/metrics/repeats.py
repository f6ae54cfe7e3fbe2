"""Keys that name more than one row, suspected while rows are scanned: no scan of its own.

A join gives the rows of one key one after the other, so that of two predictions of a row both come
next to each other. Other repeats show among the least hashes, of which each task keeps as many:
all keys of a small table, and a sample of a large one, whose every copy is in the sample too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

KEPT = 4_096  # hashes that a task keeps


class Repeats:
    """What a task sees of its rows' keys.

    Examples
    --------
    >>> seen = Repeats()
    >>> for keys in ([5, 9], [9, 7]):
    ...     seen.take(np.array(keys, np.uint64))
    >>> suspected([seen.packed()]), suspected([Repeats().packed()])
    (True, False)
    """

    def __init__(self) -> None:
        self.last: np.uint64 | None = None
        self.adjacent = False
        self.least = np.empty(0, np.uint64)

    def take(self, keys: np.ndarray) -> None:
        """Look at the hashes of rows' keys, ``[n]`` uint64, in the rows' order."""
        if not len(keys):
            return
        self.adjacent |= bool((keys[1:] == keys[:-1]).any()) or keys[0] == self.last
        self.last = keys[-1]
        if len(self.least) == KEPT:
            keys = keys[keys < self.least[-1]]
        if len(keys):
            self.least = np.sort(np.concatenate([self.least, keys]))[:KEPT]

    def packed(self) -> bytes:
        """Return what was seen as bytes."""
        return np.concatenate([np.array([self.adjacent], np.uint64), self.least]).tobytes()


def suspected(parts: Sequence[bytes]) -> bool:
    """Tell whether keys of several tasks' rows seem to repeat; two that hash alike seem to.

    Parameters
    ----------
    parts
        What the tasks packed.

    Examples
    --------
    >>> tasks = Repeats(), Repeats()
    >>> for task in tasks:
    ...     task.take(np.array([3, 4], np.uint64))
    >>> suspected([task.packed() for task in tasks])
    True
    """
    tasks = [np.frombuffer(part, np.uint64) for part in parts]
    if any(task[0] for task in tasks):
        return True
    full = [task[-1] for task in tasks if len(task) > KEPT]
    hashes = np.concatenate([np.empty(0, np.uint64), *(task[1:] for task in tasks)])
    # Above the least of what a full task kept last, others kept what it didn't.
    known = np.sort(hashes if not full else hashes[hashes < min(full)])
    return bool((known[1:] == known[:-1]).any())
