"""What one task of the scan does: add up counts and sums of every slice, in numpy alone.

All masks of a chunk of rows are words ``[W, n]``. Counts by a few cells are bit counts; sums and
replicates are matrix products of a word's 64 masks with the rows' digits, which float64 holds
exactly; counts by many cells, which are histograms, are ``np.bincount`` over the slices' rows. All
that is added up are whole numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.masks.words import WORD, set_bits, unpacked
from engine.metrics.fixed_point import DIGITS, digits_of, value_of
from engine.metrics.outputs import Outputs
from engine.metrics.replicates import weights as replicate_weights
from engine.metrics.states import Count, State, Sum
from engine.plain import plain

MANY = 64  # cells; a count by more that isn't replicated is a histogram
_BLOCK = 4096  # rows whose masks are multiplied at a time
PLAIN = -1  # instead of a digit's place: rows


@dataclass(frozen=True)
class Line:
    """One line of sums: a count's rows or a digit of its weights, or a digit of a sum's.

    Attributes
    ----------
    name
        The count's or sum's name.
    place
        The digit's place; :data:`PLAIN` for rows.
    """

    name: str
    place: int


@dataclass(frozen=True)
class Work:
    """What is added up of each model.

    Attributes
    ----------
    counts, sums
        The addends.
    weighted
        Whether rows have weights.
    replicates
        How many replicates there are.
    replicated
        Counts that replicates are drawn of, with their sums.
    """

    counts: tuple[Count, ...]
    sums: tuple[Sum, ...]
    weighted: bool = False
    replicates: int = 0
    replicated: frozenset[str] = frozenset()

    @property
    def numbers(self) -> int:
        """How many numbers there are for each slice, but for replicates."""
        return sum(cells for _, cells in self.lines())

    def lines(self) -> Iterator[tuple[Line, int]]:
        """Yield all lines with their number of cells, in an order that never changes."""
        for count in self.counts:
            yield Line(count.name, PLAIN), count.cells
            if self.weighted:
                for place in range(DIGITS):
                    yield Line(count.name, place), count.cells
        for one in self.sums:
            for place in range(DIGITS):
                yield Line(one.name, place), one.by.cells


@dataclass
class Added:
    """What was added up of one model in one split.

    Attributes
    ----------
    totals
        Line to ``[cells, 64 * W + 1]`` int64: each bit's, then all rows'.
    drawn
        Line to ``[cells, 64 * W + 1, replicates]`` int64.
    """

    totals: dict[Line, np.ndarray] = field(default_factory=dict)
    drawn: dict[Line, np.ndarray] = field(default_factory=dict)

    def total(self, line: Line, cells: int, width: int) -> np.ndarray:
        """Return a line's totals, to be added to."""
        if line not in self.totals:
            self.totals[line] = np.zeros((cells, width), dtype=np.int64)
        return self.totals[line]

    def draws(self, line: Line, shape: tuple[int, int, int]) -> np.ndarray:
        """Return a line's replicates, to be added to."""
        if line not in self.drawn:
            self.drawn[line] = np.zeros(shape, dtype=np.int64)
        return self.drawn[line]


@dataclass(frozen=True)
class Masks:
    """The masks of some rows, and what their replicates are drawn by.

    Attributes
    ----------
    words
        ``[W, n]`` uint64.
    hashes
        ``[n]`` uint64; None without replicates.
    """

    words: np.ndarray
    hashes: np.ndarray | None = None

    @property
    def width(self) -> int:
        """How many sums there are: of each bit, and of all rows."""
        return len(self.words) * WORD + 1


