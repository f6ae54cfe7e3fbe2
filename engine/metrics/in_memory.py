"""What an evaluation does with tables of pandas and pyarrow: the scan's tasks, without Spark.

Rows become the chunks that Spark's tasks take, and the same tasks add them up, so that figures are
the same bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.hashing import KeyHash
from engine.masks.checks import EXAMPLES, key_text
from engine.masks.layout import Layout
from engine.masks.reader import StoredWords
from engine.masks.splits import Split
from engine.metrics.catalog import OVERALL
from engine.metrics.custom import CustomMetric
from engine.metrics.formulas.outputs import UNKNOWN_CLASS, Outputs
from engine.metrics.inference.figures import Figures, with_statuses
from engine.metrics.inference.per_slice import Paired, figure_of, paired_in_order
from engine.metrics.request import Selection
from engine.metrics.scan.checks import check_counts
from engine.metrics.scan.chunks import FOUND, Chunk, Places, chunk_in, wrong_numbers
from engine.metrics.scan.form import EvaluationSpec, Form, Scan, flags_in
from engine.metrics.scan.sums import arranged, grouped
from engine.metrics.scan.task import Task, outputs_of, rows_by_split
from engine.words import WORD

_CHUNK = 2**16  # rows that a task takes at a time, so that they stay in the processor's cache


@dataclass(frozen=True)
class LocalRows:
    """Mask rows with each model's predictions beside them, in memory.

    Attributes
    ----------
    table
        The columns that the scan reads, of types that it takes.
    spec
        What is evaluated.
    models
        Per model: label, weight, pred and prob to their columns; see :class:`.Places`.
    key
        The columns that name a row.
    shown
        Any column as it was given, for rows that are shown.
    """

    table: pa.Table
    spec: EvaluationSpec
    models: tuple[Mapping[str, str], ...]
    key: Sequence[str]
    shown: Callable[[str], pd.Series]

    def running(self) -> AbstractContextManager[None]:
        """Explain nothing: slicing functions have run."""
        return nullcontext()

    def scan(self, hashed: KeyHash | None, replicates: int) -> Scan:
        """Add up all states, a task per processor; one where users' metrics may know no threads."""
        form, places = self._form(replicates if hashed else 0), self._places(hashed)
        batches = self.table.to_batches(max_chunksize=form.rows_at_once(_CHUNK))
        processors = 1 if self.spec.custom else os.cpu_count() or 1
        tasks = max(1, min(processors, len(batches)))

        def add_up(first: int) -> list[pa.RecordBatch]:
            task = Task(form)
            for batch in batches[first::tasks]:
                task.take(chunk_in(batch, form, places))
            return list(task.sums())

        with ThreadPoolExecutor(tasks) as pool:
            sums = [batch for part in pool.map(add_up, range(tasks)) for batch in part]
        if not sums:
            return Scan({}, {}, {})
        return arranged(grouped(pa.Table.from_batches(sums), form), form)

    def check(self, counts: Scan, tables: Mapping[str, str], allow_missing: bool) -> None:
        """Check what the scan counted."""
        check_counts(counts, self.spec, tables, allow_missing, self)

    def unknown(self, i: int, column: str) -> list[str]:
        """Return some values of a model's labels or predictions that are no class."""
        outputs = self._outputs[i]
        at = outputs.label if column == "label" else outputs.pred
        rows = pa.array(np.flatnonzero(at == UNKNOWN_CLASS))
        values = self.table.column(self.models[i][column]).take(rows)
        return [str(value) for value in values.unique().to_pylist()[:6]]

    def wrong(self, i: int, column: str) -> list[tuple[Any, str]]:
        """Return a model's first weights, probabilities or numbers that can't be, with keys."""
        if column not in self.models[i]:
            return []
        values = self.table.column(self.models[i][column])
        if column in ("label", "pred"):
            bad = wrong_numbers(values.combine_chunks())
        else:
            bad = flags_in(self._chunk.numbers(f"code_{i}"))[f"bad_{column}"] == 1
        rows, keys = self._first(bad)
        return list(zip(values.take(pa.array(rows)).to_pylist(), keys, strict=True))

    def uncovered(self, i: int) -> list[str]:
        """Return the keys of the first rows without a model's prediction."""
        return self._first(~self.table.column(self.models[i][FOUND]).to_numpy().astype(bool))[1]

    def _first(self, chosen: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return the first of some rows by key, and their keys."""
        rows = np.flatnonzero(chosen)
        keys = pd.DataFrame({k: self.shown(k).iloc[rows].array for k in self.key}, index=rows)
        keys = keys.sort_values(list(self.key)).head(EXAMPLES)
        texts = [key_text({str(k): v for k, v in row.items()}, self.key)
                 for row in keys.to_dict("records")]  # fmt: skip
        return keys.index.to_numpy(), texts

    def with_clusters(self, counts: Scan, cluster: str) -> Scan:
        """Count the clusters that have a scored row in each slice."""
        coded = self.table.column(cluster).combine_chunks().dictionary_encode("encode")
        cluster_of, parts = np.asarray(coded.indices), dict(counts.parts)
        for (split, rows), (i, model) in product(self._splits.items(), enumerate(self.spec.models)):
            scored = (self._outputs[i].label != -1) & (self._outputs[i].pred != -1)
            each = [
                np.count_nonzero(np.bincount(cluster_of[rows[(scored & member)[rows]]]))
                for member in self._members()
            ]
            at = model, split
            parts[at] = replace(parts[at], clusters=np.array(each, np.int64))
        return replace(counts, parts=parts)

    def per_slice(
        self, functions: Sequence[CustomMetric], counts: Scan
    ) -> dict[tuple[str, Split, str], Figures]:
        """Compute metrics that are plain functions."""
        figures = {}
        for (split, rows), (i, model) in product(self._splits.items(), enumerate(self.spec.models)):
            n = counts.parts[model, split].state.rows["rows"][:, 0]
            outputs = [self._outputs[i].take(rows[member[rows]]) for member in self._members()]
            for function in functions:
                each = map(partial(figure_of, function), outputs)
                value, support, problem = zip(*each, strict=True)
                problems = {at: text for at, text in enumerate(problem) if text is not None}
                figures[model, split, function.name] = with_statuses(
                    np.array(value, np.float64), np.array(support, np.int64), n, problems
                )
        return figures

    def paired_areas(self, models: tuple[int, int]) -> pd.DataFrame:
        """Compare two models' areas under the ROC curve; see :mod:`.inference.per_slice`."""
        first, second = (self._outputs[i] for i in models)
        scored = (first.label >= 0) & ~np.isnan(first.score) & ~np.isnan(second.score)
        positive = first.label == self.spec.positive
        areas = []
        for (split, rows), (at, member) in product(
            self._splits.items(), enumerate(self._members())
        ):
            own = rows[(scored & member)[rows]]
            if len(own):
                of = paired_in_order(positive[own], first.score[own], second.score[own])
                areas.append((split, at, *of))
        return pd.DataFrame(areas, columns=["split", "slice", *Paired._fields])

    def selected(self, selections: Sequence[Selection]) -> list[pd.DataFrame]:
        """Return rows that are asked for; as :class:`.SparkRows`."""
        return [(self._flipped if len(s.models) > 1 else self._worst)(s) for s in selections]

    def _worst(self, selection: Selection) -> pd.DataFrame:
        model = selection.models[0]
        loss = self._loss(model)
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero((loss > 0) & self._chosen(selection))
        rows = rows[np.lexsort((self._hashes(selection)[rows], -loss[rows]))[: selection.n]]
        outputs = {name: self._output(model, name) for name in ("label", "pred", "prob")}
        return self._frame(rows, selection, {**outputs, "loss": pd.Series(loss)})

    def _flipped(self, selection: Selection) -> pd.DataFrame:
        models = selection.models
        label, a, b = self._outputs[models[0]].label, *(self._outputs[i].pred for i in models)
        scored = self._chosen(selection) & (label >= 0) & (a >= 0) & (b >= 0)
        outputs = {
            "label": self._output(models[0], "label"),
            **{f"pred_{self.spec.models[i]}": self._output(i, "pred") for i in models},
        }
        hashes, frames = self._hashes(selection), []
        flips = {"won": (a != label) & (b == label), "lost": (a == label) & (b != label)}
        for kind, flipped in flips.items():
            rows = np.flatnonzero(scored & flipped)
            rows = rows[np.argsort(hashes[rows], kind="stable")[: selection.n]]
            kinds = pd.Series([kind] * self.table.num_rows)
            frames.append(self._frame(rows, selection, outputs, {"flip": kinds}))
        return pd.concat(frames, ignore_index=True)

    def _form(self, replicates: int = 0) -> Form:
        n = len(self.spec.slice_ids)
        return Form(self.spec, replicates, max(1, -(-n // WORD)), tuple(range(n)))

    def _places(self, hashed: KeyHash | None = None) -> Places:
        ids = self.spec.slice_ids
        words = tuple(tuple(ids[at : at + WORD]) for at in range(0, len(ids), WORD))
        return Places(StoredWords(Layout.BOOLEAN, words), self.models, hashed)

    @cached_property
    def _chunk(self) -> Chunk:
        """All rows as one chunk."""
        arrays = [column.combine_chunks() for column in self.table.columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.table.schema)
        return chunk_in(batch, self._form(), self._places())

    @cached_property
    def _outputs(self) -> list[Outputs]:
        """Each model's outputs on all rows."""
        of = self._chunk
        return [
            outputs_of(of.columns, i, of.numbers(f"code_{i}"), self.spec, {})
            for i in range(len(self.models))
        ]

    @cached_property
    def _splits(self) -> dict[Split, np.ndarray]:
        """Each split's rows."""
        return dict(rows_by_split(self._chunk, self.spec))

    def _members(self) -> Iterator[np.ndarray]:
        """Yield which rows are in each slice, all rows first."""
        yield np.ones(self.table.num_rows, bool)
        yield from map(self._member, self.spec.slice_ids)

    def _member(self, slice_id: str) -> np.ndarray:
        return np.asarray(self.table.column(slice_id).fill_null(False).to_numpy(), bool)

    def _chosen(self, selection: Selection) -> np.ndarray:
        n, slice_id = self.table.num_rows, selection.slice_id
        member = np.ones(n, bool) if slice_id == OVERALL else self._member(slice_id)
        if selection.split is ...:
            return member
        return member & np.isin(np.arange(n), self._splits.get(selection.split, ()))

    def _hashes(self, selection: Selection) -> np.ndarray:
        """Return the rows' hashes as Spark orders them, ``[n]`` int64."""
        columns = [self.table.column(k).combine_chunks() for k in selection.key]
        return KeyHash(tuple(selection.key), selection.seed).of(columns).view(np.int64)

    def _loss(self, model: int) -> np.ndarray:
        """Return each row's loss ``[n]``, NaN where there is none."""
        of = self._outputs[model]
        if not self.spec.classes:
            pred, label = (
                self._output(model, name).to_numpy(np.float64, na_value=np.nan)
                for name in ("pred", "label")
            )
            return np.asarray(np.abs(pred - label))
        wrong = np.where(of.pred >= 0, (of.pred != of.label) * 1.0, np.nan)
        own = of.probabilities[np.arange(len(of.label)), np.clip(of.label, 0, None)]
        likely = -np.log(np.clip(own, of.least, 1.0))
        return np.where(of.label >= 0, np.where(np.isnan(own), wrong, likely), np.nan)

    def _output(self, model: int, name: str) -> pd.Series:
        if name not in self.models[model]:
            return pd.Series([None] * self.table.num_rows, dtype=object)
        return pd.Series(self.table.column(self.models[model][name]).to_pandas())

    def _frame(
        self,
        rows: np.ndarray,
        selection: Selection,
        outputs: Mapping[str, pd.Series],
        first: Mapping[str, pd.Series] = MappingProxyType({}),
    ) -> pd.DataFrame:
        """Return rows with their key, further columns and outputs."""
        hidden = {*outputs, *first} - set(selection.key)
        names = dict.fromkeys([*selection.key, *selection.columns])
        shown = {name: self.shown(name) for name in names if name not in hidden}
        columns = {**first, **shown, **outputs}
        return pd.DataFrame({name: of.iloc[rows].array for name, of in columns.items()})
