"""Faults on their way from an executor to the user: stopped at, or counted."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import (
    PredicateFaultError,
    SetupError,
    SliceError,
    SliceFaultError,
    listed,
)
from engine.run.deaths import WORDLESS, death_in
from engine.run.udf import EXAMPLES, FAULT, FAULTS
from engine.slicing.functions import SlicingFunction
from engine.slicing.slices import SliceKind
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STACK = "java.lang.StackOverflowError"
_FAULT_PATH = f"{FAULTS}.{FAULT}"


@dataclass(frozen=True)
class FaultCounts:
    """What a run that tolerates faults counted.

    Attributes
    ----------
    rows
        Rows evaluated.
    faults
        Faults per slice id; only Python slices can have any.
    examples
        The first few, as sentences.
    examples_of
        Slice id to what its examples say, without the slice.
    """

    rows: int
    faults: Mapping[str, int]
    examples: tuple[str, ...] = ()
    examples_of: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def over(self, budget: float) -> list[tuple[str, int, int]]:
        """Return (slice id, faults, rows) of slices whose rate is over the budget.

        Examples
        --------
        >>> FaultCounts(100, {"a": 5, "b": 1}).over(0.02)
        [('a', 5, 100)]
        """
        return [(s, n, self.rows) for s, n in self.faults.items() if n > budget * self.rows]


def stop_at_fault(
    df: DataFrame,
    key: Sequence[str],
    native: Mapping[str, Column] | None = None,
    only: Sequence[str] | None = None,
) -> DataFrame:
    """Return ``df`` so that evaluating a row with a fault fails, in a SliceFaultError's words.

    The key never crosses to Python for it: Spark adds it to the message.

    Parameters
    ----------
    df
        What :meth:`MaskPlan.with_faults` returned.
    key
        The columns that name a row.
    native
        Slice id to the faults of a slice that Spark runs, as :func:`named_fault` has them.
    only
        The slices whose faults do that; by default all.
    """
    faults = [fault for s, fault in (native or {}).items() if only is None or s in only]
    if FAULTS in df.columns and only != []:
        path = F.col(_FAULT_PATH)
        own = path if only is None else F.filter(path, lambda f: f["slice"].isin(*only))
        faults.append(F.get(own, F.lit(0)))
    if not faults:
        return df
    test: Any = F
    for fault in faults:
        row = F.concat(F.lit("row "), key_text(key)) if key else F.lit("a row")
        having = F.when(fault["read"] != "", F.concat(F.lit(" having "), fault["read"]))
        message = F.concat(
            F.lit("slice "), fault["name"], F.lit(" failed on "), row,
            F.coalesce(having, F.lit("")), F.lit(": "), fault["cause"], F.lit(SliceFaultError.HOW),
        )  # fmt: skip
        test = test.when(fault.isNotNull(), F.raise_error(message).cast("boolean"))
    return df.where(test.otherwise(F.lit(True)))


def fault_metrics(
    df: DataFrame, key: Sequence[str], native: Mapping[str, Column] | None = None
) -> list[Column]:
    """Return aggregates for ``DataFrame.observe``: rows, examples, and counts.

    See :func:`stop_at_fault`.
    """
    metrics = [F.count(F.lit(1)).alias("rows")]
    if FAULTS in df.columns:
        path = F.col(_FAULT_PATH)
        facts = F.to_json(F.struct(key_text(key).alias("key"), path.alias("faults")))
        shown = F.when(F.exists(path, lambda f: f["example"]), facts)
        metrics.append(F.collect_list(shown).alias("examples"))
        metrics.append(F.collect_list(path[0]["batch"]).alias("batches"))
    for s, fault in (native or {}).items():
        one = F.array(fault).alias("faults")
        facts = F.to_json(F.struct(key_text(key).alias("key"), one))
        metrics.append(F.count(fault).alias(f"{_COUNT}{s}"))
        metrics.append(F.min(F.when(fault.isNotNull(), facts)).alias(f"{_EXAMPLE}{s}"))
    return metrics


_COUNT, _EXAMPLE = "faults of ", "example of "


def named_fault(sf: SlicingFunction, fault: Column) -> Column:
    """Return the fault of a slice that Spark runs, in the form of one that Python runs."""
    about = {"slice": F.lit(sf.id), "name": F.lit(repr(sf.name)),
             "read": fault["read"], "cause": fault["cause"]}  # fmt: skip
    return F.when(fault.isNotNull(), F.struct(*(c.alias(name) for name, c in about.items())))


def fault_counts(
    observed: Mapping[str, Any], sfs: Sequence[SlicingFunction], rows: int | None = None
) -> FaultCounts:
    """Read what :func:`fault_metrics` observed; of how many rows, where it didn't see all."""
    names = {sf.id: sf.name for sf in sfs}
    left = dict.fromkeys(names, EXAMPLES)
    examples = []
    of: dict[str, list[str]] = {}
    native = [text for name, text in observed.items() if name.startswith(_EXAMPLE) and text]
    for text in sorted([*observed.get("examples", ()), *native]):
        facts = json.loads(text)
        for fault in facts["faults"]:
            if left[fault["slice"]] > 0:
                left[fault["slice"]] -= 1
                name = names[fault["slice"]]
                having = f" having {fault['read']}" if fault["read"] else ""
                example = f"on row {facts['key']}{having}: {fault['cause']}"
                examples.append(f"{name!r} {example}")
                of.setdefault(fault["slice"], []).append(example)
    counts = Counter(dict.fromkeys(names, 0))
    for batch in observed.get("batches", ()):
        counts.update(json.loads(batch))
    counts.update({s: observed.get(f"{_COUNT}{s}", 0) for s in names})
    rows = int(observed["rows"]) if rows is None else rows
    return FaultCounts(rows, dict(counts), tuple(examples), of)


