"""What one task of the scan does: takes chunks of rows, and keeps what they add up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from engine.masks.pairs import add_pairs
from engine.masks.splits import ALL, Split
from engine.metrics.custom import RAISED, CustomMetric, failure
from engine.metrics.formulas.outputs import UNKNOWN_CLASS, Outputs, least_of
from engine.metrics.scan.chunks import Chunk
from engine.metrics.scan.form import (
    FLAGS,
    PAIR_CELLS,
    EvaluationSpec,
    Form,
    flags_in,
    positions_in,
)
from engine.metrics.scan.kernel import (
    Added,
    Masks,
    SmallScores,
    add,
    keep,
    scores_bytes,
    small_slices,
)
from engine.metrics.scan.sums import key_hashes, payloads, sums
from engine.words import WORD, set_bits, unpacked


class Task:
    """What one task adds up."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.width = form.words * WORD + 1
        self.added: dict[tuple[Split, int], Added] = {}
        self.scores: dict[tuple[Split, int], SmallScores] = {}
        self.own: dict[tuple[Split, int, int, int], Any] = {}
        self.rows: dict[tuple[Split, int], np.ndarray] = {}
        self.keys: list[np.ndarray] = []
        self.pairs: dict[Split, np.ndarray] = {}

    def take(self, chunk: Chunk) -> None:
        """Add a chunk, split by split."""
        if self.form.key:
            self.keys.append(chunk.numbers("key"))
        for name, rows in rows_by_split(chunk, self.form.spec):
            whole = len(rows) == chunk.columns.num_rows
            self._take(name, chunk if whole else chunk.take(rows))

    def _take(self, split: Split, chunk: Chunk) -> None:
        form, spec = self.form, self.form.spec
        hashes = chunk.numbers("hash").view(np.uint64) if form.replicates else None
        masks = Masks(chunk.words, hashes)
        self._row(split, form.rows["nulls"])[:-1] += set_bits(chunk.nulls)
        if spec.overlap:
            self._overlap(split, chunk.words)
        columns = {name: chunk.numbers(f"column_{j}") for j, name in enumerate(spec.columns)}
        all_outputs = []
        for i in range(len(spec.models)):
            code = chunk.numbers(f"code_{i}")
            outputs = outputs_of(chunk.columns, i, code, spec, columns)
            all_outputs.append(outputs)
            self._flags(split, i, code, outputs)
            add(self.added.setdefault((split, i), Added()), form.work, masks, outputs)
            if spec.ranked:
                none = SmallScores(np.zeros(self.width, np.int64))
                keep(self.scores.setdefault((split, i), none), masks, outputs, spec.exact_rows)
            self._own(split, i, masks, outputs)
        for j, (a, b) in enumerate(form.pairs):
            row = form.rows["pairs"] + j * PAIR_CELLS
            self._pair(split, row, masks, all_outputs[a], all_outputs[b])

    def _row(self, split: Split, row: int) -> np.ndarray:
        return self.rows.setdefault((split, row), np.zeros(self.width, np.int64))

    def _flags(self, split: Split, i: int, code: np.ndarray, outputs: Outputs) -> None:
        unknown = (part == UNKNOWN_CLASS for part in (outputs.label, outputs.pred))
        for k, flag in enumerate((*flags_in(code).values(), *unknown)):
            self._row(split, self.form.rows["flags"] + i * len(FLAGS) + k)[-1] += flag.sum()

    def _pair(self, split: Split, row: int, masks: Masks, a: Outputs, b: Outputs) -> None:
        scored = (a.label >= 0) & (a.pred >= 0) & (b.pred >= 0)
        cell = 2 * (a.pred != a.label) + (b.pred != b.label)
        for k in range(PAIR_CELLS):
            at = np.flatnonzero(scored & (cell == k))
            rows = self._row(split, row + k)
            rows += np.append(set_bits(masks.words[:, at]), len(at))

    def _overlap(self, split: Split, words: np.ndarray) -> None:
        """Count the rows that each two slices share, and in the last cell those in none."""
        n = len(self.form.bits)
        counts = self.pairs.setdefault(split, np.zeros((n + 1, n + 1), np.int64))
        rows = np.ascontiguousarray(words.T.view(np.int64))
        covered = add_pairs(counts[:n, :n], rows, np.array(self.form.bits, np.intp))
        counts[n, n] += len(rows) - covered

    def _own(self, split: Split, i: int, masks: Masks, outputs: Outputs) -> None:
        """Merge the states of the user's own metrics, slice by slice."""
        for j, metric in enumerate(self.form.spec.custom):
            scored = np.flatnonzero(metric.scored(outputs))
            members = unpacked(masks.words[:, scored].T)
            rows_of = self._row(
                split, self.form.rows["scored"] + i * len(self.form.spec.custom) + j
            )
            rows_of += np.append(members.sum(axis=0, dtype=np.int64), len(scored))
            wanted = np.array(self.form.bits, dtype=np.int64)
            for at in (*wanted[members[:, wanted].any(axis=0)], self.width - 1):
                rows = scored if at == self.width - 1 else scored[members[:, at] == 1]
                key = (split, i, j, int(at))
                before = self.own.get(key)
                if not len(rows) or isinstance(before, bytes):  # it failed here, on other rows
                    continue
                try:
                    state = metric.state_of(outputs.take(rows))
                    self.own[key] = state if before is None else metric.merged(before, state)
                except RAISED as error:
                    self.own[key] = failure(error)

    def sums(self) -> Iterator[pa.RecordBatch]:
        """Yield all that was added up, leaving out what is 0."""
        form = self.form
        for (split, i), added in self.added.items():
            start, carried = i * form.cells, added.carried()
            for line, total in carried.totals.items():
                first = start + form.first(line, len(total))
                yield from sums(split, first, -1, total[:, None], form)
            for line, drawn in carried.drawn.items():
                first = start + form.first(line, len(drawn))
                yield from sums(split, first, 0, drawn.transpose(0, 2, 1), form)
        for (split, row), total in self.rows.items():
            yield from sums(split, row, -1, total[None, None], form)
        for split, counts in self.pairs.items():
            full = np.zeros((len(counts), self.width), np.int64)
            full[:, [*form.bits, self.width - 1]] = np.triu(counts)
            yield from sums(split, form.rows["overlap"], -1, full[:, None], form)
        for (split, i), scores in self.scores.items():
            few = small_slices(scores, form.spec.exact_rows)
            slices = [s for s in few if form.place_of[s[0]] >= 0]
            bytes_ = [None if own is None else scores_bytes(*own) for _, _, own in slices]
            whose, rows = [at for at, _, _ in slices], [n for _, n, _ in slices]
            yield payloads(split, form.scores_row(i), whose, rows, bytes_, form)
        for (split, i, j, at), state in self.own.items():
            payload = _state_bytes(form.spec.custom[j], state)
            yield payloads(split, form.state_row(i, j), [at], [0], [payload], form)
        if self.keys:
            yield key_hashes(self.keys, form)


