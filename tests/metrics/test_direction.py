"""Which way of a metric is better is known in one place, and all who order, mark or pick ask it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from engine import Confidence, Evaluation, metric
from engine.classifier.monitor import Monitor, SliceRows, find_monitor, slice_figures
from engine.errors import SettingError
from engine.metrics.catalog import KINDS, MetricSpec, better, parse_metric, quality
from engine.metrics.explore.trend import trend
from engine.metrics.inference.significance import mark
from engine.metrics.scan.form import EvaluationSpec, Scan
from engine.metrics.scorer import Scorer
from engine.report import sections
from engine.report.page import render
from tests.report.pages import data_of

LOW = {
    "false_positive_rate", "false_negative_rate", "log_loss", "brier", "ece", "mae", "rmse", "mse",
    "mape",
}  # fmt: skip
NEUTRAL = {"selection_rate", "bias", "mape_undefined", "count", "mean", "null_rate"}
WRITTEN = {
    name: f"{name}@column=x" if "column" in k.parameters else name for name, k in KINDS.items()
}
RATED = [name for name in KINDS if name not in NEUTRAL]


@metric(better="low")
def cost(y_true, y_pred, y_prob, weight):
    return 0.0


def test_every_metric_has_the_direction_that_it_should():
    assert {name for name in KINDS if better(name) == "low"} == LOW
    assert {name for name in KINDS if better(name) == ""} == NEUTRAL
    assert better("recall@threshold=0.3") == "high"
    assert better("ece@bins=10") == "low"
    assert better("cost") == "high"  # it is not the engine's


@pytest.fixture(params=list(KINDS))
def name(request):
    return WRITTEN[request.param]


def figures(name):
    """Figures: those of slice "more" are above all rows', of "less" below, of "same" like them."""
    rows = {
        "slice": ["overall", "more", "less", "same"],
        "value": [0.5, 0.75, 0.3, 0.5],
        "effect": [np.nan, 0.25, -0.3, 0.0],
        "p_adjusted": [np.nan, 0.001, 0.001, 0.9],
    }
    return pd.DataFrame(rows).assign(
        model_id="m", split="t", metric=name, support=90, n_null=0, status="ok", ci_low=0.1,
        ci_high=0.9,
    )  # fmt: skip


def good(name):
    """Return which of the two slices is the better one; None where neither is."""
    return {"high": "more", "low": "less", "": None}[better(name)]


def evaluation(table, name):
    own = [] if name == "cost" else [parse_metric(name)]
    spec = EvaluationSpec(own, ["more", "less", "same"], [0, 1], 1)
    functions = (cost,) if name == "cost" else ()
    return Evaluation(table, spec, Confidence(), Scan({}, {}, {}), None, _functions=functions)


def test_the_worst_slices_are_those(name):
    worst = evaluation(figures(name), name).worst(2)["slice"].tolist()
    assert worst == {"more": ["less", "same"], "less": ["more", "same"]}.get(
        good(name), ["more", "less"]
    )
    order = sections.worst_first(figures(name), name, better(name))
    assert order[:3] == ["overall", *worst]


def test_own_metrics_are_ordered_by_what_they_say():
    found = evaluation(figures("cost"), "cost")
    assert found.better("cost") == "low"
    assert found.worst(1)["slice"].tolist() == ["more"]


def test_marks_say_better_and_worse(name):
    marks = {r["slice"]: mark(r, 0.95, better(name)) for r in figures(name).to_dict("records")}
    more, less = {"more": "+-", "less": "-+"}.get(good(name), "~~")
    assert marks == {"overall": "", "more": more, "less": less, "same": ""}
    shown = sections.figures(figures(name), ["more", "less"], ["m"], "t", 0.95, better)
    assert [r[-1][-1] for r in shown.rows] == [more, less]
    assert all(f"{sign} " in shown.note for sign in more + less)
    differ = sections.differences(figures(name), "t", 0.95, better)
    assert {r[0]: r[4][-1] for r in differ.rows} == {"more": more, "less": less}
    page = data_of(render("p", {}, figures(name), ["m"], better))
    assert [s["id"] for s in page["slices"]] == ["overall", "more", "less", "same"]
    assert page["splits"][0]["marks"] == f" {more}{less} "
    assert page["metrics"] == [{"name": name, "better": better(name)}]


