"""The merge law of what a scan's tasks add up: no partition and no order changes a bit."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.catalog import parse_metric
from engine.metrics.formulas.exact import gathered
from engine.metrics.formulas.families import addends_of
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.states import Sum
from engine.metrics.scan import kernel
from engine.metrics.scan.kernel import (
    PLAIN,
    Added,
    Line,
    Masks,
    SmallScores,
    Work,
    add,
    keep,
    scores_bytes,
    scores_from,
    small_slices,
)
from engine.metrics.scan.replicates import weights as replicate_weights
from engine.words import packed, set_bits

SLICES, REPLICATES = 70, 6
METRICS = ["f1", "f1@threshold=0.3", "log_loss", "ece", "ece@bins=90", "roc_auc@bins=50", "r2"]
METRICS += ["mape", "top_k_accuracy@k=1", "mean@column=x", "null_rate@column=x", "coverage"]
CLASSES = Classes((0, 1), 1)
LINES = ("f1", "ece", "r2")  # replicated
SCALE = Fraction(2) ** 4000  # products of three floats are whole then, and add up sooner


class Rows:
    """Random rows, of which any can be taken in any order."""

    def __init__(self, seed: int, n: int, weighted: bool) -> None:
        rng = np.random.default_rng(seed)
        self.n = n
        self.masks = rng.random((n, SLICES)) < rng.random(SLICES) ** 3
        self.hashes = rng.integers(0, 2**63, n).astype(np.uint64)
        self.label, self.pred = rng.integers(-1, 2, (2, n))
        self.prob = rng.random((n, 1))
        self.prob[rng.random(n) < 0.1] = np.nan
        # Of sizes that floats added in another order differ by.
        self.target, self.predicted, self.column = (
            rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n) for _ in range(3)
        )
        self.target[rng.random(n) < 0.1] = np.nan
        self.column[rng.random(n) < 0.1] = np.nan
        weight = rng.random(n) * 10.0 ** rng.integers(-3, 3, n)
        self.weight = np.where(rng.random(n) < 0.2, 0.0, weight) if weighted else None

    def outputs(self, at: np.ndarray) -> Outputs:
        columns = {"mean:x": self.column[at], "null:x": self.column[at]}
        numbers = (self.target[at], self.predicted[at])
        weight = None if self.weight is None else self.weight[at]
        of_classes = (self.label[at], self.pred[at], self.prob[at])
        return Outputs(CLASSES, *of_classes, *numbers, columns, weight)

    def words(self, at: np.ndarray) -> Masks:
        words = np.ascontiguousarray(packed(self.masks[at]).T).view(np.uint64)
        return Masks(words, self.hashes[at])

    def add(self, added: Added, work: Work, at: np.ndarray) -> None:
        add(added, work, self.words(at), self.outputs(at))


def work(weighted: bool, replicates: int = REPLICATES, metrics=METRICS) -> Work:
    counts, sums = addends_of(map(parse_metric, metrics), CLASSES)
    drawn, _ = addends_of([m for m in map(parse_metric, metrics) if m.name in LINES], CLASSES)
    return Work(counts, sums, weighted, replicates, frozenset(c.name for c in drawn) - {"rows"})


def parts_of(data: st.DataObject, n: int) -> list[np.ndarray]:
    """Draw a partition of n rows, in any order, with parts of no row."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    cuts = data.draw(st.lists(st.integers(0, n), max_size=5))
    return np.split(rng.permutation(n), sorted(cuts))


def summed(each: list[Added], of: str = "totals") -> dict[Line, list]:
    """Add tasks' sums as Spark does, and leave out what is 0."""
    total: dict[Line, np.ndarray] = {}
    for one in each:
        for line, sums in getattr(one.carried(), of).items():
            total[line] = total[line] + sums if line in total else sums
    # Digits are carried once more: tasks' own are of the tasks' rows.
    held = getattr(Added(**{of: total}).carried(), of)
    return {line: sums.tolist() for line, sums in held.items() if sums.any()}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 200), st.booleans(), st.data())
