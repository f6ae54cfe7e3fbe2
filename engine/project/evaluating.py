"""What one evaluation reads, its figures, and the rows that it adds to the metrics table."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

import engine
from engine.masks.checks import check_columns, quoted
from engine.masks.coverage import coverage
from engine.masks.reader import MaskTable, read_masks
from engine.masks.splits import Split, is_split, split_sql
from engine.metrics.catalog import KINDS, OVERALL, unknown_metric
from engine.metrics.custom import CustomMetric, custom_metrics
from engine.metrics.evaluation import Evaluation, measured
from engine.metrics.inference.budget import within_budget
from engine.metrics.inference.figures import SURE_COLUMNS
from engine.metrics.inference.uncertainty import Confidence, interval_source, needs_replicates
from engine.metrics.predictions import has_weights, normalised, own_names
from engine.metrics.request import check_summed, classes_of, sendable
from engine.metrics.scan.beside import Beside, ModelRows
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.joined import join_predictions
from engine.metrics.schema import COLUMNS, KEY, SCHEMA
from engine.plain import SENTENCE, plain
from engine.project import quarantine
from engine.project.evaluated_rows import Last, Progress, ProjectRows
from engine.project.group_settings import Predictions
from engine.project.job_tables import (
    ModelTable,
    RowColumns,
    check_hidden,
    read_predictions,
    row_columns,
)
from engine.project.metric_states import (
    Changes,
    MetricStates,
    changes_since,
    read_states,
    write_states,
)
from engine.project.reports import ReportFiles, Reports
from engine.project.run import Run
from engine.project.settings import Project
from engine.project.stale import StaleModel
from engine.report.sections import Section
from engine.storage.digest import digest
from engine.storage.few_rows import rows_with
from engine.storage.lineage import READ, Snapshot, Written, deciding
from engine.storage.runs import Runs
from engine.storage.upsert import local_rows

_STATES = "metric_states"
_MASKS = "masks"  # the role of the mask table
_log = logging.getLogger(__name__)
MOST_PAIRED = 200  # slices whose pairs are all counted unless the project says otherwise


def _of_model(model_id: str) -> str:
    """Return the role of a model's predictions."""
    return f"predictions of {model_id}"


def own_metrics(project: Project, folders: Sequence[Path] = ()) -> list[CustomMetric]:
    """Load the metrics of ``metric_modules`` that ``metrics`` names.

    Raises
    ------
    InputError, MetricError
        If a module can't be imported, or a metric is none of theirs.
    """
    modules = project.metric_modules
    by_name = {m.name: m for module in modules for m in custom_metrics(module, folders)}
    names = [m for m in project.metrics if m.partition("@")[0] not in KINDS]
    for name in names:
        if name not in by_name:
            raise unknown_metric(name, [*by_name, *KINDS])
    return sendable([by_name[name] for name in names])


@dataclass(frozen=True)
class Earlier:
    """An evaluation of the same inputs: the metrics table that has it, and what was shown."""

    metrics: Snapshot
    sections: Sequence[Section]
    report: ReportFiles


