"""What tells a table's rows from those of another time, and where nothing does.

A Delta table is known by its own id and the commit that last changed rows; files by their content
or, where they are large, by size, time and inode or etag; a view by its plan and by what it reads.
Of everything else it can't be known whether two reads had the same rows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.storage.delta_log import DeltaLeaf, delta_identity, last_change, leaf_of
from engine.storage.digest import digest
from engine.storage.jvm import (
    OF_FILES,
    class_name,
    file_system,
    is_a,
    is_classic,
    items,
    query,
    sha256,
)
from engine.storage.session import meaning

CONTENT = 2**30  # bytes of files that are identified by their content
_WHOLE = 2**25  # bytes of a file that an executor holds; larger ones are read in pieces
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
        Differs where the rows are known to differ.
    unknown
        A sentence that says why the rows may differ though ``text`` is the same; None where they
        can't.
    files
        How the files are identified, in words; empty where there are none but Delta's.
    """

    text: str
    unknown: str | None = None
    files: str = ""


def plan_identity(df: DataFrame, name: str) -> Identity:
    """Return what identifies the rows of files, a view or any other source.

    Parameters
    ----------
    df
        The source, as it was read.
    name
        Its name, for the sentence.
    """
    if not is_classic(df):
        why = "is read by Spark Connect, which doesn't show what it is made of"
        return Identity(digest(df.schema.json()), f"{name} {why}")
    plan = query(df).analyzed()
    tree = json.loads(plan.toJSON())
    nodes = list(_nodes(plan))
    parts = [df.schema.json(), json.dumps(meaning(df.sparkSession))]
    reasons = list(_reasons(plan, nodes, tree))
    names: list[str] = []
    parts += [_view(node) for node in nodes if class_name(node) == "View"]
    for relation in (n.relation() for n in nodes if class_name(n) == "LogicalRelation"):
        if not is_a(df.sparkSession, relation, OF_FILES):
            kind = class_name(relation)
            reasons.append(f"reads {_SOURCES.get(kind, kind)}, {_NO_VERSION}")
        elif class_name(relation.location()) == _DELTA_INDEX:
            leaf = leaf_of(relation.location())
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
    return Identity(
        digest("\n".join([*parts, files.text])),
        f"{name} {reasons[0]}" if reasons else None,
        files.files,
    )


def delta_leaf(df: DataFrame) -> DeltaLeaf:
    """Return the Delta table that a DataFrame reads, as it is now."""
    nodes = _nodes(query(df).analyzed())
    relation = next(n.relation() for n in nodes if class_name(n) == "LogicalRelation")
    return leaf_of(relation.location())


def known_files(spark: SparkSession, names: Sequence[str], content: int = CONTENT) -> Identity:
    """Identify files by their content, or by what a listing says where they are large.

    Parameters
    ----------
    spark
        The session.
    names
        Their URLs.
    content
        How many bytes, all together, are identified by their content.
    """
    # Spark gives files as URLs and takes them as patterns.
    paths = [re.sub(r"([*?\[\]{}\\])", r"\\\1", unquote(name)) for name in names]
    listing = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(paths)
    files = listing.select("path", "length", "modificationTime").collect()
    total = sum(r["length"] for r in files)
    about = f"{len(files):,} file{'' if len(files) == 1 else 's'}, {total:,} bytes"
    if total <= content:
        marks, how = _contents(spark, listing, [r["path"] for r in files]), "by content"
    else:
        marks = {
            r["path"]: f"{r['length']}|{r['modificationTime']}|{_mark(spark, r['path'])}"
            for r in files
        }
        how = f"by size, time and inode or etag, being more than {content:,} bytes"
    lines = (f"{path}|{mark}" for path, mark in sorted(marks.items()))
    return Identity(digest("\n".join(lines)), files=f"{about}, known {how}")


def _contents(spark: SparkSession, listing: DataFrame, paths: Sequence[str]) -> dict[str, str]:
    """Hash files: executors the small ones, which they hold whole, and the driver the others."""
    small = listing.where(F.col("length") <= _WHOLE).select("path", F.sha2("content", 256))
    hashes: dict[str, str] = dict(small.collect())
    return {name: hashes.get(name) or sha256(spark, name) for name in paths}