def test_any_partition_in_any_order_adds_up_to_the_same_bits(seed, n, weighted, data):
    rows, of = Rows(seed, n, weighted), work(weighted)
    rows.add(whole := Added(), of, np.arange(n))
    tasks = []
    for part in parts_of(data, n):
        rows.add(one := Added(), of, part)
        tasks.append(one)
    in_turn = Added()
    for part in parts_of(data, n):
        rows.add(in_turn, of, part)
    for of in ("totals", "drawn"):
        wanted = summed([whole], of)
        assert summed(tasks, of) == wanted
        assert summed([in_turn], of) == wanted


@pytest.mark.parametrize("weighted", [False, True], ids=["rows", "weights"])
def test_blocks_of_many_rows_are_parts_like_any(weighted):
    """More rows than are multiplied at a time, in a whole and one by one."""
    n = 2 * kernel._BLOCK + 100
    rows, of = Rows(1, n, weighted), work(weighted, 3, ["f1", "r2"])
    rows.add(whole := Added(), of, np.arange(n))
    tasks = []
    for part in np.array_split(np.arange(n)[::-1], 7):
        rows.add(one := Added(), of, part)
        tasks.append(one)
    for lines in ("totals", "drawn"):
        assert summed(tasks, lines) == summed([whole], lines)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 150), st.booleans())
def test_totals_and_replicates_are_sums_over_rows(seed, n, weighted):
    """What plain Python adds up, row by row, exactly."""
    rows, of = Rows(seed, n, weighted), work(weighted)
    every = np.arange(n)
    rows.add(added := Added(), of, every)
    outputs, weight = rows.outputs(every), rows.weight
    drawn = replicate_weights(rows.hashes, REPLICATES).astype(np.int64)
    members = np.concatenate([rows.masks, np.ones((n, 1), bool)], axis=1)
    width = rows.words(every).width
    places = [*range(SLICES), width - 1]

    def plain(count, numbers=None):
        at, cells = count.at(outputs), count.cells
        sums = np.zeros((cells, SLICES + 1, 1 + REPLICATES), object)
        for i in np.flatnonzero(at >= 0):
            number = 1 if numbers is None else int(numbers(i) * SCALE)
            sums[at[i], members[i]] += number * np.array([1, *drawn[i].tolist()], object)
        return sums

    def held(of_line, name, cells, shape=()):
        found = gathered(
            {
                line.exponent: sums
                for line, sums in of_line.items()
                if line in lines_of(name, of_line)
            },
            (cells, width, *shape),
        )
        return found.integers * (SCALE * Fraction(2) ** (40 * found.low))

    def lines_of(name, of_line):
        return {line for line in of_line if line.name == name and line.exponent is not PLAIN}

    for count in of.counts:
        rows_of, wanted = added.totals[Line(count.name, PLAIN)][:, places], plain(count)
        assert (rows_of == wanted[..., 0]).all()
        if count.name in of.replicated and not weighted and n:
            got = added.drawn.get(Line(count.name, PLAIN))
            draws = wanted[..., 1:]
            assert (got[:, places] == draws).all() if got is not None else not draws.any()
    exactly = {s.name: (s.by, products(s, outputs, weight)) for s in of.sums}
    if weighted:
        exactly |= {c.name: (c, lambda i: Fraction(weight[i])) for c in of.counts}
    for name, (by, number) in exactly.items():
        wanted = plain(by, number)
        assert (held(added.totals, name, by.cells)[:, places] == wanted[..., 0]).all()
        if by.name in of.replicated:
            got = held(added.drawn, name, by.cells, (REPLICATES,))
            assert (got[:, places] == wanted[..., 1:]).all()