def test_a_comparison_and_a_trend_say_better_and_worse(name):
    about = {"split": "t", "metric": name, "support": 9, "ci_low": 0.1, "ci_high": 0.2}
    found = pd.DataFrame({"slice": ["overall", "a"], "difference": [0.1, -0.1], "p_adjusted": 0.01})
    said = [r[-1] for r in sections.comparison(found.assign(**about), "x", "y", 0.95, better).rows]
    assert said == {"more": ["better", "worse"], "less": ["worse", "better"]}.get(
        good(name), ["different", "different"]
    )
    runs = pd.DataFrame({"run_id": ["1", "2"], "run_ts": [1, 2], "value": [0.5, 0.8],
                         "ci_low": [0.4, 0.7], "ci_high": [0.6, 0.9]})  # fmt: skip
    runs = runs.assign(model_id="m", split="t", slice="a", metric=name, support=9,
                       slice_fingerprint="f", run_ts=pd.to_datetime(runs["run_ts"]))  # fmt: skip
    (row,) = sections.trend(trend(runs), better).rows
    assert row[-2] == {"more": "better", "less": "worse"}.get(good(name), "")
    assert quality(-0.1, better(name)) == {"more": "worse", "less": "better"}.get(good(name), "")


def model_of(scorer):
    return SimpleNamespace(scorer=scorer, task_name="task", head_names=["a"])


LOADER = SimpleNamespace(dataset=SimpleNamespace(name="d", split="valid"))
ROWS = [SliceRows("a", 5, 5)]


@pytest.mark.parametrize("metric_name", RATED)
def test_a_monitor_keeps_the_best_epoch(metric_name):
    written = WRITTEN[metric_name]
    monitor = find_monitor(f"a/{written}", model_of(Scorer([written])), [LOADER], ROWS)
    assert monitor.better == better(written)
    best, at = None, None
    for epoch, value in enumerate([0.5, math.nan, 0.3, 0.7, 0.6]):
        if monitor.beats(value, best):
            best, at = value, epoch
    assert (at, best) == ((3, 0.7) if better(written) == "high" else (2, 0.3))


def test_a_monitor_of_which_neither_is_better_is_refused():
    with pytest.raises(SettingError) as caught:
        find_monitor("overall/selection_rate", model_of(Scorer(["selection_rate"])), [LOADER], ROWS)
    assert str(caught.value) == (
        "monitor 'overall/selection_rate' can't be computed: neither high nor low values of "
        "'selection_rate' are better, so no epoch is the best; it is '<slice>/<metric>' or "
        "'overall/<metric>' on the valid split"
    )


def test_monitors_of_parameters_and_of_own_functions():
    scorer = Scorer(["fbeta@beta=2"], {"cost": cost, "gain": lambda *_: 1.0})
    found = find_monitor("overall/fbeta@beta=2.0", model_of(scorer), [LOADER], ROWS)
    assert (found.keys, found.better) == (("task/d/valid/fbeta@beta=2",), "high")
    assert find_monitor("a/cost", model_of(scorer), [LOADER], ROWS).better == "low"
    assert find_monitor("a/gain", model_of(scorer), [LOADER], ROWS).better == "high"
    assert Monitor("overall/f1", ("k",)).beats(0.5, None)


@pytest.mark.parametrize(("metric_name", "first"), [("f1", "low"), ("log_loss", "high")])
def test_training_shows_the_worst_slices_first(metric_name, first):
    metrics = {f"task/d/valid/{metric_name}": 0.5}
    metrics |= {
        f"task_slice:{s}_pred/d/valid/{metric_name}": v for s, v in (("low", 0.2), ("high", 0.8))
    }
    epoch = SimpleNamespace(metrics=metrics, task_losses={})
    _, lines = slice_figures(epoch, [SliceRows(s, 9, 9) for s in ("high", "low")], "task")
    assert [line[0] for line in lines][:2] == ["overall", first]


def test_specs_and_names_agree():
    assert all(isinstance(parse_metric(w), MetricSpec) for w in WRITTEN.values())
