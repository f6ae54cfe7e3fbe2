"""The commit that adds files which Python wrote to a Delta table.

Delta's own transaction makes it: so conflicts, versions and checkpoints are Delta's affair, as with
any write by Spark.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pyarrow as pa
from delta.exceptions import DeltaConcurrentModificationException
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from engine.errors import MeanwhileError
from engine.storage.files import SCALARS, arrow_kind
from engine.storage.jvm import (
    accepts_files,
    begun,
    columns_of,
    commit_files,
    local_folder,
    version_of,
)
from engine.storage.own_files import FILE, Form, OwnFile, OwnRows, Writer, unwritable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from engine.storage.place import Place

# The session's names of codecs to Arrow's.
_CODECS = {"lz4_raw": "lz4", "snappy": "snappy", "zstd": "zstd", "gzip": "gzip",
           "uncompressed": "none", "none": "none"}  # fmt: skip
# Of a column's metadata, what says nothing that a writer has to obey.
_HARMLESS = frozenset(("slice", "slices", "carried", "comment"))
_NOT_IN_NAMES = frozenset(" ,;{}()\n\t=")


def maps_names(kind: DataType) -> bool:
    """Tell whether a column's name has a character that Parquet allows in no name.

    Delta maps such names to others; readers of Delta know that since its reader version 2.
    """
    if isinstance(kind, StructType):
        return any(set(f.name) & _NOT_IN_NAMES or maps_names(f.dataType) for f in kind)
    if isinstance(kind, ArrayType):
        return maps_names(kind.elementType)
    return isinstance(kind, MapType) and (maps_names(kind.keyType) or maps_names(kind.valueType))


def form_of(
    spark: SparkSession,
    place: Place,
    schema: StructType,
    attempt: str,
    codec: str,
    nested: bool = False,
) -> Form | None:
    """Return how workers write a table's files; None where Spark has to write them.

    Spark has to where the table isn't in a folder of a mounted file system, is partitioned, has a
    property or feature that asks something of its writers, or a column of a type or name that
    Parquet or Arrow has otherwise.

    Parameters
    ----------
    spark
        The session.
    place
        The table's.
    schema
        The columns that it will have.
    attempt
        Which write it is.
    codec
        The session's name of what compresses files.
    nested
        Whether columns may hold lists, maps and structs.
    """
    kinds = {f.name: arrow_kind(f.dataType) for f in schema}
    plain = all(
        (nested or f.dataType.simpleString() in SCALARS)
        and kinds[f.name] is not None
        and f.metadata.keys() <= _HARMLESS
        for f in schema
    )
    plain = plain and not maps_names(schema)
    folder = local_folder(spark, place.text) if plain and not place.in_catalog else None
    if (
        folder is None
        or not _has_a_name(folder)
        or codec not in _CODECS
        or not accepts_files(spark, place.text)
    ):
        return None
    columns = {c: kind for c, kind in kinds.items() if kind is not None}
    return Form(folder, attempt, columns, _CODECS[codec], spark.version)


def _has_a_name(folder: str) -> bool:
    """Tell whether this process can name a folder: in an ASCII locale not all names can be said."""
    try:
        os.fsencode(folder)
    except UnicodeEncodeError:
        return False
    return True


def commit(rows: OwnRows, place: Place, metadata: str, *, replaces: bool) -> tuple[int, int, str]:
    """Let workers write files, and add these to a table in one commit.

    Parameters
    ----------
    rows
        The rows.
    place
        The table's.
    metadata
        What the commit says of itself.
    replaces
        Whether the table's rows go.

    Returns
    -------
    tuple
        How many rows there are, the commit's version, and the table's id.

    Raises
    ------
    OSError
        If a file isn't there as its worker says.
    """
    spark, form = rows.df.sparkSession, rows.form
    # Before rows are read: what others commit from now on is a conflict, if it is one.
    transaction = begun(spark, place.text)
    if transaction is None:
        raise unwritable(str(place), "it asks more of its writers than it did")
    Path(form.folder).mkdir(parents=True, exist_ok=True)
    try:
        texts = rows.df.agg(F.collect_list(F.col(f"`{FILE}`"))).collect()[0][0]
        files = [OwnFile(**json.loads(text)) for text in texts]
        for file in files:
            _check(Path(form.folder) / file.path, file)
    except BaseException:
        _remove(form.left())
        raise
    some = [file for file in files if file.rows]
    n = sum(file.rows for file in some)
    with _kept_if_committed(form):
        done = commit_files(
            spark, transaction, _nullable(rows.schema), [file.action for file in some], metadata, n,
            replaces=replaces,
        )  # fmt: skip
    _remove(form.left([file.path for file in some]))  # of tasks that were tried again
    return n, *done


def commit_here(
    spark: SparkSession,
    place: Place,
    form: Form,
    rows: pa.Table,
    schema: StructType,
    metadata: str,
    *,
    version: int,
    writer: tuple[str, int],
    replaces: bool = False,
    properties: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str] | None:
    """Add the driver's own rows to a table in one commit; None where Spark has to.

    Parameters
    ----------
    spark, place, form, metadata, replaces
        As for :func:`commit`.
    rows, schema
        The rows, and the table's columns.
    version
        The version of the table that the rows are for; -1 where there is none.
    writer, properties
        As for :func:`.commit_files`.

    Returns
    -------
    tuple
        The commit's version, and the table's id.

    Raises
    ------
    MeanwhileError
        If the table has another version.
    """
    transaction = begun(spark, place.text)
    if transaction is None:
        return None
    if version_of(transaction) != version:
        raise MeanwhileError(str(place), new=version < 0)
    if not replaces and version >= 0 and not set(schema.names) <= columns_of(transaction):
        return None
    Path(form.folder).mkdir(parents=True, exist_ok=True)
    with Writer(form) as file:
        for batch in rows.to_batches():
            file.write(batch)
    assert file.done is not None  # it was closed
    files = [file.done.action] if rows.num_rows else []
    with _kept_if_committed(form):
        done = commit_files(
            spark, transaction, _nullable(schema), files, metadata, rows.num_rows,
            replaces=replaces, writer=writer, properties=properties,
        )  # fmt: skip
    if not files:
        _remove(form.left())
    return done


@contextmanager
def _kept_if_committed(form: Form) -> Iterator[None]:
    """Remove a write's files where Delta says that it didn't commit them.

    Where the call itself broke off, nobody knows: then they stay, for VACUUM or a table to have.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError, DeltaConcurrentModificationException) as error:
        if not form.is_committed():
            _remove(form.left())
        raise error from None


def _check(path: Path, file: OwnFile) -> None:
    if not path.exists() or path.stat().st_size != file.size:
        raise unwritable(str(path), "it isn't there as its worker wrote it")


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _nullable(schema: StructType) -> str:
    fields = [{**field, "nullable": True} for field in schema.jsonValue()["fields"]]
    return json.dumps({"type": "struct", "fields": fields})