@dataclass(frozen=True)
class EvaluationInput:
    """What is evaluated: the masks of one project, its models' predictions, its metrics.

    Attributes
    ----------
    runs
        The project's tables as they count.
    masks, table
        The mask table as stored, and as it is read.
    models
        Model id to predictions.
    columns
        What rows are shown with.
    rows
        The mask table's rows that are evaluated, with the columns that are needed.
    spec
        What is computed.
    own
        The user's own metrics, those with a state and plain functions.
    """

    project: Project
    runs: Runs
    masks: Snapshot
    table: MaskTable
    models: Mapping[str, ModelTable]
    columns: RowColumns
    rows: DataFrame
    spec: EvaluationSpec
    own: Sequence[CustomMetric]

    @property
    def functions(self) -> list[CustomMetric]:
        """The user's metrics that are plain functions."""
        return [m for m in self.own if m.function is not None]

    @property
    def stored(self) -> dict[str, Snapshot]:
        """Model id to its prediction table as stored."""
        return {model_id: model.stored for model_id, model in self.models.items()}

    @property
    def versions(self) -> dict[str, str]:
        """Model id to the version of its prediction table."""
        return {model_id: stored.version for model_id, stored in self.stored.items()}

    @property
    def confidence(self) -> Confidence:
        """How sure figures must be."""
        of = self.project.certainty
        clustered = of.cluster is not None
        return Confidence(of.level, of.min_support, of.correction, clustered, of.budget_mb)

    @cached_property
    def unknown(self) -> list[str]:
        """Why figures may be others though all inputs seem the same, a sentence each."""
        snapshots = [s for model in self.models.values() for s in model.snapshots]
        causes = [f"metric {m.name!r} {why}" for m in self.own for why in m.unknowns]
        return [*(s.unknown for s in snapshots if s.unknown), *causes]

    @cached_property
    def catalogue(self) -> Snapshot | None:
        """The catalogue of slices, if there is one."""
        return self.runs.find(self.project.place("slices"))

    @property
    def report_key(self) -> str:
        """A hash of all that decides a report."""
        source, project = self.columns.source, self.project
        audit, report = (of.model_dump(mode="json") for of in (project.audit, project.report))
        others = [of.identity if of else None for of in (source, self.catalogue)]
        shown = [list(self.models), audit, report, *others]
        return digest(json.dumps([self.run_id(), shown], sort_keys=True, default=str))

    @property
    def snapshots(self) -> list[Snapshot]:
        """All tables that are read."""
        return [self.masks, *(s for model in self.models.values() for s in model.snapshots)]

    def earlier(self) -> Earlier | None:
        """Return what an evaluation of the same showed, if its figures and report are there."""
        shown = None if self.unknown else Reports(self.project).find(self.report_key)
        stored = self.runs.find(self.project.place("metrics")) if shown else None
        if shown is None or stored is None:
            return None
        there = rows_with(stored.df, ["run_id"], {"run_id": self.run_id()})
        return Earlier(stored, shown[1].sections, shown[0]) if there else None

    def explain(self) -> str:
        """Say what each metric adds up, where its interval comes from, and what functions cost."""
        masks, certainty, clustered = self.masks, self.project.certainty, self.confidence.clustered
        spec, notes = within_budget(self.spec, self.confidence, certainty.replicates)
        n_metrics, models = len(spec.metrics) + len(spec.custom), ", ".join(spec.models)
        lines = [
            f"{masks.name} version {masks.version}: one scan for {n_metrics} metrics, "
            f"{len(spec.slice_ids):,} slices and models {models}"
        ]
        shared = replace(spec, metrics=[]).work().numbers  # the rows, which are counted once
        for m in spec.metrics:
            numbers = max(1, replace(spec, metrics=[m]).work().numbers - shared)
            lines.append(
                f"  {m}: {numbers:,} numbers per slice, split and model; "
                f"interval: {interval_source(m, spec, clustered)}"
            )
        lines += [f"  {c.name}: your state, merged as arrays; no interval" for c in spec.custom]
        lines += self._functions_cost()
        n = certainty.replicates
        if n and (needs_replicates(spec, clustered) or len(spec.models) > 1):
            lines.append(f"  {n} bootstrap replicates are drawn in the same scan")
        lines += [*notes, *([SENTENCE] if plain() else [])]
        return "\n".join(lines)

    def _functions_cost(self) -> Iterator[str]:
        """Say of metrics that are plain functions how often they make each row travel."""
        if not self.functions:
            return
        counts = coverage(self.masks.df, self.spec.slice_ids, None)
        rows = counts[0].rows
        times = 1 + sum(c.n_in for c in counts) / max(rows, 1)
        for f in self.functions:
            yield (
                f"  {f.name}: a plain function, a shuffle of its own: each of {rows:,} rows "
                f"travels {times:.1f} times per model, once for each slice that it is in; "
                "no interval (a class with state, merge and compute would be in the scan)"
            )

    def progress(self, force: bool = False) -> Progress:
        """Return what is taken of the last evaluation.

        Parameters
        ----------
        force
            Whether nothing is taken of it.
        """
        every, file = "all rows are evaluated, for", self.project.file(_STATES)
        last = None if force or not self._is_known else read_states(file)
        if last is None:
            return Progress()
        if last.key != self._states_key:
            return Progress(note=f"{every} what is evaluated changed")
        changes = changes_since(last, self._tables, self.project.join_columns)
        if isinstance(changes, str):
            return Progress(note=f"{every} {changes}")
        masks = changes.of[_MASKS].before if _MASKS in changes.of else self.masks.df
        masked = changes.among(masks.select(*map(quoted, self.project.join_columns)))
        return Progress(Last(last, changes, partial(self._joined, changes), masked), str(changes))

    def _joined(self, changes: Changes, of: Mapping[str, DataFrame]) -> DataFrame:
        """Return joined rows whose key changed, of tables of which some are given by role."""
        project, key = self.project, self.project.join_columns
        rows, models = self.rows, {m: model.df for m, model in self.models.items()}
        if _MASKS in of:
            rows = _rows(project, self.masks.name, read_masks(of[_MASKS]), self.columns)
        for model_id in models:
            if (df := of.get(_of_model(model_id))) is not None:
                columns = project.predictions.get(model_id, Predictions()).columns
                name, classes = self.stored[model_id].name, self.spec.classes
                models[model_id] = normalised(df, name, model_id, key, columns, classes)
        few = {m: changes.among(df) for m, df in models.items()}
        return join_predictions(changes.among(rows), few, key)

    @property
    def _is_known(self) -> bool:
        """Whether rows that changed are known, and all tables are read as they are stored."""
        stored = [s.identity.startswith("delta:") for s in self.snapshots]
        return all(stored) and not self.unknown and not any(m.late for m in self.models.values())

    @property
    def _tables(self) -> dict[str, tuple[Snapshot, Sequence[str]]]:
        """Role to each table, and its columns that name a row."""
        key, of = self.project.join_columns, self.project.predictions
        tables: dict[str, tuple[Snapshot, Sequence[str]]] = {_MASKS: (self.masks, key)}
        for model_id, stored in self.stored.items():
            names = own_names(stored.df.columns, of.get(model_id, Predictions()).columns)
            tables[_of_model(model_id)] = stored, [names.get(c, c) for c in key]
        return tables

    def write_states(self, progress: Progress) -> None:
        """Leave what was added up to the next evaluation."""
        if progress.last is not None:
            progress.last.changes.keys.unpersist()
        if not self._is_known or progress.sums is None:
            return
        identities = {role: stored.identity for role, (stored, _) in self._tables.items()}
        states = MetricStates(self._states_key, identities, progress.sums.table, progress.shown)
        try:
            write_states(self.project.file(_STATES), states)
        except OSError as error:  # the figures are written
            _log.warning(
                "the next evaluation reads all rows, for its start can't be kept: %s", error
            )

    @property
    def _states_key(self) -> str:
        """A hash of what is asked, whatever the rows are, and of how sums are laid out."""
        wanted = [self._without_rows(), self.spec.weighted, self.spec.overlap]
        return digest(json.dumps(wanted, sort_keys=True, default=str))

    def measure(self, progress: Progress | None = None) -> Evaluation:
        """Compute the figures.

        Parameters
        ----------
        progress
            What :meth:`progress` returned; it takes what was added up, too.
        """
        project, models, key = self.project, self.models, self.project.join_columns
        certainty = project.certainty
        named = {f"{m.stored.name} (model {model_id!r})": m.df for model_id, m in models.items()}
        joined = join_predictions(self.rows, {m: model.df for m, model in models.items()}, key)
        sources = {self.masks.name: self.rows} | named
        splits = project.evaluate_splits if project.split else []
        evaluation = measured(
            ProjectRows(
                joined, self.spec, key, sources, beside=self._beside(splits),
                every=self.table, splits=splits, progress=progress or Progress(),
            ),
            {model_id: stored.name for model_id, stored in self.stored.items()},
            project.key,
            confidence=self.confidence,
            n_replicates=certainty.replicates, cluster=certainty.cluster, seed=project.seed,
            allow_missing=project.missing_predictions == "count", functions=self.functions,
        )  # fmt: skip
        table = quarantine.marked(evaluation.table, quarantine.causes(self.masks))
        return replace(evaluation, table=table)

    def _beside(self, splits: Sequence[Split]) -> Beside | None:
        """Return the tables that are joined, as they are stored; None where labels come late."""
        project, models = self.project, self.models
        if any(model.late for model in models.values()):
            return None
        settings = {m: project.predictions.get(m, Predictions()) for m in models}
        stored = (ModelRows(models[m].stored.df, settings[m].columns, m) for m in models)
        key, split = tuple(project.join_columns), project.split
        return Beside(self.masks.df, tuple(stored), key, split, tuple(splits))

    def warnings(self, evaluation: Evaluation) -> pd.DataFrame:
        """Return what shows that a model is of no use, by its figures, and what its training said.

        As :attr:`Evaluation.warnings` has it; what training said is of all splits.
        """
        splits = evaluation.table["split"].drop_duplicates()
        trained = [
            {"model_id": model_id, "split": split, "warning": sentence}
            for model_id, stored in self.stored.items()
            for sentence in stored.facts.get("trained_on", {}).get("warnings", ())
            for split in splits
        ]
        shown = evaluation.warnings
        return pd.DataFrame([*shown.to_dict("records"), *trained], columns=shown.columns)

    def record(
        self,
        run: Run,
        figures: pd.DataFrame,
        stale: Mapping[str, StaleModel],
        warnings: pd.DataFrame,
    ) -> Written:
        """Add the run's figures to the metrics table, unless it has them.

        The figures of all rows of a split have the warnings on their model there.
        """
        warned: dict[tuple[str, Split], str] = {}
        for w in warnings.astype(object).where(warnings.notna(), None).to_dict("records"):
            at = w["model_id"], w["split"]
            warned[at] = "; ".join(filter(None, [warned.get(at), w["warning"]]))
        facts, prints = self.masks.facts, self.table.fingerprints
        run_id = self.run_id(figures)
        about: dict[str, Any] = {
            "run_id": run_id,
            "run_ts": dt.datetime.now(dt.UTC),
            "source_table": facts.get("source"),
            "source_version": facts.get("source_version"),
            "mask_version": self.masks.version,
        }
        rows = []
        # pandas may hold a null text, as the class of a metric without one, as NaN.
        for r in figures.astype(object).where(figures.notna(), None).to_dict("records"):
            numbers = ("value", *SURE_COLUMNS, "bound")
            row = about | {str(column): value for column, value in r.items()}
            row |= {c: None if pd.isna(r[c]) else float(r[c]) for c in numbers}
            row |= {c: int(r[c]) for c in ("support", "n_null", "n_missing", "n_decisive")}
            row["prediction_version"] = self.versions[r["model_id"]]
            row["slice_fingerprint"] = prints.get(r["slice"])
            row["n_stale"] = stale[r["model_id"]].rows
            row["warning"] = None
            if r["slice"] == OVERALL:
                row["warning"] = warned.get((r["model_id"], r["split"]))
            rows.append(tuple(row[c] for c in COLUMNS))
        df = local_rows(self.rows.sparkSession, rows, SCHEMA)
        return run.upsert(df, self.project.place("metrics"), KEY)

    def run_id(self, figures: pd.DataFrame | None = None) -> str:
        """Return the id of runs with the same facts; a run with the same id adds no row.

        Figures are part of it where it isn't known whether what is read is the same.
        """
        return digest(json.dumps(self._facts(figures), sort_keys=True))

    def _facts(self, figures: pd.DataFrame | None) -> dict[str, Any]:
        """Return everything that decides the figures.

        The figures themselves decide where what is read isn't known to be the same.
        """
        masks = self.masks
        return self._without_rows() | {
            "source": [masks.facts.get("source"), deciding(masks.facts.get(READ))],
            "masks": [masks.name, masks.identity],
            "predictions": [self._predictions(m) for m in sorted(self.models)],
            # Figures tell apart what isn't known to be the same, by all their digits.
            "figures": ""
            if figures is None or not self.unknown
            else digest(figures.to_csv(index=False, na_rep="null ")),
        }

    def _without_rows(self) -> dict[str, Any]:
        """Return what decides the figures of some rows."""
        project = self.project
        return {
            "engine_version": engine.__version__,
            "predictions": [self._predictions(m)[:-1] for m in self.models],
            "accepted": [project.missing_predictions, project.check_key],
            "slices": self.table.fingerprints,
            "metrics": project.metrics,
            "own_metrics": [m.fingerprint for m in self.own],
            "certainty": project.certainty.model_dump(),
            "classes": [str(c) for c in project.classes],
            "positive": project.positive_position,
            "splits": [project.split, *project.evaluate_splits],
            "seed": project.seed,
        }

    def _predictions(self, model_id: str) -> list[Any]:
        """Return what decides predictions: their place, how they are read, late labels."""
        project, model = self.project, self.models[model_id]
        settings = project.predictions.get(model_id, Predictions()).model_dump(mode="json")
        identities = [model.stored.identity, model.late.identity if model.late else None]
        return [model_id, str(project.prediction_table(model_id)), settings, identities]


