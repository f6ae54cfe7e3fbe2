r"""Regular expressions of a fixed shape, decided for a whole batch around the hits of a literal.

A window is a row of character sets and conditions on the place, as many as the text that it
matches has characters. A repeat at either end of a search is as many characters as it has to be:
``\w+\.ly`` occurs where ``\w\.ly`` does. A chain is windows with ``.*`` or ``.+`` between them.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from re import _constants as c  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from engine.matching.charsets import ASCII_SIZE, Charset
from engine.matching.regex import At, Choice, Joined, Node, Opaque, Repeat, parse
from engine.matching.scan import Needle
from engine.matching.text import TextBatch, code_points, widths

_MOST_CHAINS = 128
_MOST_ELEMENTS = 60
_MOST_VARIANTS = 12  # lengths of one repeat that are tried one by one

Element = Charset | At


@dataclass(frozen=True)
class Gap:
    """Any characters between two windows, ``least`` of them or more; line feeds if allowed."""

    least: int
    newline: bool


@dataclass(frozen=True)
class Window:
    """What is around a literal, or around one character; both sides are read outwards.

    Attributes
    ----------
    anchor
        The literal, or the set of the character.
    before, after
        What has to hold on either side.
    twins
        Whether a character of ``charsets.FOLD_TO_ASCII`` may stand for one of the literal's.
    """

    anchor: Needle | Charset
    before: tuple[Element, ...]
    after: tuple[Element, ...]
    twins: bool = False


@dataclass(frozen=True)
class Chain:
    """Windows that follow one another, with a gap between each and the next."""

    windows: tuple[Window, ...]
    gaps: tuple[Gap, ...]


class _NotFixedError(Exception):
    """The expression isn't a handful of chains."""


def chains(node: Node) -> tuple[Chain, ...] | None:
    r"""Return chains of which one occurs wherever the expression does, and nowhere else.

    Examples
    --------
    >>> [chain] = chains(parse(r"\w+\.ly"))
    >>> chain.windows[0].anchor.text, len(chain.windows[0].before)
    (b'.ly', 1)
    >>> chains(parse(r"a\s+b")) is None
    True
    """
    try:
        every = [
            sequence
            for unfolded in _sequences(node)
            for shorter in _shortened(unfolded, 1)
            for shortest in _shortened(shorter[::-1], -1)
            for sequence in _spread(shortest[::-1])
        ]
        if len(every) > _MOST_CHAINS:
            return None
        return tuple(map(_chain, dict.fromkeys(every)))
    except _NotFixedError:
        return None


_Sequence = tuple[Any, ...]  # of elements, repeats and gaps


def _sequences(node: Node) -> list[_Sequence]:
    """Return the alternatives of a node; what may be of several lengths stays as it is."""
    match node:
        case Charset() | At():
            return [(node,)]
        case Joined():
            return _product([_sequences(part) for part in node.parts])
        case Choice():
            return [s for part in node.parts for s in _sequences(part)]
        case Repeat(part=part, least=least, most=most):
            if least != most:
                return [(node,)]
            if least > _MOST_ELEMENTS:
                raise _NotFixedError
            return _product([_sequences(part)] * least)
        case Opaque():
            raise _NotFixedError


def _product(parts: list[list[_Sequence]]) -> list[_Sequence]:
    product: list[_Sequence] = [()]
    for alternatives in parts:
        if len(product) * len(alternatives) > _MOST_CHAINS:
            raise _NotFixedError
        product = [a + b for a in product for b in alternatives]
    return product


def _shortened(sequence: _Sequence, step: int) -> Iterator[_Sequence]:
    """Give a repeat at the beginning the length that it must have: a search may start later.

    A search may end sooner too: with a step of -1 the sequence is one read backwards.
    """
    if not (sequence and isinstance(sequence[0], Repeat)):
        yield sequence
        return
    least = Repeat(sequence[0].part, sequence[0].least, sequence[0].least)
    for alternative in _sequences(least):
        yield from _shortened(alternative[::step] + sequence[1:], step)


