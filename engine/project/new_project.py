"""A new project on disk: its file, and its rows as Parquet, which has types."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import InputError
from engine.project.draft import draft, read_table
from engine.storage.texts import replace_text


def new_project(
    table: str,
    out: str,
    label: str | None = None,
    key: str | None = None,
    predictions: str | None = None,
) -> Path:
    """Write a project for a table; say what was taken for what, and what to do next.

    Parameters
    ----------
    table, predictions
        CSV or Parquet files.
    out
        The folder for the project file, its data and its results.
    label, key
        Those columns, where they are known.

    Raises
    ------
    InputError
        If a file can't be read, or there is a project of that name.
    """
    name = re.sub(r"\W+", "_", Path(table).stem).strip("_") or "project"
    folder = Path(out)
    file, root = folder / f"{name}.yaml", folder / f"{name}_audit"
    if file.exists():
        raise InputError(f"{file} is there already: remove it, or name another folder by --out")
    rows, source = read_table(Path(table)), root / "source.parquet"
    scored = None
    if predictions is not None:
        scored = str(root / "predictions.parquet"), read_table(Path(predictions))
    of = draft(name, rows, str(source), str(root), label, key, scored)
    root.mkdir(parents=True, exist_ok=True)
    of.rows.to_parquet(source, index=False)
    if scored is not None:
        scored[1].to_parquet(scored[0], index=False)
    replace_text(file, of.text)
    for note in of.notes:
        print(note)
    print(f"wrote {file}: read it, then run `slice-engine run --project {file}`")
    return file
