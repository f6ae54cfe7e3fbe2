"""A fingerprint of a slice: a digest of what it depends on, the same in every process.

Source describes what will run, and values describe what has run: a function is its text and what
that names, a value is what it holds. The user's own code counts whole, others' by its name and
version (:mod:`engine.slicing.origin`). A place that the functions themselves change, such as a
cache, is the expression that makes it (:mod:`engine.slicing.fingerprint.changes`).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.slicing.expr import Const, Expr, Lookup, Mask
from engine.slicing.fingerprint.changes import Changes
from engine.slicing.fingerprint.classes import class_parts, object_parts
from engine.slicing.fingerprint.functions import code_parts, function_parts
from engine.slicing.fingerprint.modules import module_parts
from engine.slicing.fingerprint.owners import Owners
from engine.slicing.fingerprint.parts import Parts, parts_of
from engine.slicing.ids import digest
from engine.slicing.origin import MEANING
from engine.slicing.slices import Slice

UNKNOWN = "-unknown"  # how the fingerprint ends of a slice that uses what can't be described
_PLAIN = frozenset({str, bytes, int, float, complex, bool, type(None), type(Ellipsis)})


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


def describe(kind: type, parts: Callable[[Any], Parts]) -> None:
    """Say what the objects of a type depend on, where the type is above this file.

    Parameters
    ----------
    kind
        The type.
    parts
        Returns an object's parts.
    """
    _OWN[kind] = lambda value, _: parts(value)


@dataclass(frozen=True)
class Described:
    """What a value depends on.

    Attributes
    ----------
    digest
        Hex digits that change when it does.
    unknown
        What of it can't be described, a clause each.
    """

    digest: str
    unknown: tuple[str, ...] = ()


def described(value: Any, functions: Iterable[Callable[..., Any]]) -> Described:
    """Describe a value.

    Parameters
    ----------
    value
        The value.
    functions
        The functions that use it: their packages are the user's own, even where they are
        installed.

    Examples
    --------
    >>> described([1], ()) == described([1], ()), described([1], ()) == described([True], ())
    (True, False)
    """
    changes = Changes(Owners(functions))
    walk = _Walk(changes)
    text = walk.of(value)
    if changes.noted.matters(changes.attributes):
        walk = _Walk(Changes(changes.owners, changes.noted, changes.trees))
        text = walk.of(value)
    return Described(digest(f"{MEANING}:{text}"), tuple(dict.fromkeys(walk.unknown)))


@dataclass(slots=True)
class _Frame:
    name: str
    value: Any
    parts: Parts
    texts: list[str] = field(default_factory=list)


class _Walk:
    """Describes a value, and what is below it, each once."""

    def __init__(self, changes: Changes) -> None:
        self.unknown: list[str] = []
        self._changes, self._folders = changes, changes.owners.folders
        self._known: dict[int, tuple[Any, str]] = {}  # keeps the value, so that its id stays its
        self._cycles: dict[int, int] = {}

    def of(self, root: Any) -> str:
        """Return a value's text if it is plain, else a digest. Deep values need no deep stack."""
        stack = [_Frame("", self, Parts("", [("", root)]))]
        opened = {id(self)}
        while True:
            frame = stack[-1]
            if len(frame.texts) < len(frame.parts.below):
                name, value = frame.parts.below[len(frame.texts)]
                text = self.text(value)
                if text is None and id(value) in self._known:
                    text = self._known[id(value)][1]
                elif text is None and id(value) in opened:
                    text = f"cycle:{self._cycles.setdefault(id(value), len(self._cycles))}"
                if text is not None:
                    frame.texts.append(f"{name}={text}")
                    continue
                parts = self._parts(value)
                stack.append(_Frame(name, value, parts))
                opened.add(id(value))
                if parts.unknown:
                    path = ".".join(f.name for f in stack if f.name) or "its function"
                    self.unknown.append(f"uses {path.replace('.[', '[')}, {parts.unknown}")
                continue
            if len(stack) == 1:
                return frame.texts[0]
            texts = frame.texts if frame.parts.ordered else sorted(frame.texts)
            number = self._cycles.get(id(frame.value), "")
            text = digest(f"{number}{frame.parts.label}({','.join(texts)})")
            self._known[id(frame.value)] = frame.value, text
            opened.discard(id(frame.value))
            stack.pop()
            stack[-1].texts.append(f"{frame.name}={text}")

    def text(self, value: Any) -> str | None:
        """Return a plain value as text, None for any other."""
        kind = type(value)
        if kind not in _PLAIN:
            return None
        if kind is int:
            return f"int:{value:x}"  # its decimal digits may be too many
        if kind is str:
            for folder in self._folders:  # a path into the project, which may be moved
                if value.startswith(folder):
                    return f"str:here:{value[len(folder) :]!r}"
        return f"{kind.__name__}:{value!r}"

    def _parts(self, value: Any) -> Parts:
        kind = type(value)  # what it says of itself may be another's: a proxy's
        if kind in _OWN:
            return _OWN[kind](value, self._changes)
        if issubclass(kind, Expr):
            return Parts(_tree(value))
        if issubclass(kind, type):
            return class_parts(value, self._changes)
        if issubclass(kind, types.ModuleType):
            return module_parts(value, self._changes.owners)
        known = parts_of(value, self.text)
        return object_parts(value, self._changes) if known is None else known


_OWN: dict[type, Callable[[Any, Changes], Parts]] = {
    types.FunctionType: function_parts,
    types.CodeType: lambda value, _: code_parts(value),
    Parts: lambda value, _: value,  # of what isn't there as a value: others' modules, say
}
_LEAVES: Mapping[type, Callable[[Any], str]] = {
    Const: lambda node: node.key,
    Mask: lambda node: node.slice_id,
    Lookup: lambda node: f"{node.column}\n{node.keys.about}",
}


def _tree(tree: Expr) -> str:
    known: dict[Expr, str] = {}
    for node in tree.walk():
        own = _LEAVES.get(type(node), str)(node) if not node.parts else getattr(node, "op", "")
        below = ",".join(known[part] for part in node.parts)
        known[node] = digest(f"{type(node).__name__}:{own}({below})")
    return f"tree:{known[tree]}"
