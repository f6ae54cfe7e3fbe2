"""Compositions with ``&``, ``|`` and ``~``: a text of slice ids is a tree, and a tree a text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from engine.errors import SliceError
from engine.slicing.expr import Call, Expr, Mask

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


def is_composed(tree: Expr | None) -> bool:
    """Tell whether a slice's tree is composed of others: it has their masks as leaves, no column.

    Examples
    --------
    >>> is_composed(None), is_composed(parse("~a"))
    (False, True)
    """
    return isinstance(tree, Mask) or (isinstance(tree, Call) and tree.op in _SIGN_OF)
