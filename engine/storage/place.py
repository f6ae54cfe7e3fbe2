"""A table: where it is, parsed once; how it was read; how it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, DataFrameWriter

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
_PART = r"(?:[A-Za-z_]\w*|`(?:[^`]|``)+`)"
_TABLE = re.compile(rf"({_PART}(?:\.{_PART})?)\.{_PART}")
_ABSOLUTE = re.compile(r"/|[A-Za-z][\w+.-]*:")
_SCHEMA = re.compile(rf"{_PART}(\.{_PART})?")


@dataclass(frozen=True)
class Place:
    """A table's place.

    Attributes
    ----------
    text
        As its user wrote it, and as messages show it.
    schema
        The schema of a table in a catalog; empty for paths and URIs.
    format
        The format that the end of a file's name says; None where it says none.

    Examples
    --------
    >>> for text in ("db.t", "c.db.t", "`my cat`.db.t", "build/t", "s3://b/t", "rows.csv", "t"):
    ...     place = Place.of(text)
    ...     print(place, place.in_catalog, place.schema, place.format, place.sql)
    db.t True db None db.t
    c.db.t True c.db None c.db.t
    `my cat`.db.t True `my cat`.db None `my cat`.db.t
    build/t False  None delta.`build/t`
    s3://b/t False  None delta.`s3://b/t`
    rows.csv False  csv delta.`rows.csv`
    t False  None delta.`t`
    """

    text: str
    schema: str
    format: str | None

    @classmethod
    def of(cls, table: str | Place) -> Place:
        """Return the place that a text names."""
        if isinstance(table, Place):
            return table
        suffix = PurePosixPath(table).suffix
        name = None if suffix in FORMATS else _TABLE.fullmatch(table)
        return cls(table, name[1], None) if name else cls(table, "", FORMATS.get(suffix.lower()))

    @property
    def in_catalog(self) -> bool:
        """Whether it is a name in a catalog."""
        return bool(self.schema)

    @property
    def is_relative(self) -> bool:
        """Whether it is a path from the current folder."""
        return not (self.in_catalog or _ABSOLUTE.match(self.text))

    @property
    def sql(self) -> str:
        """The Delta table there, in SQL."""
        return self.text if self.in_catalog else f"delta.{name_sql(self.text)}"

    def load(self, reader: DataFrameReader, form: str = "delta") -> DataFrame:
        """Read with Spark's ``DataFrameReader``; a catalog knows the format of its tables."""
        in_catalog, text = self.in_catalog, self.text
        return reader.table(text) if in_catalog else reader.format(form).load(text)

    def save(self, writer: DataFrameWriter) -> None:
        """Write with Spark's ``DataFrameWriter``."""
        (writer.saveAsTable if self.in_catalog else writer.save)(self.text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Root:
    """Where a project's tables are: a folder, a URI, or a schema in a catalog.

    A schema is ``db`` or ``catalog.db``; a folder has a slash.

    Examples
    --------
    >>> for text in ("audit", "main.audit", "build/audit/", "./audit", "s3://b/audit"):
    ...     root = Root.of(text)
    ...     print(root.in_catalog, root.table("masks"))
    True audit.masks
    True main.audit.masks
    False build/audit/masks
    False ./audit/masks
    False s3://b/audit/masks
    """

    text: str
    in_catalog: bool

    @classmethod
    def of(cls, text: str) -> Root:
        """Return the root that a text names."""
        return cls(text, bool(_SCHEMA.fullmatch(text)))

    def table(self, name: str) -> Place:
        """Return the place of a table."""
        return Place.of(f"{self.text.rstrip('/')}{'.' if self.in_catalog else '/'}{name}")


@dataclass(frozen=True)
class Snapshot:
    """A table as it was read.

    Attributes
    ----------
    place
        Where it is.
    df
        Its rows; for Delta pinned at ``version``, however often it is read.
    version
        The Delta version, or a hash of what is known of its files or its plan; for people to read.
    identity
        Differs where rows differ: this, not ``version``, tells tables apart.
    rows_version
        The Delta version that made its rows; later commits changed none.
    unknown
        A sentence that says why rows may differ though ``identity`` is the same; else None.
    known_by
        How its files are identified, in words; empty for Delta.
    facts
        The metadata of the commit that made its rows; empty where its writer isn't ours.
    """

    place: Place
    df: DataFrame
    version: str
    identity: str = ""
    rows_version: str = ""
    unknown: str | None = None
    known_by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its path or catalog name."""
        return str(self.place)


@dataclass(frozen=True)
class Written:
    """What a write did: the table, its version, rows written, seconds taken, and whose it is."""

    place: Place
    version: str
    rows: int
    seconds: float
    changed: bool = True
    attempt: str = ""

    def __str__(self) -> str:
        if not self.changed:
            return f"unchanged {self.place} version {self.version} ({self.rows:,} rows)"
        return (
            f"wrote {self.place} version {self.version}: {self.rows:,} rows in {self.seconds:.1f} s"
        )
