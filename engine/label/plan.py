"""Slicing functions compiled to a MaskPlan: which runs where, and why."""

from __future__ import annotations

import functools
import logging
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import BooleanType, DataType, StructType

from engine.arguments import entries, mapping, texts
from engine.arrow.collected import Decode, crossing, decoder
from engine.arrow.columns import LOCAL, Local, kinds_of, names_of, places_of
from engine.compile.catalyst import Native, translated, unreadable_columns
from engine.compile.combine import masks_needed
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
    MissingColumnError,
    NoSuchMaskError,
    PredicateError,
    SliceDepthError,
    TableTypeError,
    UnknownTierError,
    listed,
    near,
)
from engine.label.lookup_joins import marked, with_own_lookups
from engine.lift.notes import notes_on
from engine.masks.checks import quoted
from engine.masks.coverage import Coverage, coverage
from engine.masks.layout import Layout, StoredSlice, bit_sql, described_mask, unmarked
from engine.masks.table import TableForm, form_of
from engine.plain import SENTENCE, plain
from engine.run.faults import STACK, named_fault, named_sql, stop_at_fault
from engine.run.kernel import Kernel
from engine.run.ship import check_picklable
from engine.run.udf import FAULTS, fused_udf, words_of
from engine.slicing.compositions import with_parts
from engine.slicing.evaluate import of_row, wrong_return
from engine.slicing.expr import FEW, Call, Expr, Mask
from engine.slicing.fingerprint.identity import fingerprint, unknowns
from engine.slicing.functions import SlicingFunction, functions
from engine.slicing.ids import check_ids
from engine.slicing.slices import SliceKind, check_local, joined
from engine.storage.session import ZONE
from engine.words import WORD

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession


log = logging.getLogger("engine")

_AGAIN = "{}: it can't be known to be the same, so every run labels it again"
_PYTHON = (Tier.ARROW, Tier.PANDAS, Tier.ROW)
_KLEENE_IN_SPARK: Mapping[str, Callable[..., SparkColumn]] = {
    "kleene_and": lambda *masks: _balanced(operator.and_, masks),
    "kleene_or": lambda *masks: _balanced(operator.or_, masks),
    "kleene_not": lambda a: ~a,
}


def _balanced(
    run: Callable[[SparkColumn, SparkColumn], SparkColumn], masks: Sequence[SparkColumn]
) -> SparkColumn:
    """Combine masks two by two: Catalyst recurses, and a thousand in a row are too deep for it."""
    while len(masks) > 1:
        pairs = [run(a, b) for a, b in zip(masks[::2], masks[1::2], strict=False)]
        masks = [*pairs, *masks[len(pairs) * 2 :]]
    return masks[0]


@dataclass(frozen=True)
class Assignment:
    """One slice's place in the plan.

    Attributes
    ----------
    slice_id, name
        The slice.
    tier
        Where it runs.
    columns
        What crosses to Python for it; empty for a Spark expression.
    why
        One clause that says what the function was read as, or why it runs as Python.
    refused
        Tiers that would not give the same answer, with the reason.
    notes
        What its writer should know: randomness, a pattern that may take for ever.
    """

    slice_id: str
    name: str
    tier: Tier
    columns: tuple[str, ...]
    why: str
    refused: Mapping[Tier, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """A plan as data and as text (``str``).

    Attributes
    ----------
    slices
        An assignment per slice.
    crossing
        Columns that cross to Python.
    scans
        Column to how many texts and patterns are looked for in one scan of it, by method.
    plain
        Whether every fast path is off.
    """

    slices: tuple[Assignment, ...]
    crossing: tuple[str, ...]
    scans: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    plain: bool = False

    def __str__(self) -> str:
        rows = [("slice", "runs as", "why")]
        rows += [(a.slice_id, str(a.tier), a.why) for a in self.slices]
        widths = [max(len(r[i]) for r in rows) for i in range(2)]
        lines = [f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]}" for r in rows]
        python = sum(a.tier in _PYTHON for a in self.slices)
        if python:
            lines.append(
                f"{python} of {len(self.slices)} slices share one Arrow UDF; "
                f"columns crossing to Python, once each: {', '.join(self.crossing) or 'none'}"
            )
        else:
            lines.append("no column crosses to Python")
        for column, methods in self.scans.items():
            said = ", ".join(f"{n} by {how}" for how, n in methods.items())
            lines.append(f"searches in {column}, all in one pass: {said}")
        lines += [f"note: slice {a.name!r} {note}" for a in self.slices for note in a.notes]
        lines += [SENTENCE] if self.plain else []
        return "\n".join(lines)


