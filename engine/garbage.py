"""How often Python looks for garbage while we make many containers, of which hardly any is."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 200_000  # of containers, between two looks


class _Threshold:
    """What is set while somebody is inside; the last one out sets what the first one found."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, gc.get_threshold()

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = gc.get_threshold()
                if 0 < self._before[0] < _ALLOCATIONS:  # 0: it is off
                    gc.set_threshold(_ALLOCATIONS, *self._before[1:])

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                gc.set_threshold(*self._before)


_THRESHOLD = _Threshold()


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Look for garbage seldom, in all threads until the last one is outside.

    Examples
    --------
    >>> before = gc.get_threshold()
    >>> with fewer_collections(), fewer_collections():
    ...     gc.get_threshold()[0]
    200000
    >>> gc.get_threshold() == before
    True
    """
    _THRESHOLD.enter()
    try:
        yield
    finally:
        _THRESHOLD.leave()
