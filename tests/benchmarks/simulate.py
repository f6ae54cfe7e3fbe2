"""Simulate what intervals cover and how often tests cry wolf; fill the tables of a docs page.

  make simulate
  .venv/bin/python -m tests.benchmarks.simulate --fewer 100   a hundredth of it, writes nothing

Everything is drawn from a fixed seed. It ends with status 1 where a required figure is missed:
95 % intervals must cover 93 to 97 %, and false discovery must be at most 5 %, by the lower
one-sided 99 % bound of its binomial share. Both are marked in the tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import beta, norm

from engine.hashing import key_hash
from engine.metrics.catalog import parse_metric
from engine.metrics.formulas.classification import of_confusions
from engine.metrics.formulas.exact import exact
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.probability import (
    Calibration,
    log_losses,
    squared_errors,
)
from engine.metrics.formulas.states import State
from engine.metrics.inference.intervals import (
    Interval,
    auc_interval,
    average_precision_interval,
    bootstrap_interval,
    wilson,
)
from engine.metrics.inference.significance import (
    Method,
    adjusted,
    fisher,
    replicate_test,
    row_variance,
    sufficient,
)
from engine.metrics.scan.replicates import REPLICATES, weights
from tests.benchmarks.study_pages import filled

SEED = 20
ROWS = (50, 500, 5_000)
SIMULATIONS = {50: 10_000, 500: 10_000, 5_000: 4_000}
BATCH = 50_000  # rows drawn at a time
COVERED = (0.93, 0.97)
F1, AREA = 0.7, 0.8
METRIC = parse_metric("f1")
APART = np.sqrt(2) * ndtri(AREA)  # of two normal classes with that area under the ROC curve
BINS = 4096
CLUSTER = 10
ECE, CLASSES = parse_metric("ece"), Classes((0, 1), 1)
SPREAD = 1.5  # of the log odds that models give
OVERCONFIDENT = 2.0  # log odds given over true ones
REST = 100_000  # rows that slices are like

FAMILIES, SLICES = 1_000, 1_000
LEVEL = 0.05
METHODS: tuple[Method, ...] = ("none", "bh", "by")
TAILS = (0.05, 0.01, 0.001, 0.0001)
NO_SLICE = 120_000  # rows in none of the disjoint slices
PLANTED, DRAWS = 20, 100
DOCS = Path(__file__).parents[2] / "docs" / "statistics.md"


# --- coverage -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coverage:
    """How often intervals had the truth, and on which side they missed it."""

    what: str
    interval: str
    n: int
    required: bool
    simulations: int
    covered: float
    below: float  # the whole interval is below the truth
    above: float
    none: float
    width: float

    @property
    def missed(self) -> bool:
        return self.required and not COVERED[0] <= self.covered <= COVERED[1]


class Tally:
    """Intervals of one figure over all batches."""

    def __init__(self, what: str, interval: str, truth: float, required: bool = False) -> None:
        self.what, self.interval, self.truth, self.required = what, interval, truth, required
        self.held: list[Interval] = []

    def add(self, interval: Interval) -> None:
        self.held.append(interval)

    def coverage(self, n: int) -> Coverage:
        low, high = (np.concatenate(ends) for ends in zip(*self.held, strict=True))
        none, below, above = np.isnan(low), high < self.truth, low > self.truth
        covered = ~(none | below | above)
        return Coverage(
            self.what, self.interval, n, self.required, len(low),
            *(float(v.mean()) for v in (covered, below, above, none)),
            float(np.nanmean(high - low)),
        )  # fmt: skip


def batches(n: int) -> Iterator[tuple[int, int]]:
    """Split the simulations of n rows; the first of each batch, and how many."""
    size = BATCH // n
    for first in range(0, SIMULATIONS[n], size):
        yield first, min(size, SIMULATIONS[n] - first)


def counted(n: int) -> list[Coverage]:
    """Accuracies, which are counts: k of n rows."""
    rng = np.random.default_rng([SEED, 1, n])
    found = []
    for truth in (0.8, 0.95, 0.99):
        tally = Tally(f"accuracy {short(truth)}", "Wilson", truth, truth == 0.8)
        s = SIMULATIONS[n]
        tally.add(wilson(rng.binomial(n, truth, s), np.full(s, n)))
        found.append(tally.coverage(n))
    weighted = Tally("accuracy .8, weights exponential", "Wilson, effective n", 0.8)
    for _, s in batches(n):
        right, w = rng.random((s, n)) < 0.8, rng.exponential(size=(s, n))
        total = w.sum(axis=1)
        effective = total**2 / (w**2).sum(axis=1)  # Kish 1965
        weighted.add(wilson((w * right).sum(axis=1) / total * effective, effective))
    return [*found, weighted.coverage(n)]


def resampled(n: int) -> list[Coverage]:
    """F1 and MAE, by replicates whose weights are hashed from the rows' keys."""
    rng = np.random.default_rng([SEED, 2, n])
    error = Tally("MAE, normal errors", "bootstrap", np.sqrt(2 / np.pi), True)
    by_share = {0.5: Tally("F1 .7", "bootstrap", F1, True),
                0.2: Tally("F1 .7, 20 % positive", "bootstrap", F1)}  # fmt: skip
    for first, s in batches(n):
        w = drawn(range(first * n, (first + s) * n), n)
        size = np.full(s, n)
        errors = np.abs(rng.standard_normal((s, 1, n), dtype=np.float32))
        total = w.sum(axis=1)
        of_rows = errors.sum(axis=2)[:, 0] / n
        error.add(bootstrap_interval(of_rows, np.matmul(errors, w)[:, 0] / total, size))
        for share, tally in by_share.items():
            cells = confusions(rng, (s, n), share)
            tally.add(bootstrap_interval(f1(cells.sum(axis=2)), f1(np.matmul(cells, w)), size))
    return [t.coverage(n) for t in (*by_share.values(), error)]


