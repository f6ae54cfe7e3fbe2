"""Slicing functions compiled to a MaskPlan: which runs where, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import BooleanType, StructType

from engine.compile.kernel import wrong_return
from engine.compile.reads import slice_reads
from engine.compile.udf import FAULTS, fused_udf
from engine.errors import MissingColumnError, PredicateError, near
from engine.slicing.functions import SliceKind, SlicingFunction, series_parameters
from engine.slicing.identity import check_ids

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


class Tier(StrEnum):
    """Where a slice's function runs."""

    NATIVE = "Spark expression"
    PANDAS = "vectorised Python"
    ROW = "Python per row"


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
        One clause that says why this tier and these columns.
    """

    slice_id: str
    name: str
    tier: Tier
    columns: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Explanation:
    """A plan as data (:attr:`slices`, :attr:`crossing`) and as text (``str``)."""

    slices: tuple[Assignment, ...]
    crossing: tuple[str, ...]

    def __str__(self) -> str:
        rows = [("slice", "runs as", "why")]
        rows += [(a.slice_id, str(a.tier), a.why) for a in self.slices]
        widths = [max(len(r[i]) for r in rows) for i in range(2)]
        lines = [f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]}" for r in rows]
        python = sum(a.tier is not Tier.NATIVE for a in self.slices)
        if python:
            lines.append(
                f"{python} of {len(self.slices)} slices share one Arrow UDF; "
                f"columns crossing to Python, once each: {', '.join(self.crossing) or 'none'}"
            )
        else:
            lines.append("no column crosses to Python")
        return "\n".join(lines)


@dataclass(frozen=True)
class MaskPlan:
    """Compiled slicing functions, ready for a table of one schema.

    Examples
    --------
    >>> from engine import slicing_function
    >>> from pyspark.sql.types import StructType
    >>> @slicing_function()
    ... def short(x):
    ...     return len(x.text) < 20
    >>> plan = compile_slices([short], StructType().add("text", "string").add("likes", "integer"))
    >>> print(plan.explain())
    slice  runs as         why
    short  Python per row  a Python function that reads text
    1 of 1 slices share one Arrow UDF; columns crossing to Python, once each: text
    """

    sfs: tuple[SlicingFunction, ...]
    assignments: tuple[Assignment, ...]
    columns: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Mask column names, in the order of the slicing functions."""
        return tuple(sf.id for sf in self.sfs)

    @property
    def crossing(self) -> tuple[str, ...]:
        """Columns that cross to Python, once each, in the table's order."""
        needed = {c for a in self.assignments for c in a.columns}
        return tuple(c for c in self.columns if c in needed)

    @property
    def python_sfs(self) -> tuple[SlicingFunction, ...]:
        """The slicing functions that run in Python."""
        pairs = zip(self.sfs, self.assignments, strict=True)
        return tuple(sf for sf, a in pairs if a.tier is not Tier.NATIVE)

    def explain(self) -> Explanation:
        """Say which slice runs where, and why."""
        return Explanation(self.assignments, self.crossing)

    def apply(self, df: DataFrame, keep: Sequence[str] | None = None) -> DataFrame:
        """Return ``df`` with a BOOLEAN column per slice, lazily.

        Parameters
        ----------
        df
            A table with this plan's columns.
        keep
            Columns of ``df`` to keep beside the masks; all by default.

        Raises
        ------
        SliceIdError
            If a slice's id is also the name of a kept column.

        Notes
        -----
        A row on which a function fails stops the Spark job with the slice, the kept columns and
        the cause in the message.
        """
        from engine.compile.faults import stop_at_fault

        kept = list(df.columns if keep is None else keep)
        check_ids(self.sfs, dict.fromkeys(kept, "table"))
        masked = self.with_faults(df)
        if self.python_sfs:
            masked = stop_at_fault(masked, kept[:1] if keep is None else kept)
        return masked.select(*(_quoted(c) for c in kept), *self.mask_columns())

    def with_faults(self, df: DataFrame) -> DataFrame:
        """Return ``df`` with one struct column of all masks, and the faults of each row in it."""
        if not self.python_sfs:
            return df
        udf = fused_udf(self.python_sfs, self.crossing)
        inputs = [_quoted(c) for c in self.crossing] or [F.lit(True)]
        return df.withColumn(FAULTS, udf(*inputs))

    def mask_columns(self) -> list[Column]:
        """Return one BOOLEAN Column per slice, over what :meth:`with_faults` returned."""
        pairs = zip(self.sfs, self.assignments, strict=True)
        return [
            (_native(sf) if a.tier is Tier.NATIVE else F.col(f"{FAULTS}.{sf.id}"))
            .cast("boolean")
            .alias(sf.id)
            for sf, a in pairs
        ]


