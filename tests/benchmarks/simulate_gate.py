"""Simulate years of nightly gates: how many have a false alarm, and how soon is a fall noticed?

  make simulate-gate
  .venv/bin/python -m tests.benchmarks.simulate_gate --fewer 10   a tenth of it, writes nothing

Everything is drawn from a fixed seed. It ends with status 1 where a required figure is missed: the
upper one-sided 95 % bound of the share of years with a false alarm must be at most 6 %, and a fall
must be noticed within the promised nights in at least 95 % of trials.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import beta

from engine.gate.nightly import Bets, needed
from engine.gate.rules import parse_rule
from tests.benchmarks.study_pages import filled

SEED = 22
SLICES, NIGHTS = 200, 365
YEARS, TRIALS = 1_000, 1_000
AT_ONCE = 50  # years
MOST_FALSE, FOUND = 0.06, 0.95
FEWEST, MOST = 20, 2_000  # new rows of a slice in a night
DOCS = Path(__file__).parents[2] / "docs" / "gate.md"
Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def good_or_not(share: float) -> Draw:
    """Return what draws rows of two cells of numbers of rows ``[...]``."""

    def draw(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        good = rng.binomial(rows, share)
        return np.stack([good, rows - good], axis=-1)

    return draw


def f1_of(f1: float, positive: float) -> Draw:
    """Return what draws true positives, false negatives and false positives, as many of both."""
    errors = positive * 2 * (1 - f1)  # with as many of either precision and recall are F1
    cells = np.array([positive * f1, errors / 2, errors / 2])

    def draw(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        return rng.multinomial(rows, [*cells, 1 - cells.sum()])[..., :3]

    return draw


# States in which a rule just holds, where false alarms are the most likely.
STATES: Mapping[str, tuple[str, Draw]] = {
    "accuracy .9": ("accuracy >= 0.9", good_or_not(0.9)),
    "accuracy .99": ("accuracy >= 0.99", good_or_not(0.99)),
    "F1 .8, 30 % positive": ("f1 >= 0.8", f1_of(0.8, 0.3)),
}
# Rule and new rows of the slice in a night to the nights that are promised.
PROMISES = {
    ("accuracy >= 0.9", 2_000): 2, ("accuracy >= 0.9", 200): 13, ("accuracy >= 0.9", 50): 45,
    ("accuracy >= 0.88", 2_000): 5, ("accuracy >= 0.88", 200): 40,
}  # fmt: skip


def false_years(rule: str, draw: Draw, years: int, seed: int = SEED) -> int:
    """Count years of 200 slices in which nothing changes and the gate fails on some night."""
    bets, rng = Bets.against(parse_rule(rule)), np.random.default_rng(seed)
    rows = np.geomspace(FEWEST, MOST, SLICES).astype(np.int64)
    return sum(
        _false_years(bets, draw, min(AT_ONCE, years - done), rows, rng)
        for done in range(0, years, AT_ONCE)
    )


def _false_years(
    bets: Bets, draw: Draw, years: int, rows: np.ndarray, rng: np.random.Generator
) -> int:
    every = np.broadcast_to(rows, (years, len(rows)))
    wealth = np.broadcast_to(bets.start, (*every.shape, len(bets.start)))
    false = np.zeros(years, bool)
    for _ in range(NIGHTS):
        wealth = bets.grown(wealth, draw(rng, every))
        false |= (wealth.sum(axis=-1) >= needed(SLICES)).any(axis=-1)
    return int(false.sum())


def nights_to_notice(
    rule: str, rows: int, trials: int, before: float = 0.9, after: float = 0.85, seed: int = SEED
) -> np.ndarray:
    """Return after how many nights ``[trials]`` a fall is noticed that comes after a good year."""
    bets, rng = Bets.against(parse_rule(rule)), np.random.default_rng(seed)
    every = np.full(trials, rows)
    wealth = np.broadcast_to(bets.start, (trials, len(bets.start)))
    for _ in range(NIGHTS):
        wealth = bets.grown(wealth, good_or_not(before)(rng, every))
    nights = np.full(trials, NIGHTS + 1)
    for night in range(1, NIGHTS + 1):
        wealth = bets.grown(wealth, good_or_not(after)(rng, every))
        alarm = wealth.sum(axis=-1) >= needed(SLICES)
        nights = np.where(alarm, np.minimum(nights, night), nights)
        if (nights <= NIGHTS).all():
            break
    return nights


def upper(k: int, n: int) -> float:
    """Return the upper one-sided 95 % bound of a share (Clopper and Pearson 1934)."""
    return float(beta.ppf(0.95, k + 1, n - k)) if k < n else 1.0


@dataclass(frozen=True)
class Line:
    """A row of a table, and whether what is required of it holds."""

    cells: tuple[str, ...]
    holds: bool


def alarms(years: int) -> Iterable[Line]:
    """Yield a line of each state."""
    for name, (rule, draw) in STATES.items():
        k = false_years(rule, draw, years)
        bound = upper(k, years)
        cells = (name, f"{years:,}", f"{k:,}", f"{100 * k / years:.1f}", f"**{100 * bound:.1f}**")
        yield Line(cells, bound <= MOST_FALSE)


def falls(trials: int) -> Iterable[Line]:
    """Yield a line of each promise."""
    for (rule, rows), promise in PROMISES.items():
        nights = nights_to_notice(rule, rows, trials)
        within = float((nights <= promise).mean())
        middle, late = np.quantile(nights, [0.5, 0.95])
        cells = (
            f"`{rule}`", f"{rows:,}", f"{middle:.0f}", f"{late:.0f}", f"{promise}",
            f"**{100 * within:.1f}**",
        )  # fmt: skip
        yield Line(cells, within >= FOUND)


def table(columns: Iterable[str], lines: Iterable[Line]) -> str:
    """Return a table in Markdown."""
    names = list(columns)
    rule = ["---", *["---:"] * (len(names) - 1)]
    rows = [names, rule, *(line.cells for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Simulate, print, and fill the page's tables; return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fewer", type=int, default=1, metavar="N", help="an N-th of all")
    fewer = parser.parse_args().fewer
    false, noticed = list(alarms(YEARS // fewer)), list(falls(TRIALS // fewer))
    tables = {
        "false alarms": table(
            ("rule just holds", "years", "with a false FAIL", "%", "95 % bound, %"), false
        ),
        "falls": table(
            ("rule", "new rows a night", "nights, median", "nights, 95 %", "promised", "within, %"),
            noticed,
        ),
    }
    print(*tables.values(), sep="\n\n")
    if fewer == 1:
        text = DOCS.read_text(encoding="utf-8")
        for mark, lines in tables.items():
            text = filled(text, mark, lines)
        DOCS.write_text(text, encoding="utf-8")
    return 0 if all(line.holds for line in (*false, *noticed)) else 1


if __name__ == "__main__":
    sys.exit(main())
