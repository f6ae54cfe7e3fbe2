"""The model that slices are compared on: word counts and logistic regression."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from engine.errors import (
    BaselineMissingError,
    BinarySolverError,
    NoWordsError,
    SingleClassError,
)

_MODEL, _FACTS = "pipeline.joblib", "baseline.json"


@dataclass(frozen=True)
class Baseline:
    """A fitted scikit-learn pipeline, with what it reads and what it tells apart.

    Attributes
    ----------
    pipeline
        CountVectorizer and LogisticRegression.
    classes
        The labels, in the order of the columns of :meth:`predict_proba`.
    text
        The name of the text column.
    """

    pipeline: Pipeline
    classes: tuple[Any, ...]
    text: str

    @property
    def fitted(self) -> str:
        """A digest of what was fitted; the file has addresses in it, which differ each time."""
        words, model = self.pipeline[0], self.pipeline[-1]
        found = hashlib.sha256(
            repr([(w, int(n)) for w, n in sorted(words.vocabulary_.items())]).encode()
        )
        for numbers in (model.classes_, model.coef_, model.intercept_):
            found.update(np.ascontiguousarray(numbers).tobytes())
        return found.hexdigest()[:16]

    def predict_proba(self, texts: pd.Series[Any]) -> np.ndarray:
        """Return the probability of each class; ``[n, classes]`` float64."""
        if texts.empty:  # scikit-learn refuses to predict nothing
            return np.empty((0, len(self.classes)))
        return np.asarray(self.pipeline.predict_proba(_words(texts)), dtype=np.float64)

    def save(self, folder: str | Path, facts: Mapping[str, Any] | None = None) -> bool:
        """Write the pipeline (joblib), and beside it as JSON what it is and ``facts`` about it.

        Returns
        -------
        bool
            Whether anything was written: the same model about the same facts is left as it is.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        described = {
            "classes": self.classes,
            "text": self.text,
            "scikit_learn": sklearn.__version__,
            "fitted": self.fitted,
            "facts": dict(facts or {}),
        }
        about, file = json.dumps(described, indent=2) + "\n", folder / _FACTS
        if _whole(folder) and file.read_text(encoding="utf-8") == about:
            return False
        joblib.dump(self.pipeline, folder / _MODEL)
        file.write_text(about, encoding="utf-8")
        return True

    @classmethod
    def load(cls, folder: str | Path) -> Baseline:
        """Read a saved baseline. joblib runs what a file says: load only files that you trust.

        Raises
        ------
        BaselineMissingError
            If there is none in the folder.
        """
        folder = Path(folder)
        if not _whole(folder):
            raise BaselineMissingError(folder)
        described = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        pipeline = joblib.load(folder / _MODEL)
        return cls(pipeline, tuple(described["classes"]), described["text"])


def stored_facts(folder: str | Path) -> Mapping[str, Any]:
    """Return the facts of a saved baseline without loading it; empty where there is none."""
    if not _whole(Path(folder)):
        return {}
    try:
        described = json.loads((Path(folder) / _FACTS).read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return described.get("facts", {}) if isinstance(described, dict) else {}


def _whole(folder: Path) -> bool:
    return (folder / _FACTS).is_file() and (folder / _MODEL).is_file()


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
    SingleClassError
        If there are fewer than two labels.
    BinarySolverError
        If there are more than the solver can tell apart.
    NoWordsError
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
    found = np.unique(y).tolist()
    if len(found) <= 1:
        raise SingleClassError(found)
    if solver == "liblinear" and len(found) > 2:  # noqa: PLR2004
        raise BinarySolverError(solver, len(found))
    pipeline = make_pipeline(
        CountVectorizer(ngram_range=ngram_range),
        LogisticRegression(C=c, solver=solver, max_iter=max_iter),
    )
    words = _words(texts)
    if not any(map(pipeline[0].build_analyzer(), words)):
        raise NoWordsError(str(texts.name), len(texts), int(texts.isna().sum()))
    pipeline.fit(words, y)
    return Baseline(pipeline, tuple(found), str(texts.name))


def _words(texts: pd.Series[Any]) -> pd.Series[Any]:
    return texts.astype(object).where(texts.notna(), "")
