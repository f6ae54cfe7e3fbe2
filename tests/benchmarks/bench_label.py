"""The tutorial's five slicing functions, compiled, against Snorkel and against code by hand.

  .venv/bin/python -m tests.benchmarks.bench_label                   all claims
  .venv/bin/python -m tests.benchmarks.bench_label best_by_hand      some of them

The slicing functions are plain row functions, the same objects for Snorkel and for us. Comments
have about 100 characters and the columns that comments have (id, author, date, text, label,
video), in a Delta table.

``spark_applier``, ``pandas_applier``, ``row_tier``: reading the table, labelling it and writing a
Delta table of keys and masks, against Snorkel's appliers, which leave their masks in memory:
SparkSFApplier on ``df.rdd`` of the same rows in the same session, PandasSFApplier on the same rows
in pandas. ``best_by_hand``: the same scan to Spark's noop sink on both sides, against the best of
three ways that one would write by hand. ``preprocessor``: a TextBlob preprocessor through Spark,
against a loop that calls TextBlob once for each distinct text.

Masks are compared first. Each ratio is of median seconds of 3 runs that take turns. The last lines
are ``ratio <claim>: <number>``.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from snorkel.slicing import PandasSFApplier
from snorkel.slicing import SlicingFunction as SnorkelSF
from snorkel.slicing.apply.spark import SparkSFApplier

from engine import MaskPlan, compile_slices
from engine.storage import tables
from engine.storage.session import open_session
from sfs import spam
from tests.benchmarks.comments import comments
from tests.benchmarks.turns import Claims, medians

ROWS = {
    "spark_applier": 4_000_000,
    "pandas_applier": 4_000_000,
    "best_by_hand": 4_000_000,
    "preprocessor": 200_000,
}
DISTINCT = 150_000  # of the texts that TextBlob is asked about
SFS = [
    spam.short_link,
    spam.keyword_subscribe,
    spam.keyword_please,
    spam.regex_check_out,
    spam.short_comment,
]
NAMES = [sf.name for sf in SFS]


def snorkels() -> list[SnorkelSF]:
    return [SnorkelSF(sf.name, sf.f, resources=sf.resources) for sf in SFS]


def source(spark: SparkSession, folder: Path, n: int, distinct: int | None = None) -> DataFrame:
    """Write ``n`` comments to a Delta table, once, and read it."""
    place = str(folder / f"comments_{n}")
    if not Path(place).exists():
        part = min(n, 1_000_000)
        for i in range(n // part):
            made = comments(part, seed=i, distinct=distinct)
            pq.write_table(made, folder / f"part_{i}.parquet", row_group_size=125_000)
        parts = [str(folder / f"part_{i}.parquet") for i in range(n // part)]
        rows = spark.read.parquet(*parts).repartition(max(2, n // 500_000))  # for both cores
        rows.write.format("delta").save(place)
    return spark.read.format("delta").load(place)


def to_delta(plan: MaskPlan, df: DataFrame, folder: Path) -> None:
    tables.overwrite(plan.apply(df, ["comment_id"]), str(folder / "masks"), facts={})


def to_noop(df: DataFrame) -> None:
    df.write.format("noop").mode("overwrite").save()


# By hand, three ways.


def by_pandas_udf(df: DataFrame) -> DataFrame:
    schema = ", ".join(f"{n} boolean" for n in NAMES)

    def label(text: pd.Series) -> pd.DataFrame:
        lower = text.str.lower()
        return pd.DataFrame(
            {
                "short_link": text.str.contains(r"\w+\.ly", regex=True),
                "keyword_subscribe": lower.str.contains("subscribe", regex=False),
                "keyword_please": lower.str.contains("please", regex=False)
                | lower.str.contains("plz", regex=False),
                "regex_check_out": text.str.contains("check.*out", flags=re.I, regex=True),
                "short_comment": text.str.split().str.len() < 5,
            }
        )

    label.__annotations__ = {"text": pd.Series, "return": pd.DataFrame}
    udf: Any = F.pandas_udf(label, schema)
    return df.select("comment_id", udf("text").alias("m")).select("comment_id", "m.*")


def by_map_in_arrow(df: DataFrame) -> DataFrame:
    def label(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            text = batch.column("text")
            lower = pc.utf8_lower(text)
            words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text)))
            please = pc.match_substring(lower, "please")
            masks = [
                pc.match_substring_regex(text, r"[\p{L}\p{N}_]+\.ly"),
                pc.match_substring(lower, "subscribe"),
                pc.or_(please, pc.match_substring(lower, "plz")),
                pc.match_substring_regex(text, "check.*out", ignore_case=True),
                pc.less(words, 5),
            ]
            yield pa.RecordBatch.from_arrays(
                [batch.column("comment_id"), *masks], ["comment_id", *NAMES]
            )

    schema = "comment_id string, " + ", ".join(f"{n} boolean" for n in NAMES)
    return df.select("comment_id", "text").mapInArrow(label, schema)


def by_catalyst(df: DataFrame) -> DataFrame:
    text, lower = F.col("text"), F.lower("text")
    return df.select(
        "comment_id",
        # A literal that must be there is looked for first: most rows need no regex.
        (text.contains(".ly") & text.rlike(r"(?U)\w\.ly")).alias("short_link"),
        lower.contains("subscribe").alias("keyword_subscribe"),
        (lower.contains("please") | lower.contains("plz")).alias("keyword_please"),
        (lower.contains("check") & lower.rlike("check.*out")).alias("regex_check_out"),
        # Fewer than five words: no fifth one after four and what is between them.
        (~text.rlike(r"(?U)^\s*(?:\S+\s+){4}\S")).alias("short_comment"),
    )


BY_HAND: dict[str, Callable[[DataFrame], DataFrame]] = {
    "a pandas UDF": by_pandas_udf,
    "mapInArrow": by_map_in_arrow,
    "Catalyst": by_catalyst,
}


def counts(df: DataFrame) -> dict[str, int]:
    return df.agg(*(F.count_if(F.col(n)).alias(n) for n in NAMES)).collect()[0].asDict()


def best_by_hand(spark: SparkSession, folder: Path, claims: Claims) -> None:
    df = source(spark, folder, ROWS["best_by_hand"])
    plan = compile_slices(SFS, df.schema)
    ours = plan.apply(df, ["comment_id"])
    wanted = counts(ours)
    for name, by_hand in BY_HAND.items():
        assert counts(by_hand(df)) == wanted, (name, counts(by_hand(df)), wanted)
    print(f"equal masks: {wanted}")
    runs: dict[str, Callable[[], Any]] = {"ours": partial(to_noop, ours)}
    runs |= {name: partial(to_noop, by_hand(df)) for name, by_hand in BY_HAND.items()}
    found = medians(runs)
    ours_s = found.pop("ours")
    best = min(found, key=lambda n: found[n])
    print(f"the best by hand is {best}")
    claims.ratio("best_by_hand", found[best] / ours_s)


def spark_applier(spark: SparkSession, folder: Path, claims: Claims) -> None:
    df = source(spark, folder, ROWS["spark_applier"])
    plan = compile_slices(SFS, df.schema)
    few = df.limit(2_000)
    theirs = SparkSFApplier(snorkels()).apply(few.rdd)
    python = compile_slices(SFS, df.schema, tier="row")
    assert counts(python.apply(few)) == {n: int(theirs[:, i].sum()) for i, n in enumerate(NAMES)}
    assert counts(plan.apply(df)) == counts(python.apply(df))
    runs = {
        "ours": lambda: to_delta(plan, df, folder),
        "SparkSFApplier": lambda: SparkSFApplier(snorkels()).apply(df.rdd),
    }
    found = medians(runs)
    claims.ratio("spark_applier", found["SparkSFApplier"] / found["ours"])


def pandas_applier(spark: SparkSession, folder: Path, claims: Claims) -> None:
    df = source(spark, folder, ROWS["pandas_applier"])
    rows = df.toPandas()
    plan, python = compile_slices(SFS, df.schema), compile_slices(SFS, df.schema, tier="row")
    theirs = PandasSFApplier(snorkels()).apply(rows.head(20_000), progress_bar=False)
    ours = plan.apply(pa.Table.from_pandas(rows.head(20_000)))
    for name in NAMES:
        assert ours[name].to_pylist() == [bool(v) for v in theirs[name]]
    runs = {
        "ours": lambda: to_delta(plan, df, folder),
        "ours, as Python": lambda: to_delta(python, df, folder),
        "PandasSFApplier": lambda: PandasSFApplier(snorkels()).apply(rows, progress_bar=False),
    }
    found = medians(runs)
    claims.ratio("pandas_applier", found["PandasSFApplier"] / found["ours"])
    claims.ratio("row_tier", found["PandasSFApplier"] / found["ours, as Python"])


def _polarities(texts: list[str]) -> list[float]:
    from textblob import TextBlob

    return [TextBlob(text).sentiment.polarity for text in texts]


def preprocessor(spark: SparkSession, folder: Path, claims: Claims) -> None:
    n = ROWS["preprocessor"]
    df = source(spark, folder / "few", n, DISTINCT)
    texts = sorted({r["text"] for r in df.select("text").distinct().collect()})
    print(f"{n:,} rows, {len(texts):,} distinct texts")

    def ours() -> None:
        # A new plan each turn: nothing is remembered from the turn before.
        to_noop(compile_slices([spam.textblob_polarity], df.schema).apply(df, ["comment_id"]))

    _polarities(texts[:10])  # TextBlob loads its lexicon
    found = medians({"ours": ours, "TextBlob alone": lambda: _polarities(texts)})
    claims.ratio("preprocessor", found["TextBlob alone"] / found["ours"])


CLAIMS = {
    "best_by_hand": best_by_hand,
    "spark_applier": spark_applier,
    "pandas_applier": pandas_applier,
    "preprocessor": preprocessor,
}


def main(argv: list[str]) -> None:
    claims = Claims()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "few").mkdir()
        spark = open_session("bench_label", {"spark.driver.memory": "8g"})
        for claim in argv or CLAIMS:
            print(f"{claim}:", flush=True)
            CLAIMS[claim](spark, folder, claims)
        spark.stop()
    claims.tell()


if __name__ == "__main__":
    main(sys.argv[1:])
