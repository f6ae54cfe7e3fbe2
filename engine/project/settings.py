"""The project's settings: typed, frozen values, which load nothing and read no table."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from engine.classifier.settings import monitored, training_metrics
from engine.errors import EngineError, near
from engine.metrics.catalog import KINDS, MetricSpec, parse_metric
from engine.metrics.classes import different
from engine.predicates.functions import refused
from engine.project.gate_settings import Gate
from engine.project.group_settings import (
    Audit,
    Baseline,
    ByValue,
    Certainty,
    Class,
    Classifier,
    InlineSlice,
    Options,
    Policy,
    Predictions,
    ReportSettings,
    RunSettings,
    Sample,
    Settings,
    SliceLimits,
    Source,
    Tier,
)
from engine.storage.place import Place, Root

# Short enough that what stands before and after it fits into 255 bytes.
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029]{1,60}")


class Project(Settings):
    """A project: what is read, which slices there are, what is written where.

    Attributes
    ----------
    name
        A short name for logs and reports.
    root
        The folder of all tables and models that have no place of their own.
    folder
        Where models, logs and reports go, which aren't tables; ``root`` by default.
    source
        The rows.
    key
        Columns that together name a row: none null, unique.
    check_key
        ``full`` checks that (a shuffle), ``off`` trusts the source.
    text, label, weight, split
        Columns: the model's input, the class, the row's weight in figures, the split; without a
        split all rows are "all".
    classes
        The label's values in class order; the probabilities' order too.
    positive
        The class that precision, recall and the like are about; by default the last.
    partition_by
        Columns by which mask and prediction tables are partitioned.
    carry
        Further columns of the source that the mask table has.
    sf_modules
        Modules or ``.py`` files with slicing functions.
    slices
        Slices as SQL predicates, compositions of slice ids and look-ups.
    allow_sql_functions
        Functions of your own that SQL predicates may call, besides Spark's.
    run_date
        The date that ``current_date()`` and ``now()`` mean in SQL; by default today's, in UTC.
    by
        Slices by value.
    layout
        How a new mask table holds masks: ``boolean`` columns, ``packed`` words of 64 slices, or
        ``auto``, which is packed for more than 100 slices.
    tier
        Where all slices run that may run there: ``spark`` expressions, whole ``arrow`` columns,
        ``pandas`` Series, Python per ``row``; by default each where it is cheapest.
    tiers
        Slice id to the tier that it must run in.
    verify
        The share of rows on which compiled slices are compared with their Python functions as they
        are labelled, some 1,000 at the least; 0 for none.
    on_error
        ``fail`` stops at the first row a function fails on; ``null`` leaves it undecided;
        ``quarantine`` does so too, and leaves a slice out that fails on too many rows, ends its
        worker or takes more than it may.
    on_errors
        Slice id to what is done at its errors.
    max_error_rate
        With ``null`` and ``quarantine``: the share of a slice's rows that may fail.
    limits
        What a slicing function may take of a worker: time and memory.
    metric_modules
        Modules or ``.py`` files with metrics of your own, made with ``@metric``.
    metrics
        What is computed for every slice.
    evaluate_splits
        The splits evaluated; all by default. ``null`` is the split of rows whose split is null,
        here and in the next two.
    train_split, valid_split
        The splits that models are fitted to and chosen on.
    certainty
        Intervals and tests of the figures.
    audit
        What is shown around them.
    report
        What the report holds of single rows, columns and tiny slices.
    missing_predictions
        ``error``, or ``count`` to leave rows without a prediction out of the figures.
    on_stale
        ``refuse`` tables whose rows were made from different versions of the source, or ``count``
        such rows and go on.
    predictions
        Model id to its prediction table.
    gate
        What figures must be for a release.
    runs
        How runs of jobs keep out of each other's way.
    """

    name: str
    root: str
    folder: str | None = None
    source: Source
    key: list[str] = Field(min_length=1)
    check_key: Literal["full", "off"] = "full"
    text: str | None = None
    label: str | None = None
    weight: str | None = None
    split: str | None = None
    classes: list[Class] = [0, 1]
    positive: Class | None = None
    partition_by: list[str] = []
    carry: list[str] = []
    sf_modules: list[str] = []
    slices: list[InlineSlice] = []
    allow_sql_functions: list[str] = []
    run_date: dt.date = Field(default_factory=lambda: dt.datetime.now(dt.UTC).date())
    layout: Literal["auto", "boolean", "packed"] = "auto"
    tier: Tier | None = None
    tiers: dict[str, Tier] = {}
    verify: Annotated[float, Field(ge=0, le=1)] = 0.001
    by: list[ByValue] = []
    on_error: Policy = "fail"
    on_errors: dict[str, Policy] = {}
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    limits: SliceLimits = SliceLimits()
    metric_modules: list[str] = []
    metrics: list[str] = Field(["accuracy", "f1"], min_length=1)
    evaluate_splits: list[str | None] = []
    certainty: Certainty = Certainty()
    audit: Audit = Audit()
    report: ReportSettings = ReportSettings()
    missing_predictions: Literal["error", "count"] = "error"
    on_stale: Literal["refuse", "count"] = "refuse"
    predictions: dict[str, Predictions] = {"baseline": Predictions(), "slice_aware": Predictions()}
    baseline: Baseline = Baseline()
    sample: Sample = Sample()
    classifier: Classifier = Classifier()
    train_split: str | None = "train"
    valid_split: str | None = "valid"
    seed: Annotated[int, Field(ge=0)] = 0
    spark: Options = {}
    gate: Gate = Gate()
    runs: RunSettings = RunSettings()

    @field_validator("key", mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("by", mode="before")
    @classmethod
    def _by_columns(cls, value: Any) -> Any:
        columns = value if isinstance(value, list) else [value]
        return [{"column": one} if isinstance(one, str) else one for one in columns]

    @field_validator("by")
    @classmethod
    def _by_each_once(cls, value: list[ByValue]) -> list[ByValue]:
        named = [frozenset(one.spec.columns) for one in value]
        for i, one in enumerate(value):
            if named[i] in named[:i]:
                raise ValueError(f"{one.spec} is there twice")
        return value

    @field_validator("check_key", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare off as false

    @field_validator("allow_sql_functions")
    @classmethod
    def _no_function_is_refused(cls, value: list[str]) -> list[str]:
        for name in value:
            if problem := refused(name):
                raise ValueError(problem)
        return value

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, value: list[str], info: ValidationInfo) -> list[str]:
        # Names that aren't the engine's may be those of metric_modules, which the job looks at.
        own = bool(info.data.get("metric_modules"))
        named = (
            m if own and m.isidentifier() and m not in KINDS else parse_metric(m) for m in value
        )
        return list(dict.fromkeys(map(str, named)))

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Project:
        roles = [*self.key, *([self.split] if self.split else []), *self.carry]
        twice = sorted({c for c in roles if roles.count(c) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice among key, split and carry")
        if len(self.classes) < 2 or not different(self.classes):  # noqa: PLR2004
            raise ValueError("classes must be at least two different values")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive {self.positive!r} is not one of classes {self.classes}")
        return self

    @model_validator(mode="after")
    def _classifier_fits_the_classes(self) -> Project:
        weights, n = self.classifier.class_weights, len(self.classes)
        if weights is not None and (
            len(weights) != n or not all(w >= 0 for w in weights) or not any(weights)
        ):
            wanted = f"{n} numbers, one of each class, none below 0 and not all 0"
            raise ValueError(f"classifier.class_weights is {weights}, and must be {wanted}")
        if (monitor := self.classifier.monitor) is not None:
            try:
                monitored(monitor, None, training_metrics(n, monitor))
            except EngineError as error:
                raise ValueError(f"classifier: {error}") from None
        return self

    @model_validator(mode="after")
    def _gate_is_about_what_is_there(self) -> Project:
        for rule in self.gate.all_rules:
            models = [rule.against.name] if rule.against and rule.against.kind == "model" else []
            named = [(rule.metric, "metric", self.metrics)]
            named += [(m, "model", list(self.predictions)) for m in (*models, *rule.models)]
            for name, what, known in named:
                if name not in known and "*" not in name:
                    raise ValueError(
                        f"gate: the rule {rule.text!r} names the {what} {name!r}, which the "
                        f"project hasn't{near(name, known)}"
                    )
        return self

    @model_validator(mode="after")
    def _group_is_in_the_mask_table(self) -> Project:
        group = self.sample.group
        if group and not self.split and group not in [*self.carry, *self.key, *self.partition_by]:
            raise ValueError(
                f"sample.group {group!r} must be in carry, because without a split column rows of "
                "the mask table are split by it"
            )
        return self

    @model_validator(mode="after")
    def _models_have_tables(self) -> Project:
        """Refuse an id that can't be a part of a path, or of a table's name in a catalog."""
        own = (m for m, settings in self.predictions.items() if settings.table is None)
        catalog = self.tables.in_catalog
        for model_id in dict.fromkeys([self.baseline.model_id, self.classifier.model_id, *own]):
            if not _FILE_NAME.fullmatch(model_id) or model_id in {".", ".."}:
                raise ValueError(f"model id {model_id!r} can't be a part of a file's name")
            if catalog and not re.fullmatch(r"\w+", model_id, re.ASCII):
                raise ValueError(
                    f"model id {model_id!r} can't be a part of the name of a table in "
                    f"{self.root}: give it letters, digits and _ alone, or a table under "
                    "predictions"
                )
        return self

    @model_validator(mode="after")
    def _files_have_a_folder(self) -> Project:
        if self.folder is None and self.tables.in_catalog:
            raise ValueError(
                f"root {self.root!r} is a catalog schema, so folder must say where models and "
                "reports go (a path has a slash: './audit')"
            )
        return self

    @property
    def positive_position(self) -> int:
        """Position of the positive class in ``classes``."""
        return len(self.classes) - 1 if self.positive is None else self.classes.index(self.positive)

    @property
    def metric_specs(self) -> list[MetricSpec]:
        """The engine's own metrics, parsed."""
        return [parse_metric(m) for m in self.metrics if m.partition("@")[0] in KINDS]

    @property
    def training_splits(self) -> list[str | None]:
        """The splits that a classifier is trained and validated on, in this order."""
        return [self.train_split, self.valid_split] if self.split else ["train", "valid"]

    @property
    def join_columns(self) -> list[str]:
        """Columns that tables are joined by: partition columns, then the key."""
        return list(dict.fromkeys([*self.partition_by, *self.key]))

    @property
    def uses_catalog(self) -> bool:
        """Whether a table of the project is named in a catalog."""
        named = [self.source.table, *(p.table for p in self.predictions.values() if p.table)]
        return self.tables.in_catalog or any(Place.of(table).in_catalog for table in named)

    @property
    def tables(self) -> Root:
        """Where this project's own tables are."""
        return Root.of(self.root)

    def place(self, name: str) -> Place:
        """Return where a table of this project is: ``masks``, ``slices``, ``metrics`` and so on."""
        return self.tables.table(name)

    def file(self, name: str) -> Path:
        """Return where something that isn't a table is: a model, a log, the report."""
        return Path(self.folder or self.root) / name

    def prediction_table(self, model_id: str) -> Place:
        """Return where a model's predictions are."""
        table = self.predictions.get(model_id, Predictions()).table
        return Place.of(table) if table else self.place(f"predictions_{model_id}")
