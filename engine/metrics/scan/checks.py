"""What only joined predictions can show, checked before figures are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import MissingPredictionsError, PredictionValueError, UnknownClassError
from engine.masks.checks import EXAMPLES, check_no_null_keys, check_unique, key_text
from engine.metrics.formulas.outputs import UNKNOWN_CLASS
from engine.metrics.scan.form import EvaluationSpec, Scan
from engine.metrics.scan.joined import (
    MAX_NUMBER,
    MAX_WEIGHT,
    bad_number,
    bad_prob,
    bad_weight,
    has_prediction,
    position,
    predicted,
)
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row


def check_joined(
    found: Scan,
    joined: DataFrame,
    spec: EvaluationSpec,
    tables: Mapping[str, str],
    key: Sequence[str],
    allow_missing: bool,
    sources: Mapping[str, DataFrame],
) -> None:
    """Check what the scan counted; Spark is asked for rows only where something is wrong.

    Parameters
    ----------
    found, joined, spec
        What was scanned.
    tables
        Model id to its prediction table, for messages.
    key
        The columns that rows are named by.
    allow_missing
        Whether rows may lack a prediction.
    sources
        The tables that were joined, by name; that of masks is the first.

    Raises
    ------
    NullKeyError
        If a row of a table has no key; with how many.
    DuplicateKeyError
        If a key names more than one row of a table; with the first.
    UnknownClassError
        If a label or prediction is none of the classes; with the values found.
    PredictionValueError
        If weights, probabilities or numbers can't be; with how many and the first rows.
    MissingPredictionsError
        If rows lack a prediction; with how many and the first keys.
    """
    # Of masks the scan has looked for keys that are null; predictions without one aren't joined.
    unseen = list(sources.items())[0 if found.repeats else 1 :]
    check_no_null_keys(dict(unseen), key)
    if found.repeats:
        for table, df in sources.items():
            check_unique(df, table, key)
    _check_classes(found, joined, spec, tables)
    _check_numbers(found, joined, spec, tables, key)
    if not allow_missing:
        _check_covered(found, joined, spec, tables, key)


def _flagged(found: Scan, spec: EvaluationSpec, flag: str) -> Iterator[tuple[int, str, int]]:
    for i, model in enumerate(spec.models):
        n = sum(p.flags[flag] for (m, _), p in found.parts.items() if m == model)
        if n:
            yield i, model, n


def _check_classes(
    found: Scan, joined: DataFrame, spec: EvaluationSpec, tables: Mapping[str, str]
) -> None:
    for column in ("label", "pred") if spec.classes else ():
        for i, model, _ in _flagged(found, spec, f"unknown_{column}"):
            unknown = f"{position(joined, i, column, spec.classes)} = {UNKNOWN_CLASS}"
            bad = joined.where(unknown).selectExpr(predicted(i, column))
            values = sorted(str(r[0]) for r in bad.distinct().limit(6).collect())
            raise UnknownClassError(tables[model], column, values, spec.classes)


def _check_numbers(
    found: Scan,
    joined: DataFrame,
    spec: EvaluationSpec,
    tables: Mapping[str, str],
    key: Sequence[str],
) -> None:
    for flag, columns in {
        "bad_weight": ["weight"],
        "bad_prob": ["prob"],
        "bad_number": ["label", "pred"],
    }.items():
        for i, model, n in _flagged(found, spec, flag):
            for column in columns:
                bad, problem = _bad(i, column, spec)
                rows = _first(joined.where(bad), key, predicted(i, column))
                if rows:
                    examples = [f"{_said(r[-1])} at {key_text(r.asDict(), key)}" for r in rows]
                    raise PredictionValueError(tables[model], column, n, problem, examples)


def _said(value: Any) -> str:
    """Say a value; a map's probabilities are none where one is of no class.

    Examples
    --------
    >>> _said(1.5), _said([])
    ('1.5', '[] (of a map: one of its keys is no class)')
    """
    return f"{value} (of a map: one of its keys is no class)" if value == [] else str(value)


def _bad(i: int, column: str, spec: EvaluationSpec) -> tuple[str, str]:
    value = predicted(i, column)
    if column == "weight":
        return bad_weight(value), f"is not a number from 0 to {MAX_WEIGHT:.0e}"
    if column == "prob":
        n = len(spec.classes)
        return bad_prob(value, n), f"is not {n} probabilities from 0 to 1"
    return bad_number(value), f"is not a number of a size of at most {MAX_NUMBER:.0e}"


def _check_covered(
    found: Scan,
    joined: DataFrame,
    spec: EvaluationSpec,
    tables: Mapping[str, str],
    key: Sequence[str],
) -> None:
    for i, model in enumerate(spec.models):
        parts = [p for (m, _), p in found.parts.items() if m == model]
        rows = sum(int(p.state.rows["rows"][0, 0]) for p in parts)
        covered = sum(p.flags["found"] for p in parts)
        if covered < rows:
            without = joined.where(f"NOT {has_prediction(i)}")
            examples = [key_text(r.asDict(), key) for r in _first(without, key)]
            raise MissingPredictionsError(tables[model], model, rows - covered, rows, examples)


def _first(rows: DataFrame, key: Sequence[str], *more: str) -> list[Row]:
    columns = [name_sql(k) for k in key]
    return rows.selectExpr(*columns, *more).orderBy(*columns).limit(EXAMPLES).collect()