def add(
    added: Added,
    work: Work,
    masks: Masks,
    outputs: Outputs,
    weight: np.ndarray | None = None,
) -> None:
    """Add some rows of one model and split.

    Parameters
    ----------
    added
        What is added to.
    work
        What is added up.
    masks, outputs
        The rows.
    weight
        ``[n]`` float64; None without weights.

    Examples
    --------
    >>> from engine.metrics.families import addends_of
    >>> from engine.metrics.outputs import Classes
    >>> from engine.metrics.spec import parse_metric
    >>> classes = Classes((0, 1), 1)
    >>> work = Work(*addends_of([parse_metric("f1")], classes))
    >>> of = Outputs(classes, np.array([1, 0, 1]), np.array([1, 1, 0]))
    >>> add(found := Added(), work, Masks(np.array([[1, 3, 2]], np.uint64)), of)
    >>> found.totals[Line("confusion", PLAIN)][:, [0, 1, -1]].tolist()
    [[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1]]
    """
    drawn = None
    if work.replicates and masks.hashes is not None:
        drawn = replicate_weights(masks.hashes, work.replicates)
    members = None
    if plain():
        every_row = np.ones((masks.words.shape[1], 1), np.uint8)
        members = np.hstack([unpacked(masks.words.T), every_row]).astype(np.int64)
    sums = defaultdict(list)
    for one in work.sums:
        sums[one.by.name].append(one)
    every = None  # how many rows each mask has in all
    for count in sorted(work.counts, key=lambda c: c.cells == 1):
        numbers = {
            one.name: one.of(outputs) if weight is None else one.of(outputs) * weight
            for one in sums[count.name]
        }
        if weight is not None:
            numbers[count.name] = weight
        at = count.at(outputs)
        held = drawn if count.name in work.replicated else None
        if members is not None:
            _add_row_by_row(added, count, members, at, numbers, held)
        elif count.cells > MANY and held is None:
            _add_histogram(added, count, masks, at, numbers)
        else:
            every = _add_cells(added, count, masks, at, numbers, held, every)


def _add_row_by_row(
    added: Added,
    count: Count,
    members: np.ndarray,
    at: np.ndarray,
    numbers: dict[str, np.ndarray],
    drawn: np.ndarray | None,
) -> None:
    """Add a count and its numbers without packing, products or histograms: what these must equal.

    ``members`` is ``[n, 64 * W + 1]``: which slices each row is in, all rows being the last.
    """
    held = np.flatnonzero(at >= 0)
    cells, members, width = at[held], members[held], members.shape[1]
    whole: dict[Line, np.ndarray] = {Line(count.name, PLAIN): np.ones(len(held))}
    for name, values in numbers.items():
        digits = digits_of(values[held]).items()
        whole |= {Line(name, place): digit for place, digit in digits}
    for line, digit in whole.items():
        total = added.total(line, count.cells, width)
        # Rows of a weighted count aren't drawn: their weights are.
        is_drawn = drawn is not None and (line.place != PLAIN or count.name not in numbers)
        for cell in np.unique(cells):
            rows = np.flatnonzero(cells == cell)
            each = members[rows] * digit[rows].astype(np.int64)[:, None]
            total[cell] += each.sum(axis=0)
            if drawn is not None and is_drawn:
                sums = added.draws(line, (count.cells, width, drawn.shape[1]))
                sums[cell] += each.T @ drawn[held[rows]].astype(np.int64)


def state_of(added: Added, work: Work, masks: int) -> State:
    """Return what was added up as the state of all rows, then of each mask: ``[1 + masks, …]``.

    Examples
    --------
    >>> from engine.metrics.columns import ROWS
    >>> from engine.metrics.outputs import Classes
    >>> of, work = Outputs(Classes(), np.zeros(3), np.zeros(3)), Work((ROWS,), ())
    >>> add(found := Added(), work, Masks(np.array([[1, 3, 2]], np.uint64)), of)
    >>> state_of(found, work, 2).rows["rows"].tolist()
    [[3], [2], [2]]
    """

    def total(name: str, cells: int, place: int) -> np.ndarray:
        found = added.totals.get(Line(name, place))
        if found is None:
            return np.zeros((1 + masks, cells), np.int64)
        return np.concatenate([found[:, -1:], found[:, :masks]], axis=1).T

    def exact(name: str, cells: int) -> np.ndarray:
        return value_of(np.stack([total(name, cells, place) for place in range(DIGITS)]))

    rows = {c.name: total(c.name, c.cells, PLAIN) for c in work.counts}
    weights = {c.name: exact(c.name, c.cells) for c in work.counts} if work.weighted else rows
    return State(rows, weights, {s.name: exact(s.name, s.by.cells) for s in work.sums})


