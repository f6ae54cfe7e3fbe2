"""What one task of the scan does: add up counts and sums of every slice, in numpy alone.

All masks of a chunk of rows are words ``[W, n]``. Counts by a few cells are bit counts; sums and
replicates are matrix products of a word's 64 masks with the columns that the rows' numbers are cut
into, which float64 holds exactly; counts by many cells, which are histograms, are ``np.bincount``
over the slices' rows. All that is added up are whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.metrics.formulas.exact import BITS, Exact, Term, columns, gathered
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.formulas.states import Count, State, Sum
from engine.metrics.scan.replicates import LEAST
from engine.metrics.scan.replicates import weights as replicate_weights
from engine.plain import plain
from engine.words import WORD, set_bits, unpacked

MANY = 64  # cells; a count by more that isn't replicated is a histogram
_BLOCK = 4096  # rows whose masks are multiplied at a time
_DRAWN_BLOCK = 1024  # the same where replicates draw numbers
_SMALL = 10**6  # multiplications up to which BLAS has a quicker way, where it has one
# Sums of as many numbers of as many bits, each in MOST_PARTS parts, are exact in float64: of a
# block of rows, drawn up to eight times; of a chunk.
_PRODUCT_BITS, _HISTOGRAM_BITS = 38, 33
_FULL = 2.0**62  # a sum that may be larger is cut into digits
_USUAL_PLACES = 4  # of an exact sum's digits that aren't 0
PLAIN = None  # instead of an exponent: rows
# What rows bring to a sum: products that add up to their numbers, and whether these are rounded.
_Numbers = tuple[tuple[Term, ...], bool]


@dataclass(frozen=True)
class Line:
    """One line of sums: a count's rows, or a column of its weights' or of a sum's numbers.

    Attributes
    ----------
    name
        The count's or sum's name.
    exponent
        The sums are of units of 2^exponent; :data:`PLAIN` for rows.
    """

    name: str
    exponent: int | None


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
        """How many numbers there usually are for each slice, but for replicates."""
        return sum(c.cells for c in self.counts) + sum(self.exact.values()) * _USUAL_PLACES

    @property
    def exact(self) -> dict[str, int]:
        """What is added up exactly, weights and sums, and in how many cells."""
        weights = {c.name: c.cells for c in self.counts if self.weighted}
        return weights | {s.name: s.by.cells for s in self.sums}


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
    _most: dict[tuple[int, Line], float] = field(default_factory=dict, repr=False)

    def carried(self) -> Added:
        """Return the same with lines of digits, which are few and small."""
        return Added(self._digits(self.totals), self._digits(self.drawn))

    def total(self, line: Line, shape: tuple[int, ...], most: float = 0.0) -> np.ndarray:
        """Return a line's totals, to which numbers of a size of at most ``most`` are added.

        Of a shape ``(cells, width, replicates)`` they are its replicates'.
        """
        key = (len(shape), line)
        lines = self.totals if len(shape) == 2 else self.drawn  # noqa: PLR2004
        if self._most.get(key, 0.0) + most > _FULL:
            total = lines.pop(line)
            self._most[key] = 0.0
            for one, digit in _digits_of(line.name, {line.exponent or 0: total}, shape).items():
                lines.setdefault(one, np.zeros(shape, np.int64))[...] += digit
                at = (len(shape), one)
                self._most[at] = self._most.get(at, 0.0) + 2.0**BITS
        self._most[key] = self._most.get(key, 0.0) + most
        if line not in lines:
            lines[line] = np.zeros(shape, dtype=np.int64)
        return lines[line]

    @staticmethod
    def _digits(lines: Mapping[Line, np.ndarray]) -> dict[Line, np.ndarray]:
        digits = {line: total for line, total in lines.items() if line.exponent is PLAIN}
        for name in dict.fromkeys(line.name for line in lines if line.exponent is not PLAIN):
            sums = _lines_of(lines, name)
            digits |= _digits_of(name, sums, next(iter(sums.values())).shape)
        return digits


def _lines_of(lines: Mapping[Line, np.ndarray], name: str) -> dict[int, np.ndarray]:
    return {
        line.exponent: total
        for line, total in lines.items()
        if line.name == name and line.exponent is not None
    }


def _digits_of(
    name: str, sums: Mapping[int, np.ndarray], shape: tuple[int, ...]
) -> dict[Line, np.ndarray]:
    number = gathered(sums, shape)
    return {Line(name, BITS * (number.low + i)): digit for i, digit in enumerate(number.digits)}


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


def add(added: Added, work: Work, masks: Masks, outputs: Outputs) -> None:
    """Add some rows of one model and split.

    Parameters
    ----------
    added
        What is added to.
    work
        What is added up.
    masks, outputs
        The rows.

    Examples
    --------
    >>> from engine.metrics.formulas.families import addends_of
    >>> from engine.metrics.formulas.outputs import Classes
    >>> from engine.metrics.catalog import parse_metric
    >>> classes = Classes((0, 1), 1)
    >>> work = Work(*addends_of([parse_metric("f1")], classes))
    >>> of = Outputs(classes, np.array([1, 0, 1]), np.array([1, 1, 0]))
    >>> add(found := Added(), work, Masks(np.array([[1, 3, 2]], np.uint64)), of)
    >>> found.totals[Line("confusion", PLAIN)][:, [0, 1, -1]].tolist()
    [[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1]]
    """
    drawn = members = None
    if work.replicates and masks.hashes is not None:
        drawn = replicate_weights(masks.hashes, work.replicates)
    if plain():
        members = np.pad(unpacked(masks.words.T), ((0, 0), (0, 1)), constant_values=1)
    every = None  # how many rows each mask has in all
    whole: dict[Count, dict[str, _Numbers]] = {}  # counts in whose one cell all rows are
    for count in sorted(work.counts, key=lambda c: c.cells == 1):
        sums = (one for one in work.sums if one.by.name == count.name)
        numbers: dict[str, _Numbers] = {one.name: (one.of(outputs), one.rounded) for one in sums}
        if outputs.weight is not None:
            for name, (terms, rounded) in numbers.items():
                numbers[name] = tuple((*term, outputs.weight) for term in terms), rounded
            numbers[count.name] = ((outputs.weight,),), True
        at = count.at(outputs)
        draws = drawn if count.name in work.replicated else None
        if members is not None:
            _add_row_by_row(added, count, members, at, numbers, draws)
        elif count.cells > MANY and draws is None:
            _add_histogram(added, count, masks, at, numbers)
        elif count.cells == 1 and draws is None and not (at < 0).any():
            whole[count] = numbers
        else:
            every = _add_cells(added, count, masks, at, numbers, draws, every)
    _add_whole(added, whole, masks, every)


def _at_rows(numbers: Mapping[str, _Numbers], rows: np.ndarray) -> dict[str, _Numbers]:
    """Return some rows' numbers, made of each array's rows once."""
    each = {id(f): f for terms, _ in numbers.values() for term in terms for f in term}
    parts = {key: factor[rows] for key, factor in each.items()}
    return {
        name: (tuple(tuple(parts[id(f)] for f in term) for term in terms), rounded)
        for name, (terms, rounded) in numbers.items()
    }


def _columns_of(numbers: Mapping[str, _Numbers], bits: int) -> dict[Line, np.ndarray]:
    """Return the columns that numbers are cut into, those of the same arrays once."""
    keys = {
        name: (rounded, *(tuple(map(id, term)) for term in terms))
        for name, (terms, rounded) in numbers.items()
    }
    different = {key: numbers[name] for name, key in keys.items()}
    cut = {key: columns(terms, bits, rounded=of) for key, (terms, of) in different.items()}
    return {Line(name, e): c for name, key in keys.items() for e, c in cut[key].items()}


def _add_row_by_row(
    added: Added,
    count: Count,
    members: np.ndarray,
    at: np.ndarray,
    numbers: Mapping[str, _Numbers],
    drawn: np.ndarray | None,
) -> None:
    """Add a count and its numbers without packing, products or histograms: what these must equal.

    ``members`` is ``[n, 64 * W + 1]``: which slices each row is in, all rows being the last.
    """
    counted = np.flatnonzero(at >= 0)
    cells, members = at[counted], members[counted].astype(np.int64)
    shape = (count.cells, members.shape[1])
    whole = {Line(count.name, PLAIN): np.ones(len(counted))}
    whole |= _columns_of(_at_rows(numbers, counted), _PRODUCT_BITS)
    for line, digit in whole.items():
        total = added.total(line, shape, _most(digit))
        # Rows of a weighted count aren't drawn: their weights are.
        is_drawn = line.exponent is not PLAIN or count.name not in numbers
        for cell in np.unique(cells):
            rows = np.flatnonzero(cells == cell)
            each = members[rows] * digit[rows].astype(np.int64)[:, None]
            total[cell] += each.sum(axis=0)
            if drawn is not None and is_drawn:
                most = len(LEAST) * _most(digit)
                sums = added.total(line, (*shape, drawn.shape[1]), most)
                sums[cell] += each.T @ drawn[counted[rows]].astype(np.int64)


def state_of(added: Added, work: Work, masks: int) -> State:
    """Return what was added up as the state of all rows, then of each mask: ``[1 + masks, …]``.

    Examples
    --------
    >>> from engine.metrics.formulas.families import ROWS
    >>> from engine.metrics.formulas.outputs import Classes
    >>> of, work = Outputs(Classes(), np.zeros(3), np.zeros(3)), Work((ROWS,), ())
    >>> add(found := Added(), work, Masks(np.array([[1, 3, 2]], np.uint64)), of)
    >>> state_of(found, work, 2).rows["rows"].tolist()
    [[3], [2], [2]]
    """
    width = next((total.shape[1] for total in added.totals.values()), masks + 1)
    order = np.array([width - 1, *range(masks)])  # all rows are the first

    def rows(name: str, cells: int) -> np.ndarray:
        total = added.totals.get(Line(name, PLAIN))
        return np.zeros((1 + masks, cells), np.int64) if total is None else total[:, order].T

    def exact(name: str, cells: int) -> Exact:
        number = gathered(_lines_of(added.totals, name), (cells, width))
        return Exact(number.low, number.digits[:, :, order].swapaxes(1, 2))

    numbers = {name: exact(name, cells) for name, cells in work.exact.items()}
    weights = {c.name: numbers[c.name] for c in work.counts} if work.weighted else {}
    sums = {s.name: numbers[s.name] for s in work.sums}
    return State({c.name: rows(c.name, c.cells) for c in work.counts}, weights, sums)


def _add_cells(
    added: Added,
    count: Count,
    masks: Masks,
    at: np.ndarray,
    numbers: Mapping[str, _Numbers],
    drawn: np.ndarray | None,
    every: np.ndarray | None,
) -> np.ndarray:
    """Add a count by few cells, and the numbers that are added up by them.

    ``every`` is the rows of each mask where they are known, for then a count of all rows is, too;
    they are returned.
    """
    words, n_none = masks.words, int((at < 0).sum())
    if count.cells > 1 or n_none:
        narrow = np.int16 if count.cells < 2**15 else np.int64  # of 16 bits it is a radix sort
        order = np.argsort(at.astype(narrow), kind="stable")
        none, order = words[:, order[:n_none]], order[n_none:]
        at, words = at[order], np.take(words, order, axis=1)  # twice as quick as words[:, order]
        numbers = _at_rows(numbers, order)
        drawn = None if drawn is None else drawn[order]
    else:
        none = words[:, :0]
    cut = _columns_of(numbers, _PRODUCT_BITS)
    rows = added.total(Line(count.name, PLAIN), (count.cells, masks.width))
    ends = np.cumsum(np.bincount(at, minlength=count.cells))
    known = every if count.cells == 1 and not n_none else None
    every = set_bits(none)
    for cell, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if start == end:
            continue
        each = set_bits(words[:, start:end]) if known is None else known
        rows[cell] += np.append(each, end - start)
        every = every + each
        own = words[:, start:end]
        some = {line: column[start:end] for line, column in cut.items()}
        if some:
            _add_products(added, count.cells, cell, own, some)
        if drawn is not None:
            unweighted = count.name not in numbers
            _add_draws(added, count, cell, own, some, drawn[start:end], rows=unweighted)
    return every


def _add_whole(
    added: Added,
    counts: Mapping[Count, Mapping[str, _Numbers]],
    masks: Masks,
    every: np.ndarray | None,
) -> None:
    """Add counts that have all rows in one cell, and their numbers, in one go."""
    if not counts:
        return
    every = set_bits(masks.words) if every is None else every
    for count in counts:
        rows = added.total(Line(count.name, PLAIN), (1, masks.width))
        rows[0] += np.append(every, masks.words.shape[1])
    numbers = {name: of for each in counts.values() for name, of in each.items()}
    if cut := _columns_of(numbers, _PRODUCT_BITS):
        _add_products(added, 1, 0, masks.words, cut)


def _add_products(
    added: Added, cells: int, cell: int, words: np.ndarray, cut: Mapping[Line, np.ndarray]
) -> None:
    """Add the columns of the rows of one cell."""
    width = len(words) * WORD + 1
    different = {id(column): column for column in cut.values()}  # weights are many counts'
    sums = np.zeros((width, len(different)), np.int64)
    block = _block(len(different))
    for start in range(0, words.shape[1], block):
        part = slice(start, start + block)
        some = np.stack([column[part] for column in different.values()])
        for k, word in enumerate(words[:, part]):
            members = unpacked(word[:, None]).astype(np.float64)
            sums[k * WORD : (k + 1) * WORD] += (members.T @ some.T).astype(np.int64)
        sums[-1] += some.sum(axis=1).astype(np.int64)
    total = dict(zip(different, sums.T, strict=True))
    most = {key: _most(column) for key, column in different.items()}
    for line, column in cut.items():
        added.total(line, (cells, width), most[id(column)])[cell] += total[id(column)]


def _block(columns: int) -> int:
    """Return how many rows are multiplied at a time."""
    rows = max(1, _SMALL // (WORD * columns))
    return int(min(_BLOCK, max(_BLOCK >> 4, 1 << (rows.bit_length() - 1))))


def _most(column: np.ndarray) -> float:
    return float(np.abs(column).max(initial=0.0)) * len(column)


def _add_draws(
    added: Added,
    count: Count,
    cell: int,
    words: np.ndarray,
    cut: Mapping[Line, np.ndarray],
    drawn: np.ndarray,
    *,
    rows: bool,
) -> None:
    """Add what replicates draw of the rows of one cell: their columns, and without weights rows."""
    shape = (count.cells, len(words) * WORD + 1, drawn.shape[1])
    into = {line: added.total(line, shape, len(LEAST) * _most(c))[cell] for line, c in cut.items()}
    of_rows = Line(count.name, PLAIN)
    if rows:
        into[of_rows] = added.total(of_rows, shape)[cell]
    block = _DRAWN_BLOCK if cut else _BLOCK
    for start in range(0, len(drawn), block):
        part = slice(start, start + block)
        times = drawn[part].astype(np.float64 if cut else np.float32)
        factors = {line: times * column[part, None] for line, column in cut.items()}
        if rows:
            factors[of_rows] = times.astype(np.float32, copy=False)
        # Of the word after the last the lowest bit is all rows.
        for k, word in enumerate(np.pad(words[:, part], ((0, 1), (0, 0)), constant_values=1)):
            members = unpacked(word[:, None])[:, : shape[1] - k * WORD]
            at = slice(k * WORD, (k + 1) * WORD)
            as_factor = {
                kind: members.T.astype(kind) for kind in {f.dtype for f in factors.values()}
            }
            for line, factor in factors.items():
                into[line][at] += (as_factor[factor.dtype] @ factor).astype(np.int64)


def _add_histogram(
    added: Added, count: Count, masks: Masks, at: np.ndarray, numbers: Mapping[str, _Numbers]
) -> None:
    """Add a count by many cells."""
    counted = np.flatnonzero(at >= 0)
    at, n = at[counted], count.cells
    cut, shape = _columns_of(_at_rows(numbers, counted), _HISTOGRAM_BITS), (n, masks.width)
    rows = added.total(Line(count.name, PLAIN), shape)
    rows[:, -1] += np.bincount(at, minlength=n)
    totals = {line: added.total(line, shape, _most(c)) for line, c in cut.items()}
    for line, column in cut.items():
        totals[line][:, -1] += np.bincount(at, column, n).astype(np.int64)
    for k, word in enumerate(masks.words):
        ones = np.flatnonzero(unpacked(word[counted][:, None]).view(bool))
        row, bit = ones >> 6, ones & 63
        where = at[row] * WORD + bit
        part = slice(k * WORD, (k + 1) * WORD)
        rows[:, part] += np.bincount(where, minlength=n * WORD).reshape(n, WORD)
        for line, column in cut.items():
            more = np.bincount(where, column[row], n * WORD).reshape(n, WORD)
            totals[line][:, part] += more.astype(np.int64)


@dataclass
class SmallScores:
    """The scores of slices that are small so far, with which rankings are exact.

    Attributes
    ----------
    rows
        ``[64 * W + 1]`` scored rows of each slice, and of all rows.
    chunks
        Per chunk: whose, score, whether the label is positive, weight; ``[pairs]`` each.
    """

    rows: np.ndarray
    chunks: list[tuple[np.ndarray, ...]] = field(default_factory=list)


def keep(scores: SmallScores, masks: Masks, outputs: Outputs, most: int) -> None:
    """Keep the scores of slices that have no more than ``most`` scored rows so far."""
    scored = np.flatnonzero((outputs.label >= 0) & ~np.isnan(outputs.score))
    # Of the last word the lowest bit is all rows.
    words = np.pad(masks.words[:, scored], ((0, 1), (0, 0)), constant_values=1)
    scores.rows += set_bits(words)[: masks.width]
    small = np.zeros(len(words) * WORD, bool)
    small[: masks.width] = scores.rows <= most
    words &= np.packbits(small, bitorder="little").view(np.uint64)[:, None]
    some = np.flatnonzero(words.any(axis=0))
    row, bit = unpacked(words[:, some].T).view(bool).nonzero()
    at = scored[some[row]]
    positive = outputs.label[at] == outputs.classes.positive
    weights = np.ones(len(at)) if outputs.weight is None else outputs.weight[at]
    scores.chunks.append((bit, outputs.score[at], positive, weights))


def small_slices(
    scores: SmallScores, most: int
) -> Iterator[tuple[int, int, tuple[np.ndarray, np.ndarray, np.ndarray] | None]]:
    """Yield each slice that has rows: whose, how many, and their scores if they are few enough."""
    if not scores.chunks:
        return
    parts = [np.concatenate(part) for part in zip(*scores.chunks, strict=True)]
    order = np.argsort(parts[0], kind="stable")
    whose, *columns = (part[order] for part in parts)
    starts = np.searchsorted(whose, np.arange(len(scores.rows) + 1))
    for at in np.flatnonzero(scores.rows):
        score, positive, weight = (c[starts[at] : starts[at + 1]] for c in columns)
        few = scores.rows[at] <= most
        yield int(at), int(scores.rows[at]), (score, positive, weight) if few else None


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
