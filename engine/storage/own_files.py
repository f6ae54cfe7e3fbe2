"""Files of a Delta table that Python writes itself.

Spark writes Parquet row by row. A worker that has whole columns at hand writes them in a fraction
of that time; `own_commits` adds its files to the table. Docs/adr/0036 has the figures. Workers
import this file: it knows neither Spark nor Delta.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from engine.storage.files import UNREADABLE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType


FILE = "@file"  # named as no column is: of a row that stands for a file, what the commit says of it
_NEWEST = 100  # commits that may have come since one that failed began
_GROUP = 2**20  # rows of a row group
_GROUP_BYTES = 2**26  # of its values, about


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

    def is_committed(self) -> bool:
        """Tell whether the table's log has this write, or may have it."""
        logs = sorted(Path(self.folder, "_delta_log").glob("*.json"))[-_NEWEST:]
        try:
            return any(self.attempt in log.read_text(encoding="utf-8") for log in logs)
        except OSError:
            return True

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
            raise unwritable(str(self._path), error) from error
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


def as_row(file: OwnFile) -> str:
    """Return a file as its row has it."""
    return json.dumps(asdict(file))


def unwritable(path: str, why: object) -> OSError:
    """Return the error of a file that Spark has to write."""
    return OSError(f"{UNREADABLE} or write {path}: {why}")
