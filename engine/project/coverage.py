"""What a labelling leaves beside the masks: the slice catalogue, and each slice's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.label.plan import MaskPlan
from engine.masks.coverage import Coverage, coverage
from engine.masks.layout import Layout
from engine.masks.reader import read_masks, view_select
from engine.masks.splits import split_name
from engine.project import records
from engine.project.labelling import Labelling
from engine.report.sections import Section
from engine.storage import tables
from engine.storage.snapshot import Snapshot, Written
from engine.storage.upsert import local_rows, upsert

_SHOWN = 100  # slices on the terminal


def write(
    run: Labelling, masks: Snapshot, facts: Mapping[str, Any]
) -> tuple[list[Coverage], list[Written]]:
    """Commit the catalogue and the rows of each slice; return the counts, and what was written.

    Parameters
    ----------
    run
        What was labelled.
    masks
        The mask table.
    facts
        What decided its rows.
    """
    project, plan, spark = run.project, run.plan, masks.df.sparkSession
    counts = coverage(masks.df, plan.ids, project.split)
    catalogue = records.catalogue_rows(plan.sfs, facts["slices"], run.slices.definitions)
    rows = records.coverage_rows(counts, masks.rows_version, masks.identity, facts)
    written = [
        upsert(local_rows(spark, of, table.schema), project.place(name), table.key, table.changing)
        for name, table, of in (
            ("slices", records.CATALOGUE, catalogue),
            ("coverage", records.COVERAGE, rows),
        )
    ]
    return counts, written


def section(plan: MaskPlan, counts: Sequence[Coverage]) -> Section:
    """Arrange slices by where they run and how many rows they have, in all and by split."""
    splits = list(dict.fromkeys(c.split for c in counts))
    by_slice: dict[str, list[Coverage]] = {}
    for c in counts:
        by_slice.setdefault(c.slice_id, []).append(c)
    rows = []
    for a in plan.assignments:
        own = by_slice[a.slice_id]
        n_in, n_null, n = (sum(getattr(c, of) for c in own) for of in ("n_in", "n_null", "rows"))
        rows.append([a.slice_id, str(a.tier), n_in, n_in / n, *(c.n_in for c in own), n_null])
    more = len(rows) - _SHOWN
    return Section(
        f"Coverage of {len(by_slice):,} slices over {n:,} rows",
        ["slice", "runs as", "rows in", "share", *map(split_name, splits), "undecided"],
        rows[:_SHOWN],
        f"… and {more:,} more, in the coverage table" if more > 0 else "",
    )


def view_note(run: Labelling, masks: Snapshot) -> str | None:
    """Make the view of packed masks where there is a catalog; else say how it is made."""
    packed = read_masks(masks.df)
    if packed.layout is not Layout.PACKED:
        return None
    if not masks.place.in_catalog:
        return "packed masks: --view prints the SELECT that shows each slice as a column"
    select = view_select(packed, masks.place)
    return tables.create_view(masks.df.sparkSession, run.project.place("masks_view").text, select)
