"""A sampled share of rows, on which compiled slices are compared with their Python functions.

Rows are compared where they are labelled: the worker that computes masks calls the functions too,
on the sampled rows, and a row on which they differ stops the run.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import or_
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import VerifyError
from engine.hashing import unit_interval_column
from engine.label.plan import MaskPlan
from engine.masks.layout import signed
from engine.run.faults import key_text
from engine.run.udf import sampled_udf
from engine.sql import name_sql
from engine.words import WORD

SAMPLED, PYTHON = "@sampled", "@python"  # named as no column is
_FEWEST = 1_000  # rows that are compared, if there are so many
_DIFFERS = "what is compiled and what Python says differ: "


def at_least(share: float, rows: int) -> float:
    """Return a share of rows that is some 1,000 at the least; 0 stays 0.

    Examples
    --------
    >>> at_least(0.001, 2_000), at_least(0.001, 10**9), at_least(0.0, 2_000)
    (0.5, 0.001, 0.0)
    """
    return max(share, min(1.0, _FEWEST / rows)) if share and rows else 0.0


@dataclass(frozen=True)
class Comparison:
    """A plan whose lifted slices are compared with Python on a share of the rows.

    Attributes
    ----------
    plan
        The compiled slices.
    bits
        Slice id to its bit in words of masks.
    key
        Columns that name a row; their hash decides which rows are compared.
    share
        The share of the rows, from 0 to 1.
    seed
        Draws other rows.
    """

    plan: MaskPlan
    bits: Mapping[str, int]
    key: tuple[str, ...]
    share: float
    seed: int = 0

    @property
    def slices(self) -> tuple[str, ...]:
        """The slices that are compared; none where no row is."""
        return self.plan.lifted if self.share else ()

    @property
    def bits_of_udf(self) -> Mapping[str, int]:
        """Slice id to its bit in what Python gives."""
        return self.plan.udf_bits(self.bits)

    @property
    def bits_of_slices(self) -> Mapping[str, int]:
        """The bits of the slices that are compared."""
        return {s: self.bits[s] for s in self.slices}

    def with_faults(self, df: DataFrame) -> DataFrame:
        """Return what :meth:`MaskPlan.with_faults` does; a row fails on which answers differ."""
        if not self.slices:
            return self.plan.with_faults(df, self.bits)
        python = self.plan.only(self.slices).as_python()
        bits = self.bits_of_slices
        flag = F.col(name_sql(SAMPLED))
        udf = sampled_udf(python.kernel, python.crossing, bits, python.limits)
        # Values of other rows don't travel.
        inputs = [F.when(flag, python.input(c)) for c in python.crossing]
        rows = df.withColumn(SAMPLED, unit_interval_column(df, self.key, self.seed) < self.share)
        return self.checked(self.plan.with_faults(rows, self.bits, {PYTHON: udf(flag, *inputs)}))

    def checked(self, masked: DataFrame) -> DataFrame:
        """Return rows so that evaluating one fails on which answers differ.

        Parameters
        ----------
        masked
            What :meth:`MaskPlan.with_faults` returned, and with it what Python says, and of which
            rows.
        """
        bits = self.bits_of_slices
        flag = F.col(name_sql(SAMPLED))
        named = zip(
            self.plan.word_names(self.bits),
            self.plan.word_columns(self.bits, of=self.slices),
            strict=True,
        )
        ours = dict(named)
        names = self.plan.word_names(bits)
        of_slices = [_bits_of_word(bits, name) for name in names]
        words = [ours[n].bitwiseAND(F.lit(b)) for n, b in zip(names, of_slices, strict=True)]
        theirs = [F.col(f"{name_sql(PYTHON)}.{name}") for name in names]
        differ = functools.reduce(or_, (a != b for a, b in zip(words, theirs, strict=True)))
        facts = F.struct(
            key_text(self.key).alias("row"),
            F.array(*words).alias("ours"),
            F.array(*theirs).alias("python"),
        )
        stop = F.raise_error(F.concat(F.lit(_DIFFERS), F.to_json(facts))).cast("boolean")
        return masked.where(F.when(flag & differ, stop).otherwise(F.lit(True)))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what Spark raises of a row on which answers differ into an error.

        Raises
        ------
        VerifyError
            With a slice and a row on which they differ, and both answers.
        """
        try:
            yield
        except Exception as error:  # a write that fails comes as Py4J's error, not as pyspark's
            _, _, facts = str(error).partition(_DIFFERS)
            if not facts:
                raise
            raise self._error(json.JSONDecoder().raw_decode(facts)[0]) from None

    def _error(self, facts: Mapping[str, Any]) -> VerifyError:
        """Return the error of a row, with the first slice on which answers differ."""
        for slice_id in self.slices:
            ours, python = (_answer(facts[of], self.bits[slice_id]) for of in ("ours", "python"))
            if ours != python:
                break
        name, tier = self.plan.all_sfs[slice_id].name, self.plan.tiers[slice_id]
        return VerifyError(
            f"slice {name!r} on row {facts['row']}: its compiled form ({tier}) says {ours}, the "
            f"Python function says {python}; nothing was written. Run it as Python (tiers: "
            f"{{{name}: row}}) and report this as a bug of the engine"
        )


def verify(
    plan: MaskPlan, df: DataFrame, key: Sequence[str], share: float, seed: int = 0
) -> tuple[int, int]:
    """Call the Python functions of lifted slices on a share of the rows, and compare.

    Returns
    -------
    int, int
        How many rows were compared, on how many slices.

    Raises
    ------
    VerifyError
        As :meth:`Comparison.explained`.
    """
    bits = {s: i for i, s in enumerate(plan.ids)}
    comparison = Comparison(plan, bits, tuple(key), share, seed)
    if not comparison.slices:
        return 0, 0
    with comparison.explained():
        rows = comparison.with_faults(df).where(F.col(name_sql(SAMPLED))).count()
    return rows, len(comparison.slices)


def _bits_of_word(bits: Mapping[str, int], name: str) -> int:
    """Return one word's bits of some slices, as the BIGINT that they are."""
    k = int(name.rpartition("_")[2])
    return signed(sum(1 << b % WORD for b in bits.values() if b // WORD == k))


def _answer(words: Sequence[int], bit: int) -> bool | None:
    half, (word, at) = len(words) // 2, divmod(bit, WORD)
    return None if words[half + word] >> at & 1 else bool(words[word] >> at & 1)
