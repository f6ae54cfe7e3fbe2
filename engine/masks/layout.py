"""The mask table, and how it holds its masks: BOOLEAN columns, or words of 64 bits.

The layout is fixed when the table is made, and the schema's metadata alone says which slices
there are: a BOOLEAN column's ``slice``, a word's ``slices``, bit by bit. Time travel reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import MaskError, StaleError, listed
from engine.masks.checks import quoted
from engine.slicing.functions import SlicingFunction
from engine.sql import name_sql
from engine.words import WORD

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

MOST_BOOLEAN = 100  # slices, beyond which a new table is packed
_COLUMN_META, _WORD_META = "slice", "slices"
_IN, _NULL = "in_", "null_"


class Layout(StrEnum):
    """How masks are held."""

    BOOLEAN = "boolean"
    PACKED = "packed"


@dataclass(frozen=True)
class StoredSlice:
    """A slice as a mask table knows it.

    Attributes
    ----------
    id, name, fingerprint
        Which.
    dropped
        Whether it is gone, and its bit stays so that no other slice takes it.
    """

    id: str
    name: str
    fingerprint: str
    dropped: bool = False

    @property
    def metadata(self) -> dict[str, str]:
        """What a BOOLEAN column's metadata says of it, beside the column's name."""
        return {"name": self.name, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class Bits:
    """Which slice each bit is: the i-th of ``slices`` is bit i % 64 of word i // 64.

    Examples
    --------
    >>> a, b = StoredSlice("a", "A", "1"), StoredSlice("b", "B", "2")
    >>> bits = Bits().with_slices([a, b]).with_slices([b])
    >>> bits.at, bits.with_slices([b, a]).at
    ({'b': 1}, {'b': 1, 'a': 2})
    """

    slices: tuple[StoredSlice, ...] = ()

    @cached_property
    def at(self) -> dict[str, int]:
        """Slice id to its bit; dropped slices have none."""
        return {s.id: i for i, s in enumerate(self.slices) if not s.dropped}

    @property
    def words(self) -> int:
        """How many words hold these bits."""
        return -(-len(self.slices) // WORD)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the word columns: ``in_0``…, then ``null_0``…."""
        return tuple(f"{kind}{k}" for kind in (_IN, _NULL) for k in range(self.words))

    def of_word(self, k: int) -> tuple[StoredSlice, ...]:
        """Return the slices of one word, lowest bit first."""
        return self.slices[k * WORD : (k + 1) * WORD]

    def with_slices(self, slices: Sequence[StoredSlice]) -> Bits:
        """Return the bits of a run with these slices.

        A slice that is here keeps its bit, a new one comes after the highest bit ever used, one
        that the run doesn't have is dropped for good: if it comes back, its bit is a new one.
        """
        run = {s.id: s for s in slices}
        before = [
            run.pop(s.id) if not s.dropped and s.id in run else replace(s, dropped=True)
            for s in self.slices
        ]
        return Bits((*before, *run.values()))


def words_sql(bits: Bits) -> list[str]:
    """Return the words of BOOLEAN columns named as the slices, as SQL, in ``bits.columns``' order.

    Null is not in; a dropped slice has neither bit.

    Examples
    --------
    >>> words_sql(Bits((StoredSlice("a", "A", ""), StoredSlice("b", "B", ""))))
    ['IF(`a`,1L,0L)|IF(`b`,2L,0L)', 'IF(`a` IS NULL,1L,0L)|IF(`b` IS NULL,2L,0L)']
    """
    return [
        _word_sql(test, bits.of_word(k)) for test in ("", " IS NULL") for k in range(bits.words)
    ]


def _word_sql(test: str, slices: Sequence[StoredSlice]) -> str:
    set_ = [
        f"IF({name_sql(s.id)}{test},{signed(1 << b)}L,0L)"
        for b, s in enumerate(slices)
        if not s.dropped
    ]
    return "|".join(set_) or "0L"


def described_words(words: Sequence[str], bits: Bits) -> list[Column]:
    """Return words, in the order of ``bits.columns``, with their names and metadata.

    Parameters
    ----------
    words
        SQL; a null word has no slice.
    bits
        Which bit is whose.
    """
    about = [
        [{"bit": b, "id": s.id, **s.metadata, "dropped": s.dropped} for b, s in enumerate(slices)]
        for slices in map(bits.of_word, range(bits.words))
    ]
    return [
        F.expr(word).alias(name, metadata={_WORD_META: slices})
        for word, name, slices in zip(words, bits.columns, about * 2, strict=True)
    ]


def described_mask(mask: Column, stored: StoredSlice) -> Column:
    """Return a BOOLEAN mask with its name and metadata."""
    return mask.alias(stored.id, metadata={_COLUMN_META: stored.metadata})


def unmarked(df: DataFrame, columns: Sequence[str]) -> list[Column]:
    """Return columns of a source as a mask table carries them, where none of them is a mask.

    Masks of another run may be among them, and would pass for slices of this one.
    """
    marked = {f.name for f in df.schema if {_COLUMN_META, _WORD_META} & f.metadata.keys()}
    about = {"carried": True}
    return [quoted(c).alias(c, metadata=about) if c in marked else quoted(c) for c in columns]


