"""The mask table: key, split, partition and carried columns, and the masks in either layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import StaleError, listed
from engine.masks.checks import quoted
from engine.masks.layout import (
    Bits,
    Layout,
    StoredSlice,
    check_word_names,
    choose_layout,
    described_mask,
    described_words,
    layout_of,
    stored_bits,
    unmarked,
    words_sql,
)
from engine.masks.reader import stored_slices
from engine.masks.splits import split_sql
from engine.slicing.functions import SlicingFunction

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType


@dataclass(frozen=True)
class TableForm:
    """What a run's mask table looks like: its columns, its layout, its slices.

    Attributes
    ----------
    columns
        Key, split, partition and carried columns.
    layout
        How masks are held.
    bits
        The run's slices; in a packed table each has its bit.
    """

    columns: tuple[str, ...]
    layout: Layout
    bits: Bits

    def rows(self, masked: DataFrame, masks: Sequence[Column]) -> DataFrame:
        """Return the table's rows.

        Parameters
        ----------
        masked
            Rows that have the columns.
        masks
            A BOOLEAN Column per slice over them, named as the slice.
        """
        columns = unmarked(masked, self.columns)
        if self.layout is Layout.BOOLEAN:
            described = zip(masks, self.bits.slices, strict=True)
            return masked.select(*columns, *(described_mask(m, s) for m, s in described))
        # Masks are columns first, for a word takes each twice.
        named = masked.select(*columns, *masks)
        return named.select(
            *map(quoted, self.columns), *described_words(words_sql(self.bits), self.bits)
        )

    @property
    def places(self) -> dict[str, int] | None:
        """Slice id to its bit, in a packed table."""
        return self.bits.at if self.layout is Layout.PACKED else None

    def rows_of_words(self, masked: DataFrame) -> DataFrame:
        """Return a packed table's rows, of rows that have the columns and ``bits.columns``."""
        return self.rows_of(masked, self.bits.columns)

    def rows_of(self, masked: DataFrame, words: Sequence[str]) -> DataFrame:
        """Return a packed table's rows, of rows that have the columns, and the words in SQL."""
        columns = map(quoted, self.columns)
        return masked.select(*columns, *described_words(words, self.bits))


def form_of(sfs: Sequence[SlicingFunction]) -> TableForm:
    """Return the form of masks alone, which aren't written anywhere."""
    return table_form([], sfs, {sf.id: "" for sf in sfs}, "auto", None, "")


def table_form(
    columns: Sequence[str],
    sfs: Sequence[SlicingFunction],
    fingerprints: Mapping[str, str],
    wanted: str,
    stored: StructType | None,
    table: str,
) -> TableForm:
    """Return the form of a run's mask table; a stored table's layout and bits stay.

    Parameters
    ----------
    columns
        Key, split, partition and carried columns.
    sfs, fingerprints
        The run's slices.
    wanted
        The layout asked for: ``auto``, ``boolean`` or ``packed``.
    stored
        The schema of the table as it is, if there is one.
    table
        Its name, for messages.

    Raises
    ------
    MaskError
        If the table has another layout than the one asked for.
        If a column is named as a packed table's words are.
    """
    slices = [StoredSlice(sf.id, sf.name, fingerprints[sf.id]) for sf in sfs]
    before = None if stored is None else layout_of(stored)
    layout = choose_layout(wanted, before, len(slices), table)
    if layout is Layout.BOOLEAN or stored is None:
        bits = Bits().with_slices(slices)
    else:
        bits = stored_bits(stored).with_slices(slices)
    if layout is Layout.PACKED:
        check_word_names(columns, bits)
    return TableForm(tuple(columns), layout, bits)


def check_same_slices(table: str, stored: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to label some partitions with other slices than the rest have.

    Parameters
    ----------
    table
        The mask table's name.
    stored, now
        Slice id to fingerprint, of the table and of the run.

    Raises
    ------
    StaleError
        With the slices that differ.
    """
    changed = sorted(s for s in stored.keys() | now.keys() if stored.get(s) != now.get(s))
    if changed:
        raise StaleError(
            f"slices {listed(changed, 5)} changed since {table} was labelled, so labelling some "
            "partitions only would leave the others with the old ones; label all (without --where)"
        )


def slices_of(schema: StructType) -> dict[str, str]:
    """Return slice id to fingerprint of a mask table, in the order of columns or bits."""
    return {s.id: s.fingerprint for s in stored_slices(schema)}


def split_column(split: str | None) -> Column:
    """Return the split as text, as :func:`engine.masks.splits.split_sql` has it."""
    return F.expr(split_sql(split))
