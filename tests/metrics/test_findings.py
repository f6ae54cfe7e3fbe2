"""Findings: what is bad leads, what is chance doesn't appear, and what is one finding is one."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

from engine import Confidence, Findings, evaluate, findings
from engine.masks.pairs import Overlap
from engine.metrics.explore.findings import FINDING, MOST_HARM

ADULT = Path(__file__).parents[3] / "shared" / "data" / "adult" / "adult.csv"
BLACK_WOMEN = "sex=Female & race=Black"


def predicted(n, accuracy, seed=0, positive=0.4):
    """Return rows of a model that is right at random, with its generator."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < positive) * 1
    pred = np.where(rng.random(n) < accuracy, label, 1 - label)
    return pd.DataFrame({"id": np.arange(n), "label": label, "pred": pred}), rng


def measured(rows, slices, *metrics, **how):
    return evaluate(rows, key="id", slices=list(slices), metrics=list(metrics), **how)


def test_seventeen_rows_that_are_all_wrong_lead():
    rows, rng = predicted(4000, 0.86)
    rows["tiny"] = rows.index.isin(range(17))
    rows["worse"] = rows.index.isin(range(1000, 1500))
    wrong = rows["tiny"] | (rows["worse"] & (rng.random(4000) < 0.15))
    rows["pred"] = np.where(wrong, 1 - rows["label"], rows["pred"])
    for i in range(30):
        rows[f"any_{i}"] = rng.random(4000) < rng.uniform(0.01, 0.3)
    names = [c for c in rows if c not in ("id", "label", "pred")]
    of = measured(rows, names, "accuracy", n_replicates=0)
    tiny = of.by_slice.set_index("slice").loc["tiny"]
    assert (tiny["status"], tiny["value"], tiny["p_adjusted"] < 1e-10) == ("insufficient", 0, True)
    found = of.findings()
    assert found.most_severe["slice"].tolist() == ["tiny", "worse"]
    assert found.most_harm["slice"].tolist() == ["worse", "tiny"]
    assert found.sentences()[0].startswith("accuracy is 0.00 on tiny (17 rows), 0.84 outside: ")
    assert of.worst(1)["slice"].tolist() == ["tiny"]
    assert of.findings(min_support=30).most_severe["slice"].tolist() == ["worse"]


@pytest.mark.parametrize("correction", ["bh", "by"])
def test_planted_slices_lead_and_null_ones_stay_away(correction):
    """Planted slices of all sizes are what leads; of 150 null ones hardly any is there at all."""
    sizes = {"p_17": 17, "p_60": 60, "p_250": 250, "p_1000": 1000}
    strangers = 0
    for seed in range(8):
        rows, rng = predicted(6000, 0.92, seed)
        at = 0
        for name, n in sizes.items():
            rows[name] = rows.index.isin(range(at, at + n))
            at += n
        flip = rows["p_17"] | (rows.index.isin(range(at)) & (rng.random(6000) < 0.5))
        rows["pred"] = np.where(flip, 1 - rows["label"], rows["pred"])
        planted = rows[[*sizes]].any(axis=1)
        nulls = {
            f"n_{i}": ~planted & (rng.random(6000) < rng.uniform(0.003, 0.1)) for i in range(150)
        }
        rows = pd.concat([rows, pd.DataFrame(nulls)], axis=1)
        of = measured(
            rows, [*sizes, *nulls], "accuracy", "recall", "false_positive_rate",
            confidence=Confidence(correction=correction), n_replicates=0,
        )  # fmt: skip
        found = of.findings(n=20)
        assert found.most_severe["slice"].tolist()[:1] == ["p_17"]
        assert set(found.most_harm["slice"][:4]) == set(sizes)
        assert found.most_harm["slice"][0] == "p_1000"
        for ranked in (found.most_harm, found.most_severe):
            assert set(ranked["slice"][:4]) == set(sizes)
        strangers += len(set(found.most_severe["slice"]) - set(sizes))
    assert strangers <= 2  # bounded by a share of .05 of what is found, which is 4 each time


def test_without_anything_to_find_there_is_mostly_nothing():
    some = 0
    for seed in range(15):
        rows, rng = predicted(3000, 0.9, 100 + seed)
        slices = {f"n_{i}": rng.random(3000) < rng.uniform(0.002, 0.2) for i in range(60)}
        rows = pd.concat([rows, pd.DataFrame(slices)], axis=1)
        of = measured(rows, slices, "accuracy", "recall", "selection_rate", n_replicates=0)
        some += not of.findings().most_severe.empty
    assert some <= 2  # 15 draws with a chance of .05 at most: 3 or more in 1 of 28