def _spread(sequence: _Sequence) -> Iterator[_Sequence]:
    """Write out the lengths of a repeat inside, or make it a gap."""
    at = next((i for i, e in enumerate(sequence) if isinstance(e, Repeat)), None)
    if at is None:
        yield sequence
        return
    repeat = sequence[at]
    if repeat.most is None:
        middle: Iterable[_Sequence] = [(_gap(repeat),)]
    elif repeat.most - repeat.least < _MOST_VARIANTS:
        lengths = range(repeat.least, repeat.most + 1)
        middle = [s for n in lengths for s in _sequences(Repeat(repeat.part, n, n))]
    else:
        raise _NotFixedError
    rest = list(itertools.islice(_spread(sequence[at + 1 :]), _MOST_CHAINS + 1))
    for inside, behind in itertools.product(middle, rest):
        if any(isinstance(e, Repeat) for e in inside):
            yield from _spread(sequence[:at] + inside + behind)
        else:
            yield sequence[:at] + inside + behind


def _gap(repeat: Repeat) -> Gap:
    part = repeat.part
    if repeat.least > 1 or not isinstance(part, Charset) or part.item[0] is not c.ANY:
        raise _NotFixedError
    return Gap(repeat.least, ord("\n") in part.ascii)


def _chain(sequence: _Sequence) -> Chain:
    if len(sequence) > _MOST_ELEMENTS:
        raise _NotFixedError
    gaps = [i for i, e in enumerate(sequence) if isinstance(e, Gap)]
    between = itertools.pairwise([-1, *gaps, len(sequence)])
    windows = tuple(_window(sequence[gap + 1 : following]) for gap, following in between)
    return Chain(windows, tuple(sequence[i] for i in gaps))


def _window(elements: tuple[Element, ...]) -> Window:
    """Choose the literal, or the character, that is expected to occur least."""
    sets = ((i, e) for i, e in enumerate(elements) if isinstance(e, Charset))
    candidates = [*_runs(elements)] or [(i, i + 1, one, False) for i, one in sets]
    if not candidates:
        raise _NotFixedError
    begin, end, anchor, twins = min(candidates, key=lambda c: (c[2].expected, c[0]))
    return Window(anchor, elements[:begin][::-1], elements[end:], twins)


def _runs(elements: tuple[Element, ...]) -> Iterator[tuple[int, int, Needle | Charset, bool]]:
    """Yield the literals of a window: where each begins and ends, and if it may have twins."""
    begin, text, any_case, twins = 0, b"", None, False
    for i, element in enumerate([*elements, None]):
        piece, folds = element.spelling if isinstance(element, Charset) else (b"", None)
        clash = None not in {any_case, folds} and any_case != folds
        if text and (not piece or clash):
            yield begin, i, Needle(text, bool(any_case)), twins
            text, any_case, twins = b"", None, False
        if piece:
            begin = begin if text else i
            text += piece
            any_case = folds if any_case is None else any_case
            twins = twins or (isinstance(element, Charset) and element.has_wide_twin)


@dataclass(frozen=True)
class _Spans:
    """Where matches begin and end, and their rows; ascending."""

    start: np.ndarray
    end: np.ndarray
    row: np.ndarray

    def where(self, keep: np.ndarray) -> _Spans:
        return _Spans(self.start[keep], self.end[keep], self.row[keep])


