"""What tells a table's rows from those of another time, and where nothing does.

A Delta table is known by its own id and the commit that last changed rows; files by their content
or, where they are large, by size, time and inode or etag; a view by its plan and by what it reads.
Of everything else it can't be known whether two reads had the same rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from py4j.java_gateway import is_instance_of
from pyspark import SparkContext
from pyspark.sql import functions as F  # noqa: N812

from engine.storage.session import meaning

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CONTENT = 2**30  # bytes of files that are known by their content
_WHOLE = 2**25  # bytes of a file that an executor holds; larger ones are read in pieces
_PIECE = 2**20
_CHANGES = re.compile(rb'"dataChange"\s*:\s*true|"metaData"\s*:\s*\{')
_LONGEST = 64  # bytes that a match of that has at most, about
_MAINTENANCE = {  # operations that change no row, though some of them write metadata
    "OPTIMIZE", "VACUUM START", "VACUUM END", "REORG", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
    "UPGRADE PROTOCOL", "ADD CONSTRAINT", "DROP CONSTRAINT", "CLUSTER BY", "COMPUTE STATS",
    "ADD FEATURE", "DROP FEATURE", "ROW TRACKING BACKFILL", "ROW TRACKING UNBACKFILL",
    "DOMAIN METADATA CLEANUP", "RESET ZCUBE", "FSCK",
    "CHANGE COLUMN", "CHANGE COLUMNS",  # what matters of these is in the schema
}  # fmt: skip
_MAPPED_TO = "delta.columnMapping.physicalName"
_NO_ROWS = {"comment", "delta.columnMapping.id"}  # of a column's metadata, what changes no row
_DELTA_INDEX = "TahoeLogFileIndex"
# Nodes of a plan whose rows their children's decide.
_DECIDED = {
    "Aggregate", "CTERelationDef", "CTERelationRef", "Distinct", "Except", "Expand", "Filter",
    "Generate", "Intersect", "Join", "LateralJoin", "LogicalRelation", "OneRowRelation", "Project",
    "RebalancePartitions", "Repartition", "RepartitionByExpression", "ResolvedHint", "Sort",
    "SubqueryAlias", "Union", "View", "Window", "WithCTE",
}  # fmt: skip
_NO_VERSION = "of which Spark knows no version"
_SOURCES = {"JDBCRelation": "a table by JDBC"}
_UNDECIDED = {
    "Deduplicate": "keeps one of several rows",
    "DataSourceV2Relation": f"reads a table of another format than Spark's, {_NO_VERSION}",
    "GlobalLimit": "has a LIMIT, which may take other rows each time",
    "HiveTableRelation": "reads a Hive table, whose files Spark doesn't list",
    "LocalLimit": "has a LIMIT, which may take other rows each time",
    "LocalRelation": "has rows that are in memory",
    "LogicalRDD": "has rows that are in memory",
    "Offset": "has an OFFSET, which may leave out other rows each time",
    "Range": "has generated rows",
    "Sample": "takes a sample",
}
# Expressions that are decided by more than rows, as plans in JSON name them.
_MOMENT = {
    "CurrentBatchTimestamp": "the time", "CurrentCatalog": "the current catalog",
    "CurrentDatabase": "the current schema", "CurrentDate": "the date", "CurrentTime": "the time",
    "CurrentTimestamp": "the time", "CurrentUser": "the user", "LocalTimestamp": "the time",
    "Now": "the time", "VariableReference": "a session's variable",
}  # fmt: skip
_FUNCTIONS = {
    "ApplyFunctionExpression", "CallMethodViaReflection", "HiveGenericUDF", "HiveGenericUDTF",
    "HiveSimpleUDF", "HiveUDAFFunction", "PythonUDAF", "PythonUDF", "PythonUDTF",
    "ScalaAggregator", "ScalaUDAF", "ScalaUDF", "V2Aggregator",
}  # fmt: skip
_OF_CATALOG = {"catalogTable", "desc"}  # of a plan's JSON
_COUNTED = {"CTERelationDef": "id", "CTERelationRef": "cteId"}  # numbers that a session counts up
_ORDER = {  # what takes the first of rows, or all of them as they come
    "AnyValue", "CollectList", "CollectSet", "First", "HistogramNumeric", "Lag", "Last", "Lead",
    "ListAgg", "MaxBy", "MinBy", "Mode", "NTile", "NthValue", "RowNumber",
}  # fmt: skip
_SHOWN = 60  # characters of an expression in a sentence


@dataclass(frozen=True)
class Identity:
    """What is known of a table's rows.

    Attributes
    ----------
    text
        Another one where the rows are known to be others.
    unknown
        A sentence that says why the rows may be others though ``text`` is the same; None where
        they can't be.
    files
        How the files that are read are known, in words; empty where there are none but Delta's.
    """

    text: str
    unknown: str | None = None
    files: str = ""


@dataclass(frozen=True)
class Commit:
    """The commit that made a Delta table's rows what they are.

    Attributes
    ----------
    version
        Its version.
    mark
        A hash of how it starts, which no commit of another table with this id shares.
    metadata
        What its writer said of it, or None.
    """

    version: int
    mark: str
    metadata: str | None


@dataclass(frozen=True)
class CommitFile:
    """What a commit's file says.

    Attributes
    ----------
    version, mark
        As a :class:`Commit` has them.
    info
        What its writer said of it, as Delta calls it ``commitInfo``.
    changes
        Whether it changes rows or columns.
    """

    version: int
    mark: str
    info: Mapping[str, Any]
    changes: bool


@dataclass(frozen=True)
class DeltaLeaf:
    """A Delta table as a plan reads it: its own id, its log's folder, its version, its columns."""

    id: str
    log: str
    version: int
    columns: str


