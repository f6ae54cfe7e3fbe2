"""Files of a source: their format, and what Spark would read wrongly without a word, or not at all.

Text whose bytes aren't UTF-8 would lose them, and Parquet with nanoseconds would stop the run.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from pyspark.errors import AnalysisException, SparkRuntimeException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import TableError
from engine.sql import name_sql
from engine.storage.jvm import parquet_schema
from engine.storage.place import FORMATS, Place

_OF_TEXT = ("csv", "json")
_ENCODING = ("encoding", "charset")
_WHICH_FILES = ("recursivefilelookup", "pathglobfilter", "modifiedbefore", "modifiedafter")
# Python's name of an encoding -> Spark's.
_NAMES = {
    "ascii": "US-ASCII", "iso8859-1": "ISO-8859-1", "utf-8": "UTF-8", "utf-16": "UTF-16",
    "utf-16-be": "UTF-16BE", "utf-16-le": "UTF-16LE", "utf-32": "UTF-32",
}  # fmt: skip
_JAVA_CHARSETS = "spark.sql.legacy.javaCharsets"
_NANOS_AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"
# What people's CSV files look like: a header, quotes doubled inside quotes, newlines in quotes.
_OPTIONS = {
    "csv": {"header": "true", "inferSchema": "true", "multiLine": "true", "escape": '"'},
}
_COMPRESSED = re.compile(r"\.(gz|bz2|zst|snappy|lz4|deflate)$")
_AROUND = 20  # characters shown on each side of a byte that isn't UTF-8


def format_of(spark: SparkSession, place: Place) -> str | None:
    """Return the format that a file's name says, or all names in a folder; None if none does."""
    if place.format is not None:
        return place.format
    listing = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(place.text)
    names = [_COMPRESSED.sub("", r["path"].lower()) for r in listing.select("path").collect()]
    formats = {FORMATS.get(PurePosixPath(name).suffix) for name in names} - {None}
    return formats.pop() if len(formats) == 1 else None


def read_files(spark: SparkSession, path: str, kind: str, options: Mapping[str, str]) -> DataFrame:
    """Read files of one format, CSV with sensible options where none are given.

    Columns of Parquet with nanoseconds are TIMESTAMP or TIMESTAMP_NTZ: of each the microsecond
    before it. Those within structs, lists and maps are numbers of nanoseconds.

    Raises
    ------
    TableError
        If text isn't UTF-8 and no option says what it is, or the option names no encoding.
    """
    options = {**_OPTIONS.get(kind, {}), **options}
    encoding = next((o for o in options if o.lower() in _ENCODING), None)
    if kind in _OF_TEXT and encoding is None:
        check_utf8(spark, path, options)
    elif kind in _OF_TEXT and encoding is not None:
        options = {**options, encoding: _known(spark, path, options[encoding])}
    reader = spark.read.format(kind).options(**options)
    try:
        df = reader.load(path)
    except (AnalysisException, SparkRuntimeException) as error:
        if kind != "parquet" or "TIMESTAMP(NANOS" not in str(error):
            raise
        spark.conf.set(_NANOS_AS_LONG, "true")  # also when rows are read, maybe much later
        df = reader.load(path)
    as_long = kind == "parquet" and spark.conf.get(_NANOS_AS_LONG, "false") == "true"
    return _with_microseconds(df) if as_long else df


def _known(spark: SparkSession, path: str, encoding: str) -> str:
    """Return Spark's name of an encoding: it takes seven names, and Java's by a setting."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise TableError(
            f"source {path} can't be read: there is no encoding {encoding!r}"
        ) from None
    if name in _NAMES:
        return _NAMES[name]
    spark.conf.set(_JAVA_CHARSETS, "true")
    return encoding


def check_utf8(spark: SparkSession, path: str, options: Mapping[str, str]) -> None:
    """Check that lines of text are UTF-8, in one more pass over them, without parsing.

    Raises
    ------
    TableError
        With the first that isn't.
    """
    which = {o: v for o, v in options.items() if o.lower() in _WHICH_FILES}
    lines = spark.read.format("text").options(**which).load(path)
    wrong = lines.where(~F.is_valid_utf8("value"))
    for line, file in wrong.select(F.make_valid_utf8("value"), "_metadata.file_path").take(1):
        at = max(line.find("\ufffd"), 0)
        shown = line[max(at - _AROUND, 0) : at + _AROUND]
        raise TableError(
            f"the source {path!r} is not UTF-8: in {file.rpartition('/')[2]!r} "
            f"there are bytes that are none, at {shown!r}; say what it is, as in source.options: "
            "{encoding: latin1}, or {encoding: utf-8} to read such bytes as \ufffd"
        )


def _with_microseconds(df: DataFrame) -> DataFrame:
    """Return rows read with nanoseconds as numbers, those columns as times."""
    # The file's footer has them, and whether they are instants; Spark only says there are some.
    files = df.inputFiles()[:1]  # Spark, too, takes the schema from one
    schema = parquet_schema(df.sparkSession, files[0]) if files else ""
    kinds = [(name, zone) for name, zone in _TOP.findall(schema) if name in df.columns]
    for name, in_utc in kinds:
        whole = f"(({name_sql(name)} - pmod({name_sql(name)}, 1000L)) div 1000L)"
        times = (
            f"timestamp_micros({whole})"
            if in_utc == "true"
            else f"timestampadd(MICROSECOND, {whole}, TIMESTAMP_NTZ'1970-01-01 00:00:00')"
        )
        df = df.withColumn(name, F.expr(times))
    return df


# A column of the schema's text: fields of structs are indented further.
_TOP = re.compile(r"^  \w+ int64 (.+) \(TIMESTAMP\(NANOS,(true|false)\)\);", re.M)