def products(one: Sum, outputs: Outputs, weight: np.ndarray | None):
    """Return each row's number, rounded where a sum is of rounded ones."""
    terms = [term if weight is None else (*term, weight) for term in one.of(outputs)]

    def number(i: int) -> Fraction:
        if one.rounded:
            return sum(Fraction(math.prod(float(f[i]) for f in term)) for term in terms)
        return sum(math.prod(Fraction(float(f[i])) for f in term) for term in terms)

    return number


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 200), st.booleans())
def test_few_cells_are_counted_as_histograms_are(seed, n, weighted):
    rows, of = Rows(seed, n, weighted), work(weighted, 0)
    found = []
    for many in (0, 10**9):  # all by bincount, and all by bits
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel, "MANY", many)
            rows.add(added := Added(), of, np.arange(n))
            found.append(summed([added]))
    assert found[0] == found[1]


def kept_of(rows: Rows, parts: list[np.ndarray], most: int) -> dict[int, list]:
    """Keep scores in tasks of two chunks each, and join them as Spark does."""
    n, found = defaultdict(int), defaultdict(list)
    for part in parts:
        kept = SmallScores(np.zeros(rows.words(part).width, np.int64))
        for chunk in np.array_split(part, 2):
            keep(kept, rows.words(chunk), rows.outputs(chunk), most)
        for at, of, scores in small_slices(kept, most):
            n[at] += of
            found[at] += [] if scores is None else [scores_bytes(*scores)]
    return {at: scores_from(found[at]).tolist() for at in n if n[at] <= most}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(0, 120), st.booleans(), st.integers(0, 130), st.data()
)  # fmt: skip
def test_kept_scores_are_those_of_small_slices_whatever_the_partition(
    seed, n, weighted, most, data
):
    rows = Rows(seed, n, weighted)
    found = kept_of(rows, parts_of(data, n), most)
    assert found == kept_of(rows, parts_of(data, n), most)
    members = np.concatenate([rows.masks, np.zeros((n, 58), bool), np.ones((n, 1), bool)], axis=1)
    scored = (rows.label >= 0) & ~np.isnan(rows.prob[:, 0])
    weight = np.ones(n) if rows.weight is None else rows.weight
    columns = np.stack([rows.prob[:, 0], rows.label == 1, weight])
    wanted = {}
    for at, member in enumerate(members.T):
        held = member & scored
        if 0 < held.sum() <= most:
            wanted[at] = sorted(columns[:, held].T.tolist())
    assert {at: np.array(v).T.tolist() for at, v in found.items()} == wanted


# Bits.


SIZES = (0, 1, 47, 48, 49, 50, 143, 144, 145, 146, 431, 432, 433, 1000, 4097, 20_000)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("slices", [1, 64, 65, 200])
def test_bits_are_counted_as_masks_are(n, slices):
    rng = np.random.default_rng(n + slices)
    masks = rng.random((n, slices)) < rng.random(slices)
    masks[:, 0] = True
    words = np.ascontiguousarray(packed(masks).T)
    for form in (words, words.view(np.uint64), np.asfortranarray(words)):
        counts = set_bits(form)
        assert counts[:slices].tolist() == masks.sum(axis=0).tolist()
        assert not counts[slices:].any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=400))
def test_bits_of_any_words_are_counted(values):
    words = np.array(values, np.uint64)[None]
    wanted = [sum(v >> bit & 1 for v in values) for bit in range(64)]
    assert set_bits(words).tolist() == wanted


def test_no_slice_at_all():
    rows = Rows(2, 50, True)
    words = np.zeros((0, 50), np.uint64)
    added, of = Added(), work(True, 0, ["f1", "roc_auc"])
    add(added, of, Masks(words), rows.outputs(np.arange(50)))
    rows.add(full := Added(), of, np.arange(50))
    for line, total in added.totals.items():
        assert total.shape[1] == 1
        assert (total[:, 0] == full.totals[line][:, -1]).all()