@dataclass(frozen=True)
class MaskPlan:
    """Compiled slicing functions, ready for a table of one schema.

    Examples
    --------
    >>> from engine import slicing_function
    >>> @slicing_function()
    ... def short(x):
    ...     return len(x.text) < 20
    >>> plan = compile_slices([short], pa.schema({"text": pa.string(), "likes": pa.int64()}))
    >>> print(plan.explain())
    slice  runs as        why
    short  Arrow columns  lt(len(text), 20)
    1 of 1 slices share one Arrow UDF; columns crossing to Python, once each: text
    >>> plan.apply(pa.table({"text": ["hello", None], "likes": [1, 2]}))["short"].to_pylist()
    [True, None]
    """

    sfs: tuple[SlicingFunction, ...]
    columns: tuple[str, ...]
    kinds: Mapping[str, pa.DataType]
    schema: StructType | None
    all_sfs: Mapping[str, SlicingFunction]
    candidates: Mapping[str, Candidate]
    tiers: Mapping[str, Tier]

    @property
    def ids(self) -> tuple[str, ...]:
        """Mask column names, in the order of the slicing functions."""
        return tuple(sf.id for sf in self.sfs)

    @functools.cached_property
    def assignments(self) -> tuple[Assignment, ...]:
        """Each slice's place."""
        made, linear = [], self.kernel.linear
        for sf in self.sfs:
            c, tier = self.candidates[sf.id], self.tiers[sf.id]
            columns = c.columns if tier in _PYTHON else ()
            notes = tuple(notes_on(sf, c.tree, linear))
            made.append(Assignment(sf.id, sf.name, tier, columns, c.reads, c.refused, notes))
        return tuple(made)

    @functools.cached_property
    def crossing(self) -> tuple[str, ...]:
        """Columns that cross to Python, once each, in the table's order."""
        needed = {c for s in self._kernel_ids for c in self.candidates[s].columns}
        return tuple(c for c in self.columns if c in needed)

    @functools.cached_property
    def by_row(self) -> frozenset[str]:
        """Columns that something else than a function of Series reads in Python."""
        ids = (s for s in self._kernel_ids if self.tiers[s] is not Tier.PANDAS)
        return frozenset(c for s in ids for c in self.candidates[s].columns)

    @functools.cached_property
    def _kernel_ids(self) -> tuple[str, ...]:
        """Slices that the Arrow UDF computes: combinations too, if all that they need is there."""
        inside = {s for s in self.all_sfs if self.tiers[s] in _PYTHON}
        more = inside
        while more:  # a combination may be of combinations
            more = {s for s, parts in self._needed.items() if s not in inside and parts <= inside}
            inside |= more
        return tuple(s for s in self.all_sfs if s in inside)

    @functools.cached_property
    def _needed(self) -> Mapping[str, set[str]]:
        """Each combination's slices."""
        combined = (s for s in self.all_sfs if self.tiers[s] is Tier.MASKS)
        return {s: masks_needed(self._tree(s)) for s in combined}

    def _tree(self, slice_id: str) -> Expr:
        tree = self.candidates[slice_id].tree
        assert tree is not None  # a combination has one
        return tree

    @property
    def python_sfs(self) -> tuple[SlicingFunction, ...]:
        """The slicing functions that the Arrow UDF runs."""
        return tuple(self.all_sfs[s] for s in self._kernel_ids)

    @functools.cached_property
    def kernel(self) -> Kernel:
        """What executors run."""
        whole = (Tier.ARROW, Tier.MASKS)
        sfs = [sf if sf.expr is None else self._of_expression(sf) for sf in self.python_sfs]
        trees = {s: self._tree(s) for s in self._kernel_ids if self.tiers[s] in whole}
        kinds = {c: self.kinds[c] for c in self.crossing}
        decoders: dict[str, Decode] = {}
        for c in self.crossing if self.schema is not None else ():
            decode = decoder(self.schema[c].dataType)  # type: ignore[index]
            if decode is not None:
                decoders[c] = decode
        return Kernel(sfs, trees, kinds, decoders=decoders)

    def _of_expression(self, sf: SlicingFunction) -> SlicingFunction:
        """Return a slice that is its tree alone: keys that Spark joins needn't travel."""
        if self.tiers[sf.id] is Tier.ROW:
            f = functools.partial(of_row, self._tree(sf.id), parts={})
            return SlicingFunction(sf.name, f, id=sf.id)
        return SlicingFunction(sf.name, expr=Mask(sf.id), id=sf.id)

    def explain(self) -> Explanation:
        """Say which slice runs where, and why."""
        scans: dict[str, dict[str, int]] = {}
        for (column, _), how in self.kernel.methods.items():
            counted = scans.setdefault(column, {})
            counted[how] = counted.get(how, 0) + 1
        described = tuple(
            replace(a, notes=(*a.notes, *map(_AGAIN.format, unknowns(self.all_sfs[a.slice_id]))))
            for a in self.assignments
        )
        return Explanation(described, self.crossing, scans, plain())

    @property
    def lifted(self) -> tuple[str, ...]:
        """Row functions that don't run as Python: what can be compared with Python."""
        return tuple(
            s
            for s in self.ids
            if Tier.ROW in self.candidates[s].costs and self.tiers[s] is not Tier.ROW
        )

    def only(self, ids: Sequence[str]) -> MaskPlan:
        """Return the plan of some of its slices, none of them a combination."""
        for s in texts("MaskPlan.only", "ids", ids, "a list of slice ids"):
            if s not in self.all_sfs:
                raise NoSuchMaskError(s, self.ids, "the plan")
        sfs = tuple(self.all_sfs[s] for s in ids)
        return replace(self, sfs=sfs, all_sfs={sf.id: sf for sf in sfs})

    def as_python(self) -> MaskPlan:
        """Return the plan in which lifted row functions run as Python: what others must equal."""
        forced = {s: Tier.ROW for s, c in self.candidates.items() if Tier.ROW in c.costs}
        tiers = {s: forced.get(s, tier) for s, tier in self.tiers.items()}
        return replace(self, tiers=tiers)

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
        SliceIdError
            If a slice's id is also the name of a kept column.
        SliceFaultError
            If a function fails on a row of a pandas or pyarrow table.
        NeedsSparkError
            If a slice can run in Spark alone, and the table is not Spark's.

        Notes
        -----
        A row of a Spark DataFrame on which a function fails stops the Spark job: what ends in
        ``.collect()`` raises pyspark's error then, with the sentence of a SliceFaultError in it. A
        SQL predicate or a Column that fails is Spark's own: the message has the value, and the
        predicate with the slice's id, but not the row. Where rows may be such, write
        ``try_cast``, ``try_divide`` and the like, which give null.
        """
        local = _is_local(df)
        if keep is not None:
            keep = _columns("MaskPlan.apply", keep, None if local else df.columns)
        if local:
            from engine.label.local import applied

            return applied(self, df, keep)
        kept = list(df.columns if keep is None else keep)
        check_ids(self.sfs, dict.fromkeys(kept, "table"))
        masked = self.with_faults(with_own_lookups(df, self.sfs)[0])
        masked = stop_at_fault(masked, kept[:1] if keep is None else kept, self.native_faults)
        return masked.select(*(quoted(c) for c in kept), *self._marked())

    def _marked(self) -> list[SparkColumn]:
        """Return the masks with the marks by which whatever reads masks finds them."""
        return [
            described_mask(mask, StoredSlice(sf.id, sf.name, fingerprint(sf, ZONE)))
            for mask, sf in zip(self.mask_columns(), self.sfs, strict=True)
        ]

    def coverage(self, df: Any) -> list[Coverage]:
        """Count each slice's rows, in one pass; see :meth:`apply` for what is taken and raised.

        Examples
        --------
        >>> from engine import SlicingFunction
        >>> few = SlicingFunction("few", lambda x: x.n < 2)
        >>> plan = compile_slices([few], pa.schema({"n": pa.int8()}))
        >>> found, = plan.coverage(pa.table({"n": pa.array([1, 5, None], pa.int8())}))
        >>> found.rows, found.n_in, found.n_null
        (3, 1, 1)
        """
        if _is_local(df):
            from engine.label.local import counted

            return counted(self, df)
        form = form_of(self.sfs)
        masked = self.with_faults(with_own_lookups(df, self.sfs)[0], form.places)
        masked = stop_at_fault(masked, df.columns[:1], self.native_faults)
        return coverage(self.rows(masked, form), self.ids, None)

    def rows(self, masked: DataFrame, form: TableForm) -> DataFrame:
        """Return a mask table's rows, of rows with this plan's faults for ``form.places``."""
        if form.layout is Layout.BOOLEAN:
            return form.rows(masked, self.mask_columns())
        words = self.word_columns(form.bits.at, form.bits.words)
        return form.rows_of_words(masked.select(*unmarked(masked, form.columns), *words))

    def _bits(self, bits: Mapping[str, int] | None) -> dict[str, int]:
        """Return the bit of each slice that the UDF gives: as asked, others behind them."""
        given = dict(enumerate_ids(self.ids)) if bits is None else dict(bits)
        inside = set(self._kernel_ids)
        made = {s: b for s, b in given.items() if s in inside}
        needed = {p for s, parts in self._needed.items() if s not in inside for p in parts}
        free = max(given.values(), default=-1) + 1
        for extra in sorted(needed & inside - made.keys()):
            made[extra] = free
            free += 1
        return made

    @functools.cached_property
    def _native(self) -> Mapping[str, Native]:
        """Slices that are lifted, or made of an expression, and run in Spark."""
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
        return {s: named_fault(self.all_sfs[s], fault) for s, fault in failing.items()}

    @property
    def failing(self) -> tuple[SlicingFunction, ...]:
        """The slices that can fail on a row."""
        inside = {*self._kernel_ids, *self.native_faults}
        return tuple(sf for s, sf in self.all_sfs.items() if s in inside)

    def with_faults(self, df: DataFrame, bits: Mapping[str, int] | None = None) -> DataFrame:
        """Return ``df`` with one struct column: words of masks, and the faults of each row.

        Where Spark runs slices too, there are also columns that say which values are unreadable.

        Parameters
        ----------
        df
            A table with this plan's columns.
        bits
            Slice id to its bit; in the order of the slices by default.
        """
        if self._native and self.schema is not None:
            trees = [self._tree(s) for s in self._native]
            df = df.withColumns(unreadable_columns(trees, self.schema))
        if not self._kernel_ids:
            return df
        udf = fused_udf(self.kernel, self.crossing, self._bits(bits))
        inputs = [self._input(c) for c in self.crossing] or [F.lit(True)]
        return df.withColumn(FAULTS, udf(*inputs))

    def _input(self, column: str) -> SparkColumn:
        if self.schema is None:
            return quoted(column)
        return crossing(quoted(column), self.schema[column].dataType)

    def mask_columns(self, bits: Mapping[str, int] | None = None) -> list[SparkColumn]:
        """Return one BOOLEAN Column per slice, over what :meth:`with_faults` returned."""
        made: dict[str, SparkColumn] = {}
        places = self._bits(bits)
        return [self._mask_column(s, places, made).cast("boolean").alias(s) for s in self.ids]

    @staticmethod
    def word_names(bits: Mapping[str, int], n_words: int | None = None) -> list[str]:
        """Return the names of what :meth:`word_columns` returns."""
        n_words = words_of(bits) if n_words is None else n_words
        return [f"{kind}_{k}" for kind in ("in", "null") for k in range(n_words)]

    def word_columns(
        self, bits: Mapping[str, int], n_words: int | None = None
    ) -> list[SparkColumn]:
        """Return ``in_0…, null_0…`` BIGINT Columns, over what :meth:`with_faults` returned.

        Parameters
        ----------
        bits
            Slice id to its bit: bit ``i % 64`` of word ``i // 64``.
        n_words
            How many words; by default as many as the bits need.
        """
        places = self._bits(bits)
        made: dict[str, SparkColumn] = {}
        words: dict[str, list[SparkColumn]] = {name: [] for name in self.word_names(bits, n_words)}
        for name in {f"{kind}_{k}" for kind in ("in", "null") for k in range(words_of(places))}:
            if name in words:
                words[name].append(F.col(f"{FAULTS}.{name}"))
        for s in bits:
            if s in self.all_sfs and s not in places:
                mask, (k, b) = self._mask_column(s, places, made), divmod(bits[s], WORD)
                one = F.lit((1 << b) - ((b == WORD - 1) << WORD)).cast("long")  # the last: sign
                words[f"in_{k}"].append(F.when(mask, one).otherwise(F.lit(0).cast("long")))
                words[f"null_{k}"].append(F.when(mask.isNull(), one).otherwise(0))
        nothing = F.lit(0).cast("long")
        return [
            functools.reduce(lambda a, b: a.bitwiseOR(b), parts, nothing).alias(name)
            for name, parts in words.items()
        ]

    def _mask_column(
        self, slice_id: str, places: Mapping[str, int], made: dict[str, SparkColumn]
    ) -> SparkColumn:
        if slice_id not in made:
            if slice_id in places:
                made[slice_id] = _bit(places[slice_id])
            elif self.tiers[slice_id] is Tier.MASKS:
                made[slice_id] = self._combined(self._tree(slice_id), places, made)
            elif self.candidates[slice_id].tree is not None:
                made[slice_id] = self._native[slice_id].mask
            else:
                made[slice_id] = _native(self.all_sfs[slice_id])
        return made[slice_id]

    def _combined(
        self, tree: Expr, places: Mapping[str, int], made: dict[str, SparkColumn]
    ) -> SparkColumn:
        found: dict[Expr, SparkColumn] = {}
        for node in tree.walk():
            if isinstance(node, Mask):
                found[node] = self._mask_column(node.slice_id, places, made)
            else:
                assert isinstance(node, Call)  # a combination is of masks
                found[node] = _KLEENE_IN_SPARK[node.op](*(found[part] for part in node.args))
        return found[tree]


def enumerate_ids(ids: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Yield (slice id, position)."""
    return ((s, i) for i, s in enumerate(ids))


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
    SliceIdError, DuplicateSliceError
        If an id can't be a mask column.
    MissingColumnError
        If a function reads a column that the schema doesn't have.
    SlicePatternError
        If a function uses a regex that doesn't compile.
    PredicateError
        If a SQL predicate or Column isn't a BOOLEAN over the schema (checked where a Spark
        session is active).
    TierError, UnknownTierError
        If a slice can't run in the tier that it must.
    UnpicklableSliceError
        If a Python function can't be sent to executors.
    """
    sfs = functions("compile_slices", sfs)
    _check_settings(reserved, tier, tiers)
    check_ids(sfs, reserved)
    everything = {sf.id: sf for sf in with_parts(sfs)}
    spark_schema = None
    if isinstance(schema, StructType):
        new = [node for node in joined(sfs) if node.marker not in schema.names]
        spark_schema = schema = marked(schema, new)
    else:
        check_local(sfs)
    kinds, columns = (
        _kinds(schema),
        names_of(schema) if spark_schema is None else spark_schema.names,
    )
    candidates = {
        s: candidate(sf, list(kinds), kinds, FEW if spark_schema is not None else math.inf)
        for s, sf in everything.items()
    }
    must, may = (
        _named(tiers or {}, candidates),
        _named({} if tier is None else dict.fromkeys(candidates, tier), candidates),
    )
    session = _session() if spark_schema is not None else None
    if spark_schema is not None and session is not None:
        lifted = [s for s, c in candidates.items() if c.tree is not None]
        asked = {s for s in lifted if Tier.SPARK in (must.get(s), may.get(s))}
        for s in lifted if len(lifted) <= MOST_EXPRESSIONS else asked:
            candidates[s] = with_spark(candidates[s], spark_schema, kinds)
    if plain():  # what is asked for is a fast path that is off
        may, must = may | must, {}
    forced = {s: t for s, t in may.items() if t in candidates[s].costs} | must
    where = dict(zip(everything, chosen(list(candidates.values()), kinds, forced), strict=True))
    plan = MaskPlan(tuple(sfs), tuple(kinds), kinds, spark_schema, everything, candidates, where)
    for a in plan.assignments:
        for note in a.notes:
            log.warning("slice %r %s", a.name, note)
    if spark_schema is not None:
        check_picklable(plan.python_sfs)
    else:
        places_of(columns, plan.crossing)
    if spark_schema is not None and session is not None:
        native = [sf for sf in everything.values() if sf.kind in (SliceKind.SQL, SliceKind.COLUMN)]
        _check_native(native, spark_schema, session)
    return plan


def _columns(call: str, keep: Any, known: Sequence[str] | None) -> list[Any]:
    kept = entries(call, "keep", keep, "a list of columns")
    for column in kept:
        if known is not None and column not in known:
            raise MissingColumnError(f"keep of {call}", str(column), known)
    return kept


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
        raise UnknownTierError("tier", name, TIERS)


def _named(asked: Mapping[str, str], candidates: Mapping[str, Candidate]) -> dict[str, Tier]:
    for slice_id, name in asked.items():
        if slice_id not in candidates:
            raise UnknownTierError("slice", str(slice_id), candidates)
        _check_tier(name)
    return {s: TIERS[name] for s, name in asked.items()}


def _kinds(schema: Any) -> dict[str, pa.DataType]:
    """Return each column's Arrow type; the null type for one that has none."""
    import pandas as pd

    if isinstance(schema, pa.Schema | pa.Table | pa.RecordBatch | pd.DataFrame):
        return kinds_of(schema)
    if not isinstance(schema, StructType):
        wanted = f"the schema of a Spark DataFrame, a pyarrow Schema, {LOCAL}"
        raise TableTypeError("the schema to compile slices for", schema, wanted)
    return {f.name: _arrow_type(f.dataType) for f in schema}


