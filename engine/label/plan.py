"""Slicing functions compiled to a MaskPlan: which runs where, and why."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import StructType

from engine.arguments import entries, mapping
from engine.arrow.collected import crossing, decoder
from engine.arrow.columns import LOCAL, Local, kinds_of, names_of, places_of
from engine.compile.catalyst import Native, translated, unreadable_columns
from engine.compile.tiers import (
    MOST_EXPRESSIONS,
    TIERS,
    Candidate,
    Tier,
    candidate,
    chosen,
    with_spark,
)
from engine.errors import (
    ArgumentError,
    InputError,
    SliceError,
    listed,
    missing_column,
    near,
)
from engine.garbage import fewer_collections
from engine.label.local import applied, mask_codes
from engine.label.lookup_joins import marked, with_own_lookups
from engine.label.placement import Placement
from engine.label.predicates import check_predicates, predicate
from engine.masks.checks import quoted
from engine.masks.coverage import Coverage, coverage
from engine.masks.layout import (
    Layout,
    StoredSlice,
    TableForm,
    bit_sql,
    described_mask,
    table_form,
    unmarked,
)
from engine.masks.splits import ALL
from engine.plain import plain
from engine.run.faults import named_fault, stop_at_fault
from engine.run.ship import check_picklable
from engine.run.udf import FAULTS, fused_udf, word_names
from engine.slicing.compositions import with_parts
from engine.slicing.evaluate import combined
from engine.slicing.expr import FEW
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.functions import SlicingFunction, functions
from engine.slicing.ids import check_ids
from engine.slicing.slices import SliceKind, check_local, joined
from engine.storage.scanned import columns_read
from engine.storage.session import ZONE
from engine.words import WORD

log = logging.getLogger("engine")


@dataclass(frozen=True)
class MaskPlan(Placement):
    """Compiled slicing functions, ready for a table of one schema.

    Examples
    --------
    >>> from engine import slicing_function
    >>> @slicing_function()
    ... def short(x):
    ...     return len(x.text) < 20
    >>> plan = compile_slices([short], pa.schema({"text": pa.string(), "likes": pa.int64()}))
    >>> print(plan.explain())
    slice  runs as        us/row  why
    short  Arrow columns    0.03  lt(len(text), 20)
    1 of 1 slices share one Arrow UDF; columns crossing to Python, once each: text
    >>> plan.apply(pa.table({"text": ["hello", None], "likes": [1, 2]}))["short"].to_pylist()
    [True, None]
    """

    def apply(self, df: Any, keep: Sequence[str] | None = None) -> Any:
        """Return a table with a BOOLEAN column per slice, which evaluate and overlap know as one.

        Parameters
        ----------
        df
            A Spark DataFrame (then nothing runs yet), a pandas DataFrame, or a pyarrow Table or
            RecordBatch.
        keep
            Columns of ``df`` to keep beside the masks; all by default.

        Raises
        ------
        SliceError
            If a slice's id is also the name of a kept column.
        SliceFaultError
            If a function fails on a row of a pandas or pyarrow table.
        SliceError
            If a slice can run in Spark alone, and the table is not Spark's.

        Notes
        -----
        A row of a Spark DataFrame on which a function fails stops the Spark job: what ends in
        ``.collect()`` raises pyspark's error then, with the sentence of a SliceFaultError in it. A
        SQL predicate or a Column that fails is Spark's own: the message has the value, and the
        predicate with the slice's id, but not the row. Where rows may be such, write
        ``try_cast``, ``try_divide`` and the like, which give null.
        """
        local = is_local(df)
        if keep is not None:
            keep = entries("MaskPlan.apply", "keep", keep, "a list of columns")
            for column in () if local else keep:
                if column not in df.columns:
                    raise missing_column("keep of MaskPlan.apply", str(column), df.columns)
        if local:
            return applied(self, df, keep)
        columns = list(df.columns if keep is None else keep)
        check_ids(self.sfs, dict.fromkeys(columns, "table"))
        masked = self.with_faults(with_own_lookups(df, self.sfs)[0])
        masked = stop_at_fault(masked, columns[:1] if keep is None else columns, self.native_faults)
        # Whatever reads masks finds them by these.
        marks = (
            described_mask(mask, StoredSlice(sf.id, sf.name, fingerprint(sf, ZONE)))
            for mask, sf in zip(self.mask_columns(), self.sfs, strict=True)
        )
        return masked.select(*(quoted(c) for c in columns), *marks)

    def coverage(self, df: Any) -> list[Coverage]:
        """Count each slice's rows, in one pass; see :meth:`apply` for tables and errors.

        Examples
        --------
        >>> from engine import SlicingFunction
        >>> few = SlicingFunction("few", lambda x: x.n < 2)
        >>> plan = compile_slices([few], pa.schema({"n": pa.int8()}))
        >>> found, = plan.coverage(pa.table({"n": pa.array([1, 5, None], pa.int8())}))
        >>> found.rows, found.n_in, found.n_null
        (3, 1, 1)
        """
        if is_local(df):
            return [
                Coverage(s, ALL, len(df), int((codes == 1).sum()), int((codes == -1).sum()))
                for s, codes in mask_codes(self, df).items()
            ]
        form = table_form([], self.sfs, dict.fromkeys(self.ids, ""), "auto", None, "")
        masked = self.with_faults(with_own_lookups(df, self.sfs)[0], form.places)
        masked = stop_at_fault(masked, df.columns[:1], self.native_faults)
        return coverage(self.rows(masked, form), self.ids, None)

    def rows(self, masked: DataFrame, form: TableForm) -> DataFrame:
        """Return a mask table's rows, of rows with this plan's faults for ``form.places``."""
        if form.layout is Layout.BOOLEAN:
            return form.rows(masked, self.mask_columns())
        words = self.word_columns(form.bits.at, form.bits.words)
        return form.rows_of(
            masked.select(*unmarked(masked, form.columns), *words), form.bits.columns
        )

    def udf_bits(self, bits: Mapping[str, int] | None) -> dict[str, int]:
        """Return the bit of each slice that the UDF gives: those in ``bits``, then others."""
        wanted = {s: i for i, s in enumerate(self.ids)} if bits is None else dict(bits)
        inside = set(self._kernel_ids)
        places = {s: b for s, b in wanted.items() if s in inside}
        needed = {p for s, parts in self._needed.items() if s not in inside for p in parts}
        free = max(wanted.values(), default=-1) + 1
        extra = sorted(needed & inside - places.keys())
        return places | {s: bit for bit, s in enumerate(extra, free)}

    @functools.cached_property
    def _native(self) -> Mapping[str, Native]:
        """Slices with a tree that run in Spark."""
        native = [s for s, tier in self.tiers.items()
                  if tier is Tier.SPARK and s in self.all_sfs
                  and self.candidates[s].tree is not None]  # fmt: skip
        if not native:
            return {}
        assert self.schema is not None  # there is Spark
        return {s: translated(self._tree(s), self.schema) for s in native}

    @property
    def native_faults(self) -> Mapping[str, SparkColumn]:
        """Slice id to the faults of a slice that Spark runs; see :class:`Native`."""
        failing = {s: n.fault for s, n in self._native.items() if n.fault is not None}
        return {s: named_fault(self.all_sfs[s], F.expr(fault)) for s, fault in failing.items()}

    @property
    def failing(self) -> tuple[SlicingFunction, ...]:
        """The slices that can fail on a row."""
        inside = {*self._kernel_ids, *self.native_faults}
        return tuple(sf for s, sf in self.all_sfs.items() if s in inside)

    def with_faults(
        self,
        df: DataFrame,
        bits: Mapping[str, int] | None = None,
        more: Mapping[str, SparkColumn] = MappingProxyType({}),
    ) -> DataFrame:
        """Return ``df`` with one struct column: words of masks, and the faults of each row.

        Where Spark runs slices too, there are also columns that say which values are unreadable.

        Parameters
        ----------
        df
            A table with this plan's columns.
        bits
            Slice id to its bit; in the order of the slices by default.
        more
            Further columns: UDFs among them go with ours to one worker.
        """
        df = self.with_unreadable(df)
        if self._kernel_ids:
            udf = fused_udf(self.kernel, self.crossing, self.udf_bits(bits), self.limits)
            inputs = [self.input(c) for c in self.crossing] or [F.lit(True)]
            more = {FAULTS: udf(*inputs), **more}
        return df.withColumns(dict(more)) if more else df

    def with_unreadable(self, df: DataFrame) -> DataFrame:
        """Return ``df`` with columns that say which values slices that Spark runs can't read."""
        if not self._native or self.schema is None:
            return df
        unreadable = unreadable_columns(map(self._tree, self._native), self.schema)
        return df.withColumns({name: F.expr(sql) for name, sql in unreadable.items()})

    def columns_of_spark(self, df: DataFrame) -> frozenset[str] | None:
        """Return the columns of a table that slices which Spark runs need; as ``columns_read``."""
        ids = [s for s in self.all_sfs if self.tiers[s] is Tier.SPARK]
        written = [predicate(self.all_sfs[s]) for s in ids if self.candidates[s].tree is None]
        read = columns_read(df.select(*written)) if written else frozenset()
        lifted = (self.candidates[s].columns for s in ids if self.candidates[s].tree is not None)
        return None if read is None else read.union(*lifted)

    def input(self, column: str) -> SparkColumn:
        """Return a column as it crosses to Python."""
        if self.schema is None:
            return quoted(column)
        return crossing(quoted(column), self.schema[column].dataType)

    def mask_columns(self) -> list[SparkColumn]:
        """Return one BOOLEAN Column per slice, over what :meth:`with_faults` returned."""
        masks: dict[str, SparkColumn] = {}
        places = self.udf_bits(None)
        return [self._mask_column(s, places, masks).cast("boolean").alias(s) for s in self.ids]

    @staticmethod
    def word_names(bits: Mapping[str, int], n_words: int | None = None) -> list[str]:
        """Return the names of what :meth:`word_columns` returns."""
        return word_names(bits, n_words)

    def word_columns(
        self,
        bits: Mapping[str, int],
        n_words: int | None = None,
        of: Collection[str] | None = None,
    ) -> list[SparkColumn]:
        """Return ``in_0…, null_0…`` BIGINT Columns, over what :meth:`with_faults` returned.

        Parameters
        ----------
        bits
            Slice id to its bit: bit ``i % 64`` of word ``i // 64``.
        n_words
            How many words; by default as many as the bits need.
        of
            The slices whose bits are looked at, of those that Spark runs; by default all.
        """
        places = self.udf_bits(bits)
        masks: dict[str, SparkColumn] = {}
        of_udf = self.word_names(places)
        words = {
            name: [F.col(f"{FAULTS}.{name}")] if name in of_udf else []
            for name in self.word_names(bits, n_words)
        }
        for s in bits if of is None else of:
            if s in self.all_sfs and s not in places:
                mask, (k, b) = self._mask_column(s, places, masks), divmod(bits[s], WORD)
                one = F.lit((1 << b) - ((b == WORD - 1) << WORD)).cast("long")  # the last: sign
                words[f"in_{k}"].append(F.when(mask, one).otherwise(F.lit(0).cast("long")))
                words[f"null_{k}"].append(F.when(mask.isNull(), one).otherwise(0))
        return [
            functools.reduce(lambda a, b: a.bitwiseOR(b), parts, F.lit(0).cast("long")).alias(name)
            for name, parts in words.items()
        ]

    def _mask_column(
        self, slice_id: str, places: Mapping[str, int], masks: dict[str, SparkColumn]
    ) -> SparkColumn:
        if slice_id not in masks:
            if slice_id in places:
                # As text it is one call to the JVM; as Columns, 2,000 slices would take seconds.
                masks[slice_id] = F.expr(bit_sql(places[slice_id], f"{FAULTS}."))
            elif self.tiers[slice_id] is Tier.MASKS:
                masks[slice_id] = combined(
                    self._tree(slice_id), lambda s: self._mask_column(s, places, masks)
                )
            elif self.candidates[slice_id].tree is not None:
                masks[slice_id] = F.expr(self._native[slice_id].mask)
            else:
                masks[slice_id] = predicate(self.all_sfs[slice_id])
        return masks[slice_id]


