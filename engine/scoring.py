"""A model applied to a table by Spark executors; each loads it once per Python worker."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import CheckpointMissingError, SetupError, listed, not_finite
from engine.masks.checks import key_text, quoted
from engine.plain import plain
from engine.workers import begin

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Rows to [n, C] probabilities and, where heads are asked for, indicators and attention [n, S].
Predict = Callable[[pa.RecordBatch], Sequence[np.ndarray]]

_HEADS = ("indicator", "attention")
_EXAMPLES = 3
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
    inputs: Sequence[str],
    label: str | None,
    weight: str | None,
    model_id: str,
    classes: Sequence[Any],
    identity: str,
    load: Callable[[], Predict],
    heads: Sequence[str] = (),
) -> DataFrame:
    """Return a prediction table: columns of the source, model_id, label, weight, pred, prob.

    Parameters
    ----------
    df
        The source.
    keep
        Partition and key columns.
    inputs
        The columns the model reads.
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
        Called on an executor; returns the function that scores rows.
    heads
        Slices whose indicator and attention are written too, as structs with a field for each.
    """
    kinds, plainly = _HEADS if heads else (), plain()

    def score(batches: Iterator[pa.StructArray]) -> Iterator[pa.StructArray]:
        begin(plainly)
        predict = _loaded(identity, load)
        for batch in batches:
            prob, *of_heads = predict(pa.RecordBatch.from_struct_array(batch))
            columns = [_as_lists(prob), *(_as_struct(values, heads) for values in of_heads)]
            yield pa.StructArray.from_arrays(columns, ["prob", *kinds])

    score.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
    fields = ", ".join(f"`{h}` float" for h in heads)
    kind = ", ".join(["prob array<double>", *(f"{name} struct<{fields}>" for name in kinds)])
    udf = F.arrow_udf(score, f"struct<{kind}>").asNondeterministic()  # type: ignore[attr-defined]
    scored = df.withColumn("_scores", udf(F.struct(*map(quoted, inputs))))
    prob = F.col("_scores.prob")
    best = F.array_position(prob, F.array_max(prob)).cast("int")
    pred = F.element_at(F.array(*map(F.lit, classes)), best)
    gold = quoted(label) if label else F.lit(None).cast("string")
    if label:  # a prediction has its label's type, whatever YAML reads in the project file
        pred = pred.cast(df.schema[label].dataType)
    return scored.select(
        *map(quoted, keep),
        F.lit(model_id).alias("model_id"),
        gold.alias("label"),
        (quoted(weight) if weight else F.lit(None)).cast("double").alias("weight"),
        pred.alias("pred"),
        prob.alias("prob", metadata={"classes": [str(c) for c in classes]}),
        *(F.col(f"_scores.{name}").alias(name) for name in kinds),
    )


def _loaded(identity: str, load: Callable[[], Predict]) -> Predict:
    # Pickled by name, so that it uses the worker's one module; a UDF's own globals are copied for
    # each task.
    if identity not in _LOADED:
        _LOADED.clear()  # one model at a time
        _LOADED[identity] = load()
    return _LOADED[identity]


def _as_lists(probabilities: np.ndarray) -> pa.Array:
    n, width = probabilities.shape
    flat = pa.array(np.ascontiguousarray(probabilities, dtype=np.float64).ravel())
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * width, pa.int32()), flat)


def _as_struct(values: np.ndarray, names: Sequence[str]) -> pa.Array:
    columns = np.ascontiguousarray(values.T, dtype=np.float32)  # [S, n]
    return pa.StructArray.from_arrays([pa.array(column) for column in columns], list(names))


def checkpoint_predictor(folder: str, heads: bool = False) -> Predict:
    """Load a checkpoint, on one thread: Spark runs as many workers as there are cores.

    Parameters
    ----------
    folder
        Its path on every executor, or the name of the archive that :func:`ship` sent.
    heads
        Whether to give each slice's indicator and attention too.
    """
    import torch  # where a model is scored only: drivers and other executors may lack it

    from engine.classifier.checkpoint import load  # which loads torch

    torch.set_num_threads(1)
    checkpoint = load(folder if Path(folder).is_absolute() else SparkFiles.get(folder))

    def predict(rows: pa.RecordBatch) -> Sequence[np.ndarray]:
        scores = checkpoint.score(rows, heads)
        return [
            part for part in (scores.prob, scores.indicator, scores.attention) if part is not None
        ]

    return predict


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what Spark raises while executors score into the engine's errors.

    Parameters
    ----------
    folder
        The checkpoint's, for the message.

    Raises
    ------
    SetupError
        If executors can't import a module.
        If they can't read the checkpoint.
    """
    try:
        yield
    except Exception as error:  # a write that fails comes as Py4J's error, not as pyspark's
        text = str(error)
        if missing := re.search(r"ModuleNotFoundError: No module named '([^']+)'", text):
            raise SetupError(
                f"Spark's executors cannot import {missing[1]!r}: pass the zip of `make dist` with "
                "--py-files for the engine, and install torch, scikit-learn and safetensors on "
                "every worker"
            ) from None
        if unread := _UNREAD.search(text):
            raise SetupError(
                f"Spark's executors cannot read the checkpoint at {str(folder)!r} "
                f"({unread['cause']}): keep it on storage that all of them share, or send it along "
                "with --send"
            ) from None
        raise


