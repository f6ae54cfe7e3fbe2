"""The project file: YAML checked into typed, frozen values before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engine.errors import ConfigError, near
from engine.metrics.spec import MetricSpec, parse_metric
from engine.names import is_catalog_name, is_catalog_schema
from engine.slicing.functions import SlicingFunction, where
from engine.slicing.modules import load_slices


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """Where the rows are."""

    table: str
    format: Literal["delta", "parquet", "csv", "json"] | None = None
    options: dict[str, str] = {}


class InlineSlice(_Model):
    """A slice given as a SQL predicate."""

    name: str
    where: str
    id: str | None = None
    description: str | None = None


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


class Baseline(_Model):
    """How the baseline (CountVectorizer and LogisticRegression) is fitted."""

    model_id: str = "baseline"
    ngram_range: tuple[int, int] = (1, 1)
    c: Annotated[float, Field(gt=0)] = 0.001
    solver: Literal["liblinear", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"] = (
        "liblinear"
    )
    max_iter: Annotated[int, Field(gt=0)] = 100


class Sample(_Model):
    """How many rows reach the driver: expected rows per slice, and of all rows."""

    per_slice: Annotated[int, Field(gt=0)] = 10_000
    overall: Annotated[int, Field(gt=0)] = 50_000


class Classifier(_Model):
    """How the slice-aware classifier is built and trained."""

    model_id: str = "slice_aware"
    base: dict[str, Any] = {"kind": "mlp", "layers": 2}
    ngram_range: tuple[int, int] = (1, 1)
    temperature: Annotated[float, Field(gt=0)] = 1.0
    n_epochs: Annotated[int, Field(gt=0)] = 2
    batch_size: Annotated[int, Field(gt=0)] = 64
    lr: Annotated[float, Field(gt=0)] = 1e-4
    l2: Annotated[float, Field(ge=0)] = 0.0
    optimizer: str = "adam"
    lr_scheduler: str = "constant"
    seed: int = 111


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
        Slices as SQL predicates.
    on_error
        ``raise`` stops at the first row a function fails on; ``null`` leaves it undecided.
    max_error_rate
        With ``null``: the share of a slice's rows that may fail.
    metrics
        What is computed for every slice.
    evaluate_splits
        The splits evaluated; all by default.
    missing_predictions
        ``error``, or ``count`` to leave rows without a prediction out of the figures.
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
    classes: list[int | str | bool] = [0, 1]
    positive: int | str | bool | None = None
    partition_by: list[str] = []
    carry: list[str] = []
    sf_modules: list[str] = []
    slices: list[InlineSlice] = []
    on_error: Literal["raise", "null"] = "raise"
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    metrics: list[str] = ["accuracy", "f1"]
    evaluate_splits: list[str] = []
    missing_predictions: Literal["error", "count"] = "error"
    predictions: dict[str, Predictions] = {"baseline": Predictions(), "slice_aware": Predictions()}
    baseline: Baseline = Baseline()
    sample: Sample = Sample()
    classifier: Classifier = Classifier()
    train_split: str = "train"
    valid_split: str = "valid"
    seed: int = 0
    spark: dict[str, str] = {}

    @field_validator("key", mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("on_error", mode="before")
    @classmethod
    def _null_is_a_word(cls, value: Any) -> Any:
        return "null" if value is None else value  # YAML reads a bare null as nothing

    @field_validator("metrics")
    @classmethod
    def _metrics_exist(cls, value: list[str]) -> list[str]:
        return [str(parse_metric(m)) for m in value]

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Project:
        roles = [*self.key, *([self.split] if self.split else []), *self.carry]
        twice = sorted({c for c in roles if roles.count(c) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice among key, split and carry")
        if len(self.classes) < 2 or len(set(map(str, self.classes))) < len(self.classes):  # noqa: PLR2004
            raise ValueError("classes must be at least two different values")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive {self.positive!r} is not one of classes {self.classes}")
        return self

    @model_validator(mode="after")
    def _files_have_a_folder(self) -> Project:
        if self.folder is None and is_catalog_schema(self.root):
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
        """The metrics, parsed."""
        return [parse_metric(m) for m in self.metrics]

    @property
    def join_columns(self) -> list[str]:
        """Columns that tables are joined by: partition columns, then the key."""
        return list(dict.fromkeys([*self.partition_by, *self.key]))

    @property
    def uses_catalog(self) -> bool:
        """Whether a table of the project is named in a catalog."""
        named = [self.source.table, *(p.table for p in self.predictions.values() if p.table)]
        return is_catalog_schema(self.root) or any(map(is_catalog_name, named))

    def place(self, name: str) -> str:
        """Return where a table of this project is: ``masks``, ``slices``, ``metrics`` and so on."""
        separator = "." if is_catalog_schema(self.root) else "/"
        return f"{self.root.rstrip('/')}{separator}{name}"

    def file(self, name: str) -> Path:
        """Return where something that isn't a table is: a model, a log, the report."""
        return Path(self.folder or self.root) / name

    def prediction_table(self, model_id: str) -> str:
        """Return where a model's predictions are."""
        given = self.predictions.get(model_id, Predictions()).table
        return given or self.place(f"predictions_{model_id}")

    def slicing_functions(self, folders: Sequence[Path] = ()) -> list[SlicingFunction]:
        """Load the modules and return all slices: theirs first, then the inline ones.

        Raises
        ------
        ModuleImportError, NoSlicesError
            If a module can't be imported, or has none.
        ConfigError
            If the project has no slice at all.
        """
        found = [sf for module in self.sf_modules for sf in load_slices(module, folders)]
        found += [where(s.name, s.where, id=s.id, description=s.description) for s in self.slices]
        if not found:
            raise ConfigError(self.name, "there is no slice: give sf_modules or slices")
        return found


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
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"it can't be read: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(str(path), f"it is not YAML: {place}{error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"it is not YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ConfigError(str(path), "it must be a mapping of settings")
    return settings


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
    first = error.errors()[0]
    where_ = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {where_!r}{near(str(first['loc'][-1]), _fields(first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"the key {where_!r} is missing"
    said = first["msg"].removeprefix("Value error, ")
    said = said[0].lower() + said[1:]
    found = (
        "" if not where_ or isinstance(first["input"], Mapping) else f", found {first['input']!r}"
    )
    return f"{where_}: {said}{found}" if where_ else said


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
