"""Label slices: run every slicing function over the source, write the mask table.

Reads the source and the slicing functions that the project file names. Writes the mask table
(key, split, carried columns, and the masks: a BOOLEAN column per slice, or packed, 64 slices in a
BIGINT column), the slice catalogue and the run's coverage. A run whose inputs did not change
writes nothing.

  python -m jobs.label_slices --project conf/spam.yaml --explain
  python -m jobs.label_slices --project conf/spam.yaml
  python -m jobs.label_slices --project conf/spam.yaml --view > masks.sql
  python -m jobs.label_slices --project conf/events.yaml --where "ds = '2024-05-01'"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession

import engine
from engine.errors import FaultBudgetError
from engine.label.plan import MaskPlan, compile_slices
from engine.label.verify import at_least, verify
from engine.masks.checks import check_columns, check_rows, check_unique, quoted
from engine.masks.coverage import Coverage, coverage
from engine.masks.layout import Layout
from engine.masks.reader import read_masks, view_select
from engine.masks.splits import split_name
from engine.masks.table import TableForm, check_same_slices, table_form
from engine.project import cli, records
from engine.project import slices as project_slices
from engine.project.config import Project
from engine.run.faults import (
    FaultCounts,
    explained,
    fault_counts,
    fault_metrics,
    stop_at_fault,
)
from engine.slicing.fingerprint.identity import UNKNOWN, fingerprint, unknowns
from engine.slicing.functions import SlicingFunction
from engine.storage import tables
from engine.storage.digest import row_digest
from engine.storage.lineage import READ, read_again, reading, readings, versions
from engine.storage.session import ZONE, meaning
from engine.storage.snapshot import Snapshot, Written

SHOWN = 100  # slices printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument(
        "--explain", action="store_true", help="say where each slice runs and why, and stop"
    )
    parser.add_argument(
        "--view",
        action="store_true",
        help="print the SELECT that shows each slice of the mask table as a BOOLEAN column, and "
        "stop",
    )
    parser.add_argument(
        "--where", metavar="PREDICATE", help="label only these partitions (over partition_by)"
    )
    parser.add_argument("--force", action="store_true", help="label again though nothing changed")
    parser.add_argument(
        "--repin", action="store_true", help="look for new values of slices by value, and add them"
    )
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Label the slices of one project."""
    project = cli.project_of(args)
    if args.view:
        masks = tables.read(
            cli.session(project, "label_slices"), project.place("masks"), "mask table"
        )
        print(view_select(read_masks(masks.df), masks.place))
        return
    own = project_slices.load(project, cli.module_folders(args))
    spark = cli.session(project, "label_slices")
    source = cli.source(project, spark)
    roles = _roles(project, source)
    slices = project_slices.resolve(project, source, own, args.repin)
    for note in slices.notes:
        print(note)
    plan = compile_slices(slices.sfs, slices.schema, roles, tier=project.tier, tiers=project.tiers)
    prints = {sf.id: fingerprint(sf, ZONE) for sf in plan.sfs}
    odd = [sf for sf in plan.sfs if prints[sf.id].endswith(UNKNOWN)]
    unsure = _unknown(source, slices, odd)
    if args.explain:
        print(_explanation(project, plan, source, unsure))
        return
    df, place = source.df, project.place("masks")
    if args.where:
        df = tables.where_partitions(df, args.where, project.partition_by)
    stored = tables.find(spark, place)
    schema = stored.df.schema if stored else None
    form = table_form(_columns(project), plan.sfs, prints, project.layout, schema, str(place))
    facts = _facts(project, form, prints, source, args.where, stored)
    facts |= {"keys": dict(slices.keys)} if slices.keys else {}
    same = stored if stored and tables.same(stored.facts, facts) and not args.force else None
    of_tables = source.unknown or slices.unknown
    if same is not None and (
        not unsure
        or (not of_tables and _as_stored(project, slices, odd, df, roles, same, args.where))
    ):
        written, facts = tables.unchanged(same), dict(same.facts)
        cli.tell_again(written, unsure)
    else:
        cli.tell_changes(str(place), stored.facts if stored else {}, facts)
        if args.where and stored is not None:
            check_same_slices(str(place), stored.facts.get("slices", {}), prints)
        rows = _check(project, plan, df, source.name, args.where)
        df = slices.looked_up(df)
        with explained(plan.sfs):
            share = at_least(project.verify, rows)
            checked, compiled = verify(plan, df, project.join_columns, share, project.seed)
        if compiled:
            cli.step(
                f"{compiled} compiled slices give what Python gives on {checked:,} sampled rows"
            )
        cli.step(f"labelling {rows:,} rows of {source.name} with {len(plan.sfs)} slices")
        written = _label(project, plan, df, form, facts, args.where, same)
        if same is not None:
            cli.tell_again(written, unsure)
        if stored is not None and not written.changed:
            facts = dict(stored.facts)
    _report(project, plan, spark, written, facts, slices.definitions)


