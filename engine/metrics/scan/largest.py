"""The keys of rows that are shown, of all rows read and joined by workers as the scan's are.

Spark then joins the rows of these keys alone, and decides which they are: what comes back here is
at least them. A loss may differ from Spark's in its last bits, so rows whose losses nearly are the
last one's come too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from engine.hashing import KeyHash
from engine.metrics.catalog import parse_metric
from engine.metrics.scan.beside import Beside, JoinReader, joined_by_workers
from engine.metrics.scan.chunks import CHUNK, TEXTS, Chunk, doubles, model_columns
from engine.metrics.scan.form import EvaluationSpec, positions_in
from engine.metrics.scan.joined import form_of
from engine.plain import plain
from engine.words import WORD
from engine.workers import begin

_NEARLY = 1e-12  # of a loss, by which Python's and Java's logarithms may differ, and more
_MOST = 10_000  # rows that are shown
_LEAST = {pa.float32(): 2.0**-23, pa.float64(): 2.0**-52}  # less is taken for it


@dataclass(frozen=True)
class LossReader(JoinReader):
    """How tasks read what decides which rows are shown: labels, predictions and losses."""

    def of_model(self, batch: pa.RecordBatch, i: int) -> dict[str, pa.Array]:
        """Return a code, and the loss; null where there is none."""
        columns = dict(model_columns(batch, self.form, self.models[i].places, i))
        code = columns[f"code_{i}"]
        at = positions_in(code.to_numpy(zero_copy_only=False))
        of, places = self.form.spec, self.models[i].places
        if of.classes:
            loss = _log_loss(batch, places.get("prob"), at["label"], at["pred"], of)
        else:
            loss = _error(batch, places)
        none = np.isnan(loss)
        return {f"code_{i}": code, f"loss_{i}": pa.array(loss, mask=none)}

    def of_masks(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """Return the key's values."""
        return {f"key_{j}": batch.column(c) for j, c in enumerate(self.key)}


def _log_loss(
    batch: pa.RecordBatch, prob: str | None, label: np.ndarray, pred: np.ndarray, of: EvaluationSpec
) -> np.ndarray:
    known, least = np.full(len(label), np.nan), _LEAST[pa.float64()]
    if prob is not None:
        known, least = _of_label(batch.column(prob), label, of)
    wrong = np.where(pred >= 0, (pred != label).astype(float), np.nan)
    with np.errstate(invalid="ignore"):
        loss = -np.log(np.maximum(np.minimum(known, 1.0), least))
    return np.where(label >= 0, np.where(np.isnan(known), wrong, loss), np.nan)


def _of_label(column: pa.Array, label: np.ndarray, of: EvaluationSpec) -> tuple[np.ndarray, float]:
    """Return the probabilities of rows' labels, NaN where there is none, and the least of them."""
    lists = pa.types.is_list(column.type)
    narrow = pa.types.is_float32(column.type.value_type if lists else column.type)
    kind = pa.float32() if narrow else pa.float64()
    if not lists:
        second = doubles(column)
        both = np.stack([1 - second, second]).astype(kind.to_pandas_dtype()).astype(float)
        return both[np.clip(label, 0, 1), np.arange(len(label))], _LEAST[kind]
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    there = np.flatnonzero((label >= 0) & (label < lengths))
    known = np.full(len(label), np.nan)
    starts = column.offsets.to_numpy(zero_copy_only=False)[:-1]
    known[there] = doubles(column.values)[starts[there] + label[there]]
    return known, _LEAST[kind]


def _error(batch: pa.RecordBatch, places: Any) -> np.ndarray:
    if "label" not in places or "pred" not in places:
        return np.full(batch.num_rows, np.nan)
    guess, target = (doubles(batch.column(places[name])) for name in ("pred", "label"))
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(guess - target))


@dataclass(frozen=True)
class Wanted:
    """Rows of one kind.

    Attributes
    ----------
    models, kind
        One model's rows of the largest ``loss``; or of two models what the second has ``won`` or
        ``lost``.
    slice_id
        The slice; None for all rows.
    split
        The split whose rows are meant; all by default.
    n
        How many rows.
    bit
        The slice's bit, which the scan knows.
    """

    models: tuple[int, ...]
    kind: str
    slice_id: str | None
    split: str | EllipsisType | None
    n: int
    bit: int | None = None

    def losses(self, chunk: Chunk) -> np.ndarray:
        """Return what orders rows, the largest first; NaN of rows that aren't of the kind."""
        loss = self._of_models(chunk)
        if self.bit is not None:
            k, b = divmod(self.bit, WORD)
            loss = np.where(chunk.words[k] >> np.uint64(b) & np.uint64(1) == 1, loss, np.nan)
        whole = "split" not in chunk.columns.schema.names  # all rows are of one split then
        if whole or isinstance(self.split, EllipsisType):
            return loss
        split = chunk.columns.column("split")
        same = split.is_null() if self.split is None else pc.equal(split, self.split)
        return np.where(np.asarray(pc.fill_null(same, False)), loss, np.nan)

    def _of_models(self, chunk: Chunk) -> np.ndarray:
        if self.kind == "loss":
            loss = doubles(chunk.columns.column(f"loss_{self.models[0]}"))
            with np.errstate(invalid="ignore"):
                return np.where(loss > 0, loss, np.nan)
        first, second = (positions_in(chunk.numbers(f"code_{i}")) for i in self.models)
        label = first["label"]
        scored = (label >= 0) & (first["pred"] >= 0) & (second["pred"] >= 0)
        right = [at["pred"] == label for at in (first, second)]
        flipped = right[1] & ~right[0] if self.kind == "won" else right[0] & ~right[1]
        return np.where(scored & flipped, 0.0, np.nan)


