"""The rows that a project evaluates: all of them, or those that changed since the last time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from pyspark.sql import DataFrame

from engine.errors import TableError
from engine.hashing import KeyHash
from engine.masks.reader import MaskTable
from engine.masks.splits import Split, no_split, split_sql
from engine.metrics.in_spark import SparkRows
from engine.metrics.request import Selection
from engine.metrics.scan.form import Scan
from engine.metrics.scan.scan import Sums, sums_of
from engine.metrics.scan.sums import COLUMNS, with_more
from engine.metrics.shown_rows import selected_rows
from engine.project.metric_states import Changes, MetricStates

Tables = Mapping[str, DataFrame]  # by role


@dataclass(frozen=True)
class Last:
    """What the last evaluation left, and what changed since.

    Attributes
    ----------
    states, changes
        Both.
    joined
        Joins tables, of which those given are taken in place of the ones that are there; of rows
        with a key that changed.
    """

    states: MetricStates
    changes: Changes
    joined: Callable[[Tables], DataFrame]

    @property
    def now(self) -> DataFrame:
        """The joined rows that changed, as they are."""
        return self.joined({})

    @property
    def before(self) -> DataFrame:
        """The joined rows that changed, as they were."""
        return self.joined({role: of.before for role, of in self.changes.of.items()})


@dataclass
class Progress:
    """What one evaluation takes of the last one, and leaves to the next.

    Attributes
    ----------
    last
        What the last one left; None where all rows are evaluated.
    sums
        The sums of all rows.
    shown
        Which rows were asked for, to their keys.
    """

    last: Last | None = None
    sums: Sums | None = None
    shown: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class ProjectRows(SparkRows):
    """Rows of the splits that the project wants.

    Attributes
    ----------
    every
        The masks of all splits.
    splits
        Those that the project wants, if it names some.
    progress
        What is taken of the last evaluation.
    """

    every: MaskTable | None = None
    splits: Sequence[Split] = ()
    progress: Progress = field(default_factory=Progress)

    def scan(self, hashed: KeyHash | None, replicates: int) -> Scan:
        """Add up all states; of rows that were evaluated before, the sums are there."""
        if self.progress.sums is not None:  # of other figures, which are asked for later
            return super().scan(hashed, replicates)
        sums = self._sums_since(hashed, replicates)
        if sums is None:
            self.progress.last = None
            sums = self.sums(hashed, replicates)
        self.progress.sums = sums
        return sums.scan

    def _sums_since(self, hashed: KeyHash | None, replicates: int) -> Sums | None:
        """Return the sums of all rows by those of rows that changed; None where that can't be."""
        if (last := self.progress.last) is None:
            return None
        came = sums_of(last.now, self.spec, hashed, replicates, key=self.on)
        if came.repeats:
            return None
        went, before = None, last.before
        if any(of.gone is not None for of in last.changes.of.values()) or before.take(1):
            went = sums_of(before, self.spec, hashed, replicates, key=self.on).table
        whole, names = last.states.sums, {*COLUMNS, *came.form.sums}
        if not names <= set(whole.column_names):
            return None
        table = with_more(whole, came.table, went, came.form)
        return None if table is None else Sums(table, came.form, repeats=False)

    def selected(self, selections: Sequence[Selection]) -> list[pd.DataFrame]:
        """Return rows that are asked for, of new ones and those shown before where that is all."""
        known = self._known(selections)
        others = [s for s in selections if s not in known]
        by_selection = dict(zip(map(repr, others), super().selected(others), strict=True))
        if known and (last := self.progress.last):
            keys = [key for s in known for key in last.states.shown[repr(s)]]
            there = self._with_keys([list(column) for column in zip(*keys, strict=True)])
            few = last.now.unionByName(last.changes.others(there))
            frames = selected_rows(few, self.spec, known)
            by_selection |= dict(zip(map(repr, known), frames, strict=True))
        frames = [by_selection[repr(s)] for s in selections]
        for selection, frame in zip(selections, frames, strict=True):
            if set(selection.key) <= set(frame.columns):
                rows = frame[list(selection.key)].itertuples(index=False, name=None)
                self.progress.shown[repr(selection)] = list(rows)
        return frames

    def _known(self, selections: Sequence[Selection]) -> list[Selection]:
        """Return the selections whose rows were shown before, none of which changed since."""
        if (last := self.progress.last) is None:
            return []
        known = [s for s in selections if last.states.shown.get(repr(s))]
        keys = [key for s in known for key in last.states.shown[repr(s)]]
        if not keys:
            return []
        changed = self._with_keys([list(column) for column in zip(*keys, strict=True)])
        return [] if last.changes.among(changed).take(1) else known

    def check(self, counts: Scan, tables: Mapping[str, str], allow_missing: bool) -> None:
        """Check what the scan counted: first that each split that is wanted has rows.

        Raises
        ------
        TableError
            If one has none.
        """
        there = {split for _, split in counts.parts}
        for wanted in self.splits:
            if wanted not in there and self.every is not None:
                rows = self.every.df.selectExpr(split_sql(self.spec.split)).distinct().collect()
                name = next(iter(self.sources))
                shown = no_split(wanted, {r[0] for r in rows})
                raise TableError(f"evaluate_splits: {name} has no split {shown}")
        super().check(counts, tables, allow_missing)
