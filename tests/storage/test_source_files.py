"""Sources whose files Spark reads wrongly without a word, or not at all."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import TableError
from engine.storage import tables

LATIN = 'id,text\n1,"café über,\nalles"\n2,ok\n'
SHORT = {"name": "accent", "where": "text like '%é%'"}


@pytest.mark.parametrize(
    ("kind", "content", "shown"),
    [
        ("csv", LATIN.encode("latin1"), '1,"caf\ufffd \ufffdber,'),
        ("csv", LATIN.encode("utf-16"), "\ufffd"),
        ("json", '{"id": 1, "text": "café"}\n'.encode("cp1252"), '": 1, "text": "caf\ufffd"}'),
    ],
)
def test_text_that_is_not_utf8_is_refused(spark, tmp_path, kind, content, shown):
    (tmp_path / f"first.{kind}").write_text("id,text\n" if kind == "csv" else "{}\n")
    (tmp_path / f"second.{kind}").write_bytes(content)
    with pytest.raises(TableError) as caught:
        tables.read_source(spark, str(tmp_path))
    said = str(caught.value)
    assert said.startswith(
        f"the source '{tmp_path}' is not UTF-8: in 'second.{kind}' there are bytes that are none, "
    )
    assert shown in said or repr(shown)[1:-1] in said
    assert said.endswith(
        "say what it is, as in source.options: {encoding: latin1}, or {encoding: utf-8} to read "
        "such bytes as \ufffd"
    )


@pytest.mark.parametrize("encoding", ["latin1", "ISO-8859-1", "cp1252", "utf-16", "UTF-8"])
def test_an_encoding_that_is_given_is_read(spark, tmp_path, encoding):
    codec = "latin1" if encoding == "UTF-8" else encoding
    (tmp_path / "rows.csv").write_bytes(LATIN.encode(codec))
    df = tables.read_source(spark, str(tmp_path), "csv", {"encoding": encoding}).df
    text = "caf\ufffd \ufffdber,\nalles" if encoding == "UTF-8" else "café über,\nalles"
    assert sorted(df.collect()) == [(1, text), (2, "ok")]


def test_an_encoding_that_there_is_not(spark, tmp_path):
    (tmp_path / "rows.csv").write_text(LATIN)
    with pytest.raises(TableError) as caught:
        tables.read_source(spark, str(tmp_path), "csv", {"encoding": "latin9000"})
    assert str(caught.value).endswith("there is no encoding 'latin9000'")


def test_a_job_refuses_latin1_and_reads_it_where_it_is_told(bench):
    place = bench.folder / "rows.csv"
    place.write_bytes(LATIN.encode("latin1"))
    source = {"table": str(place)}
    project = bench.project(source=source, slices=[SHORT])
    said = bench.run("label_slices", project).error
    assert "is not UTF-8: in 'rows.csv'" in said
    assert not (bench.folder / "out").exists()
    given = bench.project(source={**source, "options": {"encoding": "latin1"}}, slices=[SHORT])
    bench.done("label_slices", given)
    assert {k: m["accent"] for k, m in bench.masks().items()} == {1: True, 2: False}


TICKS = [-1, -1001, 1_999, None]


def test_nanoseconds_in_parquet(bench):
    ticks = pa.array(TICKS, pa.int64())
    table = pa.table(
        {
            "id": [1, 2, 3, 4],
            "at": ticks.view(pa.timestamp("ns", "UTC")),
            "naive `ns`": ticks.view(pa.timestamp("ns")),
            "n": [5, 6, 7, 8],
        }
    )
    place = bench.folder / "rows.parquet"
    pq.write_table(table, place, version="2.6")
    unread = bench.project(source={"table": str(place)}, slices=[{"name": "n", "where": "n > 5"}])
    bench.done("label_slices", unread)
    assert [m["n"] for m in bench.masks().values()] == [False, True, True, True]
    df = tables.read_source(bench.spark, str(place)).df
    assert df.dtypes[1:3] == [("at", "timestamp"), ("naive `ns`", "timestamp_ntz")]
    whole = [-1, -2, 1]
    rows = df.selectExpr("unix_micros(at) AS m", "`naive ``ns``` AS t").collect()
    assert [r.m for r in rows] == [*whole, None]
    assert [r.t for r in rows] == [
        *(dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=m) for m in whole), None
    ]  # fmt: skip
    module = bench.module(
        "@slicing_function()\ndef before(x):\n    return x.at.year < 1970\n"
        "@slicing_function()\ndef odd(x):\n    return x['naive `ns`'].microsecond % 2 == 1\n"
    )
    read = bench.project(source={"table": str(place)}, sf_modules=[module], slices=[])
    bench.done("label_slices", read)
    masks = bench.masks()
    assert [masks[i]["before"] for i in (1, 2, 3, 4)] == [True, True, False, None]
    assert [masks[i]["odd"] for i in (1, 2, 3, 4)] == [True, False, True, None]


def test_nanoseconds_within_structs_are_numbers(spark, tmp_path):
    rows = pd.DataFrame({"id": [1], "s": [{"at": pd.Timestamp("2024-01-01 00:00:00.000000001")}]})
    kind = pa.struct([("at", pa.timestamp("ns"))])
    table = pa.table({"id": pa.array(rows["id"]), "s": pa.array(rows["s"], kind)})
    pq.write_table(table, tmp_path / "rows.parquet", version="2.6")
    df = tables.read_source(spark, str(tmp_path / "rows.parquet")).df
    assert df.select("id", "s.at").collect() == [(1, pd.Timestamp("2024-01-01").value + 1)]