def _arrow_type(kind: DataType) -> pa.DataType:
    from pyspark.sql.pandas.types import to_arrow_type

    # A vector or an interval, say: rows have it, whole columns don't.
    return to_arrow_type(kind) if decoder(kind) is None else pa.null()


def _is_local(df: Any) -> bool:
    """Tell a table of pandas or pyarrow from one of Spark, and refuse what is neither."""
    import pandas as pd
    from pyspark.sql import DataFrame

    if not isinstance(df, pa.Table | pa.RecordBatch | pd.DataFrame | DataFrame):
        raise TableTypeError("the table", df, f"a Spark DataFrame, {LOCAL}")
    return not isinstance(df, DataFrame)


def _session() -> SparkSession | None:
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def _bit(bit: int) -> SparkColumn:
    """Return a slice's mask from its bit in the UDF's words."""
    # As text it is one call to the JVM; made of Columns, 2,000 slices would take seconds.
    return F.expr(bit_sql(bit, f"{FAULTS}."))


def _native(sf: SlicingFunction) -> SparkColumn:
    from pyspark.sql import Column as SparkColumn

    if sf.sql is not None:
        return F.expr(named_sql(sf))
    made: Any = sf()
    if not isinstance(made, SparkColumn):
        problem = wrong_return(made).replace("True, False or None", "a Spark Column")
        raise PredicateError(sf.name, sf.name, f"can't be used: {problem}")
    return made