def evaluation_input(
    runs: Runs,
    project: Project,
    own: Sequence[CustomMetric],
    model_ids: Sequence[str] | None,
) -> EvaluationInput:
    """Read masks and predictions, and check them against what the project wants of them.

    Parameters
    ----------
    runs, project
        Where they are.
    own
        What :func:`own_metrics` returned.
    model_ids
        The models; all by default.
    """
    masks = runs.read(project.place("masks"), "mask table")
    classes = classes_of(project.metric_specs, own, project.classes)
    models = read_predictions(runs, project, model_ids, classes)
    table = read_masks(masks.df)
    check_hidden(runs.spark, project, masks.df)
    columns = row_columns(runs.spark, project, masks.df)
    return EvaluationInput(
        project, runs, masks, table, models, columns, _rows(project, masks.name, table, columns),
        EvaluationSpec(
            metrics=project.metric_specs,
            slice_ids=table.ids,
            classes=classes,
            positive=project.positive_position if classes else 0,
            split=project.split,
            weighted=any(has_weights(model.df, {}) for model in models.values()),
            models=list(models),
            custom=[m for m in own if m.function is None],
            overlap=_counts_pairs(project, len(table.ids)),
        ),
        own,
    )  # fmt: skip


def _counts_pairs(project: Project, slices: int) -> bool:
    """Tell whether the rows are counted that each two slices share."""
    wanted = project.audit.overlap
    return slices <= MOST_PAIRED if wanted is None else wanted


def _rows(project: Project, name: str, masks: MaskTable, columns: RowColumns) -> DataFrame:
    """Return the mask table's rows that are evaluated, and of its columns those needed."""
    split = [project.split] if project.split else []
    cluster = [project.certainty.cluster] if project.certainty.cluster else []
    roles = {"key": project.join_columns, "split": split, "certainty.cluster": cluster}
    check_columns(masks.df, name, roles)
    summed = [m.parameter("column") for m in project.metric_specs if m.needs == "column"]
    check_columns(masks.df, name, {"metrics": summed})
    check_summed(masks.df.schema, name, project.metric_specs)
    needed = [*project.join_columns, *split, *cluster, *summed, *columns.carried]
    rows = masks.narrowed(needed).df
    if not (project.split and project.evaluate_splits):
        return rows
    return rows.where(is_split(split_sql(project.split), project.evaluate_splits))
