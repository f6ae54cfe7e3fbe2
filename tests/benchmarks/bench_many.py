"""1,800 slicing functions over 1.7 million rows, packed into Delta: what Snorkel's users asked for.

  .venv/bin/python -m tests.benchmarks.bench_many

Its issue #1500 tells of 1,800 functions over 1.7 M rows, which ran out of time on 12 cores. Here
60 % of the functions look for a keyword, 20 % for a regular expression, 15 % compare numbers and
5 % can't be lifted and run as Python. Nothing is timed but compiling, labelling and the write. A
share of the rows is compared with Python first. The last lines are ``figure <claim>: <number>``:
minutes, and the peak of summed PSS over all processes in GiB, sampled each second.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from engine import SlicingFunction, compile_slices
from engine.label.verify import verify
from engine.masks.coverage import coverage
from engine.masks.layout import table_form
from engine.storage import tables
from engine.storage.session import open_session
from tests.benchmarks.comments import comments
from tests.benchmarks.turns import Claims, PeakMemory

ROWS, SLICES = 1_700_000, 1_800
SHARES = {"keyword": 0.60, "regex": 0.20, "comparison": 0.15, "python": 0.05}
CHECKED = 0.0005  # the share of rows compared with Python before


def keyword(word: str) -> Callable[[Any], bool]:
    return lambda x: word in x.text.lower()


def keyword_as_is(word: str) -> Callable[[Any], bool]:
    return lambda x: word in x.text


def regex(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda x: bool(compiled.search(x.text))


def comparison(column: str, low: int, high: int) -> Callable[[Any], bool]:
    return lambda x: low <= x[column] < high


def both(column: str, least: int, words: int) -> Callable[[Any], bool]:
    return lambda x: x[column] > least and len(x.text.split()) < words


def longest_word(least: int) -> Callable[[Any], bool]:
    return lambda x: max(map(len, x.text.split()), default=0) >= least


def vocabulary(n: int, rng: np.random.Generator) -> list[str]:
    """Return words of the comments, then made-up ones: most keyword lists hit few rows."""
    found: dict[str, None] = {}
    for text in comments(5_000, seed=3)["text"].to_pylist():
        found |= dict.fromkeys(w for w in re.findall(r"[a-z]{4,}", text.lower()))
    syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
    while len(found) < n:
        found["".join(rng.choice(syllables, 4))] = None
    return list(found)[:n]


def slicing_functions(n: int) -> list[SlicingFunction]:
    """Return ``n`` row functions, of each kind its share."""
    rng = np.random.default_rng(11)
    words = vocabulary(3 * n, rng)
    regexes = (
        r"\b{0}\b", r"{0}\s+{1}", r"{0}.*{1}", r"{0}|{1}", r"{0}\d+", r"{0}s?\s*!+",
        r"https?://\S*{0}", r"(?:{0}|{1})\s+(?:out|now|please)", r"{0}\.(?:com|ly|net)",
    )  # fmt: skip
    made: dict[str, Callable[[int], Callable[[Any], bool]]] = {
        "keyword": lambda i: (keyword_as_is if i % 4 == 0 else keyword)(words[i]),
        "regex": lambda i: regex(regexes[i % len(regexes)].format(words[i], words[i + n])),
        "comparison": lambda i: (
            both("likes", i % 900, 2 + i % 20)
            if i % 3 == 0
            else comparison(("likes", "replies", "age_days")[i % 3], i % 700, i % 700 + 40)
        ),
        "python": lambda i: longest_word(8 + i % 30),
    }
    sfs = []
    for kind, share in SHARES.items():
        sfs += [SlicingFunction(f"{kind}_{i}", made[kind](i)) for i in range(round(n * share))]
    return sfs


def source(folder: Path, rows: int) -> list[str]:
    paths = []
    for i in range(0, rows, 100_000):
        part = comments(min(100_000, rows - i), seed=i)
        rng = np.random.default_rng(i)
        for name, most in (("likes", 1000), ("replies", 800), ("age_days", 4000)):
            part = part.append_column(name, pa.array(rng.integers(0, most, len(part))))
        part = part.set_column(0, "comment_id", pa.array(range(i, i + len(part))))
        paths.append(str(folder / f"part_{i}.parquet"))
        pq.write_table(part, paths[-1])
    return paths


def run(spark: SparkSession, folder: Path, claims: Claims, rows: int, slices: int) -> None:
    df = spark.read.parquet(*source(folder, rows))
    sfs = slicing_functions(slices)
    checked, compiled = verify(compile_slices(sfs, df.schema), df, ["comment_id"], CHECKED)
    print(f"{compiled:,} compiled slices give what Python gives on {checked:,} rows")
    place = str(folder / "masks")
    with PeakMemory() as peak:
        start = time.perf_counter()
        plan = compile_slices(sfs, df.schema)
        form = table_form(["comment_id"], sfs, {sf.id: "" for sf in sfs}, "packed", None, place)
        masked = plan.with_faults(df, form.places)
        written = tables.overwrite(plan.rows(masked, form), place, facts={})
        minutes = (time.perf_counter() - start) / 60
    tiers = {str(t): sum(a.tier is t for a in plan.assignments) for t in set(plan.tiers.values())}
    print(f"{written}; {tiers}")
    found = coverage(spark.read.format("delta").load(place), plan.ids, None)
    filled = sum(c.n_in > 0 for c in found)
    print(f"{filled:,} of {len(found):,} slices have rows, {sum(c.n_in for c in found):,} in all")
    claims.figure("many_minutes", minutes)
    claims.figure("many_peak_gib", peak.gib)


def main(argv: list[str]) -> None:
    rows, slices = (int(a) for a in argv) if argv else (ROWS, SLICES)
    claims = Claims()
    with tempfile.TemporaryDirectory() as name:
        spark = open_session("bench_many")
        run(spark, Path(name), claims, rows, slices)
        spark.stop()
    claims.tell()


if __name__ == "__main__":
    main(sys.argv[1:])
