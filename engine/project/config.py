"""The project file: YAML checked into typed, frozen values before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from engine.classifier.settings import (
    BASES,
    FEATURES,
    MODEL,
    SEED,
    TRAINER,
    check_spec,
    default_metrics,
    monitored,
)
from engine.errors import (
    BaseSpecError,
    ConfigError,
    EngineError,
    FeatureSpecError,
    SampleSharesError,
    UnknownMetricError,
    near,
)
from engine.metrics.catalog import KINDS, MetricSpec, parse_metric
from engine.metrics.classes import as_class, different
from engine.metrics.custom import CustomMetric, custom_metrics
from engine.slicing.algebra import is_composition, parse
from engine.slicing.by_value import TOP, By, distinct
from engine.slicing.compositions import Composition, compositions
from engine.slicing.discovery import load_slices
from engine.slicing.functions import SlicingFunction, where
from engine.slicing.ids import check_id, slug
from engine.slicing.lookups import lookup
from engine.storage.place import Place, Root

# What pydantic calls wrong, in our words.
_WRONG = {
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a group of settings",
    "model_type": "must be a group of settings",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} entries",
}


def _as_text(value: Any) -> Any:
    """Return an option's value as Spark takes it: YAML reads `header: true` as no text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _as_class(value: Any) -> Any:
    value = as_class(value)  # YAML reads 1.0 as no whole number
    if not isinstance(value, int | str):
        found = f"must be a whole number, text, true or false, found {value!r}"
        raise ValueError(found)  # noqa: TRY004 - pydantic takes no TypeError
    return value