def drawn(keys: Iterable[int], n: int) -> np.ndarray:
    """Replicate weights; ``[simulations, n, replicates]``."""
    return weights(key_hash(keys, SEED), dtype=np.float32).reshape(-1, n, REPLICATES)


def confusions(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    """Draw rows whose precision and recall are F1; ``[simulations, 4, n]`` of tn, fp, fn, tp."""
    cell = np.searchsorted(np.cumsum(of_cells(share)), rng.random(shape), side="right")
    return (cell[:, None] == np.arange(4)[:, None]).astype(np.float32)


def of_cells(share: np.ndarray | float) -> np.ndarray:
    """Probabilities of tn, fp, fn and tp, last axis, where that share of rows is positive."""
    wrong, right = (1 - F1) * np.asarray(share), F1 * np.asarray(share)
    return np.stack([1 - 2 * wrong - right, wrong, wrong, right], axis=-1)


def f1(cells: np.ndarray) -> np.ndarray:
    """F1 of ``[simulations, 4, …]``."""
    of_rows = np.moveaxis(cells, 1, -1)
    return of_confusions(METRIC, of_rows.reshape(*of_rows.shape[:-1], 2, 2), 1).defined


def ranked(n: int) -> list[Coverage]:
    """Areas under curves: exact for small slices, else from a histogram of 4,096 bins."""
    rng = np.random.default_rng([SEED, 3, n])
    found = []
    for share in (0.5, 0.2):
        name = "" if share == 0.5 else f", {share:.0%} positive".replace("%", " %")
        area = Tally(f"AUC .8{name}", "logit DeLong", AREA, not name)
        truth = precision_area(share)
        precision = Tally(f"average precision {short(truth)}{name}", "Boyd's logit", truth)
        for _, s in batches(n):
            positive = rng.random((s, n)) < share
            scores = rng.standard_normal((s, n)) + APART * (positive - 0.5)
            neg, pos = histograms(scores, positive)
            area.add(auc_interval(neg, pos))
            precision.add(average_precision_interval(average_precision(neg, pos), pos.sum(axis=1)))
        found += [area.coverage(n), precision.coverage(n)]
    return found


def histograms(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the two classes per score."""
    s, n = scores.shape
    if n <= min(ROWS):  # a bin for each row
        of_class = np.take_along_axis(positive, np.argsort(scores, axis=1), axis=1)
        return ~of_class, of_class
    at = (ndtr(scores / 2) * BINS).astype(np.int64) + BINS * np.arange(s)[:, None]
    neg, pos = (np.bincount(at[which], minlength=s * BINS) for which in (~positive, positive))
    return neg.reshape(s, BINS), pos.reshape(s, BINS)


def average_precision(neg: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Sum precision times the gain in recall over falling scores."""
    tp, fp = (np.cumsum(c[:, ::-1].astype(np.int64), axis=1) for c in (pos, neg))
    with np.errstate(all="ignore"):
        gained = np.where(tp + fp, tp / (tp + fp), 0) * pos[:, ::-1]
        return gained.sum(axis=1) / tp[:, -1]


def precision_area(share: float) -> float:
    """Average precision of infinitely many rows."""
    x = np.linspace(-8, 10, 20_001)
    tp, fp = share * norm.sf(x - APART), (1 - share) * norm.sf(x)
    return float(np.trapezoid(tp / (tp + fp) * norm.pdf(x - APART), x))


def clustered(n: int) -> list[Coverage]:
    """Accuracy of rows in clusters of ten that are right or wrong alike."""
    rng = np.random.default_rng([SEED, 4, n])
    clusters = n // CLUSTER
    naive = Tally(f"accuracy .8, clusters of {CLUSTER}", "Wilson, clusters ignored", 0.8)
    right = Tally(f"accuracy .8, clusters of {CLUSTER}", "cluster bootstrap", 0.8)
    for first, s in batches(n):
        k = rng.binomial(CLUSTER, rng.beta(1.6, 0.4, (s, clusters))).astype(np.float32)
        value = k.sum(axis=1) / n
        naive.add(wilson(value * n, np.full(s, n)))
        w = drawn(range(first * clusters, (first + s) * clusters), clusters)
        with np.errstate(all="ignore"):
            replicates = np.matmul(k[:, None], w)[:, 0] / (CLUSTER * w.sum(axis=1))
        right.add(bootstrap_interval(value, replicates, np.full(s, clusters)))
    return [naive.coverage(n), right.coverage(n)]


# --- false discovery ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Discovery:
    """How often tests of many slices, none of which differs, found any."""

    what: str
    test: str
    required: str
    families: int
    false: Mapping[str, int]  # families with a finding, by correction
    tails: Sequence[float]  # share of p-values up to each of TAILS, divided by it

    def share(self, method: str) -> float:
        return self.false[method] / self.families

    @property
    def bound(self) -> float:
        """Lower one-sided 99 % bound of the required correction (Clopper and Pearson 1934)."""
        x, n = self.false[self.required], self.families
        return float(beta.ppf(0.01, x, n - x + 1)) if x else 0.0

    @property
    def missed(self) -> bool:
        return self.bound > LEVEL


def discovery(what: str, test: str, required: str, families: Iterable[np.ndarray]) -> Discovery:
    """Correct the p-values of each family in each way, and count the families with a finding."""
    p = np.concatenate([np.atleast_2d(f) for f in families])
    held = p[np.isfinite(p)]
    tails = [float((held <= t).mean() / t) for t in TAILS]
    found = {m: sum(bool(np.nanmin(adjusted(row, m)) <= LEVEL) for row in p) for m in METHODS}
    return Discovery(what, test, required, len(p), found, tails)


def sizes(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Rows of each slice, log-uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), SLICES)).astype(np.int64)


