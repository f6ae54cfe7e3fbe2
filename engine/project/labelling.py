"""One run of labelling: what decides the masks, whether they are there already, their write."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame, Observation

import engine
from engine.errors import FaultBudgetError, listed
from engine.label.plan import MaskPlan, compile_slices
from engine.label.verify import at_least, verify
from engine.masks.checks import quoted
from engine.masks.layout import TableForm, check_same_slices, table_form
from engine.masks.reader import read_masks
from engine.project.output import Output
from engine.project.settings import Project
from engine.project.slices import ProjectSlices
from engine.project.source import check_roles, check_source
from engine.run.faults import FaultCounts, explained, fault_counts, fault_metrics, stop_at_fault
from engine.slicing.fingerprint.identity import UNKNOWN, fingerprint, unknowns
from engine.slicing.functions import SlicingFunction
from engine.storage import tables
from engine.storage.digest import row_digest
from engine.storage.lineage import READ, read_again, reading, readings, versions
from engine.storage.session import ZONE, meaning
from engine.storage.snapshot import Snapshot, Written

_log = logging.getLogger(__name__)


def column_roles(project: Project, source: Snapshot) -> dict[str, str]:
    """Check the columns that the project names; return each one's role."""
    return check_roles(
        source,
        {
            "key": project.key,
            "split": [project.split],
            "partition": project.partition_by,
            "carried": project.carry,
        },
    )


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
class Labelling:
    """The slices of one project over its source, compiled.

    Attributes
    ----------
    project, source, slices
        What is labelled.
    roles
        What :func:`column_roles` returned.
    """

    project: Project
    source: Snapshot
    slices: ProjectSlices
    roles: Mapping[str, str]

    @cached_property
    def plan(self) -> MaskPlan:
        """How each slice runs."""
        return self._compiled(self.slices.sfs)

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Slice id to fingerprint."""
        return {sf.id: fingerprint(sf, ZONE) for sf in self.plan.sfs}

    @cached_property
    def undescribed(self) -> list[SlicingFunction]:
        """The slices whose fingerprint doesn't tell all that they do."""
        return [sf for sf in self.plan.sfs if self.fingerprints[sf.id].endswith(UNKNOWN)]

    @property
    def unknown_tables(self) -> tuple[str, ...]:
        """Why tables may have other rows though they seem the same, a sentence each."""
        return (*([self.source.unknown] if self.source.unknown else []), *self.slices.unknown)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Why masks may be others though all facts are the same, a sentence for each cause."""
        causes = (f"slice {sf.name!r} {why}" for sf in self.undescribed for why in unknowns(sf))
        return (*self.unknown_tables, *causes)

    def output(self, where: str | None = None) -> MaskOutput:
        """Return the mask table as this run writes it; of the partitions of ``where``, if any."""
        project, source = self.project, self.source
        df, place = source.df, project.place("masks")
        if where:
            df = tables.where_partitions(df, where, project.partition_by)
        stored = tables.find(df.sparkSession, place)
        split = [project.split] if project.split else []
        columns = [*project.key, *split, *project.partition_by, *project.carry]
        form = table_form(
            list(dict.fromkeys(columns)),
            self.plan.sfs,
            self.fingerprints,
            project.layout,
            stored.df.schema if stored else None,
            str(place),
        )
        return MaskOutput(place, stored, self._facts(form, where, stored), df, where, form)

    def _compiled(self, sfs: Sequence[SlicingFunction]) -> MaskPlan:
        project = self.project
        return compile_slices(
            sfs, self.slices.schema, self.roles, tier=project.tier, tiers=project.tiers
        )

    def _facts(self, form: TableForm, where: str | None, stored: Snapshot | None) -> dict[str, Any]:
        """Return everything that decides the mask table's rows; its commit keeps them."""
        project, source = self.project, self.source
        read = read_again(stored.facts if stored else None, reading(source, where))
        keys = {"keys": dict(self.slices.keys)} if self.slices.keys else {}
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
                project.max_error_rate,
                project.check_key,
                project.verify,
            ],
            "slices": dict(self.fingerprints),
        } | keys

    def has_masks(self, output: MaskOutput, same: Snapshot) -> bool:
        """Tell whether a table with the same facts has this run's masks.

        Slices that can't be described are computed again and compared; a source that can't be
        described is labelled again.
        """
        if not self.unknown:
            return True
        return not self.unknown_tables and self._undescribed_are_in(output, same)

    def _undescribed_are_in(self, output: MaskOutput, stored: Snapshot) -> bool:
        project, part = self.project, self._compiled(self.undescribed)
        key = [quoted(c) for c in project.join_columns]
        masked = part.with_faults(self.slices.looked_up(output.df))
        if project.on_error != "null":
            masked = stop_at_fault(masked, project.join_columns, part.native_faults)
        rows = stored.df if output.where is None else stored.df.where(output.where)
        masks = read_masks(rows)
        with explained(part.sfs):
            now = row_digest(masked.select(*key, *part.mask_columns()))
        return now == row_digest(masks.df.select(*key, *masks.masks(part.ids)))

    def label(self, output: MaskOutput, same: Snapshot | None) -> Written:
        """Check the source and the compiled slices, then write the mask table.

        Parameters
        ----------
        output
            The mask table.
        same
            The stored table, where its facts are the same: its rows aren't written again.

        Raises
        ------
        StaleError
            If only some partitions are labelled, and the table has other slices.
        FaultBudgetError
            If functions fail on more rows than the project allows; the table is as it was.
        """
        project, plan, name = self.project, self.plan, self.source.name
        if output.where and output.stored is not None:
            slices = output.stored_facts.get("slices", {})
            check_same_slices(str(output.place), slices, self.fingerprints)
        rows = check_source(project, output.df, name, self._readers(output.df), output.where)
        df = self.slices.looked_up(output.df)
        with explained(plan.sfs):
            share = at_least(project.verify, rows)
            checked, compiled = verify(plan, df, project.join_columns, share, project.seed)
        if compiled:
            _log.info(
                "%s compiled slices give what Python gives on %s sampled rows",
                compiled,
                f"{checked:,}",
            )
        _log.info("labelling %s rows of %s with %s slices", f"{rows:,}", name, len(plan.sfs))
        return self._write(output, df, same)

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

    def _write(self, output: MaskOutput, df: DataFrame, same: Snapshot | None) -> Written:
        """Write the mask table, unless ``same`` has its rows; over the fault budget, undo it."""
        project, plan, key = self.project, self.plan, self.project.join_columns
        masked, observation = plan.with_faults(df, output.form.places), Observation("faults")
        tolerant = project.on_error == "null" and bool(plan.failing)
        if tolerant:
            masked = masked.observe(observation, *fault_metrics(masked, key, plan.native_faults))
        else:
            masked = stop_at_fault(masked, key, plan.native_faults)
        with explained(plan.sfs):
            written = tables.overwrite(
                plan.rows(masked, output.form),
                output.place,
                facts=output.facts,
                partition_by=project.partition_by,
                where=output.where,
                observed=tolerant,
                unless=same,
            )
        if tolerant:
            counts = fault_counts(observation.get, plan.failing)
            _log_faults(counts)
            if over := counts.over(project.max_error_rate):
                undone = tables.undo(df.sparkSession, written)
                raise too_many_faults(over, project.max_error_rate, counts.examples, undone)
        return written


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
