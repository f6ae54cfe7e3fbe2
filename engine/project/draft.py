"""A project file for a table that nobody has described yet: what its columns seem to be.

``slice-engine init`` looks at a CSV or Parquet file and writes a file that people read and change:
each line says what it rests on. Values are pinned: bins and lists don't move with later rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from engine.errors import InputError, listed, near

_LABELS = ("label", "target", "y", "class", "outcome", "is_spam", "churn", "default", "income")
_SPLITS = ("split", "fold", "partition", "subset")
_TWO = 2
_MOST_CLASSES = 30
_MOST_VALUES = 20  # of a column whose values get a slice each
_MOST_DISTINCT = 1_000  # of a column whose most frequent values do
_BINS = 5  # of a column of numbers, with as many rows each, about
_LEAST_TEXT = 20  # letters of a text, on average
_PARTS = {"train": 0.7, "valid": 0.1, "test": 0.2}
_ADDED_KEY, _ADDED_SPLIT = "row_id", "split"


_SEPARATORS = ",;\t|"


def _read_csv(file: Path) -> pd.DataFrame:
    """Read a CSV file by the separator that its first line has most."""
    with file.open(encoding="utf-8") as lines:
        first = lines.readline()
    return pd.read_csv(file, sep=max(_SEPARATORS, key=first.count))


_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv, ".parquet": pd.read_parquet, ".pq": pd.read_parquet,
}  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """A project file, and the rows that it is over.

    Attributes
    ----------
    text
        The file's text, YAML.
    rows
        The rows, with a key and splits where the table had none.
    notes
        What was taken for what, a line each.
    """

    text: str
    rows: pd.DataFrame
    notes: tuple[str, ...]


@dataclass
class _Columns:
    """What the columns of a table seem to be."""

    key: str
    label: str | None
    split: str | None
    text: str | None
    values: list[str] = field(default_factory=list)
    frequent: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    @property
    def with_roles(self) -> set[str | None]:
        return {self.key, self.label, self.split, self.text}


def read_table(file: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file; names of columns are made such that SQL can say them.

    Raises
    ------
    InputError
        If it is neither, can't be read, or has no rows.
    """
    read = _READERS.get(file.suffix.lower())
    if read is None:
        raise InputError(f"{file} is no table that init reads: give a .csv or a .parquet file")
    try:
        rows = read(file)
    except (OSError, ValueError) as error:  # pandas' and Arrow's errors of a format are ValueErrors
        first = str(error).partition("\n")[0]
        raise InputError(f"{file} can't be read: {first}") from None
    if not len(rows):
        raise InputError(f"{file} has no rows, so nothing can be told of its columns")
    names = [re.sub(r"\W", "_", str(c).strip()).strip("_") or f"column_{i}"
             for i, c in enumerate(rows.columns)]  # fmt: skip
    twice = sorted({n for n in names if [m.lower() for m in names].count(n.lower()) > 1})
    if twice:
        raise InputError(f"{file} has columns of one name ({listed(twice)}): rename them")
    named: pd.DataFrame = rows.set_axis(names, axis=1)
    return named


