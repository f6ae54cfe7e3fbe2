"""One hash for splits, samples and replicates: the same in Spark and in Python.

``xxhash64(text)``, with Spark's seed 42, of the UTF-8 of ``"<seed>/"`` followed by
``"<length>:<value>,"`` for each key column, where value is the column's canonical text and
length counts its UTF-8 bytes (so that no two keys give the same text); a null among several
columns is ``"-,"``. Canonical texts: a string is itself, an integer or DECIMAL(p,0) its decimal
digits, a boolean ``true`` or ``false``, a date ``YYYY-MM-DD``, a timestamp its microseconds since
1970-01-01 00:00 UTC.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import ColumnError
from engine.sql import name_sql

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_SPARK_SEED = 42
_NULL = "-,"  # among several columns
_EPOCH = dt.datetime(1970, 1, 1)
_PLAIN = ("string", "tinyint", "smallint", "int", "bigint", "boolean", "date")
# xxHash64's five primes.
_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(p)
    for p in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)  # fmt: skip


@dataclass(frozen=True)
class KeyHash:
    """The hash of a table's rows: of which columns, and by which seed."""

    columns: tuple[str, ...]
    seed: int

    def sql(self, df: DataFrame) -> str:
        """Return it in SQL, a BIGINT with the 64 bits of :func:`key_hash`.

        Raises
        ------
        ColumnError
            If a column's type has no canonical text.
        """
        texts = [_text_of(k, df.schema[k].dataType) for k in self.columns]
        parts = [f"CAST(octet_length({t}) AS STRING), ':', {t}, ','" for t in texts]
        if len(parts) > 1:  # else all rows with a null in one of them would have one hash
            parts = [f"COALESCE(concat({part}), '{_NULL}')" for part in parts]
        return f"xxhash64(concat('{self.seed}/', {', '.join(parts)}))"

    def of(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """Return it of Arrow's columns of strings, integers or booleans; ``[n]`` uint64.

        A row whose only column is null has the hash that Spark gives a null.

        Examples
        --------
        >>> import pyarrow as pa
        >>> columns = [pa.array(["a", "é", None]), pa.array([1, -20, 3])]
        >>> hashes = KeyHash(("name", "n"), 7).of(columns)
        >>> (hashes == key_hash([("a", 1), ("é", -20), (None, 3)], 7)).all()
        np.True_
        >>> KeyHash(("name",), 7).of(columns[:1]).tolist()[2]
        42
        """
        import pyarrow as pa  # here, so that hashing in Spark loads no Arrow
        import pyarrow.compute as pc

        parts: list[Any] = [f"{self.seed}/"]
        for column in columns:
            text = column.cast(pa.string())
            part = [pc.binary_length(text).cast(pa.string()), ":", text, ","]
            if len(columns) > 1:
                part = [pc.binary_join_element_wise(*part, "").fill_null(_NULL)]
            parts += part
        texts = pc.binary_join_element_wise(*parts, "")
        hashes = np.full(len(texts), _SPARK_SEED, np.uint64)
        hashes[np.asarray(texts.is_valid())] = _xxh64(texts.drop_null())
        return hashes


def spread(numbers: np.ndarray) -> np.ndarray:
    """Return 64 bits for 64 bits, no two alike of unlike ones, that look like drawn at random.

    Examples
    --------
    >>> len(np.unique(spread(np.arange(1000, dtype=np.uint64)) >> np.uint64(32)))
    1000
    """
    with np.errstate(over="ignore"):  # Stafford's variant 13 of MurmurHash3's finish
        x = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def row_hashes(columns: Sequence[pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """Return hashes of rows' keys, and which rows have one: none of its values is null.

    Keys of one integer have different hashes; others almost surely. What integers, texts and so on
    are alike in Spark are alike here.

    Examples
    --------
    >>> import pyarrow as pa
    >>> small, large = (pa.array([7, None, 9], kind) for kind in (pa.int8(), pa.int64()))
    >>> hashes, valid = row_hashes([small])
    >>> valid.tolist(), bool((hashes == row_hashes([large])[0]).all())
    ([True, False, True], True)
    """
    valid = np.logical_and.reduce([np.asarray(c.is_valid()) for c in columns])
    hashes = _hashed(columns[0])
    with np.errstate(over="ignore"):
        for column in columns[1:]:
            hashes = spread(hashes * _P1 + _hashed(column))
    return hashes, valid


def _hashed(column: pa.Array) -> np.ndarray:
    import pyarrow as pa  # as above
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_date32(kind):
        column = column.view(pa.int32())
    elif pa.types.is_timestamp(kind):
        column = column.view(pa.int64())
    if pa.types.is_integer(column.type) or pa.types.is_boolean(kind):
        numbers = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        return spread(numbers.view(np.uint64))
    return _xxh64(pc.fill_null(column.cast(pa.string()), ""))


def canonical(key: Any) -> str:
    """Return the canonical text of a key: a value, or a tuple of one value per key column.

    Raises
    ------
    ColumnError
        If a value is of a type that has no canonical text, such as a float.

    Examples
    --------
    >>> canonical("a,b"), canonical(("é", 7, True))
    ('3:a,b,', '2:é,1:7,4:true,')
    """
    values = key if isinstance(key, tuple) else (key,)
    texts = (None if v is None and len(values) > 1 else _text(v) for v in values)
    return "".join(_NULL if t is None else f"{len(t.encode())}:{t}," for t in texts)


def key_hash(keys: Iterable[Any], seed: int) -> np.ndarray:
    """Hash keys on the driver; ``[n]`` uint64.

    Examples
    --------
    >>> key_hash(["a", "b"], seed=7).dtype
    dtype('uint64')
    """
    import xxhash  # which executors lack

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
    ColumnError
        If a key column's type has no canonical text.
    """
    from pyspark.sql import functions as F  # noqa: N812 - hashing without Spark needs no pyspark

    return F.shiftrightunsigned(key_hash_column(df, key, seed), 11) * F.lit(2.0**-53)


def key_hash_column(df: DataFrame, key: Sequence[str], seed: int) -> Column:
    """Return :func:`key_hash` of a table's key as a Spark column, BIGINT with the same 64 bits.

    Raises
    ------
    ColumnError
        If a key column's type has no canonical text.
    """
    from pyspark.sql import functions as F  # noqa: N812 - hashing without Spark needs no pyspark

    return F.expr(KeyHash(tuple(key), seed).sql(df))


def check_key_type(name: str, kind: DataType) -> None:
    """Raise :class:`ColumnError` if a column of this type can't be part of a key."""
    plain = kind.simpleString()
    whole = plain.startswith("decimal") and plain.endswith(",0)")
    if not (plain in _PLAIN or plain.startswith("timestamp") or whole):
        raise not_a_key(name, plain)


def not_a_key(column: str, kind: str) -> ColumnError:
    """Return the error of a key column whose type has no canonical text."""
    return ColumnError(
        f"key column {column!r} is {kind}, which can't be a key: use a string, integer, "
        "boolean, date, timestamp or DECIMAL(p,0), or cast it in the source"
    )


def _xxh64(texts: pa.Array) -> np.ndarray:
    """Return the xxHash64 of strings, ``[n]`` uint64.

    As its specification has it (Collet, github.com/Cyan4973/xxHash/blob/dev/doc), all strings of a
    length at a time.
    """
    _, ends, data = texts.buffers()
    offsets = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(data or b"", np.uint8)
    lengths = np.diff(offsets)
    hashes = np.empty(len(texts), np.uint64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        hashes[rows] = _xxh64_block(letters[offsets[rows][:, None] + np.arange(length)])
    return hashes


def _xxh64_block(letters: np.ndarray) -> np.ndarray:
    """Return the xxHash64 of strings of one length, ``[n, length]`` uint8."""
    n, length = letters.shape
    seed, whole = np.uint64(_SPARK_SEED), length // 8
    lanes = np.ascontiguousarray(letters[:, : 8 * whole]).view("<u8").T
    at = length // 32 * 4
    with np.errstate(over="ignore"):
        hashes = np.full(n, seed + _P5)
        if at:
            sums = [np.full(n, s) for s in (seed + _P1 + _P2, seed + _P2, seed, seed - _P1)]
            for i in range(at):
                sums[i % 4] = _round(sums[i % 4], lanes[i])
            turned = zip(sums, (1, 7, 12, 18), strict=True)
            hashes = sum((_turned(s, by) for s, by in turned), np.zeros(n, np.uint64))
            for one in sums:
                hashes = (hashes ^ _round(np.zeros(n, np.uint64), one)) * _P1 + _P4
        hashes = hashes + np.uint64(length)
        for lane in lanes[at:]:
            hashes = _turned(hashes ^ _round(np.zeros(n, np.uint64), lane), 27) * _P1 + _P4
        rest = letters[:, 8 * whole :]
        if rest.shape[1] >= 4:  # noqa: PLR2004
            half = np.ascontiguousarray(rest[:, :4]).view("<u4")[:, 0].astype(np.uint64)
            hashes, rest = _turned(hashes ^ (half * _P1), 23) * _P2 + _P3, rest[:, 4:]
        for letter in rest.T.astype(np.uint64):
            hashes = _turned(hashes ^ (letter * _P5), 11) * _P1
        for shift, prime in ((33, _P2), (29, _P3)):
            hashes = (hashes ^ (hashes >> np.uint64(shift))) * prime
        return np.asarray(hashes ^ (hashes >> np.uint64(32)))


def _round(total: np.ndarray, lane: np.ndarray) -> np.ndarray:
    return _turned(total + lane * _P2, 31) * _P1


def _turned(bits: np.ndarray, by: int) -> np.ndarray:
    return (bits << np.uint64(by)) | (bits >> np.uint64(64 - by))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    whole = isinstance(value, Decimal) and value == value.to_integral_value()
    if whole or isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, dt.datetime):
        naive = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return str((naive - _EPOCH) // dt.timedelta(microseconds=1))
    if isinstance(value, dt.date):
        return value.isoformat()
    raise not_a_key("key", type(value).__name__)


def _text_of(name: str, kind: DataType) -> str:
    check_key_type(name, kind)
    column = name_sql(name)
    since_1970 = {
        "timestamp_ntz": f"timestampdiff(MICROSECOND, TIMESTAMP_NTZ '1970-01-01', {column})",
        "timestamp": f"unix_micros({column})",
    }
    return f"CAST({since_1970.get(kind.simpleString(), column)} AS STRING)"
