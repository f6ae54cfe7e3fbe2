"""A slice's id: it follows from the name, and is unlike the other ids of a run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from engine.errors import SliceError

RESERVED_IDS = frozenset({"base", "complement", "overall", "other"})
MAX_ID = 64
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Named(Protocol):
    """Has an id and a name of its own."""

    @property
    def name(self) -> str:
        """A free name."""

    @property
    def id(self) -> str:
        """The mask column's name."""


def digest(text: str) -> str:
    """Return the hex SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def is_id(text: str) -> bool:
    """Tell whether a text can be a slice's id.

    Examples
    --------
    >>> is_id("short_link"), is_id("short link"), is_id("")
    (True, False, False)
    """
    return len(text) <= MAX_ID and _IDENTIFIER.fullmatch(text) is not None


def check_id(name: str, slice_id: str) -> str:
    """Return a slice's id.

    Raises
    ------
    SliceError
        If it is not an identifier of at most 64 characters.
    """
    if not is_id(slice_id):
        problem = f"is not an identifier of at most {MAX_ID} letters, digits and underscores"
        raise unusable_id(name, slice_id, problem)
    return slice_id


def unusable_id(name: str, slice_id: str, problem: str) -> SliceError:
    """Return the error of an id that can't be a mask column."""
    return SliceError(f"slice {name!r}: the id {slice_id!r} {problem}; give the slice another id")


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
    if is_id(name):
        return name
    short = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
    if not short:
        return "s_" + digest(name)[:8]
    if short[0].isdigit():
        short = f"s_{short}"
    return short if len(short) <= MAX_ID else f"{short[: MAX_ID - 9]}_{digest(name)[:8]}"


def composition_id(text: str) -> str:
    """Return the id of a composition without a name of its own.

    ``&`` is ``and``, ``|`` is ``or``, ``~`` is ``not``. Where there are parentheses, or more than
    64 characters, it ends in 8 hex digits of the text's SHA-256.

    Examples
    --------
    >>> composition_id("short_link & ~please"), composition_id("a & (b | c)")
    ('short_link_and_not_please', 'a_and_b_or_c_1cd5b887')
    """
    words = text.replace(" & ", "_and_").replace(" | ", "_or_").replace("~", "not_")
    if "(" not in words:
        return slug(words)
    plain = words.replace("(", "").replace(")", "")
    return f"{plain[: MAX_ID - 9].lower()}_{digest(text)[:8]}"


def check_ids(sfs: Sequence[Named], columns: Mapping[str, str] | None = None) -> None:
    """Check the ids of all slices of a run.

    Parameters
    ----------
    sfs
        The run's slicing functions.
    columns
        Column names that an id must not take, with what each is ("key", "split", …).

    Raises
    ------
    SliceError
        If an id is not an identifier of at most 64 characters, is reserved, or names a column.
        If two ids are equal, ignoring case.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> check_ids([SimpleNamespace(name="base", id="base")])
    Traceback (most recent call last):
    engine.errors.SliceError: slice 'base': the id 'base' is reserved; give the slice another id
    """
    roles = {name.lower(): role for name, role in (columns or {}).items()}
    by_id: dict[str, Named] = {}
    for sf in sfs:
        key = check_id(sf.name, sf.id).lower()
        if key in RESERVED_IDS:
            raise unusable_id(sf.name, sf.id, "is reserved")
        if key in roles:
            raise unusable_id(sf.name, sf.id, f"is the name of a {roles[key]} column")
        if key in by_id:
            raise same_id(sf.id, by_id[key].name, sf.name)
        by_id[key] = sf


def same_id(slice_id: str, first: str, second: str) -> SliceError:
    """Return the error of two slices with one id."""
    return SliceError(
        f"slices {first!r} and {second!r} have the same id {slice_id!r} (ids are compared "
        "ignoring case); give one of them another id"
    )