def draft(
    name: str,
    rows: pd.DataFrame,
    source: str,
    root: str,
    label: str | None = None,
    key: str | None = None,
    predictions: tuple[str, pd.DataFrame] | None = None,
) -> Draft:
    """Return a project file for a table.

    Parameters
    ----------
    name
        The project's.
    rows
        The table, as :func:`read_table` returned it.
    source, root
        Where the rows will be, and the project's tables and reports.
    label, key
        Those columns, where they are known.
    predictions
        Where a model's predictions are, and these.

    Raises
    ------
    InputError
        If a column that is named isn't there.
        If predictions can't be brought together with rows.

    Examples
    --------
    >>> rows = pd.DataFrame({"id": range(6), "age": [20, 30, 40, 50, 60, 70], "label": [0, 1] * 3})
    >>> of = draft("people", rows, "people.parquet", "people")
    >>> yaml.safe_load(of.text)["key"], yaml.safe_load(of.text)["label"]
    ('id', 'label')
    """
    for role, column in (("label", label), ("key", key)):
        if column is not None and column not in rows.columns:
            raise InputError(
                f"there is no column {column!r} for --{role}{near(column, rows.columns)}"
            )
    rows, about, notes = _described(rows, label, key, with_split=predictions is None)
    lines = [
        f"# By `slice-engine init`, of {len(rows):,} rows: read it, and change what is wrong.",
        "",
        _line({"name": name}),
        _line({"root": root}, "tables, models and reports go here"),
        _line({"source": {"table": source, "format": "parquet"}}),
        _line({"key": about.key}, "names a row"),
    ]
    if about.text:
        lines.append(_line({"text": about.text}, "what models read"))
    if about.label:
        lines += _label_lines(rows[about.label], about.label, scored=predictions is not None)
    if about.split:
        lines.append(_line({"split": about.split}))
        if (rows[about.split] == "test").any():
            lines.append(_line({"evaluate_splits": ["test"]}, "no rows that models are fitted to"))
    if predictions is not None:
        lines += _prediction_lines(rows, about, source, *predictions)
    lines += ["", *_slice_lines(rows, about)]
    lines += [
        "",
        "report: {rows: text}          # or keys, or none: what of single rows it shows",
        "",
    ]
    return Draft("\n".join(lines), rows, notes)


def _described(
    rows: pd.DataFrame, label: str | None, key: str | None, with_split: bool
) -> tuple[pd.DataFrame, _Columns, tuple[str, ...]]:
    """Return rows with a key and splits, what their columns seem to be, and notes on it."""
    notes = []
    label = label or _label(rows)
    key = key or _key(rows, label)
    if key is None:
        key = _ADDED_KEY
        rows = rows.assign(**{key: _contents(rows)})
        notes.append(f"no column names a row: {key} was added, a hash of the row's values")
    elif rows[key].isna().any() or rows[key].duplicated().any():
        raise InputError(f"column {key!r} can't be the key: values are missing or there twice")
    split = next((c for c in rows.columns if c.lower() in _SPLITS and c != label), None)
    if split is None and with_split and label is not None:
        split = _ADDED_SPLIT
        rows = rows.assign(**{split: _parts(rows[key])})
        shares = ", ".join(f"{share:.0%} {part}" for part, share in _PARTS.items())
        notes.append(f"rows have no splits: {split} was added by a hash of {key} ({shares})")
    about = _Columns(key, label, split, _text(rows, {key, label, split}))
    for column in rows.columns:
        if column not in about.with_roles:
            _sort(rows[column], column, about)
    for twin, first in _twins(rows, about.values):
        about.values.remove(twin)
        notes.append(f"{twin} says the same as {first}: it has no slices of its own")
    none = "none (--label COLUMN says which)"
    notes.append(f"key: {key}; label: {label or none}; text: {about.text or 'none'}")
    return rows, about, tuple(notes)


def _key(rows: pd.DataFrame, label: str | None) -> str | None:
    """Return the column that names rows: of those that could, one that is called so."""
    could = [c for c in rows.columns if c != label and _names_rows(rows[c])]
    called = [c for c in could if re.fullmatch(r"(?i)id|key|.*_id|.*_key|uuid|index", c)]
    return called[0] if called else None


def _names_rows(column: pd.Series) -> bool:
    exact = not pd.api.types.is_float_dtype(column)
    return bool(exact and column.notna().all() and column.is_unique)


def _contents(rows: pd.DataFrame) -> list[str]:
    """Return a hash of each row's values; equal rows are counted."""
    hashes = pd.util.hash_pandas_object(rows, index=False)
    nth = hashes.groupby(hashes).cumcount()
    return [f"{h:016x}" if not n else f"{h:016x}-{n + 1}" for h, n in zip(hashes, nth, strict=True)]


def _parts(key: pd.Series) -> np.ndarray:
    """Return the split of each row, by a hash of its key."""
    drawn = pd.util.hash_pandas_object(key, index=False).to_numpy(np.uint64) / 2.0**64
    ends = np.cumsum(list(_PARTS.values()))[:-1]
    return np.array(list(_PARTS), object)[np.searchsorted(ends, drawn, "right")]