@fewer_collections()
def compile_slices(
    sfs: Sequence[SlicingFunction],
    schema: StructType | pa.Schema | Local,
    reserved: Mapping[str, str] | None = None,
    *,
    tier: str | None = None,
    tiers: Mapping[str, str] | None = None,
) -> MaskPlan:
    """Compile slicing functions for a table of this schema; runs nothing on Spark.

    Row functions are lifted from their source where that is possible, and each slice gets the
    cheapest tier that gives what calling the function on each row gives.

    Parameters
    ----------
    sfs
        Slicing functions of any form.
    schema
        The table's schema: Spark's or pyarrow's, or a table of pandas or pyarrow.
    reserved
        Column names that no slice id may take, with the role of each.
    tier
        ``spark``, ``arrow``, ``pandas`` or ``row``: where all slices that may run in it do; by
        default each is where it is cheapest.
    tiers
        Slice id to the tier that it must run in.

    Raises
    ------
    SliceError
        If an id can't be a mask column.
    ColumnError
        If a function reads a column that the schema doesn't have.
    SliceError
        If a function uses a regex that doesn't compile.
        If a SQL predicate or Column isn't a BOOLEAN over the schema (checked where a Spark
        session is active).
        If a slice can't run in the tier that it must.
        If a Python function can't be sent to executors.
    """
    sfs = functions("compile_slices", sfs)
    _check_settings(reserved, tier, tiers)
    check_ids(sfs, reserved)
    everything = {sf.id: sf for sf in with_parts(sfs)}
    spark_schema = session = None
    if isinstance(schema, StructType):
        new = [node for node in joined(sfs) if node.marker not in schema.names]
        spark_schema = schema = marked(schema, new)
        session = SparkSession.getActiveSession()
    else:
        check_local(sfs)
    kinds, few = _kinds(schema), math.inf if spark_schema is None else FEW
    candidates = {s: candidate(sf, list(kinds), kinds, few) for s, sf in everything.items()}
    must = _named(tiers or {}, candidates)
    may = _named({} if tier is None else dict.fromkeys(candidates, tier), candidates)
    if spark_schema is not None and session is not None:
        lifted = [s for s, c in candidates.items() if c.tree is not None]
        in_spark = {s for s in lifted if Tier.SPARK in (must.get(s), may.get(s))}
        for s in lifted if len(lifted) <= MOST_EXPRESSIONS else in_spark:
            candidates[s] = with_spark(candidates[s], spark_schema)
    if plain():  # fast paths are off
        may, must = may | must, {}
    forced = {s: t for s, t in may.items() if t in candidates[s].costs} | must
    where = dict(zip(everything, chosen(list(candidates.values()), kinds, forced), strict=True))
    fields = () if spark_schema is None else spark_schema.fields
    decoders = {f.name: decode for f in fields if (decode := decoder(f.dataType)) is not None}
    plan = MaskPlan(
        tuple(sfs), tuple(kinds), kinds, spark_schema, everything, candidates, where, decoders,
        frozenset(forced),
    )  # fmt: skip
    for a in plan.assignments:
        for note in a.notes:
            log.warning("slice %r %s", a.name, note)
    if spark_schema is None:
        places_of(names_of(schema), plan.crossing)
        return plan
    check_picklable(plan.python_sfs)
    if session is not None:
        native = [sf for sf in everything.values() if sf.kind in (SliceKind.SQL, SliceKind.COLUMN)]
        check_predicates(native, spark_schema, session)
    return plan


