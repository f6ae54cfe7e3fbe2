"""The quota draw and the scoring of a table, each against what one would write by hand.

  .venv/bin/python -m tests.benchmarks.bench_sampling               both claims
  .venv/bin/python -m tests.benchmarks.bench_sampling sampling      one of them

``sampling``: 10^7 rows of a Parquet table with 50 slices are drawn by quota and brought to the
driver as Arrow, against a filter and a sample per slice, put together with a union.
``score_table``: texts scored through ``with_predictions``, against a hand-written ``pandas_udf``
that loads the same checkpoint once per worker, with Spark's default batch and one torch thread.

Each ratio is the hand-written one's median seconds over ours, of 3 runs that take turns in one
session. The last lines are ``ratio <claim>: <number>``.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial, reduce
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from sklearn.feature_extraction.text import CountVectorizer

from engine.classifier.bases import build_base
from engine.classifier.checkpoint import Checkpoint, load, save
from engine.classifier.features.text import BagOfWords
from engine.classifier.model import SlicingClassifier
from engine.project.demo_data import generate_comments
from engine.sampling import Counts, Quota, draw
from engine.scoring import checkpoint_predictor, identity_of, with_predictions
from engine.storage.session import open_session

ROWS, SLICES, PER_SLICE, TURNS = 10_000_000, 50, 2000, 3
TEXTS, WIDTH, HEADS = 1_000_000, 64, 50


def turns(**runs: Callable[[], int]) -> dict[str, float]:
    """Let each run take its turn, several times; return median seconds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TURNS):
        for name, run in runs.items():
            start = time.perf_counter()
            rows = run()
            times[name].append(time.perf_counter() - start)
            print(f"{name} {turn + 1}: {times[name][-1]:.1f} s, {rows:,} rows", flush=True)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def slice_shares() -> list[float]:
    """From one row in a thousand to one in three, evenly on a logarithmic scale."""
    return np.geomspace(0.001, 0.33, SLICES).tolist()


def sampling(spark: SparkSession, folder: Path) -> float:
    """Draw by quota against a filter and a sample per slice."""
    names = [f"s{i:02d}" for i in range(SLICES)]
    masks = [
        (F.rand(i) < share).alias(name)
        for i, (name, share) in enumerate(zip(names, slice_shares(), strict=True))
    ]
    made = spark.range(ROWS, numPartitions=8).select(
        F.concat(F.lit("comment-"), "id").alias("key"),
        *masks,
        F.rand(99).alias("score"),
        (F.rand(98) * 1000).cast("int").alias("group"),
    )
    made.write.parquet(str(folder / "rows"))
    table = spark.read.parquet(str(folder / "rows"))
    found = table.agg(*(F.count_if(F.col(n)).alias(n) for n in names)).collect()[0]
    counts = Counts(ROWS, found.asDict())
    quota = Quota(PER_SLICE, overall=PER_SLICE)

    def by_quota() -> int:
        chances = {"all": quota.chances(counts)}
        return int(draw(table, ["key"], chances, seed=1).toArrow().num_rows)

    def per_slice() -> int:
        def one(name: str) -> DataFrame:
            share = min(1.0, PER_SLICE / counts.slices[name])
            return table.where(F.col(name)).sample(share, seed=1)

        every = table.sample(PER_SLICE / ROWS, seed=1)
        return int(reduce(DataFrame.union, map(one, names), every).toArrow().num_rows)

    medians = turns(by_quota=by_quota, per_slice=per_slice)
    return medians["per_slice"] / medians["by_quota"]


def score_table(spark: SparkSession, folder: Path) -> float:
    """Score texts with the engine against a pandas_udf written by hand."""
    torch.manual_seed(0)
    texts = generate_comments()["text"].tolist()
    features = BagOfWords.fit(texts)
    spec = {"kind": "mlp", "layers": 2, "width": WIDTH}
    base, slices = build_base(spec, features.width), {f"s{i:02d}": "f" for i in range(HEADS)}
    model = SlicingClassifier(base.module, base.width, list(slices))
    at = folder / "checkpoint"
    save(at, model, features=features, base=spec, classes=[0, 1], slices=slices, facts={})
    rows = pd.DataFrame({"id": range(TEXTS), "text": [texts[i % len(texts)] for i in range(TEXTS)]})
    rows.to_parquet(folder / "texts.parquet")
    table = spark.read.parquet(str(folder / "texts.parquet")).repartition(4)
    table.write.parquet(str(folder / "texts"))
    table = spark.read.parquet(str(folder / "texts"))

    def written(df: DataFrame, name: str) -> int:
        df.write.mode("overwrite").parquet(str(folder / name))
        return spark.read.parquet(str(folder / name)).count()

    def ours() -> int:
        predictions = with_predictions(
            table,
            keep=["id"],
            inputs=["text"],
            label=None,
            weight=None,
            model_id="m",
            classes=[0, 1],
            identity=identity_of(at),
            load=partial(checkpoint_predictor, str(at)),
        )
        return written(predictions.select("id", "pred", "prob"), "ours")

    place, vocabulary = str(at), list(features.vocabulary)

    def by_hand() -> int:
        @F.pandas_udf("array<double>")
        def score(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
            torch.set_num_threads(1)
            checkpoint = loaded_once(place)
            words = CountVectorizer(vocabulary=vocabulary, dtype=np.float32)
            for batch in batches:
                inputs = torch.from_numpy(words.transform(batch.fillna("")).toarray())
                prob = checkpoint.model.predict_proba({"input_data": inputs})
                yield pd.Series(list(prob.astype(np.float64)))

        scored = table.select("id", score("text").alias("prob"))
        best = F.array_position("prob", F.array_max("prob")).cast("int")
        pred = F.element_at(F.array(F.lit(0), F.lit(1)), best).alias("pred")
        return written(scored.select("id", pred, "prob"), "by_hand")

    ours(), by_hand()  # workers start and import torch
    medians = turns(ours=ours, by_hand=by_hand)
    both = (
        spark.read.parquet(str(folder / "ours"))
        .alias("a")
        .join(spark.read.parquet(str(folder / "by_hand")).alias("b"), "id")
    )
    apart = both.where(F.abs(F.col("a.prob")[1] - F.col("b.prob")[1]) > 1e-5).count()
    print(f"rows whose probability differs by more than 1e-5: {apart} of {both.count():,}")
    return medians["by_hand"] / medians["ours"]


def loaded_once(place: str) -> Checkpoint:
    """Load a checkpoint once per worker."""
    # A script's functions and globals are pickled anew for each task; a module's stay.
    kept = vars(sys.modules["torch"]).setdefault("_by_hand", {})
    if place not in kept:
        kept[place] = load(place)
    return kept[place]


CLAIMS = {"sampling": sampling, "score_table": score_table}


def main(names: list[str]) -> None:
    """Run the claims named, or all."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Workers must find this file's module.
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    spark = open_session("bench_sampling")
    ratios = {}
    for name in names or CLAIMS:
        with tempfile.TemporaryDirectory() as folder:
            ratios[name] = CLAIMS[name](spark, Path(folder))
    for name, ratio in ratios.items():
        print(f"ratio {name}: {ratio:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