def _label(rows: pd.DataFrame) -> str | None:
    """Return the column of classes: one that is called so, else the last one of few values."""
    called = {c.lower(): c for c in reversed(list(rows.columns))}
    named = next((called[name] for name in _LABELS if name in called), None)
    last = str(rows.columns[-1])
    few = _TWO <= rows[last].nunique() <= min(_MOST_VALUES, len(rows) / _TWO)
    return named or (last if few and last.lower() not in _SPLITS else None)


def _text(rows: pd.DataFrame, others: set[str | None]) -> str | None:
    """Return the column of free text: the longest, if most of its values differ."""
    lengths = {}
    for c in rows.columns:
        if c not in others and _is_text(rows[c]) and rows[c].nunique() > 0.5 * len(rows):
            lengths[c] = float(rows[c].dropna().astype(str).str.len().mean())
    longest = max(lengths, key=lengths.__getitem__, default=None)
    return longest if longest is not None and lengths[longest] >= _LEAST_TEXT else None


def _is_text(column: pd.Series) -> bool:
    return bool(pd.api.types.is_string_dtype(column) and not pd.api.types.is_numeric_dtype(column))


def _sort(column: pd.Series, name: str, about: _Columns) -> None:
    """Put a column to those whose values, frequent values or bins get slices."""
    distinct = column.nunique()
    if distinct < _TWO:
        return
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if distinct <= _MOST_VALUES and not pd.api.types.is_float_dtype(column):
        about.values.append(name)
    elif number:
        about.numbers.append(name)
    elif _is_text(column) and distinct <= min(_MOST_DISTINCT, len(column) / 10):
        about.frequent.append(name)


def _twins(rows: pd.DataFrame, columns: list[str]) -> list[tuple[str, str]]:
    """Return columns that part rows as one before them does, and which that is."""
    parts: dict[tuple[int, ...], str] = {}
    twins = []
    for c in columns:
        codes, _ = pd.factorize(rows[c])
        first = parts.setdefault(tuple(codes.tolist()), c)
        if first != c:
            twins.append((c, first))
    return twins


def _label_lines(label: pd.Series, name: str, scored: bool) -> list[str]:
    values = label.dropna()
    numbers = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if numbers and values.nunique() > _MOST_CLASSES:
        return [_line({"label": name}), _line({"metrics": ["mae", "rmse", "bias"]})]
    counts = values.value_counts()
    classes = sorted((_plain(v) for v in counts.index), key=lambda v: (str(type(v)), v))
    lines = [_line({"label": name}), _line({"classes": classes})]
    if len(classes) != _TWO:
        return [*lines, _line({"metrics": ["accuracy", "f1_macro"]})]
    positive = classes[1] if classes in ([0, 1], [False, True]) else _plain(counts.index[-1])
    metrics = ["accuracy", "precision", "recall", "f1", *([] if scored else ["roc_auc"])]
    about = "what precision and recall are about"
    return [*lines, _line({"positive": positive}, about), _line({"metrics": metrics})]


def _prediction_lines(
    rows: pd.DataFrame, about: _Columns, source: str, table: str, predictions: pd.DataFrame
) -> list[str]:
    """Return how predictions are read: their key, predicted class, and probability if any."""
    if about.key not in predictions.columns:
        raise InputError(
            f"the predictions have no column {about.key!r}, which names rows: add it, or say with "
            "--key which column of both does"
        )
    others = [c for c in predictions.columns if c != about.key]
    called = {c.lower(): c for c in reversed(others)}
    names = ("pred", "prediction", "predicted", "predicted_class", "y_pred", "model")
    pred = next((called[n] for n in names if n in called), None)
    pred = pred or (others[0] if len(others) == 1 else None)
    if pred is None:
        raise InputError(
            f"which column is the prediction isn't clear ({listed(others)}): name it 'pred'"
        )
    columns = {} if pred == "pred" else {"pred": pred}
    probs = ("prob", "probability", "score", "proba", "y_score")
    prob = next((called[n] for n in probs if n in called), None)
    if prob is not None and prob != "prob":
        columns["prob"] = prob
    model: dict[str, Any] = {"table": table, "format": "parquet"}
    if columns:
        model["columns"] = columns
    if about.label and about.label not in predictions.columns:
        model["label"] = {"table": source, "column": about.label, "format": "parquet"}
    elif about.label and about.label != "label":
        model.setdefault("columns", {})["label"] = about.label
    missing = int((~rows[about.key].isin(predictions[about.key])).sum())
    lines = [_line({"predictions": {"model": model}})]
    if missing:
        note = f"{missing:,} rows have none"
        lines.append(_line({"missing_predictions": "count"}, note))
    return lines