def delta_identity(leaf: DeltaLeaf, commit: Commit) -> str:
    """Return what a Delta table's rows are known by.

    Examples
    --------
    >>> delta_identity(DeltaLeaf("0dd2048b", "t/_delta_log", 7, "e1"), Commit(3, "9f2c", None))
    'delta:0dd2048b@3:9f2c:e1'
    """
    return f"delta:{leaf.id}@{commit.version}:{commit.mark}:{leaf.columns}"


def _columns(schema: Any) -> Any:
    """Return a schema's JSON without what changes no row: comments, and whether nulls may come.

    Examples
    --------
    >>> _columns({"name": "a", "type": "long", "nullable": True, "metadata": {"comment": "b"}})
    {'name': 'a', 'type': 'long', 'metadata': {}}
    """
    if isinstance(schema, list):
        return [_columns(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: _columns(v) for k, v in schema.items() if k not in {"nullable", "metadata"}}
    if "metadata" in schema:
        name, about = schema.get("name"), schema["metadata"]
        kept["metadata"] = {
            k: v for k, v in about.items() if k not in _NO_ROWS and (k, v) != (_MAPPED_TO, name)
        }
    return kept


def delta_leaf(df: DataFrame) -> DeltaLeaf:
    """Return the Delta table that a DataFrame reads, as it is now."""
    for node in _nodes(df._jdf.queryExecution().analyzed()):
        if _kind(node) == "LogicalRelation" and _kind(node.relation().location()) == _DELTA_INDEX:
            return _leaf(node.relation().location())
    raise AssertionError("the plan reads no Delta table")


def _leaf(index: Any) -> DeltaLeaf:
    snapshot = index.getSnapshot()
    about, log = snapshot.metadata(), str(snapshot.deltaLog().logPath().toString())
    columns = _hashed(json.dumps(_columns(json.loads(about.schemaString()))))
    return DeltaLeaf(str(about.id()), log, int(snapshot.version()), columns)


def last_change(spark: SparkSession, log: str, version: int) -> Commit:
    """Return the commit that made a Delta table's rows what they are at a version.

    Commits that rewrite files but change no row are passed over, and a restore to a version is
    followed there. Where the log no longer has that commit, the one at the version stands for it.

    Parameters
    ----------
    spark
        The session.
    log
        The table's log, a folder.
    version
        The version.
    """
    newest, at = None, version
    while at >= 0:
        commit = read_commit(spark, log, at)
        if commit is None:
            break
        newest = newest or commit
        operation, back = commit.info.get("operation"), _restored(commit.info)
        if back is not None:
            at = back
        elif operation in _MAINTENANCE or not commit.changes:
            at -= 1
        else:
            return Commit(at, commit.mark, commit.info.get("userMetadata"))
    return Commit(version, newest.mark if newest else "", None)


def _restored(info: Mapping[str, Any]) -> int | None:
    """Return the version that a commit went back to, if it did and says so."""
    back = (info.get("operationParameters") or {}).get("version")
    return int(back) if info.get("operation") == "RESTORE" and back is not None else None


def read_commit(spark: SparkSession, log: str, version: int) -> CommitFile | None:
    """Read a commit's file by pieces until it says whether it changes rows; None if it is gone."""
    try:
        files, path = file_system(spark, f"{log}/{version:020d}.json")
        stream = files.open(path)
    except Exception:  # cleaned up, or a log of another kind
        return None
    try:
        piece = bytes(stream.readNBytes(_PIECE))
        mark = hashlib.sha256(piece).hexdigest()[:16]
        start = piece  # what our jobs say of a commit may be long, for it names all slices
        while b"\n" not in start and (more := bytes(stream.readNBytes(_PIECE))):
            start += more
        piece, info = start, _commit_info(start)
        while piece:
            if _CHANGES.search(piece):
                return CommitFile(version, mark, info, True)
            more = bytes(stream.readNBytes(_PIECE))
            piece = piece[-_LONGEST:] + more if more else b""
    finally:
        stream.close()
    return CommitFile(version, mark, info, False)


def _commit_info(start: bytes) -> Mapping[str, Any]:
    """Return what a commit's writer said of it, which most write first."""
    for line in start.split(b"\n"):
        if line.startswith(b'{"commitInfo"'):
            with suppress(ValueError):  # a last line that wasn't read to its end
                return dict(json.loads(line)["commitInfo"])
    return {}


def file_system(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """Return Hadoop's file system of a path, and the path in it."""
    there = _jvm(spark).org.apache.hadoop.fs.Path(path)
    return there.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf()), there


def plan_identity(df: DataFrame, name: str) -> Identity:
    """Return what the rows of files, a view or any other source are known by.

    Parameters
    ----------
    df
        The source, as it was read.
    name
        Its name, for the sentence.
    """
    if not hasattr(df, "_jdf"):
        why = "is read by Spark Connect, which doesn't show what it is made of"
        return Identity(_hashed(df.schema.json()), f"{name} {why}")
    plan = df._jdf.queryExecution().analyzed()
    tree = json.loads(plan.toJSON())
    nodes = list(_nodes(plan))
    parts = [df.schema.json(), json.dumps(meaning(df.sparkSession))]
    reasons = list(_reasons(plan, nodes, tree))
    names: list[str] = []
    for node in nodes:
        if _kind(node) == "View":
            parts.append(_view(node))
        if _kind(node) != "LogicalRelation":
            continue
        relation = node.relation()
        if not _is_a(relation, "org.apache.spark.sql.execution.datasources.HadoopFsRelation"):
            reasons.append(f"reads {_SOURCES.get(_kind(relation), _kind(relation))}, {_NO_VERSION}")
        elif _kind(relation.location()) == _DELTA_INDEX:
            leaf = _leaf(relation.location())
            commit = last_change(df.sparkSession, leaf.log, leaf.version)
            parts.append(delta_identity(leaf, commit))
        else:
            parts.append(_layout(relation))
            own = list(relation.location().inputFiles())
            reasons += [] if own else ["has no file"]
            names += own
    files = known_files(df.sparkSession, list(dict.fromkeys(names))) if names else Identity("")
    if not reasons:
        parts.append(json.dumps(_normalised(tree, {})))
    text = _hashed("\n".join([*parts, files.text]))
    return Identity(text, f"{name} {reasons[0]}" if reasons else None, files.files)


def known_files(spark: SparkSession, names: Sequence[str], content: int = CONTENT) -> Identity:
    """Return what files are known by: their content, or what a listing says where they are large.

    Parameters
    ----------
    spark
        The session.
    names
        Their URLs.
    content
        How many bytes, all together, are known by their content.
    """
    # Spark gives files as URLs and takes them as patterns.
    paths = [re.sub(r"([*?\[\]{}\\])", r"\\\1", unquote(name)) for name in names]
    listing = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(paths)
    found = listing.select("path", "length", "modificationTime").collect()
    total = sum(r["length"] for r in found)
    about = f"{len(found):,} file{'' if len(found) == 1 else 's'}, {total:,} bytes"
    if total <= content:
        marks = _contents(spark, listing, [r["path"] for r in found])
        how = "by content"
    else:
        marks = {
            r["path"]: f"{r['length']}|{r['modificationTime']}|{_mark(spark, r['path'])}"
            for r in found
        }
        how = f"by size, time and inode or etag, being more than {content:,} bytes"
    lines = (f"{path}|{mark}" for path, mark in sorted(marks.items()))
    return Identity(_hashed("\n".join(lines)), files=f"{about}, known {how}")


def _contents(spark: SparkSession, listing: DataFrame, paths: Sequence[str]) -> dict[str, str]:
    """Hash files: executors the small ones, which they hold whole, and the driver the others."""
    small = listing.where(F.col("length") <= _WHOLE)
    hashes = {
        r["path"]: r["h"] for r in small.select("path", F.sha2("content", 256).alias("h")).collect()
    }
    for name in paths:
        if name not in hashes:
            files, path = file_system(spark, name)
            stream = files.open(path)
            try:
                hashes[name] = _jvm(spark).org.apache.commons.codec.digest.DigestUtils.sha256Hex(
                    stream
                )
            finally:
                stream.close()
    return hashes


def _mark(spark: SparkSession, name: str) -> str:
    """Return a file's inode and exact time, or its etag, or nothing."""
    if name.startswith("file:"):
        about = os.stat(name.removeprefix("file:"))
        return f"{about.st_ino}|{about.st_mtime_ns}"
    files, path = file_system(spark, name)
    status = files.getFileStatus(path)
    return str(status.getEtag()) if _is_a(status, "org.apache.hadoop.fs.EtagSource") else ""


def _reasons(plan: Any, nodes: Sequence[Any], tree: Any) -> Iterator[str]:
    """Yield why a plan may have other rows though it and its sources are the same."""
    found = dict(_classes(tree))
    yield from _undecided(found)
    for kind in sorted(_ORDER & found.keys()):
        yield f"computes {kind}, which may depend on the order of rows"
    for kind in map(_kind, nodes):
        if kind not in _DECIDED:
            yield _UNDECIDED.get(kind, f"has a step, {kind}, {_NO_VERSION}")
    if not plan.deterministic():
        sql = next(
            (e.sql() for n in nodes for e in _items(n.expressions()) if not e.deterministic()), ""
        )
        yield f"computes {shorten(sql, _SHOWN, placeholder=' …')}, which may differ from run to run"


def _undecided(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what expressions depend on besides rows, given what is said of each class of them."""
    for kind in sorted(_FUNCTIONS & found.keys()):
        name = found[kind].get("name")
        yield f"calls {f'the function {name}' if name else kind}, whose code Spark doesn't show"
    for kind in sorted(_MOMENT.keys() & found.keys()):
        yield f"depends on {_MOMENT[kind]}"


def why_changing(df: DataFrame) -> str | None:
    """Say why a predicate over rows may choose others another time; None where it can't."""
    if not hasattr(df, "_jdf"):  # Spark Connect doesn't show
        return None
    plan = df._jdf.queryExecution().analyzed()
    why = next(_undecided(dict(_classes(json.loads(plan.toJSON())))), None)
    return why or (None if plan.deterministic() else "is random")


def _classes(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the class of everything in a plan's JSON, with what is said of it."""
    if isinstance(tree, list):
        for one in tree:
            yield from _classes(one)
    elif isinstance(tree, dict):
        if isinstance(tree.get("class"), str):
            yield tree["class"].rpartition(".")[2], tree
        yield from _classes(list(tree.values()))


def _normalised(tree: Any, seen: dict[str, int]) -> Any:
    """Return a plan's JSON with its columns numbered as they come, less what a catalog adds."""
    if isinstance(tree, list):
        return [_normalised(one, seen) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if str(tree.get("product-class")).endswith(".ExprId"):
        return seen.setdefault(f"{tree['id']} {tree['jvmId']}", len(seen))
    counted = _COUNTED.get(str(tree.get("class")).rpartition(".")[2])
    return {
        k: seen.setdefault(f"WITH {v}", len(seen)) if k == counted else _normalised(v, seen)
        for k, v in tree.items()
        if k not in _OF_CATALOG
    }


def _view(node: Any) -> str:
    """Return a view's text and the settings that its author had."""
    about = node.desc()
    text = about.viewText()
    configs = {s._1(): s._2() for s in _items(about.viewSQLConfigs())}
    kept = {k: v for k, v in configs.items() if k.startswith("spark.sql.")}
    return json.dumps([str(text.get()) if text.isDefined() else "", kept], sort_keys=True)


def _layout(relation: Any) -> str:
    """Return what decides how files become rows."""
    options = {s._1(): s._2() for s in _items(relation.options())}
    schemas = (relation.dataSchema().json(), relation.partitionSchema().json())
    return json.dumps([str(relation.fileFormat().toString()), options, schemas], sort_keys=True)


def _nodes(plan: Any) -> Iterator[Any]:
    """Yield a plan's nodes, those of subqueries in its expressions among them."""
    yield plan
    for sequence in (plan.children(), plan.subqueries()):
        for child in _items(sequence):
            yield from _nodes(child)


def _items(sequence: Any) -> Iterator[Any]:
    items = sequence.iterator()
    while items.hasNext():
        yield items.next()


def _kind(of: Any) -> str:
    return str(of.getClass().getSimpleName())


def _is_a(of: Any, java_class: str) -> bool:
    return bool(is_instance_of(SparkContext._gateway, of, java_class))


def _jvm(spark: SparkSession) -> Any:
    assert spark._jvm is not None  # a classic session
    return spark._jvm


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
