"""Compositions with ``&``, ``|`` and ``~``: a text of slice ids is a tree, and a tree a text.

A composed slice holds the slices that it is made of, so that it works wherever it is used. A
composition of compositions is one tree, whose leaves are masks of slices that aren't composed.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.errors import CompositionError
from engine.slicing.expr import Call, Expr, Mask
from engine.slicing.fingerprint.identity import both
from engine.slicing.slices import Slice

S = TypeVar("S", bound=Slice)

_SIGNS = {"|": "kleene_or", "&": "kleene_and", "~": "kleene_not"}
_SIGN_OF = {op: sign for sign, op in _SIGNS.items()}
_RANKS = {"(": 0, ")": 1, "|": 2, "&": 3, "~": 4}  # what binds closer ranks higher, as in Python
_TOKEN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|(\S)")
_ONLY = re.compile(r"(\s|[&|~()]|\b[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


def is_composition(text: str) -> bool:
    """Tell a composition from a SQL predicate.

    It is one if it has nothing but identifiers, ``&``, ``|``, ``~``, parentheses and spaces, and
    one of the operators: in SQL that would be bitwise arithmetic, which no predicate ends in.

    Examples
    --------
    >>> [is_composition(t) for t in ("a & ~b", "a AND b", "a", "n & 1", "(a | b) = 0")]
    [True, False, False, False, False]
    """
    return bool(_ONLY.fullmatch(text)) and any(sign in text for sign in _SIGNS)


def parse(text: str) -> Expr:
    """Read a composition: a tree whose leaves are slice ids.

    ``~`` binds closer than ``&``, and that closer than ``|``, as in Python.

    Raises
    ------
    CompositionError
        If it can't be read, with the place.

    Examples
    --------
    >>> str(parse("a & ~b | c | d"))
    'kleene_or(kleene_and(a, kleene_not(b)), c, d)'
    """
    read: list[Expr] = []
    open_: list[tuple[str, int]] = []  # operators and parentheses that wait for what follows
    wanted = True  # whether a slice comes next
    for token in _TOKEN.finditer(text):
        found, at = token[0], token.start()
        if token[1] or found in "(~":
            if not wanted:
                raise CompositionError(text, at, f"an operator is missing before {found!r}")
            if token[1]:
                read.append(Mask(found))
                wanted = False
            else:
                open_.append((found, at))
            continue
        if found not in _RANKS:
            raise CompositionError(text, at, f"there is {found!r}")
        if wanted:
            raise CompositionError(text, at, f"a slice id is missing before {found!r}")
        _close(read, open_, _RANKS[found])
        if found != ")":
            open_.append((found, at))
            wanted = True
        elif not open_:
            raise CompositionError(text, at, "')' closes nothing")
        else:
            open_.pop()
    if wanted:
        raise CompositionError(text, len(text.rstrip()), "a slice id is missing")
    _close(read, open_, _RANKS[")"])
    if open_:
        raise CompositionError(text, open_[-1][1], "'(' is not closed")
    return read[0]


def _close(read: list[Expr], open_: list[tuple[str, int]], rank: int) -> None:
    """Put together what binds at least as closely as the sign that comes next."""
    while open_ and _RANKS[open_[-1][0]] >= rank:
        sign, _ = open_.pop()
        n = 1 if sign == "~" else 2
        args = tuple(read[-n:])
        del read[-n:]
        read.append(_call(_SIGNS[sign], args))


def _call(op: str, args: tuple[Expr, ...]) -> Call:
    """Return an operation on trees; a chain of one operator is one operation on many."""
    if op == "kleene_not":
        return Call(op, args)
    parts = (a.args if isinstance(a, Call) and a.op == op else (a,) for a in args)
    return Call(op, tuple(itertools.chain.from_iterable(parts)))


def text_of(tree: Expr) -> str:
    """Write a composition with no more parentheses than it needs.

    Examples
    --------
    >>> text_of(parse("((a) & (~(b | c)))"))
    'a & ~(b | c)'
    """
    done: dict[Expr, tuple[str, int]] = {}
    for node in tree.walk():
        if isinstance(node, Call):
            done[node] = _written(node.op, [done[arg] for arg in node.args])
        else:
            done[node] = str(node), _ATOM
    return done[tree][0]


_ATOM = len(_RANKS)  # what a slice id ranks


def _written(op: str, operands: Iterable[tuple[str, int]]) -> tuple[str, int]:
    """Write an operation, given its operands' texts and ranks; return its text and rank."""
    sign = _SIGN_OF[op]
    rank = _RANKS[sign]
    args = [text if own >= rank else f"({text})" for text, own in operands]
    return (f"~{args[0]}" if sign == "~" else f" {sign} ".join(args)), rank


def is_composed(tree: Expr | None) -> bool:
    """Tell whether a slice's tree is composed of others: it has their masks as leaves, no column.

    Examples
    --------
    >>> is_composed(None), is_composed(parse("~a"))
    (False, True)
    """
    return isinstance(tree, Mask) or (isinstance(tree, Call) and tree.op in _SIGN_OF)


@dataclass(frozen=True)
class Composed(Generic[S]):
    """What an operator makes of slices.

    Attributes
    ----------
    text
        The composition's text.
    tree
        Its tree, whose leaves are masks.
    parts
        Slice id to the slice that a mask means.
    """

    text: str
    tree: Expr
    parts: Mapping[str, S]


def composed(op: str, *operands: S) -> Composed[S]:
    """Compose slices with an operator.

    Raises
    ------
    DuplicateSliceError
        If two different slices in it have the same id.
    """
    text, _ = _written(op, map(_text, operands))
    parts = functools.reduce(both, map(parts_of, operands))
    return Composed(text, _call(op, tuple(map(tree_of, operands))), parts)


def tree_of(sf: Slice) -> Expr:
    """Return what stands for a slice in a composition: its own tree, or its mask."""
    return sf.expr if sf.expr is not None and is_composed(sf.expr) else Mask(sf.id)


def parts_of(sf: S) -> Mapping[str, S]:
    """Return the slices that stand as masks in a slice's place in a composition."""
    return sf.parts if is_composed(sf.expr) else {sf.id: sf}


def _text(sf: Slice) -> tuple[str, int]:
    """Return a slice as compositions are written, and its rank: its text, or else its id."""
    if sf.text is not None and isinstance(sf.expr, Call):
        return sf.text, _RANKS[_SIGN_OF[sf.expr.op]]
    return sf.id, _ATOM
