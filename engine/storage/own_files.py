"""Files of a Delta table that Python workers write themselves, and the commit that adds them.

Spark writes Parquet row by row. A worker that has whole columns at hand writes them in a fraction
of that time, and Delta's own transaction commits its files: so conflicts, versions and checkpoints
are Delta's affair, as with any write. Docs/adr/0036 has the figures.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import MeanwhileError
from engine.storage.files import SCALARS, UNREADABLE, arrow_kind
from engine.storage.jvm import (
    accepts_files,
    begun,
    columns_of,
    commit_files,
    local_folder,
    version_of,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from engine.storage.place import Place

FILE = "@file"  # named as no column is: of a row that stands for a file, what the commit says of it
_GROUP = 2**20  # rows of a row group
_GROUP_BYTES = 2**26  # of its values, about
# The session's names of codecs to Arrow's.
_CODECS = {"lz4_raw": "lz4", "snappy": "snappy", "zstd": "zstd", "gzip": "gzip",
           "uncompressed": "none", "none": "none"}  # fmt: skip
# Of a column's metadata, what says nothing that a writer has to obey.
_HARMLESS = frozenset(("slice", "slices", "carried", "comment"))
_NOT_IN_NAMES = frozenset(" ,;{}()\n\t=")


@dataclass(frozen=True)
class OwnFile:
    """A file that a worker wrote.

    Attributes
    ----------
    path
        Its name in the table's folder.
    size, rows, time
        Its bytes, its rows, and when it was written, in milliseconds.
    stats
        What readers skip it by, as Delta has it.
    """

    path: str
    size: int
    rows: int
    time: int
    stats: str

    @property
    def action(self) -> dict[str, Any]:
        """What the table's log says of it."""
        return {
            "path": self.path, "size": self.size, "partitionValues": {}, "dataChange": True,
            "modificationTime": self.time, "stats": self.stats,
        }  # fmt: skip


@dataclass(frozen=True)
class Form:
    """How workers write a table's files.

    Attributes
    ----------
    folder
        The table's, on a file system that workers have.
    attempt
        Which write it is: names of files start with it.
    columns
        The table's columns with their types.
    codec
        Arrow's name of what compresses them.
    spark
        The version of Spark, whose calendar times are of.
    """

    folder: str
    attempt: str
    columns: Mapping[str, pa.DataType]
    codec: str
    spark: str

    @property
    def schema(self) -> pa.Schema:
        """What files say of themselves."""
        about = {b"org.apache.spark.version": self.spark.encode()}
        return pa.schema(list(self.columns.items()), metadata=about)

    def left(self, but: Sequence[str] = ()) -> list[Path]:
        """Return the files of this write that are there, but some."""
        return [
            path for path in Path(self.folder).glob(f"{self.attempt}-*") if path.name not in but
        ]


@dataclass(frozen=True)
class OwnRows:
    """A table's rows that workers write as they compute them.

    Attributes
    ----------
    df
        Few rows: of each file one, whose ``@file`` isn't null, and others that have to be looked
        at. Reading them writes the files.
    form
        How these are written.
    schema
        The table's columns.
    """

    df: DataFrame
    form: Form
    schema: StructType