def rows_by_split(chunk: Chunk, spec: EvaluationSpec) -> Iterator[tuple[Split, np.ndarray]]:
    """Yield each split of a chunk, and its rows."""
    if spec.split is None:
        yield ALL, np.arange(chunk.columns.num_rows)
        return
    coded = chunk.columns.column("split").dictionary_encode(null_encoding="encode")
    at = coded.indices.to_numpy(zero_copy_only=False)
    for i, name in enumerate(coded.dictionary.to_pylist()):
        yield name, np.flatnonzero(at == i)


def _state_bytes(metric: CustomMetric, state: Any) -> bytes:
    if isinstance(state, bytes):
        return state
    try:
        return metric.packed(state)
    except RAISED as error:
        return failure(error)


def outputs_of(
    rows: pa.RecordBatch,
    i: int,
    code: np.ndarray,
    spec: EvaluationSpec,
    columns: Mapping[str, np.ndarray],
) -> Outputs:
    """Return a model's outputs on some rows."""
    names, at = set(rows.schema.names), positions_in(code)
    target, predicted_, weight = (
        rows.column(name).to_numpy(zero_copy_only=False) if name in names else None
        for name in (f"number_label_{i}", f"number_pred_{i}", f"weight_{i}")
    )
    outputs = Outputs(
        spec.labels, at["label"], at["pred"], None, target, predicted_, columns, weight
    )
    if f"prob_{i}" not in names:
        return outputs
    prob = rows.column(f"prob_{i}")
    kind = prob.type.value_type if pa.types.is_list(prob.type) else prob.type
    least = least_of(np.empty(0, kind.to_pandas_dtype()))
    return replace(outputs, prob=_prob(prob, len(spec.classes)), least=least)


def _prob(column: pa.Array, n_classes: int) -> np.ndarray:
    """Return probabilities ``[n, C]``, or the positive class's ``[n, 1]``; NaN without."""
    if not pa.types.is_list(column.type):
        positive = column.cast(pa.float64()).to_numpy(zero_copy_only=False)[:, None]
        return np.asarray(np.clip(positive, 0, 1))
    prob = np.full((len(column), n_classes), np.nan)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    whole = np.flatnonzero(lengths == n_classes)
    if len(whole):
        values = column.values.to_numpy(zero_copy_only=False)
        starts = column.offsets.to_numpy(zero_copy_only=False)[:-1][whole]
        prob[whole] = values[starts[:, None] + np.arange(n_classes)]
    return np.asarray(np.clip(prob, 0, 1))