# How a worker's traceback ends when it finds no checkpoint, or may not read it.
_UNREAD = re.compile(
    r"^(?:engine\.errors\.)?"
    r"(?P<cause>(?:CheckpointMissing|FileNotFound|Permission|NotADirectory)Error)\b",
    re.MULTILINE,
)


def ship(spark: SparkSession, folder: Path, identity: str) -> str:
    """Send a saved model's files with the session, for executors that can't read its path.

    Returns
    -------
    str
        The name by which :func:`checkpoint_predictor` finds it on an executor.
    """
    parent = mkdtemp()  # executors fetch from it as long as the session lasts
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    archive = shutil.make_archive(f"{parent}/{identity}", "zip", folder)
    spark.addArtifacts(archive, archive=True)
    return f"{identity}.zip"


def check_finite(df: DataFrame, table: str, key: Sequence[str], columns: Sequence[str]) -> None:
    """Check that numeric features are numbers: null may be, NaN and infinity may not.

    One scan of the columns that can hold them.

    Raises
    ------
    DatasetError
        With the first rows of the first column that has some.
    """
    kinds = {c: df.schema[c].dataType.simpleString() for c in columns}
    floats = [c for c, kind in kinds.items() if kind in {"float", "double"}]
    if not floats:
        return
    bad = {c: F.isnan(quoted(c)) | (F.abs(quoted(c)) == float("inf")) for c in floats}
    (counts,) = df.agg(*(F.count_if(test) for test in bad.values())).collect()
    for n_bad, (column, test) in zip(counts, bad.items(), strict=True):
        if n_bad:
            first = df.where(test).select(*map(quoted, key)).orderBy(*map(quoted, key))
            rows = [key_text(r.asDict(), key) for r in first.limit(_EXAMPLES).collect()]
            raise not_finite(column, n_bad, rows)


def slice_differences(stored: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe how slices differ from those that a checkpoint was trained on; empty if they don't.

    Parameters
    ----------
    stored, now
        Slice id to fingerprint, of the checkpoint and of the mask table.

    Examples
    --------
    >>> slice_differences({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
    'added d; gone c; changed b'
    >>> slice_differences({"a": "1"}, {"a": "1"})
    ''
    """
    groups = {
        "added": [s for s in now if s not in stored],
        "gone": [s for s in stored if s not in now],
        "changed": [s for s in stored if s in now and stored[s] != now[s]],
    }
    return "; ".join(f"{what} {listed(ids, 5)}" for what, ids in groups.items() if ids)
