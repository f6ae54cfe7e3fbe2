"""Tables of pandas and pyarrow that ``evaluate`` is given, brought to what the scan reads.

Types that mean something else in Spark's SQL, and text that reads as a number, are refused, so
that a figure is either Spark's or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from engine.arguments import text
from engine.arrow.columns import LOCAL, Local, columns_of, names_of, plain_array
from engine.errors import ArgumentError, duplicate_column, missing_column
from engine.hashing import not_a_key
from engine.label.plan import compile_slices
from engine.masks.checks import EXAMPLES, duplicate_key, key_text, null_key
from engine.masks.frames import named_masks
from engine.metrics.in_memory import LocalRows
from engine.metrics.predictions import OURS, check_names, own_names, wrong_type
from engine.metrics.request import Request
from engine.metrics.scan.chunks import FOUND
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.joined import other_key_type, prediction

_TWO = 2  # classes, of which one probability is that of both
_WIDEST = 18  # digits of a DECIMAL that int64 holds
_TABLE, _MASKS = "the table", "the mask table"


def local_rows(masks: Local, predictions: Any, asks: Request) -> LocalRows:
    """Return the rows that ``evaluate`` was given, checked.

    Raises
    ------
    EngineError
        With what is missing or wrong, in which table.
    """
    of = None if predictions is None else _models_of(predictions)
    for role, named in asks.roles.items():
        _check_there(masks, f"{role} of {_TABLE}", named)
    names, functions = asks.names, asks.functions
    ids = named_masks(masks, names or None, "slices") if names or not functions else ()
    spec = asks.spec(ids, ["model"] if of is None else list(of))
    rows = compile_slices(functions, masks).apply(masks) if functions else masks
    columns = {s: _column(rows, s) for s in spec.slice_ids}
    columns |= _summed(rows, asks) | _texts(rows, asks)
    if of is None:
        places = own_names(names_of(rows), asks.columns)
        check_names(names_of(rows), _TABLE, [], places)
        predicted = [_outputs(rows, _TABLE, places, spec)]
    else:
        keys = [_key(rows, k, _MASKS) for k in asks.key]
        predicted = [_joined(keys, df, model, asks, spec) for model, df in of.items()]
    weighted = any(len(p["weight"]) > p["weight"].null_count for p in predicted if "weight" in p)
    models = [{ours: f"{prediction(i)}.{ours}" for ours in p} for i, p in enumerate(predicted)]
    for at, outputs in zip(models, predicted, strict=True):
        columns |= {at[ours]: column for ours, column in outputs.items()}
    table = pa.table(columns) if columns else pa.table({"": pa.nulls(len(rows))})
    spec, shown = replace(spec, weighted=weighted), partial(_shown, rows)
    return LocalRows(table, spec, tuple(models), asks.key, shown)


def _models_of(predictions: Any) -> dict[str, Local]:
    wanted = f"{LOCAL}, as masks are, or a dict of them by model"
    of = predictions if isinstance(predictions, Mapping) else {"model": predictions}
    if not of or not all(isinstance(df, Local) for df in of.values()):
        raise ArgumentError("evaluate", "predictions", wanted, predictions)
    return {text("evaluate", "each model of predictions", m): df for m, df in of.items()}


def _check_there(table: Local, place: str, columns: Sequence[str]) -> None:
    names = names_of(table)
    for column in columns:
        if column not in names:
            raise missing_column(place, column, names)
        if names.count(column) > 1:
            raise duplicate_column(column, names.count(column))


def _column(table: Local, name: str) -> pa.Array:
    """Return a column as one array of a type that the scan takes, or of another one."""
    return _scannable(name, _array(table, name))


def _scannable(name: str, array: pa.Array) -> pa.Array:
    """Return an array with signed numbers, DECIMAL as numbers, short text, lists of floats."""
    try:
        return next((to(array) for is_kind, to in _PLAIN if is_kind(array.type)), array)
    except pa.ArrowInvalid:  # Spark has no unsigned type either
        raise wrong_type(_TABLE, name, f"{array.type} above 2**63 - 1", "int64 or text") from None


def _array(table: Local, name: str) -> pa.Array:
    columns = columns_of(table, [name])
    if name in columns.arrays:
        return plain_array(columns.arrays[name])
    try:
        return plain_array(pa.Array.from_pandas(columns.objects[name]))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise wrong_type(_TABLE, name, "of several types", "of one type") from None


def _of_decimal(array: pa.Array) -> pa.Array:
    if array.type.scale == 0 and array.type.precision <= _WIDEST:
        return array.cast(pa.int64())
    return pa.array([None if v is None else float(v) for v in array.to_pylist()], pa.float64())


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _of_list(array: pa.Array) -> pa.Array:
    # Those of 32 bits stay: what counts as 0 depends on it.
    bits = pa.float32() if pa.types.is_float32(array.type.value_type) else pa.float64()
    return array.cast(pa.list_(bits))


_PLAIN: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]]] = (
    (pa.types.is_unsigned_integer, lambda a: a.cast(pa.int64())),
    (pa.types.is_large_string, lambda a: a.cast(pa.string())),
    (pa.types.is_decimal, _of_decimal),
    (_is_list, _of_list),
)


def _summed(rows: Local, asks: Request) -> dict[str, pa.Array]:
    """Return the columns that metrics are of, such as ``mean@column=price``."""
    columns = {}
    for metric in (m for m in asks.metrics if m.needs == "column"):
        name = metric.parameter("column")
        column = columns[name] = _column(rows, name)
        if metric.name == "mean" and not (
            _is_number(column.type) or pa.types.is_boolean(column.type)
        ):
            raise wrong_type(_TABLE, name, str(column.type), f"a number for {metric}")
    return columns


def _texts(rows: Local, asks: Request) -> dict[str, pa.Array]:
    """Return the columns whose texts decide splits and replicates."""
    columns = {k: _key(rows, k, _TABLE) for k in (*asks.key, asks.cluster) if k is not None}
    if asks.split is not None:
        column = columns[asks.split] = _column(rows, asks.split)
        if not _has_text(column.type):
            wanted = "a column of text, whole numbers, booleans or dates"
            raise ArgumentError("evaluate", "split", wanted, str(column.type))
    return columns


def _has_text(kind: pa.DataType) -> bool:
    """Tell whether Arrow shows values of a type as text as Spark does."""
    kinds = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string, pa.types.is_date32)
    return any(is_kind(kind) for is_kind in (*kinds, pa.types.is_null))


def _key(rows: Local, name: str, table: str) -> pa.Array:
    """Return a key column whose text is canonical: of a time its microseconds."""
    _check_there(rows, f"key of {table}", [name])
    array = _array(rows, name)
    kind = array.type
    if pa.types.is_decimal(kind) and kind.scale == 0 and kind.precision > _WIDEST:
        return array.cast(pa.string())  # its digits, as Spark shows it
    column = _scannable(name, array)
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    if not _has_text(column.type):
        raise not_a_key(name, str(kind))
    return column


def _outputs(
    rows: Local, table: str, names: Mapping[str, str], spec: EvaluationSpec
) -> dict[str, pa.Array]:
    """Return a table's label, weight, pred and prob, without what there is none of.

    Raises
    ------
    ColumnError
        If one is of a type that can't be what it is for.
    """
    there = set(names_of(rows))
    at = {ours: names.get(ours, ours) for ours in OURS}
    columns = {ours: _column(rows, own) for ours, own in at.items() if own in there}
    # Weights and probabilities that are all null may be of no type.
    none = {o for o in ("weight", "prob") if o in columns and columns[o].null_count == len(rows)}
    columns = {ours: column for ours, column in columns.items() if ours not in none}
    for ours, column in columns.items():
        is_right, wanted = _wanted(ours, spec)
        if not is_right(column.type):
            raise wrong_type(table, at[ours], str(column.type), wanted)
    return columns


def _wanted(ours: str, spec: EvaluationSpec) -> tuple[Callable[[pa.DataType], bool], str]:
    """Return which types a column may have, and what they are called."""
    if ours == "weight" or (ours != "prob" and spec.needs("numbers")):
        return _is_number, "a number"
    if ours != "prob":
        return (
            lambda kind: _has_text(kind) or pa.types.is_floating(kind),
            "a number, text, a date or a boolean",
        )
    if len(spec.classes) == _TWO:
        return lambda kind: _is_number(kind) or _is_list(kind), "a number, or an array of numbers"
    return lambda kind: not spec.classes or _is_list(kind), "an array of numbers"


def _joined(
    keys: Sequence[pa.Array], df: Local, model: str, asks: Request, spec: EvaluationSpec
) -> dict[str, pa.Array]:
    """Return a model's outputs beside the rows of masks, and whether each row has some.

    Raises
    ------
    ColumnError, TableError
        If keys are of different types, or null, or name several rows.
    """
    table = asks.table(model)
    names = own_names(names_of(df), asks.columns)
    check_names(names_of(df), table, asks.key, names)
    df = _of_model(df, model, names)
    own = [_key(df, names.get(k, k), table) for k in asks.key]
    for name, ours, theirs in zip(asks.key, keys, own, strict=True):
        if _family(ours.type) != _family(theirs.type):
            raise other_key_type(name, str(ours.type), model, str(theirs.type))
    at = _matches({_MASKS: keys, table: own}, asks.key)
    outputs = _outputs(df, table, names, spec)
    return {FOUND: at.is_valid()} | {ours: column.take(at) for ours, column in outputs.items()}


def _of_model(df: Local, model: str, names: Mapping[str, str]) -> Local:
    """Return the rows of one model; all of them where the table has no ``model_id``."""
    own = names.get("model_id", "model_id")
    if own not in names_of(df):
        return df
    chosen = pc.equal(_column(df, own).cast(pa.string()), model).fill_null(False)
    return (
        df[chosen.to_numpy(zero_copy_only=False)]
        if isinstance(df, pd.DataFrame)
        else df.filter(chosen)
    )


def _family(kind: pa.DataType) -> str:
    return "whole number" if pa.types.is_integer(kind) else str(kind)


def _matches(tables: Mapping[str, Sequence[pa.Array]], key: Sequence[str]) -> pa.Array:
    """Return where the second table has each key of the first, ``[n]``; null where nowhere."""
    frames: list[pa.Table] = []
    for table, columns in tables.items():
        for name, column in zip(key, columns, strict=True):
            if column.null_count:
                raise null_key(table, name, column.null_count, len(column))
        wide = [c.cast(pa.int64()) if pa.types.is_integer(c.type) else c for c in columns]
        row = pa.array(np.arange(len(columns[0])))
        frames.append(pa.table([*wide, row], [*key, f"@row_{len(frames)}"]))
    masks, predictions = frames
    both = masks.join(predictions, list(key), join_type="left outer")
    unique = masks.group_by(list(key)).aggregate([]).num_rows == len(masks)
    if not unique or len(both) != len(masks):
        for table, frame in zip(tables, frames, strict=True):
            _check_unique(frame, table, key)
    order = np.argsort(both.column("@row_0").to_numpy(), kind="stable")
    return both.column("@row_1").combine_chunks().take(pa.array(order))


def _check_unique(rows: pa.Table, table: str, key: Sequence[str]) -> None:
    counts = rows.group_by(list(key)).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts.column("count_all"), 1))
    if len(twice):
        first = twice.sort_by([(k, "ascending") for k in key]).slice(0, EXAMPLES).to_pylist()
        examples = [f"{key_text(r, key)} ({r['count_all']} rows)" for r in first]
        raise duplicate_key(table, key, len(twice), examples)


def _shown(rows: Local, name: str) -> pd.Series:
    """Return any column of the rows as it was given."""
    _check_there(rows, "columns of the rows", [name])
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[:, names_of(rows).index(name)]
    return pd.Series(rows.column(name).to_pandas())
