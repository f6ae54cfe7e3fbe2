"""What models read where the project doesn't say: the columns of its source that have no role."""

from __future__ import annotations

from pyspark.sql.types import StructType

from engine.classifier.defaults import WORDS
from engine.project.settings import Project

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "boolean")


def free_columns(project: Project, schema: StructType) -> dict[str, list[str]]:
    """Return the columns without another role: ``numeric`` ones, and texts as ``category``.

    Columns of dates, times, lists and other types are left out.
    """
    roles = {project.label, project.split, project.weight, project.sample.group}
    free = [f for f in schema if f.name not in {*roles, *project.join_columns}]
    kinds = {f.name: f.dataType.simpleString().partition("(")[0] for f in free}
    return {
        "numeric": [name for name, kind in kinds.items() if kind in _NUMBERS],
        "category": [name for name, kind in kinds.items() if kind == "string"],
    }


def with_inputs(project: Project, schema: StructType) -> Project:
    """Return a project whose models name what they read: those that didn't read the text, if any.

    Parameters
    ----------
    project
        The project.
    schema
        The source's.
    """
    features, columns = project.classifier.features, project.baseline.columns
    if project.text is None:
        free = free_columns(project, schema)
        features = features or {"kind": "tabular", **free}
        columns = columns or [*free["numeric"], *free["category"]]
    classifier = {"features": features or WORDS}
    return project.model_copy(
        update={
            "classifier": project.classifier.model_copy(update=classifier),
            "baseline": project.baseline.model_copy(update={"columns": columns}),
        }
    )


def baseline_columns(project: Project) -> list[str]:
    """Return the columns that the baseline of a project with inputs reads."""
    columns = project.baseline.columns
    return [str(project.text)] if columns is None else columns