def _check_settings(reserved: Any, tier: Any, tiers: Any) -> None:
    if reserved is not None:
        mapping("compile_slices", "reserved", reserved, "a dict of roles by column")
    if tiers is not None:
        mapping("compile_slices", "tiers", tiers, "a dict of tiers by slice id")
    if tier is not None:
        _check_tier(tier)


def _check_tier(name: Any) -> None:
    if not isinstance(name, str):
        raise ArgumentError("compile_slices", "tier", f"one of {listed(list(TIERS))}", name)
    if name not in TIERS:
        raise SliceError(f"there is no tier {name!r}{near(name, TIERS)}")


def _named(names: Mapping[str, str], candidates: Mapping[str, Candidate]) -> dict[str, Tier]:
    for slice_id, name in names.items():
        if slice_id not in candidates:
            raise SliceError(
                f"there is no slice {str(slice_id)!r}{near(str(slice_id), candidates)}"
            )
        _check_tier(name)
    return {s: TIERS[name] for s, name in names.items()}


def _kinds(schema: Any) -> dict[str, pa.DataType]:
    """Return each column's Arrow type; the null type for one that has none."""
    if isinstance(schema, pa.Schema | pa.Table | pa.RecordBatch | pd.DataFrame):
        return kinds_of(schema)
    if not isinstance(schema, StructType):
        wanted = f"the schema of a Spark DataFrame, a pyarrow Schema, {LOCAL}"
        raise InputError(
            f"the schema to compile slices for is of type {type(schema).__name__}; give {wanted}"
        )
    # A vector or an interval, say: rows have it, whole columns don't.
    whole = {f.name: f.dataType for f in schema if decoder(f.dataType) is None}
    return {c: to_arrow_type(whole[c]) if c in whole else pa.null() for c in schema.names}


def is_local(df: Any) -> bool:
    """Tell a table of pandas or pyarrow from one of Spark, and refuse what is neither."""
    if not isinstance(df, pa.Table | pa.RecordBatch | pd.DataFrame | DataFrame):
        raise InputError(
            f"the table is of type {type(df).__name__}; give a Spark DataFrame, {LOCAL}"
        )
    return not isinstance(df, DataFrame)
