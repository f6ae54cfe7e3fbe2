"""Figures of sex by race by education on Adult are those of fairlearn's MetricFrame."""

from __future__ import annotations

import warnings
from pathlib import Path

import fairlearn.metrics as fm
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
from sklearn.ensemble import HistGradientBoostingClassifier

from engine import evaluate

ADULT = Path(__file__).parents[3] / "shared" / "data" / "adult" / "adult.csv"
GROUPS = ["sex", "race", "education"]
THEIRS = {
    "accuracy": sk.accuracy_score,
    "precision": lambda y, p: sk.precision_score(y, p, zero_division=0),
    "recall": lambda y, p: sk.recall_score(y, p, zero_division=0),
    "f1": lambda y, p: sk.f1_score(y, p, zero_division=0),
    "selection_rate": fm.selection_rate,
    "false_positive_rate": fm.false_positive_rate,
    "false_negative_rate": fm.false_negative_rate,
    "specificity": fm.true_negative_rate,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "count": fm.count,
}


@pytest.fixture(autouse=True)
def silent():
    """fairlearn and scikit-learn warn of groups of one class and of shares of 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Held-out people with a label and a prediction, and the group that each is in."""
    if not ADULT.is_file():
        pytest.skip("the Adult data set is not there")
    rows = pd.read_csv(ADULT)
    label = (rows["income-per-year"] == ">50K").astype(int)
    texts = rows.drop(columns="income-per-year").select_dtypes(exclude="number").columns
    features = rows.drop(columns="income-per-year")
    features[texts] = features[texts].apply(lambda c: pd.factorize(c)[0])
    trained = np.random.default_rng(0).random(len(rows)) < 0.5
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    model.fit(features[trained], label[trained])
    held = rows.loc[~trained, GROUPS].reset_index(drop=True)
    held["label"] = label[~trained].to_numpy()
    held["prob"] = model.predict_proba(features[~trained])[:, 1]
    held["pred"] = (held["prob"] >= 0.5).astype(int)
    held["group"] = held.groupby(GROUPS).ngroup().map("group_{:03d}".format)
    return held


@pytest.fixture(scope="module")
def theirs(people) -> fm.MetricFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.MetricFrame(
            metrics=THEIRS,
            y_true=people["label"],
            y_pred=people["pred"],
            sensitive_features=people[GROUPS],
        )


@pytest.fixture(scope="module")
def ours(spark, people):
    masks = pd.get_dummies(people["group"])
    table = people[["label", "pred", "prob"]].assign(id=np.arange(len(people))).join(masks)
    df = spark.createDataFrame(table)
    about = {name: {"slice": {"name": name, "fingerprint": name}} for name in masks}
    named = df.select(
        "id", "label", "pred", "prob", *(df[s].alias(s, metadata=m) for s, m in about.items())
    )
    return evaluate(named, key="id", metrics=list(THEIRS), n_replicates=0)


@pytest.fixture(scope="module")
def by_group(people, theirs) -> pd.DataFrame:
    """Theirs of the groups that occur, by our slices' names."""
    name_of = people.drop_duplicates("group").set_index(GROUPS)["group"]
    found = theirs.by_group.loc[name_of.index]
    return found.set_axis(name_of.to_numpy()).sort_index().astype(float)


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """A row per slice and a column per metric."""
    return table.pivot_table(index="slice", columns="metric", values="value", dropna=False)[
        [*THEIRS]
    ].sort_index()


def assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert one.index.tolist() == other.index.tolist()
    assert one.columns.tolist() == other.columns.tolist()
    np.testing.assert_allclose(one.to_numpy(), other.to_numpy(), rtol=0, atol=1e-12)


def test_every_group_that_occurs_is_a_slice(people, ours, by_group):
    assert len(by_group) > 100
    assert set(ours.by_slice["slice"]) == set(people["group"])
    assert people.groupby("group")["label"].nunique().min() == 1  # and some have one class alone


def test_figures_of_groups(ours, by_group):
    assert_same(wide(ours.by_slice), by_group)


def test_figures_of_all_rows(ours, theirs):
    found = ours.overall.set_index("metric")["value"]
    wanted = theirs.overall.astype(float)
    np.testing.assert_allclose(found[[*THEIRS]], wanted[[*THEIRS]], rtol=0, atol=1e-12)


def test_differences_to_all_rows(ours, theirs, by_group):
    found = wide(ours.difference())
    assert_same(found, by_group - theirs.overall.astype(float))
    largest = theirs.difference(method="to_overall").astype(float)
    np.testing.assert_allclose(found.abs().max()[[*THEIRS]], largest[[*THEIRS]], rtol=0, atol=1e-12)


def test_ratios_to_all_rows(ours, theirs, by_group):
    found = wide(ours.ratio())
    assert_same(found, by_group / theirs.overall.astype(float))
    least = np.minimum(found, 1 / found).min()
    wanted = theirs.ratio(method="to_overall").astype(float)
    np.testing.assert_allclose(least[[*THEIRS]], wanted[[*THEIRS]], rtol=0, atol=1e-12)


def test_a_share_of_nothing_is_0_in_both_and_ours_says_so(people, ours):
    none = people.groupby("group")["pred"].max() == 0
    rows = ours.by_slice[ours.by_slice["metric"] == "precision"].set_index("slice")
    assert (rows.loc[none[none].index, "value"] == 0).all()
    assert not (rows.loc[none[none].index, "status"] == "ok").any()
