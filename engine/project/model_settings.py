"""How a project's models are built and trained: the baseline and the slice-aware classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import Field, model_serializer, model_validator

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
from engine.project.fields import Settings


class Baseline(Settings):
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


class _Spec(Settings):
    """A kind and its settings; what the file leaves out is left to the kind's own class."""

    @model_serializer
    def _spec(self) -> dict[str, Any]:
        return {name: value for name, value in self if name in self.model_fields_set}


class BagOfWords(_Spec):
    """Counts of words."""

    kind: Literal["bag_of_words"]
    ngram_range: list[int] | None = None
    lowercase: bool | None = None
    token_pattern: str | None = None
    max_words: int | None = None
    column: str | None = None


class TfIdf(BagOfWords):
    """Counts of words, weighted by how rare they are."""

    kind: Literal["tfidf"]  # type: ignore[assignment]
    sublinear_tf: bool | None = None


class Tabular(_Spec):
    """Columns of numbers and of categories."""

    kind: Literal["tabular"]
    numeric: list[str] | None = None
    category: list[str] | None = None
    max_levels: int | None = None
    key: list[str] | None = None


class Mlp(_Spec):
    """Linear layers, each followed by a ReLU."""

    kind: Literal["mlp"]
    layers: int | None = None
    width: int | None = None


class TabularMlp(_Spec):
    """Linear layers with normalisation and dropout."""

    kind: Literal["tabular_mlp"]
    layers: int | None = None
    width: int | None = None
    dropout: float | None = None


Features: TypeAlias = Annotated[BagOfWords | TfIdf | Tabular, Field(discriminator="kind")]
Base: TypeAlias = Annotated[Mlp | TabularMlp, Field(discriminator="kind")]


class _Kinds(NamedTuple):
    default: str
    kinds: Mapping[str, type[Any]]
    error: Callable[[str], Exception]


_SPECS = {
    "features": _Kinds("bag_of_words", FEATURES, wrong_features),
    "base": _Kinds("mlp", BASES, wrong_base),
}
# ``tensorboard`` is a flag in the project file, a folder in training.
_TRAINER = set(TRAINER) - {"tensorboard"}
_RULES = {**{name: TRAINER[name] for name in _TRAINER}, **WEIGHING, "seed": SEED}


class Classifier(Settings):
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
    features: Features = BagOfWords(kind="bag_of_words")
    base: Base = Mlp(kind="mlp", layers=2)
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

    @model_validator(mode="before")
    @classmethod
    def _specs_hold(cls, value: Any) -> Any:
        """Give features and base their kind, and check them by the rules that training has."""
        if not isinstance(value, Mapping):
            return value
        specs = {
            name: {"kind": spec.default, **value[name]}
            for name, spec in _SPECS.items()
            if isinstance(value.get(name), Mapping)
        }
        for name, spec in specs.items():
            check_spec(spec, _SPECS[name].kinds, _SPECS[name].error)
        return {**value, **specs}

    @model_validator(mode="after")
    def _training_takes_it(self) -> Classifier:
        for name, value in self:
            if name in _RULES and (end := _RULES[name].broken(value)):
                raise ValueError(f"{name} is {value!r}{end}")
        if self.patience is not None and self.monitor is None:
            raise ValueError(f"patience is {self.patience}, and needs a monitor")
        return self

    @property
    def for_model(self) -> dict[str, Any]:
        """The settings that ``SlicingClassifier`` takes."""
        return self.model_dump(include=set(WEIGHING))

    @property
    def for_trainer(self) -> dict[str, Any]:
        """The settings that ``Trainer`` takes as they are."""
        return self.model_dump(include=_TRAINER)
