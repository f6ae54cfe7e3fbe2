"""Intervals, tests and replicates of figures against what plain code says."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.hashing import key_hash
from engine.metrics.catalog import parse_metric
from engine.metrics.inference.compare import compare, flips, mcnemar
from engine.metrics.inference.intervals import (
    auc_variance,
    bootstrap_interval,
    newcombe,
    wilson,
)
from engine.metrics.inference.significance import (
    adjusted,
    fisher,
    least_fisher,
    level_of_selected,
    mark,
    replicate_test,
)
from engine.metrics.inference.uncertainty import Confidence, needs_replicates, with_uncertainty
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.replicates import weights
from tests.metrics.scanned import figures, scan_of

N = 20  # replicates


def data(n=300, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    pred = np.where(rng.random(n) < 0.8, label, 1 - label)
    return pd.DataFrame(
        {
            "key": np.arange(n),
            "label": label,
            "pred": pred,
            "bin": rng.integers(0, 8, n) // 2 + 4 * label * (rng.random(n) < 0.5),
            "a": rng.random(n) < 0.4,
            "b": rng.random(n) < 0.05,
        }
    )


def spec_of(*metrics, weighted=False, models=("m",)):
    parsed = [parse_metric(m) for m in metrics]
    return EvaluationSpec(parsed, ("a", "b"), [0, 1], 1, None, weighted, models)


def laid_out(rows):
    masks = {s: rows[s].astype(int) for s in ("a", "b")}
    return rows.assign(**masks, hash=key_hash(rows["key"].tolist(), 7), score=rows["bin"] / 8)


def uncertain(rows, *metrics, n=0, weighted=False, **sure):
    spec = spec_of(*metrics, weighted=weighted)
    scan = scan_of(laid_out(rows), None, spec, n)
    found = with_uncertainty(figures(scan, spec), scan, spec, Confidence(**sure))
    return found.set_index(["slice", "metric"])


def test_a_proportion_has_wilsons_interval_and_fishers_test():
    rows = data()
    found = uncertain(rows, "accuracy", "recall", min_support=1)
    hit, a = (rows["label"] == rows["pred"]), rows["a"]
    row = found.loc[("a", "accuracy")]
    low, high = scipy.stats.binomtest(int(hit[a].sum()), int(a.sum())).proportion_ci(
        method="wilson"
    )
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-12)
    assert row["effect"] == pytest.approx(hit[a].mean() - hit[~a].mean(), abs=1e-12)
    table = [[hit[a].sum(), (~hit[a]).sum()], [hit[~a].sum(), (~hit[~a]).sum()]]
    assert row["p_value"] == pytest.approx(scipy.stats.fisher_exact(table).pvalue, rel=1e-9)
    overall = found.loc[("overall", "recall")]
    assert overall["ci_low"] < overall["value"] < overall["ci_high"]
    assert overall[["p_value", "p_adjusted", "effect"]].isna().all()


def test_replicates_are_those_of_the_rows_by_their_hash():
    rows = data()
    found = uncertain(rows, "f1", n=N, min_support=1)
    drawn = weights(key_hash(rows["key"].tolist(), 7), N)
    for name, member in (("overall", np.ones(len(rows), bool)), ("a", rows["a"].to_numpy())):
        part = rows[member]
        each = [sk.f1_score(part["label"], part["pred"], sample_weight=w) for w in drawn[member].T]
        value = sk.f1_score(part["label"], part["pred"])
        either = ((part["label"] == 1) | (part["pred"] == 1)).sum()
        interval = bootstrap_interval(np.array(value), np.array(each), np.array(either))
        row = found.loc[(name, "f1")]
        assert (row["value"], row["ci_low"], row["ci_high"]) == pytest.approx(
            (value, float(interval.low), float(interval.high)), abs=1e-12
        )


def test_the_area_has_delongs_variance():
    rng = np.random.default_rng(1)
    neg, pos = rng.integers(0, 6, 30), rng.integers(2, 8, 20)
    wins = (pos[:, None] > neg) + (pos[:, None] == neg) / 2
    expected = wins.mean(axis=1).var(ddof=1) / 20 + wins.mean(axis=0).var(ddof=1) / 30
    area = auc_variance(np.bincount(neg, minlength=8), np.bincount(pos, minlength=8))
    assert float(area.value) == pytest.approx(wins.mean(), abs=1e-12)
    assert float(area.variance) == pytest.approx(expected, abs=1e-12)


def test_the_area_of_a_slice_is_tested_against_the_rest():
    found = uncertain(data(), "roc_auc@bins=8", min_support=1)
    row = found.loc[("a", "roc_auc@bins=8")]
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert 0 < row["p_value"] <= row["p_adjusted"] <= 1


def test_average_precision_has_boyds_interval_and_no_test():
    rows = data()
    row = uncertain(rows, "pr_auc@bins=8", min_support=1).loc[("a", "pr_auc@bins=8")]
    part = rows[rows["a"]]
    assert row["value"] == pytest.approx(sk.average_precision_score(part["label"], part["bin"]))
    odds, spread = np.log(row["value"] / (1 - row["value"])), row["value"] * (1 - row["value"])
    half = scipy.stats.norm.ppf(0.975) / np.sqrt(part["label"].sum() * spread)
    assert row["ci_low"] == pytest.approx(1 / (1 + np.exp(half - odds)))
    assert row["ci_high"] == pytest.approx(1 / (1 + np.exp(-half - odds)))
    assert np.isnan(row["p_value"])


def test_few_rows_are_said_to_be_few_and_tested_where_that_is_exact():
    rows = data()
    found = uncertain(rows, "accuracy", "f1", "roc_auc@bins=8", n=N, min_support=50)
    row, hit, b = found.loc[("b", "accuracy")], rows["label"] == rows["pred"], rows["b"]
    assert (row["status"], row["support"] < 50) == ("insufficient", True)
    table = [[hit[b].sum(), (~hit[b]).sum()], [hit[~b].sum(), (~hit[~b]).sum()]]
    assert row["p_value"] == pytest.approx(scipy.stats.fisher_exact(table).pvalue, rel=1e-9)
    assert row["ci_low"] < row["value"]
    assert found.loc[("a", "accuracy")]["status"] == "ok"
    for approximate in ("f1", "roc_auc@bins=8"):
        row = found.loc[("b", approximate)]
        assert (row["status"], np.isnan(row["p_value"])) == ("insufficient", True)


def test_what_a_figure_rests_on_decides_whether_it_is_tested():
    rows = data(60)
    found = uncertain(rows, "accuracy", "recall", "f1", "roc_auc@bins=8", min_support=1)
    positive = (rows["label"] == 1).sum()
    either = ((rows["label"] == 1) | (rows["pred"] == 1)).sum()
    smaller = min(positive, 60 - positive)
    for metric, n in (("recall", positive), ("f1", either), ("roc_auc@bins=8", smaller)):
        for least, few in ((n, False), (n + 1, True)):
            again = uncertain(rows, metric, min_support=int(least))
            assert (again.loc[("overall", metric)]["status"] == "insufficient") is few
    assert found.loc[("overall", "f1")]["status"] == "ok"


def test_intervals_near_the_ends_are_said_to_be_rough():
    rows = data(400)
    wrong = rows.index[rows["label"] != rows["pred"]]
    for left, status in ((5, "ok"), (4, "rough"), (0, "rough")):
        fixed = rows.assign(pred=rows["pred"].where(~rows.index.isin(wrong[left:]), rows["label"]))
        assert uncertain(fixed, "accuracy").loc[("overall", "accuracy")]["status"] == status


def test_an_empty_slice_has_no_interval():
    found = uncertain(data().assign(b=False), "accuracy", "f1", "roc_auc@bins=8", "coverage")
    assert found.loc["b"][["ci_low", "ci_high", "p_value", "effect"]].isna().all(axis=None)
    assert set(found.loc["b"]["status"]) == {"empty"}


def test_without_replicates_what_has_a_formula_has_an_interval():
    found = uncertain(data(), "accuracy", "f1", "coverage")
    assert found["ci_low"].isna().groupby("metric").all().to_dict() == {
        "accuracy": False,
        "coverage": False,
        "f1": True,
    }


def test_clusters_have_intervals_of_replicates():
    rows = data()
    found = uncertain(rows, "accuracy", n=N, clustered=True)
    row = found.loc[("a", "accuracy")]
    n = int(rows["a"].sum())
    by_formula = wilson(np.array(row["value"] * n), np.array(n))
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert row["ci_low"] != pytest.approx(float(by_formula.low))


@pytest.mark.parametrize(
    ("metrics", "weighted", "clustered", "needed"),
    [
        (["accuracy", "recall"], False, False, False),
        (["accuracy", "f1"], False, False, True),
        (["accuracy"], True, False, True),
        (["accuracy"], False, True, True),
        (["roc_auc"], True, True, False),
        (["mae"], False, False, True),
        (["top_k_accuracy", "null_rate@column=x", "count"], False, False, False),
    ],
)
def test_replicates_are_drawn_where_no_formula_does(metrics, weighted, clustered, needed):
    assert needs_replicates(spec_of(*metrics, weighted=weighted), clustered) is needed


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 60), st.integers(1, 60))
def test_fishers_test_is_scipys(k, n, k_rest, n_rest):
    k, k_rest = min(k, n), min(k_rest, n_rest)
    expected = scipy.stats.fisher_exact([[k, n - k], [k_rest, n_rest - k_rest]]).pvalue
    assert float(fisher(*map(np.array, (k, n, k_rest, n_rest)))) == pytest.approx(expected)


def test_fishers_test_of_many_rows_is_close_to_the_exact_one():
    table = [2600, 5000, 4900, 10000]
    k, n, k_rest, n_rest = table
    exact = scipy.stats.fisher_exact([[k, n - k], [k_rest, n_rest - k_rest]]).pvalue
    assert float(fisher(*map(np.array, table))) == pytest.approx(exact, rel=0.1)


def test_a_spread_is_at_least_what_all_rows_would_have():
    same = np.full((1, 40), 0.1)
    none = replicate_test(np.array([0.1]), same, np.array([50]))
    floor = replicate_test(np.array([0.1]), same, np.array([50]), 0.1**2)
    assert np.isnan(none).all()
    assert float(floor[0]) == pytest.approx(0.33, abs=0.02)


def test_figures_without_an_error_are_no_certainty():
    """Replicates of a perfect slice are all the same, and so is DeLong's variance 0."""
    rows = data().assign(b=lambda r: (r["key"] < 60) & (r["label"] == r["pred"]))
    rows["bin"] = np.where(rows["b"], 7 * rows["label"], rows["bin"])
    found = uncertain(rows, "f1", "roc_auc@bins=8", n=N, min_support=1)
    f1, area = found.loc[("b", "f1")], found.loc[("b", "roc_auc@bins=8")]
    assert (f1["value"], area["value"]) == (1, 1)
    assert np.isnan(f1["ci_low"])
    assert area["ci_low"] < 1
    assert f1["p_value"] > 1e-6
    assert area["p_value"] > 1e-6