def rows_of(
    chain: Chain, text: TextBatch, hits: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return the rows in which a chain occurs, maybe more than once.

    Parameters
    ----------
    chain
        The chain.
    text
        The batch.
    hits
        For each window, positions and rows of its anchor, ascending.
    """
    matches = [
        _matched(window, text, position, row)
        for window, (position, row) in zip(chain.windows, hits, strict=True)
    ]
    reached = matches[0]
    for gap, later in zip(chain.gaps, matches[1:], strict=True):
        reached = later.where(_reachable(gap, text, reached, later))
    return reached.row


def _reachable(gap: Gap, text: TextBatch, earlier: _Spans, later: _Spans) -> np.ndarray:
    """Return which of the later matches have an earlier one before them: the nearest is enough."""
    if not len(earlier.end):
        return np.zeros(len(later.start), dtype=bool)
    nearest = np.searchsorted(earlier.end, later.start - gap.least, "right") - 1
    reachable: np.ndarray = (nearest >= 0) & (earlier.row[nearest] == later.row)
    if not gap.newline and len(text.newlines):
        before = np.searchsorted(text.newlines, earlier.end[nearest])
        reachable &= np.searchsorted(text.newlines, later.start) <= before
    return reachable


def _matched(window: Window, text: TextBatch, position: np.ndarray, row: np.ndarray) -> _Spans:
    """Return a window's matches."""
    anchor = window.anchor
    width = len(anchor.text) if isinstance(anchor, Needle) else widths(text.data, position)
    spans = _Spans(position, position + width, row)
    for element in window.after:
        spans = _followed(element, text, spans)
    for element in window.before:
        spans = _preceded(element, text, spans)
    return spans


def _followed(element: Element, text: TextBatch, spans: _Spans) -> _Spans:
    """Keep the matches that an element follows, and add it to them."""
    if isinstance(element, At):
        return spans.where(_CONDITIONS[element.kind](element, text, spans.end, spans.row))
    inside = spans.where(spans.end < text.offsets[spans.row + 1])
    fitting = inside.where(_member(element, text, inside.end))
    return _Spans(fitting.start, fitting.end + widths(text.data, fitting.end), fitting.row)


def _preceded(element: Element, text: TextBatch, spans: _Spans) -> _Spans:
    """Keep the matches that an element precedes, and add it to them."""
    if isinstance(element, At):
        return spans.where(_CONDITIONS[element.kind](element, text, spans.start, spans.row))
    inside = spans.where(spans.start > text.offsets[spans.row])
    wider = _Spans(_before(text, inside.start), inside.end, inside.row)
    return wider.where(_member(element, text, wider.start))


def _member(charset: Charset, text: TextBatch, position: np.ndarray) -> np.ndarray:
    """Return which of the characters at some positions are in a set."""
    byte = text.data[position]
    member: np.ndarray = charset.table[byte]
    if charset.beyond:
        wide = np.flatnonzero(byte >= ASCII_SIZE)
        if len(wide):
            member[wide] = charset.wide.hold(code_points(text.data, position[wide]))
    return member


def _before(text: TextBatch, position: np.ndarray) -> np.ndarray:
    """Return where the characters before some positions begin."""
    before = position - 1
    for _ in range(3):
        inside = np.flatnonzero(text.data[before] & 0xC0 == 0x80)  # noqa: PLR2004 - 0b10xxxxxx
        if not len(inside):
            break
        before[inside] -= 1
    return before


def _is_boundary(at: At, text: TextBatch, position: np.ndarray, row: np.ndarray) -> Any:
    word = _word(at.ascii)
    after: np.ndarray = position < text.offsets[row + 1]
    after[after] = _member(word, text, position[after])
    before: np.ndarray = position > text.offsets[row]
    before[before] = _member(word, text, _before(text, position[before]))
    return before != after


_NEWLINE = ord("\n")
# By opcode: at which positions, in which rows, a condition on the place holds.
_CONDITIONS: dict[Any, Callable[[At, TextBatch, np.ndarray, np.ndarray], Any]] = {
    c.AT_BEGINNING: lambda _, text, at, row: at == text.offsets[row],
    c.AT_BEGINNING_STRING: lambda _, text, at, row: at == text.offsets[row],
    c.AT_BEGINNING_LINE: lambda _, text, at, row: (
        (text.data[at - 1] == _NEWLINE) | (at == text.offsets[row])
    ),
    c.AT_END: lambda _, text, at, row: (
        ((text.data[at] == _NEWLINE) & (at + 1 == text.offsets[row + 1]))
        | (at == text.offsets[row + 1])
    ),
    c.AT_END_LINE: lambda _, text, at, row: (
        (text.data[at] == _NEWLINE) | (at == text.offsets[row + 1])
    ),
    c.AT_END_STRING: lambda _, text, at, row: at == text.offsets[row + 1],
    c.AT_BOUNDARY: _is_boundary,
    c.AT_NON_BOUNDARY: lambda *place: ~_is_boundary(*place),
}


@functools.cache
def _word(ascii_: bool) -> Charset:
    word = parse(r"\w", re.ASCII if ascii_ else 0)
    assert isinstance(word, Charset)
    return word


def places(charset: Charset, text: TextBatch) -> tuple[np.ndarray, np.ndarray]:
    """Return where the characters of a set are, and in which rows; none in null rows."""
    marks = np.frombuffer(
        text.data[: text.size].tobytes().translate(charset.table.tobytes()), dtype=bool
    )
    position = np.flatnonzero(marks)
    if charset.beyond:
        position = np.sort(np.concatenate([position, text.places(charset.wide)]))
    row = text.rows_at(position)
    known = slice(None) if text.valid is None else text.valid[row]
    return position[known], row[known]