def keys_of_rows(
    joined: DataFrame,
    spec: EvaluationSpec,
    beside: Beside | None,
    wanted: Sequence[Wanted],
    seed: int,
) -> list[list[Any]] | None:
    """Return the values of the key's columns of rows that are shown; None where Spark has to look.

    Parameters
    ----------
    joined, spec, beside
        As for the scan.
    wanted
        What is shown.
    seed
        What decides which of like rows are shown.
    """
    if beside is None or not wanted or sum(one.n for one in wanted) > _MOST:
        return None
    kinds = dict(beside.masks.dtypes)
    if any(kinds[c] not in TEXTS for c in beside.key):
        return None
    slices = [one.slice_id for one in wanted if one.slice_id is not None]
    metrics = [] if spec.classes else [parse_metric("mae")]  # so that labels must be numbers
    own = replace(
        spec, metrics=metrics, custom=[], slice_ids=list(dict.fromkeys(slices)), weighted=False,
        overlap=False,
    )  # fmt: skip
    # A replicate is drawn by the hash that also decides which of like rows are shown.
    form = replace(form_of(joined, own), replicates=1, key=())
    bits = dict(zip(own.slice_ids, form.bits, strict=True))
    at = [replace(one, bit=bits.get(one.slice_id or "")) for one in wanted]

    def first(reader: JoinReader) -> pa.Table:
        fields = {f: getattr(reader, f) for f in reader.__dataclass_fields__}
        return _first_of_all(joined, LossReader(**fields), at)

    rows = joined_by_workers(beside, form, KeyHash(beside.key, seed), CHUNK, first)
    if rows is None:
        return None
    return [rows.column(f"key_{j}").unique().to_pylist() for j in range(len(beside.key))]


def _first_of_all(joined: DataFrame, reader: LossReader, wanted: Sequence[Wanted]) -> pa.Table:
    rows, take = reader.chunks(joined.sparkSession)
    plainly = plain()
    kinds = dict(joined.dtypes)
    keys = "".join(f", key_{j} {kinds[c]}" for j, c in enumerate(reader.key))

    def first(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        for chunk in take(batches):
            if chunk is not None:
                yield from _first_of(chunk, reader, wanted)

    table = rows.mapInArrow(first, f"at int, loss double, hash long{keys}").toArrow()
    at = table.column("at").to_numpy()
    loss, hashes = (table.column(c).to_numpy() for c in ("loss", "hash"))
    places = [np.empty(0, np.int64)]
    for i, one in enumerate(wanted):
        own = np.flatnonzero(at == i)
        places.append(own[first_rows(loss[own], hashes[own], one.n)])
    return table.take(pa.array(np.concatenate(places)))


def _first_of(
    chunk: Chunk, reader: LossReader, wanted: Sequence[Wanted]
) -> Iterator[pa.RecordBatch]:
    hashes = chunk.numbers("hash")
    for i, one in enumerate(wanted):
        losses = one.losses(chunk)
        own = np.flatnonzero(~np.isnan(losses))
        places = own[first_rows(losses[own], hashes[own], one.n)]
        if len(places):
            keys = {f"key_{j}": chunk.columns.column(f"key_{j}") for j in range(len(reader.key))}
            yield pa.record_batch({
                "at": pa.repeat(pa.scalar(i, pa.int32()), len(places)),
                "loss": pa.array(losses[places]), "hash": pa.array(hashes[places]),
                **{name: of.take(pa.array(places)) for name, of in keys.items()},
            })  # fmt: skip


def first_rows(losses: np.ndarray, hashes: np.ndarray, n: int) -> np.ndarray:
    """Return where the ``n`` rows of the largest losses are, and those that nearly are.

    Of rows of one loss those of the least hashes come first.

    Examples
    --------
    >>> first_rows(np.array([1.0, 3.0, 1.0, 1.0]), np.array([7, 1, 5, 6]), 2).tolist()
    [1, 2, 3]
    """
    if len(losses) <= n:
        return np.arange(len(losses))
    last = np.partition(losses, len(losses) - n)[len(losses) - n]
    near = np.flatnonzero(losses >= last - abs(last) * _NEARLY)
    order = near[np.lexsort((hashes[near], -losses[near]))]
    starts = np.flatnonzero(np.diff(losses[order], prepend=np.inf))
    counts = np.diff(np.append(starts, len(order)))
    place = np.arange(len(order)) - np.repeat(starts, counts)
    return order[place < n]
