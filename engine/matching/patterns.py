"""Many questions about one text column, answered together for a batch of rows.

One scan finds all literals of all questions. A regular expression is decided around the hits of
the literals that it needs: without Python where its shape allows, else by `re` itself on the few
rows that are left. Each method gives what Python gives, row for row.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from re import _constants as c  # type: ignore[attr-defined]
from typing import Any

import numpy as np
import pyarrow as pa

from engine.matching import methods
from engine.matching.charsets import Charset
from engine.matching.dialect import translate
from engine.matching.methods import Decider, Method, Scan, everywhere
from engine.matching.regex import At, Joined, Node, backtracks, expected, nodes, parse, required
from engine.matching.scan import Needle, Scanner
from engine.matching.text import TextBatch
from engine.matching.windows import Chain, chains
from engine.plain import plain

_CLAUSES = 2  # sets of required literals that a filter looks for
# Hits per byte of text up to which a method is cheaper than RE2 on all rows; measured.
_RARE_FOR_PYTHON = 0.003
_RARE_FOR_WINDOWS = 0.03
_NEARLY_ALL = 0.02  # hits per byte from which a filter leaves nearly all rows

MATCHERS = {"auto": 12, "each": 1 << 30, "table": 0, "python": 0}


@dataclass(frozen=True)
class Search:
    """One question about a text column.

    Attributes
    ----------
    kind
        ``contains``, ``startswith`` or ``endswith`` (a literal), or ``search``, ``match`` or
        ``fullmatch`` (a regular expression).
    pattern
        The literal, or the expression.
    flags
        Flags of the expression.
    form
        What is searched: the text ``as_is``, or its ``lower`` case.

    Examples
    --------
    >>> Search("search", "b.t", re.IGNORECASE).ask()("rabBIT")
    True
    """

    kind: str
    pattern: str
    flags: int = 0
    form: str = "as_is"

    def ask(self) -> Callable[[str], bool]:
        """Return the question in Python, for a text that has its form already."""
        return _ASK[self.kind](self)


def _regex(search: Search, name: str) -> Callable[[str], bool]:
    method = getattr(re.compile(search.pattern, search.flags & ~re.DEBUG), name)
    return lambda text: method(text) is not None


_ASK: dict[str, Callable[[Search], Callable[[str], bool]]] = {
    "contains": lambda s: lambda text: s.pattern in text,
    "startswith": lambda s: lambda text: text.startswith(s.pattern),
    "endswith": lambda s: lambda text: text.endswith(s.pattern),
    "search": lambda s: _regex(s, "search"),
    "match": lambda s: _regex(s, "match"),
    "fullmatch": lambda s: _regex(s, "fullmatch"),
}
_LITERALS = {"contains", "startswith", "endswith"}


class PatternSet:
    r"""Questions about one text column, answered together.

    Parameters
    ----------
    searches
        The questions.
    matcher
        ``auto``, or one way by force: each literal by itself (``each``), all by one ``table``, or
        Python on every row (``python``).

    Raises
    ------
    re.error
        By all but the constructor, if an expression doesn't compile.

    Examples
    --------
    >>> searches = [Search("contains", "plz", form="lower"), Search("search", r"\w+\.ly")]
    >>> patterns = PatternSet(searches)
    >>> patterns.run(pa.array(["PLZ see bit.ly/x", None, "x.ly"])).tolist()
    [[True, False, False], [True, False, True]]
    >>> patterns.methods
    ('literal', 'fixed window')
    """

    def __init__(self, searches: Sequence[Search], matcher: str = "auto") -> None:
        self.searches = tuple(searches)
        self.matcher = matcher

    def __reduce__(self) -> tuple[Any, ...]:
        return PatternSet, (self.searches, self.matcher)

    @property
    def methods(self) -> tuple[str, ...]:
        """How each search is answered, in a few words."""
        return tuple(self._methods[search].how for search in self.searches)

    @property
    def backtracking(self) -> tuple[str | None, ...]:
        """Of each search that `re` answers, the part that may take exponential time, if any."""
        return tuple(
            _risk(search) if "re" in self._methods[search].how.split() else None
            for search in self.searches
        )

    @functools.cached_property
    def _methods(self) -> dict[Search, Method]:
        by_python = self.matcher == "python" or plain()
        return {s: everywhere(_by_python(s)) if by_python else _method(s) for s in self._first}

    @functools.cached_property
    def _groups(self) -> tuple[_Group, ...]:
        forms: dict[str, list[tuple[int, Method]]] = {}
        for search, i in self._first.items():
            forms.setdefault(search.form, []).append((i, self._methods[search]))
        few = MATCHERS[self.matcher]
        return tuple(_Group(form, methods, few) for form, methods in forms.items())

    @functools.cached_property
    def _first(self) -> dict[Search, int]:
        """Each search, and the place where it occurs first."""
        return {search: i for i, search in reversed(list(enumerate(self.searches)))}

    def run(self, text: pa.StringArray | pa.LargeStringArray | TextBatch) -> np.ndarray:
        """Answer all questions for a batch: ``[searches, rows]`` bool; false for a null row."""
        batch = text if isinstance(text, TextBatch) else TextBatch(text)
        out = np.zeros((len(self.searches), len(batch)), dtype=bool)
        for group in self._groups:
            group.run(batch, out)
        for i, search in enumerate(self.searches):
            if self._first[search] != i:
                out[i] = out[self._first[search]]
        return out


class _Group:
    """The questions about one form of the text, each with its place in the answer."""

    def __init__(self, form: str, methods: Sequence[tuple[int, Method]], few: int) -> None:
        self._form, self._methods = form, methods
        self._exact = not all(method.ascii for _, method in methods)
        needles = dict.fromkeys(n for _, method in methods for n in method.needles)
        self._numbers = {needle: i for i, needle in enumerate(needles)}
        self._scanner = Scanner(list(needles), few)

    def run(self, source: TextBatch, out: np.ndarray) -> None:
        """Fill the group's rows of the answer."""
        text = source.lowered(self._exact) if self._form == "lower" else source
        scan = Scan(text, self._scanner.hits(text), self._numbers)
        for i, method in self._methods:
            method.answer(scan, out[i])


