"""Figures at any magnitude: rational arithmetic's, and unmoved by powers of two and by shifts."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.arrays import Arrays, slices_of, values_of
from engine.metrics.catalog import parse_metric
from engine.metrics.formulas.families import addends_of, compute
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.formulas.states import OK, OVERFLOW, STATUSES, UNDEFINED, UNDERFLOW, Values
from engine.metrics.inference.uncertainty import Confidence, with_uncertainty
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.kernel import Added, Masks, Work, add, state_of
from engine.metrics.scorer import Scorer
from engine.words import packed
from tests.metrics.scanned import figures as figures_of
from tests.metrics.scanned import scan_of

NUMBERS = ("mae", "mse", "rmse", "bias", "r2", "mape")
DEGREE = {"mae": 1, "mse": 2, "rmse": 1, "bias": 1, "r2": 0, "mape": 0}  # of data times a scale
CLOSE = Fraction(1, 10**9)


def figures(target, predicted, weight=None, metrics=NUMBERS, member=None) -> dict[str, Values]:
    """Return all rows' figure of each metric, or those of one slice."""
    of = Arrays(np.array(target, float), np.array(predicted, float), None, weight)
    member = np.ones(len(target)) if member is None else member
    slices = slices_of(np.rec.fromarrays([np.asarray(member, int)], names="s"))
    found = values_of([parse_metric(m) for m in metrics], of, slices)
    return {str(m): Values(float(v.value[1]), int(v.status[1])) for m, v in found.items()}


def rational(target, predicted, weight=None) -> dict[str, tuple[Fraction | None, int]]:
    """Return figures in rational arithmetic; rmse's square."""
    t, p = ([Fraction(float(x)) for x in of] for of in (target, predicted))
    w = [Fraction(1)] * len(t) if weight is None else [Fraction(float(x)) for x in weight]
    n = sum(w)
    if not n:
        return dict.fromkeys(NUMBERS, (None, OK))

    def mean(of) -> Fraction:
        return sum(a * b for a, b in zip(w, of, strict=True)) / n

    e = [b - a for a, b in zip(t, p, strict=True)]
    squares, middle = mean([x * x for x in e]), mean(t)
    spread = mean([(x - middle) ** 2 for x in t])
    r2 = (1 - squares / spread, OK) if spread else (Fraction(not squares), UNDEFINED)
    shares = [(a, abs(x / y)) for a, x, y in zip(w, e, t, strict=True) if y]
    whole = sum(a for a, _ in shares)
    return {
        "mae": (mean(map(abs, e)), OK),
        "mse": (squares, OK),
        "rmse": (squares, OK),
        "bias": (mean(e), OK),
        "r2": r2,
        "mape": (sum(a * x for a, x in shares) / whole if whole else None, OK),
    }


def assert_rational(target, predicted, weight=None) -> None:
    found, wanted = figures(target, predicted, weight), rational(target, predicted, weight)
    for name, (value, status) in wanted.items():
        if value is None or abs(value) > sys.float_info.max:
            assert math.isnan(found[name].value)
            assert found[name].status == (OK if value is None else OVERFLOW)
            continue
        assert found[name].status == status, name
        got = Fraction(found[name].value)
        got = got**2 if name == "rmse" else got
        assert abs(got - value) <= abs(value) * CLOSE, (name, float(got), float(value))


def drawn(seed: int, n: int, middle: float, spread: float, off: float):
    rng = np.random.default_rng(seed)
    target = middle + spread * rng.normal(size=n)
    return target, target + off * rng.normal(size=n)


SIZES = st.floats(-15, 15).map(lambda e: 10.0**e)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 40), st.one_of(st.just(0.0), SIZES), SIZES, SIZES,
    st.one_of(st.none(), SIZES),
)  # fmt: skip
def test_figures_are_those_of_rational_arithmetic(seed, n, middle, spread, off, heavy):
    target, predicted = drawn(seed, n, middle, spread, off)
    weight = None
    if heavy is not None:
        weight = np.random.default_rng(seed + 1).random(n) * heavy
        weight[::3] *= 1e-18
    assert_rational(target, predicted, weight)


ROWS = st.tuples(
    st.one_of(st.floats(-1e15, 1e15), st.sampled_from([0.0, -0.0, 1e-15, 1e15])),
    st.one_of(st.floats(-1e15, 1e15), st.sampled_from([0.0, 1e-15, 1e15])),
    st.one_of(st.floats(1e-15, 1e15), st.just(0.0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=8), st.booleans())
def test_figures_of_any_floats_are_those_of_rational_arithmetic(rows, weighted):
    target, predicted, weight = map(np.array, zip(*rows, strict=True))
    some = np.abs(target - predicted) > 1e-140  # others' squares are subnormal
    assert_rational(np.where(some, target, predicted), predicted, weight if weighted else None)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(-300, 300), st.booleans())
