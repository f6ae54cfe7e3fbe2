"""The model that slices are compared on: logistic regression of word counts, or of columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from engine.arrow.numbers import ColumnNumbers, is_number
from engine.arrow.rows import Rows, column_of
from engine.errors import CheckpointError, DatasetError, InputError, SettingError, listed
from engine.metrics.classes import different
from engine.penalty import Choice, choose
from engine.storage.texts import replace_text

FORMAT = 1
_FILE, _OLD_FILE = "baseline.json", "pipeline.joblib"


@dataclass(frozen=True)
class Words:
    """The words of a text column as a model reads them.

    Attributes
    ----------
    counter
        The CountVectorizer.
    column
        The name of the text column.
    """

    counter: CountVectorizer
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that it reads."""
        return (self.column,)

    @property
    def width(self) -> int:
        """How many words there are."""
        return len(self.counter.vocabulary_)

    def matrix(self, texts: Any) -> Any:
        """Count the words of texts, a Series or a table that has them; sparse ``[n, words]``."""
        return self.counter.transform(_texts_of(texts, self.column))

    def described(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        counter = self.counter
        vocabulary = sorted(counter.vocabulary_, key=counter.vocabulary_.__getitem__)
        words = {"ngram_range": counter.ngram_range, "vocabulary": vocabulary}
        return {"text": self.column, "words": words}

    def __str__(self) -> str:
        counted = [(w, int(n)) for w, n in sorted(self.counter.vocabulary_.items())]
        return repr(counted)


class Columns(ColumnNumbers):
    """Columns of a table as a model reads them: numbers standardised, a feature per level."""

    def matrix(self, rows: Any) -> Any:
        """Return a table's columns as sparse ``[n, width]``."""
        at, rows = np.arange(len(rows)), _with_nulls(rows)
        parts = [
            csr_matrix(np.concatenate([np.empty((len(rows), 0)), *self.numeric(rows)], axis=1))
        ]
        for category, level in zip(self.categories, self.levels(rows), strict=True):
            shape = len(rows), len(category.levels) + 2
            parts.append(csr_matrix((np.ones(len(rows)), (at, level)), shape))
        return hstack(parts, format="csr")

    def described(self) -> dict[str, Any]:
        """Return what JSON holds of it."""
        return {"columns": self.to_json()}

    def __str__(self) -> str:
        return repr(self)


@dataclass(frozen=True)
class Baseline:
    """A fitted LogisticRegression, with what it reads and tells apart.

    Attributes
    ----------
    inputs
        What turns rows into the model's numbers: counts of words, or columns.
    model
        The LogisticRegression.
    choice
        How its C was chosen; None where somebody set it.
    """

    inputs: Words | Columns
    model: LogisticRegression
    choice: Choice | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return self.inputs.columns

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels, in the order of the columns of :meth:`predict_proba`."""
        return tuple(self.model.classes_.tolist())

    @property
    def fitted(self) -> str:
        """A digest of what was fitted."""
        digest = hashlib.sha256(str(self.inputs).encode())
        for numbers in (self.model.classes_, self.model.coef_, self.model.intercept_):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()[:16]

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Return the probability of each class; ``[n, classes]`` float64.

        Parameters
        ----------
        rows
            A table with its columns, of pandas or pyarrow; for words also a Series of texts.
        """
        if not len(rows):  # scikit-learn refuses to predict nothing
            return np.empty((0, len(self.classes)))
        prob = self.model.predict_proba(self.inputs.matrix(rows))
        return np.asarray(prob, dtype=np.float64)

    def by_position(self, rows: Any, n_classes: int) -> np.ndarray:
        """Return the probability of every class of a project; ``[n, n_classes]`` float64.

        Parameters
        ----------
        rows
            As :meth:`predict_proba` takes them.
        n_classes
            How many classes there are; the model was fitted to positions of some of them.
        """
        prob = np.zeros((len(rows), n_classes))
        prob[:, list(self.classes)] = self.predict_proba(rows)
        return prob

    def save(self, folder: str | Path, facts: Mapping[str, Any] | None = None) -> bool:
        """Write the model as JSON, with ``facts`` about it.

        Returns
        -------
        bool
            Whether anything was written: the same model about the same facts is left as it is.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        model = self.model
        described = {
            "format": FORMAT,
            "classes": self.classes,
            "scikit_learn": sklearn.__version__,
            "fitted": self.fitted,
            "facts": dict(facts or {}),
            **self.inputs.described(),
            **({"choice": asdict(self.choice)} if self.choice else {}),
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
        regression = LogisticRegression(**model)
        regression.classes_ = np.array(described["classes"])
        regression.coef_, regression.intercept_ = coef, intercept
        choice = described.get("choice")
        if choice:
            choice = Choice(choice["c"], tuple(choice["losses"]), choice["rows"])
        return cls(_inputs_of(described), regression, choice)


def _inputs_of(described: Mapping[str, Any]) -> Words | Columns:
    if "columns" in described:
        return Columns.from_json(described["columns"])
    words = described["words"]
    shortest, longest = words["ngram_range"]
    counter = CountVectorizer(ngram_range=(shortest, longest), vocabulary=words["vocabulary"])
    counter.fit([])  # which takes the vocabulary that it was made with
    return Words(counter, described["text"])


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
    rows, width = (1 if n == 2 else n), baseline.inputs.width  # noqa: PLR2004
    if model.coef_.shape != (rows, width) or model.intercept_.shape != (rows,):
        shape, what = f"{model.coef_.shape} and {model.intercept_.shape}", "words"
        if isinstance(baseline.inputs, Columns):
            what = "features"
        return (
            f"its numbers are {shape}, and {n} classes of {width:,} {what} need {rows} by {width:,}"
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
    rows: pd.Series[Any] | Rows,
    labels: Iterable[Any],
    *,
    ngram_range: tuple[int, int] = (1, 1),
    c: float | None = None,
    solver: str = "lbfgs",
    max_iter: int = 1000,
) -> Baseline:
    """Fit logistic regression to texts, or to columns, and their labels.

    The order of rows changes no probability by more than rounding.

    Parameters
    ----------
    rows
        ``[n]`` strings, whose words are counted; a null text has no words. Or a table, of pandas or
        pyarrow: its numbers and booleans are standardised, and of all other columns each of the 100
        most frequent values is a feature.
    labels
        ``[n]`` labels, none null.
    ngram_range
        The shortest and longest runs of words counted.
    c
        Inverse strength of the L2 penalty; by default that of :data:`engine.penalty.GRID` with the
        best log loss in a cross-validation, which costs 18 fits of 10,000 rows at most.
    solver, max_iter
        As LogisticRegression takes them; ``liblinear`` is for two classes.

    Raises
    ------
    DatasetError
        If there are fewer than two labels.
    SettingError
        If there are more than the solver can tell apart.
    DatasetError
        If the texts hold no words, or the table has no column that can be read.

    Examples
    --------
    >>> texts = pd.Series(["free money", "nice song", "free phones", None], name="text")
    >>> baseline = fit_baseline(texts, [1, 0, 1, 0], c=1.0)
    >>> baseline.classes, baseline.columns
    ((0, 1), ('text',))
    >>> baseline.predict_proba(pd.Series(["free!", None])).shape
    (2, 2)
    >>> people = pd.DataFrame({"age": [20, 60, 30, 70], "city": ["Oslo", "Rome", "Rome", "Oslo"]})
    >>> fit_baseline(people, [0, 1, 0, 1]).columns
    ('age', 'city')
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
    inputs = _words(rows, ngram_range) if isinstance(rows, pd.Series) else _columns(rows)
    numbers = inputs.matrix(rows)

    def regression(c: float | None) -> LogisticRegression:
        return LogisticRegression(C=c, solver=solver, max_iter=max_iter)

    with threadpool_limits(1, user_api="blas"):  # its threads cost more than these sums
        choice = choose(numbers, y, _hashes(rows), regression) if c is None else None
        model = regression(choice.c if choice else c).fit(numbers, y)
    return Baseline(inputs, model, choice)


def _words(texts: pd.Series[Any], ngram_range: tuple[int, int]) -> Words:
    counter, filled = CountVectorizer(ngram_range=ngram_range), _filled(texts)
    if not any(map(counter.build_analyzer(), filled)):
        raise DatasetError(
            "the baseline can't be trained: no word of two letters or more in column "
            f"{str(texts.name)!r} ({int(texts.isna().sum())} of {len(texts)} training texts are "
            "null); check the text column"
        )
    return Words(counter.fit(filled), str(texts.name))


def _columns(rows: Rows) -> Columns:
    """Fit columns: numbers and booleans are numeric, all others categories."""
    table = _with_nulls(rows)
    if not table.column_names:
        raise DatasetError(
            "the baseline can't be trained: there is no column to read; name some in "
            "baseline.columns, or set text"
        )
    of_numbers = [name for name in table.column_names if is_number(column_of(table, name).type)]
    return Columns.fit(table, of_numbers, [n for n in table.column_names if n not in of_numbers])


def _with_nulls(rows: Rows) -> Rows:
    """Return a table of Arrow: what is NaN in pandas is null."""
    is_frame = isinstance(rows, pd.DataFrame)
    return pa.Table.from_pandas(rows, preserve_index=False) if is_frame else rows


def _hashes(rows: pd.Series[Any] | Rows) -> np.ndarray:
    """Return a hash of each row's contents, ``[n]``."""
    contents = _filled(rows) if isinstance(rows, pd.Series) else rows
    frame = contents.to_pandas() if isinstance(contents, pa.Table) else contents
    return np.asarray(pd.util.hash_pandas_object(frame, index=False).to_numpy())


def predictor(
    baseline: Baseline, n_classes: int
) -> Callable[[pa.RecordBatch], Sequence[np.ndarray]]:
    """Return a function that scores rows, with a column for every class of a project.

    Parameters
    ----------
    baseline
        Fitted to positions of classes.
    n_classes
        How many classes there are.
    """

    def predict(rows: pa.RecordBatch) -> Sequence[np.ndarray]:
        return [baseline.by_position(rows, n_classes)]

    return predict


def _texts_of(rows: Any, column: str) -> pd.Series[Any]:
    if isinstance(rows, pa.RecordBatch | pa.Table):
        return _filled(pd.Series(rows.column(column).to_pylist(), dtype=object))
    return _filled(rows[column] if isinstance(rows, pd.DataFrame) else rows)


def _filled(texts: pd.Series[Any]) -> pd.Series[Any]:
    return texts.astype(object).where(texts.notna(), "")
