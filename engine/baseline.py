"""The model that slices are compared on: word counts and logistic regression."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from engine.errors import CheckpointError, DatasetError, InputError, SettingError, listed
from engine.metrics.classes import different
from engine.storage.texts import replace_text

FORMAT = 1
_FILE, _OLD_FILE = "baseline.json", "pipeline.joblib"


@dataclass(frozen=True)
class Baseline:
    """A fitted CountVectorizer and LogisticRegression, with what they read and tell apart.

    Attributes
    ----------
    words
        The CountVectorizer.
    model
        The LogisticRegression.
    text
        The name of the text column.
    """

    words: CountVectorizer
    model: LogisticRegression
    text: str

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels, in the order of the columns of :meth:`predict_proba`."""
        return tuple(self.model.classes_.tolist())

    @property
    def fitted(self) -> str:
        """A digest of what was fitted."""
        vocabulary = [(w, int(n)) for w, n in sorted(self.words.vocabulary_.items())]
        digest = hashlib.sha256(repr(vocabulary).encode())
        for numbers in (self.model.classes_, self.model.coef_, self.model.intercept_):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()[:16]

    def predict_proba(self, texts: pd.Series[Any]) -> np.ndarray:
        """Return the probability of each class; ``[n, classes]`` float64."""
        if texts.empty:  # scikit-learn refuses to predict nothing
            return np.empty((0, len(self.classes)))
        prob = self.model.predict_proba(self.words.transform(_filled(texts)))
        return np.asarray(prob, dtype=np.float64)

    def save(self, folder: str | Path, facts: Mapping[str, Any] | None = None) -> bool:
        """Write the model as JSON, with ``facts`` about it.

        Returns
        -------
        bool
            Whether anything was written: the same model about the same facts is left as it is.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        words, model = self.words, self.model
        described = {
            "format": FORMAT,
            "classes": self.classes,
            "text": self.text,
            "scikit_learn": sklearn.__version__,
            "fitted": self.fitted,
            "facts": dict(facts or {}),
            "words": {
                "ngram_range": words.ngram_range,
                "vocabulary": sorted(words.vocabulary_, key=words.vocabulary_.__getitem__),
            },
            "model": {
                **{name: getattr(model, name) for name in ("C", "solver", "max_iter")},
                "coef": model.coef_.tolist(),
                "intercept": model.intercept_.tolist(),
            },
        }
        described["checksum"] = _checksum(json.loads(json.dumps(described)))
        content, file = json.dumps(described, indent=1) + "\n", folder / _FILE
        if file.is_file() and file.read_text(encoding="utf-8") == content:
            return False
        replace_text(file, content)
        (folder / _OLD_FILE).unlink(missing_ok=True)  # of the model that was here before
        return True

    @classmethod
    def load(cls, folder: str | Path) -> Baseline:
        """Read a saved baseline.

        Raises
        ------
        CheckpointError
            If there is none in the folder, or one that can't be true.
        InputError
            If there is one of an earlier version of the engine.
        """
        described, old = _described(Path(folder)), Path(folder) / _OLD_FILE
        if "model" not in described and old.is_file():
            raise InputError(
                f"{str(old)!r} is the baseline of an earlier version, a pickle, which may run "
                "anything and is not read; `python -m jobs.train_baseline` writes it again, as JSON"
            )
        if "model" not in described:
            raise CheckpointError(
                f"there is no baseline in {str(folder)!r}; jobs/train_baseline.py writes one"
            )
        try:
            baseline = cls._of(described)
            problem = _wrong(described, baseline)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _unusable(folder, f"it is incomplete ({error!r})") from None
        if problem:
            raise _unusable(folder, problem)
        return baseline

    @classmethod
    def _of(cls, described: Mapping[str, Any]) -> Baseline:
        model = dict(described["model"])
        coef, intercept = (np.array(model.pop(name)) for name in ("coef", "intercept"))
        shortest, longest = described["words"]["ngram_range"]
        words = CountVectorizer(
            ngram_range=(shortest, longest), vocabulary=described["words"]["vocabulary"]
        )
        words.fit([])  # which takes the vocabulary that it was made with
        regression = LogisticRegression(**model)
        regression.classes_ = np.array(described["classes"])
        regression.coef_, regression.intercept_ = coef, intercept
        return cls(words, regression, described["text"])


def _unusable(folder: str | Path, problem: str) -> CheckpointError:
    """Return the error of a baseline that can't be used."""
    return CheckpointError(
        f"the baseline in {str(folder)!r} can't be used: {problem}; copy it again, or write it "
        "again by `python -m jobs.train_baseline`"
    )


