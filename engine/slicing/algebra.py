"""Slices composed of others with ``&``, ``|`` and ``~``, in Python and as a text of slice ids.

A composed slice holds the slices that it is made of, so that it works wherever it is used. A
composition of compositions is one tree, whose leaves are masks of slices that aren't composed.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from engine.errors import (
    CompositionCycleError,
    CompositionError,
    DuplicateSliceError,
    UnknownSliceError,
)
from engine.slicing.description import digest
from engine.slicing.expr import Call, Expr, Mask, replaced
from engine.slicing.functions import SlicingFunction
from engine.slicing.identity import MAX_ID, fingerprint, slug

_SIGNS = {"|": "kleene_or", "&": "kleene_and", "~": "kleene_not"}
_SIGN_OF = {op: sign for sign, op in _SIGNS.items()}
_RANKS = {"(": 0, ")": 1, "|": 2, "&": 3, "~": 4}  # what binds closer ranks higher, as in Python
_TOKEN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|(\S)")
_ONLY = re.compile(r"(\s|[&|~()]|\b[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


@dataclass(frozen=True)
class Composition:
    """A slice given as a text of slice ids.

    Attributes
    ----------
    name, id, description
        As a :class:`SlicingFunction` has them.
    text
        ``short_link & (~please | long_comment)``.
    """

    name: str
    text: str
    id: str
    description: str


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


def compose(op: str, *operands: SlicingFunction) -> SlicingFunction:
    """Return the slice that an operator makes of others; its name is its text.

    Raises
    ------
    DuplicateSliceError
        If two different slices in it have the same id.

    Examples
    --------
    >>> a, b = (SlicingFunction(name, len) for name in "ab")
    >>> compose("kleene_not", compose("kleene_or", a, b)).name
    '~(a | b)'
    """
    text, _ = _written(op, map(_text, operands))
    parts = functools.reduce(_both, map(_parts, operands))
    made = SlicingFunction(text, expr=_call(op, tuple(map(_tree, operands))), parts=parts)
    made.text = made.description = text
    return made


def compositions(
    asked: Sequence[Composition], known: Sequence[SlicingFunction]
) -> list[SlicingFunction]:
    """Return the slices that texts describe; they may name each other, in any order.

    Raises
    ------
    CompositionError, UnknownSliceError, CompositionCycleError
        If a text can't be read, names no slice, or its own.
    DuplicateSliceError
        If two slices have the same id.

    Examples
    --------
    >>> text = Composition("Short or long", "short | long", "either", "")
    >>> compositions([text], [SlicingFunction(name, len) for name in ("short", "long")])
    [SlicingFunction Short or long (expression)]
    """
    slices = {sf.id: sf for sf in known}
    names = {sf.id: sf.name for sf in known}
    trees: dict[str, Expr] = {}
    by_id: dict[str, Composition] = {}
    for c in asked:
        if c.id in names:
            raise DuplicateSliceError(c.id, names[c.id], c.name)
        by_id[c.id], trees[c.id], names[c.id] = c, parse(c.text), c.name
    named = {i: _ids(tree) for i, tree in trees.items()}
    for i, ids in named.items():
        for other in ids:
            if other not in slices and other not in by_id:
                raise UnknownSliceError(by_id[i].name, other, names)
    try:
        order = list(TopologicalSorter(named).static_order())
    except CycleError as error:
        raise CompositionCycleError(error.args[1][::-1]) from None
    for i in order:
        if i in by_id:
            slices[i] = _of(by_id[i], trees[i], [slices[other] for other in named[i]])
    return [slices[c.id] for c in asked]


def with_parts(sfs: Sequence[SlicingFunction]) -> list[SlicingFunction]:
    """Return slices, and after them those that compositions need and that aren't among them.

    Raises
    ------
    DuplicateSliceError
        If a composition needs a slice whose id another one has.

    Examples
    --------
    >>> a, b = (SlicingFunction(name, len) for name in "ab")
    >>> [sf.id for sf in with_parts([b, a & b])]
    ['b', 'a_and_b', 'a']
    """
    return list(_merged([*sfs, *(part for sf in sfs for part in sf.parts.values())]).values())


def _of(c: Composition, written: Expr, operands: Sequence[SlicingFunction]) -> SlicingFunction:
    tree = replaced(written, {Mask(sf.id): _tree(sf) for sf in operands})
    parts = _merged(part for sf in operands for part in _parts(sf).values())
    made = SlicingFunction(c.name, expr=tree, parts=parts, id=c.id, description=c.description)
    if is_composition(c.name) and c.id == composition_id(c.name):
        made.text = text_of(parse(c.name))
    return made


def _ids(tree: Expr) -> list[str]:
    return [node.slice_id for node in tree.walk() if isinstance(node, Mask)]


def is_composed(sf: SlicingFunction) -> bool:
    """Tell whether a slice is composed of others: its tree has their masks as leaves, no column.

    Examples
    --------
    >>> a = SlicingFunction("a", len)
    >>> is_composed(a), is_composed(~a)
    (False, True)
    """
    return isinstance(sf.expr, Mask) or (isinstance(sf.expr, Call) and sf.expr.op in _SIGN_OF)


def _tree(sf: SlicingFunction) -> Expr:
    return sf.expr if is_composed(sf) and sf.expr is not None else Mask(sf.id)


def _parts(sf: SlicingFunction) -> Mapping[str, SlicingFunction]:
    return sf.parts if is_composed(sf) else {sf.id: sf}


def _text(sf: SlicingFunction) -> tuple[str, int]:
    """Return a slice as compositions are written, and its rank: its text, or else its id."""
    if sf.text is not None and isinstance(sf.expr, Call):
        return sf.text, _RANKS[_SIGN_OF[sf.expr.op]]
    return sf.id, _ATOM


def _both(
    some: Mapping[str, SlicingFunction], others: Mapping[str, SlicingFunction]
) -> Mapping[str, SlicingFunction]:
    """Return slices by id, each once."""
    for shared in some.keys() & others.keys():  # of a thousand and one: one look-up
        _check_same(some[shared], others[shared])
    return {**some, **others}


def _merged(sfs: Iterable[SlicingFunction]) -> Mapping[str, SlicingFunction]:
    """Return slices by id, each once."""
    found: dict[str, SlicingFunction] = {}
    for sf in sfs:
        _check_same(found.setdefault(sf.id, sf), sf)
    return found


def _check_same(first: SlicingFunction, sf: SlicingFunction) -> None:
    if first is not sf and fingerprint(first) != fingerprint(sf):
        raise DuplicateSliceError(sf.id, first.name, sf.name)
