"""Hundreds of keywords and regular expressions on comments, against one call for each.

  .venv/bin/python -m tests.benchmarks.bench_patterns                both claims
  .venv/bin/python -m tests.benchmarks.bench_patterns keywords       one of them

``keywords_pyarrow`` and ``keywords_snorkel``: 500 keywords, half of them in the text as it is and
half in its lower case, against ``pyarrow.compute.match_substring`` per keyword (on a text put in
lower case once, not timed) and Snorkel's ``PandasSFApplier`` with a function per keyword.
``regexes_re``: 500 regular expressions against a compiled one's ``search`` per expression and row.

Ours are the same row functions, lifted from their source and run over Arrow batches. Each ratio is
rows times functions per second, ours over theirs, the medians of 3 runs that take
turns in one process, on one core. Ours runs over all rows in batches; the others run over the
first rows only, as many as said, for they would take hours. The last lines are
``ratio <claim>: <number>``.
"""

from __future__ import annotations

import itertools
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from snorkel.slicing import PandasSFApplier, SlicingFunction

import engine
from engine.matching.patterns import Search

ROWS, BATCH, FUNCTIONS, TURNS = 1_000_000, 10_000, 500, 3
PYARROW_ROWS, SNORKEL_ROWS, RE_ROWS = 50_000, 500, 5_000

COMMON = """the i you to and a my is it this of in for me on that so but your song video like be
love out check channel with have are please subscribe just if was at all from music not what can
new would best when who how we good one no as more they he she people watch make first money more
know great thumbs up like see only time will never free world really think now views million why
because lol guys hey hello listen still here beautiful amazing awesome best ever its im dont cant
come give look some there has want get view go visit link website share friends follow instagram
twitter facebook covers cover dance voice remix lyrics album concert summer winter night girl boy
""".split()  # noqa: SIM905 - a list of words reads best as text
SYLLABLES = """ba be bi bo bra chi cla co cra da de dri el en fa fi flo ga ge gra ha he ho in ja jo
ka ki la le li lo lu ma me mi mo na ne ni no ol pa pe pi pla po qua ra re ri ro sa se shi si so sta
ta te ti to tra u va ve vi vo wa we wi xa ya yo za ze""".split()  # noqa: SIM905
EXTRAS = (
    "😂", "❤️", "👍🏽", "\ufeff", "…", "“yes”", "don’t", "ñandú", "über", "café", "日本", "спасибо",
    "!!!", ":)", "<3", "&amp;", "555-1234", "2015", "100%", "$500", "3:21", "10000", "1080p",
    "http://bit.ly/x9f", "www.shop.example", "me@mail.example", "@kito", "#1", "v2.0", "CHECK",
    "OUT",
    "<br />", "\n", "5 stars", "http://tune.ly/ab?id=7", "SUBSCRIBE", "PLEASE",
)  # fmt: skip
Masks = np.ndarray  # [functions, rows] bool


def vocabulary(seed: int) -> list[str]:
    """Words, the common ones first."""
    draw = random.Random(seed)
    rare = {"".join(draw.choices(SYLLABLES, k=draw.randint(2, 4))) for _ in range(20_000)}
    return [*dict.fromkeys(COMMON), *draw.sample(sorted(rare), len(rare))]


def comments(rows: int, words: list[str], seed: int) -> pa.ChunkedArray:
    """Comments of about 100 characters, most of them not ASCII, word ranks by Zipf's law."""
    draw = np.random.default_rng(seed)
    share = 1 / np.arange(3, len(words) + 3)
    chunks = []
    for _ in range(0, rows, BATCH):
        counts = draw.integers(6, 30, BATCH)
        picked = draw.choice(len(words), counts.sum(), p=share / share.sum())
        extra = draw.random(counts.sum()) < 0.15
        extras = draw.integers(0, len(EXTRAS), counts.sum())
        capital = draw.random(counts.sum()) < 0.05
        tokens = [
            EXTRAS[e] if x else words[w].title() if c else words[w]
            for w, x, e, c in zip(
                picked.tolist(), extra.tolist(), extras.tolist(), capital.tolist(), strict=True
            )
        ]
        ends = np.cumsum(counts).tolist()
        chunks.append(
            pa.array([" ".join(tokens[a:b]) for a, b in zip([0, *ends], ends, strict=False)])
        )
    return pa.chunked_array(chunks).slice(0, rows)


