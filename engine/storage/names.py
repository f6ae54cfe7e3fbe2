"""Table names: a path, or a name in a catalog."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
_TABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){1,2}")
_SCHEMA = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")


def is_catalog_name(table: str) -> bool:
    """Tell ``db.table`` and ``catalog.db.table`` from a path.

    Examples
    --------
    >>> [is_catalog_name(t) for t in ("db.t", "c.db.t", "build/t", "s3://b/t", "rows.csv", "t")]
    [True, True, False, False, False, False]
    """
    return bool(_TABLE.fullmatch(table)) and PurePosixPath(table).suffix not in FORMATS


def is_catalog_schema(root: str) -> bool:
    """Tell a schema in a catalog, ``db`` or ``catalog.db``, from a folder, which has a slash.

    Examples
    --------
    >>> [is_catalog_schema(r) for r in ("audit", "main.audit", "build/audit", "./audit")]
    [True, True, False, False]
    """
    return bool(_SCHEMA.fullmatch(root))
