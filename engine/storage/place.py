"""Where a table is, parsed once: a path, a URI or a name in a catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from engine.redaction import redacted
from engine.sql import name_sql

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
# Spark reads a quoted path after one of these as the files there.
_FORMATS_AS_SCHEMA = frozenset(
    {
        "avro",
        "binaryfile",
        "csv",
        "delta",
        "hudi",
        "iceberg",
        "jdbc",
        "json",
        "orc",
        "parquet",
        "text",
    }
    | {"xml"}
)
_SCHEMA = re.compile(rf"{_PART}(\.{_PART})?")


@dataclass(frozen=True)
class Place:
    """A table's place.

    Attributes
    ----------
    text
        As its user wrote it; messages, facts and tables show it without secrets.
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
    def of_format(self) -> bool:
        """Whether it is a path after a format, which Spark reads as files: ``json.`/x` ``."""
        return self.schema.strip("`").lower() in _FORMATS_AS_SCHEMA and "/" in self.text

    @property
    def is_relative(self) -> bool:
        """Whether it is a path from the current folder."""
        return not (self.in_catalog or _ABSOLUTE.match(self.text))

    @property
    def sql(self) -> str:
        """The Delta table there, in SQL."""
        return self.text if self.in_catalog else f"delta.{name_sql(self.text)}"

    def load(self, reader: Any, form: str = "delta") -> Any:
        """Read with Spark's ``DataFrameReader``; a catalog knows the format of its tables."""
        in_catalog, text = self.in_catalog, self.text
        return reader.table(text) if in_catalog else reader.format(form).load(text)

    def save(self, writer: Any) -> None:
        """Write with Spark's ``DataFrameWriter``."""
        (writer.saveAsTable if self.in_catalog else writer.save)(self.text)

    def __str__(self) -> str:
        return redacted(self.text)


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
