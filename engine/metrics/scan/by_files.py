"""What the scan reads, from a table's files: the twin of what it otherwise reads by Spark's SQL.

A worker reads the columns that hold masks, labels, predictions and the rest from Parquet, and
:mod:`.chunks` makes of them the chunk that Spark would have sent. Types of which that isn't
sure are left to Spark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from engine.masks.reader import read_masks
from engine.metrics.predictions import OURS
from engine.metrics.scan.chunks import ARRAYS, NUMBERS, TEXTS, Chunk, Places, chunk_in
from engine.metrics.scan.form import EvaluationSpec, Form
from engine.storage.files import Files, batches, files_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.hashing import KeyHash

_TWO = 2  # classes, of which one probability is that of both


@dataclass(frozen=True)
class Own:
    """A table that holds masks and one model's predictions.

    Attributes
    ----------
    rows
        Its rows.
    columns
        Our names of prediction columns to the table's own, where they differ.
    """

    rows: DataFrame
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Reader:
    """How a task reads its share of the files.

    Attributes
    ----------
    files
        The files.
    form
        What the scan adds up.
    places
        Which columns hold what tasks take.
    rows
        How many rows are read at a time.
    """

    files: Files
    form: Form
    places: Places
    rows: int

    def chunks(self, tasks: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
        """Yield what tasks take, of rows that are tasks' numbers."""
        for numbers in tasks:
            for task in numbers.column(0).to_pylist():
                for batch in batches(self.files, task, self.rows):
                    yield chunk_in(batch, self.form, self.places)


def reader_of(own: Own, form: Form, hashed: KeyHash | None, rows: int) -> Reader | None:
    """Return how tasks can read the table's files; None where Spark has to.

    Parameters
    ----------
    own
        The table.
    form, hashed
        What is added up, and by which hash replicates are drawn.
    rows
        How many rows a task takes at a time.
    """
    spec, kinds = form.spec, {f.name: f.dataType.simpleString() for f in own.rows.schema}
    at = {ours: own.columns.get(ours, ours) for ours in OURS}
    spelled = {kind.lower(): kind for kind in kinds}
    if any(spelled.get(column.lower(), column) != column for column in at.values()):
        return None  # Spark takes it in any case
    at = {ours: column for ours, column in at.items() if column in kinds}
    if own.columns.get("model_id", "model_id") in kinds or not _means_the_same(at, kinds, spec):
        return None
    key = hashed.columns if hashed is not None and form.replicates else ()
    texts = [*key, *([spec.split] if spec.split is not None else [])]
    means = [c.partition(":")[2] for c in spec.columns if c.startswith("mean:")]
    if any(kinds.get(c) not in TEXTS for c in texts):
        return None
    if any(kinds.get(c) not in NUMBERS for c in means):
        return None
    masks = read_masks(own.rows).stored_words(spec.slice_ids)
    if masks is None:
        return None
    others = [c.partition(":")[2] for c in spec.columns]
    columns = list(dict.fromkeys([*at.values(), *texts, *others, *masks.columns]))
    files = files_of(own.rows, columns)
    return None if files is None else Reader(files, form, Places(masks, (at,), hashed), rows)


def _means_the_same(at: Mapping[str, str], kinds: Mapping[str, str], spec: EvaluationSpec) -> bool:
    """Tell whether predictions are of types that mean the same here and in SQL."""
    if "weight" in at and kinds[at["weight"]] not in NUMBERS:
        return False
    allowed = TEXTS | NUMBERS
    if spec.classes and not all(isinstance(c, str) for c in spec.classes):
        allowed = allowed - {"string"}  # of which some read as numbers, as Spark has it
    if spec.needs("numbers"):
        allowed = allowed & NUMBERS
    if any(kinds[at[name]] not in allowed for name in ("label", "pred") if name in at):
        return False
    if any(isinstance(c, int) and abs(c) >= 2**63 for c in spec.classes):
        return False
    if not spec.classes or "prob" not in at:
        return True
    return kinds[at["prob"]] in (NUMBERS | ARRAYS if len(spec.classes) == _TWO else ARRAYS)