def _as_stored(
    project: Project,
    slices: project_slices.ProjectSlices,
    odd: Sequence[SlicingFunction],
    df: DataFrame,
    roles: Mapping[str, str],
    stored: Snapshot,
    where: str | None,
) -> bool:
    """Tell whether the table has the masks of the slices that can't be described."""
    part = compile_slices(odd, slices.schema, roles, tier=project.tier, tiers=project.tiers)
    key = [quoted(c) for c in project.join_columns]
    masked = part.with_faults(slices.looked_up(df))
    if project.on_error != "null":
        masked = stop_at_fault(masked, project.join_columns, part.native_faults)
    before = read_masks(stored.df if where is None else stored.df.where(where))
    with explained(part.sfs):
        now = row_digest(masked.select(*key, *part.mask_columns()))
    return now == row_digest(before.df.select(*key, *before.masks(part.ids)))


def _label(
    project: Project,
    plan: MaskPlan,
    df: DataFrame,
    form: TableForm,
    facts: dict[str, Any],
    where: str | None,
    same: Snapshot | None,
) -> Written:
    """Write the mask table, unless ``same`` has its rows; over the fault budget, take it back."""
    key, place, observation = project.join_columns, project.place("masks"), Observation("faults")
    masked = plan.with_faults(df, form.places)
    tolerant = project.on_error == "null" and bool(plan.failing)
    if tolerant:
        masked = masked.observe(observation, *fault_metrics(masked, key, plan.native_faults))
    else:
        masked = stop_at_fault(masked, key, plan.native_faults)
    rows = plan.rows(masked, form)
    with explained(plan.sfs):
        written = tables.overwrite(
            rows,
            place,
            facts=facts,
            partition_by=project.partition_by,
            where=where,
            observed=tolerant,
            unless=same,
        )
    if tolerant:
        counts = fault_counts(observation.get, plan.failing)
        _tell_faults(counts)
        over = counts.over(project.max_error_rate)
        if over:
            undone = tables.undo(df.sparkSession, written)
            raise FaultBudgetError(over, project.max_error_rate, counts.examples, undone)
    return written


def _check(project: Project, plan: MaskPlan, df: DataFrame, table: str, where: str | None) -> int:
    readers: dict[str, list[str]] = {}
    for assignment in plan.assignments:
        named = len(assignment.columns) < len(plan.columns) or len(plan.columns) == 1
        for column in (
            assignment.columns if named else ()
        ):  # all columns: which are needed is unknown
            if column not in df.columns:  # a look-up adds it later
                continue
            readers.setdefault(column, []).append(f"slice {assignment.name!r}")
    rows = check_rows(
        df, table, project.join_columns, readers, where, partition_by=project.partition_by
    )
    if project.check_key == "full":
        check_unique(df, table, project.join_columns)
    return rows


