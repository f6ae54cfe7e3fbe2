"""The gate over a project's newest evaluation, and the record that it keeps from run to run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine.errors import EngineError, GateError
from engine.gate.evidence import Figure
from engine.gate.judge import Figures, Judgement, Key, Trust, judge
from engine.gate.nightly import Night, Series, cells_of, night_of, scores_of
from engine.gate.rules import Rule, matches
from engine.metrics.schema import KEY as METRICS_KEY
from engine.project.evaluating import EvaluationInput
from engine.project.run import Run
from engine.project.settings import Project
from engine.storage.digest import digest
from engine.storage.few_rows import rows_with
from engine.storage.lineage import Snapshot, Written
from engine.storage.row_changes import only_came
from engine.storage.upsert import local_rows

RECORD_SCHEMA = (
    "gate_id string, run_ts timestamp, run_date date, run_id string, status int, rule string, "
    "level string, model_id string, split string, slice string, slice_fingerprint string, "
    "verdict string, waived_by string, value double, bound double, p_adjusted double, "
    "evidence double, n_new long, counted_on date, counted array<long>, wealth array<double>, "
    "asked string, mask_identity string, prediction_identity string"
)
RECORD_KEY = ("gate_id", "rule", "model_id", "split", "slice")
_READ = (
    "run_id", "run_ts", "model_id", "split", "slice", "slice_fingerprint", "metric", "value",
    "support", "status", "ci_low", "ci_high", "p_value", "effect",
)  # fmt: skip
_SERIES = ("rule", "model_id", "split", "slice", "slice_fingerprint", "asked")
_STATE = ("counted", "wealth", "counted_on", "mask_identity", "prediction_identity")
_AGAIN = "run `python -m jobs.evaluate_slices` first"


@contextmanager
def judging() -> Iterator[None]:
    """Make of what stops a gate an error that says no more than that: 1 is the gate's own verdict.

    Raises
    ------
    GateError
    """
    try:
        yield
    except EngineError as error:
        raise GateError(str(error)) from error


def check_rules(project: Project) -> None:
    """Check that there is something to judge by.

    Raises
    ------
    GateError
    """
    if not project.gate.all_rules:
        raise GateError(
            f"{project.name}: gate has no rules; add some to the project file, such as "
            "gate: {rules: ['f1 >= 0.8']}"
        )


def keeps_record(project: Project) -> bool:
    """Tell whether a rule needs what gates said before; else a gate only reads."""
    return project.gate.nightly or _names_the_last(project)


def _names_the_last(project: Project) -> bool:
    against = (rule.against for rule in project.gate.all_rules)
    return any(of is not None and of.kind == "last" for of in against)


@dataclass(frozen=True)
class GateInput:
    """An evaluation that a gate judges.

    Attributes
    ----------
    data
        What is evaluated now.
    metrics
        The metrics table.
    run_id
        The evaluation's.
    figures
        Its rows, of the columns that are looked at.
    note
        Why it may not be of what the tables hold; empty where it is.
    """

    data: EvaluationInput
    metrics: Snapshot
    run_id: str
    figures: pd.DataFrame
    note: str = ""

    @property
    def project(self) -> Project:
        """The project."""
        return self.data.project

    @cached_property
    def record(self) -> Snapshot | None:
        """What gates have said until now."""
        return self.data.runs.find(self.project.place("gate"))

    @property
    def about(self) -> dict[str, Any]:
        """Facts of what is judged."""
        at = pd.Timestamp(self.figures["run_ts"].iloc[0])
        return {
            "project": self.project.name,
            "run": self.run_id,
            "evaluated": f"{at:%Y-%m-%d %H:%M}",
            "engine": engine.__version__,
        }

    def before(self) -> Figures | None:
        """Return the figures that ``last`` means, of slices that are as they were.

        They are those that the gate let pass last; where it has let none pass, those of the
        evaluation before this one.
        """
        if not _names_the_last(self.project):
            return None
        run_id = self._passed() or self._evaluation_before()
        if run_id is None:
            return None
        rows, now = _rows_of(self.metrics, run_id), self.figures
        prints = dict(zip(now["slice"], now["slice_fingerprint"], strict=True))
        same = [
            prints.get(s) == f
            for s, f in zip(rows["slice"], rows["slice_fingerprint"], strict=True)
        ]
        return Figures.of(rows[same])

    def _passed(self) -> str | None:
        """Return the newest evaluation but this one that the gate let pass."""
        if self.record is None:
            return None
        passed = self.record.df.where((F.col("status") == 0) & (F.col("run_id") != self.run_id))
        newest = passed.orderBy(F.desc("run_ts"), "run_id").select("run_id").take(1)
        return newest[0][0] if newest else None

    def _evaluation_before(self) -> str | None:
        ids = newest_first(self.metrics)
        older = ids[ids.index(self.run_id) + 1 :]
        return older[0] if older else None

    def judge(self, strict: bool, nights: Mapping[Key, Night] | None) -> Judgement:
        """Judge the figures.

        Parameters
        ----------
        strict
            Whether what is inconclusive has an exit status of its own.
        nights
            What :meth:`nights` returned.
        """
        project, gate = self.project, self.project.gate
        trust = Trust(project.certainty.level, project.certainty.correction)
        return judge(
            gate.all_rules, Figures.of(self.figures), self.before(), trust, strict or gate.strict,
            gate.leave, project.run_date, nights,
        )  # fmt: skip

    def nights(self) -> tuple[dict[Key, Night], list[str]]:
        """Return the evidence of new rows for rules that can be watched, and why others can't."""
        alike = not (self.data.spec.weighted or self.data.confidence.clustered)
        rules = self.project.gate.all_rules
        watched = [r for r in rules if alike and scores_of(r) is not None]
        others = dict.fromkeys(r.text for r in rules if r not in watched)
        why = [f"judged by this run alone: {', '.join(others)}"] if others else []
        nights: dict[Key, Night] = {}
        unknown: dict[str, None] = {}
        series = self._series()
        for (model, split, slice_id), figures in self._by_metric().items():
            for rule in watched:
                if not self._is_about(rule, model, split, slice_id):
                    continue
                rows = cells_of(rule, figures, self.project.certainty.level)
                if isinstance(rows, str):
                    unknown[f"judged by this run alone: {rule.text}, for {rows}"] = None
                    continue
                key = (rule.text, model, split, slice_id)
                before = series.get(
                    (*key, self.data.table.fingerprints.get(slice_id), self._terms(model))
                )
                nights[key] = self._night(rule, before, rows, model)
        return nights, [*why, *unknown]

    def _night(
        self, rule: Rule, before: Mapping[str, Any] | None, rows: Sequence[int], model: str
    ) -> Night:
        day = self.project.run_date
        if before is None:
            return night_of(rule, None, rows, day)
        then = before["mask_identity"], before["prediction_identity"]
        series = Series(before["counted"], before["wealth"], before["counted_on"])
        return night_of(rule, series, rows, day, self._not_only_new(*then, model))

    def _not_only_new(self, masks: str, predictions: str, model: str) -> str:
        """Say why it isn't known which rows came since tables had these identities."""
        if self.note:
            return self.note
        if self.data.models[model].late is not None:
            return f"labels of {model} come late, so new rows aren't told from others"
        pairs = ((masks, self.data.masks), (predictions, self.data.stored[model]))
        for before, now in pairs:
            if before == now.identity:
                continue
            if (before, now.name) not in self._changes:
                self._changes[before, now.name] = only_came(before, now)
            if why := self._changes[before, now.name]:
                return why
        return ""

    @cached_property
    def _changes(self) -> dict[tuple[str, str], str]:
        return {}

    def _terms(self, model: str) -> str:
        """Return a hash of what decides a model's figures beside rows and slices."""
        project, of = self.project, self.project.predictions.get(model)
        facts = [
            [str(c) for c in project.classes], project.positive_position, project.split,
            str(project.prediction_table(model)), of and of.model_dump(mode="json"),
        ]  # fmt: skip
        return digest(json.dumps(facts, sort_keys=True))

    def _by_metric(self) -> dict[tuple[str, str | None, str], dict[str, Figure]]:
        """Return model, split and slice to the figure of each metric."""
        out: dict[tuple[str, str | None, str], dict[str, Figure]] = {}
        for (*where, metric), figure in Figures.of(self.figures).by_name.items():
            out.setdefault(tuple(where), {})[metric] = figure  # type: ignore[arg-type]
        return out

    @staticmethod
    def _is_about(rule: Rule, model: str, split: str | None, slice_id: str) -> bool:
        named = ((model, rule.models), (split, rule.splits), (slice_id, rule.patterns))
        return all(matches(name, patterns) for name, patterns in named)

    def _series(self) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        """Return the newest state of each series."""
        if self.record is None:
            return {}
        newest = F.max_by(F.struct(*_STATE), "run_ts").alias("state")
        rows = self.record.df.where(F.col("wealth").isNotNull()).groupBy(*_SERIES).agg(newest)
        return {tuple(r[c] for c in _SERIES): r["state"].asDict() for r in rows.collect()}

    def write(self, run: Run, judgement: Judgement) -> Written:
        """Add what the gate says to its record, unless it has said so before."""
        now, prints = dt.datetime.now(dt.UTC), self.data.table.fingerprints
        gate_id = self._gate_id(judgement)
        rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for check in judgement.checks:
            figure, night, waiver = check.figure, check.night, check.waiver
            series = night.series if night else None
            numbers = (figure.value if figure else None, check.bound, check.p_adjusted)
            known = check.model in self.data.models
            about = (
                now, self.project.run_date, self.run_id, judgement.status, check.rule.text,
                check.rule.level, check.model, check.split, check.slice,
                prints.get(check.slice), str(check.verdict), waiver and waiver.owner,
                *(None if pd.isna(n) else float(n) for n in numbers),
            )  # fmt: skip
            of = (
                night and night.evidence, night and night.new, series and series.day,
                series and list(series.rows), series and list(series.wealth),
                self._terms(check.model) if known else None, self.data.masks.identity,
                self.data.stored[check.model].identity if known else None,
            )  # fmt: skip
            rows.setdefault(check.key, (gate_id, *about, *of))
        df = local_rows(self.data.runs.spark, list(rows.values()), RECORD_SCHEMA)
        return run.upsert(df, self.project.place("gate"), RECORD_KEY)

    def _gate_id(self, judgement: Judgement) -> str:
        """Return a hash of what was judged, and how it ended: the same is recorded once."""
        checks = [
            [
                *map(str, c.key), str(c.verdict),
                list(c.night.series.rows) if c.night and c.night.series else None,
            ]
            for c in judgement.checks
        ]  # fmt: skip
        read = [self.data.masks.identity, *(s.identity for s in self.data.stored.values())]
        return digest(json.dumps([self.run_id, judgement.status, sorted(checks, key=str), read]))