def _add_cells(
    added: Added,
    count: Count,
    masks: Masks,
    at: np.ndarray,
    numbers: dict[str, np.ndarray],
    drawn: np.ndarray | None,
    every: np.ndarray | None,
) -> np.ndarray:
    """Add a count by few cells, and the numbers that are added up by them.

    ``every`` is the rows of each mask where they are known, for then a count of all rows is, too;
    they are returned.
    """
    words, n_none = masks.words, int((at < 0).sum())
    if count.cells > 1 or n_none:
        order = np.argsort(at.astype(np.int16), kind="stable")
        none, order = words[:, order[:n_none]], order[n_none:]
        at, words = at[order], np.take(words, order, axis=1)  # twice as quick as words[:, order]
        numbers = {name: values[order] for name, values in numbers.items()}
        drawn = None if drawn is None else drawn[order]
    else:
        none = words[:, :0]
    digits = [
        (Line(name, place), digit)
        for name, values in numbers.items()
        for place, digit in digits_of(values).items()
    ]
    rows = added.total(Line(count.name, PLAIN), count.cells, masks.width)
    ends = np.cumsum(np.bincount(at, minlength=count.cells))
    known = every if count.cells == 1 and not n_none else None
    every = set_bits(none)
    for cell, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if start < end:
            found = set_bits(words[:, start:end]) if known is None else known
            rows[cell, :-1] += found
            rows[cell, -1] += end - start
            every = every + found
        for first in range(start, end, _BLOCK) if digits or drawn is not None else ():
            block = slice(first, min(first + _BLOCK, end))
            _add_products(
                added, count, cell, masks.width, words[:, block],
                {line: digit[block] for line, digit in digits},
                None if drawn is None else drawn[block],
                weighted=count.name in numbers,
            )  # fmt: skip
    return every


def _add_products(
    added: Added,
    count: Count,
    cell: int,
    width: int,
    words: np.ndarray,
    digits: dict[Line, np.ndarray],
    drawn: np.ndarray | None,
    *,
    weighted: bool,
) -> None:
    """Add the digits of a block of rows of one cell, and what replicates draw of them."""
    columns = np.stack(list(digits.values()), axis=1) if digits else None
    factors: dict[Line, np.ndarray] = {}
    if drawn is not None:
        exact = drawn.astype(np.float64 if digits else np.float32)
        factors = {line: exact * digit[:, None] for line, digit in digits.items()}
        if not weighted:
            factors[Line(count.name, PLAIN)] = drawn.astype(np.float32)
    for k in range(len(words) + 1):
        if k < len(words):
            members, at = unpacked(words[k][:, None]), slice(k * WORD, (k + 1) * WORD)
        else:
            members, at = np.ones((words.shape[1], 1), np.uint8), slice(k * WORD, None)
        if columns is not None:
            products = members.T.astype(np.float64) @ columns
            for j, line in enumerate(digits):
                added.total(line, count.cells, width)[cell, at] += products[:, j].astype(np.int64)
        for line, factor in factors.items():
            shape = (count.cells, width, factor.shape[1])
            product = members.T.astype(factor.dtype) @ factor
            added.draws(line, shape)[cell, at] += product.astype(np.int64)