@contextlib.contextmanager
def explained(sfs: Sequence[SlicingFunction]) -> Iterator[None]:
    """Turn what Spark raises while masks are computed into the engine's errors.

    Raises
    ------
    SliceFaultError
        If a Python slicing function failed on a row.
    SliceError
        If a SQL predicate or Column failed on a value.
    SetupError
        If executors can't import a module.
    WorkerError
        If a slicing function ended its worker, or took more than it may.
    """
    try:
        yield
    except Exception as error:  # a write that fails comes as Py4J's error, not as pyspark's
        explanation = _explanation(str(error), sfs)
        if explanation is None:
            raise
        raise explanation from None


def is_final(text: str) -> bool:
    """Tell whether what a task failed for is a slice's fault, which another attempt repeats.

    Of a worker that was killed nobody knows: its machine may have been short of memory.

    Examples
    --------
    >>> fault = SliceFaultError("s", "id=1", "", "ValueError: no")
    >>> is_final(f"[USER_RAISED_EXCEPTION] {fault}"), is_final("a machine is gone")
    (True, False)
    """
    death = death_in(text)
    known = death is not None and bool(death.facts) and death.cause != WORDLESS
    return known or SliceFaultError.found_in(text) is not None


def _explanation(text: str, sfs: Sequence[SlicingFunction]) -> Exception | None:
    if (fault := SliceFaultError.found_in(text)) is not None:
        return fault
    if (death := death_in(text)) is not None:
        return death.error({sf.id: sf.name for sf in sfs})
    if STACK in text and sfs:
        deepest = max(sfs, key=lambda sf: len(sf.sql or sf.text or sf.description))
        return too_deep(deepest.name)
    missing = re.search(r"ModuleNotFoundError: No module named '([^']+)'", text)
    if missing:
        return SetupError(
            f"Spark's executors cannot import {missing[1]!r}: pass the zip of `make dist` with "
            "--py-files for the engine, and install what slicing functions import on every worker"
        )
    for match, slices_in in (
        (_IN_SQL.search(text), _slices_of_sql),
        (_IN_COLUMN.search(text), _slices_at),
        (_RAISED.search(text), _slices_that_raise),
    ):
        if match and (guilty := slices_in(sfs, match)):
            which, what = listed([sf.name for sf in guilty]), guilty[0].sql or guilty[0].name
            problem = f"failed on a row: {match['cause']}"
            error = PredicateFaultError(str(wrong_predicate(which, what, problem)))
            error.slices = tuple(sf.id for sf in guilty)
            return error
    return None