def test_neutral_biased_and_untested_metrics_are_named_and_not_ranked():
    rows, rng = predicted(2000, 0.9)
    rows["prob"] = np.clip(np.where(rows["pred"] == 1, 0.8, 0.2) + rng.normal(0, 0.05, 2000), 0, 1)
    rows["often"] = rows["label"] == 1
    of = measured(rows, ["often"], "selection_rate", "ece", "pr_auc", "accuracy")
    assert of.findings().notes == (
        "not ranked, for neither high nor low is better: selection_rate",
        "not ranked, for few rows alone make it worse: ece",
        "not ranked, for no slice could be tested: pr_auc",
    )
    assert of.by_slice.set_index("metric").loc["selection_rate", "p_adjusted"] < 1e-9
    assert of.findings().most_severe.empty


def test_labels_of_one_class_are_no_finding_and_said():
    rows, _ = predicted(3000, 0.9)
    rows["negative"] = (rows["label"] == 0) & (rows.index < 800)
    of = measured(rows, ["negative"], "f1_macro", "f1", "accuracy")
    macro = of.by_slice.set_index("metric").loc["f1_macro"]
    assert macro["status"] == "single_class"
    assert macro["effect"] < -0.3  # which looks like a failure, and is one of the metric
    assert np.isnan(macro[["p_value", "p_adjusted", "effect_low"]].astype(float)).all()
    found = of.findings()
    assert found.most_severe.empty
    assert found.notes[0] == (
        "f1_macro isn't compared on negative: all labels there are of one class, and these decide "
        "it, not the model"
    )


def test_nested_and_nearly_equal_slices_are_one_finding():
    rows, rng = predicted(4000, 0.9)
    bad = rows.index < 600
    rows["pred"] = np.where(bad & (rng.random(4000) < 0.5), 1 - rows["label"], rows["pred"])
    rows["bad"] = bad
    rows["nearly"] = rows.index < 620
    rows["inside"] = rows.index < 200
    rows["far"] = (rows.index >= 2000) & (rows.index < 2300)
    rows["pred"] = np.where(rows["far"] & (rng.random(4000) < 0.3), 1 - rows["label"], rows["pred"])
    of = measured(rows, ["inside", "bad", "nearly", "far"], "accuracy", "recall", n_replicates=0)
    assert of.overlap is None
    found = of.findings()
    leading = found.most_harm.iloc[0]
    assert leading["slice"] in ("bad", "nearly")
    others = {"bad", "nearly", "inside"} - {leading["slice"]}
    assert {s for s, _, _ in leading["also"]} == {leading["slice"], *others}
    assert found.most_harm["slice"].tolist()[1:] == ["far"]
    sentence = found.sentences(MOST_HARM)[0]
    assert sentence.endswith(("also recall; on nearly, inside", "also recall; on bad, inside"))


def test_what_is_much_worse_within_a_slice_is_a_finding_of_its_own():
    rows, rng = predicted(6000, 0.9)
    rows["wide"] = rows.index < 2000
    rows["within"] = rows.index < 150
    flip = rng.random(6000) < np.where(rows["within"], 0.7, np.where(rows["wide"], 0.15, 0))
    rows["pred"] = np.where(flip, 1 - rows["label"], rows["pred"])
    of = measured(rows, ["wide", "within"], "accuracy", n_replicates=0)
    assert of.findings().most_harm["slice"].tolist() == ["wide", "within"]
    assert of.findings().most_severe["slice"].tolist() == ["within", "wide"]


def test_without_counts_of_shared_rows_equal_figures_are_one_finding():
    rows, _ = predicted(2000, 0.9)
    rows["a"] = rows["same"] = rows.index < 100
    rows["pred"] = np.where(rows["a"], 1 - rows["label"], rows["pred"])
    table = measured(rows, ["a", "same"], "accuracy", n_replicates=0).table
    assert findings(table).most_severe["also"].tolist() == [(("same", "accuracy", "model"),)]
    apart = Overlap(("a", "same"), 2000, np.array([[100, 0], [0, 100]]), 0)
    assert len(findings(table, apart).most_severe) == 2


def test_losses_of_any_unit_are_ranked_by_the_part_that_is_more():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"id": np.arange(3000), "label": rng.normal(0, 1e6, 3000)})
    rows["bad"] = rows.index < 300
    rows["pred"] = rows["label"] + rng.normal(0, np.where(rows["bad"], 9e4, 1e4))
    found = measured(rows, ["bad"], "mae", "rmse").findings()
    (leading,) = found.most_severe.to_dict("records")
    assert 0.7 < leading["severity"] < 1
    assert leading["at_least"] > 1e4
    assert {m for _, m, _ in leading["also"]} | {leading["metric"]} >= {"mae", "rmse"}


