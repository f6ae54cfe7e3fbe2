"""A fingerprint of a slice, which changes when its source does."""

from __future__ import annotations

from engine.slicing.fingerprint.description import Described, described
from engine.slicing.ids import digest
from engine.slicing.slices import Slice

UNKNOWN = "-unknown"  # how the fingerprint ends of a slice that uses what can't be described


def fingerprint(sf: Slice, zone: str = "UTC") -> str:
    """Return 16 hex digits that change when what decides the slice changes.

    Covered are the function's source without comments, formatting and docstring, the constants
    and functions it refers to, its resources and preprocessors, or the SQL text, or the tree and
    the slices in it; and the run's time zone, in which timestamps are read. What a library that
    it imports does is not covered. Where the slice uses something that can't be described, the
    digits end in ``-unknown``: equal fingerprints then don't mean equal masks.

    Examples
    --------
    >>> from engine.slicing.functions import SlicingFunction
    >>> a = SlicingFunction("a", sql="length(text) < 20")
    >>> fingerprint(a) == fingerprint(SlicingFunction("other name", sql="length(text) < 20"))
    True
    >>> fingerprint(a) == fingerprint(a, zone="Asia/Tokyo")
    False
    """
    about = _described(sf)
    digits = digest(f"{zone}:{about.digest}")[:16]
    return digits + UNKNOWN if about.unknown else digits


def unknowns(sf: Slice) -> tuple[str, ...]:
    """Say what a slice uses that can't be described, a clause each; empty where all is known.

    Examples
    --------
    >>> import threading
    >>> from engine.slicing.functions import SlicingFunction
    >>> guarded = SlicingFunction("a", lambda x, lock: x.n > 1, {"lock": threading.Lock()})
    >>> fingerprint(guarded).endswith("-unknown")
    True
    >>> unknowns(guarded)
    ("uses lock, a _thread.lock, whose contents can't be read",)
    """
    return _described(sf).unknown


def _described(sf: Slice) -> Described:
    slices = (sf, *sf.parts.values())
    functions = [f for part in slices for f in (part.f, *(p.f for p in part.chain))]
    return described(sf, [f for f in functions if f is not None])
