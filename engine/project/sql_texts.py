"""The SQL texts of a project, which are data: checked before Spark starts, with the run's date."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from engine.errors import PredicateError
from engine.label.predicates import sql_of
from engine.predicates.predicate import read
from engine.project.settings import Project
from engine.slicing.functions import SlicingFunction
from engine.storage.tables import no_choice


def check_slices(project: Project) -> None:
    """Check the predicates of the project file.

    Raises
    ------
    SliceError
        If one isn't taken.
    """
    for one in project.slices:
        if one.where is not None and not one.composed:
            sql_of(one.name, one.where, project.allow_sql_functions)


def partitions(project: Project, where: str | None) -> str | None:
    """Return the predicate that chooses partitions, with the run's date in it.

    Raises
    ------
    TableError
        If it isn't taken.
    """
    if where is None:
        return None
    try:
        predicate = read(where, project.allow_sql_functions)
    except PredicateError as error:
        raise no_choice(where, (), f"it {error}") from None
    return predicate.sql(project.run_date) if predicate.dated else where


def dated(sf: SlicingFunction, project: Project, columns: Sequence[str]) -> SlicingFunction:
    """Return a slice whose SQL, and that of its parts, has the run's date in it.

    Parameters
    ----------
    sf
        The slice.
    project
        The project, which knows the date.
    columns
        The source's columns.
    """
    parts = {slice_id: dated(part, project, columns) for slice_id, part in sf.parts.items()}
    predicate = None if sf.sql is None else sql_of(sf.name, sf.sql)
    same = all(parts[slice_id] is part for slice_id, part in sf.parts.items())
    if same and not (predicate and predicate.dated):
        return sf
    copied = copy.copy(sf)
    copied.parts = parts
    copied.sql = predicate.sql(project.run_date, columns) if predicate else None
    return copied
