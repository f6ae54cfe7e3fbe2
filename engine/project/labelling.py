"""One run of labelling: what decides the masks, their write, and what is left beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, Observation

import engine
from engine.errors import EngineError, FaultBudgetError, WorkerError, listed
from engine.label.from_files import Into, Stored, labelled_from_files
from engine.label.plan import MaskPlan, compile_slices
from engine.label.profile import profile
from engine.label.suspects import looked_into
from engine.label.verify import Comparison, at_least
from engine.masks.checks import quoted
from engine.masks.layout import Layout, TableForm, check_same_slices, table_form
from engine.masks.reader import read_masks, view_select
from engine.predicates.predicate import rewritten
from engine.project import quarantine
from engine.project.increments import (
    NewBoth,
    NewRows,
    NewSlices,
    increment,
    old_masks,
    repeated,
    with_gone,
    with_old_masks,
)
from engine.project.job_tables import Output, check_source
from engine.project.run import Run
from engine.project.settings import Project
from engine.project.slices import ProjectSlices
from engine.run.deaths import Death
from engine.run.faults import (
    FaultCounts,
    explained,
    fault_counts,
    fault_metrics,
    is_final,
    stop_at_fault,
)
from engine.slicing.fingerprint.identity import UNKNOWN, fingerprint, unknowns
from engine.slicing.functions import SlicingFunction
from engine.storage import tables
from engine.storage.attempts import one_attempt
from engine.storage.digest import row_digest
from engine.storage.files import unread
from engine.storage.lineage import (
    QUARANTINED,
    READ,
    Snapshot,
    Written,
    read_again,
    reading,
    readings,
    versions,
)
from engine.storage.own_files import OwnRows
from engine.storage.partial import append, merge
from engine.storage.runs import Runs
from engine.storage.session import ZONE, meaning

OUTPUTS = ("masks", "slices", "coverage")  # the tables that a run writes
Increment = NewRows | NewSlices | NewBoth
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskOutput(Output):
    """The mask table as one run writes it.

    Attributes
    ----------
    df, where
        The rows that are labelled, and the predicate over partitions that chose them.
    form
        The columns that the table will have.
    """

    df: DataFrame
    where: str | None
    form: TableForm


@dataclass(frozen=True)
class _Target:
    """Where labelled rows go.

    Attributes
    ----------
    rows
        Of a plan, and of rows with its faults, gives the table's rows.
    save
        Writes the table's rows; takes them, and whether functions may fail.
    old
        The table's columns that come beside labelled rows, to their names there.
    by_workers
        Whether workers may write them.
    """

    rows: Callable[[MaskPlan, DataFrame], DataFrame]
    save: Callable[[DataFrame | OwnRows, bool], Written]
    old: Mapping[str, str] = field(default_factory=dict)
    by_workers: bool = True


@dataclass(frozen=True)
class Labelling:
    """The slices of one project over its source, compiled.

    Attributes
    ----------
    project, source, slices
        What is labelled.
    roles
        Each column's role, as ``check_roles`` returned it.
    quarantined
        Slice id to why the slice is left out: its mask is null on all rows.
    """

    project: Project
    source: Snapshot
    slices: ProjectSlices
    roles: Mapping[str, str]
    quarantined: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def plan(self) -> MaskPlan:
        """How each slice runs."""
        return self._compiled(quarantine.undecided(self.slices.sfs, self.quarantined))

    @cached_property
    def policies(self) -> Mapping[str, str]:
        """Slice id to what is done where the slice fails."""
        return quarantine.policies(self.project, list(self.plan.all_sfs))

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Slice id to fingerprint."""
        return {sf.id: fingerprint(sf, ZONE) for sf in self.slices.sfs}

    @cached_property
    def undescribed(self) -> list[SlicingFunction]:
        """The slices whose fingerprint doesn't tell all that they do."""
        return [sf for sf in self.slices.sfs if self.fingerprints[sf.id].endswith(UNKNOWN)]

    @property
    def unknown_tables(self) -> tuple[str, ...]:
        """Why tables may have other rows though they seem the same, a sentence each."""
        return (*([self.source.unknown] if self.source.unknown else []), *self.slices.unknown)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Why masks may be others though all facts are the same, a sentence for each cause."""
        causes = (f"slice {sf.name!r} {why}" for sf in self.undescribed for why in unknowns(sf))
        return (*self.unknown_tables, *causes)

    def explain(self) -> str:
        """Say where each slice runs and why, what is checked, and what is labelled each time."""
        project, source = self.project, self.source
        key = ", ".join(project.join_columns)
        unique = (
            f"({key}) is checked to be unique: one shuffle of its hashes (check_key: off saves it)"
            if project.check_key == "full"
            else f"({key}) is not checked to be unique (check_key: off)"
        )
        files = f" ({source.known_by})" if source.known_by else ""
        again = [f"{why}: labelled again each time, and compared" for why in self.unknown]
        version = f"{source.name} version {source.version}{files}"
        return "\n".join([version, str(self.plan.explain()), unique, *again])

    def profile(self) -> str:
        """Say what each slice that runs in Python takes, measured on some rows."""
        with explained(self.plan.sfs):
            times = profile(self.plan, self.source.df)
        if not times:
            return "no slice runs in Python"
        title = f"CPU time of one core, each slice alone, {times[0].rows:,} rows:"
        return "\n".join([title, *(f"  {one}" for one in times)])

    def output(self, runs: Runs, where: str | None = None) -> MaskOutput:
        """Return the mask table as this run writes it; of the partitions of ``where``, if any."""
        project, source = self.project, self.source
        df, place = source.df, project.place("masks")
        if where:
            df = tables.where_partitions(df, where, project.partition_by)
        stored = runs.find(place)
        split = [project.split] if project.split else []
        columns = [*project.key, *split, *project.partition_by, *project.carry]
        form = table_form(
            list(dict.fromkeys(columns)),
            self.slices.sfs,
            self.fingerprints,
            project.layout,
            stored.df.schema if stored else None,
            str(place),
        )
        return MaskOutput(place, stored, self._facts(form, where, stored), df, where, form)

    def _compiled(self, sfs: Sequence[SlicingFunction]) -> MaskPlan:
        project = self.project
        tiers = {s: tier for s, tier in project.tiers.items() if s not in self.quarantined}
        plan = compile_slices(sfs, self.slices.schema, self.roles, tier=project.tier, tiers=tiers)
        return replace(plan, limits=project.limits.of_slices)

    def _facts(self, form: TableForm, where: str | None, stored: Snapshot | None) -> dict[str, Any]:
        """Return everything that decides the mask table's rows; its commit keeps them."""
        project, source = self.project, self.source
        read = read_again(stored.facts if stored else None, reading(source, where))
        keys: dict[str, Any] = {"keys": dict(self.slices.keys)} if self.slices.keys else {}
        if self.slices.dated:
            keys["run_date"] = project.run_date.isoformat()
        return {
            "engine_version": engine.__version__,
            "source": source.name,
            "source_version": versions(readings({READ: read})),
            READ: read,
            "where": where,
            "zone": ZONE,
            "session": meaning(source.df.sparkSession),
            "columns": [list(form.columns), project.partition_by, project.split],
            "layout": str(form.layout),
            "accepted": [
                project.on_error,
                project.on_errors,
                project.limits.model_dump(),
                project.max_error_rate,
                project.check_key,
                project.verify,
            ],
            "slices": dict(self.fingerprints),
        } | keys

    @property
    def is_tolerant(self) -> bool:
        """Whether functions may fail: how many rows they fail on is known once all are labelled."""
        return any(self.policies[sf.id] != quarantine.FAIL for sf in self.plan.failing)

    def own(self, run: Run, output: MaskOutput) -> MaskOutput:
        """Hold the mask table, and return it as it is then, for another run may have written it.

        A candidate that a run left which died is kept if this run would write the same, unless
        rows may have failed that nobody has counted.
        """
        facts, counted = output.facts, not self.is_tolerant
        run.own(output.place, lambda there: counted and tables.same(there, facts))
        return self.output(run.runs, output.where)

    def has_masks(self, output: MaskOutput, same: Snapshot) -> bool:
        """Tell whether a table with the same facts has this run's masks.

        Slices that can't be described are computed again and compared; a source that can't be
        described is labelled again.
        """
        if not self.unknown or self.unknown_tables:
            return not self.unknown
        known = quarantine.causes(same)
        project = self.project
        part = self._compiled([sf for sf in self.undescribed if sf.id not in known])
        key = [quoted(c) for c in project.join_columns]
        masked = part.with_faults(self.slices.looked_up(output.df))
        if project.on_error != "null":
            masked = stop_at_fault(masked, project.join_columns, part.native_faults)
        rows = same.df if output.where is None else same.df.where(rewritten(output.where))
        masks = read_masks(rows)
        with explained(part.sfs):
            now = row_digest(masked.select(*key, *part.mask_columns()))
        return now == row_digest(masks.df.select(*key, *masks.masks(part.ids)))

    def increment(self, output: MaskOutput, same: Snapshot | None) -> Increment | str:
        """Return what is to be labelled of a stored table, or say why all rows are.

        Parameters
        ----------
        output
            The mask table.
        same
            The stored table, where its facts are the same.
        """
        stored, rate = output.stored, self.project.max_error_rate
        if stored is None or output.where or self.unknown:
            return "all rows are labelled"
        if quarantine.causes(stored):
            return "all rows are labelled, for slices in quarantine are tried again"
        if same is not None:
            return "all rows are labelled, as --force says"
        part = increment(stored, output.facts, self.source)
        if isinstance(part, str):
            return f"all rows are labelled, for {part}"
        if isinstance(part, NewRows | NewBoth) and self.is_tolerant and rate < 1:
            return f"all rows are labelled, for max_error_rate={rate:g} is a share of all"
        return part

    def check(self, output: MaskOutput) -> int:
        """Check the source's rows and keys; return how many rows there are."""
        df, name = output.df, self.source.name
        with explained(self.plan.sfs):
            return check_source(self.project, df, name, self._readers(df), output.where)

    def label(
        self,
        run: Run,
        output: MaskOutput,
        same: Snapshot | None,
        part: Increment | str,
        rows: int | None = None,
    ) -> Written:
        """Check the source and the compiled slices, then write the mask table.

        Parameters
        ----------
        run, output
            The run, which holds the mask table.
        same
            The stored table, where its facts are the same: its rows aren't written again.
        part
            What :meth:`increment` returned.
        rows
            How many rows there are, where :meth:`check` has looked at all of them.

        Raises
        ------
        StaleError
            If only some partitions are labelled, and the table has other slices.
        FaultBudgetError
            If functions fail on more rows than the project allows; the table is as it was.
        """
        quarantine.policies(self.project, list(self.plan.all_sfs))
        if output.where and output.stored is not None:
            check_same_slices(
                str(output.place), output.stored_facts.get("slices", {}), self.fingerprints
            )
        labelling = self
        while True:
            try:
                return labelling._labelled(run, output, same, part, rows)
            except EngineError as error:
                labelling = labelling.without(error, output.where)
                part = "all rows are labelled, for a slice goes into quarantine"

    def without(self, error: EngineError, where: str | None) -> Labelling:
        """Return what leaves out the slices that an error is about.

        Raises
        ------
        EngineError
            The error, where one of them isn't to be quarantined.
        """
        slices = [s for s in error.slices if s not in self.quarantined]
        if not slices or any(self.policies.get(s) != quarantine.QUARANTINE for s in slices):
            raise error
        causes = {s: quarantine.why(error, s) for s in slices}
        for s, cause in causes.items():
            _log.warning("slice %r goes into quarantine, the others go on: %s", s, cause)
        of = f" (where {where})" if where else ""
        more = {s: f"{cause}{of}" for s, cause in causes.items()}
        return replace(self, quarantined={**self.quarantined, **more})

    def _labelled(
        self,
        run: Run,
        output: MaskOutput,
        same: Snapshot | None,
        part: Increment | str,
        rows: int | None,
    ) -> Written:
        project, plan, name = self.project, self.plan, self.source.name
        if isinstance(part, NewRows):
            written = self._label_rows(run, output, part)
            if written is not None:
                return written
            _log.info("a key seems to be there twice: all rows are labelled")
        if isinstance(part, NewSlices):
            return self._label_slices(run, output, part)
        if isinstance(part, NewBoth):
            return self._label_both(run, output, part)
        rows = self.check(output) if rows is None else rows
        _log.info("labelling %s rows of %s with %s slices", f"{rows:,}", name, len(plan.sfs))

        def rows_of(plan: MaskPlan, masked: DataFrame) -> DataFrame:
            return plan.rows(masked, output.form)

        def save(masks: DataFrame | OwnRows, tolerant: bool) -> Written:
            return run.overwrite(
                masks,
                output.place,
                facts={**output.facts, **self._marks(output)},
                partition_by=project.partition_by,
                where=output.where,
                observed=tolerant,
                unless=same,
            )

        whole = _Target(rows_of, save, by_workers=same is None and output.where is None)
        return self._write(run, output, output.df, plan, rows, whole)

    def _label_rows(self, run: Run, output: MaskOutput, part: NewRows) -> Written | None:
        """Label rows of files that came; None where all rows have to be."""
        project, plan, key = self.project, self.plan, self.project.join_columns
        came, gone = part.changes.came, part.changes.gone
        if came is not None and not came.take(1):
            came = None
        if came is None and gone is None:
            return None
        if came is None:
            changed = with_gone(None, part, key)
            return run.writes(merge(changed, part.stored, key, output.facts, run.id))
        rows = check_source(project, came, self.source.name, {})
        if repeated(came, part, key):
            return None
        _log.info("labelling %s rows of %s", f"{rows:,}", self.source.name)

        def rows_of(plan: MaskPlan, masked: DataFrame) -> DataFrame:
            return plan.rows(masked, output.form)

        def save(masks: DataFrame | OwnRows, tolerant: bool) -> Written:
            if gone is None:
                return run.writes(append(masks, part.stored, output.facts, run.id))
            assert isinstance(masks, DataFrame)  # workers don't merge
            cached = masks.persist()  # a merge looks at its rows twice
            try:
                changed = with_gone(cached, part, key)
                return run.writes(merge(changed, part.stored, key, output.facts, run.id))
            finally:
                cached.unpersist()

        target = _Target(rows_of, save, by_workers=gone is None)
        return self._write(run, output, came, plan, rows, target)

    def _label_slices(self, run: Run, output: MaskOutput, part: NewSlices) -> Written:
        """Label all rows with the slices that changed; other masks are those that are there."""
        project, key = self.project, self.project.join_columns
        changed = [sf for sf in self.slices.sfs if sf.id in part.changed]
        plan = self._compiled(changed) if changed else None

        def rows_of(plan: MaskPlan | None, masked: DataFrame) -> DataFrame:
            return with_old_masks(masked, plan, part, output.form, key)

        def save(masks: DataFrame | OwnRows, tolerant: bool) -> Written:
            facts, by = output.facts, project.partition_by
            return run.overwrite(
                masks, output.place, facts=facts, partition_by=by, observed=tolerant
            )

        if plan is None:
            return save(rows_of(None, output.df), False)
        beside = old_masks(part, output.form)
        target = _Target(rows_of, save, beside.names)
        return self._write(run, output, output.df, plan, None, target, beside)

    def _label_both(self, run: Run, output: MaskOutput, part: NewBoth) -> Written:
        """Label rows as they were with the slices that changed, then rows that changed with all."""
        before = replace(output, df=part.rows.changes.before, facts={**output.facts, **part.facts})
        first = self._label_slices(run, before, part.slices)
        try:
            rows = replace(part.rows, stored=run.runs.read(output.place))
            return self._labelled(run, output, None, rows, None)
        except BaseException:
            with suppress(Exception):  # the error itself is what matters
                tables.undo(run.spark, first)
            raise

    def _readers(self, df: DataFrame) -> dict[str, list[str]]:
        """Return for each column of the source the slices that read it, as far as that is known."""
        plan = self.plan
        readers: dict[str, list[str]] = {}
        for assignment in plan.assignments:
            # Of a slice that reads all columns nobody knows which it needs.
            if len(plan.columns) > 1 and len(assignment.columns) == len(plan.columns):
                continue
            for column in assignment.columns:
                if column in df.columns:  # else a look-up adds it later
                    readers.setdefault(column, []).append(f"slice {assignment.name!r}")
        return readers

    def _write(
        self,
        run: Run,
        output: MaskOutput,
        df: DataFrame,
        plan: MaskPlan,
        rows: int | None,
        target: _Target,
        beside: Stored | None = None,
    ) -> Written:
        """Compute masks and write them; over the fault budget, undo it.

        Parameters
        ----------
        run, output
            The run, and the table.
        df
            The source's rows that are labelled.
        plan
            What is computed.
        rows
            How many rows there are; None where nobody counted them.
        target
            Where they go.
        beside
            The masks that are there, where the plan makes but some.
        """
        project, key, form = self.project, tuple(self.project.join_columns), output.form
        share = at_least(project.verify, rows) if rows is not None else project.verify
        bits = form.places or {s: i for i, s in enumerate(plan.ids)}
        comparison = Comparison(plan, bits, key, share, project.seed)
        # Rows that are read beside masks are labelled there: what Spark would read has to cross.
        by_workers = comparison if beside is None else replace(comparison, plan=plan.in_workers())
        every = self.slices.looked_up(df)
        columns = [*form.columns, *project.partition_by]

        def into(masked: DataFrame) -> Into | None:
            schema = target.rows(by_workers.plan, masked).schema
            how = tables.form_of_own(run.spark, output.place, schema)
            ids = by_workers.plan.ids
            return None if how is None else Into(how, schema, form, ids, target.old)

        writers = into if target.by_workers and not project.partition_by else None
        labelled = labelled_from_files(by_workers, every, columns, beside, writers)
        if labelled is not None:
            try:
                return self._written(run, by_workers, labelled, target)
            except WorkerError:
                pass  # whose fault a death is, is looked for in Spark's own tasks
            except Exception as error:  # a write that fails comes as Py4J's error
                if not unread(error):
                    raise
        with self._looked_into(df, plan):
            return self._written(run, comparison, comparison.with_faults(every), target)

    def _written(
        self,
        run: Run,
        comparison: Comparison,
        labelled: DataFrame | OwnRows,
        target: _Target,
    ) -> Written:
        """Write labelled rows; over the fault budget, undo it."""
        project, plan, key = self.project, comparison.plan, comparison.key
        own = labelled if isinstance(labelled, OwnRows) else None
        masked = labelled.df if isinstance(labelled, OwnRows) else labelled
        observation = Observation("faults")
        stopping = [sf.id for sf in plan.failing if self.policies[sf.id] == quarantine.FAIL]
        tolerant = len(stopping) < len(plan.failing)
        if tolerant:
            masked = masked.observe(observation, *fault_metrics(masked, key, plan.native_faults))
        masked = stop_at_fault(masked, key, plan.native_faults, stopping if tolerant else None)
        alone = one_attempt(run.spark, is_final)
        with explained(plan.sfs), comparison.explained(), alone:
            rows = replace(own, df=masked) if own else target.rows(plan, masked)
            written = target.save(rows, tolerant)
        if tolerant:
            counts = fault_counts(observation.get, plan.failing, written.rows if own else None)
            _log_faults(counts)
            run.faults = counts.faults
            if over := counts.over(project.max_error_rate):
                undone = tables.undo(run.spark, written)
                if all(self.policies[s] == quarantine.QUARANTINE for s, _, _ in over):
                    raise quarantine.over_budget(over, project.max_error_rate, counts)
                raise too_many_faults(over, project.max_error_rate, counts.examples, undone)
        if comparison.slices:
            _log.info(
                "%s compiled slices give what Python gives on a sample of %s of the rows",
                len(comparison.slices),
                f"{100 * comparison.share:.3g}%",
            )
        return written

    def _marks(self, output: MaskOutput) -> dict[str, Any]:
        """Return what the commit says of slices in quarantine, in other partitions too."""
        before = output.stored_facts.get(QUARANTINED, {}) if output.where else {}
        marks = {**before, **self.quarantined}
        return {QUARANTINED: marks} if marks else {}

    @contextmanager
    def _looked_into(self, df: DataFrame, plan: MaskPlan) -> Iterator[None]:
        """Find the rows on which a worker died; rows that others are joined to can't be found."""
        try:
            yield
        except WorkerError as error:
            if not isinstance(error.death, Death) or self.slices.joins:
                raise
            death = looked_into(error.death, df, plan, self.project.join_columns)
            raise death.error({s: sf.name for s, sf in plan.all_sfs.items()}) from None