def compile_slices(
    sfs: Sequence[SlicingFunction],
    schema: StructType,
    reserved: Mapping[str, str] | None = None,
) -> MaskPlan:
    """Compile slicing functions for a table of this schema; runs nothing on Spark.

    Parameters
    ----------
    sfs
        Slicing functions of any form.
    schema
        The table's schema.
    reserved
        Column names that no slice id may take, with the role of each.

    Raises
    ------
    SliceIdError, DuplicateSliceError
        If an id can't be a mask column.
    MissingColumnError
        If a function reads a column that the schema doesn't have.
    PredicateError
        If a SQL predicate or Column isn't a BOOLEAN over the schema (checked where a Spark
        session is active).
    UnpicklableSliceError
        If a Python function can't be sent to executors.
    """
    from pyspark.sql import SparkSession

    from engine.compile.ship import check_picklable

    check_ids(sfs, reserved)
    assignments = tuple(_assign(sf, schema) for sf in sfs)
    plan = MaskPlan(tuple(sfs), assignments, tuple(schema.names))
    check_picklable(plan.python_sfs)
    session = SparkSession.getActiveSession()
    if session is not None:
        native = [sf for sf in sfs if sf.kind in (SliceKind.SQL, SliceKind.COLUMN)]
        _check_native(native, schema, session)
    return plan


def _assign(sf: SlicingFunction, schema: StructType) -> Assignment:
    return _ASSIGN[sf.kind](sf, schema)


def _assign_row(sf: SlicingFunction, schema: StructType) -> Assignment:
    read = slice_reads(sf)
    for column in read.missing(schema.names):
        raise MissingColumnError(f"slice {sf.name!r}", column, schema.names)
    columns = read.used(schema.names)
    if read.escapes:
        why = f"a Python function; {read.escapes}: all columns cross"
    else:
        why = f"a Python function that reads {', '.join(columns) or 'no column'}"
    if sf.chain:
        why += f", after {', '.join(p.name for p in sf.chain)}"
    return Assignment(sf.id, sf.name, Tier.ROW, columns, why)


def _assign_pandas(sf: SlicingFunction, schema: StructType) -> Assignment:
    assert sf.f is not None  # a PANDAS function has one
    columns = series_parameters(sf.f, sf.resources)
    for column in columns:
        if column not in schema.names:
            raise MissingColumnError(f"slice {sf.name!r}", column, schema.names)
    why = f"a function of pandas Series {', '.join(columns)}"
    return Assignment(sf.id, sf.name, Tier.PANDAS, columns, why)


def _assign_native(sf: SlicingFunction, _: StructType) -> Assignment:
    why = f"SQL: {sf.sql}" if sf.sql is not None else "returns a Spark Column"
    return Assignment(sf.id, sf.name, Tier.NATIVE, (), why)


_ASSIGN = {
    SliceKind.ROW: _assign_row,
    SliceKind.PANDAS: _assign_pandas,
    SliceKind.COLUMN: _assign_native,
    SliceKind.SQL: _assign_native,
}


def _native(sf: SlicingFunction) -> Column:
    from pyspark.sql import Column

    if sf.sql is not None:
        return F.expr(sf.sql)
    made: Any = sf()
    if not isinstance(made, Column):
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
            if not isinstance(kind, BooleanType):
                raise PredicateError(sf.name, text, f"is {kind.simpleString()}, not boolean")
            empty.where(_native(sf)).schema  # noqa: B018 - a filter may not aggregate
        except (AnalysisException, ParseException) as error:
            raise PredicateError(sf.name, text, _analysis_problem(error, schema)) from None


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


def _quoted(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")
