"""What a run would do and cost, in words: of labelling, and of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.masks.coverage import coverage
from engine.metrics.custom import CustomMetric
from engine.metrics.inference.uncertainty import interval_source, needs_replicates
from engine.plain import SENTENCE, plain
from engine.project.evaluating import EvaluationInput
from engine.project.labelling import Labelling


def of_labelling(run: Labelling) -> str:
    """Say where each slice runs and why, what is checked, and what is labelled each time."""
    project, source = run.project, run.source
    key = ", ".join(project.join_columns)
    unique = (
        f"({key}) is checked to be unique: one shuffle of these columns (check_key: off saves it)"
        if project.check_key == "full"
        else f"({key}) is not checked to be unique (check_key: off)"
    )
    files = f" ({source.known_by})" if source.known_by else ""
    again = [f"{why}: labelled again each time, and compared" for why in run.unknown]
    version = f"{source.name} version {source.version}{files}"
    return "\n".join([version, str(run.plan.explain()), unique, *again])


def of_evaluation(data: EvaluationInput) -> str:
    """Say what each metric adds up, where its interval comes from, and what functions cost."""
    spec, masks, certainty = data.spec, data.masks, data.project.certainty
    clustered = certainty.cluster is not None
    n_metrics, models = len(spec.metrics) + len(spec.custom), ", ".join(spec.models)
    lines = [
        f"{masks.name} version {masks.version}: one scan for {n_metrics} metrics, "
        f"{len(spec.slice_ids):,} slices and models {models}"
    ]
    shared = replace(spec, metrics=[]).work().numbers  # the rows, which are counted once
    for m in spec.metrics:
        numbers = max(1, replace(spec, metrics=[m]).work().numbers - shared)
        interval = interval_source(m, spec, clustered)
        lines.append(f"  {m}: {numbers:,} numbers per slice, split and model; interval: {interval}")
    lines += [f"  {c.name}: your state, merged as arrays; no interval" for c in spec.custom]
    lines += _of_functions(data, data.functions)
    n = certainty.replicates
    if n and (needs_replicates(spec, clustered) or len(spec.models) > 1):
        lines.append(f"  {n} bootstrap replicates are drawn in the same scan")
    lines += [SENTENCE] if plain() else []
    return "\n".join(lines)


def _of_functions(data: EvaluationInput, functions: Sequence[CustomMetric]) -> Iterator[str]:
    """Say of metrics that are plain functions how often they make each row travel."""
    if not functions:
        return
    counts = coverage(data.masks.df, data.spec.slice_ids, None)
    rows = counts[0].rows
    times = 1 + sum(c.n_in for c in counts) / max(rows, 1)
    for f in functions:
        yield (
            f"  {f.name}: a plain function, a shuffle of its own: each of {rows:,} rows travels "
            f"{times:.1f} times per model, once for each slice that it is in; no interval "
            "(a class with state, merge and compute would be in the scan)"
        )
