"""The groups of settings of a project file, and the values that YAML reads as another type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from engine.classifier.defaults import stops_early
from engine.classifier.settings import (
    BASES,
    FEATURES,
    SEED,
    TRAINER,
    WEIGHING,
    check_spec,
    wrong_base,
    wrong_features,
)
from engine.errors import no_shares
from engine.metrics.classes import as_class
from engine.slicing.algebra import is_composition, parse
from engine.slicing.by_value import TOP, By, distinct
from engine.watch import Limits

# The specs of a classifier: the kind of one that names none, all kinds, the error of a wrong one.
_SPECS = {
    "features": ("bag_of_words", FEATURES, wrong_features),
    "base": ("mlp", BASES, wrong_base),
}
# ``tensorboard`` is a flag in the project file, a folder in training.
_TRAINER = set(TRAINER) - {"tensorboard"}
_BY_RULE = {"n_epochs", "lr"}
_RULES = {**{name: TRAINER[name] for name in _TRAINER}, **WEIGHING, "seed": SEED}


_A_WEEK = 7 * 24 * 3600  # seconds


class Settings(BaseModel):
    """A group of settings: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_text(value: Any) -> Any:
    """Return an option's value as Spark takes it: YAML reads `header: true` as no text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _as_class(value: Any) -> Any:
    label = as_class(value)  # YAML reads 1.0 as no whole number
    if not isinstance(label, int | str):
        raise ValueError(  # noqa: TRY004 - pydantic takes no TypeError
            f"must be a whole number, text, true or false, found {label!r}"
        )
    return label


Options = dict[str, Annotated[str, BeforeValidator(_as_text)]]
Class = Annotated[int | str | bool, BeforeValidator(_as_class)]
Format: TypeAlias = Literal["delta", "parquet", "csv", "json"]
Tier: TypeAlias = Literal["spark", "arrow", "pandas", "row"]


OnError: TypeAlias = Literal["fail", "null", "quarantine"]


def _as_policy(value: Any) -> Any:
    """Return what is done at an error: YAML reads a bare null as nothing, raise is an old name."""
    return {None: "null", "raise": "fail"}.get(value, value) if _is_word(value) else value


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, str)


Policy = Annotated[OnError, BeforeValidator(_as_policy)]


class SliceLimits(Settings):
    """What one slicing function may take of a worker.

    Attributes
    ----------
    seconds
        On a batch of rows, some 10,000 of them; null for any time.
    memory_mb
        So many 2**20 bytes more than the worker had without it; null for any memory.
    """

    seconds: Annotated[float, Field(gt=0, le=_A_WEEK)] | None = 600.0
    memory_mb: Annotated[int, Field(gt=0)] | None = 4096

    @property
    def of_slices(self) -> Limits:
        """As workers take them."""
        return Limits(self.seconds, self.memory_mb)


class Source(Settings):
    """Where the rows are."""

    table: str
    format: Format | None = None
    options: Options = {}


class LateLabel(Settings):
    """Labels that come in a table of their own, joined by key."""

    table: str
    column: str
    format: Format | None = None


class Predictions(Settings):
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
    format: Format | None = None
    columns: dict[str, str] = {}
    label: LateLabel | None = None


class RunSettings(Settings):
    """How runs of jobs keep out of each other's way.

    Attributes
    ----------
    wait_seconds
        How long a job waits for a table that another run holds.
    silence_seconds
        How long a run may give no sign before others take it for dead; a run on another machine
        that was killed holds its tables so long.
    """

    wait_seconds: Annotated[float, Field(ge=0)] = 600.0
    silence_seconds: Annotated[float, Field(ge=5)] = 60.0


class Certainty(Settings):
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
        Figures of fewer rows have status "insufficient", and no test but an exact one.
    correction
        Of p-values for the number of slices: ``bh`` (Benjamini-Hochberg), ``by``
        (Benjamini-Yekutieli, whatever way slices overlap) or ``none``.
    budget_mb
        How many 2**20 bytes the scores of small slices, and replicates, may take on the driver, of
        each split: beyond it rankings are of bins, and metrics have no interval from replicates.
    """

    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    replicates: Annotated[int, Field(ge=0, le=2000)] = 200
    cluster: str | None = None
    min_support: Annotated[int, Field(ge=0)] = 30
    correction: Literal["bh", "by", "none"] = "bh"
    budget_mb: Annotated[int, Field(ge=0)] = 512