def test_a_power_of_two_scales_figures_exactly(seed, k, weighted):
    target, predicted = drawn(seed, 30, 3.0, 2.0, 0.7)
    weight = np.random.default_rng(seed).random(30) if weighted else None
    plain = figures(target, predicted, weight)
    scaled = figures(target * 2.0**k, predicted * 2.0**k, weight)
    for name, found in plain.items():
        assert scaled[name] == Values(found.value * 2.0 ** (k * DEGREE[name]), OK), name
    if weighted:
        assert figures(target, predicted, weight * 2.0 ** -abs(k)) == plain


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(-(2**40), 2**40), st.booleans())
def test_a_shift_that_floats_hold_changes_no_bit(seed, by, weighted):
    rng = np.random.default_rng(seed)
    target, predicted = rng.integers(-(2**10), 2**10, (2, 30)) / 2**10
    weight = rng.random(30) if weighted else None
    names = ("mae", "mse", "rmse", "bias", "r2")
    plain = figures(target, predicted, weight, names)
    assert figures(target + by, predicted + by, weight, names) == plain


CASES = {
    "unix seconds": (1.7e9 + np.arange(5.0), 1.7e9 + np.arange(5.0)[::-1]),
    "unix microseconds": (1.7e15 + np.arange(5.0), 1.7e15 + np.array([0.0, 1, 2, 3, 5])),
    "ten million, and one": (1e7 + np.array([-1.0, 1, -1, 1]), 1e7 + np.array([-1.0, 1, 1, 1])),
    "tiny": (1e-10 * np.array([1.0, -2, 3]), 1e-10 * np.array([1.5, -1, 2])),
    "its mean predicted": (np.array([1.0, 2, 4]), np.full(3, 7 / 3)),
    "subnormal": (np.array([5e-324, 1e-323, 2e-323]), np.array([5e-324, 5e-324, 1e-323])),
    "near and far": (np.array([1e-300, 1e300, -1e300]), np.array([2e-300, 1e300, -1e300])),
}


@pytest.mark.parametrize("name", CASES)
def test_r2_bias_and_mae_at_odd_scales(name):
    target, predicted = CASES[name]
    found, wanted = figures(target, predicted), rational(target, predicted)
    for metric in ("r2", "bias", "mae"):
        value, status = wanted[metric]
        assert found[metric].status == status
        assert abs(Fraction(found[metric].value) - value) <= abs(value) * CLOSE + Fraction(5e-324)


def test_figures_that_float64_cannot_hold_have_a_status():
    target, predicted = np.array([1e300, -1e300]), np.array([-1e300, 1e300])
    found = figures(target, predicted)
    assert found["rmse"].value == pytest.approx(2e300, rel=1e-15)
    assert found["mae"].value == 2e300
    assert found["r2"] == Values(-3.0, OK)
    assert found["bias"] == Values(0.0, OK)
    assert math.isnan(found["mse"].value)
    assert STATUSES[found["mse"].status] == "overflow"
    many = figures(np.full(5, 4e307), np.full(5, 3e307))
    assert many["mae"].value == 1e307  # though the sum is none that float64 holds
    none = figures(np.array([1e-200, 2e-200]), np.array([1e200, 1e200]))
    assert none["r2"].status == OVERFLOW
    assert none["mape"].status == OVERFLOW
    assert figures([2.0, 1e-300], [3.0, 2e-300])["mape"].value == 0.75


def test_figures_too_small_for_float64_have_a_status():
    """Errors of 1e-200 once had an mse of 0.0 that was ok."""
    target, predicted = np.array([1e-200, 3e-200]), np.array([2e-200, 1e-200])
    found = figures(target, predicted)
    assert found["rmse"].value == pytest.approx(math.sqrt(2.5) * 1e-200, rel=1e-15)
    assert found["mae"].value == 1.5e-200
    assert found["r2"] == Values(pytest.approx(-1.5), OK)
    assert found["mape"] == Values(pytest.approx(5 / 6), OK)
    assert math.isnan(found["mse"].value)
    assert STATUSES[found["mse"].status] == "underflow"
    weighted = figures(target, predicted, np.array([1e-200, 3e-200]))
    assert (weighted["mse"].status, weighted["rmse"].status) == (UNDERFLOW, OK)
    # What isn't the mean that float64 would have is none; what is, is.
    least = 5e-324
    assert figures([least, 0.0], [0.0, 0.0])["mae"].status == UNDERFLOW
    assert figures([2 * least, 0.0], [0.0, 0.0])["mae"] == Values(least, OK)
    assert figures([1.0, 2.0], [1.0, 2.0])["mse"] == Values(0.0, OK)
    assert figures([2.0**-511, 0.0], [0.0, 0.0])["mse"] == Values(2.0**-1023, OK)
    rows = {"label": -1, "pred": -1, "hash": 0, "a": 1, "b": [1, 0]}
    table = pd.DataFrame({**rows, "number_label": target, "number_pred": predicted})
    spec = EvaluationSpec([parse_metric("mse")], ["a", "b"], (), 0)
    of = figures_of(scan_of(table, None, spec), spec)
    assert of["status"].tolist() == ["underflow"] * 3
    assert of["value"].isna().all()


