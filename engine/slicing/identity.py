"""Which slice is this: its id, and a fingerprint that changes when its source does."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.errors import DuplicateSliceError, SliceIdError
from engine.slicing.functions import Preprocessor, SlicingFunction

RESERVED_IDS = frozenset({"base", "overall", "other"})
MAX_ID = 64
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
        return "s_" + _digest(name)[:8]
    if made[0].isdigit():
        made = f"s_{made}"
    return made if len(made) <= MAX_ID else f"{made[: MAX_ID - 9]}_{_digest(name)[:8]}"


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
    and functions it refers to, its resources and preprocessors, or the SQL text; and the run's
    time zone, in which timestamps are read. What a library that it imports does is not covered.

    Examples
    --------
    >>> a = SlicingFunction("a", sql="length(text) < 20")
    >>> fingerprint(a) == fingerprint(SlicingFunction("other name", sql="length(text) < 20"))
    True
    >>> fingerprint(a) == fingerprint(a, zone="Asia/Tokyo")
    False
    """
    seen: set[int] = set()
    parts = [str(sf.kind), zone, sf.sql or ""]
    if sf.f is not None:
        parts.append(_describe(sf.f, seen))
    parts.append(_describe(sf.resources, seen))
    parts.extend(_describe(p, seen) for p in sf.chain)
    return _digest("\x00".join(parts))[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _describe(value: Any, seen: set[int]) -> str:
    """Describe a value that a function depends on, the same in every process."""
    if isinstance(value, str | bytes | int | float | complex | type(None)):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, re.Pattern):
        return f"re:{value.pattern!r}:{value.flags}"
    if isinstance(value, types.ModuleType):
        return f"module:{value.__name__}"
    if id(value) in seen:
        return "again"
    seen.add(id(value))
    if isinstance(value, Mapping):
        items = sorted((_describe(k, seen), _describe(v, seen)) for k, v in value.items())
        return f"map:{items}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}:{[_describe(v, seen) for v in value]}"
    if isinstance(value, set | frozenset):
        return f"set:{sorted(_describe(v, seen) for v in value)}"  # a set's order is per process
    if isinstance(value, Preprocessor):
        return f"pre:{value.memoize}:{_describe(value.f, seen)}"
    if isinstance(value, types.FunctionType):
        return _describe_function(value, seen)
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"object:{getattr(value, '__module__', type(value).__module__)}.{name}"


def _describe_function(f: types.FunctionType, seen: set[int]) -> str:
    closed = inspect.getclosurevars(f)
    used = {**closed.nonlocals, **closed.globals}
    parts = [
        _source(f),
        _describe(f.__defaults__ or (), seen),
        _describe(f.__kwdefaults__ or {}, seen),
    ]
    parts += [f"{name}={_describe(used[name], seen)}" for name in sorted(used)]
    return "function:" + "\x01".join(parts)


def _source(f: Callable[..., Any]) -> str:
    """Return a function's source without comments and docstring, or its code's names."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(f)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        # No file (a REPL) or a lambda inside a longer expression: names and constants stand in.
        return _code(f.__code__)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    text = ast.unparse(tree)
    # Several lambdas may stand on one line, with the same source.
    return text if f.__name__ != "<lambda>" else text + _code(f.__code__)


def _code(code: types.CodeType) -> str:
    consts = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_names}{code.co_varnames}{consts}{code.co_code.hex()}"
