"""What one evaluation shows: figures by split, models compared, worst rows, overlap, the trend."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd
from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine.masks.splits import Split, in_split, split_name
from engine.metrics.catalog import OVERALL
from engine.metrics.evaluation import Evaluation
from engine.metrics.explore.trend import trend
from engine.metrics.formulas.classification import FEW
from engine.metrics.inference.uncertainty import interval_source
from engine.project import quarantine
from engine.project.evaluating import EvaluationInput
from engine.project.reports import Report
from engine.project.settings import Project
from engine.project.slice_texts import slice_texts
from engine.project.stale import StaleModel
from engine.report import sections
from engine.report.archive import Archive
from engine.report.definitions import Definition, definition
from engine.report.page import render
from engine.report.page_data import Cells
from engine.report.sections import Section
from engine.report.sharing import Hidden, Sharing
from engine.report.summary import verdict

NEARLY = 0.95  # Jaccard index from which two slices are nearly the same
_WORST_SLICES = 3
_MOST_CELLS = 20  # slices whose counts a page has, the worst of its first split
_RUN = "run"  # a run's place, the newest first
Wanted = tuple[tuple[str, ...], str, int]  # models, a slice, how many rows: Evaluation.rows_of


def splits_shown(project: Project, evaluation: Evaluation) -> list[Split]:
    """Return the splits in the order in which they are shown, the most important last.

    That is one whose rows no model was fitted to.
    """
    fitted = [project.train_split, project.valid_split]
    splits: list[Split] = evaluation.table["split"].unique().tolist()
    return sorted(splits, key=lambda s: (s not in fitted, s is not None, s or ""))


def findings(evaluation: Evaluation, split: Split) -> list[Section]:
    """Return what to look at first of a split: where slices are worse, by harm and by severity."""
    return sections.findings(evaluation.findings(split=split), split)


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
        sections.rows_of(f"{_title(*models)}: {at}, split {split_name(split)}", frame, at)
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


def report(
    data: EvaluationInput,
    evaluation: Evaluation,
    stale: Mapping[str, StaleModel],
    shown: Sequence[Section],
    figures: Sequence[Section],
    date: dt.datetime,
    folders: Sequence[Path] = (),
    warnings: Sequence[str] = (),
) -> Report:
    """Return the report: what was read, the figures, and what is shown around them.

    Parameters
    ----------
    data, evaluation, stale
        What was evaluated, and found.
    shown, figures
        The sections around the figures, and those of figures, which terminals show.
    date
        When it was.
    folders
        Where modules of slicing functions are looked for.
    warnings
        What a reader should know before the figures.
    """
    project, better, level = data.project, evaluation.better, data.project.certainty.level
    texts, by_column = slice_texts(project, data.catalogue, folders)
    wanted = project.report
    sharing = Sharing(
        wanted.rows, wanted.hide, wanted.smallest,
        (*data.columns.carried, *data.columns.looked_up), by_column,
    )  # fmt: skip
    hidden = sharing.hidden(evaluation.table)
    table = sharing.figures(evaluation.table, hidden)
    splits = splits_shown(project, evaluation)[::-1]
    first = table[in_split(table["split"], splits[0])]
    about = {
        "date": f"{date:%Y-%m-%d %H:%M} UTC",
        "run": data.run_id(evaluation.table),
        "models": ", ".join(data.models),
        "splits": ", ".join(map(split_name, splits)),
    }
    of = data.masks.facts
    read = {
        "source": f"{of.get('source')} version {of.get('source_version')}",
        "masks": f"{data.masks.name} version {data.masks.version}",
        "predictions": ", ".join(f"{m} version {v}" for m, v in data.versions.items()),
        "engine": engine.__version__,
        **{f"stale ({m})": _stale(one, project) for m, one in stale.items() if one.sentence},
    }
    if sentence := sharing.sentence(hidden):
        read["left out"] = sentence
    page = render(
        project.name, about | read, table, list(data.models), better,
        sharing.sections(shown, hidden), level, warnings,
        splits=splits, slices=texts, definitions=_definitions(evaluation, project),
        classes=data.spec.classes, cells=list(_cells(evaluation, first, splits, hidden)),
    )  # fmt: skip
    about["verdict"] = verdict(first, splits[0], level, better)
    leading, rest = ([s for s in shown if s.first is way] for way in (True, False))
    return Report(page, Archive(data.report_key, about, [*leading, *figures, *rest]))


def _stale(model: StaleModel, project: Project) -> str:
    """Say what is stale of a model, without the partition if its values are hidden."""
    if {*project.report.hide} & {*project.partition_by}:
        return "masks and predictions are of different versions of the source on some rows"
    return model.sentence or ""


def _definitions(evaluation: Evaluation, project: Project) -> list[Definition]:
    """Return how each metric is computed."""
    spec, clustered = evaluation.spec, evaluation.confidence.clustered
    sources = {str(m): interval_source(m, spec, clustered) for m in spec.metrics}
    if not project.certainty.replicates:
        sources = {m: "none" if of == "replicates" else of for m, of in sources.items()}
    metrics = evaluation.table["metric"].unique()
    return [definition(m, evaluation.better(m), sources.get(m, "none")) for m in metrics]


def _cells(
    evaluation: Evaluation, first: pd.DataFrame, splits: Sequence[Split], hidden: Hidden
) -> Iterator[Cells]:
    """Yield the counts behind figures of all rows and the worst slices, if no row is read for them.

    Parameters
    ----------
    evaluation
        What was found.
    first
        The figures of the split that is shown first.
    splits, hidden
        The splits, and the slices that are left out of each.
    """
    spec, metric = evaluation.spec, str(first["metric"].iloc[0])
    families = {m.family for m in spec.metrics}
    matrix = "confusion" in families and 0 < len(spec.classes) <= FEW
    bins = "calibration" in families
    if not (matrix or bins):
        return
    worst = sections.worst_first(first, metric, evaluation.better(metric))[: 1 + _MOST_CELLS]
    for at in worst:
        confusion = evaluation.confusion(at) if matrix else None
        calibration = evaluation.calibration(at) if bins else None
        for split, model in product(splits, spec.models):
            if at not in hidden[split_name(split)]:
                yield Cells(
                    split, at, model, _matrix(_of(confusion, split, model)),
                    _bins(_of(calibration, split, model)),
                )  # fmt: skip


def _of(cells: pd.DataFrame | None, split: Split, model: str) -> pd.DataFrame | None:
    if cells is None:
        return None
    return cells[in_split(cells["split"], split) & (cells["model_id"] == model)]


def _matrix(cells: pd.DataFrame | None) -> list[list[int]]:
    if cells is None:
        return []
    n = cells["label"].nunique()
    rows: list[list[int]] = cells["rows"].to_numpy().reshape(n, -1).astype(int).tolist()
    return rows


def _bins(cells: pd.DataFrame | None) -> list[tuple[float, float, float]]:
    if cells is None:
        return []
    columns = (cells[c] for c in ("weight", "confidence", "accuracy"))
    return [*zip(*columns, strict=True)]