def layout_of(schema: StructType) -> Layout | None:
    """Return the layout of a mask table, packed if some masks are; None where there is no mask."""
    marks = {
        mark for field in schema for mark in {_WORD_META, _COLUMN_META} & field.metadata.keys()
    }
    if _WORD_META in marks:
        return Layout.PACKED
    return Layout.BOOLEAN if marks else None


def stored_bits(schema: StructType) -> Bits:
    """Return the bits of a packed table; none where the table isn't packed."""
    # Of each word one of the two is enough to know its slices by; a word that is not there at all
    # has bits that are no slice's.
    words = {
        f.name.rpartition("_")[2]: f.metadata[_WORD_META]
        for f in schema
        if _WORD_META in f.metadata
    }
    n = 1 + max((int(k) for k in words if k.isdigit()), default=-1)
    unknown = [{"id": "", "name": "", "fingerprint": "", "dropped": True}] * WORD
    slices = (about for k in range(n) for about in words.get(str(k), unknown))
    return Bits(
        tuple(StoredSlice(s["id"], s["name"], s["fingerprint"], s["dropped"]) for s in slices)
    )


def stored_slices(schema: StructType) -> tuple[StoredSlice, ...]:
    """Return the slices of a mask table, in the order of bits, then of BOOLEAN columns."""
    masks = [(f.name, f.metadata[_COLUMN_META]) for f in schema if _COLUMN_META in f.metadata]
    columns = (StoredSlice(name, m["name"], m["fingerprint"]) for name, m in masks)
    return (*(s for s in stored_bits(schema).slices if not s.dropped), *columns)


def choose_layout(wanted: str, stored: Layout | None, slices: int, table: str) -> Layout:
    """Return the layout of a run: the stored table's, else the wanted one.

    Parameters
    ----------
    wanted
        ``auto``, ``boolean`` or ``packed``; auto is packed for more than 100 slices.
    stored
        The layout of the table as it is, if there is one.
    slices
        The run's.
    table
        The mask table, for the message.

    Raises
    ------
    MaskError
        If the table has another layout than the one asked for.

    Examples
    --------
    >>> [str(choose_layout("auto", None, n, "masks")) for n in (100, 101)]
    ['boolean', 'packed']
    """
    if wanted == "auto":
        return stored or (Layout.PACKED if slices > MOST_BOOLEAN else Layout.BOOLEAN)
    if stored not in (None, wanted):
        raise MaskError(
            f"the masks in {table} are {stored!s} and the project's layout is {wanted}, but a mask "
            f"table's layout is fixed when it is made: set layout to {stored!s} or auto, or remove "
            "the table to have it made again"
        )
    return Layout(wanted)


def check_word_names(columns: Sequence[str], bits: Bits) -> None:
    """Check that no column of the source is named as a word.

    Raises
    ------
    MaskError
        With the column.
    """
    words = set(bits.columns)
    for column in columns:
        if column.lower() in words:
            raise MaskError(
                f"column {column!r} has the name of a word of the packed mask table: rename it in "
                "the source, leave it out of carry, or set layout to boolean"
            )


def words_of(bits: Iterable[int], words: int) -> list[int]:
    """Return words in which some bits are set, as the BIGINTs that they are.

    Examples
    --------
    >>> words_of([0, 2, 127], 2)
    [5, -9223372036854775808]
    """
    of = [0] * words
    for bit in bits:
        of[bit // WORD] |= 1 << bit % WORD
    return [signed(word) for word in of]


def in_any(ids: Sequence[str], bits: Bits) -> list[Column]:
    """Return tests of a row's words, one of which is true where it is in one of these slices."""
    masks: dict[int, int] = {}
    for slice_id in ids:
        k, b = divmod(bits.at[slice_id], WORD)
        masks[k] = masks.get(k, 0) | 1 << b
    return [quoted(f"{_IN}{k}").bitwiseAND(F.lit(signed(m))) != 0 for k, m in masks.items()]


def bit_sql(bit: int, struct: str = "") -> str:
    """Return one bit of a packed table's words as a BOOLEAN, in SQL; ``struct`` may hold these.

    Examples
    --------
    >>> bit_sql(65)
    'CASE WHEN bit_get(null_1,1)=1 THEN NULL ELSE bit_get(in_1,1)=1 END'
    """
    k, b = divmod(bit, WORD)
    undecided, inside = f"{struct}{_NULL}{k}", f"{struct}{_IN}{k}"
    return f"CASE WHEN bit_get({undecided},{b})=1 THEN NULL ELSE bit_get({inside},{b})=1 END"


def signed(value: int) -> int:
    """Return 64 bits as the BIGINT that they are: the highest is the sign."""
    return value - ((value >> (WORD - 1)) << WORD)


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
        return self.rows_of(masked.select(*columns, *masks), words_sql(self.bits))

    @property
    def places(self) -> dict[str, int] | None:
        """Slice id to its bit, in a packed table."""
        return self.bits.at if self.layout is Layout.PACKED else None

    def rows_of(self, masked: DataFrame, words: Sequence[str]) -> DataFrame:
        """Return a packed table's rows, of rows that have the columns, and the words in SQL."""
        return masked.select(*map(quoted, self.columns), *described_words(words, self.bits))


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
    bits = (Bits() if stored is None else stored_bits(stored)).with_slices(slices)
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
