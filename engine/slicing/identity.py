"""Which slice is this: its id, and a fingerprint that changes when its source does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from engine.errors import DuplicateSliceError, SliceIdError
from engine.slicing.description import Described, described, digest
from engine.slicing.functions import SlicingFunction

RESERVED_IDS = frozenset({"base", "complement", "overall", "other"})
MAX_ID = 64
UNKNOWN = "-unknown"  # how the fingerprint ends of a slice that uses what can't be described
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def slug(name: str) -> str:
    """Make a slice id of a free name.

    An identifier stays as it is. Anything else is lower-cased, runs of characters other than
    ASCII letters, digits and ``_`` become one ``_``, a leading digit gets ``s_`` before it, and
    what is longer than 64 characters ends in 8 hex digits of the name's SHA-256.

    Examples
    --------
    >>> slug("short_link"), slug("Short link!"), slug("80+")
    ('short_link', 'short_link', 's_80')
    """
    if _IDENTIFIER.fullmatch(name) and len(name) <= MAX_ID:
        return name
    made = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
    if not made:
        return "s_" + digest(name)[:8]
    if made[0].isdigit():
        made = f"s_{made}"
    return made if len(made) <= MAX_ID else f"{made[: MAX_ID - 9]}_{digest(name)[:8]}"


def check_ids(sfs: Sequence[SlicingFunction], columns: Mapping[str, str] | None = None) -> None:
    """Check the ids of all slices of a run.

    Parameters
    ----------
    sfs
        The run's slicing functions.
    columns
        Column names that an id must not take, with what each is ("key", "split", …).

    Raises
    ------
    SliceIdError
        If an id is not an identifier of at most 64 characters, or is taken.
    DuplicateSliceError
        If two ids are equal, ignoring case.

    Examples
    --------
    >>> check_ids([SlicingFunction("base", len)])
    Traceback (most recent call last):
    engine.errors.SliceIdError: slice 'base': the id 'base' is reserved; give the slice another id
    """
    taken = {name.lower(): role for name, role in (columns or {}).items()}
    seen: dict[str, SlicingFunction] = {}
    for sf in sfs:
        if not (_IDENTIFIER.fullmatch(sf.id) and len(sf.id) <= MAX_ID):
            raise SliceIdError(
                sf.name,
                sf.id,
                f"is not an identifier of at most {MAX_ID} letters, digits and underscores",
            )
        if sf.id.lower() in RESERVED_IDS:
            raise SliceIdError(sf.name, sf.id, "is reserved")
        if sf.id.lower() in taken:
            raise SliceIdError(sf.name, sf.id, f"is the name of a {taken[sf.id.lower()]} column")
        if sf.id.lower() in seen:
            raise DuplicateSliceError(sf.id, seen[sf.id.lower()].name, sf.name)
        seen[sf.id.lower()] = sf


def fingerprint(sf: SlicingFunction, zone: str = "UTC") -> str:
    """Return 16 hex digits that change when what decides the slice changes.

    Covered are the function's source without comments, formatting and docstring, the constants
    and functions it refers to, its resources and preprocessors, or the SQL text, or the tree and
    the slices in it; and the run's time zone, in which timestamps are read. What a library that
    it imports does is not covered. Where the slice uses something that can't be described, the
    digits end in ``-unknown``: equal fingerprints then don't mean equal masks.

    Examples
    --------
    >>> a = SlicingFunction("a", sql="length(text) < 20")
    >>> fingerprint(a) == fingerprint(SlicingFunction("other name", sql="length(text) < 20"))
    True
    >>> fingerprint(a) == fingerprint(a, zone="Asia/Tokyo")
    False
    """
    about = _described(sf)
    digits = digest(f"{zone}:{about.digest}")[:16]
    return digits + UNKNOWN if about.unknown else digits


def unknowns(sf: SlicingFunction) -> tuple[str, ...]:
    """Say what a slice uses that can't be described, a clause each; empty where all is known.

    Examples
    --------
    >>> import threading
    >>> guarded = SlicingFunction("a", lambda x, lock: x.n > 1, {"lock": threading.Lock()})
    >>> fingerprint(guarded).endswith("-unknown")
    True
    >>> unknowns(guarded)
    ("uses lock, a _thread.lock, whose contents can't be read",)
    """
    return _described(sf).unknown


def _described(sf: SlicingFunction) -> Described:
    slices = (sf, *sf.parts.values())
    functions = [f for part in slices for f in (part.f, *(p.f for p in part.chain))]
    return described(sf, [f for f in functions if f is not None])