Options = dict[str, Annotated[str, BeforeValidator(_as_text)]]
Class = Annotated[int | str | bool, BeforeValidator(_as_class)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """Where the rows are."""

    table: str
    format: Literal["delta", "parquet", "csv", "json"] | None = None
    options: Options = {}


class LookupKeys(_Model):
    """The keys of a look-up slice.

    Attributes
    ----------
    column
        The column that is looked up.
    table, file
        Where the keys are: Delta, Parquet, CSV or JSON, by path or name.
    keys
        The keys themselves, in place of a table.
    key_column
        The table's column; ``column`` by default.
    how
        How Spark finds many keys; ``auto`` sends up to a million to all executors.
    """

    column: str
    table: str | None = None
    file: str | None = None
    keys: list[Any] | None = None
    key_column: str | None = None
    how: Literal["auto", "broadcast", "join"] = "auto"

    @model_validator(mode="after")
    def _keys_are_somewhere(self) -> LookupKeys:
        if sum(given is not None for given in (self.table, self.file, self.keys)) != 1:
            raise ValueError("give one of table, file and keys")
        return self


class InlineSlice(_Model):
    """A slice given as a SQL predicate, as a composition of slice ids, or as a look-up."""

    name: str
    where: str | None = None
    lookup: LookupKeys | None = None
    id: str | None = None
    description: str | None = None

    @field_validator("where")
    @classmethod
    def _composition_is_one(cls, value: str | None) -> str | None:
        if value is not None and is_composition(value):
            parse(value)
        return value

    @model_validator(mode="after")
    def _says_what_it_is(self) -> InlineSlice:
        if (self.where is None) == (self.lookup is None):
            raise ValueError(
                f"slice {self.name!r} needs either where (a SQL predicate, or slice ids with &, | "
                "and ~) or lookup"
            )
        return self

    @property
    def composition(self) -> Composition | None:
        """What it is composed of, if it is."""
        if self.where is None or not is_composition(self.where):
            return None
        about = self.where if self.description is None else self.description
        slice_id = slug(self.name) if self.id is None else check_id(self.name, self.id)
        return Composition(self.name, self.where, slice_id, about)

    @property
    def slicing_function(self) -> SlicingFunction:
        """The slice, if it isn't composed of others."""
        about, keys = {"id": self.id, "description": self.description}, self.lookup
        if keys is None:
            return where(self.name, self.where or "", **about)
        return lookup(
            self.name,
            keys.column,
            keys.keys,
            table=keys.table or keys.file,
            key_column=keys.key_column,
            how=keys.how,
            **about,
        )


class ByValue(_Model):
    """Slices by the values of a column, or by the combinations of values of several.

    Attributes
    ----------
    column, columns
        One column, or two and more.
    top
        How many values get a slice when they are found, the most frequent first.
    other
        Whether rows of other values get a slice.
    values
        The values, or lists of values, in place of those found.
    """

    column: str | None = None
    columns: Annotated[list[str], Field(min_length=2)] | None = None
    top: Annotated[int, Field(gt=0)] = TOP
    other: bool = True
    values: list[Any] | None = None

    @model_validator(mode="after")
    def _columns_are_named(self) -> ByValue:
        if (self.column is None) == (self.columns is None):
            raise ValueError("give either column or columns")
        names = self.columns or []
        if len(set(names)) < len(names):
            raise ValueError(f"columns {', '.join(names)} must be different ones")
        width = len(self.columns or [self.column])
        for value in (self.values or []) if self.columns else []:
            if not isinstance(value, list) or len(value) != width:
                raise ValueError(f"values must be lists of {width}, found {value!r}")
        _ = self.spec  # refuses values that can't be slices
        return self

    @property
    def spec(self) -> By:
        """What is sliced."""
        columns = tuple(self.columns or [self.column or ""])
        made = By(columns, self.top, self.other)
        if self.values is None:
            return made
        cells = self.values if self.columns else ((value,) for value in self.values)
        return replace(made, values=tuple(distinct(made, cells)))


class LateLabel(_Model):
    """Labels that come in a table of their own, joined by key."""

    table: str
    column: str
    format: Literal["delta", "parquet", "csv", "json"] | None = None


class Predictions(_Model):
    """One model's prediction table.

    Attributes
    ----------
    table
        Path or name; ``<root>/predictions_<model>`` by default.
    columns
        Our column (key and partition columns, label, weight, pred, prob) to the table's own; for a
        table from another tool.
    label
        Where labels come from if they come later than predictions.
    """

    table: str | None = None
    format: Literal["delta", "parquet", "csv", "json"] | None = None
    columns: dict[str, str] = {}
    label: LateLabel | None = None


class Certainty(_Model):
    """How sure figures must be.

    Attributes
    ----------
    level
        Confidence level of intervals, and 1 less the corrected p-value that is marked.
    replicates
        Bootstrap replicates, for metrics whose interval has no formula; 0 leaves those out.
    cluster
        A column of the mask table whose rows are drawn together (a user, a video); every interval
        then comes from replicates.
    min_support
        Figures of fewer rows have status "insufficient" and are not tested.
    correction
        Of p-values for the number of slices: ``bh`` (Benjamini-Hochberg), ``by``
        (Benjamini-Yekutieli, whatever way slices overlap) or ``none``.
    """

    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    replicates: Annotated[int, Field(ge=0, le=2000)] = 200
    cluster: str | None = None
    min_support: Annotated[int, Field(ge=0)] = 30
    correction: Literal["bh", "by", "none"] = "bh"


class Audit(_Model):
    """What is shown around the figures.

    Attributes
    ----------
    overlap
        Whether slices that are nearly the same are pointed out; by default up to 200 slices, since
        all pairs are counted.
    worst_rows
        So many rows of the largest loss are shown of each of the three worst slices.
    flips
        So many rows are shown that the second model wins, and that it loses.
    columns
        Columns of the mask table that are shown of such rows (see carry).
    trend
        So many runs before this one are compared with it.
    """

    overlap: bool | None = None
    worst_rows: Annotated[int, Field(ge=0, le=1000)] = 0
    flips: Annotated[int, Field(ge=0, le=1000)] = 0
    columns: list[str] = []
    trend: Annotated[int, Field(ge=0)] = 5


class Baseline(_Model):
    """How the baseline (CountVectorizer and LogisticRegression) is fitted.

    Attributes
    ----------
    model_id
        The model's name.
    ngram_range, c, solver, max_iter
        As scikit-learn has them; ``c`` is LogisticRegression's ``C``.
    max_rows, budget_mb
        How many rows of the train split, and how many 2**20 bytes of text, are brought to the
        driver at most in expectation; of more a seeded sample is.
    """

    model_id: str = "baseline"
    ngram_range: tuple[int, int] = (1, 1)
    c: Annotated[float, Field(gt=0)] = 0.001
    solver: Literal["liblinear", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"] = (
        "liblinear"
    )
    max_iter: Annotated[int, Field(gt=0)] = 100
    max_rows: Annotated[int, Field(gt=0)] = 500_000
    budget_mb: Annotated[int, Field(gt=0)] = 256


class Shares(_Model):
    """How rows are split where the project names no split column."""

    train: Annotated[float, Field(gt=0, le=1)] = 0.8
    valid: Annotated[float, Field(ge=0, le=1)] = 0.1
    test: Annotated[float, Field(ge=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _all_rows_are_shared_out(self) -> Shares:
        if abs(self.train + self.valid + self.test - 1) > 1e-9:  # noqa: PLR2004 - rounding
            raise ValueError(
                str(SampleSharesError(self.model_dump())).removeprefix("sample.shares ")
            )
        return self


class Sample(_Model):
    """Which rows reach the driver.

    Attributes
    ----------
    kind
        ``quota``: by slice, class and overall; ``simple``: all rows alike; ``stratified``: by
        class; ``oversample``: as simple, and training draws slices' rows more often.
    per_slice, per_class, overall
        Expected rows, at least: of each slice, each class and all, per split.
    group
        A column (``author``) whose values no two splits may share.
    shares
        How rows are split by the hash of their key, or group, without a split column.
    budget_mb
        How large the sample may be as Arrow; a larger one is refused before it is collected.
    """

    kind: Literal["quota", "simple", "stratified", "oversample"] = "quota"
    per_slice: Annotated[int, Field(gt=0)] = 10_000
    per_class: Annotated[int, Field(gt=0)] = 10_000
    overall: Annotated[int, Field(gt=0)] = 50_000
    group: str | None = None
    shares: Shares = Shares()
    budget_mb: Annotated[int, Field(gt=0)] = 512


class Classifier(_Model):
    """How the slice-aware classifier is built and trained.

    Attributes
    ----------
    features
        ``kind`` (bag_of_words, tfidf, tabular) and its settings.
    base
        ``kind`` (mlp, tabular_mlp) and its settings.
    temperature, attention, indicator_loss_weight, slice_weights, class_weights
        As ``SlicingClassifier`` has them.
    n_epochs, n_steps, lr, l2, grad_clip, optimizer, lr_scheduler, warmup_steps
        As ``Trainer`` has them; so are the next three lines.
    sample_weights
        Whether a row counts 1/p in the losses, as it does in the valid split's metrics.
    monitor, patience
        ``<slice>/<metric>`` whose best epoch is kept, and after how many worse ones to stop.
    device, precision, threads, resume
        Where and how it is computed; whether a run that was killed goes on where it was.
    tensorboard
        Whether curves are written.
    processes
        How many processes train together, each on its share of a batch.
    seed
        Draws weights and shuffles.
    """

    model_id: str = "slice_aware"
    features: dict[str, Any] = {"kind": "bag_of_words"}
    base: dict[str, Any] = {"kind": "mlp", "layers": 2}
    temperature: Annotated[float, Field(gt=0)] = 1.0
    attention: str = "snorkel"
    indicator_loss_weight: Annotated[float, Field(ge=0)] = 1.0
    slice_weights: dict[str, float] = {}
    class_weights: list[float] | None = None
    sample_weights: bool = False
    n_epochs: Annotated[int, Field(gt=0)] = 2
    n_steps: Annotated[int, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(gt=0)] = 64
    lr: Annotated[float, Field(gt=0)] = 1e-4
    l2: Annotated[float, Field(ge=0)] = 0.0
    grad_clip: Annotated[float, Field(gt=0)] | None = 1.0
    optimizer: str = "adam"
    lr_scheduler: str = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    monitor: str | None = None
    patience: Annotated[int, Field(gt=0)] | None = None
    device: str = "auto"
    precision: str = "float32"
    threads: Annotated[int, Field(gt=0)] | None = None
    resume: bool = True
    tensorboard: bool = False
    processes: Annotated[int, Field(gt=0)] = 1
    seed: int = 111

    @field_validator("features", "base", mode="before")
    @classmethod
    def _kinds_have_a_default(cls, value: Any, info: ValidationInfo) -> Any:
        kind = {"features": "bag_of_words", "base": "mlp"}[info.field_name or ""]
        return {"kind": kind, **value} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _training_takes_it(self) -> Classifier:
        rules = {**TRAINER, **MODEL, "seed": SEED}
        for name, value in self:
            if name in rules and name not in _CHECKED and (end := rules[name].broken(value)):
                raise ValueError(f"{name} is {value!r}{end}")
        if self.patience is not None and self.monitor is None:
            raise ValueError(f"patience is {self.patience}, and needs a monitor")
        check_spec(self.features, FEATURES, FeatureSpecError)
        check_spec(self.base, BASES, BaseSpecError)
        return self


# Of another type in the project file than in training.
_CHECKED = frozenset({"tensorboard"})


class Project(_Model):
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
        The share of rows on which compiled slices are compared with their Python functions before
        the mask table is written, some 1,000 at the least; 0 for none.
    on_error
        ``raise`` stops at the first row a function fails on; ``null`` leaves it undecided.
    max_error_rate
        With ``null``: the share of a slice's rows that may fail.
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
    missing_predictions
        ``error``, or ``count`` to leave rows without a prediction out of the figures.
    on_stale
        ``refuse`` tables whose rows were made from different versions of the source, or ``count``
        such rows and go on.
    predictions
        Model id to its prediction table.
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
    layout: Literal["auto", "boolean", "packed"] = "auto"
    tier: Literal["spark", "arrow", "pandas", "row"] | None = None
    tiers: dict[str, Literal["spark", "arrow", "pandas", "row"]] = {}
    verify: Annotated[float, Field(ge=0, le=1)] = 0.001
    by: list[ByValue] = []
    on_error: Literal["raise", "null"] = "raise"
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    metric_modules: list[str] = []
    metrics: list[str] = Field(["accuracy", "f1"], min_length=1)
    evaluate_splits: list[str | None] = []
    certainty: Certainty = Certainty()
    audit: Audit = Audit()
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

    @field_validator("key", mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("by", mode="before")
    @classmethod
    def _by_columns(cls, value: Any) -> Any:
        given = value if isinstance(value, list) else [value]
        return [{"column": one} if isinstance(one, str) else one for one in given]

    @field_validator("by")
    @classmethod
    def _by_each_once(cls, value: list[ByValue]) -> list[ByValue]:
        named = [frozenset(one.spec.columns) for one in value]
        for i, one in enumerate(value):
            if named[i] in named[:i]:
                raise ValueError(f"{one.spec} is there twice")
        return value

    @field_validator("on_error", mode="before")
    @classmethod
    def _null_is_a_word(cls, value: Any) -> Any:
        return "null" if value is None else value  # YAML reads a bare null as nothing

    @field_validator("check_key", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare off as false

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
        if self.classifier.monitor is not None:
            try:
                monitored(self.classifier.monitor, None, default_metrics(n))
            except EngineError as error:
                raise ValueError(f"classifier: {error}") from None
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
        """Refuse an id that would be another place, or in a catalog no name of a table."""
        own = (m for m, given in self.predictions.items() if given.table is None)
        catalog = self.tables.in_catalog
        for model_id in dict.fromkeys([self.baseline.model_id, self.classifier.model_id, *own]):
            if not model_id or set(model_id) & set("/\\\0") or model_id in {".", ".."}:
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

    def own_metrics(self, folders: Sequence[Path] = ()) -> list[CustomMetric]:
        """Load the metrics of ``metric_modules`` that are asked for.

        Raises
        ------
        ModuleImportError, UnknownMetricError
            If a module can't be imported, or a metric is none of theirs.
        """
        found = [m for name in self.metric_modules for m in custom_metrics(name, folders)]
        known = {m.name: m for m in found}
        asked = [m for m in self.metrics if m.partition("@")[0] not in KINDS]
        for name in asked:
            if name not in known:
                raise UnknownMetricError(name, [*known, *KINDS])
        return [known[name] for name in asked]

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
        own = self.predictions.get(model_id, Predictions()).table
        return Place.of(own) if own else self.place(f"predictions_{model_id}")

    def slicing_functions(
        self, folders: Sequence[Path] = (), generated: Sequence[SlicingFunction] = ()
    ) -> list[SlicingFunction]:
        """Load the modules and return all slices.

        Parameters
        ----------
        folders
            Where modules are looked for.
        generated
            The slices by value, which are known once the source was looked at.

        Raises
        ------
        ModuleImportError, NoSlicesError
            If a module can't be imported, or has none.
        ConfigError
            If the project has no slice at all.
        UnknownSliceError, CompositionCycleError, DuplicateSliceError
            If compositions can't be put together.
        """
        return self.composed(self.own_slices(folders), generated)

    def own_slices(self, folders: Sequence[Path] = ()) -> list[SlicingFunction]:
        """Load the modules; return their slices, then the SQL predicates and look-ups."""
        loaded = (sf for module in self.sf_modules for sf in load_slices(module, folders))
        found = list(dict.fromkeys(loaded))  # a module may import another one's
        found += [s.slicing_function for s in self.slices if s.composition is None]
        if not (found or self.slices or self.by):
            raise ConfigError(self.name, "there is no slice: give sf_modules, slices or by")
        return found

    def composed(
        self, own: Sequence[SlicingFunction], generated: Sequence[SlicingFunction] = ()
    ) -> list[SlicingFunction]:
        """Return slices with the compositions of them: own, composed, by value."""
        asked = [s.composition for s in self.slices if s.composition is not None]
        return [*own, *compositions(asked, [*own, *generated]), *generated]


def load_project(path: str | Path, overrides: Sequence[str] = ()) -> Project:
    """Read and check a project file.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        ``key=value`` texts, dots between levels (``classifier.n_epochs=5``), values in YAML.

    Raises
    ------
    ConfigError
        If the file can't be read, isn't YAML, has an unknown key or a wrong value.
    """
    settings = _read_yaml(Path(path))
    for text in overrides:
        _override(settings, text)
    try:
        return Project.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(str(path), _problem(error)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(str(path), f"it can't be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(str(path), f"it is not YAML: {place}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"it is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise ConfigError(str(path), "it must be a mapping of settings")
    return settings


class _Loader(yaml.SafeLoader):
    """YAML without tags that run code, in which a key stands once in its group."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (k for k, _ in node.value if isinstance(k, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _override(settings: dict[str, Any], text: str) -> None:
    dotted, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(text, "an override is written key=value")
    *parents, last = dotted.split(".")
    level: Any = settings
    for parent in parents:
        level = level.setdefault(parent, {})
        if not isinstance(level, dict):
            raise ConfigError(text, f"{parent!r} is not a group of settings")
    try:
        level[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        level[last] = value


def _problem(error: ValidationError) -> str:
    """Say the first problem in one sentence, with the nearest known key for an unknown one."""
    # An unknown key first: it may be a missing one, misspelt.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    *parents, last = first["loc"] or ("",)
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}{near(str(last), _fields(parents))}"
    if first["type"] == "missing" and isinstance(last, int):
        return f"{place.removesuffix(f'.{last}')}: an entry is missing, found {first['input']!r}"
    if first["type"] == "missing":
        return f"the key {place!r} is missing"
    if first["type"] == "value_error":  # our own sentence, which says what was found
        return ": ".join(filter(None, [place, str(first["ctx"]["error"])]))
    wrong = _WRONG.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    found = "" if isinstance(first["input"], Mapping) else f", found {first['input']!r}"
    return f"{place}: {wrong}{found}{_meant(first)}"


def _meant(error: Mapping[str, Any]) -> str:
    """Say which of a few words one is nearly."""
    if error["type"] != "literal_error":
        return ""
    end = near(str(error["input"]), re.findall("'([^']*)'", error["ctx"]["expected"]))
    return end if "did you mean" in end else ""


def _fields(parents: Sequence[int | str]) -> list[str]:
    """Return the known keys of a group of settings."""
    model: Any = Project
    for parent in parents:
        if isinstance(parent, int) or not hasattr(model, "model_fields"):
            continue
        annotation = model.model_fields[parent].annotation if parent in model.model_fields else None
        model = _model_in(annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [_model_in(a) for a in getattr(annotation, "__args__", ())]
    return next((m for m in inner if m is not None), None)