@pytest.mark.parametrize("classes", [2, 3])
def test_brier_scores_of_tiny_errors_are_no_zeros(classes):
    high = np.array([1e-160, 3e-160])
    rest = np.full((2, classes - 2), 0.0)
    prob = np.column_stack([np.ones(2), high, rest])
    found = {}
    for scale in (1e-160, 1e-100):
        prob[:, 1] = np.array([1.0, 3.0]) * scale
        of = Arrays(np.zeros(2, int), np.zeros(2, int), prob)
        slices = slices_of(np.rec.fromarrays([[0, 1]], names="s"))
        found[scale] = values_of([parse_metric("brier")], of, slices)[parse_metric("brier")]
    assert found[1e-100].value == pytest.approx([5e-200, 9e-200], rel=1e-14)
    assert found[1e-160].status.tolist() == [UNDERFLOW, UNDERFLOW]
    assert np.isnan(found[1e-160].value).all()
    mixed = Arrays(np.array([0, 1]), np.zeros(2, int), prob)
    assert values_of([parse_metric("brier")], mixed, slices)[parse_metric("brier")].status[0] == OK


def test_weights_of_any_size_weigh():
    """Weights of 1e-18 once gave .3967 for .4."""
    golds, preds = np.array([1, 0, 1, 0, 1]), np.array([1, 1, 0, 1, 1])
    metrics = ["accuracy", "f1", "matthews_corrcoef", "f1_macro", "recall", "coverage"]
    scorer = Scorer(metrics)
    weights = np.array([0.3, 0.1, 0.2, 0.25, 0.15])
    wanted = scorer.score(golds, preds, weights=weights)
    for k in (-1000, -300, -64, 30, 99):
        assert scorer.score(golds, preds, weights=weights * 2.0**k) == wanted
    even = scorer.score(golds, preds, weights=np.full(5, 1e-18))
    assert even == pytest.approx(scorer.score(golds, preds), rel=1e-15)


def test_the_rows_outside_are_exactly_the_others():
    """What a slice has taken from all rows leaves the rest, however much smaller it is."""
    target = np.array([1e15, -1e15, 3e-9, 5e-9, 7e-9])
    predicted = np.array([-2e15, 3e15, 4e-9, 5e-9, 9e-9])
    member = np.array([1, 1, 0, 0, 0])
    weight = np.array([1e9, 1e9, 1e-9, 2e-9, 1e-9])
    none = np.full(5, -1)
    of = Outputs(Classes(), none, none, None, target, predicted, weight=weight)
    work = Work(*addends_of(map(parse_metric, NUMBERS), of.classes), weighted=True)
    words = np.ascontiguousarray(packed(member[:, None] == 1).T).view(np.uint64)
    add(added := Added(), work, Masks(words), of)
    state = state_of(added, work, 1)
    outside = state.at(1).less(state.at(0))
    wanted = figures(target[2:], predicted[2:], weight[2:])
    for name in NUMBERS:
        value, status = compute(parse_metric(name), outside, of.classes, state.at(0))
        assert Values(float(value), int(status)) == wanted[name]