def _mark(spark: SparkSession, name: str) -> str:
    """Return a file's inode and exact time, or its etag, or nothing."""
    if name.startswith("file:"):
        about = os.stat(name.removeprefix("file:"))
        return f"{about.st_ino}|{about.st_mtime_ns}"
    files, path = file_system(spark, name)
    status = files.getFileStatus(path)
    return str(status.getEtag()) if is_a(spark, status, "org.apache.hadoop.fs.EtagSource") else ""


def _reasons(plan: Any, nodes: Sequence[Any], tree: Any) -> Iterator[str]:
    """Yield why a plan may have other rows though it and its sources are the same."""
    classes = dict(_classes(tree))
    yield from _undecided(classes)
    for kind in sorted(_ORDER & classes.keys()):
        yield f"computes {kind}, which may depend on the order of rows"
    for kind in map(class_name, nodes):
        if kind not in _DECIDED:
            yield _UNDECIDED.get(kind, f"has a step, {kind}, {_NO_VERSION}")
    if not plan.deterministic():
        every = (e for node in nodes for e in items(node.expressions().iterator()))
        sql = next((e.sql() for e in every if not e.deterministic()), "")
        yield f"computes {shorten(sql, _SHOWN, placeholder=' …')}, which may differ from run to run"


def _undecided(classes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what expressions depend on besides rows, by what the plan says of each class."""
    for kind in sorted(_FUNCTIONS & classes.keys()):
        name = classes[kind].get("name")
        yield f"calls {f'the function {name}' if name else kind}, whose code Spark doesn't show"
    for kind in sorted(_MOMENT.keys() & classes.keys()):
        yield f"depends on {_MOMENT[kind]}"


def why_changing(df: DataFrame) -> str | None:
    """Say why a predicate may choose other rows another time; None where nothing shows it."""
    if not is_classic(df):
        return None
    plan = query(df).analyzed()
    why = next(_undecided(dict(_classes(json.loads(plan.toJSON())))), None)
    return why or (None if plan.deterministic() else "is random")


def _classes(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the class of everything in a plan's JSON, with what the plan says of it."""
    if isinstance(tree, list):
        for one in tree:
            yield from _classes(one)
    elif isinstance(tree, dict):
        if isinstance(tree.get("class"), str):
            yield tree["class"].rpartition(".")[2], tree
        yield from _classes(list(tree.values()))


def _normalised(tree: Any, ids: dict[str, int]) -> Any:
    """Return a plan's JSON with its columns numbered in order, without what a catalog adds."""
    if isinstance(tree, list):
        return [_normalised(one, ids) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if str(tree.get("product-class")).endswith(".ExprId"):
        return ids.setdefault(f"{tree['id']} {tree['jvmId']}", len(ids))
    counted = _COUNTED.get(str(tree.get("class")).rpartition(".")[2])
    return {
        k: ids.setdefault(f"WITH {v}", len(ids)) if k == counted else _normalised(v, ids)
        for k, v in tree.items()
        if k not in _OF_CATALOG
    }


def _view(node: Any) -> str:
    """Return a view's text and the settings that its author had."""
    text, configs = node.desc().viewText(), items(node.desc().viewSQLConfigs().iterator())
    own = {s._1(): s._2() for s in configs if s._1().startswith("spark.sql.")}
    return json.dumps([str(text.get()) if text.isDefined() else "", own], sort_keys=True)


def _layout(relation: Any) -> str:
    """Return what decides how files become rows."""
    options = {s._1(): s._2() for s in items(relation.options().iterator())}
    schemas = (relation.dataSchema().json(), relation.partitionSchema().json())
    return json.dumps([str(relation.fileFormat().toString()), options, schemas], sort_keys=True)


def _nodes(plan: Any) -> Iterator[Any]:
    """Yield a plan's nodes, those of subqueries in its expressions among them."""
    yield plan
    for sequence in (plan.children(), plan.subqueries()):
        for child in items(sequence.iterator()):
            yield from _nodes(child)
