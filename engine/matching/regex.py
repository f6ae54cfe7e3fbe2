"""What a Python regular expression's syntax says without running it.

`re` itself parses the expression, into a small tree. The tree says which literals must occur
wherever it matches, and whether it may take time exponential in the text's length.
"""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from engine.matching.charsets import KEPT_FLAGS, Charset, charset, hashable
from engine.matching.scan import Needle

_MOST_LITERALS = 256  # alternatives of one clause
_MOST_JOINED = 16  # alternatives that a product of several may have
_MOST_CHARACTERS = 4  # of a set that is spelled out
_MOST_POSITIONS = 80  # of a repeated part that is searched for ambiguity
_LOOPS = 5  # repeats from which on a part counts as a loop

_Clause = frozenset[Needle]
_EMPTY: _Clause = frozenset({Needle(b"")})


@dataclass(frozen=True)
class Joined:
    """Parts, one after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of several parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """A part, several times; ``most`` is None where there is no bound."""

    part: Node
    least: int
    most: int | None


@dataclass(frozen=True)
class At:
    """A condition on the place: an opcode of `re`, another one of ``^`` and ``$`` by MULTILINE."""

    kind: Any
    ascii: bool


@dataclass(frozen=True)
class Opaque:
    """Something not analysed; what it matches holds what ``part`` holds, if there is one."""

    part: Node | None


Node = Joined | Choice | Repeat | At | Opaque | Charset


def parse(pattern: str, flags: int = 0) -> Node:
    """Return the tree of a regular expression.

    Raises
    ------
    re.error
        If the pattern doesn't compile.

    Examples
    --------
    >>> tree = parse("(a+|b)$")
    >>> type(tree).__name__, [type(p).__name__ for p in tree.parts]
    ('Joined', ['Choice', 'At'])
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python itself warns where the user's code compiles it
        parsed = _parser.parse(pattern, flags & ~re.DEBUG)
    return _joined(parsed, parsed.state.flags)


def _joined(items: Iterable[tuple[Any, Any]], flags: int) -> Node:
    parts = [_node(op, value, flags) for op, value in items]
    return parts[0] if len(parts) == 1 else Joined(tuple(parts))


def _node(op: Any, value: Any, flags: int) -> Node:
    if op in _CHARSETS:
        return charset(op, hashable(value), flags & KEPT_FLAGS)
    if op is c.SUBPATTERN:
        _, added, removed, inner = value
        outer = flags & ~_TYPES if added & _TYPES else flags
        return _joined(inner, (outer | added) & ~removed)
    if op is c.BRANCH:
        return Choice(tuple(_joined(branch, flags) for branch in value[1]))
    if op in {c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT}:
        least, most, inner = value
        repeat = Repeat(_joined(inner, flags), least, None if most is c.MAXREPEAT else most)
        return Opaque(repeat) if op is c.POSSESSIVE_REPEAT else repeat
    if op is c.AT:
        kind = c.AT_MULTILINE.get(value, value) if flags & re.MULTILINE else value
        return At(kind, bool(flags & re.ASCII))
    return Opaque(_joined(value, flags) if op is c.ATOMIC_GROUP else None)


_TYPES = re.ASCII | re.LOCALE | re.UNICODE  # of which one is in force
_CHARSETS = {c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN}


def nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for part in _below(node):
        yield from nodes(part)


def _below(node: Node) -> tuple[Node, ...]:
    match node:
        case Joined() | Choice():
            return node.parts
        case Repeat():
            return (node.part,)
        case Opaque():
            return () if node.part is None else (node.part,)
        case _:
            return ()


def required(node: Node) -> tuple[_Clause, ...]:
    r"""Return sets of literals; of each set one at least occurs in whatever the node matches.

    Rows that hold a character of ``charsets.FOLD_TO_ASCII`` are excepted where case doesn't count.

    Examples
    --------
    >>> [sorted(n.text for n in clause) for clause in required(parse(r"(?:cat|dog)s?\s+food"))]
    [[b'cat', b'dog'], [b'food']]
    """
    exact, clauses = _literals(node)
    return _useful([*clauses, *([exact] if exact is not None else [])])


def _useful(clauses: Iterable[_Clause]) -> tuple[_Clause, ...]:
    """Drop clauses that say nothing, and of each clause the literals that hold another."""
    return tuple(_shortest(clause) for clause in clauses if all(n.text for n in clause))


def _shortest(clause: _Clause) -> _Clause:
    shortest: list[Needle] = []
    for needle in sorted(clause, key=lambda n: (len(n.text), n.text, not n.any_case)):
        if not any(
            k.text in (needle.text.lower() if k.any_case else needle.text)
            and k.any_case >= needle.any_case
            for k in shortest
        ):
            shortest.append(needle)
    return frozenset(shortest)


