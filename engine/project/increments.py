"""What labelling doesn't do again: rows that are as they were, slices that are as they were.

An increment is used where it is known to give the masks of labelling all rows again; where that
isn't known, a sentence says why all rows are labelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import listed
from engine.label.from_files import Stored
from engine.label.plan import MaskPlan
from engine.masks.checks import quoted
from engine.masks.layout import Layout, TableForm, stored_bits, unmarked, words_of
from engine.masks.reader import read_masks
from engine.storage.lineage import READ, Snapshot, deciding, readings
from engine.storage.partial import GONE
from engine.storage.row_changes import RowChanges, bounds_of, row_changes, within

SLICES = "slices"  # where facts hold fingerprints
# Facts that say how a run was asked, and not what it left: a date is in the slices that ask for it.
_ONLY_READ = {"where", "run_date"}
_OLD = "@old_"  # before the names of columns that are there already


@dataclass(frozen=True)
class NewRows:
    """Some rows of the source changed, and no slice."""

    stored: Snapshot
    changes: RowChanges

    def __str__(self) -> str:
        came, went = self.changes.files
        files = f"{came:,} file{'' if came == 1 else 's'} came"
        if went:
            files += f" and {went:,} went"
        return (
            f"only rows that changed are labelled: {files} since version {self.changes.since} of "
            "the source"
        )


@dataclass(frozen=True)
class NewSlices:
    """Some slices changed, and no row."""

    stored: Snapshot
    changed: Sequence[str]
    old: Sequence[str]
    gone: Sequence[str]

    def __str__(self) -> str:
        n = len(self.changed)
        shown = f"computes {n:,} of {n + len(self.old):,} slices ({listed(self.changed, 5)})"
        if not n:
            shown = f"takes the masks of {len(self.old):,} slices as they are"
        left = f", drops {listed(self.gone, 5)}" if self.gone else ""
        version = self.stored.version
        return f"{shown}{left}; other masks are those of version {version} of {self.stored.name}"


@dataclass(frozen=True)
class NewBoth:
    """Some slices changed, which rows as they were get first, and some rows."""

    slices: NewSlices
    rows: NewRows

    @property
    def facts(self) -> Mapping[str, Any]:
        """What differs from the facts of all that is to be done, once the slices are."""
        return {READ: self.slices.stored.facts[READ]}

    def __str__(self) -> str:
        return f"{self.slices}; then {self.rows}"


def increment(
    stored: Snapshot, facts: Mapping[str, Any], source: Snapshot
) -> NewRows | NewSlices | NewBoth | str:
    """Return what is to be labelled, or a sentence that says why that is all rows.

    Parameters
    ----------
    stored
        The mask table as it is.
    facts
        What decides its rows now.
    source
        The source now.
    """
    old, new = deciding(dict(stored.facts)), deciding(dict(facts))
    others = {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)} - _ONLY_READ
    read, was = readings(facts), readings(stored.facts)
    if old.get("where") or len(was) != 1 or was[0].where or len(read) != 1:
        return "partitions of it were labelled at different times"
    if not others or not others <= {READ, SLICES}:
        return f"what decides all masks changed: {listed(sorted(others), 5)}"
    slices = _new_slices(stored, facts)
    if others == {SLICES}:
        return slices
    changes = row_changes(was[0].identity, source)
    if isinstance(changes, str):
        return changes
    rows = NewRows(stored, changes)
    return rows if others == {READ} else NewBoth(slices, rows)


def _new_slices(stored: Snapshot, facts: Mapping[str, Any]) -> NewSlices:
    before, now = stored.facts[SLICES], facts[SLICES]
    there = set(read_masks(stored.df).ids)
    same = [s for s, of in now.items() if before.get(s) == of and s in there]
    changed = [s for s in now if s not in same]
    return NewSlices(stored, changed, same, [s for s in before if s not in now])


def repeated(came: DataFrame, rows: NewRows, key: Sequence[str]) -> bool:
    """Tell whether a row that came has the key of one that was there and stays.

    Parameters
    ----------
    came
        Rows of files that came.
    rows
        What changed.
    key
        The key's columns.
    """
    keys, columns = came.select(*map(quoted, key)), list(key)
    if rows.changes.gone is not None:
        keys = keys.join(rows.changes.gone.select(*map(quoted, key)), columns, "left_anti")
    there = within(rows.stored.df.select(*map(quoted, key)), bounds_of(keys))
    return bool(there.join(F.broadcast(keys), columns, "left_semi").take(1))


def with_gone(masks: DataFrame | None, rows: NewRows, key: Sequence[str]) -> DataFrame:
    """Return rows as ``merge`` takes them: those that came, and the keys of those that are no more.

    Parameters
    ----------
    masks
        The mask table's rows of those that came; None without any.
    rows
        What changed.
    key
        The key's columns.
    """
    assert rows.changes.gone is not None
    columns = rows.stored.df.columns
    gone, on = rows.changes.gone.select(*map(quoted, key)), list(key)
    if masks is not None:
        gone = gone.join(masks.select(*map(quoted, key)), on, "left_anti")
    kinds = rows.stored.df.schema
    nothing = [F.lit(None).cast(kinds[c].dataType).alias(c) for c in columns if c not in key]
    gone = gone.select("*", *nothing).select(*map(quoted, columns)).withColumn(GONE, F.lit(True))
    if masks is None:
        return gone
    return masks.select(*map(quoted, columns)).withColumn(GONE, F.lit(False)).unionByName(gone)


def old_masks(slices: NewSlices, form: TableForm) -> Stored:
    """Return the masks that are there already, as they come beside rows.

    Parameters
    ----------
    slices
        Which those are.
    form
        The columns that the table will have.
    """
    stored = slices.stored.df
    packed = form.layout is Layout.PACKED
    columns = stored_bits(stored.schema).columns if packed else tuple(slices.old)
    return Stored(stored, {c: f"{_OLD}{c}" for c in columns})


def with_old_masks(
    masked: DataFrame, part: MaskPlan | None, slices: NewSlices, form: TableForm, key: Sequence[str]
) -> DataFrame:
    """Return the mask table's rows: masks that are computed, beside those that are there.

    Parameters
    ----------
    masked
        The source's rows, with the faults of ``part`` for ``form.places``; those that are there
        may be beside them.
    part
        The plan of the slices that changed; None without any.
    slices
        Which those are.
    form
        The columns that the table will have.
    key
        The key's columns.
    """
    old = old_masks(slices, form)
    if not set(old.names.values()) <= set(masked.columns):
        there = [quoted(c).alias(name) for c, name in old.names.items()]
        masked = masked.join(old.df.select(*map(quoted, key), *there), list(key))
    if form.layout is Layout.BOOLEAN:
        masks = {s: quoted(old.names[s]).alias(s) for s in slices.old}
        if part is not None:
            masks |= dict(zip(part.ids, part.mask_columns(), strict=True))
        return form.rows(masked, [masks[s] for s in form.bits.at])
    new = [F.lit(0)] * len(form.bits.columns)
    if part is not None:
        new = part.word_columns(form.bits.at, form.bits.words)
    same = words_of([form.bits.at[s] for s in slices.old], form.bits.words)
    words = [
        word.bitwiseOR(quoted(old.names[name]).bitwiseAND(F.lit(keep)))
        if name in old.names
        else word
        for name, word, keep in zip(form.bits.columns, new, [*same, *same], strict=True)
    ]
    named = [w.cast("long").alias(n) for n, w in zip(form.bits.columns, words, strict=True)]
    return form.rows_of(masked.select(*unmarked(masked, form.columns), *named), form.bits.columns)
