"""The slices of one project over its source: those of its files, and those its data tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from engine.errors import ConfigError
from engine.label.frequent_values import FoundValues, check_by, families, find_values
from engine.label.lookup_joins import check_lookups, marked, with_lookups
from engine.project.group_settings import InlineSlice
from engine.project.settings import Project
from engine.project.sql_texts import check_slices, dated
from engine.slicing.by_value import By, Pin, Slot, ValueSlice, family, name_of, value_slices
from engine.slicing.compositions import Composition, compositions
from engine.slicing.discovery import load_slices
from engine.slicing.expr import Lookup
from engine.slicing.functions import SlicingFunction, where
from engine.slicing.ids import check_id, slug
from engine.slicing.lookups import lookup, versioned
from engine.slicing.slices import joined, key_tables
from engine.storage import tables
from engine.storage.lineage import Snapshot
from engine.storage.runs import Runs

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
    dated
        Whether the run's date decides a slice.
    """

    sfs: tuple[SlicingFunction, ...]
    schema: StructType
    definitions: Mapping[str, str]
    keys: Mapping[str, str]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    dated: bool
    _lookups: Sequence[Lookup]
    _tables: Mapping[str, DataFrame]

    @property
    def joins(self) -> bool:
        """Whether look-ups join other tables to the rows."""
        return bool(self._lookups)

    def looked_up(self, df: DataFrame) -> DataFrame:
        """Return rows of the source with the columns that look-ups add."""
        return with_lookups(df, self._lookups, self._tables.__getitem__)


def load(project: Project, folders: Sequence[Path] = ()) -> list[SlicingFunction]:
    """Load the slices of the project's files; say what is wrong with them without Spark.

    Those of modules come first, then the SQL predicates and look-ups.

    Parameters
    ----------
    project
        The project.
    folders
        Where modules are looked for.

    Raises
    ------
    InputError, SliceError
        If a module can't be imported, or has none; if a predicate isn't taken; if compositions
        can't be put together.
    ConfigError
        If the project has no slice at all.
    """
    check_slices(project)
    loaded = (sf for module in project.sf_modules for sf in load_slices(module, folders))
    own = list(dict.fromkeys(loaded))  # a module may import another one's
    own += [_slicing_function(one) for one in project.slices if not one.composed]
    if not (own or project.slices or project.by):
        raise ConfigError(project.name, "there is no slice: give sf_modules, slices or by")
    if not project.by:  # else a composition may name what only the data tell
        composed(project, own)
    return own


def composed(
    project: Project, own: Sequence[SlicingFunction], generated: Sequence[SlicingFunction] = ()
) -> list[SlicingFunction]:
    """Return all slices: own, those composed of the others, by value.

    Raises
    ------
    SliceError
        If compositions can't be put together.
    """
    return [*own, *compositions(_compositions(project), [*own, *generated]), *generated]


def _compositions(project: Project) -> list[Composition]:
    return [
        Composition(
            one.name,
            one.where or "",
            slug(one.name) if one.id is None else check_id(one.name, one.id),
            one.where or "" if one.description is None else one.description,
        )
        for one in project.slices
        if one.composed
    ]


def _slicing_function(inline: InlineSlice) -> SlicingFunction:
    """Return a slice that isn't composed of others."""
    about, keys = {"id": inline.id, "description": inline.description}, inline.lookup
    if keys is None:
        return where(inline.name, inline.where or "", **about)
    return lookup(
        inline.name,
        keys.column,
        keys.keys,
        table=keys.table or keys.file,
        key_column=keys.key_column,
        how=keys.how,
        **about,
    )


