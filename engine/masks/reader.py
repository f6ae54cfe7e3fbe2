"""Reading masks back: one reader for both layouts, in Spark and of Arrow's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import no_such_mask
from engine.masks.checks import quoted
from engine.masks.frames import no_masks, unreadable_mask
from engine.masks.layout import (
    Bits,
    Layout,
    StoredSlice,
    bit_sql,
    in_any,
    layout_of,
    stored_bits,
    stored_slices,
    words_sql,
)
from engine.sql import name_sql
from engine.storage.place import Place
from engine.words import WORD, transposed

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


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
class MaskTable:
    """A mask table, or what was made of it by joins and filters that kept its mask columns.

    A packed table may have BOOLEAN masks beside its words, as where slices were applied to it.

    Attributes
    ----------
    df
        Its rows.
    layout
        How masks are held; packed if some are.
    slices
        The slices, in the order of bits, then of columns; dropped ones aren't among them.
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
        return (*self.bits.columns, *(s for s in self.ids if s not in self.bits.at))

    @property
    def columns(self) -> tuple[str, ...]:
        """The other columns: key, split, partition and carried ones."""
        masks = set(self.mask_columns)
        return tuple(c for c in self.df.columns if c not in masks)

    def mask(self, slice_id: str) -> Column:
        """Return a slice's mask: true in, false out, null undecided.

        Raises
        ------
        MaskError
            If the table has no such slice.
            If its column can't be a mask.
        """
        self.wanted([slice_id])
        return (
            F.expr(bit_sql(self.bits.at[slice_id]))
            if slice_id in self.bits.at
            else quoted(slice_id)
        )

    def masks(self, ids: Sequence[str] | None = None) -> list[Column]:
        """Return the masks of these slices, or of all, named as the slices."""
        return [self.mask(s).alias(s) for s in (self.ids if ids is None else ids)]

    def in_any(self, ids: Sequence[str]) -> list[Column]:
        """Return tests, one of which is true where a row is in one of these slices.

        They are never more than slices, and for a packed table no more than words.
        """
        packed, plain = self._by_layout(ids)
        return [*(in_any(packed, self.bits) if packed else ()), *map(self.mask, plain)]

    def words(self, ids: Sequence[str] | None = None) -> Words:
        """Return the words that hold the masks of these slices, or of all.

        Raises
        ------
        MaskError
            If the table has no such slice.
            If a column can't be a mask.
        """
        packed, plain = self._by_layout(self.wanted(ids))
        needed = self._needed(packed)
        first = {k: i * WORD for i, k in enumerate(needed)}
        pairs = [self._columns_of_word(k) for k in needed]
        # Null is never in, whoever wrote the words; of a row without words all slices are null.
        nulls = [f"IF({a} IS NULL OR {b} IS NULL, -1L, {b})" for a, b in pairs]
        in_words = [f"COALESCE({a} & ~{b}, 0L)" for a, b in pairs]
        bit = {s: first[self.bits.at[s] // WORD] + self.bits.at[s] % WORD for s in packed}
        undecided = [f"{null} != 0L" for null in nulls]
        own = Bits(tuple(StoredSlice(s, s, "") for s in plain))
        words = words_sql(own)
        bit |= {s: len(needed) * WORD + b for s, b in own.at.items()}
        in_words, nulls = in_words + words[: own.words], nulls + words[own.words :]
        undecided += [f"{name_sql(s)} IS NULL" for s in plain]
        return Words(tuple(in_words), tuple(nulls), " OR ".join(undecided) or "false", bit)

    def stored_words(self, ids: Sequence[str] | None = None) -> StoredWords | None:
        """Return the columns that :meth:`words` are made of; None where both layouts are."""
        packed, plain = self._by_layout(self.wanted(ids))
        if packed and plain:
            return None
        if not packed:
            starts = range(0, len(plain), WORD)
            return StoredWords(Layout.BOOLEAN, tuple(tuple(plain[i : i + WORD]) for i in starts))
        words = map(self._columns_of_word, self._needed(packed))
        return StoredWords(Layout.PACKED, tuple(words))

    def wanted(self, ids: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return these slices, each once, or all; raises as :meth:`words` does.

        A BOOLEAN column is a mask where it is named, whether it is marked or not.
        """
        wanted = self.ids if ids is None else tuple(dict.fromkeys(ids))
        for slice_id in wanted:
            if slice_id not in self.bits.at and slice_id not in self._kinds:
                raise no_such_mask(slice_id, self.ids)
            for column in self._columns_of(slice_id):
                kinds = self._kinds.get(column, ())
                if not kinds:
                    raise unreadable_mask(slice_id, f"its column {column!r} is not there")
                if len(kinds) > 1:
                    raise unreadable_mask(slice_id, f"there are {len(kinds)} columns {column!r}")
            if slice_id not in self.bits.at and self._kinds[slice_id] != ["boolean"]:
                kind = self._kinds[slice_id][0]
                raise unreadable_mask(slice_id, f"the column {slice_id!r} is {kind}")
        return wanted

    def _columns_of(self, slice_id: str) -> tuple[str, ...]:
        if slice_id not in self.bits.at:
            return (slice_id,)
        return self._columns_of_word(self.bits.at[slice_id] // WORD)

    def _columns_of_word(self, k: int) -> tuple[str, str]:
        return self.bits.columns[k], self.bits.columns[self.bits.words + k]

    @cached_property
    def _kinds(self) -> Mapping[str, list[str]]:
        """Column to the types of the columns of that name."""
        kinds: dict[str, list[str]] = {}
        for column in self.df.schema:
            kinds.setdefault(column.name, []).append(column.dataType.simpleString())
        return kinds

    def _by_layout(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return which slices are bits, and which BOOLEAN columns."""
        return [s for s in ids if s in self.bits.at], [s for s in ids if s not in self.bits.at]

    def _needed(self, ids: Sequence[str]) -> list[int]:
        """Return which of a packed table's words these slices are in."""
        return sorted({self.bits.at[s] // WORD for s in ids})

    def narrowed(self, columns: Sequence[str]) -> MaskTable:
        """Return the table with these columns and the masks."""
        own = dict.fromkeys([*columns, *self.mask_columns])
        return replace(self, df=self.df.select(*map(quoted, own)))


def read_masks(df: DataFrame) -> MaskTable:
    """Read the masks of a mask table's rows, whatever the layout; runs nothing on Spark.

    Parameters
    ----------
    df
        The table's rows, as they are or joined and filtered: columns keep their metadata.
    """
    layout = layout_of(df.schema) or Layout.BOOLEAN
    return MaskTable(df, layout, stored_slices(df.schema), stored_bits(df.schema))


def named_masks(df: DataFrame, ids: Sequence[str] | None, argument: str) -> tuple[str, ...]:
    """Return the named slices of a table, or all that it has.

    Parameters
    ----------
    df
        The table's rows.
    ids
        The slices; None for all.
    argument
        What names slices, for the message.

    Raises
    ------
    MaskError
        If none are named and none are marked, as columns lose their marks on the way through
        pandas or a cast.
        If there is no such slice, or its column can't be a mask.
    """
    wanted = read_masks(df).wanted(ids)
    if not wanted:
        flags = [f.name for f in df.schema if f.dataType.simpleString() == "boolean"]
        raise no_masks(flags, argument)
    return wanted


def view_select(masks: MaskTable, place: Place) -> str:
    """Return the SELECT that shows each slice of a stored table as a BOOLEAN column.

    Parameters
    ----------
    masks
        The table as it was read.
    place
        Where it is.
    """
    at = masks.bits.at
    names = {s: name_sql(s) for s in masks.ids}
    of_slices = [f"{bit_sql(at[s])} AS {n}" if s in at else n for s, n in names.items()]
    columns = ",\n  ".join([*map(name_sql, masks.columns), *of_slices])
    return f"SELECT\n  {columns}\nFROM {place.sql}"


@dataclass(frozen=True)
class StoredWords:
    """The columns in which a table holds the words of some slices.

    Attributes
    ----------
    layout
        How it holds them.
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


def words_in(
    batch: pa.RecordBatch, stored: StoredWords
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the slices that rows are in and are undecided on, as words.

    There is at least one word, whatever slices there are. Null is never in, whoever wrote the
    words.

    Returns
    -------
    tuple
        Words ``[W, n]`` uint64 of what rows are in; the positions ``[k]`` of undecided rows; words
        ``[W, k]`` uint64 of what these are undecided on.

    Examples
    --------
    >>> batch = pa.record_batch({"a": [True, None, False], "b": [True, True, None]})
    >>> [w.tolist() for w in words_in(batch, StoredWords(Layout.BOOLEAN, (("a", "b"),)))]
    [[[3, 2, 0]], [1, 2], [[1, 2]]]
    """
    word = _packed if stored.layout is Layout.PACKED else _of_booleans
    words = np.zeros((max(1, len(stored.words)), batch.num_rows), np.uint64)
    nulls: dict[int, np.ndarray] = {}
    for k, columns in enumerate(stored.words):
        inside, undecided = word(batch, columns)
        if undecided is None:
            words[k] = inside
        else:
            np.bitwise_and(inside, ~undecided, out=words[k])
            nulls[k] = undecided
    some = np.flatnonzero(np.bitwise_or.reduce([*nulls.values()])) if nulls else np.arange(0)
    which = np.zeros((len(words), len(some)), np.uint64)
    for k, undecided in nulls.items():
        which[k] = undecided[some]
    return words, some, which


def _packed(
    batch: pa.RecordBatch, columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    both = [batch.column(c) for c in columns]
    inside, undecided = (
        (c.fill_null(0) if c.null_count else c).to_numpy().view(np.uint64) for c in both
    )
    if any(c.null_count for c in both):  # of a row without words all slices are null
        without = np.logical_or(*(np.asarray(c.is_null()) for c in both))
        undecided = np.where(without, ~np.uint64(0), undecided)
    return inside, undecided if undecided.any() else None


def _of_booleans(
    batch: pa.RecordBatch, columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    n = batch.num_rows
    bits, nulls = (np.zeros((WORD, -(-n // 8)), np.uint8) for _ in range(2))
    some = False
    for i, name in enumerate(columns):
        column = batch.column(name)
        bits[i] = _bitmap(column, 1, n)
        if column.null_count:
            some = True
            nulls[i] = ~_bitmap(column, 0, n)
    return transposed(bits)[:n], transposed(nulls)[:n] if some else None


def _bitmap(column: pa.Array, which: int, n: int) -> np.ndarray:
    """Return a column's values or, as 0, which of them there are; eight a byte."""
    if column.offset % 8:
        values = column.is_valid() if which == 0 else column.fill_null(False)
        return np.packbits(values.to_numpy(zero_copy_only=False), bitorder="little")
    first = column.offset // 8
    return np.frombuffer(column.buffers()[which], np.uint8)[first : first + -(-n // 8)]