def keywords(words: list[str], seed: int) -> list[Search]:
    """Keywords: some common, most rare, some that hardly ever occur; phrases too."""
    draw = random.Random(seed)
    rare = draw.sample(words[200:5000], 300) + draw.sample(words[5000:], 80)
    phrases = [
        f"{a} {b}" for a, b in zip(draw.choices(words[:300], k=60), COMMON[:60], strict=True)
    ]
    common = draw.sample([w for w in words[:200] if len(w) > 3], 60)
    chosen = list(dict.fromkeys([*rare, *phrases, *common]))[:FUNCTIONS]
    assert len(chosen) == FUNCTIONS, len(chosen)
    return [
        Search("contains", word, form="lower" if i % 2 else "as_is")
        for i, word in enumerate(chosen)
    ]


def expressions(words: list[str], seed: int) -> list[Search]:
    """Regular expressions as people write them for comments, each once."""
    draw = random.Random(seed)

    def word() -> str:
        return draw.choice(words[30:3000])

    def digit() -> str:
        return str(draw.randint(2, 9))

    makers: list[Callable[[], tuple[str, int]]] = [
        lambda: (rf"\b{word()}\b", 0),
        lambda: (rf"\b{word()}\b", re.IGNORECASE),
        lambda: ("|".join(word() for _ in range(draw.randint(2, 6))), 0),
        lambda: (rf"\b(?:{'|'.join(word() for _ in range(draw.randint(3, 8)))})\b", re.IGNORECASE),
        lambda: (rf"{word()}\s+{word()}", 0),
        lambda: (rf"{word()}\s+\d+", re.IGNORECASE),
        lambda: (rf"(?i){word()}.{{0,{digit()}0}}{word()}", 0),
        lambda: (rf"{word()}.*{word()}", re.IGNORECASE),
        lambda: (rf"^{word()}", re.IGNORECASE),
        lambda: (rf"{word()}[.!?]*$", 0),
        lambda: (rf"\w+\.{word()[:3]}\b", 0),
        lambda: (rf"https?://\S*{word()[:4]}", 0),
        lambda: (rf"\d{{{digit()}}}-\d{{{digit()}}}", 0),
        lambda: (rf"\b{digit()}{digit()}?\d{{2}}\b", 0),
        lambda: (rf"[$€]{digit()}\d+", 0),
        lambda: (rf"#{word()}\w*", 0),
        lambda: (rf"@{word()[:3]}\w+", 0),
        lambda: (rf"{word()}(?:s|ing|ed)?\b", 0),
        lambda: (rf"(?:my|your|the)\s+{word()}", re.IGNORECASE),
        lambda: (rf"{word()}!{{1,}}", 0),
    ]
    made: dict[tuple[str, int], None] = {}
    for maker in itertools.cycle(makers):  # some run out of new ones, the others go on
        made[maker()] = None
        if len(made) == FUNCTIONS:
            break
    return [Search("search", pattern, flags) for pattern, flags in made]


def row_function(search: Search) -> Callable[[Any], bool]:
    """Return a search as the row function that people write; the same for Snorkel and for us."""
    word = search.pattern
    if search.kind == "search":
        compiled = re.compile(word, search.flags)
        return lambda x: bool(compiled.search(x.text))
    if search.form == "lower":
        return lambda x: word in x.text.lower()
    return lambda x: word in x.text


