"""Compare every tier with Python until so many comparisons were made: ``make fuzz ROWS=…``.

A comparison is one row's answer of one slicing function in one tier. The tiers of Spark get
``--spark`` of them each. The first mismatch is made small, printed, and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import functools
import logging
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.compile.tiers import Tier
from tests.fuzz import differ, oracle, series, strategies
from tests.fuzz.differ import Mismatch, Suite
from tests.fuzz.smaller import smaller_row, smaller_source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FUNCTIONS = 200  # of a batch
_ROWS = (2_000, 2_000, 2_000, 60, 4)
SPARK_FUNCTIONS, SPARK_ROWS = 40, 5_000
_ODD = 12  # one function in so many shares its source with others, or is large
_ASIDE = 3  # one in so many functions that fail on every row is kept: they test little

Columns = Mapping[str, Sequence[Any]]
Ask = Callable[[Suite, Columns], np.ndarray]

LOCAL: Mapping[str, Ask] = {
    "row": differ.by_kernel, "arrow": differ.by_arrow, "given": differ.by_given,
    "pandas": differ.by_pandas, "plain": differ.by_plain, "composed": differ.by_composed,
    "forms": differ.by_arrow, "unreadable": differ.by_arrow,
}  # fmt: skip
# What is asked of rows some of whose values Python can't hold.
UNREADABLE: Sequence[Ask] = (differ.by_kernel, differ.by_arrow, differ.by_plain)
SERIES = "series"  # functions of Series, which are others' than those of rows
SPARK_SERIES = "spark series"
SPARK_TIERS: Mapping[str, str | None] = {
    "spark": "spark", "spark arrow": "arrow", "spark row": "row", "spark auto": None,
}  # fmt: skip


ALL = (*LOCAL, SERIES, *SPARK_TIERS, SPARK_SERIES)


class Fuzz:
    """A run: what was compared, and where functions are written."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random, self.folder = Random(seed), folder
        self.compared: Counter[str] = Counter()
        self.counted: Counter[str] = Counter()

    def suite(self, n: int, odd: bool = True) -> Suite:
        """Draw functions, few of them such as fail always, and some odd ones."""
        drawn = [
            strategies.odd_function(self.random)
            if odd and self.random.randrange(_ODD) == 0
            else strategies.function(self.random)
            for _ in range(n + n // 4)
        ]
        few = differ.load(drawn, self.folder)
        codes = differ.by_oracle(few, strategies.values(self.random, 12))
        useful = [
            s for s, row in zip(few.sources, codes, strict=True)
            if (row != oracle.FAULT).any() or self.random.randrange(_ASIDE) == 0
        ]  # fmt: skip
        return differ.load(useful[:n], self.folder)

    def local(self, tiers: Sequence[str]) -> Mismatch | None:
        """Compare one batch without Spark."""
        n, size = self.random.choice(_ROWS), self.random.choice((FUNCTIONS, FUNCTIONS, 10))
        suite, columns = self.suite(FUNCTIONS), strategies.values(self.random, n)
        expected: dict[bool, np.ndarray] = {}
        form = self.random.choice([*differ.FORMS])
        environment = self.random.choice([*differ.ENVIRONMENTS])
        for tier in tiers:
            nan = tier == "pandas" or (tier == "forms" and form in differ.NAN_FOR_NULL)
            given = differ.for_pandas(columns) if nan else columns
            if tier == "unreadable":
                bad = self.unreadable(suite, columns)
                if bad is not None:
                    return bad
                continue
            told = functools.partial(differ.by_form, form) if tier == "forms" else LOCAL[tier]
            ask = functools.partial(differ.in_parts, told, size)
            with differ.asked() as noted, differ.ENVIRONMENTS[environment]():
                if nan not in expected:
                    expected[nan] = differ.by_oracle(suite, given)
                bad = self.check(tier, suite, given, expected[nan], ask)
            if bad is not None:
                print(f"(in the form of {form}, environment: {environment})")
                return bad
            if tier == "arrow":
                self.counted["answers of trees"] += sum(answers for answers, _ in noted)
                self.counted["asked of Python"] += sum(n for _, n in noted)
                self.counted["functions lifted"] += sum(answers // n for answers, _ in noted)
                self.counted["functions"] += len(suite)
        return None

    def unreadable(self, suite: Suite, columns: Columns) -> Mismatch | None:
        """Compare one batch of which Python can't hold some values."""
        given = strategies.with_unreadable(self.random, columns)
        ask = self.random.choice(UNREADABLE)
        return self.check("unreadable", suite, given, differ.by_oracle(suite, given), ask)

    def series(self) -> Mismatch | None:
        """Compare functions of Series, with a table or frame of one form."""
        suite = self.series_suite(FUNCTIONS // 2)
        form = self.random.choice(["arrow", "pandas", *differ.FORMS])
        columns = strategies.values(self.random, self.random.choice((300, 300, 20)))
        if form == "pandas" or form in differ.NAN_FOR_NULL:
            columns = differ.null_for_nan(columns)
        ask: Ask = {"arrow": differ.by_series, "pandas": differ.by_pandas}.get(
            form, functools.partial(differ.by_form, form)
        )
        bad = self.check(SERIES, suite, columns, differ.by_oracle(suite, columns), ask)
        if bad is not None:
            print(f"(in the form of {form})")
        return bad

    def series_suite(self, n: int) -> Suite:
        """Draw functions of Series."""
        return differ.load([series.function(self.random) for _ in range(n)], self.folder)

    def spark_series(self, session: SparkSession) -> Mismatch | None:
        """Compare functions of Series in Spark."""
        suite = self.series_suite(SPARK_FUNCTIONS)
        columns = strategies.values(self.random, SPARK_ROWS // 10)
        ask = functools.partial(_by_spark, session, None, [])
        return self.check(SPARK_SERIES, suite, columns, differ.by_oracle(suite, columns), ask)

    def spark(self, session: SparkSession, tiers: Sequence[str]) -> Mismatch | None:
        """Compare one batch in Spark."""
        suite = self.suite(SPARK_FUNCTIONS, odd=False)
        columns = strategies.values(self.random, SPARK_ROWS)
        expected = differ.by_oracle(suite, columns)
        for tier in tiers:
            plans: list[Any] = []
            ask = functools.partial(_by_spark, session, SPARK_TIERS[tier], plans)
            bad = self.check(tier, suite, columns, expected, ask)
            if bad is not None:
                return bad
            if tier == "spark":
                self.counted["functions run by Spark"] += differ.lifted(plans[0], Tier.SPARK)
                self.counted["functions given to Spark"] += len(suite)
        return None

    def check(
        self, tier: str, suite: Suite, columns: Columns, expected: np.ndarray, ask: Ask
    ) -> Mismatch | None:
        """Compare one tier on one batch; return the smallest function that it gets wrong."""
        try:
            found = ask(suite, columns)
        except Exception:
            self._find_crash(tier, suite, columns, ask)
            raise
        self.compared[tier] += expected.size
        bad = list(differ.mismatches(tier, suite, columns, expected, found))
        return self._small(min(bad, key=lambda m: len(m.source)), columns, ask) if bad else None

    def _find_crash(self, tier: str, suite: Suite, columns: Columns, ask: Ask) -> None:
        for source in suite.sources:
            try:
                ask(differ.load([source], self.folder), columns)
            except Exception:
                print(f"tier {tier} crashes on\n\n{source}\n", flush=True)
                return

    def _small(self, bad: Mismatch, columns: Columns, ask: Ask) -> Mismatch:
        """Return a mismatch of a smaller function and row, where that shows it too."""

        def wrong(source: str, row: Mapping[str, Any]) -> Mismatch | None:
            suite, one = differ.load([source], self.folder), {c: [v] for c, v in row.items()}
            expected = differ.by_oracle(suite, one)
            found = ask(suite, one)
            return next(differ.mismatches(bad.tier, suite, one, expected, found), None)

        print(f"a mismatch, before it is made small:\n\n{bad}\n", flush=True)
        if bad.tier in (SERIES, SPARK_SERIES):  # two functions, which are the same only as they are
            return bad
        if wrong(bad.source, bad.row) is None:
            print("(not alone: it takes the other rows or functions of its batch)")
            return bad
        source = smaller_source(bad.source, lambda s: wrong(s, bad.row) is not None)
        row = smaller_row(bad.row, lambda r: wrong(source, r) is not None)
        return wrong(source, row) or bad


def _by_spark(
    session: SparkSession, tier: str | None, plans: list[Any], suite: Suite, columns: Columns
) -> np.ndarray:
    codes, plan = differ.by_spark(session, suite, columns, tier)
    plans.append(plan)
    return codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzzer; return 1 if a tier says something other than Python."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="comparisons per tier")
    spark_help = "comparisons per tier of Spark; a tenth of --rows by default"
    parser.add_argument("--spark", type=int, default=None, help=spark_help)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--tiers", default=",".join(ALL))
    given = parser.parse_args(arguments)
    seed = time.time_ns() % 10**9 if given.seed is None else given.seed
    tiers = [t.strip() for t in given.tiers.split(",")]
    goals = {t: given.rows if t in (*LOCAL, SERIES) else
             given.rows // 10 if given.spark is None else given.spark for t in tiers}  # fmt: skip
    logging.getLogger("engine").setLevel(logging.ERROR)  # notes on patterns
    warnings.simplefilter("ignore")
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(seed, Path(folder))
        bad = _run(fuzz, goals)
    for what, n in fuzz.counted.items():
        print(f"figure fuzz_{what.replace(' ', '_')}: {n}")
    for tier, n in fuzz.compared.items():
        print(f"figure fuzz_{tier.replace(' ', '_')}: {n}")
    print(f"figure fuzz_comparisons: {sum(fuzz.compared.values())}")
    if bad is not None:
        print(f"\nmismatch (seed {seed}):\n\n{bad}")
    if 2 * fuzz.counted["asked of Python"] > fuzz.counted["answers of trees"]:
        print("\nmost rows were asked of Python itself: that compares nothing")
        return 1
    return int(bad is not None)


def _run(fuzz: Fuzz, goals: Mapping[str, int]) -> Mismatch | None:
    from engine.storage.session import open_session

    needed = goals.keys() & {*SPARK_TIERS, SPARK_SERIES}
    session = open_session("fuzz") if needed else None
    started = said = time.monotonic()
    while True:
        left = [t for t, goal in goals.items() if fuzz.compared[t] < goal]
        local = [t for t in left if t in LOCAL]
        in_spark = [t for t in left if t in SPARK_TIERS]
        if not left:
            return None
        bad = fuzz.local(local) if local else None
        if bad is None and SERIES in left:
            bad = fuzz.series()
        if bad is None and SPARK_SERIES in left and session is not None:
            bad = fuzz.spark_series(session)
        if bad is None and in_spark and session is not None:
            bad = fuzz.spark(session, in_spark)
        if bad is not None:
            return bad
        if time.monotonic() - said > 10:
            said = time.monotonic()
            done = ", ".join(f"{t} {n:,}" for t, n in fuzz.compared.items())
            print(f"{said - started:,.0f} s: {done}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