def test_models_and_splits_are_named_where_there_are_several():
    rows, _ = predicted(3000, 0.95)
    rows["part"] = np.where(rows.index % 2 == 0, "train", "test")
    rows["bad"] = rows.index < 300
    worse = rows.assign(pred=np.where(rows["bad"], 1 - rows["label"], rows["pred"]))
    of = evaluate(
        rows[["id", "part", "bad"]],
        {"old": worse[["id", "label", "pred"]], "new": rows[["id", "label", "pred"]]},
        key="id", slices=["bad"], split="part", metrics=["accuracy"], n_replicates=0,
    )  # fmt: skip
    found = of.findings()
    assert list(found.most_severe.columns) == list(FINDING)
    assert sorted(found.most_severe["split"]) == ["test", "train"]
    assert "accuracy of old is 0.00 on bad, split train (150 rows)" in str(found)
    assert of.findings(model="new").most_severe.empty
    assert str(of.findings(model="new")) == (
        "most harm:\n  no slice is worse than the rows outside it\n"
        "most severe:\n  no slice is worse than the rows outside it"
    )
    assert of.findings(split="test").most_severe["split"].tolist() == ["test"]


def test_the_same_slice_of_another_model_is_said():
    rows, _ = predicted(2000, 0.95)
    rows["bad"] = rows.index < 200
    worse = rows.assign(pred=np.where(rows["bad"], 1 - rows["label"], rows["pred"]))
    some = worse.assign(pred=np.where(rows.index < 100, rows["label"], worse["pred"]))
    models = {"old": worse[["id", "label", "pred"]], "new": some[["id", "label", "pred"]]}
    of = evaluate(
        rows[["id", "bad"]], models, key="id", slices=["bad"], metrics=["accuracy"], n_replicates=0
    )
    (sentence,) = of.findings().sentences()
    assert sentence.startswith("accuracy of old is 0.00 on bad (200 rows), 0.95 outside: at least")
    assert sentence.endswith("; also accuracy of new")


def test_an_empty_evaluation_has_no_findings():
    rows, _ = predicted(10, 1.0)
    found = measured(rows.head(0).assign(a=True), ["a"], "accuracy").findings()
    assert isinstance(found, Findings)
    assert found.most_harm.empty


@pytest.fixture(scope="module")
def people():
    """People with a label and what a logistic model says of them that wasn't fitted to them."""
    if not ADULT.is_file():
        pytest.skip("the Adult data set is not there")
    rows = pd.read_csv(ADULT)
    label = (rows.pop("income-per-year") == ">50K").to_numpy().astype(int)
    numbers = [*rows.select_dtypes("number")]
    model = make_pipeline(
        make_column_transformer(
            (KBinsDiscretizer(10, subsample=None), numbers),
            (OneHotEncoder(handle_unknown="ignore"), [c for c in rows if c not in numbers]),
        ),
        LogisticRegression(max_iter=60, tol=1e-3),
    )
    half = np.arange(len(rows)) % 2 == 0
    pred = np.zeros(len(rows), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bins without a row, and iterations
        for fitted in (half, ~half):
            pred[~fitted] = model.fit(rows[fitted], label[fitted]).predict(rows[~fitted])
    return rows.assign(id=np.arange(len(rows)), label=label, pred=pred)


def groups(people, *columns):
    """Return a mask per combination of values."""
    found = people.groupby(list(columns)).ngroup()
    values = people[list(columns)].groupby(found).first().to_dict("records")
    names = [" & ".join(f"{c}={v}" for c, v in row.items()) for row in values]
    return pd.DataFrame({name: found == i for i, name in enumerate(names)})


def test_black_women_of_adult_are_among_the_first(people):
    """Of the values of sex, race and both; of 90 positive women the model sees a third."""
    by_group = [groups(people, *c) for c in (["sex"], ["race"], ["sex", "race"])]
    masks = pd.concat(by_group, axis=1)
    table = pd.concat([people[["id", "label", "pred"]], masks], axis=1)
    metrics = ["accuracy", "recall", "f1_macro", "selection_rate"]
    of = evaluate(table, key="id", slices=[*masks], metrics=metrics, n_replicates=50)
    found = of.findings(min_support=30)
    leading = found.most_severe.set_index("slice")
    assert leading.loc[BLACK_WOMEN, "metric"] == "recall"
    assert leading.loc[BLACK_WOMEN, "value"] < 0.4
    assert leading.loc[BLACK_WOMEN, "outside"] > 0.55
    assert leading.loc[BLACK_WOMEN, "n_decisive"] == 90
    assert any(s.startswith("recall is 0.3") and BLACK_WOMEN in s for s in found.sentences())


def test_no_group_of_adult_with_labels_of_one_class_is_a_finding(people):
    masks = groups(people, "sex", "race", "education")
    table = pd.concat([people[["id", "label", "pred"]], masks], axis=1)
    metrics = ["f1_macro", "accuracy", "recall"]
    of = evaluate(table, key="id", slices=[*masks], metrics=metrics, n_replicates=50)
    classes = masks.apply(lambda mask: people.loc[mask, "label"].nunique())
    alone = set(classes.index[classes == 1])
    assert len(alone) > 15
    found = of.findings(n=50)
    for ranked in (found.most_harm, found.most_severe):
        assert len(ranked) > 10
        assert not ranked[ranked["slice"].isin(alone) & (ranked["metric"] == "f1_macro")].size
    assert not found.most_severe["metric"].eq("selection_rate").any()
