"""Of which files a DataFrame's rows are, if they are a table's rows and nothing else.

Spark's own plan is asked, made anew: a rule of Spark's or of a catalog's that changes rows, as a
row filter or a column mask does, adds a node to it, and then these aren't the table's rows.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from engine.storage.deletion_vectors import DeletionVector
from engine.storage.delta_files import Action, files_added, may_have
from engine.storage.jvm import (
    OF_FILES,
    class_name,
    deletion_vector,
    is_a,
    is_classic,
    items,
    lines,
    query,
)
from engine.storage.session import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SCHEME = "file:"
_DELTA = ("DeltaParquetFileFormat", "PreparedDeltaFileIndex")
_UNPREPARED = "TahoeLogFileIndex"  # whose files Spark would look for in jobs
_WITHOUT_JOBS = {"spark.databricks.delta.stats.skipping": "false"}
_PARQUET = ("ParquetFileFormat", "InMemoryFileIndex")
_FILE_OF_ROW = "input_file_"
# A partition's text as its value; other types' texts are Spark's to read.
_VALUES: Final[Mapping[str, Callable[[str], Any]]] = {
    "string": str, "tinyint": int, "smallint": int, "int": int, "bigint": int,
    "date": dt.date.fromisoformat, "boolean": {"true": True, "false": False}.__getitem__,
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A file of a table.

    Attributes
    ----------
    path
        Where it is.
    size
        Its bytes.
    constants
        Partition column to the value that all of its rows have.
    deleted
        Which of its rows are deleted; None where none are.
    """

    path: str
    size: int
    constants: Mapping[str, Any]
    deleted: DeletionVector | None


@dataclass(frozen=True)
class Scanned:
    """The files of a table's rows.

    Attributes
    ----------
    pieces
        The files.
    names
        Column to its name in the files.
    """

    pieces: Sequence[Piece]
    names: Mapping[str, str]


def scanned(
    df: DataFrame, columns: Mapping[str, str], values: Mapping[str, Any] = MappingProxyType({})
) -> Scanned | None:
    """Return the files whose rows are a DataFrame's; None where Spark has to read them.

    The DataFrame may leave out columns, and rows by a predicate over partition columns.

    Parameters
    ----------
    df
        The rows.
    columns
        Those of its columns that are read, with their types in Spark's words.
    values
        Column to the value of all rows that are wanted: files that can't have one are left out.
    """
    if not is_classic(df):
        return None
    spark = df.sparkSession
    # A query of its own: one that was planned before doesn't see what was written since.
    with settings(spark, _WITHOUT_JOBS):
        relation = _relation(spark, query(df.alias("rows")).optimizedPlan())
    if relation is not None and class_name(relation.location()) == _UNPREPARED:
        snapshot = relation.location().getSnapshot()
        log = _here([str(snapshot.deltaLog().logPath().toString())], os.path.isdir)
        files = files_added(log[0], int(snapshot.version())) if log else None
        if files is not None:
            return _of_delta(spark, relation, columns, files, values)
    relation = _relation(spark, query(df.alias("rows")).optimizedPlan())
    if relation is None:
        return None
    form = class_name(relation.fileFormat()), class_name(relation.location())
    if form == _DELTA:
        scan = relation.location().preparedScan()
        files = [json.loads(added.json())["add"] for added in items(scan.files().iterator())]
        return _of_delta(spark, relation, columns, files, values)
    # What options or folders say of Parquet files is Spark's to read.
    more = relation.partitionSchema().fieldNames() or {*_options(relation)} - {"path"}
    if form != _PARQUET or more:
        return None
    names = lines(spark, relation.location().inputFiles())
    whole = [Piece(path, os.stat(path).st_size, {}, None) for path in _here(names) or ()]
    return Scanned(whole, {c: c for c in columns}) if whole else None


def columns_read(df: DataFrame) -> frozenset[str] | None:
    """Return which columns of the rows under a projection it reads.

    None where it reads where a row is stored, too, which only Spark's own scan tells.
    """
    if not is_classic(df):
        return None
    plan = query(df).analyzed()
    there = [str(name) for name in plan.child().schema().fieldNames()]
    columns = {**{name.lower(): name for name in there}, **{name: name for name in there}}
    named = [str(a.name()) for a in items(plan.references().iterator())]  # as they were written
    read = [columns.get(name, columns.get(name.lower())) for name in named]
    if _FILE_OF_ROW in str(plan.expressions().toString()) or None in read:
        return None
    return frozenset(filter(None, read))


