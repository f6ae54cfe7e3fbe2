"""What one evaluation shows: figures by split, models compared, worst rows, overlap, the trend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

from engine.masks.overlap import overlap
from engine.masks.splits import Split, in_split, split_name
from engine.metrics.catalog import OVERALL
from engine.metrics.evaluation import Evaluation
from engine.metrics.explore.trend import trend
from engine.project.evaluating import EvaluationInput
from engine.project.settings import Project
from engine.project.stale import StaleModel
from engine.report import sections
from engine.report.page import render
from engine.report.sections import Section
from engine.storage import tables

MOST_PAIRED = 200  # slices whose pairs are all counted unless the project says otherwise
NEARLY = 0.95  # Jaccard index from which two slices are nearly the same
_WORST_SLICES = 3


def splits_shown(project: Project, evaluation: Evaluation) -> list[Split]:
    """Return the splits in the order in which they are shown, the most important last.

    That is one whose rows no model was fitted to.
    """
    fitted = [project.train_split, project.valid_split]
    splits: list[Split] = evaluation.table["split"].unique().tolist()
    return sorted(splits, key=lambda s: (s not in fitted, s is not None, s or ""))


def figures(evaluation: Evaluation, split: Split, level: float) -> Iterator[Section]:
    """Yield a split's slices by metrics, worst first, then the figures that differ."""
    part = evaluation.table[in_split(evaluation.table["split"], split)]
    metric = str(part["metric"].iloc[0])
    better = evaluation.better
    order = sections.worst_first(part, metric, better(metric))
    yield sections.figures(part, order, evaluation.spec.models, split, level, better)
    yield sections.differences(part, split, level, better)


def around(data: EvaluationInput, evaluation: Evaluation, split: Split) -> Iterator[Section]:
    """Yield what is shown around the figures; rows are those of one split."""
    first, *others = evaluation.spec.models
    for other in others:
        yield from _compared(data, evaluation, first, other, split)
    yield from _worst_rows(data, evaluation, split)
    wanted, ids = data.project.audit.overlap, evaluation.spec.slice_ids
    if wanted or (wanted is None and len(ids) <= MOST_PAIRED):
        pairs = overlap(data.rows, ids)
        yield sections.overlap(pairs.near_duplicates(NEARLY), pairs.rows, pairs.uncovered, NEARLY)
    if data.project.audit.trend:
        yield _trend(data, evaluation)


def _compared(
    data: EvaluationInput, evaluation: Evaluation, first: str, second: str, split: Split
) -> Iterator[Section]:
    """Yield where a model is better than the first, and rows that it wins and loses."""
    audit, certainty = data.project.audit, data.project.certainty
    if certainty.replicates:
        yield sections.comparison(
            evaluation.compare(first, second), first, second, certainty.level, evaluation.better
        )
    flips = evaluation.flips(first, second)
    if flips.empty:
        return
    yield sections.flips(flips, first, second, certainty.level)
    if audit.flips:
        sure = flips["p_adjusted"] <= 1 - certainty.level
        here = flips[in_split(flips["split"], split) & sure]
        slices = here.sort_values("p_adjusted", kind="stable")["slice"]
        at = str(next(iter(slices), OVERALL))
        rows = evaluation.flipped_rows(first, second, at, audit.flips, _carried(data), split)
        title = f"Rows that {second} wins and loses against {first}"
        yield _rows(data, title, at, split, rows)


def _worst_rows(data: EvaluationInput, evaluation: Evaluation, split: Split) -> Iterator[Section]:
    """Yield the rows of the largest loss of the first model's worst slices."""
    n, first = data.project.audit.worst_rows, evaluation.spec.models[0]
    if not n:
        return
    for at in evaluation.worst(_WORST_SLICES, model=first, split=split)["slice"]:
        rows = evaluation.worst_rows(at, n, first, _carried(data), split)
        yield _rows(data, f"Rows of the largest loss of {first}", at, split, rows)


def _carried(data: EvaluationInput) -> list[str]:
    return [*data.project.partition_by, *data.columns.carried]


def _rows(data: EvaluationInput, title: str, at: str, split: Split, rows: pd.DataFrame) -> Section:
    where = f"{title}: {at}, split {split_name(split)}"
    return sections.rows_of(where, data.columns.added_to(rows, data.project.join_columns))


def _trend(data: EvaluationInput, evaluation: Evaluation) -> Section:
    """Return how figures moved over the last runs in the metrics table, this one among them."""
    metrics = tables.read(data.rows.sparkSession, data.project.place("metrics")).df
    models, names = list(evaluation.spec.models), list(evaluation.table["metric"].unique())
    ours = metrics.where(F.col("model_id").isin(models) & F.col("metric").isin(names))
    runs = ours.select("run_id", "run_ts").distinct().orderBy(F.desc("run_ts"), "run_id")
    last = [r["run_id"] for r in runs.limit(1 + data.project.audit.trend).collect()]
    moves = trend(ours.where(F.col("run_id").isin(last)).toPandas())
    return sections.trend(moves, evaluation.better)


def page(
    data: EvaluationInput,
    evaluation: Evaluation,
    stale: Mapping[str, StaleModel],
    shown: Sequence[Section],
) -> str:
    """Return the report: what was read, the figures, and what is shown around them."""
    project, masks = data.project, data.masks
    about = {
        "source": f"{masks.facts.get('source')} version {masks.facts.get('source_version')}",
        "masks": f"{masks.name} version {masks.version}",
        "predictions": ", ".join(f"{m} version {v}" for m, v in data.versions.items()),
    }
    about |= {f"stale ({m})": model.sentence for m, model in stale.items() if model.sentence}
    models, level = list(data.models), project.certainty.level
    return render(project.name, about, evaluation.table, models, evaluation.better, shown, level)
