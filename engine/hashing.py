"""One hash for splits, samples and replicates: the same in Spark and in Python.

``xxhash64(text)``, with Spark's seed 42, of the UTF-8 of ``"<seed>/"`` followed by
``"<length>:<value>,"`` for each key column, where value is the column's canonical text and
length counts its UTF-8 bytes (so that no two keys give the same text). Canonical texts: a string
is itself, an integer or DECIMAL(p,0) its decimal digits, a boolean ``true`` or ``false``, a date
``YYYY-MM-DD``, a timestamp its microseconds since 1970-01-01 00:00 UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import KeyTypeError
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_SPARK_SEED = 42
_EPOCH = dt.datetime(1970, 1, 1)
_PLAIN = ("string", "tinyint", "smallint", "int", "bigint", "boolean", "date")


def canonical(key: Any) -> str:
    """Return the canonical text of a key: a value, or a tuple of one value per key column.

    Raises
    ------
    KeyTypeError
        If a value is of a type that has no canonical text, such as a float.

    Examples
    --------
    >>> canonical("a,b"), canonical(("é", 7, True))
    ('3:a,b,', '2:é,1:7,4:true,')
    """
    values = key if isinstance(key, tuple) else (key,)
    return "".join(f"{len(t.encode())}:{t}," for t in map(_text, values))


def key_hash(keys: Iterable[Any], seed: int) -> np.ndarray:
    """Hash keys on the driver; ``[n]`` uint64.

    Examples
    --------
    >>> key_hash(["a", "b"], seed=7).dtype
    dtype('uint64')
    """
    import xxhash

    hashes = [xxhash.xxh64_intdigest(f"{seed}/{canonical(k)}".encode(), _SPARK_SEED) for k in keys]
    return np.array(hashes, dtype=np.uint64)


def unit_interval(keys: Iterable[Any], seed: int) -> np.ndarray:
    """Hash keys to numbers uniform in [0, 1); ``[n]`` float64.

    Examples
    --------
    >>> u = unit_interval(["a", "b"], seed=7)
    >>> bool(((u >= 0) & (u < 1)).all())
    True
    """
    return (key_hash(keys, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def unit_interval_column(df: DataFrame, key: Sequence[str], seed: int) -> Column:
    """Return :func:`unit_interval` of a table's key as a Spark column.

    Raises
    ------
    KeyTypeError
        If a key column's type has no canonical text.
    """
    from pyspark.sql import functions as F  # noqa: N812

    return F.shiftrightunsigned(key_hash_column(df, key, seed), 11) * F.lit(2.0**-53)


def key_hash_column(df: DataFrame, key: Sequence[str], seed: int) -> Column:
    """Return :func:`key_hash` of a table's key as a Spark column, BIGINT with the same 64 bits.

    Raises
    ------
    KeyTypeError
        If a key column's type has no canonical text.
    """
    from pyspark.sql import functions as F  # noqa: N812

    return F.expr(key_hash_sql(df, key, seed))


def key_hash_sql(df: DataFrame, key: Sequence[str], seed: int) -> str:
    """Return :func:`key_hash_column` in SQL."""
    texts = [_text_of(k, df.schema[k].dataType) for k in key]
    parts = ", ".join(f"CAST(octet_length({t}) AS STRING), ':', {t}, ','" for t in texts)
    return f"xxhash64(concat('{seed}/', {parts}))"


def check_key_type(name: str, kind: DataType) -> None:
    """Raise :class:`KeyTypeError` if a column of this type can't be part of a key."""
    plain = kind.simpleString()
    whole = plain.startswith("decimal") and plain.endswith(",0)")
    if not (plain in _PLAIN or plain.startswith("timestamp") or whole):
        raise KeyTypeError(name, plain)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    if isinstance(value, dt.datetime):
        naive = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return str((naive - _EPOCH) // dt.timedelta(microseconds=1))
    if isinstance(value, dt.date):
        return value.isoformat()
    raise KeyTypeError("key", type(value).__name__)


def _text_of(name: str, kind: DataType) -> str:
    check_key_type(name, kind)
    column, spelled = name_sql(name), kind.simpleString()
    if spelled == "timestamp_ntz":
        epoch = "TIMESTAMP_NTZ '1970-01-01'"
        return f"CAST(timestampdiff(MICROSECOND, {epoch}, {column}) AS STRING)"
    if spelled == "timestamp":
        return f"CAST(unix_micros({column}) AS STRING)"
    return f"CAST({column} AS STRING)"
