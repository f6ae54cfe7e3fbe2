"""Functions behind preprocessors, each alone, against a plain loop that calls both.

  .venv/bin/python -m tests.benchmarks.bench_chains

Arrow batch to mask, one core: CPU time, medians of 7 runs that take turns, 20,000 comments that are
all different. The loop makes an object of each row, calls the preprocessors and the function; it is
that of `bench_corpus`. Of the memoized one it keeps the words by text in a dict, which begins empty
in each run, as ours does. ``chains_loop`` is the geometric mean, ``chains_worst`` the worst. Half a
minute; the corpus's two functions behind a preprocessor are in `bench_corpus`.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pyarrow as pa

from engine import Preprocessor, SlicingFunction
from engine.lift.reads import slice_reads
from engine.run.kernel import Kernel
from tests.benchmarks.bench_corpus import ROWS, RUNS, _cpu, _open, looped
from tests.benchmarks.comments import comments
from tests.benchmarks.turns import Claims


def words(x: Any) -> Any:
    x.words = x.text.split()
    return x


def lower(x: Any) -> Any:
    x.lower = x.text.lower()
    x.size = len(x.lower)
    return x


def long_words(x: Any) -> Any:
    x.long = [w for w in x.words if len(w) > 4]
    return x


def kinds(x: Any) -> Any:
    x.words = (x.text or "").split()
    x.n_words = len(x.words)
    if x.n_words > 3:
        x.kind = "long"
    else:
        x.kind = "short"
    return x


def remembering() -> Any:
    """Return a memoized preprocessor as one would write it by hand."""
    known: dict[str, list[str]] = {}

    def words_once(x: Any) -> Any:
        if x.text not in known:
            known[x.text] = x.text.split()
        x.words = known[x.text]
        return x

    return Preprocessor("words", words_once)


WORDS = Preprocessor("words", words)
SFS = [
    SlicingFunction("few", lambda x: len(x.words) < 5, pre=[WORDS]),
    SlicingFunction("few_memoized", lambda x: len(x.words) < 5,
                    pre=[Preprocessor("words", words, memoize=True)]),
    SlicingFunction("repeats", lambda x: len(set(x.words)) < len(x.words), pre=[WORDS]),
    SlicingFunction("out", lambda x: "out" in x.lower and x.size < 80,
                    pre=[Preprocessor("lower", lower)]),
    SlicingFunction("long", lambda x: len(x.long) > 2 and x.n > 5,
                    pre=[Preprocessor("long", long_words, pre=[WORDS])]),
    SlicingFunction("check", lambda x: x.kind == "long" and "check" in x.words,
                    pre=[Preprocessor("kinds", kinds)]),
]  # fmt: skip


def ratio(sf: SlicingFunction, columns: dict[str, pa.Array]) -> float:
    """Return how many times as long the loop takes."""
    read = sorted(slice_reads(sf).columns)
    own, row = {c: columns[c] for c in read}, _open(read)
    expected = Kernel([sf]).run(own, ROWS).masks[sf.id]
    assert (looped(sf, own, ROWS, row) == expected).all(), sf.name
    seconds = []
    for _ in range(RUNS):
        kernel = Kernel([sf])
        kernel.run({c: a[:1] for c, a in own.items()}, 1)  # it is compiled
        memoized = any(p.memoize for p in sf.chain)
        by_hand = SlicingFunction(sf.name, sf.f, pre=[remembering()]) if memoized else sf
        loop = _cpu(lambda by_hand=by_hand: looped(by_hand, own, ROWS, row))
        ours = _cpu(lambda kernel=kernel: kernel.run(own, ROWS))
        seconds.append((loop, ours))
    loop, ours = map(statistics.median, zip(*seconds, strict=True))
    print(f"{loop / ours:7.2f}  loop {loop / ROWS * 1e6:5.2f} us  "
          f"ours {ours / ROWS * 1e6:5.2f} us  {sf.name}", flush=True)  # fmt: skip
    return loop / ours


def main() -> None:
    claims = Claims()
    columns = {"text": pa.array(comments(ROWS, seed=0)["text"].to_pylist()),
               "n": pa.array(np.arange(ROWS))}  # fmt: skip
    ratios = [ratio(sf, columns) for sf in SFS]
    claims.ratio("chains_loop", statistics.geometric_mean(ratios))
    claims.ratio("chains_worst", min(ratios))
    claims.tell()


if __name__ == "__main__":
    main()