def wrong_predicate(name: str, predicate: str, problem: str) -> SliceError:
    """Return the error of a SQL predicate or a Column that can't be used."""
    return SliceError(f"slice {name!r}: the predicate {predicate!r} {problem}")


def too_deep(name: str) -> SliceError:
    """Return the error of a slice that is too deep for Spark's stack."""
    return SliceError(
        f"slice {name!r} is nested too deeply for Spark, whose stack is used up; write it with "
        "fewer parentheses, as a Python function, or give the driver a larger stack "
        "(spark.driver.extraJavaOptions: -Xss16m)"
    )


# How Spark says which expression failed: the error, then the predicate or the caller's line.
_CAUSE = r"(?P<cause>\[[A-Z][A-Z_.]+\] [^\n]*?)(?: SQLSTATE: \w+)?\n"
_IN_SQL = re.compile(_CAUSE + r"== SQL [^\n]*\n(?P<text>[^\n]*)\n")
_IN_COLUMN = re.compile(
    _CAUSE + r"== DataFrame ==\n[^\n]* was called from\n(?P<file>.*):(?P<line>\d+)\n"
)

# What SQL raises by itself says nothing of where.
_RAISED = re.compile(r"(?P<cause>\[USER_RAISED_EXCEPTION\] [^\n]*?)(?: SQLSTATE: \w+)?(?:\n|\Z)")
_RAISING = re.compile(r"\b(?:raise_error|assert_true)\b", re.IGNORECASE)


def named_sql(sf: SlicingFunction, sql: str) -> str:
    """Return a predicate that says which slice's it is: what Spark says of it shows its line.

    Parameters
    ----------
    sf
        The slice.
    sql
        What Spark is to read, on one line.

    Examples
    --------
    >>> named_sql(SlicingFunction("short", sql="length(text)<20"), "length(`text`) < 20")
    'length(`text`) < 20 /* slice short */'
    """
    return f"{sql} /* slice {sf.id} */"


def _slices_of_sql(sfs: Sequence[SlicingFunction], match: re.Match[str]) -> list[SlicingFunction]:
    named = re.search(r"/\* slice (\w+) \*/$", match["text"].strip())
    return [sf for sf in sfs if named and sf.sql is not None and sf.id == named[1]]


def _slices_at(sfs: Sequence[SlicingFunction], match: re.Match[str]) -> list[SlicingFunction]:
    """Return the Column functions that a line is in, or all where it is in none: a function's."""
    columns = [sf for sf in sfs if sf.kind is SliceKind.COLUMN]
    return [sf for sf in columns if _has_line(sf, match["file"], int(match["line"]))] or columns


def _slices_that_raise(sfs: Sequence[SlicingFunction], _: re.Match[str]) -> list[SlicingFunction]:
    return [sf for sf in sfs if sf.sql is not None and _RAISING.search(sf.sql)]


def _has_line(sf: SlicingFunction, file: str, line: int) -> bool:
    code = getattr(sf.f, "__code__", None)
    return (
        code is not None and code.co_filename == file and line in {n for *_, n in code.co_lines()}
    )


def key_text(key: Sequence[str]) -> Column:
    """Return a row's key as text for a message: ``id=7, ds=2024-05-01``."""
    quoted = [F.col(name_sql(k)) for k in key]
    parts = [
        F.concat(F.lit(f"{name}="), F.coalesce(column.cast("string"), F.lit("null")))
        for name, column in zip(key, quoted, strict=True)
    ]
    return F.concat_ws(", ", *parts)
