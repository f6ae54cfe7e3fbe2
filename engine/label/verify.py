"""A sampled share of rows, on which compiled slices are compared with their Python functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import VerifyError
from engine.hashing import unit_interval_column
from engine.label.plan import MaskPlan
from engine.run.faults import key_text
from engine.sql import name_sql

_KEY = "@key"
_FEWEST = 1_000  # rows that are compared, if there are so many


def at_least(share: float, rows: int) -> float:
    """Return a share of rows that is some 1,000 at the least; 0 stays 0.

    Examples
    --------
    >>> at_least(0.001, 2_000), at_least(0.001, 10**9), at_least(0.0, 2_000)
    (0.5, 0.001, 0.0)
    """
    return max(share, min(1.0, _FEWEST / rows)) if share and rows else 0.0


def verify(
    plan: MaskPlan, df: DataFrame, key: Sequence[str], share: float, seed: int = 0
) -> tuple[int, int]:
    """Call the Python functions of lifted slices on a share of the rows, and compare.

    Parameters
    ----------
    plan
        The compiled slices.
    df
        The rows.
    key
        Columns that name a row; their hash decides which rows are compared.
    share
        The share of the rows, from 0 to 1.
    seed
        Draws other rows.

    Returns
    -------
    int, int
        How many rows were compared, on how many slices.

    Raises
    ------
    VerifyError
        With the first slice and row on which they differ, and both answers.
    """
    some = plan.only(plan.lifted)
    ours, python = replace(some, forced=frozenset(some.ids)), some.as_python()
    if not ours.sfs or not share:
        return 0, 0
    rows = df.where(unit_interval_column(df, key, seed) < share)
    bits = {s: i for i, s in enumerate(ours.ids)}
    named = [f"@{c}" for c in ours.word_names(bits)]
    read = list(dict.fromkeys([*ours.crossing, *python.crossing]))
    first = ours.with_faults(rows, bits).select(
        key_text(key).alias(_KEY),
        *(F.col(name_sql(c)) for c in read),
        *(c.alias(name) for c, name in zip(ours.word_columns(bits), named, strict=True)),
    )
    second = python.with_faults(first, bits)
    pairs = [
        F.struct(F.col(name_sql(name)).alias("ours"), c.alias("python"))
        for c, name in zip(python.word_columns(bits), named, strict=True)
    ]
    compared = second.select(_KEY, F.array(*pairs).alias("words"))
    differs = F.exists("words", lambda w: w["ours"] != w["python"])
    comparison = compared.agg(
        F.count(F.lit(1)).alias("rows"),
        F.min(F.when(differs, F.struct(_KEY, "words"))).alias("first"),
    ).collect()[0]
    if comparison["first"] is not None:
        words = comparison["first"]["words"]
        half = len(words) // 2
        for slice_id, bit in bits.items():
            a, b = (_answer(words, side, bit, half) for side in ("ours", "python"))
            if a != b:
                tier = ours.tiers[slice_id]
                name = ours.all_sfs[slice_id].name
                raise VerifyError(
                    f"slice {name!r} on row {comparison['first'][_KEY]}: its compiled form "
                    f"({tier}) says {a}, the Python function says {b}; nothing was written. Run it "
                    f"as Python (tiers: {{{name}: row}}) and report this as a bug of the engine"
                )
    return int(comparison["rows"]), len(bits)


def _answer(words: Sequence[dict[str, int]], side: str, bit: int, half: int) -> bool | None:
    word, at = divmod(bit, 64)
    undecided = words[half + word][side] >> at & 1
    return None if undecided else bool(words[word][side] >> at & 1)
