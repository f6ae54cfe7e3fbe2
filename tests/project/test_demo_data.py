"""The made-up comments and the reader of the real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score
from textblob import TextBlob

from engine.baseline import fit_baseline
from engine.errors import TableError
from engine.hashing import unit_interval
from engine.project.demo_data import COLUMNS, YOUTUBE_FILES, generate_comments, read_youtube_spam

ROOT = Path(__file__).parents[2]
YOUTUBE = ROOT.parent / "shared" / "data" / "youtube-spam"
HEADER = "COMMENT_ID,AUTHOR,DATE,CONTENT,CLASS"
EXPECTED = (
    f"; it must hold {', '.join(YOUTUBE_FILES)}, each with the columns COMMENT_ID, AUTHOR, DATE, "
    "CONTENT and CLASS"
)

TUTORIAL = {"c": 0.001, "solver": "liblinear"}  # with which the slice is weak

SLICES = {
    "short_link": lambda text: re.search(r"\w+\.ly", text) is not None,
    "keyword_subscribe": lambda text: "subscribe" in text.lower(),
    "keyword_please": lambda text: "please" in text.lower() or "plz" in text.lower(),
    "regex_check_out": lambda text: re.search(r"check.*out", text, re.IGNORECASE) is not None,
    "short_comment": lambda text: len(text.split()) < 5,
    "textblob_polarity": lambda text: TextBlob(text).sentiment.polarity > 0.9,
}


@pytest.fixture(scope="module")
def comments():
    return generate_comments()


@pytest.fixture(scope="module")
def youtube():
    if not YOUTUBE.is_dir():
        pytest.skip(f"the YouTube Spam Collection is not in {YOUTUBE}")
    return read_youtube_spam(YOUTUBE)


def member(test, name):
    return test["text"].fillna("").map(SLICES[name]).to_numpy()


def figures(train, test, mask, **settings):
    baseline = fit_baseline(train["text"], train["label"], **{**TUTORIAL, **settings})
    pred = baseline.predict_proba(test["text"]).argmax(axis=1)[mask]
    gold = test["label"].to_numpy()[mask]
    return accuracy_score(gold, pred), f1_score(gold, pred)


def test_columns_and_types(comments):
    assert tuple(comments.columns) == COLUMNS
    assert len(comments) == 2000
    assert comments["comment_id"].is_unique
    assert comments["label"].dtype == comments["video"].dtype == np.int64
    assert set(comments["video"]) == {1, 2, 3, 4, 5}
    assert set(comments["label"]) == {0, 1}
    assert comments["label"].mean() == pytest.approx(0.5, abs=0.05)


def test_nulls_are_none_and_few(comments):
    for column, low, high in (("text", 5, 40), ("date", 150, 350)):
        nulls = comments[column].isna()
        assert low <= nulls.sum() <= high
        assert all(value is None for value in comments.loc[nulls, column])
    assert comments[["comment_id", "author", "split"]].notna().all(axis=None)


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        ("[😍🔥😂🎸👏🙏💯😭]", 100),
        ("&amp;", 20),
        ("&#39;", 50),
        ("<br />", 50),
        ("\n", 50),
        ("\ufeff$", 300),
        (r"\.ly/", 100),
    ],
)
def test_texts_have_what_real_ones_have(comments, pattern, least):
    assert comments["text"].str.contains(pattern, na=False).sum() >= least


def test_texts_are_varied(comments):
    assert comments["text"].nunique() > 1700
    assert not comments["text"].str.contains("[{}]", na=False).any()


def test_dates_are_iso(comments):
    dates = comments["date"].dropna()
    assert pd.to_datetime(dates, format="%Y-%m-%dT%H:%M:%S").dt.year.eq(2024).all()


def test_splits_are_hashed_from_the_key(comments):
    u = unit_interval(comments["comment_id"], 7)
    expected = np.select([u < 0.7, u < 0.8], ["train", "valid"], "test")
    assert comments["split"].tolist() == expected.tolist()
    shares = comments["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.03)
    assert shares["valid"] == pytest.approx(0.1, abs=0.03)


def test_another_seed_gives_other_comments(comments):
    other = generate_comments(seed=8)
    assert (other["text"] != comments["text"]).mean() > 0.9
    assert (other["split"] != comments["split"]).mean() > 0.2


def test_more_comments_change_none(comments):
    pd.testing.assert_frame_equal(generate_comments(2100).head(2000), comments)


def test_no_comments_keep_the_columns():
    assert tuple(generate_comments(0).columns) == COLUMNS


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_same_in_another_process(comments, hash_seed):
    code = (
        "from engine.project.demo_data import generate_comments; import sys; "
        "sys.stdout.buffer.write(generate_comments().to_json().encode())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert ran.stdout.decode() == comments.to_json()


@pytest.mark.parametrize("name", SLICES)
def test_each_slice_has_support_and_both_labels_in_test(comments, name):
    test = comments[comments["split"] == "test"]
    labels = test["label"][member(test, name)]
    assert len(labels) >= 20
    assert labels.nunique() == 2


def test_the_baseline_fails_on_short_links_alone(comments):
    train, test = (comments[comments["split"] == name] for name in ("train", "test"))
    everything = np.ones(len(test), dtype=bool)
    assert 0.85 < figures(train, test, everything)[0] < 0.97
    assert figures(train, test, member(test, "short_link"))[1] < 0.6
    for name in set(SLICES) - {"short_link"}:
        assert figures(train, test, member(test, name))[1] > 0.8


def test_short_links_can_be_learned(comments):
    train, test = (comments[comments["split"] == name] for name in ("train", "test"))
    assert figures(train, test, member(test, "short_link"), c=1.0)[1] > 0.85


def test_the_real_data_is_split_as_in_the_tutorial(youtube):
    assert tuple(youtube.columns) == COLUMNS
    by_split = youtube.groupby("split")["video"].agg(["size", "min", "max"])
    assert by_split.loc["train"].tolist() == [1587, 1, 4]
    assert by_split.loc["valid"].tolist() == [120, 5, 5]
    assert by_split.loc["test"].tolist() == [250, 5, 5]
    assert youtube.index.tolist() == list(range(1957))
    assert youtube["label"].dtype == youtube["video"].dtype == np.int64


def test_the_real_data_has_a_unique_key(youtube):
    assert youtube["comment_id"].is_unique
    repeated = youtube[youtube["comment_id"].str.endswith("#2")]
    assert len(repeated) == 3
    firsts = repeated["comment_id"].str.removesuffix("#2")
    assert firsts.isin(youtube["comment_id"]).all()


def test_the_real_data_has_none_for_null(youtube):
    nulls = youtube["date"].isna()
    assert nulls.sum() == 245
    assert all(date is None for date in youtube.loc[nulls, "date"])
    assert youtube["text"].notna().all()


def write_videos(folder, rows=300):
    for i, name in enumerate(YOUTUBE_FILES):
        lines = (f"id{i}-{r // 2},someone,,text {i} {r},{r % 2}" for r in range(rows))
        (folder / name).write_text("\n".join([HEADER, *lines]))


def test_the_key_does_not_depend_on_the_shuffle(tmp_path):
    write_videos(tmp_path)
    comments = read_youtube_spam(tmp_path).set_index("comment_id")
    assert comments.index.is_unique
    assert comments.loc[["id0-0", "id0-0#2", "id4-7#2"], "text"].tolist() == [
        "text 0 0",
        "text 0 1",
        "text 4 15",
    ]


def test_rows_are_shuffled_file_by_file(tmp_path):
    write_videos(tmp_path)
    first = pd.read_csv(tmp_path / YOUTUBE_FILES[0]).sample(frac=1, random_state=123)
    comments = read_youtube_spam(tmp_path)
    assert comments["text"].head(300).tolist() == first["CONTENT"].tolist()


def test_no_such_folder(tmp_path):
    with pytest.raises(TableError) as caught:
        read_youtube_spam(tmp_path / "none")
    assert str(caught.value) == (
        f"can't read the YouTube comments in '{tmp_path / 'none'}': there is no such folder"
        + EXPECTED
    )


def test_a_file_is_missing(tmp_path):
    write_videos(tmp_path)
    (tmp_path / YOUTUBE_FILES[2]).unlink()
    with pytest.raises(TableError) as caught:
        read_youtube_spam(tmp_path)
    assert str(caught.value) == (
        f"can't read the YouTube comments in '{tmp_path}': Youtube03-LMFAO.csv is not there"
        + EXPECTED
    )


def test_columns_are_missing(tmp_path):
    write_videos(tmp_path)
    (tmp_path / YOUTUBE_FILES[1]).write_text("COMMENT_ID,AUTHOR,CONTENT\na,b,c\n")
    with pytest.raises(TableError) as caught:
        read_youtube_spam(tmp_path)
    assert str(caught.value) == (
        f"can't read the YouTube comments in '{tmp_path}': "
        "Youtube02-KatyPerry.csv has no column DATE, CLASS" + EXPECTED
    )