def test_replicates_without_a_figure_are_left_out():
    """F1 of a replicate that draws none of the few positives is 0/0, not 0."""
    rows = data(60).assign(label=0, pred=0)
    rows.loc[:3, ["label", "pred"]] = 1
    rows.loc[3, "pred"] = 0
    row = uncertain(rows, "f1", n=200, min_support=1).loc[("overall", "f1")]
    drawn = weights(key_hash(rows["key"].tolist(), 7), 200).astype(float)
    with np.errstate(invalid="ignore"):
        each = 2 * drawn[:3].sum(axis=0) / (2 * drawn[:3].sum(axis=0) + drawn[3])
    assert np.isnan(each).any()
    interval = bootstrap_interval(np.array(row["value"]), each, np.array(4))
    assert row["ci_low"] == pytest.approx(float(interval.low))


def test_models_are_compared_on_the_same_rows():
    """The second model is right on ten rows more; its replicates are the first's rows."""
    rows = data()
    wrong = rows.index[(rows["label"] != rows["pred"]) & rows["a"]][:10]
    better = rows.assign(pred=rows["pred"].where(~rows.index.isin(wrong), rows["label"]))
    spec = spec_of("accuracy", models=("m", "n"))
    scan = scan_of(laid_out(rows), {"m": rows, "n": better}, spec, 200)
    found = compare(scan, spec, Confidence(), "m", "n").set_index("slice")
    n = int(rows["a"].sum())
    assert found["difference"].to_dict() == pytest.approx(
        {"overall": 10 / 300, "a": 10 / n, "b": 0}
    )
    weight = weights(key_hash(rows["key"].tolist(), 7), 200)[rows["a"].to_numpy()].astype(float)
    won = rows.index[rows["a"]].isin(wrong)
    each = (weight * won[:, None]).sum(axis=0) / weight.sum(axis=0)
    interval = bootstrap_interval(np.array(10 / n), each, np.array(n))
    assert found.loc["a", "ci_low"] == pytest.approx(float(interval.low))
    assert found.loc["a", "ci_high"] == pytest.approx(float(interval.high))
    assert found.loc["a", "p_adjusted"] < 0.01
    assert np.isnan(found.loc["b", "p_adjusted"])
    turned = compare(scan, spec, Confidence(), "n", "m").set_index("slice")
    assert turned.loc["a", "ci_low"] == pytest.approx(-found.loc["a", "ci_high"])
    won = flips(scan, spec, Confidence(), "m", "n").set_index("slice")
    assert won[["won", "lost", "net"]].loc["a"].tolist() == [10, 0, 10]
    lost = flips(scan, spec, Confidence(), "n", "m").set_index("slice")
    assert lost[["won", "lost", "net"]].loc["a"].tolist() == [0, 10, -10]
    assert won.loc["a", "p_value"] == pytest.approx(2 * 0.5**10)
    assert won.loc["b", "p_value"] == 1
    assert np.isnan(won.loc["b", "p_adjusted"])  # none flips, so no outcome could tell


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_the_exact_binomial_one(won, lost):
    expected = scipy.stats.binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
    assert float(mcnemar(np.array(won), np.array(lost))) == pytest.approx(expected)