def _slice_lines(rows: pd.DataFrame, about: _Columns) -> list[str]:
    lines: list[str] = []
    by = [{"column": c} for c in about.values] + [{"column": c, "top": 10} for c in about.frequent]
    few = sorted(about.values, key=lambda c: rows[c].nunique())[:2]
    if len(few) == _TWO:
        by.append({"columns": few, "top": _MOST_VALUES})
    if by:
        lines += [
            "by:                           # a slice per value; null and other values one each"
        ]
        lines += [f"  - {_flow(one)}" for one in by]
    slices = [s for c in about.numbers for s in _bins(rows[c], c)]
    if about.text:
        slices += _lengths(rows[about.text], about.text)
    if slices:
        lines += [f"{'slices:':<30}# edges are those of a fifth of the rows each"]
        lines += [f"  - {_flow(one)}" for one in slices]
    return lines or ["# No column has few enough values for slices: write some under slices:"]


def _bins(column: pd.Series, name: str) -> list[dict[str, str]]:
    """Return slices of a column of numbers: bins of about as many rows, and rows without one."""
    shares, least = np.arange(1, _BINS) / _BINS, _plain(column.min())
    quantiles = column.dropna().quantile(shares, interpolation="lower")
    edges = sorted(edge for edge in {_short(_plain(e)) for e in quantiles} if edge > least)
    quoted = f"`{name}`"
    if not edges:  # most rows have one value
        return [
            {"name": f"{name} {least}", "where": f"{quoted} = {least}"},
            {"name": f"{name} above {least}", "where": f"{quoted} > {least}"},
        ]
    slices = []
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        inside = column.between(
            -np.inf if low is None else low, np.inf if high is None else high, inclusive="left"
        )
        if inside.any():
            tests = [f"{quoted} {sign} {end}" for sign, end in ((">=", low), ("<", high))
                     if end is not None]  # fmt: skip
            slices.append({"name": f"{name} {_bin(low, high)}", "where": " AND ".join(tests)})
    if column.isna().any():
        slices.append({"name": f"{name} missing", "where": f"{quoted} IS NULL"})
    return slices


def _bin(low: Any, high: Any) -> str:
    """Return a bin's name, in which ids keep the sign of a number.

    Examples
    --------
    >>> _bin(None, -0.5), _bin(-0.5, 3), _bin(3, None)
    ('below minus 0.5', 'minus 0.5 to 3', 'from 3')
    """
    start, end = (f"minus {-edge}" if edge and edge < 0 else str(edge) for edge in (low, high))
    if low is None:
        return f"below {end}"
    return f"from {start}" if high is None else f"{start} to {end}"


def _short(edge: Any) -> Any:
    """Return an edge with three digits that count; whole numbers as they are.

    Examples
    --------
    >>> _short(-0.041176166918895155), _short(1234.5), _short(196338)
    (-0.0412, 1230.0, 196338)
    """
    return float(f"{edge:.3g}") if isinstance(edge, float) else edge


def _lengths(column: pd.Series, name: str) -> list[dict[str, str]]:
    lengths = column.dropna().astype(str).str.len()
    short, long = (int(lengths.quantile(q)) for q in (0.1, 0.9))
    return [
        {"name": f"short {name}", "where": f"length(`{name}`) <= {short}"},
        {"name": f"long {name}", "where": f"length(`{name}`) > {long}"},
    ]


def _plain(value: Any) -> Any:
    """Return a value as Python and YAML have it."""
    return value.item() if isinstance(value, np.generic) else value


def _line(setting: Mapping[str, Any], note: str = "") -> str:
    text = _flow(setting)[1:-1]
    return f"{text:<29} # {note}" if note else text


def _flow(value: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(
        dict(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.rstrip("\n")