def _add_histogram(
    added: Added, count: Count, masks: Masks, at: np.ndarray, numbers: dict[str, np.ndarray]
) -> None:
    """Add a count by many cells."""
    held = np.flatnonzero(at >= 0)
    at, n = at[held], count.cells
    digits = [
        (Line(name, place), digit)
        for name, values in numbers.items()
        for place, digit in digits_of(values[held]).items()
    ]
    rows = added.total(Line(count.name, PLAIN), n, masks.width)
    rows[:, -1] += np.bincount(at, minlength=n)
    for line, digit in digits:
        added.total(line, n, masks.width)[:, -1] += np.bincount(at, digit, n).astype(np.int64)
    for k, word in enumerate(masks.words):
        found = np.flatnonzero(unpacked(word[held][:, None]))
        row, bit = found >> 6, found & 63
        where = at[row] * WORD + bit
        part = slice(k * WORD, (k + 1) * WORD)
        rows[:, part] += np.bincount(where, minlength=n * WORD).reshape(n, WORD)
        for line, digit in digits:
            more = np.bincount(where, digit[row], n * WORD).reshape(n, WORD)
            added.total(line, n, masks.width)[:, part] += more.astype(np.int64)


@dataclass
class Kept:
    """The scores of slices that are small so far, with which rankings are exact.

    Attributes
    ----------
    rows
        ``[64 * W + 1]`` scored rows of each slice, and of all rows.
    found
        Per chunk: whose, score, whether the label is positive, weight; ``[pairs]`` each.
    """

    rows: np.ndarray
    found: list[tuple[np.ndarray, ...]] = field(default_factory=list)


def keep(kept: Kept, masks: Masks, outputs: Outputs, weight: np.ndarray | None, most: int) -> None:
    """Keep the scores of slices that have no more than ``most`` scored rows so far."""
    held = np.flatnonzero((outputs.label >= 0) & ~np.isnan(outputs.score))
    every = np.ones((1, len(held)), np.uint64)  # a word whose lowest bit is all rows
    words = np.concatenate([masks.words[:, held], every])
    kept.rows += set_bits(words)[: masks.width]
    small = np.zeros(len(words) * WORD, bool)
    small[: masks.width] = kept.rows <= most
    words &= np.packbits(small, bitorder="little").view(np.uint64)[:, None]
    some = np.flatnonzero(words.any(axis=0))
    row, bit = unpacked(words[:, some].T).nonzero()
    at = held[some[row]]
    positive = outputs.label[at] == outputs.classes.positive
    weights = np.ones(len(at)) if weight is None else weight[at]
    kept.found.append((bit, outputs.score[at], positive, weights))


def kept_slices(
    kept: Kept, most: int
) -> Iterator[tuple[int, int, tuple[np.ndarray, np.ndarray, np.ndarray] | None]]:
    """Yield each slice that has rows: whose, how many, and their scores if they are few enough."""
    parts = [np.concatenate(part) for part in zip(*kept.found, strict=True)]
    order = np.argsort(parts[0], kind="stable") if parts else np.arange(0)
    whose, *columns = (part[order] for part in parts) if parts else (order,)
    starts = np.searchsorted(whose, np.arange(len(kept.rows) + 1))
    for at in np.flatnonzero(kept.rows):
        part = slice(starts[at], starts[at + 1])
        score, positive, weight = (c[part] for c in columns)
        few = kept.rows[at] <= most
        yield int(at), int(kept.rows[at]), (score, positive, weight) if few else None


def scores_bytes(score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> bytes:
    """Return kept scores as bytes."""
    return np.stack([score, positive.astype(np.float64), weight]).astype("<f8").tobytes()


def scores_from(parts: Sequence[bytes]) -> np.ndarray:
    """Return scores ``[3, n]`` of several tasks, in an order that none of them decides.

    Examples
    --------
    >>> part = scores_bytes(np.array([0.5]), np.array([True]), np.array([1.0]))
    >>> scores_from([part, part]).tolist()
    [[0.5, 0.5], [1.0, 1.0], [1.0, 1.0]]
    """
    both = np.concatenate([np.frombuffer(p, "<f8").reshape(3, -1) for p in parts], axis=1)
    return both[:, np.lexsort(both[::-1])]