def test_corrections_are_benjaminis():
    p = np.array([0.001, np.nan, 0.02, 0.03])
    assert adjusted(p, "bh").tolist() == pytest.approx([0.003, np.nan, 0.03, 0.03], nan_ok=True)
    harmonic = 1 + 1 / 2 + 1 / 3
    assert adjusted(p, "by")[0] == pytest.approx(0.003 * harmonic)
    np.testing.assert_array_equal(adjusted(p, "none"), p)


def test_replicates_follow_the_stated_rule():
    """The docstring's rule, in whole numbers of Python."""
    least = (24109, 48219, 60274, 64291, 65296, 65497, 65531, 65535)
    hashes = key_hash(["a", "b", "c"], 3)
    for h, row in zip(hashes.tolist(), weights(hashes, 10), strict=True):
        for r, weight in enumerate(row):
            z = (h + (r // 4 + 1) * 0x9E3779B97F4A7C15) % 2**64
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
            z ^= z >> 31
            assert weight == sum(z >> 16 * (r % 4) & 0xFFFF >= at for at in least)


def test_replicates_are_poisson_and_independent():
    drawn = weights(key_hash(range(20_000), 1), 40).astype(float)
    assert drawn.mean() == pytest.approx(1, abs=0.01)
    assert drawn.var() == pytest.approx(1, abs=0.02)
    apart = np.corrcoef(drawn.T) - np.eye(40)
    assert np.abs(apart).max() < 0.035  # five standard errors


def test_marks_say_which_way():
    assert [
        mark({"p_adjusted": p, "effect": e}) for p, e in ((0.01, 1), (0.01, -1), (0.06, 1))
    ] == [
        "+",
        "-",
        "",
    ]
    assert mark({"p_adjusted": float("nan"), "effect": 1}) == ""


@pytest.fixture(autouse=True)
def silent():
    """scikit-learn warns where a figure is 0/0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


NULLS = 400  # draws of a null, of slices of a few rows


def null_p_values(metric, seed=0):
    """Return p-values of slices of 1 to 40 rows that are like the rest, [draws, slices]."""
    rng = np.random.default_rng(seed)
    sizes = np.array([1, 2, 3, 5, 8, 12, 17, 25, 40])
    p = []
    for _ in range(NULLS):
        label = rng.random(600) < 0.3
        right = rng.random(600) < np.where(label, 0.7, 0.9)
        rows = np.cumsum(np.r_[0, sizes])
        chosen = {"accuracy": np.ones(600, bool), "recall": label, "specificity": ~label}[metric]
        n, k = (np.add.reduceat(of * chosen, rows)[:-1] for of in (np.ones(600), right))
        p.append(fisher(k, n, (right * chosen).sum() - k, chosen.sum() - n))
    return np.array(p)


@pytest.mark.parametrize("metric", ["accuracy", "recall", "specificity"])
def test_exact_p_values_of_any_size_are_no_smaller_than_chance(metric):
    """Of rows like the rest a p-value is at or below a level at most that often."""
    p = null_p_values(metric)
    p = p[np.isfinite(p)]
    for level in (0.2, 0.05, 0.01, 0.001):
        allowed = scipy.stats.binom.isf(1e-4, len(p), level)
        assert (p <= level).sum() <= allowed, level
    assert (p <= 0.2).mean() > 0.02  # and they aren't all 1


@pytest.mark.parametrize("method", ["bh", "by"])
def test_small_slices_in_a_family_cause_no_false_findings(method):
    """Families of null slices of 1 to 40 rows, of which those that could tell are corrected."""
    rng = np.random.default_rng(1)
    families = 0
    for _ in range(300):
        right = rng.random(900) < 0.85
        member = rng.random((60, 900)) < rng.uniform(0.001, 0.045, 60)[:, None]
        n, k = member.sum(axis=1), (member & right).sum(axis=1)
        p = fisher(k, n, right.sum() - k, 900 - n)
        telling = least_fisher(n, right.sum(), 900) <= 0.05
        families += bool((adjusted(np.where(telling, p, np.nan), method) <= 0.05).any())
    assert families <= scipy.stats.binom.isf(1e-3, 300, 0.05)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(0, 60), st.integers(21, 60))
def test_the_least_p_value_is_that_of_the_outermost_tables(n, good, rows):
    good = min(good, rows)
    each = [
        float(fisher(*map(np.array, (k, n, good - k, rows - n))))
        for k in range(max(0, n + good - rows), min(n, good) + 1)
    ]
    assert float(least_fisher(np.array(n), np.array(good), np.array(rows))) == pytest.approx(
        min(each), rel=1e-6
    )


def test_slices_that_no_outcome_could_tell_do_not_weaken_the_others():
    """Sixty slices of two rows beside one that is bad: its corrected p-value is its own."""
    rows = data(900)
    rows["b"] = rows["key"] < 40
    rows["pred"] = np.where(rows["b"], 1 - rows["label"], rows["pred"])
    tiny = {f"t{i}": rows["key"].isin([100 + i]).astype(int) for i in range(60)}
    spec = EvaluationSpec([parse_metric("accuracy")], ("b", *tiny), [0, 1], 1)
    laid = pd.concat([laid_out(rows), pd.DataFrame(tiny)], axis=1)
    scan = scan_of(laid, None, spec)
    found = with_uncertainty(figures(scan, spec), scan, spec, Confidence()).set_index("slice")
    assert found.loc["b", "p_adjusted"] == found.loc["b", "p_value"]
    assert found.loc[[*tiny], "p_value"].notna().all()
    assert found.loc[[*tiny], "p_adjusted"].isna().all()


def test_an_effect_has_an_interval_corrected_for_the_choice():
    rows = data(900)
    rows["pred"] = np.where(rows["a"] & (rows["key"] < 500), 1 - rows["label"], rows["pred"])
    found = uncertain(rows, "accuracy", "f1", "roc_auc@bins=8", "selection_rate", n=200)
    for metric in ("accuracy", "f1", "roc_auc@bins=8"):
        row = found.loc[("a", metric)]
        assert row["effect_low"] < row["effect"] < row["effect_high"]
    hit, a = rows["label"] == rows["pred"], rows["a"]
    p = found.drop(index="overall").query("metric != 'selection_rate'")["p_value"].to_numpy()
    level = level_of_selected(p)
    assert 0.95 < level < 1
    share, rest = ((hit[m].sum(), m.sum()) for m in (a, ~a))
    low, high = newcombe(*([np.array([v]) for v in pair] for pair in (share, rest)), level)
    row = found.loc[("a", "accuracy")]
    assert (row["effect_low"], row["effect_high"]) == pytest.approx((low[0], high[0]))
    assert found.loc["overall"][["effect_low", "effect_high"]].isna().all(axis=None)


@pytest.mark.parametrize(("k", "n", "k_rest", "n_rest"), [(9, 10, 3, 10), (10, 10, 0, 20)])
def test_the_interval_of_a_difference_is_newcombes(k, n, k_rest, n_rest):
    """By hand from the two score intervals, method 10."""
    ends = [
        scipy.stats.binomtest(a, b).proportion_ci(method="wilson")
        for a, b in ((k, n), (k_rest, n_rest))
    ]
    d = k / n - k_rest / n_rest
    low = d - np.hypot(k / n - ends[0].low, ends[1].high - k_rest / n_rest)
    high = d + np.hypot(ends[0].high - k / n, k_rest / n_rest - ends[1].low)
    found = newcombe((np.array([k]), np.array([n])), (np.array([k_rest]), np.array([n_rest])))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))


def test_intervals_of_the_chosen_miss_no_more_often_than_they_say():
    """Of slices that are chosen because they look bad, 95 % of the corrected intervals hold."""
    rng = np.random.default_rng(2)
    missed = chosen = 0
    for _ in range(100):
        truth = np.where(np.arange(80) < 20, 0.6, 0.85)
        n, rest = rng.integers(20, 200, 80), 5_000
        k, k_rest = rng.binomial(n, truth), rng.binomial(rest, 0.85)
        p = fisher(k, n, k_rest, rest)
        level = level_of_selected(p)
        interval = newcombe((k, n), (np.full(80, k_rest), np.full(80, rest)), level)
        at = adjusted(p) <= 0.05
        off = (interval.low > truth - 0.85) | (interval.high < truth - 0.85)
        missed, chosen = missed + (off & at).sum(), chosen + at.sum()
    assert chosen > 1_000
    assert missed / chosen <= 0.06


def test_what_a_figure_is_decided_by_stands_beside_it():
    rows = data()
    found = uncertain(rows, "accuracy", "recall", "precision", "f1", "f1_macro", "roc_auc@bins=8")
    overall = found.loc["overall"]["n_decisive"]
    positive, said = (rows["label"] == 1), (rows["pred"] == 1)
    smaller = min(positive.sum(), (~positive).sum())
    assert overall.to_dict() == {
        "accuracy": 300,
        "recall": positive.sum(),
        "precision": said.sum(),
        "f1": (positive | said).sum(),
        "f1_macro": int(4 / (1 / positive.sum() + 1 / (~positive).sum())),
        "roc_auc@bins=8": smaller,
    }
    empty = uncertain(rows.assign(b=False), "recall").loc[("b", "recall")]
    assert (empty["status"], empty["n_decisive"]) == ("empty", 0)


@pytest.mark.parametrize("metric", ["f1", "f1_macro", "balanced_accuracy", "cohen_kappa"])
def test_labels_of_one_class_decide_what_weighs_classes(metric):
    rows = data(600)
    rows["b"] = (rows["label"] == 0) & (rows["key"] < 300)
    found = uncertain(rows, metric, "recall_weighted", "accuracy", n=N, min_support=1)
    row = found.loc[("b", metric)]
    assert (row["status"], np.isnan(row["p_value"])) == ("single_class", True)
    assert found.loc[("b", "recall_weighted")]["status"] != "single_class"
    assert found.loc[("a", metric)]["status"] == "ok"
    assert np.isfinite(found.loc[("b", "accuracy")]["p_value"])
    rest = rows.assign(b=rows["label"] == 0)  # and so do those of the rows outside
    assert np.isnan(uncertain(rest, metric, n=N, min_support=1).loc[("b", metric)]["p_value"])
    alike = uncertain(rows.assign(label=0), metric, n=N, min_support=1)
    assert alike.loc[("b", metric)]["status"] != "single_class"  # all rows are of that class
