"""Slices that their users wrote for Spark, in SQL or as a Column, and Spark's word on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import BooleanType, StructType

from engine.errors import PredicateError, near
from engine.run.faults import STACK, named_sql, too_deep, wrong_predicate
from engine.slicing.evaluate import wrong_return
from engine.slicing.functions import SlicingFunction
from engine.storage.day_texts import texts_as_times

if TYPE_CHECKING:
    from engine.predicates.predicate import Predicate


def predicate(sf: SlicingFunction) -> SparkColumn:
    """Return a slice of SQL, or of a function that returns a Column, as a Column.

    Raises
    ------
    SliceError
        If the SQL isn't taken, or the function returns something else.
    """
    if sf.sql is not None:
        return F.expr(named_sql(sf, sql_of(sf.name, sf.sql).sql()))
    column: Any = sf()
    if not isinstance(column, SparkColumn):
        problem = wrong_return(column).replace("True, False or None", "a Spark Column")
        raise wrong_predicate(sf.name, sf.name, f"can't be used: {problem}")
    return column


def sql_of(name: str, text: str, allowed: Collection[str] | None = None) -> Predicate:
    """Read a slice's SQL.

    Parameters
    ----------
    name
        The slice.
    text
        Its predicate.
    allowed
        As :func:`read` has them.

    Raises
    ------
    SliceError
        If it isn't taken.
    """
    # Loads sqlglot, which executors lack.
    from engine.predicates.predicate import read

    try:
        return read(text, allowed)
    except PredicateError as error:
        raise wrong_predicate(name, text, str(error)) from None


def _check_days(sf: SlicingFunction, chosen: DataFrame) -> None:
    """Check that no text is compared with a time as another day each day."""
    if sf.sql is None or not sql_of(sf.name, sf.sql).may_name_days:
        return
    # Loads sqlglot, as above.
    from engine.predicates.predicate import names_a_day

    for text in texts_as_times(chosen):
        raise wrong_predicate(sf.name, sf.sql, str(names_a_day(text)))


# Settings that give texts and names in SQL another meaning than the one that was read.
_OTHER_SQL = {
    "spark.sql.parser.escapedStringLiterals": "\\",
    "spark.sql.ansi.doubleQuotedIdentifiers": '"',
    "spark.sql.legacy.consecutiveStringLiterals.enabled": "''",
}


def _check_text(sf: SlicingFunction, schema: StructType, session: SparkSession) -> None:
    """Check what a predicate's text says against the table and the session."""
    if sf.sql is None:
        return
    names = {name.lower() for name in schema.names}
    for column in sorted(sql_of(sf.name, sf.sql).bare - names):
        problem = f"names no column of the table: {column!r}{near(column, schema.names)}"
        raise wrong_predicate(sf.name, sf.sql, problem)
    for setting, sign in _OTHER_SQL.items():
        if sign in sf.sql and session.conf.get(setting, "false") == "true":
            raise wrong_predicate(
                sf.name, sf.sql, f"has {sign}, which {setting} gives another meaning: turn it off"
            )


def check_predicates(
    sfs: Sequence[SlicingFunction], schema: StructType, session: SparkSession
) -> None:
    """Let Spark analyse each predicate over an empty table; no job runs.

    Raises
    ------
    SliceError
        If one is not a BOOLEAN expression over the schema, or nested too deeply for the JVM.
    """
    if not sfs:
        return
    empty = session.createDataFrame([], schema)
    for sf in sfs:
        text = sf.sql if sf.sql is not None else sf.name
        _check_text(sf, schema, session)
        try:
            kind = empty.select(predicate(sf)).schema[0].dataType
            if isinstance(kind, BooleanType):
                chosen = empty.where(predicate(sf))
                chosen.schema  # noqa: B018 - a filter may not aggregate
                _check_days(sf, chosen)
        except (AnalysisException, ParseException) as error:
            raise wrong_predicate(sf.name, text, _analysis_problem(error, schema)) from None
        except Exception as error:  # of the JVM, which pyspark doesn't translate
            if STACK not in str(error):
                raise
            raise too_deep(sf.name) from None
        if not isinstance(kind, BooleanType):
            raise wrong_predicate(sf.name, text, f"is {kind.simpleString()}, not boolean")


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