class Audit(Settings):
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


class ReportSettings(Settings):
    """What a report holds, for it travels, and how many there are.

    Attributes
    ----------
    rows
        Of single rows: ``none``, their ``keys`` with labels and predictions, or ``text``: the
        columns of ``audit.columns`` too.
    hide
        Columns of which no value is shown: not with rows, nor by slices by value.
    smallest
        Slices of fewer rows of a split are left out.
    keep
        So many reports stay in ``reports``, the newest.
    """

    rows: Literal["none", "keys", "text"] = "text"
    hide: list[str] = []
    smallest: Annotated[int, Field(ge=0)] = 0
    keep: Annotated[int, Field(gt=0)] = 50

    @field_validator("rows", mode="before")
    @classmethod
    def _none_is_a_word(cls, value: Any) -> Any:
        return "none" if value is None else value  # as YAML reads a bare null


class Shares(Settings):
    """How rows are split where the project names no split column."""

    train: Annotated[float, Field(gt=0, le=1)] = 0.8
    valid: Annotated[float, Field(ge=0, le=1)] = 0.1
    test: Annotated[float, Field(ge=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _all_rows_are_shared_out(self) -> Shares:
        if abs(self.train + self.valid + self.test - 1) > 1e-9:  # noqa: PLR2004 - rounding
            raise ValueError(str(no_shares(self.model_dump())).removeprefix("sample.shares "))
        return self


class Sample(Settings):
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


class LookupKeys(Settings):
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
        if sum(place is not None for place in (self.table, self.file, self.keys)) != 1:
            raise ValueError("give one of table, file and keys")
        return self


class InlineSlice(Settings):
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

    @property
    def composed(self) -> bool:
        """Whether it is composed of other slices."""
        return self.where is not None and is_composition(self.where)

    @model_validator(mode="after")
    def _says_what_it_is(self) -> InlineSlice:
        if (self.where is None) == (self.lookup is None):
            raise ValueError(
                f"slice {self.name!r} needs either where (a SQL predicate, or slice ids with &, | "
                "and ~) or lookup"
            )
        return self


class ByValue(Settings):
    """Slices by the values of a column, or by the combinations of values of several.

    Attributes
    ----------
    column, columns
        One column, or two and more.
    top
        How many values get a slice when the source is asked for them, the most frequent first.
    other
        Whether rows of other values get a slice.
    values
        The values, or lists of values, in place of those of the source.
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
        spec = By(tuple(self.columns or [self.column or ""]), self.top, self.other)
        if self.values is None:
            return spec
        cells = self.values if self.columns else ((value,) for value in self.values)
        return replace(spec, values=tuple(distinct(spec, cells)))


class Baseline(Settings):
    """How the baseline (LogisticRegression of word counts, or of columns) is fitted.

    Attributes
    ----------
    model_id
        The model's name.
    columns
        Columns that it reads in place of ``text``: numbers are standardised, of others each
        frequent value counts. By default, in a project without ``text``, all columns that are
        numbers, booleans or texts and have no other role.
    ngram_range, c, solver, max_iter
        As scikit-learn has them; ``c`` is LogisticRegression's ``C``, by default that of 0.001,
        0.01, 0.1, 1, 10 and 100 whose log loss is best in a cross-validation: three folds of
        10,000 rows at most, 18 fits.
    max_rows, budget_mb
        How many rows of the train split, and how many 2**20 bytes of what is read, are brought to
        the driver at most in expectation; of more a seeded sample is.
    """

    model_id: str = "baseline"
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    ngram_range: tuple[int, int] = (1, 1)
    c: Annotated[float, Field(gt=0)] | None = None
    solver: Literal["liblinear", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"] = "lbfgs"
    max_iter: Annotated[int, Field(gt=0)] = 1000
    max_rows: Annotated[int, Field(gt=0)] = 500_000
    budget_mb: Annotated[int, Field(gt=0)] = 256


class Classifier(Settings):
    """How the slice-aware classifier is built and trained.

    Attributes
    ----------
    features
        ``kind`` (bag_of_words, tfidf, tabular) and its settings; what the file leaves out is left
        to the kind's own class. By default bag_of_words of ``text``; in a project without it
        tabular, of all columns that are numbers, booleans or texts and have no other role.
    base
        ``kind`` (mlp, tabular_mlp) and its settings. By default mlp for texts and tabular_mlp for
        columns. ``width`` is by default the power of two next to twice the square root of the
        number of training rows, from 16 to 128, and less where all slices' transforms would have
        more than 2**22 weights; null is the number of features.
    temperature, attention, indicator_loss_weight, slice_weights, class_weights
        As ``SlicingClassifier`` has them.
    n_epochs, n_steps
        As ``Trainer`` has them; so are the next lines. By default as many epochs as 4,000 steps
        are, 3 to 50 of them, and training stops early: see ``monitor``.
    lr
        By default 0.001 for adam and adamw, 0.002 for adamax and 0.01 for sgd, times the square
        root of batch_size / width.
    l2, grad_clip, optimizer, lr_scheduler, warmup_steps
        As ``Trainer`` has them.
    sample_weights
        Whether a row counts 1/p in the losses, as it does in the valid split's metrics.
    monitor, patience
        ``<slice>/<metric>`` whose best epoch is kept, and after how many worse ones to stop. Where
        neither n_epochs nor n_steps is set, by default overall/log_loss on the valid split, and as
        many epochs as 150 steps are, at least 5. Without a valid split a tenth of the training rows
        is held out for it, by the hash of their keys: 50 rows where that is more, half at most.
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
    features: dict[str, Any] | None = None
    base: dict[str, Any] | None = None
    temperature: Annotated[float, Field(gt=0)] = 1.0
    attention: str = "snorkel"
    indicator_loss_weight: Annotated[float, Field(ge=0)] = 1.0
    slice_weights: dict[str, float] = {}
    class_weights: list[float] | None = None
    sample_weights: bool = False
    n_epochs: Annotated[int, Field(gt=0)] | None = None
    n_steps: Annotated[int, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(gt=0)] = 64
    lr: Annotated[float, Field(gt=0)] | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _specs_hold(cls, value: Any) -> Any:
        """Give features and base their kind, and check them by the rules that training has."""
        specs: dict[str, Any] = {}
        for name, (default, kinds, error) in _SPECS.items():
            if isinstance(value, Mapping) and isinstance(value.get(name), Mapping):
                spec = {"kind": default, **value[name]}
                known = vars(check_spec(spec, kinds, error))
                specs[name] = {k: spec[k] for k in ("kind", *known) if k in spec}
        return {**value, **specs} if specs else value

    @model_validator(mode="after")
    def _training_takes_it(self) -> Classifier:
        for name, value in self:
            if name not in _RULES or (value is None and name in _BY_RULE):
                continue
            if end := _RULES[name].broken(value):
                raise ValueError(f"{name} is {value!r}{end}")
        if self.patience is not None and self.monitor is None and not stops_early(dict(self)):
            raise ValueError(f"patience is {self.patience}, and needs a monitor")
        return self

    @property
    def for_model(self) -> dict[str, Any]:
        """The settings that ``SlicingClassifier`` takes."""
        return self.model_dump(include=set(WEIGHING))

    @property
    def for_trainer(self) -> dict[str, Any]:
        """The settings that ``Trainer`` takes as they are, but for those left to a rule."""
        unset = {name for name in _BY_RULE if getattr(self, name) is None}
        return self.model_dump(include=_TRAINER - unset)