def too_many_faults(
    over: Sequence[tuple[str, int, int]],
    budget: float,
    examples: Sequence[str],
    undone: str,
) -> FaultBudgetError:
    """Return the error of a run with more faults than max_error_rate allows."""
    rates = listed([f"{s!r} on {n:,} of {rows:,} rows" for s, n, rows in over], 5)
    shown = f" For example: {'; '.join(examples)}." if examples else ""
    return FaultBudgetError(
        f"more slicing functions failed than max_error_rate={budget:g} allows: {rates}; "
        f"{undone}.{shown}"
    )


def _log_faults(counts: FaultCounts) -> None:
    rows = f"{counts.rows:,}"
    for slice_id, n in counts.faults.items():
        if n:
            _log.warning("slice %r failed on %s of %s rows", slice_id, f"{n:,}", rows)
    for example in counts.examples:
        _log.warning("  %s", example)


def view_note(project: Project, masks: Snapshot) -> str | None:
    """Make the view of packed masks where there is a catalog; else say how it is made."""
    packed = read_masks(masks.df)
    if packed.layout is not Layout.PACKED:
        return None
    if not masks.place.in_catalog:
        return "packed masks: --view prints the SELECT that shows each slice as a column"
    select = view_select(packed, masks.place)
    return tables.create_view(masks.df.sparkSession, project.place("masks_view").text, select)