def _literals(node: Node) -> tuple[_Clause | None, list[_Clause]]:
    """Return all that a node can match, if that is a few literals, and clauses that it implies."""
    match node:
        case At():
            return _EMPTY, []
        case Charset():
            return _spelled(node), []
        case Joined():
            return _joined_literals(node.parts)
        case Choice():
            return _choice_literals(node.parts)
        case Repeat():
            return _repeat_literals(node)
        case Opaque():
            return None, [] if node.part is None else list(required(node.part))


def _spelled(one: Charset) -> _Clause | None:
    """Return the characters of a small set as literals."""
    text, any_case = one.spelling
    if text:
        return frozenset({Needle(text, bool(any_case))})
    if one.beyond or len(one.ascii) > _MOST_CHARACTERS:
        return None
    return frozenset(Needle(bytes([b])) for b in one.ascii)


def _joined_literals(parts: Iterable[Node]) -> tuple[_Clause | None, list[_Clause]]:
    run, clauses, whole = _EMPTY, [], True
    for part in parts:
        exact, implied = _literals(part)
        clauses += implied
        if exact is not None and len(run) * len(exact) <= max(_MOST_JOINED, len(run), len(exact)):
            run = frozenset(_join(a, b) for a in run for b in exact)
        else:
            clauses.append(run)
            run, whole = exact or _EMPTY, False
    return (run, clauses) if whole else (None, [*clauses, run])


def _join(first: Needle, second: Needle) -> Needle:
    any_case = first.any_case or second.any_case
    text = first.text + second.text
    return Needle(text.lower() if any_case else text, any_case)


def _choice_literals(parts: tuple[Node, ...]) -> tuple[_Clause | None, list[_Clause]]:
    branches = [_literals(part) for part in parts]
    exact = [e for e, _ in branches]
    if None not in exact:
        union = frozenset().union(*exact)  # type: ignore[arg-type]
        if len(union) <= _MOST_LITERALS:
            return union, []
    useful = [_useful([*cs, *([e] if e else [])]) for e, cs in branches]
    if not all(useful):
        return None, []
    union = frozenset().union(*(min(clauses, key=expected) for clauses in useful))
    return None, [union] if len(union) <= _MOST_LITERALS else []


def _repeat_literals(node: Repeat) -> tuple[_Clause | None, list[_Clause]]:
    exact, clauses = _literals(node.part)
    if node.least == 0:
        return (exact | _EMPTY if exact is not None and node.most == 1 else None), []
    if exact is not None and node.least == node.most:
        return _joined_literals([node.part] * node.least)
    if exact is None:
        return None, clauses
    repeated = _joined_literals([node.part] * min(node.least, _MOST_JOINED))
    return None, [*repeated[1], *([repeated[0]] if repeated[0] is not None else [])]


def expected(clause: _Clause) -> float:
    """Hits expected per byte of text."""
    return sum(needle.expected for needle in clause)


def backtracks(pattern: str, flags: int = 0, whole: bool = False) -> str | None:
    r"""Return the part of a regular expression that may take exponential time, or None.

    That is a loop which can read the same text in several ways, followed by something that can
    fail. Python's `re` tries all of them.

    Parameters
    ----------
    pattern, flags
        As `re.compile` takes them.
    whole
        Whether the whole text has to match, as `re.fullmatch` asks for.

    Examples
    --------
    >>> backtracks(r"^(\w+\s?)*$"), backtracks(r"(a|b)*c")
    ('(\\w+\\s?)*', None)
    """
    if not _risky(parse(pattern, flags), whole):
        return None
    for part in sorted(_repeated_groups(pattern), key=len):
        try:
            if part != pattern and _risky(parse(part, flags), True):
                return part
        except re.error:
            continue
    return pattern


def _repeated_groups(pattern: str) -> Iterator[str]:
    """Yield the groups of a pattern's source that are repeated, with the repeat."""
    opened: list[int] = []
    for token in _PARTS.finditer(pattern):
        if token[0] == "(":
            opened.append(token.start())
        elif token[0] == ")" and opened:
            start = opened.pop()
            repeat = _QUANTIFIER.match(pattern, token.end())
            if repeat:
                yield pattern[start : repeat.end()]


_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)", re.DOTALL)
_QUANTIFIER = re.compile(r"[*+]|\{\d*,?\d*\}")


