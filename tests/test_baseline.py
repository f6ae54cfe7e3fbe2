"""The baseline model: its figures on the real data, its file, and what it refuses."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score
from textblob import TextBlob

from engine.baseline import Baseline, fit_baseline, stored_facts
from engine.errors import CheckpointError, DatasetError, InputError, SettingError
from engine.penalty import GRID, folds_of
from engine.project.demo_data import read_youtube_spam

YOUTUBE = Path(__file__).parents[2] / "shared" / "data" / "youtube-spam"

SLICES = {
    "short_link": lambda text: re.search(r"\w+\.ly", text) is not None,
    "keyword_subscribe": lambda text: "subscribe" in text.lower(),
    "keyword_please": lambda text: "please" in text.lower() or "plz" in text.lower(),
    "regex_check_out": lambda text: re.search(r"check.*out", text, re.IGNORECASE) is not None,
    "short_comment": lambda text: len(text.split()) < 5,
    "textblob_polarity": lambda text: TextBlob(text).sentiment.polarity > 0.9,
}


@pytest.fixture(scope="module")
def youtube():
    if not YOUTUBE.is_dir():
        pytest.skip(f"the YouTube Spam Collection is not in {YOUTUBE}")
    return read_youtube_spam(YOUTUBE)


@pytest.fixture
def small():
    texts = pd.Series(["free money", "nice song", "free phones", "lovely song"], name="text")
    return fit_baseline(texts, [1, 0, 1, 0], c=1.0)


@pytest.mark.parametrize("order", ["tutorial", "comment_id", "shuffled"])
def test_the_tutorials_figures_whatever_the_order_of_rows(youtube, order):
    train = youtube[youtube["split"] == "train"]
    if order == "comment_id":
        train = train.sort_values("comment_id")
    if order == "shuffled":
        train = train.sample(frac=1, random_state=5)
    test = youtube[youtube["split"] == "test"]
    baseline = fit_baseline(train["text"], train["label"], c=0.001, solver="liblinear")
    pred = np.array(baseline.classes)[baseline.predict_proba(test["text"]).argmax(axis=1)]
    gold = test["label"].to_numpy()

    def figures(mask):
        accuracy, f1 = accuracy_score(gold[mask], pred[mask]), f1_score(gold[mask], pred[mask])
        return f"{accuracy:.4f}/{f1:.4f}", int(mask.sum())

    masks = {name: test["text"].map(f).to_numpy() for name, f in SLICES.items()}
    assert figures(np.ones(len(test), dtype=bool)) == ("0.9280/0.9250", 250)
    assert {name: figures(mask) for name, mask in masks.items()} == {
        "short_link": ("0.3333/0.5000", 3),
        "keyword_subscribe": ("0.9444/0.9714", 36),
        "keyword_please": ("1.0000/1.0000", 23),
        "regex_check_out": ("1.0000/1.0000", 45),
        "short_comment": ("0.9457/0.6667", 92),
        "textblob_polarity": ("0.8750/0.7273", 24),
    }


def test_probabilities_are_in_class_order(small):
    prob = small.predict_proba(pd.Series(["free", "song"]))
    assert small.classes == (0, 1)
    assert prob.dtype == np.float64
    assert prob[0, 1] > 0.5 > prob[1, 1]
    np.testing.assert_allclose(prob.sum(axis=1), 1.0)


def test_classes_keep_their_own_values():
    texts = pd.Series(["red apple", "green pear", "blue plum"], name="text")
    baseline = fit_baseline(texts, ["warm", "cold", "other"], c=10.0, solver="lbfgs")
    assert baseline.classes == ("cold", "other", "warm")
    assert baseline.predict_proba(texts).argmax(axis=1).tolist() == [2, 0, 1]


@pytest.mark.parametrize("null", [None, np.nan, pd.NA])
def test_a_null_text_is_an_empty_one(small, null):
    prob = small.predict_proba(pd.Series([null, ""], dtype=object))
    assert prob[0].tolist() == prob[1].tolist()


def test_a_null_in_training_counts_as_an_empty_text():
    labels = [1, 0, 1, 0]
    null = fit_baseline(pd.Series(["free", "song", None, "nice"]), labels)
    empty = fit_baseline(pd.Series(["free", "song", "", "nice"]), labels)
    some = pd.Series(["free song"])
    assert null.predict_proba(some).tolist() == empty.predict_proba(some).tolist()


def test_nullable_labels_train_as_plain_ones(small):
    texts = pd.Series(["free money", "nice song", "free phones", "lovely song"], name="text")
    nullable = fit_baseline(texts, pd.Series([1, 0, 1, 0], dtype="Int64"), c=1.0)
    assert nullable.classes == small.classes
    assert nullable.predict_proba(texts).tolist() == small.predict_proba(texts).tolist()


def test_no_rows_give_no_probabilities(small):
    assert small.predict_proba(pd.Series([], dtype=object)).shape == (0, 2)


def test_it_is_saved_and_loaded(small, tmp_path):
    some = pd.Series(["free song", "nice", None])
    small.save(tmp_path / "a" / "b", facts={"rows": 4})
    loaded = Baseline.load(tmp_path / "a" / "b")
    assert (loaded.classes, loaded.columns) == ((0, 1), ("text",))
    assert loaded.predict_proba(some).tolist() == small.predict_proba(some).tolist()
    described = json.loads((tmp_path / "a" / "b" / "baseline.json").read_text())
    assert described["facts"] == {"rows": 4}
    assert (described["classes"], described["text"]) == ([0, 1], "text")


def test_classes_that_are_texts_come_back_from_the_file(tmp_path):
    texts = pd.Series(["red apple", "green pear", "blue plum"], name="text")
    fitted = fit_baseline(
        texts, ["warm", "cold", "other"], c=10.0, solver="lbfgs", ngram_range=(1, 2)
    )
    fitted.save(tmp_path)
    loaded = Baseline.load(tmp_path)
    assert (loaded.classes, loaded.fitted) == (fitted.classes, fitted.fitted)
    assert loaded.predict_proba(texts).tolist() == fitted.predict_proba(texts).tolist()
    assert not loaded.save(tmp_path)


def test_the_same_model_gives_the_same_file(small, tmp_path):
    small.save(tmp_path / "a")
    small.save(tmp_path / "b")
    one, other = (tmp_path / name / "baseline.json" for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_a_model_that_is_there_already_is_left_as_it_is(small, tmp_path):
    assert small.save(tmp_path, facts={"rows": 4})
    file = tmp_path / "baseline.json"
    at = file.stat().st_mtime_ns
    texts = pd.Series(["free money", "nice song", "free phones", "lovely song"], name="text")
    assert not fit_baseline(texts, [1, 0, 1, 0], c=1.0).save(tmp_path, facts={"rows": 4})
    assert file.stat().st_mtime_ns == at
    assert small.save(tmp_path, facts={"rows": 5})
    assert fit_baseline(texts, [1, 0, 1, 1], c=1.0).save(tmp_path, facts={"rows": 5})
    file.write_text("{")  # a write that was cut off
    assert stored_facts(tmp_path) == {}
    assert small.save(tmp_path, facts={"rows": 4})
    assert stored_facts(tmp_path) == {"rows": 4}


def test_a_pickle_of_an_earlier_version_is_not_read(small, tmp_path):
    old = tmp_path / "pipeline.joblib"
    old.write_bytes(b"")
    (tmp_path / "baseline.json").write_text('{"classes": [0, 1], "facts": {"rows": 4}}')
    with pytest.raises(InputError) as caught:
        Baseline.load(tmp_path)
    assert str(caught.value) == (
        f"'{old}' is the baseline of an earlier version, a pickle, which may run anything and is "
        "not read; `python -m jobs.train_baseline` writes it again, as JSON"
    )
    assert stored_facts(tmp_path) == {}  # so that the job fits it again
    assert small.save(tmp_path, facts={"rows": 4})
    assert not old.exists()
    assert Baseline.load(tmp_path).fitted == small.fitted


def test_it_travels_by_pickle(small):
    some = pd.Series(["free song"])
    again = pickle.loads(pickle.dumps(small))
    assert again.predict_proba(some).tolist() == small.predict_proba(some).tolist()


def test_nothing_saved(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        Baseline.load(tmp_path / "none")
    assert str(caught.value) == (
        f"there is no baseline in '{tmp_path / 'none'}'; jobs/train_baseline.py writes one"
    )


@pytest.mark.parametrize(("labels", "found"), [([1, 1], "only the label 1"), ([], "no label")])
def test_one_class_is_refused(labels, found):
    with pytest.raises(DatasetError) as caught:
        fit_baseline(pd.Series(["a word"] * len(labels), dtype=object, name="text"), labels)
    assert str(caught.value) == (
        f"the baseline can't be trained: its rows have {found}, and it takes two classes; "
        "check the label column and the training split"
    )


def test_texts_without_words_are_refused():
    with pytest.raises(DatasetError) as caught:
        fit_baseline(pd.Series([None, "!", None], name="comment"), [0, 1, 0])
    assert str(caught.value) == (
        "the baseline can't be trained: no word of two letters or more in column 'comment' "
        "(2 of 3 training texts are null); check the text column"
    )


def test_liblinear_is_for_two_classes():
    with pytest.raises(SettingError) as caught:
        fit_baseline(pd.Series(["red", "green", "blue"]), [0, 1, 2], solver="liblinear")
    assert str(caught.value) == (
        "the solver 'liblinear' tells two classes apart and the training labels have 3; use 'lbfgs'"
    )


def test_what_was_fitted_tells_models_of_the_same_settings_apart():
    texts = pd.Series(["buy now", "nice song", "buy it", "a song"], name="text")
    one, same = (fit_baseline(texts, [1, 0, 1, 0]) for _ in range(2))
    other = fit_baseline(texts.replace("a song", "buy"), [1, 0, 1, 0])
    assert one.fitted == same.fitted
    assert one.fitted != other.fitted


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": 2}, "it is of format 2, and this engine reads format 1"),
        ({"classes": [0]}, "its classes are [0], and must be two or more different ones"),
        ({"classes": [1, True]}, "it is incomplete"),
        ({"classes": [0, 1, 2]}, "its numbers are (1, "),
        ({"classes": None}, "it is incomplete"),
        ({"model": {}}, "it is incomplete"),
        ({"words": {"ngram_range": [1, 1], "vocabulary": ["a"]}}, "its numbers are (1, "),
        ({"words": {"ngram_range": [1, 1], "vocabulary": ["a", "a"]}}, "it is incomplete"),
        ({"words": []}, "it is incomplete"),
        ({"text": "other"}, "its file isn't as it was written, for its checksum is another"),
    ],
)
def test_a_saved_baseline_that_cannot_be_true_is_refused(tmp_path, change, problem):
    texts = pd.Series(["free money", "nice song", "free phones", None], name="text")
    fit_baseline(texts, [1, 0, 1, 0]).save(tmp_path)
    file = tmp_path / "baseline.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps(whole | change))
    with pytest.raises(CheckpointError) as caught:
        Baseline.load(tmp_path)
    start = f"the baseline in '{tmp_path}' can't be used: "
    assert str(caught.value).startswith(f"{start}{problem}") or change == {"classes": [1, True]}
    for number in (float("nan"), float("inf")):
        model = whole["model"] | {"intercept": [number]}
        file.write_text(json.dumps(whole | {"model": model}))
        with pytest.raises(CheckpointError, match="its numbers are NaN or infinite"):
            Baseline.load(tmp_path)


TEXTS = [f"{'free' if i % 3 else 'nice'} {'money' if i % 2 else 'song'} {i}" for i in range(120)]


def test_c_is_chosen_by_the_data_whatever_the_order_of_rows(tmp_path):
    texts = pd.Series(TEXTS, name="text")
    labels = np.array([i % 3 > 0 for i in range(120)]).astype(int)
    labels[::7] = 1 - labels[::7]
    one = fit_baseline(texts, labels)
    order = np.random.default_rng(0).permutation(120)
    other = fit_baseline(texts[order], labels[order])
    assert one.choice is not None
    assert one.model.C == one.choice.c == other.choice.c
    assert one.choice.losses == pytest.approx(other.choice.losses, abs=1e-5)
    assert one.choice.c == GRID[int(np.argmin(one.choice.losses))]
    assert one.choice.c < GRID[-1]  # of labels with noise the weakest penalty isn't the best
    assert fit_baseline(texts, labels).fitted == one.fitted
    assert str(one.choice).startswith(
        f"C is {one.choice.c:g}, the best of 6 by log loss in 3 folds of 120 rows (0.001 0."
    )
    one.save(tmp_path)
    assert Baseline.load(tmp_path).choice == one.choice
    fixed = fit_baseline(texts, labels, c=0.5)
    assert (fixed.model.C, fixed.choice) == (0.5, None)


def test_rows_too_few_to_choose_c_by():
    baseline = fit_baseline(pd.Series(["free money", "nice song"]), [0, 1])
    assert baseline.model.C == 1.0
    assert str(baseline.choice) == "C is 1, for 2 rows are too few to choose it by"


def test_rows_alike_are_in_one_fold_and_classes_are_parted_evenly():
    rng = np.random.default_rng(0)
    hashes, y = rng.integers(0, 60, 300).astype(np.uint64), rng.integers(0, 3, 300)
    folds = folds_of(hashes, y)
    for one in range(3):
        mine = y == one
        assert all(len(set(folds[mine & (hashes == h)])) <= 1 for h in np.unique(hashes))
        sizes = [len(np.unique(hashes[mine & (folds == k)])) for k in range(3)]
        assert max(sizes) - min(sizes) <= 1


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    age, city = rng.normal(40, 10, 200), rng.choice(["Oslo", "Rome", None], 200)
    frame = pd.DataFrame({"age": age, "city": city, "old": age > 60})
    frame.loc[::17, "age"] = np.nan
    return frame, ((age > 40) ^ (city == "Oslo")).astype(int)


def test_columns_of_numbers_and_categories(people, tmp_path):
    frame, labels = people
    baseline = fit_baseline(frame, labels)
    assert baseline.columns == ("age", "old", "city")
    assert [n.name for n in baseline.inputs.numbers] == ["age", "old"]
    prob = baseline.predict_proba(frame)
    assert (prob.argmax(1) == labels).mean() > 0.65
    table = pa.Table.from_pandas(frame, preserve_index=False)
    np.testing.assert_allclose(baseline.predict_proba(table), prob)
    assert fit_baseline(table, labels).fitted == baseline.fitted
    baseline.save(tmp_path)
    loaded = Baseline.load(tmp_path)
    assert loaded.fitted == baseline.fitted
    assert loaded.predict_proba(frame).tolist() == prob.tolist()
    unseen = pd.DataFrame({"age": [None], "city": ["Paris"], "old": [None]})
    assert loaded.predict_proba(unseen).sum() == pytest.approx(1)


def test_a_saved_baseline_of_columns_that_cannot_be_true_is_refused(people, tmp_path):
    fit_baseline(*people).save(tmp_path)
    file = tmp_path / "baseline.json"
    whole = json.loads(file.read_text())
    whole["columns"]["numbers"] = whole["columns"]["numbers"][1:]
    file.write_text(json.dumps(whole))
    with pytest.raises(CheckpointError) as caught:
        Baseline.load(tmp_path)
    assert str(caught.value).startswith(
        f"the baseline in '{tmp_path}' can't be used: its numbers are (1, 8) and (1,), and 2 "
        "classes of 6 features need 1 by 6;"
    )


def test_no_columns_are_refused():
    with pytest.raises(DatasetError) as caught:
        fit_baseline(pd.DataFrame(index=range(4)), [0, 1, 0, 1])
    assert str(caught.value) == (
        "the baseline can't be trained: there is no column to read; name some in baseline.columns, "
        "or set text"
    )