def ours(searches: list[Search]) -> Callable[[pa.Array], Masks]:
    """Our side: row functions compiled, and run over a batch as executors run them."""
    sfs = [engine.SlicingFunction(f"sf_{i}", row_function(s)) for i, s in enumerate(searches)]
    kernel = engine.compile_slices(sfs, pa.schema({"text": pa.string()})).kernel

    def run(batch: pa.Array) -> Masks:
        found = kernel.run({"text": batch}).by_slice
        return np.array([found[sf.id].members for sf in sfs])

    return run


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def batches(texts: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in texts.chunks:
        for at in range(0, len(chunk), BATCH):
            yield chunk.slice(at, BATCH)


def compare(
    texts: pa.ChunkedArray,
    searches: list[Search],
    others: dict[str, tuple[int, Callable[[], Masks]]],
) -> dict[str, float]:
    """Let ours and the others take turns; return the ratio of speeds by claim."""
    answer = ours(searches)
    for name, (rows, run) in others.items():
        first = pa.concat_arrays(texts.slice(0, rows).chunks)
        assert (answer(first) == run()).all(), f"{name}: the answers differ"
        print(f"{name}: equal answers on {rows:,} rows")

    def all_rows() -> None:
        for batch in batches(texts):
            answer(batch)

    speeds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
    for turn in range(TURNS):
        runs = {"ours": (len(texts), all_rows), **others}
        for name, (rows, run) in runs.items():
            speeds[name].append(rows * len(searches) / timed(run))
            print(f"{turn + 1}: {name} {speeds[name][-1] / 1e6:.3f} M row·function/s", flush=True)
    middle = {name: statistics.median(s) for name, s in speeds.items()}
    return {name: middle["ours"] / middle[name] for name in others}


def keyword_ratios(texts: pa.ChunkedArray, words: list[str]) -> dict[str, float]:
    """Keywords against pyarrow and against Snorkel."""
    searches = keywords(words, 2)
    first = pa.concat_arrays(texts.slice(0, PYARROW_ROWS).chunks)
    forms = {"as_is": first, "lower": pc.utf8_lower(first)}
    frame = pd.DataFrame({"text": texts.slice(0, SNORKEL_ROWS).to_pylist()})

    def by_pyarrow() -> Masks:
        found = [pc.match_substring(forms[s.form], s.pattern) for s in searches]
        return np.array([f.to_numpy(zero_copy_only=False) for f in found])

    sfs = [SlicingFunction(f"sf_{i}", row_function(s)) for i, s in enumerate(searches)]
    applier = PandasSFApplier(sfs)

    def by_snorkel() -> Masks:
        made = applier.apply(frame, progress_bar=False)
        return np.array([made[name] for name in made.dtype.names]).astype(bool)

    return compare(
        texts,
        searches,
        {
            "keywords_pyarrow": (PYARROW_ROWS, by_pyarrow),
            "keywords_snorkel": (SNORKEL_ROWS, by_snorkel),
        },
    )


def regex_ratios(texts: pa.ChunkedArray, words: list[str]) -> dict[str, float]:
    """Regular expressions against `re` per row."""
    searches = expressions(words, 3)
    strings = texts.slice(0, RE_ROWS).to_pylist()
    compiled = [re.compile(s.pattern, s.flags) for s in searches]

    def by_re() -> Masks:
        return np.array([[p.search(t) is not None for t in strings] for p in compiled])

    return compare(texts, searches, {"regexes_re": (RE_ROWS, by_re)})


def main() -> None:
    """Print the ratios of the claims asked for, or of all."""
    words = vocabulary(0)
    texts = comments(ROWS, words, 1)
    sample = texts.slice(0, BATCH).to_pylist()
    wide = sum(not t.isascii() for t in sample) / BATCH
    length = sum(map(len, sample)) / BATCH
    print(f"{len(texts):,} rows of {length:.0f} characters, {wide:.0%} of them not ASCII")
    print("ours runs over all of them, the others over the first ones, as many as they say")
    runs = {"keywords": keyword_ratios, "regexes": regex_ratios}
    ratios: dict[str, float] = {}
    for name in sys.argv[1:] or runs:
        ratios |= runs[name](texts, words)
    for name, ratio in ratios.items():
        print(f"ratio {name}: {ratio:.1f}")


if __name__ == "__main__":
    main()
