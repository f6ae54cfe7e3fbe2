"""What only the scan can show, checked before figures are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from engine.errors import TableError, unknown_class
from engine.metrics.scan.form import EvaluationSpec, Scan
from engine.metrics.scan.joined import MAX_NUMBER, MAX_WEIGHT


class Examples(Protocol):
    """Where rows that are wrong are looked for, once the scan has counted some."""

    def unknown(self, i: int, column: str) -> list[str]:
        """Return some values of a model's labels or predictions that are no class."""

    def wrong(self, i: int, column: str) -> list[tuple[Any, str]]:
        """Return a model's first weights, probabilities or numbers that can't be, with keys."""

    def uncovered(self, i: int) -> list[str]:
        """Return the keys of the first rows without a model's prediction."""


def check_counts(
    counts: Scan,
    spec: EvaluationSpec,
    tables: Mapping[str, str],
    allow_missing: bool,
    examples: Examples,
) -> None:
    """Check what the scan counted; rows are looked at only where something is wrong.

    Parameters
    ----------
    counts, spec
        What was scanned.
    tables
        Model id to its prediction table, for messages.
    allow_missing
        Whether rows may lack a prediction.
    examples
        Where the rows are.

    Raises
    ------
    TableError
        If a label or prediction is none of the classes; with the values.
        If weights, probabilities or numbers can't be; with how many and the first rows.
        If rows lack a prediction; with how many and the first keys.
    """
    for column in ("label", "pred") if spec.classes else ():
        for i, model, _ in _flagged(counts, spec, f"unknown_{column}"):
            values = sorted(examples.unknown(i, column))
            raise unknown_class(tables[model], column, values, spec.classes)
    for flag, columns in _COLUMNS.items():
        for i, model, n in _flagged(counts, spec, flag):
            for column in columns:
                if rows := examples.wrong(i, column):
                    shown = [f"{_shown(value)} at {key}" for value, key in rows]
                    problem = _PROBLEMS[flag].format(len(spec.classes))
                    raise wrong_value(tables[model], column, n, problem, shown)
    for i, model in () if allow_missing else enumerate(spec.models):
        parts = [p for (m, _), p in counts.parts.items() if m == model]
        n = sum(int(p.state.rows["rows"][0, 0]) for p in parts)
        covered = sum(p.flags["found"] for p in parts)
        if covered < n:
            raise TableError(
                f"{tables[model]} has no prediction of model {model!r} for {n - covered:,} of "
                f"{n:,} rows of the mask table, the first are "
                f"{'; '.join(examples.uncovered(i))}; score them, choose other evaluate_splits, "
                "or set missing_predictions: count (in Python allow_missing=True)"
            )


def wrong_value(
    table: str, column: str, n: int, problem: str, examples: Sequence[str]
) -> TableError:
    """Return the error of weights or probabilities that can't be any."""
    return TableError(
        f"column {column!r} of {table} {problem} on {n:,} rows, the first are "
        f"{'; '.join(examples)}; correct them, or make them null"
    )


_COLUMNS: Mapping[str, Sequence[str]] = {
    "bad_weight": ["weight"],
    "bad_prob": ["prob"],
    "bad_number": ["label", "pred"],
}


_PROBLEMS = {
    "bad_weight": f"is not a number from 0 to {MAX_WEIGHT:.0e}",
    "bad_prob": "is not {} probabilities from 0 to 1",
    "bad_number": f"is not a number of a size of at most {MAX_NUMBER:.0e}",
}


def _flagged(counts: Scan, spec: EvaluationSpec, flag: str) -> Iterator[tuple[int, str, int]]:
    for i, model in enumerate(spec.models):
        n = sum(p.flags[flag] for (m, _), p in counts.parts.items() if m == model)
        if n:
            yield i, model, n


def _shown(value: Any) -> str:
    """Show a value; a map's probabilities are none where one is of no class.

    Examples
    --------
    >>> _shown(1.5), _shown([])
    ('1.5', '[] (of a map: one of its keys is no class)')
    """
    return f"{value} (of a map: one of its keys is no class)" if value == [] else str(value)