def _risky(node: Node, fails: bool) -> bool:
    """Tell whether a node holds an ambiguous loop; ``fails``: whether what follows can fail."""
    match node:
        case Joined():
            return any(
                _risky(part, fails or any(map(_can_fail, node.parts[i + 1 :])))
                for i, part in enumerate(node.parts)
            )
        case Repeat():
            loop = node.most is None or node.most >= _LOOPS
            return (fails and loop and _ambiguous(node)) or _risky(node.part, fails or loop)
        case _:
            return any(_risky(part, fails) for part in _below(node))


def _can_fail(node: Node) -> bool:
    match node:
        case Joined():
            return any(map(_can_fail, node.parts))
        case Choice():
            return all(map(_can_fail, node.parts))
        case Repeat():
            return node.least > 0 and _can_fail(node.part)
        case _:
            return True


@dataclass
class _Positions:
    """Glushkov's construction, with each way from one place to the next counted.

    Where two nested loops both lead from a place to itself, there are two ways.
    """

    sets: list[Charset]
    edges: Counter[tuple[int, int]]

    def of(self, node: Node) -> tuple[Counter[int], Counter[int], bool]:
        """Return first and last places of a node, and whether it can be empty."""
        match node:
            case Charset():
                self.sets.append(node)
                here = Counter({len(self.sets) - 1: 1})
                return here, here, False
            case At():
                return Counter(), Counter(), True
            case Joined() | Opaque():
                return self._one_after_the_other(_below(node))
            case Choice():
                firsts, lasts, empties = zip(*map(self.of, node.parts), strict=True)
                return sum(firsts, Counter()), sum(lasts, Counter()), any(empties)
            case Repeat(part=part, least=least, most=None):
                first, last, empty = self.of(part)
                self._link(last, first)
                return first, last, empty or least == 0
            case Repeat():
                return self._one_after_the_other(_written_out(node))

    def _one_after_the_other(
        self, parts: Iterable[Node]
    ) -> tuple[Counter[int], Counter[int], bool]:
        first, last, empty = Counter[int](), Counter[int](), True
        for part in parts:
            f, end, e = self.of(part)
            self._link(last, f)
            first, last = first + f if empty else first, last + end if e else end
            empty = empty and e
        return first, last, empty

    def _link(self, last: Counter[int], first: Counter[int]) -> None:
        for (a, m), (b, n) in itertools.product(last.items(), first.items()):
            self.edges[a, b] += m * n


def _written_out(repeat: Repeat) -> tuple[Node, ...]:
    """Return a bounded repeat as so many parts, the last ones optional."""
    optional = Choice((repeat.part, Joined(())))
    return (repeat.part,) * repeat.least + (optional,) * ((repeat.most or 0) - repeat.least)


def _size(node: Node) -> int:
    """Return how many character sets a node has, bounded repeats written out."""
    inner = sum(map(_size, _below(node)))
    times = max(1, node.most or 1) if isinstance(node, Repeat) else 1
    return inner * times + isinstance(node, Charset)


def _ambiguous(loop: Repeat) -> bool:
    """Tell whether a loop can come back to a place, by the same text, in two ways."""
    places = _Positions([], Counter())
    if _size(loop.part) > _MOST_POSITIONS:
        return False
    places.of(Repeat(loop.part, 0, None))
    after: dict[int, list[int]] = {}
    for a, b in places.edges:
        after.setdefault(a, []).append(b)
    n = len(places.sets)
    if any(ways > 1 and a in _reach(after, b) for (a, b), ways in places.edges.items()):
        return True
    pairs = {
        p * n + q: [
            a * n + b
            for a, b in itertools.product(after[p], after[q])
            if a == b or _overlap(places.sets[a], places.sets[b])
        ]
        for p, q in itertools.product(after, after)
    }
    back: dict[int, list[int]] = {}
    for here, there in pairs.items():
        for pair in there:
            back.setdefault(pair, []).append(here)
    split = {pair for pair in pairs if pair // n != pair % n}
    return any(_reach(pairs, s * n + s) & _reach(back, s * n + s) & split for s in after)


def _reach(after: dict[int, list[int]], start: int) -> set[int]:
    """Return what can be reached from a place, itself included."""
    reachable, todo = {start}, [start]
    while todo:
        for there in after.get(todo.pop(), ()):
            if there not in reachable:
                reachable.add(there)
                todo.append(there)
    return reachable


@functools.lru_cache(4096)
def _overlap(a: Charset, b: Charset) -> bool:
    if a.ascii & b.ascii or not (a.beyond and b.beyond):
        return bool(a.ascii & b.ascii)
    return any(p <= s and r <= q for p, q in a.ranges for r, s in b.ranges)
