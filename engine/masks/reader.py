"""Reading masks back: one reader for both layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.errors import NoSuchMaskError
from engine.masks.checks import quoted
from engine.masks.layout import (
    MOST_BOOLEAN,
    Bits,
    Layout,
    StoredSlice,
    bit_mask,
    bit_sql,
    boolean_slices,
    described_mask,
    in_any,
    layout_of,
    stored_bits,
    words_sql,
)
from engine.masks.words import WORD
from engine.names import is_catalog_name
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType


@dataclass(frozen=True)
class Words:
    """Masks as words, whatever the layout.

    Attributes
    ----------
    in_words, null_words
        BIGINTs in SQL: which slices a row is in, and which are undecided on it.
    undecided
        SQL that tells whether some slice is undecided on a row, which on few rows one is.
    at
        Slice id to its bit, in both.
    """

    in_words: tuple[str, ...]
    null_words: tuple[str, ...]
    undecided: str
    at: Mapping[str, int]


@dataclass(frozen=True)
class Held:
    """The columns that hold what :class:`Words` has.

    Attributes
    ----------
    layout
        How.
    words
        Of each word the column of slices that a row is in and that of undecided ones; or up to 64
        BOOLEAN columns.
    """

    layout: Layout
    words: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> list[str]:
        """All of them."""
        return [column for word in self.words for column in word]


@dataclass(frozen=True)
class MaskTable:
    """A mask table, or what was made of it by joins and filters that kept its mask columns.

    Attributes
    ----------
    df
        Its rows.
    layout
        How masks are held.
    slices
        The slices, in the order of columns or bits; dropped ones aren't among them.
    bits
        A packed table's bits.
    """

    df: DataFrame
    layout: Layout
    slices: tuple[StoredSlice, ...]
    bits: Bits

    @property
    def ids(self) -> tuple[str, ...]:
        """The slices' ids."""
        return tuple(s.id for s in self.slices)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Slice id to fingerprint."""
        return {s.id: s.fingerprint for s in self.slices}

    @property
    def mask_columns(self) -> tuple[str, ...]:
        """The columns that hold masks."""
        return self.ids if self.layout is Layout.BOOLEAN else self.bits.columns

    @property
    def columns(self) -> tuple[str, ...]:
        """The other columns: key, split, partition and carried ones."""
        held = set(self.mask_columns)
        return tuple(c for c in self.df.columns if c not in held)

    def spark_counts(self, ids: Sequence[str]) -> bool:
        """Tell whether Spark's own aggregates are a good way to count these slices.

        A few BOOLEAN columns spare the way to Python; bits are counted in a third of the time
        there.
        """
        return self.layout is Layout.BOOLEAN and len(ids) <= MOST_BOOLEAN

    def mask(self, slice_id: str) -> Column:
        """Return a slice's mask: true in, false out, null undecided.

        Raises
        ------
        NoSuchMaskError
            If the table has no such slice.
        """
        if self.layout is Layout.PACKED and slice_id in self.bits.at:
            return bit_mask(self.bits.at[slice_id])
        if self.layout is Layout.BOOLEAN and slice_id in self.df.columns:
            return quoted(slice_id)
        raise NoSuchMaskError(slice_id, self.ids)

    def masks(self, ids: Sequence[str] | None = None) -> list[Column]:
        """Return the masks of these slices, or of all, named as the slices."""
        return [self.mask(s).alias(s) for s in (self.ids if ids is None else ids)]

    def in_any(self, ids: Sequence[str]) -> list[Column]:
        """Return tests, one of which is true where a row is in one of these slices.

        They are never more than slices, and for a packed table no more than words.
        """
        if self.layout is Layout.BOOLEAN:
            return [self.mask(s) for s in ids]
        return in_any(ids, self.bits)

    def words(self, ids: Sequence[str] | None = None) -> Words:
        """Return the words that hold the masks of these slices, or of all.

        Raises
        ------
        NoSuchMaskError
            If the table has no such slice.
        """
        wanted = self._known(ids)
        if self.layout is Layout.BOOLEAN:
            bits = Bits(tuple(StoredSlice(s, s, "") for s in wanted))
            words = words_sql(bits)
            undecided = " OR ".join(f"{name_sql(s)} IS NULL" for s in wanted) or "false"
            in_words, null_words = words[: bits.words], words[bits.words :]
            return Words(tuple(in_words), tuple(null_words), undecided, bits.at)
        at, columns = self.bits.at, self.bits.columns
        needed = self._needed(wanted)
        first = {k: i * WORD for i, k in enumerate(needed)}
        nulls = [columns[self.bits.words + k] for k in needed]
        # Null is never in, whoever wrote the words.
        in_words = [f"{columns[k]} & ~{null}" for k, null in zip(needed, nulls, strict=True)]
        bit = {s: first[at[s] // WORD] + at[s] % WORD for s in wanted}
        undecided = " OR ".join(f"{null} != 0L" for null in nulls) or "false"
        return Words(tuple(in_words), tuple(nulls), undecided, bit)

    def held(self, ids: Sequence[str] | None = None) -> Held:
        """Return the columns that :meth:`words` are made of; raises as it does."""
        wanted = self._known(ids)
        if self.layout is Layout.BOOLEAN:
            starts = range(0, len(wanted), WORD)
            return Held(self.layout, tuple(wanted[i : i + WORD] for i in starts))
        columns, n = self.bits.columns, self.bits.words
        needed = self._needed(wanted)
        return Held(self.layout, tuple((columns[k], columns[n + k]) for k in needed))

    def _known(self, ids: Sequence[str] | None) -> tuple[str, ...]:
        wanted = self.ids if ids is None else tuple(dict.fromkeys(ids))
        known = set(self.df.columns) if self.layout is Layout.BOOLEAN else set(self.ids)
        for slice_id in wanted:
            if slice_id not in known:
                raise NoSuchMaskError(slice_id, self.ids)
        return wanted

    def _needed(self, ids: Sequence[str]) -> list[int]:
        """Return which of a packed table's words these slices are in."""
        at = self.bits.at  # made anew each time
        return sorted({at[s] // WORD for s in ids})

    def narrowed(self, columns: Sequence[str]) -> MaskTable:
        """Return the table with these columns and the masks."""
        kept = dict.fromkeys([*columns, *self.mask_columns])
        return replace(self, df=self.df.select(*map(quoted, kept)))

    def as_boolean(self, ids: Sequence[str] | None = None) -> DataFrame:
        """Return the rows with a BOOLEAN column for each of these slices, or for all."""
        known = {s.id: s for s in self.slices}
        masks = [described_mask(self.mask(s), known[s]) for s in (known if ids is None else ids)]
        return self.df.select(*map(quoted, self.columns), *masks)


def read_masks(df: DataFrame) -> MaskTable:
    """Read the masks of a mask table's rows, whatever the layout; runs nothing on Spark.

    Parameters
    ----------
    df
        The table's rows, as they are or joined and filtered: columns keep their metadata.
    """
    schema = df.schema
    layout, bits = layout_of(schema) or Layout.BOOLEAN, stored_bits(schema)
    return MaskTable(df, layout, _slices(schema, bits), bits)


def stored_slices(schema: StructType) -> tuple[StoredSlice, ...]:
    """Return the slices of a mask table, in the order of columns or bits."""
    return _slices(schema, stored_bits(schema))


def _slices(schema: StructType, bits: Bits) -> tuple[StoredSlice, ...]:
    return tuple(s for s in bits.slices if not s.dropped) or boolean_slices(schema)


def view_select(masks: MaskTable, table: str) -> str:
    """Return the SELECT that shows each slice of a stored table as a BOOLEAN column.

    Parameters
    ----------
    masks
        The table as it was read.
    table
        Its path or catalog name.
    """
    of_slices = (
        [f"{bit_sql(bit)} AS `{slice_id}`" for slice_id, bit in masks.bits.at.items()]
        if masks.layout is Layout.PACKED
        else [name_sql(s) for s in masks.ids]
    )
    columns = ",\n  ".join([*map(name_sql, masks.columns), *of_slices])
    place = table if is_catalog_name(table) else f"delta.{name_sql(table)}"
    return f"SELECT\n  {columns}\nFROM {place}"