def _report(
    project: Project,
    plan: MaskPlan,
    spark: SparkSession,
    written: Written,
    facts: dict[str, Any],
    definitions: Mapping[str, str],
) -> None:
    """Commit the catalogue and the run's facts, print coverage and what was written."""
    masks = tables.read(spark, written.place)
    covered = coverage(masks.df, plan.ids, project.split)
    catalogue = records.catalogue_rows(plan.sfs, facts["slices"], definitions)
    stored = tables.upsert(
        spark.createDataFrame(catalogue, records.CATALOGUE.schema),
        project.place("slices"),
        records.CATALOGUE.key,
        records.CATALOGUE.changing,
    )
    counts = records.coverage_rows(covered, masks.rows_version, masks.identity, facts)
    kept = tables.upsert(
        spark.createDataFrame(counts, records.COVERAGE.schema),
        project.place("coverage"),
        records.COVERAGE.key,
        records.COVERAGE.changing,
    )
    _show_coverage(plan, covered)
    for table in (written, stored, kept):
        print(table)
    packed = read_masks(masks.df)
    if packed.layout is Layout.PACKED and masks.place.in_catalog:
        select = view_select(packed, masks.place)
        print(tables.create_view(spark, project.place("masks_view").text, select))
    elif packed.layout is Layout.PACKED:
        print("packed masks: --view prints the SELECT that shows each slice as a column")


def _show_coverage(plan: MaskPlan, covered: list[Coverage]) -> None:
    splits = list(dict.fromkeys(c.split for c in covered))
    by_slice: dict[str, list[Coverage]] = {}
    for c in covered:
        by_slice.setdefault(c.slice_id, []).append(c)
    rows = []
    for a in plan.assignments:
        mine = by_slice[a.slice_id]
        n_in, n_null = sum(c.n_in for c in mine), sum(c.n_null for c in mine)
        n = sum(c.rows for c in mine)
        rows.append([a.slice_id, str(a.tier), n_in, n_in / n, *(c.n_in for c in mine), n_null])
    columns = ["slice", "runs as", "rows in", "share", *map(split_name, splits), "undecided"]
    title = f"Coverage of {len(by_slice):,} slices over {n:,} rows"
    cli.show(title, columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        print(f"… and {len(rows) - SHOWN:,} more, in the coverage table\n")


def _tell_faults(counts: FaultCounts) -> None:
    for slice_id, n in counts.faults.items():
        if n:
            cli.log.warning(
                "slice %r failed on %s of %s rows", slice_id, f"{n:,}", f"{counts.rows:,}"
            )
    for example in counts.examples:
        cli.log.warning("  %s", example)


def _roles(project: Project, source: Snapshot) -> dict[str, str]:
    """Check the columns that the project names; return them with their roles."""
    roles = {
        "key": project.key,
        "split": [project.split] if project.split else [],
        "partition": project.partition_by,
        "carried": project.carry,
    }
    check_columns(source.df, source.name, roles)
    return {column: role for role, columns in roles.items() for column in columns}


def _columns(project: Project) -> list[str]:
    split = [project.split] if project.split else []
    return list(dict.fromkeys([*project.key, *split, *project.partition_by, *project.carry]))


def _facts(
    project: Project,
    form: TableForm,
    fingerprints: Mapping[str, str],
    source: Snapshot,
    where: str | None,
    stored: Snapshot | None,
) -> dict[str, Any]:
    """Return everything that decides the mask table's rows; kept as its commit's metadata."""
    read = read_again(stored.facts if stored else None, reading(source, where))
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
        "accepted": [project.on_error, project.max_error_rate, project.check_key, project.verify],
        "slices": dict(fingerprints),
    }


def _unknown(
    source: Snapshot, slices: project_slices.ProjectSlices, odd: Sequence[SlicingFunction]
) -> tuple[str, ...]:
    """Return why masks may be others though all facts are the same, a sentence for each cause."""
    of_tables = (*([source.unknown] if source.unknown else []), *slices.unknown)
    return (*of_tables, *(f"slice {sf.name!r} {why}" for sf in odd for why in unknowns(sf)))


def _explanation(project: Project, plan: MaskPlan, source: Snapshot, unknown: Sequence[str]) -> str:
    key = ", ".join(project.join_columns)
    unique = (
        f"({key}) is checked to be unique: one shuffle of these columns (check_key: off saves it)"
        if project.check_key == "full"
        else f"({key}) is not checked to be unique (check_key: off)"
    )
    known = f" ({source.known_by})" if source.known_by else ""
    again = [f"{why}: labelled again each time, and compared" for why in unknown]
    return "\n".join(
        [f"{source.name} version {source.version}{known}", str(plan.explain()), unique, *again]
    )


if __name__ == "__main__":
    sys.exit(main())
