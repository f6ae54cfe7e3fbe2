"""Mask tables with labels, predictions and probabilities in them, for benchmarks of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from engine.masks.layout import Bits, Layout, StoredSlice, TableForm
from engine.storage.tables import overwrite
from engine.words import packed

COVERAGES = (0.001, 0.3)
COLUMNS = ("id", "label", "pred", "prob")
_PART = 250_000  # rows that are drawn at a time, and a file's
_STEPS = 2**16  # a row is in a slice if a number of 16 bits is small enough


def ids_of(slices: int) -> list[str]:
    """Return the slices' ids."""
    return [f"s{i}" for i in range(slices)]


def write_tables(
    spark: SparkSession, folder: Path, rows: int, slices: int, layouts: list[Layout], seed: int = 0
) -> dict[Layout, DataFrame]:
    """Draw rows once and write them as a Delta table of each layout.

    Slices hold 0.1 % to 30 % of the rows, log-uniform. A part of the rows is drawn by the seed and
    its number alone, and the first slices of many are those of few.
    """
    form = {
        layout: TableForm(
            COLUMNS, layout, Bits(tuple(StoredSlice(s, s, "") for s in ids_of(slices)))
        )
        for layout in layouts
    }
    drawn = {layout: folder / f"{slices}_{layout}_drawn" for layout in layouts}
    for place in drawn.values():
        place.mkdir()
    for part in range(0, rows, _PART):
        n = min(_PART, rows - part)
        columns, masks = draw(n, slices, [seed, part])
        columns["id"] = np.arange(part, part + n)
        for layout, place in drawn.items():
            if layout is Layout.BOOLEAN:
                held = dict(zip(ids_of(slices), masks.T, strict=True))
            else:
                words = packed(masks).T
                held = dict(zip(form[layout].bits.columns, [*words, *(words * 0)], strict=True))
            table = pa.table({**columns, **{k: np.ascontiguousarray(v) for k, v in held.items()}})
            pq.write_table(table, place / f"{part}.parquet")
    tables = {}
    for layout, place in drawn.items():
        df, at = spark.read.parquet(str(place)), str(folder / f"{slices}_{layout}")
        made = (
            form[layout].rows(df, [F.col(s) for s in ids_of(slices)])
            if layout is Layout.BOOLEAN
            else form[layout].rows_of(df, form[layout].bits.columns)
        )
        overwrite(made, at, facts={})  # as labelling writes
        tables[layout] = spark.read.format("delta").load(at)
    return tables


def draw(n: int, slices: int, seed: list[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Draw a part's label, pred and prob, and its masks ``[n, slices]``."""
    masks = np.empty((n, slices), dtype=bool)
    low, high = np.log(COVERAGES)
    shares = np.exp(np.random.default_rng(seed[0]).uniform(low, high, slices))
    rng = np.random.default_rng(seed)
    for i, share in enumerate(shares):
        masks[:, i] = rng.integers(0, _STEPS, n, dtype=np.uint16) < round(share * _STEPS)
    return model_columns(n, seed), masks


def model_columns(n: int, seed: list[int], model: int = 0) -> dict[str, np.ndarray]:
    """Draw labels, and a model's probabilities and predictions."""
    label = np.random.default_rng([1, *seed]).integers(0, 2, n).astype(np.int32)
    rng = np.random.default_rng([2 + model, *seed])
    prob = np.clip(0.3 * label + 0.7 * rng.random(n), 0, 1)
    return {"label": label, "pred": (prob >= 0.5).astype(np.int32), "prob": prob}
