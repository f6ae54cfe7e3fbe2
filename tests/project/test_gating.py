"""Which evaluation a gate judges; tables are stood in for by what is read of them."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from engine.errors import GateError, TableError
from engine.project import gating
from engine.project.settings import Project

NEWEST = ("run", dt.datetime(2024, 5, 1, 3, 0), "m", "all", "overall", None, "accuracy", 0.9, 100)


METRICS = SimpleNamespace(name="out/metrics", df=None)


@pytest.fixture
def evaluated(monkeypatch):
    """Return what a gate would judge, given which versions were evaluated."""

    def of(stored, ids=("run",), evaluated=("1", "1"), models=("m",), unknown=(), **settings):
        def rows(df, columns, values):
            if columns[0] == "model_id":
                return [(model, *evaluated) for model in models]
            return [(*NEWEST, "ok", 0.8, 0.95, None, None)] if values == {"run_id": "run"} else []

        monkeypatch.setattr(gating, "rows_with", rows)
        monkeypatch.setattr(gating, "newest_first", lambda _: list(ids))
        project = Project(name="x", root="./out", source={"table": "t"}, key="id", **settings)
        table = SimpleNamespace(name="out/masks", version="1")
        return gating.gate_input(
            SimpleNamespace(
                project=project, runs=SimpleNamespace(find=lambda _: stored), unknown=unknown,
                run_id=lambda: "of now", masks=table, versions={"m": "2"},
                stored={"m": SimpleNamespace(name="out/given")},
            )
        )  # fmt: skip

    return of


AGAIN = "run `python -m jobs.evaluate_slices` first"
SENTENCES = [
    (None, {}, f"there is no evaluation yet in ./out/metrics: {AGAIN}"),
    (METRICS, {"ids": ()}, f"there is no evaluation yet in out/metrics: {AGAIN}"),
    (
        METRICS, {"models": ["old"]},
        "the newest evaluation, of 2024-05-01 03:00, has no figures of model 'm': "
        f"{AGAIN}, or set on_stale: count",
    ),
    (
        METRICS, {},
        "the newest evaluation, of 2024-05-01 03:00, is of version 1 of out/given, which is now 2: "
        f"{AGAIN}, or set on_stale: count",
    ),
    (
        METRICS, {"evaluated": ("1", "2")},
        "the newest evaluation, of 2024-05-01 03:00, is of other settings than the project's: "
        f"{AGAIN}, or set on_stale: count",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("stored", "how", "sentence"), SENTENCES)
def test_an_evaluation_that_is_not_of_now_is_refused(evaluated, stored, how, sentence):
    with pytest.raises(GateError) as raised:
        evaluated(stored, **how)
    assert str(raised.value) == sentence


def test_it_is_judged_and_named_where_the_project_wants_that(evaluated):
    gate = evaluated(METRICS, on_stale="count")
    assert gate.run_id == "run"
    assert gate.note.startswith("the newest evaluation, of 2024-05-01 03:00, is of version 1 of")
    # Of what can't be known to be the same, versions are all that tells.
    assert evaluated(METRICS, evaluated=("1", "2"), unknown=["a view"]).note == ""


def test_what_stops_a_gate_is_no_verdict():
    with pytest.raises(GateError, match=r"^no table$"), gating.judging():
        raise TableError("no table")