def apart_counts() -> list[Discovery]:
    """Accuracy .9, slices that share no row."""
    rng = np.random.default_rng([SEED, 5])
    n = np.append(sizes(rng, 30, 1_000), NO_SLICE)

    def families() -> Iterator[np.ndarray]:
        for _ in range(0, FAMILIES, 50):
            k = rng.binomial(n, 0.9, (50, len(n)))
            yield against_rest(k, n)[:, :SLICES]

    return [discovery("accuracy .9, no overlap", "Fisher", "bh", families())]


def against_rest(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Test each of disjoint groups against all others."""
    return fisher(k, n, k.sum(axis=-1, keepdims=True) - k, n.sum(axis=-1) - n)


class Ranges:
    """Slices that are ranges of twenty columns which go together (their correlation is .5)."""

    COLUMNS = 20

    def __init__(self, rng: np.random.Generator, rows: int, least: float) -> None:
        common = rng.standard_normal(rows)
        self.orders = [np.argsort(common + rng.standard_normal(rows)) for _ in range(self.COLUMNS)]
        self.n = sizes(rng, least * rows, 0.3 * rows)
        self.first = rng.integers(0, rows - self.n + 1)
        self.column = np.arange(SLICES) % self.COLUMNS

    def count(self, rows: np.ndarray) -> np.ndarray:
        """Add up whole numbers of rows in each slice."""
        out = np.empty(SLICES, np.int64)
        for c, order in enumerate(self.orders):
            summed = np.concatenate([[0], np.cumsum(rows[order], dtype=np.int64)])
            mine = self.column == c
            out[mine] = summed[(self.first + self.n)[mine]] - summed[self.first[mine]]
        return out

    def masks(self) -> np.ndarray:
        """Which rows are in which slice; ``[slices, rows]``."""
        out = np.zeros((SLICES, len(self.orders[0])), np.float32)
        for j, (c, first, n) in enumerate(zip(self.column, self.first, self.n, strict=True)):
            out[j, self.orders[c][first : first + n]] = 1
        return out


def shared_counts() -> list[Discovery]:
    """Accuracy .9, slices that share rows."""
    rng = np.random.default_rng([SEED, 6])
    rows = 110_000
    slices = Ranges(rng, rows, 0.001)

    def families() -> Iterator[np.ndarray]:
        for _ in range(FAMILIES):
            right = rng.random(rows, dtype=np.float32) < 0.9
            k = slices.count(right)
            yield fisher(k, slices.n, right.sum() - k, rows - slices.n)

    return [discovery("accuracy .9, overlap", "Fisher", "by", families())]


def apart_replicates() -> list[Discovery]:
    """F1 .7, slices that share no row; a sum of c Poisson(1) weights is Poisson(c).

    Of their rows 5 to 50 % are positive, and F1 rests on these and those predicted so.
    """
    rng = np.random.default_rng([SEED, 7])
    n = np.append(sizes(rng, 50, 1_000), NO_SLICE)
    chances = of_cells(np.append(np.exp(rng.uniform(np.log(0.05), np.log(0.5), SLICES)), 0.5))

    def families() -> Iterator[np.ndarray]:
        for _ in range(FAMILIES):
            cells = rng.multinomial(n, chances)
            drawn = rng.poisson(cells[..., None], (*cells.shape, REPLICATES))
            whole = drawn.sum(axis=0, keepdims=True)
            difference = f1(cells) - f1(cells.sum(axis=0) - cells)
            replicates = f1(drawn) - f1(whole - drawn)
            support = cells[:, 1:].sum(axis=1)
            others = support.sum() - support
            one = row_variance(f1(whole)[0], support.sum())
            floor = one * (1 / np.maximum(support, 1) + 1 / others)
            p = replicate_test(difference, replicates, support, floor)
            yield np.where(sufficient(support), p, np.nan)[:SLICES]

    return [discovery("F1 .7, no overlap", "replicates", "bh", families())]


def shared_replicates() -> list[Discovery]:
    """MAE of normal errors, slices that share rows."""
    rng = np.random.default_rng([SEED, 8])
    rows = 5_000
    slices = Ranges(rng, rows, 0.008)
    masks, n = slices.masks(), slices.n

    def families() -> Iterator[np.ndarray]:
        for family in range(FAMILIES):
            w = drawn(range(family * rows, (family + 1) * rows), rows)[0]
            errors = np.abs(rng.standard_normal((rows, 1), dtype=np.float32))
            both = np.concatenate([w * errors, w, errors], axis=1)
            summed = (masks @ both).astype(np.float64)
            whole = both.sum(axis=0, dtype=np.float64)
            replicates = mean(summed) - mean(whole - summed)
            value = summed[:, -1] / n - (whole[-1] - summed[:, -1]) / (rows - n)
            floor = row_variance(mean(whole), rows) * (1 / n + 1 / (rows - n))
            yield replicate_test(value, replicates, n, floor)

    def mean(sums: np.ndarray) -> np.ndarray:
        return sums[..., :REPLICATES] / sums[..., REPLICATES : 2 * REPLICATES]

    return [discovery("MAE, overlap", "replicates", "by", families())]


# --- probabilities ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probable:
    """What is found of a model's probabilities in slices that are like the rest."""

    what: str
    n: int
    simulations: int
    truth: float
    found: float  # on average
    covered: float
    detected: float  # p-values of up to LEVEL


def probable(n: int) -> list[Probable]:
    """Log loss, Brier score and calibration error of n rows, against REST rows like them."""
    return [row for factor in (1.0, OVERCONFIDENT) for row in _probable(n, factor)]


def _probable(n: int, factor: float) -> Iterator[Probable]:
    rng = np.random.default_rng([SEED, 10, n, int(factor)])
    rest = _figures(rng, range(-REST, 0), REST, factor)
    truths = _truths(factor)
    tallies: dict[str, list[list[np.ndarray]]] = {what: [] for what in truths}
    for first, s in batches(n):
        found = _figures(rng, range(first * n, (first + s) * n), n, factor)
        for what, (value, drawn_) in found.items():
            other, others_drawn = rest[what]
            floor = row_variance(others_drawn, REST) * (1 / n + 1 / REST)
            size = np.full(s, n)
            low, high = bootstrap_interval(value, drawn_, size)
            p = replicate_test(value - other, drawn_ - others_drawn, size, floor)
            has = (low <= truths[what]) & (truths[what] <= high)
            tallies[what].append([value, has, p <= LEVEL])
    kind = "calibrated" if factor == 1 else "overconfident"
    for what, parts in tallies.items():
        value, has, detected = (np.concatenate(c) for c in zip(*parts, strict=True))
        means = (float(a.mean()) for a in (value, has, detected))
        yield Probable(f"{what}, {kind}", n, len(value), truths[what], *means)


def _figures(
    rng: np.random.Generator, keys: range, n: int, factor: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw rows n at a time; each figure's values ``[s]`` and replicates ``[s, replicates]``."""
    s = len(keys) // n
    given = expit(SPREAD * rng.standard_normal(s * n))
    label = (rng.random(s * n) < expit(logit(given) / factor)).astype(np.int64)
    of = Outputs(CLASSES, label, label, given[:, None])
    w = drawn(keys, n)
    total = w.sum(axis=1)
    found = {}
    for what, each in (("log loss", log_losses(of)), ("Brier score", squared_errors(of))):
        rows = each.astype(np.float32).reshape(s, 1, n)
        found[what] = rows.mean(axis=2)[:, 0], np.matmul(rows, w)[:, 0] / total
    found["ECE"] = _calibration(of, w)
    return found


def _calibration(of: Outputs, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return calibration errors ``[s]`` and their replicates, by the engine's bins and formula."""
    s, n, _ = w.shape
    count, confidence = Calibration(ECE, CLASSES).addends()
    cell = np.arange(count.cells)[:, None]
    held = (count.at(of).reshape(s, 1, n) == cell).astype(np.float32)
    sums = held * confidence.of(of)[0][0].reshape(s, 1, n).astype(np.float32)

    def error(cells: np.ndarray, summed: np.ndarray) -> np.ndarray:
        state = State({count.name: cells}, {}, {confidence.name: exact(summed)})
        return Calibration(ECE, CLASSES).compute(state, state).value

    replicates = (np.moveaxis(np.matmul(a, w), 1, -1) for a in (held, sums))
    return error(held.sum(axis=2), sums.sum(axis=2)), error(*replicates)


def _truths(factor: float) -> dict[str, float]:
    """Figures of infinitely many rows."""
    z = np.linspace(-8, 8, 400_001)
    share = norm.pdf(z) / norm.pdf(z).sum()
    given, true = expit(SPREAD * z), expit(SPREAD * z / factor)
    loss = -(true * np.log(given) + (1 - true) * np.log1p(-given))
    squared = true * (1 - given) ** 2 + (1 - true) * given**2
    sure, right = np.maximum(given, 1 - given), np.where(given > 0.5, true, 1 - true)
    at = np.minimum((sure * ECE.parameter("bins")).astype(int), int(ECE.parameter("bins")) - 1)
    gaps = np.bincount(at, share * (right - sure))
    means = (float((share * each).sum()) for each in (loss, squared))
    return {**dict(zip(("log loss", "Brier score"), means, strict=True)),
            "ECE": float(np.abs(gaps).sum())}  # fmt: skip


# --- power --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Power:
    """How many planted slices are found, and which share of what is found was not planted."""

    n: int
    planted: float
    method: str
    found: float
    false: float


def power(n: int) -> list[Power]:
    """Plant slices of a lower accuracy among those of .9."""
    rng = np.random.default_rng([SEED, 9, n])
    rows = np.append(np.full(SLICES, n), NO_SLICE)
    found = []
    for planted in (0.85, 0.8):
        truth = np.full(SLICES + 1, 0.9)
        truth[:PLANTED] = planted
        p = against_rest(rng.binomial(rows, truth, (DRAWS, len(rows))), rows)[:, :SLICES]
        for method in ("bh", "by"):
            claimed = np.array([adjusted(row, method) <= LEVEL for row in p])
            wrong = claimed[:, PLANTED:].sum(axis=1) / np.maximum(1, claimed.sum(axis=1))
            hit = claimed[:, :PLANTED].mean()
            found.append(Power(n, planted, method, float(hit), float(wrong.mean())))
    return found


# --- tables -------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table: the first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(share: float) -> str:
    return f"{share:.2f}".rstrip("0").lstrip("0")


def percent(share: float, missed: bool = False, required: bool = False) -> str:
    text = f"{100 * share:.1f}"
    return f"**{text} missed**" if missed else f"**{text}**" if required else text


def coverage_table(found: Sequence[Coverage]) -> str:
    at = {(c.what, c.interval, c.n): c for c in found}
    rows = []
    for what, interval in dict.fromkeys((c.what, c.interval) for c in found):
        cells = [at.get((what, interval, n)) for n in ROWS]
        shown = [percent(c.covered, c.missed, c.required) if c else "" for c in cells]
        sides = [f"{100 * c.below:.1f} / {100 * c.above:.1f}" if c else "" for c in cells[:1]]
        widths = [f"{c.width:.3f}" if c else "" for c in cells]
        rows.append([f"{what}: {interval}", *shown, *sides, *widths])
    ns = [f"{n:,}" for n in ROWS]
    heads = [*(f"n = {n}" for n in ns), f"below / above, {ns[0]}", *(f"width, {n}" for n in ns)]
    return table(["figure: interval", *heads], rows)


def discovery_table(found: Sequence[Discovery]) -> str:
    rows = [
        [
            f"{d.what}: {d.test}",
            *(percent(d.share(m), d.missed and m == d.required, m == d.required) for m in METHODS),
            percent(d.bound),
            *(f"{t:.2f}" for t in d.tails),
        ]
        for d in found
    ]
    tails = [f"p ≤ {t:g}" for t in TAILS]
    return table(["slices: test", "uncorrected", "BH", "BY", "99 % bound", *tails], rows)


def power_table(found: Sequence[Power]) -> str:
    at = {(p.planted, p.method, p.n): p for p in found}
    ns = list(dict.fromkeys(p.n for p in found))
    rows = []
    for planted, method in dict.fromkeys((p.planted, p.method) for p in found):
        cells = [at[planted, method, n] for n in ns]
        shown = [f"{percent(c.found)} ({percent(c.false)})" for c in cells]
        rows.append([f"{short(planted)} among .9, {method.upper()}", *shown])
    return table(["planted", *(f"n = {n:,}" for n in ns)], rows)


def probable_table(found: Sequence[Probable]) -> str:
    rows = [
        [r.what, f"{r.n:,}", f"{r.truth:.3f}", f"{r.found:.3f}", percent(r.covered),
         percent(r.detected)]
        for r in sorted(found, key=lambda r: (r.what.split(", ")[::-1], r.n))
    ]  # fmt: skip
    return table(["figure, model", "n", "truth", "found", "covered", "p ≤ .05"], rows)


JOBS: dict[str, list[Callable[[], list]]] = {
    "false discovery": [apart_counts, shared_counts, apart_replicates, shared_replicates],
    "coverage": [
        *(partial(job, n) for job in (counted, resampled, ranked) for n in ROWS),
        *(partial(clustered, n) for n in ROWS[1:]),
    ],
    "probabilities": [partial(probable, n) for n in ROWS],
    "power": [partial(power, n) for n in (50, 100, 300, 1_000)],
}
TABLES = {
    "coverage": coverage_table,
    "probabilities": probable_table,
    "false discovery": discovery_table,
    "power": power_table,
}


def fewer(times: int) -> None:
    """Simulate so many times fewer rows, families and draws, in this process."""
    global FAMILIES, DRAWS
    SIMULATIONS.update({n: max(10, s // times) for n, s in SIMULATIONS.items()})
    FAMILIES, DRAWS = max(10, FAMILIES // times), max(10, DRAWS // times)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--fewer", type=int, default=1, metavar="TIMES", help="draw less, and only print the tables"
    )
    times = parser.parse_args().fewer
    with ProcessPoolExecutor(initializer=fewer, initargs=(times,)) as pool:
        running = {name: [pool.submit(job) for job in jobs] for name, jobs in JOBS.items()}
        found = {name: [r for f in jobs for r in f.result()] for name, jobs in running.items()}
    text = DOCS.read_text(encoding="utf-8") if DOCS.exists() else ""
    for name, lay_out in TABLES.items():
        laid = lay_out(found[name])
        print(f"\n{name}\n\n{laid}")
        if times == 1:
            text = filled(text, name, laid)
    if times == 1:
        DOCS.write_text(text, encoding="utf-8")
    missed = [r for name in ("coverage", "false discovery") for r in found[name] if r.missed]
    print(*(f"\nmissed: {r}" for r in missed), sep="")
    return 1 if missed and times == 1 else 0


if __name__ == "__main__":
    sys.exit(main())
