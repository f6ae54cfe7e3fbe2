"""Prediction tables, ours and other tools', brought to one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import (
    ArrayType,
    DataType,
    FloatType,
    MapType,
    NullType,
    NumericType,
    StringType,
    StructType,
    UserDefinedType,
)

from engine.errors import ColumnError, TableError, duplicate_column, missing_column, near
from engine.masks.checks import quoted
from engine.metrics.classes import class_text, keys_of
from engine.sql import name_sql, text_sql

OURS = ("label", "weight", "pred", "prob")
_SPARK_ML = {"pred": "prediction", "prob": "probability"}
_TWO = 2  # classes, of which one probability is that of both
_NESTED = ("array", "map", "struct", "binary", "variant", "interval")  # that are no class's value


def normalised(
    df: DataFrame,
    table: str,
    model_id: str,
    on: Sequence[str],
    columns: Mapping[str, str],
    classes: Sequence[Any],
) -> DataFrame:
    """Return one model's predictions as ``on``, label, weight, pred, prob.

    Parameters
    ----------
    df
        The prediction table's rows.
    table
        Its name, for messages.
    model_id
        The model; where the table has a ``model_id`` column its rows are chosen by it.
    on
        Partition and key columns.
    columns
        Our column to the table's own, where they differ.
    classes
        Class order; a ``prob`` column that carries another one is refused. None where labels
        are numbers.

    Raises
    ------
    ColumnError
        If ``columns`` maps a name that isn't ours.
        If a key column or ``pred`` is missing, or a mapped column.
        If one of these is there twice.
        If a column is of a type that can't be what it is for.
    TableError
        If probabilities are in another class order.

    Notes
    -----
    A ``prob`` that is a number is the second class's probability (two classes). Missing
    ``label``, ``weight`` and ``prob`` are null. A table without ``pred`` or ``prob`` that has
    ``prediction`` or ``probability`` is Spark ML's.
    """
    columns = own_names(df.columns, columns)
    fields = fields_of(df, table, on, columns, classes)
    key = (f"{name_sql(columns.get(c, c))} AS {name_sql(c)}" for c in on)
    rows = of_model(with_arrays(df, columns), model_id, columns)
    return rows.selectExpr(*key, *(f"{sql} AS {name}" for name, sql in fields.items()))


def own_names(names: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return our names to the table's own: those given, and Spark ML's where it has ours not."""
    there = set(names)
    spark_ml = {o: t for o, t in _SPARK_ML.items() if o not in there and t in there}
    return {**spark_ml, **columns}


def fields_of(
    df: DataFrame,
    table: str,
    on: Sequence[str],
    columns: Mapping[str, str],
    classes: Sequence[Any],
) -> dict[str, str]:
    """Return a prediction table's label, weight, pred and prob, in SQL; as :func:`normalised`.

    The SQL is over what :func:`with_arrays` returned.
    """
    check_names(df.columns, table, on, columns)
    _check_types(df, table, columns)
    return {
        "label": _optional(df, columns, "label"),
        "weight": f"CAST({_optional(df, columns, 'weight')} AS DOUBLE)",
        "pred": _optional(df, columns, "pred"),
        "prob": _probabilities(df, table, columns, classes),
    }


def check_names(
    names: Sequence[str], table: str, on: Sequence[str], columns: Mapping[str, str]
) -> None:
    """Check the names of a prediction table's columns; raises what :func:`normalised` does."""
    check_key_names(table, on)
    known = [*on, *OURS, "model_id"]
    for ours, theirs in columns.items():
        if ours not in known:
            raise ColumnError(
                f"columns of {table}: {ours!r} is not a column of prediction "
                f"tables{near(ours, known)}"
            )
        if theirs not in names:
            raise missing_column(f"columns.{ours} of {table}", theirs, names)
    for required in (*on, "pred"):
        if columns.get(required, required) not in names:
            raise missing_column(f"predictions {table}", required, names)
    for theirs in (columns.get(ours, ours) for ours in (*on, *OURS)):
        if names.count(theirs) > 1:
            raise duplicate_column(theirs, names.count(theirs))


def check_key_names(table: str, on: Sequence[str]) -> None:
    """Check that key and partition columns aren't named as others of a prediction table.

    Raises
    ------
    ColumnError
        If one is.
    """
    for column in on:
        if column.lower() in (*OURS, "model_id"):
            raise ColumnError(
                f"{table}: {column!r} can't be a key or partition column, as prediction tables "
                "have a column of that name; rename it in the source"
            )


def of_model(df: DataFrame, model_id: str, columns: Mapping[str, str]) -> DataFrame:
    """Return the rows of one model; all of them where the table has no ``model_id``."""
    own = columns.get("model_id", "model_id")
    return df.where(f"{name_sql(own)} = {text_sql(model_id)}") if own in df.columns else df


def with_arrays(df: DataFrame, columns: Mapping[str, str]) -> DataFrame:
    """Return a prediction table whose probabilities are an array where they were a vector."""
    theirs = columns.get("prob", "prob")
    if theirs not in df.columns or not _is_vector(df.schema[theirs].dataType):
        return df
    from pyspark.ml.functions import vector_to_array  # loads pyspark.ml, for vectors alone

    vector = quoted(theirs)  # null stays null; Spark ML's function would fail on it
    return df.withColumn(theirs, F.when(vector.isNotNull(), vector_to_array(vector)))


def has_weights(df: DataFrame, columns: Mapping[str, str]) -> bool:
    """Tell whether some prediction of a table has a weight."""
    name = columns.get("weight", "weight")
    if name not in df.columns:
        return False
    # Unlike isEmpty, no job where the files' statistics say that there is none.
    return bool(df.where(f"{name_sql(name)} IS NOT NULL").selectExpr("1").limit(1).collect())


