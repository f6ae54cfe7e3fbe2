"""A model applied to a table by Spark executors; each loads it once per Python worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import CheckpointMissingError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Predict = Callable[[Sequence[str | None]], np.ndarray]  # texts to [n, C] probabilities

_LOADED: dict[str, Predict] = {}  # per Python worker, which Spark reuses for many tasks


def identity_of(folder: Path) -> str:
    """Return a hash of a saved model's files.

    Raises
    ------
    CheckpointMissingError
        If the folder has none.
    """
    files = sorted(f for f in folder.glob("*") if f.is_file())
    if not files:
        raise CheckpointMissingError(folder, "checkpoint.json")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def with_predictions(
    df: DataFrame,
    *,
    keep: Sequence[str],
    text: str,
    label: str | None,
    weight: str | None,
    model_id: str,
    classes: Sequence[Any],
    identity: str,
    load: Callable[[], Predict],
) -> DataFrame:
    """Return a prediction table: kept columns, model_id, label, weight, pred, prob.

    Parameters
    ----------
    df
        The source.
    keep
        Partition and key columns.
    text
        The column the model reads.
    label
        The label column, or None where there is none yet.
    weight
        The column with a row's weight in figures, or None.
    model_id
        The model's name.
    classes
        Class values in the order of the probabilities; kept in ``prob``'s metadata.
    identity
        Names this very model: a worker that has loaded it doesn't load it again.
    load
        Called on an executor; returns the function that scores texts.
    """

    def score(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        if identity not in _LOADED:
            _LOADED.clear()  # one model at a time: the last run's is not needed any more
            _LOADED[identity] = load()
        for batch in batches:
            yield _as_lists(_LOADED[identity](batch.to_pylist()))

    score.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    udf = F.arrow_udf(score, "array<double>").asNondeterministic()  # type: ignore[attr-defined]
    scored = df.withColumn("_prob", udf(F.col(f"`{text}`")))
    best = F.array_position(F.col("_prob"), F.array_max("_prob")).cast("int")
    pred = F.element_at(F.array(*map(F.lit, classes)), best)
    gold = F.col(f"`{label}`") if label else F.lit(None).cast("string")
    if label:  # a prediction is of its label's type, whatever the project file's YAML made of it
        pred = pred.cast(df.schema[label].dataType)
    return scored.select(
        *(F.col(f"`{k}`") for k in keep),
        F.lit(model_id).alias("model_id"),
        gold.alias("label"),
        (F.col(f"`{weight}`") if weight else F.lit(None)).cast("double").alias("weight"),
        pred.alias("pred"),
        F.col("_prob").alias("prob", metadata={"classes": [str(c) for c in classes]}),
    )


def _as_lists(probabilities: np.ndarray) -> pa.Array:
    n, width = probabilities.shape
    flat = pa.array(np.ascontiguousarray(probabilities, dtype=np.float64).ravel())
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * width, pa.int32()), flat)


def checkpoint_predictor(folder: str) -> Predict:
    """Load a checkpoint, on one thread: Spark runs as many workers as there are cores."""
    import torch

    from engine.classifier.checkpoint import load

    torch.set_num_threads(1)
    return load(folder).predict_proba