def _check_native(
    sfs: Sequence[SlicingFunction], schema: StructType, session: SparkSession
) -> None:
    """Let Spark analyse each predicate over an empty table; no job runs."""
    if not sfs:
        return
    empty = session.createDataFrame([], schema)
    for sf in sfs:
        text = sf.sql if sf.sql is not None else sf.name
        try:
            kind = empty.select(_native(sf)).schema[0].dataType
            if isinstance(kind, BooleanType):
                empty.where(_native(sf)).schema  # noqa: B018 - a filter may not aggregate
        except (AnalysisException, ParseException) as error:
            raise PredicateError(sf.name, text, _analysis_problem(error, schema)) from None
        except Exception as error:  # of the JVM, which pyspark doesn't translate
            if STACK not in str(error):
                raise
            raise SliceDepthError(sf.name) from None
        if not isinstance(kind, BooleanType):
            raise PredicateError(sf.name, text, f"is {kind.simpleString()}, not boolean")


def _analysis_problem(error: AnalysisException | ParseException, schema: StructType) -> str:
    condition = error.getCondition() or ""
    facts = error.getMessageParameters() or {}
    if condition.startswith("UNRESOLVED_COLUMN"):
        column = facts.get("objectName", "").strip("`")
        return f"names no column of the table: {column!r}{near(column, schema.names)}"
    if condition.startswith("PARSE_SYNTAX"):
        return f"is not SQL: syntax error at or near {facts.get('error', '')}"
    first = str(error).partition("\n")[0].partition(" SQLSTATE")[0]
    return f"can't be used: {first}"
