"""The scan without Spark: what tasks do with rows, and their sums added up as by the driver."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.metrics.inference.figures import figures_and_problems
from engine.metrics.scan.chunks import chunk_of
from engine.metrics.scan.form import EvaluationSpec, Form, Scan, code_of
from engine.metrics.scan.sums import arranged, grouped
from engine.metrics.scan.task import Task
from engine.words import packed


def figures(*of: Any) -> pd.DataFrame:
    return figures_and_problems(*of)[0]


def form_of(spec: EvaluationSpec, replicates: int = 0) -> Form:
    n = len(spec.slice_ids)
    return Form(spec, replicates, max(1, -(-n // 64)), tuple(range(n)))


def batch_of(
    rows: pd.DataFrame, models: Mapping[str, pd.DataFrame], spec: EvaluationSpec, form: Form
) -> pa.RecordBatch:
    """Lay rows out as tasks get them.

    `rows` has the split, a hash and masks (1 in, 0 out, -1 undecided); a model's table has label
    and pred (class positions, -1 none), and score, weight, number_label, number_pred if there are.
    """
    codes = rows[list(spec.slice_ids)].to_numpy(int)
    words, nulls = packed(codes == 1), packed(codes == -1)
    columns: dict[str, object] = {}
    if spec.split is not None:
        columns["split"] = pa.array(rows["split"], pa.string())
    if form.replicates:
        columns["hash"] = rows["hash"].to_numpy().view(np.int64)
    for i, model in enumerate(spec.models):
        of = models[model]
        found = of.get("found", pd.Series(1, of.index)).to_numpy(int)
        positions = {name: of[name].to_numpy() for name in ("label", "pred")}
        columns[f"code_{i}"] = code_of({"found": found}, positions)
        if spec.weighted:
            columns[f"weight_{i}"] = of["weight"].to_numpy(float)
        if "score" in of:
            columns[f"prob_{i}"] = of["score"].to_numpy(float)
        if "prob" in of:
            columns[f"prob_{i}"] = of["prob"].tolist()
        for name in ("number_label", "number_pred"):
            if name in of:
                columns[f"{name}_{i}"] = of[name].to_numpy(float)
    for j, name in enumerate(spec.columns):
        columns[f"column_{j}"] = rows[name].to_numpy(float)
    listed = [list(map(int, w)) if w.any() else None for w in nulls]
    columns["nulls"] = pa.array(listed, pa.list_(pa.int64()))
    for k in range(form.words):
        columns[f"word_{k}"] = words[:, k] if k < words.shape[1] else np.zeros(len(rows), np.int64)
    return pa.record_batch({k: pa.array(v) for k, v in columns.items()})


def scan_of(
    rows: pd.DataFrame,
    models: Mapping[str, pd.DataFrame] | None,
    spec: EvaluationSpec,
    replicates: int = 0,
    parts: Sequence[Sequence[int]] | None = None,
) -> Scan:
    """Scan rows, each part by a task of its own; one model's columns may be among the rows."""
    form = form_of(spec, replicates)
    batch = batch_of(rows, models or {spec.models[0]: rows}, spec, form)
    sent: list[pa.RecordBatch] = []
    for part in [range(len(rows))] if parts is None else parts:
        task = Task(form)
        task.take(chunk_of(batch.take(pa.array(list(part), pa.int64())), form.words))
        sent += task.sums()
    return arranged(grouped(pa.Table.from_batches(sent), form), form)


def parts_of(n: int, parts: Sequence[int]) -> list[list[int]]:
    """Return the rows of each part, from each row's part."""
    order = sorted(range(n), key=lambda i: parts[i])
    return [list(g) for _, g in itertools.groupby(order, key=lambda i: parts[i])]