def _relation(spark: SparkSession, plan: Any) -> Any:
    """Return the relation under nodes that change no row; None under any other."""
    filters = []
    while class_name(plan) in ("Project", "Filter"):
        if class_name(plan) == "Filter":
            filters.append(plan.condition())
        elif not plan.outputSet().subsetOf(plan.child().outputSet()):
            return None
        plan = plan.child()
    if class_name(plan) != "LogicalRelation" or not is_a(spark, plan.relation(), OF_FILES):
        return None
    relation = plan.relation()
    parts = {str(name) for name in relation.partitionSchema().fieldNames()}
    named = {str(a.name()) for f in filters for a in items(f.references().iterator())}
    sure = all(f.deterministic() for f in filters) and named <= parts
    return (
        relation if sure and (not filters or class_name(relation.location()) == _DELTA[1]) else None
    )


def _options(relation: Any) -> list[str]:
    return [str(pair._1()) for pair in items(relation.options().iterator())]


def _of_delta(
    spark: SparkSession,
    relation: Any,
    columns: Mapping[str, str],
    files: Sequence[Action],
    values: Mapping[str, Any],
) -> Scanned | None:
    form, index = relation.fileFormat(), relation.location()
    mapping = form.columnMappingMode().name()
    names = {c: c for c in columns}
    if mapping == "name":
        known = _physical(json.loads(form.metadata().schema().json()))
        if (
            any(_has_fields(kind) for kind in columns.values())
            or not columns.keys() <= known.keys()
        ):
            return None
        names = {c: known[c] for c in columns}
    elif mapping != "none":
        return None
    parts = {str(name) for name in relation.partitionSchema().fieldNames()} & columns.keys()
    if any(columns[c] not in _VALUES for c in parts):
        return None
    physical = {names[c]: value for c, value in values.items() if c in names}
    wanted = [file for file in files if may_have(file, physical)] if physical else files
    whole = _pieces(spark, index, {c: names[c] for c in parts}, columns, wanted)
    return Scanned(whole, names) if whole or (files and whole is not None) else None


def _has_fields(kind: str) -> bool:
    """Tell whether a type has fields, whose names in files are others."""
    return "struct<" in kind


def _physical(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return each column's name in files."""
    key = "delta.columnMapping.physicalName"
    return {f["name"]: f["metadata"].get(key, f["name"]) for f in schema["fields"]}


def _pieces(
    spark: SparkSession,
    index: Any,
    parts: Mapping[str, str],
    columns: Mapping[str, str],
    files: Sequence[Action],
) -> list[Piece] | None:
    """Return a table's files with their partition and their deletion vectors."""
    root, pieces = str(index.path().toString()), []
    for file in files:
        path = str(file["path"])
        place = path if path.startswith((_SCHEME, "/")) else f"{root}/{path}"
        texts = {c: file["partitionValues"].get(name) for c, name in parts.items()}
        try:
            constants = {
                c: None if not text else _VALUES[columns[c]](text) for c, text in texts.items()
            }
        except (ValueError, KeyError):
            return None
        vector = _vector(spark, index, file) if file.get("deletionVector") else None
        pieces.append((place, constants, vector))
    paths = _here([place for place, _, _ in pieces])
    if paths is None or any(v is not None and v.path == _ELSEWHERE for _, _, v in pieces):
        return None
    return [
        Piece(path, os.stat(path).st_size, constants, vector)
        for path, (_, constants, vector) in zip(paths, pieces, strict=True)
    ]


_ELSEWHERE = "elsewhere"


def _vector(spark: SparkSession, index: Any, file: Action) -> DeletionVector:
    of = deletion_vector(spark, file)
    if of.isInline():
        return DeletionVector(inline=bytes(of.inlineData()))
    paths = _here([str(of.absolutePath(index.path()).toString())])
    offset = int(of.offset().get()) if of.offset().isDefined() else 0
    return DeletionVector(paths[0] if paths else _ELSEWHERE, offset, int(of.sizeInBytes()))


def _here(
    names: Sequence[str], is_there: Callable[[str], bool] = os.path.isfile
) -> list[str] | None:
    """Return the paths on this machine of some URLs; None where one isn't there."""
    if not all(name.startswith((_SCHEME, "/")) for name in names):
        return None
    paths = [name.removeprefix(_SCHEME) for name in names]
    paths = [f"/{path.lstrip('/')}" for path in paths]
    # Delta's versions don't agree on whether these are URLs.
    both = (paths, [unquote(path) for path in paths])
    return next((some for some in both if all(map(is_there, some))), None)