def _checksum(described: Mapping[str, Any]) -> str:
    content = {name: value for name, value in described.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _wrong(described: Mapping[str, Any], baseline: Baseline) -> str:
    """Say what can't be true of a baseline; empty if nothing."""
    version = described.get("format", FORMAT)
    if version != FORMAT:
        return f"it is of format {version!r}, and this engine reads format {FORMAT}"
    model, classes = baseline.model, baseline.classes
    n = len(classes)
    if n < 2 or not different(classes):  # noqa: PLR2004
        return f"its classes are {list(classes)}, and must be two or more different ones"
    rows, words = (1 if n == 2 else n), len(baseline.words.vocabulary_)  # noqa: PLR2004
    if model.coef_.shape != (rows, words) or model.intercept_.shape != (rows,):
        shape = f"{model.coef_.shape} and {model.intercept_.shape}"
        return (
            f"its numbers are {shape}, and {n} classes of {words:,} words need {rows} by {words:,}"
        )
    if not (np.isfinite(model.coef_).all() and np.isfinite(model.intercept_).all()):
        return "its numbers are NaN or infinite"
    if described.get("checksum") not in (None, _checksum(described)):
        return "its file isn't as it was written, for its checksum is another"
    return ""


def stored_facts(folder: str | Path) -> Mapping[str, Any]:
    """Return the facts of a saved baseline; empty where there is none that can be loaded."""
    described = _described(Path(folder))
    facts: Mapping[str, Any] = described.get("facts", {}) if "model" in described else {}
    return facts


def _described(folder: Path) -> Mapping[str, Any]:
    """Return what a folder's file says; nothing where there is no file, or no whole one."""
    try:
        described = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return described if isinstance(described, dict) else {}


def fit_baseline(
    texts: pd.Series[Any],
    labels: Iterable[Any],
    *,
    ngram_range: tuple[int, int] = (1, 1),
    c: float = 0.001,
    solver: str = "liblinear",
    max_iter: int = 100,
) -> Baseline:
    """Fit word counts and logistic regression to texts and their labels.

    The order of rows changes no probability by more than rounding.

    Parameters
    ----------
    texts
        ``[n]`` strings; a null text has no words.
    labels
        ``[n]`` labels, none null.
    ngram_range
        The shortest and longest runs of words counted.
    c
        Inverse strength of the L2 penalty.
    solver, max_iter
        As LogisticRegression takes them; ``liblinear`` is for two classes.

    Raises
    ------
    DatasetError
        If there are fewer than two labels.
    SettingError
        If there are more than the solver can tell apart.
    DatasetError
        If the texts hold no words.

    Examples
    --------
    >>> texts = pd.Series(["free money", "nice song", "free phones", None], name="text")
    >>> baseline = fit_baseline(texts, [1, 0, 1, 0], c=1.0)
    >>> baseline.classes, baseline.text
    ((0, 1), 'text')
    >>> baseline.predict_proba(pd.Series(["free!", None])).shape
    (2, 2)
    """
    y = np.array(list(labels))
    classes = np.unique(y).tolist()
    if len(classes) <= 1:
        there = f"only the label {listed(classes)}" if classes else "no label"
        raise DatasetError(
            f"the baseline can't be trained: its rows have {there}, and it takes two classes; "
            "check the label column and the training split"
        )
    if solver == "liblinear" and len(classes) > 2:  # noqa: PLR2004
        raise SettingError(
            f"the solver {solver!r} tells two classes apart and the training labels have "
            f"{len(classes)}; use 'lbfgs'"
        )
    words, filled = CountVectorizer(ngram_range=ngram_range), _filled(texts)
    if not any(map(words.build_analyzer(), filled)):
        raise DatasetError(
            "the baseline can't be trained: no word of two letters or more in column "
            f"{str(texts.name)!r} ({int(texts.isna().sum())} of {len(texts)} training texts are "
            "null); check the text column"
        )
    counts = words.fit_transform(filled)
    model = LogisticRegression(C=c, solver=solver, max_iter=max_iter).fit(counts, y)
    return Baseline(words, model, str(texts.name))


def predictor(
    baseline: Baseline, text: str, n_classes: int
) -> Callable[[pa.RecordBatch], Sequence[np.ndarray]]:
    """Return a function that scores rows, with a column for every class of a project.

    Parameters
    ----------
    baseline
        Fitted to positions of classes.
    text
        The text column.
    n_classes
        How many classes there are.
    """

    def predict(rows: pa.RecordBatch) -> Sequence[np.ndarray]:
        texts = pd.Series(rows.column(text).to_pylist(), dtype=object)
        prob = np.zeros((len(texts), n_classes))
        prob[:, list(baseline.classes)] = baseline.predict_proba(texts)
        return [prob]

    return predict


def _filled(texts: pd.Series[Any]) -> pd.Series[Any]:
    return texts.astype(object).where(texts.notna(), "")