def _method(search: Search) -> Method:
    """Choose how a search is answered."""
    if search.kind in _LITERALS:
        return _literal(search)
    node = _anchored(search)
    alternatives = chains(node)
    hits = sum(window.anchor.expected for chain in alternatives or () for window in chain.windows)
    if alternatives is not None and hits < _RARE_FOR_WINDOWS:
        return _windows(search, node, alternatives)
    clauses = tuple(sorted(required(node), key=expected)[:_CLAUSES])
    left = expected(clauses[0]) if clauses else math.inf
    if left < _RARE_FOR_PYTHON:
        return _filtered(search, node, clauses)
    translation = translate(node)
    if translation is not None and not translation.ascii_only:
        return everywhere(methods.linear(translation, _by_python(search)))
    if alternatives is not None:
        return _windows(search, node, alternatives)
    if left < _NEARLY_ALL:
        return _filtered(search, node, clauses)
    return everywhere(_decider(search, node))


def _windows(search: Search, node: Node, alternatives: tuple[Chain, ...]) -> Method:
    twins = any(window.twins for chain in alternatives for window in chain.windows)
    return methods.windows(alternatives, _decider(search, node) if twins else None)


def _filtered(search: Search, node: Node, clauses: tuple[frozenset[Needle], ...]) -> Method:
    twins = any(isinstance(n, Charset) and n.has_wide_twin for n in nodes(node))
    return methods.filtered(clauses, twins, _decider(search, node))


def _decider(search: Search, node: Node) -> Decider:
    """Return `re`, or RE2 for an expression that may take `re` exponential time."""
    translation = translate(node) if _risk(search) else None
    by_python = _by_python(search)
    return by_python if translation is None else methods.linear(translation, by_python)


def _literal(search: Search) -> Method:
    try:
        text = search.pattern.encode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 can't hold
        return methods.constant(False)
    if not text:
        return methods.constant(True)
    if search.kind == "contains":
        return methods.literal(Needle(text))
    return methods.edge(text, at_end=search.kind == "endswith")


def _by_python(search: Search) -> Decider:
    how = "Python per row" if search.kind in _LITERALS else "re per row"
    return methods.python(functools.cache(search.ask), how)


def _anchored(search: Search) -> Node:
    """Return the tree of what has to occur anywhere in the text."""
    node = parse(search.pattern, search.flags)
    before = (At(c.AT_BEGINNING_STRING, False),) if search.kind != "search" else ()
    after = (At(c.AT_END_STRING, False),) if search.kind == "fullmatch" else ()
    return Joined((*before, node, *after))


def _risk(search: Search) -> str | None:
    if search.kind in _LITERALS:
        return None
    return backtracks(search.pattern, search.flags, search.kind == "fullmatch")