def resolve(
    project: Project,
    source: Snapshot,
    own: Sequence[SlicingFunction],
    runs: Runs,
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
    runs
        The project's tables as they count.
    repin
        Whether to look for values again; new ones are added to those of the catalogue.

    Raises
    ------
    ColumnError, SliceError
        Before any Spark job.
    SliceError
        If compositions can't be put together.
    """
    spark, schema = source.df.sparkSession, source.df.schema
    specs = [one.spec for one in project.by]
    notes = check_by(specs, schema)
    keys = {table: tables.read_source(spark, table) for table in key_tables(own)}
    frames = {table: snapshot.df for table, snapshot in keys.items()}
    check_lookups(own, schema, frames.__getitem__)
    versions = {table: snapshot.identity for table, snapshot in keys.items()}
    of_now = [versioned(sf, versions) for sf in own]
    named = [dated(sf, project, schema.names) for sf in of_now]
    ids = {*schema.names, *(sf.id for sf in own), *(c.id for c in _compositions(project))}
    generated, counts = _by_value(project, source.df, specs, ids, runs, repin)
    sfs = composed(project, named, [one.sf for one in generated])
    lookups = joined(sfs)
    return ProjectSlices(
        sfs=tuple(sfs),
        schema=marked(schema, lookups),
        definitions={one.sf.id: one.definition for one in generated},
        keys=versions,
        unknown=tuple(snapshot.unknown for snapshot in keys.values() if snapshot.unknown),
        notes=(*notes, *counts),
        dated=any(new is not sf for new, sf in zip(named, of_now, strict=True)),
        _lookups=lookups,
        _tables=frames,
    )


def _by_value(
    project: Project,
    df: DataFrame,
    specs: Sequence[By],
    ids: set[str],
    runs: Runs,
    repin: bool,
) -> tuple[list[ValueSlice], list[str]]:
    """Return the slices by value, and a note on each column whose values were looked for."""
    pinned = _pins(runs, project) if specs else []
    pins = [_of(spec, pinned, families(spec, df.schema)) for spec in specs]
    unpinned = [
        spec
        for spec, own in zip(specs, pins, strict=True)
        if spec.values is None and (repin or not _values(own))
    ]
    if unpinned:
        _log.info("finding the values of %s", "; ".join(map(str, unpinned)))
    frequent = dict(zip(unpinned, find_values(df, unpinned), strict=True))
    elsewhere = [pin for pin in pinned if all(pin.columns != spec.columns for spec in specs)]
    used = ids | {pin.id for own in (elsewhere, *pins) for pin in own}
    slices: list[ValueSlice] = []
    for spec, own in zip(specs, pins, strict=True):
        values = _values(own) if spec.values is None else list(spec.values)
        values += [c for c in frequent.get(spec, FoundValues()).values if c not in values]
        slices += value_slices(spec, values, own, used)
        used |= {one.sf.id for one in slices}
    return slices, [_note(spec, one, repin) for spec, one in frequent.items()]


def _pins(runs: Runs, project: Project) -> list[Pin]:
    """Return the slices by value that the catalogue has, in their order."""
    catalogue = runs.find(project.place("slices"))
    if catalogue is None or "definition" not in catalogue.df.columns:
        return []
    rows = catalogue.df.where("definition is not null").select("id", "definition").collect()
    pins = (Pin.read(row["id"], row["definition"]) for row in rows)
    return sorted((pin for pin in pins if pin is not None), key=lambda pin: pin.position)


def _of(spec: By, pinned: Sequence[Pin], kinds: Sequence[str]) -> list[Pin]:
    """Return a spec's pins; values of another type than the column has now are none."""
    return [
        pin
        for pin in pinned
        if pin.columns == spec.columns
        and all(family([v]) == k for v, k in zip(pin.slot.values, kinds, strict=False))
    ]


def _values(pins: Sequence[Pin]) -> list[tuple[object, ...]]:
    return [pin.slot.values for pin in pins if pin.slot.kind == "value"]


def _note(spec: By, values: FoundValues, repin: bool) -> str:
    """Say how many values there are, and what the cap leaves out."""
    n, left = values.n_values - len(values.values), values.rows - values.rows_of_values
    if not n:
        return f"by {spec}: each of {values.n_values:,} values has a slice"
    where = f"in {name_of(spec, Slot('other'))!r}" if spec.other else "in no slice"
    again = " and those pinned before" if repin else ""
    return (
        f"by {spec}: the {len(values.values):,} most frequent of {values.n_values:,} values{again} "
        f"have a slice (top: {spec.top:,}); {n:,} others, {left:,} rows or "
        f"{left / values.rows:.1%}, are {where}"
    )
