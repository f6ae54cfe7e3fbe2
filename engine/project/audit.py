"""What one evaluation shows: figures by split, models compared, worst rows, overlap, the trend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from engine.masks.splits import Split, in_split, split_name
from engine.metrics.catalog import OVERALL
from engine.metrics.evaluation import Evaluation
from engine.metrics.explore.trend import trend
from engine.project import quarantine
from engine.project.evaluating import EvaluationInput
from engine.project.settings import Project
from engine.project.stale import StaleModel
from engine.report import sections
from engine.report.page import render
from engine.report.sections import Section

NEARLY = 0.95  # Jaccard index from which two slices are nearly the same
_WORST_SLICES = 3
_RUN = "run"  # a run's place, the newest first
Wanted = tuple[tuple[str, ...], str, int]  # models, a slice, how many rows: Evaluation.rows_of


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


def warnings(sentences: Sequence[str]) -> list[Section]:
    """Return a section of warnings, if there are some."""
    return [sections.warnings(sentences)] if sentences else []


def around(data: EvaluationInput, evaluation: Evaluation, split: Split) -> Iterator[Section]:
    """Yield what is shown around the figures; rows are those of one split."""
    if causes := quarantine.causes(data.masks):
        yield sections.quarantine(causes)
    first, *others = evaluation.spec.models
    compared = {other: _Compared.of(data, evaluation, first, other, split) for other in others}
    wanted = [c.flipped for c in compared.values() if c.flipped]
    wanted += _worst(data, evaluation, split)
    rows = dict(zip(wanted, _rows(data, evaluation, wanted, split), strict=True))
    for one in compared.values():
        yield from one.sections
        if one.flipped:
            yield rows.pop(one.flipped)
    yield from rows.values()
    if (pairs := evaluation.overlap) is not None:
        yield sections.overlap(pairs.near_duplicates(NEARLY), pairs.rows, pairs.uncovered, NEARLY)
    if data.project.audit.trend:
        yield _trend(data, evaluation)


@dataclass(frozen=True)
class _Compared:
    """Where a model is better than the first, and whose flips are shown, if any are."""

    sections: Sequence[Section]
    flipped: Wanted | None

    @classmethod
    def of(
        cls, data: EvaluationInput, evaluation: Evaluation, first: str, second: str, split: Split
    ) -> _Compared:
        audit, certainty = data.project.audit, data.project.certainty
        shown = []
        if certainty.replicates:
            table = evaluation.compare(first, second)
            shown.append(
                sections.comparison(table, first, second, certainty.level, evaluation.better)
            )
        flips = evaluation.flips(first, second)
        if flips.empty:
            return cls(shown, None)
        shown.append(sections.flips(flips, first, second, certainty.level))
        sure = flips["p_adjusted"] <= 1 - certainty.level
        here = flips[in_split(flips["split"], split) & sure]
        at = str(next(iter(here.sort_values("p_adjusted", kind="stable")["slice"]), OVERALL))
        return cls(shown, ((first, second), at, audit.flips) if audit.flips else None)


def _worst(data: EvaluationInput, evaluation: Evaluation, split: Split) -> list[Wanted]:
    """Return the first model's worst slices, of which the rows of the largest loss are shown."""
    n, first = data.project.audit.worst_rows, evaluation.spec.models[0]
    if not n:
        return []
    worst = evaluation.worst(_WORST_SLICES, model=first, split=split)["slice"]
    return [((first,), at, n) for at in worst]


def _rows(
    data: EvaluationInput, evaluation: Evaluation, wanted: Sequence[Wanted], split: Split
) -> list[Section]:
    """Return sections of rows, all of one scan, and their further columns of one look-up."""
    columns = [*data.project.partition_by, *data.columns.carried]
    frames = evaluation.rows_of(wanted, columns, split)
    shown = data.columns.added_to(frames, data.project.join_columns)
    return [
        sections.rows_of(f"{_title(*models)}: {at}, split {split_name(split)}", frame)
        for (models, at, _), frame in zip(wanted, shown, strict=True)
    ]


def _title(first: str, second: str | None = None) -> str:
    if second is None:
        return f"Rows of the largest loss of {first}"
    return f"Rows that {second} wins and loses against {first}"


def _trend(data: EvaluationInput, evaluation: Evaluation) -> Section:
    """Return how figures moved over the last runs in the metrics table, this one among them."""
    metrics = data.runs.read(data.project.place("metrics")).df
    models, names = list(evaluation.spec.models), list(evaluation.table["metric"].unique())
    ours = metrics.where(F.col("model_id").isin(models) & F.col("metric").isin(names))
    run = F.dense_rank().over(Window.orderBy(F.desc("run_ts"), "run_id"))
    last = ours.withColumn(_RUN, run).where(F.col(_RUN) <= 1 + data.project.audit.trend)
    moves = trend(last.drop(_RUN).toPandas())
    return sections.trend(moves, evaluation.better)


def page(
    data: EvaluationInput,
    evaluation: Evaluation,
    stale: Mapping[str, StaleModel],
    shown: Sequence[Section],
    warnings: Sequence[str],
) -> str:
    """Return the report: what was read, warnings, the figures, and what is shown around them."""
    project, masks = data.project, data.masks
    about = {
        "source": f"{masks.facts.get('source')} version {masks.facts.get('source_version')}",
        "masks": f"{masks.name} version {masks.version}",
        "predictions": ", ".join(f"{m} version {v}" for m, v in data.versions.items()),
    }
    about |= {f"stale ({m})": model.sentence for m, model in stale.items() if model.sentence}
    models, level = list(data.models), project.certainty.level
    return render(
        project.name, about, evaluation.table, models, evaluation.better, shown, level, warnings
    )
