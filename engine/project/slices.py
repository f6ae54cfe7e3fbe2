"""The slices of one project over its source: those of its files, and those its data tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.label.frequent_values import FoundValues, check_by, families, find_values
from engine.label.lookup_joins import check_lookups, marked, with_lookups
from engine.slicing.by_value import By, Pin, Slot, ValueSlice, family, name_of, value_slices
from engine.slicing.expr import Lookup
from engine.slicing.functions import SlicingFunction
from engine.slicing.lookups import versioned
from engine.slicing.slices import joined, key_tables
from engine.storage import tables
from engine.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from engine.project.config import Project

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProjectSlices:
    """A project's slices, ready to be compiled.

    Attributes
    ----------
    sfs
        The slices.
    schema
        The source's schema with the columns that look-ups add.
    definitions
        Slice id to what the catalogue keeps of a slice by value.
    keys
        Table of keys to the identity of what is looked up in.
    unknown
        Sentences that say why keys may be others though their tables' identities are the same.
    notes
        What a reader of the run should know.
    """

    sfs: tuple[SlicingFunction, ...]
    schema: StructType
    definitions: Mapping[str, str]
    keys: Mapping[str, str]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    _lookups: Sequence[Lookup]
    _tables: Mapping[str, DataFrame]

    def looked_up(self, df: DataFrame) -> DataFrame:
        """Return rows of the source with the columns that look-ups add."""
        return with_lookups(df, self._lookups, self._tables.__getitem__)


def load(project: Project, folders: Sequence[Path]) -> list[SlicingFunction]:
    """Load the slices of the project's files; what is wrong with them is said without Spark."""
    own = project.own_slices(folders)
    if not project.by:  # else a composition may name what only the data tell
        project.composed(own)
    return own


def resolve(
    project: Project,
    source: Snapshot,
    own: Sequence[SlicingFunction],
    repin: bool = False,
) -> ProjectSlices:
    """Return all slices of a project over its source.

    Values that slices are made of are looked for in the source once and then taken from the
    catalogue, so that the same slices are made of new data.

    Parameters
    ----------
    project
        The project.
    source
        Its source.
    own
        What :func:`load` returned.
    repin
        Whether to look for values again; new ones are added to those of the catalogue.

    Raises
    ------
    MissingColumnError, ValueTypeError, ValueMismatchError, LookupTypeError
        Before any Spark job.
    UnknownSliceError, CompositionCycleError, DuplicateSliceError
        If compositions can't be put together.
    """
    spark, schema = source.df.sparkSession, source.df.schema
    specs = [one.spec for one in project.by]
    notes = check_by(specs, schema)
    keys = {table: tables.read_source(spark, table) for table in key_tables(own)}
    frames = {table: snapshot.df for table, snapshot in keys.items()}
    check_lookups(own, schema, frames.__getitem__)
    versions = {table: snapshot.identity for table, snapshot in keys.items()}
    known = [versioned(sf, versions) for sf in own]
    composed = (s.composition for s in project.slices)
    taken = {*schema.names, *(one.id for one in (*own, *composed) if one is not None)}
    made, said = _by_value(project, source.df, specs, taken, repin)
    sfs = project.composed(known, [one.sf for one in made])
    lookups = joined(sfs)
    return ProjectSlices(
        sfs=tuple(sfs),
        schema=marked(schema, lookups),
        definitions={one.sf.id: one.definition for one in made},
        keys=versions,
        unknown=tuple(snapshot.unknown for snapshot in keys.values() if snapshot.unknown),
        notes=(*notes, *said),
        _lookups=lookups,
        _tables=frames,
    )


def _by_value(
    project: Project, df: DataFrame, specs: Sequence[By], taken: set[str], repin: bool
) -> tuple[list[ValueSlice], list[str]]:
    pinned = _pins(df.sparkSession, project) if specs else []
    pins = [_of(spec, pinned, families(spec, df.schema)) for spec in specs]
    wanted = [
        spec
        for spec, own in zip(specs, pins, strict=True)
        if spec.values is None and (repin or not _values(own))
    ]
    if wanted:
        _log.info("finding the values of %s", "; ".join(map(str, wanted)))
    found = dict(zip(wanted, find_values(df, wanted), strict=True))
    kept = [pin for pin in pinned if all(pin.columns != spec.columns for spec in specs)]
    used = taken | {pin.id for own in (kept, *pins) for pin in own}
    made: list[ValueSlice] = []
    for spec, own in zip(specs, pins, strict=True):
        values = _values(own) if spec.values is None else list(spec.values)
        new = found.get(spec, FoundValues()).values
        values += [cell for cell in new if cell not in values]
        made += value_slices(spec, values, own, used)
        used |= {one.sf.id for one in made}
    return made, [_told(spec, one, repin) for spec, one in found.items()]


def _pins(spark: SparkSession, project: Project) -> list[Pin]:
    """Return the slices by value that the catalogue has, in their order."""
    catalogue = tables.find(spark, project.place("slices"))
    if catalogue is None or "definition" not in catalogue.df.columns:
        return []
    rows = catalogue.df.where("definition is not null").select("id", "definition").collect()
    pins = (Pin.read(row["id"], row["definition"]) for row in rows)
    return sorted((pin for pin in pins if pin is not None), key=lambda pin: pin.position)


def _of(spec: By, pinned: Sequence[Pin], kinds: Sequence[str]) -> list[Pin]:
    """Return a spec's pins; values of another type than the column has now are none."""
    own = [pin for pin in pinned if pin.columns == spec.columns]
    return [
        pin
        for pin in own
        if all(family([v]) == k for v, k in zip(pin.slot.values, kinds, strict=False))
    ]


def _values(pins: Sequence[Pin]) -> list[tuple[object, ...]]:
    return [pin.slot.values for pin in pins if pin.slot.kind == "value"]


def _told(spec: By, found: FoundValues, repin: bool) -> str:
    """Say what was found, and what the cap left out."""
    n, left = found.n_values - len(found.values), found.rows - found.rows_of_values
    if not n:
        return f"by {spec}: each of {found.n_values:,} values has a slice"
    where = f"in {name_of(spec, Slot('other'))!r}" if spec.other else "in no slice"
    again = " and those pinned before" if repin else ""
    return (
        f"by {spec}: the {len(found.values):,} most frequent of {found.n_values:,} values{again} "
        f"have a slice (top: {spec.top:,}); {n:,} others, {left:,} rows or "
        f"{left / found.rows:.1%}, are {where}"
    )
