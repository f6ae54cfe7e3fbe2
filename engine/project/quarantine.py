"""Slices that fail, and what a project does then: stop, leave rows undecided, or the slice out.

A slice in quarantine has a mask that is null on all rows, so that readers of the table find what
they expect, and nothing counts as in. The commit's facts and the catalogue say why.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from engine.errors import EngineError, FaultBudgetError, SliceError, near
from engine.metrics.formulas.states import QUARANTINED as METRIC_STATUS
from engine.project.settings import Project
from engine.run.faults import FaultCounts
from engine.slicing.functions import SlicingFunction, where
from engine.storage.lineage import QUARANTINED, Snapshot

FAIL, NULL, QUARANTINE = "fail", "null", "quarantine"
_NOBODY_KNOWS = "CAST(NULL AS BOOLEAN)"


def policies(project: Project, ids: Sequence[str]) -> dict[str, str]:
    """Return what is done at each slice's errors.

    Raises
    ------
    SliceError
        If ``on_errors`` names a slice that isn't there.
    """
    for slice_id in project.on_errors:
        if slice_id not in ids:
            raise SliceError(f"on_errors: there is no slice {slice_id!r}{near(slice_id, ids)}")
    return {s: project.on_errors.get(s, project.on_error) for s in ids}


def undecided(
    sfs: Sequence[SlicingFunction], quarantined: Mapping[str, str]
) -> list[SlicingFunction]:
    """Return slices of which those in quarantine are null on all rows, in compositions too.

    Examples
    --------
    >>> few = SlicingFunction("few", lambda x: x.n < 3)
    >>> [sf.sql for sf in undecided([few], {"few": "it takes for ever"})]
    ['CAST(NULL AS BOOLEAN)']
    """
    return [_undecided(sf, quarantined) for sf in sfs]


def _undecided(sf: SlicingFunction, quarantined: Mapping[str, str]) -> SlicingFunction:
    if sf.id in quarantined:
        return where(sf.name, _NOBODY_KNOWS, id=sf.id, description=sf.description)
    if not sf.parts.keys() & quarantined.keys():
        return sf
    other = copy.copy(sf)
    other.parts = {s: _undecided(part, quarantined) for s, part in sf.parts.items()}
    return other


class OverBudgetError(FaultBudgetError):
    """Slices that may be left out failed on more rows than max_error_rate allows.

    Attributes
    ----------
    causes
        Slice id to what is wrong with it.
    """

    def __init__(self, causes: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"slice {s!r} {cause}" for s, cause in causes.items()))
        self.slices, self.causes = tuple(causes), causes


def over_budget(
    over: Sequence[tuple[str, int, int]], budget: float, counts: FaultCounts
) -> OverBudgetError:
    """Return the error of slices with more faults than max_error_rate allows."""
    examples = {s: _example(s, counts) for s, _, _ in over}
    return OverBudgetError(
        {
            s: f"failed on {n:,} of {rows:,} rows, more than max_error_rate={budget:g} allows"
            f"{examples[s]}"
            for s, n, rows in over
        }
    )


def _example(slice_id: str, counts: FaultCounts) -> str:
    one = next(iter(counts.examples_of.get(slice_id, ())), "")
    return f": {one}" if one else ""


def why(error: EngineError, slice_id: str) -> str:
    """Return why a slice is left out, of the error that ended a run."""
    if isinstance(error, OverBudgetError):
        return error.causes[slice_id]
    return re.sub(r"^slice (['\"]).*?\1:? ", "", str(error).partition("; ")[0])


def causes(masks: Snapshot) -> Mapping[str, str]:
    """Return which slices of a mask table are in quarantine, and why."""
    known = masks.facts.get(QUARANTINED, {})
    return known if isinstance(known, Mapping) else {}


def marked(figures: pd.DataFrame, quarantined: Mapping[str, str]) -> pd.DataFrame:
    """Return figures in which those of slices in quarantine are none: no row is in one.

    A slice that is in quarantine in some partitions has its figures of the others.
    """
    here = figures["slice"].isin(list(quarantined)) & (figures["support"] == 0)
    none = np.where(here, np.nan, figures["value"])
    status = np.where(here, METRIC_STATUS, figures["status"])
    return figures.assign(value=none, status=status) if here.any() else figures


def lines(quarantined: Mapping[str, str]) -> list[str]:
    """Say which slices are in quarantine, a line each.

    Examples
    --------
    >>> lines({"few": "it takes for ever"})
    ["slice 'few' is in quarantine, its mask is null on all rows: it takes for ever"]
    """
    return [
        f"slice {s!r} is in quarantine, its mask is null on all rows: {cause}"
        for s, cause in quarantined.items()
    ]
