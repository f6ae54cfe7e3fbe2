"""The rows that a project evaluates: all of them, or those that changed since the last time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from pyspark.sql import DataFrame

from engine.errors import TableError
from engine.hashing import KeyHash
from engine.masks.checks import quoted
from engine.masks.reader import MaskTable
from engine.masks.splits import Split, no_split, split_sql
from engine.metrics.in_spark import SparkRows, with_keys
from engine.metrics.request import Selection
from engine.metrics.scan.chunks import TEXTS
from engine.metrics.scan.form import Scan
from engine.metrics.scan.scan import Sums, sums_of
from engine.metrics.scan.sums import COLUMNS, with_more
from engine.metrics.shown_rows import selected_rows
from engine.project.metric_states import Changes, MetricStates

Tables = Mapping[str, DataFrame]  # by role
_NOT_ADDED = (
    "all rows are evaluated, for rows changed that a ranking of a small slice or a metric of your "
    "own had counted, or a key seems to be there twice"
)


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
    masked
        The keys of those rows that the mask table had: others weren't evaluated.
    """

    states: MetricStates
    changes: Changes
    joined: Callable[[Tables], DataFrame]
    masked: DataFrame

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
    note
        Which rows are evaluated and why, for people; empty where there is no last one.
    sums
        The sums of all rows.
    shown
        Which rows were asked for, to their keys.
    """

    last: Last | None = None
    note: str = ""
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
        last = self.progress.last
        sums = None if last is None else self._sums_since(last, hashed, replicates)
        if sums is None:
            if last is not None:
                last.changes.keys.unpersist()
                self.progress.last, self.progress.note = None, _NOT_ADDED
            sums = self.sums(hashed, replicates)
        self.progress.sums = sums
        return sums.scan

    def _sums_since(self, last: Last, hashed: KeyHash | None, replicates: int) -> Sums | None:
        """Return the sums of all rows by those of rows that changed; None where that can't be."""
        came = sums_of(last.now, self.spec, hashed, replicates, key=self.on)
        if came.repeats:
            return None
        went = None
        if any(of.gone is not None for of in last.changes.of.values()) or last.masked.take(1):
            went = sums_of(last.before, self.spec, hashed, replicates, key=self.on).table
        whole = last.states.sums
        if not {*COLUMNS, *came.form.sums} <= set(whole.column_names):
            return None
        table = with_more(whole, came.table, went, came.form)
        return None if table is None else Sums(table, came.form, repeats=False)

    def selected(self, selections: Sequence[Selection]) -> list[pd.DataFrame]:
        """Return rows that are asked for, of new ones and those shown before where that is all."""
        last = self.progress.last
        shown = {} if last is None else last.states.shown
        known = [s for s in selections if shown.get(repr(s))]
        keys = [*zip(*(key for s in known for key in shown[repr(s)]), strict=True)]
        frames: dict[str, pd.DataFrame] = {}
        # If one of them is no more, or another now, a row that nobody knows may be in its place.
        if last is not None and keys and not with_keys(last.changes.keys, self.on, keys).take(1):
            few = last.now.unionByName(last.changes.others(self._with_keys(keys)))
            rows = selected_rows(few, self.spec, known)
            frames = dict(zip(map(repr, known), rows, strict=True))
        others = [s for s in selections if repr(s) not in frames]
        frames |= dict(zip(map(repr, others), super().selected(others), strict=True))
        kinds = dict(self.joined.select(*map(quoted, self.on)).dtypes)
        if set(kinds.values()) <= TEXTS:  # a state's text has their values
            for selection in selections:
                keys_of = frames[repr(selection)][list(self.on)]
                rows_of = list(keys_of.itertuples(index=False, name=None))
                self.progress.shown[repr(selection)] = rows_of
        return [frames[repr(s)] for s in selections]

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
