"""Functions of pandas Series say in Spark what they say of a DataFrame."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import functions as F

from engine import compile_slices
from tests.run.test_series_functions import TYPES, function_of, law


def test_a_null_stays_null(spark):
    in_spark = {n: t for n, t in TYPES.items() if n != "byte"}  # Spark has no unsigned numbers
    table = pa.table({n: pa.array(values, kind) for n, (kind, values) in in_spark.items()})
    df = spark.createDataFrame(table.append_column("row", pa.array([0, 1, 2]))).coalesce(1)
    df = df.withColumn("naive", F.col("naive").cast("timestamp_ntz"))
    cases = [c for c in law() if c[0] in in_spark][::3]  # all are tried without Spark
    sfs = [function_of(name, idiom, f"s{i}") for i, (name, idiom, _) in enumerate(cases)]
    masks = compile_slices(sfs, df.schema).apply(df, ["row"]).orderBy("row").toArrow()
    found = {i: masks[f"s{i}"].to_pylist() for i in range(len(cases))}
    wrong = {
        (name, idiom): found[i]
        for i, (name, idiom, codes) in enumerate(cases)
        if [-1 if m is None else int(m) for m in found[i]] != codes
    }
    assert wrong == {}