class Writer:
    """Writes one file of a table; one that isn't closed is removed.

    Parameters
    ----------
    form
        How.
    """

    def __init__(self, form: Form) -> None:
        self._form, self._name = form, f"{form.attempt}-{uuid4().hex}.parquet"
        self._path = Path(form.folder) / self._name
        self._waiting: list[pa.RecordBatch] = []
        self._file: pq.ParquetWriter | None = None
        self.done: OwnFile | None = None

    def __enter__(self) -> Self:
        names = [c for c, kind in self._form.columns.items() if pa.types.is_string(kind)]
        try:
            self._file = pq.ParquetWriter(
                self._path, self._form.schema, compression=self._form.codec, use_dictionary=names,
                store_schema=False,
            )  # fmt: skip
        except OSError as error:  # of another machine, whose folders are others
            raise _unwritable(str(self._path), error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._drop()
            return
        try:
            self.done = self._whole()
        except BaseException:
            self._drop()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows, whose columns are the table's."""
        self._waiting.append(batch)
        rows = sum(b.num_rows for b in self._waiting)
        if rows >= _GROUP or sum(b.nbytes for b in self._waiting) >= _GROUP_BYTES:
            self._flush()

    def _whole(self) -> OwnFile:
        assert self._file is not None  # it was entered
        self._flush()
        self._file.close()
        about, now = pq.read_metadata(self._path), int(time.time() * 1000)
        size = self._path.stat().st_size
        return OwnFile(self._name, size, about.num_rows, now, _stats(about))

    def _drop(self) -> None:
        assert self._file is not None  # it was entered
        with suppress(OSError, pa.ArrowException):  # the disk may have no room for the rest
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            assert self._file is not None  # it was entered
            rows = pa.Table.from_batches(self._waiting).cast(self._form.schema)
            self._file.write_table(rows, _GROUP)
            self._waiting = []


def _stats(about: Any) -> str:
    """Return what readers may skip a file by: ranges of whole numbers, and how many nulls."""
    low: dict[str, int] = {}
    high: dict[str, int] = {}
    nulls: dict[str, int] = {}
    kinds = about.schema.to_arrow_schema()
    for i in range(about.num_columns):
        name = about.schema.column(i).path
        if "." in name:
            continue  # within a list, a map or a struct
        known = [about.row_group(g).column(i).statistics for g in range(about.num_row_groups)]
        if not known or any(k is None or not k.has_null_count for k in known):
            continue
        nulls[name] = sum(k.null_count for k in known)
        if not pa.types.is_integer(kinds.field(name).type):
            continue  # of other values Arrow's and Delta's ranges may differ
        values = [k for k in known if k.has_min_max]
        if values and len(values) == sum(k.num_values > 0 for k in known):
            low[name], high[name] = min(k.min for k in values), max(k.max for k in values)
    return json.dumps(
        {"numRecords": about.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
    )


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
        and not set(f.name) & _NOT_IN_NAMES
        and f.metadata.keys() <= _HARMLESS
        for f in schema
    )
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
    from pyspark.sql import functions as F  # noqa: N812 - executors import this file without Spark

    spark, form = rows.df.sparkSession, rows.form
    # Before rows are read: what others commit from now on is a conflict, if it is one.
    transaction = begun(spark, place.text)
    if transaction is None:
        raise _unwritable(str(place), "it asks more of its writers than it did")
    Path(form.folder).mkdir(parents=True, exist_ok=True)
    try:
        texts = rows.df.agg(F.collect_list(F.col(f"`{FILE}`"))).collect()[0][0]
        files = [OwnFile(**json.loads(text)) for text in texts]
        for file in files:
            _check(Path(form.folder) / file.path, file)
        some = [file for file in files if file.rows]
        n = sum(file.rows for file in some)
        done = commit_files(
            spark, transaction, _nullable(rows.schema), [file.action for file in some], metadata, n,
            replaces=replaces,
        )  # fmt: skip
    except BaseException:
        _remove(form.left())
        raise
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
    try:
        with Writer(form) as file:
            for batch in rows.to_batches():
                file.write(batch)
        assert file.done is not None  # it was closed
        files = [file.done.action] if rows.num_rows else []
        done = commit_files(
            spark, transaction, _nullable(schema), files, metadata, rows.num_rows,
            replaces=replaces, writer=writer, properties=properties,
        )  # fmt: skip
    except BaseException:
        _remove(form.left())
        raise
    if not files:
        _remove(form.left())
    return done


def _check(path: Path, file: OwnFile) -> None:
    if not path.exists() or path.stat().st_size != file.size:
        raise _unwritable(str(path), "it isn't there as its worker wrote it")


def _unwritable(path: str, why: object) -> OSError:
    """Return the error of a file that Spark has to write."""
    return OSError(f"{UNREADABLE} or write {path}: {why}")


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _nullable(schema: StructType) -> str:
    fields = [{**field, "nullable": True} for field in schema.jsonValue()["fields"]]
    return json.dumps({"type": "struct", "fields": fields})


def as_row(file: OwnFile) -> str:
    """Return a file as its row has it."""
    return json.dumps(asdict(file))