def gate_input(data: EvaluationInput) -> GateInput:
    """Return the evaluation of what a project's tables hold now.

    Raises
    ------
    GateError
        If there is none and the project refuses others.
    """
    project = data.project
    metrics = data.runs.find(project.place("metrics"))
    if metrics is None:
        raise GateError(f"there is no evaluation yet in {project.place('metrics')}: {_AGAIN}")
    if not data.unknown:
        figures = _rows_of(metrics, data.run_id())
        if len(figures):
            return GateInput(data, metrics, data.run_id(), figures)
    ids = newest_first(metrics)
    if not ids:
        raise GateError(f"there is no evaluation yet in {metrics.name}: {_AGAIN}")
    run_id = ids[0]
    gate = GateInput(data, metrics, run_id, _rows_of(metrics, run_id))
    note = _why_other(gate)
    if note and project.on_stale == "refuse":
        raise GateError(f"{note}: {_AGAIN}, or set on_stale: count")
    return replace(gate, note=note)


def newest_first(metrics: Snapshot) -> list[str]:
    """Return the ids of a metrics table's evaluations, the newest first."""
    every = metrics.df.groupBy("run_id").agg({"run_ts": "max"}).collect()
    return [run_id for run_id, _ in sorted(every, key=lambda r: (r[1], r[0]), reverse=True)]


def _why_other(newest: GateInput) -> str:
    """Say how the newest evaluation isn't of what the tables hold; nothing where it may be."""
    data, at = newest.data, newest.about["evaluated"]
    versions = rows_with(
        newest.metrics.df,
        ["model_id", "mask_version", "prediction_version"],
        {"run_id": newest.run_id},
    )
    evaluated = {model: of for model, *of in versions}
    for model, version in data.versions.items():
        if model not in evaluated:
            return f"the newest evaluation, of {at}, has no figures of model {model!r}"
        masks, predictions = evaluated[model]
        for name, then, now in (
            (data.masks.name, masks, data.masks.version),
            (data.stored[model].name, predictions, version),
        ):
            if then != now:
                which = f"version {then} of {name}, which is now {now}"
                return f"the newest evaluation, of {at}, is of {which}"
    if data.unknown:
        return ""
    return f"the newest evaluation, of {at}, is of other settings than the project's"


def _rows_of(metrics: Snapshot, run_id: str) -> pd.DataFrame:
    rows = rows_with(metrics.df, _READ, {METRICS_KEY[0]: run_id})
    frame = pd.DataFrame(rows, columns=list(_READ)).astype(object)
    return frame.where(frame.notna(), None)
