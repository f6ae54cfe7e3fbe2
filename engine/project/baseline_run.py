"""The baseline of one project: the rows that it is fitted to, and what decides it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import sklearn
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine.baseline import Baseline, fit_baseline
from engine.errors import unknown_class
from engine.hashing import unit_interval_column
from engine.masks.checks import no_rows, quoted
from engine.masks.splits import ALL, is_split, split_sql
from engine.metrics.classes import class_position
from engine.metrics.formulas.outputs import UNKNOWN_CLASS
from engine.metrics.inference.useless import outcome_of, sentences
from engine.penalty import GRID
from engine.project.group_settings import Baseline as BaselineSettings
from engine.project.inputs import baseline_columns
from engine.project.settings import Project
from engine.sampling import LABEL
from engine.sql import name_sql
from engine.storage.lineage import READ, Snapshot, read_again, reading

_MB = 2**20
_log = logging.getLogger(__name__)


def fit(project: Project, source: Snapshot, label: str) -> Baseline:
    """Bring the train split to the driver, or a sample of it, and fit the baseline to it.

    Parameters
    ----------
    project
        The project, with its inputs: :func:`engine.project.inputs.with_inputs`.
    source
        The source.
    label
        The label column.

    Raises
    ------
    TableError
        If the split has no rows with a label.
        If a label is none of the classes.
    """
    settings, columns = project.baseline, baseline_columns(project)
    rows = _training_rows(project, source, columns, label)
    inputs, y = rows.select(columns), rows.column(-1).to_numpy()
    if settings.columns is None:
        inputs = pd.Series(inputs.column(0).to_pylist(), dtype=object, name=project.text)
    baseline = fit_baseline(
        inputs,
        y,
        ngram_range=settings.ngram_range,
        c=settings.c,
        solver=settings.solver,
        max_iter=settings.max_iter,
    )
    if baseline.choice:
        _log.info("baseline.c isn't set: %s", baseline.choice)
    prob = baseline.by_position(inputs, len(project.classes))
    for sentence in sentences(outcome_of(settings.model_id, y, prob, classes=project.classes)):
        _log.warning("%s", sentence)
    return baseline


def _training_rows(
    project: Project, source: Snapshot, columns: Sequence[str], label: str
) -> pa.Table:
    """Return what the baseline reads, and last the positions of classes."""
    split = project.train_split if project.split else ALL
    train = source.df.where(is_split(split_sql(project.split), [split]))
    train = train.where(quoted(label).isNotNull())
    kind = source.df.schema[label].dataType.simpleString()
    position = F.expr(class_position(name_sql(label), kind, project.classes))
    unknown = position == UNKNOWN_CLASS
    lengths = (F.octet_length(quoted(c).cast("string")) for c in columns)
    letters = sum((F.coalesce(n, F.lit(0)) for n in lengths), F.lit(0))
    n_rows, n_letters, n_unknown = train.agg(
        F.count(F.lit(1)), F.sum(letters), F.count_if(unknown)
    ).collect()[0]
    if not n_rows:
        shown = "null" if split is None else repr(split)
        raise no_rows(source.name, f"the split is {shown} and {label} is not null")
    if n_unknown:
        labels = train.where(unknown).select(quoted(label)).distinct().limit(6)
        values = sorted(str(r[0]) for r in labels.collect())
        raise unknown_class(source.name, label, values, project.classes)
    share, note = _share(project.baseline, n_rows, n_letters or 0)
    if share < 1:
        train = train.where(unit_interval_column(train, project.key, project.seed) < share)
    ordered = train.orderBy(*map(quoted, project.join_columns))
    rows: pa.Table = ordered.select(*map(quoted, columns), position.alias(LABEL)).toArrow()
    _log.info("fitting on %s rows%s", f"{len(rows):,}", note)
    return rows


def _share(settings: BaselineSettings, rows: int, letters: int) -> tuple[float, str]:
    """Return the share of the rows that the driver has room for, and a note on it.

    Examples
    --------
    >>> _share(BaselineSettings(max_rows=500), 2_000, 10_000)
    (0.25, ' of 2,000, drawn by the hash of their keys: baseline.max_rows is 500')
    >>> _share(BaselineSettings(), 2_000, 10_000)
    (1.0, '')
    """
    limits = {
        f"baseline.max_rows is {settings.max_rows:,}": settings.max_rows / max(rows, 1),
        f"baseline.budget_mb is {settings.budget_mb:,}": settings.budget_mb * _MB / max(letters, 1),
    }
    limit = min(limits, key=limits.__getitem__)
    if limits[limit] >= 1:
        return 1.0, ""
    return limits[limit], f" of {rows:,}, drawn by the hash of their keys: {limit}"


def facts_of(project: Project, source: Snapshot) -> dict[str, Any]:
    """Return everything that decides the baseline and its predictions.

    What a rule chooses is decided by these facts too: the columns are among the settings, and C is
    that of the same rows by the same grid.
    """
    return {
        "engine_version": engine.__version__,
        "scikit_learn": sklearn.__version__,
        "source": source.name,
        "source_version": source.version,
        READ: read_again(None, reading(source)),
        "settings": project.baseline.model_dump(mode="json"),
        "c": list(GRID) if project.baseline.c is None else [project.baseline.c],
        "columns": [project.key, project.partition_by, project.text, project.label],
        "optional": [project.split, project.weight],
        "classes": list(project.classes),
        "train_split": project.train_split,
        "seed": project.seed,
        "check_key": project.check_key,
    }
