"""The sample that one project's classifier is trained on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import ColumnError
from engine.masks.checks import no_rows, quoted
from engine.masks.reader import read_masks
from engine.masks.splits import ALL, Split, split_name, split_sql
from engine.metrics.classes import class_position
from engine.project.settings import Project
from engine.sampling import (
    BY_CLASS,
    LABEL,
    SPLIT,
    VALUE,
    Counts,
    P,
    Quota,
    check_groups,
    class_counts,
    collect,
    counted,
    draw,
    hash_split,
    stored_counts,
)
from engine.sql import name_sql
from engine.storage.lineage import Snapshot
from engine.storage.runs import Runs

_log = logging.getLogger(__name__)


def mask_column(slice_id: str) -> str:
    """Name a slice's column in the sample; a column of the source may have the slice's id."""
    return f"_mask_{slice_id}"


def check_sample_names(table: str, columns: Sequence[str]) -> None:
    """Check that no column has a name that the sample uses itself.

    Raises
    ------
    ColumnError
        With the first that has.
    """
    own = (P, SPLIT, LABEL, VALUE, BY_CLASS)
    for column in columns:
        if column.lower() in own or column.lower().startswith(mask_column("")):
            raise ColumnError(
                f"{table}: {column!r} can't be a key or an input of the classifier, as the sample "
                "has a column of that name; rename it in the source"
            )


def slice_counts(
    project: Project,
    masks: Snapshot,
    coverage: DataFrame | None,
    ids: Sequence[str],
) -> dict[Split, Counts]:
    """Return rows and slices of the splits to sample: as labelling stored them, else counted.

    Parameters
    ----------
    project
        The project.
    masks
        The mask table.
    coverage
        The coverage table, if there is one.
    ids
        The slices.
    """
    counts = stored_counts(coverage, masks.identity, ids) if coverage is not None else {}
    # An earlier version of the engine counted rows whose split is null as those of 'null'.
    unsure = "null" in counts and None not in counts and {None, "null"} & {*project.training_splits}
    if not counts or unsure:
        _log.warning(
            "the coverage table has no counts of version %s of the mask table: counting its slices",
            masks.version,
        )
        counts = counted(masks.df, ids, project.split)
    if project.split:
        return {name: counts[name] for name in project.training_splits if name in counts}
    return {n: counts[ALL].times(getattr(project.sample.shares, n)) for n in ("train", "valid")}


def draw_sample(
    runs: Runs,
    project: Project,
    masks: Snapshot,
    source: Snapshot,
    ids: Sequence[str],
    inputs: Sequence[str],
) -> dict[str, pa.Table]:
    """Return what :func:`training_sample` returns, by the counts that labelling stored.

    Parameters
    ----------
    runs, project
        The project, and its tables as they count.
    masks, source
        The mask table and its source.
    ids
        The slices.
    inputs
        The columns that features read.

    Raises
    ------
    TableError
        If the training split has no rows, or none with a label.
    ColumnError
        If a column has a name that the sample uses itself.
    """
    check_sample_names(source.name, [*project.join_columns, *inputs])
    coverage = runs.find(project.place("coverage"))
    counts = slice_counts(project, masks, coverage.df if coverage else None, ids)
    split = project.training_splits[0]
    shown = "null" if split is None else repr(split)
    if split not in counts:
        raise no_rows(masks.name, f"{project.split} is {shown}")
    sample = training_sample(project, masks.df, source.df, counts, inputs)
    if not sample["train"].num_rows:
        raise no_rows(source.name, f"the split is {shown} and {project.label} is not null")
    return sample


def sample_digest(sample: Mapping[str, pa.Table]) -> str:
    """Return a digest of a sample's rows.

    Examples
    --------
    >>> rows = pa.table({"id": [1, None]})
    >>> sample_digest({"train": rows}) == sample_digest({"valid": rows})
    False
    >>> sample_digest({"train": rows}) == sample_digest({"train": rows.slice(0, 0)})
    False
    """
    digest = hashlib.sha256()
    for split, rows in sorted(sample.items()):
        whole = rows.take(pa.array(range(rows.num_rows), pa.int64())).combine_chunks()
        digest.update(f"{split} {whole.schema.to_string()}\n".encode())
        for column in whole.columns:
            for buffer in (b for chunk in column.chunks for b in chunk.buffers()):
                digest.update(b"-" if buffer is None else buffer)
    return digest.hexdigest()[:16]


def training_sample(
    project: Project,
    masks: DataFrame,
    source: DataFrame,
    counts: Mapping[Split, Counts],
    inputs: Sequence[str],
) -> dict[str, pa.Table]:
    """Draw the sample and bring it to the driver; a table each for ``train`` and ``valid``.

    A table has the key, ``inputs``, the group, a mask per slice (:func:`mask_column`), ``_label``
    (class position) and ``sample_p``; rows without a label are left out, for they teach nothing.

    Parameters
    ----------
    project
        The project.
    masks, source
        The mask table and its source.
    counts
        What :func:`slice_counts` gave; its slices are those of the sample.
    inputs
        The columns that features read.

    Raises
    ------
    SampleError
        If a group has rows in two splits.
    TableError
        If a label is none of the classes.
    SampleError
        If the sample would not fit.
    """
    wanted, key, on = project.sample, project.key, project.join_columns
    group = [wanted.group] if wanted.group else []  # by which training may hold rows out
    columns = map(quoted, dict.fromkeys([*on, *inputs, *group]))
    table, label = project.source.table, str(project.label)
    of_source, of_masks = _split_of(project, source), _split_of(project, masks)
    if wanted.group and project.split:
        check_groups(source, table, wanted.group, of_source)
    kind = source.schema[label].dataType.simpleString()
    position = F.expr(class_position(name_sql(label), kind, project.classes)).alias(LABEL)
    key_columns, value = map(quoted, key), quoted(label).alias(VALUE)
    labels = source.select(*key_columns, of_source.alias(SPLIT), position, value)
    classes = class_counts(labels, table, label, project.classes)
    full = {split: replace(c, classes=classes.get(split, ())) for split, c in counts.items()}
    quota = Quota(wanted.per_slice, wanted.overall, wanted.per_class, wanted.kind)
    chances = {split: quota.chances(c) for split, c in full.items()}
    drawn = draw(masks, key, chances, project.seed, of_masks, labels)
    mask, most = read_masks(masks).mask, sum(quota.expected(c) for c in full.values())
    slices = [mask(s).alias(mask_column(s)) for s in next(iter(counts.values())).slices]
    _log.info(
        "sampling %s: at most about %s of %s rows",
        " and ".join(map(split_name, full)),
        f"{most:,}",
        f"{sum(c.rows for c in full.values()):,}",
    )
    sample = collect(
        drawn.select(*map(quoted, on), *slices, P, SPLIT),
        source.select(*columns, position).where(f"{LABEL} >= 0"),
        on,
        most,
        wanted.budget_mb,
    )
    roles = zip(("train", "valid"), project.training_splits, strict=True)
    # To be in a list of one is to equal it, and null is in a list of null.
    lists = {role: pa.array([split], sample[SPLIT].type) for role, split in roles}
    return {role: sample.filter(pc.is_in(sample[SPLIT], one)) for role, one in lists.items()}


def _split_of(project: Project, df: DataFrame) -> Column:
    if project.split:
        return F.expr(split_sql(project.split))
    shares = project.sample.shares.model_dump()
    return hash_split(df, project.key, shares, project.seed, project.sample.group)