def _check_types(df: DataFrame, table: str, columns: Mapping[str, str]) -> None:
    """Refuse columns of types that can't be what they are for."""
    for ours in ("label", "pred", "weight"):
        theirs = columns.get(ours, ours)
        if theirs not in df.columns:
            continue
        kind = df.schema[theirs].dataType
        name = kind.simpleString()
        if ours == "weight" and not isinstance(kind, NumericType | NullType):
            raise wrong_type(table, theirs, name, "a number")
        if name.startswith(_NESTED) or isinstance(kind, UserDefinedType):
            raise wrong_type(table, theirs, name, "a number, text or a boolean")


def wrong_type(table: str, column: str, kind: str, wanted: str) -> ColumnError:
    """Return the error of a column whose type doesn't suit what it is for."""
    return ColumnError(
        f"column {column!r} of {table} is {kind}, and must be {wanted}: cast it, or name "
        "another one in columns"
    )


def _optional(df: DataFrame, columns: Mapping[str, str], name: str) -> str:
    theirs = columns.get(name, name)
    return name_sql(theirs) if theirs in df.columns else "CAST(NULL AS STRING)"


def _probabilities(
    df: DataFrame, table: str, columns: Mapping[str, str], classes: Sequence[Any]
) -> str:
    theirs = columns.get("prob", "prob")
    if theirs not in df.columns:
        return "CAST(NULL AS ARRAY<DOUBLE>)"
    column, field = name_sql(theirs), df.schema[theirs]
    stored = field.metadata.get("classes")
    if stored is not None and classes and list(stored) != [str(c) for c in classes]:
        raise TableError(
            f"the probabilities of {table} are in class order {list(stored)}, the project's "
            f"classes are {list(classes)}; score again, or set classes in that order"
        )
    kind = field.dataType
    if isinstance(kind, NullType) or (not classes and isinstance(kind, MapType | StructType)):
        return "CAST(NULL AS ARRAY<DOUBLE>)"
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, NumericType | NullType):
        # Those of 32 bits stay: what counts as 0 depends on it.
        of_32 = isinstance(kind.elementType, FloatType)
        return f"CAST({column} AS ARRAY<{'FLOAT' if of_32 else 'DOUBLE'}>)"
    if _is_vector(kind):
        return column
    if isinstance(kind, MapType) and isinstance(kind.valueType, NumericType):
        return _of_map(column, kind.keyType, classes)
    if isinstance(kind, StructType):
        return _of_struct(column, kind, table, theirs, classes)
    if isinstance(kind, NumericType) and len(classes) in (0, _TWO):
        positive = f"CAST({column} AS DOUBLE)"
        bits = "FLOAT" if isinstance(kind, FloatType) else "DOUBLE"
        both = f"CAST(array(1 - {positive}, {positive}) AS ARRAY<{bits}>)"
        return f"IF({column} IS NULL, NULL, {both})"
    wanted = "a number, " if len(classes) in (0, _TWO) else ""
    raise wrong_type(
        table, theirs, kind.simpleString(),
        f"{wanted}an array, a vector, a map by class or a struct by class, of numbers",
    )  # fmt: skip


def _of_map(column: str, key: DataType, classes: Sequence[Any]) -> str:
    """Return a map's probabilities in class order, null where it has none of a class.

    One with a key that is no class has no probability per class, which an empty array says.
    """
    keys, kind = keys_of(key.simpleString(), classes), key.simpleString()
    each, there = [], []
    for i, one in enumerate(keys.keys):
        names = [one] if not isinstance(key, StringType) else _spellings(classes[i])
        literals = [_key_sql(n, kind) for n in names if n is not None]
        values = [f"try_element_at({column}, {k})" for k in literals]
        each.append(f"CAST(COALESCE({', '.join([*values, 'NULL'])}) AS DOUBLE)")
        there += [f"IF(map_contains_key({column}, {k}), 1, 0)" for k in literals]
    known = f"size({column}) = {' + '.join(there) or '0'}"
    nothing = "CAST(array() AS ARRAY<DOUBLE>)"
    return f"IF({column} IS NULL, NULL, IF({known}, array({', '.join(each)}), {nothing}))"


def _of_struct(
    column: str, kind: StructType, table: str, theirs: str, classes: Sequence[Any]
) -> str:
    """Return a struct's probabilities in class order.

    Raises
    ------
    ColumnError
        If it has no field of a class.
        If a field is no number.
    """
    each = []
    for one in classes:
        names = [n for n in _spellings(one) if n in kind.names]
        if not names:
            raise missing_column(f"probabilities {theirs} of {table}", str(one), kind.names)
        field = kind[names[0]].dataType
        if not isinstance(field, NumericType):
            raise wrong_type(table, f"{theirs}.{names[0]}", field.simpleString(), "a number")
        each.append(f"CAST({column}.{name_sql(names[0])} AS DOUBLE)")
    return f"IF({column} IS NULL, NULL, array({', '.join(each)}))"


def _spellings(one: Any) -> list[str]:
    """Return how a class may be spelled as the name of a key or field.

    Examples
    --------
    >>> _spellings(1), _spellings(True), _spellings("spam")
    (['1', '1.0'], ['true', 'True'], ['spam'])
    """
    more = [f"{one}.0"] if type(one) is int else [str(one)] if isinstance(one, bool) else []
    return [class_text(one), *more]


def _key_sql(key: Any, kind: str) -> str:
    return f"CAST({text_sql(str(key))} AS {kind})" if kind != "boolean" else str(bool(key)).lower()


def _is_vector(kind: DataType) -> bool:
    return isinstance(kind, UserDefinedType) and kind.simpleString() == "vector"
