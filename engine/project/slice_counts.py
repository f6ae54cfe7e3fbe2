"""What is left beside masks: the catalogue of slices, and how many rows each slice has."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from engine.label.plan import MaskPlan
from engine.masks.coverage import Coverage, coverage
from engine.masks.splits import by_split, split_name
from engine.project import quarantine
from engine.project.increments import SLICES
from engine.project.labelling import Labelling
from engine.project.run import Run
from engine.redaction import redacted
from engine.report.sections import Section
from engine.storage import tables
from engine.storage.few_rows import rows_with
from engine.storage.lineage import Snapshot, Written, deciding
from engine.storage.row_changes import row_changes
from engine.storage.upsert import local_rows

_CATALOGUE = (
    "id string, name string, description string, fingerprint string, kind string, "
    "changed_at timestamp, definition string, "
    "quarantined string"
)
_COVERAGE = (
    "mask_version string, run_ts timestamp, source_table string, source_version string, "
    "engine_version string, split string, slice string, slice_fingerprint string, "
    "n_rows long, n_in long, n_null long, mask_identity string"
)
_SHOWN = 100  # slices on the terminal


def write_counts(
    run: Run,
    labelling: Labelling,
    masks: Snapshot,
    facts: Mapping[str, Any],
    before: Snapshot | None,
) -> tuple[list[Coverage], list[Written]]:
    """Commit the catalogue and the rows of each slice; return the counts, and what was written.

    Of masks whose rows were counted before, the coverage table has the counts.

    Parameters
    ----------
    run, labelling
        The run, and what it labelled.
    masks
        The mask table.
    facts
        What decided its rows.
    before
        The mask table before, if there was one.
    """
    project, plan, spark = labelling.project, labelling.plan, run.spark
    now, prints = dt.datetime.now(dt.UTC), facts["slices"]
    definitions, quarantined = labelling.slices.definitions, quarantine.causes(masks)
    slices = [
        (
            sf.id, sf.name, redacted(sf.description), prints[sf.id], str(sf.kind), now,
            definitions.get(sf.id), quarantined.get(sf.id),
        )
        for sf in labelling.slices.sfs
    ]  # fmt: skip
    catalogue = run.upsert(
        local_rows(spark, slices, _CATALOGUE),
        project.place("slices"),
        ["id"],
        ["name", "description", "fingerprint", "kind", "definition", "quarantined"],
    )
    stored = run.runs.find(project.place("coverage"))
    if stored and (known := _known_counts(stored, masks, plan.ids)):
        return known, [catalogue, run.writes(tables.unchanged(stored))]
    counts = _counts_since(stored, masks, before, plan.ids, project.split)
    if counts is None:
        counts = _counts_of_edited(stored, masks, before, plan.ids, project.split)
    if counts is None:
        counts = coverage(masks.df, plan.ids, project.split)
    of = (facts["source"], facts["source_version"], facts["engine_version"])
    rows = [
        (
            masks.rows_version, now, *of, c.split, c.slice_id, prints[c.slice_id],
            c.rows, c.n_in, c.n_null, masks.identity,
        )
        for c in counts
    ]  # fmt: skip
    counted = run.upsert(
        local_rows(spark, rows, _COVERAGE),
        project.place("coverage"),
        ["mask_version", "split", "slice"],
        # Versions start again where a mask table was removed.
        ["mask_identity", "source_version", "slice_fingerprint", "n_rows", "n_in", "n_null"],
    )
    return counts, [catalogue, counted]


def _counts_since(
    stored: Snapshot | None,
    masks: Snapshot,
    before: Snapshot | None,
    ids: Sequence[str],
    split: str | None,
) -> list[Coverage] | None:
    """Return counts by those of an earlier version and of rows that changed; None where unknown.

    Parameters
    ----------
    stored
        The coverage table.
    masks, before
        The mask table now, and as it was.
    ids, split
        The slices, and the split column.
    """
    if stored is None or before is None:
        return None
    if any(before.facts.get(fact) != masks.facts.get(fact) for fact in ("slices", "columns")):
        return None  # other slices were counted, or by another split
    known, changes = _known_counts(stored, before, ids), row_changes(before.identity, masks)
    if not known or isinstance(changes, str):
        return None
    totals = {(c.slice_id, c.split): c for c in known}
    for sign, rows in ((1, changes.came), (-1, changes.gone)):
        for c in [] if rows is None else coverage(rows, ids, split):
            at = c.slice_id, c.split
            old = totals.get(at, Coverage(*at, 0, 0, 0))
            totals[at] = Coverage(
                *at, old.rows + sign * c.rows, old.n_in + sign * c.n_in,
                old.n_null + sign * c.n_null,
            )  # fmt: skip
    splits = by_split({(name,): name for _, name in totals if totals[ids[0], name].rows})
    return [totals[s, name] for s in ids for _, name in splits]


def _counts_of_edited(
    stored: Snapshot | None,
    masks: Snapshot,
    before: Snapshot | None,
    ids: Sequence[str],
    split: str | None,
) -> list[Coverage] | None:
    """Return counts of which those of slices that stayed are an earlier version's; or None.

    Of the same rows only the slices that changed are counted.

    Parameters
    ----------
    stored, masks, before, ids, split
        As :func:`_counts_since` takes them.
    """
    if stored is None or before is None:
        return None
    old, new = deciding(dict(before.facts)), deciding(dict(masks.facts))
    if {k for k in old.keys() | new.keys() if old.get(k) != new.get(k)} != {SLICES}:
        return None
    same = [s for s in ids if old[SLICES].get(s) == new[SLICES][s]]
    known = _known_counts(stored, before, same) if same else []
    if not known:
        return None
    changed = [s for s in ids if s not in same]
    counted = coverage(masks.df, changed, split) if changed else []
    counts = {(c.slice_id, c.split): c for c in (*known, *counted)}
    splits = by_split({(name,): None for _, name in counts})
    return [counts[s, name] for s in ids for (name,), _ in splits]


def _known_counts(stored: Snapshot, masks: Snapshot, ids: Sequence[str]) -> list[Coverage]:
    """Return what the coverage table has of a mask table; nothing where it lacks a slice."""
    if "mask_identity" not in stored.df.columns:  # an earlier version of the engine made it
        return []
    rows = rows_with(
        stored.df, ("slice", "split", "n_rows", "n_in", "n_null"), {"mask_identity": masks.identity}
    )
    counts = {(split, s): Coverage(s, split, *numbers) for s, split, *numbers in rows}
    splits = [split for (split,), _ in by_split({(split,): None for split, _ in counts})]
    whole = counts.keys() >= {(split, s) for split in splits for s in ids}
    return [counts[split, s] for s in ids for split in splits] if whole else []


def coverage_section(
    plan: MaskPlan,
    counts: Sequence[Coverage],
    quarantined: Mapping[str, str] = MappingProxyType({}),
) -> Section:
    """Arrange slices by where they run and how many rows they have, in all and by split."""
    splits = list(dict.fromkeys(c.split for c in counts))
    by_slice: dict[str, list[Coverage]] = {}
    for c in counts:
        by_slice.setdefault(c.slice_id, []).append(c)
    rows = []
    for a in plan.assignments:
        own = by_slice[a.slice_id]
        n_in, n_null, n = (sum(getattr(c, of) for c in own) for of in ("n_in", "n_null", "rows"))
        runs_as = "quarantine" if a.slice_id in quarantined else str(a.tier)
        rows.append([a.slice_id, runs_as, n_in, n_in / n, *(c.n_in for c in own), n_null])
    more = len(rows) - _SHOWN
    marks = "".join(f"{line}\n" for line in quarantine.lines(quarantined))
    return Section(
        f"Coverage of {len(by_slice):,} slices over {n:,} rows",
        ["slice", "runs as", "rows in", "share", *map(split_name, splits), "undecided"],
        rows[:_SHOWN],
        marks + (f"… and {more:,} more, in the coverage table\n" if more > 0 else ""),
    )
