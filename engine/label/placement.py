"""Which slice of a plan runs where, and what crosses to Python for it: the plan as data."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from engine.arguments import texts
from engine.compile.program import Program
from engine.compile.tiers import Candidate, Tier
from engine.errors import no_such_mask
from engine.lift.body import columns_of
from engine.lift.notes import notes_on
from engine.plain import SENTENCE, plain
from engine.run.kernel import Kernel
from engine.slicing.evaluate import masks_needed, of_row
from engine.slicing.expr import Expr, Mask
from engine.slicing.fingerprint.identity import unknowns
from engine.slicing.functions import SlicingFunction
from engine.watch import NO_LIMITS, Limits

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from engine.arrow.collected import Decode

PYTHON = (Tier.ARROW, Tier.PANDAS, Tier.ROW)
_AGAIN = "{}: it can't be known to be the same, so every run labels it again"


@dataclass(frozen=True)
class Assignment:
    """One slice's place in the plan.

    Attributes
    ----------
    slice_id, name
        The slice.
    tier
        Where it runs.
    columns
        What crosses to Python for it; empty for a Spark expression.
    why
        One clause that says what the function was read as, or why it runs as Python.
    refused
        Tiers that would not give the same answer, with the reason.
    notes
        What its writer should know: randomness, a pattern that may take for ever.
    steps
        Over Arrow columns, how many operations it is, and how many of them run in Python; None
        elsewhere, and before :meth:`MaskPlan.explain`.
    microseconds
        What a row is expected to take of one core; None where only running it tells.
    """

    slice_id: str
    name: str
    tier: Tier
    columns: tuple[str, ...]
    why: str
    refused: Mapping[Tier, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    steps: tuple[int, int] | None = None
    microseconds: float | None = None

    @property
    def where(self) -> str:
        """Where it runs, and what of it in Python."""
        if self.steps is None or not self.steps[1]:
            return str(self.tier)
        n, in_python = self.steps
        return f"{self.tier}, {in_python} of {n} step{'s' * (n > 1)} in Python"


@dataclass(frozen=True)
class Explanation:
    """A plan as data and as text (``str``).

    Attributes
    ----------
    slices
        An assignment per slice.
    crossing
        Columns that cross to Python.
    scans
        Column to how many texts and patterns are looked for in one scan of it, by method.
    plain
        Whether every fast path is off.
    """

    slices: tuple[Assignment, ...]
    crossing: tuple[str, ...]
    scans: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    plain: bool = False

    def __str__(self) -> str:
        rows = [("slice", "runs as", "us/row", "why")]
        rows += [(a.slice_id, a.where, _time(a.microseconds), a.why) for a in self.slices]
        widths = [max(len(r[i]) for r in rows) for i in range(3)]
        lines = [
            f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]}" for r in rows
        ]
        python = sum(a.tier in PYTHON for a in self.slices)
        lines.append(
            f"{python} of {len(self.slices)} slices share one Arrow UDF; "
            f"columns crossing to Python, once each: {', '.join(self.crossing) or 'none'}"
            if python
            else "no column crosses to Python"
        )
        for column, methods in self.scans.items():
            counts = ", ".join(f"{n} by {how}" for how, n in methods.items())
            lines.append(f"searches in {column}, all in one pass: {counts}")
        lines += [f"note: slice {a.name!r} {note}" for a in self.slices for note in a.notes]
        lines += [SENTENCE] if self.plain else []
        return "\n".join(lines)


def _time(microseconds: float | None) -> str:
    """Return a time with two digits that count."""
    if microseconds is None:
        return "?"
    shown = f"{microseconds:.2f}"
    return "<0.01" if microseconds and not float(shown) else shown


@dataclass(frozen=True)
class Placement:
    """Each slice's tier in a table of one schema.

    Attributes
    ----------
    sfs
        The slices whose masks users want.
    columns, kinds, schema
        The table's columns, their Arrow types, and Spark's schema where the table is Spark's.
    all_sfs
        Slices by id, those that others are composed of too.
    candidates, tiers
        Slice id to where it may run, and to where it does.
    decoders
        Of a column that crosses to Python in another form: what makes a value of what crossed.
    forced
        Slices whose tier someone set.
    limits
        What a slice may take of a worker.
    """

    sfs: tuple[SlicingFunction, ...]
    columns: tuple[str, ...]
    kinds: Mapping[str, pa.DataType]
    schema: StructType | None
    all_sfs: Mapping[str, SlicingFunction]
    candidates: Mapping[str, Candidate]
    tiers: Mapping[str, Tier]
    decoders: Mapping[str, Decode]
    forced: frozenset[str] = frozenset()
    limits: Limits = NO_LIMITS

    @property
    def ids(self) -> tuple[str, ...]:
        """Mask column names, in the order of the slicing functions."""
        return tuple(sf.id for sf in self.sfs)

    @functools.cached_property
    def assignments(self) -> tuple[Assignment, ...]:
        """Each slice's place."""
        rows, linear = [], self.kernel.linear
        for sf in self.sfs:
            c, tier = self.candidates[sf.id], self.tiers[sf.id]
            columns = c.columns if tier in PYTHON else ()
            notes = tuple(notes_on(sf, c.tree, linear))
            rows.append(Assignment(sf.id, sf.name, tier, columns, c.reads, c.refused, notes))
        return tuple(rows)

    @functools.cached_property
    def crossing(self) -> tuple[str, ...]:
        """Columns that cross to Python, once each, in the table's order."""
        needed = {c for s in self._kernel_ids for c in self.candidates[s].columns}
        return tuple(c for c in self.columns if c in needed)

    @functools.cached_property
    def by_row(self) -> frozenset[str]:
        """Columns that something else than a function of Series reads in Python."""
        ids = (s for s in self._kernel_ids if self.tiers[s] is not Tier.PANDAS)
        return frozenset(c for s in ids for c in self.candidates[s].columns)

    @functools.cached_property
    def _kernel_ids(self) -> tuple[str, ...]:
        """Slices that the Arrow UDF computes: combinations too, if all that they need is there."""
        inside = {s for s in self.all_sfs if self.tiers[s] in PYTHON}
        more = inside
        while more:  # a combination may be of combinations
            more = {s for s, parts in self._needed.items() if s not in inside and parts <= inside}
            inside |= more
        return tuple(s for s in self.all_sfs if s in inside)

    @functools.cached_property
    def _needed(self) -> Mapping[str, set[str]]:
        """Each combination's slices."""
        combined = (s for s in self.all_sfs if self.tiers[s] is Tier.MASKS)
        return {s: {*masks_needed(self._tree(s))} for s in combined}

    def _tree(self, slice_id: str) -> Expr:
        tree = self.candidates[slice_id].tree
        assert tree is not None  # a combination has one
        return tree

    @property
    def python_sfs(self) -> tuple[SlicingFunction, ...]:
        """The slicing functions that the Arrow UDF runs."""
        return tuple(self.all_sfs[s] for s in self._kernel_ids)

    @functools.cached_property
    def kernel(self) -> Kernel:
        """What executors run."""
        whole = (Tier.ARROW, Tier.MASKS)
        sfs = [sf if sf.expr is None else self._of_expression(sf) for sf in self.python_sfs]
        trees = {s: self._tree(s) for s in self._kernel_ids if self.tiers[s] in whole}
        kinds = {c: self.kinds[c] for c in self.crossing}
        decoders = {c: self.decoders[c] for c in self.crossing if c in self.decoders}
        return Kernel(sfs, trees, kinds, decoders=decoders, forced=self.forced, unused=self._unused)

    @property
    def _unused(self) -> dict[str, frozenset[str]]:
        """Slice id to columns that its function reads and its tree doesn't, if there are any."""
        lifted = (s for s in self._kernel_ids if self.tiers[s] is Tier.ARROW)
        more = {
            s: frozenset(self.candidates[s].columns) - {c.name for c in columns_of(self._tree(s))}
            for s in lifted
        }
        return {s: columns for s, columns in more.items() if columns}

    def _of_expression(self, sf: SlicingFunction) -> SlicingFunction:
        """Return a slice that is its tree alone: keys that Spark joins needn't travel."""
        if self.tiers[sf.id] is Tier.ROW:
            f = functools.partial(of_row, self._tree(sf.id), parts={})
            return SlicingFunction(sf.name, f, id=sf.id)
        return SlicingFunction(sf.name, expr=Mask(sf.id), id=sf.id)

    def explain(self) -> Explanation:
        """Say which slice runs where, and why."""
        scans: dict[str, dict[str, int]] = {}
        for (column, _), how in self.kernel.methods.items():
            counts = scans.setdefault(column, {})
            counts[how] = counts.get(how, 0) + 1
        described = tuple(
            replace(
                a,
                notes=(*a.notes, *map(_AGAIN.format, unknowns(self.all_sfs[a.slice_id]))),
                **self._expected(a.slice_id),
            )
            for a in self.assignments
        )
        return Explanation(described, self.crossing, scans, plain())

    def _expected(self, slice_id: str) -> dict[str, Any]:
        """Return what is known of a slice's steps and time before it runs."""
        c, tier = self.candidates[slice_id], self.tiers[slice_id]
        if c.tree is None or tier not in c.costs:
            return {}
        if tier is not Tier.ARROW:
            return {"microseconds": c.costs[tier]}
        kinds = {column.name: self.kinds[column.name] for column in columns_of(c.tree)}
        _, (steps,) = Program([c.tree], kinds).dry_run()
        by_row = math.inf if slice_id in self.forced else c.costs.get(Tier.ROW, math.inf)
        fewest = min(steps.microseconds, by_row)
        return {"steps": (steps.n, steps.in_python), "microseconds": fewest}

    @property
    def lifted(self) -> tuple[str, ...]:
        """Row functions that don't run as Python: what can be compared with Python."""
        return tuple(
            s
            for s in self.ids
            if Tier.ROW in self.candidates[s].costs and self.tiers[s] is not Tier.ROW
        )

    def only(self, ids: Sequence[str]) -> Self:
        """Return the plan of some of its slices, none of them a combination."""
        for s in texts("MaskPlan.only", "ids", ids, "a list of slice ids"):
            if s not in self.all_sfs:
                raise no_such_mask(s, self.ids, "the plan")
        sfs = tuple(self.all_sfs[s] for s in ids)
        return replace(self, sfs=sfs, all_sfs={sf.id: sf for sf in sfs})

    def in_workers(self) -> Self:
        """Return the plan for rows that workers read: there Arrow columns are at hand."""
        arrow = {s for s, c in self.candidates.items() if Tier.ARROW in c.costs} - self.forced
        moved = {s: Tier.ARROW for s in arrow if self.tiers[s] is Tier.SPARK}
        return replace(self, tiers={**self.tiers, **moved})

    def as_python(self) -> Self:
        """Return the plan in which lifted row functions run as Python: what others must equal."""
        forced = {s: Tier.ROW for s, c in self.candidates.items() if Tier.ROW in c.costs}
        tiers = {s: forced.get(s, tier) for s, tier in self.tiers.items()}
        return replace(self, tiers=tiers)
