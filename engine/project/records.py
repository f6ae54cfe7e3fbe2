"""What runs leave behind: the rows of the catalogue, coverage and metrics tables."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from engine.metrics.inference.figures import SURE_COLUMNS
from engine.metrics.schema import KEY, SCHEMA
from engine.slicing.functions import SlicingFunction

if TYPE_CHECKING:
    from engine.masks.coverage import Coverage

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Records:
    """A table of records: its Spark schema, the columns that name a row, those that may change."""

    schema: str
    key: tuple[str, ...]
    changing: tuple[str, ...] = ()


CATALOGUE = Records(
    "id string, name string, description string, fingerprint string, kind string, "
    "changed_at timestamp, definition string",
    key=("id",),
    changing=("name", "description", "fingerprint", "kind", "definition"),
)
COVERAGE = Records(
    "mask_version string, run_ts timestamp, source_table string, source_version string, "
    "engine_version string, split string, slice string, slice_fingerprint string, "
    "n_rows long, n_in long, n_null long, mask_identity string",
    key=("mask_version", "split", "slice"),
    # Versions start again where a mask table was removed.
    changing=(
        "mask_identity",
        "source_version",
        "slice_fingerprint",
        "n_rows",
        "n_in",
        "n_null",
    ),
)
METRICS = Records(SCHEMA, key=KEY)


def now() -> dt.datetime:
    """Return the time of a run, in UTC."""
    return dt.datetime.now(dt.UTC)


def run_id(decides: Mapping[str, Any]) -> str:
    """Return a run's id: a hash of everything that decides its figures.

    Examples
    --------
    >>> run_id({"masks": ["t", "1"], "seed": 0}) == run_id({"seed": 0, "masks": ["t", "1"]})
    True
    """
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def figures_digest(figures: pd.DataFrame) -> str:
    """Return a digest of figures, all their digits among them.

    Examples
    --------
    >>> one, other = pd.DataFrame({"value": [0.1 + 0.2]}), pd.DataFrame({"value": [0.3]})
    >>> figures_digest(one) == figures_digest(other)
    False
    """
    return hashlib.sha256(figures.to_csv(index=False, na_rep="null ").encode()).hexdigest()[:16]


def catalogue_rows(
    sfs: Sequence[SlicingFunction],
    fingerprints: Mapping[str, str],
    definitions: Mapping[str, str] | None = None,
) -> Rows:
    """Return the catalogue's rows of a run's slices.

    Parameters
    ----------
    sfs
        The slices.
    fingerprints
        Slice id to fingerprint.
    definitions
        Slice id to what the next run makes the slice of again; slices by value have one.
    """
    at, known = now(), definitions or {}
    return [
        (sf.id, sf.name, sf.description, fingerprints[sf.id], str(sf.kind), at, known.get(sf.id))
        for sf in sfs
    ]


def coverage_rows(
    covered: Sequence[Coverage], mask_version: str, mask_identity: str, facts: Mapping[str, Any]
) -> Rows:
    """Return the coverage table's rows of one version of the mask table."""
    about = (facts["source"], facts["source_version"], facts["engine_version"])
    start, prints = (mask_version, now(), *about), facts["slices"]
    return [
        (*start, c.split, s, prints[s], c.rows, c.n_in, c.n_null, mask_identity)
        for c in covered
        for s in (c.slice_id,)
    ]


def metrics_rows(
    figures: pd.DataFrame,
    run: str,
    mask_version: str,
    prediction_versions: Mapping[str, str],
    facts: Mapping[str, Any],
    stale: Mapping[str, int | None] | None = None,
) -> Rows:
    """Return the metrics table's rows of one run.

    Parameters
    ----------
    figures
        What :func:`engine.metrics.inference.uncertainty.with_uncertainty` returned.
    run
        The run's id.
    mask_version
        Version of the mask table.
    prediction_versions
        Model id to the version of its prediction table.
    facts
        The mask table's facts: source, source_version, slices.
    stale
        Model id to how many rows' masks and predictions are of different versions of the source;
        None where that isn't known.
    """
    at, prints = now(), facts.get("slices", {})
    about = (run, at, facts.get("source"), facts.get("source_version"), mask_version)
    rows: Rows = []
    for r in figures.to_dict("records"):
        numbers = ("value", *SURE_COLUMNS, "bound")
        value, *sure = (None if pd.isna(r[c]) else float(r[c]) for c in numbers)
        counts = (int(r["support"]), int(r["n_null"]), int(r["n_missing"]))
        which = (r["model_id"], r["split"], r["slice"], prints.get(r["slice"]))
        rows.append(
            (
                *about, prediction_versions[r["model_id"]], *which, r["metric"], r["class"],
                value, *counts, r["status"], *sure, (stale or {}).get(r["model_id"]),
            )
        )  # fmt: skip
    return rows