# Probabilities.


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.one_of(st.floats(1e-15, 0.5), st.just(0.5)), SIZES
        ),
        min_size=1, max_size=12,
    ),
    st.booleans(),
)  # fmt: skip
def test_metrics_of_probabilities_are_those_of_rational_arithmetic(rows, weighted):
    label, high, weight = map(np.array, zip(*rows, strict=True))
    prob = np.stack([1 - high, high], axis=1)
    w = [Fraction(x) for x in weight.tolist()] if weighted else [Fraction(1)] * len(label)
    of = Arrays(label, label, prob, weight if weighted else None)
    slices = slices_of(np.rec.fromarrays([np.ones(len(label), int)], names="s"))
    names = ("log_loss", "brier", "ece@bins=2")
    found = values_of([parse_metric(m) for m in names], of, slices)
    given_ = {str(m): Fraction(float(v.value[0])) for m, v in found.items()}
    own = [Fraction(float(p[y])) for p, y in zip(prob, label, strict=True)]
    brier = [(Fraction(float(p[1])) - int(y)) ** 2 for p, y in zip(prob, label, strict=True)]
    sure = [
        Fraction(float(p.max())) - int(p.argmax() == y) for p, y in zip(prob, label, strict=True)
    ]
    loss = [Fraction(-math.log(p)) for p in own]
    mean = lambda each: sum(a * b for a, b in zip(w, each, strict=True)) / sum(w)  # noqa: E731
    for name, wanted in (
        ("log_loss", mean(loss)),
        ("brier", mean(brier)),
        ("ece@bins=2", abs(mean(sure))),
    ):
        assert abs(given_[name] - wanted) <= wanted * CLOSE, name


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_log_loss_takes_0_and_1_as_scikit_learn_does(kind):
    """What a type can't tell from 0 is not known to be impossible."""
    label = np.array([1, 0, 1, 0, 1])
    high = np.array([0.0, 1.0, 1.0, 1e-9, 0.25], kind)
    prob = np.stack([1 - high, high], axis=1).astype(kind)
    found = Scorer(["log_loss"]).score(label, label, prob)["log_loss"]
    assert found == pytest.approx(sk.log_loss(label, prob), rel=1e-6)
    least = np.finfo(kind).eps
    own = np.clip(prob[np.arange(5), label].astype(float), least, 1 - least)
    assert found == pytest.approx(-np.log(own).mean(), rel=1e-14)


def table(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    target = rng.normal(size=n)
    rows = {
        "label": np.full(n, -1), "pred": np.full(n, -1), "hash": rng.integers(0, 2**63, n),
        "number_label": target, "number_pred": target + rng.normal(size=n),
        "mean:x": rng.normal(size=n), "a": rng.random(n) < 0.4, "b": rng.random(n) < 0.2,
    }  # fmt: skip
    return pd.DataFrame(rows).astype({"a": int, "b": int, "hash": np.uint64})


def sure_of(rows: pd.DataFrame, metrics, weighted: bool = False) -> pd.DataFrame:
    spec = EvaluationSpec([*map(parse_metric, metrics)], ["a", "b"], (), 0, weighted=weighted)
    found = scan_of(rows, None, spec, 40)
    of = with_uncertainty(figures_of(found, spec), found, spec, Confidence())
    return of.set_index(["slice", "metric"])


@pytest.mark.parametrize("k", [-400, 400, 900])
def test_intervals_and_tests_are_those_of_other_units(k):
    plain = sure_of(table(), NUMBERS)
    units = table()
    units[["number_label", "number_pred"]] *= 2.0**k
    found = sure_of(units, NUMBERS)
    for at, row in plain.iterrows():
        scale = k * DEGREE[at[1]]
        if abs(scale) > 1000:  # of mse, what float64 can't hold
            continue
        assert found.loc[at, ["p_value", "status"]].equals(row[["p_value", "status"]])
        for end in ("value", "ci_low", "ci_high", "effect"):
            held = found.loc[at, end]
            assert held == row[end] * 2.0**scale or np.isnan([held, row[end]]).all()
    assert plain["ci_low"].notna().all()


def test_an_infinite_value_of_a_column_has_a_status():
    rows = table()
    rows.loc[rows["a"] == 1, "mean:x"] = np.inf
    rows.loc[(rows["a"] == 0) & (rows["b"] == 1), "mean:x"] = 2.0
    rows.loc[(rows["a"] == 1) & (rows["b"] == 1), "b"] = 0
    found = sure_of(rows, ["mean@column=x"])
    assert found["status"].tolist() == ["overflow", "overflow", "ok"]
    assert found["value"].isna().tolist() == [True, True, False]
    assert found["value"].iloc[2] == 2.0


@pytest.mark.parametrize("metric", [*NUMBERS, "mean@column=x", "coverage"])
def test_rows_of_the_weight_0_alone_have_a_status(metric):
    rows = table()
    rows["weight"] = np.where(rows["a"] == 1, 0.0, 5e-324)
    found = sure_of(rows, [metric], weighted=True)
    assert found["status"].tolist()[:2] == ["ok", "weightless"]
    assert math.isnan(found["value"].iloc[1])
    assert found["support"].iloc[1] == (rows["a"] == 1).sum()
