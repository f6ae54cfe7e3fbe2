"""Compositions with ``&``, ``|`` and ``~``: of slices, and of a text of their ids.

A composed slice holds its parts, so that it works wherever it is used. A composition of
compositions is one tree, whose leaves are masks of slices that aren't composed.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from engine.errors import SliceError
from engine.slicing.evaluate import is_combination
from engine.slicing.expr import Call, Expr, Mask
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.ids import same_id
from engine.slicing.slices import Slice

S = TypeVar("S", bound=Slice)

_SIGNS = {"|": "kleene_or", "&": "kleene_and", "~": "kleene_not"}
_SIGN_OF = {op: sign for sign, op in _SIGNS.items()}
_RANKS = {"(": 0, ")": 1, "|": 2, "&": 3, "~": 4}  # what binds closer ranks higher, as in Python
_TOKEN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|(\S)")
_ONLY = re.compile(r"(\s|[&|~()]|\b[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


def is_composition(text: str) -> bool:
    """Tell whether a text is a composition, not a SQL predicate.

    A composition has nothing but identifiers, ``&``, ``|``, ``~``, parentheses and spaces, and
    at least one operator: in SQL that would be bitwise arithmetic, which no predicate ends in.

    Examples
    --------
    >>> [is_composition(t) for t in ("a & ~b", "a AND b", "a", "n & 1", "(a | b) = 0")]
    [True, False, False, False, False]
    """
    return bool(_ONLY.fullmatch(text)) and any(sign in text for sign in _SIGNS)


def parse(text: str) -> Expr:
    """Return a composition's tree, whose leaves are slice ids.

    ``~`` binds closer than ``&``, and that closer than ``|``, as in Python.

    Raises
    ------
    SliceError
        If the text isn't a composition; the error says where.

    Examples
    --------
    >>> str(parse("a & ~b | c | d"))
    'kleene_or(kleene_and(a, kleene_not(b)), c, d)'
    """
    trees: list[Expr] = []
    open_: list[tuple[str, int]] = []  # operators and parentheses that wait for what follows
    wanted = True  # whether a slice comes next
    for token in _TOKEN.finditer(text):
        sign, at = token[0], token.start()
        if token[1] or sign in "(~":
            if not wanted:
                raise unreadable(text, at, f"an operator is missing before {sign!r}")
            if token[1]:
                trees.append(Mask(sign))
                wanted = False
            else:
                open_.append((sign, at))
            continue
        if sign not in _RANKS:
            raise unreadable(text, at, f"there is {sign!r}")
        if wanted:
            raise unreadable(text, at, f"a slice id is missing before {sign!r}")
        _close(trees, open_, _RANKS[sign])
        if sign != ")":
            open_.append((sign, at))
            wanted = True
        elif not open_:
            raise unreadable(text, at, "')' closes nothing")
        else:
            open_.pop()
    if wanted:
        raise unreadable(text, len(text.rstrip()), "a slice id is missing")
    _close(trees, open_, _RANKS[")"])
    if open_:
        raise unreadable(text, open_[-1][1], "'(' is not closed")
    return trees[0]


def unreadable(text: str, at: int, problem: str) -> SliceError:
    """Return the error of a composition whose text can't be read."""
    return SliceError(
        f"the composition {text!r} can't be read: {problem} at character {at + 1}; it is made "
        "of slice ids, &, |, ~ and parentheses"
    )


def _close(trees: list[Expr], open_: list[tuple[str, int]], rank: int) -> None:
    """Put together what binds at least as closely as the sign that comes next."""
    while open_ and _RANKS[open_[-1][0]] >= rank:
        sign, _ = open_.pop()
        n = 1 if sign == "~" else 2
        args = tuple(trees[-n:])
        del trees[-n:]
        trees.append(call(_SIGNS[sign], args))


def call(op: str, args: tuple[Expr, ...]) -> Call:
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
    done: dict[Expr, tuple[str, str | None]] = {}
    for node in tree.walk():
        if isinstance(node, Call):
            done[node] = written(node.op, [done[arg] for arg in node.args]), node.op
        else:
            done[node] = str(node), None
    return done[tree][0]


def written(op: str, operands: Iterable[tuple[str, str | None]]) -> str:
    """Write an operation whose operands are written: their texts and operations, None for an id."""
    sign = _SIGN_OF[op]
    args = [
        text if inner is None or _RANKS[_SIGN_OF[inner]] >= _RANKS[sign] else f"({text})"
        for text, inner in operands
    ]
    return f"~{args[0]}" if sign == "~" else f" {sign} ".join(args)


def composed(op: str, *operands: S) -> tuple[str, Expr, Mapping[str, S]]:
    """Return an operation on slices: its text, its tree of masks, and the slices that these mean.

    Raises
    ------
    SliceError
        If two different slices in it have the same id.
    """
    tree = call(op, tuple(map(tree_of, operands)))
    return written(op, map(_text, operands)), tree, functools.reduce(both, map(parts_of, operands))


def tree_of(sf: Slice) -> Expr:
    """Return what stands for a slice in a composition: its own tree, or its mask."""
    return sf.expr if sf.expr is not None and is_combination(sf.expr) else Mask(sf.id)


def parts_of(sf: S) -> Mapping[str, S]:
    """Return the slices that stand as masks in a slice's place in a composition."""
    return sf.parts if is_combination(sf.expr) else {sf.id: sf}


def _text(sf: Slice) -> tuple[str, str | None]:
    """Return what a slice is called in compositions, and the operation that it is, if any."""
    if sf.text is not None and isinstance(sf.expr, Call):
        return sf.text, sf.expr.op
    return sf.id, None


def both(some: Mapping[str, S], others: Mapping[str, S]) -> Mapping[str, S]:
    """Return slices by id, each once.

    Raises
    ------
    SliceError
        If two different ones have the same id.
    """
    for shared in some.keys() & others.keys():  # of a thousand and one: one look-up
        _check_same(some[shared], others[shared])
    return {**some, **others}


def merged(slices: Iterable[S]) -> Mapping[str, S]:
    """Return slices by id, each once, as :func:`both` does."""
    by_id: dict[str, S] = {}
    for sf in slices:
        _check_same(by_id.setdefault(sf.id, sf), sf)
    return by_id


def _check_same(first: Slice, sf: Slice) -> None:
    if first is not sf and fingerprint(first) != fingerprint(sf):
        raise same_id(sf.id, first.name, sf.name)
